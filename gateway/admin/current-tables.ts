/**
 * One table for a reader: from the mirror while that is live, else from ZooKeeper, else as it was last
 * known; and, when nobody found out yet, who changed it last.
 */
import { ApiError } from './problem.ts'
import { type TableEdits, checkedName } from './table-edits.ts'
import type { TableHistories } from './table-history.ts'
import type { TableMirror } from './table-mirror.ts'
import type { TableView } from './table-view.ts'

export class CurrentTables {
  readonly #mirror: TableMirror
  readonly #histories: TableHistories
  readonly #edits: TableEdits

  constructor(mirror: TableMirror, histories: TableHistories, edits: TableEdits) {
    this.#mirror = mirror
    this.#histories = histories
    this.#edits = edits
  }

  /** Throws `not-found`, or `zookeeper-unavailable` when nothing is known of it. */
  async current(name: string): Promise<TableView> {
    const view = await this.find(name)
    if (view === undefined) throw new ApiError('not-found', `no mapping for table ${name}`)
    if (view.table.changedBy !== undefined) return view
    try {
      const { modifiedZxid } = view.node.stat
      const changedBy = await this.#histories.authorOf(name, modifiedZxid)
      if (changedBy === undefined) return view
      this.#mirror.attribute(name, modifiedZxid, changedBy)
      return { ...view, table: { ...view.table, changedBy } }
    } catch {
      return view
    }
  }

  /** Without who changed it; undefined when there is none. */
  async find(name: string): Promise<TableView | undefined> {
    const known = this.#mirror.get(checkedName(name))
    if (known !== undefined && this.#mirror.freshness().state !== 'loading') return known
    try {
      return await this.#edits.read(name)
    } catch (error) {
      if (known !== undefined) return known
      throw error
    }
  }
}
