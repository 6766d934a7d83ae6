/**
 * What goes into the decisions of one replica and what comes out: `step(event) → effects`. The
 * driver turns RPCs, timers, log and engine completions into events and carries effects out, in
 * order. Tokens stand for an RPC that waits for its answer: each is answered exactly once.
 */
import type {
  GroupCheckRequest,
  GroupCheckResponse,
  LearnNotifyResponse,
  LearnRequest,
  LearnResponse,
  PrepareAck,
} from '../protocol/consensus.ts'
import type {
  ConfigurationUpdateRequest,
  ConfigurationUpdateResponse,
} from '../protocol/meta-admin.ts'
import type { ReplicaConfiguration } from '../protocol/metadata.ts'
import type { Mutation } from './mutation.ts'
import type { ReplicaTraceEvent } from './trace.ts'
import type { WriteRequest } from './write-queue.ts'

/** What survives a restart beside log and engine; written durably before it is acted on. */
export interface ReplicaRecord {
  readonly ballot: number
  /** True while the log or the data miss decrees: only learning makes this replica whole again. */
  readonly incomplete: boolean
}

export type ReplicaTimer =
  | { readonly kind: 'group-check'; readonly round: number }
  | { readonly kind: 'retry-meta'; readonly attempt: number }
  | {
      readonly kind: 'resend-prepare'
      readonly to: string
      readonly ballot: number
      readonly decree: number
      readonly firstSentAtMs: number
    }
  | { readonly kind: 'retry-learn'; readonly signature: bigint }
  | { readonly kind: 'retry-notify'; readonly signature: bigint }
  | { readonly kind: 'handshake-over'; readonly ballot: number }

/** Outcome of a call to a peer: `error` is ERR_OK only when the call went through. */
export interface Answered<T> {
  readonly error: string
  readonly response: T | undefined
}

export type ReplicaEvent =
  // from clients
  | { readonly type: 'write'; readonly write: WriteRequest }
  | { readonly type: 'start-writes' }
  // from log, engine, storage
  | { readonly type: 'logged'; readonly ballot: number; readonly decree: number }
  | { readonly type: 'applied'; readonly decree: number; readonly life: number }
  | { readonly type: 'persisted'; readonly record: ReplicaRecord }
  /** Log, engine or record could not be written or read: the replica stops. */
  | { readonly type: 'storage-failed'; readonly reason: string }
  /** The server closes this replica; the data stay. */
  | { readonly type: 'close' }
  // from the meta server
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected' }
  | { readonly type: 'proposal'; readonly request: ConfigurationUpdateRequest }
  | { readonly type: 'config-synced'; readonly request: ConfigurationUpdateRequest }
  | ({
      readonly type: 'meta-answered'
      readonly attempt: number
    } & Answered<ConfigurationUpdateResponse>)
  // from peers: requests
  | {
      readonly type: 'prepare'
      readonly token: number
      readonly config: ReplicaConfiguration
      readonly mutation: Mutation
    }
  | { readonly type: 'add-learner'; readonly request: GroupCheckRequest }
  | { readonly type: 'group-check'; readonly token: number; readonly request: GroupCheckRequest }
  | { readonly type: 'learn'; readonly token: number; readonly request: LearnRequest }
  | {
      readonly type: 'learn-notify'
      readonly token: number
      readonly request: GroupCheckResponse
    }
  | { readonly type: 'remove'; readonly config: ReplicaConfiguration }
  // from peers: answers
  | ({
      readonly type: 'prepare-answered'
      readonly to: string
      readonly ballot: number
      readonly decree: number
      readonly firstSentAtMs: number
    } & Answered<PrepareAck>)
  | ({
      readonly type: 'group-check-answered'
      readonly to: string
      readonly ballot: number
    } & Answered<GroupCheckResponse>)
  | ({ readonly type: 'learn-answered'; readonly signature: bigint } & Answered<LearnResponse>)
  | ({
      readonly type: 'notify-answered'
      readonly signature: bigint
    } & Answered<LearnNotifyResponse>)
  | ({
      readonly type: 'decree-answered'
      readonly from: string
      readonly ballot: number
    } & Answered<{
      readonly lastPrepared: number
    }>)
  // from the learning machinery of the driver
  /** Committed mutations found in the own log from the decree asked on, consecutive. */
  | { readonly type: 'log-read'; readonly token: number; readonly mutations: readonly Mutation[] }
  | {
      readonly type: 'snapshot-opened'
      readonly token: number
      readonly snapshot: OpenedSnapshot | undefined
    }
  | {
      readonly type: 'snapshot-copied'
      readonly decree: number
      readonly timestampUs: number
    }
  /** The data are empty then. */
  | { readonly type: 'snapshot-failed'; readonly reason: string }
  | { readonly type: 'wiped' }
  | { readonly type: 'timer'; readonly timer: ReplicaTimer }

/** A snapshot that this primary holds open for a learner. */
export interface OpenedSnapshot {
  /** Names it in block requests. */
  readonly directory: string
  readonly decree: number
}

/** Calls to another replica server. Answers come back as the events of the same name. */
export type PeerCall =
  | {
      readonly kind: 'prepare'
      readonly config: ReplicaConfiguration
      readonly mutation: Mutation
      readonly firstSentAtMs: number
    }
  | { readonly kind: 'group-check'; readonly request: GroupCheckRequest }
  | { readonly kind: 'learn'; readonly request: LearnRequest }
  | { readonly kind: 'notify'; readonly request: GroupCheckResponse }
  | { readonly kind: 'query-decree'; readonly ballot: number }
  /** One way. */
  | { readonly kind: 'add-learner'; readonly request: GroupCheckRequest }
  /** One way. */
  | { readonly kind: 'remove'; readonly config: ReplicaConfiguration }

export type ReplicaAnswer =
  | { readonly kind: 'prepare'; readonly ack: PrepareAck }
  | { readonly kind: 'group-check'; readonly response: GroupCheckResponse }
  | { readonly kind: 'learn'; readonly response: LearnResponse }
  | { readonly kind: 'learn-notify'; readonly response: LearnNotifyResponse }
  /** The caller gets nothing and finds out by its own deadline. */
  | { readonly kind: 'silence' }

export type ReplicaEffect =
  | {
      readonly type: 'send'
      readonly to: string
      readonly call: PeerCall
      readonly timeoutMs: number
    }
  | { readonly type: 'answer'; readonly token: number; readonly answer: ReplicaAnswer }
  /** A write that was not executed (`definite`), or whose outcome is unknown. */
  | { readonly type: 'refuse'; readonly ids: readonly number[]; readonly error: string }
  /** Append to the log; `logged` when durable. */
  | { readonly type: 'append'; readonly mutation: Mutation }
  /**
   * Apply committed mutations in order; `applied` when done. `clients` are the waiting requests per
   * mutation and update; they are answered with the results before anything else happens.
   */
  | {
      readonly type: 'apply'
      readonly life: number
      readonly mutations: readonly Mutation[]
      readonly clients: readonly (readonly (number | undefined)[])[]
    }
  /** Durable, in the order given; makes all applied before it durable too. `persisted` follows. */
  | { readonly type: 'persist'; readonly record: ReplicaRecord }
  | {
      readonly type: 'update-meta'
      readonly attempt: number
      readonly request: ConfigurationUpdateRequest
    }
  | { readonly type: 'timer'; readonly timer: ReplicaTimer; readonly delayMs: number }
  /** `start-writes` in a later turn, so that requests arriving together share a mutation. */
  | { readonly type: 'start-writes-soon' }
  // learnee
  | {
      readonly type: 'read-log'
      readonly token: number
      readonly fromDecree: number
      readonly toDecree: number
      readonly bytesMax: number
    }
  | {
      readonly type: 'open-snapshot'
      readonly token: number
      readonly learner: string
      readonly signature: bigint
    }
  // learner
  /** Replace all data by the learnee's snapshot; `snapshot-copied` or `snapshot-failed`. */
  | {
      readonly type: 'copy-snapshot'
      readonly learnee: string
      readonly directory: string
      readonly decree: number
    }
  /** Throw all data and the log of this replica away; `wiped`. */
  | { readonly type: 'wipe' }
  | { readonly type: 'info-changed' }
  | { readonly type: 'alarm'; readonly alarm: ReplicaAlarm; readonly message: string }
  | { readonly type: 'trace'; readonly event: ReplicaTraceEvent }
  /** Local failure: the replica is in PS_ERROR; close it, keep its data. */
  | { readonly type: 'close'; readonly reason: string }

export type ReplicaAlarm =
  | 'learn-reset'
  | 'content-mismatch'
  | 'missing-prepared'
  | 'storage-failed'
  | 'unknown-code'
  | 'lost-tail'
