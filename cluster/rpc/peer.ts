/**
 * The calling side of the RPC layer towards one server: one connection, made when a call needs it,
 * pipelined calls with deadlines, replies in any order, late replies dropped (wire.md 1, client.md
 * 3). Requests carry header v1 and the time that is left.
 *
 *   idle → connecting → open → idle …        (any → closed)
 *
 * After a failed connection `idle` refuses calls at once (ERR_NETWORK_FAILURE) until the back-off is
 * over; so a caller learns quickly that it should ask elsewhere, and has to pace itself.
 */
import { errorEntry } from '../protocol/error-codes.ts'
import {
  FrameError,
  MessageType,
  ReplyFramer,
  decodeResult,
  encodeArgument,
  encodeRequest,
} from '../protocol/frame.ts'
import { ProtocolError } from '../protocol/schema.ts'
import type { Deadline } from '../runtime/deadline.ts'
import type { Runtime, RuntimeError } from '../runtime/runtime.ts'
import { Connection } from './connection.ts'
import type { RpcSignature } from './handler.ts'
import { type PendingCall, PendingCalls } from './pending-calls.ts'
import { type LocalErrorCode, RpcError } from './rpc-error.ts'

export interface PeerOptions {
  readonly connectTimeoutMs: number
  /** Calls waiting for a connection or a reply; above it calls fail with ERR_BUSY. */
  readonly maxInflight: number
  /** Bytes of requests not yet taken by the network; above it calls fail with ERR_BUSY. */
  readonly maxBufferedBytes: number
  /** A reply above it ends the connection. */
  readonly maxFrameBytes: number
  /** First pause after a failed connection; doubles up to the maximum, with jitter of a half. */
  readonly backoffMinMs: number
  readonly backoffMaxMs: number
  /** Calls run out of time and nothing was heard for so long: the connection is given up. */
  readonly silentMs: number
}

export const peerDefaults: PeerOptions = {
  connectTimeoutMs: 3000,
  maxInflight: 10_000,
  maxBufferedBytes: 64 * 1024 * 1024,
  maxFrameBytes: 128 * 1024 * 1024,
  backoffMinMs: 50,
  backoffMaxMs: 2000,
  silentMs: 10_000,
}

export interface CallOptions {
  readonly deadline: Deadline
  /** 0 when not given, as for meta requests. */
  readonly appId?: number
  readonly partitionIndex?: number
  readonly partitionHash?: bigint
  readonly isBackupRequest?: boolean
  readonly signal?: AbortSignal | undefined
}

export interface RawReply {
  /** ERR_OK or a header error. */
  readonly errorName: string
  /** Result struct bytes, empty when there are none; a view that stays valid as long as held. */
  readonly result: Buffer
}

export type PeerState = 'idle' | 'connecting' | 'open' | 'closed'

/** A call between `#start` and its reply; what was not sent yet waits in `#queue`. */
interface Outgoing {
  readonly name: string
  readonly argument: Buffer
  readonly options: CallOptions
  readonly messageType: number
  readonly onReply: (errorName: string, result: Buffer) => void
  readonly onFailure: (error: RpcError) => void
  /** Set when it ended before it was sent. */
  ended: boolean
  /** Set when it was sent. */
  seqid: number | undefined
}

export class Peer {
  readonly address: string
  readonly #runtime: Runtime
  readonly #options: PeerOptions
  readonly #host: string
  readonly #port: number
  readonly #pending: PendingCalls
  #queue: Outgoing[] = []
  #connection: Connection | undefined
  #framer: ReplyFramer
  #framesSent = 0
  #closed = false
  #failures = 0
  #retryAtMs = 0
  #lastUsedMs: number
  /** When the first request after the last sign of life was sent. */
  #unansweredSinceMs: number | undefined

  /** `address` is `host:port`, a name or an IPv4 address. Throws RangeError when it is not. */
  constructor(
    runtime: Runtime,
    given: Partial<PeerOptions> & { readonly address: string },
  ) {
    const { address, ...options } = given
    const colon = address.lastIndexOf(':')
    this.#host = address.slice(0, Math.max(0, colon))
    this.#port = Number(address.slice(colon + 1))
    if (this.#host === '' || !Number.isInteger(this.#port) || this.#port < 1 || this.#port > 65535)
      throw new RangeError(`not a host:port address: ${JSON.stringify(address)}`)
    this.address = address
    this.#runtime = runtime
    this.#options = { ...peerDefaults, ...options }
    this.#framer = new ReplyFramer(this.#options)
    this.#lastUsedMs = runtime.clock.monotonicMs()
    this.#pending = new PendingCalls(runtime.clock, runtime.timers, (call) => {
      this.#expired(call)
    })
  }

  get state(): PeerState {
    if (this.#closed) return 'closed'
    if (this.#connection === undefined) return 'idle'
    return this.#connection.state === 'connecting' ? 'connecting' : 'open'
  }

  /** Calls that wait for a connection or a reply. */
  get inflight(): number {
    return this.#pending.size + this.#queue.length
  }

  /** Monotonic time of the last call. */
  get lastUsedMs(): number {
    return this.#lastUsedMs
  }

  /** Rejects with `RpcError`: a header error of the server, a local code, an unreadable reply. */
  call<A, R>(rpc: RpcSignature<A, R>, argument: A, options: CallOptions): Promise<R> {
    const bytes = encodeArgument(rpc.argument, argument)
    return new Promise<R>((resolve, reject) => {
      const onReply = (errorName: string, result: Buffer): void => {
        if (errorName !== 'ERR_OK') {
          reject(this.#answered(rpc.name, errorName))
          return
        }
        try {
          resolve(decodeResult(rpc.result, result))
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error
          reject(this.#local('ERR_INVALID_DATA', true, rpc.name, error.message))
        }
      }
      this.#start(rpc.name, bytes, options, onReply, reject)
    })
  }

  /**
   * `argument` is an args struct (`encodeArgument`), not to be changed before the call ends.
   * Settles with header errors as values; rejects with `RpcError` for local codes only.
   */
  callRaw(name: string, argument: Buffer, options: CallOptions): Promise<RawReply> {
    return new Promise<RawReply>((resolve, reject) => {
      const onReply = (errorName: string, result: Buffer): void => {
        resolve({ errorName, result })
      }
      this.#start(name, argument, options, onReply, reject)
    })
  }

  /** One way: connects when needed, waits for no reply, and tells nobody of a failure. */
  send<A, R>(rpc: RpcSignature<A, R>, argument: A, options: CallOptions): void {
    const bytes = encodeArgument(rpc.argument, argument)
    const ignore = (): void => undefined
    this.#start(rpc.name, bytes, options, ignore, ignore, MessageType.ONEWAY)
  }

  /** Ends every call (ERR_SESSION_RESET) and the connection. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#connection?.destroy('peer closed')
    this.#connectionEnded('peer closed', true)
  }

  #start(
    name: string,
    argument: Buffer,
    options: CallOptions,
    onReply: Outgoing['onReply'],
    onFailure: Outgoing['onFailure'],
    messageType: number = MessageType.CALL,
  ): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    this.#lastUsedMs = nowMs
    const refusal = this.#refusal(nowMs, options)
    if (refusal !== undefined) {
      onFailure(this.#local(refusal.code, false, name, refusal.reason))
      return
    }
    const call: Outgoing = {
      name,
      argument,
      options,
      messageType,
      onReply,
      onFailure,
      ended: false,
      seqid: undefined,
    }
    const { signal } = options
    const guarded = signal === undefined ? call : this.#abortable(call, signal)
    const connection = this.#connection
    if (connection?.state === 'open') this.#transmit(connection, guarded, nowMs)
    else {
      this.#queue.push(guarded)
      if (connection === undefined) this.#connect()
    }
  }

  #refusal(
    nowMs: number,
    options: CallOptions,
  ): { readonly code: LocalErrorCode; readonly reason: string } | undefined {
    if (this.#closed) return { code: 'ERR_SESSION_RESET', reason: 'peer closed' }
    if (options.signal?.aborted === true) return { code: 'ERR_ABORTED', reason: 'aborted' }
    if (options.deadline.atMs <= nowMs) return { code: 'ERR_TIMEOUT', reason: 'no time left' }
    if (this.inflight >= this.#options.maxInflight)
      return { code: 'ERR_BUSY', reason: `${this.inflight} calls in flight` }
    const connection = this.#connection
    if (connection === undefined)
      return nowMs < this.#retryAtMs
        ? { code: 'ERR_NETWORK_FAILURE', reason: 'connecting failed a moment ago' }
        : undefined
    if (connection.bufferedBytes() >= this.#options.maxBufferedBytes)
      return { code: 'ERR_BUSY', reason: `${connection.bufferedBytes()} bytes queued` }
    return undefined
  }

  /** Ends the call when the signal fires, and lets go of the signal when the call ends. */
  #abortable(call: Outgoing, signal: AbortSignal): Outgoing {
    const guarded: Outgoing = {
      ...call,
      onReply: (errorName, result) => {
        signal.removeEventListener('abort', onAbort)
        call.onReply(errorName, result)
      },
      onFailure: (error) => {
        signal.removeEventListener('abort', onAbort)
        call.onFailure(error)
      },
    }
    const onAbort = (): void => {
      let sent = false
      if (guarded.seqid === undefined) {
        guarded.ended = true
        this.#queue = this.#queue.filter((queued) => queued !== guarded)
      } else {
        const pending = this.#pending.take(guarded.seqid)
        if (pending === undefined) return
        sent = this.#left(pending)
      }
      guarded.onFailure(this.#local('ERR_ABORTED', sent, call.name, 'aborted'))
    }
    signal.addEventListener('abort', onAbort, { once: true })
    return guarded
  }

  #connect(): void {
    const connection = new Connection(this.#runtime, 'connecting', {
      onOpen: () => {
        this.#opened(connection)
      },
      onChunk: (chunk) => {
        if (this.#connection === connection) this.#received(connection, chunk)
      },
      onEnd: () => {
        connection.destroy('closed by the server')
      },
      onDrain: () => undefined,
      onClosed: (cause) => {
        if (this.#connection === connection)
          this.#connectionEnded(connection.destroyReason ?? causeText(cause), false)
      },
    })
    this.#connection = connection
    this.#framer = new ReplyFramer(this.#options)
    this.#framesSent = 0
    this.#unansweredSinceMs = undefined
    const to = {
      host: this.#host,
      port: this.#port,
      timeoutMs: this.#options.connectTimeoutMs,
    }
    connection.attach(this.#runtime.network.connect(to, connection.handlers()))
    this.#expireQueue()
  }

  /** Calls that wait for the connection have deadlines too. */
  #expireQueue(): void {
    if (this.#queue.length === 0 || this.#connection?.state !== 'connecting') return
    const nowMs = this.#runtime.clock.monotonicMs()
    const late = this.#queue.filter((call) => call.options.deadline.atMs <= nowMs)
    if (late.length > 0)
      this.#queue = this.#queue.filter((call) => call.options.deadline.atMs > nowMs)
    for (const call of late)
      call.onFailure(this.#local('ERR_TIMEOUT', false, call.name, 'while connecting'))
    this.#runtime.timers.after(QUEUE_SWEEP_MS, () => {
      this.#expireQueue()
    })
  }
}
