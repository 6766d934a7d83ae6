/** A whole cluster over real sockets, files and RocksDB, in one process. */
import t from 'tap'
import { AdminClient } from '../../cluster/client/admin.ts'
import { PegasusClient } from '../../cluster/client/client.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { metaConfigSchema } from '../../cluster/meta/config.ts'
import { startMetaServer } from '../../cluster/meta/server.ts'
import { type ReplicaServer, startReplicaServer } from '../../cluster/replica/server.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { createLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'
import { replicaConfigOf } from './replica-cluster.ts'

/** Slower than in the simulation: here real disks and a busy machine are in the way. */
const failureDetectorFlags = {
  'failureDetector.beacon': '200',
  'failureDetector.check': '100',
  'failureDetector.lease': '4000',
  'failureDetector.grace': '4500',
}

const level = process.env['TEST_LOG'] === undefined ? 'error' : 'debug'
const runtime = nodeRuntime({ log: createLog({ level, name: 't' }) })

async function startMeta() {
  const coordination = new MemoryCoordination(runtime)
  const loaded = loadConfig(metaConfigSchema, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: {
      clusterName: 'alpha',
      'rpc.port': '0',
      'zookeeper.root': '/pegasus/alpha',
      'zookeeper.sessionTimeout': '3000',
      ...failureDetectorFlags,
      'meta.restoreAllowance': '50',
      'meta.minLiveNodes': '1',
      'meta.nodeLivePercentage': '0',
      'meta.checkRound': '200',
      'meta.assignDelay': '1000',
      'meta.unstableNodeFilter': 'false',
    },
  })
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
  const coordinator = coordination.connect(runtime, {
    sessionTimeoutMs: loaded.config.zookeeper.sessionTimeout,
    onExpiry: 'end',
  })
  const metrics = new Metrics()
  const meta = await startMetaServer({ runtime, coordinator, config: loaded.config, metrics })
  return { meta, coordinator }
}

/** Ends with an error when the condition does not come true. */
async function until(what: string, check: () => boolean): Promise<void> {
  const endMs = runtime.clock.monotonicMs() + 30_000
  while (!check()) {
    if (runtime.clock.monotonicMs() > endMs) throw new Error(`never: ${what}`)
    await new Promise<void>((resolve) => void runtime.timers.after(10, resolve))
  }
}

void t.test('a table on RocksDB outlives its servers', async (t) => {
  const { meta, coordinator } = await startMeta()
  const servers = new Map<string, ReplicaServer>()
  const start = async (name: string, port: number): Promise<void> => {
    const dataDirectory = `${t.testdirName}/${name}`
    const server = await startReplicaServer({
      runtime,
      openEngine: () => openRocksDb({ path: `${dataDirectory}/engine` }),
      config: replicaConfigOf({
        dataDirectory,
        'rpc.port': String(port),
        metaServers: meta.address,
        ...failureDetectorFlags,
      }),
      metrics: new Metrics(),
    })
    servers.set(name, server)
    await until(`${name} is connected`, () => server.unreadyReason() === undefined)
  }
  const stop = async (name: string): Promise<number> => {
    const server = servers.get(name)
    await server?.close()
    servers.delete(name)
    return Number(server?.address.split(':')[1])
  }
  t.testdir({ r1: {}, r2: {}, r3: {} })
  for (const name of ['r1', 'r2', 'r3']) await start(name, 0)

  const options = { metaServers: [meta.address], operationTimeoutMs: 15_000, runtime }
  const admin = new AdminClient(options)
  const client = new PegasusClient(options)
  await admin.createTable('orders', { partitionCount: 4, replicaCount: 3 })
  await admin.waitForTable('orders')
  const table = await client.openTable('orders')
  const keys = Array.from({ length: 200 }, (_, index) => `key ${index}`)
  await Promise.all(keys.map((key) => table.set(key, 's', `value of ${key}`)))
  const read = async (): Promise<string[]> =>
    Promise.all(keys.map(async (key) => String(await table.get(key, 's'))))
  const expected = keys.map((key) => `value of ${key}`)
  t.strictSame(await read(), expected)

  const primary = [...servers].find(([, server]) =>
    server.node.drivers().some((driver) => driver.view().status === 'primary'),
  )
  const name = primary?.[0] ?? ''
  const port = await stop(name)
  t.strictSame(await read(), expected, 'without one of its primaries')
  await table.set('later', 's', 'written by two')
  await start(name, port)
  await until('all are members again', () => {
    const views = [...servers.values()].flatMap(({ node }) => node.drivers().map((d) => d.view()))
    return (
      views.filter(({ status }) => status === 'primary').length === 4 &&
      views.filter(({ status }) => status === 'secondary').length === 8
    )
  })
  const ports = new Map<string, number>()
  for (const each of [...servers.keys()]) ports.set(each, await stop(each))
  for (const [each, at] of ports) await start(each, at)
  t.strictSame(await read(), expected, 'after a restart of all')
  t.equal(String(await table.get('later', 's')), 'written by two')

  await client.close()
  admin.close()
  for (const each of [...servers.keys()]) await stop(each)
  await meta.close()
  await coordinator.close()
})
