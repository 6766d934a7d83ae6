/**
 * Deletion or outage (gateway.md R-16): mapping nodes that vanish are gathered for a moment; a few
 * are believed, most of them at once or the loss of their root is an outage, and the routes stay
 * until the nodes are back.
 */
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'

const GATHER_MS = 50
const RETRY_MS = 1000
const OUTAGE_MIN = 10

export interface DeletionGuardOptions<T> {
  readonly runtime: Runtime
  /** How many routes there are, the suspects included. */
  readonly routeCount: () => number
  /** Whether the parent of all mapping nodes is there; rejects when nobody can tell. */
  readonly rootExists: () => Promise<boolean>
  readonly onDeleted: (suspect: T) => void
  readonly onOutage: (count: number) => void
}

export class DeletionGuard<T> {
  readonly #options: DeletionGuardOptions<T>
  readonly #suspects = new Set<T>()
  /** Those about which no verdict was given yet; a kept route stays a suspect but is judged. */
  #unjudged = new Set<T>()
  #waiting: (() => void)[] = []
  #timer: Timer | undefined
  #outage = false
  #closed = false

  constructor(options: DeletionGuardOptions<T>) {
    this.#options = options
  }

  /** Routes are kept although their nodes are gone. */
  get outage(): boolean {
    return this.#outage
  }

  has(suspect: T): boolean {
    return this.#suspects.has(suspect)
  }

  /** Resolves when those suspected so far were judged once. */
  judged(): Promise<void> {
    if (this.#unjudged.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /** Its node is gone; it is still routed. */
  suspect(suspect: T): void {
    this.#suspects.add(suspect)
    this.#unjudged.add(suspect)
    this.#schedule(GATHER_MS)
  }

  /** Its node is back, or nobody cares any more. */
  clear(suspect: T): void {
    this.#unjudged.delete(suspect)
    if (this.#suspects.delete(suspect) && this.#suspects.size === 0) this.#outage = false
    this.#tellJudged()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return
    this.#timer ??= this.#options.runtime.timers.after(delayMs, () => {
      this.#timer = undefined
      void this.#judge()
    })
  }

  async #judge(): Promise<void> {
    const { rootExists } = this.#options
    let rootIsThere: boolean
    try {
      rootIsThere = await rootExists()
    } catch {
      this.#schedule(RETRY_MS)
      return
    }
    this.#judgeAll(rootIsThere)
    this.#tellJudged()
  }

  #judgeAll(rootIsThere: boolean): void {
    const { routeCount, onDeleted, onOutage } = this.#options
    const gone = [...this.#suspects]
    this.#unjudged = new Set()
    const isMost = gone.length >= OUTAGE_MIN && gone.length * 2 > routeCount()
    if (isMost || !rootIsThere) {
      if (!this.#outage && gone.length > 0) {
        this.#outage = true
        onOutage(gone.length)
      }
      if (gone.length > 0) this.#schedule(RETRY_MS)
      return
    }
    this.#outage = false
    for (const suspect of gone) if (this.#suspects.delete(suspect)) onDeleted(suspect)
  }

  #tellJudged(): void {
    if (this.#unjudged.size > 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
