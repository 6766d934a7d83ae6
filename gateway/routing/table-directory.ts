/**
 * Table → cluster, from the mapping nodes in ZooKeeper (gateway.md 3). A node is read when its table
 * is first asked for and watched from then on; later questions are answered from memory. Bounded,
 * one read in flight per table, a bad value keeps the last good route, and after a session loss
 * every entry is read and watched again. Knows nothing of meta servers or of client connections.
 *
 * An entry's life: `loading` (somebody waits) → `route`, `missing` or `invalid`, and from there only
 * to another of these three; while it is read again the old answer stays.
 */
import type { Coordinator, NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { DeletionGuard } from './deletion-guard.ts'
import { EntryReader } from './entry-reader.ts'
import { Lru } from './lru.ts'
import { canonicalMetas, isTableName, parseMapping } from './mapping.ts'
import type { DirectoryMetrics } from '../metrics.ts'
import type { RouteListener, SharedRoutes } from './routes.ts'
import { SERVE } from './staleness.ts'
import { type Entry, type Lookup, newEntry, tellAll } from './table-entry.ts'
import { Verification } from './verification.ts'

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
const LOADING_MAX = 20_000

export class TableDirectory implements SharedRoutes {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #options: DirectoryOptions
  readonly #metrics: DirectoryMetrics
  readonly #routes: Lru<Entry>
  readonly #negatives: Lru<Entry>
  readonly #reader: EntryReader
  readonly #verification: Verification
  readonly #loading = new Map<string, Entry>()
  readonly #listeners = new Set<RouteListener>()
  readonly #deletions: DeletionGuard<Entry>
  readonly #metasOfCluster = new Map<string, string>()
  #epoch = 0
  #disconnectedAtMs: number | undefined
  #sessionEpoch = 0
  #closed = false
  #giveUpTimer: Timer | undefined
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
    this.#options = options
    this.#reader = new EntryReader(runtime, coordinator, metrics, {
      onValue: (entry, data, stat) => this.#onValue(entry, data, stat),
      onAbsent: (entry) => this.#onAbsent(entry),
      onFailure: (entry) => this.#onFailure(entry),
    })
    this.#verification = new Verification(runtime, coordinator, metrics, {
      intervalMs: options.reconcileIntervalMs,
      entries: () => this.#entriesNewestFirst(),
      isHandled: (entry) => this.#deletions.has(entry),
      read: (entry) => this.#reader.read(entry),
    })
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
    return this.#reader.leftoverWatches
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
    if (this.#runtime.clock.monotonicMs() >= negative.negativeUntilMs) this.#refresh(negative)
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
      this.#reader.read(entry)
    } else {
      this.#metrics.coalescedLookups.add()
      entry.waiting.push({ tell, giveUpAtMs })
    }
    this.#giveUpTimer ??= this.#runtime.timers.after(
      Math.max(0, giveUpAtMs - this.#runtime.clock.monotonicMs()),
      () => this.#giveUp(),
    )
  }

  onChange(listener: RouteListener): () => void {
    const entry: RouteListener = (table, change) => listener(table, change)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  *known(): Generator<{ readonly table: string; readonly lookup: Lookup }> {
    for (const entries of [this.#negatives, this.#routes])
      for (const { table, answer } of entries.values())
        if (answer !== undefined) yield { table, lookup: answer }
  }

  touch(tables: Iterable<string>): void {
    for (const table of tables)
      if (this.#routes.get(table) === undefined) this.#negatives.get(table)
  }

  async settled(): Promise<void> {
    await this.#reader.settled()
    await this.#deletions.judged()
  }

  /** Idempotent. Those who wait are told `unavailable`. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopListening()
    this.#giveUpTimer?.cancel()
    this.#verification.close()
    this.#deletions.close()
    for (const entry of this.#loading.values()) tellAll(entry, UNAVAILABLE)
    this.#loading.clear()
    this.#reader.close()
    this.#listeners.clear()
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
    if (entry.answer !== undefined) return
    this.#loading.delete(entry.table)
    tellAll(entry, UNAVAILABLE)
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
    this.#settle(entry, {
      kind: 'route',
      route: { table: entry.table, cluster, metas, group, stale: SERVE },
    })
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
      for (const listener of this.#listeners) listener(table, answer)
    }
    tellAll(entry, answer)
  }

  #forget(entry: Entry): void {
    this.#reader.forget(entry)
    this.#metrics.invalid.set(entry.table, false)
    this.#deletions.clear(entry)
    for (const listener of this.#listeners) listener(entry.table, 'forgotten')
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
    const entries = this.#entriesNewestFirst()
    // A watch dies with its session; a read that failed may have left none either.
    if (isNewSession) for (const entry of entries) entry.armed = false
    this.#reader.rearm(entries.filter((entry) => !entry.armed))
    if (!isNewSession) void this.#verification.confirmAll()
  }

  #entriesNewestFirst(): Entry[] {
    return [...this.#negatives.values(), ...this.#routes.values()].toReversed()
  }
}
