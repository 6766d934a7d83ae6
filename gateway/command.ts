/**
 * `metaproxy gateway` in the process that the command started: ZooKeeper sessions, table directory,
 * admin and health ports, with the common life of a server process around them. What serves clients
 * is this process or its workers (`processes/`).
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import { type HttpServer, serveHttp } from '../cluster/runtime/http.ts'
import { type RunningServer, type ServerContext, runServer } from '../cluster/runtime/process.ts'
import { authProblems } from './admin/access.ts'
import { exposureProblems } from './admin/exposure.ts'
import { type AdminServer, startAdmin } from './admin/server.ts'
import { type ClusterHealth, watchClusters } from './cluster-health.ts'
import { type GatewayConfig, gatewayConfig } from './config.ts'
import { openDirectory, openSnapshot, viewTable } from './gateway.ts'
import { gatewayFacts } from './gateway-facts.ts'
import { translateGoProxyConfig } from './go-proxy-config.ts'
import { type Health, type HealthPages, healthPages } from './health.ts'
import { gatewayLogFields } from './log-fields.ts'
import { exposeEventLoopLag, tagLabels, workerRestarts } from './metrics.ts'
import { HandOver } from './processes/hand-over.ts'
import { reloadOf } from './processes/reload.ts'
import { RouteFeed } from './processes/route-feed.ts'
import type { Replaced, ServingSide } from './processes/serving-side.ts'
import { SingleProcess } from './processes/single-process.ts'
import { WorkerPool } from './processes/worker-pool.ts'
import { controlRootOf } from './routing/control-nodes.ts'
import { type FleetMember, joinFleet } from './routing/fleet-member.ts'
import type { SnapshotKeeper } from './routing/snapshot-keeper.ts'
import type { TableDirectory } from './routing/table-directory.ts'
import type { TableView } from './table-view.ts'
import { tlsProblems } from './tls-options.ts'
import { connectControl, connectData, nodeAccess, zooKeeperProblems } from './zookeeper-sessions.ts'

type Context = ServerContext<GatewayConfig>

/** Resolves to the exit code. */
export function gatewayCommand(words: readonly string[]): Promise<number> {
  return runServer({
    name: 'gateway',
    schema: gatewayConfig,
    translate: translateGoProxyConfig,
    words,
    // The admin server has health and metrics on its own port.
    health: () => undefined,
    logLevel: (config) => config.log.level,
    logFields: gatewayLogFields,
    problems: (config) => [
      ...zooKeeperProblems(config.zookeeper),
      ...tlsProblems(config.tls),
      ...exposureProblems(config.http, config.auth.enabled),
      ...authProblems(config.auth),
    ],
    start: async (context) => {
      context.metrics.setLabels(tagLabels(context.config.metric.tags))
      exposeEventLoopLag(context.metrics)
      workerRestarts(context.metrics)
      if (nodeAccess(context.config.zookeeper).isImplied)
        context.log.warn('ZooKeeper nodes made here are open to everyone', {
          help: 'set zookeeper.user and zookeeper.password, or zookeeper.acl: open',
        })
      return new GatewayProcess(context).start()
    },
  })
}

/** Behind the drain time: what is being worked on, and the ports and sessions. */
const DRAIN_GRACE_MS = 15_000

class GatewayProcess implements Health {
  readonly #context: Context
  readonly #data: Coordinator
  readonly #control: Coordinator
  readonly #directory: TableDirectory
  readonly #reloads: (result: 'applied' | 'invalid' | 'failed') => void
  #config: GatewayConfig
  #effective: Context['effective']
  #side: ServingSide | undefined
  #clusters: ClusterHealth | undefined
  #snapshot: SnapshotKeeper | undefined
  #isDraining = false
  /** Reloads one after the other; while one waits, a further one changes nothing. */
  #reloading: Promise<void> = Promise.resolve()
  #isReloadWaiting = false

  constructor(context: Context) {
    const { runtime, config, metrics } = context
    this.#context = context
    this.#config = config
    this.#effective = context.effective
    this.#data = connectData(runtime, config.zookeeper)
    this.#control = connectControl(runtime, config.zookeeper)
    this.#directory = openDirectory({ runtime, coordinator: this.#data, config, metrics })
    this.#reloads = (result) =>
      metrics.counter('gateway_reloads_total', 'Reloads, by result', { result }).add()
  }

  async start(): Promise<RunningServer> {
    const { log } = this.#context
    let ports: Ports | undefined
    try {
      ports = await openPorts(
        this.#context,
        this.#control,
        this,
        () => this.#effective,
        async () => this.#metricsText(),
        async (table) => this.#tableView(table),
      )
      this.#snapshot = await openSnapshot(this.#context, this.#directory)
      this.#side = await this.#serve()
    } catch (error) {
      await ports?.close()
      await this.#close()
      throw error
    }
    const side = this.#side
    const { host, port } = side.address()
    const { workers } = this.#config
    log.info('gateway listens', { rpc: `${host}:${port}`, http: ports.admin.address, workers })
    const member = this.#join(side, ports.admin)
    // A second signal, or a drain that takes too long, ends this process: then the workers too.
    process.on('exit', () => {
      if (this.#isDraining) this.#side?.kill()
    })
    return {
      reload: async () => this.#reloadSoon(),
      drain: async () => {
        this.#isDraining = true
        member.update()
        await this.#drain()
        await Promise.all([member.close(), this.#clusters?.close()])
        await ports.close()
        await this.#close()
      },
      drainMsMax: () => this.#config.lameDuckMs + this.#config.drainMs + DRAIN_GRACE_MS,
    }
  }

  async #serve(): Promise<ServingSide> {
    const { runtime, metrics } = this.#context
    const config = this.#config
    if (config.workers === 1) return SingleProcess.start(runtime, this.#directory, config)
    const feed = new RouteFeed(runtime, this.#directory, {
      lookupTimeoutMs: config.routing.lookupTimeoutMs,
      suspectMs: () => this.#data.sessionTimeoutMs(),
    })
    this.#data.onState(() => feed.tellState())
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
    const pool = new WorkerPool({ runtime, metrics, feed, handOver, config })
    await pool.start()
    return pool
  }

  #join(side: ServingSide, admin: AdminServer): FleetMember {
    const { runtime } = this.#context
    const config = this.#config
    const facts = gatewayFacts({ runtime, config, rpc: side.address(), http: admin.address })
    admin.identify(facts.id)
    this.#clusters = watchClusters({
      runtime,
      control: this.#control,
      controlRoot: controlRootOf(config.zookeeper),
      id: facts.id,
      directory: this.#directory,
      metrics: this.#context.metrics,
    })
    return joinFleet({
      runtime,
      data: this.#data,
      control: this.#control,
      controlRoot: controlRootOf(config.zookeeper),
      directory: this.#directory,
      facts,
      connectionCount: () => side.connections(),
      isDraining: () => this.#isDraining,
      acknowledged: async () => side.applied(),
    })
  }

  async #metricsText(): Promise<string> {
    const own = await this.#context.metrics.text()
    return this.#side === undefined ? own : this.#side.metricsText(own)
  }

  #tableView(table: string): Promise<TableView> {
    return viewTable(
      this.#directory,
      table,
      async () => (await this.#side?.describeTable(table)) ?? [],
    )
  }

  unreadyReason(): string | undefined {
    if (this.#isDraining) return 'draining'
    if (this.#side === undefined) return 'starting'
    return this.#side.unreadyReason() ?? this.#directory.unreadyReason()
  }

  degradedReasons(): readonly string[] {
    return [this.#directory, this.#side, this.#clusters].flatMap(
      (part) => part?.degradedReasons() ?? [],
    )
  }

  async #reloadSoon(): Promise<void> {
    if (this.#isReloadWaiting) return
    this.#isReloadWaiting = true
    await this.#reloading
    this.#isReloadWaiting = false
    this.#reloading = this.#reload()
    await this.#reloading
  }

  /** L-3: an invalid configuration changes nothing. */
  async #reload(): Promise<void> {
    const { log, reread } = this.#context
    if (this.#isDraining || this.#side === undefined) return
    const read = reread()
    if ('problems' in read) {
      for (const problem of read.problems) log.error('reload refused', { problem })
      this.#reloads('invalid')
      return
    }
    const { config, changed, fixed } = reloadOf(gatewayConfig, this.#config, read.config)
    for (const note of read.notes) log.warn('configuration', { note })
    for (const option of fixed) log.warn('option needs a restart', { option })
    log.info('reloading', { changed })
    let replaced: Replaced
    try {
      replaced = await this.#side.reload(config)
    } catch (error) {
      log.error('reload failed, everything is as it was', { error })
      this.#reloads('failed')
      return
    }
    this.#config = config
    const old = new Map(this.#effective.map((option) => [option.path, option]))
    this.#effective = read.effective.map((option) =>
      fixed.includes(option.path) ? (old.get(option.path) ?? option) : option,
    )
    log.info('reloaded', { changed })
    this.#reloads('applied')
    await replaced.drained
    log.info('clients of before the reload have gone')
  }

  /** L-4: not ready first, with the ports open; then no connection is taken, and the others end. */
  async #drain(): Promise<void> {
    const { lameDuckMs, drainMs } = this.#config
    if (lameDuckMs > 0)
      await new Promise<void>((resolve) => {
        this.#context.runtime.timers.after(lameDuckMs, resolve, { holdsProcess: true })
      })
    await this.#side?.drain(drainMs)
  }

  async #close(): Promise<void> {
    await this.#snapshot?.close()
    this.#directory.close()
    await Promise.all([this.#data.close(), this.#control.close()])
  }
}

/** The ports of people, probes and Prometheus; closed in one go. */
interface Ports {
  readonly admin: AdminServer
  readonly close: () => Promise<void>
}

async function openPorts(
  { config, log, runtime }: Context,
  control: Coordinator,
  health: Health,
  effective: () => Context['effective'],
  metricsText: () => Promise<string>,
  tableView: (table: string) => Promise<TableView>,
): Promise<Ports> {
  const pages = healthPages(health, metricsText)
  const listener = await openHealth(config, pages)
  let admin: AdminServer
  try {
    const parts = { config, runtime, coordinator: control, pages, effective, tableView }
    admin = await startAdmin(parts)
  } catch (error) {
    await listener?.close()
    throw error
  }
  const at = listener === undefined ? undefined : `${listener.host}:${listener.port}`
  log.info('admin port open', { http: admin.address, health: at })
  return {
    admin,
    close: async () => {
      await admin.close()
      await listener?.close()
    },
  }
}

async function openHealth(
  { health: { host, port } }: GatewayConfig,
  routes: HealthPages,
): Promise<HttpServer | undefined> {
  return port === undefined ? undefined : serveHttp({ host, port, routes })
}
