/**
 * The sending side of learning an application state: one replica's records at one applied decree,
 * handed out as blocks (snapshot-block.ts). Pins the engine's files while it is open.
 */
import type { EngineIterator } from './engine.ts'
import { encodeBlock } from './snapshot-block.ts'
import type { AppliedPoint } from './store-keys.ts'

/** Beside the limit in bytes, so that many tiny records do not make one giant block. */
const blockEntriesMax = 65_536

export class StoreSnapshot {
  /** What the blocks together contain: every decree up to this one and nothing else. */
  readonly applied: AppliedPoint
  readonly #iterator: EngineIterator
  #number = 0
  #entries = 0
  #finished = false

  constructor(iterator: EngineIterator, applied: AppliedPoint) {
    this.#iterator = iterator
    this.applied = applied
  }

  /**
   * The next block with about `maxBytes` of entries (one record may exceed it); undefined behind the
   * last one. There is at least one block; the last may hold no entries. One call at a time.
   */
  async nextBlock(maxBytes: number): Promise<Buffer | undefined> {
    if (this.#finished) return undefined
    const entries = await this.#iterator.next(blockEntriesMax, maxBytes)
    const block = encodeBlock({
      number: this.#number,
      isLast: entries.length === 0,
      applied: this.applied,
      entriesSoFar: this.#entries,
      entries,
    })
    this.#number++
    this.#entries += entries.length
    this.#finished = entries.length === 0
    return block
  }

  close(): Promise<void> {
    return this.#iterator.close()
  }
}
