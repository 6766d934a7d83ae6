/**
 * One connection to one meta server, shared by all queries that go there: pipelined, with its own
 * sequence ids (gateway.md M-6, M-7). Frames are passed through as bytes. It decides nothing about
 * retries and holds no deadline: whoever sent a query forgets it when it no longer waits.
 */
import {
  FrameError,
  type ReplyFrame,
  ReplyFramer,
  encodeRequest,
} from '../cluster/protocol/frame.ts'
import { Rpc } from '../cluster/protocol/rpc-codes.ts'
import type { Runtime, Socket } from '../cluster/runtime/runtime.ts'

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const ACK = `${QUERY}_ACK`
/** An answer of 100 000 partitions with all fields is below this. */
const REPLY_BYTES_MAX = 64 << 20
const IN_FLIGHT_MAX = 8192
/** Queries that the meta server does not take: beyond this, further ones are refused here. */
const UNSENT_BYTES_MAX = 8 << 20
const UNANSWERED_MS_MAX = 10_000

/** `undefined`: the connection failed or refused the query. */
export type ReplyHandler = (reply: ReplyFrame | undefined) => void

interface Pending {
  readonly sentAtMs: number
  /** Undefined once forgotten: the late answer is ignored. */
  handler: ReplyHandler | undefined
}

export class MetaConnection {
  readonly #runtime: Runtime
  readonly #address: string
  readonly #onDown: (connection: MetaConnection) => void
  readonly #socket: Socket
  readonly #framer = new ReplyFramer({ maxFrameBytes: REPLY_BYTES_MAX })
  readonly #pending = new Map<number, Pending>()
  /** Written while the connection is not up yet. */
  readonly #unsent: Buffer[] = []
  #unsentBytes = 0
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  #seqid = 0
  #heardAtMs: number

  /** `address` is `ip:port`. `onDown` is called once, when the connection is of no more use. */
  constructor(
    runtime: Runtime,
    address: string,
    connectTimeoutMs: number,
    onDown: (connection: MetaConnection) => void,
  ) {
    this.#runtime = runtime
    this.#address = address
    this.#onDown = onDown
    this.#heardAtMs = runtime.clock.monotonicMs()
    const colon = address.lastIndexOf(':')
    const to = {
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      timeoutMs: connectTimeoutMs,
    }
    this.#socket = runtime.network.connect(to, {
      onConnect: () => this.#onConnect(),
      onData: (chunk) => this.#onData(chunk),
      onEnd: () => this.close('ended by the meta server'),
      onDrain: () => undefined,
      onClose: (cause) => this.close(cause?.message ?? 'closed'),
    })
  }

  get address(): string {
    return this.#address
  }

  get inFlight(): number {
    return this.#pending.size
  }

  /** Monotonic time of the last bytes, or of the beginning. */
  get heardAtMs(): number {
    return this.#heardAtMs
  }

  /**
   * Sends a query; `argument` is the args struct as the client sent it. Answers the sequence id for
   * `forget`. The handler is called once, never from inside this call; -1 when it will not be.
   */
  send(argument: Buffer, timeoutMs: number, handler: ReplyHandler): number {
    if (this.#state === 'closed' || this.#pending.size >= IN_FLIGHT_MAX) return -1
    if (this.#unsentBytes + this.#socket.bufferedBytes() > UNSENT_BYTES_MAX) return -1
    const seqid = this.#seqid
    this.#seqid = (seqid + 1) & 0x7fffffff
    this.#pending.set(seqid, { sentAtMs: this.#runtime.clock.monotonicMs(), handler })
    const frame = encodeRequest(
      {
        version: 0,
        appId: 0,
        partitionIndex: 0,
        clientTimeoutMs: Math.max(1, Math.ceil(timeoutMs)),
        partitionHash: 0n,
        isBackupRequest: false,
      },
      QUERY,
      seqid,
      argument,
    )
    if (this.#state === 'open') this.#socket.write(frame)
    else {
      this.#unsent.push(frame)
      this.#unsentBytes += frame.length
    }
    return seqid
  }

  /** Nobody waits for this answer any more. */
  forget(seqid: number): void {
    const pending = this.#pending.get(seqid)
    if (pending !== undefined) pending.handler = undefined
  }

  /** A meta server that answers nothing for 10 s although it is asked: the connection is dead. */
  checkSilence(nowMs: number): void {
    const oldest = this.#pending.values().next()
    if (oldest.done === true) return
    if (nowMs - Math.max(oldest.value.sentAtMs, this.#heardAtMs) > UNANSWERED_MS_MAX)
      this.close(`no answer in ${UNANSWERED_MS_MAX} ms`)
  }

  /** Idempotent; every query still waiting is told. */
  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#socket.destroy()
    this.#runtime.log.debug('meta connection closed', { address: this.#address, reason })
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    this.#unsent.length = 0
    this.#onDown(this)
    for (const { handler } of pending) handler?.(undefined)
  }

  #onConnect(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    this.#heardAtMs = this.#runtime.clock.monotonicMs()
    for (const frame of this.#unsent) this.#socket.write(frame)
    this.#unsent.length = 0
    this.#unsentBytes = 0
  }

  #onData(chunk: Buffer): void {
    if (this.#state === 'closed') return
    this.#heardAtMs = this.#runtime.clock.monotonicMs()
    this.#framer.push(chunk)
    try {
      for (;;) {
        const reply = this.#framer.next()
        if (reply === undefined || !this.#accept(reply)) return
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.close(error.message)
    }
  }

  #accept(reply: ReplyFrame): boolean {
    const pending = this.#pending.get(reply.seqid)
    if (pending === undefined || reply.name !== ACK) {
      this.close(`an answer to nothing asked: ${reply.name} ${reply.seqid}`)
      return false
    }
    this.#pending.delete(reply.seqid)
    pending.handler?.(reply)
    // A handler may have closed the connection.
    return this.#isOpen()
  }

  #isOpen(): boolean {
    return this.#state === 'open'
  }
}
