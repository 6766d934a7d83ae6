/** Replica status and configuration (upstream idl/metadata.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import { type ValueOf, bool, field, i32, i64, i64Big, optional, string, struct } from './schema.ts'
import { gpid, hostPort, rpcAddress } from './base.ts'

export const PartitionStatus = {
  PS_INVALID: 0,
  PS_INACTIVE: 1,
  PS_ERROR: 2,
  PS_PRIMARY: 3,
  PS_SECONDARY: 4,
  PS_POTENTIAL_SECONDARY: 5,
  PS_PARTITION_SPLIT: 6,
} as const

export const SplitStatus = {
  NOT_SPLIT: 0,
  SPLITTING: 1,
  PAUSING: 2,
  PAUSED: 3,
  CANCELING: 4,
} as const

export const DiskStatus = {
  NORMAL: 0,
  SPACE_INSUFFICIENT: 1,
  IO_ERROR: 2,
} as const

export const ManualCompactionStatus = {
  IDLE: 0,
  QUEUING: 1,
  RUNNING: 2,
  FINISHED: 3,
} as const

export const FileMeta = struct('file_meta', {
  name: field(1, string),
  size: field(2, i64),
  md5: field(3, string),
})
export type FileMeta = ValueOf<typeof FileMeta>

export const ReplicaConfiguration = struct('replica_configuration', {
  pid: field(1, gpid),
  ballot: field(2, i64),
  primary: field(3, rpcAddress),
  status: field(4, i32),
  learnerSignature: field(5, i64Big),
  popAll: optional(6, bool),
  splitSyncToChild: optional(7, bool),
  hpPrimary: optional(8, hostPort),
})
export type ReplicaConfiguration = ValueOf<typeof ReplicaConfiguration>

export const ReplicaInfo = struct('replica_info', {
  pid: field(1, gpid),
  ballot: field(2, i64),
  status: field(3, i32),
  lastCommittedDecree: field(4, i64),
  lastPreparedDecree: field(5, i64),
  lastDurableDecree: field(6, i64),
  appType: field(7, string),
  diskTag: field(8, string),
  manualCompactStatus: optional(9, i32),
})
export type ReplicaInfo = ValueOf<typeof ReplicaInfo>
