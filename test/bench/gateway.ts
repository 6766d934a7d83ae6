/**
 * `npm run bench:gateway`. Question: what does it cost to understand configuration queries, over
 * forwarding their bytes? The yardstick is haproxy in TCP mode in front of the same meta server, in
 * interleaved rounds of one run; figures are queries per CPU-second of the processes between client
 * and meta server. Expectation: with one query in flight two system calls on each side dominate, and
 * the gateway, which shares those of the meta's side among all clients, is ahead; with 16 in flight
 * haproxy moves 20 KB with each call and the gateway's work per query shows. Gateway and haproxy have
 * the last processor for themselves, as they would with clients and metas on other machines; "straight
 * to the meta" shares the first with the load, and "two workers" go where they like.
 *
 * The meta server behind both is `canned-meta.ts`, recorded bytes of a real server: our own computes
 * 46 000 answers per CPU-second, and both would only wait for it. ZooKeeper is a real one.
 *
 * `--quick`: a part of it, below a minute. `--only TEXT`: parts and cases whose name contains TEXT.
 * `--rounds N`, `--seconds N`: of each case. `--shared`: all processes go where they like.
 */
import { measureCold } from './gateway-cold.ts'
import { type HotCase, type Rounds, measureHot } from './gateway-hot.ts'
import { measureIdle } from './gateway-idle.ts'
import { measureReactions } from './gateway-reaction.ts'
import { GatewayStand, type Measured, whyNoStand } from './gateway-stand.ts'
import { type BenchRow, flagsOf, report } from './measure.ts'

const flags = flagsOf({
  quick: { type: 'boolean', default: false },
  shared: { type: 'boolean', default: false },
  only: { type: 'string', default: '' },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
})
const { quick, only, shared } = flags
const partNames = ['hot', 'cold', 'idle', 'reaction'] as const
const onlyPart = partNames.find((name) => name === only)
const rounds: Rounds = {
  rounds: Number(flags.rounds ?? (quick ? 3 : 9)),
  seconds: Number(flags.seconds ?? (quick ? 0.3 : 0.7)),
}
/** Until the code is compiled as well as it will be, on a machine that may be busy. */
const WARM_QUERIES = quick ? 100_000 : 600_000
const WARM_MS_MAX = quick ? 2500 : 15_000

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}_${String(index).padStart(5, '0')}`)
}

const hot8 = names('hot8', 1000)
const hot16 = hot8.slice(0, 16)
const hot64 = names('hot64', 16)
const hot4096 = names('hot4096', 4)
const unknown = names('unknown', 16)

interface Actors {
  /** By the number of partitions in the answer. */
  readonly direct: Measured
  readonly haproxy: Readonly<Record<8 | 64 | 4096, Measured>>
  readonly forwarding: Measured
  readonly coalescing: Measured
  readonly twoWorkers: Measured
}

/** The cases with a goal; all that a quick run measures. */
function goalCases({ direct, haproxy, forwarding, coalescing }: Actors): HotCase[] {
  return [
    {
      name: '16 tables, 64 connections, 1 in flight',
      load: { connections: 64, pipeline: 1, tables: hot16 },
      targets: [haproxy[8], forwarding, coalescing, direct],
      goals: { forwarding: 1.1, coalescing: 1.5 },
    },
    {
      name: '16 tables, 64 connections, 16 in flight',
      load: { connections: 64, pipeline: 16, tables: hot16 },
      targets: [haproxy[8], forwarding, coalescing, direct],
      goals: { forwarding: 0.75, coalescing: 1.2 },
    },
    {
      name: '1 000 tables, 64 connections, 1 in flight',
      load: { connections: 64, pipeline: 1, tables: hot8 },
      targets: [haproxy[8], coalescing],
      goals: { coalescing: 1.2 },
    },
    {
      name: '64 partitions, 16 tables, 64 connections, 16 in flight',
      load: { connections: 64, pipeline: 16, tables: hot64 },
      targets: [haproxy[64], coalescing, forwarding],
      goals: { coalescing: 2 },
    },
    {
      name: '16 tables, 256 connections, 1 in flight',
      load: { connections: 256, pipeline: 1, tables: hot16 },
      targets: [haproxy[8], forwarding, coalescing],
    },
  ]
}

function otherCases({ haproxy, forwarding, coalescing, twoWorkers }: Actors): HotCase[] {
  const targets = [haproxy[8], forwarding, coalescing]
  const hot1 = hot8.slice(0, 1)
  return [
    {
      name: '1 table, 64 connections, 1 in flight',
      load: { connections: 64, pipeline: 1, tables: hot1 },
      targets,
    },
    {
      name: '1 table, 64 connections, 16 in flight',
      load: { connections: 64, pipeline: 16, tables: hot1 },
      targets,
    },
    {
      name: '1 000 tables, 64 connections, 16 in flight',
      load: { connections: 64, pipeline: 16, tables: hot8 },
      targets,
      goals: { forwarding: 0.9, coalescing: 0.9 },
    },
    {
      name: '16 tables, 1 connection, 1 in flight',
      load: { connections: 1, pipeline: 1, tables: hot16 },
      targets,
    },
    {
      name: '16 tables, 8 connections, 1 in flight',
      load: { connections: 8, pipeline: 1, tables: hot16 },
      targets,
    },
    {
      name: '16 tables, 256 connections, 16 in flight',
      load: { connections: 256, pipeline: 16, tables: hot16 },
      targets,
    },
    {
      name: '4096 partitions, 4 tables, 16 connections, 1 in flight',
      load: { connections: 16, pipeline: 1, tables: hot4096 },
      targets: [haproxy[4096], forwarding, coalescing],
      goals: { forwarding: 0.75, coalescing: 1 },
    },
    {
      name: 'unknown tables, 64 connections, 1 in flight',
      load: { connections: 64, pipeline: 1, tables: unknown },
      targets: [coalescing],
      answersErrors: true,
    },
    {
      name: 'two workers, 16 tables, 64 connections, 16 in flight',
      load: { connections: 64, pipeline: 16, tables: hot16 },
      targets: [haproxy[8], coalescing, twoWorkers],
      isShared: !shared,
    },
  ]
}

async function startActors(stand: GatewayStand): Promise<Actors> {
  const { child, ports } = await stand.startMetas(['8', '64', '4096'])
  const [port8 = 0, port64 = 0, port4096 = 0] = ports
  await stand.map(hot8, [`127.0.0.1:${port8}`])
  await stand.map(hot64, [`127.0.0.1:${port64}`])
  await stand.map(hot4096, [`127.0.0.1:${port4096}`])
  const forwarding = await stand.startGateway('forwarding', { coalescing: 'off' })
  const coalescing = await stand.startGateway('coalescing', {})
  const haproxy = {
    8: await stand.startHaproxy(port8),
    64: await stand.startHaproxy(port64),
    4096: await stand.startHaproxy(port4096),
  }
  if (!shared) stand.separate([forwarding, coalescing, ...Object.values(haproxy)], [child])
  return {
    direct: { name: 'straight to the meta', kind: 'meta', port: port8, child },
    haproxy,
    forwarding,
    coalescing,
    // Without a goal, and processes of their own: not in a quick run.
    twoWorkers: quick ? forwarding : await stand.startGateway('two workers', { workers: '2' }),
  }
}

async function warmUp(stand: GatewayStand, targets: readonly Measured[]): Promise<void> {
  for (const pipeline of [16, 1])
    for (const { port } of targets) {
      const giveUpAtMs = performance.now() + WARM_MS_MAX
      const job = { port, connections: 64, pipeline, seconds: 0.5, tables: hot16 }
      // One in flight differs in little: a tenth will do.
      const wanted = pipeline === 1 ? WARM_QUERIES / 10 : WARM_QUERIES
      for (let done = 0; done < wanted && performance.now() < giveUpAtMs;)
        done += (await stand.measure(job)).queries
    }
}

async function hotRows(stand: GatewayStand): Promise<BenchRow[]> {
  const actors = await startActors(stand)
  const cases = [...goalCases(actors), ...(quick ? [] : otherCases(actors))]
  const wanted = cases.filter(({ name }) => onlyPart !== undefined || name.includes(only))
  if (wanted.length === 0) return []
  const { direct, forwarding, coalescing, twoWorkers } = actors
  await warmUp(stand, [direct, forwarding, coalescing, ...(quick ? [] : [twoWorkers])])
  const rows: BenchRow[] = []
  for (const hot of wanted) rows.push(...(await measureHot(stand, hot, rounds)))
  return rows
}

async function coldRows(stand: GatewayStand): Promise<BenchRow[]> {
  const tables = names('cold', quick ? 2000 : 10_000)
  const warmTables = names('warm', 500)
  const { ports } = await stand.startMetas(['8'])
  await stand.map([...tables, ...warmTables], [`127.0.0.1:${ports[0]}`])
  return measureCold(stand, tables, warmTables)
}

const parts: Readonly<
  Record<(typeof partNames)[number], (stand: GatewayStand) => Promise<BenchRow[]>>
> = {
  hot: hotRows,
  cold: coldRows,
  idle: (stand) => measureIdle(stand, quick ? 2000 : 10_000),
  reaction: (stand) => measureReactions(stand, quick ? 10 : 50),
}

async function main(): Promise<number> {
  const missing = whyNoStand()
  if (missing !== undefined) {
    process.stderr.write(`${missing}\n`)
    return 1
  }
  const rows: BenchRow[] = []
  const wanted =
    onlyPart === undefined ? (only === '' ? partNames : (['hot'] as const)) : [onlyPart]
  for (const part of wanted) {
    // Each on a stand of its own, so that nothing else runs beside what is measured.
    const stand = await GatewayStand.start()
    try {
      rows.push(...(await parts[part](stand)))
    } finally {
      await stand.close()
    }
  }
  if (rows.length === 0) {
    process.stderr.write(
      `--only ${only}: no part (${partNames.join(', ')}) or case has that name\n`,
    )
    return 2
  }
  return report('gateway', rows)
}

process.exitCode = await main()
