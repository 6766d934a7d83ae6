/**
 * One accepted connection of an `RpcServer`: bytes to requests, requests to handlers, answers back
 * in the order of their completion (wire.md 1: replies are matched by seqid), each in the form of its
 * request.
 *
 * Memory is bounded by the limits below: above any of them the socket is not read until answers
 * have left. A client that breaks the framing gets the answers to what it asked before, then the
 * connection ends; it is never resynchronised.
 */
import type { RpcAddress } from '../protocol/base.ts'
import { FrameError } from '../protocol/frame.ts'
import { nativeSender } from '../protocol/native-frame.ts'
import { type AnyRequest, RequestStream, encodeAnswer } from '../protocol/request-stream.ts'
import type { Runtime, Socket, SocketHandlers } from '../runtime/runtime.ts'
import { Connection, type ConnectionState } from './connection.ts'
import { type Answer, type RawHandler, Reply, type RpcRequest } from './handler.ts'

export interface SessionLimits {
  /** Requests being worked on; above it the socket is not read. */
  readonly maxInflightPerConnection: number
  /** Argument bytes of those requests; one request alone may exceed it. */
  readonly maxInflightBytesPerConnection: number
  /** Unsent answers; above it the socket is not read. */
  readonly maxBufferedBytesPerConnection: number
  /** Body of one request; above it the connection is closed. */
  readonly maxFrameBytes: number
  /** Unsent answers that do not drain for so long: reset. */
  readonly stalledMs: number
  /** A started frame must be complete after so long. */
  readonly frameMs: number
  /** A connection without requests is closed after so long; 0 = never. */
  readonly idleMs: number
}

export interface SessionOwner {
  readonly runtime: Runtime
  readonly limits: SessionLimits
  readonly handlerOf: (name: string) => RawHandler | undefined
  /** A handler that threw is a defect: the owner logs; the client gets ERR_UNKNOWN. */
  readonly onDefect: (name: string, error: unknown) => void
  readonly onClosed: (session: Session, reason: string) => void
}

const MAX_META_BYTES = 4096
const LINGER_MS = 1000

export class Session {
  readonly #owner: SessionOwner
  readonly #connection: Connection
  readonly #requests: RequestStream
  /** Our own address, as native replies give it. */
  #self: RpcAddress = ''
  #inflight = 0
  #inflightBytes = 0
  #taking = false
  #ending = false
  #endReason = 'closed by the client'
  #lastRequestMs: number
  #frameSinceMs: number | undefined

  constructor(owner: SessionOwner) {
    this.#owner = owner
    this.#lastRequestMs = owner.runtime.clock.monotonicMs()
    this.#requests = new RequestStream({
      maxBodyBytes: owner.limits.maxFrameBytes,
      maxMetaBytes: MAX_META_BYTES,
      native: true,
    })
    this.#connection = new Connection(owner.runtime, 'open', {
      onOpen: () => undefined,
      onChunk: (chunk) => {
        this.#requests.push(chunk)
        this.#takeRequests()
      },
      onEnd: () => {
        // The half close may stand behind requests that wait for others to finish.
        this.#ending = true
        this.#takeRequests()
        this.#finishWhenAnswered()
      },
      onDrain: () => {
        this.#takeRequests()
        this.#finishWhenAnswered()
      },
      onClosed: (cause) => {
        owner.onClosed(this, this.#connection.destroyReason ?? cause?.message ?? this.#endReason)
      },
    })
  }

  get state(): ConnectionState {
    return this.#connection.state
  }

  get peer(): string {
    return this.#connection.remoteAddress
  }

  get inflight(): number {
    return this.#inflight
  }

  attach(socket: Socket): SocketHandlers {
    this.#connection.attach(socket)
    this.#self = nativeSender(socket.localAddress)
    return this.#connection.handlers()
  }

  /** Takes no further request; ends the connection when those in flight are answered. */
  drain(): void {
    this.#stopTaking('drained')
  }

  destroy(reason: string): void {
    this.#connection.destroy(reason)
  }

  /** Called by the owner's sweep, about once a second. */
  checkTime(nowMs: number): void {
    const { stalledMs, frameMs, idleMs } = this.#owner.limits
    this.#connection.checkTime(nowMs, { stalledMs, lingerMs: LINGER_MS })
    if (this.#connection.state !== 'open') return
    const blocked = this.#isFull()
    if (this.#requests.pendingBytes === 0 || blocked) this.#frameSinceMs = undefined
    else if (this.#frameSinceMs === undefined) this.#frameSinceMs = nowMs
    else if (nowMs - this.#frameSinceMs >= frameMs) {
      this.#connection.destroy(`a frame was not complete after ${frameMs} ms`)
      return
    }
    if (idleMs > 0 && this.#inflight === 0 && nowMs - this.#lastRequestMs >= idleMs)
      this.#stopTaking(`idle for ${idleMs} ms`)
  }

  #isFull(): boolean {
    const { limits } = this.#owner
    return (
      this.#inflight >= limits.maxInflightPerConnection ||
      this.#inflightBytes >= limits.maxInflightBytesPerConnection ||
      this.#connection.bufferedBytes() >= limits.maxBufferedBytesPerConnection
    )
  }

  /** The one loop that turns bytes into requests; entered again when a limit is free. */
  #takeRequests(): void {
    // A handler that answers at once comes back here through #answered: this loop goes on anyway.
    if (this.#taking) return
    this.#taking = true
    try {
      while (this.#connection.state === 'open') {
        if (this.#isFull()) {
          this.#connection.pauseReading()
          return
        }
        const frame = this.#requests.next()
        if (frame === undefined) {
          this.#connection.resumeReading()
          return
        }
        this.#frameSinceMs = undefined
        this.#dispatch(frame)
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.#stopTaking(`protocol violation: ${error.message}`)
    } finally {
      this.#taking = false
    }
  }

  #dispatch(frame: AnyRequest): void {
    const { name, header } = frame
    const handler = this.#owner.handlerOf(name)
    if (handler === undefined) {
      this.#reply(frame, 'ERR_HANDLER_NOT_FOUND', undefined)
      return
    }
    const receivedAtMs = this.#owner.runtime.clock.monotonicMs()
    this.#lastRequestMs = receivedAtMs
    const timeoutMs = header.clientTimeoutMs
    const request: RpcRequest = {
      name,
      appId: header.appId,
      partitionIndex: header.partitionIndex,
      partitionHash: header.partitionHash,
      clientTimeoutMs: timeoutMs,
      isBackupRequest: header.isBackupRequest,
      receivedAtMs,
      deadlineAtMs: timeoutMs > 0 ? receivedAtMs + timeoutMs : Infinity,
      peer: this.#connection.remoteAddress,
      argumentBytes: frame.argument,
      native: frame.kind === 'native' ? frame.native : undefined,
    }
    let answer: Answer<Buffer> | Promise<Answer<Buffer>>
    try {
      answer = handler(request)
    } catch (error) {
      answer = this.#defect(name, error)
    }
    if (!(answer instanceof Promise)) {
      this.#send(frame, answer)
      return
    }
    this.#inflight++
    this.#inflightBytes += frame.argument.length
    answer
      .catch((error: unknown) => this.#defect(name, error))
      .then((settled) => {
        this.#answered(frame, settled)
      })
      .catch((error: unknown) => {
        this.#owner.onDefect(name, error)
        this.destroy('defect')
      })
  }

  #answered(frame: AnyRequest, answer: Answer<Buffer>): void {
    this.#inflight--
    this.#inflightBytes -= frame.argument.length
    this.#send(frame, answer)
    if (this.#connection.state === 'open') this.#takeRequests()
    this.#finishWhenAnswered()
  }

  #send(frame: AnyRequest, answer: Answer<Buffer>): void {
    if (!(answer instanceof Reply)) this.#reply(frame, 'ERR_OK', answer)
    else if (answer.errorName !== undefined)
      this.#reply(frame, answer.errorName, answer.encoded ?? answer.result)
  }

  #reply(frame: AnyRequest, errorName: string, result: Buffer | undefined): void {
    this.#connection.send(encodeAnswer(frame, this.#self, errorName, result))
  }

  #defect(name: string, error: unknown): Reply {
    this.#owner.onDefect(name, error)
    return new Reply('ERR_UNKNOWN')
  }

  #stopTaking(reason: string): void {
    if (this.#connection.state !== 'open') return
    this.#endReason = reason
    this.#ending = true
    this.#connection.stopTaking()
    this.#connection.pauseReading()
    this.#finishWhenAnswered()
  }

  #finishWhenAnswered(): void {
    if (!this.#ending || this.#inflight > 0) return
    // Complete requests may still wait in the framer, held back by the limit on unsent answers.
    if (this.#connection.state === 'open' && this.#isFull()) return
    this.#connection.finish()
  }
}
