/**
 * One connection to one meta server, shared by all queries that go there: pipelined, with its own
 * sequence ids (gateway.md M-6, M-7). Frames are passed through as bytes, requests of one turn in
 * one write. It decides nothing about retries and holds no deadline: whoever sent a query forgets it
 * when it no longer waits.
 */
import { FrameError, encodeRequest } from '../../cluster/protocol/frame.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Runtime, Socket } from '../../cluster/runtime/runtime.ts'
import type { Batch } from '../batch.ts'
import { InFlight } from './in-flight.ts'
import type { Question } from '../question.ts'
import { ReplyStream } from './reply-stream.ts'

const IN_FLIGHT_MAX = 8192
/** Queries that the meta server does not take: beyond this, further ones are refused here. */
const UNSENT_BYTES_MAX = 8 << 20
const UNANSWERED_MS_MAX = 10_000
/** Requests of a turn beyond this do not wait for its end: the meta server may as well begin. */
const WRITE_BYTES = 64 << 10
const SLAB_BYTES = 32 << 10
const SLAB_BYTES_MAX = 2 * WRITE_BYTES
/** Replies of a turn beyond this do not either: their memory would fall out of the caches. */
const HELD_BYTES = 512 << 10

/** A whole query up to its argument; lengths, time limit and sequence id are filled in. */
const TEMPLATE = encodeRequest(
  emptyHeader,
  Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name,
  0,
  Buffer.alloc(0),
)
const HEADER_BYTES = 48
const BODY_LENGTH_AT = 16
const TIMEOUT_AT = 32
const SEQID_AT = TEMPLATE.length - 4
/** Shorter arguments are copied byte by byte: a call costs more. */
const SHORT_BYTES = 96

/** Who is told what became of a query. Never called from inside `send`. */
export interface ReplyTaker {
  /** The reply is valid during the call; its frame may be changed, and is valid in this turn. */
  readonly onReply: (connection: MetaConnection, seqid: number, reply: ReplyStream) => void
  /** The connection failed. */
  readonly onLost: (connection: MetaConnection, seqid: number, question: Question) => void
}

export class MetaConnection {
  readonly #runtime: Runtime
  readonly #address: string
  readonly #batch: Batch
  readonly #onDown: (connection: MetaConnection, lost: number) => void
  readonly #socket: Socket
  readonly #replies: ReplyStream
  readonly #inFlight = new InFlight<Question, ReplyTaker>(IN_FLIGHT_MAX)
  /** Requests are put together here; those from `#slabFrom` to `#slabTo` are not written yet. */
  #slab: Buffer = Buffer.alloc(0)
  #slabFrom = 0
  #slabTo = 0
  #inBatch = false
  /** Of replies read in this turn. */
  #heldBytes = 0
  /** Written while the connection is not up yet. */
  readonly #unsent: Buffer[] = []
  #unsentBytes = 0
  #state: 'connecting' | 'open' | 'closed' = 'connecting'
  #heardAtMs: number
  /** It was up at some time. */
  wasOpen = false
  /** How long the last answer took; -1 when it was looked at. */
  #tookMs = -1
  /** Answers that `takeAnswered` told of. */
  #answersTold = 0

  /**
   * `address` is `ip:port`. `onDown` is called once, when the connection is of no more use, with how
   * many queries are lost with it.
   */
  constructor(
    runtime: Runtime,
    batch: Batch,
    to: { readonly address: string; readonly connectTimeoutMs: number },
    onDown: (connection: MetaConnection, lost: number) => void,
  ) {
    this.#runtime = runtime
    this.#batch = batch
    this.#address = to.address
    this.#onDown = onDown
    this.#heardAtMs = runtime.clock.monotonicMs()
    const colon = to.address.lastIndexOf(':')
    const at = {
      host: to.address.slice(0, colon),
      port: Number(to.address.slice(colon + 1)),
      timeoutMs: to.connectTimeoutMs,
      lends: true,
    }
    const socket = runtime.network.connect(at, {
      onConnect: () => this.#onConnect(),
      onData: (chunk) => this.#onData(chunk),
      onEnd: () => this.close('ended by the meta server'),
      onDrain: () => undefined,
      onClose: (cause) => this.close(cause?.message ?? 'closed'),
    })
    this.#socket = socket
    this.#replies = new ReplyStream(socket)
  }

  get address(): string {
    return this.#address
  }

  /** Monotonic time of the last bytes, or of the beginning. */
  get heardAtMs(): number {
    return this.#heardAtMs
  }

  get state(): 'connecting' | 'open' | 'closed' {
    return this.#state
  }

  /** Sent and not answered, with those that nobody waits for any more. */
  get inFlight(): number {
    return this.#inFlight.size
  }

  /** Since the last call; the late ones that nobody waited for are among them. */
  takeAnswered(): number {
    const answers = this.#inFlight.issued - this.#inFlight.size
    const taken = answers - this.#answersTold
    this.#answersTold = answers
    return taken
  }

  /** How long the last answer since the last call took. */
  takeSampleMs(): number | undefined {
    const sampleMs = this.#tookMs
    this.#tookMs = -1
    return sampleMs < 0 ? undefined : sampleMs
  }

  /** How long it has left a query, or the connecting, without any sign of life; 0: nothing waits. */
  silentMs(nowMs: number): number {
    if (this.#state === 'connecting') return nowMs - this.#heardAtMs
    const oldestMs = this.#inFlight.oldestSentAtMs()
    return oldestMs === undefined ? 0 : nowMs - Math.max(oldestMs, this.#heardAtMs)
  }

  /** Of the last reply that a taker was told. */
  get question(): Question | undefined {
    return this.#inFlight.question
  }

  /**
   * Sends a query. Answers the sequence id for `forget` and `give`; the taker is called once, never
   * from inside this call. -1 when it will not be.
   */
  send(question: Question, taker: ReplyTaker, nowMs: number): number {
    if (this.#state === 'closed') return -1
    const argumentBytes = question.end - question.start
    const frameBytes = TEMPLATE.length + argumentBytes
    if (this.#unsentBytes + this.#socket.bufferedBytes() > UNSENT_BYTES_MAX) return -1
    const seqid = this.#inFlight.add(question, taker, nowMs)
    if (seqid < 0) return -1
    if (this.#slabFrom === this.#slabTo && this.#socket.bufferedBytes() === 0) this.#rewind()
    if (this.#slab.length - this.#slabTo < frameBytes) this.#newSlab(frameBytes)
    this.#joinBatch()
    const slab = this.#slab
    const at = this.#slabTo
    slab.set(TEMPLATE, at)
    slab.writeUInt32BE(frameBytes - HEADER_BYTES, at + BODY_LENGTH_AT)
    const leftMs = Math.max(1, Math.ceil(question.deadlineMs - nowMs))
    slab.writeInt32BE(leftMs, at + TIMEOUT_AT)
    slab.writeInt32BE(seqid, at + SEQID_AT)
    copy(question, slab, at + TEMPLATE.length)
    this.#slabTo = at + frameBytes
    if (this.#slabTo - this.#slabFrom >= WRITE_BYTES) this.#write()
    return seqid
  }

  #joinBatch(): void {
    if (this.#inBatch) return
    this.#inBatch = true
    this.#batch.add(this)
  }

  /** Writes the requests of this turn. */
  flush(): void {
    // What is sent later in this turn is another one.
    this.#inBatch = false
    this.#write()
  }

  #write(): void {
    const from = this.#slabFrom
    const to = this.#slabTo
    if (this.#state === 'closed' || from === to) return
    this.#slabFrom = to
    const bytes = this.#slab.subarray(from, to)
    if (this.#state !== 'open') {
      this.#unsent.push(bytes)
      this.#unsentBytes += bytes.length
    } else if (this.#socket.writeNow === undefined) this.#socket.write(bytes)
    else this.#socket.writeNow(bytes)
  }

  /** Replies read in this turn are written to their clients by now. */
  afterFlush(): void {
    this.#heldBytes = 0
    this.#socket.giveBack?.()
  }

  /** The network has taken everything: the memory is used again. */
  #rewind(): void {
    if (this.#state !== 'open') return
    this.#slabFrom = 0
    this.#slabTo = 0
  }

  /** Twice the size each time: in the end what is asked in a turn fits, or is written meanwhile. */
  #newSlab(frameBytes: number): void {
    this.#write()
    const wanted = Math.min(SLAB_BYTES_MAX, 2 * this.#slab.length)
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, wanted, frameBytes))
    this.#slabFrom = 0
    this.#slabTo = 0
  }

  /** Nobody waits for this answer any more. */
  forget(seqid: number): void {
    this.#inFlight.give(seqid, null)
  }

  /** Another one waits for this answer from now on. */
  give(seqid: number, taker: ReplyTaker): void {
    this.#inFlight.give(seqid, taker)
  }

  /** Calls back for each query that `taker` waits for here. */
  forEachOf(
    taker: ReplyTaker,
    visit: (seqid: number, question: Question, sentAtMs: number) => void,
  ): void {
    this.#inFlight.forEachOf(taker, visit)
  }

  /** A meta server that answers nothing for 10 s although it is asked: the connection is dead. */
  checkSilence(nowMs: number): void {
    if (this.silentMs(nowMs) > UNANSWERED_MS_MAX) this.close(`no answer in ${UNANSWERED_MS_MAX} ms`)
  }

  /** Idempotent; every query still waiting is told. */
  close(reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#socket.destroy()
    this.#runtime.log.debug('meta connection closed', { address: this.#address, reason })
    const lostCount = this.#inFlight.size
    this.#answersTold += lostCount
    const lost = this.#inFlight.takeAll()
    this.#unsent.length = 0
    this.#onDown(this, lostCount)
    for (const { seqid, question, taker } of lost)
      if (question !== undefined) taker.onLost(this, seqid, question)
  }

  #onConnect(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    this.wasOpen = true
    this.#heardAtMs = this.#runtime.clock.monotonicMs()
    for (const bytes of this.#unsent) this.#socket.write(bytes)
    this.#unsent.length = 0
    this.#unsentBytes = 0
  }

  #onData(chunk: Buffer): void {
    if (this.#state === 'closed') return
    this.#heardAtMs = this.#runtime.clock.monotonicMs()
    const replies = this.#replies
    const inFlight = this.#inFlight
    const waiting = inFlight.size
    this.#joinBatch()
    try {
      replies.open(chunk)
      // A taker may close the connection.
      while (this.#isOpen() && replies.next()) this.#accept(replies)
      if (inFlight.size < waiting)
        this.#tookMs = this.#heardAtMs - (inFlight.sentAtMs(replies.seqid) ?? this.#heardAtMs)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      this.close(error.message)
    }
    this.#heldBytes += chunk.length
    if (this.#heldBytes >= HELD_BYTES) this.#batch.flush()
  }

  #accept(reply: ReplyStream): void {
    if (!reply.isAck || !this.#inFlight.take(reply.seqid))
      this.close(`an answer to nothing asked: ${reply.seqid}`)
    else this.#inFlight.taker?.onReply(this, reply.seqid, reply)
  }

  #isOpen(): boolean {
    return this.#state === 'open'
  }
}

function copy({ bytes, start, end }: Question, to: Buffer, at: number): void {
  if (end - start > SHORT_BYTES) {
    bytes.copy(to, at, start, end)
    return
  }
  for (let from = start, target = at; from < end; from++, target++) to[target] = bytes[from] ?? 0
}
