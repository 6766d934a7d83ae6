/**
 * What the primary and its workers say to each other (gateway.md 10), as JSON over the channel of
 * `node:cluster`, in order. A connection travels beside the message `connection` as a handle. After a
 * reload a worker may run newer code than the primary: `FORMAT` changes with every change here, and
 * a worker of another format is refused.
 */
import type { RecentLine } from '../../cluster/runtime/log-recent.ts'
import type { RuntimeErrorCode } from '../../cluster/runtime/runtime.ts'
import type { ClientFacts } from '../client-facts.ts'
import type { ClientBook } from '../clients/client-book.ts'
import type { GatewayConfig } from '../config.ts'
import type { ServedCounts } from '../load.ts'
import type { TableCounts } from '../metrics.ts'
import type { MappingWish, Placing } from '../routing/new-tables.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { ServedTable } from '../table-view.ts'

export const FORMAT = 8

/** One table's answer, in the order in which things happened to it. */
export interface RouteChange {
  readonly table: string
  /** Tells those who wait; left out when the primary only forgot the table. */
  readonly lookup?: Lookup
  /** False: not (or no longer) to be kept, because the primary would not tell of later changes. */
  readonly isKept: boolean
}

/** Changes of routes; each is acknowledged with `applied`, and none follows before. */
export interface RoutesMessage {
  readonly type: 'routes'
  readonly number: number
  /** The routing epoch of the primary's directory with these changes. */
  readonly epoch: number
  /** Set on the last part of the full copy that a worker begins with. */
  readonly isWhole: boolean
  /** More follows that changed together with this: nothing is in force before the last part. */
  readonly isPart: boolean
  readonly changes: readonly RouteChange[]
}

/** How current the primary's routes are; sent when that changes, and as a sign of life. */
export interface StateMessage {
  readonly type: 'state'
  readonly epoch: number
  readonly staleMs: number
  readonly outage: boolean
  /** From this age on an unconfirmed route counts as suspect. */
  readonly suspectMs: number
}

export type ToWorker =
  | RoutesMessage
  | StateMessage
  /** The first message, behind the worker's `hello`: what to be. */
  | { readonly type: 'start'; readonly name: string; readonly config: GatewayConfig }
  | {
      readonly type: 'listening'
      readonly question: number
      readonly listener: number
      readonly host: string
      readonly port: number
    }
  | {
      readonly type: 'not-listening'
      readonly question: number
      readonly code: RuntimeErrorCode
      readonly message: string
    }
  /** With a handle. Acknowledged with `accepted`; until then the primary holds the connection too. */
  | { readonly type: 'connection'; readonly id: number; readonly listener: number }
  /** Another worker has a connection that was returned, or it is closed. */
  | { readonly type: 'settled' }
  /** To `place-table` or `map-table`. */
  | { readonly type: 'new-table'; readonly question: number; readonly answer: Placing }
  | { readonly type: 'metrics'; readonly question: number }
  | {
      readonly type: 'table'
      readonly question: number
      readonly table: string
      readonly records: boolean
    }
  | { readonly type: 'clients'; readonly question: number; readonly table: string }
  | { readonly type: 'counts'; readonly question: number }
  | { readonly type: 'lines'; readonly question: number }
  /** Ends the connections that there are, spread over the time; goes on serving. */
  | { readonly type: 'end-connections'; readonly spreadMs: number }
  /**
   * No connection follows: answer what is being worked on, end the others, exit. With `movesOn` those
   * that have nothing under way are given back instead, for another worker.
   */
  | { readonly type: 'drain'; readonly spreadMs: number; readonly movesOn: boolean }

export type FromWorker =
  | { readonly type: 'hello'; readonly format: number }
  /** It could not start; it exits. */
  | { readonly type: 'failed'; readonly code: RuntimeErrorCode; readonly message: string }
  | {
      readonly type: 'listen'
      readonly question: number
      readonly host: string
      readonly port: number
    }
  | { readonly type: 'accepted'; readonly ids: readonly number[] }
  /** With a handle: an open connection that came through that listener. */
  | { readonly type: 'returned'; readonly listener: number }
  | { readonly type: 'load'; readonly tables: readonly string[] }
  /** Answered with `new-table` within `budgetMs`, or as good as. */
  | {
      readonly type: 'place-table'
      readonly question: number
      readonly budgetMs: number
      readonly table: string
      readonly cluster: string
    }
  | {
      readonly type: 'map-table'
      readonly question: number
      readonly budgetMs: number
      readonly wish: MappingWish
    }
  | { readonly type: 'applied'; readonly number: number }
  /** Tables asked for since the last time, for the primary's own LRU. */
  | { readonly type: 'used'; readonly tables: readonly string[] }
  | WorkerReport
  /** Until its end; how late its event loop was at worst since the last such message. */
  | { readonly type: 'served'; readonly counts: ServedCounts; readonly loopLagMs: number }
  | { readonly type: 'metrics'; readonly question: number; readonly text: string }
  /** Left out: it does not serve yet. */
  | { readonly type: 'table'; readonly question: number; readonly served?: ServedTable }
  | ({ readonly type: 'clients'; readonly question: number } & ClientsOfTable)
  | ({ readonly type: 'counts'; readonly question: number } & TableCounts)
  | {
      readonly type: 'lines'
      readonly question: number
      readonly lines: readonly RecentLine[]
    }
  /** The last message: what it counted in all, and whom it served. */
  | {
      readonly type: 'ended'
      readonly text: string
      readonly clients: ReturnType<ClientBook['all']>
    }

/** `isShort`: some are missing. */
export interface ClientsOfTable {
  readonly clients: readonly ClientFacts[]
  readonly isShort: boolean
}

/** How a worker is; sent twice a second. */
export interface WorkerReport {
  readonly type: 'report'
  /** Left out when it may be given connections. */
  readonly unready?: string
  readonly degraded: readonly string[]
  readonly connections: number
  /** Connections that it was ever given. */
  readonly taken: number
  /** It takes no further connection for now (L-7). */
  readonly isRefusing: boolean
}
