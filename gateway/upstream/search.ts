/**
 * What the upstream keeps of a question that its leader did not simply answer: who was asked, what
 * is planned. Data only; the rules are in `meta-group.ts`.
 */
import type { MetaConnection, ReplyTaker } from './meta-connection.ts'
import type { Question } from '../question.ts'

export interface Attempt {
  readonly connection: MetaConnection
  readonly seqid: number
  readonly startedAtMs: number
}

/** A whole reply frame: see `Question.answered`. */
export interface Frame {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly seqidAt: number
}

export interface Search {
  readonly question: Question
  readonly taker: ReplyTaker
  /** Addresses asked in this round. */
  readonly tried: Set<string>
  /** Monotonic times: when this round began, and when somebody was asked last. */
  roundAtMs: number
  askedAtMs: number
  attempts: Attempt[]
  /** Forwards followed in this round. */
  hops: number
  /** Monotonic time of the next round, 0 when none is planned. */
  retryAtMs: number
  backoffMs: number
  isHedged: boolean
  /** Lets it past open breakers (M-5, panic mode). */
  isPanic: boolean
  /** A silence was long enough: nobody else who is silent is asked in this round. */
  isLate: boolean
  /** Some meta answered, be it only that it is not the leader. */
  someoneAlive: boolean
  hasResolvedAgain: boolean
  /** What the leader said while it was loading: relayed when the time is up (M-3). */
  notReady: Frame | undefined
}

const BACKOFF_FIRST_MS = 100

export function newSearch(question: Question, taker: ReplyTaker, nowMs: number): Search {
  return {
    question,
    taker,
    tried: new Set(),
    roundAtMs: nowMs,
    askedAtMs: nowMs,
    attempts: [],
    hops: 0,
    retryAtMs: 0,
    backoffMs: BACKOFF_FIRST_MS,
    isHedged: false,
    isPanic: false,
    isLate: false,
    someoneAlive: false,
    hasResolvedAgain: false,
    notReady: undefined,
  }
}

/** A frame to be kept beyond this turn. */
export function copyOf({ bytes, start, end, seqidAt }: Frame): Frame {
  const copy = Buffer.from(bytes.subarray(start, end))
  return { bytes: copy, start: 0, end: copy.length, seqidAt: seqidAt - start }
}
