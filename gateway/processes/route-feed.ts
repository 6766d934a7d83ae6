/**
 * The primary's side of the workers' route copies (gateway.md L-1): each worker begins with a full
 * copy, is told of every change of a table that it knows, and gets its questions answered. A worker
 * has one unacknowledged message at most; what changes meanwhile waits, one entry per table, so a
 * slow worker costs no more memory than the tables it knows. Knows nothing of processes.
 */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { SharedRoutes } from '../routing/routes.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { RouteChange, RoutesMessage, StateMessage } from './messages.ts'

/** Changes in one message: some 100 KB of JSON. */
const CHANGES_MAX = 500

export type FeedMessage = RoutesMessage | StateMessage

export class RouteFeed {
  readonly #runtime: Runtime
  readonly #routes: SharedRoutes
  readonly #lookupTimeoutMs: number
  readonly #suspectMs: () => number
  readonly #members = new Set<FeedMember>()
  #awaited: { readonly marks: Map<FeedMember, number>; readonly resolve: () => void }[] = []
  readonly #stopListening: () => void

  constructor(
    runtime: Runtime,
    routes: SharedRoutes,
    options: { readonly lookupTimeoutMs: number; readonly suspectMs: () => number },
  ) {
    this.#runtime = runtime
    this.#routes = routes
    this.#lookupTimeoutMs = options.lookupTimeoutMs
    this.#suspectMs = options.suspectMs
    this.#stopListening = routes.onChange((table, change) => {
      for (const member of this.#members) member.onChange(table, change)
    })
  }

  /** A worker that gets everything from now on, a full copy first, until its `leave`. */
  join(send: (message: FeedMessage) => void): FeedMember {
    const member = new FeedMember(
      {
        runtime: this.#runtime,
        routes: this.#routes,
        lookupTimeoutMs: this.#lookupTimeoutMs,
        onApplied: () => this.#checkAwaited(),
        onLeft: (left) => {
          this.#members.delete(left)
          this.#checkAwaited()
        },
      },
      send,
    )
    send(this.#state())
    this.#members.add(member)
    return member
  }

  /** Tells everybody how current the routes are. */
  tellState(): void {
    const state = this.#state()
    for (const member of this.#members) member.send(state)
  }

  #state(): StateMessage {
    return {
      type: 'state',
      epoch: this.#routes.epoch,
      staleMs: this.#routes.stalenessMs(),
      outage: this.#routes.outage,
      suspectMs: this.#suspectMs(),
    }
  }

  /** Resolves when every worker there is now has applied every change so far, or is gone. */
  applied(): Promise<void> {
    return new Promise((resolve) => {
      const marks = new Map([...this.#members].map((member) => [member, member.mark]))
      this.#awaited.push({ marks, resolve })
      this.#checkAwaited()
    })
  }

  #checkAwaited(): void {
    this.#awaited = this.#awaited.filter(({ marks, resolve }) => {
      for (const [member, mark] of marks)
        if (!this.#members.has(member) || member.appliedMark >= mark) marks.delete(member)
      if (marks.size === 0) resolve()
      return marks.size > 0
    })
  }

  close(): void {
    this.#stopListening()
    for (const member of [...this.#members]) member.leave()
  }
}

interface MemberParts {
  readonly runtime: Runtime
  readonly routes: SharedRoutes
  readonly lookupTimeoutMs: number
  readonly onApplied: () => void
  readonly onLeft: (member: FeedMember) => void
}

/** One worker's copy, as the primary sees it. */
export class FeedMember {
  readonly #parts: MemberParts
  readonly send: (message: FeedMessage) => void
  /** Tables whose changes the worker is told. */
  readonly #known = new Set<string>()
  readonly #pending = new Map<string, RouteChange>()
  #number = 0
  #unacknowledged: { readonly number: number; readonly mark: number } | undefined
  #isPumping = false
  #isWholeSent = false
  #hasLeft = false
  /** Counts what was queued; `appliedMark` is the count up to which the worker has it all. */
  #mark = 0
  #appliedMark = 0

  constructor(parts: MemberParts, send: (message: FeedMessage) => void) {
    this.#parts = parts
    this.send = send
    for (const { table, lookup } of parts.routes.known()) this.#keep(table, lookup)
    this.#pump()
  }

  get mark(): number {
    return this.#mark
  }

  get appliedMark(): number {
    return this.#appliedMark
  }

  get knownCount(): number {
    return this.#known.size
  }

  onChange(table: string, change: Lookup | 'forgotten'): void {
    if (!this.#known.has(table)) return
    if (change !== 'forgotten') this.#keep(table, change)
    else {
      this.#known.delete(table)
      const { lookup } = this.#pending.get(table) ?? {}
      // An answer that somebody may wait for is delivered all the same.
      this.#queue({ table, ...(lookup === undefined ? {} : { lookup }), isKept: false })
    }
  }

  #keep(table: string, lookup: Lookup): void {
    this.#known.add(table)
    this.#queue({ table, lookup, isKept: true })
  }

  #queue(change: RouteChange): void {
    this.#pending.set(change.table, change)
    this.#mark++
    this.#pump()
  }

  /** The worker asks; answers come with the changes, in order. */
  onLoad(tables: readonly string[]): void {
    const { routes, lookupTimeoutMs } = this.#parts
    for (const table of tables)
      routes.load(table, lookupTimeoutMs, (lookup) => {
        if (this.#hasLeft) return
        if (lookup.kind !== 'unavailable') this.#keep(table, lookup)
        // A route that may not be used now, or nothing known: told, not kept.
        else if (!this.#known.has(table)) this.#queue({ table, lookup, isKept: false })
      })
  }

  onUsed(tables: readonly string[]): void {
    this.#parts.routes.touch(tables)
  }

  onApplied(number: number): void {
    const sent = this.#unacknowledged
    if (sent?.number !== number) return
    this.#unacknowledged = undefined
    this.#appliedMark = sent.mark
    this.#parts.onApplied()
    this.#pump()
  }

  /** Gathers until the turn ends: what changes together leaves together. */
  #pump(): void {
    if (this.#isPumping || this.#unacknowledged !== undefined || this.#hasLeft) return
    if (this.#pending.size === 0 && this.#isWholeSent) return
    this.#isPumping = true
    this.#parts.runtime.timers.soon(() => {
      this.#isPumping = false
      if (!this.#hasLeft) this.#sendChanges()
    })
  }

  #sendChanges(): void {
    const changes: RouteChange[] = []
    for (const change of this.#pending.values()) {
      if (changes.length === CHANGES_MAX) break
      changes.push(change)
      this.#pending.delete(change.table)
    }
    const isAll = this.#pending.size === 0
    const isWhole = isAll && !this.#isWholeSent
    if (isWhole) this.#isWholeSent = true
    const number = ++this.#number
    // Of a part it cannot be said up to which count the worker has everything.
    this.#unacknowledged = { number, mark: isAll ? this.#mark : this.#appliedMark }
    const { epoch } = this.#parts.routes
    this.send({ type: 'routes', number, epoch, isWhole, isPart: !isAll, changes })
  }

  leave(): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    this.#pending.clear()
    this.#known.clear()
    this.#parts.onLeft(this)
  }
}
