/**
 * Lists of tables from the mirror: filter, order, pages (H-3). A selection is kept as long as no change
 * brings a table in or out of it or to another place, so that paging through it, or many callers with
 * the same filter, cost one pass, and a storm of changes costs only the lists that it is about.
 */
import type { Table, TableFilter, TableQuery } from './api/tables.ts'
import { badField } from './problem.ts'
import { TableIndex } from './table-index.ts'
import type { TableMirror } from './table-mirror.ts'
import { type TableView, contains } from './table-view.ts'

const SELECTIONS_MAX = 128
const LIMIT_DEFAULT = 100
const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** The part of a view that the order is by. Equal keys are in the order of the names. */
const sortKeys: Readonly<Record<string, (view: TableView) => string | number>> = {
  name: (view) => view.name,
  cluster: (view) => view.table.cluster ?? '',
  group: (view) => view.table.group ?? '',
  state: (view) => view.table.state,
  changed: (view) => view.node.stat.modifiedWallMs,
}

interface Selection {
  /** Places in the mirror's list. */
  readonly rows: readonly number[]
  readonly matches: (view: TableView) => boolean
  readonly keyOf: (view: TableView) => string | number
  readonly isDescending: boolean
}

export class TableLists {
  readonly #mirror: TableMirror
  readonly #wallMs: () => number
  readonly #selections = new Map<string, Selection>()
  #index: TableIndex | undefined

  constructor(mirror: TableMirror, wallMs: () => number) {
    this.#mirror = mirror
    this.#wallMs = wallMs
    mirror.onViews = (changed) => {
      if (changed === undefined) {
        this.#selections.clear()
        this.#index = undefined
      } else this.#replace(changed.row, changed.before, changed.after)
    }
  }

  /** All that match, in the order of their names. */
  select(filter: TableFilter): readonly TableView[] {
    return this.#viewsOf(this.#selection(filter, 'name').rows)
  }

  /** A page as the JSON text of a `TableList`. */
  page(query: TableQuery): string {
    const { limit = LIMIT_DEFAULT, cursor, sort = 'name', fields, ...filter } = query
    const selection = this.#selection(filter, sort)
    const { rows } = selection
    const from = cursor === undefined ? 0 : this.#placeAfter(selection, readCursor(cursor, sort))
    const page = this.#viewsOf(rows.slice(from, from + limit))
    const last = page.at(-1)
    const next =
      last !== undefined && from + limit < rows.length
        ? `,"cursor":${JSON.stringify(writeCursor(sort, selection.keyOf(last), last.name))}`
        : ''
    const picked = fields === undefined ? undefined : readFields(fields)
    const texts = page.map((view) => this.#text(view, picked))
    const asOf = JSON.stringify(this.#mirror.freshness())
    return `{"tables":[${texts.join(',')}]${next},"total":${rows.length},"asOf":${asOf}}`
  }

  #viewsOf(rows: readonly number[]): readonly TableView[] {
    const { views } = this.#mirror
    return rows.flatMap((row) => views[row] ?? [])
  }

  /** Place of the first row behind the cursor; the table it was made of may be gone. */
  #placeAfter({ rows, keyOf, isDescending }: Selection, { key, name }: Cursor): number {
    const { views } = this.#mirror
    const sign = isDescending ? -1 : 1
    let low = 0
    let high = rows.length
    while (low < high) {
      const middle = (low + high) >> 1
      const view = views[rows[middle] ?? -1]
      if (view === undefined) break
      const order = sign * (compare(keyOf(view), key) || compare(view.name, name))
      if (order <= 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** What is kept stays good, where the table keeps its place. */
  #replace(row: number, before: TableView, after: TableView): void {
    this.#index?.replace(row, before, after)
    for (const [key, { matches, keyOf }] of this.#selections) {
      const [was, is] = [matches(before), matches(after)]
      if (was !== is || (is && keyOf(before) !== keyOf(after))) this.#selections.delete(key)
    }
  }

  #text(view: TableView, fields: readonly string[] | undefined): string {
    if (fields !== undefined) return JSON.stringify(pick(view.table, fields))
    view.json ??= JSON.stringify(view.table)
    return view.json
  }

  /** In the order of the names, all that may match; undefined: every table may. */
  #candidates({ cluster, group, q = '' }: TableFilter): readonly number[] | undefined {
    if (cluster === undefined && group === undefined && q === '') return undefined
    this.#index ??= new TableIndex(this.#mirror.views)
    if (cluster !== undefined) return this.#index.inCluster(cluster)
    return group === undefined ? this.#index.mayHold(q.toLowerCase()) : this.#index.inGroup(group)
  }

  #selection(filter: TableFilter, sort: string): Selection {
    const { views } = this.#mirror
    const key = JSON.stringify([sort, filter])
    const known = this.#selections.get(key)
    if (known !== undefined) return known
    const isDescending = sort.startsWith('-')
    const keyOf = sortKeys[isDescending ? sort.slice(1) : sort]
    if (keyOf === undefined) throw badField('sort', `unknown order ${sort}`)
    const matches = testOf(filter, this.#wallMs())
    const rows: number[] = []
    for (const row of this.#candidates(filter) ?? views.keys()) {
      const view = views[row]
      if (view !== undefined && matches(view)) rows.push(row)
    }
    if (isDescending) rows.reverse()
    if (sort !== 'name' && sort !== '-name') {
      const keys = new Map(rows.map((row) => [row, keyIn(views, row, keyOf)]))
      const sign = isDescending ? -1 : 1
      // Stable: within a key the order of the names stays.
      rows.sort((a, b) => sign * compare(keys.get(a) ?? '', keys.get(b) ?? ''))
    }
    const selection = { rows, matches, keyOf, isDescending }
    if (this.#selections.size >= SELECTIONS_MAX)
      this.#selections.delete(this.#selections.keys().next().value ?? '')
    // "Changed within an hour" is another selection a second later.
    if (filter.changed === undefined) this.#selections.set(key, selection)
    return selection
  }
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function testOf(filter: TableFilter, nowMs: number): (view: TableView) => boolean {
  const { cluster, group, state, invalid, changed } = filter
  const q = filter.q?.toLowerCase() ?? ''
  const sinceMs = changed === undefined ? undefined : momentOf(changed, nowMs)
  return (view) =>
    (cluster === undefined || view.table.cluster === cluster) &&
    (group === undefined || view.table.memberOf.includes(group)) &&
    (state === undefined || view.table.state === state) &&
    (invalid === undefined || view.table.valid !== invalid) &&
    (sinceMs === undefined || view.node.stat.modifiedWallMs >= sinceMs) &&
    (q === '' || contains(view, q))
}

function momentOf(text: string, nowMs: number): number {
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(text) ?? []
  if (unit !== undefined) return nowMs - Number(amount) * UNITS[unit as keyof typeof UNITS]
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw badField('changed', 'expected such as 24h, or a moment in UTC')
  return ms
}

interface Cursor {
  readonly key: string | number
  readonly name: string
}

function writeCursor(sort: string, key: string | number, name: string): string {
  return Buffer.from(JSON.stringify([sort, key, name])).toString('base64url')
}

function readCursor(cursor: string, sort: string): Cursor {
  try {
    const [sorted, key, name] = JSON.parse(
      Buffer.from(cursor, 'base64url').toString('utf8'),
    ) as readonly unknown[]
    const isKey = typeof key === 'string' || typeof key === 'number'
    if (sorted === sort && isKey && typeof name === 'string') return { key, name }
  } catch {
    // Answered below.
  }
  throw badField('cursor', 'not a cursor of a list in this order')
}

function keyIn(
  views: readonly TableView[],
  row: number,
  keyOf: Selection['keyOf'],
): string | number {
  const view = views[row]
  return view === undefined ? '' : keyOf(view)
}

function readFields(fields: string): readonly string[] {
  return [...new Set(['name', ...fields.split(',').map((field) => field.trim())])]
}

function pick(table: Table, fields: readonly string[]): object {
  const picked: Record<string, unknown> = {}
  const all: Readonly<Record<string, unknown>> = table
  for (const key of fields) if (Object.hasOwn(all, key)) picked[key] = all[key]
  return picked
}
