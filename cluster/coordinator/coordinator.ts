/**
 * The coordination contract: the part of ZooKeeper that meta servers and gateways use. Three
 * implementations: ZooKeeper (`zookeeper.ts`, on a real ensemble or on the embedded server) and
 * memory (`memory.ts`, for the simulation and unit tests).
 *
 * Order: operations of one coordinator take effect in the order in which they were called, and
 * their promises settle in that order. Every pending operation ends: with a result, or with a
 * `CoordinatorError` when the session is lost, the deadline passes or the coordinator is closed.
 * `connection-loss` and `timeout` mean that the outcome is unknown; nothing is tried again here, so
 * who must know whether a create happened reads back.
 */

import type { AccessRule } from './tree.ts'

export type CoordinatorErrorCode =
  | 'no-node'
  | 'node-exists'
  | 'bad-version'
  | 'not-empty'
  | 'no-children-for-ephemerals'
  | 'bad-arguments'
  | 'too-large'
  | 'no-auth'
  /** Refused before it was sent: not connected, or too many operations pending. */
  | 'not-connected'
  /** Unknown outcome. */
  | 'connection-loss'
  /** Unknown outcome. */
  | 'timeout'
  | 'session-expired'
  /** Refused, or, for what was pending when the coordinator was closed, unknown. */
  | 'closed'

export class CoordinatorError extends Error {
  override readonly name = 'CoordinatorError'
  readonly code: CoordinatorErrorCode
  readonly path: string
  constructor(code: CoordinatorErrorCode, operation: string, path: string, options?: ErrorOptions) {
    super(`${operation} ${path}: ${code}`, options)
    this.code = code
    this.path = path
  }
}

export interface NodeStat {
  readonly version: number
  readonly childrenVersion: number
  readonly createdZxid: bigint
  readonly modifiedZxid: bigint
  readonly createdWallMs: number
  readonly modifiedWallMs: number
  /** Session id, 0n for a persistent node. */
  readonly ephemeralOwner: bigint
  readonly childrenCount: number
  readonly dataSizeBytes: number
}

export interface WatchEvent {
  /** `session-lost` ends every watch of a session that expired: it will never fire otherwise. */
  readonly type: 'created' | 'deleted' | 'changed' | 'children' | 'session-lost'
  readonly path: string
}

/** One-shot: called at most once, never from inside the call that sets it. */
export type Watch = (event: WatchEvent) => void

/**
 * `connecting` before the first session; `connected`; `suspended` when the session may still live
 * but nothing answers (connection lost, or no answer for 2/3 of the session time); `expired` when
 * it is gone (with `renew` a new session follows and `connected` comes again); `closed`.
 */
export type CoordinatorState = 'connecting' | 'connected' | 'suspended' | 'expired' | 'closed'

export interface CreateOptions {
  readonly ephemeral?: boolean
  /** Appends a ten-digit counter of the parent to the name. */
  readonly sequential?: boolean
  /** For the identity of this session alone, whatever other nodes get; open when it has none. */
  readonly secret?: boolean
}

export type CoordinatorOperation =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Buffer
      readonly ephemeral?: boolean
      readonly secret?: boolean
    }
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Buffer
      readonly version?: number
    }
  | { readonly type: 'remove'; readonly path: string; readonly version?: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }

export interface Coordinator {
  readonly state: () => CoordinatorState
  /** The session time that the server granted; 0 before the first session. */
  readonly sessionTimeoutMs: () => number
  /**
   * The age that self-fencing looks at: monotonic time at which the question was sent that the
   * server answered last. The server has heard from this client at that time or later.
   */
  readonly lastAnswerAtMs: () => number
  /** Counts sessions: 0 before the first, rises by one with each new session. */
  readonly sessionEpoch: () => number
  /** Watches set and not fired, one for each path and kind. */
  readonly watchCount: () => number
  readonly onState: (listener: (state: CoordinatorState) => void) => () => void
  /**
   * Resolves to the path created (with the counter when sequential). Path and data together up to
   * 1 040 000 bytes: ZooKeeper refuses packets of 1 MiB.
   */
  readonly create: (path: string, data: Buffer, options?: CreateOptions) => Promise<string>
  readonly get: (
    path: string,
    watch?: Watch,
  ) => Promise<{ readonly data: Buffer; readonly stat: NodeStat }>
  /** With a watch it also fires on creation when the node is absent. */
  readonly exists: (path: string, watch?: Watch) => Promise<NodeStat | undefined>
  readonly children: (path: string, watch?: Watch) => Promise<readonly string[]>
  /** Who may do what with the node. Needs the right to read it. */
  readonly acl: (path: string) => Promise<readonly AccessRule[]>
  /** Makes a node as if it had been created `secret`. Without an identity it rejects: `no-auth`. */
  readonly keepSecret: (path: string) => Promise<void>
  /** Without `version` whatever is there is replaced. */
  readonly set: (path: string, data: Buffer, version?: number) => Promise<NodeStat>
  readonly remove: (path: string, version?: number) => Promise<void>
  /** All or nothing; rejects with the error of the operation that failed. */
  readonly multi: (operations: readonly CoordinatorOperation[]) => Promise<void>
  /** Later reads of this coordinator see every write acknowledged to anyone before this call. */
  readonly sync: (path: string) => Promise<void>
  /** Ends the session, so ephemerals go at once. Idempotent. */
  readonly close: () => Promise<void>
}
