/**
 * A partition that lost all its replicas (DDD): who may become its primary without losing an
 * acknowledged write, or why nobody may yet (meta-server.md 9.3c). The last one dropped is not
 * simply trusted: after a power cut its log may lack the tail. Pure.
 */
import type { DroppedReplica, MetaState, Partition } from './state.ts'

export type LostChoice = { readonly node: string } | { readonly reason: string }

interface Report {
  readonly node: string
  readonly ballot: number
  readonly committed: number
  readonly prepared: number
}

export function chooseAmongLost(state: MetaState, partition: Partition): LostChoice {
  const { lastDrops, lastCommittedDecree } = partition.config
  const last = lastDrops.at(-1)
  const beforeLast = lastDrops.at(-2)
  if (last === undefined) return { reason: 'no replica is known' }
  if (beforeLast === undefined)
    return state.nodes.get(last)?.alive === true
      ? { node: last }
      : { reason: `${last} held the only replica and is not alive` }
  const first = reportOf(state, partition.dropped, last)
  if (typeof first === 'string') return { reason: first }
  const second = reportOf(state, partition.dropped, beforeLast)
  if (typeof second === 'string') return { reason: second }
  return compare(first, second, lastCommittedDecree)
}

/** What a node has said about its replica since it came back, or why that is not known. */
function reportOf(
  state: MetaState,
  dropped: readonly DroppedReplica[],
  node: string,
): Report | string {
  const known = state.nodes.get(node)
  if (known?.alive !== true) return `${node} is not alive`
  const entry = dropped.find((replica) => replica.node === node)
  if (entry !== undefined && entry.ballot !== -1)
    return {
      node,
      ballot: entry.ballot,
      committed: entry.lastCommittedDecree,
      prepared: entry.lastPreparedDecree,
    }
  if (!known.collected) return `${node} has not reported its replicas yet`
  return { node, ballot: -1, committed: -1, prepared: -1 }
}

/** `last` was dropped after `other`, which decides when all else is equal. */
function compare(last: Report, other: Report, lastCommittedDecree: number): LostChoice {
  if (last.ballot === -1 && other.ballot === -1)
    return { reason: `neither ${last.node} nor ${other.node} has the replica` }
  const byBallot = last.ballot - other.ballot
  const byCommitted = last.committed - other.committed
  const [newer, older] = byBallot > 0 ? [last, other] : [other, last]
  // A secondary hears of a commit late, so the newer one may well have committed less. What it has
  // prepared decides: it was a member after the other, so it must hold what the other committed.
  // (Upstream refuses already when the committed decrees differ this way.)
  if (byBallot !== 0 && newer.prepared < older.committed)
    return {
      reason:
        `${newer.node} (ballot ${newer.ballot}, prepared ${newer.prepared}) and ${older.node} ` +
        `(ballot ${older.ballot}, committed ${older.committed}) contradict each other`,
    }
  const prepared = Math.max(last.prepared, other.prepared)
  const committed = Math.max(last.committed, other.committed)
  if (prepared < lastCommittedDecree)
    return { reason: `prepared up to ${prepared}, but ${lastCommittedDecree} was committed` }
  if (prepared < committed)
    return { reason: `prepared up to ${prepared}, but a replica committed ${committed}` }
  const better = byBallot || byCommitted || last.prepared - other.prepared
  return { node: better >= 0 ? last.node : other.node }
}
