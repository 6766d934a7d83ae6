/** Configuration query, table information, request meta (upstream idl/dsn.layer2.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import {
  type ValueOf,
  bool,
  field,
  i32,
  i64,
  i64Big,
  list,
  map,
  optional,
  string,
  struct,
} from './schema.ts'
import { errorCode, gpid, hostPort, rpcAddress } from './base.ts'

export const AppStatus = {
  AS_INVALID: 0,
  AS_AVAILABLE: 1,
  AS_CREATING: 2,
  AS_CREATE_FAILED: 3,
  AS_DROPPING: 4,
  AS_DROP_FAILED: 5,
  AS_DROPPED: 6,
  AS_RECALLING: 7,
} as const

export const PartitionConfiguration = struct('partition_configuration', {
  pid: field(1, gpid),
  ballot: field(2, i64),
  maxReplicaCount: field(3, i32),
  primary: field(4, rpcAddress),
  secondaries: field(5, list(rpcAddress)),
  lastDrops: field(6, list(rpcAddress)),
  lastCommittedDecree: field(7, i64),
  partitionFlags: field(8, i32),
  hpPrimary: optional(9, hostPort),
  hpSecondaries: optional(10, list(hostPort)),
  hpLastDrops: optional(11, list(hostPort)),
})
export type PartitionConfiguration = ValueOf<typeof PartitionConfiguration>

export const QueryCfgRequest = struct('query_cfg_request', {
  appName: field(1, string),
  partitionIndices: field(2, list(i32)),
})
export type QueryCfgRequest = ValueOf<typeof QueryCfgRequest>

export const QueryCfgResponse = struct('query_cfg_response', {
  err: field(1, errorCode),
  appId: field(2, i32),
  partitionCount: field(3, i32),
  isStateful: field(4, bool),
  partitions: field(5, list(PartitionConfiguration)),
})
export type QueryCfgResponse = ValueOf<typeof QueryCfgResponse>

export const RequestMeta = struct('request_meta', {
  appId: field(1, i32),
  partitionIndex: field(2, i32),
  clientTimeout: field(3, i32),
  partitionHash: field(4, i64Big),
  isBackupRequest: field(5, bool),
})
export type RequestMeta = ValueOf<typeof RequestMeta>

export const AppInfo = struct('app_info', {
  status: field(1, i32),
  appType: field(2, string),
  appName: field(3, string),
  appId: field(4, i32),
  partitionCount: field(5, i32),
  envs: field(6, map(string, string)),
  isStateful: field(7, bool),
  maxReplicaCount: field(8, i32),
  expireSecond: field(9, i64),
  createSecond: field(10, i64),
  dropSecond: field(11, i64),
  duplicating: optional(12, bool),
  initPartitionCount: field(13, i32, -1),
  isBulkLoading: optional(14, bool),
  atomicIdempotent: optional(15, bool),
})
export type AppInfo = ValueOf<typeof AppInfo>
