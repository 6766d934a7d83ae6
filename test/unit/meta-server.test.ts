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
import { AppStatus, type PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import {
  ConfigType,
  type ConfigurationUpdateRequest,
  NodeStatus,
} from '../../cluster/protocol/meta-admin.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ReplyFramer, decodeResult } from '../../cluster/protocol/frame.ts'
import { silence } from '../../cluster/rpc/handler.ts'
import { Peers } from '../../cluster/rpc/peers.ts'
import { RpcServer } from '../../cluster/rpc/server.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import { createLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

const log = createLog({
  level: process.env['TEST_LOG'] === undefined ? 'error' : 'debug',
  name: 't',
})
const runtime = nodeRuntime({ log })

const times = { beaconMs: 40, checkMs: 20, leaseMs: 500, graceMs: 600 }

function configOf(flags: Readonly<Record<string, string>> = {}): MetaConfig {
  const loaded = loadConfig(metaConfigSchema, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: {
      clusterName: 'alpha',
      'rpc.port': '0',
      'zookeeper.root': '/pegasus/alpha',
      'zookeeper.sessionTimeout': '300',
      'failureDetector.beacon': '40',
      'failureDetector.check': '20',
      'failureDetector.lease': '500',
      'failureDetector.grace': '600',
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
  readonly coordination = new MemoryCoordination(runtime)
  readonly peers = new Peers(runtime)
  readonly metas: Meta[] = []
  readonly replicas: ScriptedReplica[] = []

  async meta(flags: Readonly<Record<string, string>> = {}): Promise<Meta> {
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
      metrics: new Metrics(),
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
    rpc: Parameters<ReturnType<Peers['get']>['call']>[0] & {
      readonly name: string
    },
    argument: A,
  ): Promise<R> {
    return (await this.peers
      .get(to.address)
      .call(rpc, argument, { deadline: deadlineIn(runtime.clock, 5000) })) as R
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
          { time: Math.floor(sentAtMs), fromNode: this.address, toNode: to, startTime: 1 },
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
  return await until('a leader', () => cluster.metas.find((meta) => meta.isLeader()))
}

async function query(cluster: Cluster, meta: Meta, appName: string) {
  return await cluster.peers
    .get(meta.address)
    .call(
      Rpc.QUERY_PARTITION_CONFIG_BY_INDEX,
      { appName, partitionIndices: [] },
      { deadline: deadlineIn(runtime.clock, 5000) },
    )
}

async function create(cluster: Cluster, meta: Meta, appName: string) {
  return await cluster.peers
    .get(meta.address)
    .call(
      Rpc.CREATE_APP,
      { appName, options: tableOptions },
      { deadline: deadlineIn(runtime.clock, 5000) },
    )
}

async function healthy(cluster: Cluster, meta: Meta, appName: string) {
  return await until(`${appName} is healthy`, async () => {
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
    const { infos } = await cluster.peers
      .get(leader.address)
      .call(
        Rpc.LIST_NODES,
        { status: NodeStatus.NS_ALIVE },
        { deadline: deadlineIn(runtime.clock, 5000) },
      )
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
    t.same(primaries.toSorted(), [1, 1, 2])
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
