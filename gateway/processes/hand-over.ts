/**
 * The ports of a gateway with workers (gateway.md L-1, L-2): the primary accepts and hands each
 * connection to the worker that has the fewest. It reads no byte of it, and keeps its own end until
 * the worker has acknowledged: a connection on its way to a worker that dies is closed at once,
 * where the round robin of `node:cluster` would leave it open and silent for ever. What waits for a
 * worker waits for a limited time.
 *
 * The workers never hold a listening socket, so a port is free the moment its primary has died.
 */
import { listenBare } from '../../cluster/runtime/node-network.ts'
import {
  type BareConnection,
  type Listener,
  type Runtime,
  RuntimeError,
  type Timer,
} from '../../cluster/runtime/runtime.ts'
import type { Address } from './serving-side.ts'

/** A worker as the ports see it. */
export interface Receiver {
  /** It may be given connections: warm, not draining, not overloaded. */
  readonly mayReceive: () => boolean
  /** It could be given connections but wants none now. */
  readonly isRefusing: () => boolean
  /** Connections it has, those on their way included. */
  readonly load: () => number
  readonly give: (id: number, listener: number, connection: BareConnection) => void
}

export interface HandOverCounts {
  /** Closed because their worker died before it had acknowledged them. */
  readonly lost: () => void
  /** Closed because no worker took them in time. */
  readonly untaken: () => void
  /** Closed at once because every worker is overloaded. */
  readonly overload: () => void
}

/** Given to one worker and not acknowledged; the channel sends one handle at a time anyway. */
const GIVEN_MAX = 16
const WAITING_MAX = 4096
/** With a worker that is merely slow to take it, and with none at all. */
const WAITING_MS_MAX = 4000
const ABANDONED_MS_MAX = 1000
const CHECK_MS = 100

interface Waiting {
  readonly connection: BareConnection
  readonly listener: number
  readonly sinceMs: number
  /** Somebody has it now, or it is closed. */
  readonly settled: (() => void) | undefined
}

type Given = Pick<Waiting, 'connection' | 'settled'>

interface Port extends Listener {
  /** What workers call it. */
  readonly listener: number
}

export class HandOver {
  readonly #runtime: Runtime
  readonly #counts: HandOverCounts
  /** By the address that was asked for; with port 0 all who ask get the same one. */
  readonly #ports = new Map<string, Promise<Port>>()
  readonly #openListeners = new Set<number>()
  /** With what each was given and has not acknowledged. */
  readonly #receivers = new Map<Receiver, Map<number, Given>>()
  #waiting: Waiting[] = []
  #address: Address = { host: '', port: 0 }
  #nextListener = 0
  #nextId = 0
  #checkTimer: Timer | undefined
  #isClosed = false

  constructor(runtime: Runtime, counts: HandOverCounts) {
    this.#runtime = runtime
    this.#counts = counts
  }

  /** The first port; port 0 before there is one. */
  get address(): Address {
    return this.#address
  }

  /** Opens the port unless it is open. Rejects with a RuntimeError such as EADDRINUSE. */
  async listen(at: { readonly host: string; readonly port: number }): Promise<Port> {
    if (this.#isClosed) throw new RuntimeError('EOTHER', 'the gateway is ending')
    const key = `${at.host}:${at.port}`
    let port = this.#ports.get(key)
    if (port === undefined) {
      port = this.#open(at)
      this.#ports.set(key, port)
      port.catch(() => this.#ports.delete(key))
    }
    return port
  }

  async #open(at: { readonly host: string; readonly port: number }): Promise<Port> {
    const listener = ++this.#nextListener
    const bound = await listenBare(at, (connection) => this.#onConnection(connection, listener))
    this.#openListeners.add(listener)
    if (this.#address.port === 0) this.#address = { host: bound.host, port: bound.port }
    return { ...bound, listener }
  }

  /** Closes every port but those of these listeners. */
  async keep(listeners: ReadonlySet<number>): Promise<void> {
    for (const [key, opening] of this.#ports) {
      const port = await opening
      if (listeners.has(port.listener)) continue
      this.#ports.delete(key)
      this.#openListeners.delete(port.listener)
      await port.close()
    }
  }

  join(receiver: Receiver): void {
    this.#receivers.set(receiver, new Map())
  }

  /** It died or ended: what it had not acknowledged is closed, so that those clients know. */
  leave(receiver: Receiver): void {
    const given = this.#receivers.get(receiver)
    if (given === undefined) return
    this.#receivers.delete(receiver)
    for (const { connection, settled } of given.values()) {
      this.#counts.lost()
      connection.close()
      settled?.()
    }
  }

  /** The receiver has these connections now; this process lets go of them. */
  onAccepted(receiver: Receiver, ids: readonly number[]): void {
    const given = this.#receivers.get(receiver)
    if (given === undefined) return
    for (const id of ids) {
      const { connection, settled } = given.get(id) ?? {}
      given.delete(id)
      connection?.close()
      settled?.()
    }
    this.pump()
  }

  /**
   * A worker that drains gives an open connection back. `settled` is called once, when another one
   * has it, or when it is closed.
   */
  onReturned(connection: BareConnection, listener: number, settled: () => void): void {
    if (this.#openListeners.has(listener)) this.#onConnection(connection, listener, settled)
    else {
      connection.close()
      settled()
    }
  }

  #onConnection(connection: BareConnection, listener: number, settled?: () => void): void {
    if (this.#isClosed || this.#waiting.length >= WAITING_MAX) {
      this.#counts.untaken()
      connection.close()
      settled?.()
      return
    }
    const sinceMs = this.#runtime.clock.monotonicMs()
    this.#waiting.push({ connection, listener, sinceMs, settled })
    this.pump()
  }

  /** Gives what waits to whoever may receive. */
  pump(): void {
    let taken = 0
    while (taken < this.#waiting.length) {
      const receiver = this.#leastBusy()
      const next = this.#waiting[taken]
      if (receiver === undefined || next === undefined) break
      taken++
      const id = ++this.#nextId
      this.#receivers.get(receiver)?.set(id, next)
      receiver.give(id, next.listener, next.connection)
    }
    if (taken > 0) this.#waiting.splice(0, taken)
    if (this.#waiting.length === 0) return
    if (this.#isRefused()) this.#closeWaiting(this.#waiting.length, this.#counts.overload)
    else this.#checkTimer ??= this.#runtime.timers.after(CHECK_MS, () => this.#check())
  }

  #leastBusy(): Receiver | undefined {
    let best: Receiver | undefined
    let least = Infinity
    for (const [receiver, given] of this.#receivers) {
      if (given.size >= GIVEN_MAX || !receiver.mayReceive()) continue
      const load = receiver.load()
      if (load >= least) continue
      best = receiver
      least = load
    }
    return best
  }

  /** Nobody receives, and not because they start or have not acknowledged yet. */
  #isRefused(): boolean {
    const receivers = [...this.#receivers.keys()]
    return (
      receivers.some((receiver) => receiver.isRefusing()) &&
      !receivers.some((receiver) => receiver.mayReceive())
    )
  }

  #check(): void {
    this.#checkTimer = undefined
    const isTaken = [...this.#receivers.keys()].some((receiver) => receiver.mayReceive())
    const limitMs = isTaken ? WAITING_MS_MAX : ABANDONED_MS_MAX
    const oldestMs = this.#runtime.clock.monotonicMs() - limitMs
    const overdue = this.#waiting.findIndex(({ sinceMs }) => sinceMs > oldestMs)
    this.#closeWaiting(overdue < 0 ? this.#waiting.length : overdue, this.#counts.untaken)
    this.pump()
  }

  #closeWaiting(count: number, counted: () => void): void {
    for (const { connection, settled } of this.#waiting.splice(0, count)) {
      counted()
      connection.close()
      settled?.()
    }
  }

  /** Closes the ports and whatever waits; connections that were acknowledged live on. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#checkTimer?.cancel()
    await this.keep(new Set())
    this.#closeWaiting(this.#waiting.length, this.#counts.untaken)
  }
}
