/**
 * What a replica server tells an observer: the events that the invariants of replica-invariants.md 2
 * are stated in. The simulation's checkers read them; nothing in the product depends on them, and
 * without an observer they cost nothing. Events are emitted synchronously at the moment they name.
 */
import type { Gpid } from '../protocol/base.ts'

/** Names for `PartitionStatus`, in the words of the specification. */
export type ReplicaStatus = 'inactive' | 'error' | 'primary' | 'secondary' | 'potential-secondary'

export type ReplicaTraceEvent =
  /** Opened from disk: ballot it will not go below, decree its engine holds, end of its log. */
  | {
      readonly type: 'recovered'
      readonly ballot: number
      readonly applied: number
      readonly lastPrepared: number
    }
  /** Status or ballot changed. `members` as far as known: the configuration it acts under. */
  | {
      readonly type: 'configured'
      readonly status: ReplicaStatus
      readonly transient: boolean
      readonly ballot: number
      readonly primary: string
      readonly secondaries: readonly string[]
    }
  /** The ballot is durable. */
  | { readonly type: 'ballot-persisted'; readonly ballot: number }
  /** The primary gave (or, under a new ballot, gave again) a decree. `hash` covers the content. */
  | {
      readonly type: 'proposed'
      readonly ballot: number
      readonly decree: number
      readonly hash: bigint
      readonly timestampUs: number
      readonly committed: number
      readonly replayed: boolean
    }
  /** Durable in this replica's log as the configured mode says. */
  | {
      readonly type: 'logged'
      readonly ballot: number
      readonly decree: number
      readonly hash: bigint
    }
  | {
      readonly type: 'committed'
      readonly ballot: number
      readonly decree: number
      readonly hash: bigint
      readonly timestampUs: number
      readonly status: ReplicaStatus
    }
  | { readonly type: 'applied'; readonly decree: number }
  /** A client write was answered with success by this primary. */
  | { readonly type: 'write-acknowledged'; readonly ballot: number; readonly decree: number }
  /** A normal (not backup) read is answered. */
  | { readonly type: 'read-served'; readonly ballot: number; readonly applied: number }
  /** Decrees up to here are durable in the engine without the log. */
  | { readonly type: 'durable'; readonly decree: number }
  /** One learning attempt moved on. */
  | {
      readonly type: 'learning'
      readonly signature: bigint
      readonly step: 'started' | 'cache' | 'log' | 'app' | 'succeeded' | 'failed'
      readonly applied: number
    }
  /** Local data was thrown away because the group does not know it (alarm: learn_resets). */
  | { readonly type: 'wiped'; readonly applied: number }
  /** The replica is gone from this server's memory; its data stay unless `cleared`. */
  | { readonly type: 'closed'; readonly cleared: boolean }
  /** Local failure: the replica is in PS_ERROR and will close. */
  | { readonly type: 'failed'; readonly reason: string }

export interface ReplicaTrace {
  /** `ip:port` of the server. */
  readonly node: string
  readonly gpid: Gpid
  /** Monotonic milliseconds of that node. */
  readonly atMs: number
  readonly event: ReplicaTraceEvent
}

export type ObserveReplica = (trace: ReplicaTrace) => void
