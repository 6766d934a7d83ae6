/**
 * The tables in memory and the answers in force. Two bounded maps: routes (tables that are mapped, or
 * whose node holds no mapping), and negatives (tables without a node). The answer of an entry follows
 * from its mapping, the redirects and its age (`resolution.ts`), is worked out when one of these
 * changes, and only looked up by queries. What changes together is in force before anybody is told,
 * and raises the routing epoch by one.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { ControlTree } from './control-tree.ts'
import { Lru } from './lru.ts'
import {
  answerOf,
  isSameLookup,
  policyOf,
  routeOf,
  UNAVAILABLE,
  unusableAtMs,
} from './resolution.ts'
import type { RouteListener } from './routes.ts'
import type { SavedTable } from './snapshot.ts'
import { type StalePolicy, usableMs } from './staleness.ts'
import type { Entry, Lookup, Route } from './table-entry.ts'

export interface RouteTableOptions {
  readonly routesMax: number
  readonly negativesMax: number
  /** For tables that neither have one of their own nor a group with one. */
  readonly stale: StalePolicy
}

export interface RouteTableEvents {
  readonly onEvicted: (entry: Entry) => void
  /** The answer in force is new; before other listeners hear of it. */
  readonly onAnswer: (entry: Entry, answer: Lookup) => void
}

/** Between two looks at which routes have become too old. */
const AGE_CHECK_MS_MIN = 10

export class RouteTable {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #options: RouteTableOptions & RouteTableEvents
  readonly #control: Pick<ControlTree, 'isLoaded' | 'redirect' | 'groupPolicy'>
  readonly #routes: Lru<Entry>
  readonly #negatives: Lru<Entry>
  readonly #listeners = new Set<RouteListener>()
  #epoch = 0
  #revision = 0
  /** Since when redirects and policies could not be confirmed. */
  #controlStaleSinceMs: number | undefined
  /** The session is known to have expired: suspect at once. */
  #isSessionLost = false
  #ageTimer: Timer | undefined
  #ageAtMs = Infinity
  #closed = false

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    control: Pick<ControlTree, 'isLoaded' | 'redirect' | 'groupPolicy'>,
    options: RouteTableOptions & RouteTableEvents,
  ) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'directory' })
    this.#coordinator = coordinator
    this.#control = control
    this.#options = options
    const evicted = (_table: string, entry: Entry): void => this.#evict(entry)
    this.#routes = new Lru(options.routesMax, evicted)
    this.#negatives = new Lru(options.negativesMax, evicted)
  }

  get epoch(): number {
    return this.#epoch
  }

  get revision(): number {
    return this.#revision
  }

  get routeCount(): number {
    return this.#routes.size
  }

  get negativeCount(): number {
    return this.#negatives.size
  }

  /** Counts as use. Queries come here: no promise, no object. */
  route(table: string): Entry | undefined {
    return this.#routes.get(table)
  }

  negative(table: string): Entry | undefined {
    return this.#negatives.get(table)
  }

  /** Counts as no use. */
  peek(table: string): Entry | undefined {
    return this.#routes.peek(table) ?? this.#negatives.peek(table)
  }

  /** The answer in force. */
  answer(entry: Entry): Lookup | undefined {
    return entry.isBounded && this.#isSilent(entry) ? UNAVAILABLE : entry.answer
  }

  /** Routes used longest ago first. */
  routes(): Iterable<Entry> {
    return this.#routes.values()
  }

  newestFirst(): Entry[] {
    return [...this.#negatives.values(), ...this.#routes.values()].toReversed()
  }

  *known(): Generator<{ readonly table: string; readonly lookup: Lookup }> {
    for (const entries of [this.#negatives, this.#routes])
      for (const { table, answer } of entries.values())
        if (answer !== undefined) yield { table, lookup: answer }
  }

  onChange(listener: RouteListener): () => void {
    const entry: RouteListener = (table, change) => listener(table, change)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  /** The entry's truth is new: puts it where it belongs, and its answer in force. */
  place(entry: Entry): Lookup | undefined {
    const { table } = entry
    this.#revision++
    if (entry.truth === 'missing') {
      this.#routes.delete(table)
      if (this.#negatives.peek(table) === undefined) this.#negatives.set(table, entry)
    } else {
      this.#negatives.delete(table)
      if (this.#routes.peek(table) === undefined) this.#routes.set(table, entry)
    }
    this.resolve([entry])
    return entry.answer
  }

  /** The mapped tables with the routes in force, however old, the longest unused first. */
  *saved(): Generator<SavedTable> {
    for (const entry of this.#routes.values()) {
      const route = this.#routeOf(entry)
      const { table, mapped } = entry
      if (route !== undefined && mapped !== undefined) yield { table, mapped, route }
    }
  }

  /** Its answer holds now, but nobody will tell when it no longer does. */
  drop(entry: Entry): void {
    if (this.#routes.peek(entry.table) !== entry) return
    this.#routes.delete(entry.table)
    this.#evict(entry)
  }

  /** The connection is silent since then: nothing is confirmed any more. */
  lose(sinceMs: number, isSessionLost: boolean): void {
    if (isSessionLost) this.#isSessionLost = true
    for (const entry of this.#all()) entry.staleSinceMs ??= sinceMs
    this.#controlStaleSinceMs ??= sinceMs
    this.resolve()
  }

  /** The session is back, or a new one: entries whose watches lived through it are current. */
  regain(isNewSession: boolean, isControlConfirmed: boolean): void {
    if (isNewSession) return
    for (const entry of this.#all()) if (entry.armed) entry.staleSinceMs = undefined
    if (isControlConfirmed) this.#controlStaleSinceMs = undefined
    this.resolve()
  }

  confirmControl(): void {
    if (this.#controlStaleSinceMs === undefined) return
    this.#controlStaleSinceMs = undefined
    this.resolve()
  }

  /** All is confirmed again. */
  confirmAll(): void {
    this.#isSessionLost = false
  }

  /** Works out the answers of these entries, of all without an argument. */
  resolve(entries: Iterable<Entry> = this.#all()): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    const changed: { readonly entry: Entry; readonly answer: Lookup }[] = []
    let nextMs = Infinity
    for (const entry of entries) {
      const route = this.#routeOf(entry)
      const policy = route?.stale ?? this.#options.stale
      entry.isBounded = policy.kind !== 'serve'
      let answer = answerOf(entry.truth, route)
      if (answer === undefined) continue
      if (entry.isBounded) {
        const untilMs = unusableAtMs(policy, this.#staleSinceMs(entry), this.#suspectMs())
        if (untilMs <= nowMs) answer = UNAVAILABLE
        else nextMs = Math.min(nextMs, untilMs)
      }
      if (!isSameLookup(entry.answer, answer)) changed.push({ entry, answer })
    }
    this.#put(changed)
    if (nextMs !== Infinity) this.#lookAgainAt(nextMs, nowMs)
  }

  close(): void {
    this.#closed = true
    this.#ageTimer?.cancel()
    this.#listeners.clear()
  }

  #evict(entry: Entry): void {
    this.#revision++
    this.#options.onEvicted(entry)
    for (const listener of this.#listeners) listener(entry.table, 'forgotten')
  }

  *#all(): Generator<Entry> {
    yield* this.#routes.values()
    yield* this.#negatives.values()
  }

  /** All of it is in force before anybody hears of it. */
  #put(changed: readonly { readonly entry: Entry; readonly answer: Lookup }[]): void {
    const [first] = changed
    if (first === undefined) return
    this.#epoch++
    this.#revision++
    const unusable = changed.filter(({ answer }) => answer === UNAVAILABLE).length
    if (unusable > 0) this.#log.warn('routes too old to be used', { tables: unusable })
    else if (changed.length > 1)
      this.#log.info('routes changed', { tables: changed.length, epoch: this.#epoch })
    else if (first.entry.answer?.kind === 'route' && first.answer.kind === 'route')
      this.#log.info('mapping changed', {
        table: first.entry.table,
        cluster: first.answer.route.cluster,
      })
    for (const { entry, answer } of changed) entry.answer = answer
    for (const { entry, answer } of changed) {
      this.#options.onAnswer(entry, answer)
      for (const listener of this.#listeners) listener(entry.table, answer)
    }
  }

  /** Undefined for a table that is not mapped, and while nobody knows of redirects. */
  #routeOf({ table, mapped, restored, truth }: Entry): Route | undefined {
    if (truth !== 'mapped' || mapped === undefined) return undefined
    if (!this.#control.isLoaded) return restored
    const { tableGroup } = mapped
    const ofGroup = this.#control.groupPolicy(table, tableGroup)
    const policy = policyOf(mapped.stale, ofGroup, this.#options.stale)
    return routeOf(table, mapped, this.#control.redirect(mapped.cluster, table), policy)
  }

  #staleSinceMs(entry: Entry): number | undefined {
    const control = this.#controlStaleSinceMs
    if (entry.truth !== 'mapped' || control === undefined) return entry.staleSinceMs
    return entry.staleSinceMs === undefined ? control : Math.min(control, entry.staleSinceMs)
  }

  #suspectMs(): number {
    return this.#isSessionLost ? 0 : this.#coordinator.sessionTimeoutMs()
  }

  /**
   * A process that was stopped has not noticed the silence yet, and answers queries before its timers
   * run: what may be too old is judged by the last sign of life.
   */
  #isSilent(entry: Entry): boolean {
    const sessionMs = this.#coordinator.sessionTimeoutMs()
    if (sessionMs === 0) return false
    const policy = entry.answer?.kind === 'route' ? entry.answer.route.stale : this.#options.stale
    const ageMs = this.#runtime.clock.monotonicMs() - this.#coordinator.lastAnswerAtMs()
    return ageMs > Math.max(sessionMs, usableMs(policy, sessionMs))
  }

  #lookAgainAt(atMs: number, nowMs: number): void {
    if (this.#closed || (this.#ageTimer !== undefined && this.#ageAtMs <= atMs)) return
    this.#ageTimer?.cancel()
    this.#ageAtMs = atMs
    const delayMs = Math.max(AGE_CHECK_MS_MIN, atMs - nowMs)
    this.#ageTimer = this.#runtime.timers.after(delayMs, () => {
      this.#ageTimer = undefined
      this.resolve()
    })
  }
}
