/**
 * Bytes of a stream on their way to frames. Chunks of any size go in, contiguous bytes come out. A
 * chunk that holds whole frames is used as it is; only an incomplete frame is copied, and each byte
 * of it a bounded number of times, so that a peer that sends single bytes costs no more memory or
 * time than one that does not.
 */
const EMPTY = Buffer.alloc(0)

export class ChunkBuffer {
  #buffer: Buffer = EMPTY
  #start = 0
  #end = 0
  /** Memory from `#end` on is ours and may be appended to. Handed-out views lie before `#start`. */
  #owned = false

  /** Bytes not yet taken. */
  get length(): number {
    return this.#end - this.#start
  }

  /** Where the bytes not yet taken lie: valid until the next `push`. */
  get bytes(): Buffer {
    return this.#buffer
  }

  get start(): number {
    return this.#start
  }

  /** Adds a chunk, which from now on belongs to this object. */
  push(chunk: Buffer, frameBytesExpected: number): void {
    const kept = this.#end - this.#start
    if (kept === 0) {
      this.#buffer = chunk
      this.#start = 0
      this.#end = chunk.length
      this.#owned = false
      return
    }
    const needed = kept + chunk.length
    if (!this.#owned || this.#buffer.length - this.#end < chunk.length) {
      const room = Math.max(needed, Math.min(frameBytesExpected, needed * 2))
      const grown = Buffer.allocUnsafeSlow(room)
      this.#buffer.copy(grown, 0, this.#start, this.#end)
      this.#buffer = grown
      this.#start = 0
      this.#end = kept
      this.#owned = true
    }
    chunk.copy(this.#buffer, this.#end)
    this.#end += chunk.length
  }

  /** Takes the first `sizeBytes`, which must be there; returns where they start in `bytes`. */
  take(sizeBytes: number): number {
    const at = this.#start
    this.#start += sizeBytes
    return at
  }
}
