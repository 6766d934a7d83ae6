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
  readonly routeCount: number
  readonly negativeCount: number
  /** Milliseconds since the routes were last known to be current; 0 while they are. */
  readonly stalenessMs: () => number
  /** Routes are kept although their nodes are gone, because too much is gone at once. */
  readonly outage: boolean
  /** Idempotent. Those who wait are told `unavailable`. */
  readonly close: () => void
}
