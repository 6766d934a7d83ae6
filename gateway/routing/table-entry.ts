/**
 * What the table directory knows of one table: what its node said, the answer in force, the state of
 * the watch on the node, and who waits for the first answer. Data only; the rules are elsewhere.
 */
import type { NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { StalePolicy } from './staleness.ts'

/** Immutable; a changed mapping is a new object. Goes to workers as JSON. */
export interface Route {
  readonly table: string
  /** The cluster in force: the mapping's, or the one that a redirect leads to. */
  readonly cluster: string
  readonly metas: readonly string[]
  /** Equal for equal sets of metas. */
  readonly group: string
  /** How long it may be used while nobody can confirm it. */
  readonly stale: StalePolicy
  /** With a redirect in force (DR-30): the cluster that the mapping itself names, and the plan. */
  readonly mappedCluster?: string | undefined
  readonly plan?: string | undefined
}

export type Lookup =
  | { readonly kind: 'route'; readonly route: Route }
  /** Positively known: no such node. */
  | { readonly kind: 'missing' }
  /** The node never had a valid value. */
  | { readonly kind: 'invalid' }
  /** Nothing cached and no answer from ZooKeeper, or too old for the table's staleness policy. */
  | { readonly kind: 'unavailable' }

/** What the last good value of the node says. */
export interface Mapped {
  readonly cluster: string
  readonly metas: readonly string[]
  readonly group: string
  /** The group of tables, and the policy of this one. */
  readonly tableGroup: string | undefined
  readonly stale: StalePolicy | undefined
}

/** What ZooKeeper said positively; a bad value after a good one leaves `mapped`. */
export type Truth = 'unread' | 'mapped' | 'missing' | 'invalid'

export interface Entry {
  readonly table: string
  readonly path: string
  truth: Truth
  /** Set when the truth is `mapped`. */
  mapped: Mapped | undefined
  /** From a snapshot: in force until redirects were read. */
  restored: Route | undefined
  /** In force; undefined until the first one is known. */
  answer: Lookup | undefined
  /** Since when the truth could not be confirmed; undefined while it is current. */
  staleSinceMs: number | undefined
  /** A staleness policy other than `serve` holds. */
  isBounded: boolean
  modifiedZxid: bigint
  /** As it was read last; undefined without a node. */
  node: NodeStat | undefined
  /** Monotonic; undefined before the first read. */
  readAtMs: number | undefined
  /** Counts the reads. */
  reading: number
  /** A watch is set and has not fired. */
  armed: boolean
  isReading: boolean
  /** Something happened while a read was in flight: read once more. */
  again: boolean
  waiting: { readonly tell: (lookup: Lookup) => void; readonly giveUpAtMs: number }[]
  negativeUntilMs: number
  evicted: boolean
}

export function newEntry(table: string, path: string): Entry {
  return {
    table,
    path,
    truth: 'unread',
    mapped: undefined,
    restored: undefined,
    answer: undefined,
    staleSinceMs: undefined,
    isBounded: false,
    modifiedZxid: 0n,
    node: undefined,
    readAtMs: undefined,
    reading: 0,
    armed: false,
    isReading: false,
    again: false,
    waiting: [],
    negativeUntilMs: 0,
    evicted: false,
  }
}

/** Tells everybody who waits, once. */
export function tellAll(entry: Entry, lookup: Lookup): void {
  const waiting = entry.waiting
  if (waiting.length === 0) return
  entry.waiting = []
  for (const waiter of waiting) waiter.tell(lookup)
}
