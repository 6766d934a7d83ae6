/**
 * What decides about a gateway's processes, without any: metrics of several as one text, pauses before
 * restarts, what a reload may change, ports that change hands.
 */
import { connect } from 'node:net'
import t from 'tap'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Socket, SocketHandlers } from '../../cluster/runtime/runtime.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { KeptNetwork } from '../../gateway/processes/kept-network.ts'
import { MetricTotals } from '../../gateway/processes/metric-texts.ts'
import { OverloadJudge, type OverloadLevel } from '../../gateway/processes/overload.ts'
import { reloadOf } from '../../gateway/processes/reload.ts'
import { CRASHES_MAX, Restarts } from '../../gateway/processes/restarts.ts'
import { SheddingRoutes } from '../../gateway/processes/shedding-routes.ts'
import type { Lookup } from '../../gateway/routing/table-entry.ts'
import { FrameClient, testConfig, until } from '../support/gateway-world.ts'

function valueOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

void t.test(
  'O-2: counters and histograms of processes are summed, some gauges are not',
  async (t) => {
    const process = (count: number, lag: number): Metrics => {
      const metrics = new Metrics()
      metrics.counter('a_total', 'A, of "b" \\ c', { table: 'x y' }).add(count)
      metrics.gauge('client_connection_count', 'C', () => count)
      metrics.gauge('gateway_eventloop_lag_seconds', 'L', () => lag)
      const histogram = metrics.histogram('h_seconds', 'H', [0.1, 1])
      for (let at = 0; at < count; at++) histogram.observe(0.05)
      return metrics
    }
    const totals = new MetricTotals()
    const texts = await Promise.all([process(3, 0.2), process(4, 0.1)].map((one) => one.text()))
    const merged = totals.merge(texts)
    t.equal(valueOf(merged, 'a_total{table="x y"}'), 7)
    t.equal(valueOf(merged, 'client_connection_count'), 7)
    t.equal(valueOf(merged, 'gateway_eventloop_lag_seconds'), 0.2)
    t.equal(valueOf(merged, 'h_seconds_bucket{le="0.1"}'), 7)
    t.equal(valueOf(merged, 'h_seconds_bucket{le="+Inf"}'), 7)
    t.equal(valueOf(merged, 'h_seconds_count'), 7)
    t.equal(merged.match(/^# TYPE a_total counter$/gm)?.length, 1)
    t.equal(merged.match(/^# HELP a_total A, of "b"/gm)?.length, 1)
    t.equal(totals.merge([merged]), merged, 'merged text is a text like any other')
    t.equal(totals.merge([]), '')
    t.match(
      totals.merge(['# HELP i I\n# TYPE i gauge\ni +Inf\nj Nan\nk -Inf\n']),
      /^i \+Inf\nj NaN\nk -Inf$/m,
    )

    totals.retire(texts[0] ?? '')
    const after = totals.merge([texts[1] ?? ''])
    t.equal(valueOf(after, 'a_total{table="x y"}'), 7, 'a counter does not fall with its process')
    t.equal(valueOf(after, 'h_seconds_sum')?.toFixed(2), '0.35')
    t.equal(valueOf(after, 'client_connection_count'), 4, 'connections are gone with it')
  },
)

void t.test('L-2: pauses grow while a worker keeps dying, and begin again when it lived', (t) => {
  const restarts = new Restarts()
  const pauses = [0, 1, 2, 3, 4, 5, 6, 7].map((at) => restarts.crashed('1', at, 50))
  t.same(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000])
  t.equal(restarts.crashed('2', 8, 50), 100, 'each worker for itself')
  t.equal(restarts.crashesInMinute(9), 9)
  t.ok(restarts.crashesInMinute(9) > CRASHES_MAX)
  t.equal(restarts.crashed('1', 30_000, 10_000), 100)
  t.equal(restarts.crashesInMinute(60_007), 2)
  t.equal(restarts.crashesInMinute(90_001), 0)
  t.end()
})

void t.test('L-3: a reload takes what is marked and leaves the rest to a restart', (t) => {
  const old = testConfig({ workers: '2' })
  const next = testConfig({
    workers: '3',
    'limits.inFlight': '7',
    'zookeeper.root': '/other',
    'http.port': '1234',
  })
  const { config, changed, fixed } = reloadOf(gatewayConfig, old, next)
  t.same(changed.toSorted(), ['limits.inFlight', 'workers'])
  t.same(fixed.toSorted(), ['http.port', 'zookeeper.root'])
  t.equal(config.workers, 3)
  t.equal(config.limits.inFlight, 7)
  t.equal(config.zookeeper.root, old.zookeeper.root)
  t.equal(config.http.port, old.http.port)
  t.same(reloadOf(gatewayConfig, old, testConfig({ workers: '1' })).fixed, ['workers'])
  t.same(reloadOf(gatewayConfig, old, old), { config: old, changed: [], fixed: [] })
  t.end()
})

void t.test(
  'L-3: a kept port goes to the last who listens, and back when that one leaves',
  async (t) => {
    const runtime = nodeRuntime({ log: silentLog })
    const network = new KeptNetwork(runtime.network)
    const taken: string[] = []
    const handlers = {
      onData: () => undefined,
      onEnd: () => undefined,
      onDrain: () => undefined,
      onClose: () => undefined,
    }
    const holder = (name: string) => (socket: Socket) => {
      taken.push(name)
      socket.end()
      return handlers
    }
    const at = { host: '127.0.0.1', port: 0, lends: true }
    const first = await network.listen(at, holder('first'))
    /** Resolves when whoever took the connection has ended it; false when nobody listens. */
    const connect = async (): Promise<boolean> => {
      const client = await FrameClient.dial(first.port).catch(() => undefined)
      if (client === undefined) return false
      await until(() => client.hasEnded)
      client.destroy()
      return true
    }
    await connect()
    const second = await network.listen(at, holder('second'))
    t.equal(second.port, first.port)
    await connect()
    await second.close()
    await connect()
    const third = await network.listen(at, holder('third'))
    await first.close()
    await first.close()
    await connect()
    t.same(taken, ['first', 'second', 'first', 'third'])
    const inUse = { host: '127.0.0.1', port: first.port }
    await t.rejects(network.listen(inUse, holder('x')), { code: 'EADDRINUSE' })
    await third.close()
    t.notOk(await connect(), 'closed with the last one')
    const again = await network.listen(inUse, holder('again'))
    await connect()
    await again.close()
    t.equal(taken.at(-1), 'again', 'a failure is not remembered')
  },
)

void t.test('L-3: an open connection goes on with whoever holds its port now', async (t) => {
  const network = new KeptNetwork(nodeRuntime({ log: silentLog }).network)
  const at = { host: '127.0.0.1', port: 0, lends: true }
  const block = Buffer.alloc(16 << 20)
  let sent: Socket | undefined
  const seen: string[] = []
  const holder =
    (name: string) =>
    (socket: Socket): SocketHandlers => {
      sent = socket
      return {
        onData: (chunk) => {
          seen.push(`${name} ${chunk.toString()}`)
          socket.write(chunk.toString() === 'much' ? block : Buffer.from(name))
        },
        onEnd: () => socket.end(),
        onDrain: () => undefined,
        onClose: () => seen.push(`${name} closed`),
      }
    }
  const first = await network.listen(at, holder('first'))
  const client = connect(first.port, '127.0.0.1')
  let received = 0
  let last = ''
  client.on('data', (chunk: Buffer) => {
    received += chunk.length
    last = chunk.toString('latin1').slice(-6)
  })
  client.write('one')
  await until(() => last === 'first')
  const second = await network.listen(at, holder('second'))
  const old = sent
  if (old === undefined) throw new Error('no connection')
  // Sent while nobody reads: it waits in the system.
  client.write('two')
  t.ok(network.move(old))
  await until(() => last === 'second')
  t.same(seen, ['first one', 'first closed', 'second two'])
  t.notOk(network.move(old), 'only once')
  client.pause()
  client.write('much')
  await until(() => (sent?.bufferedBytes() ?? 0) > 0)
  t.notOk(network.move(sent ?? old), 'not with something to be sent')
  client.resume()
  const expected = 'firstsecond'.length + block.length
  await until(() => received === expected && sent?.bufferedBytes() === 0)
  await second.close()
  t.ok(network.move(sent ?? old), 'and back')
  client.end('three')
  await until(() => seen.includes('first three'))
  await until(() => client.readyState === 'closed')
  await first.close()
})

void t.test(
  'L-7: late for two seconds sheds, for four refuses, and it comes back step by step',
  (t) => {
    const judge = new OverloadJudge({ lagMs: 200, forMs: 2000 })
    let nowMs = 0
    /** Looks that each come `latenessMs` late, for `totalMs`; the levels on the way. */
    const run = (latenessMs: number, totalMs: number): OverloadLevel[] => {
      const levels: OverloadLevel[] = []
      const endMs = nowMs + totalMs
      while (nowMs < endMs) {
        nowMs += 100 + latenessMs
        const level = judge.sample(nowMs, latenessMs)
        if (levels.at(-1) !== level) levels.push(level)
      }
      return levels
    }
    t.same(run(5, 10_000), ['normal'])
    t.same(run(200, 10_000), ['normal'], 'not above the limit')
    t.same(run(300, 1900), ['normal'], 'not yet two seconds')
    t.same(run(0, 100), ['normal'])
    t.same(run(300, 1900), ['normal'], 'the clock began again')
    t.same(run(300, 400), ['shedding'])
    t.same(run(300, 3000), ['shedding', 'refusing'])
    t.same(run(10, 1900), ['refusing'])
    t.same(run(300, 400), ['refusing'], 'one late look keeps the level')
    t.same(run(10, 2300), ['refusing', 'shedding'])
    t.same(run(10, 2300), ['shedding', 'normal'])
    t.same(run(60_000, 60_000), ['normal'], 'one long pause is no overload')
    t.end()
  },
)

void t.test('L-7: what is in memory is answered, what is cold is refused at once', (t) => {
  const isShedding = { now: false }
  let shed = 0
  const known: Lookup = { kind: 'missing' }
  const told: string[] = []
  const waiting: ((lookup: Lookup) => void)[] = []
  const routes = new SheddingRoutes(
    {
      find: (table) => (table === 'known' ? known : undefined),
      load: (_table, _budgetMs, tell) => void waiting.push(tell),
      epoch: 1,
      revision: 1,
      routeCount: 2,
      negativeCount: 3,
      stalenessMs: () => 4,
      outage: false,
      close: () => undefined,
    },
    { isShedding: () => isShedding.now, onShed: () => shed++ },
  )
  routes.load('early', 4000, (lookup) => void told.push(`early ${lookup.kind}`))
  isShedding.now = true
  t.equal(routes.find('known'), known)
  routes.load('cold', 4000, (lookup) => void told.push(`cold ${lookup.kind}`))
  t.same(told, ['cold unavailable'])
  for (const tell of waiting) tell(known)
  t.same(told, ['cold unavailable', 'early missing'], 'the newest are shed, not those that run')
  isShedding.now = false
  routes.load('later', 4000, () => undefined)
  t.equal(waiting.length, 2)
  t.equal(shed, 1)
  t.end()
})
