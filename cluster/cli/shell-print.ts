/** What the shell prints for people: aligned columns and `key  value` lines. Pure. */

const CELL_MAX = 60
const LAST_CELL_MAX = 300

/** Control characters of what others wrote are shown, not obeyed by the terminal. */
export function plain(value: unknown): string {
  const text = textOf(value)
  let shown = ''
  for (const sign of text) {
    const code = sign.codePointAt(0) ?? 0
    const isControl = code < 0x20 || (code >= 0x7f && code <= 0x9f)
    shown += isControl ? `\\u${code.toString(16).padStart(4, '0')}` : sign
  }
  return shown
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.map(textOf).join(', ') : JSON.stringify(value)
}

export function columns(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  if (rows.length === 0) return 'none'
  // The last column pushes nothing aside.
  const cellsOf = (row: readonly unknown[]): readonly string[] =>
    row.map((cell, at) => shorten(plain(cell), at === head.length - 1 ? LAST_CELL_MAX : CELL_MAX))
  const cells = [head, ...rows.map(cellsOf)]
  const widths = head.map((_, at) => Math.max(...cells.map((row) => row[at]?.length ?? 0)))
  return cells
    .map((row) =>
      row
        .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function facts(object: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(object).filter(([, value]) => value !== undefined)
  const width = Math.max(0, ...rows.map(([key]) => key.length))
  return rows.map(([key, value]) => `${key.padEnd(width)}  ${plain(value)}`).join('\n')
}

function shorten(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`
}
