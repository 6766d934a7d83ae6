/**
 * Answers kept for a moment (gateway.md C-2), off by default. One is used again only for the same query
 * (table and indices), while the table's route is the very one it was asked by, and for a client that
 * has not asked for that table within the time: who asks again says that the answer was bad. Nothing
 * but ERR_OK is kept. Bounded in bytes; knows no clock.
 */
import type { Lookup } from '../routing/table-entry.ts'
import type { KnownQuery } from './known-queries.ts'

interface CachedAnswer {
  /** A whole reply frame, in memory of its own. */
  readonly frame: Buffer
  readonly lookup: Lookup
  readonly untilMs: number
}

const BYTES_MAX = 16 << 20
/** Pairs of client and table remembered in one period; beyond, everybody counts as asking again. */
const ASKS_MAX = 20_000

export class ResponseCache {
  readonly #ttlMs: number
  #answers = new Map<KnownQuery, CachedAnswer>()
  #bytes = 0
  /** Who asked for what in this period of `ttlMs` and in the one before. */
  #asks = new Set<string>()
  #asksBefore = new Set<string>()
  #periodEndsMs = 0

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs
  }

  /**
   * The answer to give, if there is one; `lookup` is what is known of the table now. Each query must
   * pass here: that it was asked is remembered.
   */
  find(
    query: KnownQuery,
    source: string,
    lookup: Lookup | undefined,
    nowMs: number,
  ): Buffer | undefined {
    this.#turn(nowMs)
    if (this.#isAgain(`${source} ${query.table}`)) return undefined
    const answer = this.#answers.get(query)
    const isGood = answer !== undefined && answer.lookup === lookup && nowMs < answer.untilMs
    return isGood ? answer.frame : undefined
  }

  /** Keeps a copy of an answer, in place of the one before. */
  keep(query: KnownQuery, frame: Buffer, lookup: Lookup, nowMs: number): void {
    this.#turn(nowMs)
    this.#drop(query)
    if (this.#bytes + frame.length > BYTES_MAX) return
    this.#bytes += frame.length
    const untilMs = nowMs + this.#ttlMs
    this.#answers.set(query, { frame: Buffer.from(frame), lookup, untilMs })
  }

  #drop(query: KnownQuery): void {
    const known = this.#answers.get(query)
    if (known === undefined) return
    this.#bytes -= known.frame.length
    this.#answers.delete(query)
  }

  #isAgain(ask: string): boolean {
    if (this.#asks.has(ask) || this.#asks.size >= ASKS_MAX) return true
    const isAgain = this.#asksBefore.has(ask)
    this.#asks.add(ask)
    return isAgain
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#periodEndsMs) return
    // After a pause of a whole period nobody asked lately.
    this.#asksBefore = nowMs < this.#periodEndsMs + this.#ttlMs ? this.#asks : new Set()
    this.#asks = new Set()
    this.#periodEndsMs = nowMs + this.#ttlMs
    for (const [query, { untilMs }] of this.#answers) if (nowMs >= untilMs) this.#drop(query)
  }
}
