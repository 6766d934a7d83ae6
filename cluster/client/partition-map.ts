/**
 * What a client knows of a table's partitions, and the rules for changing it (client.md 2). Pure:
 * maps are immutable and replaced whole.
 *
 * A new entry replaces an old one when its ballot is not smaller; an entry that a failed call has
 * cast doubt on yields to any. The latter matters behind a gateway: after a switch the same table
 * may live in another cluster with the same app id and smaller ballots.
 */
import type { QueryCfgResponse } from '../protocol/layer2.ts'
import { partitionIndexOf } from '../protocol/key.ts'

export interface PartitionEntry {
  /** Below 0: a split child that is not ready, its parent serves. */
  readonly ballot: number
  /** `ip:port`, '' when there is none now. */
  readonly primary: string
  readonly secondaries: readonly string[]
  /** A call that went by this entry failed. */
  readonly doubtful: boolean
}

export interface PartitionMap {
  readonly appId: number
  readonly partitionCount: number
  /** Exactly `partitionCount` entries. */
  readonly partitions: readonly PartitionEntry[]
}

const unknownEntry: PartitionEntry = { ballot: -1, primary: '', secondaries: [], doubtful: true }

/** Keeps a wrong reply from costing memory; upstream's largest tables have some thousand. */
const PARTITION_COUNT_MAX = 1_000_000

/** `undefined` when the reply (whose `err` is ERR_OK) describes no table that calls could go to. */
export function mergePartitionMap(
  known: PartitionMap | undefined,
  reply: QueryCfgResponse,
): PartitionMap | undefined {
  const { appId, partitionCount } = reply
  if (appId <= 0 || partitionCount <= 0 || partitionCount > PARTITION_COUNT_MAX) return undefined
  const sameTable = known?.appId === appId && known.partitionCount === partitionCount
  const partitions = sameTable
    ? [...known.partitions]
    : Array.from({ length: partitionCount }, () => unknownEntry)
  for (const { pid, ballot, primary, secondaries } of reply.partitions) {
    const old = partitions[pid.partitionIndex]
    if (old === undefined || (!old.doubtful && ballot < old.ballot)) continue
    partitions[pid.partitionIndex] = { ballot, primary, secondaries, doubtful: false }
  }
  return { appId, partitionCount, partitions }
}

/** The map with a doubt on one entry, which stays in use until something better is known. */
export function doubt(map: PartitionMap, partitionIndex: number): PartitionMap {
  const entry = map.partitions[partitionIndex]
  if (entry === undefined || entry.doubtful) return map
  return { ...map, partitions: map.partitions.with(partitionIndex, { ...entry, doubtful: true }) }
}

/** A record's partition by its hash, or a partition of a full scan by its index. */
export type Target = { readonly hash: bigint } | { readonly partitionIndex: number }

export interface Route {
  readonly appId: number
  readonly partitionIndex: number
  /** What the request header carries. */
  readonly partitionHash: bigint
  /** '' when the partition has no primary now. */
  readonly primary: string
}

/** Where a request goes now. */
export function routeOf(map: PartitionMap, target: Target): Route {
  const byHash = 'hash' in target
  let partitionIndex = byHash
    ? partitionIndexOf(target.hash, map.partitionCount)
    : target.partitionIndex
  const half = Math.floor(map.partitionCount / 2)
  const entry = map.partitions[partitionIndex] ?? unknownEntry
  if (entry.ballot < 0 && byHash && partitionIndex >= half) partitionIndex -= half
  return {
    appId: map.appId,
    partitionIndex,
    partitionHash: byHash ? target.hash : BigInt(target.partitionIndex),
    primary: map.partitions[partitionIndex]?.primary ?? '',
  }
}
