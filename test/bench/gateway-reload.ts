/**
 * Does a reload fail a query, and what does it cost those who ask meanwhile? (gateway.md 15, test 12.)
 * Thousands of clients on a connection each, a gateway with workers, SIGHUP, and the same again.
 * Expectation: no failure and no client that connects again; p99 below 3 times that of the quiet time
 * while the clients move, and while new processes start where there are cores for them.
 *
 *   node dist/test/bench/gateway-reload.js [--connections 5000] [--rate 10000] [--seconds 10] [--workers 2]
 *
 * Clients and the scripted meta share one process, so the rate that it reaches is reported, not
 * asserted; a failed query is exit code 1.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startFakeMeta } from '../support/fake-meta.ts'
import { startStand } from '../support/gateway-process.ts'
import { until } from '../support/gateway-world.ts'
import { startSteadyClients } from '../support/steady-clients.ts'
import { flagsOf } from './measure.ts'

const values = flagsOf({
  connections: { type: 'string', default: '5000' },
  rate: { type: 'string', default: '10000' },
  seconds: { type: 'string', default: '10' },
  workers: { type: 'string', default: '2' },
})
const count = Number(values.connections)
const pauseMs = (count * 1000) / Number(values.rate)
const seconds = Number(values.seconds)

const folder = mkdtempSync(join(tmpdir(), 'gateway-reload-'))
const stand = await startStand(folder, {
  workers: Number(values.workers),
  drainMs: 10_000,
  requestTimeoutMs: 60_000,
  meta: { silenceMs: 30_000, connectTimeoutMs: 30_000 },
})
const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
await stand.map('temp', [meta.address])
const gateway = stand.start()
await until(stand.isReady)
const clients = await startSteadyClients({ ports: [stand.rpc], count, pauseMs })

interface Phase {
  readonly name: string
  readonly queriesPerSecond: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
}

async function phase(name: string, during: () => Promise<void>): Promise<Phase> {
  clients.percentile(0)
  const [startedAt, before] = [performance.now(), clients.answered()]
  await during()
  const elapsed = (performance.now() - startedAt) / 1000
  const queriesPerSecond = (clients.answered() - before) / elapsed
  const [p50Ms = 0, p90Ms = 0, p99Ms = 0, p999Ms = 0] = clients.percentiles([0.5, 0.9, 0.99, 0.999])
  return { name, queriesPerSecond, p50Ms, p90Ms, p99Ms, p999Ms }
}

const quiet = async (): Promise<void> => {
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000)
  })
}
const phases = [
  await phase('quiet', quiet),
  await phase('start', async () => {
    gateway.child.kill('SIGHUP')
    await until(() => gateway.output().includes('"event":"reloaded"'))
  }),
  await phase('move', async () => {
    await until(() => gateway.output().includes('clients of before the reload have gone'))
  }),
  await phase('after', quiet),
]
await clients.stop()
gateway.child.kill('SIGTERM')
await gateway.ended
await stand.close()
await meta.close()
rmSync(folder, { recursive: true, force: true })

for (const { name, queriesPerSecond, ...quantiles } of phases) {
  const cells = Object.entries(quantiles).map(
    ([key, ms]) => `${key.replace('Ms', '').padEnd(4)} ${ms.toFixed(1).padStart(7)} ms`,
  )
  process.stdout.write(
    `${name.padEnd(8)} ${queriesPerSecond.toFixed(0).padStart(7)} queries/s   ${cells.join('   ')}\n`,
  )
}
const { failures } = clients
process.stdout.write(
  `${count} connections, ${clients.reconnected()} of them made again, ${failures.length} queries failed\n`,
)
process.stdout.write(
  `${JSON.stringify({ bench: 'gateway-reload', connections: count, phases, reconnected: clients.reconnected(), failures: failures.slice(0, 10), ok: failures.length === 0 })}\n`,
)
process.exitCode = failures.length === 0 ? 0 : 1
