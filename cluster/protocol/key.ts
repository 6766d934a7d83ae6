/**
 * Raw keys and the partition of a record (data-model.md 1):
 *
 *     u16 BE  length of the hash key, at most 65534
 *     bytes   hash key
 *     bytes   sort key
 *
 * Raw keys from outside may be malformed: what reads them answers `undefined`, never throws.
 */
import { crc64 } from './crc64.ts'

/** 0xFFFF is refused: the original server aborts on it. */
export const HASH_KEY_BYTES_MAX = 65534

export interface Key {
  readonly hashKey: Buffer
  readonly sortKey: Buffer
}

/** A fresh buffer. Throws RangeError for a hash key over 65534 bytes: check before. */
export function encodeKey(hashKey: Uint8Array, sortKey: Uint8Array): Buffer {
  const hashKeyBytes = hashKey.length
  if (hashKeyBytes > HASH_KEY_BYTES_MAX)
    throw new RangeError(`hash key of ${hashKeyBytes} bytes, at most ${HASH_KEY_BYTES_MAX}`)
  const raw = Buffer.allocUnsafe(2 + hashKeyBytes + sortKey.length)
  raw[0] = hashKeyBytes >>> 8
  raw[1] = hashKeyBytes
  raw.set(hashKey, 2)
  raw.set(sortKey, 2 + hashKeyBytes)
  return raw
}

/** Length of the hash key in a raw key; -1 when the key is malformed. */
export function hashKeyLength(raw: Uint8Array): number {
  if (raw.length < 2) return -1
  const length = ((raw[0] ?? 0) << 8) | (raw[1] ?? 0)
  return length > HASH_KEY_BYTES_MAX || length > raw.length - 2 ? -1 : length
}

/** Views on `raw`; `undefined` when it is malformed or its hash key is over the limit. */
export function decodeKey(raw: Buffer): Key | undefined {
  const length = hashKeyLength(raw)
  if (length < 0) return undefined
  return { hashKey: raw.subarray(2, 2 + length), sortKey: raw.subarray(2 + length) }
}

/**
 * The exclusive upper bound of all keys that start with `raw`: trailing FF bytes dropped, the last
 * byte left incremented. The carry may run into the hash key and its length, which is right because
 * of the order of raw keys. `undefined` when there is no such bound (nothing but FF bytes).
 */
export function nextKey(raw: Uint8Array): Buffer | undefined {
  let length = raw.length
  while (length > 0 && raw[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const next = Buffer.from(raw.subarray(0, length))
  next[length - 1] = (next[length - 1] ?? 0) + 1
  return next
}

/** The exclusive upper bound of all records of one hash key. Throws RangeError like `encodeKey`. */
export function keyAfterHashKey(hashKey: Uint8Array): Buffer {
  const next = nextKey(encodeKey(hashKey, Buffer.alloc(0)))
  if (next === undefined) throw new RangeError('a raw key made of FF bytes only')
  return next
}

/** Unsigned 64 bits: crc64 of the hash key, of the sort key when the hash key is empty. */
export function partitionHash(hashKey: Uint8Array, sortKey: Uint8Array): bigint {
  return crc64(hashKey.length > 0 ? hashKey : sortKey)
}

/** `partitionHash` of a raw key; `undefined` when it is malformed. */
export function rawKeyHash(raw: Uint8Array): bigint | undefined {
  const length = hashKeyLength(raw)
  if (length < 0) return undefined
  return length > 0 ? crc64(raw, 2, 2 + length) : crc64(raw, 2)
}

/** Hash modulo count, the hash taken as unsigned (a header carries it in a signed field). */
export function partitionIndexOf(hash: bigint, count: number): number {
  return Number(BigInt.asUintN(64, hash) % BigInt(count))
}
