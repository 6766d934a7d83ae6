/**
 * Table → cluster, from the mapping nodes in ZooKeeper (gateway.md 3). A node is read when its table
 * is first asked for and watched from then on; later questions are answered from memory. Bounded,
 * one read in flight per table, a bad value keeps the last good route, and after a session loss
 * every entry is read and watched again. Knows nothing of meta servers or of client connections.
 *
 * An entry's life: `loading` (somebody waits) → `mapped`, `missing` or `invalid`, and from there only
 * to another of these three; while it is read again the old answer stays. What a mapping means for
 * clients, with redirects and staleness, is worked out by the route table.
 */
import type { Coordinator, NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { AccessProbe } from './access-probe.ts'
import { ClusterDrift } from './cluster-drift.ts'
import { ControlTree } from './control-tree.ts'
import { DeletionGuard } from './deletion-guard.ts'
import { EntryReader } from './entry-reader.ts'
import type { EntryWatches } from './entry-watches.ts'
import { isTableName, parseMapping } from './mapping.ts'
import type { DirectoryMetrics } from '../metrics.ts'
import type { Redirect } from './redirects.ts'
import { mappedOf, MISSING, UNAVAILABLE } from './resolution.ts'
import { type RouteFacts, routeFacts } from './route-facts.ts'
import { RouteTable } from './route-table.ts'
import type { RouteListener, SharedRoutes } from './routes.ts'
import type { Snapshot } from './snapshot.ts'
import type { StalePolicy } from './staleness.ts'
import { type Entry, type Lookup, newEntry, tellAll, type Truth } from './table-entry.ts'
import { Verification } from './verification.ts'

export interface DirectoryOptions {
  /** Path of the mapping nodes' parent, such as `/metaproxy/tables`. */
  readonly root: string
  /** Path of the control tree (3.6). */
  readonly controlRoot: string
  readonly routesMax: number
  readonly negativesMax: number
  readonly negativeTtlMs: number
  /** A first lookup that ZooKeeper leaves unanswered is given up after this. */
  readonly lookupTimeoutMs: number
  readonly reconcileIntervalMs: number
  /** A deleted mapping is used on for this time. */
  readonly keepOnDeleteMs: number
  /** How long routes may be used that nobody can confirm, unless a table or group says otherwise. */
  readonly stale: StalePolicy
}

const LOADING_MAX = 20_000

export class TableDirectory implements SharedRoutes {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #options: DirectoryOptions
  readonly #metrics: DirectoryMetrics
  readonly #control: ControlTree
  readonly #table: RouteTable
  readonly #reader: EntryReader
  readonly #verification: Verification
  readonly #deletions: DeletionGuard<Entry>
  /** Nobody knows an answer yet. */
  readonly #loading = new Map<string, Entry>()
  readonly #drift: ClusterDrift
  /** Since when not everything could be confirmed. */
  #staleSinceMs: number | undefined
  #sessionEpoch = 0
  /** Counts losses and returns of the connection. */
  #connections = 0
  #isRestored = false
  #closed = false
  #giveUpTimer: Timer | undefined
  readonly #stopListening: () => void

  /** Whether ZooKeeper shows us the mapping at all. */
  readonly access: AccessProbe

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    metrics: DirectoryMetrics,
    options: DirectoryOptions,
  ) {
    this.access = new AccessProbe(runtime, coordinator, options.root)
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'directory' })
    this.#drift = new ClusterDrift(this.#log)
    this.#coordinator = coordinator
    this.#metrics = metrics
    this.#options = options
    this.#control = new ControlTree(runtime, coordinator, metrics, {
      controlRoot: options.controlRoot,
      onChange: () => this.#table.resolve(),
      onConfirmed: () => this.#table.confirmControl(),
    })
    this.#table = new RouteTable(runtime, coordinator, this.#control, {
      ...options,
      onEvicted: (entry) => this.#forget(entry),
      onAnswer: (entry, answer) => {
        this.#loading.delete(entry.table)
        tellAll(entry, answer)
      },
    })
    this.#reader = new EntryReader(runtime, coordinator, metrics, {
      onValue: (entry, data, stat) => this.#onValue(entry, data, stat),
      onAbsent: (entry) => this.#onAbsent(entry),
      onFailure: (entry) => this.#onFailure(entry),
      onUnwatchable: (entry) => this.#table.drop(entry),
    })
    this.#verification = new Verification(runtime, coordinator, metrics, {
      intervalMs: options.reconcileIntervalMs,
      entries: () => this.#table.newestFirst(),
      isHandled: (entry) => this.#deletions.has(entry),
      read: (entry) => this.#reader.read(entry),
    })
    this.#deletions = new DeletionGuard({
      runtime,
      routeCount: () => this.#table.routeCount,
      root: async () => (await coordinator.exists(options.root))?.createdZxid,
      isGathering: () => this.#reader.isRearming,
      isHeld: ({ answer }) => answer?.kind === 'route' && answer.route.plan !== undefined,
      keepMs: options.keepOnDeleteMs,
      onDeleted: (entry) => this.#onDeleted(entry),
      onOutage: (tables) => this.#log.error('mappings vanished, routes kept', { tables }),
      onHeld: ({ table }) => this.#log.error('mapping deleted during a switch, kept', { table }),
    })
    this.#sessionEpoch = coordinator.sessionEpoch()
    if (coordinator.state() !== 'connected') this.#staleSinceMs = runtime.clock.monotonicMs()
    else void this.#deletions.noteRoot()
    this.#stopListening = coordinator.onState(() => this.#onState())
  }

  get epoch(): number {
    return this.#table.epoch
  }

  get revision(): number {
    return this.#table.revision
  }

  get routeCount(): number {
    return this.#table.routeCount
  }

  get negativeCount(): number {
    return this.#table.negativeCount
  }

  /** The watches on mapping nodes, those included whose tables are no longer in memory. */
  get watches(): Pick<EntryWatches, 'count' | 'leftoverCount' | 'pathBytes'> {
    return this.#reader.watches
  }

  /** Calls back when other redirects are in force; answers how to stop it. */
  readonly onRedirects = (told: () => void): (() => void) => this.#control.onRedirects(told)

  /** Redirects in force, by the cluster that they lead away from. */
  get redirects(): ReadonlyMap<string, Redirect> {
    return this.#control.redirects
  }

  /** Why it cannot tell anything yet. */
  unreadyReason(): string | undefined {
    const unreadable = this.access.isNeverGranted ? this.access.problem() : undefined
    if (unreadable !== undefined) return unreadable
    if (this.#control.isLoaded || this.#isRestored) return undefined
    const hasSession = this.#coordinator.sessionEpoch() > 0
    return hasSession ? 'control tree not read yet' : 'no ZooKeeper session yet'
  }

  /** It serves, but not as it should. */
  degradedReasons(): readonly string[] {
    const reasons: string[] = []
    const state = this.#coordinator.state()
    if (state !== 'connected') reasons.push(`ZooKeeper ${state}`)
    const refused = this.access.problem()
    if (refused !== undefined) reasons.push(refused)
    if (this.outage) reasons.push('mappings vanished, routes kept')
    const { refusedCount } = this.#control
    if (refusedCount > 0) reasons.push(`${refusedCount} redirects refused`)
    return reasons
  }

  /** For people; undefined for a table that is not in memory. Counts as no use. */
  describe(table: string): RouteFacts | undefined {
    const entry = this.#table.peek(table) ?? this.#loading.get(table)
    if (entry === undefined) return undefined
    return routeFacts(entry, {
      answer: this.#table.answer(entry),
      nowMs: this.#runtime.clock.monotonicMs(),
      zookeeper: this.#coordinator.state(),
      epoch: this.epoch,
    })
  }

  stalenessMs(): number {
    const since = this.#staleSinceMs
    return since === undefined ? 0 : Math.max(0, this.#runtime.clock.monotonicMs() - since)
  }

  get outage(): boolean {
    return this.#deletions.outage
  }

  find(table: string): Lookup | undefined {
    const entry = this.#table.route(table)
    if (entry !== undefined) return this.#table.answer(entry)
    const negative = this.#table.negative(table)
    if (negative === undefined) return isTableName(table) ? undefined : MISSING
    if (this.#runtime.clock.monotonicMs() >= negative.negativeUntilMs) this.#refresh(negative)
    return this.#table.answer(negative)
  }

  load(table: string, budgetMs: number, tell: (lookup: Lookup) => void): void {
    const known = this.find(table)
    if (known !== undefined) {
      tell(known)
      return
    }
    const nowMs = this.#runtime.clock.monotonicMs()
    const giveUpAtMs = nowMs + Math.min(budgetMs, this.#options.lookupTimeoutMs)
    let entry = this.#loading.get(table)
    if (entry === undefined) {
      if (this.#loading.size >= LOADING_MAX) {
        tell(UNAVAILABLE)
        return
      }
      entry = newEntry(table, `${this.#options.root}/${table}`)
      this.#loading.set(table, entry)
      entry.waiting.push({ tell, giveUpAtMs })
      this.#reader.read(entry)
    } else {
      this.#metrics.coalescedLookups.add()
      entry.waiting.push({ tell, giveUpAtMs })
    }
    this.#giveUpTimer ??= this.#runtime.timers.after(Math.max(0, giveUpAtMs - nowMs), () =>
      this.#giveUp(),
    )
  }

  onChange(listener: RouteListener): () => void {
    return this.#table.onChange(listener)
  }

  known(): Iterable<{ readonly table: string; readonly lookup: Lookup }> {
    return this.#table.known()
  }

  /** Every cluster of the registry, and of the tables in memory, with its metas. */
  clusters(): ReadonlyMap<string, readonly string[]> {
    const clusters = new Map<string, readonly string[]>()
    for (const { lookup } of this.known())
      if (lookup.kind === 'route') clusters.set(lookup.route.cluster, lookup.route.metas)
    for (const [name, { metas }] of this.#control.clusters) clusters.set(name, metas)
    return clusters
  }

  /** Undefined while the registry was not read. */
  isRegistered(cluster: string): boolean | undefined {
    return this.#control.isRegistered(cluster)
  }

  touch(tables: Iterable<string>): void {
    for (const table of tables)
      if (this.#table.route(table) === undefined) this.#table.negative(table)
  }

  get root(): string {
    return this.#options.root
  }

  /** What was known `ageMs` ago, stale until ZooKeeper confirms it; before anything else. */
  restore({ tables, rootZxid }: Snapshot, ageMs: number): void {
    const sinceMs = this.#runtime.clock.monotonicMs() - ageMs
    this.#staleSinceMs = sinceMs
    this.#isRestored = tables.length > 0
    this.#deletions.restoreRoot(rootZxid)
    for (const { table, mapped, route } of tables) {
      const entry = newEntry(table, `${this.#options.root}/${table}`)
      Object.assign(entry, { truth: 'mapped', mapped, restored: route, staleSinceMs: sinceMs })
      this.#table.place(entry)
    }
    if (this.#coordinator.state() === 'connected') this.#reader.rearm(this.#table.newestFirst())
  }

  /** Undefined while not everything is known to be current. */
  snapshot(wallMs: number): Snapshot | undefined {
    if (!this.#control.isLoaded || this.#staleSinceMs !== undefined) return undefined
    const { root } = this.#options
    const rootZxid = this.#deletions.root
    return { root, rootZxid, confirmedAtMs: wallMs, tables: [...this.#table.saved()] }
  }

  /** Resolves when the table's node was read again and applied, if the table is in memory. */
  async reread(table: string): Promise<void> {
    const entry = this.#table.peek(table) ?? this.#loading.get(table)
    if (entry === undefined) return
    this.#reader.rearm([entry])
    await this.#reader.settled([entry])
  }

  async settled(): Promise<void> {
    await this.#reader.settled()
    await this.#deletions.judged()
    await this.#control.settled()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopListening()
    this.#giveUpTimer?.cancel()
    this.access.close()
    this.#verification.close()
    this.#deletions.close()
    this.#reader.close()
    this.#control.close()
    for (const entry of this.#loading.values()) tellAll(entry, UNAVAILABLE)
    this.#loading.clear()
    this.#table.close()
  }

  #giveUp(): void {
    this.#giveUpTimer = undefined
    const nowMs = this.#runtime.clock.monotonicMs()
    let nextMs = Infinity
    for (const entry of this.#loading.values()) {
      const overdue = entry.waiting.filter((waiter) => waiter.giveUpAtMs <= nowMs)
      entry.waiting = entry.waiting.filter((waiter) => waiter.giveUpAtMs > nowMs)
      for (const waiter of overdue) waiter.tell(UNAVAILABLE)
      for (const waiter of entry.waiting) nextMs = Math.min(nextMs, waiter.giveUpAtMs)
    }
    if (nextMs !== Infinity && !this.#closed)
      this.#giveUpTimer = this.#runtime.timers.after(nextMs - nowMs, () => this.#giveUp())
  }

  /** A negative entry that is old, in case its watch was lost. */
  #refresh(negative: Entry): void {
    negative.negativeUntilMs = this.#runtime.clock.monotonicMs() + this.#options.negativeTtlMs
    void this.#verification.confirm(negative)
  }

  #onFailure(entry: Entry): void {
    if (entry.truth !== 'unread') return
    this.#loading.delete(entry.table)
    tellAll(entry, UNAVAILABLE)
  }

  #onValue(entry: Entry, data: Buffer, stat: NodeStat): void {
    entry.modifiedZxid = stat.modifiedZxid
    this.#noteRead(entry, stat)
    this.#deletions.clear(entry)
    const parsed = parseMapping(data)
    this.#metrics.invalid.set(entry.table, !parsed.ok)
    if (!parsed.ok) {
      const { field, message } = parsed.problem
      this.#log.error('mapping invalid', { table: entry.table, field, problem: message })
      // The last good route stays in force.
      this.#learn(entry, entry.truth === 'mapped' ? 'mapped' : 'invalid')
      return
    }
    const mapped = mappedOf(parsed.value)
    const { stale } = parsed.value.raw
    if (stale !== undefined && mapped.stale === undefined)
      this.#log.warn('staleness policy of a mapping ignored', { table: entry.table, found: stale })
    if (entry.mapped?.cluster !== mapped.cluster || entry.mapped.group !== mapped.group)
      this.#drift.look(entry.table, mapped.cluster, mapped.group)
    entry.mapped = mapped
    this.#learn(entry, 'mapped')
  }

  #noteRead(entry: Entry, node: NodeStat | undefined): void {
    entry.node = node
    entry.readAtMs = this.#runtime.clock.monotonicMs()
  }

  #onAbsent(entry: Entry): void {
    this.#noteRead(entry, undefined)
    this.#metrics.invalid.set(entry.table, false)
    if (entry.truth === 'mapped') this.#deletions.suspect(entry)
    else this.#learn(entry, 'missing')
  }

  #onDeleted(entry: Entry): void {
    if (entry.evicted) return
    this.#log.info('mapping deleted', { table: entry.table })
    entry.mapped = undefined
    this.#learn(entry, 'missing')
  }

  /** ZooKeeper has just said so. */
  #learn(entry: Entry, truth: Truth): void {
    entry.truth = truth
    entry.staleSinceMs = undefined
    if (truth === 'missing')
      entry.negativeUntilMs = this.#runtime.clock.monotonicMs() + this.#options.negativeTtlMs
    this.#table.place(entry)
  }

  #forget(entry: Entry): void {
    this.#reader.forget(entry)
    this.#metrics.invalid.set(entry.table, false)
    this.#deletions.clear(entry)
    // Mapped, but nobody knows of redirects yet.
    this.#loading.delete(entry.table)
    tellAll(entry, UNAVAILABLE)
  }

  #onState(): void {
    const state = this.#coordinator.state()
    const connection = ++this.#connections
    if (state !== 'connected') {
      if (state === 'expired') this.#metrics.sessionsExpired.add()
      const sinceMs = Math.min(
        this.#runtime.clock.monotonicMs(),
        this.#coordinator.lastAnswerAtMs(),
      )
      this.#staleSinceMs ??= sinceMs
      this.#table.lose(sinceMs, state === 'expired')
      return
    }
    void this.#deletions.noteRoot()
    const isNewSession = this.#coordinator.sessionEpoch() !== this.#sessionEpoch
    this.#sessionEpoch = this.#coordinator.sessionEpoch()
    const entries = this.#table.newestFirst()
    // A watch dies with its session; a read that failed may have left none either.
    if (isNewSession) for (const entry of entries) entry.armed = false
    this.#table.regain(isNewSession, this.#control.isConfirmed)
    this.#reader.rearm(entries.filter((entry) => !entry.armed))
    if (!isNewSession) void this.#verification.confirmAll()
    void this.#whenConfirmed(connection)
  }

  async #whenConfirmed(connection: number): Promise<void> {
    await this.#reader.settled()
    if (connection !== this.#connections) return
    this.#staleSinceMs = undefined
    this.#table.confirmAll()
  }
}
