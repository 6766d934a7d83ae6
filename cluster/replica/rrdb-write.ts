/**
 * The write operations (data-model.md 3): from the bytes of a committed update to changes of a
 * `WriteBatch` and the response for the client. Pure. A refused write changes nothing, but has its
 * decree and a response like any other; bytes that cannot be decoded have no response.
 */
import { decodeArgument, encodeResult } from '../protocol/frame.ts'
import { HASH_KEY_BYTES_MAX, encodeKey, hashKeyLength } from '../protocol/key.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import {
  type CheckAndMutateRequest,
  CheckAndMutateResponse,
  type CheckAndSetRequest,
  CheckAndSetResponse,
  type IncrRequest,
  IncrResponse,
  type MultiPutRequest,
  type MultiRemoveRequest,
  MultiRemoveResponse,
  MutateOperation,
  type UpdateRequest,
  UpdateResponse,
} from '../protocol/rrdb.ts'
import { type Codec, ProtocolError } from '../protocol/schema.ts'
import { evaluateCheck, isKnownCheck } from './rrdb-check.ts'
import { INT64_MAX, INT64_MIN, parseInt64 } from './rrdb-integer.ts'
import type { VisibleRecord } from './rrdb-record.ts'
import { DataStatus, type ResponseOrigin } from './rrdb-status.ts'
import type { WriteBatch } from './rrdb-write-batch.ts'

export interface PreparedWrite {
  /** What `apply` reads from the batch. */
  readonly readKeys: readonly Buffer[]
  /** Adds the changes; returns the encoded result struct. Called once. */
  readonly apply: (batch: WriteBatch, origin: ResponseOrigin) => Buffer
}

interface WriteOperation {
  /** May share a mutation with other batchable updates. */
  readonly batchable: boolean
  readonly prepare: (body: Buffer) => PreparedWrite
}

const noKeys: readonly Buffer[] = []

function operation<A>(
  rpc: { readonly argument: Codec<A> },
  batchable: boolean,
  prepare: (argument: A) => PreparedWrite,
): WriteOperation {
  return { batchable, prepare: (body) => prepare(decodeArgument(rpc.argument, body)) }
}

export const writeOperations: ReadonlyMap<string, WriteOperation> = new Map([
  [Rpc.PUT.name, operation(Rpc.PUT, true, put)],
  [Rpc.REMOVE.name, operation(Rpc.REMOVE, true, remove)],
  [Rpc.MULTI_PUT.name, operation(Rpc.MULTI_PUT, false, multiPut)],
  [Rpc.MULTI_REMOVE.name, operation(Rpc.MULTI_REMOVE, false, multiRemove)],
  [Rpc.INCR.name, operation(Rpc.INCR, false, incr)],
  [Rpc.CHECK_AND_SET.name, operation(Rpc.CHECK_AND_SET, false, checkAndSet)],
  [Rpc.CHECK_AND_MUTATE.name, operation(Rpc.CHECK_AND_MUTATE, false, checkAndMutate)],
])

/** `undefined` when nobody knows the code or the body cannot be decoded. */
export function prepareWrite(code: string, body: Buffer): PreparedWrite | undefined {
  try {
    return writeOperations.get(code)?.prepare(body)
  } catch (error) {
    if (error instanceof ProtocolError) return undefined
    throw error
  }
}

/** Fields 4 to 7 of the request belong to servers; what a client writes there is not looked at. */
function put({ key, value, expireTsSeconds }: UpdateRequest): PreparedWrite {
  const apply = (batch: WriteBatch, origin: ResponseOrigin): Buffer => {
    if (hashKeyLength(key) < 0) return updated(DataStatus.INVALID_ARGUMENT, batch, origin)
    batch.put(key, value, expireTsSeconds)
    return updated(DataStatus.OK, batch, origin)
  }
  return { readKeys: noKeys, apply }
}

function remove(key: Buffer): PreparedWrite {
  const apply = (batch: WriteBatch, origin: ResponseOrigin): Buffer => {
    if (hashKeyLength(key) < 0) return updated(DataStatus.INVALID_ARGUMENT, batch, origin)
    batch.remove(key)
    return updated(DataStatus.OK, batch, origin)
  }
  return { readKeys: noKeys, apply }
}

function multiPut({ hashKey, kvs, expireTsSeconds }: MultiPutRequest): PreparedWrite {
  const apply = (batch: WriteBatch, origin: ResponseOrigin): Buffer => {
    if (kvs.length === 0 || isOversize(hashKey))
      return updated(DataStatus.INVALID_ARGUMENT, batch, origin)
    for (const { key, value } of kvs) batch.put(encodeKey(hashKey, key), value, expireTsSeconds)
    return updated(DataStatus.OK, batch, origin)
  }
  return { readKeys: noKeys, apply }
}

/** `count` in the response is what was sent, not what was there. */
function multiRemove({ hashKey, sortKeys }: MultiRemoveRequest): PreparedWrite {
  const apply = (batch: WriteBatch, origin: ResponseOrigin): Buffer => {
    const isInvalid = sortKeys.length === 0 || isOversize(hashKey)
    if (!isInvalid) for (const sortKey of sortKeys) batch.remove(encodeKey(hashKey, sortKey))
    return encodeResult(MultiRemoveResponse, {
      error: isInvalid ? DataStatus.INVALID_ARGUMENT : DataStatus.OK,
      count: isInvalid ? 0 : sortKeys.length,
      decree: batch.decree,
      ...origin,
    })
  }
  return { readKeys: noKeys, apply }
}

function incr({ key, increment, expireTsSeconds }: IncrRequest): PreparedWrite {
  const isInvalid = hashKeyLength(key) < 0
  const apply = (batch: WriteBatch, origin: ResponseOrigin): Buffer => {
    const respond = (error: number, newValue: bigint): Buffer =>
      encodeResult(IncrResponse, { error, newValue, decree: batch.decree, ...origin })
    if (isInvalid) return respond(DataStatus.INVALID_ARGUMENT, 0n)
    const record = batch.read(key)
    const before = record === undefined || record.data.length === 0 ? 0n : parseInt64(record.data)
    if (before === undefined) return respond(DataStatus.INVALID_ARGUMENT, 0n)
    const after = before + increment
    if (after < INT64_MIN || after > INT64_MAX) return respond(DataStatus.INVALID_ARGUMENT, before)
    const kept = expireTsSeconds === 0 ? (record?.expireTsSeconds ?? 0) : 0
    batch.put(key, Buffer.from(String(after)), expireTsSeconds > 0 ? expireTsSeconds : kept)
    return respond(DataStatus.OK, after)
  }
  return { readKeys: isInvalid ? noKeys : [key], apply }
}

interface Check {
  readonly hashKey: Buffer
  readonly checkSortKey: Buffer
  readonly checkType: number
  readonly checkOperand: Buffer
  readonly returnCheckValue: boolean
}

/** Both check_and operations; `mutate` runs when the check passed. */
function checkAnd(
  request: Check,
  isRefused: boolean,
  respond: typeof checkAndSetResult,
  mutate: (batch: WriteBatch) => void,
): PreparedWrite {
  if (isRefused || isOversize(request.hashKey) || !isKnownCheck(request.checkType))
    return {
      readKeys: noKeys,
      apply: (batch, origin) =>
        respond(DataStatus.INVALID_ARGUMENT, undefined, false, batch, origin),
    }
  const key = encodeKey(request.hashKey, request.checkSortKey)
  const apply = (batch: WriteBatch, origin: ResponseOrigin): Buffer => {
    const record = batch.read(key)
    const verdict = evaluateCheck(request.checkType, record?.data, request.checkOperand)
    if (verdict === 'passed') mutate(batch)
    return respond(statusOf[verdict], record, request.returnCheckValue, batch, origin)
  }
  return { readKeys: [key], apply }
}

const statusOf = {
  passed: DataStatus.OK,
  failed: DataStatus.TRY_AGAIN,
  invalid: DataStatus.INVALID_ARGUMENT,
} as const

function checkAndSet(request: CheckAndSetRequest): PreparedWrite {
  return checkAnd(request, false, checkAndSetResult, (batch) => {
    const sortKey = request.setDiffSortKey ? request.setSortKey : request.checkSortKey
    batch.put(encodeKey(request.hashKey, sortKey), request.setValue, request.setExpireTsSeconds)
  })
}

function checkAndMutate(request: CheckAndMutateRequest): PreparedWrite {
  const { hashKey, mutateList } = request
  const isRefused =
    mutateList.length === 0 ||
    mutateList.some(
      ({ operation: kind }) =>
        kind !== MutateOperation.MO_PUT && kind !== MutateOperation.MO_DELETE,
    )
  return checkAnd(request, isRefused, checkAndMutateResult, (batch) => {
    for (const mutate of mutateList) {
      const key = encodeKey(hashKey, mutate.sortKey)
      if (mutate.operation === MutateOperation.MO_DELETE) batch.remove(key)
      else batch.put(key, mutate.value, mutate.setExpireTsSeconds)
    }
  })
}

/** `record` is that from before the write. */
function checkAndSetResult(
  error: number,
  record: VisibleRecord | undefined,
  isReturned: boolean,
  batch: WriteBatch,
  origin: ResponseOrigin,
): Buffer {
  return encodeResult(CheckAndSetResponse, checkResponse(error, record, isReturned, batch, origin))
}

function checkAndMutateResult(
  error: number,
  record: VisibleRecord | undefined,
  isReturned: boolean,
  batch: WriteBatch,
  origin: ResponseOrigin,
): Buffer {
  return encodeResult(
    CheckAndMutateResponse,
    checkResponse(error, record, isReturned, batch, origin),
  )
}

const EMPTY = Buffer.alloc(0)

/** Both responses have the same fields. */
function checkResponse(
  error: number,
  record: VisibleRecord | undefined,
  isReturned: boolean,
  { decree }: WriteBatch,
  origin: ResponseOrigin,
): CheckAndSetResponse & CheckAndMutateResponse {
  return {
    error,
    checkValueReturned: isReturned,
    checkValueExist: isReturned && record !== undefined,
    checkValue: isReturned && record !== undefined ? record.data : EMPTY,
    decree,
    ...origin,
  }
}

function updated(error: number, { decree }: WriteBatch, origin: ResponseOrigin): Buffer {
  return encodeResult(UpdateResponse, { error, decree, ...origin })
}

function isOversize(hashKey: Buffer): boolean {
  return hashKey.length > HASH_KEY_BYTES_MAX
}
