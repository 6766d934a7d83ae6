/**
 * When a query that its leader leaves unanswered is asked elsewhere as well, and how often that may
 * happen (gateway.md M-4): after twice the p95 of the last answers, never before a floor, and for at
 * most a tenth of the queries. One in half a second is always allowed, so that a silent leader is
 * found out at any traffic.
 *
 * The p95 comes from samples, one per connection and sweep, in two windows of logarithmic buckets:
 * the current one and the one before. Pure: times are given.
 */

const SHARE = 0.1
const SAVED_MAX = 10
const ALWAYS_MS = 500
const WINDOW_MS = 30_000
const SAMPLES_MIN = 20
/** Bucket i holds what is below 1.2^(i+1) ms; the last one, from 4.6 s, what is left. */
const RATIO = 1.2
const BUCKETS = 48
/** However slow a cluster is: beyond this a second opinion comes too late for the client. */
const HEDGE_MS_MAX = 1500

export class Hedging {
  readonly #floorMs: number
  #current = new Uint32Array(BUCKETS)
  #before = new Uint32Array(BUCKETS)
  #samples = 0
  #startedAtMs = -Infinity
  #waitMs: number
  /** Hedges saved up. */
  #saved = SAVED_MAX
  #lastAtMs = -Infinity

  constructor(floorMs: number) {
    this.#floorMs = floorMs
    this.#waitMs = floorMs
  }

  /** A query unanswered for this long may be asked elsewhere. */
  get waitMs(): number {
    return this.#waitMs
  }

  /** One query was answered in so many milliseconds. */
  sample(ms: number, nowMs: number): void {
    if (nowMs - this.#startedAtMs >= WINDOW_MS) this.#turn(nowMs)
    const bucket = bucketOf(ms)
    this.#current[bucket] = (this.#current[bucket] ?? 0) + 1
    this.#samples++
    this.#waitMs =
      this.#samples < SAMPLES_MIN
        ? this.#floorMs
        : Math.max(this.#floorMs, Math.min(HEDGE_MS_MAX, 2 * this.p95Ms()))
  }

  /** The upper bound of the bucket that holds it; 0 without samples. */
  p95Ms(): number {
    let left = this.#samples * 0.05
    for (let bucket = BUCKETS - 1; bucket >= 0; bucket--) {
      left -= (this.#current[bucket] ?? 0) + (this.#before[bucket] ?? 0)
      if (left < 0) return RATIO ** (bucket + 1)
    }
    return 0
  }

  /** So many queries were sent: a tenth of them may be hedged. */
  sent(queries: number): void {
    this.#saved = Math.min(SAVED_MAX, this.#saved + queries * SHARE)
  }

  /** Whether one more may be asked elsewhere now; it counts when it may. */
  take(nowMs: number): boolean {
    if (this.#saved >= 1) this.#saved--
    else if (nowMs - this.#lastAtMs < ALWAYS_MS) return false
    this.#lastAtMs = nowMs
    return true
  }

  #turn(nowMs: number): void {
    const isFresh = nowMs - this.#startedAtMs < 2 * WINDOW_MS
    const spare = this.#before
    this.#before = isFresh ? this.#current : spare.fill(0)
    this.#current = isFresh ? spare.fill(0) : this.#current.fill(0)
    this.#samples = this.#before.reduce((sum, count) => sum + count, 0)
    this.#startedAtMs = nowMs
  }
}

function bucketOf(ms: number): number {
  if (ms < RATIO) return 0
  return Math.min(BUCKETS - 1, Math.floor(Math.log(ms) / Math.log(RATIO)))
}
