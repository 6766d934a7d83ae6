/** Cold backup and restore (upstream idl/backup.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import {
  type ValueOf,
  bool,
  field,
  i32,
  i64,
  list,
  optional,
  set,
  string,
  struct,
} from './schema.ts'
import { errorCode, gpid } from './base.ts'

export const PolicyInfo = struct('policy_info', {
  policyName: field(1, string),
  backupProviderType: field(2, string),
})
export type PolicyInfo = ValueOf<typeof PolicyInfo>

export const ConfigurationRestoreRequest = struct('configuration_restore_request', {
  clusterName: field(1, string),
  policyName: field(2, string),
  timeStamp: field(3, i64),
  appName: field(4, string),
  appId: field(5, i32),
  newAppName: field(6, string),
  backupProviderName: field(7, string),
  skipBadPartition: field(8, bool),
  restorePath: optional(9, string),
})
export type ConfigurationRestoreRequest = ValueOf<typeof ConfigurationRestoreRequest>

export const BackupRequest = struct('backup_request', {
  pid: field(1, gpid),
  policy: field(2, PolicyInfo),
  appName: field(3, string),
  backupId: field(4, i64),
  backupPath: optional(5, string),
})
export type BackupRequest = ValueOf<typeof BackupRequest>

export const BackupResponse = struct('backup_response', {
  err: field(1, errorCode),
  pid: field(2, gpid),
  progress: field(3, i32),
  policyName: field(4, string),
  backupId: field(5, i64),
  checkpointTotalSize: field(6, i64),
})
export type BackupResponse = ValueOf<typeof BackupResponse>

export const BackupClearRequest = struct('backup_clear_request', {
  pid: field(1, gpid),
  policyName: field(2, string),
})
export type BackupClearRequest = ValueOf<typeof BackupClearRequest>

export const ConfigurationModifyBackupPolicyRequest = struct(
  'configuration_modify_backup_policy_request',
  {
    policyName: field(1, string),
    addAppids: optional(2, list(i32)),
    removalAppids: optional(3, list(i32)),
    newBackupIntervalSec: optional(4, i64),
    backupHistoryCountToKeep: optional(5, i32),
    isDisable: optional(6, bool),
    startTime: optional(7, string),
    forceDisable: optional(8, bool),
  },
)
export type ConfigurationModifyBackupPolicyRequest = ValueOf<
  typeof ConfigurationModifyBackupPolicyRequest
>

export const ConfigurationModifyBackupPolicyResponse = struct(
  'configuration_modify_backup_policy_response',
  {
    err: field(1, errorCode),
    hintMessage: field(2, string),
  },
)
export type ConfigurationModifyBackupPolicyResponse = ValueOf<
  typeof ConfigurationModifyBackupPolicyResponse
>

export const ConfigurationAddBackupPolicyRequest = struct(
  'configuration_add_backup_policy_request',
  {
    backupProviderType: field(1, string),
    policyName: field(2, string),
    appIds: field(3, list(i32)),
    backupIntervalSeconds: field(4, i64),
    backupHistoryCountToKeep: field(5, i32),
    startTime: field(6, string),
  },
)
export type ConfigurationAddBackupPolicyRequest = ValueOf<
  typeof ConfigurationAddBackupPolicyRequest
>

export const ConfigurationAddBackupPolicyResponse = struct(
  'configuration_add_backup_policy_response',
  {
    err: field(1, errorCode),
    hintMessage: field(2, string),
  },
)
export type ConfigurationAddBackupPolicyResponse = ValueOf<
  typeof ConfigurationAddBackupPolicyResponse
>

export const PolicyEntry = struct('policy_entry', {
  policyName: field(1, string),
  backupProviderType: field(2, string),
  backupIntervalSeconds: field(3, string),
  appIds: field(4, set(i32)),
  backupHistoryCountToKeep: field(5, i32),
  startTime: field(6, string),
  isDisable: field(7, bool),
})
export type PolicyEntry = ValueOf<typeof PolicyEntry>

export const BackupEntry = struct('backup_entry', {
  backupId: field(1, i64),
  startTimeMs: field(2, i64),
  endTimeMs: field(3, i64),
  appIds: field(4, set(i32)),
})
export type BackupEntry = ValueOf<typeof BackupEntry>

export const ConfigurationQueryBackupPolicyRequest = struct(
  'configuration_query_backup_policy_request',
  {
    policyNames: field(1, list(string)),
    backupInfoCount: field(2, i32),
  },
)
export type ConfigurationQueryBackupPolicyRequest = ValueOf<
  typeof ConfigurationQueryBackupPolicyRequest
>

export const ConfigurationQueryBackupPolicyResponse = struct(
  'configuration_query_backup_policy_response',
  {
    err: field(1, errorCode),
    policys: field(2, list(PolicyEntry)),
    backupInfos: field(3, list(list(BackupEntry))),
    hintMsg: optional(4, string),
  },
)
export type ConfigurationQueryBackupPolicyResponse = ValueOf<
  typeof ConfigurationQueryBackupPolicyResponse
>

export const ConfigurationReportRestoreStatusRequest = struct(
  'configuration_report_restore_status_request',
  {
    pid: field(1, gpid),
    restoreStatus: field(2, errorCode),
    progress: field(3, i32),
    reason: optional(4, string),
  },
)
export type ConfigurationReportRestoreStatusRequest = ValueOf<
  typeof ConfigurationReportRestoreStatusRequest
>

export const ConfigurationReportRestoreStatusResponse = struct(
  'configuration_report_restore_status_response',
  {
    err: field(1, errorCode),
  },
)
export type ConfigurationReportRestoreStatusResponse = ValueOf<
  typeof ConfigurationReportRestoreStatusResponse
>

export const ConfigurationQueryRestoreRequest = struct('configuration_query_restore_request', {
  restoreAppId: field(1, i32),
})
export type ConfigurationQueryRestoreRequest = ValueOf<typeof ConfigurationQueryRestoreRequest>

export const ConfigurationQueryRestoreResponse = struct('configuration_query_restore_response', {
  err: field(1, errorCode),
  restoreStatus: field(2, list(errorCode)),
  restoreProgress: field(3, list(i32)),
})
export type ConfigurationQueryRestoreResponse = ValueOf<typeof ConfigurationQueryRestoreResponse>

export const StartBackupAppRequest = struct('start_backup_app_request', {
  backupProviderType: field(1, string),
  appId: field(2, i32),
  backupPath: optional(3, string),
})
export type StartBackupAppRequest = ValueOf<typeof StartBackupAppRequest>

export const StartBackupAppResponse = struct('start_backup_app_response', {
  err: field(1, errorCode),
  hintMessage: field(2, string),
  backupId: optional(3, i64),
})
export type StartBackupAppResponse = ValueOf<typeof StartBackupAppResponse>

export const BackupItem = struct('backup_item', {
  backupId: field(1, i64),
  appName: field(2, string),
  backupProviderType: field(3, string),
  backupPath: field(4, string),
  startTimeMs: field(5, i64),
  endTimeMs: field(6, i64),
  isBackupFailed: field(7, bool),
})
export type BackupItem = ValueOf<typeof BackupItem>

export const QueryBackupStatusRequest = struct('query_backup_status_request', {
  appId: field(1, i32),
  backupId: optional(2, i64),
})
export type QueryBackupStatusRequest = ValueOf<typeof QueryBackupStatusRequest>

export const QueryBackupStatusResponse = struct('query_backup_status_response', {
  err: field(1, errorCode),
  hintMessage: field(2, string),
  backupItems: optional(3, list(BackupItem)),
})
export type QueryBackupStatusResponse = ValueOf<typeof QueryBackupStatusResponse>
