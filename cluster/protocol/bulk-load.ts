/** Bulk load (upstream idl/bulk_load.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import {
  type ValueOf,
  bool,
  field,
  i32,
  i64,
  list,
  map,
  optional,
  string,
  struct,
} from './schema.ts'
import { errorCode, gpid, hostPort, rpcAddress } from './base.ts'
import { FileMeta, ReplicaConfiguration } from './metadata.ts'

export const BulkLoadStatus = {
  BLS_INVALID: 0,
  BLS_DOWNLOADING: 1,
  BLS_DOWNLOADED: 2,
  BLS_INGESTING: 3,
  BLS_SUCCEED: 4,
  BLS_FAILED: 5,
  BLS_PAUSING: 6,
  BLS_PAUSED: 7,
  BLS_CANCELED: 8,
} as const

export const IngestionStatus = {
  IS_INVALID: 0,
  IS_RUNNING: 1,
  IS_SUCCEED: 2,
  IS_FAILED: 3,
} as const

export const BulkLoadControlType = {
  BLC_PAUSE: 0,
  BLC_RESTART: 1,
  BLC_CANCEL: 2,
  BLC_FORCE_CANCEL: 3,
} as const

export const BulkLoadMetadata = struct('bulk_load_metadata', {
  files: field(1, list(FileMeta)),
  fileTotalSize: field(2, i64),
})
export type BulkLoadMetadata = ValueOf<typeof BulkLoadMetadata>

export const StartBulkLoadRequest = struct('start_bulk_load_request', {
  appName: field(1, string),
  clusterName: field(2, string),
  fileProviderType: field(3, string),
  remoteRootPath: field(4, string),
  ingestBehind: field(5, bool),
})
export type StartBulkLoadRequest = ValueOf<typeof StartBulkLoadRequest>

export const StartBulkLoadResponse = struct('start_bulk_load_response', {
  err: field(1, errorCode),
  hintMsg: field(2, string),
})
export type StartBulkLoadResponse = ValueOf<typeof StartBulkLoadResponse>

export const PartitionBulkLoadState = struct('partition_bulk_load_state', {
  downloadProgress: optional(1, i32),
  downloadStatus: optional(2, errorCode),
  ingestStatus: optional(3, i32),
  isCleanedUp: optional(4, bool),
  isPaused: optional(5, bool),
})
export type PartitionBulkLoadState = ValueOf<typeof PartitionBulkLoadState>

export const BulkLoadRequest = struct('bulk_load_request', {
  pid: field(1, gpid),
  appName: field(2, string),
  primary: field(3, rpcAddress),
  remoteProviderName: field(4, string),
  clusterName: field(5, string),
  ballot: field(6, i64),
  metaBulkLoadStatus: field(7, i32),
  queryBulkLoadMetadata: field(8, bool),
  remoteRootPath: field(9, string),
  hpPrimary: optional(10, hostPort),
})
export type BulkLoadRequest = ValueOf<typeof BulkLoadRequest>

export const BulkLoadResponse = struct('bulk_load_response', {
  err: field(1, errorCode),
  pid: field(2, gpid),
  appName: field(3, string),
  primaryBulkLoadStatus: field(4, i32),
  groupBulkLoadState: field(5, map(rpcAddress, PartitionBulkLoadState)),
  metadata: optional(6, BulkLoadMetadata),
  totalDownloadProgress: optional(7, i32),
  isGroupIngestionFinished: optional(8, bool),
  isGroupBulkLoadContextCleanedUp: optional(9, bool),
  isGroupBulkLoadPaused: optional(10, bool),
  hpGroupBulkLoadState: optional(11, map(hostPort, PartitionBulkLoadState)),
})
export type BulkLoadResponse = ValueOf<typeof BulkLoadResponse>

export const GroupBulkLoadRequest = struct('group_bulk_load_request', {
  appName: field(1, string),
  target: field(2, rpcAddress),
  config: field(3, ReplicaConfiguration),
  providerName: field(4, string),
  clusterName: field(5, string),
  metaBulkLoadStatus: field(6, i32),
  remoteRootPath: field(7, string),
  hpTarget: optional(8, hostPort),
})
export type GroupBulkLoadRequest = ValueOf<typeof GroupBulkLoadRequest>

export const GroupBulkLoadResponse = struct('group_bulk_load_response', {
  err: field(1, errorCode),
  status: field(2, i32),
  bulkLoadState: field(3, PartitionBulkLoadState),
})
export type GroupBulkLoadResponse = ValueOf<typeof GroupBulkLoadResponse>

export const IngestionRequest = struct('ingestion_request', {
  appName: field(1, string),
  metadata: field(2, BulkLoadMetadata),
  ingestBehind: field(3, bool),
  ballot: field(4, i64),
  verifyBeforeIngest: field(5, bool),
})
export type IngestionRequest = ValueOf<typeof IngestionRequest>

export const IngestionResponse = struct('ingestion_response', {
  err: field(1, errorCode),
  rocksdbError: field(2, i32),
})
export type IngestionResponse = ValueOf<typeof IngestionResponse>

export const ControlBulkLoadRequest = struct('control_bulk_load_request', {
  appName: field(1, string),
  type: field(2, i32),
})
export type ControlBulkLoadRequest = ValueOf<typeof ControlBulkLoadRequest>

export const ControlBulkLoadResponse = struct('control_bulk_load_response', {
  err: field(1, errorCode),
  hintMsg: optional(2, string),
})
export type ControlBulkLoadResponse = ValueOf<typeof ControlBulkLoadResponse>

export const QueryBulkLoadRequest = struct('query_bulk_load_request', {
  appName: field(1, string),
})
export type QueryBulkLoadRequest = ValueOf<typeof QueryBulkLoadRequest>

export const QueryBulkLoadResponse = struct('query_bulk_load_response', {
  err: field(1, errorCode),
  appName: field(2, string),
  appStatus: field(3, i32),
  partitionsStatus: field(4, list(i32)),
  maxReplicaCount: field(5, i32),
  bulkLoadStates: field(6, list(map(rpcAddress, PartitionBulkLoadState))),
  hintMsg: optional(7, string),
  isBulkLoading: optional(8, bool),
  hpBulkLoadStates: optional(9, list(map(hostPort, PartitionBulkLoadState))),
})
export type QueryBulkLoadResponse = ValueOf<typeof QueryBulkLoadResponse>

export const ClearBulkLoadStateRequest = struct('clear_bulk_load_state_request', {
  appName: field(1, string),
})
export type ClearBulkLoadStateRequest = ValueOf<typeof ClearBulkLoadStateRequest>

export const ClearBulkLoadStateResponse = struct('clear_bulk_load_state_response', {
  err: field(1, errorCode),
  hintMsg: field(2, string),
})
export type ClearBulkLoadStateResponse = ValueOf<typeof ClearBulkLoadStateResponse>
