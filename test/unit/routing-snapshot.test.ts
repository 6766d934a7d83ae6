/** Routes on disk (gateway.md ), in virtual time and on simulated files. */
import * as fc from 'fast-check'
import t from 'tap'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { planDigest } from '../../gateway/routing/redirect-plan.ts'
import { decodeSnapshot, encodeSnapshot } from '../../gateway/routing/snapshot.ts'
import { SnapshotKeeper } from '../../gateway/routing/snapshot-keeper.ts'
import {
  controlRoot,
  mappingTo,
  root,
  RoutingWorld,
  type SimulatedDirectory,
  told,
} from '../support/routing-world.ts'

const FILE = '/routes.snapshot'
const tables = ['plain', 'moved', 'bounded', 'failing']

/** A directory that knew four tables, one of them redirected, and wrote them down. */
async function start() {
  const routing = await RoutingWorld.start()
  await routing.map('plain', 'c1')
  await routing.map('moved', 'c1')
  await routing.map('bounded', 'c1', { stale: 'bounded:60000' })
  await routing.map('failing', 'c1', { stale: 'fail' })
  await routing.make(`${controlRoot}/clusters/c2`, { metas: ['c2.example:1'] })
  await routing.make(`${controlRoot}/plans/p/tables/0000`, ['moved'])
  const redirect = { to: 'c2', plan: 'p', epoch: 1, digest: planDigest(['moved']) }
  await routing.make(`${controlRoot}/redirects/c1`, redirect)
  const first = routing.directory('first')
  await routing.lookups(first.directory, tables)
  await routing.settle(first.directory.settled())
  const keeper = await routing.settle(SnapshotKeeper.open(first.runtime, first.directory, FILE))
  await routing.settle(keeper.close())
  const bytes = await routing.settle(first.runtime.files.readFile(FILE))
  first.directory.close()
  /** A new process that finds this file. */
  const restart = async (name: string, content: Buffer = bytes): Promise<SimulatedDirectory> => {
    const next = routing.directory(name)
    await routing.settle(next.runtime.files.replaceFile(FILE, content))
    await routing.settle(SnapshotKeeper.open(next.runtime, next.directory, FILE))
    return next
  }
  return { routing, restart, bytes }
}

const state = ({ directory }: Pick<SimulatedDirectory, 'directory'>): string =>
  tables.map((table) => told(directory.find(table))).join(', ')

void t.test('R-26: a start without ZooKeeper serves what was known, as stale', async (t) => {
  const { routing, restart } = await start()
  routing.memory.setReachable('next', 'down')
  const next = await restart('next')
  t.equal(state(next), 'route c1, route c2, route c1, unavailable')
  t.equal(next.directory.unreadyReason(), undefined, 'R-25: ready')
  t.match(next.directory.degradedReasons().join(), /ZooKeeper connecting/)
  t.ok(next.directory.stalenessMs() >= 0)
  await routing.pass(61_000)
  t.equal(state(next), 'route c1, route c2, unavailable, unavailable')
  await routing.map('plain', 'c3')
  routing.memory.setReachable('next', 'up')
  await routing.until(() => state(next) === 'route c3, route c2, route c1, route c1')
  await routing.until(() => next.directory.stalenessMs() === 0)
  next.directory.close()
})

void t.test('R-26: its age counts, and a redirect that ended meanwhile is not kept', async (t) => {
  const { routing, restart } = await start()
  await routing.pass(120_000)
  await routing.settle(routing.editor.remove(`${controlRoot}/redirects/c1`))
  routing.memory.setReachable('next', 'down')
  const next = await restart('next')
  t.equal(state(next), 'route c1, route c2, unavailable, unavailable')
  routing.memory.setReachable('next', 'up')
  await routing.until(() => state(next) === 'route c1, route c1, route c1, route c1')
  next.directory.close()
})

void t.test('R-16, R-26: an empty ZooKeeper takes no loaded table away', async (t) => {
  const { routing, restart } = await start()
  const gone = [...tables.map((table) => `${root}/${table}`), root]
  await routing.settle(
    routing.editor.multi(gone.map((path) => ({ type: 'remove' as const, path }))),
  )
  await routing.make(root, '')
  const next = await restart('next')
  await routing.until(() => next.directory.outage)
  await routing.pass(20_000)
  t.match(state(next), /^route c1, route c2/)
  next.directory.close()
})

void t.test(
  'R-26: a file that is damaged, of another root or no snapshot is ignored',
  async (t) => {
    const { routing, restart, bytes } = await start()
    const warnings: string[] = []
    const decode = (data: Buffer): unknown =>
      decodeSnapshot(data, root, (one) => warnings.push(one))
    t.ok(decode(bytes))
    t.equal(
      decodeSnapshot(bytes, '/other', (one) => warnings.push(one)),
      undefined,
    )
    t.match(warnings.join(), /of the root/)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(bytes)
        damaged[at] = (damaged[at] ?? 0) ^ flip
        return decode(damaged) === undefined
      }),
    )
    fc.assert(fc.property(fc.uint8Array(), (data) => decode(Buffer.from(data)) === undefined))
    for (const content of ['', 'nonsense', 'sha256:00\n{}', bytes.subarray(0, 300)]) {
      routing.memory.setReachable('next', 'down')
      const next = await restart(`next-${warnings.length}-${content.length}`, Buffer.from(content))
      t.equal(next.directory.find('plain'), undefined)
      t.equal(next.directory.unreadyReason(), 'no ZooKeeper session yet')
      next.directory.close()
    }
  },
)

void t.test(
  'R-26: it is written while routes are current, and not while they are stale',
  async (t) => {
    const routing = await RoutingWorld.start()
    const { runtime, directory, coordinator } = routing.directory('gateway')
    const saved = async (from: Runtime): Promise<readonly string[]> => {
      const data = await routing.settle(from.files.readFile(FILE))
      const snapshot = decodeSnapshot(data, root, (problem) => t.fail(problem))
      return (snapshot?.tables ?? []).map(({ table, route }) => `${table} ${route.cluster}`)
    }
    await routing.map('t', 'c1')
    await routing.lookup(directory, 't')
    const keeper = await routing.settle(SnapshotKeeper.open(runtime, directory, FILE))
    await routing.pass(40_000)
    t.same(await saved(runtime), ['t c1'])
    await routing.make(`${root}/t`, mappingTo('c2'))
    await routing.pass(40_000)
    t.same(await saved(runtime), ['t c2'])
    const before = await routing.settle(runtime.files.readFile(FILE))
    routing.memory.setReachable('gateway', 'down')
    await routing.until(() => coordinator.state() !== 'connected')
    await routing.pass(100_000)
    await routing.settle(keeper.close())
    t.same(await routing.settle(runtime.files.readFile(FILE)), before)
    directory.close()
  },
)

void t.test('what is encoded is decoded', (t) => {
  const mapped = {
    cluster: 'c1',
    metas: ['b:2', 'a:1'],
    group: 'a:1,b:2',
    tableGroup: 'g',
    stale: { kind: 'bounded', boundMs: 5 },
  } as const
  const route = {
    table: 'täble',
    cluster: 'c2',
    metas: ['x:1'],
    group: 'x:1',
    stale: { kind: 'fail' },
    mappedCluster: 'c1',
    plan: 'p',
  } as const
  const snapshot = {
    root,
    rootZxid: 17n,
    confirmedAtMs: 1234,
    tables: [{ table: 'täble', mapped, route }],
  }
  t.same(
    decodeSnapshot(encodeSnapshot(snapshot), root, () => undefined),
    snapshot,
  )
  t.end()
})
