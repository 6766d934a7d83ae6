/**
 * Notices that a coordination service has fallen silent: asks a cheap question when a third of the
 * session time has passed without an answer, and reports silence after two thirds, early enough for
 * a leader to step aside before its session can be over. Ages count from the sending of the question
 * that was answered last. Decides nothing else.
 */
import type { Runtime, Timer } from '../runtime/runtime.ts'

export interface WatchdogHandlers {
  readonly ask: () => void
  readonly onSilence: () => void
}

export class Watchdog {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers'>
  readonly #handlers: WatchdogHandlers
  #timeoutMs = 0
  #askedAtMs = 0
  #lastAnswerAtMs: number
  #timer: Timer | undefined
  /** Rises with start and stop, so that what is still scheduled is ignored. */
  #run = 0

  constructor(runtime: Pick<Runtime, 'clock' | 'timers'>, handlers: WatchdogHandlers) {
    this.#runtime = runtime
    this.#handlers = handlers
    this.#lastAnswerAtMs = runtime.clock.monotonicMs()
  }

  lastAnswerAtMs(): number {
    return this.#lastAnswerAtMs
  }

  /** A question sent at this time was answered. */
  answered(sentAtMs: number): void {
    this.#lastAnswerAtMs = Math.max(this.#lastAnswerAtMs, sentAtMs)
  }

  start(timeoutMs: number): void {
    this.stop()
    this.#timeoutMs = timeoutMs
    this.#askedAtMs = 0
    this.#arm()
  }

  stop(): void {
    this.#run += 1
    this.#timer?.cancel()
  }

  #askAtMs(): number {
    return Math.max(this.#askedAtMs, this.#lastAnswerAtMs) + this.#timeoutMs / 3
  }

  #silentAtMs(): number {
    return this.#lastAnswerAtMs + (this.#timeoutMs * 2) / 3
  }

  #arm(): void {
    const run = this.#run
    const wakeAtMs = Math.min(this.#silentAtMs(), this.#askAtMs())
    const delayMs = Math.max(1, wakeAtMs - this.#runtime.clock.monotonicMs())
    this.#timer = this.#runtime.timers.after(delayMs, () => {
      // After a pause of this process the answers may be here already, only not yet read.
      this.#runtime.timers.soon(() => {
        if (run === this.#run) this.#check()
      })
    })
  }

  #check(): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    if (nowMs >= this.#silentAtMs()) {
      this.stop()
      this.#handlers.onSilence()
      return
    }
    if (nowMs >= this.#askAtMs()) {
      this.#askedAtMs = nowMs
      this.#handlers.ask()
    }
    this.#arm()
  }
}
