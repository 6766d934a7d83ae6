/**
 * What every benchmark needs: CPU seconds of the measured processes (from /proc, user and system,
 * with their children), percentiles, and the output that product.md promises: a table for people,
 * then one line of JSON. Linux only, like the figures.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { type ParseArgsConfig, parseArgs } from 'node:util'

/** The flags of the command line; one that is not among `options` is a line on stderr and exit code 2. */
export function flagsOf<const T extends NonNullable<ParseArgsConfig['options']>>(
  options: T,
): ReturnType<typeof parseArgs<{ options: T }>>['values'] {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    const known = Object.entries(options).map(([name, { type }]) =>
      type === 'boolean' ? `--${name}` : `--${name} VALUE`,
    )
    process.stderr.write(`${(error as Error).message}\nknown: ${known.join(', ')}\n`)
    process.exit(2)
  }
}

/** Kernel ticks a second: USER_HZ, 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

interface ProcessStat {
  readonly parent: number
  readonly cpuSeconds: number
}

function statOf(pid: number): ProcessStat | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The program's name, in parentheses, may hold spaces; fields are counted behind it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  return { parent: Number(fields[1]), cpuSeconds: ticks / ticksPerSecond }
}

/** The process and all that descend from it. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    const stat = Number.isInteger(pid) ? statOf(pid) : undefined
    if (stat !== undefined) parents.set(pid, stat.parent)
  }
  const tree = [root]
  for (const pid of tree)
    for (const [child, parent] of parents) if (parent === pid) tree.push(child)
  return tree
}

/** CPU seconds that the processes (with their descendants) have used so far. */
export function cpuSeconds(roots: readonly number[]): number {
  const pids = new Set(roots.flatMap(processTree))
  return [...pids].reduce((sum, pid) => sum + (statOf(pid)?.cpuSeconds ?? 0), 0)
}

/** Resident memory in MB of the processes, with their descendants; shared pages count in each. */
export function residentMb(roots: readonly number[], withDescendants = true): number {
  const pids = new Set(withDescendants ? roots.flatMap(processTree) : roots)
  let pages = 0
  for (const pid of pids)
    try {
      pages += Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1])
    } catch {
      continue
    }
  return (pages * 4096) / 1e6
}

/** The processors that this process may use. */
export function processors(): readonly number[] {
  const status = readFileSync('/proc/self/status', 'utf8')
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/** Keeps processes and their descendants, with all their threads, on these processors. */
export function keepOn(cpus: readonly number[], roots: readonly number[]): void {
  for (const pid of roots.flatMap(processTree)) {
    const { status, error, stderr } = spawnSync(
      'taskset',
      ['--all-tasks', '--cpu-list', '--pid', cpus.join(), String(pid)],
      { encoding: 'utf8' },
    )
    if (status !== 0) throw new Error(`taskset: ${error?.message ?? stderr}`)
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

export interface BenchRow {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly yardstick?: string
  /** value / yardstick's value, in the same run. */
  readonly ratio?: number
  /** For the ratio, or for the value when there is no yardstick: at least this. */
  readonly goal?: number
  /** The goal is the most that is allowed. */
  readonly lowerIsBetter?: boolean
  /** Further figures for the table. */
  readonly notes?: string
}

function isReached({ goal, value, ratio, yardstick, lowerIsBetter }: BenchRow): boolean {
  if (goal === undefined) return true
  const reached = yardstick === undefined ? value : (ratio ?? Number.NaN)
  return lowerIsBetter === true ? reached <= goal : reached >= goal
}

function goalText({ goal, yardstick, lowerIsBetter }: BenchRow, ok: boolean): string {
  if (goal === undefined) return ''
  const bound = lowerIsBetter === true ? '<= ' : ''
  return `${bound}${goal}${yardstick === undefined ? '' : ' x'} ${ok ? 'ok' : 'MISSED'}`
}

/** Prints the table and the JSON line; the exit code says whether every goal was reached. */
export function report(bench: string, rows: readonly BenchRow[]): number {
  const judged = rows.map((row) => ({ ...row, ok: isReached(row) }))
  const round = (value: number): string =>
    value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
  const cells = judged.map((row) => [
    row.name,
    round(row.value),
    row.unit,
    row.yardstick ?? '',
    row.ratio === undefined ? '' : `${row.ratio.toFixed(2)} x`,
    goalText(row, row.ok),
    row.notes ?? '',
  ])
  const table = [['row', 'value', 'unit', 'yardstick', 'ratio', 'goal', 'notes'], ...cells]
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0))) ?? []
  for (const line of table)
    process.stdout.write(
      `${line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    )
  const ok = judged.every((row) => row.ok)
  process.stdout.write(`${JSON.stringify({ bench, rows: judged, ok })}\n`)
  return ok ? 0 : 1
}
