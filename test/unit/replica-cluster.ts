/**
 * A whole cluster in the simulated world for the tests of the replica server: one meta server over
 * coordination in memory, replica servers with memory engines, one client node. Virtual time.
 */
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { AdminClient } from '../../cluster/client/admin.ts'
import { PegasusClient } from '../../cluster/client/client.ts'
import { metaConfigSchema } from '../../cluster/meta/config.ts'
import { startMetaServer } from '../../cluster/meta/server.ts'
import { type ReplicaConfig, replicaConfig } from '../../cluster/replica/config.ts'
import { type ReplicaServer, startReplicaServer } from '../../cluster/replica/server.ts'
import type { CommitRule } from '../../cluster/replica/replica-state.ts'
import type { ReplicaTrace } from '../../cluster/replica/trace.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'
import type { SimulatedNode } from '../../cluster/runtime/simulated-node.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'

const PORT = 34801
const META_PORT = 34601

const failureDetectorFlags = {
  'failureDetector.beacon': '100',
  'failureDetector.check': '50',
  'failureDetector.lease': '1200',
  'failureDetector.grace': '1400',
}

export function replicaConfigOf(flags: Readonly<Record<string, string>>): ReplicaConfig {
  const loaded = loadConfig(replicaConfig, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: {
      dataDirectory: '/data',
      'replica.configSync': '500',
      'replica.groupCheck': '300',
      'replica.prepareTimeout': '600',
      'replica.learnerPrepareTimeout': '900',
      'replica.metaRetry': '100',
      'replica.learnRetry': '100',
      'replica.metaTimeout': '500',
      'replica.syncInterval': '200',
      'replica.inactiveKeep': '2000',
      ...failureDetectorFlags,
      ...flags,
    },
  })
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
  return loaded.config
}

export class TestReplica {
  readonly node: SimulatedNode
  readonly address: string
  readonly disk = new MemoryEngineDisk()
  server: ReplicaServer | undefined
  readonly #cluster: TestCluster
  readonly #flags: Readonly<Record<string, string>>

  constructor(cluster: TestCluster, index: number, flags: Readonly<Record<string, string>>) {
    this.#cluster = cluster
    this.#flags = flags
    const ip = `10.0.1.${index}`
    this.node = cluster.world.node(`r${index}`, { ip })
    this.address = `${ip}:${PORT}`
  }

  async start(): Promise<void> {
    if (!this.node.alive) this.node.restart()
    const { runtime } = this.node
    this.server = await this.#cluster.on(this.node, () =>
      startReplicaServer({
        runtime,
        openEngine: () => this.disk.open(runtime),
        config: replicaConfigOf({
          'rpc.host': this.node.ip,
          'rpc.port': String(PORT),
          metaServers: this.#cluster.metaAddress,
          ...this.#flags,
        }),
        metrics: new Metrics(),
        observe: (trace) => this.#cluster.traces.push(trace),
        commitRule: this.#cluster.commitRule,
      }),
    )
  }

  kill(options: { readonly powerCut: boolean } = { powerCut: false }): void {
    this.server = undefined
    this.node.crash(options)
    this.disk.crash({ ...options, random: this.#cluster.world.random })
  }

  views() {
    return this.server?.node.drivers().map((driver) => driver.view()) ?? []
  }
}

export class TestCluster {
  readonly world: SimulatedWorld
  readonly traces: ReplicaTrace[] = []
  readonly replicas: TestReplica[] = []
  readonly metaAddress = `10.0.0.1:${META_PORT}`
  readonly clientNode: SimulatedNode
  readonly commitRule: CommitRule
  readonly metaNode: SimulatedNode
  readonly #coordination: MemoryCoordination
  #client: PegasusClient | undefined
  #admin: AdminClient | undefined

  constructor(seed: number | string, commitRule: CommitRule = 'all') {
    this.world = new SimulatedWorld({ seed })
    this.commitRule = commitRule
    this.#coordination = new MemoryCoordination(this.world.node('zk', { ip: '10.0.9.1' }).runtime)
    this.metaNode = this.world.node('m1', { ip: '10.0.0.1' })
    this.clientNode = this.world.node('c1', { ip: '10.0.2.1' })
  }

  /** Runs code of a node and the world until it has settled. */
  async on<T>(node: SimulatedNode, run: () => Promise<T>, limitMs = 120_000): Promise<T> {
    let done: { value: T } | { error: unknown } | undefined
    this.world.after(0, () => {
      node.perform(node.incarnation, 'input', () => {
        run().then(
          (value) => {
            done = { value }
          },
          (error: unknown) => {
            done = { error }
          },
        )
      })
    })
    await this.world.run({ untilMs: this.world.nowMs() + limitMs, until: () => done !== undefined })
    if (done === undefined) throw new Error(`not settled within ${limitMs} virtual ms`)
    if ('error' in done) throw done.error
    return done.value
  }

  async until(what: string, check: () => boolean, limitMs = 60_000): Promise<void> {
    const met = await this.world.run({ untilMs: this.world.nowMs() + limitMs, until: check })
    if (!met) throw new Error(`never: ${what}`)
  }

  async elapse(ms: number): Promise<void> {
    await this.world.run({ untilMs: this.world.nowMs() + ms })
  }

  async start(count: number, flags: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.startMeta()
    for (let index = 1; index <= count; index++) await this.add(flags)
    await this.until('all servers are connected', () =>
      this.replicas.every(({ server }) => server !== undefined && !server.unreadyReason()),
    )
  }

  async add(flags: Readonly<Record<string, string>> = {}): Promise<TestReplica> {
    const replica = new TestReplica(this, this.replicas.length + 1, flags)
    this.replicas.push(replica)
    await replica.start()
    return replica
  }

  async startMeta(): Promise<void> {
    const { runtime, ip } = this.metaNode
    const loaded = loadConfig(metaConfigSchema, {
      environment: {},
      environmentPrefix: 'METAPROXY',
      flags: {
        clusterName: 'alpha',
        'rpc.host': ip,
        'rpc.port': String(META_PORT),
        'zookeeper.root': '/pegasus/alpha',
        'zookeeper.sessionTimeout': '600',
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
    const { config } = loaded
    const coordinator = this.#coordination.connect(runtime, {
      sessionTimeoutMs: config.zookeeper.sessionTimeout,
      onExpiry: 'end',
      name: 'm1',
    })
    await this.on(this.metaNode, () =>
      startMetaServer({ runtime, coordinator, config, metrics: new Metrics() }),
    )
  }

  get runtime(): Runtime {
    return this.clientNode.runtime
  }

  get client(): PegasusClient {
    this.#client ??= new PegasusClient({
      metaServers: [this.metaAddress],
      operationTimeoutMs: 10_000,
      runtime: this.runtime,
    })
    return this.#client
  }

  get admin(): AdminClient {
    this.#admin ??= new AdminClient({
      metaServers: [this.metaAddress],
      operationTimeoutMs: 20_000,
      runtime: this.runtime,
    })
    return this.#admin
  }

  async createTable(name: string, partitionCount = 2, replicaCount = 3): Promise<void> {
    await this.on(this.clientNode, async () => {
      await this.admin.createTable(name, { partitionCount, replicaCount })
      await this.admin.waitForTable(name)
    })
  }

  /** The replica server that is primary of a partition. */
  primaryOf(partitionIndex: number): TestReplica | undefined {
    return this.replicas.find((replica) =>
      replica
        .views()
        .some((view) => view.gpid.partitionIndex === partitionIndex && view.status === 'primary'),
    )
  }

  /** What any node logged at this level or above, for messages. */
  problems(): string[] {
    return this.world
      .nodes()
      .flatMap((node) =>
        node.exits.map((exit) => `${node.name}: ${exit.how} ${exit.message} ${String(exit.error)}`),
      )
  }
}
