/**
 * L-1: the primary's feed and the workers' copies of routes, without processes: messages pass
 * through JSON, in order, when the test lets them.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Clock, Runtime } from '../../cluster/runtime/runtime.ts'
import type { FromWorker } from '../../gateway/processes/messages.ts'
import { type FeedMember, type FeedMessage, RouteFeed } from '../../gateway/processes/route-feed.ts'
import { SILENCE_MS, WorkerRoutes } from '../../gateway/processes/worker-routes.ts'
import type { RouteListener, SharedRoutes } from '../../gateway/routing/routes.ts'
import { SERVE, type StalePolicy } from '../../gateway/routing/staleness.ts'
import type { Lookup } from '../../gateway/routing/table-entry.ts'

/** Time and turns in the test's hand. */
class Hand {
  nowMs = 1000
  readonly #due: { readonly atMs: number; readonly run: () => void }[] = []
  #soon: (() => void)[] = []
  readonly clock: Clock = { monotonicMs: () => this.nowMs, wallMs: () => this.nowMs }
  readonly runtime: Runtime = {
    ...nodeRuntime({ log: silentLog }),
    clock: this.clock,
    timers: {
      after: (delayMs, run) => {
        const timer = { atMs: this.nowMs + delayMs, run }
        this.#due.push(timer)
        return {
          cancel: () => {
            const at = this.#due.indexOf(timer)
            if (at >= 0) this.#due.splice(at, 1)
          },
        }
      },
      soon: (run) => void this.#soon.push(run),
    },
  }

  turn(): void {
    const soon = this.#soon
    this.#soon = []
    for (const run of soon) run()
  }

  pass(ms: number): void {
    this.nowMs += ms
    for (const timer of this.#due.filter(({ atMs }) => atMs <= this.nowMs)) {
      this.#due.splice(this.#due.indexOf(timer), 1)
      timer.run()
    }
  }
}

/** A directory that the test edits. */
class TestRoutes implements SharedRoutes {
  readonly answers = new Map<string, Lookup>()
  readonly touched: string[] = []
  readonly loads: string[] = []
  /** Loads of tables without an answer wait here. */
  readonly waiting = new Map<string, ((lookup: Lookup) => void)[]>()
  readonly #listeners = new Set<RouteListener>()
  epoch = 0
  revision = 0
  staleMs = 0
  outage = false
  routeCount = 0
  negativeCount = 0
  stalenessMs = (): number => this.staleMs
  find = (table: string): Lookup | undefined => this.answers.get(table)
  load = (table: string, _budgetMs: number, tell: (lookup: Lookup) => void): void => {
    this.loads.push(table)
    const known = this.answers.get(table)
    if (known !== undefined) tell(known)
    else this.waiting.set(table, [...(this.waiting.get(table) ?? []), tell])
  }
  close = (): void => undefined
  settled = async (): Promise<void> => undefined
  touch = (tables: Iterable<string>): void => void this.touched.push(...tables)
  onChange = (listener: RouteListener): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  };
  *known(): Generator<{ table: string; lookup: Lookup }> {
    for (const [table, lookup] of this.answers) yield { table, lookup }
  }
  set(table: string, change: Lookup | 'forgotten'): void {
    this.epoch++
    if (change === 'forgotten') this.answers.delete(table)
    else this.answers.set(table, change)
    for (const listener of this.#listeners) listener(table, change)
    const waiting = this.waiting.get(table) ?? []
    this.waiting.delete(table)
    if (change !== 'forgotten') for (const tell of waiting) tell(change)
  }
}

function route(table: string, cluster: string, stale: StalePolicy = SERVE): Lookup {
  const metas = [`${cluster}:1`]
  return { kind: 'route', route: { table, cluster, metas, group: metas.join(), stale } }
}

const clusterOf = (lookup: Lookup | undefined): string | undefined =>
  lookup?.kind === 'route' ? lookup.route.cluster : lookup?.kind

class Scene {
  readonly hand = new Hand()
  readonly directory = new TestRoutes()
  readonly feed = new RouteFeed(this.hand.runtime, this.directory, {
    lookupTimeoutMs: 900,
    suspectMs: () => 10_000,
  })
  readonly workers: {
    readonly routes: WorkerRoutes
    readonly member: FeedMember
    readonly toWorker: string[]
    readonly toPrimary: string[]
    /** Messages from the primary so far. */
    readonly sent: () => number
  }[] = []

  join(): (typeof this.workers)[number] {
    const toWorker: string[] = []
    const toPrimary: string[] = []
    const routes = new WorkerRoutes(this.hand.runtime, {
      lookupTimeoutMs: 900,
      send: (message) => void toPrimary.push(JSON.stringify(message)),
    })
    let sent = 0
    const member = this.feed.join((message) => {
      sent++
      toWorker.push(JSON.stringify(message))
    })
    const worker = { routes, member, toWorker, toPrimary, sent: () => sent }
    this.workers.push(worker)
    return worker
  }

  /** One message in each direction of each worker; false when there was none. */
  deliver(worker: (typeof this.workers)[number]): boolean {
    const down = worker.toWorker.shift()
    if (down !== undefined) worker.routes.receive(JSON.parse(down) as FeedMessage)
    const up = worker.toPrimary.shift()
    if (up === undefined) return down !== undefined
    const message = JSON.parse(up) as FromWorker
    if (message.type === 'load') worker.member.onLoad(message.tables)
    else if (message.type === 'used') worker.member.onUsed(message.tables)
    else if (message.type === 'applied') worker.member.onApplied(message.number)
    return true
  }

  /** Turns and messages until nothing moves. */
  settle(): void {
    for (let isMoving = true; isMoving;) {
      this.hand.turn()
      isMoving = false
      for (const worker of this.workers) while (this.deliver(worker)) isMoving = true
    }
  }
}

void t.test('L-1: a worker begins with a full copy, in parts, and is whole after the last', (t) => {
  const scene = new Scene()
  for (let at = 0; at < 1200; at++) scene.directory.set(`t${at}`, route(`t${at}`, 'a'))
  scene.directory.set('none', { kind: 'missing' })
  const worker = scene.join()
  t.notOk(worker.routes.isWhole)
  scene.settle()
  t.ok(worker.routes.isWhole)
  t.equal(worker.routes.routeCount, 1200)
  t.equal(worker.routes.negativeCount, 1)
  t.equal(worker.routes.epoch, scene.directory.epoch)
  t.equal(clusterOf(worker.routes.find('t7')), 'a')
  t.equal(clusterOf(worker.routes.find('none')), 'missing')
  t.same(scene.directory.loads, [], 'no question was needed')
  const empty = new Scene()
  const first = empty.join()
  empty.settle()
  t.ok(first.routes.isWhole, 'a copy of nothing is whole too')
  t.end()
})

void t.test(
  'DR-30: what changed together is in force at once in a worker, however many parts',
  (t) => {
    const scene = new Scene()
    const tables = Array.from({ length: 2000 }, (_, at) => `t${at}`)
    for (const table of tables) scene.directory.set(table, route(table, 'a'))
    const worker = scene.join()
    scene.settle()
    for (const table of tables) scene.directory.set(table, route(table, 'b'))
    const seen = new Set<string>()
    const revisions = new Set<number>()
    const parts = worker.sent()
    for (let turns = 0; turns < 20; turns++) {
      scene.hand.turn()
      while (scene.deliver(worker)) {
        seen.add([...new Set(tables.map((table) => clusterOf(worker.routes.find(table))))].join())
        revisions.add(worker.routes.revision)
      }
    }
    t.ok(worker.sent() > parts + 1, 'in several messages')
    t.same([...seen], ['a', 'b'])
    t.equal(revisions.size, 2, 'which shows in the revision')
    t.equal(worker.routes.epoch, scene.directory.epoch)
    t.end()
  },
)

void t.test('L-1: one question per table and turn, one answer for all who wait', (t) => {
  const scene = new Scene()
  const worker = scene.join()
  scene.settle()
  const told: string[] = []
  const tell = (lookup: Lookup): void => void told.push(clusterOf(lookup) ?? '')
  worker.routes.load('x', 4000, tell)
  worker.routes.load('x', 4000, tell)
  worker.routes.load('y', 4000, tell)
  scene.hand.turn()
  t.same(
    worker.toPrimary.map((text) => JSON.parse(text) as unknown),
    [{ type: 'load', tables: ['x', 'y'] }],
  )
  scene.settle()
  t.same(told, [])
  scene.directory.set('x', route('x', 'a'))
  scene.settle()
  t.same(told, ['a', 'a'])
  scene.directory.set('y', { kind: 'missing' })
  scene.settle()
  t.same(told, ['a', 'a', 'missing'])
  t.equal(clusterOf(worker.routes.find('y')), 'missing')
  t.equal(clusterOf(worker.routes.find('a/b')), 'missing', 'R-14 needs no question')
  t.end()
})

void t.test('L-1: a change reaches the workers that know the table, and no other', (t) => {
  const scene = new Scene()
  const knows = scene.join()
  const other = scene.join()
  scene.directory.set('x', route('x', 'a'))
  knows.routes.load('x', 4000, () => undefined)
  scene.settle()
  const before = other.sent()
  scene.directory.set('x', route('x', 'b'))
  scene.settle()
  t.equal(clusterOf(knows.routes.find('x')), 'b')
  t.equal(knows.routes.epoch, scene.directory.epoch)
  t.equal(other.sent(), before)
  t.equal(other.routes.find('x'), undefined)
  scene.directory.set('x', 'forgotten')
  scene.settle()
  t.equal(knows.routes.find('x'), undefined, 'an eviction empties the copy as well')
  t.equal(knows.member.knownCount, 0)
  t.end()
})

void t.test('DR-31: applied waits for the slowest worker, not for one that has gone', async (t) => {
  const scene = new Scene()
  scene.directory.set('x', route('x', 'a'))
  const fast = scene.join()
  const slow = scene.join()
  scene.settle()
  await scene.feed.applied()
  scene.directory.set('x', route('x', 'b'))
  let isApplied = false
  const applied = scene.feed.applied().then(() => (isApplied = true))
  scene.hand.turn()
  while (scene.deliver(fast));
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(clusterOf(fast.routes.find('x')), 'b')
  t.notOk(isApplied, 'the slow one still has the old route')
  while (scene.deliver(slow));
  await applied
  t.equal(clusterOf(slow.routes.find('x')), 'b')

  scene.directory.set('x', route('x', 'c'))
  const again = scene.feed.applied()
  scene.hand.turn()
  while (scene.deliver(fast));
  slow.member.leave()
  await again
  t.end()
})

void t.test('a flapping table costs a slow worker one entry, not one per change', (t) => {
  const scene = new Scene()
  scene.directory.set('x', route('x', 'a'))
  const worker = scene.join()
  scene.settle()
  const before = worker.sent()
  for (let at = 0; at < 1000; at++) {
    scene.directory.set('x', route('x', `c${at}`))
    scene.hand.turn()
  }
  t.equal(worker.sent() - before, 1, 'nothing follows before the acknowledgement')
  scene.settle()
  t.equal(worker.sent() - before, 2)
  t.equal(clusterOf(worker.routes.find('x')), 'c999')
  t.end()
})

void t.test('W-7: a silent primary is given up after the lookup time; a gone one at once', (t) => {
  const scene = new Scene()
  const worker = scene.join()
  scene.settle()
  const told: string[] = []
  const tell = (lookup: Lookup): void => void told.push(clusterOf(lookup) ?? '')
  worker.routes.load('x', 4000, tell)
  scene.hand.pass(500)
  worker.routes.load('x', 4000, tell)
  worker.routes.load('y', 100, tell)
  scene.hand.pass(399)
  t.same(told, ['unavailable'], 'the shorter budget of y')
  scene.hand.pass(1)
  t.same(told, ['unavailable', 'unavailable'])
  worker.routes.orphan()
  t.same(told, ['unavailable', 'unavailable', 'unavailable'])
  worker.routes.load('z', 4000, tell)
  t.equal(told.length, 4)
  t.equal(clusterOf(worker.routes.find('z')), undefined)
  t.end()
})

void t.test('an answer that is evicted on its way still reaches those who wait', (t) => {
  const scene = new Scene()
  const worker = scene.join()
  scene.settle()
  const told: string[] = []
  worker.routes.load('x', 4000, (lookup) => void told.push(clusterOf(lookup) ?? ''))
  scene.hand.turn()
  scene.deliver(worker)
  scene.directory.set('x', route('x', 'a'))
  scene.directory.set('x', 'forgotten')
  scene.settle()
  t.same(told, ['a'])
  t.equal(worker.routes.find('x'), undefined, 'told, but not kept')
  t.end()
})

void t.test(
  '3.4: staleness policies hold in the copy, also when the primary is silent or gone',
  (t) => {
    const scene = new Scene()
    scene.directory.set('serve', route('serve', 'a'))
    scene.directory.set('bounded', route('bounded', 'a', { kind: 'bounded', boundMs: 5000 }))
    scene.directory.set('fail', route('fail', 'a', { kind: 'fail' }))
    const worker = scene.join()
    scene.settle()
    const clusters = (): (string | undefined)[] => {
      worker.routes.checkAge()
      return ['serve', 'bounded', 'fail'].map((table) => clusterOf(worker.routes.find(table)))
    }
    t.same(clusters(), ['a', 'a', 'a'])
    t.equal(worker.routes.stalenessMs(), 0)
    scene.directory.staleMs = 4900
    scene.feed.tellState()
    scene.settle()
    t.same(clusters(), ['a', 'a', 'a'])
    scene.hand.pass(200)
    t.same(clusters(), ['a', 'unavailable', 'a'], 'the clock runs on between two messages')
    scene.hand.pass(5000)
    t.same(clusters(), ['a', 'unavailable', 'unavailable'], 'suspect after the session time')
    scene.directory.staleMs = 0
    scene.feed.tellState()
    scene.settle()
    t.same(clusters(), ['a', 'a', 'a'])
    scene.hand.pass(SILENCE_MS)
    t.same(clusters(), ['a', 'a', 'a'])
    scene.hand.pass(2001)
    t.same(clusters(), ['a', 'unavailable', 'a'], 'a silent primary is no fresh primary')
    scene.feed.tellState()
    scene.settle()
    t.same(clusters(), ['a', 'a', 'a'])
    worker.routes.orphan()
    scene.hand.pass(10_001)
    t.same(clusters(), ['a', 'unavailable', 'unavailable'])
    t.end()
  },
)

void t.test('R-12: what workers use counts as used in the primary', (t) => {
  const scene = new Scene()
  for (const table of ['x', 'y', 'z']) scene.directory.set(table, route(table, 'a'))
  const worker = scene.join()
  scene.settle()
  worker.routes.find('x')
  worker.routes.find('z')
  worker.routes.reportUse()
  scene.settle()
  t.same(scene.directory.touched, ['x', 'z'])
  worker.routes.reportUse()
  scene.settle()
  t.same(scene.directory.touched, ['x', 'z'], 'once')
  t.end()
})

void t.test(
  'any interleaving: every copy ends as a part of the directory, and every load is told',
  (t) => {
    const tables = ['a', 'b', 'c', 'd']
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), table: fc.nat(3), to: fc.nat(4) }),
      fc.record({ do: fc.constant('load' as const), table: fc.nat(3), to: fc.nat(1) }),
      fc.record({ do: fc.constant('turn' as const), table: fc.nat(3), to: fc.nat(1) }),
      fc.record({ do: fc.constant('deliver' as const), table: fc.nat(3), to: fc.nat(1) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const scene = new Scene()
        const workers = [scene.join(), scene.join()]
        let asked = 0
        let told = 0
        for (const { do: what, table: index, to } of steps) {
          const table = tables[index] ?? ''
          const worker = workers[to % 2]
          if (what === 'turn') scene.hand.turn()
          else if (what === 'deliver' && worker !== undefined) scene.deliver(worker)
          else if (what === 'load') {
            asked++
            worker?.routes.load(table, 4000, () => told++)
          } else if (to === 0) scene.directory.set(table, 'forgotten')
          else scene.directory.set(table, to === 1 ? { kind: 'missing' } : route(table, `c${to}`))
        }
        for (const table of tables)
          if (!scene.directory.answers.has(table)) scene.directory.set(table, { kind: 'invalid' })
        scene.settle()
        scene.hand.pass(900)
        if (told !== asked) throw new Error(`${told} of ${asked} were told`)
        for (const { routes, member } of workers)
          for (const table of tables) {
            const copy = routes.find(table)
            if (copy === undefined) continue
            if (JSON.stringify(copy) !== JSON.stringify(scene.directory.answers.get(table)))
              throw new Error(`${table} differs`)
            if (member.knownCount > tables.length) throw new Error('knows too much')
          }
      }),
      { numRuns: 500 },
    )
    t.end()
  },
)
