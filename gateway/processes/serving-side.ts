/**
 * What serves the clients of a gateway, seen from the process that the command started: itself
 * (`single-process.ts`), or a pool of workers (`worker-pool.ts`).
 */
import type { RecentLine } from '../../cluster/runtime/log-recent.ts'
import type { GatewayConfig } from '../config.ts'
import type { ProcessCounts } from '../fleet-answers.ts'
import type { Health } from '../health.ts'
import type { ServedCounts } from '../load.ts'
import type { ClientsOfTable } from './messages.ts'
import type { ServedTable } from '../table-view.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Replaced {
  /** Resolves when the last client of before has gone. */
  readonly drained: Promise<void>
}

export interface ServingSide extends Health {
  /** The first port that clients connect to. */
  readonly address: () => Address
  /** Client connections now. */
  readonly connections: () => number
  /** What was served so far by all processes, those that have ended too. */
  readonly counts: () => ServedCounts
  /** How late the event loops of the processes beside this one were at worst since the last call. */
  readonly loopLagMs: () => number
  /**
   * Serves new connections by another configuration, and drains the others. Resolves as soon as it
   * does; rejects when it cannot, and then everything is as it was.
   */
  readonly reload: (config: GatewayConfig) => Promise<Replaced>
  /** Everything that was counted, together with what the caller's process counted (`own`). */
  readonly metricsText: (own: string) => Promise<string>
  /** What each process that serves clients does with a table (O-5); `records`: its queries too. */
  readonly describeTable: (table: string, records: boolean) => Promise<readonly ServedTable[]>
  /** Who asked for a table in the last day. */
  readonly clientsOf: (table: string) => Promise<ClientsOfTable>
  /** How often each process was asked for each table. */
  readonly tableCounts: () => Promise<readonly ProcessCounts[]>
  /** The last warnings and errors of the processes beside this one, with their names. */
  readonly recentLines: () => Promise<readonly (RecentLine & { readonly process: string })[]>
  /** Resolves when every route change so far is in force for every client. */
  readonly applied: () => Promise<void>
  /** Ends the connections that there are, spread over the time; goes on serving. */
  readonly endConnections: (spreadMs: number) => Promise<void>
  /** No further connection; answers what is being worked on, ends the rest over the time. */
  readonly drain: (spreadMs: number) => Promise<void>
  /** At once. */
  readonly kill: () => void
}
