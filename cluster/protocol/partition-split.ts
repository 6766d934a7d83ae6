/** Partition split (upstream idl/partition_split.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import { type ValueOf, field, i32, i64, map, optional, string, struct } from './schema.ts'
import { errorCode, gpid, hostPort, rpcAddress } from './base.ts'
import { AppInfo, PartitionConfiguration } from './layer2.ts'

export const SplitControlType = {
  PAUSE: 0,
  RESTART: 1,
  CANCEL: 2,
} as const

export const StartPartitionSplitRequest = struct('start_partition_split_request', {
  appName: field(1, string),
  newPartitionCount: field(2, i32),
})
export type StartPartitionSplitRequest = ValueOf<typeof StartPartitionSplitRequest>

export const StartPartitionSplitResponse = struct('start_partition_split_response', {
  err: field(1, errorCode),
  hintMsg: field(2, string),
})
export type StartPartitionSplitResponse = ValueOf<typeof StartPartitionSplitResponse>

export const ControlSplitRequest = struct('control_split_request', {
  appName: field(1, string),
  controlType: field(2, i32),
  parentPidx: field(3, i32),
  oldPartitionCount: optional(4, i32),
})
export type ControlSplitRequest = ValueOf<typeof ControlSplitRequest>

export const ControlSplitResponse = struct('control_split_response', {
  err: field(1, errorCode),
  hintMsg: optional(2, string),
})
export type ControlSplitResponse = ValueOf<typeof ControlSplitResponse>

export const QuerySplitRequest = struct('query_split_request', {
  appName: field(1, string),
})
export type QuerySplitRequest = ValueOf<typeof QuerySplitRequest>

export const QuerySplitResponse = struct('query_split_response', {
  err: field(1, errorCode),
  newPartitionCount: field(2, i32),
  status: field(3, map(i32, i32)),
  hintMsg: optional(4, string),
})
export type QuerySplitResponse = ValueOf<typeof QuerySplitResponse>

export const NotifyCatchUpRequest = struct('notify_catch_up_request', {
  parentGpid: field(1, gpid),
  childGpid: field(2, gpid),
  childBallot: field(3, i64),
  child: field(4, rpcAddress),
  hpChild: optional(5, hostPort),
})
export type NotifyCatchUpRequest = ValueOf<typeof NotifyCatchUpRequest>

export const NotifyCacthUpResponse = struct('notify_cacth_up_response', {
  err: field(1, errorCode),
})
export type NotifyCacthUpResponse = ValueOf<typeof NotifyCacthUpResponse>

export const UpdateChildGroupPartitionCountRequest = struct(
  'update_child_group_partition_count_request',
  {
    target: field(1, rpcAddress),
    newPartitionCount: field(2, i32),
    childPid: field(3, gpid),
    ballot: field(4, i64),
    hpTarget: optional(5, hostPort),
  },
)
export type UpdateChildGroupPartitionCountRequest = ValueOf<
  typeof UpdateChildGroupPartitionCountRequest
>

export const UpdateChildGroupPartitionCountResponse = struct(
  'update_child_group_partition_count_response',
  {
    err: field(1, errorCode),
  },
)
export type UpdateChildGroupPartitionCountResponse = ValueOf<
  typeof UpdateChildGroupPartitionCountResponse
>

export const RegisterChildRequest = struct('register_child_request', {
  app: field(1, AppInfo),
  parentConfig: field(2, PartitionConfiguration),
  childConfig: field(3, PartitionConfiguration),
  primary: field(4, rpcAddress),
  hpPrimary: optional(5, hostPort),
})
export type RegisterChildRequest = ValueOf<typeof RegisterChildRequest>

export const RegisterChildResponse = struct('register_child_response', {
  err: field(1, errorCode),
  app: field(2, AppInfo),
  parentConfig: field(3, PartitionConfiguration),
  childConfig: field(4, PartitionConfiguration),
})
export type RegisterChildResponse = ValueOf<typeof RegisterChildResponse>

export const NotifyStopSplitRequest = struct('notify_stop_split_request', {
  appName: field(1, string),
  parentGpid: field(2, gpid),
  metaSplitStatus: field(3, i32),
  partitionCount: field(4, i32),
})
export type NotifyStopSplitRequest = ValueOf<typeof NotifyStopSplitRequest>

export const NotifyStopSplitResponse = struct('notify_stop_split_response', {
  err: field(1, errorCode),
})
export type NotifyStopSplitResponse = ValueOf<typeof NotifyStopSplitResponse>

export const QueryChildStateRequest = struct('query_child_state_request', {
  appName: field(1, string),
  pid: field(2, gpid),
  partitionCount: field(3, i32),
})
export type QueryChildStateRequest = ValueOf<typeof QueryChildStateRequest>

export const QueryChildStateResponse = struct('query_child_state_response', {
  err: field(1, errorCode),
  partitionCount: optional(2, i32),
  childConfig: optional(3, PartitionConfiguration),
})
export type QueryChildStateResponse = ValueOf<typeof QueryChildStateResponse>
