/**
 * One meta server's address as a group sees it: its few connections, its breaker, and what is
 * counted of it (gateway.md M-5, M-6). It dials when somebody asks for a connection; which address to
 * ask is the group's matter.
 *
 * All queries go over the first connection that is well, because one connection takes a turn's
 * queries in one write; another is there for when that one is lost or stuck.
 */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { Batch } from '../batch.ts'
import { Breaker, type BreakerState } from './breaker.ts'
import type { Hedging } from './hedging.ts'
import { MetaConnection } from './meta-connection.ts'
import type { MetaTotals } from './meta-totals.ts'

export interface PeerOptions {
  readonly connectTimeoutMs: number
  /** Connections to one meta server. */
  readonly connections: number
}

/** What all peers of a group share. */
export interface PeerGroup {
  readonly runtime: Runtime
  readonly batch: Batch
  readonly options: PeerOptions
  readonly hedging: Hedging
  readonly observeSeconds: (seconds: number) => void
  readonly onDial: (nowMs: number) => void
  /** A connection is of no more use; told before the queries on it are. */
  readonly onLost: (peer: MetaPeer) => void
  readonly onBreaker: (peer: MetaPeer, state: BreakerState) => void
}

/** For people: the debug view. */
export interface PeerView {
  readonly address: string
  readonly isLearned: boolean
  readonly breaker: BreakerState
  readonly connections: readonly {
    readonly state: 'connecting' | 'open' | 'closed'
    readonly inFlight: number
    readonly silentMs: number
  }[]
  readonly answered: number
  readonly lost: number
  readonly timedOut: number
}

/** At most two dials of one address in this time: one for the connection, one for when it is lost. */
const REDIAL_MS = 200
/** Longer without a sign of life: another connection is tried. */
const STUCK_MS = 300
/** After a loss others are asked first. */
const GONE_MS = 1000

export class MetaPeer {
  readonly address: string
  /** In no list: another meta named it as the leader (M-2). */
  isLearned: boolean
  readonly #group: PeerGroup
  /** From the first call on; closed before. */
  #breaker: Breaker | undefined
  readonly #totals: MetaTotals
  #connections: readonly MetaConnection[] = []
  /** The last dial, and the one before. */
  #dialledAtMs = -Infinity
  #dialledBeforeMs = -Infinity
  #lostAtMs = -Infinity
  /** Since the last sweep. */
  #answered = 0
  #failed = 0
  #closed = false

  constructor(group: PeerGroup, address: string, isLearned: boolean, totals: MetaTotals) {
    this.#group = group
    this.address = address
    this.isLearned = isLearned
    this.#totals = totals
  }

  get breakerState(): BreakerState {
    return this.#breaker?.state ?? 'closed'
  }

  get connectionCount(): number {
    return this.#connections.length
  }

  get connections(): readonly MetaConnection[] {
    return this.#connections
  }

  /** Whether the breaker lets a query through; see `Breaker.admits`. */
  admits(nowMs: number): boolean {
    return this.#breaker?.admits(nowMs) ?? true
  }

  /** It is asked, and has been silent for so long on all of its connections. */
  isSilent(forMs: number, nowMs: number): boolean {
    const connections = this.#connections
    return (
      connections.some((connection) => connection.silentMs(nowMs) >= forMs) &&
      connections.every((connection) => nowMs - connection.heardAtMs >= forMs)
    )
  }

  /** It has just lost its last connection. */
  isGone(nowMs: number): boolean {
    return this.#connections.length === 0 && nowMs - this.#lostAtMs < GONE_MS
  }

  /** Whether there is, or may be, a connection besides that one which is not as silent. */
  hasAnother(besides: MetaConnection, silentMs: number, nowMs: number): boolean {
    return (
      this.#connections.length < this.#group.options.connections ||
      this.#connections.some((other) => other !== besides && other.silentMs(nowMs) < silentMs)
    )
  }

  /**
   * The connection to ask on, dialled if need be; none of `besides`. Undefined when there is none
   * and none may be made now.
   */
  connection(nowMs: number, besides: readonly MetaConnection[] = []): MetaConnection | undefined {
    let best: MetaConnection | undefined
    let bestMs = Infinity
    for (const connection of this.#connections) {
      const silentMs = connection.silentMs(nowMs)
      if (besides.includes(connection) || silentMs >= bestMs) continue
      best = connection
      bestMs = silentMs
    }
    return bestMs < STUCK_MS ? best : (this.#dial(nowMs) ?? best)
  }

  /** The leader's: one more connection than is needed, before it is needed. */
  keepSpare(nowMs: number): void {
    const [first] = this.#connections
    if (first?.state === 'open' && this.#connections.length === 1) this.#dial(nowMs)
  }

  /** A query on it was given up. */
  timedOut(): void {
    this.#failed++
    this.#totals.timedOut++
  }

  /** Counts what happened since the last sweep; one call for the breaker. */
  sweep(nowMs: number): void {
    for (const connection of this.#connections) {
      connection.checkSilence(nowMs)
      this.#collect(connection, nowMs)
    }
    if (this.#answered + this.#failed > 0 && !this.#closed) this.#record(nowMs)
    this.#answered = 0
    this.#failed = 0
  }

  /** A search was answered: whatever it said, the server is there. */
  onAnswer(nowMs: number): void {
    if (this.breakerState !== 'closed') this.#breaker?.record(true, nowMs)
  }

  #record(nowMs: number): void {
    const { runtime, onBreaker } = this.#group
    this.#breaker ??= new Breaker(runtime, (state) => onBreaker(this, state))
    this.#breaker.record(this.#answered > this.#failed, nowMs)
  }

  view(nowMs: number): PeerView {
    return {
      address: this.address,
      isLearned: this.isLearned,
      breaker: this.breakerState,
      connections: this.#connections.map((connection) => ({
        state: connection.state,
        inFlight: connection.inFlight,
        silentMs: Math.round(connection.silentMs(nowMs)),
      })),
      answered: this.#totals.answered,
      lost: this.#totals.lost,
      timedOut: this.#totals.timedOut,
    }
  }

  /** Idempotent; queries on its connections are lost. */
  close(reason: string): void {
    this.#closed = true
    this.#breaker?.close()
    for (const connection of this.#connections) connection.close(reason)
  }

  #dial(nowMs: number): MetaConnection | undefined {
    const { runtime, batch, options, onDial } = this.#group
    if (this.#closed || this.#connections.length >= options.connections) return undefined
    if (nowMs - this.#dialledBeforeMs < REDIAL_MS) return undefined
    this.#dialledBeforeMs = this.#dialledAtMs
    this.#dialledAtMs = nowMs
    onDial(nowMs)
    const connection = new MetaConnection(
      runtime,
      batch,
      { address: this.address, connectTimeoutMs: options.connectTimeoutMs },
      (down, lost) => this.#onDown(down, lost),
    )
    this.#connections = [...this.#connections, connection]
    return connection
  }

  #onDown(connection: MetaConnection, lost: number): void {
    this.#connections = this.#connections.filter((other) => other !== connection)
    this.#lostAtMs = this.#group.runtime.clock.monotonicMs()
    this.#collect(connection, this.#lostAtMs)
    this.#totals.lost += lost
    // One that ends with nothing on it, as idle ones may, is no failure.
    if (!this.#closed && (lost > 0 || !connection.wasOpen)) this.#failed++
    this.#group.onLost(this)
  }

  #collect(connection: MetaConnection, nowMs: number): void {
    const answered = connection.takeAnswered()
    if (answered > 0) {
      this.#answered += answered
      this.#totals.answered += answered
      this.#group.hedging.sent(answered)
    }
    const sampleMs = connection.takeSampleMs()
    if (sampleMs === undefined) return
    this.#group.hedging.sample(sampleMs, nowMs)
    this.#group.observeSeconds(sampleMs / 1000)
  }
}
