/**
 * `metaproxy gateway` in the process that the command started: ZooKeeper sessions, table directory,
 * admin and health ports, with the common life of a server process around them. What serves clients
 * is this process or its workers (`processes/`).
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import { type HttpServer, serveHttp } from '../cluster/runtime/http.ts'
import type { LoopDelays } from '../cluster/runtime/metrics.ts'
import { type RunningServer, type ServerContext, runServer } from '../cluster/runtime/process.ts'
import { approvalProblems, authProblems } from './admin/access.ts'
import { exposureProblems, exposureWarnings } from './admin/exposure.ts'
import { type AdminParts, type AdminServer, startAdmin } from './admin/server.ts'
import { adminTlsProblems } from './admin/tls-listener.ts'
import { rpcPolicyProblems } from './clients/rpc-policy.ts'
import { type GatewayConfig, gatewayConfig } from './config.ts'
import { type Endpoint, endpointProblems, endpointsOf } from './endpoints.ts'
import { viewTable } from './gateway.ts'
import { translateGoProxyConfig } from './go-proxy-config.ts'
import { type Health, type HealthPages, healthPages } from './health.ts'
import { gatewayLogFields } from './log-fields.ts'
import { exposeEventLoopLag, tagLabels, workerRestarts } from './metrics.ts'
import { reloadOf } from './processes/reload.ts'
import type { Replaced } from './processes/serving-side.ts'
import { RootSite } from './root-site.ts'
import type { TableView } from './table-view.ts'
import { sharedConfigHash } from './shared-config.ts'
import type { ProbeResult } from './upstream/probes.ts'
import { tlsProblems } from './tls-options.ts'
import {
  connectControl,
  connectData,
  hasIdentity,
  nodeAccess,
  zooKeeperProblems,
} from './zookeeper-sessions.ts'

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
      ...endpointProblems(config),
      ...adminTlsProblems(config.http),
      ...exposureProblems(config.http, config.auth.enabled),
      ...authProblems(config.auth),
      ...approvalProblems(config),
      ...rpcPolicyProblems(config.rpcPolicy),
    ],
    start: async (context) => {
      context.metrics.setLabels(tagLabels(context.config.metric.tags))
      const loopDelays = exposeEventLoopLag(context.metrics)
      workerRestarts(context.metrics)
      if (nodeAccess(context.config.zookeeper).isImplied)
        context.log.warn('ZooKeeper nodes made here are open to everyone', {
          help: 'set zookeeper.user and zookeeper.password, or zookeeper.acl: open',
        })
      const { auth, zookeeper } = context.config
      for (const warning of exposureWarnings(auth.enabled, hasIdentity(zookeeper)))
        context.log.warn('exposed', { warning })
      return new GatewayProcess(context, loopDelays).start()
    },
  })
}

/** Behind the drain time: what is being worked on, and the ports and sessions. */
const DRAIN_GRACE_MS = 15_000

class GatewayProcess implements Health {
  readonly #context: Context
  readonly #loopDelays: LoopDelays
  readonly #data: Coordinator
  readonly #control: Coordinator
  /** One for each root, the first one for that of `zookeeper.root`. */
  readonly #sites: readonly RootSite[]
  readonly #first: RootSite
  readonly #reloads: (result: 'applied' | 'invalid' | 'failed') => void
  #config: GatewayConfig
  #effective: Context['effective']
  #configHash: string
  #isDraining = false
  /** Reloads one after the other; while one waits, a further one changes nothing. */
  #reloading: Promise<void> = Promise.resolve()
  #isReloadWaiting = false

  constructor(context: Context, loopDelays: LoopDelays) {
    const { runtime, config, metrics } = context
    this.#context = context
    this.#loopDelays = loopDelays
    this.#config = config
    this.#effective = context.effective
    this.#configHash = sharedConfigHash(context.effective)
    this.#data = connectData(runtime, config)
    this.#control = connectControl(runtime, config.zookeeper)
    this.#sites = this.#sitesOf(endpointsOf(config))
    const [first] = this.#sites
    if (first === undefined) throw new Error('no endpoint')
    this.#first = first
    metrics.gauge('gateway_zk_session_watches', 'All watches set, by ZooKeeper session', () => [
      { labels: { session: 'data' }, value: this.#data.watchCount() },
      { labels: { session: 'control' }, value: this.#control.watchCount() },
    ])
    this.#reloads = (result) =>
      metrics.counter('gateway_reloads_total', 'Reloads, by result', { result }).add()
  }

  #sitesOf(endpoints: readonly Endpoint[]): readonly RootSite[] {
    const { runtime, metrics, recent } = this.#context
    const parts = {
      runtime,
      data: this.#data,
      control: this.#control,
      recentLines: () => recent.list(),
      effective: () => this.#effective,
      configHash: () => this.#configHash,
    }
    const loopLag = (): (() => number) => this.#loopDelays.reader()
    if (endpoints.length === 1)
      return [new RootSite({ ...parts, endpoints, metrics, loopLag: loopLag() })]
    return byRoot(endpoints).map(
      (own) => new RootSite({ ...parts, endpoints: own, loopLag: loopLag() }),
    )
  }

  async start(): Promise<RunningServer> {
    const { log } = this.#context
    let ports: Ports | undefined
    try {
      ports = await openPorts(this.#context, this, async () => this.#metricsText(), {
        coordinator: this.#control,
        effective: () => this.#effective,
        tableView: async (table) => this.#tableView(table),
        answer: async (question) => this.#first.answer(question),
        probed: (cluster) => this.#probed(cluster),
        redirects: this.#first.directory,
      })
      const { services } = ports.admin
      for (const site of this.#sites) await site.start(site === this.#first ? services : undefined)
    } catch (error) {
      await ports?.close()
      await Promise.all(this.#sites.map(async (site) => site.drain(0)))
      await this.#close()
      throw error
    }
    const rpc = this.#sites.flatMap((site) => site.addresses())
    const [{ host, port } = { host: '', port: 0 }, ...others] = rpc
    log.info('gateway listens', {
      rpc: `${host}:${port}`,
      ...(others.length === 0 ? {} : { endpoints: others.map((at) => `${at.host}:${at.port}`) }),
      http: ports.admin.address,
      workers: this.#config.workers,
    })
    for (const site of this.#sites) {
      const id = site.join(ports.admin.address, () => this.#isDraining)
      if (site === this.#first) ports.admin.identify(id)
    }
    // A second signal, or a drain that takes too long, ends this process: then the workers too.
    process.on('exit', () => {
      if (this.#isDraining) for (const site of this.#sites) site.kill()
    })
    return {
      reload: async () => {
        await ports.admin.renewTls()
        await this.#reloadSoon()
      },
      drain: async () => {
        this.#isDraining = true
        for (const site of this.#sites) site.tellFleet()
        await this.#drain()
        await ports.close()
        await this.#close()
      },
      drainMsMax: () => this.#config.lameDuckMs + this.#config.drainMs + DRAIN_GRACE_MS,
    }
  }

  /** The first site's directory and side answer for tables by their name alone. */
  #tableView(table: string): Promise<TableView> {
    const site = this.#first
    return viewTable(site.directory, table, async () => site.describeTable(table))
  }

  /** The sites look after the clusters of their own tables. */
  #probed(cluster: string): ProbeResult | undefined {
    return this.#sites.map((site) => site.probed(cluster)).find((result) => result !== undefined)
  }

  async #metricsText(): Promise<string> {
    let text = await this.#context.metrics.text()
    for (const site of this.#sites) text = await site.metricsText(text)
    return text
  }

  unreadyReason(): string | undefined {
    if (this.#isDraining) return 'draining'
    return this.#sites.map((site) => site.unreadyReason()).find((reason) => reason !== undefined)
  }

  degradedReasons(): readonly string[] {
    return [...new Set(this.#sites.flatMap((site) => site.degradedReasons()))]
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
    if (this.#isDraining) return
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
    const replaced: Replaced[] = []
    try {
      const endpoints = byRoot(endpointsOf(config))
      for (const [index, site] of this.#sites.entries())
        replaced.push(...(await site.reload(endpoints[index] ?? [])))
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
    this.#configHash = sharedConfigHash(this.#effective)
    for (const site of this.#sites) site.tellFleet()
    log.info('reloaded', { changed })
    this.#reloads('applied')
    await Promise.all(replaced.map(async ({ drained }) => drained))
    log.info('clients of before the reload have gone')
  }

  /** L-4: not ready first, with the ports open; then no connection is taken, and the others end. */
  async #drain(): Promise<void> {
    const { lameDuckMs, drainMs } = this.#config
    if (lameDuckMs > 0)
      await new Promise<void>((resolve) => {
        this.#context.runtime.timers.after(lameDuckMs, resolve, { holdsProcess: true })
      })
    await Promise.all(this.#sites.map(async (site) => site.drain(drainMs)))
  }

  async #close(): Promise<void> {
    for (const site of this.#sites) await site.close()
    await Promise.all([this.#data.close(), this.#control.close()])
  }
}

/** The endpoints of each root, roots in the order of their first one. */
function byRoot(endpoints: readonly Endpoint[]): readonly (readonly Endpoint[])[] {
  const roots = new Map<string, Endpoint[]>()
  for (const endpoint of endpoints) {
    const others = roots.get(endpoint.root)
    if (others === undefined) roots.set(endpoint.root, [endpoint])
    else others.push(endpoint)
  }
  return [...roots.values()]
}

/** The ports of people, probes and Prometheus; closed in one go. */
interface Ports {
  readonly admin: AdminServer
  readonly close: () => Promise<void>
}

async function openPorts(
  { config, log, runtime }: Context,
  health: Health,
  metricsText: () => Promise<string>,
  facts: Omit<AdminParts, 'config' | 'runtime' | 'pages'>,
): Promise<Ports> {
  const pages = healthPages(health, metricsText)
  const listener = await openHealth(config, pages)
  let admin: AdminServer
  try {
    admin = await startAdmin({ config, runtime, pages, ...facts })
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
