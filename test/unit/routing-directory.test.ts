/** The table directory in virtual time: what holders of copies are told, and when it is settled. */
import t from 'tap'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import { controlRoot, root, RoutingWorld, told } from '../support/routing-world.ts'

void t.test('listeners hear every settled answer, its changes and evictions', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway', { routesMax: 2 })
  const heard: string[] = []
  const stop = directory.onChange((table, change) =>
    heard.push(`${table} ${change === 'forgotten' ? change : told(change)}`),
  )
  await routing.map('a', 'c1')
  await routing.lookup(directory, 'a')
  await routing.lookup(directory, 'nobody')
  await routing.map('a', 'c2')
  await routing.until(() => told(directory.find('a')) === 'route c2')
  await routing.make(`${root}/a`, 'nonsense')
  await routing.map('b', 'c1')
  await routing.map('c', 'c1')
  await routing.lookup(directory, 'b')
  await routing.lookup(directory, 'c')
  await routing.settle(routing.editor.remove(`${root}/b`))
  await routing.until(() => told(directory.find('b')) === 'missing')
  t.same(heard, [
    'a route c1',
    'nobody missing',
    'a route c2',
    'b route c1',
    'a forgotten',
    'c route c1',
    'b missing',
  ])
  t.same(
    [...directory.known()].map(({ table, lookup }) => `${table} ${told(lookup)}`),
    ['nobody missing', 'b missing', 'c route c1'],
  )
  stop()
  await routing.map('c', 'c3')
  await routing.until(() => told(directory.find('c')) === 'route c3')
  t.equal(heard.length, 7)
  directory.close()
})

void t.test('an answer that is no longer the same shows in the revision', async (t) => {
  const random = seededRandom('revisions')
  const tables = ['a', 'b', 'c', 'd', 'e']
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway', { routesMax: 3, negativesMax: 2 })
  const kept = new Map<string, { readonly answer: string; readonly revision: number }>()
  let changes = 0
  for (let step = 0; step < 400; step++) {
    const table = tables[random.below(tables.length)] ?? ''
    const path = `${root}/${table}`
    if (random.below(4) === 0 && (await routing.settle(routing.editor.exists(path))) !== undefined)
      await routing.settle(routing.editor.remove(path))
    else await routing.map(table, `c${random.below(3)}`)
    // Evicts others, and not always before the watch of a change has told.
    if (random.below(2) === 0) await routing.lookup(directory, table)
    await routing.pass(random.below(20))
    const { revision } = directory
    for (const name of tables) {
      const answer = told(directory.find(name))
      const before = kept.get(name)
      if (before !== undefined && before.answer !== answer) {
        changes++
        t.not(revision, before.revision, `${name}: ${before.answer}, now ${answer}`)
      }
      kept.set(name, { answer, revision })
    }
  }
  t.ok(changes > 100, `${changes} changes`)
  directory.close()
})

void t.test('R-12: what copies used is forgotten last', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway', { routesMax: 2 })
  for (const table of ['a', 'b', 'c']) await routing.map(table, 'c1')
  for (const table of ['a', 'b']) await routing.lookup(directory, table)
  directory.touch(['a', 'unknown'])
  await routing.lookup(directory, 'c')
  t.same(
    ['a', 'b', 'c'].map((table) => told(directory.find(table))),
    ['route c1', 'unread', 'route c1'],
  )
  directory.close()
})

void t.test(
  'settled: whatever changed before is applied then, also after a lost session',
  async (t) => {
    const routing = await RoutingWorld.start()
    const { directory, coordinator } = routing.directory('gateway')
    const tables = Array.from({ length: 200 }, (_, index) => `t${index}`)
    await routing.mapAll(tables, 'c1')
    await routing.lookups(directory, tables)
    await routing.settle(directory.settled())
    for (const table of tables) await routing.map(table, 'c2')
    await routing.settle(coordinator.sync('/'))
    await routing.settle(directory.settled())
    t.ok(tables.every((table) => told(directory.find(table)) === 'route c2'))

    routing.memory.setReachable('gateway', 'down')
    await routing.until(() => coordinator.state() === 'suspended')
    for (const table of tables) await routing.map(table, 'c3')
    await routing.pass(10_000)
    t.equal(routing.memory.sessionIds().length, 1, 'the session is gone')
    routing.memory.setReachable('gateway', 'up')
    await routing.until(() => coordinator.state() === 'connected')
    t.equal(told(directory.find('t0')), 'route c2', 'not read yet, but served')
    await routing.settle(directory.settled())
    t.ok(tables.every((table) => told(directory.find(table)) === 'route c3'))
    directory.close()
  },
)

void t.test('settled is not held up for ever by a node that flaps', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway')
  await routing.map('flapping', 'c0')
  await routing.lookup(directory, 'flapping')
  let turns = 0
  const flap = (): void => {
    const value = { cluster: `c${++turns}`, 'meta-addrs': ['a:1'] }
    void routing.editor
      .set(`${root}/flapping`, Buffer.from(JSON.stringify(value)))
      .then(() => turns < 5000 && flap())
  }
  flap()
  await routing.until(() => turns > 100)
  for (let count = 0; count < 20; count++) await routing.settle(directory.settled())
  t.ok(turns < 2500, 'long before the flapping ends')
  directory.close()
})

void t.test('a deletion is settled when it is believed', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory, coordinator } = routing.directory('gateway')
  await routing.map('a', 'c1')
  await routing.map('b', 'c1')
  await routing.lookup(directory, 'a')
  await routing.lookup(directory, 'b')
  await routing.settle(routing.editor.remove(`${root}/a`))
  await routing.settle(coordinator.sync('/'))
  await routing.settle(directory.settled())
  t.equal(told(directory.find('a')), 'missing')
  directory.close()
})

void t.test('staleness policies are read from configuration texts', async (t) => {
  const { parseStalePolicy, usableMs } = await import('../../gateway/routing/staleness.ts')
  t.same(parseStalePolicy('serve'), { kind: 'serve' })
  t.same(parseStalePolicy('bounded:5000'), { kind: 'bounded', boundMs: 5000 })
  t.same(parseStalePolicy('fail'), { kind: 'fail' })
  for (const bad of [
    undefined,
    null,
    5,
    '',
    'bounded',
    'bounded:',
    'bounded:-1',
    'bounded:1.5',
    'bounded:1234567890',
    'Serve',
  ])
    t.equal(parseStalePolicy(bad), undefined, String(bad))
  t.equal(usableMs({ kind: 'serve' }, 10), Infinity)
  t.equal(usableMs({ kind: 'bounded', boundMs: 7 }, 10), 7)
  t.equal(usableMs({ kind: 'fail' }, 10), 10)
})

void t.test('known clusters are those of the registry and of the tables in memory', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway')
  t.same([...directory.clusters()], [])
  await routing.make(`${controlRoot}/clusters/c2`, { metas: ['two.example:1'] })
  await routing.make(`${controlRoot}/clusters/c3`, { metas: ['three.example:1'] })
  await routing.map('a', 'c1')
  await routing.map('b', 'c2')
  await routing.lookup(directory, 'a')
  await routing.lookup(directory, 'b')
  await routing.until(() => directory.clusters().size === 3)
  t.equal(directory.clusters().get('c1')?.length, 1)
  t.same(directory.clusters().get('c2'), ['two.example:1'], 'the registry knows best')
  t.same(directory.clusters().get('c3'), ['three.example:1'])
  directory.close()
})
