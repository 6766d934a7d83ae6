/**
 * What is written in one turn of the event loop leaves together at its end: one write per socket and
 * turn, and one timer for all of them (gateway.md 2.3). Knows nothing of what is written.
 */
import type { Timers } from '../cluster/runtime/runtime.ts'

export interface Flushable {
  /** Writes what is held back; called once for each `add`. */
  readonly flush: () => void
  /** Called when everybody's `flush` is done. */
  readonly afterFlush?: () => void
}

export class Batch {
  readonly #timers: Timers
  readonly #flushAll = (): void => this.#flush()
  #waiting: Flushable[] = []
  #spare: Flushable[] = []

  constructor(timers: Timers) {
    this.#timers = timers
  }

  add(output: Flushable): void {
    if (this.#waiting.push(output) === 1) this.#timers.soon(this.#flushAll)
  }

  #flush(): void {
    const waiting = this.#waiting
    this.#waiting = this.#spare
    for (const output of waiting) output.flush()
    for (const output of waiting) output.afterFlush?.()
    waiting.length = 0
    this.#spare = waiting
  }
}
