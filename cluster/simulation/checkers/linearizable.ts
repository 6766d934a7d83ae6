/**
 * Linearizability of the operations on one hash key: some order of them, in which each takes effect
 * between its call and its answer, explains every answer (Wing and Gong's search, with Lowe's memo of
 * visited configurations). A hash key's rows are one object, since single-row and multi-row
 * operations are atomic within it (replica-invariants.md C1). A write of unknown outcome has its
 * answer behind everything: taking effect last is the same as never.
 *
 * Two shortcuts lose nothing: a read that fits the state is taken at once, since it changes nothing;
 * and an unknown write whose values nobody read is left out, since any order explains as much
 * without it.
 */

/** Row (sort key) → value written; undefined removes the row. */
export type RowChange = ReadonlyMap<string, string | undefined>
/** Row → value found. */
export type RowReading = ReadonlyMap<string, string | undefined>

export interface KeyOperation {
  readonly process: string
  /** Position in the order of calls and answers; `returnedAt` is Infinity for an unknown outcome. */
  readonly invokedAt: number
  readonly returnedAt: number
  /** Empty for a read. */
  readonly change: RowChange
  readonly reading: RowReading
}

export type LinearizableVerdict =
  | { readonly verdict: 'linearizable' | 'undecided'; readonly steps: number }
  /** `explained` is the largest number of operations that some order explains. */
  | { readonly verdict: 'violated'; readonly steps: number; readonly explained: number }

/** An entry of the list of calls and answers; linked, so that taken operations are out of the way. */
interface Entry {
  readonly operation: number
  readonly isCall: boolean
  previous: Entry | undefined
  next: Entry | undefined
  answer: Entry | undefined
}

type State = readonly number[]

/** An operation over numbered rows and values; 0 is the absent value. */
interface CompiledOperation {
  readonly writes: readonly (readonly [row: number, value: number])[]
  readonly reads: readonly (readonly [row: number, value: number])[]
}

/** `stepsMax` bounds the search; beyond it the verdict is `undecided`. */
export function checkLinearizable(
  operations: readonly KeyOperation[],
  stepsMax: number,
): LinearizableVerdict {
  const relevant = withoutUnseenWrites(operations)
  const { compiled, rowCount } = compile(relevant)
  const head = link(relevant)
  const taken = new Uint8Array(relevant.length)
  const visited = new Set<string>()
  const path: { readonly entry: Entry; readonly state: State; readonly isRead: boolean }[] = []
  let state: State = Array.from({ length: rowCount }, () => 0)
  let entry = head.next
  let steps = 0
  let explained = 0
  while (entry !== undefined) {
    if (++steps > stepsMax) return { verdict: 'undecided', steps }
    if (entry.isCall) {
      const operation = compiled[entry.operation]
      const next = operation === undefined ? undefined : step(state, operation)
      if (next !== undefined) {
        taken[entry.operation] = 1
        const mark = `${next.join()};${Buffer.from(taken).toString('latin1')}`
        if (!visited.has(mark)) {
          visited.add(mark)
          path.push({ entry, state, isRead: next === state })
          state = next
          explained = Math.max(explained, path.length)
          unlink(entry)
          entry = head.next
          continue
        }
        taken[entry.operation] = 0
      }
      entry = entry.next
    } else {
      // An operation was answered before anything that could come first explains it: go back.
      let last = path.pop()
      for (; last !== undefined; last = path.pop()) {
        state = last.state
        taken[last.entry.operation] = 0
        relink(last.entry)
        if (!last.isRead) break
      }
      if (last === undefined) return { verdict: 'violated', steps, explained }
      entry = last.entry.next
    }
  }
  return { verdict: 'linearizable', steps }
}

function withoutUnseenWrites(operations: readonly KeyOperation[]): readonly KeyOperation[] {
  const seen = new Set(operations.flatMap(({ reading }) => [...reading.values()]))
  return operations.filter(({ returnedAt, change }) => {
    if (returnedAt !== Infinity || change.size === 0) return true
    return [...change.values()].some((value) => value === undefined || seen.has(value))
  })
}

function compile(operations: readonly KeyOperation[]): {
  readonly compiled: readonly CompiledOperation[]
  readonly rowCount: number
} {
  const rows = new Map<string, number>()
  const values = new Map<string | undefined, number>([[undefined, 0]])
  const numberIn = <K>(map: Map<K, number>, key: K): number => {
    const known = map.get(key)
    if (known !== undefined) return known
    map.set(key, map.size)
    return map.size - 1
  }
  const numbered = (cells: RowChange): readonly (readonly [number, number])[] =>
    [...cells].map(([row, value]) => [numberIn(rows, row), numberIn(values, value)] as const)
  const compiled = operations.map(({ change, reading }) => ({
    writes: numbered(change),
    reads: numbered(reading),
  }))
  return { compiled, rowCount: rows.size }
}

/** The state behind the operation, or undefined when its answer contradicts the state before. */
function step(state: State, { writes, reads }: CompiledOperation): State | undefined {
  for (const [row, value] of reads) if (state[row] !== value) return undefined
  if (writes.length === 0) return state
  const next = [...state]
  for (const [row, value] of writes) next[row] = value
  return next
}

function link(operations: readonly KeyOperation[]): Entry {
  const events = operations.flatMap(({ invokedAt, returnedAt }, operation) => {
    const answer: Entry = entryFor(operation, false)
    return [
      { at: invokedAt, entry: { ...entryFor(operation, true), answer } },
      { at: returnedAt, entry: answer },
    ]
  })
  const head = entryFor(-1, true)
  let last = head
  for (const { entry } of events.toSorted((a, b) => (a.at === b.at ? 0 : a.at - b.at))) {
    entry.previous = last
    last.next = entry
    last = entry
  }
  return head
}

function entryFor(operation: number, isCall: boolean): Entry {
  return { operation, isCall, previous: undefined, next: undefined, answer: undefined }
}

/** Takes the call and its answer out of the list. */
function unlink(call: Entry): void {
  for (const entry of [call, call.answer]) {
    if (entry === undefined) continue
    if (entry.previous !== undefined) entry.previous.next = entry.next
    if (entry.next !== undefined) entry.next.previous = entry.previous
  }
}

/** Undoes `unlink`, in reverse order. */
function relink(call: Entry): void {
  for (const entry of [call.answer, call]) {
    if (entry === undefined) continue
    if (entry.previous !== undefined) entry.previous.next = entry
    if (entry.next !== undefined) entry.next.previous = entry
  }
}

/** The history in words, for a failure's report. */
export function describeHistory(operations: readonly KeyOperation[]): readonly string[] {
  const cells = (rows: RowChange): string =>
    [...rows].map(([row, value]) => `${row}=${value ?? 'absent'}`).join(' ')
  return operations
    .toSorted((a, b) => a.invokedAt - b.invokedAt)
    .map(({ process, invokedAt, returnedAt, change, reading }) => {
      const returned = returnedAt === Infinity ? 'unknown' : String(returnedAt)
      const what = change.size > 0 ? `write ${cells(change)}` : `read ${cells(reading)}`
      return `${invokedAt}..${returned} ${process} ${what}`
    })
}
