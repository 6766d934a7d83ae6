/**
 * All mapping nodes of the root as views in memory, kept by watches, in the order of their names: what
 * lists, exports and previews are answered from (H-3). A change of the context (registry, groups)
 * renews the views in slices, so that ten thousand of them do not hold up the event loop.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { ChangeAuthor } from './api/problem.ts'
import type { Freshness } from './api/requests.ts'
import type { Table } from './api/tables.ts'
import { type TableContext, type TableView, emptyContext, viewOf } from './table-view.ts'
import { type FolderChange, WatchedFolder } from './watched-folder.ts'

export interface TableChange {
  readonly name: string
  readonly before: TableView | undefined
  readonly after: TableView | undefined
  readonly isFirst: boolean
}

const SLICE = 250

function isRestated(before: Table, after: Table): boolean {
  return before.state !== after.state || before.redirect?.to !== after.redirect?.to
}

export class TableMirror {
  readonly #runtime: Runtime
  readonly #folder: WatchedFolder
  readonly #views = new Map<string, TableView>()
  readonly #names: string[] = []
  /** The same views in the order of their names. */
  readonly #sorted: TableView[] = []
  #context: TableContext = emptyContext
  #revision = 0
  #slice: number | undefined
  #isFirstContext = true
  #closed = false
  /** Called when a table has another view; undefined: tables came or went, and rows moved. */
  onViews:
    | ((changed: { row: number; before: TableView; after: TableView } | undefined) => void)
    | undefined
  /** Called after each change of a node; not when only the context changed. */
  onChange: ((change: TableChange) => void) | undefined
  /** Called when another context, but the first one, gave a table another state or redirect. */
  onRestated: ((view: TableView) => void) | undefined

  constructor(runtime: Runtime, coordinator: Coordinator, root: string) {
    this.#runtime = runtime
    this.#folder = new WatchedFolder(runtime, coordinator, {
      path: root,
      onChange: (change) => this.#onChange(change),
    })
  }

  /** Rises with every change of any view: what is computed from all views is good for one revision. */
  get revision(): number {
    return this.#revision
  }

  get size(): number {
    return this.#names.length
  }

  /** Sorted by code units. Not to be changed. */
  get names(): readonly string[] {
    return this.#names
  }

  /** In the order of the names. Not to be changed. */
  get views(): readonly TableView[] {
    return this.#sorted
  }

  get context(): TableContext {
    return this.#context
  }

  get(name: string): TableView | undefined {
    return this.#views.get(name)
  }

  freshness(): Freshness {
    return this.#folder.freshness()
  }

  loaded(): Promise<void> {
    return this.#folder.loaded()
  }

  /** After a change of one's own. Rejects with a `CoordinatorError`. */
  async refresh(name: string): Promise<TableView | undefined> {
    await this.#folder.refresh(name)
    return this.#views.get(name)
  }

  /** Who made the version that is there; ignored when another one came in the meantime. */
  attribute(name: string, modifiedZxid: bigint, changedBy: ChangeAuthor): void {
    const view = this.#views.get(name)
    if (view?.node.stat.modifiedZxid !== modifiedZxid) return
    // The same view: lists that hold it stay as they are.
    view.table = { ...view.table, changedBy }
    view.json = undefined
  }

  setContext(context: TableContext): void {
    this.#isFirstContext = this.#context === emptyContext
    this.#context = context
    const isRunning = this.#slice !== undefined
    this.#slice = 0
    if (!isRunning) this.#renewSlice()
  }

  close(): void {
    this.#closed = true
    this.#folder.close()
  }

  #renewSlice(): void {
    const from = this.#slice
    if (from === undefined || this.#closed) return
    const restated: TableView[] = []
    for (const name of this.#names.slice(from, from + SLICE)) {
      const view = this.#views.get(name)
      if (view === undefined) continue
      const renewed = viewOf(view.node, this.#context, view.table.changedBy)
      this.#put(renewed)
      if (!this.#isFirstContext && isRestated(view.table, renewed.table)) restated.push(renewed)
    }
    this.#revision++
    for (const view of restated) this.onRestated?.(view)
    this.#slice = from + SLICE < this.#names.length ? from + SLICE : undefined
    if (this.#slice !== undefined) this.#runtime.timers.soon(() => this.#renewSlice())
  }

  #onChange({ name, after: node, isFirst }: FolderChange): void {
    const before = this.#views.get(name)
    const after = node === undefined ? undefined : viewOf(node, this.#context)
    if (after === undefined) this.#remove(name)
    else this.#put(after)
    this.#revision++
    this.onChange?.({ name, before, after, isFirst })
  }

  #put(view: TableView): void {
    const { name } = view
    const at = this.#placeOf(name)
    this.#views.set(name, view)
    const before = this.#sorted[at]
    if (before?.name === name) {
      this.#sorted[at] = view
      this.onViews?.({ row: at, before, after: view })
    } else {
      this.#names.splice(at, 0, name)
      this.#sorted.splice(at, 0, view)
      this.onViews?.(undefined)
    }
  }

  #remove(name: string): void {
    const at = this.#placeOf(name)
    this.#views.delete(name)
    if (this.#names[at] !== name) return
    this.#names.splice(at, 1)
    this.#sorted.splice(at, 1)
    this.onViews?.(undefined)
  }

  /** Where the name is, or belongs. */
  #placeOf(name: string): number {
    let low = 0
    let high = this.#names.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#names[middle] ?? '') < name) low = middle + 1
      else high = middle
    }
    return low
  }
}
