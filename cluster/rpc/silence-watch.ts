/**
 * Watches one connection on which calls wait: when nothing was heard for half of `silentMs` a probe
 * is sent, when nothing was heard for all of it the connection counts as lost. One timer, and only
 * while something is waited for.
 */
import type { Runtime, Timer } from '../runtime/runtime.ts'

export interface SilenceWatchEvents {
  readonly isWaiting: () => boolean
  readonly probe: () => void
  readonly onSilent: (silentMs: number) => void
}

export class SilenceWatch {
  readonly #runtime: Runtime
  readonly #silentMs: number
  readonly #events: SilenceWatchEvents
  /** When the first request after the last sign of life was sent. */
  #sinceMs: number | undefined
  #probed = false
  #timer: Timer | undefined
  #checking = false
  #stopped = false

  constructor(runtime: Runtime, silentMs: number, events: SilenceWatchEvents) {
    this.#runtime = runtime
    this.#silentMs = silentMs
    this.#events = events
  }

  /** A request that wants a reply was sent. */
  sent(nowMs: number): void {
    if (this.#sinceMs === undefined) this.#begin(nowMs)
  }

  /** Something arrived, and what it answered has been taken off the waiting calls. */
  heard(): void {
    this.#sinceMs = undefined
    if (this.#events.isWaiting()) this.#begin(this.#runtime.clock.monotonicMs())
  }

  /** Final. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  #begin(nowMs: number): void {
    this.#sinceMs = nowMs
    this.#probed = false
    if (this.#timer === undefined && !this.#checking) this.#checkAfter(this.#silentMs / 2)
  }

  #checkAfter(delayMs: number): void {
    this.#timer = this.#runtime.timers.after(delayMs, () => {
      this.#timer = undefined
      this.#checking = true
      // This process may have been stopped: what arrived meanwhile is to be heard first.
      this.#runtime.timers.soon(() => {
        this.#checking = false
        if (!this.#stopped) this.#check()
      })
    })
  }

  #check(): void {
    if (this.#sinceMs === undefined || !this.#events.isWaiting()) {
      this.#sinceMs = undefined
      return
    }
    const silentMs = this.#runtime.clock.monotonicMs() - this.#sinceMs
    if (silentMs >= this.#silentMs / 2 && !this.#probed) {
      this.#probed = true
      this.#events.probe()
      // A full half for the answer, also when this check came late.
      this.#checkAfter(this.#silentMs / 2)
    } else if (silentMs >= this.#silentMs) this.#events.onSilent(silentMs)
    else this.#checkAfter((this.#probed ? this.#silentMs : this.#silentMs / 2) - silentMs)
  }
}
