/**
 * The native header (wire.md 12): 192 bytes, the memory of a C++ struct on x86, little-endian, in
 * both directions, and behind it a body that is a bare Thrift struct with field id 0:
 *
 *      0 'RDSN'        4 version 0       8 header length   12 header crc    16 body length
 *     20 body crc     24 id u64         32 trace id u64    40 name [48]     88 local code, hash
 *     96 app id      100 partition     104 context u64    112 from u64     120 timeout ms
 *    124 thread hash 128 partition hash u64               136 error [48]   184 local code, hash
 *
 * Checksums are CRC-32C; 0 means not computed. Requests that one connection brings are told from
 * Thrift ones in `request-stream.ts`.
 */
import { addressFromBits, addressToBits, type RpcAddress } from './base.ts'
import { ChunkBuffer } from './chunk-buffer.ts'
import { crc32c } from './crc32c.ts'
import { ACK_SUFFIX, FrameError } from './frame.ts'

export const NATIVE_MAGIC = 0x5244534e
export const NATIVE_HEADER_BYTES = 192
/** Name and error fields: 48 bytes with their terminator. */
const NAME_BYTES_MAX = 47
/** `serialization` of a body in Thrift's binary protocol, the only one here. */
export const THRIFT_BINARY = 1

export interface NativeHeader {
  /** Pairs a reply with its request, u64. */
  readonly id: bigint
  readonly traceId: bigint
  /** Of a reply with its `_ACK`; 47 bytes at most. */
  readonly name: string
  /** Numbers local to the sending program; receivers go by name. */
  readonly localCode: number
  readonly localHash: number
  readonly appId: number
  readonly partitionIndex: number
  readonly isRequest: boolean
  readonly isForwarded: boolean
  /** `THRIFT_BINARY`, or another that is not read here. */
  readonly serialization: number
  readonly isForwardSupported: boolean
  readonly isBackupRequest: boolean
  readonly from: RpcAddress
  readonly timeoutMs: number
  readonly threadHash: number
  /** Unsigned 64 bits. */
  readonly partitionHash: bigint
  /** Empty in a request. */
  readonly errorName: string
  readonly errorLocalCode: number
  readonly errorLocalHash: number
  /** Whether the sender computed the checksums; when encoding, whether to. */
  readonly checksummed: boolean
}

export interface NativeFrame {
  readonly header: NativeHeader
  /** The bare argument or result struct, a view on the receive buffer. */
  readonly body: Buffer
}

const CONTEXT_FORWARDED = 1 << 1
const CONTEXT_FORWARD_SUPPORTED = 1 << 10
const CONTEXT_BACKUP = 1 << 11

function context(header: NativeHeader): number {
  return (
    (header.isRequest ? 1 : 0) |
    (header.isForwarded ? CONTEXT_FORWARDED : 0) |
    ((header.serialization & 15) << 6) |
    (header.isForwardSupported ? CONTEXT_FORWARD_SUPPORTED : 0) |
    (header.isBackupRequest ? CONTEXT_BACKUP : 0)
  )
}

function text(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at)
  return bytes.toString('latin1', at, end < 0 || end > at + NAME_BYTES_MAX ? at + 48 : end)
}

/** A whole frame as one buffer; `body` is copied. Throws RangeError for names over 47 bytes. */
export function encodeNativeFrame(header: NativeHeader, body: Buffer): Buffer {
  for (const name of [header.name, header.errorName])
    if (name.length > NAME_BYTES_MAX)
      throw new RangeError(`name of ${name.length} bytes, at most ${NAME_BYTES_MAX}: ${name}`)
  const bytes = Buffer.alloc(NATIVE_HEADER_BYTES + body.length)
  bytes.writeUInt32BE(NATIVE_MAGIC, 0)
  bytes.writeUInt32LE(NATIVE_HEADER_BYTES, 8)
  bytes.writeUInt32LE(body.length, 16)
  bytes.writeBigUInt64LE(header.id, 24)
  bytes.writeBigUInt64LE(header.traceId, 32)
  bytes.write(header.name, 40, 'latin1')
  bytes.writeInt32LE(header.localCode, 88)
  bytes.writeInt32LE(header.localHash, 92)
  bytes.writeInt32LE(header.appId, 96)
  bytes.writeInt32LE(header.partitionIndex, 100)
  bytes.writeUInt32LE(context(header), 104)
  const from = addressToBits(header.from)
  bytes.writeUInt32LE(from.low, 112)
  bytes.writeUInt32LE(from.high, 116)
  bytes.writeInt32LE(header.timeoutMs, 120)
  bytes.writeInt32LE(header.threadHash, 124)
  bytes.writeBigUInt64LE(header.partitionHash, 128)
  bytes.write(header.errorName, 136, 'latin1')
  bytes.writeInt32LE(header.errorLocalCode, 184)
  bytes.writeInt32LE(header.errorLocalHash, 188)
  bytes.set(body, NATIVE_HEADER_BYTES)
  if (header.checksummed) {
    bytes.writeUInt32LE(crc32c(body), 20)
    bytes.writeUInt32LE(crc32c(bytes.subarray(0, NATIVE_HEADER_BYTES)), 12)
  }
  return bytes
}

/** Of an address as text, what fits the wire: '' for what is no IPv4 address with a port. */
export function nativeSender(address: string): RpcAddress {
  return /^\d{1,3}(\.\d{1,3}){3}:\d{1,5}$/.test(address) ? address : ''
}

/**
 * The reply to a request: its ids, gpid and hashes repeated, the context of every reply seen, and
 * checksums when the request had them. Names are cut where the field ends, as upstream does.
 */
export function encodeNativeReply(
  request: NativeHeader,
  from: RpcAddress,
  errorName: string,
  result: Buffer,
): Buffer {
  return encodeNativeFrame(
    {
      ...request,
      name: (request.name + ACK_SUFFIX).slice(0, NAME_BYTES_MAX),
      localCode: 0,
      localHash: 0,
      isRequest: false,
      isForwarded: false,
      serialization: THRIFT_BINARY,
      isForwardSupported: true,
      isBackupRequest: false,
      from,
      errorName: errorName.slice(0, NAME_BYTES_MAX),
      errorLocalCode: 0,
      errorLocalHash: 0,
    },
    result,
  )
}

function readHeader(bytes: Buffer): NativeHeader {
  const bits = bytes.readUInt32LE(104)
  return {
    id: bytes.readBigUInt64LE(24),
    traceId: bytes.readBigUInt64LE(32),
    name: text(bytes, 40),
    localCode: bytes.readInt32LE(88),
    localHash: bytes.readInt32LE(92),
    appId: bytes.readInt32LE(96),
    partitionIndex: bytes.readInt32LE(100),
    isRequest: (bits & 1) !== 0,
    isForwarded: (bits & CONTEXT_FORWARDED) !== 0,
    serialization: (bits >>> 6) & 15,
    isForwardSupported: (bits & CONTEXT_FORWARD_SUPPORTED) !== 0,
    isBackupRequest: (bits & CONTEXT_BACKUP) !== 0,
    from: addressFromBits(bytes.readUInt32LE(116), bytes.readUInt32LE(112)),
    timeoutMs: bytes.readInt32LE(120),
    threadHash: bytes.readInt32LE(124),
    partitionHash: bytes.readBigUInt64LE(128),
    errorName: text(bytes, 136),
    errorLocalCode: bytes.readInt32LE(184),
    errorLocalHash: bytes.readInt32LE(188),
    checksummed: bytes.readUInt32LE(12) !== 0,
  }
}

function checkHeader(header: Buffer): void {
  const crc = header.readUInt32LE(12)
  if (crc === 0) return
  const unchecked = Buffer.from(header)
  unchecked.writeUInt32LE(0, 12)
  if (crc32c(unchecked) !== crc)
    throw new FrameError('bad-header', 'wrong header checksum in a native frame')
}

/** Header and body of one whole frame whose header was checked. */
function decodeNativeFrame(bytes: Buffer): NativeFrame {
  const bodyCrc = bytes.readUInt32LE(20)
  const body = bytes.subarray(NATIVE_HEADER_BYTES)
  if (bodyCrc !== 0 && crc32c(body) !== bodyCrc)
    throw new FrameError('bad-message', 'wrong body checksum in a native frame')
  return { header: readHeader(bytes), body }
}

/**
 * Turns the bytes of one connection into native frames, requests or replies alike. A wrong checksum
 * breaks the stream like any other wrong header.
 */
export class NativeFramer {
  readonly #maxBodyBytes: number
  readonly #chunks = new ChunkBuffer()
  #frameBytes = 0

  constructor(limits: { readonly maxBodyBytes: number }) {
    this.#maxBodyBytes = limits.maxBodyBytes
  }

  /** Bytes received of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#chunks.length
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk, this.#frameBytes)
  }

  /** The next complete frame, `undefined` when more bytes are needed. Throws `FrameError`. */
  next(): NativeFrame | undefined {
    if (this.#frameBytes === 0) this.#frameBytes = this.#readSize()
    const size = this.#frameBytes
    if (size === 0 || this.#chunks.length < size) return undefined
    const bytes = this.#chunks.bytes
    const at = this.#chunks.take(size)
    this.#frameBytes = 0
    return decodeNativeFrame(bytes.subarray(at, at + size))
  }

  /** Judges a header as early as its bytes are there; 0 while it is incomplete. */
  #readSize(): number {
    const { bytes, start: at, length } = this.#chunks
    if (length < 4) return 0
    if (bytes.readUInt32BE(at) !== NATIVE_MAGIC)
      throw new FrameError('bad-magic', `starts with ${bytes.toString('hex', at, at + 4)}`)
    if (length < 8) return 0
    const version = bytes.readUInt32LE(at + 4)
    if (version !== 0) throw new FrameError('bad-version', `native version ${version}, expected 0`)
    if (length < 12) return 0
    const headerBytes = bytes.readUInt32LE(at + 8)
    if (headerBytes !== NATIVE_HEADER_BYTES)
      throw new FrameError(
        'bad-header',
        `native header of ${headerBytes} bytes, expected ${NATIVE_HEADER_BYTES}`,
      )
    if (length < 20) return 0
    const bodyBytes = bytes.readUInt32LE(at + 16)
    if (bodyBytes > this.#maxBodyBytes)
      throw new FrameError('oversize', `body of ${bodyBytes} bytes, at most ${this.#maxBodyBytes}`)
    if (length < NATIVE_HEADER_BYTES) return 0
    checkHeader(bytes.subarray(at, at + NATIVE_HEADER_BYTES))
    return NATIVE_HEADER_BYTES + bodyBytes
  }
}
