/**
 * Tables that clients create through the gateway and that are mapped nowhere yet (gateway.md 6), as the
 * client side of a gateway sees what it takes: where such a table is to be created, and writing its
 * mapping once it is there. Two implementations: the one that holds the ZooKeeper sessions
 * (`admin/new-table-mappings.ts`), and a worker's, which asks its primary for it
 * (`processes/asked-new-tables.ts`).
 */

export interface NewTables {
  /** Where to create a table that has no mapping. Never rejects; answers within `budgetMs`. */
  readonly place: (table: string, cluster: string, budgetMs: number) => Promise<Placing>
  /**
   * Maps a table that is on its cluster, unless somebody did. When it is `mapped` every process of this
   * gateway serves it. Never rejects; answers within `budgetMs`, and may end the work later.
   */
  readonly map: (wish: MappingWish, budgetMs: number) => Promise<MappingMade>
}

export type Placing =
  | { readonly kind: 'create'; readonly metas: readonly string[] }
  /** It is mapped after all, and served. */
  | Mapped
  | NotPossible

export type MappingMade = Mapped | NotPossible

export interface Mapped {
  readonly kind: 'mapped'
  /** False: somebody else was faster. */
  readonly isOurs: boolean
}

export interface NotPossible {
  readonly kind: 'not-possible'
  readonly problem: NewTableProblem
  /** In words, for the log. */
  readonly why: string
}

export type NewTableProblem =
  /** Too much at once, a switch of the cluster, or somebody mapped the table elsewhere. */
  | 'busy'
  /** ZooKeeper cannot be asked, or does not tell the truth now; nothing was written. */
  | 'unavailable'
  /** The cluster is not in the registry. */
  | 'no-cluster'
  /** Its entry there cannot be read. */
  | 'invalid-cluster'
  /** The table's node is there and holds no mapping. */
  | 'invalid-mapping'
  /** ZooKeeper refuses this gateway. */
  | 'no-right'
  /** A mapping may have been written, or is written and not served everywhere yet. */
  | 'outcome-unknown'

/** JSON, as it goes from worker to primary. */
export interface MappingWish {
  readonly table: string
  readonly cluster: string
  /** Where it was created. */
  readonly metas: readonly string[]
  /** `address:port` of the client, for the audit. */
  readonly peer: string
}

export function notPossible(problem: NewTableProblem, why: string): NotPossible {
  return { kind: 'not-possible', problem, why }
}
