/**
 * The unit in which a replica's content travels to a learner: a run of entries with their checksum.
 * Pure.
 *
 *    0  u32  CRC-32C of all behind
 *    4  u32  format version, 1
 *    8  u32  number of this block, from 0
 *   12  u8   1 in the last block
 *   13  i64  decree, i64 ballot, i64 timestamp of the snapshot
 *   37  u32  entries in this block
 *   41  u64  entries in this and all blocks before
 *   49       entries: u32 key length, u32 value length, key, value
 */
import { crc32c } from '../protocol/crc32c.ts'
import type { Entry } from './engine.ts'
import { readI64, writeI64 } from './log-record.ts'
import type { AppliedPoint } from './store-keys.ts'

const FORMAT = 1
const HEADER_BYTES = 49
const ENTRY_HEADER_BYTES = 8

export interface SnapshotBlock {
  readonly number: number
  readonly isLast: boolean
  readonly applied: AppliedPoint
  readonly entriesSoFar: number
  /** Raw keys of the replica, without prefix. */
  readonly entries: readonly Entry[]
}

export function encodeBlock(block: SnapshotBlock): Buffer {
  let length = HEADER_BYTES
  for (const [key, value] of block.entries) length += ENTRY_HEADER_BYTES + key.length + value.length
  const bytes = Buffer.allocUnsafe(length)
  bytes.writeUInt32BE(FORMAT, 4)
  bytes.writeUInt32BE(block.number, 8)
  bytes.writeUInt8(block.isLast ? 1 : 0, 12)
  writeI64(bytes, block.applied.decree, 13)
  writeI64(bytes, block.applied.ballot, 21)
  writeI64(bytes, block.applied.timestampUs, 29)
  bytes.writeUInt32BE(block.entries.length, 37)
  writeI64(bytes, block.entriesSoFar, 41)
  let at = HEADER_BYTES
  for (const [key, value] of block.entries) {
    bytes.writeUInt32BE(key.length, at)
    bytes.writeUInt32BE(value.length, at + 4)
    bytes.set(key, at + ENTRY_HEADER_BYTES)
    bytes.set(value, at + ENTRY_HEADER_BYTES + key.length)
    at += ENTRY_HEADER_BYTES + key.length + value.length
  }
  bytes.writeUInt32BE(crc32c(bytes.subarray(4)), 0)
  return bytes
}

/** Entries share the memory of `bytes`. A text says what is wrong with a damaged block. */
export function decodeBlock(bytes: Buffer): SnapshotBlock | string {
  if (bytes.length < HEADER_BYTES) return `${bytes.length} bytes`
  if (crc32c(bytes.subarray(4)) !== bytes.readUInt32BE(0)) return 'wrong checksum'
  const format = bytes.readUInt32BE(4)
  if (format !== FORMAT) return `format ${format}, expected ${FORMAT}`
  const count = bytes.readUInt32BE(37)
  const entries: Entry[] = []
  let at = HEADER_BYTES
  for (let index = 0; index < count; index++) {
    if (at + ENTRY_HEADER_BYTES > bytes.length) return `entry ${index} is cut off`
    const keyStart = at + ENTRY_HEADER_BYTES
    const valueStart = keyStart + bytes.readUInt32BE(at)
    const end = valueStart + bytes.readUInt32BE(at + 4)
    if (end > bytes.length) return `entry ${index} is cut off`
    entries.push([bytes.subarray(keyStart, valueStart), bytes.subarray(valueStart, end)])
    at = end
  }
  if (at !== bytes.length) return `${bytes.length - at} bytes behind the last entry`
  return {
    number: bytes.readUInt32BE(8),
    isLast: bytes.readUInt8(12) === 1,
    applied: {
      decree: readI64(bytes, 13),
      ballot: readI64(bytes, 21),
      timestampUs: readI64(bytes, 29),
    },
    entriesSoFar: readI64(bytes, 41),
    entries,
  }
}
