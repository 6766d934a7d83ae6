/**
 * The peers of one process by address: one connection per server, shared by all that talk to it
 * (client.md 3). Peers that nobody used for a while are closed.
 */
import type { Runtime, Timer } from '../runtime/runtime.ts'
import { Peer, type PeerOptions } from './peer.ts'

export interface PeersOptions extends Partial<PeerOptions> {
  /** A peer without calls for so long is closed. */
  readonly idleMs?: number
}

const IDLE_MS = 300_000

export class Peers {
  readonly #runtime: Runtime
  readonly #options: PeersOptions
  readonly #idleMs: number
  readonly #peers = new Map<string, Peer>()
  #sweep: Timer | undefined
  #closed = false

  constructor(runtime: Runtime, options: PeersOptions = {}) {
    this.#runtime = runtime
    this.#options = options
    this.#idleMs = options.idleMs ?? IDLE_MS
  }

  get size(): number {
    return this.#peers.size
  }

  /**
   * The peer of `host:port`, made when there is none; ask again for each call, do not keep it.
   * Throws RangeError for text that is no address. After `close` the peer given is closed too.
   */
  get(address: string): Peer {
    const known = this.#peers.get(address)
    if (known !== undefined) return known
    const peer = new Peer(this.#runtime, { ...this.#options, address })
    if (this.#closed) peer.close()
    else {
      this.#peers.set(address, peer)
      this.#scheduleSweep()
    }
    return peer
  }

  /** The same for an address that came from outside: `undefined` when no server can have it. */
  find(address: string): Peer | undefined {
    try {
      return this.get(address)
    } catch (error) {
      if (error instanceof RangeError) return undefined
      throw error
    }
  }

  /** Ends all calls and connections. Idempotent. */
  close(): void {
    this.#closed = true
    this.#sweep?.cancel()
    for (const peer of this.#peers.values()) peer.close()
    this.#peers.clear()
  }

  #scheduleSweep(): void {
    if (this.#sweep !== undefined || this.#peers.size === 0) return
    this.#sweep = this.#runtime.timers.after(this.#idleMs / 2, () => {
      this.#sweep = undefined
      const nowMs = this.#runtime.clock.monotonicMs()
      for (const [address, peer] of this.#peers) {
        if (peer.inflight > 0 || nowMs - peer.lastUsedMs < this.#idleMs) continue
        this.#peers.delete(address)
        peer.close()
      }
      this.#scheduleSweep()
    })
  }
}
