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
  ReplyFramer,
  decodeResult,
  encodeArgument,
  encodeRequest,
} from '../protocol/frame.ts'
import { ProtocolError } from '../protocol/schema.ts'
import type { Deadline } from '../runtime/deadline.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { Connection } from './connection.ts'
import type { RpcSignature } from './handler.ts'
import { type PendingCall, PendingCalls } from './pending-calls.ts'
import { type LocalErrorCode, RpcError } from './rpc-error.ts'
import { SilenceWatch } from './silence-watch.ts'

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
  /**
   * Nothing heard for so long while calls wait: the connection is given up, as its server may be
   * frozen or cut off. Half way a probe is sent, which any server that lives answers at once, so
   * that slow operations do not count as silence.
   */
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

/** No server has a handler for it; all answer ERR_HANDLER_NOT_FOUND. */
export const PROBE_NAME = 'RPC_PEER_PROBE'
const NO_ARGUMENT = Buffer.from([0])

export type PeerState = 'idle' | 'connecting' | 'open' | 'closed'

/** The header's field is an i32; a longer budget is of no use to a server. */
const CLIENT_TIMEOUT_MS_MAX = 0x7fffffff

/** A request that waits for the connection. */
interface QueuedRequest {
  readonly seqid: number
  readonly name: string
  readonly argument: Buffer
  readonly options: CallOptions
  readonly wantsReply: boolean
}

type OnReply = PendingCall['onReply']
type OnFailure = PendingCall['onFailure']

export class Peer {
  readonly address: string
  readonly #runtime: Runtime
  readonly #options: PeerOptions
  readonly #host: string
  readonly #port: number
  readonly #pending: PendingCalls
  #queue: QueuedRequest[] = []
  #connection: Connection | undefined
  #framer: ReplyFramer
  #framesSent = 0
  #closed = false
  #failures = 0
  #retryAtMs = 0
  #lastUsedMs: number
  #watch: SilenceWatch | undefined

  /** `address` is `host:port`, a name or an IPv4 address. Throws RangeError when it is not. */
  constructor(runtime: Runtime, given: Partial<PeerOptions> & { readonly address: string }) {
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
    return this.#pending.size
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

  /**
   * Connects when needed, waits for no reply, and tells nobody of a failure. Sent as an ordinary
   * CALL, as the official clients send clear_scanner.
   */
  send<A, R>(rpc: RpcSignature<A, R>, argument: A, options: CallOptions): void {
    const bytes = encodeArgument(rpc.argument, argument)
    const ignore = (): void => undefined
    this.#start(rpc.name, bytes, options, ignore, ignore, false)
  }

  /** Ends every call (ERR_SESSION_RESET) and the connection. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#connection !== undefined) this.#lost(this.#connection, 'peer closed')
  }

  #start(
    name: string,
    argument: Buffer,
    options: CallOptions,
    onReply: OnReply,
    onFailure: OnFailure,
    wantsReply = true,
  ): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    this.#lastUsedMs = nowMs
    const refusal = this.#refusal(nowMs, options)
    if (refusal !== undefined) {
      onFailure(this.#local(refusal.code, false, name, refusal.reason))
      return
    }
    const seqid = this.#pending.allocateSeqid()
    if (wantsReply) {
      const { signal, deadline } = options
      this.#pending.add(seqid, {
        name,
        deadlineAtMs: deadline.atMs,
        onReply,
        onFailure,
        signal,
        onAbort: signal === undefined ? undefined : () => this.#aborted(seqid),
        frameNumber: Infinity,
      })
    }
    const request: QueuedRequest = { seqid, name, argument, options, wantsReply }
    const connection = this.#connection
    if (connection?.state === 'open') this.#transmit(connection, request)
    else {
      this.#queue.push(request)
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
    if (Math.max(this.#pending.size, this.#queue.length) >= this.#options.maxInflight)
      return { code: 'ERR_BUSY', reason: `${this.#options.maxInflight} calls in flight` }
    const connection = this.#connection
    if (connection === undefined)
      return nowMs < this.#retryAtMs
        ? { code: 'ERR_NETWORK_FAILURE', reason: 'connecting failed a moment ago' }
        : undefined
    if (connection.bufferedBytes() >= this.#options.maxBufferedBytes)
      return { code: 'ERR_BUSY', reason: `${connection.bufferedBytes()} bytes queued` }
    return undefined
  }

  #connect(): void {
    const connection: Connection = new Connection(this.#runtime, 'connecting', {
      onOpen: () => {
        if (this.#connection === connection) this.#opened(connection)
      },
      onChunk: (chunk) => {
        if (this.#connection === connection) this.#received(connection, chunk)
      },
      onEnd: () => {
        this.#lost(connection, 'closed by the server')
      },
      onDrain: () => undefined,
      onClosed: (cause) => {
        this.#lost(connection, cause?.message ?? 'connection closed')
      },
    })
    this.#connection = connection
    this.#framer = new ReplyFramer(this.#options)
    this.#framesSent = 0
    this.#watch = new SilenceWatch(this.#runtime, this.#options.silentMs, {
      isWaiting: () => this.#pending.size > 0,
      probe: () => {
        this.#probe(connection)
      },
      onSilent: (silentMs) => {
        this.#lost(connection, `nothing heard for ${Math.round(silentMs)} ms`)
      },
    })
    const timeoutMs = this.#options.connectTimeoutMs
    const to = { host: this.#host, port: this.#port, timeoutMs }
    connection.attach(this.#runtime.network.connect(to, connection.handlers()))
  }

  #opened(connection: Connection): void {
    const queue = this.#queue
    this.#queue = []
    for (const request of queue) this.#transmit(connection, request)
  }

  #transmit(connection: Connection, request: QueuedRequest): void {
    const { seqid, name, argument, options, wantsReply } = request
    const nowMs = this.#runtime.clock.monotonicMs()
    const leftMs = Math.ceil(options.deadline.atMs - nowMs)
    const pending = this.#pending.get(seqid)
    // Ended while it waited for the connection.
    if (leftMs <= 0 || (wantsReply && pending === undefined)) return
    const header = {
      version: 1,
      appId: options.appId ?? 0,
      partitionIndex: options.partitionIndex ?? 0,
      clientTimeoutMs: Math.min(leftMs, CLIENT_TIMEOUT_MS_MAX),
      partitionHash: options.partitionHash ?? 0n,
      isBackupRequest: options.isBackupRequest ?? false,
    } as const
    if (pending !== undefined) {
      pending.frameNumber = this.#framesSent
      this.#watch?.sent(nowMs)
    }
    this.#framesSent++
    connection.send(encodeRequest(header, name, seqid, argument))
  }

  #received(connection: Connection, chunk: Buffer): void {
    try {
      this.#framer.push(chunk)
      for (;;) {
        const frame = this.#framer.next()
        if (frame === undefined) break
        // A reply shows that this is a server that serves: only now a later failure is a first one.
        this.#failures = 0
        this.#pending.take(frame.seqid)?.onReply(frame.errorName, frame.result)
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.#lost(connection, `protocol violation: ${error.message}`)
      return
    }
    this.#watch?.heard()
  }

  #probe(connection: Connection): void {
    const deadline = { atMs: this.#runtime.clock.monotonicMs() + this.#options.silentMs }
    this.#transmit(connection, {
      seqid: this.#pending.allocateSeqid(),
      name: PROBE_NAME,
      argument: NO_ARGUMENT,
      options: { deadline },
      wantsReply: false,
    })
  }

  #expired(call: PendingCall): void {
    call.onFailure(this.#local('ERR_TIMEOUT', call.frameNumber !== Infinity, call.name))
  }

  #aborted(seqid: number): void {
    const call = this.#pending.take(seqid)
    // A frame that still waits for the end of this turn will be sent all the same.
    call?.onFailure(this.#local('ERR_ABORTED', call.frameNumber !== Infinity, call.name))
  }

  /** The one way out of `connecting` and `open`: every call ends, the next one may connect again. */
  #lost(connection: Connection, reason: string): void {
    if (this.#connection !== connection) return
    const wasOpen = connection.state !== 'connecting' && connection.flushedFrames > 0
    const calls = this.#pending.takeAll()
    const { flushedFrames } = connection
    this.#connection = undefined
    this.#queue = []
    this.#watch?.stop()
    this.#watch = undefined
    connection.destroy(reason)
    if (!this.#closed) this.#backOff(wasOpen, reason)
    for (const call of calls) {
      const { name, frameNumber } = call
      if (frameNumber === Infinity)
        call.onFailure(this.#local('ERR_NETWORK_FAILURE', false, name, reason))
      // What was not handed to the network by now was dropped with the connection.
      else
        call.onFailure(this.#local('ERR_SESSION_RESET', frameNumber < flushedFrames, name, reason))
    }
  }

  /** The first failure behind a working connection is retried at once. */
  #backOff(wasOpen: boolean, reason: string): void {
    const { backoffMinMs, backoffMaxMs } = this.#options
    this.#failures++
    this.#runtime.log.debug('connection lost', { peer: this.address, reason })
    if (wasOpen && this.#failures === 1) return
    const fullMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(this.#failures - 1, 30))
    const delayMs = fullMs * (0.5 + this.#runtime.random.float() / 2)
    this.#retryAtMs = this.#runtime.clock.monotonicMs() + delayMs
  }

  #local(code: LocalErrorCode, sent: boolean, rpcName: string, reason?: string): RpcError {
    return new RpcError(code, {
      effect: sent ? 'unknown' : 'none',
      local: true,
      rpcName,
      address: this.address,
      ...(reason === undefined ? {} : { reason }),
    })
  }

  #answered(rpcName: string, errorName: string): RpcError {
    const effect = errorEntry(errorName).effect === 'none' ? 'none' : 'unknown'
    return new RpcError(errorName, { effect, local: false, rpcName, address: this.address })
  }
}
