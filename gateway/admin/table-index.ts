/**
 * An index over the views of one revision of the mirror, so that a list does not walk through ten
 * thousand objects scattered in memory: tables by cluster and group, and all names in one text.
 */
import type { SharedText, TableView } from './table-view.ts'

export class TableIndex {
  readonly #views: readonly TableView[]
  readonly #byCluster = new Map<string, TableView[]>()
  readonly #byGroup = new Map<string, TableView[]>()
  readonly #shared = new Set<SharedText>()
  /** Rows with a note. */
  readonly #noted: number[] = []
  /** Names in lower case, one a line, and where each row begins. */
  readonly #names: string
  readonly #starts: Int32Array

  /** In the order of the names; they must not change as long as the index is used. */
  constructor(views: readonly TableView[]) {
    this.#views = views
    this.#starts = new Int32Array(views.length + 1)
    const names: string[] = []
    let length = 0
    for (const [row, view] of views.entries()) {
      const { table, shared, name } = view
      const lower = name.toLowerCase()
      names.push(lower)
      this.#starts[row] = length
      length += lower.length + 1
      this.#shared.add(shared)
      if (table.note !== undefined) this.#noted.push(row)
      if (table.cluster !== undefined) add(this.#byCluster, table.cluster, view)
      for (const group of table.memberOf) add(this.#byGroup, group, view)
    }
    this.#starts[views.length] = length
    this.#names = names.join('\n')
  }

  inCluster(cluster: string): readonly TableView[] {
    return this.#byCluster.get(cluster) ?? []
  }

  inGroup(group: string): readonly TableView[] {
    return this.#byGroup.get(group) ?? []
  }

  /** Those that may hold the lower-case text, in the order of the names; perhaps some that do not. */
  mayHold(q: string): readonly TableView[] {
    for (const { text } of this.#shared) if (text.includes(q)) return this.#views
    const rows: number[] = []
    for (let at = this.#names.indexOf(q); at >= 0;) {
      const row = this.#rowAt(at)
      rows.push(row)
      at = this.#names.indexOf(q, this.#starts[row + 1])
    }
    const noted = this.#noted.filter((row) => this.#views[row]?.search.includes(q))
    const all =
      noted.length === 0 ? rows : [...new Set([...rows, ...noted])].toSorted((a, b) => a - b)
    return all.flatMap((row) => this.#views[row] ?? [])
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

function add(index: Map<string, TableView[]>, key: string, view: TableView): void {
  const views = index.get(key)
  if (views === undefined) index.set(key, [view])
  else views.push(view)
}
