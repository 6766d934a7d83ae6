/** The exported file of mappings, line by line (`api/changes.ts`, `ExportFile`). Pure. */
import { csvLine } from './csv.ts'
import type { TableView } from './table-view.ts'

/** One table a line. `value` where writing it again gives the same text, else the text itself. */
export function* jsonFile(
  views: readonly TableView[],
  root: string,
  at: string,
): Generator<string> {
  const head = { format: 'metaproxy-tables/1', exportedAt: at, root }
  yield `${JSON.stringify(head).slice(0, -1)},"tables":[`
  let comma = '\n'
  for (const { name, node } of views) {
    const value = rewritable(node.text)
    const item = value === undefined ? { name, raw: node.text } : { name, value }
    yield `${comma}${JSON.stringify(item)}`
    comma = ',\n'
  }
  yield '\n]}\n'
}

function rewritable(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject && JSON.stringify(value) === text ? value : undefined
  } catch {
    return undefined
  }
}

export function* csvFile(views: readonly TableView[]): Generator<string> {
  yield csvLine(['table', 'cluster', 'metas', 'group', 'note'])
  for (const { name, table } of views) {
    const { cluster = '', metas = [], group = '', note = '' } = table
    yield csvLine([name, cluster, metas.join(','), group, note])
  }
}
