/**
 * One socket with named states, used by both sides of the RPC layer. Bytes sent during one turn of
 * the event loop are gathered and leave in one write. This file knows nothing of frames: what is
 * read goes to `onChunk`, what is sent is opaque.
 *
 *   connecting → open → finishing → lingering → closed        (any state → closed)
 *
 * `open`       reads and writes.
 * `finishing`  no request is taken any more (half close by the other side, garbage, drain); answers
 *              still go out.
 * `lingering`  everything was handed to the network and our side is half closed; what still
 *              arrives is thrown away, so that no reset destroys the last answers on their way.
 * `closed`     final; `onClosed` was called once.
 */
import type { Runtime, RuntimeError, Socket, SocketHandlers } from '../runtime/runtime.ts'

export type ConnectionState = 'connecting' | 'open' | 'finishing' | 'lingering' | 'closed'

export interface ConnectionEvents {
  readonly onOpen: () => void
  /** A chunk in state `open`; it belongs to the receiver. */
  readonly onChunk: (chunk: Buffer) => void
  /** The other side will send no more. The connection is still `open`: call `finish` when done. */
  readonly onEnd: () => void
  /** The network took what was written: room for more output. */
  readonly onDrain: () => void
  readonly onClosed: (cause: RuntimeError | undefined) => void
}

export class Connection {
  readonly #runtime: Runtime
  readonly #events: ConnectionEvents
  #socket: Socket | undefined
  #state: ConnectionState
  #outgoing: Buffer[] = []
  #outgoingBytes = 0
  #flushScheduled = false
  #readingPaused = false
  /** Frames given to `send` that were handed to the socket. */
  #flushedFrames = 0
  #stalledSinceMs: number | undefined
  #lingerSinceMs = 0
  #destroyReason: string | undefined

  /** Give the handlers of `handlers()` to the network, then the socket to `attach`. */
  constructor(runtime: Runtime, state: 'connecting' | 'open', events: ConnectionEvents) {
    this.#runtime = runtime
    this.#state = state
    this.#events = events
  }

  get state(): ConnectionState {
    return this.#state
  }

  get remoteAddress(): string {
    return this.#socket?.remoteAddress ?? ''
  }

  /** How many of the buffers given to `send` have left for the network: their effect is unknown. */
  get flushedFrames(): number {
    return this.#flushedFrames
  }

  /** Why `destroy` was called, for messages. */
  get destroyReason(): string | undefined {
    return this.#destroyReason
  }

  handlers(): SocketHandlers {
    return {
      onConnect: () => {
        if (this.#state !== 'connecting') return
        this.#state = 'open'
        this.#events.onOpen()
      },
      onData: (chunk) => {
        if (this.#state === 'open' && this.#destroyReason === undefined) this.#events.onChunk(chunk)
      },
      onEnd: () => {
        if (this.#state === 'open') this.#events.onEnd()
        else if (this.#state === 'lingering') this.#socket?.destroy()
      },
      onDrain: () => {
        this.#stalledSinceMs = undefined
        if (this.#state !== 'closed') this.#events.onDrain()
      },
      onClose: (cause) => {
        this.#closed(cause)
      },
    }
  }

  attach(socket: Socket): void {
    this.#socket = socket
    if (this.#destroyReason !== undefined) socket.destroy()
  }

  /** Queues one frame for the write at the end of this turn; dropped when nothing can be sent. */
  send(frame: Buffer): void {
    if (this.#state !== 'open' && this.#state !== 'finishing') return
    if (this.#destroyReason !== undefined) return
    this.#outgoing.push(frame)
    this.#outgoingBytes += frame.length
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    this.#runtime.timers.soon(() => {
      this.#flush()
    })
  }

  /** Bytes accepted by `send` and not yet taken by the network. */
  bufferedBytes(): number {
    return this.#outgoingBytes + (this.#socket?.bufferedBytes() ?? 0)
  }

  pauseReading(): void {
    if (this.#readingPaused) return
    this.#readingPaused = true
    this.#socket?.pause()
  }

  resumeReading(): void {
    if (!this.#readingPaused) return
    this.#readingPaused = false
    this.#socket?.resume()
  }

  /** No more input is wanted; what was sent and is yet to be sent still goes out. */
  stopTaking(): void {
    if (this.#state === 'open') this.#state = 'finishing'
  }

  /** Half closes after everything sent so far, then lingers until the other side closes too. */
  finish(): void {
    if (this.#state !== 'open' && this.#state !== 'finishing') return
    this.#flush()
    if (this.#socket === undefined) return
    this.#state = 'lingering'
    this.#lingerSinceMs = this.#runtime.clock.monotonicMs()
    this.resumeReading()
    this.#socket.end()
  }

  /** Closes at once and drops what is queued. `onClosed` follows in a later turn. */
  destroy(reason: string): void {
    if (this.#state === 'closed') return
    this.#destroyReason ??= reason
    // What was counted as not sent must not be sent by the flush that is still to come.
    this.#outgoing = []
    this.#outgoingBytes = 0
    this.#socket?.destroy()
  }

  /**
   * To be called now and then: resets a reader that took nothing of our output for `stalledMs`, and
   * a lingering connection after `lingerMs`.
   */
  checkTime(
    nowMs: number,
    limits: { readonly stalledMs: number; readonly lingerMs: number },
  ): void {
    if (this.#stalledSinceMs !== undefined && nowMs - this.#stalledSinceMs >= limits.stalledMs)
      this.destroy(`took no output for ${limits.stalledMs} ms`)
    else if (this.#state === 'lingering' && nowMs - this.#lingerSinceMs >= limits.lingerMs)
      this.destroy('lingered long enough')
  }

  #flush(): void {
    this.#flushScheduled = false
    const frames = this.#outgoing
    const [first] = frames
    if (first === undefined || this.#socket === undefined || this.#state === 'closed') return
    const bytes = frames.length === 1 ? first : Buffer.concat(frames, this.#outgoingBytes)
    this.#flushedFrames += frames.length
    this.#outgoing = []
    this.#outgoingBytes = 0
    if (!this.#socket.write(bytes)) this.#stalledSinceMs ??= this.#runtime.clock.monotonicMs()
    else if (this.#stalledSinceMs === undefined) this.#events.onDrain()
  }

  #closed(cause: RuntimeError | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#outgoing = []
    this.#outgoingBytes = 0
    this.#stalledSinceMs = undefined
    this.#events.onClosed(cause)
  }
}
