/**
 * What the table directory knows of one table: the answer in force, the state of the watch on its
 * node, and who waits for the first answer. Data only; the rules are in `table-directory.ts`.
 */

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

export interface Entry {
  readonly table: string
  readonly path: string
  answer: Lookup | undefined
  modifiedZxid: bigint
  /** The read whose watch counts; events of older ones are ignored. */
  reading: number
  /** A watch of read `reading` is set and has not fired. */
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
    answer: undefined,
    modifiedZxid: 0n,
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
