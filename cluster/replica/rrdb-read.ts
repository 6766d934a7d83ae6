/**
 * The read operations on single records and on the records of one hash key (data-model.md 4): get,
 * ttl, batch_get, sortkey_count, multi_get. Scanners are `rrdb-scan.ts`. Expiry is judged by the
 * wall clock that comes with the request; time limits by the monotonic clock.
 */
import {
  HASH_KEY_BYTES_MAX,
  encodeKey,
  hashKeyLength,
  keyAfterHashKey,
  nextKey,
} from '../protocol/key.ts'
import {
  type BatchGetRequest,
  type BatchGetResponse,
  type CountResponse,
  FilterType,
  type FullData,
  type KeyValue,
  type MultiGetRequest,
  type MultiGetResponse,
  type ReadResponse,
  type TtlResponse,
} from '../protocol/rrdb.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { EngineIterator, IterateOptions, KeyRange } from '../storage/engine.ts'
import { isKnownFilter, matchesFilter } from './rrdb-filter.ts'
import { RangeReader, rangeLimits } from './rrdb-range.ts'
import { liveRecord } from './rrdb-record.ts'
import { DataStatus, type ResponseOrigin } from './rrdb-status.ts'

/** What reads need of a replica's store: its records under their raw keys. */
export interface RecordSource {
  readonly get: (key: Buffer) => Promise<Buffer | undefined>
  readonly getMany: (keys: readonly Buffer[]) => Promise<readonly (Buffer | undefined)[]>
  readonly iterate: (options: IterateOptions) => EngineIterator
}

/** The circumstances of one read. */
export interface ReadTime {
  /** Seconds since the Pegasus epoch. */
  readonly nowSeconds: number
  /** Monotonic milliseconds; an iteration ends with what it has at this point. */
  readonly deadlineAtMs: number
}

export interface ReadScope {
  readonly source: RecordSource
  readonly origin: ResponseOrigin
  readonly clock: Clock
}

const EMPTY = Buffer.alloc(0)
/** Point reads of one request go to the engine in groups, so that size limits bound memory. */
const keysPerReadMax = 128

export async function get(scope: ReadScope, key: Buffer, time: ReadTime): Promise<ReadResponse> {
  const answer = (error: number, value: Buffer): ReadResponse => ({
    error,
    value,
    ...scope.origin,
  })
  if (hashKeyLength(key) < 0) return answer(DataStatus.INVALID_ARGUMENT, EMPTY)
  const record = liveRecord(await scope.source.get(key), time.nowSeconds)
  if (record === undefined) return answer(DataStatus.NOT_FOUND, EMPTY)
  return answer(DataStatus.OK, record.data)
}

/** Seconds left, -1 for a record that never expires. */
export async function ttl(scope: ReadScope, key: Buffer, time: ReadTime): Promise<TtlResponse> {
  const answer = (error: number, ttlSeconds: number): TtlResponse => ({
    error,
    ttlSeconds,
    ...scope.origin,
  })
  if (hashKeyLength(key) < 0) return answer(DataStatus.INVALID_ARGUMENT, 0)
  const record = liveRecord(await scope.source.get(key), time.nowSeconds)
  if (record === undefined) return answer(DataStatus.NOT_FOUND, 0)
  const { expireTsSeconds } = record
  // Beyond 31 bits the difference wraps, as the field does.
  return answer(DataStatus.OK, expireTsSeconds === 0 ? -1 : (expireTsSeconds - time.nowSeconds) | 0)
}

/** Found records in the order of the request; missing ones are left out. */
export async function batchGet(
  scope: ReadScope,
  { keys }: BatchGetRequest,
  time: ReadTime,
): Promise<BatchGetResponse> {
  if (keys.length === 0 || keys.some(({ hashKey }) => hashKey.length > HASH_KEY_BYTES_MAX))
    return { error: DataStatus.INVALID_ARGUMENT, data: [], ...scope.origin }
  const data: FullData[] = []
  for (let from = 0; from < keys.length; from += keysPerReadMax) {
    const group = keys.slice(from, from + keysPerReadMax)
    const stored = await scope.source.getMany(
      group.map(({ hashKey, sortKey }) => encodeKey(hashKey, sortKey)),
    )
    for (const [index, { hashKey, sortKey }] of group.entries()) {
      const record = liveRecord(stored[index], time.nowSeconds)
      if (record !== undefined) data.push({ hashKey, sortKey, value: record.data })
    }
  }
  return { error: DataStatus.OK, data, ...scope.origin }
}

/** Live records of a hash key; -1 when time ran out. */
export async function sortkeyCount(
  scope: ReadScope,
  hashKey: Buffer,
  time: ReadTime,
): Promise<CountResponse> {
  if (hashKey.length > HASH_KEY_BYTES_MAX)
    return { error: DataStatus.INVALID_ARGUMENT, count: 0, ...scope.origin }
  const reader = new RangeReader(
    scope.source.iterate({ gte: encodeKey(hashKey, EMPTY), lt: keyAfterHashKey(hashKey) }),
  )
  let count = 0
  try {
    while (await reader.fill(Infinity)) {
      for (let entry = reader.take(); entry !== undefined; entry = reader.take())
        if (liveRecord(entry[1], time.nowSeconds) !== undefined) count++
      if (scope.clock.monotonicMs() < time.deadlineAtMs) continue
      if (await reader.fill(1)) count = -1
      break
    }
  } finally {
    await reader.close()
  }
  return { error: DataStatus.OK, count, ...scope.origin }
}

export async function multiGet(
  scope: ReadScope,
  request: MultiGetRequest,
  time: ReadTime,
): Promise<MultiGetResponse> {
  const answer = (error: number, kvs: KeyValue[]): MultiGetResponse => ({
    error,
    kvs,
    ...scope.origin,
  })
  if (request.hashKey.length > HASH_KEY_BYTES_MAX || !isKnownFilter(request.sortKeyFilterType))
    return answer(DataStatus.INVALID_ARGUMENT, [])
  const collected =
    request.sortKeys.length > 0
      ? await collectNamed(scope, request, time)
      : await collectRange(scope, request, time)
  return answer(collected.complete ? DataStatus.OK : DataStatus.INCOMPLETE, collected.kvs)
}

interface Collected {
  readonly kvs: KeyValue[]
  readonly complete: boolean
}

/** The limits count at the next live record, so that the size may be exceeded by one record. */
async function collectNamed(
  { source }: ReadScope,
  { hashKey, sortKeys, maxKvCount, maxKvSize, noValue }: MultiGetRequest,
  time: ReadTime,
): Promise<Collected> {
  const pairsMax = maxKvCount > 0 ? maxKvCount : Infinity
  const bytesMax = bytesLimit(maxKvSize)
  const kvs: KeyValue[] = []
  let bytes = 0
  for (let from = 0; from < sortKeys.length; from += keysPerReadMax) {
    const group = sortKeys.slice(from, from + keysPerReadMax)
    const stored = await source.getMany(group.map((sortKey) => encodeKey(hashKey, sortKey)))
    for (const [index, key] of group.entries()) {
      const record = liveRecord(stored[index], time.nowSeconds)
      if (record === undefined) continue
      if (kvs.length >= pairsMax || bytes >= bytesMax) return { kvs, complete: false }
      const value = noValue ? EMPTY : record.data
      bytes += key.length + value.length
      kvs.push({ key, value })
    }
  }
  return { kvs, complete: true }
}

/**
 * Walks on to the end of the hash key, not only of the range: an iteration that a limit stopped
 * counts as complete only when its iterator has reached the end. So exactly as many pairs as asked
 * for are answered kIncomplete when another record of the hash key follows outside the range.
 */
async function collectRange(
  scope: ReadScope,
  request: MultiGetRequest,
  time: ReadTime,
): Promise<Collected> {
  const range = multiGetRange(request)
  if (range === undefined) return { kvs: [], complete: true }
  const { hashKey, sortKeyFilterType, sortKeyFilterPattern, noValue, reverse } = request
  const pairsMax =
    request.maxKvCount > 0
      ? Math.min(request.maxKvCount, rangeLimits.multiGetRecordsMax)
      : rangeLimits.multiGetRecordsMax
  const bytesMax = bytesLimit(request.maxKvSize)
  const reader = new RangeReader(
    scope.source.iterate({ ...beyondRange(range, hashKey, reverse), reverse }),
  )
  const kvs: KeyValue[] = []
  let bytes = 0
  let looked = 0
  let complete = false
  try {
    while (kvs.length < pairsMax && bytes < bytesMax && looked < rangeLimits.multiGetRecordsMax) {
      let entry = reader.take()
      if (entry === undefined) {
        if (reader.hasRead && scope.clock.monotonicMs() >= time.deadlineAtMs) break
        complete = !(await reader.fill(pairsMax + 1))
        entry = reader.take()
        if (entry === undefined) break
      }
      const [rawKey, stored] = entry
      const place = placeAtFarEnd(range, rawKey, reverse)
      complete = place !== 'before'
      if (place === 'behind') break
      looked++
      const key = rawKey.subarray(2 + hashKey.length)
      const record = matchesFilter(sortKeyFilterType, sortKeyFilterPattern, key)
        ? liveRecord(stored, time.nowSeconds)
        : undefined
      if (record !== undefined) {
        const value = noValue ? EMPTY : record.data
        bytes += key.length + value.length
        kvs.push({ key, value })
      }
      if (complete) break
    }
    if (!complete) complete = !(await reader.fill(1))
  } finally {
    await reader.close()
  }
  if (reverse) kvs.reverse()
  return { kvs, complete }
}

interface SortKeyRange {
  readonly start: Buffer
  readonly isStartIncluded: boolean
  readonly stop: Buffer
  readonly isStopIncluded: boolean
}

/** Raw keys; `undefined` when no key can lie between them. */
function multiGetRange(request: MultiGetRequest): SortKeyRange | undefined {
  const { hashKey, startSortkey, stopSortkey, sortKeyFilterType, sortKeyFilterPattern } = request
  let start = encodeKey(hashKey, startSortkey)
  let isStartIncluded = request.startInclusive
  let stop = stopSortkey.length === 0 ? keyAfterHashKey(hashKey) : encodeKey(hashKey, stopSortkey)
  let isStopIncluded = stopSortkey.length > 0 && request.stopInclusive
  if (sortKeyFilterType === FilterType.FT_MATCH_PREFIX && sortKeyFilterPattern.length > 0) {
    const prefixStart = encodeKey(hashKey, sortKeyFilterPattern)
    const prefixStop = nextKey(prefixStart)
    if (Buffer.compare(prefixStart, start) > 0) {
      start = prefixStart
      isStartIncluded = true
    }
    if (prefixStop !== undefined && Buffer.compare(prefixStop, stop) <= 0) {
      stop = prefixStop
      isStopIncluded = false
    }
  }
  const isEmpty = keyRange(start, isStartIncluded, stop, isStopIncluded) === undefined
  return isEmpty ? undefined : { start, isStartIncluded, stop, isStopIncluded }
}

/** From the near end of the range to the end of the hash key. */
function beyondRange(range: SortKeyRange, hashKey: Buffer, reverse: boolean): KeyRange {
  const { start, isStartIncluded, stop, isStopIncluded } = range
  if (reverse)
    return { gte: encodeKey(hashKey, EMPTY), ...(isStopIncluded ? { lte: stop } : { lt: stop }) }
  return { lt: keyAfterHashKey(hashKey), ...(isStartIncluded ? { gte: start } : { gt: start }) }
}

/** Where a key lies, seen from where the iteration ends: `last` is the end itself, included. */
function placeAtFarEnd(
  { start, isStartIncluded, stop, isStopIncluded }: SortKeyRange,
  key: Buffer,
  reverse: boolean,
): 'before' | 'last' | 'behind' {
  const order = reverse ? Buffer.compare(start, key) : Buffer.compare(key, stop)
  if (order !== 0) return order < 0 ? 'before' : 'behind'
  return (reverse ? isStartIncluded : isStopIncluded) ? 'last' : 'behind'
}

/** `undefined` for an empty range: start behind stop, or equal and not both included. */
export function keyRange(
  start: Buffer,
  isStartIncluded: boolean,
  stop: Buffer,
  isStopIncluded: boolean,
): KeyRange | undefined {
  const order = Buffer.compare(start, stop)
  if (order > 0 || (order === 0 && !(isStartIncluded && isStopIncluded))) return undefined
  return {
    ...(isStartIncluded ? { gte: start } : { gt: start }),
    ...(isStopIncluded ? { lte: stop } : { lt: stop }),
  }
}

function bytesLimit(maxKvSize: number): number {
  const { multiGetBytesMax } = rangeLimits
  return maxKvSize > 0 ? Math.min(maxKvSize, multiGetBytesMax) : multiGetBytesMax
}
