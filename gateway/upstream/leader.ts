/**
 * Who leads a group, as far as known, and the connection that its questions go over (gateway.md M-2,
 * M-6). The connection is the one thing of all this that a query looks at.
 */
import type { Clock, Log } from '../../cluster/runtime/runtime.ts'
import type { MetaConnection } from './meta-connection.ts'
import type { MetaPeer } from './meta-peer.ts'

/** A connection silent for this long: the leader's other one takes what comes. */
const SWITCH_MS = 50

export class Leader {
  readonly #clock: Clock
  readonly #log: Log
  #peer: MetaPeer | undefined
  /** Undefined, or of `#peer`; may have closed since. */
  connection: MetaConnection | undefined
  /** Monotonic time since when it is this one. */
  sinceMs = -Infinity

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  get peer(): MetaPeer | undefined {
    return this.#peer
  }

  /** Answered as a leader does; true when it is news. */
  set(peer: MetaPeer | undefined, connection: MetaConnection): boolean {
    if (peer === undefined || connection.state !== 'open') return false
    const isKnown = this.#peer === peer
    if (isKnown && this.connection?.state === 'open') return false
    this.#peer = peer
    this.connection = connection
    if (isKnown) return false
    this.sinceMs = this.#clock.monotonicMs()
    this.#log.info('meta leader', { leader: peer.address, isListed: !peer.isLearned })
    return true
  }

  /** That one leads no longer, or does not answer. */
  drop(peer: MetaPeer | undefined): void {
    if (peer === undefined || this.#peer !== peer) return
    this.#peer = undefined
    this.connection = undefined
  }

  /** One of its connections is gone. */
  onLost(peer: MetaPeer): void {
    if (this.#peer !== peer) return
    this.connection = peer.connections.find(({ state }) => state === 'open')
    if (this.connection === undefined) this.drop(peer)
  }

  /** Now and then: off a connection that is stuck. */
  sweep(nowMs: number): void {
    const peer = this.#peer
    if (peer === undefined) return
    peer.keepSpare(nowMs)
    const current = this.connection
    if (current?.state === 'open' && current.silentMs(nowMs) < SWITCH_MS) return
    const other = peer.connection(nowMs)
    if (other?.state === 'open') this.connection = other
  }
}
