/**
 * Gathers the point reads of one turn of the event loop into few calls of the engine: a call costs
 * several times what it costs to look up one more key in it (85 000 single reads per CPU-second,
 * 300 000 in groups of 16, keys in memory). A group is short, because its keys are looked up one
 * behind the other, and a key that has to come from disk must not hold up many. Pure but for the
 * callbacks handed in.
 */

export interface QueuedGet {
  readonly key: Buffer
  readonly resolve: (value: Buffer | undefined) => void
  readonly reject: (error: Error) => void
}

const groupKeysMax = 16

export class GetQueue {
  readonly #later: (run: () => void) => void
  readonly #read: (group: readonly QueuedGet[]) => void
  #waiting: QueuedGet[] = []

  /** `later` runs something when this turn is over; `read` settles every read of the group. */
  constructor(later: (run: () => void) => void, read: (group: readonly QueuedGet[]) => void) {
    this.#later = later
    this.#read = read
  }

  add(key: Buffer): Promise<Buffer | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject })
      if (this.#waiting.length === 1) this.#later(() => this.flush())
    })
  }

  /** Starts what waits, at once. */
  flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (let at = 0; at < waiting.length; at += groupKeysMax)
      this.#read(waiting.slice(at, at + groupKeysMax))
  }
}
