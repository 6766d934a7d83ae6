/**
 * The operations on one table. Every method is one call with one deadline and may be aborted; the
 * buffers given are not looked at after the method returned its promise, the buffers of results
 * belong to the caller. Semantics: data-model.md 3 and 4.
 *
 * Every method rejects with `PegasusError`. Common codes: ERR_INVALID_PARAMETERS (arguments, nothing
 * sent), ERR_TIMEOUT, ERR_ABORTED, ERR_SESSION_RESET (the client was closed), ERR_OBJECT_NOT_FOUND
 * (the table is gone), ERR_STORAGE, and what a server refuses with: ERR_BUSY (throttled),
 * ERR_SPLITTING, ERR_DISK_INSUFFICIENT, ERR_OPERATION_DISABLED, ERR_ACL_DENY, ERR_INVALID_DATA (a
 * write above 1 MiB). Of a failed write, `effect` says whether it may have been carried out.
 */
import { StorageStatus } from '../protocol/error-codes.ts'
import { encodeKey, partitionHash } from '../protocol/key.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { type KeyValue, MultiGetRequest } from '../protocol/rrdb.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { batchGet, batchWrite } from './batch.ts'
import { type Budget, type CallOptions, budgetOf } from './call.ts'
import {
  type Bytes,
  type KeyFilter,
  type SortKeyRange,
  bytesOf,
  expireTsOf,
  filterOf,
  hashKeyOf,
  limitOf,
  listOf,
  rangeOf,
} from './operation-arguments.ts'
import type { Target } from './partition-map.ts'
import { storageError } from './pegasus-error.ts'
import {
  type HashKeyScanOptions,
  type Scanner,
  type TableScanOptions,
  hashKeyScan,
  tableScans,
} from './scanner.ts'
import type { DataRpc, TableRouting } from './table-routing.ts'

export interface SetOptions extends CallOptions {
  /** Whole seconds from now, by this machine's clock; 0 or absent: never expires. */
  readonly ttlSeconds?: number | undefined
}

export interface MultiGetOptions extends CallOptions {
  /** 100 when not given; -1: the server's own limit (3000). */
  readonly maxCount?: number | undefined
  /** Of sort keys and values, exceeded by one record at most; 100 000 when not given, -1: none. */
  readonly maxBytes?: number | undefined
  /** Keys only: values come empty. */
  readonly noValue?: boolean | undefined
}

export interface MultiGetRangeOptions extends MultiGetOptions, SortKeyRange {
  readonly sortKeyFilter?: KeyFilter | undefined
  /** With a limit: the largest keys instead of the smallest. Records still come in ascending order. */
  readonly reverse?: boolean | undefined
}

export interface SortedRecord {
  readonly sortKey: Buffer
  readonly value: Buffer
}

export interface MultiGetResult {
  readonly records: readonly SortedRecord[]
  /** False: a limit was met and there may be more; go on from the last sort key. */
  readonly complete: boolean
}

export interface KeyArgument {
  readonly hashKey: Bytes
  readonly sortKey: Bytes
}

export interface RecordArgument extends KeyArgument {
  readonly value: Bytes
}

const MULTI_GET_COUNT = 100
const MULTI_GET_BYTES = 100_000
const DELETE_RANGE_BATCH = 100
const NOTHING = Buffer.alloc(0)

/** A handle; made by `PegasusClient.openTable`, and to be dropped when no longer needed. */
export class Table {
  readonly #runtime: Runtime
  readonly #routing: TableRouting
  readonly #defaults: { readonly operationTimeoutMs: number; readonly closing: AbortSignal }

  constructor(
    runtime: Runtime,
    routing: TableRouting,
    defaults: { readonly operationTimeoutMs: number; readonly closing: AbortSignal },
  ) {
    this.#runtime = runtime
    this.#routing = routing
    this.#defaults = defaults
  }

  get name(): string {
    return this.#routing.name
  }

  /** The value, `undefined` when there is no record or it has expired. */
  async get(
    hashKey: Bytes,
    sortKey: Bytes,
    options: CallOptions = {},
  ): Promise<Buffer | undefined> {
    const { raw, target } = rawKey(hashKey, sortKey)
    return this.#call(Rpc.GET, raw, target, options, ({ error, value }) => {
      if (error === StorageStatus.kNotFound) return undefined
      expectOk('get', error)
      return Buffer.from(value)
    })
  }

  async exist(hashKey: Bytes, sortKey: Bytes, options: CallOptions = {}): Promise<boolean> {
    return (await this.ttl(hashKey, sortKey, options)) !== undefined
  }

  /** Whole seconds left; -1: never expires; `undefined`: no such record. */
  async ttl(
    hashKey: Bytes,
    sortKey: Bytes,
    options: CallOptions = {},
  ): Promise<number | undefined> {
    const { raw, target } = rawKey(hashKey, sortKey)
    return this.#call(Rpc.TTL, raw, target, options, ({ error, ttlSeconds }) => {
      if (error === StorageStatus.kNotFound) return undefined
      expectOk('ttl', error)
      return ttlSeconds
    })
  }

  /** Replaces value and expiry together. */
  async set(hashKey: Bytes, sortKey: Bytes, value: Bytes, options: SetOptions = {}): Promise<void> {
    const { raw: key, target } = rawKey(hashKey, sortKey)
    const request = { key, value: bytesOf(value, 'value'), expireTsSeconds: this.#expiry(options) }
    await this.#call(Rpc.PUT, request, target, options, ({ error }) => expectOk('set', error))
  }

  /** Succeeds whether or not there was a record. */
  async del(hashKey: Bytes, sortKey: Bytes, options: CallOptions = {}): Promise<void> {
    const { raw, target } = rawKey(hashKey, sortKey)
    await this.#call(Rpc.REMOVE, raw, target, options, ({ error }) => expectOk('del', error))
  }

  /** The records of those sort keys that exist, in the order asked for. The list is not empty. */
  async multiGet(
    hashKey: Bytes,
    sortKeys: readonly Bytes[],
    options: MultiGetOptions = {},
  ): Promise<MultiGetResult> {
    return this.#multiGet(hashKey, options, {
      sortKeys: listOf(sortKeys, 'sortKeys', (sortKey) => bytesOf(sortKey, 'sort key')),
    })
  }

  /** The records of a range of sort keys (all when no bound is given), ascending. */
  async multiGetRange(hashKey: Bytes, options: MultiGetRangeOptions = {}): Promise<MultiGetResult> {
    const range = rangeOf(options)
    const filter = filterOf(options.sortKeyFilter)
    return this.#multiGet(hashKey, options, {
      startSortkey: range.start,
      stopSortkey: range.stop,
      startInclusive: range.startInclusive,
      stopInclusive: range.stopInclusive,
      sortKeyFilterType: filter.type,
      sortKeyFilterPattern: filter.pattern,
      reverse: options.reverse ?? false,
    })
  }

  /** Atomic. Of equal sort keys the last wins. One expiry for all. */
  async multiSet(
    hashKey: Bytes,
    records: readonly { readonly sortKey: Bytes; readonly value: Bytes }[],
    options: SetOptions = {},
  ): Promise<void> {
    const key = hashKeyOf(hashKey, { mayBeEmpty: false })
    const request = {
      hashKey: key,
      kvs: listOf(records, 'records', ({ sortKey, value }) => ({
        key: bytesOf(sortKey, 'sort key'),
        value: bytesOf(value, 'value'),
      })),
      expireTsSeconds: this.#expiry(options),
    }
    const target = targetOf(key, NOTHING)
    await this.#call(Rpc.MULTI_PUT, request, target, options, ({ error }) =>
      expectOk('multiSet', error),
    )
  }

  /** Atomic. Succeeds whether or not there were records. */
  async multiDel(
    hashKey: Bytes,
    sortKeys: readonly Bytes[],
    options: CallOptions = {},
  ): Promise<void> {
    const key = hashKeyOf(hashKey, { mayBeEmpty: false })
    const request = {
      hashKey: key,
      sortKeys: listOf(sortKeys, 'sortKeys', (sortKey) => bytesOf(sortKey, 'sort key')),
      maxCount: 0n,
    }
    const target = targetOf(key, NOTHING)
    await this.#call(Rpc.MULTI_REMOVE, request, target, options, ({ error }) =>
      expectOk('multiDel', error),
    )
  }

  /** Live records of a hash key; -1 when there are too many to count in the server's time limit. */
  async sortKeyCount(hashKey: Bytes, options: CallOptions = {}): Promise<number> {
    const key = hashKeyOf(hashKey, { mayBeEmpty: false })
    const target = targetOf(key, NOTHING)
    return this.#call(Rpc.SORTKEY_COUNT, key, target, options, ({ error, count }) => {
      expectOk('sortKeyCount', error)
      return count
    })
  }

  /** The records of a hash key in ascending order. Throws `PegasusError` for bad arguments. */
  getScanner(hashKey: Bytes, options: HashKeyScanOptions = {}): Scanner {
    const key = Buffer.from(hashKeyOf(hashKey, { mayBeEmpty: false }))
    const budget = (): Budget => this.#budget(options)
    return hashKeyScan(this.#routing, key, rangeOf(options), options, budget)
  }

  /** The whole table in no order, its partitions spread over at most `maxCount` scanners. */
  async getUnorderedScanners(maxCount: number, options: TableScanOptions = {}): Promise<Scanner[]> {
    const map = await this.#routing.open(this.#budget(options))
    return tableScans(this.#routing, map, maxCount, options, () => this.#budget(options))
  }

  /** In the order of the keys, `undefined` where there is no record; one request per partition. */
  async batchGet(
    keys: readonly KeyArgument[],
    options: CallOptions = {},
  ): Promise<(Buffer | undefined)[]> {
    const checked = listOf(keys, 'keys', (key) => ({
      hashKey: Buffer.from(hashKeyOf(key.hashKey, { mayBeEmpty: true })),
      sortKey: Buffer.from(bytesOf(key.sortKey, 'sort key')),
    }))
    return batchGet(this.#routing, checked, this.#budget(options))
  }

  /** One write each; rejects when any failed, after all were tried (`PegasusError.failures`). */
  async batchSet(records: readonly RecordArgument[], options: SetOptions = {}): Promise<void> {
    const expireTsSeconds = this.#expiry(options)
    const writes = listOf(records, 'records', ({ hashKey, sortKey, value }) => {
      const { raw: key, target } = rawKey(hashKey, sortKey)
      return {
        request: { key, value: Buffer.from(bytesOf(value, 'value')), expireTsSeconds },
        target,
      }
    })
    const budget = this.#budget(options)
    await batchWrite('batchSet', writes, ({ request, target }) =>
      this.#routing.call(Rpc.PUT, request, target, budget, ({ error }) => expectOk('set', error)),
    )
  }

  /** One removal each; rejects when any failed, after all were tried (`PegasusError.failures`). */
  async batchDel(keys: readonly KeyArgument[], options: CallOptions = {}): Promise<void> {
    const removals = listOf(keys, 'keys', ({ hashKey, sortKey }) => rawKey(hashKey, sortKey))
    const budget = this.#budget(options)
    await batchWrite('batchDel', removals, ({ raw, target }) =>
      this.#routing.call(Rpc.REMOVE, raw, target, budget, ({ error }) => expectOk('del', error)),
    )
  }

  /**
   * Removes the records of a range of sort keys and returns how many; the deadline spans it all. Not
   * atomic: after a failure some may be gone, and records written meanwhile may stay.
   */
  async delRange(
    hashKey: Bytes,
    options: CallOptions & SortKeyRange & { readonly sortKeyFilter?: KeyFilter } = {},
  ): Promise<number> {
    const key = Buffer.from(hashKeyOf(hashKey, { mayBeEmpty: false }))
    const budget = this.#budget(options)
    const scanOptions = { ...options, noValue: true, batchSize: DELETE_RANGE_BATCH }
    const scanner = hashKeyScan(this.#routing, key, rangeOf(options), scanOptions, () => budget)
    let removed = 0
    let sortKeys: Buffer[] = []
    const remove = async (): Promise<void> => {
      const request = { hashKey: key, sortKeys, maxCount: 0n }
      const target = targetOf(key, NOTHING)
      await this.#routing.call(Rpc.MULTI_REMOVE, request, target, budget, ({ error }) =>
        expectOk('delRange', error),
      )
      removed += sortKeys.length
      sortKeys = []
    }
    for await (const { sortKey } of scanner) {
      sortKeys.push(sortKey)
      if (sortKeys.length >= DELETE_RANGE_BATCH) await remove()
    }
    if (sortKeys.length > 0) await remove()
    return removed
  }

  async #multiGet(
    hashKey: Bytes,
    options: MultiGetOptions,
    given: Partial<MultiGetRequest>,
  ): Promise<MultiGetResult> {
    const key = hashKeyOf(hashKey, { mayBeEmpty: false })
    const request = MultiGetRequest.make({
      hashKey: key,
      maxKvCount: limitOf(options.maxCount ?? MULTI_GET_COUNT, 'maxCount'),
      maxKvSize: limitOf(options.maxBytes ?? MULTI_GET_BYTES, 'maxBytes'),
      noValue: options.noValue ?? false,
      startInclusive: true,
      ...given,
    })
    const target = targetOf(key, NOTHING)
    return this.#call(Rpc.MULTI_GET, request, target, options, ({ error, kvs }) => {
      const complete = error !== StorageStatus.kIncomplete
      if (complete) expectOk('multiGet', error)
      return { records: kvs.map(sortedRecord), complete }
    })
  }

  async #call<A, R, T>(
    rpc: DataRpc<A, R>,
    argument: A,
    target: Target,
    options: CallOptions,
    accept: (response: R) => T,
  ): Promise<T> {
    return this.#routing.call(rpc, argument, target, this.#budget(options), accept)
  }

  #budget(options: CallOptions): Budget {
    return budgetOf(this.#runtime, options, this.#defaults)
  }

  #expiry(options: SetOptions): number {
    return expireTsOf(options.ttlSeconds, this.#runtime.clock.wallMs())
  }
}

function rawKey(hashKey: Bytes, sortKey: Bytes): { readonly raw: Buffer; readonly target: Target } {
  const hash = hashKeyOf(hashKey, { mayBeEmpty: true })
  const sort = bytesOf(sortKey, 'sort key')
  return { raw: encodeKey(hash, sort), target: targetOf(hash, sort) }
}

function targetOf(hashKey: Buffer, sortKey: Buffer): Target {
  return { hash: partitionHash(hashKey, sortKey) }
}

/** A copy of nothing: the views of one reply share its memory, which the caller then owns. */
function sortedRecord({ key, value }: KeyValue): SortedRecord {
  return { sortKey: key, value }
}

function expectOk(what: string, error: number): void {
  if (error !== StorageStatus.kOk) throw storageError(what, error)
}
