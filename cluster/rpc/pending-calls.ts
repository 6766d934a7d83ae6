/**
 * The calls of one peer that wait for a connection or a reply, by sequence id, and their deadlines.
 * One timer serves them all: it is set for the earliest deadline and looks at every entry when it
 * fires. Every entry leaves exactly once, through `take`, `takeAll` or its deadline, and lets go of
 * its abort signal then.
 */
import type { Clock, Timer, Timers } from '../runtime/runtime.ts'
import type { RpcError } from './rpc-error.ts'

export interface PendingCall {
  readonly name: string
  readonly deadlineAtMs: number
  readonly onReply: (errorName: string, result: Buffer) => void
  readonly onFailure: (error: RpcError) => void
  readonly signal: AbortSignal | undefined
  /** Listens on `signal`. */
  readonly onAbort: (() => void) | undefined
  /** Position among the frames given to the connection; Infinity while it waits for one. */
  frameNumber: number
}

/** Calls that end within the same few milliseconds share one look at the table. */
const SWEEP_MS_MIN = 2

export class PendingCalls {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #onExpired: (call: PendingCall) => void
  readonly #calls = new Map<number, PendingCall>()
  #timer: Timer | undefined
  #timerAtMs = Infinity
  #nextSeqid = 1

  constructor(clock: Clock, timers: Timers, onExpired: (call: PendingCall) => void) {
    this.#clock = clock
    this.#timers = timers
    this.#onExpired = onExpired
  }

  get size(): number {
    return this.#calls.size
  }

  /** A sequence id that no call in flight uses; wraps into negatives. */
  allocateSeqid(): number {
    while (this.#calls.has(this.#nextSeqid)) this.#nextSeqid = (this.#nextSeqid + 1) | 0
    const seqid = this.#nextSeqid
    this.#nextSeqid = (seqid + 1) | 0
    return seqid
  }

  add(seqid: number, call: PendingCall): void {
    this.#calls.set(seqid, call)
    if (call.onAbort !== undefined) call.signal?.addEventListener('abort', call.onAbort)
    if (call.deadlineAtMs < this.#timerAtMs) this.#setTimer(call.deadlineAtMs)
  }

  get(seqid: number): PendingCall | undefined {
    return this.#calls.get(seqid)
  }

  /** Removes and returns; `undefined` for a late or unasked reply. */
  take(seqid: number): PendingCall | undefined {
    const call = this.#calls.get(seqid)
    if (call === undefined) return undefined
    this.#calls.delete(seqid)
    release(call)
    return call
  }

  /** Empties the table, for the end of the connection. */
  takeAll(): PendingCall[] {
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerAtMs = Infinity
    for (const call of calls) release(call)
    return calls
  }

  #setTimer(atMs: number): void {
    this.#timer?.cancel()
    this.#timerAtMs = atMs
    const delayMs = Math.max(SWEEP_MS_MIN, atMs - this.#clock.monotonicMs())
    this.#timer = this.#timers.after(delayMs, () => {
      this.#expire()
    })
  }

  #expire(): void {
    this.#timer = undefined
    this.#timerAtMs = Infinity
    const nowMs = this.#clock.monotonicMs()
    const expired: PendingCall[] = []
    let nextAtMs = Infinity
    for (const [seqid, call] of this.#calls) {
      if (call.deadlineAtMs <= nowMs) {
        this.#calls.delete(seqid)
        release(call)
        expired.push(call)
      } else if (call.deadlineAtMs < nextAtMs) nextAtMs = call.deadlineAtMs
    }
    if (nextAtMs !== Infinity) this.#setTimer(nextAtMs)
    expired.sort((a, b) => a.deadlineAtMs - b.deadlineAtMs)
    for (const call of expired) this.#onExpired(call)
  }
}

function release(call: PendingCall): void {
  if (call.onAbort !== undefined) call.signal?.removeEventListener('abort', call.onAbort)
}
