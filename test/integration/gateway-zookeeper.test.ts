/**
 * Routing on a real ZooKeeper and what may happen to it (gateway.md 3, 8.5, 15): frozen, killed, come
 * back empty; changes that arrive quickly, in thousands, or a hundred times a second.
 */
import t, { type Test } from 'tap'
import {
  makePath,
  prepareRedirects,
  redirectOperations,
  endRedirectOperations,
  writePlan,
} from '../../gateway/routing/redirect-plan.ts'
import { startGatewayCommand } from '../support/gateway-command.ts'
import { FrameClient, queryFrame, until } from '../support/gateway-world.ts'
import { whyNoRealZooKeeper } from '../support/real-zookeeper.ts'
import { answerIn, askerOf, controlRoot, root, ZooKeeperWorld } from '../support/zookeeper-world.ts'

// Far above what it takes: machines that build and test at once are slow.
t.setTimeout(240_000)

const reason = whyNoRealZooKeeper()
const world = reason === undefined ? await ZooKeeperWorld.start() : undefined
t.teardown(() => world?.close())

/** For claims that are not about time: nothing is given up on a busy machine. */
const patient = {
  'routing.lookupTimeoutMs': '10000',
  'meta.silenceMs': '30000',
  requestTimeoutMs: '60000',
}

/** All claims share one ZooKeeper, each with tables of its own. */
function claim(name: string, run: (t: Test, world: ZooKeeperWorld) => Promise<void>): void {
  if (world === undefined) void t.test(name, { skip: reason ?? true }, () => undefined)
  else
    void t.test(name, async (t) => {
      await run(t, world)
      await world.endGateways()
    })
}

claim('a mapping change reaches clients within 50 ms', async (t, world) => {
  const { ask } = await world.gateway(10_000, patient)
  await world.map('quick', 'one')
  t.equal(await ask('quick'), 1)
  const tookMs: number[] = []
  for (let turn = 0; turn < 40; turn++) {
    const cluster = turn % 2 === 0 ? 'two' : 'one'
    const wanted = turn % 2 === 0 ? 2 : 1
    await world.editor.set(`${root}/quick`, world.value(cluster))
    const startMs = performance.now()
    while ((await ask('quick')) !== wanted);
    tookMs.push(performance.now() - startMs)
  }
  const sorted = tookMs.toSorted((a, b) => a - b)
  t.comment(`median ${sorted[20]?.toFixed(1)} ms, most ${sorted.at(-1)?.toFixed(1)} ms`)
  // Ten times the bound: what is tested is a watch and not a poll.
  t.ok((sorted[20] ?? Infinity) < 500)
})

claim('S1, R-5: bad JSON keeps the route until it is good again', async (t, world) => {
  const { ask, metrics } = await world.gateway(10_000, patient)
  const alarm = async (): Promise<boolean> =>
    (await metrics.text()).includes('gateway_mapping_invalid{table="edited"} 1')
  await world.map('edited', 'one')
  t.equal(await ask('edited'), 1)
  for (const bad of ['', '{"cluster": "two", ', '[]', '{"cluster":"two","meta-addrs":[]}']) {
    await world.editor.set(`${root}/edited`, Buffer.from(bad))
    await until(alarm)
    t.equal(await ask('edited'), 1)
    await world.map('edited', 'one')
    await until(async () => !(await alarm()))
  }
  await world.map('edited', 'two')
  await until(async () => (await ask('edited')) === 2)
})

claim(
  'R-6: two nodes that name different metas for one cluster each keep their own',
  async (t, world) => {
    const { ask } = await world.gateway(10_000, patient)
    const value = (address: string): Buffer =>
      Buffer.from(JSON.stringify({ cluster: 'drifted', 'meta-addrs': [address] }))
    await world.editor.create(`${root}/left`, value(world.one.address))
    await world.editor.create(`${root}/right`, value(world.two.address))
    for (let turn = 0; turn < 3; turn++) {
      t.equal(await ask('left'), 1)
      t.equal(await ask('right'), 2)
    }
    await world.editor.set(`${root}/left`, value(world.two.address))
    await until(async () => (await ask('left')) === 2)
    t.equal(await ask('right'), 2)
  },
)

claim(
  'a node that flaps a hundred times a second is followed, and delays no other',
  async (t, world) => {
    const { ask, client, metrics } = await world.gateway(10_000, patient)
    await world.map('flapping', 'one')
    await world.map('calm', 'one')
    t.equal(await ask('flapping'), 1)
    t.equal(await ask('calm'), 1)
    const reads = metrics.counter('gateway_zk_reads_total', '')
    const before = reads.value()
    let changes = 0
    const endMs = performance.now() + 2500
    const flapping = (async () => {
      while (performance.now() < endMs) {
        changes++
        const cluster = changes % 2 === 0 ? 'one' : 'two'
        await world.editor.set(`${root}/flapping`, world.value(cluster))
        await new Promise((resolve) => setTimeout(resolve, 8))
      }
    })()
    const answers = new Set<number | string>()
    const calm = new Set<number | string>()
    const slowest: number[] = []
    while (performance.now() < endMs) {
      const startMs = performance.now()
      calm.add(await ask('calm'))
      slowest.push(performance.now() - startMs)
      answers.add(await ask('flapping'))
    }
    await flapping
    await world.map('flapping', 'two')
    await until(async () => (await ask('flapping')) === 2)
    t.same(answers, new Set([1, 2]))
    t.same([...calm], [1])
    t.ok(reads.value() - before <= changes + 5, 'one read for each change at most')
    const sorted = slowest.toSorted((a, b) => a - b)
    t.ok((sorted[Math.floor(sorted.length / 2)] ?? Infinity) < 500)
    t.equal(client.hasEnded, false)
  },
)

claim(
  'S4: ZooKeeper frozen beyond the session time: served, told within 1 s, and current again',
  async (t, world) => {
    const { ask, gateway, coordinator } = await world.gateway(2000)
    const strict = await world.gateway(2000, { 'routing.stale': 'fail' })
    await world.map('frozen', 'one')
    for (const one of [{ ask }, strict]) t.equal(await one.ask('frozen'), 1)
    const epoch = coordinator.sessionEpoch()
    world.zooKeeper.freeze()
    const startMs = performance.now()
    const cold = await FrameClient.dial(gateway.port)
    cold.send(Buffer.concat(Array.from({ length: 64 }, (_, index) => queryFrame(`cold${index}`))))
    await cold.received(64)
    const tookMs = performance.now() - startMs
    t.ok(tookMs < 5000, `64 cold tables answered in ${tookMs.toFixed(0)} ms`)
    cold.destroy()
    t.equal(await ask('cold0'), 'ERR_SERVICE_NOT_ACTIVE')
    await until(async () => (await strict.ask('frozen')) === 'ERR_SERVICE_NOT_ACTIVE')
    const silentMs = performance.now() - startMs
    t.ok(silentMs > 1000, 'not before the session is suspect')
    await new Promise((resolve) => setTimeout(resolve, 1500))
    t.equal(await ask('frozen'), 1)
    t.equal(gateway.unreadyReason(), undefined)
    t.match(gateway.degradedReasons().join(), /ZooKeeper/)
    world.zooKeeper.thaw()
    await world.map('frozen', 'two')
    await until(async () => (await ask('frozen')) === 2)
    await until(async () => (await strict.ask('frozen')) === 2)
    await until(async () => (await ask('cold0')) === 'ERR_OBJECT_NOT_FOUND')
    await until(() => gateway.directory.stalenessMs() === 0)
    t.ok(coordinator.sessionEpoch() >= epoch)
  },
)

claim(
  'R-21: ZooKeeper killed and started again: served all the time, changes arrive',
  async (t, world) => {
    const { ask, gateway } = await world.gateway(10_000)
    await world.map('killed', 'one')
    t.equal(await ask('killed'), 1)
    await world.zooKeeper.kill()
    await until(() => gateway.degradedReasons().length > 0)
    t.equal(await ask('killed'), 1)
    t.equal(await ask('cold'), 'ERR_SERVICE_NOT_ACTIVE')
    await world.zooKeeper.startAgain('same')
    await until(() => world.editor.state() === 'connected')
    await world.map('killed', 'two')
    await until(async () => (await ask('killed')) === 2)
  },
)

claim(
  'DR-30: 2 000 tables are served from the other cluster within 2 s, by every gateway',
  async (t, world) => {
    const tables = Array.from({ length: 2000 }, (_, index) => `many${index}`)
    await world.mapAll(tables, 'one')
    const warm = await world.gateway(10_000, patient)
    const cold = await world.gateway(10_000, patient)
    const askAll = async (
      gateway: typeof warm,
      some: readonly string[],
    ): Promise<Set<number | string>> => {
      const client = await FrameClient.dial(gateway.gateway.port)
      client.send(Buffer.concat(some.map((table) => queryFrame(table))))
      const answers = new Set((await client.received(some.length)).map(answerIn))
      client.destroy()
      return answers
    }
    t.same([...(await askAll(warm, tables))], [1])
    t.same([...(await askAll(cold, tables.slice(0, 5)))], [1])
    const registry = JSON.stringify({ metas: [world.two.address] })
    await prepareRedirects(world.editor, controlRoot)
    await world.editor.create(`${controlRoot}/clusters`, Buffer.alloc(0))
    await world.editor.create(`${controlRoot}/clusters/two`, Buffer.from(registry))
    const digest = await writePlan(world.editor, controlRoot, 'plan-1', tables)
    const redirect = { to: 'two', plan: 'plan-1', epoch: 1, digest }
    const { epoch } = warm.gateway.directory
    await world.editor.multi(redirectOperations(controlRoot, 'one', redirect))
    const startMs = performance.now()
    for (const { gateway } of [warm, cold])
      await until(() => gateway.directory.redirects.get('one')?.epoch === 1)
    const tookMs = performance.now() - startMs
    t.comment(`in force in both gateways after ${tookMs.toFixed(0)} ms`)
    t.ok(tookMs < 2000)
    t.equal(warm.gateway.directory.epoch, epoch + 1)
    for (const gateway of [warm, cold]) t.same([...(await askAll(gateway, tables))], [2])
    await world.editor.multi(endRedirectOperations(controlRoot, 'one', 0))
    for (const gateway of [warm, cold]) {
      await until(() => gateway.gateway.directory.redirects.size === 0)
      t.same([...(await askAll(gateway, tables.slice(0, 100)))], [1])
    }
  },
)

claim(
  'R-22: a process stopped beyond its session takes the new route when it continues',
  async (t, world) => {
    await world.map('stopped', 'one')
    await world.map('careful', 'one')
    const careful = JSON.stringify({ ...JSON.parse(world.value('one').toString()), stale: 'fail' })
    await world.editor.set(`${root}/careful`, Buffer.from(careful))
    const gateway = startGatewayCommand([
      ...['--rpc.host', '127.0.0.1', '--rpc.port', '0', '--http.port', '0'],
      ...['--zookeeper.servers', `127.0.0.1:${world.zooKeeper.port}`],
      ...['--zookeeper.sessionTimeoutMs', '2000'],
    ])
    t.teardown(() => gateway.stop())
    const client = await FrameClient.dial(Number((await gateway.told('rpc')).split(':')[1]))
    t.teardown(() => client.destroy())
    const ask = askerOf(client)
    await until(async () => (await ask('stopped')) === 1 && (await ask('careful')) === 1)
    const members = async (): Promise<readonly string[]> =>
      world.editor.children(`${controlRoot}/gateways`)
    await until(async () => (await members()).length === 1)
    const [member] = await members()
    gateway.child.kill('SIGSTOP')
    await until(async () => (await members()).length === 0)
    await world.map('stopped', 'two')
    await world.map('careful', 'two')
    const answer = ask('careful')
    await new Promise((resolve) => setTimeout(resolve, 300))
    gateway.child.kill('SIGCONT')
    const startMs = performance.now()
    const first = await answer
    t.ok(first === 2 || first === 'ERR_SERVICE_NOT_ACTIVE', `not from the old cluster: ${first}`)
    await until(async () => (await ask('stopped')) === 2 && (await ask('careful')) === 2)
    const tookMs = performance.now() - startMs
    t.comment(`new route after ${tookMs.toFixed(0)} ms`)
    t.ok(tookMs < 2000 * 2, 'the bound is 2 s after the reconnect')
    await until(async () => (await members()).length === 1)
    t.same(await members(), [member], 'registered again under its name')
  },
)

claim('R-16: a ZooKeeper that comes back empty takes no table away', async (t, world) => {
  const tables = Array.from({ length: 30 }, (_, index) => `kept${index}`)
  await world.mapAll(tables, 'one')
  const { ask, gateway } = await world.gateway(2000)
  for (const table of tables) t.equal(await ask(table), 1)
  await world.zooKeeper.kill()
  await world.zooKeeper.startAgain('none')
  await until(() => gateway.directory.outage)
  for (const table of tables) t.equal(await ask(table), 1)
  t.equal(await ask('cold'), 'ERR_OBJECT_NOT_FOUND')
  await world.renewEditor()
  await makePath(world.editor, root)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  for (const table of tables) t.equal(await ask(table), 1, 'an empty root is no better')
  await world.mapAll(tables, 'two')
  await until(() => !gateway.directory.outage)
  for (const table of tables) await until(async () => (await ask(table)) === 2)
})
