/**
 * Scanners (data-model.md 4): get_scanner opens one, scan goes on with it, clear_scanner drops it. A
 * scanner that is not finished is kept as a context: an engine iterator, which is a snapshot, and
 * the filters of the request. Every use takes the context out under its id and puts it back under
 * a new one, so that of two uses of one id the second finds nothing.
 */
import {
  HASH_KEY_BYTES_MAX,
  encodeKey,
  hashKeyLength,
  partitionIndexOf,
  rawKeyHash,
} from '../protocol/key.ts'
import {
  FilterType,
  type GetScannerRequest,
  type KeyValue,
  type ScanResponse,
} from '../protocol/rrdb.ts'
import type { KeyRange } from '../storage/engine.ts'
import { isKnownFilter, matchesFilter } from './rrdb-filter.ts'
import { RangeReader, rangeLimits } from './rrdb-range.ts'
import { type ReadScope, type ReadTime, keyRange } from './rrdb-read.ts'
import { liveRecord } from './rrdb-record.ts'
import type { ScanContext, ScanContexts } from './rrdb-scan-contexts.ts'
import { DataStatus } from './rrdb-status.ts'

const COMPLETED = -1n
/** In answers that hand out no context. */
const NO_CONTEXT = 0n
const EMPTY = Buffer.alloc(0)

export interface ScanScope extends ReadScope {
  readonly contexts: ScanContexts
  /** Number of partitions when records of others are to be left out, else `undefined`. */
  readonly validatedPartitionCount: () => number | undefined
}

export function getScanner(
  scope: ScanScope,
  request: GetScannerRequest,
  time: ReadTime,
): Promise<ScanResponse> {
  if (!isKnownFilter(request.hashKeyFilterType) || !isKnownFilter(request.sortKeyFilterType))
    return Promise.resolve(refusal(scope, DataStatus.INVALID_ARGUMENT))
  const range = scanRange(request)
  // The original hands out context 0 here, with which official clients would start over for ever.
  if (range === undefined) return Promise.resolve(answer(scope, request, [], 0, COMPLETED))
  const context: ScanContext = {
    // What is kept must not hold on to the frame that the request came in.
    request: {
      ...request,
      startKey: EMPTY,
      stopKey: EMPTY,
      hashKeyFilterPattern: Buffer.from(request.hashKeyFilterPattern),
      sortKeyFilterPattern: Buffer.from(request.sortKeyFilterPattern),
    },
    reader: new RangeReader(scope.source.iterate(range)),
  }
  return nextBatch(scope, context, rangeLimits.scanRecordsMax, time)
}

/** `undefined` when no key can lie in it. */
function scanRange(request: GetScannerRequest): KeyRange | undefined {
  const { startKey, startInclusive, stopKey, stopInclusive } = request
  const { hashKeyFilterType, hashKeyFilterPattern: pattern } = request
  if (hashKeyFilterType === FilterType.FT_MATCH_PREFIX && pattern.length > 0) {
    if (pattern.length > HASH_KEY_BYTES_MAX) return undefined
    // Raw keys are ordered by the length of the hash key first: a prefix bounds only from below.
    const prefixStart = encodeKey(pattern, EMPTY)
    if (Buffer.compare(prefixStart, startKey) > 0)
      return keyRange(prefixStart, true, stopKey, stopInclusive)
  }
  return keyRange(startKey, startInclusive, stopKey, stopInclusive)
}

export function scan(scope: ScanScope, contextId: bigint, time: ReadTime): Promise<ScanResponse> {
  const context = scope.contexts.take(contextId)
  if (context === undefined) return Promise.resolve(refusal(scope, DataStatus.NOT_FOUND))
  return nextBatch(scope, context, batchSizeOf(context.request), time)
}

export async function clearScanner(scope: ScanScope, contextId: bigint): Promise<void> {
  await scope.contexts.take(contextId)?.reader.close()
}

/** Answers one reply's worth; owns the context and either keeps it for the next one or ends it. */
async function nextBatch(
  scope: ScanScope,
  context: ScanContext,
  recordsMax: number,
  time: ReadTime,
): Promise<ScanResponse> {
  const { request, reader } = context
  let isKept = false
  try {
    const batch = await collect(scope, context, recordsMax, time)
    if (batch.end === 'late')
      return { ...answer(scope, request, batch.kvs, batch.count, NO_CONTEXT), error: INCOMPLETE }
    if (batch.end === 'range') return answer(scope, request, batch.kvs, batch.count, COMPLETED)
    const contextId = scope.contexts.put(context)
    isKept = contextId !== undefined
    // A replica that is being closed keeps no contexts: the client opens a new scanner.
    return answer(scope, request, batch.kvs, batch.count, contextId ?? NO_CONTEXT)
  } finally {
    if (!isKept) await reader.close()
  }
}

const { INCOMPLETE } = DataStatus

interface Batch {
  readonly kvs: KeyValue[]
  readonly count: number
  /** What ended it: a limit, the end of the range, or the time. */
  readonly end: 'limit' | 'range' | 'late'
}

async function collect(
  scope: ScanScope,
  { request, reader }: ScanContext,
  recordsMax: number,
  time: ReadTime,
): Promise<Batch> {
  const pairsMax = batchSizeOf(request)
  const kvs: KeyValue[] = []
  let count = 0
  for (let looked = 0; count < pairsMax && looked < recordsMax; looked++) {
    let entry = reader.take()
    if (entry === undefined) {
      if (reader.hasRead && scope.clock.monotonicMs() >= time.deadlineAtMs)
        return { kvs, count, end: 'late' }
      if (!(await reader.fill(pairsMax - count + 1))) return { kvs, count, end: 'range' }
      entry = reader.take()
      if (entry === undefined) return { kvs, count, end: 'range' }
    }
    const pair = visiblePair(scope, request, entry, time)
    if (pair === undefined) continue
    count++
    if (request.onlyReturnCount !== true) kvs.push(pair)
  }
  return { kvs, count, end: (await reader.fill(1)) ? 'limit' : 'range' }
}

/** `undefined` for records that are expired, filtered out or of another partition. */
function visiblePair(
  scope: ScanScope,
  request: GetScannerRequest,
  [key, stored]: readonly [Buffer, Buffer],
  time: ReadTime,
): KeyValue | undefined {
  const { hashKeyFilterType, hashKeyFilterPattern, sortKeyFilterType, sortKeyFilterPattern } =
    request
  const hashKeyEnd = 2 + hashKeyLength(key)
  if (!matchesFilter(hashKeyFilterType, hashKeyFilterPattern, key.subarray(2, hashKeyEnd)))
    return undefined
  if (!matchesFilter(sortKeyFilterType, sortKeyFilterPattern, key.subarray(hashKeyEnd)))
    return undefined
  // Absent counts as true.
  const partitionCount =
    request.validatePartitionHash === false ? undefined : scope.validatedPartitionCount()
  if (partitionCount !== undefined) {
    const index = partitionIndexOf(rawKeyHash(key) ?? 0n, partitionCount)
    if (index !== scope.origin.partitionIndex) return undefined
  }
  const record = liveRecord(stored, time.nowSeconds)
  if (record === undefined) return undefined
  const pair: KeyValue = { key, value: request.noValue ? EMPTY : record.data }
  if (request.returnExpireTs === true) pair.expireTsSeconds = record.expireTsSeconds
  return pair
}

function batchSizeOf({ batchSize }: GetScannerRequest): number {
  const { scanRecordsMax } = rangeLimits
  return batchSize > 0 ? Math.min(batchSize, scanRecordsMax) : scanRecordsMax
}

function answer(
  scope: ScanScope,
  request: GetScannerRequest,
  kvs: KeyValue[],
  count: number,
  contextId: bigint,
): ScanResponse {
  const response: ScanResponse = { error: DataStatus.OK, kvs, contextId, ...scope.origin }
  if (request.onlyReturnCount === true) response.kvCount = count
  return response
}

function refusal(scope: ScanScope, error: number): ScanResponse {
  return { error, kvs: [], contextId: NO_CONTEXT, ...scope.origin }
}
