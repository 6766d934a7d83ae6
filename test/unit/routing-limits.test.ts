/**
 * What bounds the directory and what it does not believe (gateway.md ), in
 * virtual time.
 */
import t from 'tap'
import { CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { planDigest } from '../../gateway/routing/redirect-plan.ts'
import { controlRoot, mappingTo, root, RoutingWorld, told } from '../support/routing-world.ts'

const names = (count: number, prefix = 't'): readonly string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`)

void t.test('R-12: a table that is evicted and asked for again costs one watch', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway', { routesMax: 1, negativesMax: 1 })
  await routing.map('a', 'c1')
  await routing.map('b', 'c1')
  for (let turn = 0; turn < 50; turn++)
    for (const table of ['a', 'b', 'x', 'y']) await routing.lookup(directory, table)
  t.equal(directory.watches.count, 4)
  t.equal(directory.watches.leftoverCount, 2)
  t.equal(directory.watches.pathBytes, 4 * `${root}/a`.length)
  await routing.map('b', 'c2')
  await routing.until(() => told(directory.find('b')) === 'route c2')
  await routing.map('a', 'c2')
  await routing.until(() => directory.watches.count === 3)
  t.equal(told(await routing.lookup(directory, 'a')), 'route c2', 'the watch left over has fired')
  await routing.map('a', 'c3')
  await routing.until(() => told(directory.find('a')) === 'route c3')
  await routing.map('y', 'c1')
  await routing.until(() => told(directory.find('y')) === 'route c1')
  t.equal(told(await routing.lookup(directory, 'x')), 'missing')
  await routing.map('x', 'c1')
  await routing.until(() => told(directory.find('x')) === 'route c1')
  directory.close()
})

void t.test('R-12: a change during the read that takes a watch over is not lost', async (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const routing = await RoutingWorld.start(seed)
    const { directory } = routing.directory('gateway', { routesMax: 1 })
    await routing.map('a', 'c1')
    await routing.map('b', 'c1')
    for (const table of ['a', 'b']) await routing.lookup(directory, table)
    const value = Buffer.from(JSON.stringify({ cluster: 'c2', 'meta-addrs': ['a:1'] }))
    const random = routing.world.random.float()
    routing.world.after(random * 3, () => void routing.editor.set(`${root}/a`, value))
    await routing.lookup(directory, 'a')
    await routing.until(() => told(directory.find('a')) === 'route c2', 1000)
    directory.close()
  }
  t.pass('for 30 orders of events')
})

void t.test('R-13: a scan over unknown names is bounded in watches and in memory', async (t) => {
  const routing = await RoutingWorld.start()
  const far = `/${'far'.repeat(1000)}`
  await routing.make(far, '')
  const { directory } = routing.directory('gateway', { root: far, negativesMax: 100 })
  await routing.make(`${far}/known`, mappingTo('c1'))
  await routing.lookup(directory, 'known')
  const scan = names(3000, 'x')
  for (let at = 0; at < scan.length; at += 500)
    await routing.lookups(directory, scan.slice(at, at + 500))
  t.equal(directory.negativeCount, 100)
  const pathBytes = far.length + 5
  const most = (4 << 20) + 600 * pathBytes
  t.ok(directory.watches.pathBytes < most, `${directory.watches.pathBytes} bytes`)
  t.ok(directory.watches.count < scan.length)
  t.equal(told(directory.find('known')), 'route c1')
  await routing.make(`${far}/known`, mappingTo('c2'))
  await routing.until(() => told(directory.find('known')) === 'route c2')
  await routing.make(`${far}/x2999`, mappingTo('c1'))
  await routing.pass(61_000)
  t.equal(told(directory.find('x2999')), 'missing', 'not watched: looked at when it is old')
  await routing.until(() => told(directory.find('x2999')) === 'route c1')
  directory.close()
})

void t.test('R-12: without room for a further watch a table is read each time', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory, coordinator } = routing.directory('gateway')
  await routing.map('a', 'c1')
  await routing.lookup(directory, 'other')
  const get = coordinator.get.bind(coordinator)
  Object.assign(coordinator, {
    get: (path: string, watch?: () => void) =>
      watch === undefined
        ? get(path)
        : Promise.reject(new CoordinatorError('too-large', 'get', path)),
  })
  t.equal(told(await routing.lookup(directory, 'a')), 'route c1')
  t.equal(directory.find('a'), undefined)
  await routing.map('a', 'c2')
  t.equal(told(await routing.lookup(directory, 'a')), 'route c2')
  directory.close()
})

async function withTables(count: number, options = {}) {
  const routing = await RoutingWorld.start()
  const gateway = routing.directory('gateway', options)
  const tables = names(count)
  await routing.mapAll(tables, 'c1')
  await routing.lookups(gateway.directory, tables)
  await routing.pass(100)
  const state = (): string => {
    const found = tables.map((table) => told(gateway.directory.find(table)))
    return [...new Set(found)].toSorted().join(', ')
  }
  const remove = (paths: readonly string[]): Promise<void> =>
    routing.settle(routing.editor.multi(paths.map((path) => ({ type: 'remove' as const, path }))))
  return { routing, ...gateway, tables, state, remove }
}

void t.test('R-16: an empty ZooKeeper in place of the old one is an outage', async (t) => {
  for (const count of [1, 3, 300]) {
    const { routing, directory, coordinator, tables, state, remove } = await withTables(count)
    routing.memory.setReachable('gateway', 'down')
    await remove([...tables.map((table) => `${root}/${table}`), root])
    await routing.pass(20_000)
    await routing.make(root, '')
    routing.memory.setReachable('gateway', 'up')
    await routing.until(() => coordinator.state() === 'connected')
    await routing.until(() => directory.outage)
    await routing.pass(60_000)
    t.equal(state(), 'route c1', `${count} tables are kept`)
    t.match(directory.degradedReasons().join(), /mappings vanished/)
    const [first = '', ...others] = tables
    for (const table of others) await routing.map(table, 'c2')
    if (others.length === 0) await routing.map(first, 'c2')
    await routing.until(() => !directory.outage)
    await routing.until(() => !state().includes('c1'))
    t.equal(state(), count === 1 ? 'route c2' : 'missing, route c2', 'a deletion counts again')
    directory.close()
  }
})

void t.test('R-16: most mappings gone is not judged by the first ones that are read', async (t) => {
  const { routing, directory, coordinator, tables, state, remove } = await withTables(300)
  routing.memory.setReachable('gateway', 'down')
  await remove(tables.slice(0, 200).map((table) => `${root}/${table}`))
  await routing.pass(20_000)
  routing.memory.setReachable('gateway', 'up')
  await routing.until(() => coordinator.state() === 'connected')
  await routing.until(() => directory.outage)
  await routing.pass(20_000)
  t.equal(state(), 'route c1')
  directory.close()
})

void t.test(
  'R-16: a deletion may be delayed, and is forgotten when the node is back',
  async (t) => {
    const { routing, directory, state } = await withTables(1, { keepOnDeleteMs: 30_000 })
    await routing.settle(routing.editor.remove(`${root}/t0`))
    await routing.pass(29_000)
    t.equal(state(), 'route c1')
    await routing.pass(2000)
    t.equal(state(), 'missing')
    await routing.map('t0', 'c1')
    await routing.until(() => state() === 'route c1')
    await routing.settle(routing.editor.remove(`${root}/t0`))
    await routing.pass(20_000)
    await routing.map('t0', 'c1')
    await routing.pass(60_000)
    t.equal(state(), 'route c1')
    directory.close()
  },
)

void t.test('R-16: a table that a switch runs on is kept, until the switch ends', async (t) => {
  const { routing, directory, state } = await withTables(3)
  await routing.make(`${controlRoot}/clusters/c2`, { metas: ['c2.example:1'] })
  await routing.make(`${controlRoot}/plans/p/tables/0000`, ['t0', 't1', 't2'])
  const digest = planDigest(['t0', 't1', 't2'])
  await routing.make(`${controlRoot}/redirects/c1`, { to: 'c2', plan: 'p', epoch: 1, digest })
  await routing.until(() => state() === 'route c2')
  await routing.settle(routing.editor.remove(`${root}/t0`))
  await routing.pass(60_000)
  t.equal(state(), 'route c2')
  await routing.settle(routing.editor.remove(`${controlRoot}/redirects/c1`))
  await routing.until(() => state() === 'missing, route c1')
  directory.close()
})

void t.test('R-21, R-24: entries are verified at a bounded rate, newest used first', async (t) => {
  const { routing, directory, coordinator, metrics } = await withTables(1000, {
    routesMax: 1000,
  })
  const reads = metrics.counter('gateway_zk_reads_total', '')
  const exists = coordinator.exists.bind(coordinator)
  const looked: string[] = []
  Object.assign(coordinator, {
    exists: (path: string, watch?: () => void) => {
      if (path.startsWith(`${root}/`)) looked.push(path.slice(root.length + 1))
      return exists(path, watch)
    },
  })
  directory.find('t7')
  const before = reads.value()
  routing.memory.breakConnections('gateway')
  await routing.until(() => coordinator.state() !== 'connected')
  await routing.until(() => coordinator.state() === 'connected')
  const startMs = routing.world.nowMs()
  await routing.until(() => looked.length === 1000)
  t.ok(routing.world.nowMs() - startMs > 900, 'a thousand a second')
  t.same(looked.slice(0, 3), ['t7', 't999', 't998'])
  await routing.pass(100_000)
  t.equal(reads.value() - before, 1000)
  t.equal(metrics.counter('gateway_zk_missed_watch_total', '').value(), 0)
  directory.close()
})

void t.test('R-24: a change that no watch told is found and counted', async (t) => {
  const { routing, directory, coordinator, metrics, state } = await withTables(20)
  Object.assign(coordinator, { get: coordinator.get.bind(coordinator) })
  // The events of one table's watch are lost.
  const watches = directory.watches as unknown as { fire: (watch: { path: string }) => void }
  const fire = watches.fire.bind(watches)
  Object.assign(watches, {
    fire: (watch: { path: string }, ...rest: []) =>
      watch.path.endsWith('/t5') ? undefined : fire(watch, ...rest),
  })
  await routing.map('t5', 'c2')
  await routing.pass(200_000)
  t.equal(state(), 'route c1')
  await routing.pass(200_000)
  t.equal(state(), 'route c1, route c2')
  t.equal(metrics.counter('gateway_zk_missed_watch_total', '').value(), 1)
  directory.close()
})
