/**
 * One query on its way to a meta server and all who wait for its answer (gateway.md C-1): with
 * coalescing those who asked the same while none was on the wire, without it one alone. Each has a
 * deadline and a sequence id of its own. Data, and how an answer is handed out; when a round starts
 * is decided in `query-desk.ts`.
 */
import type { QueryCounts } from '../metrics.ts'
import type { Question } from '../question.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { ClientUse } from './client-book.ts'
import type { KnownQuery } from './known-queries.ts'

/** Who asks: a client's connection. */
export interface Asker {
  /** The address that limits go by. */
  readonly source: string
  /** The client's `ip:port`. */
  readonly peer: string
  /** The entry of the client book that its last query was counted in. */
  use: ClientUse | undefined
  /**
   * The answer is the frame in `bytes` from `start` to `end`, and nobody else's: it may be changed.
   * It is valid until the batch of this turn is written, as is the next one.
   */
  readonly answerAlone: (
    bytes: Buffer,
    start: number,
    end: number,
    seqidAt: number,
    seqid: number,
  ) => void
  /** The answer is this whole frame, with another sequence id; others get it too. */
  readonly answerShared: (frame: Buffer, seqidAt: number, seqid: number) => void
}

/** Told what became of a round; `nowMs` is monotonic. */
export interface RoundEnd {
  /** The answer is the frame in `bytes` from `start` to `end`; nobody was told yet. */
  readonly onAnswered: (
    round: Round,
    bytes: Buffer,
    start: number,
    end: number,
    seqidAt: number,
    nowMs: number,
  ) => void
  readonly onUnanswered: (round: Round) => void
}

/** One query among those of a round. */
export interface Waiter {
  readonly asker: Asker
  readonly seqid: number
  readonly counts: QueryCounts
  readonly askedAtMs: number
  readonly deadlineMs: number
}

export class Round implements Question, Waiter {
  readonly #end: RoundEnd
  readonly query: KnownQuery
  /** Who came first; most rounds have no others, and are this one object. */
  readonly asker: Asker
  readonly seqid: number
  readonly counts: QueryCounts
  readonly askedAtMs: number
  /** The earliest of all: whoever has more time left then goes into another round (W-7). */
  deadlineMs: number
  readonly #ownDeadlineMs: number
  #others: Waiter[] | undefined = undefined
  /** Monotonic; 0 before it. */
  startedAtMs = 0
  /** The route it was sent by, known before it starts when the table was read for it. */
  lookup: Lookup | undefined = undefined
  /** Rounds for some partitions of the table, answered out of this one's answer (C-3). */
  riders: Round[] | undefined = undefined

  constructor(
    end: RoundEnd,
    query: KnownQuery,
    asker: Asker,
    seqid: number,
    counts: QueryCounts,
    askedAtMs: number,
    deadlineMs: number,
  ) {
    this.#end = end
    this.query = query
    this.asker = asker
    this.seqid = seqid
    this.counts = counts
    this.askedAtMs = askedAtMs
    this.deadlineMs = deadlineMs
    this.#ownDeadlineMs = deadlineMs
  }

  get bytes(): Buffer {
    return this.query.bytes
  }

  get start(): number {
    return this.query.start
  }

  get end(): number {
    return this.query.end
  }

  get count(): number {
    return this.#others === undefined ? 1 : 1 + this.#others.length
  }

  join(waiter: Waiter): void {
    if (this.#others === undefined) this.#others = [waiter]
    else this.#others.push(waiter)
    if (waiter.deadlineMs < this.deadlineMs) this.deadlineMs = waiter.deadlineMs
  }

  /** Calls back for each who waits, the first one first; once the round is over. */
  forEach(visit: (waiter: Waiter) => void): void {
    this.deadlineMs = this.#ownDeadlineMs
    visit(this)
    if (this.#others !== undefined) for (const waiter of this.#others) visit(waiter)
  }

  /** The meta's bytes with each client's sequence id (W-1). */
  answered(bytes: Buffer, start: number, end: number, seqidAt: number, nowMs: number): void {
    this.#end.onAnswered(this, bytes, start, end, seqidAt, nowMs)
    const others = this.#others
    if (others === undefined) {
      this.asker.answerAlone(bytes, start, end, seqidAt, this.seqid)
      return
    }
    const frame = bytes.subarray(start, end)
    const at = seqidAt - start
    this.asker.answerShared(frame, at, this.seqid)
    for (const { asker, seqid } of others) asker.answerShared(frame, at, seqid)
  }

  unanswered(): void {
    this.#end.onUnanswered(this)
  }
}
