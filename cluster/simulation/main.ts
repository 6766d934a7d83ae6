/**
 * `metaproxy simulate [--seed N] [--minutes N] [--seeds N] [--json] [--verbose]`: runs seeds of the
 * simulation one after the other and says what was found. The same seed gives the same verdict and
 * the same trace hash; a failure is printed with what is needed to understand and repeat it.
 */
import { parseArgs } from 'node:util'
import { faultKindNames, type FaultKindName } from './faults.ts'
import { runSeed, type RunResult } from './run.ts'

const usage = `metaproxy simulate [FLAGS]

  --seed N      first seed (1)
  --seeds N     how many seeds, one after the other (1)
  --minutes N   virtual minutes under faults per seed, such as 0.5 (1)
  --without K   leave out this kind of faults (repeatable): ${faultKindNames.join(', ')}
  --json        one JSON object per seed
  --verbose     the log of all servers, on standard error
`

interface Wish {
  readonly seed: number
  readonly seeds: number
  readonly minutes: number
  readonly without: ReadonlySet<FaultKindName>
  readonly json: boolean
  readonly verbose: boolean
}

function numberOf(flag: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (text === '' || !(value >= min && value <= max))
    throw new Error(`--${flag} ${text}: expected a number from ${min} to ${max}`)
  return value
}

function wholeNumberOf(flag: string, text: string, min: number, max: number): number {
  const value = numberOf(flag, text, min, max)
  if (!Number.isSafeInteger(value)) throw new Error(`--${flag} ${text}: expected a whole number`)
  return value
}

/** Throws an Error with one line that names the flag. */
function parseWish(words: readonly string[]): Wish | 'help' {
  const { values } = parseArgs({
    args: [...words],
    options: {
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      minutes: { type: 'string', default: '1' },
      without: { type: 'string', multiple: true, default: [] },
      json: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const without = values.without.map((name) => {
    const kind = faultKindNames.find((known) => known === name)
    if (kind === undefined) throw new Error(`--without ${name}: no such kind of faults`)
    return kind
  })
  return {
    seed: wholeNumberOf('seed', values.seed, 0, Number.MAX_SAFE_INTEGER),
    seeds: wholeNumberOf('seeds', values.seeds, 1, 1_000_000),
    minutes: numberOf('minutes', values.minutes, 0, 10_000),
    without: new Set(without),
    json: values.json,
    verbose: values.verbose,
  }
}

function summaryOf(result: RunResult, elapsedMs: number): string {
  const { seed, violations, traceHash, events, virtualMs, counts, operatorWaits, undecidedKeys } =
    result
  const verdict = violations.length === 0 ? 'ok' : 'FAILED'
  return (
    `seed ${seed}: ${verdict}, trace ${traceHash}, ${events} events in ` +
    `${(virtualMs / 1000).toFixed(1)} s (${(virtualMs / Math.max(1, elapsedMs)).toFixed(0)} x real time), ` +
    `operations ${counts.acknowledged} acknowledged, ${counts.refused} refused, ` +
    `${counts.unknown} unknown, ` +
    `partitions left to an operator ${operatorWaits.length}, keys undecided ${undecidedKeys}, ` +
    `faults ${result.faultKinds.join(' ') || 'none'}`
  )
}

function failureOf(result: RunResult): string {
  return [
    'Violations:',
    ...result.violations.map((violation) => `  ${violation}`),
    `Faults (${result.schedule.length}):`,
    ...result.schedule.map((line) => `  ${line}`),
    `Last ${result.lastEvents.length} events:`,
    ...result.lastEvents.map((line) => `  ${line}`),
    '',
  ].join('\n')
}

function jsonOf(result: RunResult, elapsedMs: number): string {
  const { lastEvents, schedule, ...facts } = result
  const failed = result.violations.length > 0
  return JSON.stringify({ ...facts, elapsedMs, ...(failed ? { schedule, lastEvents } : {}) })
}

/** Resolves to the exit code: 0 all held, 1 something did not, 2 bad usage. */
export async function main(words: readonly string[]): Promise<number> {
  let wish: Wish | 'help'
  try {
    wish = parseWish(words)
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause)
    process.stderr.write(`metaproxy simulate: ${text}\n\n${usage}`)
    return 2
  }
  if (wish === 'help') {
    process.stdout.write(usage)
    return 0
  }
  const { seed: first, seeds, minutes, without, json, verbose } = wish
  const onLog = (line: string): void => void process.stderr.write(`${line}\n`)
  const failed: number[] = []
  for (let seed = first; seed < first + seeds; seed++) {
    const startedMs = performance.now()
    const result = await runSeed({ seed, minutes, without, ...(verbose ? { onLog } : {}) })
    const elapsedMs = Math.round(performance.now() - startedMs)
    process.stdout.write(`${json ? jsonOf(result, elapsedMs) : summaryOf(result, elapsedMs)}\n`)
    if (result.violations.length === 0) continue
    failed.push(seed)
    if (!json) process.stdout.write(failureOf(result))
  }
  if (!json && seeds > 1)
    process.stdout.write(
      `${seeds - failed.length} of ${seeds} seeds passed${failed.length > 0 ? `; failed: ${failed.join(' ')}` : ''}\n`,
    )
  return failed.length === 0 ? 0 : 1
}
