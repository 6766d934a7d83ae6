/**
 * One side of a simulated TCP connection: what the program has written and the network has not yet
 * taken, what has arrived and the program has not yet read, and how it ends. The kernel's part goes
 * on while the program is paused or dead.
 */
import type { Incarnation } from './simulated-node.ts'
import type { SimulatedNetwork } from './simulated-network.ts'
import type { SimulatedWorld } from './simulated.ts'
import { RuntimeError, type Socket, type SocketHandlers } from './runtime.ts'

export type Segment =
  | { readonly kind: 'accepted'; readonly by: Endpoint }
  | { readonly kind: 'data'; readonly bytes: Buffer }
  /** The sender will send no more. */
  | { readonly kind: 'end' }
  | { readonly kind: 'reset' }

const highWaterBytes = 64 * 1024
const segmentBytesMax = 64 * 1024
const retransmitBackoffMs = 400

export class Endpoint {
  /** Counts the endpoints of a world. */
  readonly id: number
  readonly owner: Incarnation
  readonly local: string
  readonly remote: string
  readonly attempt: string
  readonly socket: Socket
  readonly #world: SimulatedWorld
  readonly #network: SimulatedNetwork
  #handlers: SocketHandlers | undefined
  #peer: Endpoint | undefined
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  /** Written by the program, not yet sent. */
  #outgoing: Buffer[] = []
  #outgoingBytes = 0
  /** Sent, not yet read by the peer's program. */
  #onTheWayBytes = 0
  #wantsDrain = false
  #dirty = false
  #endAsked = false
  #endSent = false
  #peerEnded = false
  /** Held back by a partition, in order. */
  #held: Segment[] = []
  #retransmitting = false
  #silenced = false
  #lastArrivalMs = 0
  /** Arrived, not yet read. */
  #inbox: Segment[] = []
  #reading = true
  #readScheduled = false
  #readDeferred = false
  #closeTold = false

  constructor(
    world: SimulatedWorld,
    network: SimulatedNetwork,
    options: {
      readonly owner: Incarnation
      readonly local: string
      readonly remote: string
      readonly attempt: string
    },
  ) {
    this.id = network.nextEndpointId()
    this.#world = world
    this.#network = network
    this.owner = options.owner
    this.local = options.local
    this.remote = options.remote
    this.attempt = options.attempt
    this.socket = this.#makeSocket()
  }

  get state(): 'connecting' | 'open' | 'closed' {
    return this.#state
  }

  get peer(): Endpoint | undefined {
    return this.#peer
  }

  attach(handlers: SocketHandlers): void {
    this.#handlers = handlers
    this.#readSoon()
  }

  /** The accepting side learns of its client with the connection request. */
  pair(client: Endpoint): void {
    this.#peer = client
    this.#state = 'open'
  }

  /** Ends with a cause; with `onlyIn` only when still in that state. */
  fail(cause: RuntimeError, onlyIn?: 'connecting'): void {
    if (onlyIn !== undefined && this.#state !== onlyIn) return
    this.#close(cause)
  }

  /** The process has ended. Its kernel says so to the peer, unless the power is gone. */
  abandon(powerCut: boolean): void {
    if (this.#state === 'closed') return
    const clean = this.#network.random.chance(0.5)
    this.#state = 'closed'
    this.#closeTold = true
    this.#network.closed(this)
    if (!powerCut && this.#peer !== undefined)
      this.transmit({ kind: clean && !this.#endSent ? 'end' : 'reset' })
  }

  /** From now on nothing of this side arrives, without anybody being told. */
  silence(): void {
    this.#silenced = true
  }

  /** Hands a segment to the network, behind what is held back. */
  transmit(segment: Segment): void {
    const peer = this.#peer
    if (peer === undefined) return
    const blocked = this.#silenced || this.#network.isBlocked(this.owner.node, peer.owner.node)
    if (!blocked && this.#held.length === 0) {
      this.#lastArrivalMs = this.#network.carry(this, peer, segment, this.#lastArrivalMs)
      return
    }
    if (this.#held.length === 0) this.#watchHeld(segment)
    this.#held.push(segment)
  }

  #watchHeld(first: Segment): void {
    this.#world.after(this.#network.settings.deadPeerMs, () => {
      if (this.#held[0] !== first) return
      this.#held = []
      if (this.#state !== 'closed')
        this.#close(new RuntimeError('ETIMEDOUT', `${this.attempt}: peer does not answer`))
    })
  }

  retransmitSoon(): void {
    if (this.#held.length === 0 || this.#retransmitting || this.#silenced) return
    this.#retransmitting = true
    this.#world.after(this.#network.random.between(0, retransmitBackoffMs), () => {
      this.#retransmitting = false
      const peer = this.#peer
      if (peer === undefined || this.#network.isBlocked(this.owner.node, peer.owner.node)) return
      const held = this.#held
      this.#held = []
      for (const segment of held) this.transmit(segment)
    })
  }

  /** Sends what the program wrote, as far as the window allows. */
  flush(): void {
    this.#dirty = false
    if (this.#state !== 'open' || !this.owner.alive) return
    const { windowBytes, splitProbability, breakProbability } = this.#network.settings
    const random = this.#network.random
    while (this.#outgoing.length > 0 && this.#onTheWayBytes < windowBytes) {
      const bytes = this.#takeSegment()
      this.#onTheWayBytes += bytes.length
      if (breakProbability > 0 && random.chance(breakProbability)) {
        this.#peer?.receive({ kind: 'reset' })
        this.receive({ kind: 'reset' })
        return
      }
      if (bytes.length > 1 && random.chance(splitProbability)) {
        const at = 1 + random.below(bytes.length - 1)
        this.transmit({ kind: 'data', bytes: bytes.subarray(0, at) })
        this.transmit({ kind: 'data', bytes: bytes.subarray(at) })
      } else this.transmit({ kind: 'data', bytes })
    }
    if (this.#outgoing.length === 0 && this.#wantsDrain) {
      this.#wantsDrain = false
      this.#world.after(0.01, () => this.#tell((handlers) => handlers.onDrain()))
    }
    if (this.#outgoing.length === 0 && this.#endAsked && !this.#endSent) {
      this.#endSent = true
      this.transmit({ kind: 'end' })
      if (this.#peerEnded) this.#close(undefined)
    }
  }

  /** Always a copy: the receiver owns its chunk, and the sender may still hold its buffers. */
  #takeSegment(): Buffer {
    const taken: Buffer[] = []
    let sizeBytes = 0
    while (sizeBytes < segmentBytesMax) {
      const next = this.#outgoing[0]
      if (next === undefined) break
      const room = segmentBytesMax - sizeBytes
      taken.push(next.subarray(0, room))
      sizeBytes += Math.min(next.length, room)
      if (next.length > room) this.#outgoing[0] = next.subarray(room)
      else this.#outgoing.shift()
    }
    this.#outgoingBytes -= sizeBytes
    return Buffer.concat(taken, sizeBytes)
  }

  /** A segment has arrived at this machine. */
  receive(segment: Segment): void {
    if (segment.kind === 'accepted') {
      this.#peer ??= segment.by
      if (this.#state === 'connecting') {
        this.#state = 'open'
        this.#tell((handlers) => handlers.onConnect?.())
        this.#markDirty()
      } else if (this.#state === 'closed') this.transmit({ kind: 'reset' })
      return
    }
    if (this.#state === 'closed') {
      // Nobody is there to read it.
      if (segment.kind === 'data') this.transmit({ kind: 'reset' })
      return
    }
    if (segment.kind === 'reset') {
      this.#close(new RuntimeError('ECONNRESET', `${this.attempt}: connection reset by peer`))
      return
    }
    this.#inbox.push(segment)
    this.#read()
  }

  #readSoon(): void {
    if (this.#readScheduled) return
    this.#readScheduled = true
    this.#world.after(0.001, () => {
      this.#readScheduled = false
      this.#read()
    })
  }

  /** Hands one segment to the program; further ones follow in turns of their own. */
  #read(): void {
    if (!this.#reading || this.#handlers === undefined || this.#readScheduled) return
    if (this.owner.node.paused) {
      this.#readOnResume()
      return
    }
    const segment = this.#inbox.shift()
    if (segment === undefined) return
    if (segment.kind === 'data') {
      this.#peer?.taken(segment.bytes.length)
      this.#tell((handlers) => handlers.onData(segment.bytes))
    } else {
      this.#peerEnded = true
      this.#tell((handlers) => handlers.onEnd())
      if (this.#endSent) this.#close(undefined)
    }
    if (this.#inbox.length > 0) this.#readSoon()
  }

  #readOnResume(): void {
    if (this.#readDeferred) return
    this.#readDeferred = true
    this.owner.node.perform(this.owner, 'input', () => {
      this.#readDeferred = false
      this.#readSoon()
    })
  }

  /** The peer's program has read so much of what this side sent. */
  taken(sizeBytes: number): void {
    this.#onTheWayBytes -= sizeBytes
    if (this.#outgoing.length > 0) this.#markDirty()
  }

  #markDirty(): void {
    if (this.#dirty) return
    this.#dirty = true
    this.#network.markDirty(this)
  }

  #tell(call: (handlers: SocketHandlers) => void): void {
    this.owner.node.perform(this.owner, 'input', () => {
      if (this.#handlers !== undefined && !this.#closeTold) call(this.#handlers)
    })
  }

  #close(cause: RuntimeError | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#outgoing = []
    this.#outgoingBytes = 0
    this.#network.closed(this)
    this.#world.after(0.001, () =>
      this.owner.node.perform(this.owner, 'input', () => {
        if (this.#closeTold) return
        this.#closeTold = true
        this.#handlers?.onClose(cause)
      }),
    )
  }

  #destroy(): void {
    if (this.#state === 'closed') return
    const orderly = this.#inbox.length === 0 && this.#network.random.chance(0.5)
    this.#inbox = []
    if (this.#peer !== undefined && !(this.#endSent && this.#peerEnded))
      this.transmit({ kind: orderly && !this.#endSent ? 'end' : 'reset' })
    this.#close(undefined)
  }

  #makeSocket(): Socket {
    const endpoint = (): Endpoint => this
    return {
      get remoteAddress() {
        return endpoint().#state === 'connecting' ? '' : endpoint().remote
      },
      get localAddress() {
        return endpoint().local
      },
      write: (bytes) => {
        if (!this.owner.alive || this.#state === 'closed' || this.#endAsked) return true
        if (bytes.length > 0) {
          this.#outgoing.push(bytes)
          this.#outgoingBytes += bytes.length
          this.#markDirty()
        }
        if (this.#outgoingBytes < highWaterBytes) return true
        this.#wantsDrain = true
        return false
      },
      bufferedBytes: () => this.#outgoingBytes,
      pause: () => {
        this.#reading = false
      },
      resume: () => {
        if (!this.owner.alive || this.#reading) return
        this.#reading = true
        this.#readSoon()
      },
      end: () => {
        if (!this.owner.alive || this.#endAsked || this.#state === 'closed') return
        this.#endAsked = true
        this.#markDirty()
      },
      destroy: () => {
        if (this.owner.alive) this.#destroy()
      },
    }
  }
}
