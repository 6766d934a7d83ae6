/**
 * An index over the tables of the mirror, so that a list does not walk through ten thousand objects
 * scattered in memory: rows by cluster and group, and all names in one text. A row is the place of a
 * table in the order of the names; a table that comes or goes needs a new index, one that changes does
 * not.
 */
import type { SharedText, TableView } from './table-view.ts'

/** Texts of tables that have changed since, before all of them are looked at anew. */
const LEFT_OVER_MAX = 1000

export class TableIndex {
  /** The mirror's own list: always what is there now. */
  readonly #views: readonly TableView[]
  readonly #byCluster = new Map<string, number[]>()
  readonly #byGroup = new Map<string, number[]>()
  /** Those of all tables, and some that no table has any more. */
  #shared = new Set<SharedText>()
  #sharedMax = 0
  /** Rows with a note. */
  readonly #noted = new Set<number>()
  /** Names in lower case, one a line, and where each row begins. */
  readonly #names: string
  readonly #starts: Int32Array

  constructor(views: readonly TableView[]) {
    this.#views = views
    this.#starts = new Int32Array(views.length + 1)
    const names: string[] = []
    let length = 0
    for (const [row, view] of views.entries()) {
      const lower = view.name.toLowerCase()
      names.push(lower)
      this.#starts[row] = length
      length += lower.length + 1
      this.#note(row, view)
      const { cluster, memberOf } = view.table
      if (cluster !== undefined) rowsOf(this.#byCluster, cluster).push(row)
      for (const group of memberOf) rowsOf(this.#byGroup, group).push(row)
    }
    this.#starts[views.length] = length
    this.#names = names.join('\n')
    this.#gatherShared()
  }

  /** The table of this row has changed. */
  replace(row: number, before: TableView, after: TableView): void {
    this.#note(row, after)
    this.#shared.add(after.shared)
    if (this.#shared.size > this.#sharedMax) this.#gatherShared()
    const [was, is] = [before.table, after.table]
    if (was.cluster !== is.cluster) {
      if (was.cluster !== undefined) remove(rowsOf(this.#byCluster, was.cluster), row)
      if (is.cluster !== undefined) insert(rowsOf(this.#byCluster, is.cluster), row)
    }
    for (const group of was.memberOf)
      if (!is.memberOf.includes(group)) remove(rowsOf(this.#byGroup, group), row)
    for (const group of is.memberOf)
      if (!was.memberOf.includes(group)) insert(rowsOf(this.#byGroup, group), row)
  }

  /** In the order of the names, as all below. */
  inCluster(cluster: string): readonly number[] {
    return this.#byCluster.get(cluster) ?? []
  }

  inGroup(group: string): readonly number[] {
    return this.#byGroup.get(group) ?? []
  }

  /** Those that may hold the lower-case text, perhaps some that do not; undefined: all. */
  mayHold(q: string): readonly number[] | undefined {
    for (const { text } of this.#shared) if (text.includes(q)) return undefined
    const rows: number[] = []
    for (let at = this.#names.indexOf(q); at >= 0;) {
      const row = this.#rowAt(at)
      rows.push(row)
      at = this.#names.indexOf(q, this.#starts[row + 1])
    }
    const noted = [...this.#noted].filter((row) => this.#views[row]?.search.includes(q))
    if (noted.length === 0) return rows
    return [...new Set([...rows, ...noted])].toSorted((a, b) => a - b)
  }

  #note(row: number, { table }: TableView): void {
    if (table.note === undefined) this.#noted.delete(row)
    else this.#noted.add(row)
  }

  #gatherShared(): void {
    this.#shared = new Set(this.#views.map(({ shared }) => shared))
    this.#sharedMax = this.#shared.size + LEFT_OVER_MAX
  }

  #rowAt(position: number): number {
    let low = 0
    let high = this.#views.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#starts[middle] ?? 0) <= position) low = middle
      else high = middle - 1
    }
    return low
  }
}

function rowsOf(index: Map<string, number[]>, key: string): number[] {
  const known = index.get(key)
  if (known !== undefined) return known
  const rows: number[] = []
  index.set(key, rows)
  return rows
}

/** Where the row is, or belongs. */
function placeOf(rows: readonly number[], row: number): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((rows[middle] ?? 0) < row) low = middle + 1
    else high = middle
  }
  return low
}

function insert(rows: number[], row: number): void {
  const at = placeOf(rows, row)
  if (rows[at] !== row) rows.splice(at, 0, row)
}

function remove(rows: number[], row: number): void {
  const at = placeOf(rows, row)
  if (rows[at] === row) rows.splice(at, 1)
}
