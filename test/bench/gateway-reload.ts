/**
 * Does a reload fail a query, and what does it cost those who ask meanwhile? (gateway.md 15, test 12.)
 * Thousands of clients on a connection each, a gateway with workers, SIGHUP, and the same again.
 * Expectation: no failure; p99 below 3 times that of the quiet time, on a machine with cores to spare
 * (new processes start beside the old ones).
 *
 *   node dist/test/bench/gateway-reload.js [--connections 5000] [--rate 10000] [--seconds 10] [--workers 2]
 *
 * Clients and the scripted meta share one process, so the rate that it reaches is reported, not
 * asserted; a failed query is exit code 1.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startFakeMeta } from '../support/fake-meta.ts'
import { startStand } from '../support/gateway-process.ts'
import { until } from '../support/gateway-world.ts'
import { startSteadyClients } from '../support/steady-clients.ts'

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '5000' },
    rate: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '10' },
    workers: { type: 'string', default: '2' },
  },
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
  readonly p99Ms: number
}

async function phase(name: string, during: () => Promise<void>): Promise<Phase> {
  clients.percentile(0)
  const [startedAt, before] = [performance.now(), clients.answered()]
  await during()
  const elapsed = (performance.now() - startedAt) / 1000
  const [p50Ms = 0, p99Ms = 0] = clients.percentiles([0.5, 0.99])
  return { name, queriesPerSecond: (clients.answered() - before) / elapsed, p50Ms, p99Ms }
}

const quiet = async (): Promise<void> => {
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000)
  })
}
const phases = [
  await phase('quiet', quiet),
  await phase('reload', async () => {
    gateway.child.kill('SIGHUP')
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

for (const { name, queriesPerSecond, p50Ms, p99Ms } of phases)
  process.stdout.write(
    `${name.padEnd(8)} ${queriesPerSecond.toFixed(0).padStart(7)} queries/s   p50 ${p50Ms.toFixed(1)} ms   p99 ${p99Ms.toFixed(1)} ms\n`,
  )
const { failures } = clients
process.stdout.write(
  `${count} connections, ${clients.moved()} moved, ${failures.length} queries failed\n`,
)
process.stdout.write(
  `${JSON.stringify({ bench: 'gateway-reload', connections: count, phases, moved: clients.moved(), failures: failures.slice(0, 10), ok: failures.length === 0 })}\n`,
)
process.exitCode = failures.length === 0 ? 0 : 1
