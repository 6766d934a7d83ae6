/**
 * What lies below `session-client.ts`: one client's link to a coordination service, which carries
 * requests in order and keeps a session alive across broken connections. Two implementations: the
 * ZooKeeper library (`zookeeper-link.ts`) and memory (`memory-link.ts`).
 */
import type { CoordinatorErrorCode, CoordinatorOperation, NodeStat } from './coordinator.ts'
import type { AccessRule, TreeEvent } from './tree.ts'
import type { WatchedPaths } from './watches.ts'

export type LinkRequest =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Buffer
      readonly ephemeral: boolean
      readonly sequential: boolean
      readonly secret: boolean
    }
  | { readonly type: 'get'; readonly path: string; readonly watch: boolean }
  | { readonly type: 'exists'; readonly path: string; readonly watch: boolean }
  | { readonly type: 'children'; readonly path: string; readonly watch: boolean }
  | { readonly type: 'acl'; readonly path: string }
  | { readonly type: 'keep-secret'; readonly path: string }
  /** `version` -1 matches every version. */
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Buffer
      readonly version: number
    }
  | { readonly type: 'remove'; readonly path: string; readonly version: number }
  | {
      readonly type: 'multi'
      readonly path: string
      readonly operations: readonly CoordinatorOperation[]
    }
  | { readonly type: 'sync'; readonly path: string }

/** `exists` of an absent node is `ok` without a stat. */
export interface LinkReply {
  readonly code: 'ok' | CoordinatorErrorCode
  readonly path?: string
  readonly data?: Buffer
  readonly stat?: NodeStat
  readonly children?: readonly string[]
  readonly access?: readonly AccessRule[]
}

/** None of these is called from inside the call that opens the link. */
export interface LinkHandlers {
  /** The session is open, new or taken up again, and requests may be sent. */
  readonly onUp: (session: { readonly id: bigint; readonly timeoutMs: number }) => void
  /** The connection broke; nothing sent over it will be answered. The link tries again by itself. */
  readonly onDown: () => void
  /** Last event: the service says that the session is gone. */
  readonly onExpired: () => void
  readonly onEvent: (event: TreeEvent) => void
  /** Asked at each new connection, to set these watches again. */
  readonly watched: () => WatchedPaths
}

export interface Link {
  /**
   * Only between `onUp` and `onDown`. Replies come in the order of requests and never from inside
   * this call; after the connection is lost they come no more.
   */
  readonly send: (request: LinkRequest, onReply: (reply: LinkReply) => void) => void
  /** Gives up the connection without `onDown` and connects anew, with the same session. */
  readonly reconnect: () => void
  /** Ends the session if that is possible at once; nothing is called back any more. */
  readonly close: () => Promise<void>
}
