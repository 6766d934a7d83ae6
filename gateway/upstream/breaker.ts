/**
 * The circuit breaker of one meta server's address (gateway.md M-5): opens when half of at least
 * five calls within ten seconds failed, and lets one query through as a probe after about two
 * seconds. opossum counts and decides; it reads the clock and sets a timer itself, so nothing else
 * imports it (dependencies.md 5).
 *
 * opossum wants to run the call, with a promise and a microsecond each: too much for every query. A
 * "call" here is therefore what one sweep saw of an address (25 ms, `meta-peer.ts`), healthy when
 * more queries were answered than failed. Queries look at nothing but which connection is the
 * leader's; that of an address whose breaker opens stops being it. The window moves on when
 * something is recorded, by our clock: opossum's own interval timer is never made.
 */
import { EventEmitter } from 'node:events'
import CircuitBreaker from 'opossum'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

export type BreakerState = 'closed' | 'half-open' | 'open'

const WINDOW_BUCKETS = 10
const BUCKET_MS = 1000
const CALLS_MIN = 5
/** opossum opens above this, not at it: half of the calls is to be enough. */
const FAILED_PERCENT = 49.9
const RESET_MS = 2000
const RESET_JITTER = 0.2
/** A probe that nothing became of: the next one may go. */
const PROBE_MS = 1000

export class Breaker {
  readonly #runtime: Runtime
  readonly #onChange: (state: BreakerState) => void
  readonly #window = new EventEmitter()
  /** opossum keeps this object, and reads the reset time from it when it opens. */
  readonly #options: CircuitBreaker.Options<[boolean]>
  readonly #circuit: CircuitBreaker<[boolean], void>
  #state: BreakerState = 'closed'
  #movedAtMs: number
  #probedAtMs = -Infinity

  /** `onChange` is never called from inside `record` with a failure, nor after `close`. */
  constructor(runtime: Runtime, onChange: (state: BreakerState) => void) {
    this.#runtime = runtime
    this.#onChange = onChange
    this.#movedAtMs = runtime.clock.monotonicMs()
    this.#options = {
      timeout: false,
      errorThresholdPercentage: FAILED_PERCENT,
      volumeThreshold: CALLS_MIN,
      rollingCountBuckets: WINDOW_BUCKETS,
      rollingCountTimeout: WINDOW_BUCKETS * BUCKET_MS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#window,
      resetTimeout: this.#resetMs(),
    }
    this.#circuit = new CircuitBreaker(outcome, this.#options)
    this.#circuit.on('open', () => this.#enter('open'))
    this.#circuit.on('halfOpen', () => this.#enter('half-open'))
    this.#circuit.on('close', () => this.#enter('closed'))
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Whether a query may go there; half open, the one that is told so is the probe. */
  admits(nowMs: number): boolean {
    if (this.#state !== 'half-open') return this.#state === 'closed'
    if (nowMs - this.#probedAtMs < PROBE_MS) return false
    this.#probedAtMs = nowMs
    return true
  }

  /**
   * One call more. A failure takes effect in a later microtask. An answer closes an open breaker at
   * once: it is from a query of the panic mode (`meta-group.ts`).
   */
  record(isHealthy: boolean, nowMs: number): void {
    if (this.#state !== 'closed' && isHealthy) {
      this.#circuit.close()
      return
    }
    if (this.#state === 'open') return
    this.#moveWindow(nowMs)
    void this.#circuit.fire(isHealthy).catch(() => undefined)
  }

  /** Ends its timer. Idempotent. */
  close(): void {
    this.#circuit.shutdown()
  }

  #enter(state: BreakerState): void {
    this.#state = state
    this.#probedAtMs = -Infinity
    if (state === 'half-open') this.#options.resetTimeout = this.#resetMs()
    // What failed before it closed says nothing of the time after.
    if (state === 'closed') this.#forgetWindow()
    this.#onChange(state)
  }

  #moveWindow(nowMs: number): void {
    const steps = Math.floor((nowMs - this.#movedAtMs) / BUCKET_MS)
    if (steps < 1) return
    this.#movedAtMs += steps * BUCKET_MS
    for (let step = 0; step < Math.min(steps, WINDOW_BUCKETS); step++) this.#window.emit('rotate')
  }

  #forgetWindow(): void {
    for (let step = 0; step < WINDOW_BUCKETS; step++) this.#window.emit('rotate')
  }

  #resetMs(): number {
    return Math.round(RESET_MS * (1 + RESET_JITTER * (2 * this.#runtime.random.float() - 1)))
  }
}

const HEALTHY = Promise.resolve()
const FAILURE = new Error('the address did not answer')

function outcome(isHealthy: boolean): Promise<void> {
  return isHealthy ? HEALTHY : Promise.reject(FAILURE)
}
