/** The rules of gateway.md 4 that need no socket: breaker, hedging, who is a meta, what is counted. */
import { createHook } from 'node:async_hooks'
import t from 'tap'
import { silentLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { Batch } from '../../gateway/batch.ts'
import { servingMetrics } from '../../gateway/metrics.ts'
import { Breaker, type BreakerState } from '../../gateway/upstream/breaker.ts'
import { Hedging } from '../../gateway/upstream/hedging.ts'
import type { PeerGroup } from '../../gateway/upstream/meta-peer.ts'
import { MetaPeers } from '../../gateway/upstream/meta-peers.ts'
import { MetaTotalsTable, OTHER } from '../../gateway/upstream/meta-totals.ts'
import { Upstreams } from '../../gateway/upstream/upstreams.ts'
import { until } from '../support/gateway-world.ts'

t.setTimeout(60_000)
// Timers of the runtime and of opossum keep no process alive.
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))

const node = nodeRuntime({ log: silentLog })

/** A clock that the test turns; everything else is real. */
function turned(): { readonly runtime: Runtime; ms: number } {
  const time = {
    ms: 1000,
    runtime: { ...node, clock: { ...node.clock, monotonicMs: () => time.ms } },
  }
  return time
}

/** opossum settles in microtasks. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

void t.test('M-5: half of at least five calls in ten seconds opens the breaker', async (t) => {
  const time = turned()
  const states: BreakerState[] = []
  const breaker = new Breaker(time.runtime, (state) => states.push(state))
  t.teardown(() => breaker.close())
  for (let call = 0; call < 4; call++) breaker.record(false, time.ms)
  await settle()
  t.equal(breaker.state, 'closed', 'four calls are too few')
  time.ms += 11_000
  breaker.record(false, time.ms)
  await settle()
  t.equal(breaker.state, 'closed', 'those of eleven seconds ago do not count')
  for (let call = 0; call < 3; call++) breaker.record(true, time.ms)
  breaker.record(false, time.ms)
  await settle()
  t.equal(breaker.state, 'closed', 'two of five is less than half')
  breaker.record(false, time.ms)
  await settle()
  t.equal(breaker.state, 'open', 'three of six is half')
  t.notOk(breaker.admits(time.ms))
  breaker.record(false, time.ms)
  await settle()
  t.same(states, ['open'])
})

void t.test('M-5: after about two seconds one probe goes through, and decides', async (t) => {
  const time = turned()
  const states: BreakerState[] = []
  const breaker = new Breaker(time.runtime, (state) => states.push(state))
  t.teardown(() => breaker.close())
  const openedAtMs = node.clock.monotonicMs()
  for (let call = 0; call < 5; call++) breaker.record(false, time.ms)
  await until(() => breaker.state === 'half-open')
  t.ok(node.clock.monotonicMs() - openedAtMs > 1500, 'not before')
  t.ok(breaker.admits(time.ms), 'the probe')
  t.notOk(breaker.admits(time.ms), 'only one')
  time.ms += 1000
  t.ok(breaker.admits(time.ms), 'another one when nothing became of the first')
  breaker.record(false, time.ms)
  await settle()
  t.equal(breaker.state, 'open', 'it failed')
  breaker.record(true, time.ms)
  t.equal(breaker.state, 'closed', 'an answer, to a query of the panic mode, closes at once')
  for (let call = 0; call < 4; call++) breaker.record(false, time.ms)
  await settle()
  t.equal(breaker.state, 'closed', 'what failed before counts no more')
  t.same(states, ['open', 'half-open', 'open', 'closed'])
})

void t.test('a breaker that was closed for good leaves no timer and tells nothing', async (t) => {
  const time = turned()
  const states: BreakerState[] = []
  // Timers that keep no process alive are in no list of Node's.
  const timers = new Set<number>()
  const hook = createHook({
    init: (id, type) => {
      if (type === 'Timeout') timers.add(id)
    },
    destroy: (id) => timers.delete(id),
  }).enable()
  t.teardown(() => hook.disable())
  const breaker = new Breaker(time.runtime, (state) => states.push(state))
  for (let call = 0; call < 5; call++) breaker.record(false, time.ms)
  await settle()
  t.same(states, ['open'])
  t.equal(timers.size, 1, 'the one that makes it half open')
  breaker.close()
  breaker.close()
  breaker.record(true, time.ms)
  breaker.record(false, time.ms)
  await settle()
  t.same(states, ['open'])
  t.equal(timers.size, 0)
})

void t.test('M-4: the wait is twice the p95 of the last answers, at least the floor', (t) => {
  const hedging = new Hedging(200)
  t.equal(hedging.waitMs, 200)
  for (let sample = 0; sample < 19; sample++) hedging.sample(900, 0)
  t.equal(hedging.waitMs, 200, 'too few samples')
  for (let sample = 0; sample < 1000; sample++) hedging.sample(1, 0)
  t.equal(hedging.waitMs, 200, 'fast')
  for (let sample = 0; sample < 100; sample++) hedging.sample(300, 1)
  t.ok(
    hedging.waitMs >= 600 && hedging.waitMs < 2 * 300 * 1.2,
    `a tenth is slow: ${hedging.waitMs}`,
  )
  for (let sample = 0; sample < 100; sample++) hedging.sample(20_000, 2)
  t.equal(hedging.waitMs, 1500, 'never so late that it is of no use')
  for (let sample = 0; sample < 100; sample++) hedging.sample(2, 30_001)
  t.equal(hedging.waitMs, 1500, 'the window before still counts')
  hedging.sample(2, 60_002)
  t.equal(hedging.waitMs, 200, 'the one before that does not')
  for (let sample = 0; sample < 100; sample++) hedging.sample(400, 60_003)
  hedging.sample(1, 600_000)
  t.equal(hedging.waitMs, 200, 'nothing of an old time after a pause')
  t.end()
})

void t.test('M-4: at most a tenth of the queries is hedged, and one in half a second', (t) => {
  const hedging = new Hedging(200)
  const taken = (times: number, nowMs: number): number => {
    let count = 0
    for (let time = 0; time < times; time++) if (hedging.take(nowMs)) count++
    return count
  }
  t.equal(taken(100, 0), 10, 'saved up')
  t.equal(taken(100, 499), 0)
  t.equal(taken(100, 500), 1, 'always one')
  hedging.sent(50)
  t.equal(taken(100, 501), 5)
  hedging.sent(100_000)
  t.equal(taken(100_000, 502), 10, 'no more than ten at once')
  t.end()
})

function peersOf(runtime: Runtime): { peers: MetaPeers; totals: MetaTotalsTable } {
  const totals = new MetaTotalsTable()
  const group: PeerGroup = {
    runtime,
    batch: new Batch(runtime.timers),
    options: { connectTimeoutMs: 100, connections: 2 },
    hedging: new Hedging(200),
    observeSeconds: () => undefined,
    onDial: () => undefined,
    onLost: () => undefined,
    onBreaker: () => undefined,
  }
  return { peers: new MetaPeers(group, (address) => totals.of('c', address)), totals }
}

void t.test('M-2: learned leaders are marked, bounded, and gone with the list', (t) => {
  const { peers } = peersOf(node)
  const addresses = (): string[] => peers.all().map((peer) => peer.address)
  peers.list(['10.0.0.1:1', '10.0.0.2:1'])
  t.equal(peers.learn('10.0.0.2:1')?.isLearned, false, 'one of the list')
  t.equal(peers.learn('10.0.0.3:1')?.isLearned, true)
  t.equal(peers.learn('10.0.0.3:1'), peers.get('10.0.0.3:1'), 'the same again')
  for (const bad of [
    '0.0.0.0:0',
    '10.0.0.4:0',
    '10.0.0.4:65536',
    '300.0.0.1:1',
    '239.0.0.1:1',
    'x:1',
  ])
    t.equal(peers.learn(bad), undefined, bad)
  for (let index = 10; index < 40; index++) {
    peers.learn(`10.0.0.${index}:1`)
    peers.learn('10.0.0.3:1')
  }
  t.equal(addresses().length, 10, 'the list and eight more')
  t.ok(addresses().includes('10.0.0.3:1'), 'the one that is named again and again stays')
  peers.list(['10.0.0.2:1', '10.0.0.3:1'])
  t.equal(peers.get('10.0.0.3:1')?.isLearned, false, 'listed now')
  t.equal(peers.get('10.0.0.1:1'), undefined, 'no longer listed')
  t.equal(addresses().length, 9)
  peers.list(['10.1.0.1:1'])
  t.same(addresses(), ['10.1.0.1:1'], 'another list altogether')
  peers.close('test')
  t.end()
})

void t.test('what is counted by address and cluster is bounded', (t) => {
  const totals = new MetaTotalsTable()
  totals.of('c', 'a:1').answered = 5
  t.equal(totals.of('c', 'a:1').answered, 5)
  for (let index = 0; index < 1000; index++) totals.of(`c${index}`, `a:${index}`).lost++
  const all = [...totals.values()]
  t.ok(all.length <= 401, String(all.length))
  t.equal(
    all.reduce((sum, { lost }) => sum + lost, 0),
    1000,
    'and nothing is left out',
  )
  t.equal(totals.clusterLabel('c5'), 'c5')
  t.equal(totals.clusterLabel('c999'), OTHER)
  t.end()
})

void t.test('M-1: groups are shared by equal sets of metas, closed when idle, and bounded', (t) => {
  const time = turned()
  const upstreams = new Upstreams(time.runtime, servingMetrics(new Metrics()).upstream, {
    connections: 2,
    connectTimeoutMs: 100,
    hedgeMs: 200,
    silenceMs: 900,
    resolveMs: 30_000,
  })
  const route = (group: string): { cluster: string; metas: string[]; group: string } => ({
    cluster: 'c',
    metas: [group],
    group,
  })
  const first = upstreams.group(route('10.0.0.1:1'))
  t.equal(upstreams.group(route('10.0.0.1:1')), first)
  time.ms += 300_000
  upstreams.group(route('10.0.0.2:1'))
  time.ms += 300_001
  upstreams.closeIdle(time.ms - 600_000)
  t.equal(upstreams.size, 1, 'the first was idle for ten minutes')
  for (let index = 0; index < 3000; index++) {
    time.ms++
    upstreams.group(route(`10.0.0.1:${index + 1}`))
  }
  t.equal(upstreams.size, 1024)
  upstreams.close()
  t.equal(upstreams.size, 0)
  t.end()
})
