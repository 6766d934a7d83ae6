/**
 * The bytes of one record of the mutation log. Pure; files are `log-segment.ts` and up.
 *
 *      0  u32  chain     CRC-32C of bytes 4 … end, continued from the chain of the record before
 *      4  u32  check     CRC-32C of bytes 8 … 80, continued from the seed of the segment
 *      8  u32  body length
 *     12  u32  kind      1 mutation, 2 the log was closed in order
 *     16  u64  offset    of this record, counted over all segments
 *     24  u64  durable   all before this offset was durable when the record was written
 *     32  u32  app id
 *     36  u32  partition index
 *     40  i64  ballot
 *     48  i64  decree
 *     56  i64  last committed decree
 *     64  i64  timestamp, microseconds
 *     72  u64  reserved, 0
 *     80       body
 *
 * All big-endian. `chain` proves a record and that all before it are there. `check` with `offset`
 * proves a header alone, wherever it is found. Together with `durable` that tells a torn
 * tail from damage: what a power cut tears was not durable yet, so a record that was written when the
 * place was durable proves damage, and records of the same un-synced write do not (sectors reach the
 * disk in any order; replica-server.md 8.3, L2 and L3).
 */
import type { Gpid } from '../protocol/base.ts'
import { crc32c } from '../protocol/crc32c.ts'

export interface LogRecord {
  readonly gpid: Gpid
  readonly ballot: number
  readonly decree: number
  readonly lastCommittedDecree: number
  readonly timestampUs: number
  /** The mutation, as its owner encodes it. Must not change once it is handed to the log. */
  readonly body: Buffer
}

/** A record with its place: `offset` counts bytes over all segments and never goes back. */
export interface LoggedRecord extends LogRecord {
  readonly offset: number
}

export const RECORD_HEADER_BYTES = 80
export const recordKind = { MUTATION: 1, CLOSED: 2 } as const

const CHECK_START = 8
/** What reading tolerates; what appending allows is an option of the log, and lower. */
const bodyBytesMax = 1 << 30

export interface RecordPlace {
  readonly kind: number
  readonly offset: number
  readonly durableOffset: number
  readonly seed: number
  /** `chain` of the record before, or the seed at the start of a segment. */
  readonly previousChain: number
}

/** Writes header and body at `at`, which must have room; returns the new chain. */
export function writeRecord(to: Buffer, at: number, record: LogRecord, place: RecordPlace): number {
  const { body, gpid } = record
  const end = at + RECORD_HEADER_BYTES + body.length
  to.writeUInt32BE(body.length, at + 8)
  to.writeUInt32BE(place.kind, at + 12)
  writeI64(to, place.offset, at + 16)
  writeI64(to, place.durableOffset, at + 24)
  to.writeUInt32BE(gpid.appId, at + 32)
  to.writeUInt32BE(gpid.partitionIndex, at + 36)
  writeI64(to, record.ballot, at + 40)
  writeI64(to, record.decree, at + 48)
  writeI64(to, record.lastCommittedDecree, at + 56)
  writeI64(to, record.timestampUs, at + 64)
  writeI64(to, 0, at + 72)
  to.set(body, at + RECORD_HEADER_BYTES)
  to.writeUInt32BE(
    crc32c(to.subarray(at + CHECK_START, at + RECORD_HEADER_BYTES), place.seed),
    at + 4,
  )
  const chain = crc32c(to.subarray(at + 4, end), place.previousChain)
  to.writeUInt32BE(chain, at)
  return chain
}

export interface RecordHeader {
  readonly chain: number
  readonly bodyLength: number
  readonly kind: number
  readonly offset: number
  readonly durableOffset: number
}

/** Whether a header that states this offset stands at `at`; needs the whole header in `bytes`. */
export function readRecordHeader(
  bytes: Buffer,
  at: number,
  { seed, offset }: { readonly seed: number; readonly offset: number },
): RecordHeader | undefined {
  // The cheap test first: while looking for records behind damage this runs for every byte.
  if (bytes.readUInt32BE(at + 20) !== offset % 2 ** 32) return undefined
  if (readI64(bytes, at + 16) !== offset) return undefined
  const check = crc32c(bytes.subarray(at + CHECK_START, at + RECORD_HEADER_BYTES), seed)
  if (check !== bytes.readUInt32BE(at + 4)) return undefined
  const bodyLength = bytes.readUInt32BE(at + 8)
  if (bodyLength > bodyBytesMax) return undefined
  return {
    chain: bytes.readUInt32BE(at),
    bodyLength,
    kind: bytes.readUInt32BE(at + 12),
    offset,
    durableOffset: readI64(bytes, at + 24),
  }
}

/** Whether the whole record, known to be in `bytes`, continues the chain. */
export function continuesChain(
  bytes: Buffer,
  at: number,
  header: RecordHeader,
  previousChain: number,
): boolean {
  const end = at + RECORD_HEADER_BYTES + header.bodyLength
  return crc32c(bytes.subarray(at + 4, end), previousChain) === header.chain
}

export function readGpid(bytes: Buffer, at: number): Gpid {
  return { appId: bytes.readUInt32BE(at + 32), partitionIndex: bytes.readUInt32BE(at + 36) }
}

export function readDecree(bytes: Buffer, at: number): number {
  return readI64(bytes, at + 48)
}

/** The body is a copy, so that a record kept for long does not hold on to what was read with it. */
export function readRecord(bytes: Buffer, at: number, header: RecordHeader): LoggedRecord {
  const bodyStart = at + RECORD_HEADER_BYTES
  return {
    gpid: readGpid(bytes, at),
    ballot: readI64(bytes, at + 40),
    decree: readDecree(bytes, at),
    lastCommittedDecree: readI64(bytes, at + 56),
    timestampUs: readI64(bytes, at + 64),
    body: Buffer.from(bytes.subarray(bodyStart, bodyStart + header.bodyLength)),
    offset: header.offset,
  }
}

const TWO_32 = 2 ** 32

/** Of a safe integer, negative ones too. Cheaper than the bigint accessors of Buffer. */
export function writeI64(to: Buffer, value: number, at: number): void {
  const high = Math.floor(value / TWO_32)
  to.writeInt32BE(high, at)
  to.writeUInt32BE(value - high * TWO_32, at + 4)
}

/** Loses low bits beyond safe integers; checksums tell those from real records. */
export function readI64(from: Buffer, at: number): number {
  return from.readInt32BE(at) * TWO_32 + from.readUInt32BE(at + 4)
}
