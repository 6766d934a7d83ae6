/**
 * Reload, drain and lame duck of the gateway's processes under load (gateway.md L-3, L-4, acceptance
 * test 12): no query fails for a client that connects again when its connection ends.
 */
import t from 'tap'
import {
  askAppId,
  childrenOf,
  isAlive,
  runCommand,
  startServedStand,
  startStand,
} from '../support/gateway-process.ts'
import { FrameClient, until } from '../support/gateway-world.ts'
import { freePort } from '../support/ports.ts'
import { startSteadyClients } from '../support/steady-clients.ts'

t.setTimeout(300_000)

/** The scripted meta lives in the process of all these clients: its pauses are no failures. */
const patient = {
  requestTimeoutMs: 60_000,
  routing: { lookupTimeoutMs: 10_000 },
  meta: { silenceMs: 30_000, connectTimeoutMs: 30_000 },
}

for (const { workers, count } of [
  { workers: 2, count: 1000 },
  { workers: 1, count: 200 },
])
  void t.test(`L-3: a reload fails no query, ${workers} worker(s), ${count} clients`, async (t) => {
    const stand = await startServedStand(t, { ...patient, workers, drainMs: 2000 })
    const gateway = stand.start()
    await until(stand.isReady)
    const pid = gateway.child.pid ?? 0
    const before = childrenOf(pid)
    t.equal(before.length, workers === 1 ? 0 : workers)
    const clients = await startSteadyClients({ ports: [stand.rpc], count, pauseMs: 1000 })
    const steadyMs = clients.percentile(0.99)
    const counted = (await stand.metric('client_query_config_count{table="temp"}')) ?? 0

    stand.configure({ limits: { frameMs: 9000 }, routing: { ...patient.routing, cache: 100 } })
    gateway.child.kill('SIGHUP')
    await until(() => gateway.output().includes('clients of before the reload have gone'))
    await until(() => !before.some(isAlive))
    t.equal(await stand.metric('gateway_reloads_total{result="applied"}'), 1)
    t.ok(
      clients.reconnected() <= count / 100,
      `${clients.reconnected()} clients had to connect again`,
    )
    const options = JSON.parse((await stand.page('/config')).text) as {
      options: { path: string; value: unknown }[]
    }
    const valueOf = (path: string): unknown =>
      options.options.find((option) => option.path === path)?.value
    t.equal(valueOf('limits.frameMs'), 9000)
    t.equal(valueOf('routing.cache'), 8192, 'left to a restart')
    t.match(gateway.output(), /"option":"routing\.cache"/)
    t.equal(await stand.metric('client_connection_count'), count)
    t.ok(
      ((await stand.metric('client_query_config_count{table="temp"}')) ?? 0) >= counted,
      'O-2: counters do not fall',
    )

    const after = childrenOf(pid)
    stand.configure({ limits: { frameMs: 'soon' } })
    gateway.child.kill('SIGHUP')
    await until(() => gateway.output().includes('reload refused'))
    t.equal(await stand.metric('gateway_reloads_total{result="invalid"}'), 1)
    t.match(gateway.output(), /gateway\.yaml:1:\d+: limits\.frameMs: expected/)
    t.same(childrenOf(pid), after, 'an invalid configuration changes nothing')

    stand.configure({
      rpc: { host: '127.0.0.1', port: stand.http },
    })
    gateway.child.kill('SIGHUP')
    await until(() => gateway.output().includes('reload failed'))
    t.equal(await stand.metric('gateway_reloads_total{result="failed"}'), 1)
    const answered = clients.answered()
    await until(() => clients.answered() > answered + 100)
    t.same(childrenOf(pid), after, 'nor does one that cannot be served')
    t.ok(await stand.isReady())

    await clients.stop()
    t.same(clients.failures, [])
    t.comment(
      `p99 ${steadyMs.toFixed(0)} ms steady, ${clients.percentile(0.99).toFixed(0)} ms since`,
    )
    gateway.child.kill('SIGTERM')
    t.equal((await gateway.ended).code, 0, gateway.output())
  })

for (const workers of [2, 1])
  void t.test(`L-4: SIGTERM under load fails no query, ${workers} worker(s)`, async (t) => {
    const stand = await startServedStand(t, {
      ...patient,
      workers,
      lameDuckMs: 1500,
      drainMs: 1000,
    })
    const first = stand.start()
    const [rpc, http] = [await freePort(), await freePort()]
    const words = ['--rpc.port', String(rpc), '--http.port', String(http)]
    const second = runCommand(['gateway', '--config', stand.file, ...words])
    t.teardown(async () => {
      second.child.kill('SIGKILL')
      await second.ended
    })
    await until(stand.isReady)
    await until(async () => (await askAppId(rpc)) === 1)
    const clients = await startSteadyClients({ ports: [stand.rpc, rpc], count: 100, pauseMs: 50 })
    const idle = await FrameClient.dial(stand.rpc)
    await idle.query('temp')

    first.child.kill('SIGTERM')
    await until(async () => (await stand.page('/readyz')).status === 503)
    t.equal((await stand.page('/readyz')).text, 'draining')
    t.equal((await stand.page('/healthz')).status, 200)
    t.equal(await askAppId(stand.rpc), 1, 'not ready, and taking connections: a lame duck')
    t.notOk(idle.hasEnded)
    t.equal((await first.ended).code, 0, first.output())
    await until(() => idle.hasEnded)
    idle.destroy()
    const answered = clients.answered()
    await until(() => clients.answered() > answered + 200)
    await clients.stop()
    t.same(clients.failures, [])
    t.ok(clients.reconnected() >= 50, 'half of them were at the first gateway')
    second.child.kill('SIGTERM')
    t.equal((await second.ended).code, 0, second.output())
  })

void t.test('L-4: a second SIGTERM ends primary and workers at once', async (t) => {
  const stand = await startStand(t.testdir(), { workers: 2, lameDuckMs: 60_000 })
  t.teardown(() => stand.close())
  const gateway = stand.start()
  await until(stand.isReady)
  const workers = childrenOf(gateway.child.pid ?? 0)
  const client = await FrameClient.dial(stand.rpc)
  gateway.child.kill('SIGTERM')
  await until(async () => (await stand.page('/readyz')).text === 'draining')
  t.ok(workers.every(isAlive))
  gateway.child.kill('SIGTERM')
  t.equal((await gateway.ended).code, 1)
  await until(() => !workers.some(isAlive))
  await until(() => client.hasEnded)
  client.destroy()
})
