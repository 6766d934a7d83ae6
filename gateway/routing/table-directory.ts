/**
 * Table → cluster, from the mapping nodes in ZooKeeper (gateway.md 3). A node is read when its table
 * is first asked for and watched from then on; later questions are answered from memory. Bounded,
 * one read in flight per table, a bad value keeps the last good route, and after a session loss
 * every entry is read and watched again. Knows nothing of meta servers or of client connections.
 *
 * An entry's life: `loading` (somebody waits) → `route`, `missing` or `invalid`, and from there only
 * to another of these three; while it is read again the old answer stays.
 */
import {
  type Coordinator,
  CoordinatorError,
  type NodeStat,
  type WatchEvent,
} from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { DeletionGuard } from './deletion-guard.ts'
import { Lru } from './lru.ts'
import { MappingReader } from './mapping-reader.ts'
import { canonicalMetas, isTableName, parseMapping } from './mapping.ts'
import type { DirectoryMetrics } from '../metrics.ts'
import type { Routes } from './routes.ts'
import { type Entry, type Lookup, newEntry, tellAll } from './table-entry.ts'

export interface DirectoryOptions {
  /** Path of the mapping nodes' parent, such as `/metaproxy/tables`. */
  readonly root: string
  readonly routesMax: number
  readonly negativesMax: number
  readonly negativeTtlMs: number
  /** A first lookup that ZooKeeper leaves unanswered is given up after this. */
  readonly lookupTimeoutMs: number
  readonly reconcileIntervalMs: number
}

const MISSING: Lookup = { kind: 'missing' }
const INVALID: Lookup = { kind: 'invalid' }
const UNAVAILABLE: Lookup = { kind: 'unavailable' }
/** Re-reads after a reconnect or expiry, in flight at once. */
const REARMS_MAX = 64
const LOADING_MAX = 20_000
const RETRY_MS = 1000

export class TableDirectory implements Routes {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #options: DirectoryOptions
  readonly #metrics: DirectoryMetrics
  readonly #routes: Lru<Entry>
  readonly #negatives: Lru<Entry>
  readonly #reader: MappingReader
  readonly #loading = new Map<string, Entry>()
  /** Waiting for a read that sets their watch again. */
  readonly #rearm = new Set<Entry>()
  readonly #rearming = new Set<Entry>()
  readonly #deletions: DeletionGuard<Entry>
  readonly #metasOfCluster = new Map<string, string>()
  #epoch = 0
  #leftoverWatches = 0
  #disconnectedAtMs: number | undefined
  #sessionEpoch = 0
  #closed = false
  #giveUpTimer: Timer | undefined
  #reconcileTimer: Timer | undefined
  readonly #stopListening: () => void

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    metrics: DirectoryMetrics,
    options: DirectoryOptions,
  ) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'directory' })
    this.#coordinator = coordinator
    this.#metrics = metrics
    this.#reader = new MappingReader(coordinator, metrics.zooKeeperReads)
    this.#options = options
    const evicted = (_table: string, entry: Entry): void => this.#forget(entry)
    this.#routes = new Lru(options.routesMax, evicted)
    this.#negatives = new Lru(options.negativesMax, evicted)
    this.#deletions = new DeletionGuard({
      runtime,
      routeCount: () => this.#routes.size,
      rootExists: async () => (await coordinator.exists(options.root)) !== undefined,
      onDeleted: (entry) => this.#onDeleted(entry),
      onOutage: (tables) => this.#log.error('mappings vanished, routes kept', { tables }),
    })
    this.#sessionEpoch = coordinator.sessionEpoch()
    if (coordinator.state() !== 'connected') this.#disconnectedAtMs = runtime.clock.monotonicMs()
    this.#stopListening = coordinator.onState(() => this.#onState())
    this.#scheduleReconcile()
  }

  /** Rises with every change of a route. */
  get epoch(): number {
    return this.#epoch
  }

  get routeCount(): number {
    return this.#routes.size
  }

  get negativeCount(): number {
    return this.#negatives.size
  }

  /** Watches set in ZooKeeper for entries that were evicted since; the client cannot take them back. */
  get leftoverWatches(): number {
    return this.#leftoverWatches
  }

  /** Milliseconds since the routes were last known to be current; 0 while connected. */
  stalenessMs(): number {
    const since = this.#disconnectedAtMs
    return since === undefined ? 0 : this.#runtime.clock.monotonicMs() - since
  }

  /** Routes are kept although their nodes are gone, because too much is gone at once. */
  get outage(): boolean {
    return this.#deletions.outage
  }

  /** From memory; undefined when the node must be read first (`load`). */
  find(table: string): Lookup | undefined {
    const entry = this.#routes.get(table)
    if (entry !== undefined) return entry.answer
    const negative = this.#negatives.get(table)
    if (negative === undefined) return isTableName(table) ? undefined : MISSING
    if (this.#runtime.clock.monotonicMs() >= negative.negativeUntilMs) void this.#confirm(negative)
    return negative.answer
  }

  /** Reads the node; `tell` is called once, with `unavailable` after the lookup timeout. */
  load(table: string, budgetMs: number, tell: (lookup: Lookup) => void): void {
    const known = this.find(table)
    if (known !== undefined) {
      tell(known)
      return
    }
    const giveUpAtMs =
      this.#runtime.clock.monotonicMs() + Math.min(budgetMs, this.#options.lookupTimeoutMs)
    let entry = this.#loading.get(table)
    if (entry === undefined) {
      if (this.#loading.size >= LOADING_MAX) {
        tell(UNAVAILABLE)
        return
      }
      entry = newEntry(table, `${this.#options.root}/${table}`)
      this.#loading.set(table, entry)
      entry.waiting.push({ tell, giveUpAtMs })
      this.#read(entry)
    } else {
      this.#metrics.coalescedLookups.add()
      entry.waiting.push({ tell, giveUpAtMs })
    }
    this.#giveUpTimer ??= this.#runtime.timers.after(
      Math.max(0, giveUpAtMs - this.#runtime.clock.monotonicMs()),
      () => this.#giveUp(),
    )
  }

  /** Idempotent. Those who wait are told `unavailable`. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopListening()
    this.#giveUpTimer?.cancel()
    this.#reconcileTimer?.cancel()
    this.#deletions.close()
    for (const entry of this.#loading.values()) tellAll(entry, UNAVAILABLE)
    this.#loading.clear()
    this.#reader.close()
    this.#rearm.clear()
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

  /** Starts a read with a watch, or remembers to. */
  #read(entry: Entry): void {
    if (this.#closed || entry.evicted) return
    if (entry.isReading) {
      entry.again = true
      return
    }
    void this.#readNow(entry)
  }

  async #readNow(entry: Entry): Promise<void> {
    entry.isReading = true
    entry.again = false
    entry.armed = false
    const number = ++entry.reading
    try {
      const node = await this.#reader.read(entry.path, (event) => {
        if (entry.evicted) this.#leftoverWatches--
        else if (entry.reading === number) this.#onWatch(entry, event)
      })
      entry.armed = true
      this.#metrics.tableRead(entry.table, node !== undefined)
      if (node === undefined) this.#onAbsent(entry)
      else this.#onValue(entry, node.data, node.stat)
    } catch (error) {
      this.#onReadFailure(entry, error)
    } finally {
      entry.isReading = false
      this.#rearming.delete(entry)
      if (entry.evicted && entry.armed) this.#leftoverWatches++
      if (entry.again) this.#read(entry)
      this.#pumpRearm()
    }
  }

  #onWatch(entry: Entry, event: WatchEvent): void {
    entry.armed = false
    // After a session loss the next session reads everything again.
    if (event.type !== 'session-lost') this.#read(entry)
  }

  #onReadFailure(entry: Entry, error: unknown): void {
    const code = error instanceof CoordinatorError ? error.code : String(error)
    this.#log.debug('mapping not read', { table: entry.table, code })
    if (entry.answer === undefined) {
      this.#loading.delete(entry.table)
      tellAll(entry, UNAVAILABLE)
      return
    }
    // The answer stays; a lost session or connection reads everything again when it is back.
    if (this.#coordinator.state() === 'connected' && !this.#closed)
      this.#runtime.timers.after(RETRY_MS, () => this.#read(entry))
  }

  #onValue(entry: Entry, data: Buffer, stat: NodeStat): void {
    entry.modifiedZxid = stat.modifiedZxid
    this.#deletions.clear(entry)
    const parsed = parseMapping(data)
    if (!parsed.ok) {
      const { field, message } = parsed.problem
      this.#metrics.invalid.set(entry.table, true)
      this.#log.error('mapping invalid', { table: entry.table, field, problem: message })
      // The last good route stays in force.
      this.#settle(entry, entry.answer?.kind === 'route' ? entry.answer : INVALID)
      return
    }
    this.#metrics.invalid.set(entry.table, false)
    const { cluster, metas } = parsed.value
    const group = canonicalMetas(metas)
    const old = entry.answer
    if (old?.kind === 'route' && old.route.cluster === cluster && old.route.group === group) return
    this.#warnOfDrift(entry.table, cluster, group)
    this.#settle(entry, { kind: 'route', route: { table: entry.table, cluster, metas, group } })
  }

  /** Two nodes that give one cluster different metas: each table still uses its own. */
  #warnOfDrift(table: string, cluster: string, group: string): void {
    const other = this.#metasOfCluster.get(cluster)
    if (other !== undefined && other !== group)
      this.#log.warn('cluster with two sets of metas', { table, cluster, metas: group, other })
    if (this.#metasOfCluster.size > 10_000) this.#metasOfCluster.clear()
    this.#metasOfCluster.set(cluster, group)
  }

  #onAbsent(entry: Entry): void {
    this.#metrics.invalid.set(entry.table, false)
    if (entry.answer?.kind !== 'route') {
      this.#settle(entry, MISSING)
      return
    }
    this.#deletions.suspect(entry)
  }

  #onDeleted(entry: Entry): void {
    if (entry.evicted) return
    this.#log.info('mapping deleted', { table: entry.table })
    this.#settle(entry, MISSING)
  }

  /** Puts the entry where its answer belongs and tells those who wait. */
  #settle(entry: Entry, answer: Lookup): void {
    const { table } = entry
    const changed = entry.answer !== answer
    const isFirst = entry.answer === undefined
    entry.answer = answer
    this.#loading.delete(table)
    if (answer.kind === 'missing') {
      entry.negativeUntilMs = this.#runtime.clock.monotonicMs() + this.#options.negativeTtlMs
      this.#routes.delete(table)
      if (this.#negatives.peek(table) === undefined) this.#negatives.set(table, entry)
    } else {
      this.#negatives.delete(table)
      if (this.#routes.peek(table) === undefined) this.#routes.set(table, entry)
    }
    if (changed) {
      this.#epoch++
      if (!isFirst && answer.kind === 'route')
        this.#log.info('mapping changed', { table, cluster: answer.route.cluster })
    }
    tellAll(entry, answer)
  }

  #forget(entry: Entry): void {
    entry.evicted = true
    if (entry.armed) this.#leftoverWatches++
    this.#metrics.invalid.set(entry.table, false)
    this.#deletions.clear(entry)
    this.#rearm.delete(entry)
  }

  #onState(): void {
    const state = this.#coordinator.state()
    if (state !== 'connected') {
      if (state === 'expired') this.#metrics.sessionsExpired.add()
      this.#disconnectedAtMs ??= this.#runtime.clock.monotonicMs()
      return
    }
    const isNewSession = this.#coordinator.sessionEpoch() !== this.#sessionEpoch
    this.#sessionEpoch = this.#coordinator.sessionEpoch()
    this.#disconnectedAtMs = undefined
    for (const entry of this.#entriesNewestFirst()) {
      // A watch dies with its session; a read that failed may have left none either.
      if (isNewSession) entry.armed = false
      if (!entry.armed) this.#rearm.add(entry)
    }
    this.#pumpRearm()
    if (!isNewSession) void this.#confirmAll()
  }

  #entriesNewestFirst(): Entry[] {
    return [...this.#negatives.values(), ...this.#routes.values()].toReversed()
  }

  #pumpRearm(): void {
    if (this.#closed || this.#coordinator.state() !== 'connected') return
    for (const entry of this.#rearm) {
      if (this.#rearming.size >= REARMS_MAX) return
      this.#rearm.delete(entry)
      if (!entry.isReading) this.#rearming.add(entry)
      this.#read(entry)
    }
  }

  #scheduleReconcile(): void {
    const intervalMs =
      this.#options.reconcileIntervalMs * (0.8 + 0.4 * this.#runtime.random.float())
    this.#reconcileTimer = this.#runtime.timers.after(intervalMs, () => {
      void this.#confirmAll().finally(() => {
        if (!this.#closed) this.#scheduleReconcile()
      })
    })
  }

  /** Every cached entry, one after the other: trust but verify. */
  async #confirmAll(): Promise<void> {
    const sessionEpoch = this.#sessionEpoch
    for (const entry of this.#entriesNewestFirst()) {
      if (this.#closed || sessionEpoch !== this.#coordinator.sessionEpoch()) return
      if (this.#coordinator.state() !== 'connected') return
      await this.#confirm(entry)
    }
  }

  /** Compares an entry with its node, without a further watch; reads it when they differ. */
  async #confirm(entry: Entry): Promise<void> {
    if (this.#closed || entry.evicted || entry.isReading) return
    entry.negativeUntilMs = this.#runtime.clock.monotonicMs() + this.#options.negativeTtlMs
    const { reading } = entry
    let stat: NodeStat | undefined
    try {
      this.#metrics.zooKeeperReads.add()
      stat = await this.#coordinator.exists(entry.path)
    } catch {
      return
    }
    const known = entry.answer?.kind === 'missing' ? undefined : entry.modifiedZxid
    // When a watch event came in the meantime, a read is on its way.
    const isHandled = entry.reading !== reading || entry.isReading || this.#deletions.has(entry)
    if (stat?.modifiedZxid === known || isHandled) return
    this.#metrics.missedWatches.add()
    this.#read(entry)
  }
}
