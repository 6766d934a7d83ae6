/**
 * A worker's routes: a copy of what the primary's table directory knows (gateway.md L-1). Tables that
 * are not in the copy are asked of the primary, one question each however many wait; from then on
 * the primary tells of every change, and of evictions, so the copy is bounded by the primary's own
 * bounds. Knows nothing of processes: messages come and go through two functions.
 *
 * When the primary is gone or silent the copy grows old, exactly as the directory does when
 * ZooKeeper is gone, and the tables' staleness policies hold here too.
 */
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { isTableName } from '../routing/mapping.ts'
import type { Routes } from '../routing/routes.ts'
import { usableMs } from '../routing/staleness.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { FromWorker, RouteChange, RoutesMessage, StateMessage } from './messages.ts'

const MISSING: Lookup = { kind: 'missing' }
const UNAVAILABLE: Lookup = { kind: 'unavailable' }
const LOADING_MAX = 20_000
/** The primary says every half second how current it is; silent for longer, it is not. */
export const SILENCE_MS = 3000
/** Names in one message. */
const NAMES_MAX = 1000
/** Longest table name in a question; the protocol allows no longer one. */
const NAME_MAX = 255

interface Known {
  readonly lookup: Lookup
  isUsed: boolean
}

interface Waiter {
  readonly tell: (lookup: Lookup) => void
  readonly giveUpAtMs: number
}

export class WorkerRoutes implements Routes {
  readonly #runtime: Runtime
  readonly #lookupTimeoutMs: number
  readonly #send: (message: FromWorker) => void
  readonly #known = new Map<string, Known>()
  readonly #waiting = new Map<string, Waiter[]>()
  #asking: string[] = []
  /** Of changes that are not complete; as many as the primary knows tables at most. */
  #parts: RouteChange[] = []
  #routeCount = 0
  #epoch = 0
  #revision = 0
  #outage = false
  /** The age of the routes at `#stateAtMs`, and when it was told. */
  #staleMs = 0
  #stateAtMs: number
  #suspectMs = 0
  /** Some staleness policy may forbid a route now: looked at by every sign of life and by age. */
  #isOld = false
  #isWhole = false
  #isOrphan = false
  #isClosed = false
  #giveUpTimer: Timer | undefined
  #giveUpAtMs = 0

  constructor(
    runtime: Runtime,
    options: {
      readonly lookupTimeoutMs: number
      /** Delivers in order, or not at all when the primary is gone. */
      readonly send: (message: FromWorker) => void
    },
  ) {
    this.#runtime = runtime
    this.#lookupTimeoutMs = options.lookupTimeoutMs
    this.#send = options.send
    this.#stateAtMs = runtime.clock.monotonicMs()
  }

  get epoch(): number {
    return this.#epoch
  }

  get revision(): number {
    return this.#revision
  }

  get routeCount(): number {
    return this.#routeCount
  }

  get negativeCount(): number {
    return this.#known.size - this.#routeCount
  }

  get outage(): boolean {
    return this.#outage
  }

  /** The full copy that a worker begins with has arrived. */
  get isWhole(): boolean {
    return this.#isWhole
  }

  stalenessMs(): number {
    const silentMs = this.#runtime.clock.monotonicMs() - this.#stateAtMs
    if (this.#staleMs > 0 || this.#isOrphan) return this.#staleMs + silentMs
    return silentMs > SILENCE_MS ? silentMs : 0
  }

  find(table: string): Lookup | undefined {
    const known = this.#known.get(table)
    if (known === undefined) return isTableName(table) ? undefined : MISSING
    known.isUsed = true
    return this.#isOld ? this.#ifUsable(known.lookup) : known.lookup
  }

  #ifUsable(lookup: Lookup): Lookup {
    if (lookup.kind !== 'route') return lookup
    const isUsable = this.stalenessMs() <= usableMs(lookup.route.stale, this.#suspectMs)
    return isUsable ? lookup : UNAVAILABLE
  }

  load(table: string, budgetMs: number, tell: (lookup: Lookup) => void): void {
    const known = this.find(table)
    if (known !== undefined) {
      tell(known)
      return
    }
    const isTooMuch = this.#waiting.size >= LOADING_MAX || table.length > NAME_MAX
    if (isTooMuch || this.#isOrphan || this.#isClosed) {
      tell(UNAVAILABLE)
      return
    }
    const nowMs = this.#runtime.clock.monotonicMs()
    const waiter = { tell, giveUpAtMs: nowMs + Math.min(budgetMs, this.#lookupTimeoutMs) }
    const others = this.#waiting.get(table)
    if (others !== undefined) others.push(waiter)
    else {
      this.#waiting.set(table, [waiter])
      this.#ask(table)
    }
    this.#wakeAt(waiter.giveUpAtMs, nowMs)
  }

  #wakeAt(atMs: number, nowMs: number): void {
    if (this.#giveUpTimer !== undefined && this.#giveUpAtMs <= atMs) return
    this.#giveUpTimer?.cancel()
    this.#giveUpAtMs = atMs
    this.#giveUpTimer = this.#runtime.timers.after(atMs - nowMs, () => this.#giveUp())
  }

  /** What was asked for in one turn leaves in one message. */
  #ask(table: string): void {
    if (this.#asking.push(table) > 1) return
    this.#runtime.timers.soon(() => {
      const tables = this.#asking
      this.#asking = []
      for (let at = 0; at < tables.length; at += NAMES_MAX)
        this.#send({ type: 'load', tables: tables.slice(at, at + NAMES_MAX) })
    })
  }

  #giveUp(): void {
    this.#giveUpTimer = undefined
    const nowMs = this.#runtime.clock.monotonicMs()
    let nextMs = Infinity
    for (const [table, waiters] of this.#waiting) {
      const left = waiters.filter((waiter) => waiter.giveUpAtMs > nowMs)
      if (left.length === 0) this.#waiting.delete(table)
      else this.#waiting.set(table, left)
      for (const waiter of waiters) if (waiter.giveUpAtMs <= nowMs) waiter.tell(UNAVAILABLE)
      for (const waiter of left) nextMs = Math.min(nextMs, waiter.giveUpAtMs)
    }
    if (nextMs !== Infinity && !this.#isClosed) this.#wakeAt(nextMs, nowMs)
  }

  /** Takes over what the primary tells, and acknowledges it. */
  receive(message: RoutesMessage | StateMessage): void {
    if (this.#isClosed) return
    if (message.type === 'state') this.#onState(message)
    else {
      for (const change of message.changes) this.#parts.push(change)
      if (!message.isPart) {
        // A redirect of thousands of tables comes in parts and is in force at once (DR-30).
        const changes = this.#parts
        this.#parts = []
        this.#epoch = message.epoch
        this.#revision++
        for (const change of changes) this.#onChange(change)
      }
      if (message.isWhole) this.#isWhole = true
      this.#send({ type: 'applied', number: message.number })
    }
  }

  #onState(message: StateMessage): void {
    if (this.#parts.length === 0) this.#epoch = message.epoch
    this.#staleMs = message.staleMs
    this.#outage = message.outage
    this.#suspectMs = message.suspectMs
    this.#stateAtMs = this.#runtime.clock.monotonicMs()
    this.#isOld = message.staleMs > 0
  }

  #onChange({ table, lookup, isKept }: RouteChange): void {
    const old = this.#known.get(table)
    if (old?.lookup.kind === 'route') this.#routeCount--
    this.#known.delete(table)
    if (lookup !== undefined && isKept) {
      this.#known.set(table, { lookup, isUsed: false })
      if (lookup.kind === 'route') this.#routeCount++
    }
    if (lookup === undefined) return
    const waiters = this.#waiting.get(table)
    if (waiters === undefined) return
    this.#waiting.delete(table)
    const usable = this.#isOld ? this.#ifUsable(lookup) : lookup
    for (const waiter of waiters) waiter.tell(usable)
  }

  /** Looks at the age of the copy and tells the primary what is in use; called now and then. */
  checkAge(): void {
    this.#isOld = this.stalenessMs() > 0
  }

  reportUse(): void {
    let tables: string[] = []
    for (const [table, known] of this.#known) {
      if (!known.isUsed) continue
      known.isUsed = false
      if (tables.push(table) < NAMES_MAX) continue
      this.#send({ type: 'used', tables })
      tables = []
    }
    if (tables.length > 0) this.#send({ type: 'used', tables })
  }

  /** The primary is gone for good: known tables are served on, others are unavailable. */
  orphan(): void {
    this.#isOrphan = true
    this.#isOld = true
    this.#tellAllUnavailable()
  }

  close(): void {
    this.#isClosed = true
    this.#tellAllUnavailable()
  }

  #tellAllUnavailable(): void {
    this.#giveUpTimer?.cancel()
    this.#giveUpTimer = undefined
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const waiters of waiting) for (const waiter of waiters) waiter.tell(UNAVAILABLE)
  }
}
