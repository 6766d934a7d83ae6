/**
 * What the table directory knows of one table, for people (gateway.md O-5): the answer in force, where it
 * comes from, how old it is and whether a change would be noticed. Plain values; no rule.
 */
import type { NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { StalePolicy } from './staleness.ts'
import type { Entry, Lookup, Truth } from './table-entry.ts'

export interface RouteFacts {
  /** Of the mapping node. */
  readonly path: string
  /** What clients are answered; `unread` before the first answer. */
  readonly answer: Lookup['kind'] | 'unread'
  readonly route?: {
    readonly cluster: string
    readonly metas: readonly string[]
    /** `serve`, `fail` or `bounded:<ms>`. */
    readonly stale: string
    /** With a redirect in force: the cluster that the mapping names, and the plan. */
    readonly mappedCluster?: string | undefined
    readonly plan?: string | undefined
  }
  /** What the node said last; a bad value after a good one leaves the good one in force. */
  readonly truth: Truth
  readonly tableGroup?: string | undefined
  readonly node?: {
    readonly version: number
    readonly modifiedZxid: string
    readonly modifiedAt: string
  }
  readonly readAgoMs?: number
  /** `set`: a change is told at once; `reading`: it is being read; `unset`: it is read when ZooKeeper is back. */
  readonly watch: 'set' | 'reading' | 'unset'
  /** Since when nobody could confirm it; left out while it is current. */
  readonly unconfirmedMs?: number
  readonly zookeeper: string
  readonly epoch: number
}

export function stalePolicyText(policy: StalePolicy): string {
  return policy.kind === 'bounded' ? `bounded:${policy.boundMs}` : policy.kind
}

export function routeFacts(
  entry: Entry,
  at: {
    readonly answer: Lookup | undefined
    readonly nowMs: number
    readonly zookeeper: string
    readonly epoch: number
  },
): RouteFacts {
  const { answer, nowMs } = at
  const { node, readAtMs, staleSinceMs } = entry
  return {
    path: entry.path,
    answer: answer?.kind ?? 'unread',
    ...(answer?.kind === 'route' ? { route: routeOf(answer) } : {}),
    truth: entry.truth,
    ...(entry.mapped?.tableGroup === undefined ? {} : { tableGroup: entry.mapped.tableGroup }),
    ...(node === undefined ? {} : { node: nodeOf(node) }),
    ...(readAtMs === undefined ? {} : { readAgoMs: Math.round(nowMs - readAtMs) }),
    watch: entry.isReading ? 'reading' : entry.armed ? 'set' : 'unset',
    ...(staleSinceMs === undefined ? {} : { unconfirmedMs: Math.round(nowMs - staleSinceMs) }),
    zookeeper: at.zookeeper,
    epoch: at.epoch,
  }
}

function routeOf({ route }: Extract<Lookup, { kind: 'route' }>): NonNullable<RouteFacts['route']> {
  const { cluster, metas, stale, mappedCluster, plan } = route
  return {
    cluster,
    metas,
    stale: stalePolicyText(stale),
    ...(mappedCluster === undefined ? {} : { mappedCluster, plan }),
  }
}

function nodeOf({
  version,
  modifiedZxid,
  modifiedWallMs,
}: NodeStat): NonNullable<RouteFacts['node']> {
  return {
    version,
    modifiedZxid: `0x${modifiedZxid.toString(16)}`,
    modifiedAt: new Date(modifiedWallMs).toISOString(),
  }
}
