/**
 * Where the records of one replica live in the key space of the shared engine (replica-server.md 9.3
 * under a prefix per replica). Pure.
 *
 *   u32 app id, u32 partition index | raw key of data-model.md 1      a record
 *   u32 app id, u32 partition index | FF FF | name                    a meta entry of the replica
 *
 * A hash key of 65535 bytes is not allowed, so FF FF never begins a raw key and sorts behind all.
 */
import type { Gpid } from '../protocol/base.ts'
import type { Entry, IterateOptions } from './engine.ts'
import { readI64, writeI64 } from './log-record.ts'

export const PREFIX_BYTES = 8
const META_MARK = Buffer.from([0xff, 0xff])

export function storePrefix({ appId, partitionIndex }: Gpid): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32BE(appId, 0)
  prefix.writeUInt32BE(partitionIndex, 4)
  return prefix
}

export function gpidOfKey(key: Buffer): Gpid {
  return { appId: key.readUInt32BE(0), partitionIndex: key.readUInt32BE(4) }
}

export function dataKey(prefix: Buffer, key: Buffer): Buffer {
  const full = Buffer.allocUnsafe(PREFIX_BYTES + key.length)
  full.set(prefix, 0)
  full.set(key, PREFIX_BYTES)
  return full
}

/** The replica's key without the prefix; shares memory. */
export function withoutPrefix([key, value]: Entry): Entry {
  return [key.subarray(PREFIX_BYTES), value]
}

export function metaKey(prefix: Buffer, name: string): Buffer {
  return Buffer.concat([prefix, META_MARK, Buffer.from(name)])
}

export function isMetaKey(fullKey: Buffer): boolean {
  return fullKey[PREFIX_BYTES] === 0xff && fullKey[PREFIX_BYTES + 1] === 0xff
}

/** First key behind all records of the replica. */
export function dataEnd(prefix: Buffer): Buffer {
  return Buffer.concat([prefix, META_MARK])
}

/** First key behind everything of the replica. */
export function storeEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  for (let at = PREFIX_BYTES - 1; at >= 0; at--) {
    const byte = end[at] ?? 0
    end[at] = (byte + 1) & 0xff
    if (byte !== 0xff) break
  }
  return end
}

/** A range over raw keys as a range of the engine that holds records of this replica only. */
export function dataRange(prefix: Buffer, options: IterateOptions): IterateOptions {
  const range: { -readonly [K in keyof IterateOptions]: IterateOptions[K] } = {}
  if (options.reverse !== undefined) range.reverse = options.reverse
  if (options.keysOnly !== undefined) range.keysOnly = options.keysOnly
  if (options.gte !== undefined) range.gte = dataKey(prefix, options.gte)
  else if (options.gt !== undefined) range.gt = dataKey(prefix, options.gt)
  else range.gte = prefix
  const upper = options.lte ?? options.lt
  if (upper === undefined || Buffer.compare(upper, META_MARK) >= 0) range.lt = dataEnd(prefix)
  else if (options.lte !== undefined) range.lte = dataKey(prefix, options.lte)
  else range.lt = dataKey(prefix, upper)
  return range
}

/** What the engine says about a replica's history, in the same batch as the data (9.3). */
export interface AppliedPoint {
  /** Every decree up to this one is in the engine, none behind it; 0 for an empty replica. */
  readonly decree: number
  /** Ballot of that mutation. */
  readonly ballot: number
  /** Highest timestamp of a mutation so far, microseconds. */
  readonly timestampUs: number
}

export const NOTHING_APPLIED: AppliedPoint = { decree: 0, ballot: 0, timestampUs: 0 }
const POINT_BYTES = 24

export function encodePoint(point: AppliedPoint): Buffer {
  const bytes = Buffer.allocUnsafe(POINT_BYTES)
  writeI64(bytes, point.decree, 0)
  writeI64(bytes, point.ballot, 8)
  writeI64(bytes, point.timestampUs, 16)
  return bytes
}

/** `undefined` when the bytes are no such point. */
export function decodePoint(bytes: Buffer): AppliedPoint | undefined {
  if (bytes.length !== POINT_BYTES) return undefined
  return {
    decree: readI64(bytes, 0),
    ballot: readI64(bytes, 8),
    timestampUs: readI64(bytes, 16),
  }
}
