/**
 * Table → cluster as the client side of a gateway sees it. Two implementations: the table directory,
 * which reads and watches the nodes in ZooKeeper, and a worker's copy of the primary's directory
 * (gateway.md 10, L-1). Synchronous from memory wherever the answer is known.
 */
import type { Lookup } from './table-entry.ts'

export interface Routes {
  /** From memory; undefined when the node must be read first (`load`). */
  readonly find: (table: string) => Lookup | undefined
  /**
   * Finds out; `tell` is called once, at once when the answer is known, and with `unavailable` when
   * nobody could tell within the lookup time or `budgetMs`.
   */
  readonly load: (table: string, budgetMs: number, tell: (lookup: Lookup) => void) => void
  /** Rises with every change of a route. */
  readonly epoch: number
  /** Another number whenever `find` may answer otherwise than before, for the passing of time aside. */
  readonly revision: number
  readonly routeCount: number
  readonly negativeCount: number
  /** Milliseconds since the routes were last known to be current; 0 while they are. */
  readonly stalenessMs: () => number
  /** Routes are kept although their nodes are gone, because too much is gone at once. */
  readonly outage: boolean
  /** Idempotent. Those who wait are told `unavailable`. */
  readonly close: () => void
}

/**
 * Routes that others hold copies of: what the primary of workers needs beside. Listeners are called
 * synchronously while a change is applied, and everything that changes together (a redirect of
 * thousands of tables) is told within one turn of the event loop: whoever passes it on and gathers
 * until the turn ends (`timers.soon`) passes it on whole.
 */
export interface SharedRoutes extends Routes {
  /** Every settled answer when it changes, the first one too, and evictions. Returns the stop. */
  readonly onChange: (listener: RouteListener) => () => void
  /** What is in memory, the longest unused first: for a copy that begins. */
  readonly known: () => Iterable<{ readonly table: string; readonly lookup: Lookup }>
  /** Copies used these tables: they count as used here. */
  readonly touch: (tables: Iterable<string>) => void
  /**
   * Resolves when every watch event received so far was read again and applied. Not while the
   * session is lost, and not before the entries of a new session are confirmed.
   */
  readonly settled: () => Promise<void>
}

export type RouteListener = (table: string, change: Lookup | 'forgotten') => void
