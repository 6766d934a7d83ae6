/**
 * One root in a gateway process: the directory of its tables, the endpoints that serve them, its node
 * in the fleet, and its snapshot (gateway.md R-30). Several stand side by side without knowing of each
 * other; the ZooKeeper sessions are the caller's.
 */
import { hostname } from 'node:os'
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import { Metrics } from '../cluster/runtime/metrics.ts'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import type { EffectiveOption } from '../cluster/runtime/config.ts'
import type { RecentLine } from '../cluster/runtime/log-recent.ts'
import { type ChangeBooks, openBooks } from './admin/change-books.ts'
import { NewTableMappings } from './admin/new-table-mappings.ts'
import { type ClusterHealth, watchClusters } from './cluster-health.ts'
import type { GatewayConfig } from './config.ts'
import type { Endpoint } from './endpoints.ts'
import { answerQuestion } from './fleet-answers.ts'
import { openDirectory, openSnapshot } from './gateway.ts'
import { gatewayFacts } from './gateway-facts.ts'
import type { Health } from './health.ts'
import { tagLabels } from './metrics.ts'
import { type LoadReading, addCounts, nothingServed } from './load.ts'
import { HandOver } from './processes/hand-over.ts'
import { MetricTotals } from './processes/metric-texts.ts'
import { RouteFeed } from './processes/route-feed.ts'
import type { Address, Replaced, ServingSide } from './processes/serving-side.ts'
import { SingleProcess } from './processes/single-process.ts'
import { WorkerPool } from './processes/worker-pool.ts'
import { controlRootOf } from './routing/control-nodes.ts'
import { DrainWish } from './routing/drain-wish.ts'
import { type FleetMember, joinFleet } from './routing/fleet-member.ts'
import type { FleetQuestion } from './routing/fleet-questions.ts'
import type { NewTables } from './routing/new-tables.ts'
import { QuestionWatch } from './routing/question-watch.ts'
import type { SnapshotKeeper } from './routing/snapshot-keeper.ts'
import type { TableDirectory } from './routing/table-directory.ts'
import type { ProbeResult } from './upstream/probes.ts'
import type { ServedTable } from './table-view.ts'

interface SiteParts {
  readonly runtime: Runtime
  readonly data: Coordinator
  readonly control: Coordinator
  /** At least one, all of one root. */
  readonly endpoints: readonly Endpoint[]
  /** Of the process, when there is one endpoint only; else each site and endpoint has its own. */
  readonly metrics?: Metrics
  /** Of the process, for people. */
  readonly recentLines: () => readonly RecentLine[]
  readonly effective: () => readonly EffectiveOption[]
  readonly configHash: () => string
  /** How late the event loop of this process was at worst since the last call, in seconds. */
  readonly loopLag: () => number
}

interface Served {
  readonly side: ServingSide
  readonly metrics: Metrics
  config: GatewayConfig
}

export class RootSite implements Health {
  readonly directory: TableDirectory
  readonly #parts: SiteParts
  readonly #config: GatewayConfig
  readonly #metrics: Metrics
  /** Its metrics are not those of the process. */
  readonly #isApart: boolean
  readonly #served: Served[] = []
  #snapshot: SnapshotKeeper | undefined
  #member: FleetMember | undefined
  #clusters: ClusterHealth | undefined
  #questions: QuestionWatch | undefined
  #drainWish: DrainWish | undefined
  /** In the fleet, once it is there. */
  #id = hostname()

  constructor(parts: SiteParts) {
    const [first] = parts.endpoints
    if (first === undefined) throw new Error('a root without an endpoint')
    this.#parts = parts
    this.#config = first.config
    const metrics = parts.metrics ?? metricsOf(first.config)
    this.#metrics = metrics
    this.#isApart = parts.metrics === undefined
    const { runtime, data: coordinator } = parts
    this.directory = openDirectory({ runtime, coordinator, config: first.config, metrics })
  }

  /**
   * Rejects with a RuntimeError such as EADDRINUSE; what has begun is ended by `close`. `books`: those of
   * the admin API, when it is this root's.
   */
  async start(books?: ChangeBooks): Promise<void> {
    const newTables = this.#newTables(books)
    this.#snapshot = await openSnapshot(
      { runtime: this.#parts.runtime, config: this.#config },
      this.directory,
    )
    for (const { config } of this.#parts.endpoints) {
      const metrics = this.#isApart ? metricsOf(config) : this.#metrics
      this.#served.push({ side: await this.#serve(config, metrics, newTables), metrics, config })
    }
  }

  #newTables(books: ChangeBooks | undefined): NewTables {
    const { runtime, data, control } = this.#parts
    return new NewTableMappings({
      runtime,
      data,
      control,
      config: this.#config,
      directory: this.directory,
      books: books ?? openBooks(runtime, control, this.#config, () => this.#id),
      applied: () => this.#applied(),
    })
  }

  async #serve(
    config: GatewayConfig,
    metrics: Metrics,
    newTables: NewTables,
  ): Promise<ServingSide> {
    const { runtime, data } = this.#parts
    if (config.workers === 1) return SingleProcess.start(runtime, this.directory, newTables, config)
    const feed = new RouteFeed(runtime, this.directory, {
      lookupTimeoutMs: config.routing.lookupTimeoutMs,
      suspectMs: () => data.sessionTimeoutMs(),
    })
    data.onState(() => feed.tellState())
    const counter = (reason: string) => {
      const counted = metrics.counter(
        'gateway_connections_rejected_total',
        'Connections not let in, by reason',
        { reason },
      )
      return () => counted.add()
    }
    const handOver = new HandOver(runtime, {
      lost: counter('worker-died'),
      untaken: counter('no-worker'),
      overload: counter('overload'),
    })
    const pool = new WorkerPool({ runtime, metrics, feed, newTables, handOver, config })
    await pool.start()
    return pool
  }

  /** Where clients connect, in the order of the configuration. */
  addresses(): readonly Address[] {
    return this.#served.map(({ side }) => side.address())
  }

  /** Shows this gateway in the fleet of its root; answers its id there. */
  join(http: string, isDraining: () => boolean): string {
    const { runtime, data, control } = this.#parts
    const facts = gatewayFacts({ runtime, config: this.#config, rpc: this.addresses(), http })
    this.#id = facts.id
    const controlRoot = controlRootOf(this.#config.zookeeper)
    const shared = { runtime, control, controlRoot, directory: this.directory }
    this.#clusters = watchClusters({ ...shared, id: facts.id, metrics: this.#metrics })
    this.#member = joinFleet({
      ...shared,
      data,
      facts,
      connectionCount: () => this.#served.reduce((sum, { side }) => sum + side.connections(), 0),
      isDraining: () => isDraining() || this.#drainWish?.isWished === true,
      configHash: this.#parts.configHash,
      served: () => this.#load(),
      acknowledged: () => this.#applied(),
    })
    const fleet = { controlRoot, id: facts.id }
    this.#questions = new QuestionWatch(runtime, control, {
      ...fleet,
      answer: (question) => this.answer(question),
    })
    this.#drainWish = new DrainWish(runtime, control, {
      ...fleet,
      onChange: (isWished) => this.#onDrainWish(isWished),
    })
    return facts.id
  }

  #load(): Omit<LoadReading, 'routes'> {
    const sides = this.#served.map(({ side }) => side)
    const lags = sides.map((side) => side.loopLagMs())
    return {
      counts: sides.map((side) => side.counts()).reduce(addCounts, nothingServed),
      loopLagMs: Math.max(this.#parts.loopLag() * 1000, ...lags),
    }
  }

  /** Resolves when every process serves what the directory has. */
  async #applied(): Promise<void> {
    await Promise.all(this.#served.map(async ({ side }) => side.applied()))
  }

  /**
   * Not ready from now on; after the lame duck time the connections there are end, spread over the
   * drain time. Who comes all the same is served: a balancer sends nobody, and others find no other.
   */
  #onDrainWish(isWished: boolean): void {
    const { log, timers } = this.#parts.runtime
    log.info(isWished ? 'drained by an operator' : 'resumed by an operator')
    this.tellFleet()
    if (!isWished) return
    const { lameDuckMs, drainMs } = this.#served[0]?.config ?? this.#config
    timers.after(lameDuckMs, () => {
      if (this.#drainWish?.isWished !== true) return
      for (const { side } of this.#served) void side.endConnections(drainMs)
    })
  }

  /** To the fleet's question, or to this process's own admin API. */
  answer(question: FleetQuestion): Promise<unknown> {
    const ofAll = <T>(ask: (side: ServingSide) => Promise<T>): Promise<T[]> =>
      Promise.all(this.#served.map(({ side }) => ask(side)))
    const { recentLines, effective } = this.#parts
    return answerQuestion(
      {
        describe: (table) => this.directory.describe(table),
        epoch: () => this.directory.epoch,
        served: async (table) => (await ofAll((side) => side.describeTable(table, false))).flat(),
        clientsOf: (table) => ofAll((side) => side.clientsOf(table)),
        monotonicMs: () => this.#parts.runtime.clock.monotonicMs(),
        tableCounts: async () => (await ofAll((side) => side.tableCounts())).flat(),
        recentLines: async () => [
          ...recentLines().map((line) => ({ ...line, process: '' })),
          ...(await ofAll((side) => side.recentLines())).flat(),
        ],
        effective,
      },
      question,
    )
  }

  /** What the last probe of a cluster found, this gateway's or another one's (M-8). */
  probed(cluster: string): ProbeResult | undefined {
    return this.#clusters?.result(cluster)
  }

  /** Something in the fleet's node has changed, such as draining. */
  tellFleet(): void {
    this.#member?.update()
  }

  unreadyReason(): string | undefined {
    if (this.#served.length < this.#parts.endpoints.length) return 'starting'
    if (this.#drainWish?.isWished === true) return 'drained by an operator'
    for (const { side } of this.#served) {
      const reason = side.unreadyReason()
      if (reason !== undefined) return reason
    }
    return this.directory.unreadyReason()
  }

  degradedReasons(): readonly string[] {
    return [
      ...this.directory.degradedReasons(),
      ...this.#served.flatMap(({ side }) => side.degradedReasons()),
      ...(this.#clusters?.degradedReasons() ?? []),
      ...this.#unregistered(),
    ]
  }

  /** Tables cannot be created there. */
  #unregistered(): readonly string[] {
    const wanted = new Set(this.#served.map(({ config }) => config.rpcPolicy.defaultCluster))
    return [...wanted]
      .filter((cluster) => cluster !== undefined && this.directory.isRegistered(cluster) === false)
      .map((cluster) => `rpcPolicy.defaultCluster ${cluster} is not in the registry`)
  }

  /** What was counted for this root, and what `own` says. */
  async metricsText(own: string): Promise<string> {
    if (!this.#isApart) {
      const [served] = this.#served
      return served === undefined ? own : served.side.metricsText(own)
    }
    const texts = await Promise.all(
      this.#served.map(async ({ side, metrics }) => side.metricsText(await metrics.text())),
    )
    return new MetricTotals().merge([own, await this.#metrics.text(), ...texts])
  }

  async describeTable(table: string): Promise<readonly ServedTable[]> {
    const found = this.#served.map(async ({ side }) => side.describeTable(table, true))
    return (await Promise.all(found)).flat()
  }

  /** All endpoints or none: what was replaced already is put back when a later one fails. */
  async reload(endpoints: readonly Endpoint[]): Promise<readonly Replaced[]> {
    const replaced: Replaced[] = []
    try {
      for (const [index, served] of this.#served.entries()) {
        const { config = served.config } = endpoints[index] ?? {}
        replaced.push(await served.side.reload(config))
      }
    } catch (error) {
      for (const { side, config } of this.#served.slice(0, replaced.length))
        await side.reload(config).catch(() => undefined)
      throw error
    }
    for (const [index, served] of this.#served.entries())
      served.config = endpoints[index]?.config ?? served.config
    return replaced
  }

  async drain(spreadMs: number): Promise<void> {
    await Promise.all(this.#served.map(async ({ side }) => side.drain(spreadMs)))
  }

  kill(): void {
    for (const { side } of this.#served) side.kill()
  }

  /** After `drain`, or after a `start` that failed. */
  async close(): Promise<void> {
    this.#questions?.close()
    this.#drainWish?.close()
    await Promise.all([this.#member?.close(), this.#clusters?.close()])
    await this.#snapshot?.close()
    this.directory.close()
  }
}

function metricsOf(config: GatewayConfig): Metrics {
  const metrics = new Metrics()
  metrics.setLabels(tagLabels(config.metric.tags))
  return metrics
}
