/**
 * `npm run bench:gateway`. Question: what does it cost to understand configuration queries, over
 * forwarding their bytes? The yardstick is haproxy in TCP mode in front of the same meta server, in
 * interleaved rounds of one run; figures are queries per CPU-second of the processes between client
 * and meta server. Expectation: with one query in flight two system calls on each side dominate, and
 * the gateway, which shares those of the meta's side among all clients, is ahead; with 16 in flight
 * haproxy moves 20 KB with each call and the gateway's work per query shows.
 *
 * The meta server behind both is `canned-meta.ts`, recorded bytes of a real server: our own computes
 * 46 000 answers per CPU-second, and both would only wait for it.
 *
 * `--quick`: a part of it, below a minute. `--only TEXT`: cases whose name contains TEXT.
 * `--rounds N`, `--seconds N`: of each case.
 */
import { type HotCase, type Rounds, measureHot } from './gateway-hot.ts'
import { GatewayStand, type Measured, whyNoStand } from './gateway-stand.ts'
import { type BenchRow, report } from './measure.ts'

const quick = process.argv.includes('--quick')
const only = optionOf('--only') ?? ''
const rounds: Rounds = {
  rounds: Number(optionOf('--rounds') ?? (quick ? 3 : 7)),
  seconds: Number(optionOf('--seconds') ?? 0.7),
}

function optionOf(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

/** Names of one length, so that a slice of many queries is cheap to find for the load. */
function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}_${String(index).padStart(5, '0')}`)
}

interface Actors {
  readonly direct: Measured
  readonly haproxy: Measured
  readonly haproxy64: Measured
  readonly forwarding: Measured
  readonly coalescing: Measured
}

function hotCases({ direct, haproxy, forwarding, coalescing }: Actors): HotCase[] {
  const hot16 = names('hot8', 16)
  return [
    {
      name: '64 connections, 1 in flight',
      load: { connections: 64, pipeline: 1, tables: hot16 },
      targets: [haproxy, forwarding, coalescing, direct],
      goals: { forwarding: 1.1, coalescing: 1.5 },
      p99: ['forwarding', 'coalescing'],
    },
    {
      name: '64 connections, 16 in flight',
      load: { connections: 64, pipeline: 16, tables: hot16 },
      targets: [haproxy, forwarding, coalescing, direct],
      goals: { forwarding: 0.75, coalescing: 1.2 },
      p99: ['forwarding', 'coalescing'],
    },
  ]
}

/** Code that runs for the first time is interpreted and compiled: not what is measured. */
async function warmUp(stand: GatewayStand, targets: readonly Measured[]): Promise<void> {
  const tables = names('hot8', 16)
  for (const pipeline of [1, 16])
    for (const { port } of targets)
      await stand.load.run({ port, connections: 64, pipeline, seconds: quick ? 1 : 3, tables })
}

async function main(): Promise<number> {
  const missing = whyNoStand()
  if (missing !== undefined) {
    process.stderr.write(`${missing}\n`)
    return 1
  }
  const stand = await GatewayStand.start()
  try {
    const rows: BenchRow[] = []
    const { child, ports } = await stand.startMetas([8, 64, 4096])
    const [port8 = 0, port64 = 0] = ports
    await stand.map(names('hot8', 1000), [`127.0.0.1:${port8}`])
    const actors: Actors = {
      direct: { name: 'straight to the meta', port: port8, child },
      haproxy: await stand.startHaproxy('haproxy', port8),
      haproxy64: await stand.startHaproxy('haproxy', port64),
      forwarding: await stand.startGateway('forwarding', { coalescing: 'off' }),
      coalescing: await stand.startGateway('coalescing', { coalescing: 'on' }),
    }
    await warmUp(stand, [actors.forwarding, actors.coalescing, actors.direct])
    for (const hot of hotCases(actors))
      if (hot.name.includes(only)) rows.push(...(await measureHot(stand, hot, rounds)))
    return report('gateway', rows)
  } finally {
    await stand.close()
  }
}

process.exitCode = await main()
