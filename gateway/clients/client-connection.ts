/**
 * One client's connection (gateway.md 2.3, W-10 to W-16): bytes to requests, answers to bytes, and
 * every limit on the way. It does not know what a request means: each one is handed to `onRequest`
 * together with this connection, and must be answered exactly once with `answer` or `skip`. Queries in
 * the usual form go to `onQuery` without becoming a frame; answers of one turn leave in one write.
 *
 *     open ── FIN or broken frame ──▶ finishing ── last answer sent ──▶ ended ──▶ closed
 */
import type { RpcAddress } from '../../cluster/protocol/base.ts'
import { FrameError } from '../../cluster/protocol/frame.ts'
import { nativeSender } from '../../cluster/protocol/native-frame.ts'
import { type AnyRequest, RequestStream } from '../../cluster/protocol/request-stream.ts'
import type {
  Runtime,
  RuntimeError,
  Socket,
  SocketHandlers,
} from '../../cluster/runtime/runtime.ts'
import type { Batch, Flushable } from '../batch.ts'
import type { Client } from './admission.ts'
import type { ClientUse } from './client-book.ts'
import type { QueryScan } from './query-scan.ts'
import type { Asker } from './round.ts'
import { type Slabs, TurnAnswers } from './turn-answers.ts'

export interface ConnectionLimits {
  readonly maxBodyBytes: number
  readonly maxMetaBytes: number
  /** Whether native requests are taken (W-19); else they are garbage (W-10). */
  readonly native: boolean
  /** Requests of one connection being worked on. */
  readonly maxInFlight: number
  /** Unsent answers beyond this stop the reading. */
  readonly maxUnsentBytes: number
  /** Unsent answers beyond the limit for this long: the connection is reset. */
  readonly slowReaderMs: number
  /** A request that has begun must be complete within this time. */
  readonly frameMs: number
  /** A connection with nothing to do for this long is ended; 0: never. */
  readonly idleMs: number
  /** How long a peer may take to close behind our FIN. */
  readonly lingerMs: number
}

export interface ConnectionEvents {
  readonly onRequest: (connection: ClientConnection, frame: AnyRequest) => void
  /** A well-formed query, as the scan found it; valid during the call. */
  readonly onQuery: (connection: ClientConnection, query: QueryScan, nowMs: number) => void
  readonly onBytes: (received: number, sent: number) => void
  /** A short word for the metric. */
  readonly onRejected: (reason: string) => void
  readonly onClosed: (connection: ClientConnection) => void
}

/** Hands sockets on to others who serve their clients from then on. */
export interface MoveOn {
  /** False while earlier ones are still on their way: who asks meanwhile would wait behind them. */
  readonly mayMove: () => boolean
  /** False when it has to end here. */
  readonly move: (socket: Socket) => boolean
}

const SPARE_ANSWERS_MAX = 256

/** What all connections of a server share. */
export interface ConnectionParts {
  readonly runtime: Runtime
  readonly batch: Batch
  readonly scan: QueryScan
  readonly slabs: Slabs
  /** Not in use at the moment; at most `SPARE_ANSWERS_MAX`. */
  readonly spareAnswers: TurnAnswers[]
  readonly limits: ConnectionLimits
  readonly events: ConnectionEvents
}

export class ClientConnection implements Asker, Flushable {
  readonly #parts: ConnectionParts
  readonly #socket: Socket
  readonly client: Client
  use: ClientUse | undefined = undefined
  readonly #requests: RequestStream
  #state: 'open' | 'finishing' | 'ended' | 'closed' = 'open'
  #inFlight = 0
  #isPaused = false
  #isReading = false
  /** Of this turn. */
  #answers: TurnAnswers | undefined
  /** Something came in since `checkTime` looked last. */
  #wasActive = true
  /** Monotonic times, 0 when the thing is not so. */
  #idleSinceMs = 0
  #frameSinceMs = 0
  #slowSinceMs = 0
  #endedAtMs = 0
  /** Behind the end: the network has taken everything. */
  #isSent = false

  constructor(parts: ConnectionParts, socket: Socket, client: Client) {
    this.#parts = parts
    this.#socket = socket
    this.client = client
    this.#requests = new RequestStream(parts.limits)
  }

  get source(): string {
    return this.client.source
  }

  get peer(): string {
    return this.client.peer
  }

  /** Our end of it, as native replies give it. */
  get localAddress(): RpcAddress {
    return nativeSender(this.#socket.localAddress)
  }

  get inFlight(): number {
    return this.#inFlight
  }

  handlers(): SocketHandlers {
    return {
      onData: (chunk) => this.#onData(chunk),
      onEnd: () => this.finish(),
      onDrain: () => this.#onDrain(),
      onClose: (cause) => this.#onClose(cause),
    }
  }

  /** The answer to one request: these bytes, not to be changed any more. */
  answer(bytes: Buffer, start: number, end: number): void {
    this.#inFlight--
    if (this.#state === 'closed' || this.#state === 'ended') return
    this.#answersOfTurn().add(bytes, start, end)
    this.#afterAnswer()
  }

  answerAlone(bytes: Buffer, start: number, end: number, seqidAt: number, seqid: number): void {
    bytes.writeInt32BE(seqid, seqidAt)
    this.answer(bytes, start, end)
  }

  answerShared(frame: Buffer, seqidAt: number, seqid: number): void {
    this.#inFlight--
    if (this.#state === 'closed' || this.#state === 'ended') return
    this.#answersOfTurn().addShared(frame, seqidAt, seqid)
    this.#afterAnswer()
  }

  #answersOfTurn(): TurnAnswers {
    if (this.#answers !== undefined) return this.#answers
    const answers = this.#parts.spareAnswers.pop() ?? new TurnAnswers()
    this.#answers = answers
    this.#parts.batch.add(this)
    return answers
  }

  /** Writes the answers of this turn, and the end behind the last one. */
  flush(): void {
    if (this.#answers !== undefined) this.#writeAnswers(this.#answers)
    if (this.#state === 'ended') this.#socket.end()
  }

  #writeAnswers(answers: TurnAnswers): void {
    this.#answers = undefined
    const { events, slabs, spareAnswers, limits, runtime } = this.#parts
    const socket = this.#socket
    events.onBytes(0, answers.bytes)
    answers.write(socket, slabs)
    if (spareAnswers.length < SPARE_ANSWERS_MAX) spareAnswers.push(answers)
    if (this.#slowSinceMs > 0 || socket.bufferedBytes() <= limits.maxUnsentBytes) return
    this.#slowSinceMs = runtime.clock.monotonicMs()
    this.#flow()
  }

  /** One request gets no answer: those that clients send without waiting for one. */
  skip(): void {
    this.#inFlight--
    this.#afterAnswer()
  }

  /** Nothing is being read, worked on, or about to be written. */
  get isIdle(): boolean {
    return (
      this.#state === 'open' &&
      this.#inFlight === 0 &&
      this.#answers === undefined &&
      this.#requests.pendingBytes === 0
    )
  }

  /**
   * Others serve the client from now on, who notices nothing; false when that cannot be, as when they
   * would not learn whose the connection is, because a balancer says that only once.
   */
  moveOn(moveOn: MoveOn): boolean {
    return (
      this.isIdle && this.client.peer === this.#socket.remoteAddress && moveOn.move(this.#socket)
    )
  }

  /** No more requests are read; what is being worked on is answered, then the connection ends. */
  finish(): void {
    if (this.#state !== 'open') return
    this.#state = 'finishing'
    this.#afterAnswer()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Looks at the clocks of this connection; called about once a second. */
  checkTime(nowMs: number): void {
    const { frameMs, slowReaderMs, idleMs, lingerMs } = this.#parts.limits
    const isOver = (sinceMs: number, limitMs: number): boolean =>
      sinceMs > 0 && nowMs - sinceMs > limitMs
    if (idleMs > 0) this.#checkIdle(nowMs)
    if (isOver(this.#frameSinceMs, frameMs)) this.#reject('slow-frame')
    else if (isOver(this.#slowSinceMs, slowReaderMs)) this.#reject('slow-reader')
    else if (this.#endedAtMs > 0) {
      // Its last answers may still be on their way to a client that reads slowly.
      const isSent = this.#socket.bufferedBytes() === 0
      if (isSent && !this.#isSent) this.#endedAtMs = nowMs
      this.#isSent = isSent
      if (isOver(this.#endedAtMs, isSent ? lingerMs : slowReaderMs)) this.#socket.destroy()
    }
  }

  #checkIdle(nowMs: number): void {
    const isIdle = !this.#wasActive && this.#inFlight === 0 && this.#state === 'open'
    this.#wasActive = false
    if (!isIdle) this.#idleSinceMs = 0
    else if (this.#idleSinceMs === 0) this.#idleSinceMs = nowMs
    else if (nowMs - this.#idleSinceMs > this.#parts.limits.idleMs) {
      this.#parts.events.onRejected('idle')
      this.finish()
    }
  }

  #reject(reason: string): void {
    this.#parts.events.onRejected(reason)
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    if (this.#state !== 'open') return
    this.#wasActive = true
    this.#parts.events.onBytes(chunk.length, 0)
    const at = this.#requests.pendingBytes === 0 ? this.#readQueries(chunk) : 0
    if (at < chunk.length) {
      // The chunk is only lent.
      this.#requests.push(Buffer.from(chunk.subarray(at)))
      this.#read()
      return
    }
    this.#frameSinceMs = 0
    this.#afterRead()
  }

  /** Hands on the queries that the scan takes; answers where it stopped. */
  #readQueries(chunk: Buffer): number {
    const scan = this.#parts.scan
    const nowMs = this.#parts.runtime.clock.monotonicMs()
    let at = 0
    this.#isReading = true
    scan.open(chunk)
    while (at < chunk.length && this.#mayRead()) {
      const end = scan.next(at)
      if (end === 0) break
      at = end
      this.#inFlight++
      this.#parts.events.onQuery(this, scan, nowMs)
    }
    this.#isReading = false
    if (at > 0) this.#requests.chooseThrift()
    return at
  }

  /** Hands on whole requests as long as the limits allow, and sees to it that bytes flow or do not. */
  #read(): void {
    if (this.#isReading || this.#state !== 'open') return
    this.#isReading = true
    let isComplete = false
    try {
      while (this.#mayRead()) {
        const frame = this.#requests.next()
        if (frame === undefined) {
          isComplete = true
          break
        }
        // What follows has its own time.
        this.#frameSinceMs = 0
        this.#inFlight++
        this.#parts.events.onRequest(this, frame)
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.#onBroken(error)
    } finally {
      this.#isReading = false
    }
    const isPartial = isComplete && this.#requests.pendingBytes > 0
    if (!isPartial) this.#frameSinceMs = 0
    else if (this.#frameSinceMs === 0) this.#frameSinceMs = this.#parts.runtime.clock.monotonicMs()
    this.#afterRead()
  }

  #afterRead(): void {
    if (this.#state === 'finishing') this.#afterAnswer()
    else this.#flow()
  }

  #mayRead(): boolean {
    return (
      this.#state === 'open' &&
      this.#inFlight < this.#parts.limits.maxInFlight &&
      this.#slowSinceMs === 0
    )
  }

  #flow(): void {
    if (this.#state !== 'open') return
    const mayRead = this.#mayRead()
    if (mayRead === !this.#isPaused) return
    this.#isPaused = !mayRead
    if (mayRead) this.#socket.resume()
    else this.#socket.pause()
  }

  /** Complete requests in front of the garbage are answered; nothing behind it is looked at. */
  #onBroken(error: FrameError): void {
    this.#parts.events.onRejected(error.reason)
    if (this.#inFlight === 0 && this.#socket.bufferedBytes() === 0) this.#socket.destroy()
    else this.finish()
  }

  #afterAnswer(): void {
    if (this.#state === 'finishing' && this.#inFlight === 0 && !this.#isReading) {
      this.#state = 'ended'
      this.#endedAtMs = this.#parts.runtime.clock.monotonicMs()
      if (this.#answers === undefined) this.#parts.batch.add(this)
      // A paused socket would never see the peer's FIN.
      if (this.#isPaused) this.#socket.resume()
      return
    }
    if (this.#isPaused || this.#requests.pendingBytes > 0) this.#read()
  }

  #onDrain(): void {
    if (this.#slowSinceMs === 0 || this.#socket.bufferedBytes() > this.#parts.limits.maxUnsentBytes)
      return
    this.#slowSinceMs = 0
    this.#read()
  }

  #onClose(_cause: RuntimeError | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#parts.events.onClosed(this)
  }
}
