/**
 * The receiving side of learning an application state: writes the blocks of a snapshot into a store
 * that was wiped for it. Nothing of it counts before `finish`; a crash before leaves an empty store.
 */
import type { StorageEngine } from './engine.ts'
import { decodeBlock } from './snapshot-block.ts'
import { dataKey, isMetaKey } from './store-keys.ts'
import type { AppliedPoint } from './store-keys.ts'

/** A block that does not fit: damaged, out of order, or of another snapshot. Start over. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError'
}

export class SnapshotLoader {
  readonly #engine: StorageEngine
  readonly #prefix: Buffer
  readonly #what: string
  readonly #finish: (applied: AppliedPoint) => Promise<void>
  #number = 0
  #entries = 0
  #applied: AppliedPoint | undefined
  #complete = false

  /** Made by `ReplicaStore.beginLoad`. */
  constructor(
    engine: StorageEngine,
    prefix: Buffer,
    what: string,
    finish: (applied: AppliedPoint) => Promise<void>,
  ) {
    this.#engine = engine
    this.#prefix = prefix
    this.#what = what
    this.#finish = finish
  }

  /**
   * Blocks in their order, one at a time. Answers whether it was the last one. Rejects with
   * SnapshotError for a block that does not fit, with EngineError when it cannot be written; either
   * way the load is over and `wipe` or another `beginLoad` of the store comes next.
   */
  async loadBlock(bytes: Buffer): Promise<boolean> {
    const block = decodeBlock(bytes)
    if (typeof block === 'string') throw this.#error(`block ${this.#number}: ${block}`)
    if (block.number !== this.#number || block.entriesSoFar !== this.#entries || this.#complete)
      throw this.#error(`block ${block.number} where block ${this.#number} was expected`)
    if (this.#applied !== undefined && block.applied.decree !== this.#applied.decree)
      throw this.#error(`block ${block.number} is of another snapshot`)
    this.#applied = block.applied
    this.#number++
    this.#entries += block.entries.length
    const batch = block.entries.map(([rawKey, value]) => {
      const key = dataKey(this.#prefix, rawKey)
      if (isMetaKey(key)) throw this.#error(`block ${block.number} holds a key that is no record's`)
      return { type: 'put' as const, key, value }
    })
    if (batch.length > 0) await this.#engine.write(batch, { sync: false })
    this.#complete = block.isLast
    return block.isLast
  }

  /** After the last block: makes the content durable and valid. Answers the applied decree. */
  async finish(): Promise<AppliedPoint> {
    if (!this.#complete || this.#applied === undefined)
      throw this.#error(`ended after block ${this.#number - 1}, before the last one`)
    await this.#finish(this.#applied)
    return this.#applied
  }

  #error(text: string): SnapshotError {
    return new SnapshotError(`${this.#what}: snapshot: ${text}`)
  }
}
