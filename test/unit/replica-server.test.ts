/** Replica servers in a whole cluster: the life of a table through deaths and returns of servers. */
import t from 'tap'
import { encodeArgument } from '../../cluster/protocol/frame.ts'
import { CopyRequest } from '../../cluster/protocol/nfs.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { UpdateRequest } from '../../cluster/protocol/rrdb.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { Peer } from '../../cluster/rpc/peer.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import type { Table } from '../../cluster/client/client.ts'
import { clientDeadlineMs } from '../../cluster/replica/client-requests.ts'
import { TestCluster } from './replica-cluster.ts'

/** Writes numbered keys until told to stop; remembers which writes were acknowledged. */
class Load {
  readonly acknowledged = new Set<string>()
  readonly unknown = new Set<string>()
  #stopped = false
  #running = 0
  readonly #cluster: TestCluster

  constructor(cluster: TestCluster, table: Table, workers: number) {
    this.#cluster = cluster
    const { clientNode, world } = cluster
    for (let worker = 0; worker < workers; worker++) {
      this.#running++
      world.after(0, () => {
        clientNode.perform(clientNode.incarnation, 'input', () => void this.#work(table, worker))
      })
    }
  }

  async #work(table: Table, worker: number): Promise<void> {
    for (let count = 0; !this.#stopped; count++) {
      const key = `w${worker}-${count}`
      try {
        await table.set(key, 's', `value of ${key}`)
        this.acknowledged.add(key)
      } catch {
        this.unknown.add(key)
      }
    }
    this.#running--
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#cluster.until('writers have stopped', () => this.#running === 0)
  }

  /** Keys that were acknowledged and cannot be read. */
  async missing(table: Table): Promise<string[]> {
    const missing: string[] = []
    await this.#cluster.on(this.#cluster.clientNode, async () => {
      const keys = [...this.acknowledged]
      for (let at = 0; at < keys.length; at += 50)
        await Promise.all(
          keys.slice(at, at + 50).map(async (key) => {
            const value = await table.get(key, 's')
            if (String(value) !== `value of ${key}`) missing.push(key)
          }),
        )
    })
    return missing
  }
}

async function tableOf(cluster: TestCluster, name: string): Promise<Table> {
  await cluster.createTable(name)
  return cluster.on(cluster.clientNode, () => cluster.client.openTable(name))
}

function healthy(cluster: TestCluster, partitions = 2, members = 3): boolean {
  const views = cluster.replicas.flatMap((replica) => replica.views())
  const primaries = views.filter((view) => view.status === 'primary')
  const secondaries = views.filter((view) => view.status === 'secondary')
  return (
    primaries.length === partitions &&
    secondaries.length === partitions * (members - 1) &&
    primaries.every((view) => view.secondaries.length === members - 1)
  )
}

void t.test('a table is created, written and read', async (t) => {
  const cluster = new TestCluster('basic')
  await cluster.start(3)
  const table = await tableOf(cluster, 'orders')
  const value = await cluster.on(cluster.clientNode, async () => {
    await table.set('hash', 'sort', 'value')
    return table.get('hash', 'sort')
  })
  t.equal(String(value), 'value')
  t.strictSame(cluster.problems(), [])
})

for (const powerCut of [false, true]) {
  const how = powerCut ? 'a power cut of' : 'the death of'
  void t.test(`no acknowledged write is lost by ${how} a primary`, async (t) => {
    const cluster = new TestCluster(`kill-primary ${powerCut}`)
    await cluster.start(3)
    const table = await tableOf(cluster, 'orders')
    const load = new Load(cluster, table, 4)
    await cluster.until('writes flow', () => load.acknowledged.size > 60)
    const primary = cluster.primaryOf(0)
    primary?.kill({ powerCut })
    const before = load.acknowledged.size
    await cluster.until('writes flow again', () => load.acknowledged.size > before + 60)
    await primary?.start()
    await cluster.until('all three are members again', () => healthy(cluster))
    await load.stop()
    t.strictSame(await load.missing(table), [])
    t.ok(cluster.world.nowMs() < 30_000, `recovered at ${cluster.world.nowMs()}`)
  })

  void t.test(`no acknowledged write is lost by ${how} all servers at once`, async (t) => {
    const cluster = new TestCluster(`kill-all ${powerCut}`)
    await cluster.start(3)
    const table = await tableOf(cluster, 'orders')
    const load = new Load(cluster, table, 4)
    await cluster.until('writes flow', () => load.acknowledged.size > 100)
    for (const replica of cluster.replicas) replica.kill({ powerCut })
    await cluster.elapse(3000)
    for (const replica of cluster.replicas) await replica.start()
    await cluster.until('all three are members again', () => healthy(cluster))
    const before = load.acknowledged.size
    await cluster.until('writes flow again', () => load.acknowledged.size > before + 40)
    await load.stop()
    t.strictSame(await load.missing(table), [])
  })
}

void t.test('a primary that is back before its grace period is over goes on', async (t) => {
  const cluster = new TestCluster('fast restart')
  await cluster.start(3)
  const table = await tableOf(cluster, 'orders')
  const load = new Load(cluster, table, 4)
  await cluster.until('writes flow', () => load.acknowledged.size > 60)
  const primary = cluster.primaryOf(0)
  primary?.kill()
  await primary?.start()
  const before = load.acknowledged.size
  await cluster.until('writes flow again', () => load.acknowledged.size > before + 60)
  await cluster.until('all three are members again', () => healthy(cluster))
  await load.stop()
  t.strictSame(await load.missing(table), [])
})

const smallLog = { 'mutationLog.segmentBytes': '16KiB', 'mutationLog.reserveBytes': '0' }

function learnSteps(cluster: TestCluster): string[] {
  const steps = cluster.traces.flatMap(({ event }) =>
    event.type === 'learning' ? [event.step] : [],
  )
  return [...new Set(steps)].toSorted()
}

for (const [name, flags, expected] of [
  ['the log', {}, ['cache']],
  ['the log in rounds', { 'replica.learnAnswerBytes': '8KiB' }, ['cache', 'log']],
  ['a snapshot and the log', smallLog, ['app', 'cache']],
] as const)
  void t.test(`a new server learns everything under writes, from ${name}`, async (t) => {
    const cluster = new TestCluster(`new learner from ${name}`)
    await cluster.start(3, flags)
    const table = await tableOf(cluster, 'orders')
    const load = new Load(cluster, table, 4)
    await cluster.until('much is written', () => load.acknowledged.size > 600)
    const gone = cluster.replicas[0]
    gone?.kill()
    await cluster.add(flags)
    await cluster.until('three members again', () => healthy(cluster))
    await load.stop()
    t.strictSame(await load.missing(table), [])
    t.strictSame(learnSteps(cluster), [...expected, 'started', 'succeeded'])
    // The one that comes back is not needed any more and does no harm.
    await gone?.start()
    await cluster.elapse(2000)
    t.ok(healthy(cluster))
    t.strictSame(await load.missing(table), [])
  })

void t.test('requests at the door (wire 10.1)', async (t) => {
  const cluster = new TestCluster('door')
  await cluster.start(3)
  await cluster.createTable('orders', 2)
  const { runtime } = cluster
  const primary = cluster.primaryOf(1)
  const secondary = cluster.replicas.find((replica) =>
    replica.views().some((v) => v.gpid.partitionIndex === 1 && v.status === 'secondary'),
  )
  t.ok(primary)
  t.ok(secondary)
  const appId = primary?.views()[0]?.gpid.appId ?? 0
  const call = (
    to: string | undefined,
    name: string,
    argument: Buffer,
    given: { appId?: number; partitionIndex?: number; isBackupRequest?: boolean } = {},
  ): Promise<string> =>
    cluster.on(cluster.clientNode, async () => {
      const peer = new Peer(runtime, { address: to ?? '' })
      const deadline = deadlineIn(runtime.clock, 1000)
      try {
        const options = { deadline, appId, partitionIndex: 1, ...given }
        return (await peer.callRaw(name, argument, options)).errorName
      } catch (error) {
        return error instanceof Error && 'code' in error ? String(error.code) : String(error)
      } finally {
        peer.close()
      }
    })
  const key = encodeKey(Buffer.from('hash'), Buffer.from('sort'))
  const put = (sizeBytes: number): Buffer =>
    encodeArgument(
      UpdateRequest,
      UpdateRequest.make({ key, value: Buffer.alloc(sizeBytes), expireTsSeconds: 0 }),
    )
  const get = encodeArgument(Rpc.GET.argument, key)
  const at = primary?.address
  t.equal(await call(at, Rpc.PUT.name, put(10)), 'ERR_OK')
  t.equal(await call(at, Rpc.GET.name, get), 'ERR_OK')
  t.equal(await call(at, Rpc.PUT.name, put(10), { appId: 77 }), 'ERR_OBJECT_NOT_FOUND')
  t.equal(await call(at, Rpc.GET.name, get, { partitionIndex: 9 }), 'ERR_OBJECT_NOT_FOUND')
  const nowhere = { appId: 0, partitionIndex: 0 }
  t.equal(await call(at, Rpc.GET.name, get, nowhere), 'ERR_HANDLER_NOT_FOUND')
  t.equal(await call(at, 'RPC_NO_SUCH_THING', get), 'ERR_HANDLER_NOT_FOUND')
  t.equal(await call(at, Rpc.PUT.name, put(1 << 20)), 'ERR_INVALID_DATA', 'over the write limit')
  t.equal(await call(at, Rpc.PUT.name, Buffer.from('rubbish')), 'ERR_INVALID_DATA')
  t.equal(await call(at, Rpc.GET.name, Buffer.from('rubbish')), 'ERR_INVALID_DATA')
  t.equal(await call(at, 'RPC_PREPARE', Buffer.from('rubbish')), 'ERR_INVALID_DATA')

  const copied = await cluster.on(cluster.clientNode, async () => {
    const peer = new Peer(runtime, { address: at ?? '' })
    const deadline = deadlineIn(runtime.clock, 1000)
    const pid = { appId, partitionIndex: 1 }
    const request = CopyRequest.make({ sourceDir: '/etc', fileName: 'passwd', size: 100, pid })
    const response = await peer.call(Rpc.NFS_COPY, request, { deadline })
    peer.close()
    return response
  })
  t.not(copied.error, 0, 'nothing but snapshots for learners can be copied')
  t.equal(copied.fileContent.length, 0)

  const other = secondary?.address
  t.equal(await call(other, Rpc.PUT.name, put(10)), 'ERR_INVALID_STATE')
  t.equal(await call(other, Rpc.GET.name, get), 'ERR_INVALID_STATE')
  t.equal(await call(other, Rpc.GET.name, get, { isBackupRequest: true }), 'ERR_OK')

  primary?.node.pause()
  await cluster.elapse(1250)
  cluster.world.after(50, () => primary?.node.resume())
  // It is there when the server goes on, before the meta server can grant another lease.
  t.equal(await call(at, Rpc.GET.name, get), 'ERR_INVALID_STATE', 'its lease ended in the pause')
  t.strictSame(cluster.problems(), [])
})

void t.test('a group of one below the minimum takes no writes and goes on later', async (t) => {
  const cluster = new TestCluster('too few')
  await cluster.start(2)
  await cluster.createTable('orders', 2, 2)
  const table = await cluster.on(cluster.clientNode, () => cluster.client.openTable('orders'))
  await cluster.on(cluster.clientNode, () => table.set('a', 's', '1'))
  const gone = cluster.replicas[1]
  gone?.kill()
  await cluster.until('the other one is alone', () =>
    (cluster.replicas[0]?.views() ?? []).every(
      (view) => view.status === 'primary' && view.secondaries.length === 0,
    ),
  )
  await t.rejects(
    cluster.on(cluster.clientNode, () => table.set('a', 's', '2', { timeoutMs: 500 })),
    'not enough members',
  )
  t.equal(String(await cluster.on(cluster.clientNode, () => table.get('a', 's'))), '1')
  await gone?.start()
  await cluster.until('two members again', () => healthy(cluster, 2, 2))
  await cluster.on(cluster.clientNode, () => table.set('a', 's', '3'))
  t.equal(String(await cluster.on(cluster.clientNode, () => table.get('a', 's'))), '3')
})

void t.test('idle partitions: secondaries get to the commit point by themselves', async (t) => {
  const cluster = new TestCluster('idle')
  await cluster.start(3)
  await cluster.createTable('orders', 2)
  const table = await cluster.on(cluster.clientNode, () => cluster.client.openTable('orders'))
  await cluster.on(cluster.clientNode, () => table.set('a', 's', '1'))
  await cluster.until('all have applied it', () => {
    const applied = cluster.replicas
      .flatMap((replica) => replica.views())
      .filter((view) => view.applied > 0)
    return applied.length >= 3
  })
  t.pass()
})

void t.test('the replicas of a dropped table are closed', async (t) => {
  const cluster = new TestCluster('drop')
  await cluster.start(3)
  await cluster.createTable('orders', 2)
  await cluster.on(cluster.clientNode, () => cluster.admin.dropTable('orders'))
  await cluster.until('no replica is open', () =>
    cluster.replicas.every((replica) => replica.views().length === 0),
  )
  t.pass()
})

void t.test('a start that cannot succeed says why', async (t) => {
  const cluster = new TestCluster('start')
  await cluster.startMeta()
  await t.rejects(cluster.add({ 'failureDetector.lease': '1500' }), /lease .* < grace/)
  const first = await cluster.add()
  await t.rejects(first.start(), /EADDRINUSE|open already/)
})

void t.test('a time that a Go client may have garbled is not believed (wire 2)', async (t) => {
  const given = (timeoutMs: number) =>
    clientDeadlineMs({ receivedAtMs: 1000, deadlineAtMs: 1000 + timeoutMs })
  t.equal(given(3), 5295, 'a remainder of 4294.967 ms says nothing')
  t.equal(given(10_000), 11_000)
  t.equal(given(Infinity), Infinity)
})
