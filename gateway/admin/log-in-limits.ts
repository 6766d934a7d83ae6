/**
 * How often somebody may try to log in (gateway.md X-4): by name and by address, so that neither one
 * account nor the whole list of them can be tried through. Bounded; a success clears the name.
 */
import { ApiError } from './problem.ts'

const WINDOW_MS = 60_000
const TRIES_BY_NAME = 5
const TRIES_BY_ADDRESS = 20
const KEYS_MAX = 10_000

interface Tries {
  readonly sinceMs: number
  count: number
}

export class LogInLimits {
  readonly #monotonicMs: () => number
  readonly #tries = new Map<string, Tries>()

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs
  }

  /** Counts a try; throws `too-many-requests` when there were too many within a minute. */
  count(name: string, address: string): void {
    this.#one(`name ${name}`, TRIES_BY_NAME)
    this.#one(`address ${address}`, TRIES_BY_ADDRESS)
  }

  succeeded(name: string): void {
    this.#tries.delete(`name ${name}`)
  }

  #one(key: string, limit: number): void {
    const nowMs = this.#monotonicMs()
    let tries = this.#tries.get(key)
    if (tries === undefined || nowMs - tries.sinceMs >= WINDOW_MS) {
      tries = { sinceMs: nowMs, count: 0 }
      this.#tries.delete(key)
      if (this.#tries.size >= KEYS_MAX) this.#tries.delete(this.#tries.keys().next().value ?? '')
      this.#tries.set(key, tries)
    }
    tries.count++
    if (tries.count <= limit) return
    const retryAfterSeconds = Math.ceil((tries.sinceMs + WINDOW_MS - nowMs) / 1000)
    throw new ApiError('too-many-requests', 'too many tries to log in; wait a minute', {
      retryAfterSeconds,
    })
  }
}
