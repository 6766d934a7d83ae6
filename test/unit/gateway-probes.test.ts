/** M-8: who probes which cluster, what a probe finds, and that everybody knows it. */
import t from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { encodeReply, encodeResult, type RequestFrame } from '../../cluster/protocol/frame.ts'
import { AppInfo } from '../../cluster/protocol/layer2.ts'
import {
  ConfigurationClusterInfoResponse,
  ConfigurationListAppsResponse,
} from '../../cluster/protocol/meta-admin.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { watchClusters } from '../../gateway/cluster-health.ts'
import { ClusterProbes } from '../../gateway/upstream/probes.ts'
import { type FakeAnswer, type FakeMeta, startFakeMeta } from '../support/fake-meta.ts'
import { until } from '../support/gateway-world.ts'

t.setTimeout(60_000)
// Timers of the runtime keep no process alive.
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))

const runtime = nodeRuntime({ log: silentLog })
const controlRoot = '/metaproxy/tables.gateway'
const asked = (meta: FakeMeta, name: string): RequestFrame[] =>
  meta.requests.filter((request) => request.name === name)

/** A leader with these tables, by number of partitions; the query is answered as told. */
function leader(
  tables: Readonly<Record<string, number>>,
  onQuery: () => FakeAnswer = () => ({ error: 'ERR_OK', appId: 1 }),
): (request: RequestFrame) => FakeAnswer {
  return ({ name, seqid }) => {
    const whole = (result: Buffer): FakeAnswer => ({
      frame: encodeReply(name, seqid, 'ERR_OK', result),
    })
    if (name === Rpc.CLUSTER_INFO.name)
      return whole(
        encodeResult(
          ConfigurationClusterInfoResponse,
          ConfigurationClusterInfoResponse.make({
            err: 'ERR_OK',
            keys: ['meta_servers', 'primary_meta_server'],
            values: ['a,b', 'a.example:34601'],
          }),
        ),
      )
    if (name !== Rpc.LIST_APPS.name) return onQuery()
    const infos = Object.entries(tables).map(([appName, partitionCount]) =>
      AppInfo.make({ appName, partitionCount }),
    )
    const list = ConfigurationListAppsResponse.make({ err: 'ERR_OK', infos })
    return whole(encodeResult(ConfigurationListAppsResponse, list))
  }
}

interface Fleet {
  readonly memory: MemoryCoordination
  readonly reader: Coordinator
  readonly clusters: Map<string, readonly string[]>
  readonly join: (id: string) => { probes: ClusterProbes; control: Coordinator }
}

function fleet(t: { teardown: (end: () => Promise<void>) => unknown }): Fleet {
  const memory = new MemoryCoordination(runtime)
  const connect = (name: string): Coordinator =>
    memory.connect(runtime, { sessionTimeoutMs: 30_000, onExpiry: 'renew', name })
  const reader = connect('reader')
  t.teardown(() => reader.close())
  const clusters = new Map<string, readonly string[]>()
  return {
    memory,
    reader,
    clusters,
    join: (id) => {
      const control = connect(id)
      const options = { controlRoot, id, clusters: () => clusters, intervalMs: 100 }
      const probes = new ClusterProbes(runtime, control, options)
      t.teardown(async () => {
        await probes.close()
        await control.close()
      })
      return { probes, control }
    },
  }
}

async function metaOf(
  t: { teardown: (end: () => Promise<void>) => unknown },
  answer: (request: RequestFrame) => FakeAnswer,
): Promise<FakeMeta> {
  const meta = await startFakeMeta(answer)
  meta.seesProbes = true
  t.teardown(() => meta.close())
  return meta
}

void t.test(
  'a probe tells the leader, and asks for the table with the fewest partitions',
  async (t) => {
    const { clusters, join, reader } = fleet(t)
    const follower = await metaOf(t, () => ({ error: 'ERR_FORWARD_TO_OTHERS' }))
    const meta = await metaOf(t, leader({ big: 64, small: 4, other: 8 }))
    clusters.set('c1', [follower.address, meta.address])
    const { probes } = join('g1')
    await until(() => probes.result('c1') !== undefined)
    t.match(probes.result('c1'), {
      cluster: 'c1',
      leaderReachable: true,
      leader: 'a.example:34601',
      queryOk: true,
      by: 'g1',
      error: undefined,
    })
    const query = asked(meta, Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name)[0]?.argument.toString(
      'latin1',
    )
    t.ok(query?.includes('small'))
    await until(() => asked(meta, Rpc.CLUSTER_INFO.name).length >= 3)
    t.equal(asked(meta, Rpc.LIST_APPS.name).length, 1, 'the table is remembered')
    const { stat } = await reader.get(`${controlRoot}/locks/probe-c1`)
    t.not(stat.ephemeralOwner, 0n)
  },
)

void t.test('what is wrong is told: no leader, no table, no configuration', async (t) => {
  const { clusters, join } = fleet(t)
  const dead = await startFakeMeta(() => 'silence')
  await dead.close()
  const empty = await metaOf(t, leader({}))
  let answer: FakeAnswer = { error: 'ERR_INVALID_STATE' }
  const broken = await metaOf(
    t,
    leader({ one: 4 }, () => answer),
  )
  clusters.set('dead', [dead.address])
  clusters.set('empty', [empty.address])
  clusters.set('broken', [broken.address])
  clusters.set('a/b c', ['not an address'])
  const { probes } = join('g1')
  await until(() => probes.results().length === 3)
  t.match(probes.result('dead'), { leaderReachable: false, error: /ERR_|refused|no answer/ })
  t.match(probes.result('empty'), { leaderReachable: true, error: undefined })
  t.equal(probes.result('empty')?.queryOk, undefined, 'nothing to ask for')
  t.match(probes.result('broken'), {
    leaderReachable: true,
    queryOk: false,
    error: /one: ERR_INVALID_STATE/,
  })
  answer = { error: 'ERR_OK' }
  await until(() => probes.result('broken')?.queryOk === true)
  const back = await startFakeMeta(leader({ t: 4 }), dead.port)
  back.seesProbes = true
  t.teardown(() => back.close())
  await until(() => probes.result('dead')?.leaderReachable === true)
})

void t.test(
  'one gateway per cluster probes, the others know, and one of them follows',
  async (t) => {
    const { clusters, join, memory, reader } = fleet(t)
    const meta = await metaOf(t, leader({ t: 4 }))
    clusters.set('c1', [meta.address])
    const first = join('g1')
    await until(() => first.probes.leases.length === 1)
    const second = join('g2')
    const third = join('g3')
    await until(
      () => second.probes.result('c1')?.by === 'g1' && third.probes.result('c1')?.by === 'g1',
    )
    t.same([second.probes.leases, third.probes.leases], [[], []])
    const before = asked(meta, Rpc.CLUSTER_INFO.name).length
    meta.answer = () => 'reset'
    await until(() => second.probes.result('c1')?.leaderReachable === false)
    t.equal(second.probes.result('c1')?.by, 'g1', 'a change is told through the lease')
    meta.answer = leader({ t: 4 })
    await until(() => second.probes.result('c1')?.leaderReachable === true)
    t.ok(asked(meta, Rpc.CLUSTER_INFO.name).length > before)
    await first.probes.close()
    await until(() => second.probes.leases.length + third.probes.leases.length === 1)
    const [holder, other] = second.probes.leases.length === 1 ? [second, third] : [third, second]
    await until(() => other.probes.result('c1')?.by === holder.probes.result('c1')?.by)
    memory.expire((await reader.get(`${controlRoot}/locks/probe-c1`)).stat.ephemeralOwner)
    await until(() => holder.probes.leases.length + other.probes.leases.length === 1)
    t.pass('after the end of a session')
    clusters.delete('c1')
    await until(() => holder.probes.leases.length + other.probes.leases.length === 0)
    await until(async () => (await reader.children(`${controlRoot}/locks`)).length === 0)
    await until(() => holder.probes.results().length + other.probes.results().length === 0)
    t.pass('a cluster that is known no longer')
  },
)

void t.test('the clusters that do not serve are told in words and as a gauge', async (t) => {
  const { reader } = fleet(t)
  const meta = await metaOf(t, leader({ t: 4 }))
  const dead = await startFakeMeta(() => 'silence')
  await dead.close()
  const clusters = new Map<string, readonly string[]>([['well', [meta.address]]])
  for (let index = 0; index < 7; index++) clusters.set(`dead${index}`, [dead.address])
  const metrics = new Metrics()
  const health = watchClusters({
    runtime,
    control: reader,
    controlRoot,
    id: 'g1',
    directory: { clusters: () => clusters },
    metrics,
    intervalMs: 100,
  })
  t.teardown(() => health.close())
  await until(() => health.results().length === 8)
  t.equal(health.result('well')?.queryOk, true)
  const reasons = health.degradedReasons()
  t.match(reasons[0], /^cluster dead\d: no leader, ERR_/)
  t.same([reasons.length, reasons.at(-1)], [6, 'and 2 clusters more'])
  const text = await metrics.text()
  t.match(text, 'gateway_cluster_serving{cluster="well"} 1')
  t.match(text, 'gateway_cluster_serving{cluster="dead3"} 0')
  await health.close()
  t.same(await reader.children(`${controlRoot}/locks`), [], 'the leases are given back')
})
