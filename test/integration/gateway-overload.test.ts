/**
 * L-7 in real processes: one that gets the processor for a fraction of the time only is late at every
 * look, refuses cold lookups, then connections, and takes both again when it keeps up.
 */
import t from 'tap'
import { appIdOf, askAppId, childrenOf, startServedStand } from '../support/gateway-process.ts'
import { FrameClient, until } from '../support/gateway-world.ts'

t.setTimeout(120_000)

/** Stops a process again and again, so that it runs a sixth of the time. Resolves when it has ended. */
function slowDown(pid: number): { readonly stop: () => Promise<void> } {
  const state = { isOver: false }
  const pause = async (ms: number): Promise<void> =>
    new Promise((resolve) => {
      setTimeout(resolve, ms)
    })
  const run = async (): Promise<void> => {
    while (!state.isOver) {
      process.kill(pid, 'SIGSTOP')
      await pause(300)
      process.kill(pid, 'SIGCONT')
      await pause(60)
    }
  }
  const ended = run()
  return {
    stop: async () => {
      state.isOver = true
      await ended
    },
  }
}

const overload = { lagMs: 100, forMs: 1000 }

void t.test('a slow process sheds cold lookups, then connections, and recovers', async (t) => {
  const stand = await startServedStand(t, { overload, routing: { lookupTimeoutMs: 10_000 } })
  await stand.map('cold', [stand.meta.address])
  const gateway = stand.start()
  await until(stand.isReady)
  const client = await FrameClient.dial(stand.rpc)
  t.equal(appIdOf(await client.query('temp')), 1)

  const slow = slowDown(gateway.child.pid ?? 0)
  await until(() => gateway.output().includes('"level":"shedding"'))
  const shedding = await client.query('never-seen')
  t.equal(appIdOf(shedding), 0)
  t.match(shedding.result.toString('latin1'), /ERR_SERVICE_NOT_ACTIVE/, 'W-6, not "not found"')
  t.equal(appIdOf(await client.query('temp')), 1, 'a known table is served')
  await until(() => gateway.output().includes('"level":"refusing"'))
  await until(async () => (await askAppId(stand.rpc)) === -1)
  t.equal(appIdOf(await client.query('temp')), 1, 'who is in stays in')
  await slow.stop()

  await until(async () => (await askAppId(stand.rpc, 'cold')) === 1)
  await until(stand.isReady)
  t.ok(((await stand.metric('gateway_shed_lookups_total')) ?? 0) > 0)
  const refused = 'gateway_connections_rejected_total{reason="overload"}'
  t.ok(((await stand.metric(refused)) ?? 0) > 0)
  t.equal(await stand.metric('gateway_overload_level'), 0)
  client.destroy()
})

void t.test('connections go past a worker that hangs, until it is back', async (t) => {
  const stand = await startServedStand(t, { workers: 2 })
  const gateway = stand.start()
  await until(stand.isReady)
  const [victim = 0] = childrenOf(gateway.child.pid ?? 0)
  process.kill(victim, 'SIGSTOP')
  await until(async () => /worker \d: silent/.test((await stand.page('/readyz')).text))
  for (let count = 0; count < 20; count++) t.equal(await askAppId(stand.rpc), 1)
  process.kill(victim, 'SIGCONT')
  await until(stand.isReady)
  t.equal(await askAppId(stand.rpc), 1)
  t.equal(await stand.metric('gateway_worker_restarts_total'), 0)
})

void t.test('connections go past a slow worker', async (t) => {
  const stand = await startServedStand(t, { workers: 2, overload })
  const gateway = stand.start()
  await until(stand.isReady)
  t.equal(await askAppId(stand.rpc), 1)
  const [victim = 0] = childrenOf(gateway.child.pid ?? 0)
  const slow = slowDown(victim)
  await until(async () => /overloaded, refusing/.test((await stand.page('/readyz')).text))
  const clients: FrameClient[] = []
  for (let count = 0; count < 20; count++) {
    const client = await FrameClient.dial(stand.rpc)
    clients.push(client)
    t.equal(appIdOf(await client.query('temp')), 1)
  }
  process.kill(victim, 'SIGKILL')
  await slow.stop().catch(() => undefined)
  await until(stand.isReady)
  t.same(
    clients.filter((client) => client.hasEnded),
    [],
    'none of them was at the slow worker',
  )
  for (const client of clients) client.destroy()
})
