/**
 * Walking a range of a replica's records in pieces: how far an iteration may go (data-model.md 4 and
 * 7), and a reader that hands out single entries of an engine iterator. What to do with the entries
 * is the caller's business.
 */
import type { EngineIterator, Entry } from '../storage/engine.ts'

/** Limits of the server, whatever the request asks for. */
export const rangeLimits = {
  /** Records that one multi_get over a range looks at. */
  multiGetRecordsMax: 3000,
  /** Sort keys and values that one multi_get collects. */
  multiGetBytesMax: 30 * 1024 * 1024,
  /** Records that one reply of a scanner looks at. */
  scanRecordsMax: 1000,
  /** One iteration; the client's deadline may end it earlier. */
  iterationMsMax: 30_000,
} as const

const pieceEntriesMax = 200
const pieceBytesMax = 256 * 1024

/** Owns the iterator. Entries are taken synchronously; `fill` fetches the next piece. */
export class RangeReader {
  readonly #iterator: EngineIterator
  #piece: readonly Entry[] = []
  #at = 0
  #ended = false
  #hasRead = false

  constructor(iterator: EngineIterator) {
    this.#iterator = iterator
  }

  /** Whether a piece was fetched: time limits count from the second one, so that there is progress. */
  get hasRead(): boolean {
    return this.#hasRead
  }

  /** The next entry of the piece, `undefined` at its end: then `fill`. */
  take(): Entry | undefined {
    const entry = this.#piece[this.#at]
    if (entry !== undefined) this.#at++
    return entry
  }

  /**
   * Makes sure that `take` answers; false at the end of the range. `wanted` is how many entries the
   * caller is going to take at most.
   */
  async fill(wanted: number): Promise<boolean> {
    if (this.#at < this.#piece.length) return true
    if (this.#ended) return false
    const entries = Math.max(1, Math.min(wanted, pieceEntriesMax))
    this.#piece = await this.#iterator.next(entries, pieceBytesMax)
    this.#at = 0
    this.#hasRead = true
    this.#ended = this.#piece.length === 0
    return !this.#ended
  }

  async close(): Promise<void> {
    this.#piece = []
    this.#ended = true
    await this.#iterator.close()
  }
}
