/**
 * One cluster of unmodified product code in a simulated world: meta servers over one coordination
 * service, replica servers over disks and engines that survive them, and nodes for clients. Starts
 * everything; what happens to it is for `faults.ts`, what must hold for `checkers/`.
 */
import { budgetOf } from '../client/call.ts'
import { MetaSession } from '../client/meta-session.ts'
import { MemoryCoordination } from '../coordinator/memory.ts'
import { startMetaServer } from '../meta/server.ts'
import type { CommitRule } from '../replica/replica-state.ts'
import { startReplicaServer } from '../replica/server.ts'
import type { ReplicaTrace } from '../replica/trace.ts'
import { Peers } from '../rpc/peers.ts'
import { Metrics } from '../runtime/metrics.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { SimulatedWorld } from '../runtime/simulated.ts'
import type { SimulatedNode } from '../runtime/simulated-node.ts'
import type { StorageEngine } from '../storage/engine.ts'
import { MemoryEngineDisk } from '../storage/memory.ts'
import type { MemberView, PartitionView } from './checkers/converges.ts'
import { drawPlan, type ClusterPlan } from './cluster-plan.ts'
import { ManagedServer } from './managed-server.ts'
import { memberView } from './members.ts'
import { metaConfigOf, replicaConfigOf } from './server-config.ts'

export const tableName = 'simulated'

const metaPort = 34_601
const replicaPort = 34_801
const engineLatencyMsMax = 0.4

export interface SimulatedClusterOptions {
  readonly seed: number
  /** `majority` plants a mistake: acknowledge before every member holds the write. */
  readonly commitRule: CommitRule
  readonly observe: (trace: ReplicaTrace) => void
}

export class SimulatedCluster {
  readonly world: SimulatedWorld
  readonly plan: ClusterPlan
  readonly coordination: MemoryCoordination
  readonly servers: readonly ManagedServer[]
  readonly clients: readonly SimulatedNode[]
  /** A client that no fault touches: sets up, looks, and reads at the end. */
  readonly operator: SimulatedNode
  readonly metaServers: readonly string[]
  readonly #options: SimulatedClusterOptions
  readonly #engines = new Map<string, StorageEngine>()

  constructor(options: SimulatedClusterOptions) {
    this.#options = options
    this.world = new SimulatedWorld({ seed: options.seed, traceKeptMax: 2000 })
    const random = this.world.random.fork('plan')
    this.plan = drawPlan(random)
    const { metaCount, replicaServerCount, clientCount } = this.plan
    const coordinator = this.world.node('coordinator', { ip: '10.0.0.1' })
    this.coordination = new MemoryCoordination(coordinator.runtime)
    const numbered = (name: string, count: number, subnet: number): SimulatedNode[] =>
      Array.from({ length: count }, (_, index) =>
        this.world.node(`${name}${index + 1}`, {
          ip: `10.0.${subnet}.${index + 1}`,
          clockRate: 1 + random.between(-0.01, 0.01),
          wallOffsetMs: random.between(-500, 500),
        }),
      )
    const metas = numbered('meta', metaCount, 1)
    const replicas = numbered('replica', replicaServerCount, 2)
    this.clients = numbered('client', clientCount, 3)
    this.operator = this.world.node('operator', { ip: '10.0.4.1' })
    this.metaServers = metas.map((node) => `${node.ip}:${metaPort}`)
    this.servers = [
      ...metas.map((node) => this.#meta(node)),
      ...replicas.map((node) => this.#replica(node)),
    ]
  }

  /** Runs a program on the operator's node to its end; undefined when it takes too long. */
  async asOperator<T>(
    program: (runtime: Runtime) => Promise<T>,
    limitMs: number,
    stop: () => boolean,
  ): Promise<T | undefined> {
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined
    const run = async (): Promise<void> => {
      try {
        outcome = { value: await program(this.operator.runtime) }
      } catch (error) {
        outcome = { error }
      }
    }
    this.world.after(0, () => this.world.enter(this.operator, () => void run()))
    const untilMs = this.world.nowMs() + limitMs
    await this.world.run({ untilMs, until: () => outcome !== undefined || stop() })
    if (outcome === undefined) return undefined
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }

  /** What the meta leader says of the table; undefined while nobody answers. */
  async partitions(runtime: Runtime, timeoutMs: number): Promise<readonly PartitionView[]> {
    const peers = new Peers(runtime)
    try {
      const session = new MetaSession(runtime, peers, this.metaServers)
      const closing = new AbortController().signal
      const defaults = { operationTimeoutMs: timeoutMs, closing }
      const budget = budgetOf(runtime, {}, defaults)
      const response = await session.queryConfiguration(tableName, budget)
      return response.partitions.map(
        ({ pid, ballot, primary, secondaries, maxReplicaCount, lastDrops }) => ({
          gpid: `${pid.appId}.${pid.partitionIndex}`,
          ballot,
          primary,
          secondaries,
          wantedCount: maxReplicaCount,
          lastDrops,
        }),
      )
    } finally {
      peers.close()
    }
  }

  /** What the members of the partitions hold. */
  async members(partitions: readonly PartitionView[]): Promise<readonly MemberView[]> {
    const views: MemberView[] = []
    for (const { gpid, primary, secondaries } of partitions) {
      const [appId = 0, partitionIndex = 0] = gpid.split('.').map(Number)
      for (const node of [primary, ...secondaries]) {
        const engine = this.#engines.get(node)
        if (engine !== undefined)
          views.push(await memberView(node, { appId, partitionIndex }, engine))
      }
    }
    return views
  }

  #meta(node: SimulatedNode): ManagedServer {
    const address = `${node.ip}:${metaPort}`
    const config = metaConfigOf(this.plan, {
      ip: node.ip,
      port: metaPort,
      metaServers: this.metaServers,
    })
    return new ManagedServer(this.world, {
      role: 'meta',
      node,
      address,
      onEnd: () => undefined,
      program: (runtime) => {
        const coordinator = this.coordination.connect(runtime, {
          name: node.name,
          sessionTimeoutMs: this.plan.sessionTimeoutMs,
          onExpiry: 'end',
          maxPending: 10_000,
        })
        return startMetaServer({ runtime, coordinator, config, metrics: new Metrics() })
      },
    })
  }

  #replica(node: SimulatedNode): ManagedServer {
    const address = `${node.ip}:${replicaPort}`
    const { commitRule, observe } = this.#options
    const config = replicaConfigOf(this.plan, {
      ip: node.ip,
      port: replicaPort,
      metaServers: this.metaServers,
    })
    const disk = new MemoryEngineDisk({ latencyMsMax: engineLatencyMsMax })
    const random = this.world.random.fork(`engine/${node.name}`)
    return new ManagedServer(this.world, {
      role: 'replica',
      node,
      address,
      onEnd: (powerCut) => {
        this.#engines.delete(address)
        disk.crash({ powerCut, random })
      },
      program: (runtime) =>
        startReplicaServer({
          runtime,
          config,
          metrics: new Metrics(),
          commitRule,
          observe,
          openEngine: async () => {
            const engine = await disk.open(runtime)
            this.#engines.set(address, engine)
            return engine
          },
        }),
    })
  }
}
