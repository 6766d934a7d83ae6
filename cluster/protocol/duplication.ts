/** Duplication between clusters (upstream idl/duplication.thrift and src/common/duplication_internal.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import {
  type ValueOf,
  bool,
  byte,
  field,
  i32,
  i64,
  list,
  map,
  optional,
  string,
  struct,
} from './schema.ts'
import { blob, errorCode, gpid, hostPort, rpcAddress, taskCode } from './base.ts'

export const DuplicationMode = {
  FULL: 0,
  INCREMENTAL: 1,
} as const

export const DuplicationStatus = {
  DS_INIT: 0,
  DS_PREPARE: 1,
  DS_APP: 2,
  DS_LOG: 3,
  DS_PAUSE: 4,
  DS_REMOVED: 5,
} as const

export const DuplicationFailMode = {
  FAIL_SLOW: 0,
  FAIL_SKIP: 1,
  FAIL_FAST: 2,
} as const

export const DuplicationAddRequest = struct('duplication_add_request', {
  appName: field(1, string),
  remoteClusterName: field(2, string),
  isDuplicatingCheckpoint: optional(3, bool),
  remoteAppName: optional(4, string),
  remoteReplicaCount: optional(5, i32),
})
export type DuplicationAddRequest = ValueOf<typeof DuplicationAddRequest>

export const DuplicationAddResponse = struct('duplication_add_response', {
  err: field(1, errorCode),
  appid: field(2, i32),
  dupid: field(3, i32),
  hint: optional(4, string),
  remoteAppName: optional(5, string),
  remoteReplicaCount: optional(6, i32),
})
export type DuplicationAddResponse = ValueOf<typeof DuplicationAddResponse>

export const DuplicationModifyRequest = struct('duplication_modify_request', {
  appName: field(1, string),
  dupid: field(2, i32),
  status: optional(3, i32),
  failMode: optional(4, i32),
})
export type DuplicationModifyRequest = ValueOf<typeof DuplicationModifyRequest>

export const DuplicationModifyResponse = struct('duplication_modify_response', {
  err: field(1, errorCode),
  appid: field(2, i32),
})
export type DuplicationModifyResponse = ValueOf<typeof DuplicationModifyResponse>

export const DuplicationPartitionState = struct('duplication_partition_state', {
  confirmedDecree: field(1, i64),
  lastCommittedDecree: field(2, i64),
})
export type DuplicationPartitionState = ValueOf<typeof DuplicationPartitionState>

export const DuplicationEntry = struct('duplication_entry', {
  dupid: field(1, i32),
  status: field(2, i32),
  remote: field(3, string),
  createTs: field(4, i64),
  progress: optional(5, map(i32, i64)),
  failMode: optional(7, i32),
  remoteAppName: optional(8, string),
  remoteReplicaCount: optional(9, i32),
  mode: optional(10, i32),
  partitionStates: optional(11, map(i32, DuplicationPartitionState)),
})
export type DuplicationEntry = ValueOf<typeof DuplicationEntry>

export const DuplicationAppState = struct('duplication_app_state', {
  appid: field(1, i32),
  duplications: field(2, map(i32, DuplicationEntry)),
  appName: field(3, string),
  partitionCount: field(4, i32),
})
export type DuplicationAppState = ValueOf<typeof DuplicationAppState>

export const DuplicationQueryRequest = struct('duplication_query_request', {
  appName: field(1, string),
})
export type DuplicationQueryRequest = ValueOf<typeof DuplicationQueryRequest>

export const DuplicationQueryResponse = struct('duplication_query_response', {
  err: field(1, errorCode),
  appid: field(3, i32),
  entryList: field(4, list(DuplicationEntry)),
})
export type DuplicationQueryResponse = ValueOf<typeof DuplicationQueryResponse>

export const DuplicationConfirmEntry = struct('duplication_confirm_entry', {
  dupid: field(1, i32),
  confirmedDecree: field(2, i64),
  checkpointPrepared: optional(3, bool),
  lastCommittedDecree: optional(4, i64),
})
export type DuplicationConfirmEntry = ValueOf<typeof DuplicationConfirmEntry>

export const DuplicationSyncRequest = struct('duplication_sync_request', {
  node: field(1, rpcAddress),
  confirmList: field(2, map(gpid, list(DuplicationConfirmEntry))),
  hpNode: field(3, hostPort),
})
export type DuplicationSyncRequest = ValueOf<typeof DuplicationSyncRequest>

export const DuplicationSyncResponse = struct('duplication_sync_response', {
  err: field(1, errorCode),
  dupMap: field(2, map(i32, map(i32, DuplicationEntry))),
})
export type DuplicationSyncResponse = ValueOf<typeof DuplicationSyncResponse>

export const DuplicationListRequest = struct('duplication_list_request', {
  appNamePattern: field(1, string),
  matchType: field(2, i32),
})
export type DuplicationListRequest = ValueOf<typeof DuplicationListRequest>

export const DuplicationListResponse = struct('duplication_list_response', {
  err: field(1, errorCode),
  hintMessage: field(2, string),
  appStates: field(3, map(string, DuplicationAppState)),
})
export type DuplicationListResponse = ValueOf<typeof DuplicationListResponse>

export const DuplicateEntry = struct('duplicate_entry', {
  timestamp: optional(1, i64),
  taskCode: optional(2, taskCode),
  rawMessage: optional(3, blob),
  clusterId: optional(4, byte),
  verifyTimetag: optional(5, bool),
})
export type DuplicateEntry = ValueOf<typeof DuplicateEntry>

export const DuplicateRequest = struct('duplicate_request', {
  entries: field(1, list(DuplicateEntry)),
})
export type DuplicateRequest = ValueOf<typeof DuplicateRequest>

export const DuplicateResponse = struct('duplicate_response', {
  error: optional(1, i32),
  errorHint: optional(2, string),
})
export type DuplicateResponse = ValueOf<typeof DuplicateResponse>
