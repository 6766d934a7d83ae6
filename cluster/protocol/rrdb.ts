/** Data operations of a replica server (upstream idl/rrdb.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import {
  type ValueOf,
  bool,
  field,
  i32,
  i64,
  i64Big,
  list,
  optional,
  string,
  struct,
} from './schema.ts'
import { blob } from './base.ts'

export const FilterType = {
  FT_NO_FILTER: 0,
  FT_MATCH_ANYWHERE: 1,
  FT_MATCH_PREFIX: 2,
  FT_MATCH_POSTFIX: 3,
} as const

export const CasCheckType = {
  CT_NO_CHECK: 0,
  CT_VALUE_NOT_EXIST: 1,
  CT_VALUE_NOT_EXIST_OR_EMPTY: 2,
  CT_VALUE_EXIST: 3,
  CT_VALUE_NOT_EMPTY: 4,
  CT_VALUE_MATCH_ANYWHERE: 5,
  CT_VALUE_MATCH_PREFIX: 6,
  CT_VALUE_MATCH_POSTFIX: 7,
  CT_VALUE_BYTES_LESS: 8,
  CT_VALUE_BYTES_LESS_OR_EQUAL: 9,
  CT_VALUE_BYTES_EQUAL: 10,
  CT_VALUE_BYTES_GREATER_OR_EQUAL: 11,
  CT_VALUE_BYTES_GREATER: 12,
  CT_VALUE_INT_LESS: 13,
  CT_VALUE_INT_LESS_OR_EQUAL: 14,
  CT_VALUE_INT_EQUAL: 15,
  CT_VALUE_INT_GREATER_OR_EQUAL: 16,
  CT_VALUE_INT_GREATER: 17,
} as const

export const MutateOperation = {
  MO_PUT: 0,
  MO_DELETE: 1,
} as const

export const UpdateType = {
  UT_PUT: 0,
  UT_INCR: 1,
  UT_CHECK_AND_SET: 2,
  UT_CHECK_AND_MUTATE_PUT: 3,
  UT_CHECK_AND_MUTATE_REMOVE: 4,
} as const

export const UpdateRequest = struct('update_request', {
  key: field(1, blob),
  value: field(2, blob),
  expireTsSeconds: field(3, i32),
  type: optional(4, i32),
  checkValueReturned: optional(5, bool),
  checkValueExist: optional(6, bool),
  checkValue: optional(7, blob),
})
export type UpdateRequest = ValueOf<typeof UpdateRequest>

export const UpdateResponse = struct('update_response', {
  error: field(1, i32),
  appId: field(2, i32),
  partitionIndex: field(3, i32),
  decree: field(4, i64),
  server: field(5, string),
})
export type UpdateResponse = ValueOf<typeof UpdateResponse>

export const ReadResponse = struct('read_response', {
  error: field(1, i32),
  value: field(2, blob),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  server: field(6, string),
})
export type ReadResponse = ValueOf<typeof ReadResponse>

export const TtlResponse = struct('ttl_response', {
  error: field(1, i32),
  ttlSeconds: field(2, i32),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  server: field(6, string),
})
export type TtlResponse = ValueOf<typeof TtlResponse>

export const CountResponse = struct('count_response', {
  error: field(1, i32),
  count: field(2, i64),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  server: field(6, string),
})
export type CountResponse = ValueOf<typeof CountResponse>

export const KeyValue = struct('key_value', {
  key: field(1, blob),
  value: field(2, blob),
  expireTsSeconds: optional(3, i32),
})
export type KeyValue = ValueOf<typeof KeyValue>

export const MultiPutRequest = struct('multi_put_request', {
  hashKey: field(1, blob),
  kvs: field(2, list(KeyValue)),
  expireTsSeconds: field(3, i32),
})
export type MultiPutRequest = ValueOf<typeof MultiPutRequest>

export const MultiRemoveRequest = struct('multi_remove_request', {
  hashKey: field(1, blob),
  sortKeys: field(2, list(blob)),
  maxCount: field(3, i64Big),
})
export type MultiRemoveRequest = ValueOf<typeof MultiRemoveRequest>

export const MultiRemoveResponse = struct('multi_remove_response', {
  error: field(1, i32),
  count: field(2, i64),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  decree: field(5, i64),
  server: field(6, string),
})
export type MultiRemoveResponse = ValueOf<typeof MultiRemoveResponse>

export const MultiGetRequest = struct('multi_get_request', {
  hashKey: field(1, blob),
  sortKeys: field(2, list(blob)),
  maxKvCount: field(3, i32),
  maxKvSize: field(4, i32),
  noValue: field(5, bool),
  startSortkey: field(6, blob),
  stopSortkey: field(7, blob),
  startInclusive: field(8, bool),
  stopInclusive: field(9, bool),
  sortKeyFilterType: field(10, i32),
  sortKeyFilterPattern: field(11, blob),
  reverse: field(12, bool),
})
export type MultiGetRequest = ValueOf<typeof MultiGetRequest>

export const MultiGetResponse = struct('multi_get_response', {
  error: field(1, i32),
  kvs: field(2, list(KeyValue)),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  server: field(6, string),
})
export type MultiGetResponse = ValueOf<typeof MultiGetResponse>

export const FullKey = struct('full_key', {
  hashKey: field(1, blob),
  sortKey: field(2, blob),
})
export type FullKey = ValueOf<typeof FullKey>

export const BatchGetRequest = struct('batch_get_request', {
  keys: field(1, list(FullKey)),
})
export type BatchGetRequest = ValueOf<typeof BatchGetRequest>

export const FullData = struct('full_data', {
  hashKey: field(1, blob),
  sortKey: field(2, blob),
  value: field(3, blob),
})
export type FullData = ValueOf<typeof FullData>

export const BatchGetResponse = struct('batch_get_response', {
  error: field(1, i32),
  data: field(2, list(FullData)),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  server: field(6, string),
})
export type BatchGetResponse = ValueOf<typeof BatchGetResponse>

export const IncrRequest = struct('incr_request', {
  key: field(1, blob),
  increment: field(2, i64Big),
  expireTsSeconds: field(3, i32),
})
export type IncrRequest = ValueOf<typeof IncrRequest>

export const IncrResponse = struct('incr_response', {
  error: field(1, i32),
  newValue: field(2, i64Big),
  appId: field(3, i32),
  partitionIndex: field(4, i32),
  decree: field(5, i64),
  server: field(6, string),
})
export type IncrResponse = ValueOf<typeof IncrResponse>

export const CheckAndSetRequest = struct('check_and_set_request', {
  hashKey: field(1, blob),
  checkSortKey: field(2, blob),
  checkType: field(3, i32),
  checkOperand: field(4, blob),
  setDiffSortKey: field(5, bool),
  setSortKey: field(6, blob),
  setValue: field(7, blob),
  setExpireTsSeconds: field(8, i32),
  returnCheckValue: field(9, bool),
})
export type CheckAndSetRequest = ValueOf<typeof CheckAndSetRequest>

export const CheckAndSetResponse = struct('check_and_set_response', {
  error: field(1, i32),
  checkValueReturned: field(2, bool),
  checkValueExist: field(3, bool),
  checkValue: field(4, blob),
  appId: field(5, i32),
  partitionIndex: field(6, i32),
  decree: field(7, i64),
  server: field(8, string),
})
export type CheckAndSetResponse = ValueOf<typeof CheckAndSetResponse>

export const Mutate = struct('mutate', {
  operation: field(1, i32),
  sortKey: field(2, blob),
  value: field(3, blob),
  setExpireTsSeconds: field(4, i32),
})
export type Mutate = ValueOf<typeof Mutate>

export const CheckAndMutateRequest = struct('check_and_mutate_request', {
  hashKey: field(1, blob),
  checkSortKey: field(2, blob),
  checkType: field(3, i32),
  checkOperand: field(4, blob),
  mutateList: field(5, list(Mutate)),
  returnCheckValue: field(6, bool),
})
export type CheckAndMutateRequest = ValueOf<typeof CheckAndMutateRequest>

export const CheckAndMutateResponse = struct('check_and_mutate_response', {
  error: field(1, i32),
  checkValueReturned: field(2, bool),
  checkValueExist: field(3, bool),
  checkValue: field(4, blob),
  appId: field(5, i32),
  partitionIndex: field(6, i32),
  decree: field(7, i64),
  server: field(8, string),
})
export type CheckAndMutateResponse = ValueOf<typeof CheckAndMutateResponse>

export const GetScannerRequest = struct('get_scanner_request', {
  startKey: field(1, blob),
  stopKey: field(2, blob),
  startInclusive: field(3, bool),
  stopInclusive: field(4, bool),
  batchSize: field(5, i32),
  noValue: field(6, bool),
  hashKeyFilterType: field(7, i32),
  hashKeyFilterPattern: field(8, blob),
  sortKeyFilterType: field(9, i32),
  sortKeyFilterPattern: field(10, blob),
  validatePartitionHash: optional(11, bool),
  returnExpireTs: optional(12, bool),
  fullScan: optional(13, bool),
  onlyReturnCount: optional(14, bool),
})
export type GetScannerRequest = ValueOf<typeof GetScannerRequest>

export const ScanRequest = struct('scan_request', {
  contextId: field(1, i64Big),
})
export type ScanRequest = ValueOf<typeof ScanRequest>

export const ScanResponse = struct('scan_response', {
  error: field(1, i32),
  kvs: field(2, list(KeyValue)),
  contextId: field(3, i64Big),
  appId: field(4, i32),
  partitionIndex: field(5, i32),
  server: field(6, string),
  kvCount: optional(7, i32),
})
export type ScanResponse = ValueOf<typeof ScanResponse>
