/**
 * Scans as async iterators (client.md 9.2, data-model.md 4). A scanner walks its partitions from the
 * last to the first; in each it opens a context and continues it until the server says -1. A context
 * that the server lost is opened anew behind the last key received, so a scan may show newer data
 * from there on, but neither leaves out nor repeats a record that stayed.
 */
import { Rpc } from '../protocol/rpc-codes.ts'
import { StorageStatus } from '../protocol/error-codes.ts'
import { type GetScannerRequest, type KeyValue, type ScanResponse } from '../protocol/rrdb.ts'
import { decodeKey, encodeKey, keyAfterHashKey, nextKey, partitionHash } from '../protocol/key.ts'
import { PEGASUS_EPOCH_SECONDS } from '../protocol/value.ts'
import type { Budget } from './call.ts'
import {
  type CheckedRange,
  type KeyFilter,
  type SortKeyRange,
  filterOf,
} from './operation-arguments.ts'
import type { PartitionMap, Target } from './partition-map.ts'
import { PegasusError, invalidParameters, storageError } from './pegasus-error.ts'
import type { TableRouting } from './table-routing.ts'

export interface ScanOptions {
  /** Records per reply, 1 to 1000. */
  readonly batchSize?: number | undefined
  /** Keys only: values come empty. */
  readonly noValue?: boolean | undefined
  readonly sortKeyFilter?: KeyFilter | undefined
  /** Sets `expiresAt` on each record. */
  readonly withExpiry?: boolean | undefined
  /** For each request to a server, retries included; the client's default when not given. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface HashKeyScanOptions extends ScanOptions, SortKeyRange {}

export interface TableScanOptions extends ScanOptions {
  readonly hashKeyFilter?: KeyFilter | undefined
}

export interface ScannedRecord {
  readonly hashKey: Buffer
  readonly sortKey: Buffer
  readonly value: Buffer
  /** With `withExpiry`: when it expires, `undefined` for never. */
  readonly expiresAt?: Date | undefined
}

/** `next` calls may overlap, they are served in order. A scanner that failed is finished. */
export interface Scanner extends AsyncIterableIterator<ScannedRecord> {
  /** Ends the scan and frees the server's context, without waiting for it. Idempotent. */
  readonly close: () => Promise<void>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

const BATCH_SIZE = 1000
const FINISHED = -1n
/** Contexts lost in a row without a single record between them. */
const REOPENS_MAX = 10

/** The part of a request that does not change while the scan goes on. */
export interface ScanPlan {
  readonly routing: TableRouting
  /** In the order in which they are walked. */
  readonly targets: readonly Target[]
  /** Of the map the targets were taken from; 0 when they hold for any. */
  readonly partitionCount: number
  readonly request: GetScannerRequest
  readonly budget: () => Budget
}

/** All records of a hash key within the range. Throws `PegasusError` for bad arguments. */
export function hashKeyScan(
  routing: TableRouting,
  hashKey: Buffer,
  range: CheckedRange,
  options: ScanOptions,
  budget: () => Budget,
): Scanner {
  const filter = filterOf(options.sortKeyFilter)
  let startKey = encodeKey(hashKey, range.start)
  let { startInclusive, stopInclusive } = range
  let stopKey = encodeKey(hashKey, range.stop)
  if (range.stop.length === 0) {
    stopKey = keyAfterHashKey(hashKey)
    stopInclusive = false
  }
  if (options.sortKeyFilter?.match === 'prefix' && filter.pattern.length > 0) {
    // The records that pass lie in a range of their own: the server need not look at others.
    const first = encodeKey(hashKey, filter.pattern)
    const behind = nextKey(first)
    if (Buffer.compare(first, startKey) > 0) {
      startKey = first
      startInclusive = true
    }
    if (behind !== undefined && Buffer.compare(behind, stopKey) <= 0) {
      stopKey = behind
      stopInclusive = false
    }
  }
  const order = Buffer.compare(startKey, stopKey)
  const isEmpty = order > 0 || (order === 0 && !(startInclusive && stopInclusive))
  return scannerOf({
    routing,
    targets: isEmpty ? [] : [{ hash: partitionHash(hashKey, Buffer.alloc(0)) }],
    partitionCount: 0,
    request: {
      ...commonRequest(options),
      startKey,
      stopKey,
      startInclusive,
      stopInclusive,
      validatePartitionHash: false,
    },
    budget,
  })
}

/** The whole table, its partitions spread over at most `maxCount` scanners. */
export function tableScans(
  routing: TableRouting,
  map: PartitionMap,
  maxCount: number,
  options: TableScanOptions,
  budget: () => Budget,
): Scanner[] {
  if (!Number.isInteger(maxCount) || maxCount < 1)
    throw invalidParameters(`${maxCount} scanners, expected a whole number from 1 up`)
  const filter = filterOf(options.hashKeyFilter)
  const request: GetScannerRequest = {
    ...commonRequest(options),
    startKey: Buffer.from([0, 0]),
    stopKey: Buffer.from([0xff, 0xff]),
    hashKeyFilterType: filter.type,
    hashKeyFilterPattern: filter.pattern,
    validatePartitionHash: true,
  }
  const { partitionCount } = map
  const count = Math.min(maxCount, partitionCount)
  const share = Math.floor(partitionCount / count)
  const larger = partitionCount % count
  const scanners: Scanner[] = []
  for (let index = 0, first = 0; index < count; index++) {
    const size = share + (index < larger ? 1 : 0)
    const targets = Array.from({ length: size }, (_, at) => ({ partitionIndex: first + at }))
    scanners.push(
      scannerOf({ routing, targets: targets.toReversed(), partitionCount, request, budget }),
    )
    first += size
  }
  return scanners
}

function commonRequest(options: ScanOptions): GetScannerRequest {
  const batchSize = options.batchSize ?? BATCH_SIZE
  if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > 1000)
    throw invalidParameters(`batchSize ${batchSize}, expected 1 to 1000`)
  const filter = filterOf(options.sortKeyFilter)
  return {
    startKey: Buffer.alloc(0),
    stopKey: Buffer.alloc(0),
    startInclusive: true,
    stopInclusive: false,
    batchSize,
    noValue: options.noValue ?? false,
    hashKeyFilterType: 0,
    hashKeyFilterPattern: Buffer.alloc(0),
    sortKeyFilterType: filter.type,
    sortKeyFilterPattern: filter.pattern,
    ...(options.withExpiry === true ? { returnExpireTs: true } : {}),
  }
}

function scannerOf(plan: ScanPlan): Scanner {
  const records = walk(plan)
  const close = async (): Promise<void> => {
    await records.return(undefined)
  }
  return {
    next: () => records.next(),
    return: () => records.return(undefined),
    close,
    [Symbol.asyncIterator]() {
      return this
    },
    [Symbol.asyncDispose]: close,
  }
}

async function* walk(plan: ScanPlan): AsyncGenerator<ScannedRecord, undefined, undefined> {
  for (const target of plan.targets) yield* walkPartition(plan, target)
  return undefined
}

async function* walkPartition(
  plan: ScanPlan,
  target: Target,
): AsyncGenerator<ScannedRecord, undefined, undefined> {
  let { startKey, startInclusive } = plan.request
  let reopens = 0
  let contextId: bigint | undefined
  try {
    for (;;) {
      const response: ScanResponse = await (contextId === undefined
        ? open(plan, target, startKey, startInclusive)
        : proceed(plan, target, contextId))
      // The server has used up the old context, whatever it answered.
      contextId = undefined
      const { error } = response
      const cut = error === StorageStatus.kIncomplete && response.kvs.length > 0
      if (
        error === StorageStatus.kOk &&
        response.contextId !== FINISHED &&
        response.contextId !== 0n
      )
        contextId = response.contextId
      expectProgress(response, startKey, startInclusive)
      for (const pair of response.kvs) {
        startKey = pair.key
        startInclusive = false
        reopens = 0
        yield recordOf(pair, plan.request.returnExpireTs === true)
      }
      if (error === StorageStatus.kOk) {
        if (contextId === undefined) return undefined
        continue
      }
      reopens++
      const lost = error === StorageStatus.kNotFound
      if (!(lost || cut) || reopens > REOPENS_MAX) throw storageError('scan', error)
    }
  } finally {
    if (contextId !== undefined)
      plan.routing.send(Rpc.CLEAR_SCANNER, contextId, target, plan.budget())
  }
}

function open(
  plan: ScanPlan,
  target: Target,
  startKey: Buffer,
  startInclusive: boolean,
): Promise<ScanResponse> {
  const request = { ...plan.request, startKey, startInclusive }
  const { routing, budget } = plan
  return routing.call(Rpc.GET_SCANNER, request, checked(plan, target), budget(), asItIs)
}

function proceed(plan: ScanPlan, target: Target, contextId: bigint): Promise<ScanResponse> {
  const { routing, budget } = plan
  return routing.call(Rpc.SCAN, { contextId }, checked(plan, target), budget(), asItIs)
}

const asItIs = (response: ScanResponse): ScanResponse => response

/** A scan by partition index makes no sense any more when the partitions are others. */
function checked(plan: ScanPlan, target: Target): (map: PartitionMap) => Target {
  return (map) => {
    if (plan.partitionCount === 0 || map.partitionCount === plan.partitionCount) return target
    throw new PegasusError(
      'ERR_INVALID_STATE',
      `scan of ${plan.routing.name}: from ${plan.partitionCount} to ${map.partitionCount} partitions meanwhile; start again`,
    )
  }
}

/** A server that goes back in the keys would keep the scan running for ever. */
function expectProgress(response: ScanResponse, startKey: Buffer, startInclusive: boolean): void {
  const first = response.kvs[0]?.key
  if (first === undefined || startInclusive || Buffer.compare(first, startKey) > 0) return
  throw new PegasusError('ERR_INVALID_DATA', 'scan: the server sent keys that came before')
}

function recordOf(pair: KeyValue, withExpiry: boolean): ScannedRecord {
  const key = decodeKey(pair.key)
  if (key === undefined)
    throw new PegasusError('ERR_INVALID_DATA', `scan: malformed key ${pair.key.toString('hex')}`)
  const record = { hashKey: key.hashKey, sortKey: key.sortKey, value: pair.value }
  if (!withExpiry) return record
  const expireTsSeconds = pair.expireTsSeconds ?? 0
  if (expireTsSeconds === 0) return { ...record, expiresAt: undefined }
  return {
    ...record,
    expiresAt: new Date((PEGASUS_EPOCH_SECONDS + (expireTsSeconds >>> 0)) * 1000),
  }
}
