/**
 * Whether a process keeps up (gateway.md L-7), judged by how late its event loop is. Late for a while:
 * cold lookups are refused, which are the dear ones; for twice as long: new connections too. It comes
 * back by itself, step by step. The judge is pure; the sampler feeds it.
 *
 *     normal ── late for forMs ──▶ shedding ── for forMs more ──▶ refusing
 *            ◀── in time for forMs ──       ◀── in time for forMs ──
 */
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'

export type OverloadLevel = 'normal' | 'shedding' | 'refusing'

export interface OverloadLimits {
  /** Lateness that counts. */
  readonly lagMs: number
  readonly forMs: number
}

const SAMPLE_MS = 100
/** One long pause, such as a stopped process, is no overload however long it was. */
const LATE_SAMPLES_MIN = 3

export class OverloadJudge {
  readonly #limits: OverloadLimits
  #level: OverloadLevel = 'normal'
  #lateSinceMs: number | undefined
  #lateSamples = 0
  #calmSinceMs: number | undefined

  constructor(limits: OverloadLimits) {
    this.#limits = limits
  }

  get level(): OverloadLevel {
    return this.#level
  }

  /** A look at `nowMs` of the monotonic clock that came `latenessMs` late. */
  sample(nowMs: number, latenessMs: number): OverloadLevel {
    if (latenessMs > this.#limits.lagMs) this.#onLate(nowMs, latenessMs)
    else this.#onCalm(nowMs)
    return this.#level
  }

  #onLate(nowMs: number, latenessMs: number): void {
    this.#calmSinceMs = undefined
    this.#lateSinceMs ??= nowMs - latenessMs
    this.#lateSamples++
    if (this.#lateSamples < LATE_SAMPLES_MIN) return
    const lateMs = nowMs - this.#lateSinceMs
    if (lateMs >= 2 * this.#limits.forMs) this.#level = 'refusing'
    else if (lateMs >= this.#limits.forMs && this.#level === 'normal') this.#level = 'shedding'
  }

  #onCalm(nowMs: number): void {
    this.#lateSinceMs = undefined
    this.#lateSamples = 0
    this.#calmSinceMs ??= nowMs
    if (this.#level === 'normal' || nowMs - this.#calmSinceMs < this.#limits.forMs) return
    this.#level = this.#level === 'refusing' ? 'shedding' : 'normal'
    this.#calmSinceMs = nowMs
  }
}

/** Looks ten times a second; says in the log when the level changes. */
export class OverloadSampler {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #judge: OverloadJudge
  #timer: Timer | undefined

  constructor(runtime: Runtime, limits: OverloadLimits) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'overload' })
    this.#judge = new OverloadJudge(limits)
    this.#arm()
  }

  get level(): OverloadLevel {
    return this.#judge.level
  }

  #arm(): void {
    const { clock, timers } = this.#runtime
    const dueMs = clock.monotonicMs() + SAMPLE_MS
    this.#timer = timers.after(SAMPLE_MS, () => {
      const nowMs = clock.monotonicMs()
      const before = this.#judge.level
      const level = this.#judge.sample(nowMs, nowMs - dueMs)
      if (level !== before) this.#log.warn('overload', { level, latenessMs: nowMs - dueMs })
      this.#arm()
    })
  }

  close(): void {
    this.#timer?.cancel()
  }
}
