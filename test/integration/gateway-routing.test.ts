/**
 * Table → cluster over memory coordination: changes, deletions, bad values, and every way in which
 * the coordination service may be lost (gateway.md 3). Rule numbers are those of that document.
 */
import t from 'tap'
import { decodeResult, type ReplyFrame } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { type FakeMeta, startFakeMeta } from '../support/fake-meta.ts'
import {
  type FrameClient,
  type GatewayWorld,
  root,
  startWorld,
  until,
} from '../support/gateway-world.ts'

// Far above what it takes: machines that build and test at once are slow.
t.setTimeout(120_000)

const GATEWAY_SESSION = 2n

interface Started {
  readonly world: GatewayWorld
  /** Answer with app id 1 and 2: two clusters. */
  readonly one: FakeMeta
  readonly two: FakeMeta
  readonly client: FrameClient
  readonly clusterOf: (table: string) => Promise<number | string>
  readonly reads: () => number
}

async function start(
  t: { teardown: (end: () => Promise<void>) => unknown },
  flags: Readonly<Record<string, string>> = {},
  sessionTimeoutMs?: number,
): Promise<Started> {
  const one = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
  const two = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 2 }))
  const world = await startWorld(flags, sessionTimeoutMs)
  t.teardown(async () => {
    await world.close()
    await Promise.all([one.close(), two.close()])
  })
  const client = await world.client()
  const clusterOf = async (table: string): Promise<number | string> => {
    const reply: ReplyFrame = await client.query(table)
    const { err, appId } = decodeResult(QueryCfgResponse, reply.result)
    return err === 'ERR_OK' ? appId : err
  }
  const counter = world.metrics.counter('gateway_zk_reads_total', '')
  return { world, one, two, client, clusterOf, reads: () => counter.value() }
}

void t.test('R-10, R-15: a node is read once, and its change moves the next queries', async (t) => {
  const { world, one, two, clusterOf, reads } = await start(t)
  await world.map('temp', [one.address])
  t.equal(await clusterOf('temp'), 1)
  const before = reads()
  for (let count = 0; count < 20; count++) t.equal(await clusterOf('temp'), 1)
  t.equal(reads(), before, 'no read for a known table')
  const { epoch } = world.gateway.directory
  await world.map('temp', [two.address], 'c2')
  await until(async () => (await clusterOf('temp')) === 2)
  t.equal(world.gateway.directory.epoch, epoch + 1)
})

void t.test('both forms of the JSON are read', async (t) => {
  const { world, one, clusterOf } = await start(t)
  await world.editor.create(
    `${root}/go`,
    Buffer.from(JSON.stringify({ cluster_name: 'c', meta_addrs: ` ${one.address} ,127.0.0.1:1` })),
  )
  await world.editor.create(
    `${root}/rfc`,
    Buffer.from(JSON.stringify({ cluster: 'c', 'meta-addrs': [one.address] })),
  )
  t.equal(await clusterOf('go'), 1)
  t.equal(await clusterOf('rfc'), 1)
})

void t.test('R-11: many clients asking for one cold table cost one read', async (t) => {
  const { world, one, client, reads } = await start(t)
  await world.map('temp', [one.address])
  const { queryFrame } = await import('../support/gateway-world.ts')
  client.send(Buffer.concat(Array.from({ length: 100 }, () => queryFrame('temp'))))
  await client.received(100)
  t.equal(reads(), 1)
})

void t.test('R-13: an unknown table costs no reads, and its creation counts at once', async (t) => {
  const { world, one, clusterOf, reads } = await start(t)
  t.equal(await clusterOf('late'), 'ERR_OBJECT_NOT_FOUND')
  const before = reads()
  for (let count = 0; count < 50; count++) await clusterOf('late')
  t.equal(reads(), before)
  await world.map('late', [one.address])
  await until(async () => (await clusterOf('late')) === 1)
  t.equal(world.gateway.directory.negativeCount, 0)
})

void t.test('R-13: a negative entry is confirmed when it is old', async (t) => {
  const { clusterOf, reads } = await start(t, { 'routing.negativeTtlMs': '100' })
  t.equal(await clusterOf('late'), 'ERR_OBJECT_NOT_FOUND')
  const before = reads()
  await until(async () => (await clusterOf('late')) === 'ERR_OBJECT_NOT_FOUND' && reads() > before)
  t.equal(await clusterOf('late'), 'ERR_OBJECT_NOT_FOUND')
})

void t.test(
  'R-5: a bad value keeps the last good route and raises the alarm until it is good',
  async (t) => {
    const { world, one, two, clusterOf } = await start(t)
    await world.map('temp', [one.address])
    t.equal(await clusterOf('temp'), 1)
    const alarm = async (): Promise<boolean> =>
      (await world.metrics.text()).includes('gateway_mapping_invalid{table="temp"} 1')
    for (const bad of [
      '',
      '{"cluster":',
      '[]',
      '{"cluster":"c"}',
      '{"cluster":"c","meta-addrs":["nonsense"]}',
      JSON.stringify({
        cluster: 'c',
        'meta-addrs': [two.address],
        meta_addrs: one.address,
        cluster_name: 'c',
      }),
    ]) {
      await world.editor.set(`${root}/temp`, Buffer.from(bad))
      await until(alarm)
      t.equal(await clusterOf('temp'), 1, bad)
      await world.map('temp', [one.address])
      await until(async () => !(await alarm()))
    }
    await world.map('temp', [two.address])
    await until(async () => (await clusterOf('temp')) === 2)
  },
)

void t.test(
  'R-5: a bad value on the first read is ERR_INVALID_DATA until it is good',
  async (t) => {
    const { world, one, clusterOf } = await start(t)
    await world.editor.create(`${root}/temp`, Buffer.alloc(65 * 1024, '{'))
    t.equal(await clusterOf('temp'), 'ERR_INVALID_DATA')
    await world.map('temp', [one.address])
    await until(async () => (await clusterOf('temp')) === 1)
  },
)

void t.test('R-16: a deleted mapping is gone, a created one is back', async (t) => {
  const { world, one, clusterOf } = await start(t)
  await world.map('temp', [one.address])
  t.equal(await clusterOf('temp'), 1)
  await world.editor.remove(`${root}/temp`)
  await until(async () => (await clusterOf('temp')) === 'ERR_OBJECT_NOT_FOUND')
  await world.map('temp', [one.address])
  await until(async () => (await clusterOf('temp')) === 1)
})

void t.test(
  'R-16: the loss of the root, or of most mappings, is an outage and not a deletion',
  async (t) => {
    const { world, one, clusterOf } = await start(t)
    const tables = Array.from({ length: 20 }, (_, index) => `t${index}`)
    for (const table of tables) await world.map(table, [one.address])
    for (const table of tables) t.equal(await clusterOf(table), 1)
    await Promise.all(tables.map((table) => world.editor.remove(`${root}/${table}`)))
    await until(() => world.gateway.directory.outage)
    t.match(world.gateway.degradedReasons().join(), /mappings vanished/)
    t.equal(world.gateway.unreadyReason(), undefined, 'but it serves')
    for (const table of tables) t.equal(await clusterOf(table), 1, `${table} kept`)
    await world.editor.remove(root)
    await world.editor.create(root, Buffer.alloc(0))
    for (const table of tables) await world.map(table, [one.address])
    await until(() => !world.gateway.directory.outage)
  },
)

void t.test('R-16: the root gone', async (t) => {
  const { world, one, clusterOf } = await start(t)
  await world.map('temp', [one.address])
  t.equal(await clusterOf('temp'), 1)
  await world.editor.multi([
    { type: 'remove', path: `${root}/temp` },
    { type: 'remove', path: root },
  ])
  await until(() => world.gateway.directory.outage)
  t.equal(await clusterOf('temp'), 1)
})

void t.test('R-12: the tables in memory are bounded', async (t) => {
  const { world, one, two, clusterOf } = await start(t, {
    'routing.cache': '3',
    'routing.negativeCache': '2',
  })
  for (const table of ['a', 'b', 'c', 'd', 'e']) await world.map(table, [one.address])
  for (const table of ['a', 'b', 'c', 'd', 'e', 'x', 'y', 'z']) await clusterOf(table)
  t.equal(world.gateway.directory.routeCount, 3)
  t.equal(world.gateway.directory.negativeCount, 2)
  t.equal(world.gateway.directory.watches.leftoverCount, 3)
  const text = await world.metrics.text()
  t.match(text, 'gateway_zk_watches{kind="table"} 5\n')
  t.match(text, 'gateway_zk_watches{kind="leftover"} 3\n')
  await world.map('a', [two.address])
  await until(() => world.gateway.directory.watches.leftoverCount === 2)
  t.equal(await clusterOf('a'), 2, 'read again when asked for again')
})

void t.test('R-12: a table that was pushed out is not asked by the route of before', async (t) => {
  const { world, one, two, clusterOf } = await start(t, { 'routing.cache': '1' })
  await world.map('b', [one.address])
  for (let turn = 0; turn < 20; turn++) {
    await world.map('a', [turn % 2 === 0 ? one.address : two.address])
    t.equal(await clusterOf('a'), turn % 2 === 0 ? 1 : 2)
    await clusterOf('b')
  }
})

void t.test(
  'R-20, W-6: with the coordination lost known tables are served and unknown ones told',
  async (t) => {
    const { world, one, clusterOf } = await start(t, { 'routing.lookupTimeoutMs': '1500' }, 1500)
    await world.map('temp', [one.address])
    t.equal(await clusterOf('temp'), 1)
    t.equal(await clusterOf('nobody'), 'ERR_OBJECT_NOT_FOUND')
    world.memory.freeze()
    t.equal(await clusterOf('cold'), 'ERR_SERVICE_NOT_ACTIVE')
    await until(() => world.gateway.degradedReasons().length > 0)
    t.equal(world.gateway.unreadyReason(), undefined)
    t.ok(world.gateway.directory.stalenessMs() > 0)
    t.equal(await clusterOf('cold'), 'ERR_SERVICE_NOT_ACTIVE', 'at once now')
    const stale = world.metrics.counter('gateway_route_lookups_total', '', { result: 'stale' })
    const before = stale.value()
    t.equal(await clusterOf('temp'), 1)
    t.equal(await clusterOf('nobody'), 'ERR_OBJECT_NOT_FOUND')
    t.equal(stale.value(), before + 2, 'counted as what nobody confirms')
    world.memory.thaw()
    await until(async () => (await clusterOf('cold')) === 'ERR_OBJECT_NOT_FOUND')
    t.equal(world.gateway.directory.stalenessMs(), 0)
    const after = stale.value()
    t.equal(await clusterOf('temp'), 1)
    t.equal(stale.value(), after)
  },
)

void t.test('R-21: a change while the connection was lost is seen when it is back', async (t) => {
  const { world, one, two, clusterOf } = await start(t, {}, 1500)
  await world.map('temp', [one.address])
  t.equal(await clusterOf('temp'), 1)
  t.equal(await clusterOf('late'), 'ERR_OBJECT_NOT_FOUND')
  world.memory.setReachable('gateway', 'down')
  await world.map('temp', [two.address])
  await world.map('late', [two.address])
  await until(() => world.coordinator.state() !== 'connected')
  t.equal(await clusterOf('temp'), 1)
  world.memory.setReachable('gateway', 'up')
  await until(async () => (await clusterOf('temp')) === 2 && (await clusterOf('late')) === 2)
})

void t.test('R-22: after an expired session every entry is read and watched again', async (t) => {
  const { world, one, two, clusterOf } = await start(t, {}, 1500)
  await world.map('moved', [one.address])
  await world.map('later', [one.address])
  for (const table of ['moved', 'later']) t.equal(await clusterOf(table), 1)
  t.equal(await clusterOf('created'), 'ERR_OBJECT_NOT_FOUND')
  t.equal(await clusterOf('last'), 'ERR_OBJECT_NOT_FOUND')
  const epoch = world.coordinator.sessionEpoch()
  world.memory.setReachable('gateway', 'down')
  world.memory.expire(GATEWAY_SESSION)
  await world.map('moved', [two.address])
  await world.map('created', [two.address])
  t.equal(await clusterOf('moved'), 1, 'stale, but served')
  world.memory.setReachable('gateway', 'up')
  await until(async () => (await clusterOf('moved')) === 2 && (await clusterOf('created')) === 2)
  t.ok(world.coordinator.sessionEpoch() > epoch)
  await world.map('later', [two.address])
  await world.map('last', [two.address])
  await until(async () => (await clusterOf('later')) === 2 && (await clusterOf('last')) === 2)
  t.pass('the watches of the new session work')
})

void t.test('R-24: reconciling finds what no watch told', async (t) => {
  const { world, one, clusterOf, reads } = await start(t, { 'routing.reconcileIntervalMs': '100' })
  await world.map('temp', [one.address])
  t.equal(await clusterOf('temp'), 1)
  const before = reads()
  await until(() => reads() > before + 2)
  t.equal(world.metrics.counter('gateway_zk_missed_watch_total', '').value(), 0)
  t.equal(await clusterOf('temp'), 1)
})

void t.test('a mapping that flaps is followed to its last value', async (t) => {
  const { world, one, two, clusterOf } = await start(t)
  await world.map('temp', [one.address])
  t.equal(await clusterOf('temp'), 1)
  for (let turn = 0; turn < 100; turn++)
    await world.map('temp', [turn % 2 === 0 ? two.address : one.address])
  await world.map('temp', [two.address])
  await until(async () => (await clusterOf('temp')) === 2)
})

void t.test(
  'R-25: a gateway that starts without coordination listens, is not ready, and answers',
  async (t) => {
    const { startGateway } = await import('../../gateway/gateway.ts')
    const { MemoryCoordination } = await import('../../cluster/coordinator/memory.ts')
    const { FrameClient, testConfig } = await import('../support/gateway-world.ts')
    const { world } = await start(t)
    const memory = new MemoryCoordination(world.runtime)
    memory.freeze()
    const coordinator = memory.connect(world.runtime, { sessionTimeoutMs: 500, onExpiry: 'renew' })
    const { Metrics } = await import('../../cluster/runtime/metrics.ts')
    const gateway = await startGateway({
      runtime: world.runtime,
      coordinator,
      config: testConfig({ 'routing.lookupTimeoutMs': '100' }),
      metrics: new Metrics(),
    })
    const client = await FrameClient.dial(gateway.port)
    const ask = async (): Promise<string> =>
      decodeResult(QueryCfgResponse, (await client.query('temp')).result).err
    t.equal(gateway.unreadyReason(), 'no ZooKeeper session yet')
    t.equal(await ask(), 'ERR_SERVICE_NOT_ACTIVE')
    memory.thaw()
    await until(() => gateway.unreadyReason() === undefined)
    await until(async () => (await ask()) === 'ERR_OBJECT_NOT_FOUND')
    client.destroy()
    await gateway.close()
    await coordinator.close()
  },
)
