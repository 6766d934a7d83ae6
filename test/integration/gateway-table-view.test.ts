/**
 * O-5, "why does this client go there": the view of a table in words and as facts, the queries recorded
 * for it, and that nobody pays for it who does not look.
 */
import t from 'tap'
import { QueryWatch } from '../../gateway/clients/query-watch.ts'
import { viewTable } from '../../gateway/gateway.ts'
import { gatewayMetrics } from '../../gateway/metrics.ts'
import { type ServedTable, tableView } from '../../gateway/table-view.ts'
import type { RouteFacts } from '../../gateway/routing/route-facts.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { type GatewayWorld, queryFrame, root, startWorld } from '../support/gateway-world.ts'

t.setTimeout(120_000)

const look = ({ gateway }: GatewayWorld, table: string) =>
  viewTable(gateway.directory, table, async () => [gateway.describeTable(table, '', true)])

void t.test(
  'O-5: the view tells route, node, leader and the last queries with their peers',
  async (t) => {
    const world = await startWorld()
    const meta = await startFakeMeta(() => ({ error: 'ERR_OK' }))
    t.teardown(async () => {
      await world.close()
      await meta.close()
    })
    await world.map('temp', [meta.address])
    await world.map('temp', [meta.address, '127.0.0.1:1'])
    const client = await world.client()
    await client.query('temp')
    const first = await look(world, 'temp')
    t.match(first, {
      table: 'temp',
      routing: {
        path: `${root}/temp`,
        answer: 'route',
        truth: 'mapped',
        route: { cluster: 'c1', metas: [meta.address, '127.0.0.1:1'], stale: 'serve' },
        node: { version: 1, modifiedZxid: /^0x/, modifiedAt: /^20..-/ },
        readAgoMs: Number,
        watch: 'set',
        zookeeper: 'connected',
      },
      processes: [{ answer: 'route', cluster: 'c1', metas: { leader: meta.address }, queries: [] }],
    })
    t.match(first.why, [
      `temp is served by cluster c1 (${meta.address}, 127.0.0.1:1).`,
      /^So says \/metaproxy\/tables\/temp version 1, changed at /,
      /The node is watched: a change takes effect at once/,
      `This process asks the leader ${meta.address}.`,
      /recorded from now on/,
    ])
    for (let n = 0; n < 30; n++)
      client.send(queryFrame('temp', { seqid: n, version: n % 2 ? 1 : 0 }))
    await client.received(31)
    await client.query('other')
    const second = await look(world, 'temp')
    const peer = `127.0.0.1:${client.socket.localPort}`
    const queries = second.processes[0]?.queries ?? []
    t.equal(queries.length, 20)
    t.match(queries[0], { peer, result: 'relayed', ms: Number, atMs: Number })
    t.same(new Set(queries.map(({ headerVersion }) => headerVersion)), new Set([0, 1]))
    t.match(
      second.why.at(-1),
      new RegExp(`The last 20 queries came from 1 addresses; .* ${peer} was relayed`),
    )
  },
)

void t.test('O-5: tables without a route have a story too', async (t) => {
  const world = await startWorld()
  t.teardown(() => world.close())
  t.match(
    (await look(world, 'none')).why[0],
    /There is no node \/metaproxy\/tables\/none: .*OBJECT_NOT_FOUND/,
  )
  t.match((await look(world, 'a/b')).why[0], /a\/b cannot be the name of a node/)
  await world.editor.create(`${root}/broken`, Buffer.from('{'))
  t.match((await look(world, 'broken')).why[0], /broken version 0, .* never held a valid mapping/)
  await world.map('temp', ['127.0.0.1:1'])
  await look(world, 'temp')
  world.memory.setReachable('gateway', 'down')
  world.memory.breakConnections('gateway')
  while (world.coordinator.state() === 'connected')
    await new Promise((resolve) => setTimeout(resolve, 5))
  t.match(
    (await look(world, 'temp')).why[2],
    /ZooKeeper is suspended: unconfirmed for .* policy is serve/,
  )
  t.match((await look(world, 'unread')).why[0], /in nobody's memory/)
})

void t.test('O-5: redirects, breakers and a worker that differs are said in words', (t) => {
  const routing: RouteFacts = {
    path: '/t/temp',
    answer: 'route',
    route: { cluster: 'c2', metas: ['b:1'], stale: 'bounded:500', mappedCluster: 'c1', plan: 'p7' },
    truth: 'invalid',
    watch: 'unset',
    zookeeper: 'connected',
    epoch: 3,
  }
  const metas = {
    cluster: 'c1',
    names: ['a:1'],
    leader: undefined,
    metas: [
      {
        address: 'a:1',
        isLearned: false,
        breaker: 'open' as const,
        connections: [],
        answered: 0,
        lost: 1,
        timedOut: 0,
      },
    ],
    inFlight: 0,
    searching: 0,
    p95Ms: 1,
    hedgeAfterMs: 200,
  }
  const served: ServedTable = { process: '2', answer: 'route', cluster: 'c1', metas, queries: [] }
  const { why } = tableView('temp', routing, [served])
  const story = why.join('\n')
  t.match(story, /names cluster c1; the redirect of plan p7 sends its tables to c2/)
  t.match(story, /holds no valid mapping now; the last good route/)
  t.match(story, /Worker 2 answers differently: route c1/)
  t.match(story, /Worker 2 knows no leader now/)
  t.match(story, /Worker 2 asks a:1 no more than a probe now: its breaker is open/)
  const old = tableView('temp', { ...routing, answer: 'unavailable' }, [])
  t.match(old.why[0], /older than its staleness policy allows/)
  t.end()
})

void t.test(
  'O-4, O-5: recording is off until somebody looks, ends by itself, and is bounded',
  (t) => {
    let nowMs = 0
    const lines: unknown[] = []
    const log = {
      ...silentLog,
      info: (event: string, fields?: object) => lines.push({ event, ...fields }),
    }
    const runtime = {
      clock: { monotonicMs: () => nowMs, wallMs: () => 1000 + nowMs },
      log: { ...log, child: () => log },
    }
    const { queries: counts } = gatewayMetrics(new Metrics()).server
    const query = (peer: string) => ({ asker: { peer }, seqid: 1, counts: counts.native })
    const watch = new QueryWatch(runtime, 0)
    t.equal(watch.isActive, false)
    t.same(watch.look('a'), [])
    t.equal(watch.isActive, true)
    watch.seen('a', query('1.2.3.4:5'), 'relayed', 1.23456)
    watch.seen('b', query('1.2.3.4:5'), 'relayed', 1)
    t.same(watch.look('a'), [
      {
        atMs: 1000,
        peer: '1.2.3.4:5',
        seqid: 1,
        headerVersion: 'native',
        result: 'relayed',
        ms: 1.235,
      },
    ])
    t.same(watch.look('b'), [], 'nobody had looked at it')
    nowMs = 59_000
    watch.look('a')
    nowMs = 61_000
    watch.expire()
    t.equal(watch.look('a').length, 1, 'a look renews it')
    nowMs = 200_000
    watch.expire()
    t.equal(watch.isActive, false)
    t.same(watch.look('a'), [])
    for (let n = 0; n < 100; n++) watch.look(`t${n}`)
    watch.seen('t0', query('p'), 'relayed', 1)
    t.same(watch.look('t0'), [], 'only the last 32 tables are watched')
    t.same(lines, [], 'nothing is logged without a sample')

    const sampled = new QueryWatch(runtime, 0.25)
    t.equal(sampled.isActive, true)
    for (let n = 0; n < 100; n++) sampled.seen('a', query(`p${n}`), 'no-table', 2)
    t.equal(lines.length, 25)
    t.match(lines[0], { event: 'query', table: 'a', peer: 'p3', result: 'no-table', ms: 2 })
    sampled.expire()
    t.equal(sampled.isActive, true)
    t.end()
  },
)
