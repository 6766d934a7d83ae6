/**
 * Meta servers over real sockets, with coordination in memory and scripted replica servers: they
 * send beacons, answer proposals at once, and store nothing.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { WorkerLease, type LeaseEffect } from '../../cluster/failure-detector.ts'
import { type MetaConfig, metaConfigSchema } from '../../cluster/meta/config.ts'
import { type MetaServer, startMetaServer } from '../../cluster/meta/server.ts'
import type { PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import {
  ConfigType,
  type ConfigurationUpdateRequest,
  NodeStatus,
} from '../../cluster/protocol/meta-admin.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ReplyFramer, type ReplyFrame, decodeResult } from '../../cluster/protocol/frame.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'
import { silence } from '../../cluster/rpc/handler.ts'
import { Peers } from '../../cluster/rpc/peers.ts'
import { RpcServer } from '../../cluster/rpc/server.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import { createLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { Replay, recordedAnswers } from '../interop/recorded-answers.ts'

const log = createLog({
  level: process.env['TEST_LOG'] === undefined ? 'error' : 'debug',
  name: 't',
})
const runtime = nodeRuntime({ log })

const times = { beaconMs: 40, checkMs: 20, leaseMs: 2000, graceMs: 2200 }

function configOf(flags: Readonly<Record<string, string>> = {}): MetaConfig {
  const loaded = loadConfig(metaConfigSchema, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: {
      clusterName: 'alpha',
      'rpc.port': '0',
      'zookeeper.root': '/pegasus/alpha',
      'zookeeper.sessionTimeout': '1200',
      'failureDetector.beacon': '40',
      'failureDetector.check': '20',
      'failureDetector.lease': '2000',
      'failureDetector.grace': '2200',
      'meta.restoreAllowance': '50',
      'meta.minLiveNodes': '1',
      'meta.nodeLivePercentage': '0',
      'meta.checkRound': '50',
      ...flags,
    },
  })
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
  return loaded.config
}

/** Ends with an error when the condition does not come true. */
async function until<T>(what: string, check: () => T | undefined | Promise<T | undefined>) {
  const endMs = runtime.clock.monotonicMs() + 20_000
  for (;;) {
    const value = await check()
    if (value !== undefined && value !== false) return value
    if (runtime.clock.monotonicMs() > endMs) throw new Error(`never: ${what}`)
    await new Promise<void>((resolve) => void setTimeout(resolve, 5))
  }
}

interface Meta extends MetaServer {
  readonly coordinator: Coordinator
  /** Messages of `runtime.crash`: what would have ended the process. */
  readonly crashes: string[]
}

class Cluster {
  readonly coordination: MemoryCoordination
  readonly peers = new Peers(runtime)
  readonly metas: Meta[] = []
  readonly replicas: ScriptedReplica[] = []

  constructor(latencyMs = { min: 0.2, max: 1 }) {
    this.coordination = new MemoryCoordination(runtime, { latencyMs })
  }

  async meta(flags: Readonly<Record<string, string>> = {}, metrics = new Metrics()): Promise<Meta> {
    const crashes: string[] = []
    const own: Runtime = {
      ...runtime,
      crash: (message) => {
        crashes.push(message)
        throw new Error(message)
      },
    }
    const config = configOf(flags)
    const coordinator = this.coordination.connect(own, {
      sessionTimeoutMs: config.zookeeper.sessionTimeout,
      onExpiry: 'end',
      name: `meta${this.metas.length}`,
    })
    const server = await startMetaServer({
      runtime: own,
      coordinator,
      config,
      metrics,
    })
    const meta = { ...server, coordinator, crashes }
    this.metas.push(meta)
    return meta
  }

  async replica(): Promise<ScriptedReplica> {
    const replica = new ScriptedReplica(this.metas.map((meta) => meta.address))
    await replica.start()
    this.replicas.push(replica)
    return replica
  }

  async call<A, R>(
    to: { readonly address: string },
    rpc: { readonly name: string; readonly argument: Codec<A>; readonly result: Codec<R> },
    argument: A,
  ): Promise<R> {
    const deadline = deadlineIn(runtime.clock, 5000)
    return this.peers.get(to.address).call(rpc, argument, { deadline })
  }

  async close(): Promise<void> {
    for (const replica of this.replicas) await replica.close()
    for (const meta of this.metas) {
      await meta.close()
      await meta.coordinator.close()
    }
    this.peers.close()
  }
}

class ScriptedReplica {
  address = ''
  readonly configs = new Map<string, PartitionConfiguration>()
  readonly #rpc = new RpcServer(runtime, { name: 'replica' })
  readonly #peers = new Peers(runtime)
  #lease: WorkerLease
  #closed = false

  constructor(metas: readonly string[]) {
    this.#lease = new WorkerLease({ times, metas, first: 0 })
  }

  get connected(): boolean {
    return this.#lease.leaseValid(runtime.clock.monotonicMs())
  }

  get master(): string {
    return this.#lease.master
  }

  async start(): Promise<void> {
    this.#rpc.handle(Rpc.CONFIG_PROPOSAL, (proposal) => {
      void this.#propose(proposal)
      return silence
    })
    const { port } = await this.#rpc.listen({ host: '127.0.0.1', port: 0 })
    this.address = `127.0.0.1:${port}`
    this.#beat()
    this.#check()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#peers.close()
    await this.#rpc.close()
  }

  #beat(): void {
    if (this.#closed) return
    this.#perform(this.#lease.step({ type: 'beacon-due' }, runtime.clock.monotonicMs()))
    runtime.timers.after(times.beaconMs, () => this.#beat())
  }

  #check(): void {
    if (this.#closed) return
    this.#perform(this.#lease.step({ type: 'check' }, runtime.clock.monotonicMs()))
    runtime.timers.after(times.checkMs, () => this.#check())
  }

  #perform(effects: readonly LeaseEffect[]): void {
    for (const effect of effects) {
      if (effect.type !== 'send-beacon') continue
      const { to, sentAtMs } = effect
      this.#peers
        .get(to)
        .call(
          Rpc.FD_FAILURE_DETECTOR_PING,
          {
            time: Math.floor(sentAtMs),
            fromNode: this.address,
            toNode: to,
            startTime: 1,
            hpFromNode: { host: 'localhost', port: Number(this.address.split(':')[1]), type: 1 },
          },
          { deadline: deadlineIn(runtime.clock, 200) },
        )
        .then(
          ({ isMaster, allowed, primaryNode }) =>
            this.#perform(
              this.#lease.step(
                { type: 'ack', to, sentAtMs, isMaster, allowed, primary: primaryNode },
                runtime.clock.monotonicMs(),
              ),
            ),
          () =>
            this.#perform(
              this.#lease.step({ type: 'failed', to, sentAtMs }, runtime.clock.monotonicMs()),
            ),
        )
    }
  }

  /** What a replica would do, without data: the change that the proposal asks for. */
  async #propose({ info, config, type, node }: ConfigurationUpdateRequest): Promise<void> {
    if (this.#closed) return
    const next = { ...config, ballot: config.ballot + 1 }
    let update: number = type
    switch (type) {
      case ConfigType.CT_ASSIGN_PRIMARY:
        next.primary = node
        break
      case ConfigType.CT_UPGRADE_TO_PRIMARY:
        next.primary = node
        next.secondaries = config.secondaries.filter((other) => other !== node)
        break
      case ConfigType.CT_ADD_SECONDARY:
        update = ConfigType.CT_UPGRADE_TO_SECONDARY
        next.secondaries = [...config.secondaries, node]
        break
      case ConfigType.CT_DOWNGRADE_TO_INACTIVE:
        next.secondaries = config.secondaries.filter((other) => other !== node)
        break
      default:
        return
    }
    const answer = await this.#peers
      .get(this.master)
      .call(
        Rpc.UPDATE_PARTITION_CONFIGURATION,
        { info, config: next, type: update, node, hostNode: '' },
        { deadline: deadlineIn(runtime.clock, 2000) },
      )
      .catch(() => undefined)
    if (answer?.err === 'ERR_OK') this.configs.set(`${next.pid.partitionIndex}`, answer.config)
  }
}

const tableOptions = {
  partitionCount: 4,
  replicaCount: 3,
  successIfExist: true,
  appType: 'pegasus',
  isStateful: true,
  envs: new Map<string, string>(),
}

async function leaderOf(cluster: Cluster): Promise<Meta> {
  return until('a leader', () => cluster.metas.find((meta) => meta.isLeader()))
}

async function query(cluster: Cluster, meta: Meta, appName: string) {
  const request = { appName, partitionIndices: [] }
  return cluster.call(meta, Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, request)
}

async function create(cluster: Cluster, meta: Meta, appName: string) {
  return cluster.call(meta, Rpc.CREATE_APP, { appName, options: tableOptions })
}

async function healthy(cluster: Cluster, meta: Meta, appName: string) {
  return until(`${appName} is healthy`, async () => {
    const answer = await query(cluster, meta, appName)
    const whole = answer.partitions.every(
      ({ primary, secondaries }) => primary !== '' && secondaries.length === 2,
    )
    return answer.err === 'ERR_OK' && whole ? answer : undefined
  })
}

async function threeNodes(cluster: Cluster): Promise<Meta> {
  const leader = await leaderOf(cluster)
  for (let count = 0; count < 3; count++) await cluster.replica()
  await until('three nodes', async () => {
    const { infos } = await cluster.call(leader, Rpc.LIST_NODES, { status: NodeStatus.NS_ALIVE })
    return infos.length === 3 ? true : undefined
  })
  return leader
}

void t.test(
  'a table is created, and every partition gets three replicas, spread evenly',
  async (t) => {
    const cluster = new Cluster()
    t.teardown(() => cluster.close())
    await cluster.meta()
    const leader = await threeNodes(cluster)
    t.same(await create(cluster, leader, 'orders-1'), { err: 'ERR_OK', appid: 1 })
    const { partitions, isStateful, partitionCount } = await healthy(cluster, leader, 'orders-1')
    t.equal(isStateful, true)
    t.equal(partitionCount, 4)
    t.same(
      partitions.map(({ pid }) => pid.partitionIndex),
      [0, 1, 2, 3],
    )
    t.same([...new Set(partitions.map(({ ballot }) => ballot))], [3], 'one change per member')
    const primaries = cluster.replicas.map(
      ({ address }) => partitions.filter(({ primary }) => primary === address).length,
    )
    t.same(
      primaries.toSorted((a, b) => a - b),
      [1, 1, 2],
    )
  },
)

void t.test('a dead primary is replaced, and clients that ask are told', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  await cluster.meta()
  const leader = await threeNodes(cluster)
  await create(cluster, leader, 'orders')
  const before = await healthy(cluster, leader, 'orders')
  const [victim] = cluster.replicas
  await victim?.close()
  const after = await until('no primary on the dead node', async () => {
    const answer = await query(cluster, leader, 'orders')
    const served = answer.partitions.every(
      ({ primary, secondaries }) =>
        primary !== '' && primary !== victim?.address && secondaries.length === 1,
    )
    return served ? answer : undefined
  })
  for (const [index, { ballot, primary }] of after.partitions.entries()) {
    const was = before.partitions[index]
    const changes = was?.primary === victim?.address ? 2 : 1
    t.equal(ballot, (was?.ballot ?? 0) + changes, `partition ${index} by ${primary}`)
  }
})

void t.test('a standby sends clients to the leader and takes over when it ends', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  await cluster.meta()
  await leaderOf(cluster)
  const standby = await cluster.meta()
  const leader = await threeNodes(cluster)
  await create(cluster, leader, 'orders')
  const before = await healthy(cluster, leader, 'orders')
  const forwarded = await until('the leader is known', async () => {
    const answer = await query(cluster, standby, 'orders')
    return answer.partitions.length === 1 ? answer : undefined
  })
  t.equal(forwarded.err, 'ERR_FORWARD_TO_OTHERS')
  t.equal(forwarded.isStateful, false)
  t.equal(forwarded.partitions[0]?.primary, leader.address)
  t.equal((await create(cluster, standby, 'x')).err, 'ERR_FORWARD_TO_OTHERS')

  await leader.close()
  await leader.coordinator.close()
  const heir = await until('the standby leads', () => (standby.isLeader() ? standby : undefined))
  const after = await query(cluster, heir, 'orders')
  t.same(after, before, 'the stored configurations, with everybody taken for alive')
  await until('all workers have moved', () =>
    cluster.replicas.every(({ master, connected }) => master === heir.address && connected)
      ? true
      : undefined,
  )
  t.same(await query(cluster, heir, 'orders'), before, 'nobody was declared dead')
})

/** Sends frames as they were recorded, on one connection, and reads as many replies. */
async function exchange(
  address: string,
  frames: readonly Buffer[],
): Promise<readonly ReplyFrame[]> {
  const [host = '', port = ''] = address.split(':')
  const framer = new ReplyFramer({ maxFrameBytes: 1 << 20 })
  const replies: ReplyFrame[] = []
  return new Promise((resolve, reject) => {
    const socket = runtime.network.connect(
      { host, port: Number(port), timeoutMs: 5000 },
      {
        onConnect: () => {
          for (const frame of frames) socket.write(frame)
        },
        onData: (chunk) => {
          framer.push(chunk)
          for (let reply = framer.next(); reply !== undefined; reply = framer.next())
            replies.push(reply)
          if (replies.length < frames.length) return
          socket.destroy()
          resolve(replies)
        },
        onEnd: () => undefined,
        onDrain: () => undefined,
        onClose: (cause) => reject(cause ?? new Error(`closed after ${replies.length} replies`)),
      },
    )
  })
}

interface AdminVector {
  readonly name: string
  readonly hex: string
  readonly extra?: { readonly reply_hex?: string }
}

void t.test('the Go admin client’s recorded requests are served', async (t) => {
  const text = readFileSync('test/vectors/requests_admin.json', 'utf8')
  const { vectors } = JSON.parse(text) as { vectors: AdminVector[] }
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  await cluster.meta()
  const leader = await threeNodes(cluster)
  const send = async (name: string): Promise<ReplyFrame> => {
    const vector = vectors.find((candidate) => candidate.name === name)
    const [reply] = await exchange(leader.address, [Buffer.from(vector?.hex ?? '', 'hex')])
    if (reply === undefined) throw new Error('no reply')
    const recorded = new ReplyFramer({ maxFrameBytes: 1 << 20 })
    recorded.push(Buffer.from(vector?.extra?.reply_hex ?? '', 'hex'))
    const expected = recorded.next()
    t.equal(reply.errorName, 'ERR_OK', name)
    t.equal(reply.name, expected?.name)
    t.equal(reply.seqid, expected?.seqid)
    return reply
  }
  const result = async <R>(name: string, rpc: { readonly result: Codec<R> }): Promise<R> =>
    decodeResult(rpc.result, (await send(name)).result)

  t.same(await result('create_table', Rpc.CREATE_APP), { err: 'ERR_OK', appid: 1 })
  const config = await result('create_table#2', Rpc.QUERY_PARTITION_CONFIG_BY_INDEX)
  t.equal(config.partitionCount, 2)
  const tables = await result('list_tables', Rpc.LIST_APPS)
  t.match(tables.infos, [{ appName: 'temp', appId: 1, status: 1, maxReplicaCount: 3 }])
  t.equal((await result('list_apps_pattern', Rpc.LIST_APPS)).infos.length, 1)
  const { infos } = await result('list_nodes', Rpc.LIST_NODES)
  t.equal(infos.length, 3)
  t.equal(infos[0]?.hpNode, undefined, 'host names only when asked for')
  const { keys, values } = await result('cluster_info', Rpc.CLUSTER_INFO)
  const info = new Map(keys.map((key, at) => [key, values[at]]))
  t.equal(info.get('primary_meta_server'), leader.address)
  t.equal(info.get('cluster_name'), 'alpha')
  t.equal(info.get('meta_function_level'), 'steady')
  t.equal(info.get('zookeeper_root'), '/pegasus/alpha')
  t.same(await result('control_meta', Rpc.CONTROL_META), { err: 'ERR_OK', oldLevel: 400 })
  t.equal((await result('update_app_env_set', Rpc.UPDATE_APP_ENV)).err, 'ERR_OK')
  t.equal((await result('update_app_env_del', Rpc.UPDATE_APP_ENV)).err, 'ERR_OK')
  t.equal((await result('update_app_env_clear', Rpc.UPDATE_APP_ENV)).err, 'ERR_OK')
  t.same(await result('drop_table', Rpc.DROP_APP), { err: 'ERR_OK' })
  t.same((await result('list_tables', Rpc.LIST_APPS)).infos, [])
})

void t.test('with hp_* fields on, the bytes are those of an original meta server', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  const on = { 'meta.hostPortFields': 'on' }
  await cluster.meta(on)
  await leaderOf(cluster)
  const follower = await cluster.meta(on)
  const leader = await threeNodes(cluster)
  const options = { ...tableOptions, partitionCount: 8 }
  const { appid } = await cluster.call(leader, Rpc.CREATE_APP, { appName: 'temp', options })
  await healthy(cluster, leader, 'temp')
  await until('the leader is known', async () =>
    (await query(cluster, follower, 'temp')).partitions.length === 1 ? true : undefined,
  )
  const replay = new Replay({ appId: appid, nowMs: runtime.clock.wallMs })
  let compared = 0
  for (const recorded of recordedAnswers()) {
    // Reply names are not cut at 47 bytes here (test/vectors/README.md).
    if (!recorded.to.startsWith('meta') || /L{44}/.test(recorded.name)) continue
    const to = recorded.to === 'meta leader' ? leader : follower
    const bytes = await rawReply(to.address, replay.request(recorded))
    const difference = replay.difference(recorded, { outcome: 'reply', bytes })
    t.equal(difference, undefined, recorded.name)
    compared++
  }
  t.ok(compared > 40)
})

async function rawReply(address: string, frame: Buffer): Promise<Buffer> {
  const [host = '', port = ''] = address.split(':')
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = runtime.network.connect(
      { host, port: Number(port), timeoutMs: 5000 },
      {
        onConnect: () => void socket.write(frame),
        onData: (chunk) => {
          chunks.push(chunk)
          const all = Buffer.concat(chunks)
          if (all.length >= 4 && all.length >= all.readInt32BE(0)) {
            socket.destroy()
            resolve(all)
          }
        },
        onEnd: () => socket.end(),
        onDrain: () => undefined,
        onClose: () => resolve(Buffer.concat(chunks)),
      },
    )
  })
}

/** Fenced after 2.4 s, expired after 3.6 s: on a busy machine there is still time in between. */
const slowSession = {
  'zookeeper.sessionTimeout': '3600',
  'failureDetector.lease': '4500',
  'failureDetector.grace': '4700',
}

void t.test(
  'a leader cut off from coordination stops acting, and goes on when it is back',
  async (t) => {
    const cluster = new Cluster()
    t.teardown(() => cluster.close())
    const leader = await cluster.meta(slowSession)
    await threeNodes(cluster)
    cluster.coordination.setReachable('meta0', 'down')
    await until('it is fenced', async () =>
      (await query(cluster, leader, 'x')).err === 'ERR_FORWARD_TO_OTHERS' ? true : undefined,
    )
    t.same((await query(cluster, leader, 'x')).partitions, [], 'and knows no leader')
    const beacon = { time: 1, fromNode: '127.0.0.1:1', toNode: leader.address }
    const ack = await cluster.call(leader, Rpc.FD_FAILURE_DETECTOR_PING, beacon)
    t.match(ack, { isMaster: false, allowed: true, primaryNode: '' })
    cluster.coordination.setReachable('meta0', 'up')
    await until('it leads again', async () =>
      (await query(cluster, leader, 'x')).err === 'ERR_OBJECT_NOT_FOUND' ? true : undefined,
    )
    t.same(leader.crashes, [])
  },
)

void t.test('a write that the coordination service misses is repeated [E3]', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  const leader = await cluster.meta(slowSession)
  await threeNodes(cluster)
  cluster.coordination.setReachable('meta0', 'lost-replies')
  const created = create(cluster, leader, 'orders')
  await until('it is pending', async () =>
    (await query(cluster, leader, 'orders')).err === 'ERR_BUSY_CREATING' ? true : undefined,
  )
  cluster.coordination.setReachable('meta0', 'up')
  t.equal((await created).err, 'ERR_OK')
  await healthy(cluster, leader, 'orders')
})

void t.test('a lost session ends the process, and the other one takes over [E1]', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  const leader = await cluster.meta()
  await leaderOf(cluster)
  const other = await cluster.meta()
  const [session] = cluster.coordination.sessionIds()
  process.once('uncaughtException', () => undefined)
  cluster.coordination.expire(session ?? 0n)
  await until('it has crashed', () => (leader.crashes.length > 0 ? true : undefined))
  await until('the other leads', () => (other.isLeader() ? true : undefined))
  t.match(leader.crashes[0], /session has expired|lock is lost/)
})

void t.test(
  'a quick restart leads at once, without waiting for the old session [E2]',
  async (t) => {
    const cluster = new Cluster()
    t.teardown(() => cluster.close())
    const long = {
      'zookeeper.sessionTimeout': '30000',
      'failureDetector.lease': '40000',
      'failureDetector.grace': '41000',
    }
    const first = await cluster.meta(long)
    await leaderOf(cluster)
    await first.close()
    const port = first.address.split(':')[1] ?? ''
    const second = await cluster.meta({ ...long, 'rpc.port': port })
    await until('the second life leads', () => (second.isLeader() ? true : undefined))
    t.equal(second.address, first.address)
    t.equal(cluster.coordination.sessionIds().length, 2, 'while the old session still lives')
  },
)

void t.test('while the tree is being read, requests are answered “not yet” [E12]', async (t) => {
  const cluster = new Cluster({ min: 20, max: 25 })
  t.teardown(() => cluster.close())
  const meta = await cluster.meta(slowSession)
  const seen = new Set<string>()
  await until('it serves', async () => {
    seen.add((await query(cluster, meta, 'x')).err)
    return seen.has('ERR_OBJECT_NOT_FOUND') ? true : undefined
  })
  t.same([...seen], ['ERR_FORWARD_TO_OTHERS', 'ERR_SERVICE_NOT_ACTIVE', 'ERR_OBJECT_NOT_FOUND'])
})

void t.test('bad input is answered clearly', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  const leader = await cluster.meta()
  await threeNodes(cluster)
  const wrong = async (appName: string, given: Partial<typeof tableOptions>) => {
    const options = { ...tableOptions, ...given }
    return (await cluster.call(leader, Rpc.CREATE_APP, { appName, options })).err
  }
  for (const name of ['', 'a/b', 'ä', 'x'.repeat(256), 'a b'])
    t.equal(await wrong(name, {}), 'ERR_INVALID_PARAMETERS', name.slice(0, 10))
  for (const given of [
    { partitionCount: 0 },
    { partitionCount: -1 },
    { partitionCount: 2_000_000_000 },
    { replicaCount: 0 },
    { replicaCount: 4 },
    { appType: 'other' },
    { envs: new Map([['rocksdb.num_levels', '99']]) },
  ])
    t.equal(await wrong('fine', given), 'ERR_INVALID_PARAMETERS', JSON.stringify(given))
  t.equal((await query(cluster, leader, 'fine')).err, 'ERR_OBJECT_NOT_FOUND', 'nothing changed')
  t.equal(await wrong('fine', { partitionCount: 3 }), 'ERR_OK', 'any positive count')
  t.equal(await wrong('fine', { partitionCount: 4 }), 'ERR_INVALID_PARAMETERS', 'differs')
  t.equal(await wrong('fine', { partitionCount: 3, successIfExist: false }), 'ERR_APP_EXIST')
  await t.rejects(cluster.call(leader, Rpc.RECALL_APP, { appId: 1, newAppName: '' }), {
    code: 'ERR_HANDLER_NOT_FOUND',
  })
  const level = await cluster.call(leader, Rpc.CONTROL_META, { level: 123 })
  t.equal(level.err, 'ERR_INVALID_PARAMETERS')
  const noNode = { time: 1, fromNode: '', toNode: leader.address }
  const deadline = deadlineIn(runtime.clock, 100)
  await t.rejects(
    cluster.peers.get(leader.address).call(Rpc.FD_FAILURE_DETECTOR_PING, noNode, { deadline }),
    { code: 'ERR_TIMEOUT' },
  )
})

void t.test('a server that cannot work does not start', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  const first = await cluster.meta()
  const port = first.address.split(':')[1] ?? ''
  await t.rejects(cluster.meta({ 'rpc.port': port }), { code: 'EADDRINUSE' })
  await t.rejects(cluster.meta({ 'rpc.host': '0.0.0.0' }), /rpc.address/)
  await t.rejects(
    cluster.meta({ 'failureDetector.lease': '300' }),
    /the death of a meta leader stops every replica/,
  )
})

void t.test('what it counts', async (t) => {
  const cluster = new Cluster()
  t.teardown(() => cluster.close())
  const metrics = new Metrics()
  await cluster.meta({}, metrics)
  const leader = await threeNodes(cluster)
  await create(cluster, leader, 'orders')
  await healthy(cluster, leader, 'orders')
  const text = await metrics.text()
  for (const line of [
    'meta_is_leader 1',
    'meta_tables 1',
    'meta_live_nodes 3',
    'meta_partitions{health="healthy"} 4',
    'meta_configuration_updates_total 12',
  ])
    t.match(text, line)
})
