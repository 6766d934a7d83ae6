/**
 * Cluster redirects (gateway.md 8.5, DR-30) and the control tree (3.6), in virtual time: what is
 * written by `redirect-plan.ts` is what a directory applies.
 */
import * as fc from 'fast-check'
import t from 'tap'
import type { RedirectNode } from '../../gateway/routing/control-nodes.ts'
import {
  parseRedirect,
  parseRegisteredCluster,
  parseTableGroup,
} from '../../gateway/routing/control-nodes.ts'
import {
  endRedirectOperations,
  parsePlanChunk,
  planChunks,
  planDigest,
  prepareRedirects,
  redirectOperations,
  writePlan,
} from '../../gateway/routing/redirect-plan.ts'
import { controlRoot, root, RoutingWorld, told } from '../support/routing-world.ts'

void t.test('a table set is split into nodes of 500 KB, and read again whole', (t) => {
  const name = fc
    .string({ minLength: 1, maxLength: 40 })
    .filter((text) => /^[^/\p{C}]+$/u.test(text))
  fc.assert(
    fc.property(fc.uniqueArray(name.filter((text) => text !== '.' && text !== '..')), (tables) => {
      const chunks = planChunks(tables)
      const read = chunks.flatMap((chunk) => {
        const parsed = parsePlanChunk(chunk)
        return parsed.ok ? parsed.value : []
      })
      return (
        chunks.every((chunk) => chunk.length <= 500_000) &&
        planDigest(read) === planDigest(tables.toReversed()) &&
        new Set(read).size === tables.length
      )
    }),
  )
  const many = Array.from({ length: 30_000 }, (_, index) => `${'täble'.repeat(10)}${index}`)
  t.equal(planChunks(many).length, 5)
  t.ok(planChunks(many).every((chunk) => chunk.length <= 500_000))
  t.throws(() => planChunks(['a/b']), /not a table name/)
  // printf 'a\nb\nü' | sha256sum
  t.equal(
    planDigest(['ü', 'b', 'a', 'b']),
    'sha256:607d006fa0765acb31b55ddedcc531854f5cfd23bb7443e001a4690c6fdb0588',
  )
  t.end()
})

void t.test('values of the control tree never throw, and bad ones say what is wrong', (t) => {
  const data = (value: unknown): Buffer =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  const digest = `sha256:${'0'.repeat(64)}`
  const good: RedirectNode = { to: 'b', plan: 'p-1', epoch: 7, digest }
  t.same(parseRedirect('a', data({ ...good, note: 'x' })), { ok: true, value: good })
  for (const [bad, field] of [
    ['', ''],
    [[], ''],
    [{ ...good, to: 'a' }, 'to'],
    [{ ...good, to: 5 }, 'to'],
    [{ ...good, plan: '../x' }, 'plan'],
    [{ ...good, plan: '' }, 'plan'],
    [{ ...good, epoch: '7' }, 'epoch'],
    [{ ...good, epoch: -1 }, 'epoch'],
    [{ ...good, digest: 'sha256:00' }, 'digest'],
  ] as const)
    t.match(parseRedirect('a', data(bad)), { ok: false, problem: { field } }, JSON.stringify(bad))
  t.match(parseRegisteredCluster('c', data({ metas: ['b:2', 'a:1'], http: 1 })), {
    ok: true,
    value: { metas: ['b:2', 'a:1'], group: 'a:1,b:2' },
  })
  for (const bad of [{}, { metas: [] }, { metas: ['x'] }, { metas: 'a:1' }])
    t.match(parseRegisteredCluster('c', data(bad)), { ok: false, problem: { field: 'metas' } })
  t.match(parseTableGroup('g', data({ stale: 'bounded:5', members: [] })), {
    value: { stale: { kind: 'bounded', boundMs: 5 } },
  })
  t.match(parseTableGroup('g', data({})), { ok: true, value: { stale: undefined } })
  t.match(parseTableGroup('g', data({ stale: 'never' })), {
    ok: false,
    problem: { field: 'stale' },
  })
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      parseRedirect('a', data(text))
      parseRegisteredCluster('a', data(text))
      parseTableGroup('a', data(text))
      parsePlanChunk(data(text))
    }),
  )
  t.end()
})

const TARGET = { metas: ['two-a.example:34601', 'two-b.example:34601'] }

async function writeRedirect(
  routing: RoutingWorld,
  plan: string,
  tables: readonly string[],
  change: Partial<RedirectNode> & { readonly source?: string; readonly version?: number } = {},
): Promise<void> {
  const { source = 'one', version, ...node } = change
  const { editor } = routing
  const digest = await routing.settle(writePlan(editor, controlRoot, plan, tables))
  await routing.settle(prepareRedirects(editor, controlRoot))
  const redirect = { to: 'two', plan, epoch: 1, digest, ...node }
  const operations = redirectOperations(controlRoot, source, redirect, version)
  await routing.settle(editor.multi(operations))
}

async function endRedirect(routing: RoutingWorld, source = 'one', version = 0): Promise<void> {
  await routing.settle(routing.editor.multi(endRedirectOperations(controlRoot, source, version)))
}

void t.test('DR-30: one write moves the tables of the plan, all at once, and back', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway')
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  const inPlan = Array.from({ length: 300 }, (_, index) => `t${index}`)
  await routing.mapAll([...inPlan, 'other'], 'one')
  await routing.map('elsewhere', 'three')
  await routing.lookups(directory, [...inPlan, 'other', 'elsewhere'])
  const { epoch } = directory
  const seen = new Set<string>()
  directory.onChange(() => {
    // Whoever hears of the first change finds all of them in force.
    seen.add(inPlan.map((table) => told(directory.find(table))).join())
  })
  await writeRedirect(routing, 'p1', [...inPlan, 'elsewhere', 'cold'])
  await routing.until(() => told(directory.find('t0')) === 'route two')
  t.same([...seen], [inPlan.map(() => 'route two').join()])
  t.equal(directory.epoch, epoch + 1, 'one change of the routing epoch')
  t.match(directory.find('t7'), {
    kind: 'route',
    route: { cluster: 'two', metas: TARGET.metas, mappedCluster: 'one', plan: 'p1' },
  })
  t.equal(told(directory.find('other')), 'route one', 'not in the plan')
  t.equal(told(directory.find('elsewhere')), 'route three', 'in the plan, but not of the source')
  await routing.map('cold', 'one')
  t.equal(told(await routing.lookup(directory, 'cold')), 'route two', 'a table not in memory')
  await routing.map('t0', 'two')
  await routing.until(() => {
    const lookup = directory.find('t0')
    return lookup?.kind === 'route' && lookup.route.mappedCluster === undefined
  })
  t.equal(told(directory.find('t0')), 'route two', 'rewritten meanwhile')
  await endRedirect(routing)
  await routing.until(() => told(directory.find('t1')) === 'route one')
  t.ok(inPlan.slice(1).every((table) => told(directory.find(table)) === 'route one'))
  t.equal(told(directory.find('t0')), 'route two')
  directory.close()
})

void t.test('DR-30: redirects are not chained', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway')
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  await routing.make(`${controlRoot}/clusters/three`, { metas: ['three.example:1'] })
  await routing.map('t', 'one')
  await routing.map('u', 'two')
  await writeRedirect(routing, 'p1', ['t', 'u'])
  await writeRedirect(routing, 'p2', ['t', 'u'], { source: 'two', to: 'three' })
  for (const table of ['t', 'u']) await routing.lookup(directory, table)
  await routing.until(() => told(directory.find('t')) === 'route two')
  await routing.until(() => told(directory.find('u')) === 'route three')
  await routing.pass(5000)
  t.equal(told(directory.find('t')), 'route two')
  directory.close()
})

void t.test('a table is not told before redirects are known', async (t) => {
  const routing = await RoutingWorld.start()
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  await routing.map('t', 'one')
  await writeRedirect(routing, 'p1', ['t'])
  for (let seed = 0; seed < 10; seed++) {
    const { directory } = routing.directory(`gateway-${seed}`)
    t.equal(directory.unreadyReason(), 'no ZooKeeper session yet')
    t.equal(told(await routing.lookup(directory, 't')), 'route two')
    t.equal(directory.unreadyReason(), undefined)
    directory.close()
  }
})

void t.test(
  'a redirect that cannot be applied is refused, and the last good one stays',
  async (t) => {
    const routing = await RoutingWorld.start()
    const { directory, metrics, coordinator } = routing.directory('gateway')
    const alarm = async (): Promise<boolean> =>
      (await metrics.text()).includes('gateway_redirect_refused{source="one"} 1')
    const settled = async (): Promise<boolean> => {
      await routing.settle(coordinator.sync('/'))
      let isSettled = false
      void directory.settled().then(() => {
        isSettled = true
      })
      await routing.pass(5000)
      return isSettled
    }
    await routing.map('t', 'one')
    await routing.map('u', 'one')
    await routing.lookup(directory, 't')
    await routing.lookup(directory, 'u')
    const now = (): string => `${told(directory.find('t'))}, ${told(directory.find('u'))}`

    await writeRedirect(routing, 'p1', ['t'])
    t.notOk(await settled(), 'what is not applied is not settled')
    t.equal(now(), 'route one, route one', 'its target is not in the registry')
    t.ok(await alarm())
    t.match(directory.degradedReasons().join(), /1 redirects refused/)
    await routing.make(`${controlRoot}/clusters/two`, TARGET)
    await routing.until(() => now() === 'route two, route one')
    t.notOk(await alarm())
    t.ok(await settled())

    const digest = planDigest(['u'])
    const path = `${controlRoot}/redirects/one`
    const change = async (value: object): Promise<void> => {
      await routing.make(path, { to: 'two', plan: 'p2', epoch: 2, digest, ...value })
      await routing.pass(3000)
    }
    await change({})
    t.equal(now(), 'route two, route one', 'its plan is missing')
    t.ok(await alarm())
    await routing.make(`${controlRoot}/plans/p2/tables/0000`, ['u'])
    await routing.until(() => now() === 'route one, route two')
    t.notOk(await alarm())
    t.same(
      [...directory.redirects.values()].map(({ plan, epoch }) => [plan, epoch]),
      [['p2', 2]],
    )

    await routing.make(`${controlRoot}/plans/p3/tables/0000`, ['t'])
    await change({ plan: 'p3' })
    t.equal(now(), 'route one, route two', 'the digest is another one')
    t.ok(await alarm())
    await routing.make(`${controlRoot}/plans/p4/tables/0001`, ['t'])
    await change({ plan: 'p4', digest: planDigest(['t']) })
    t.equal(now(), 'route one, route two', 'a part of the set is missing')
    await routing.make(`${controlRoot}/plans/p5/tables/0000`, '["t", 5]')
    await change({ plan: 'p5', digest: planDigest(['t']) })
    t.equal(now(), 'route one, route two', 'the set is no list of names')
    await change({ to: 'one' })
    t.equal(now(), 'route one, route two', 'the node is no redirect')
    t.notOk(await settled())

    await routing.make(`${controlRoot}/clusters/two`, 'nonsense')
    await routing.pass(3000)
    t.equal(now(), 'route one, route two', 'the registry broke')
    await routing.settle(routing.editor.remove(`${controlRoot}/clusters/two`))
    await routing.pass(3000)
    t.equal(now(), 'route one, route two', 'the target left the registry')
    await routing.settle(routing.editor.remove(path))
    await routing.until(() => now() === 'route one, route one')
    t.notOk(await alarm())
    t.ok(await settled())
    directory.close()
  },
)

void t.test('new metas of the target reach the tables that were redirected there', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway')
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  await routing.map('t', 'one')
  await writeRedirect(routing, 'p1', ['t'])
  await routing.lookup(directory, 't')
  await routing.until(() => told(directory.find('t')) === 'route two')
  await routing.make(`${controlRoot}/clusters/two`, { metas: ['new.example:1'] })
  await routing.until(() => {
    const lookup = directory.find('t')
    return lookup?.kind === 'route' && lookup.route.group === 'new.example:1'
  })
  t.equal(told(directory.find('t')), 'route two')
  directory.close()
})

void t.test('R-16: the loss of the whole control tree ends no redirect', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory, coordinator } = routing.directory('gateway')
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  await routing.map('t', 'one')
  await writeRedirect(routing, 'p1', ['t'])
  await routing.lookup(directory, 't')
  await routing.until(() => told(directory.find('t')) === 'route two')
  await routing.settle(
    routing.editor.multi(
      ['clusters/two', 'clusters', 'redirects/one', 'redirects'].map((name) => ({
        type: 'remove',
        path: `${controlRoot}/${name}`,
      })),
    ),
  )
  await routing.pass(5000)
  t.equal(told(directory.find('t')), 'route two')
  const before = coordinator.sessionEpoch()
  routing.memory.expire(routing.memory.sessionIds().at(-1) ?? 0n)
  await routing.until(() => coordinator.sessionEpoch() > before)
  await routing.pass(5000)
  t.equal(told(directory.find('t')), 'route two', 'nor does a new session that finds nothing')
  directory.close()
})

void t.test('a redirect that was written while the session was lost is applied', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory, coordinator } = routing.directory('gateway')
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  await routing.map('t', 'one')
  await routing.lookup(directory, 't')
  for (const [plan, wait, end] of [
    ['p1', 20_000, 'route two'],
    ['p2', 2500, 'route two'],
  ] as const) {
    routing.memory.setReachable('gateway', 'down')
    await routing.until(() => coordinator.state() !== 'connected')
    await writeRedirect(routing, plan, ['t'])
    await routing.pass(wait)
    t.equal(told(directory.find('t')), 'route one')
    routing.memory.setReachable('gateway', 'up')
    await routing.until(() => told(directory.find('t')) === end)
    await endRedirect(routing)
    await routing.until(() => told(directory.find('t')) === 'route one')
  }
  directory.close()
})

void t.test('one node of the control tree that flaps is followed to its last value', async (t) => {
  const routing = await RoutingWorld.start()
  const { directory } = routing.directory('gateway')
  await routing.make(`${controlRoot}/clusters/two`, TARGET)
  await routing.map('t', 'one')
  await routing.lookup(directory, 't')
  for (let turn = 0; turn < 50; turn++) {
    await writeRedirect(routing, `p${turn}`, ['t'], { epoch: turn })
    if (turn % 2 === 0) await routing.pass(turn)
    await endRedirect(routing)
  }
  await writeRedirect(routing, 'last', ['t'], { epoch: 99 })
  await routing.until(() => directory.redirects.get('one')?.epoch === 99)
  t.equal(told(directory.find('t')), 'route two')
  t.equal(`${root}.gateway`, controlRoot)
  directory.close()
})
