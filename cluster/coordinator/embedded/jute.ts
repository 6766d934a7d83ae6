/**
 * Jute, the record encoding of ZooKeeper: big-endian numbers, and buffers, texts and lists behind a
 * four-byte length where -1 means absent. Both directions, bounds checked. No records here.
 */
import { isUtf8 } from 'node:buffer'

/** The bytes are not what they should be; the message says which field. */
export class JuteError extends Error {
  override readonly name = 'JuteError'
}

export class JuteReader {
  readonly #bytes: Buffer
  #offset: number

  constructor(bytes: Buffer, offset = 0) {
    this.#bytes = bytes
    this.#offset = offset
  }

  leftBytes(): number {
    return this.#bytes.length - this.#offset
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4, 'int'))
  }

  long(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8, 'long'))
  }

  boolean(): boolean {
    return this.#bytes.readUInt8(this.#take(1, 'boolean')) !== 0
  }

  /** A copy, so that it does not keep the frame alive; absent reads as empty. */
  buffer(): Buffer {
    const length = this.#length('buffer')
    const start = this.#take(length, 'buffer')
    return Buffer.from(this.#bytes.subarray(start, start + length))
  }

  string(): string {
    const length = this.#length('string')
    const start = this.#take(length, 'string')
    const bytes = this.#bytes.subarray(start, start + length)
    if (!isUtf8(bytes)) throw new JuteError('a string is not UTF-8')
    return bytes.toString('utf8')
  }

  list<T>(item: () => T): T[] {
    const count = this.#length('list')
    // Each item takes a byte at least, so a made-up count ends here and not in memory.
    if (count > this.leftBytes()) throw new JuteError(`a list of ${count} items is cut off`)
    return Array.from({ length: count }, item)
  }

  #length(what: string): number {
    const length = this.int()
    if (length < -1) throw new JuteError(`a ${what} has length ${length}`)
    return Math.max(0, length)
  }

  #take(sizeBytes: number, what: string): number {
    const start = this.#offset
    if (sizeBytes > this.#bytes.length - start) throw new JuteError(`a ${what} is cut off`)
    this.#offset = start + sizeBytes
    return start
  }
}

export class JuteWriter {
  #bytes: Buffer
  #size = 0

  constructor(capacityBytes = 256) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes)
  }

  int(value: number): this {
    const start = this.#reserve(4)
    this.#bytes.writeInt32BE(value, start)
    return this
  }

  long(value: bigint): this {
    const start = this.#reserve(8)
    this.#bytes.writeBigInt64BE(value, start)
    return this
  }

  boolean(value: boolean): this {
    const start = this.#reserve(1)
    this.#bytes.writeUInt8(value ? 1 : 0, start)
    return this
  }

  buffer(value: Buffer): this {
    this.int(value.length)
    const start = this.#reserve(value.length)
    value.copy(this.#bytes, start)
    return this
  }

  string(value: string): this {
    const length = Buffer.byteLength(value)
    this.int(length)
    const start = this.#reserve(length)
    this.#bytes.write(value, start)
    return this
  }

  list<T>(values: readonly T[], item: (value: T) => void): this {
    this.int(values.length)
    for (const value of values) item(value)
    return this
  }

  /** What was written; the writer must not be used afterwards. */
  take(): Buffer {
    return this.#bytes.subarray(0, this.#size)
  }

  /** May replace `#bytes`: to be called before that is read. */
  #reserve(sizeBytes: number): number {
    const start = this.#size
    this.#size += sizeBytes
    if (this.#size > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#size, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, start)
      this.#bytes = grown
    }
    return start
  }
}
