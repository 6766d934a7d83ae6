/** Administration of replica servers (upstream idl/replica_admin.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import {
  type ValueOf,
  field,
  i32,
  i64,
  list,
  map,
  optional,
  set,
  string,
  struct,
} from './schema.ts'
import { errorCode, gpid, hostPort, rpcAddress } from './base.ts'
import { ReplicaInfo } from './metadata.ts'

export const DiskMigrationStatus = {
  IDLE: 0,
  MOVING: 1,
  MOVED: 2,
  CLOSED: 3,
} as const

export const HotkeyType = {
  READ: 0,
  WRITE: 1,
} as const

export const DetectAction = {
  START: 0,
  STOP: 1,
  QUERY: 2,
} as const

export const QueryReplicaDecreeRequest = struct('query_replica_decree_request', {
  pid: field(1, gpid),
  node1: field(2, rpcAddress),
  hpNode1: optional(3, hostPort),
})
export type QueryReplicaDecreeRequest = ValueOf<typeof QueryReplicaDecreeRequest>

export const QueryReplicaDecreeResponse = struct('query_replica_decree_response', {
  err: field(1, errorCode),
  lastDecree: field(2, i64),
})
export type QueryReplicaDecreeResponse = ValueOf<typeof QueryReplicaDecreeResponse>

export const QueryReplicaInfoRequest = struct('query_replica_info_request', {
  node1: field(1, rpcAddress),
  hpNode1: optional(2, hostPort),
})
export type QueryReplicaInfoRequest = ValueOf<typeof QueryReplicaInfoRequest>

export const QueryReplicaInfoResponse = struct('query_replica_info_response', {
  err: field(1, errorCode),
  replicas: field(2, list(ReplicaInfo)),
})
export type QueryReplicaInfoResponse = ValueOf<typeof QueryReplicaInfoResponse>

export const DiskInfo = struct('disk_info', {
  tag: field(1, string),
  fullDir: field(2, string),
  diskCapacityMb: field(3, i64),
  diskAvailableMb: field(4, i64),
  holdingPrimaryReplicas: field(5, map(i32, set(gpid))),
  holdingSecondaryReplicas: field(6, map(i32, set(gpid))),
})
export type DiskInfo = ValueOf<typeof DiskInfo>

export const QueryDiskInfoRequest = struct('query_disk_info_request', {
  node1: field(1, rpcAddress),
  appName: field(2, string),
  hpNode1: optional(3, hostPort),
})
export type QueryDiskInfoRequest = ValueOf<typeof QueryDiskInfoRequest>

export const QueryDiskInfoResponse = struct('query_disk_info_response', {
  err: field(1, errorCode),
  totalCapacityMb: field(2, i64),
  totalAvailableMb: field(3, i64),
  diskInfos: field(4, list(DiskInfo)),
})
export type QueryDiskInfoResponse = ValueOf<typeof QueryDiskInfoResponse>

export const ReplicaDiskMigrateRequest = struct('replica_disk_migrate_request', {
  pid: field(1, gpid),
  originDisk: field(2, string),
  targetDisk: field(3, string),
})
export type ReplicaDiskMigrateRequest = ValueOf<typeof ReplicaDiskMigrateRequest>

export const ReplicaDiskMigrateResponse = struct('replica_disk_migrate_response', {
  err: field(1, errorCode),
  hint: optional(2, string),
})
export type ReplicaDiskMigrateResponse = ValueOf<typeof ReplicaDiskMigrateResponse>

export const DetectHotkeyRequest = struct('detect_hotkey_request', {
  type: field(1, i32),
  action: field(2, i32),
  pid: field(3, gpid),
})
export type DetectHotkeyRequest = ValueOf<typeof DetectHotkeyRequest>

export const DetectHotkeyResponse = struct('detect_hotkey_response', {
  err: field(1, errorCode),
  errHint: optional(2, string),
  hotkeyResult: optional(3, string),
})
export type DetectHotkeyResponse = ValueOf<typeof DetectHotkeyResponse>

export const AddNewDiskRequest = struct('add_new_disk_request', {
  diskStr: field(1, string),
})
export type AddNewDiskRequest = ValueOf<typeof AddNewDiskRequest>

export const AddNewDiskResponse = struct('add_new_disk_response', {
  err: field(1, errorCode),
  errHint: optional(2, string),
})
export type AddNewDiskResponse = ValueOf<typeof AddNewDiskResponse>
