/**
 * The checks and conversions of arguments before anything is sent (client.md 9.3). All throw
 * `PegasusError` with code ERR_INVALID_PARAMETERS and say what was found.
 */
import { HASH_KEY_BYTES_MAX } from '../protocol/key.ts'
import { FilterType } from '../protocol/rrdb.ts'
import { pegasusSeconds } from '../protocol/value.ts'
import { invalidParameters } from './pegasus-error.ts'

/** Keys and values: bytes, or text that is sent as UTF-8. */
export type Bytes = Uint8Array | string

/** A view where possible: the bytes are encoded before the call returns to its caller. */
export function bytesOf(value: Bytes, what: string): Buffer {
  if (typeof value === 'string') return Buffer.from(value)
  if (Buffer.isBuffer(value)) return value
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw invalidParameters(`${what} is ${typeof value}, expected bytes or text`)
}

export function hashKeyOf(value: Bytes, options: { readonly mayBeEmpty: boolean }): Buffer {
  const hashKey = bytesOf(value, 'hash key')
  if (hashKey.length > HASH_KEY_BYTES_MAX)
    throw invalidParameters(`hash key of ${hashKey.length} bytes, at most ${HASH_KEY_BYTES_MAX}`)
  if (hashKey.length === 0 && !options.mayBeEmpty)
    throw invalidParameters('empty hash key in an operation over a whole hash key')
  return hashKey
}

/** Not empty, each element converted. */
export function listOf<T, U>(values: readonly T[], what: string, each: (value: T) => U): U[] {
  if (!Array.isArray(values)) throw invalidParameters(`${what} is no list`)
  if (values.length === 0) throw invalidParameters(`${what} is empty`)
  return values.map((value) => each(value))
}

const EXPIRE_SECONDS_MAX = 0x7fffffff

/** Absolute expiry in seconds since the Pegasus epoch; 0 = never, for an absent ttl or one of 0. */
export function expireTsOf(ttlSeconds: number | undefined, wallMs: number): number {
  if (ttlSeconds === undefined || ttlSeconds === 0) return 0
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 0)
    throw invalidParameters(`ttlSeconds ${ttlSeconds}, expected a whole number from 0 up`)
  const expireTsSeconds = pegasusSeconds(wallMs) + ttlSeconds
  if (expireTsSeconds > EXPIRE_SECONDS_MAX)
    throw invalidParameters(`ttlSeconds ${ttlSeconds} ends after the year 2084`)
  return expireTsSeconds
}

/** A limit that travels as i32; -1 and 0 leave the server's own limit alone. */
export function limitOf(value: number, what: string): number {
  if (!Number.isInteger(value) || value < -1 || value > 0x7fffffff)
    throw invalidParameters(`${what} ${value}, expected a whole number from -1 up`)
  return value
}

export interface KeyFilter {
  readonly match: 'anywhere' | 'prefix' | 'postfix'
  /** An empty pattern matches everything. */
  readonly pattern: Bytes
}

const filterTypes = {
  anywhere: FilterType.FT_MATCH_ANYWHERE,
  prefix: FilterType.FT_MATCH_PREFIX,
  postfix: FilterType.FT_MATCH_POSTFIX,
} as const

const EMPTY = Buffer.alloc(0)

export function filterOf(filter: KeyFilter | undefined): {
  readonly type: number
  readonly pattern: Buffer
} {
  if (filter === undefined) return { type: FilterType.FT_NO_FILTER, pattern: EMPTY }
  const type = filterTypes[filter.match]
  if (type === undefined)
    throw invalidParameters(`filter ${filter.match}, expected anywhere, prefix or postfix`)
  return { type, pattern: bytesOf(filter.pattern, 'filter pattern') }
}

export interface SortKeyRange {
  /** From the first sort key on when not given. */
  readonly start?: Bytes | undefined
  /** To the last sort key when not given or empty. */
  readonly stop?: Bytes | undefined
  /** True when not given. */
  readonly startInclusive?: boolean | undefined
  /** False when not given. */
  readonly stopInclusive?: boolean | undefined
}

export interface CheckedRange {
  readonly start: Buffer
  /** Empty: no upper bound. */
  readonly stop: Buffer
  readonly startInclusive: boolean
  readonly stopInclusive: boolean
}

/** Refuses an interval that cannot hold a key, as the official clients do. */
export function rangeOf(range: SortKeyRange): CheckedRange {
  const start = range.start === undefined ? EMPTY : bytesOf(range.start, 'start sort key')
  const stop = range.stop === undefined ? EMPTY : bytesOf(range.stop, 'stop sort key')
  const startInclusive = range.startInclusive ?? true
  const stopInclusive = range.stopInclusive ?? false
  if (stop.length > 0) {
    const order = Buffer.compare(start, stop)
    if (order > 0 || (order === 0 && !(startInclusive && stopInclusive)))
      throw invalidParameters('the range of sort keys is empty')
  }
  return { start, stop, startInclusive, stopInclusive }
}
