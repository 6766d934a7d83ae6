/**
 * The difference of two texts (admin-ui.md 3.4): line by line, and within lines that were changed
 * word by word. JSON is laid out first, so that one key is one line. Pure. The longest common
 * subsequence is found by the textbook table, bounded; larger texts are shown as replaced whole.
 */
export interface Piece {
  readonly text: string
  readonly changed: boolean
}

export interface DiffLine {
  readonly kind: 'same' | 'old' | 'new'
  readonly pieces: readonly Piece[]
}

/** Cells of the table: a product of two lengths. */
const CELLS_MAX = 4_000_000

/** JSON with one key a line; any other text as it is. */
export function laidOut(text: string): string {
  if (text === '') return ''
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

/** Pairs of indices of items that both have, rising in both. */
export function commonItems(
  before: readonly string[],
  after: readonly string[],
): readonly (readonly [number, number])[] {
  const columns = after.length + 1
  if ((before.length + 1) * columns > CELLS_MAX) return []
  const lengths = new Uint32Array((before.length + 1) * columns)
  const at = (row: number, column: number): number => lengths[row * columns + column] ?? 0
  for (let row = before.length - 1; row >= 0; row--)
    for (let column = after.length - 1; column >= 0; column--)
      lengths[row * columns + column] =
        before[row] === after[column]
          ? at(row + 1, column + 1) + 1
          : Math.max(at(row + 1, column), at(row, column + 1))
  const pairs: [number, number][] = []
  let row = 0
  let column = 0
  while (row < before.length && column < after.length)
    if (before[row] === after[column]) pairs.push([row++, column++])
    else if (at(row + 1, column) >= at(row, column + 1)) row++
    else column++
  return pairs
}

function words(line: string): string[] {
  return line.match(/[\p{L}\p{N}_.:-]+|\s+|[^\s]/gu) ?? []
}

/** The two sides of a changed line, with the words marked that the other side does not have. */
export function changedWords(before: string, after: string): readonly [Piece[], Piece[]] {
  const [old, fresh] = [words(before), words(after)]
  const pairs = commonItems(old, fresh)
  const side = (items: readonly string[], kept: ReadonlySet<number>): Piece[] => {
    const pieces: Piece[] = []
    for (const [index, text] of items.entries()) {
      const changed = !kept.has(index)
      const last = pieces.at(-1)
      if (last?.changed === changed) pieces[pieces.length - 1] = { text: last.text + text, changed }
      else pieces.push({ text, changed })
    }
    return pieces
  }
  return [
    side(old, new Set(pairs.map(([index]) => index))),
    side(fresh, new Set(pairs.map(([, index]) => index))),
  ]
}

/** A key that got another one behind it has a comma more, and is the same all the same. */
const withoutComma = (line: string): string => line.replace(/,$/, '')

const whole = (text: string, changed: boolean): Piece[] => [{ text, changed }]

export function diffLines(before: string, after: string): readonly DiffLine[] {
  const old = before === '' ? [] : laidOut(before).split('\n')
  const fresh = after === '' ? [] : laidOut(after).split('\n')
  const lines: DiffLine[] = []
  let [oldAt, freshAt] = [0, 0]
  for (const [oldTo, freshTo] of [
    ...commonItems(old.map(withoutComma), fresh.map(withoutComma)),
    [old.length, fresh.length] as const,
  ]) {
    const removed = old.slice(oldAt, oldTo)
    const added = fresh.slice(freshAt, freshTo)
    const paired = removed.length === added.length
    const sides = removed.map((line, index) => changedWords(line, added[index] ?? ''))
    for (const [index, line] of removed.entries())
      lines.push({ kind: 'old', pieces: paired ? (sides[index]?.[0] ?? []) : whole(line, true) })
    for (const [index, line] of added.entries())
      lines.push({ kind: 'new', pieces: paired ? (sides[index]?.[1] ?? []) : whole(line, true) })
    const same = fresh[freshTo]
    if (same !== undefined) lines.push({ kind: 'same', pieces: whole(same, false) })
    oldAt = oldTo + 1
    freshAt = freshTo + 1
  }
  return lines
}
