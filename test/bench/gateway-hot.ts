/**
 * Tables that the gateway knows: queries per CPU-second of what stands in front of the meta server,
 * in short interleaved rounds, so that a machine whose speed changes changes it for all of them.
 */
import { type BenchRow, median } from './measure.ts'
import type { GatewayStand, Measured } from './gateway-stand.ts'
import type { QueryLoad, QueryLoadResult } from './query-load.ts'

export interface HotCase {
  readonly name: string
  readonly load: Omit<QueryLoad, 'port' | 'seconds'>
  /** The others are compared with the haproxy among them. */
  readonly targets: readonly Measured[]
  /** Least queries per CPU-second, times haproxy, by the target's name. */
  readonly goals?: Readonly<Record<string, number>>
  /** No goal for the 99th percentile: unlike haproxy it shares its processors with the load. */
  readonly isShared?: boolean
  /** Every answer is an error, as it should be. */
  readonly answersErrors?: boolean
}

/** With so many connections a gateway's 99th percentile must not be above haproxy's. */
const p99Connections = [64, 256]

interface Figure {
  readonly perCpuSecond: number
  readonly result: QueryLoadResult
}

export interface Rounds {
  readonly rounds: number
  readonly seconds: number
}

export async function measureHot(
  stand: GatewayStand,
  hot: HotCase,
  { rounds, seconds }: Rounds,
): Promise<BenchRow[]> {
  const figures = hot.targets.map((): Figure[] => [])
  // Code that runs for the first time is compiled, and tables are read: not what is measured.
  for (const { port } of hot.targets) await stand.measure({ ...hot.load, port, seconds: 0.3 })
  for (let round = 0; round < rounds; round++)
    for (const [index, target] of hot.targets.entries())
      figures[index]?.push(await figureOf(stand, hot, target, seconds))
  return rowsOf(hot, figures)
}

async function figureOf(
  stand: GatewayStand,
  hot: HotCase,
  { port, child }: Measured,
  seconds: number,
): Promise<Figure> {
  const result = await stand.measure({ ...hot.load, port, seconds }, child.pid)
  return { perCpuSecond: result.queries / result.cpu, result }
}

function rowsOf(hot: HotCase, figures: readonly (readonly Figure[])[]): BenchRow[] {
  const yardstickAt = hot.targets.findIndex(({ kind }) => kind === 'haproxy')
  const yardstick = figures[yardstickAt]
  return hot.targets.flatMap(({ name, kind }, index) => {
    const own = figures[index] ?? []
    const middle = (of: (figure: Figure) => number): number => median(own.map(of))
    const p99Ms = middle(({ result }) => result.p99Ms)
    const errors = own.reduce((sum, { result }) => sum + result.errors, 0)
    const wrong = hot.answersErrors === true ? 0 : errors
    const perSecond = Math.round(middle(({ result }) => result.queries / result.seconds))
    const p50Ms = middle(({ result }) => result.p50Ms)
    const row: BenchRow = {
      name: `${hot.name}: ${name}`,
      value: middle(({ perCpuSecond }) => perCpuSecond),
      unit: 'queries per CPU-second',
      notes: `${perSecond}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms${wrong > 0 ? `, ${wrong} ERRORS` : ''}`,
    }
    if (yardstick === undefined || index === yardstickAt) return [row]
    const goal = wrong > 0 ? Infinity : hot.goals?.[name]
    const judged: BenchRow = {
      ...row,
      yardstick: 'haproxy',
      // Rounds are compared pair by pair: neighbours in time saw the same machine.
      ratio: ratioOf(own, yardstick, ({ perCpuSecond }) => perCpuSecond),
      ...(goal === undefined ? {} : { goal }),
    }
    const isAlone = kind === 'gateway' && hot.isShared !== true
    if (!isAlone || !p99Connections.includes(hot.load.connections)) return [judged]
    const latency: BenchRow = {
      name: `${hot.name}: ${name}, p99`,
      value: p99Ms,
      unit: 'ms',
      yardstick: 'haproxy',
      ratio: ratioOf(own, yardstick, ({ result }) => result.p99Ms),
      goal: 1,
      lowerIsBetter: true,
    }
    return [judged, latency]
  })
}

function ratioOf(
  own: readonly Figure[],
  yardstick: readonly Figure[],
  of: (figure: Figure) => number,
): number {
  return median(
    own.map((figure, round) => {
      const other = yardstick[round]
      return other === undefined ? Number.NaN : of(figure) / of(other)
    }),
  )
}
