/**
 * The contract between the replication core and the data operations of a replica. The core agrees on
 * an order of mutations; a `ReplicaApp` turns committed mutations into changes of the storage engine
 * and answers reads from it. Not here: what put, multi_get and so on mean (`rrdb-*.ts`), and how a
 * mutation becomes committed (`two-phase-commit.ts`).
 * Rules: replica-server.md 9.3 (one batch per apply, decree in the same batch), 14.1, 14.2.
 */
import type { ReplicaStore } from '../storage/replica-store.ts'
import type { Gpid } from '../protocol/base.ts'
import type { Runtime } from '../runtime/runtime.ts'

/** The code of an update that changes nothing: holes, idle partitions. Its body is empty. */
export const WRITE_EMPTY = 'RPC_REPLICATION_WRITE_EMPTY'

export interface CommittedUpdate {
  /** RPC name such as RPC_RRDB_RRDB_PUT, or `WRITE_EMPTY`. A name unknown to the app is possible. */
  readonly code: string
  /** The args struct bytes (`decodeArgument`) exactly as the client sent them. Not to be changed. */
  readonly body: Buffer
}

export interface CommittedMutation {
  readonly decree: number
  readonly ballot: number
  /**
   * Microseconds of Unix time on the primary that gave the decree, strictly rising with the decree.
   * It is the only `now` that apply may use, so that every member computes the same state.
   */
  readonly timestampUs: number
  /** One or more. Several only when every code is `batchable`. */
  readonly updates: readonly CommittedUpdate[]
}

export interface AppliedUpdate {
  /**
   * Encoded result struct (`encodeResult` bytes) for the client that sent the update. `undefined`
   * when there is none (empty write, undecodable body): a client that waits is told
   * ERR_INVALID_DATA; the decree is taken all the same.
   */
  readonly result: Buffer | undefined
}

export interface ReadRequest {
  /** RPC name, one of `ReplicaAppKind.reads`. */
  readonly name: string
  /** The args struct bytes. Valid only during the call: copy what is kept. */
  readonly argument: Buffer
  /** Hash that the client put into the header; 0 when it gave none. */
  readonly partitionHash: bigint
  /** Unix milliseconds to judge expiry by. */
  readonly nowMs: number
  /**
   * Monotonic milliseconds; a long iteration ends with what it has before this point. Infinity for
   * requests of clients: the server's own limit holds, their time is but a hint (wire.md 2).
   */
  readonly deadlineAtMs: number
}

export type ReadAnswer =
  /** Encoded result struct bytes. */
  | { readonly kind: 'result'; readonly result: Buffer }
  /** Error in the frame's header, no body (ERR_INVALID_DATA for bytes that cannot be decoded). */
  | { readonly kind: 'error'; readonly error: string }
  /** Nothing is sent (clear_scanner). */
  | { readonly kind: 'silence' }

/** The data of one replica. The caller never overlaps two `apply` calls; reads overlap anything. */
export interface ReplicaApp {
  /**
   * Applies mutations with consecutive decrees, the first one being applied decree + 1, in order and
   * as one atomic engine batch that also records the last decree, its ballot and its timestamp.
   * Resolves when the batch is visible to reads; result i, j belongs to mutation i, update j.
   * Bad arguments and unknown codes are results, not failures. Rejects only when the engine failed:
   * the replica then stops for good.
   */
  readonly apply: (
    mutations: readonly CommittedMutation[],
  ) => Promise<readonly (readonly AppliedUpdate[])[]>
  /** Rejects only when the engine failed. */
  readonly read: (request: ReadRequest) => Promise<ReadAnswer>
  /** New table environment (the whole map; a missing key means its default). Bad values are logged. */
  readonly setEnvs: (envs: ReadonlyMap<string, string>) => void
  /** Ends scanners and whatever else is open; the store stays open. Idempotent. */
  readonly close: () => Promise<void>
}

/** What an app gets when its replica is opened. */
export interface ReplicaAppContext {
  readonly runtime: Runtime
  /** This replica's part of the shared engine. Written only inside `apply`. */
  readonly store: ReplicaStore
  readonly gpid: Gpid
  /** `ip:port` of this server, for `update_response.server` and the like. */
  readonly server: string
  readonly envs: ReadonlyMap<string, string>
  readonly partitionCount: number
}

export interface WriteCode {
  /** True when it may share a mutation with other batchable updates (put, remove). */
  readonly batchable: boolean
}

/** One kind of application (upstream's `app_type`, here only `pegasus`). */
export interface ReplicaAppKind {
  readonly writes: ReadonlyMap<string, WriteCode>
  readonly reads: ReadonlySet<string>
  readonly open: (context: ReplicaAppContext) => ReplicaApp
}
