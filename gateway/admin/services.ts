/** The parts that serve the admin API, put together on a runtime and a coordinator. No HTTP here. */
import { hostname } from 'node:os'
import type { FleetQuestion } from '../routing/fleet-questions.ts'
import { canonicalMetas } from '../routing/mapping.ts'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { GatewayConfig } from '../config.ts'
import type { ProbeResult } from '../upstream/probes.ts'
import type { ClusterHealth } from './api/clusters.ts'
import type { Overview } from './api/gateways.ts'
import type { ChangePreview, TableRoute, TableSnippet } from './api/tables.ts'
import { Approvals } from './approvals.ts'
import { AuditLog } from './audit-log.ts'
import { AuditTrimmer } from './audit-trim.ts'
import { openBooks } from './change-books.ts'
import { ChangeSets } from './change-sets.ts'
import { ClusterProbes } from './cluster-probes.ts'
import { Clusters, metasOf } from './clusters.ts'
import type { ControlTree } from './control-tree.ts'
import { EventHub } from './event-hub.ts'
import { Fleet } from './fleet.ts'
import { FleetAsker } from './fleet-asker.ts'
import { tableClients } from './fleet-views.ts'
import { Groups } from './groups.ts'
import { HistoryTrimmer } from './history-trim.ts'
import { IdempotentRequests } from './idempotency.ts'
import type { Journal } from './journal.ts'
import { Observer } from './observer.ts'
import { type Registry, Registry as RegistryFolder } from './registry.ts'
import { closeSecretNodes } from './secret-nodes.ts'
import { snippetsFor } from './snippets.ts'
import { type RedirectsInForce, TableContexts } from './table-context.ts'
import { type DecidedChange, TableEdits } from './table-edits.ts'
import type { TableHistories } from './table-history.ts'
import { TableLists } from './table-list.ts'
import { TableMirror } from './table-mirror.ts'
import { TableRates } from './table-rates.ts'
import { CurrentTables } from './current-tables.ts'
import { eventFacts } from './table-view.ts'
import type { FolderChange } from './watched-folder.ts'

export type RouteServed = NonNullable<TableRoute['gateways'][number]['serves']>

export interface ServiceParts {
  readonly runtime: Runtime
  /** The caller's; not closed here. */
  readonly coordinator: Coordinator
  readonly config: Pick<
    GatewayConfig,
    'rpc' | 'zookeeper' | 'routing' | 'admin' | 'approval' | 'audit' | 'history'
  >
  /** What this gateway answers clients now; undefined where that is not known. */
  readonly lookup: (table: string) => Promise<RouteServed | undefined>
  /** What this gateway answers to a question of its fleet. */
  readonly answer: (question: FleetQuestion) => Promise<unknown>
  readonly redirects: RedirectsInForce
  /** What the fleet's last probe of a cluster found; undefined before one did. */
  readonly probed: (cluster: string) => ProbeResult | undefined
}

const DAY_MS = 86_400_000
const EXPIRE_MS = 600_000

export class Services {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly root: string
  /** Under which this gateway is in `gateways/<id>`; for the audit, and to know oneself. */
  gatewayId = hostname()
  readonly tree: ControlTree
  readonly journal: Journal
  readonly mirror: TableMirror
  readonly lists: TableLists
  readonly histories: TableHistories
  readonly edits: TableEdits
  readonly views: CurrentTables
  readonly clusterRegistry: Registry
  readonly groupRegistry: Registry
  readonly clusters: Clusters
  readonly groups: Groups
  readonly contexts: TableContexts
  readonly fleet: Fleet
  readonly asker: FleetAsker
  readonly rates: TableRates
  readonly events: EventHub
  readonly audit: AuditLog
  readonly requests: IdempotentRequests
  readonly changeSets: ChangeSets
  readonly approvals: Approvals
  readonly probes: ClusterProbes
  readonly observer: Observer
  readonly reasonRequired: boolean
  readonly lookup: (table: string) => Promise<RouteServed | undefined>
  readonly #parts: ServiceParts
  readonly #tidyings: (() => Promise<void>)[] = []
  #expireTimer: Timer | undefined
  readonly #stopListening: () => void

  constructor(parts: ServiceParts) {
    const { runtime, coordinator, config } = parts
    const self = (): string => this.gatewayId
    const wallMs = (): number => runtime.clock.wallMs()
    this.#parts = parts
    this.runtime = runtime
    this.coordinator = coordinator
    this.root = config.zookeeper.root
    this.reasonRequired = config.admin.requireReason
    this.lookup = parts.lookup
    const { tree, journal, histories } = openBooks(runtime, coordinator, config, self)
    this.tree = tree
    this.journal = journal
    this.histories = histories
    this.events = new EventHub(runtime)
    this.mirror = new TableMirror(runtime, coordinator, this.root)
    this.lists = new TableLists(this.mirror, wallMs)
    const { mirror } = this
    const common = { runtime, coordinator, tree, journal }
    this.clusterRegistry = new RegistryFolder(common, {
      kind: 'cluster',
      folder: 'clusters',
      onChange: (change) => this.#onRegistryChange('clusters', change),
    })
    this.groupRegistry = new RegistryFolder(common, {
      kind: 'group',
      folder: 'groups',
      onChange: (change) => this.#onRegistryChange('groups', change),
    })
    this.clusters = new Clusters(this.clusterRegistry, mirror)
    this.groups = new Groups(this.groupRegistry, mirror)
    this.contexts = new TableContexts({
      runtime,
      mirror,
      registry: this.clusterRegistry,
      clusters: this.clusters,
      groups: this.groups,
      redirects: parts.redirects,
    })
    this.edits = new TableEdits({
      coordinator,
      tree,
      root: this.root,
      rules: {
        writeForm: config.routing.writeForm,
        metasOf: (cluster) => this.clusters.registeredMetas(cluster),
      },
      mirror,
      journal,
      histories,
    })
    this.views = new CurrentTables(mirror, histories, this.edits)
    this.fleet = new Fleet({ ...common, selfId: self }, (change) =>
      this.#publish('gateways', change),
    )
    this.alsoTidy(() => this.fleet.tidy())
    this.asker = new FleetAsker({
      ...common,
      selfId: self,
      answer: parts.answer,
      gateways: () => this.fleet.ids(),
    })
    this.rates = new TableRates(
      () => runtime.clock.monotonicMs(),
      () => this.asker.ask({ kind: 'rates' }),
    )
    this.audit = new AuditLog(coordinator, tree)
    const auditTrimmer = new AuditTrimmer({ ...common, audit: this.audit }, config.audit)
    const historyTrimmer = new HistoryTrimmer(
      { ...common, mirror, histories },
      config.history.keepDeletedDays,
    )
    this.alsoTidy(() => this.#closeSecrets())
    this.alsoTidy(() => this.requests.expire())
    this.alsoTidy(() => this.changeSets.expire())
    this.alsoTidy(() => this.approvals.tidy())
    this.alsoTidy(() => auditTrimmer.trim())
    this.alsoTidy(() => historyTrimmer.trim())
    this.requests = new IdempotentRequests(coordinator, tree, wallMs)
    this.changeSets = new ChangeSets(coordinator, tree, wallMs)
    this.approvals = new Approvals({
      ...common,
      mirror,
      edits: this.edits,
      events: this.events,
      above: config.approval.bulkAbove,
      changeRegistry: (caller, author, change) =>
        this.clusters.replaceMetas(caller, author, change),
    })
    this.probes = new ClusterProbes(runtime)
    this.observer = new Observer({
      ...common,
      mirror,
      histories,
      events: this.events,
      gateway: self,
      onHeld: () => void this.#tidy(),
    })
    mirror.onChange = (change) => {
      this.contexts.sawTable()
      this.observer.saw(change)
    }
    mirror.onRestated = ({ name, table }) =>
      this.events.publish({ topic: 'tables', type: 'changed', name, ...eventFacts(table) })
    journal.onCommitted = (entries) => {
      for (const { entry } of entries)
        this.events.publish({
          topic: 'audit',
          type: 'appended',
          name: String(entry.seq),
          actor: entry.actor,
          source: entry.source,
        })
    }
    this.#stopListening = coordinator.onState((state) =>
      this.events.publish({ topic: 'zookeeper', type: 'state', name: state }),
    )
    this.#scheduleExpiry()
  }

  /** Done by one gateway of the fleet, every ten minutes. */
  alsoTidy(tidy: () => Promise<void>): void {
    this.#tidyings.push(tidy)
  }

  /** Waits for something, but not longer. */
  async within(ms: number, something: Promise<void>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.runtime.timers.after(ms, resolve, { holdsProcess: true })
      void something.finally(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  /** The answer to a dry run. */
  async previewOf(decided: DecidedChange): Promise<ChangePreview> {
    const { name, action, before, text } = decided
    const was = before?.node.text ?? null
    const mapping = text === null ? undefined : this.edits.mappingOf(text)
    const probed =
      mapping === undefined ? [] : (await this.probes.table(name, mapping.metas)).checks
    const checks = [...probed]
    const registered = mapping && this.clusterRegistry.get(mapping.cluster)
    if (mapping !== undefined && registered !== undefined) {
      const isSame = canonicalMetas(metasOf(registered)) === canonicalMetas(mapping.metas)
      checks.push({
        id: 'same-metas',
        level: isSame ? 'ok' : 'warning',
        message: isSame
          ? `the metas are those of cluster ${mapping.cluster}`
          : `cluster ${mapping.cluster} is registered with other metas`,
        ...(isSame ? {} : { field: 'metas' }),
      })
    }
    const isSame = was === text
    const gateways = isSame ? 0 : (await this.fleet.list()).total
    const clients = isSame || was === null ? undefined : await this.#clientsOf(name)
    return {
      dryRun: true,
      action: isSame ? 'same' : action,
      name,
      before: was,
      after: text,
      checks,
      gateways,
      ...(clients === undefined ? {} : { clients }),
    }
  }

  /** How many addresses asked for it; undefined when the fleet cannot be asked now. */
  async #clientsOf(table: string): Promise<number | undefined> {
    try {
      const found = await this.asker.ask({ kind: 'clients', table })
      return tableClients(found, this.gatewayId).total
    } catch {
      return undefined
    }
  }

  /** The fleet's last probe of a cluster. */
  probed(cluster: string): ClusterHealth['probe'] {
    const result = this.#parts.probed(cluster)
    if (result === undefined) return undefined
    const { atMs, ms: elapsedMs, cluster: _cluster, ...verdict } = result
    return { at: new Date(atMs).toISOString(), elapsedMs, ...verdict }
  }

  snippets(table: string, hostHeader: string): TableSnippet {
    const { rpc, admin } = this.#parts.config
    const asked = hostHeader.replace(/:\d+$/, '') || '127.0.0.1'
    const host = rpc.host === '0.0.0.0' ? asked : rpc.host
    return snippetsFor(table, admin.endpoint ?? `${host}:${rpc.port}`)
  }

  async overview(): Promise<Overview> {
    const { mirror, coordinator, runtime } = this
    const byState: Record<string, number> = {}
    const sinceMs = runtime.clock.wallMs() - DAY_MS
    let changedLast24h = 0
    for (const name of mirror.names) {
      const view = mirror.get(name)
      if (view === undefined) continue
      byState[view.table.state] = (byState[view.table.state] ?? 0) + 1
      if (view.node.stat.modifiedWallMs >= sinceMs) changedLast24h++
    }
    const { clusters } = this.clusters.list()
    const { gateways, fleetEpoch } = await this.fleet.list()
    const answerAgeMs = runtime.clock.monotonicMs() - coordinator.lastAnswerAtMs()
    return {
      tables: { total: mirror.size, byState, changedLast24h },
      clusters: {
        total: clusters.length,
        unregistered: clusters.filter(({ registered }) => !registered).length,
        unreachable: clusters.filter(({ name }) => this.probed(name)?.leaderReachable === false)
          .length,
        drifted: clusters.filter(({ drift }) => drift.length > 0).length,
      },
      groups: { total: this.groups.list().total },
      gateways: {
        total: gateways.length,
        behind: gateways.filter(({ behind }) => behind > 0).length,
        draining: gateways.filter(({ draining }) => draining).length,
        degraded: gateways.filter(({ zookeeper }) => zookeeper !== 'connected').length,
        versions: [...new Set(gateways.map(({ version }) => version))].toSorted(),
      },
      zookeeper: {
        state: coordinator.state(),
        lastAnswerAgeMs: Math.max(0, Math.round(Number.isFinite(answerAgeMs) ? answerAgeMs : 0)),
      },
      fleetEpoch,
      asOf: mirror.freshness(),
    }
  }

  close(): void {
    this.#stopListening()
    this.contexts.close()
    this.#expireTimer?.cancel()
    this.observer.close()
    this.mirror.close()
    this.clusterRegistry.close()
    this.groupRegistry.close()
    this.fleet.close()
    this.approvals.close()
    this.asker.close()
    this.probes.close()
  }

  #onRegistryChange(topic: 'clusters' | 'groups', change: FolderChange): void {
    this.#publish(topic, change)
    this.contexts.renew()
  }

  #publish(topic: 'clusters' | 'groups' | 'gateways', change: FolderChange): void {
    const { name, before, after, isFirst } = change
    if (isFirst) return
    const type = after === undefined ? 'deleted' : before === undefined ? 'created' : 'changed'
    this.events.publish({ topic, type, name })
  }

  /** One gateway tidies for all. What fails is tried again the next time. */
  async #tidy(): Promise<void> {
    for (const tidy of this.#tidyings) {
      if (!this.observer.isHolder) return
      await tidy().catch((error: unknown) => {
        // Without the lease it is for somebody else.
        if (this.observer.isHolder) this.runtime.log.warn('control tree not tidied', { error })
      })
    }
  }

  async #closeSecrets(): Promise<void> {
    const closed = await closeSecretNodes(this.coordinator, this.tree)
    if (closed > 0) this.runtime.log.info('users, tokens and sessions closed to others', { closed })
  }

  #scheduleExpiry(): void {
    this.#expireTimer = this.runtime.timers.after(EXPIRE_MS, () => {
      void this.#tidy()
      this.#scheduleExpiry()
    })
  }
}
