/**
 * A token bucket for each of a bounded number of keys, such as client addresses (gateway.md W-17).
 * A key not seen for long is forgotten first and starts again with a full bucket. Pure; every
 * operation is O(1).
 */
import { Lru } from '../routing/lru.ts'

export interface BucketOptions {
  readonly perSecond: number
  /** The most that a bucket holds. */
  readonly burst: number
  readonly maxKeys: number
}

interface Bucket {
  tokens: number
  filledAtMs: number
}

export class TokenBuckets {
  readonly #options: BucketOptions
  readonly #buckets: Lru<Bucket>

  constructor(options: BucketOptions) {
    this.#options = options
    this.#buckets = new Lru(options.maxKeys, () => undefined)
  }

  get size(): number {
    return this.#buckets.size
  }

  /** Takes one token; false when there is none. */
  take(key: string, nowMs: number): boolean {
    const { perSecond, burst } = this.#options
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      bucket = { tokens: burst, filledAtMs: nowMs }
      this.#buckets.set(key, bucket)
    }
    const grown = bucket.tokens + ((nowMs - bucket.filledAtMs) / 1000) * perSecond
    bucket.tokens = Math.min(burst, grown)
    bucket.filledAtMs = nowMs
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }

  /** A token that was taken for something that cost nothing. */
  giveBack(key: string): void {
    const bucket = this.#buckets.peek(key)
    if (bucket !== undefined) bucket.tokens = Math.min(this.#options.burst, bucket.tokens + 1)
  }
}
