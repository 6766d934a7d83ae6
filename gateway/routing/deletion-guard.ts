/**
 * Deletion or outage (gateway.md R-16): mapping nodes that vanish are gathered for a moment; a few
 * are believed, the loss of most of them at once is an outage, and so is the loss of their root, also
 * when another root has taken its place: a ZooKeeper that was restarted empty. Routes then stay until
 * the nodes are back. A believed deletion may still be delayed, and is not believed at all while a
 * switch runs on the table.
 */
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'

const GATHER_MS = 50
const RETRY_MS = 1000
const OUTAGE_MIN = 10

export interface DeletionGuardOptions<T> {
  readonly runtime: Runtime
  /** How many routes there are, the suspects included. */
  readonly routeCount: () => number
  /**
   * What tells the parent of all mapping nodes from another one in its place; undefined when it is
   * not there. Rejects when nobody can tell.
   */
  readonly root: () => Promise<bigint | undefined>
  /** Nodes are being looked at again: more may turn out to be gone. */
  readonly isGathering: () => boolean
  /** A switch runs on it: kept, with an alarm. */
  readonly isHeld: (suspect: T) => boolean
  /** A deletion counts after this time without the node. */
  readonly keepMs: number
  readonly onDeleted: (suspect: T) => void
  readonly onOutage: (count: number) => void
  readonly onHeld: (suspect: T) => void
}

export class DeletionGuard<T> {
  readonly #options: DeletionGuardOptions<T>
  readonly #suspects = new Set<T>()
  /** Those about which no verdict was given yet; a kept route stays a suspect but is judged. */
  readonly #unjudged = new Set<T>()
  readonly #held = new Set<T>()
  /** Believed, and kept for a while. */
  readonly #leaving = new Map<T, Timer>()
  #waiting: (() => void)[] = []
  #root: bigint | undefined
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
    return this.#suspects.has(suspect) || this.#leaving.has(suspect)
  }

  /** Resolves when those suspected so far were judged once. */
  judged(): Promise<void> {
    if (this.#unjudged.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  get root(): bigint | undefined {
    return this.#root
  }

  /** The root that routes come from which were loaded. */
  restoreRoot(root: bigint | undefined): void {
    this.#root ??= root
  }

  /** Remembers the root that the routes come from. */
  async noteRoot(): Promise<void> {
    try {
      this.#root ??= await this.#options.root()
    } catch {
      // Told again with the next connection.
    }
  }

  /** Its node is gone; it is still routed. */
  suspect(suspect: T): void {
    if (this.#leaving.has(suspect)) return
    this.#suspects.add(suspect)
    this.#unjudged.add(suspect)
    this.#schedule(GATHER_MS)
  }

  /** Its node is back, or nobody cares any more. */
  clear(suspect: T): void {
    this.#leaving.get(suspect)?.cancel()
    this.#leaving.delete(suspect)
    this.#held.delete(suspect)
    this.#unjudged.delete(suspect)
    if (this.#suspects.delete(suspect) && this.#suspects.size === 0) this.#outage = false
    this.#tellJudged()
  }

  /** Promises of `judged` stay pending for ever. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const timer of this.#leaving.values()) timer.cancel()
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return
    this.#timer ??= this.#options.runtime.timers.after(delayMs, () => {
      this.#timer = undefined
      if (this.#options.isGathering()) this.#schedule(GATHER_MS)
      else void this.#judge()
    })
  }

  async #judge(): Promise<void> {
    let root: bigint | undefined
    try {
      root = await this.#options.root()
    } catch {
      this.#schedule(RETRY_MS)
      return
    }
    if (this.#closed) return
    this.#judgeAll(root)
    this.#tellJudged()
  }

  #judgeAll(root: bigint | undefined): void {
    const { routeCount, isHeld, onOutage, onHeld } = this.#options
    const gone = [...this.#suspects]
    this.#unjudged.clear()
    if (gone.length === 0) return
    const isMost = gone.length * 2 > routeCount()
    const isOtherRoot = this.#root !== undefined && root !== this.#root
    if (root === undefined || (isMost && (isOtherRoot || gone.length >= OUTAGE_MIN))) {
      if (!this.#outage) onOutage(gone.length)
      this.#outage = true
      this.#schedule(RETRY_MS)
      return
    }
    this.#outage = false
    this.#root = root
    for (const suspect of gone) {
      if (!isHeld(suspect)) this.#believe(suspect)
      else if (!this.#held.has(suspect)) {
        this.#held.add(suspect)
        onHeld(suspect)
      }
    }
    if (this.#suspects.size > 0) this.#schedule(RETRY_MS)
  }

  #believe(suspect: T): void {
    const { keepMs, runtime, onDeleted } = this.#options
    this.#held.delete(suspect)
    // Whoever was told of an earlier deletion may have cleared this one.
    if (!this.#suspects.delete(suspect)) return
    if (keepMs === 0) {
      onDeleted(suspect)
      return
    }
    const timer = runtime.timers.after(keepMs, () => {
      this.#leaving.delete(suspect)
      onDeleted(suspect)
    })
    this.#leaving.set(suspect, timer)
  }

  #tellJudged(): void {
    if (this.#unjudged.size > 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
