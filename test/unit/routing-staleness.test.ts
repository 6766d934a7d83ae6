/** How long routes are used that nobody can confirm (gateway.md 3.4, R-20, R-23), in virtual time. */
import t from 'tap'
import { controlRoot, RoutingWorld, told } from '../support/routing-world.ts'

const SESSION_MS = 3000
const tables = ['plain', 'bounded', 'failing', 'grouped', 'nobody']

async function start(defaultPolicy: 'serve' | 'fail' = 'serve') {
  const routing = await RoutingWorld.start()
  const gateway = routing.directory('gateway', { stale: { kind: defaultPolicy } }, SESSION_MS)
  await routing.make(`${controlRoot}/groups/careful`, { stale: 'bounded:20000' })
  await routing.map('plain', 'c1')
  await routing.map('bounded', 'c1', { stale: 'bounded:8000' })
  await routing.map('failing', 'c1', { stale: 'fail' })
  await routing.map('grouped', 'c1', { group: 'careful' })
  for (const table of tables) await routing.lookup(gateway.directory, table)
  await routing.settle(gateway.directory.settled())
  const now = (): string => tables.map((table) => told(gateway.directory.find(table))).join(', ')
  /** The connection is cut; resolves with the time of the last sign of life. */
  const cut = async (): Promise<number> => {
    routing.memory.setReachable('gateway', 'down')
    await routing.until(() => gateway.coordinator.state() === 'suspended')
    return gateway.coordinator.lastAnswerAtMs()
  }
  const passUntil = async (ms: number): Promise<void> =>
    routing.pass(ms - gateway.runtime.clock.monotonicMs())
  return { routing, ...gateway, now, cut, passUntil }
}

void t.test('3.4: serve, bounded and fail, of the table, its group and the gateway', async (t) => {
  const { routing, directory, now, cut, passUntil } = await start()
  const changes: string[] = []
  const all = 'route c1, route c1, route c1, route c1, missing'
  t.equal(now(), all)
  t.equal(directory.stalenessMs(), 0)
  const lostAt = await cut()
  directory.onChange((table, change) =>
    changes.push(`${table} ${change === 'forgotten' ? change : told(change)}`),
  )
  t.ok(directory.stalenessMs() >= (SESSION_MS * 2) / 3, 'counted from the last sign of life')
  await passUntil(lostAt + SESSION_MS - 20)
  t.equal(now(), all)
  await passUntil(lostAt + SESSION_MS + 20)
  t.equal(now(), 'route c1, route c1, unavailable, route c1, missing', 'suspect (R-23)')
  await passUntil(lostAt + 8000 - 20)
  t.equal(now(), 'route c1, route c1, unavailable, route c1, missing')
  await passUntil(lostAt + 8000 + 20)
  t.equal(now(), 'route c1, unavailable, unavailable, route c1, missing')
  await passUntil(lostAt + 20_000 + 20)
  t.equal(now(), 'route c1, unavailable, unavailable, unavailable, missing')
  await routing.pass(3_600_000)
  t.equal(told(directory.find('plain')), 'route c1', 'served for ever')
  t.match(directory.degradedReasons().join(), /ZooKeeper/)
  t.ok(directory.stalenessMs() > 3_600_000)
  routing.memory.setReachable('gateway', 'up')
  await routing.until(() => now() === all)
  await routing.until(() => directory.stalenessMs() === 0)
  t.same(changes, [
    'failing unavailable',
    'bounded unavailable',
    'grouped unavailable',
    ...changes.slice(3),
  ])
  t.same(changes.slice(3).toSorted(), ['bounded route c1', 'failing route c1', 'grouped route c1'])
  directory.close()
})

void t.test('S3: after a long loss a bounded table is not told before it is read', async (t) => {
  const { routing, coordinator, directory, cut } = await start()
  await cut()
  await routing.pass(60_000)
  await routing.map('bounded', 'c2', { stale: 'bounded:8000' })
  await routing.map('failing', 'c2', { stale: 'fail' })
  await routing.map('plain', 'c2')
  routing.memory.setReachable('gateway', 'up')
  const seen = new Set<string>()
  await routing.until(() => {
    seen.add(told(directory.find('bounded'))).add(told(directory.find('failing')))
    return told(directory.find('plain')) === 'route c2' && seen.has('route c2')
  })
  await routing.settle(directory.settled())
  seen.add(told(directory.find('bounded'))).add(told(directory.find('failing')))
  t.same([...seen].toSorted(), ['route c2', 'unavailable'])
  t.equal(coordinator.state(), 'connected')
  directory.close()
})

void t.test('S3: nor before the redirects are read', async (t) => {
  const { routing, directory, cut } = await start()
  const { planDigest } = await import('../../gateway/routing/redirect-plan.ts')
  await cut()
  await routing.pass(60_000)
  const digest = planDigest(['bounded', 'failing'])
  await routing.make(`${controlRoot}/clusters/c2`, { metas: ['c2.example:1'] })
  await routing.make(`${controlRoot}/plans/p/tables/0000`, ['failing', 'bounded'])
  await routing.make(`${controlRoot}/redirects/c1`, { to: 'c2', plan: 'p', epoch: 1, digest })
  routing.memory.setReachable('gateway', 'up')
  const seen = new Set<string>()
  const look = (): void => void seen.add(told(directory.find('bounded')))
  await routing.until(() => {
    look()
    return seen.has('route c2')
  })
  t.same([...seen].toSorted(), ['route c2', 'unavailable'])
  directory.close()
})

void t.test(
  'R-23: a process that was stopped does not answer from a suspect session',
  async (t) => {
    const { routing, directory, coordinator, runtime, now } = await start()
    // Time passes, but no timer runs: what a process sees that continues after SIGSTOP.
    const { clock } = runtime
    const { monotonicMs } = clock
    let aheadMs = 0
    Object.assign(clock, { monotonicMs: () => monotonicMs() + aheadMs })
    aheadMs = SESSION_MS + 2000
    t.equal(coordinator.state(), 'connected', 'nothing noticed yet')
    t.equal(now(), 'route c1, route c1, unavailable, route c1, missing')
    aheadMs = 12_000
    t.equal(now(), 'route c1, unavailable, unavailable, route c1, missing')
    aheadMs = 0
    await routing.pass(1)
    directory.close()
  },
)

void t.test('a short break of the connection changes nothing for a bounded table', async (t) => {
  const { routing, directory, coordinator, now } = await start()
  const heard: string[] = []
  directory.onChange((table) => heard.push(table))
  for (let turn = 0; turn < 5; turn++) {
    routing.memory.breakConnections('gateway')
    await routing.until(() => coordinator.state() !== 'connected')
    await routing.until(() => coordinator.state() === 'connected')
    await routing.pass(30_000)
  }
  t.equal(now(), 'route c1, route c1, route c1, route c1, missing')
  t.same(heard, [])
  t.equal(directory.stalenessMs(), 0)
  directory.close()
})

void t.test(
  'with `fail` for the gateway, a missing table is not missing for ever (S7)',
  async (t) => {
    const { routing, directory, now, cut } = await start('fail')
    await cut()
    await routing.pass(SESSION_MS)
    t.equal(now(), 'unavailable, route c1, unavailable, route c1, unavailable')
    routing.memory.setReachable('gateway', 'up')
    await routing.until(() => now() === 'route c1, route c1, route c1, route c1, missing')
    directory.close()
  },
)

void t.test('a policy that changes is in force at once; a bad one is ignored', async (t) => {
  const { routing, directory } = await start()
  const policy = (table: string): string | undefined => {
    const lookup = directory.find(table)
    return lookup?.kind === 'route' ? lookup.route.stale.kind : undefined
  }
  await routing.make(`${controlRoot}/groups/careful`, { stale: 'fail' })
  await routing.until(() => policy('grouped') === 'fail')
  await routing.make(`${controlRoot}/groups/careful`, { stale: 'nonsense' })
  await routing.map('bounded', 'c1', { stale: 'nonsense' })
  await routing.until(() => policy('bounded') === 'serve')
  t.equal(policy('grouped'), 'fail', 'the last good value of the group stays')
  await routing.map('grouped', 'c1', { group: 'careful', stale: 'serve' })
  await routing.until(() => policy('grouped') === 'serve')
  await routing.settle(routing.editor.remove(`${controlRoot}/groups/careful`))
  await routing.map('grouped', 'c1', { group: 'careful' })
  await routing.pass(1000)
  t.equal(policy('grouped'), 'serve')
  directory.close()
})

void t.test(
  'a group holds its tables by name and by pattern too; the strictest one counts',
  async (t) => {
    const { routing, directory } = await start()
    const policy = (table: string): string | undefined => {
      const lookup = directory.find(table)
      return lookup?.kind === 'route' ? lookup.route.stale.kind : undefined
    }
    await routing.make(`${controlRoot}/groups/named`, { stale: 'bounded:5', members: ['plain'] })
    await routing.until(() => policy('plain') === 'bounded')
    await routing.make(`${controlRoot}/groups/globs`, { stale: 'fail', patterns: ['pl*', 'gr*'] })
    await routing.until(() => policy('plain') === 'fail')
    t.equal(policy('grouped'), 'bounded', 'the group that the mapping names goes first')
    t.equal(policy('bounded'), 'bounded', 'and the policy of the table before it')
    await routing.settle(routing.editor.remove(`${controlRoot}/groups/globs`))
    await routing.settle(routing.editor.remove(`${controlRoot}/groups/named`))
    await routing.until(() => policy('plain') === 'serve')
    directory.close()
  },
)
