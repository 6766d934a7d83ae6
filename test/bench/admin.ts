/**
 * `npm run bench:admin`: listings of the admin API with 10 000 tables, and what else a gateway does beside
 * the clients that it serves (`admin-import.ts`, `admin-storm.ts`).
 *
 * Question: does a fleet's page, its shells and scripts get their lists without being felt by the
 * clients that the same process serves? Expectation: a listing is one pass over the mirror at most
 * (about half a millisecond) and a text of 100 rows that is made once, so fastify's own cost (0.13 ms
 * of CPU a request, dependencies.md 5) and the copying of 40 KB dominate: between one and two thousand
 * listings per CPU-second. Latency is measured at a steady pace, from the moment at which each request
 * was due, whether the answers before it are there or not.
 *
 *   --quick   about a minute
 */
import { Agent, request } from 'node:http'
import { importRow } from './admin-import.ts'
import { stormRow } from './admin-storm.ts'
import { type BenchRow, cpuSeconds, flagsOf, median, report } from './measure.ts'
import { LineProgram, stop } from './programs.ts'

const TABLES = 10_000
const { quick: isQuick } = flagsOf({ quick: { type: 'boolean', default: false } })
const ROUNDS = isQuick ? 3 : 5
const ROUND_MS = isQuick ? 2000 : 8000
const CONNECTIONS = 8
const PACE_PER_SECOND = 1000
const P99_MS = 50
/** While listings are measured with changes: each makes what is kept of lists useless. */
const CHANGES_PER_SECOND = 100

const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })

/** What people and programs ask for; each number gives another filter, few are asked twice. */
function listing(number: number): string {
  switch (number % 5) {
    case 0:
      return '/api/v1/tables'
    case 1:
      return `/api/v1/tables?cluster=cluster-${number % 40}&sort=-changed`
    case 2:
      return `/api/v1/tables?q=${(number % 9973).toString().padStart(4, '0')}`
    case 3:
      return `/api/v1/tables?limit=50&sort=cluster&q=app${number % 7}`
    default:
      return `/api/v1/tables?group=group-${number % 25}&fields=name,cluster,state`
  }
}

function get(address: string, path: string): Promise<void> {
  const [host, port] = address.split(':')
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, path, agent }, (response) => {
      response.on('data', () => undefined)
      response.on('end', () => {
        if (response.statusCode === 200) resolve()
        else reject(new Error(`${path}: status ${response.statusCode}`))
      })
    })
    asked.on('error', reject).end()
  })
}

async function atFullSpeed(
  address: string,
  pid: number,
  paths: (n: number) => string,
): Promise<number> {
  let number = 0
  const untilMs = performance.now() + ROUND_MS
  const cpuBefore = cpuSeconds([pid])
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() < untilMs) await get(address, paths(number++))
    }),
  )
  return number / (cpuSeconds([pid]) - cpuBefore)
}

interface Paced {
  /** From when each was due to its answer. */
  readonly times: readonly number[]
  /** Share of one core that the target used. */
  readonly share: number
}

async function atAPace(
  address: string,
  pid: number,
  paths: (n: number) => string = listing,
): Promise<Paced> {
  const times: Promise<number>[] = []
  const cpuBefore = cpuSeconds([pid])
  const startedMs = performance.now()
  for (let number = 0; number < (PACE_PER_SECOND * ROUND_MS) / 1000; number++) {
    const dueMs = startedMs + (number * 1000) / PACE_PER_SECOND
    const waitMs = dueMs - performance.now()
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    times.push(get(address, paths(number)).then(() => performance.now() - dueMs))
  }
  const all = await Promise.all(times)
  const seconds = (performance.now() - startedMs) / 1000
  return { times: all, share: (cpuSeconds([pid]) - cpuBefore) / seconds }
}

/** Median of the rounds. */
function percentile(rounds: readonly Paced[], part: number): number {
  return median(
    rounds.map(({ times }) => {
      const sorted = times.toSorted((a, b) => a - b)
      return sorted[Math.floor(sorted.length * part)] ?? Number.NaN
    }),
  )
}

function pacedRow(name: string, rounds: readonly Paced[], goal?: number): BenchRow {
  const share = median(rounds.map((round) => round.share))
  return {
    name,
    value: percentile(rounds, 0.99),
    unit: 'ms',
    ...(goal === undefined ? {} : { goal }),
    lowerIsBetter: true,
    notes: `p50 ${percentile(rounds, 0.5).toFixed(1)} ms; ${Math.round(share * 100)} % of a core`,
  }
}

const target = new LineProgram(['admin-target', String(TABLES)])
const address = await target.line()
const { pid = 0 } = target.child
await atFullSpeed(address, pid, listing)
const mixed: number[] = []
const first: number[] = []
/** What the machine does to answers that cost next to nothing. */
const tiny: Paced[] = []
const quiet: Paced[] = []
const changing: Paced[] = []
for (let round = 0; round < ROUNDS; round++) {
  mixed.push(await atFullSpeed(address, pid, listing))
  first.push(await atFullSpeed(address, pid, () => '/api/v1/tables'))
  tiny.push(await atAPace(address, pid, () => '/api/v1/tables?limit=1'))
  quiet.push(await atAPace(address, pid))
  target.tell(`change ${CHANGES_PER_SECOND} ${ROUND_MS}`)
  changing.push(await atAPace(address, pid))
}
agent.destroy()
const unit = 'listings per CPU-second'
const paced = `p99 at ${PACE_PER_SECOND} listings a second`
const rows: BenchRow[] = [
  {
    name: `mixed listings, ${TABLES} tables`,
    value: median(mixed),
    unit,
    goal: 1000,
    notes: 'pages of 100 and 50; filters by name, cluster, group; three orders',
  },
  { name: 'first page of 100', value: median(first), unit, goal: 1000 },
  pacedRow(`p99 at ${PACE_PER_SECOND} lists of one table a second`, tiny),
  pacedRow(paced, quiet, P99_MS),
  pacedRow(`${paced}, and ${CHANGES_PER_SECOND} changes a second`, changing, P99_MS),
  await importRow(target, address, 'json', ROUNDS),
  await importRow(target, address, 'csv', ROUNDS),
]
await stop(target.child)
rows.push(await stormRow(isQuick ? 3000 : 8000))
process.exitCode = report('admin', rows)
