/** Meta server administration and replica-to-meta calls (upstream idl/meta_admin.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
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
import { AppInfo, PartitionConfiguration } from './layer2.ts'
import { ReplicaInfo } from './metadata.ts'

export const ConfigType = {
  CT_INVALID: 0,
  CT_ASSIGN_PRIMARY: 1,
  CT_UPGRADE_TO_PRIMARY: 2,
  CT_ADD_SECONDARY: 3,
  CT_UPGRADE_TO_SECONDARY: 4,
  CT_DOWNGRADE_TO_SECONDARY: 5,
  CT_DOWNGRADE_TO_INACTIVE: 6,
  CT_REMOVE: 7,
  CT_ADD_SECONDARY_FOR_LB: 8,
  CT_PRIMARY_FORCE_UPDATE_BALLOT: 9,
  CT_DROP_PARTITION: 10,
  CT_REGISTER_CHILD: 11,
} as const

export const NodeStatus = {
  NS_INVALID: 0,
  NS_ALIVE: 1,
  NS_UNALIVE: 2,
} as const

export const AppEnvOperation = {
  APP_ENV_OP_INVALID: 0,
  APP_ENV_OP_SET: 1,
  APP_ENV_OP_DEL: 2,
  APP_ENV_OP_CLEAR: 3,
} as const

export const MetaFunctionLevel = {
  fl_stopped: 100,
  fl_blind: 200,
  fl_freezed: 300,
  fl_steady: 400,
  fl_lively: 500,
  fl_invalid: 10000,
} as const

export const BalancerRequestType = {
  move_primary: 0,
  copy_primary: 1,
  copy_secondary: 2,
} as const

export const ConfigurationUpdateRequest = struct('configuration_update_request', {
  info: field(1, AppInfo),
  config: field(2, PartitionConfiguration),
  type: field(3, i32),
  node: field(4, rpcAddress),
  hostNode: field(5, rpcAddress),
  metaSplitStatus: optional(6, i32),
  hpNode: optional(7, hostPort),
})
export type ConfigurationUpdateRequest = ValueOf<typeof ConfigurationUpdateRequest>

export const ConfigurationUpdateResponse = struct('configuration_update_response', {
  err: field(1, errorCode),
  config: field(2, PartitionConfiguration),
})
export type ConfigurationUpdateResponse = ValueOf<typeof ConfigurationUpdateResponse>

export const ReplicaServerInfo = struct('replica_server_info', {
  geoTags: field(1, map(string, string)),
  totalCapacityMb: field(2, i64),
})
export type ReplicaServerInfo = ValueOf<typeof ReplicaServerInfo>

export const ConfigurationQueryByNodeRequest = struct('configuration_query_by_node_request', {
  node: field(1, rpcAddress),
  storedReplicas: optional(2, list(ReplicaInfo)),
  info: optional(3, ReplicaServerInfo),
  hpNode: optional(4, hostPort),
})
export type ConfigurationQueryByNodeRequest = ValueOf<typeof ConfigurationQueryByNodeRequest>

export const ConfigurationQueryByNodeResponse = struct('configuration_query_by_node_response', {
  err: field(1, errorCode),
  partitions: field(2, list(ConfigurationUpdateRequest)),
  gcReplicas: optional(3, list(ReplicaInfo)),
})
export type ConfigurationQueryByNodeResponse = ValueOf<typeof ConfigurationQueryByNodeResponse>

export const ConfigurationRecoveryRequest = struct('configuration_recovery_request', {
  recoveryNodes: field(1, list(rpcAddress)),
  skipBadNodes: field(2, bool),
  skipLostPartitions: field(3, bool),
  hpRecoveryNodes: optional(4, list(hostPort)),
})
export type ConfigurationRecoveryRequest = ValueOf<typeof ConfigurationRecoveryRequest>

export const ConfigurationRecoveryResponse = struct('configuration_recovery_response', {
  err: field(1, errorCode),
  hintMessage: field(2, string),
})
export type ConfigurationRecoveryResponse = ValueOf<typeof ConfigurationRecoveryResponse>

export const CreateAppOptions = struct('create_app_options', {
  partitionCount: field(1, i32),
  replicaCount: field(2, i32),
  successIfExist: field(3, bool),
  appType: field(4, string),
  isStateful: field(5, bool),
  envs: field(6, map(string, string)),
  atomicIdempotent: optional(7, bool),
})
export type CreateAppOptions = ValueOf<typeof CreateAppOptions>

export const ConfigurationCreateAppRequest = struct('configuration_create_app_request', {
  appName: field(1, string),
  options: field(2, CreateAppOptions),
})
export type ConfigurationCreateAppRequest = ValueOf<typeof ConfigurationCreateAppRequest>

export const ConfigurationCreateAppResponse = struct('configuration_create_app_response', {
  err: field(1, errorCode),
  appid: field(2, i32),
})
export type ConfigurationCreateAppResponse = ValueOf<typeof ConfigurationCreateAppResponse>

export const DropAppOptions = struct('drop_app_options', {
  successIfNotExist: field(1, bool),
  reserveSeconds: optional(2, i64),
})
export type DropAppOptions = ValueOf<typeof DropAppOptions>

export const ConfigurationDropAppRequest = struct('configuration_drop_app_request', {
  appName: field(1, string),
  options: field(2, DropAppOptions),
})
export type ConfigurationDropAppRequest = ValueOf<typeof ConfigurationDropAppRequest>

export const ConfigurationDropAppResponse = struct('configuration_drop_app_response', {
  err: field(1, errorCode),
})
export type ConfigurationDropAppResponse = ValueOf<typeof ConfigurationDropAppResponse>

export const ConfigurationRenameAppRequest = struct('configuration_rename_app_request', {
  oldAppName: field(1, string),
  newAppName: field(2, string),
})
export type ConfigurationRenameAppRequest = ValueOf<typeof ConfigurationRenameAppRequest>

export const ConfigurationRenameAppResponse = struct('configuration_rename_app_response', {
  err: field(1, errorCode),
  hintMessage: field(2, string),
})
export type ConfigurationRenameAppResponse = ValueOf<typeof ConfigurationRenameAppResponse>

export const ConfigurationRecallAppRequest = struct('configuration_recall_app_request', {
  appId: field(1, i32),
  newAppName: field(2, string),
})
export type ConfigurationRecallAppRequest = ValueOf<typeof ConfigurationRecallAppRequest>

export const ConfigurationRecallAppResponse = struct('configuration_recall_app_response', {
  err: field(1, errorCode),
  info: field(2, AppInfo),
})
export type ConfigurationRecallAppResponse = ValueOf<typeof ConfigurationRecallAppResponse>

export const ConfigurationListAppsRequest = struct('configuration_list_apps_request', {
  status: field(1, i32),
  appNamePattern: optional(2, string),
  matchType: optional(3, i32),
})
export type ConfigurationListAppsRequest = ValueOf<typeof ConfigurationListAppsRequest>

export const ConfigurationListAppsResponse = struct('configuration_list_apps_response', {
  err: field(1, errorCode),
  infos: field(2, list(AppInfo)),
  hintMessage: optional(3, string),
})
export type ConfigurationListAppsResponse = ValueOf<typeof ConfigurationListAppsResponse>

export const QueryAppInfoRequest = struct('query_app_info_request', {
  metaServer: field(1, rpcAddress),
  hpMetaServer: optional(2, hostPort),
})
export type QueryAppInfoRequest = ValueOf<typeof QueryAppInfoRequest>

export const QueryAppInfoResponse = struct('query_app_info_response', {
  err: field(1, errorCode),
  apps: field(2, list(AppInfo)),
})
export type QueryAppInfoResponse = ValueOf<typeof QueryAppInfoResponse>

export const ConfigurationUpdateAppEnvRequest = struct('configuration_update_app_env_request', {
  appName: field(1, string),
  op: field(2, i32),
  keys: optional(3, list(string)),
  values: optional(4, list(string)),
  clearPrefix: optional(5, string),
})
export type ConfigurationUpdateAppEnvRequest = ValueOf<typeof ConfigurationUpdateAppEnvRequest>

export const ConfigurationUpdateAppEnvResponse = struct('configuration_update_app_env_response', {
  err: field(1, errorCode),
  hintMessage: field(2, string),
})
export type ConfigurationUpdateAppEnvResponse = ValueOf<typeof ConfigurationUpdateAppEnvResponse>

export const StartAppManualCompactRequest = struct('start_app_manual_compact_request', {
  appName: field(1, string),
  triggerTime: optional(2, i64),
  targetLevel: optional(3, i32),
  bottommost: optional(4, bool),
  maxRunningCount: optional(5, i32),
})
export type StartAppManualCompactRequest = ValueOf<typeof StartAppManualCompactRequest>

export const StartAppManualCompactResponse = struct('start_app_manual_compact_response', {
  err: field(1, errorCode),
  hintMsg: field(2, string),
})
export type StartAppManualCompactResponse = ValueOf<typeof StartAppManualCompactResponse>

export const QueryAppManualCompactRequest = struct('query_app_manual_compact_request', {
  appName: field(1, string),
})
export type QueryAppManualCompactRequest = ValueOf<typeof QueryAppManualCompactRequest>

export const QueryAppManualCompactResponse = struct('query_app_manual_compact_response', {
  err: field(1, errorCode),
  hintMsg: field(2, string),
  progress: optional(3, i32),
})
export type QueryAppManualCompactResponse = ValueOf<typeof QueryAppManualCompactResponse>

export const NodeInfo = struct('node_info', {
  status: field(1, i32),
  node: field(2, rpcAddress),
  hpNode: optional(3, hostPort),
})
export type NodeInfo = ValueOf<typeof NodeInfo>

export const ConfigurationListNodesRequest = struct('configuration_list_nodes_request', {
  status: field(1, i32),
})
export type ConfigurationListNodesRequest = ValueOf<typeof ConfigurationListNodesRequest>

export const ConfigurationListNodesResponse = struct('configuration_list_nodes_response', {
  err: field(1, errorCode),
  infos: field(2, list(NodeInfo)),
})
export type ConfigurationListNodesResponse = ValueOf<typeof ConfigurationListNodesResponse>

export const ConfigurationClusterInfoRequest = struct('configuration_cluster_info_request', {})
export type ConfigurationClusterInfoRequest = ValueOf<typeof ConfigurationClusterInfoRequest>

export const ConfigurationClusterInfoResponse = struct('configuration_cluster_info_response', {
  err: field(1, errorCode),
  keys: field(2, list(string)),
  values: field(3, list(string)),
})
export type ConfigurationClusterInfoResponse = ValueOf<typeof ConfigurationClusterInfoResponse>

export const ConfigurationMetaControlRequest = struct('configuration_meta_control_request', {
  level: field(1, i32),
})
export type ConfigurationMetaControlRequest = ValueOf<typeof ConfigurationMetaControlRequest>

export const ConfigurationMetaControlResponse = struct('configuration_meta_control_response', {
  err: field(1, errorCode),
  oldLevel: field(2, i32),
})
export type ConfigurationMetaControlResponse = ValueOf<typeof ConfigurationMetaControlResponse>

export const ConfigurationProposalAction = struct('configuration_proposal_action', {
  target: field(1, rpcAddress),
  node: field(2, rpcAddress),
  type: field(3, i32),
  hpTarget: optional(5, hostPort),
  hpNode: optional(6, hostPort),
})
export type ConfigurationProposalAction = ValueOf<typeof ConfigurationProposalAction>

export const ConfigurationBalancerRequest = struct('configuration_balancer_request', {
  gpid: field(1, gpid),
  actionList: field(2, list(ConfigurationProposalAction)),
  force: optional(3, bool),
  balanceType: optional(4, i32),
})
export type ConfigurationBalancerRequest = ValueOf<typeof ConfigurationBalancerRequest>

export const ConfigurationBalancerResponse = struct('configuration_balancer_response', {
  err: field(1, errorCode),
})
export type ConfigurationBalancerResponse = ValueOf<typeof ConfigurationBalancerResponse>

export const DddDiagnoseRequest = struct('ddd_diagnose_request', {
  pid: field(1, gpid),
})
export type DddDiagnoseRequest = ValueOf<typeof DddDiagnoseRequest>

export const DddNodeInfo = struct('ddd_node_info', {
  node: field(1, rpcAddress),
  dropTimeMs: field(2, i64),
  isAlive: field(3, bool),
  isCollected: field(4, bool),
  ballot: field(5, i64),
  lastCommittedDecree: field(6, i64),
  lastPreparedDecree: field(7, i64),
  hpNode: optional(8, hostPort),
})
export type DddNodeInfo = ValueOf<typeof DddNodeInfo>

export const DddPartitionInfo = struct('ddd_partition_info', {
  config: field(1, PartitionConfiguration),
  dropped: field(2, list(DddNodeInfo)),
  reason: field(3, string),
})
export type DddPartitionInfo = ValueOf<typeof DddPartitionInfo>

export const DddDiagnoseResponse = struct('ddd_diagnose_response', {
  err: field(1, errorCode),
  partitions: field(2, list(DddPartitionInfo)),
})
export type DddDiagnoseResponse = ValueOf<typeof DddDiagnoseResponse>

export const ConfigurationGetMaxReplicaCountRequest = struct(
  'configuration_get_max_replica_count_request',
  {
    appName: field(1, string),
  },
)
export type ConfigurationGetMaxReplicaCountRequest = ValueOf<
  typeof ConfigurationGetMaxReplicaCountRequest
>

export const ConfigurationGetMaxReplicaCountResponse = struct(
  'configuration_get_max_replica_count_response',
  {
    err: field(1, errorCode),
    maxReplicaCount: field(2, i32),
    hintMessage: field(3, string),
  },
)
export type ConfigurationGetMaxReplicaCountResponse = ValueOf<
  typeof ConfigurationGetMaxReplicaCountResponse
>

export const ConfigurationSetMaxReplicaCountRequest = struct(
  'configuration_set_max_replica_count_request',
  {
    appName: field(1, string),
    maxReplicaCount: field(2, i32),
  },
)
export type ConfigurationSetMaxReplicaCountRequest = ValueOf<
  typeof ConfigurationSetMaxReplicaCountRequest
>

export const ConfigurationSetMaxReplicaCountResponse = struct(
  'configuration_set_max_replica_count_response',
  {
    err: field(1, errorCode),
    oldMaxReplicaCount: field(2, i32),
    hintMessage: field(3, string),
  },
)
export type ConfigurationSetMaxReplicaCountResponse = ValueOf<
  typeof ConfigurationSetMaxReplicaCountResponse
>

export const ConfigurationGetAtomicIdempotentRequest = struct(
  'configuration_get_atomic_idempotent_request',
  {
    appName: field(1, string),
  },
)
export type ConfigurationGetAtomicIdempotentRequest = ValueOf<
  typeof ConfigurationGetAtomicIdempotentRequest
>

export const ConfigurationGetAtomicIdempotentResponse = struct(
  'configuration_get_atomic_idempotent_response',
  {
    err: field(1, errorCode),
    atomicIdempotent: field(2, bool),
    hintMessage: field(3, string),
  },
)
export type ConfigurationGetAtomicIdempotentResponse = ValueOf<
  typeof ConfigurationGetAtomicIdempotentResponse
>

export const ConfigurationSetAtomicIdempotentRequest = struct(
  'configuration_set_atomic_idempotent_request',
  {
    appName: field(1, string),
    atomicIdempotent: field(2, bool),
  },
)
export type ConfigurationSetAtomicIdempotentRequest = ValueOf<
  typeof ConfigurationSetAtomicIdempotentRequest
>

export const ConfigurationSetAtomicIdempotentResponse = struct(
  'configuration_set_atomic_idempotent_response',
  {
    err: field(1, errorCode),
    oldAtomicIdempotent: field(2, bool),
    hintMessage: field(3, string),
  },
)
export type ConfigurationSetAtomicIdempotentResponse = ValueOf<
  typeof ConfigurationSetAtomicIdempotentResponse
>
