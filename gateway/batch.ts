/**
 * What is written in one turn of the event loop leaves together at its end: one write per socket and
 * turn, and one timer for all of them (gateway.md 2.3). Knows nothing of what is written.
 */
import type { Timers } from '../cluster/runtime/runtime.ts'

export interface Flushable {
  /** Writes what is held back; called once for each `add`. May add others, not itself. */
  readonly flush: () => void
  /** Called when everybody's `flush` is done; what it adds belongs to the next turn. */
  readonly afterFlush?: () => void
}

export class Batch {
  readonly #timers: Timers
  readonly #flushAll = (): void => {
    this.#isPlanned = false
    this.flush()
  }
  #waiting: Flushable[] = []
  #spare: Flushable[] = []
  #isFlushing = false
  #isPlanned = false
  #turn = 0

  constructor(timers: Timers) {
    this.#timers = timers
  }

  /** Another number in each turn. */
  get turn(): number {
    return this.#turn
  }

  add(output: Flushable): void {
    this.#waiting.push(output)
    if (this.#isPlanned || this.#isFlushing) return
    this.#isPlanned = true
    this.#timers.soon(this.#flushAll)
  }

  /** Ends the turn here: what is held back has become so much that waiting costs more than a write. */
  flush(): void {
    const waiting = this.#waiting
    this.#isFlushing = true
    // Grows while it is gone through.
    for (const output of waiting) output.flush()
    this.#isFlushing = false
    this.#waiting = this.#spare
    this.#turn++
    for (const output of waiting) output.afterFlush?.()
    waiting.length = 0
    this.#spare = waiting
  }
}
