/**
 * One file of the mutation log: its name, its header, and reading it record by record. Which files
 * there are, and writing them, is `mutation-log.ts`.
 *
 *   header:  0  8 bytes "MPXMLOG" and a newline
 *            8  u32  format version, 1
 *           12  u32  seed, random per file: a record of another file never validates here
 *           16  u64  index of the file
 *           24  u64  offset of the file's first record, counted over all files
 *           32  u32  number of entries
 *           36  entries: u32 app id, u32 partition index, i64 highest decree before this file
 *            …  u32  CRC-32C of all before
 *
 * Then records (log-record.ts) to the end of the file. A file gets its final name when its header
 * is durable (L4), so a file with a bad header is damaged, not torn.
 */
import type { Gpid } from '../protocol/base.ts'
import { crc32c } from '../protocol/crc32c.ts'
import type { File } from '../runtime/runtime.ts'
import {
  RECORD_HEADER_BYTES,
  continuesChain,
  readI64,
  readRecordHeader,
  writeI64,
} from './log-record.ts'
import type { RecordHeader } from './log-record.ts'

export type MutationLogErrorCode =
  'closed' | 'corruption' | 'newer-format' | 'poisoned' | 'overloaded' | 'io'

/** `poisoned`: a write or sync failed, nothing more is logged by this process (L5). */
export class MutationLogError extends Error {
  override readonly name = 'MutationLogError'
  readonly code: MutationLogErrorCode
  constructor(code: MutationLogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export const LOG_FORMAT = 1
const MAGIC = Buffer.from('MPXMLOG\n', 'latin1')
const FIXED_BYTES = 36
const ENTRY_BYTES = 16
/** A server has some hundred replicas; a header beyond this is damage. */
const headerEntriesMax = 1 << 20

export interface SegmentHeader {
  readonly seed: number
  readonly index: number
  /** Global offset of the first record. */
  readonly startOffset: number
  /** Highest decree that files before this one held, by replica. */
  readonly decreesBefore: readonly { readonly gpid: Gpid; readonly decree: number }[]
}

export function segmentName(index: number): string {
  return `${String(index).padStart(10, '0')}.log`
}

/** `undefined` for any other file. */
export function segmentIndexOf(name: string): number | undefined {
  const match = /^(\d{10,})\.log$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const { decreesBefore } = header
  const bytes = Buffer.alloc(FIXED_BYTES + decreesBefore.length * ENTRY_BYTES + 4)
  MAGIC.copy(bytes)
  bytes.writeUInt32BE(LOG_FORMAT, 8)
  bytes.writeUInt32BE(header.seed, 12)
  writeI64(bytes, header.index, 16)
  writeI64(bytes, header.startOffset, 24)
  bytes.writeUInt32BE(decreesBefore.length, 32)
  let at = FIXED_BYTES
  for (const { gpid, decree } of decreesBefore) {
    bytes.writeUInt32BE(gpid.appId, at)
    bytes.writeUInt32BE(gpid.partitionIndex, at + 4)
    writeI64(bytes, decree, at + 8)
    at += ENTRY_BYTES
  }
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, at)), at)
  return bytes
}

export interface OpenedSegment {
  readonly header: SegmentHeader
  readonly headerBytes: number
}

/** `what` names the file in messages. Rejects with `newer-format`, `corruption` or the file's error. */
export async function readSegmentHeader(file: File, what: string): Promise<OpenedSegment> {
  const damaged = (found: string): MutationLogError =>
    new MutationLogError('corruption', `${what}: damaged header: ${found}`)
  const fixed = await file.read(0, FIXED_BYTES)
  if (fixed.length < FIXED_BYTES) throw damaged(`${fixed.length} bytes`)
  if (!fixed.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged('not a mutation log')
  const format = fixed.readUInt32BE(8)
  if (format > LOG_FORMAT)
    throw new MutationLogError(
      'newer-format',
      `${what} has log format ${format}, this release knows formats up to ${LOG_FORMAT}: ` +
        'start the newer release that wrote it',
    )
  const count = fixed.readUInt32BE(32)
  if (count > headerEntriesMax) throw damaged(`${count} entries`)
  const headerBytes = FIXED_BYTES + count * ENTRY_BYTES + 4
  const bytes = await file.read(0, headerBytes)
  if (bytes.length < headerBytes) throw damaged(`${bytes.length} of ${headerBytes} bytes`)
  const checked = headerBytes - 4
  if (crc32c(bytes.subarray(0, checked)) !== bytes.readUInt32BE(checked)) throw damaged('checksum')
  const decreesBefore = []
  for (let at = FIXED_BYTES; at < checked; at += ENTRY_BYTES)
    decreesBefore.push({
      gpid: { appId: bytes.readUInt32BE(at), partitionIndex: bytes.readUInt32BE(at + 4) },
      decree: readI64(bytes, at + 8),
    })
  return {
    headerBytes,
    header: {
      seed: bytes.readUInt32BE(12),
      index: readI64(bytes, 16),
      startOffset: readI64(bytes, 24),
      decreesBefore,
    },
  }
}

/** A window on a file that moves forward: `bytes` are the file's from `position` on. */
class FileWindow {
  readonly #file: File
  bytes: Buffer = Buffer.alloc(0)
  position = 0

  constructor(file: File) {
    this.#file = file
  }

  /** Index in `bytes` of file position `from`, with `lengthBytes` there; undefined at the end. */
  async ensure(from: number, lengthBytes: number): Promise<number | undefined> {
    const at = from - this.position
    if (at >= 0 && at + lengthBytes <= this.bytes.length) return at
    this.bytes = await this.#file.read(from, Math.max(lengthBytes, windowBytes))
    this.position = from
    return this.bytes.length < lengthBytes ? undefined : 0
  }
}

const windowBytes = 1 << 20

export interface ScannedRecord {
  readonly bytes: Buffer
  /** Index of the record in `bytes`. */
  readonly at: number
  readonly header: RecordHeader
  readonly endOffset: number
}

export interface ScanStart {
  /** Position in the file and chain of the record before it. */
  readonly position: number
  readonly chain: number
}

export interface ScanEnd {
  /** Position in the file behind the last good record, and its chain. */
  readonly position: number
  readonly chain: number
  readonly lastKind: number | undefined
  /** Whether the file ends there; otherwise something unreadable follows. */
  readonly clean: boolean
}

/**
 * Reads records until the first that is incomplete or fails its checks. `visit` may use the bytes
 * during its call only (until its promise settles).
 */
export async function scanSegment(
  file: File,
  { header }: OpenedSegment,
  start: ScanStart,
  limits: { readonly sizeBytes: number; readonly headerBytes: number },
  visit: (record: ScannedRecord) => void | Promise<void>,
): Promise<ScanEnd> {
  const window = new FileWindow(file)
  let { position, chain } = start
  let lastKind: number | undefined
  const base = header.startOffset - limits.headerBytes
  while (position + RECORD_HEADER_BYTES <= limits.sizeBytes) {
    let at = await window.ensure(position, RECORD_HEADER_BYTES)
    if (at === undefined) break
    const record = readRecordHeader(window.bytes, at, {
      seed: header.seed,
      offset: base + position,
    })
    if (record === undefined) break
    const lengthBytes = RECORD_HEADER_BYTES + record.bodyLength
    if (position + lengthBytes > limits.sizeBytes) break
    at = await window.ensure(position, lengthBytes)
    if (at === undefined || !continuesChain(window.bytes, at, record, chain)) break
    position += lengthBytes
    chain = record.chain
    lastKind = record.kind
    const done = visit({ bytes: window.bytes, at, header: record, endOffset: base + position })
    if (done !== undefined) await done
  }
  return { position, chain, lastKind, clean: position === limits.sizeBytes }
}

/**
 * Offset of a record that was written when the damaged place was durable already: proof that the
 * damage is no torn tail. `undefined` when there is none.
 */
export async function findLaterGroup(
  file: File,
  { header, headerBytes }: OpenedSegment,
  damage: { readonly position: number; readonly sizeBytes: number },
): Promise<number | undefined> {
  const window = new FileWindow(file)
  const base = header.startOffset - headerBytes
  let position = damage.position + 1
  while (position + RECORD_HEADER_BYTES <= damage.sizeBytes) {
    const first = await window.ensure(position, RECORD_HEADER_BYTES)
    if (first === undefined) return undefined
    const { bytes } = window
    for (let at = first; at + RECORD_HEADER_BYTES <= bytes.length; at++, position++) {
      const offset = base + position
      const record = readRecordHeader(bytes, at, { seed: header.seed, offset })
      if (record !== undefined && record.durableOffset > base + damage.position) return offset
    }
  }
  return undefined
}
