/**
 * THFT frames (wire.md 2 to 5). Requests have their own header and no outer length word, replies
 * have an outer length word and no header:
 *
 *     request v0  'THFT' 0 48 crc body-length crc app-id partition-index timeout thread-hash hash(8)
 *     request v1  'THFT' 1 meta-length body-length, meta (a bare request_meta struct)
 *     body        i32 0x8001 << 16 | type, string name, i32 seqid, struct { 1: argument }
 *     reply       i32 total length, string error name, i32 0x80010002, string name + '_ACK',
 *                 i32 seqid, and when there is a result: struct { 0: result }
 *
 * Framers take chunks of any size. They check every length against a limit before memory is taken,
 * and throw `FrameError` when the stream can no longer be trusted: the connection must be closed.
 * What stands inside a complete frame is not judged here.
 */
import { BinaryReader, BinaryWriter } from './binary.ts'
import { ChunkBuffer } from './chunk-buffer.ts'
import {
  type RequestHeader,
  V1_META_BYTES,
  readHeaderV0,
  readMetaV1,
  writeHeaderV0,
  writeMetaV1,
} from './request-header.ts'
import { type Codec, ProtocolError, ThriftType } from './schema.ts'

const MAGIC = 0x54484654
const STRICT_VERSION = 0x8001
const V0_HEADER_BYTES = 48
const V1_HEADER_BYTES = 16
export const ACK_SUFFIX = '_ACK'

export const MessageType = { CALL: 1, REPLY: 2, EXCEPTION: 3, ONEWAY: 4 } as const

/** The byte stream broke the protocol: nothing behind this point can be trusted. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
  /** A short stable word for metrics. */
  readonly reason: FrameErrorReason
  constructor(reason: FrameErrorReason, message: string) {
    super(message)
    this.reason = reason
  }
}
export type FrameErrorReason =
  'bad-magic' | 'bad-version' | 'bad-header' | 'oversize' | 'bad-message' | 'bad-type'

export interface RequestFrame {
  readonly kind: 'thrift'
  readonly header: RequestHeader
  readonly name: string
  /** i32, may be negative; equal ones may be in flight. */
  readonly seqid: number
  /** CALL or ONEWAY. */
  readonly messageType: number
  /** The args struct behind the message header, a view on the receive buffer. */
  readonly argument: Buffer
}

export interface RequestLimits {
  readonly maxBodyBytes: number
  /** Of the v1 meta struct. */
  readonly maxMetaBytes: number
}

/** Turns the bytes of one connection into requests, both header versions mixed. */
export class RequestFramer {
  readonly #limits: RequestLimits
  readonly #chunks = new ChunkBuffer()
  /** Size of the frame that starts now, 0 while its header is incomplete. */
  #frameBytes = 0
  #version: 0 | 1 = 0

  constructor(limits: RequestLimits) {
    this.#limits = limits
  }

  /** Bytes received of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#chunks.length
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk, this.#frameBytes)
  }

  /** The next complete request, `undefined` when more bytes are needed. Throws `FrameError`. */
  next(): RequestFrame | undefined {
    if (this.#frameBytes === 0) this.#frameBytes = this.#readSizes()
    const size = this.#frameBytes
    if (size === 0 || this.#chunks.length < size) return undefined
    const bytes = this.#chunks.bytes
    const at = this.#chunks.take(size)
    this.#frameBytes = 0
    const end = at + size
    if (this.#version === 0)
      return readBody(bytes, at + V0_HEADER_BYTES, end, readHeaderV0(bytes, at))
    const body = at + V1_HEADER_BYTES + bytes.readUInt32BE(at + 8)
    return readBody(bytes, body, end, headerV1(bytes, at + V1_HEADER_BYTES, body))
  }

  /** Judges a header as early as its bytes are there. */
  #readSizes(): number {
    const { bytes, start: at, length } = this.#chunks
    if (length < 4) return 0
    if (bytes.readUInt32BE(at) !== MAGIC)
      throw new FrameError('bad-magic', `starts with ${bytes.toString('hex', at, at + 4)}`)
    if (length < 8) return 0
    const version = bytes.readUInt32BE(at + 4)
    if (version !== 0 && version !== 1)
      throw new FrameError('bad-version', `header version ${version}, expected 0 or 1`)
    this.#version = version
    if (version === 0) {
      if (length >= 12 && bytes.readUInt32BE(at + 8) !== V0_HEADER_BYTES)
        throw new FrameError(
          'bad-header',
          `header length ${bytes.readUInt32BE(at + 8)}, expected ${V0_HEADER_BYTES}`,
        )
      if (length < 20) return 0
      return V0_HEADER_BYTES + this.#checkedBody(bytes.readUInt32BE(at + 16))
    }
    if (length < V1_HEADER_BYTES) return 0
    const metaBytes = bytes.readUInt32BE(at + 8)
    if (metaBytes > this.#limits.maxMetaBytes)
      throw new FrameError(
        'oversize',
        `meta of ${metaBytes} bytes, at most ${this.#limits.maxMetaBytes}`,
      )
    return V1_HEADER_BYTES + metaBytes + this.#checkedBody(bytes.readUInt32BE(at + 12))
  }

  #checkedBody(bodyBytes: number): number {
    if (bodyBytes > this.#limits.maxBodyBytes)
      throw new FrameError(
        'oversize',
        `body of ${bodyBytes} bytes, at most ${this.#limits.maxBodyBytes}`,
      )
    return bodyBytes
  }
}

function headerV1(bytes: Buffer, at: number, end: number): RequestHeader {
  try {
    return readMetaV1(bytes, at, end)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw new FrameError('bad-header', `unreadable meta: ${error.message}`)
  }
}

interface MessageHead {
  readonly name: string
  readonly type: number
  readonly seqid: number
  /** Where the struct starts. */
  readonly offset: number
}

/** Strict form, or the old one that starts with the name's length. Names are kept byte for byte. */
function readMessageHead(bytes: Buffer, at: number, end: number): MessageHead {
  if (end - at < 4) throw new FrameError('bad-message', `message of ${end - at} bytes`)
  const first = bytes.readInt32BE(at)
  const strict = first < 0
  if (strict && first >>> 16 !== STRICT_VERSION)
    throw new FrameError('bad-message', `message version 0x${(first >>> 16).toString(16)}`)
  const nameAt = strict ? at + 8 : at + 4
  const nameBytes = strict ? (end - at >= 8 ? bytes.readInt32BE(at + 4) : -1) : first
  const tailBytes = strict ? 4 : 5
  if (nameBytes < 0 || nameBytes > end - nameAt - tailBytes)
    throw new FrameError('bad-message', `name of ${nameBytes} bytes, ${end - nameAt} left`)
  const behind = nameAt + nameBytes
  return {
    name: bytes.toString('latin1', nameAt, behind),
    type: strict ? first & 0xff : bytes.readUInt8(behind),
    seqid: bytes.readInt32BE(strict ? behind : behind + 1),
    offset: behind + tailBytes,
  }
}

function readBody(bytes: Buffer, at: number, end: number, header: RequestHeader): RequestFrame {
  const message = readMessageHead(bytes, at, end)
  if (message.type !== MessageType.CALL && message.type !== MessageType.ONEWAY)
    throw new FrameError('bad-type', `message type ${message.type} in a request`)
  return {
    kind: 'thrift',
    header,
    name: message.name,
    seqid: message.seqid,
    messageType: message.type,
    argument: bytes.subarray(message.offset, end),
  }
}

/**
 * A whole request as one buffer; `argument` (the args struct) is copied. v1 writes all five meta
 * fields, as the Java client does; v0 cannot carry `isBackupRequest`.
 */
export function encodeRequest(
  header: RequestHeader,
  name: string,
  seqid: number,
  argument: Buffer,
  messageType: number = MessageType.CALL,
): Buffer {
  const bodyBytes = 12 + name.length + argument.length
  const headerBytes = header.version === 0 ? V0_HEADER_BYTES : V1_HEADER_BYTES + V1_META_BYTES
  const bytes = Buffer.allocUnsafe(headerBytes + bodyBytes)
  bytes.writeUInt32BE(MAGIC, 0)
  bytes.writeUInt32BE(header.version, 4)
  if (header.version === 0) {
    bytes.writeUInt32BE(V0_HEADER_BYTES, 8)
    writeHeaderV0(bytes, header, bodyBytes)
  } else {
    bytes.writeUInt32BE(V1_META_BYTES, 8)
    bytes.writeUInt32BE(bodyBytes, 12)
    writeMetaV1(bytes, V1_HEADER_BYTES, header)
  }
  const at = writeMessageHead(bytes, headerBytes, messageType, name, seqid)
  bytes.set(argument, at)
  return bytes
}

function writeMessageHead(
  bytes: Buffer,
  at: number,
  type: number,
  name: string,
  seqid: number,
): number {
  bytes.writeInt32BE((STRICT_VERSION << 16) | type | 0, at)
  bytes.writeUInt32BE(name.length, at + 4)
  bytes.write(name, at + 8, 'latin1')
  bytes.writeInt32BE(seqid, at + 8 + name.length)
  return at + 12 + name.length
}

/**
 * A whole reply as one buffer. `name` is the request's; `_ACK` is added here. `result` (the result
 * struct, `encodeResult`) is normally absent when `errorName` is not ERR_OK.
 */
export function encodeReply(
  name: string,
  seqid: number,
  errorName: string,
  result: Buffer | undefined,
): Buffer {
  const resultBytes = result === undefined ? 0 : result.length
  const total = 20 + errorName.length + name.length + ACK_SUFFIX.length + resultBytes
  const bytes = Buffer.allocUnsafe(total)
  bytes.writeUInt32BE(total, 0)
  bytes.writeUInt32BE(errorName.length, 4)
  bytes.write(errorName, 8, 'latin1')
  const at = writeMessageHead(
    bytes,
    8 + errorName.length,
    MessageType.REPLY,
    name + ACK_SUFFIX,
    seqid,
  )
  if (result !== undefined) bytes.set(result, at)
  return bytes
}

export interface ReplyFrame {
  readonly errorName: string
  /** As it came, with its `_ACK`. */
  readonly name: string
  readonly seqid: number
  /** The result struct behind the message header, empty when there is none; a view. */
  readonly result: Buffer
  /** The whole frame, length word included; a view. */
  readonly bytes: Buffer
  /** Where the four bytes of the seqid lie in `bytes`. */
  readonly seqidOffset: number
}

/** Turns the bytes of one connection into replies. */
export class ReplyFramer {
  readonly #maxFrameBytes: number
  readonly #chunks = new ChunkBuffer()
  #frameBytes = 0

  constructor(limits: { readonly maxFrameBytes: number }) {
    this.#maxFrameBytes = limits.maxFrameBytes
  }

  get pendingBytes(): number {
    return this.#chunks.length
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk, this.#frameBytes)
  }

  /** The next complete reply, `undefined` when more bytes are needed. Throws `FrameError`. */
  next(): ReplyFrame | undefined {
    const { bytes, start, length } = this.#chunks
    if (this.#frameBytes === 0) {
      if (length < 4) return undefined
      const total = bytes.readUInt32BE(start)
      if (total < 20) throw new FrameError('bad-header', `reply of ${total} bytes in all`)
      if (total > this.#maxFrameBytes)
        throw new FrameError('oversize', `reply of ${total} bytes, at most ${this.#maxFrameBytes}`)
      this.#frameBytes = total
    }
    const size = this.#frameBytes
    if (length < size) return undefined
    const at = this.#chunks.take(size)
    this.#frameBytes = 0
    return readReply(bytes.subarray(at, at + size))
  }
}

function readReply(bytes: Buffer): ReplyFrame {
  const errorBytes = bytes.readUInt32BE(4)
  if (errorBytes > bytes.length - 20)
    throw new FrameError('bad-message', `error name of ${errorBytes} bytes`)
  const message = readMessageHead(bytes, 8 + errorBytes, bytes.length)
  return {
    errorName: bytes.toString('latin1', 8, 8 + errorBytes),
    name: message.name,
    seqid: message.seqid,
    result: bytes.subarray(message.offset),
    bytes,
    seqidOffset: message.offset - 4,
  }
}

function encodeSingleField<T>(id: number, codec: Codec<T>, value: T): Buffer {
  const writer = new BinaryWriter()
  writer.writeFieldBegin('', codec.wireType, id)
  codec.write(writer, value)
  writer.writeFieldStop()
  return writer.take()
}

/** A struct with the argument as its field 1: what stands behind a request's message header. */
export function encodeArgument<T>(codec: Codec<T>, value: T): Buffer {
  return encodeSingleField(1, codec, value)
}

/**
 * The argument of a request. Its field id is ignored, as upstream does. Throws `ProtocolError` when
 * the bytes are cut or are no argument of this kind; bytes behind the struct are ignored.
 */
export function decodeArgument<T>(codec: Codec<T>, bytes: Buffer): T {
  const reader = new BinaryReader(bytes)
  const type = reader.readFieldBegin()
  if (type !== codec.wireType)
    throw new ProtocolError(`argument of type ${type}, expected ${codec.wireType}`, 0)
  const value = codec.read(reader)
  // Behind a field that nobody can skip the end of the struct cannot be found (wire.md 6).
  if (!reader.undecoded) expectEnd(reader)
  return value
}

/** Further fields are skipped up to the STOP byte, which must be there. */
function expectEnd(reader: BinaryReader): void {
  for (;;) {
    const type = reader.readFieldBegin()
    if (type === ThriftType.STOP || !reader.skip(type)) return
  }
}

/** A struct with the result as its field 0: what stands behind a reply's message header. */
export function encodeResult<T>(codec: Codec<T>, value: T): Buffer {
  return encodeSingleField(0, codec, value)
}

/** The result of a reply. Throws `ProtocolError` when it is absent, cut or of another type. */
export function decodeResult<T>(codec: Codec<T>, bytes: Buffer): T {
  const reader = new BinaryReader(bytes)
  const type = reader.readFieldBegin()
  if (type !== codec.wireType)
    throw new ProtocolError(`result of type ${type}, expected ${codec.wireType}`, 0)
  return codec.read(reader)
}
