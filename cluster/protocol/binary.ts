/**
 * Thrift's TBinaryProtocol over one Buffer: the writer grows a single buffer, the reader walks a
 * view. All integers are big-endian; names of fields and methods never reach the wire.
 *
 * The reader distrusts every length: it is checked against the bytes left before memory is taken,
 * and the number of container elements per reader is bounded. It throws nothing but
 * `ProtocolError`. Not a stream: frames are assembled by `frame.ts`.
 */
import {
  type Codec,
  ProtocolError,
  type ProtocolReader,
  type ProtocolWriter,
  ThriftType,
} from './schema.ts'

const TWO_32 = 4294967296
const INITIAL_BYTES = 256
/** Elements of all lists, sets and maps that one reader hands out: bounds what garbage can cost. */
export const ELEMENTS_MAX = 1 << 20
const SKIP_DEPTH_MAX = 32

export class BinaryWriter implements ProtocolWriter {
  #buffer: Buffer
  #length = 0

  constructor(initialBytes = INITIAL_BYTES) {
    this.#buffer = Buffer.allocUnsafe(initialBytes)
  }

  get length(): number {
    return this.#length
  }

  /** Forgets what was written; the memory is used again. */
  reset(): void {
    this.#length = 0
  }

  /** A copy of what was written; the writer may go on. */
  bytes(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length))
  }

  /** What was written, without a copy; the writer starts again with fresh memory. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#length)
    this.#buffer = Buffer.allocUnsafe(INITIAL_BYTES)
    this.#length = 0
    return taken
  }

  #reserve(sizeBytes: number): number {
    const at = this.#length
    const needed = at + sizeBytes
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
      this.#buffer.copy(grown, 0, 0, at)
      this.#buffer = grown
    }
    this.#length = needed
    return at
  }

  writeFieldBegin(_name: string, type: number, id: number): void {
    const at = this.#reserve(3)
    const buffer = this.#buffer
    buffer[at] = type
    buffer[at + 1] = id >>> 8
    buffer[at + 2] = id
  }

  writeFieldStop(): void {
    // Reserving may replace the buffer: in one expression the old one would be written.
    const at = this.#reserve(1)
    this.#buffer[at] = ThriftType.STOP
  }

  writeListBegin(elementType: number, size: number): void {
    this.writeByte(elementType)
    this.writeI32(size)
  }

  writeSetBegin(elementType: number, size: number): void {
    this.writeByte(elementType)
    this.writeI32(size)
  }

  writeMapBegin(keyType: number, valueType: number, size: number): void {
    this.writeByte(keyType)
    this.writeByte(valueType)
    this.writeI32(size)
  }

  writeBool(value: boolean): void {
    const at = this.#reserve(1)
    this.#buffer[at] = value ? 1 : 0
  }

  writeByte(value: number): void {
    const at = this.#reserve(1)
    this.#buffer[at] = value
  }

  writeI16(value: number): void {
    const at = this.#reserve(2)
    this.#buffer[at] = value >>> 8
    this.#buffer[at + 1] = value
  }

  writeI32(value: number): void {
    const at = this.#reserve(4)
    const buffer = this.#buffer
    buffer[at] = value >>> 24
    buffer[at + 1] = value >>> 16
    buffer[at + 2] = value >>> 8
    buffer[at + 3] = value
  }

  writeI64(value: bigint | number): void {
    if (typeof value === 'bigint') {
      const at = this.#reserve(8)
      this.#buffer.writeBigInt64BE(BigInt.asIntN(64, value), at)
      return
    }
    if (!Number.isSafeInteger(value)) throw new ProtocolError(`i64 from an unsafe number: ${value}`)
    this.writeI32(Math.floor(value / TWO_32) | 0)
    this.writeI32(value | 0)
  }

  writeDouble(value: number): void {
    const at = this.#reserve(8)
    this.#buffer.writeDoubleBE(value, at)
  }

  writeString(value: string): void {
    const at = this.#reserve(4 + value.length * 3)
    const written = this.#buffer.write(value, at + 4)
    this.#length = at
    this.writeI32(written)
    this.#length += written
  }

  writeBinary(value: Uint8Array): void {
    this.writeI32(value.length)
    const at = this.#reserve(value.length)
    this.#buffer.set(value, at)
  }

  /** Bytes as they are, without a length in front. */
  writeRaw(value: Uint8Array): void {
    const at = this.#reserve(value.length)
    this.#buffer.set(value, at)
  }
}

export class BinaryReader implements ProtocolReader {
  undecoded = false
  #fieldId = 0
  #offset: number
  #elementsLeft = ELEMENTS_MAX
  readonly #buffer: Buffer
  readonly #start: number
  readonly #end: number

  /** Reads `buffer` from `offset` up to `end`; strings and blobs are taken from it as views. */
  constructor(buffer: Buffer, offset = 0, end = buffer.length) {
    this.#buffer = buffer
    this.#start = offset
    this.#offset = offset
    this.#end = end
  }

  /** Where the next byte is read, in the buffer. */
  get offset(): number {
    return this.#offset
  }

  get fieldId(): number {
    return this.#fieldId
  }

  get remaining(): number {
    return this.#end - this.#offset
  }

  #take(sizeBytes: number): number {
    const at = this.#offset
    if (sizeBytes > this.#end - at)
      throw new ProtocolError(`${sizeBytes} bytes wanted, ${this.#end - at} left`, at - this.#start)
    this.#offset = at + sizeBytes
    return at
  }

  #length(what: string): number {
    const length = this.readI32()
    if (length < 0 || length > this.#end - this.#offset)
      throw new ProtocolError(
        `${what} of ${length} bytes, ${this.#end - this.#offset} left`,
        this.#offset - this.#start - 4,
      )
    return length
  }

  #size(what: string, elementBytesMin: number): number {
    const size = this.readI32()
    if (size < 0 || size * elementBytesMin > this.#end - this.#offset)
      throw new ProtocolError(
        `${what} of ${size} elements, ${this.#end - this.#offset} bytes left`,
        this.#offset - this.#start - 4,
      )
    return size
  }

  #grant(size: number): void {
    this.#elementsLeft -= size
    if (this.#elementsLeft < 0)
      throw new ProtocolError(`over ${ELEMENTS_MAX} elements`, this.#offset - this.#start)
  }

  readFieldBegin(): number {
    const type = this.readByte()
    this.#fieldId = type === ThriftType.STOP ? 0 : this.readI16()
    return type
  }

  readListBegin(): { readonly elementType: number; readonly size: number } {
    const elementType = this.readByte()
    const size = this.#size('list', minimumBytes(elementType))
    this.#grant(size)
    return { elementType, size }
  }

  readMapBegin(): { readonly keyType: number; readonly valueType: number; readonly size: number } {
    const keyType = this.readByte()
    const valueType = this.readByte()
    const size = this.#size('map', minimumBytes(keyType) + minimumBytes(valueType))
    this.#grant(size)
    return { keyType, valueType, size }
  }

  readBool(): boolean {
    return this.#buffer[this.#take(1)] !== 0
  }

  readByte(): number {
    const byte = this.#buffer[this.#take(1)] ?? 0
    return (byte << 24) >> 24
  }

  readI16(): number {
    return this.#buffer.readInt16BE(this.#take(2))
  }

  readI32(): number {
    return this.#buffer.readInt32BE(this.#take(4))
  }

  readI64(): bigint {
    return this.#buffer.readBigInt64BE(this.#take(8))
  }

  readI64Number(): number {
    const at = this.#take(8)
    const value = this.#buffer.readInt32BE(at) * TWO_32 + this.#buffer.readUInt32BE(at + 4)
    if (!Number.isSafeInteger(value))
      throw new ProtocolError(`i64 beyond 53 bits: ${value}`, at - this.#start)
    return value
  }

  readDouble(): number {
    return this.#buffer.readDoubleBE(this.#take(8))
  }

  readString(): string {
    const length = this.#length('string')
    const at = this.#take(length)
    return this.#buffer.toString('utf8', at, at + length)
  }

  readBinary(): Buffer {
    const length = this.#length('binary')
    const at = this.#take(length)
    return this.#buffer.subarray(at, at + length)
  }

  skip(type: number): boolean {
    return this.#skip(type, SKIP_DEPTH_MAX)
  }

  #skip(type: number, depth: number): boolean {
    switch (type) {
      case ThriftType.BOOL:
      case ThriftType.BYTE:
      case ThriftType.I16:
      case ThriftType.I32:
      case ThriftType.I64:
      case ThriftType.DOUBLE:
        this.#take(minimumBytes(type))
        return true
      case ThriftType.STRING:
        this.#take(this.#length('string'))
        return true
      case ThriftType.LIST:
      case ThriftType.SET:
        return this.#skipElements(this.readByte(), undefined, depth - 1)
      case ThriftType.MAP:
        return this.#skipElements(this.readByte(), this.readByte(), depth - 1)
      case ThriftType.STRUCT:
        // A struct may hide a bare string or integer (wire.md 6): nobody can tell where it ends.
        return false
      default:
        throw new ProtocolError(`field of unknown type ${type}`, this.#offset - this.#start)
    }
  }

  #skipElements(keyType: number, valueType: number | undefined, depth: number): boolean {
    const bytesMin = minimumBytes(keyType) + (valueType === undefined ? 0 : minimumBytes(valueType))
    const size = this.#size('container', bytesMin)
    this.#grant(size)
    if (size > 0 && depth <= 0) throw new ProtocolError('containers nested too deep', this.#offset)
    for (let index = 0; index < size; index++) {
      if (!this.#skip(keyType, depth)) return false
      if (valueType !== undefined && !this.#skip(valueType, depth)) return false
    }
    return true
  }
}

/** The fewest bytes a value of this wire type takes; the exact size of the fixed ones. */
function minimumBytes(type: number): number {
  switch (type) {
    case ThriftType.BOOL:
    case ThriftType.BYTE:
    case ThriftType.STRUCT:
      return 1
    case ThriftType.I16:
      return 2
    case ThriftType.I32:
    case ThriftType.STRING:
      return 4
    case ThriftType.LIST:
    case ThriftType.SET:
      return 5
    case ThriftType.MAP:
      return 6
    case ThriftType.I64:
    case ThriftType.DOUBLE:
      return 8
    default:
      return 1
  }
}

/** One value as bytes, without field header. Throws `ProtocolError` for values of the wrong shape. */
export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new BinaryWriter()
  codec.write(writer, value)
  return writer.take()
}

/** The inverse of `encode`; bytes behind the value are ignored. Throws `ProtocolError`. */
export function decode<T>(codec: Codec<T>, bytes: Buffer): T {
  return codec.read(new BinaryReader(bytes))
}
