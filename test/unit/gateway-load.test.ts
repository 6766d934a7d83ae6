/** How busy a gateway is, and when its fleet hears of it (admin-ui.md 3.10). */
import t from 'tap'
import type { EffectiveOption } from '../../cluster/runtime/config.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import {
  type GatewayLoad,
  LoadMeter,
  type LoadReading,
  addCounts,
  isNews,
  nothingServed,
  servedCounts,
} from '../../gateway/load.ts'
import { type Result, servingMetrics } from '../../gateway/metrics.ts'
import { sharedConfigHash } from '../../gateway/shared-config.ts'

/** A process that serves, as far as it counts. */
function server() {
  const { server: metrics } = servingMetrics(new Metrics())
  const answer = (result: Result, ms: number, times = 1): void => {
    for (let n = 0; n < times; n++) {
      metrics.queries[1][result].add()
      metrics.durationSeconds[result].observe(ms / 1000)
    }
  }
  return { metrics, answer, counts: () => servedCounts(metrics) }
}

function meter(read: () => Partial<LoadReading>) {
  let nowMs = 1000
  const loads = new LoadMeter(
    () => nowMs,
    () => ({ counts: nothingServed, loopLagMs: 0, routes: 0, ...read() }),
  )
  const after = (ms: number): GatewayLoad | undefined => {
    nowMs += ms
    return loads.load()
  }
  return { after }
}

void t.test('rates are of all processes since the last reading', (t) => {
  const [one, two] = [server(), server()]
  one.answer('relayed', 1, 1000)
  const { after } = meter(() => ({
    counts: addCounts(one.counts(), two.counts()),
    loopLagMs: 130,
    routes: 12,
  }))
  t.equal(after(3000), undefined, 'nothing is said of the first seconds')
  one.answer('relayed', 1, 400)
  two.answer('relayed', 1, 94)
  two.answer('unavailable', 900, 4)
  two.answer('invalid-mapping', 1)
  two.answer('no-table', 5000, 60)
  two.answer('limited', 1, 30)
  two.answer('unreadable', 1, 11)
  const load = {
    overSeconds: 5,
    queriesPerSecond: 120,
    errorsPerSecond: 1,
    p99Ms: 1,
    loopLagMs: 200,
    routes: 12,
  }
  t.same(after(2000), load, 'unknown tables and limits are no errors, and take no time')
  one.answer('relayed', 700, 300)
  t.same(after(100), load, 'not anew before some seconds have passed')
  t.match(after(9900), { overSeconds: 10, queriesPerSecond: 30, errorsPerSecond: 0, p99Ms: 1000 })
  const idle = after(5000)
  t.match(idle, { queriesPerSecond: 0, errorsPerSecond: 0, loopLagMs: 200 })
  t.notOk(idle !== undefined && 'p99Ms' in idle, 'nobody asked')
  t.end()
})

void t.test('the p99 is the upper bound of the bucket that holds it', (t) => {
  const one = server()
  const { after } = meter(() => ({ counts: one.counts() }))
  const p99 = (...took: [ms: number, times: number][]): number | undefined => {
    for (const [ms, times] of took) one.answer('relayed', ms, times)
    return after(5000)?.p99Ms
  }
  t.equal(p99([0.3, 1]), 0.5)
  t.equal(p99([0.3, 990], [40, 10]), 0.5)
  t.equal(p99([0.3, 989], [40, 11]), 50)
  t.equal(p99([50, 1]), 50, 'a bound belongs to its bucket')
  t.equal(p99([9000, 1]), 60_000, 'no answer takes longer')
  t.end()
})

void t.test('figures have three digits, and the loop a step', (t) => {
  const one = server()
  let loopLagMs = 20
  const { after } = meter(() => ({ counts: one.counts(), loopLagMs }))
  one.answer('relayed', 1, 61_728)
  t.match(after(5000), { queriesPerSecond: 12_300, loopLagMs: 20 })
  one.answer('unavailable', 1, 1)
  loopLagMs = 20.1
  t.match(after(7000), { errorsPerSecond: 0.143, loopLagMs: 50 })
  loopLagMs = 1e9
  t.match(after(5000), { loopLagMs: 60_000 })
  t.end()
})

void t.test('figures are news when one moved far, or a minute after any did', (t) => {
  const told: GatewayLoad = {
    overSeconds: 5,
    queriesPerSecond: 1000,
    errorsPerSecond: 0,
    p99Ms: 2,
    loopLagMs: 20,
    routes: 500,
  }
  const is = (change: Partial<GatewayLoad>, ms = 5000): boolean =>
    isNews(told, { ...told, ...change }, ms)
  t.equal(isNews(undefined, undefined, 1e9), false)
  t.equal(isNews(told, undefined, 1e9), false)
  t.equal(isNews(undefined, told, 0), true)
  t.equal(is({}, 1e9), false, 'nothing moved')
  t.equal(is({ overSeconds: 9 }, 1e9), false)
  t.equal(is({ queriesPerSecond: 1199 }), false)
  t.equal(is({ queriesPerSecond: 1199 }, 60_000), true)
  t.equal(is({ queriesPerSecond: 1300 }), true)
  t.equal(is({ queriesPerSecond: 0 }), true)
  t.equal(is({ errorsPerSecond: 0.2 }), true)
  t.equal(is({ p99Ms: 5 }), false, 'some milliseconds')
  t.equal(is({ p99Ms: 10 }), true)
  t.equal(is({ loopLagMs: 50 }), false)
  t.equal(is({ loopLagMs: 100 }), true)
  t.equal(is({ routes: 590 }), false)
  t.equal(is({ routes: 700 }), true)
  const { p99Ms: _p99Ms, ...quiet } = told
  t.equal(isNews(quiet, told, 5000), false)
  t.equal(
    isNews({ ...quiet, queriesPerSecond: 0.2 }, { ...quiet, queriesPerSecond: 0 }, 5000),
    false,
  )
  t.end()
})

void t.test('the hash of a configuration tells what gateways should have in common', (t) => {
  const option = (path: string, value: unknown): EffectiveOption => ({
    path,
    value,
    source: 'default',
    reloadable: false,
    about: '',
  })
  const endpoint = { host: '10.0.0.1', port: 1, root: '/a' }
  const options = [
    option('id', 'one'),
    option('rpc.host', '10.0.0.1'),
    option('http.port', 34680),
    option('tls.keyFile', '/etc/one.pem'),
    option('audit.exportFolder', '/one'),
    option('zookeeper.servers', 'a:2181,b:2181'),
    option('metric.tags', ['zone=a']),
    option('workers', 4),
    option('zookeeper.password', '***'),
    option('endpoints', [endpoint]),
    option('limits.inFlight', 256),
  ]
  const hash = sharedConfigHash(options)
  t.match(hash, /^[0-9a-f]{8}$/)
  const given = (path: string, value: unknown): string =>
    sharedConfigHash(options.map((one) => (one.path === path ? option(path, value) : one)))
  for (const path of options.slice(0, 8).map((one) => one.path))
    t.equal(given(path, 'other'), hash, `${path} may differ`)
  t.equal(given('endpoints', [{ ...endpoint, port: 2 }]), hash)
  t.equal(sharedConfigHash(options.toReversed()), hash)
  t.not(given('endpoints', [{ ...endpoint, root: '/b' }]), hash)
  t.not(given('limits.inFlight', 255), hash)
  t.not(given('zookeeper.password', null), hash)
  t.end()
})
