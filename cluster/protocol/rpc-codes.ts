/**
 * Every RPC by name with the schemas of its argument and result (wire.md 7, 8, 11 and 12). The name
 * on the wire is the task code, the reply's name is that with `_ACK`.
 *
 * Kinds: read, write and atomic go to a replica server; atomic writes must not be resent after an
 * unknown outcome. `oneWay`: the caller takes no reply, and a server must send none.
 */
import * as backup from './backup.ts'
import { blob } from './base.ts'
import * as bulkLoad from './bulk-load.ts'
import * as command from './command.ts'
import * as consensus from './consensus.ts'
import * as duplication from './duplication.ts'
import * as fd from './fd.ts'
import * as layer2 from './layer2.ts'
import * as metaAdmin from './meta-admin.ts'
import * as metadata from './metadata.ts'
import * as nfs from './nfs.ts'
import * as split from './partition-split.ts'
import * as replicaAdmin from './replica-admin.ts'
import * as rrdb from './rrdb.ts'
import * as security from './security.ts'
import { type Codec, i64Big, string, struct } from './schema.ts'

export type RpcKind = 'read' | 'write' | 'atomic' | 'meta' | 'admin' | 'internal'

export interface RpcEntry {
  readonly name: string
  /** Absent where the argument is no single value. */
  readonly argument?: Codec<never>
  readonly result: Codec<never>
  readonly kind: RpcKind
  readonly oneWay?: true
}

/** The result of an RPC that has none. */
export const Nothing = struct('nothing', {})

interface Call<A, R> {
  readonly name: string
  readonly argument: Codec<A>
  readonly result: Codec<R>
  readonly kind: RpcKind
}

const call =
  (kind: RpcKind) =>
  <A, R>(name: string, argument: Codec<A>, result: Codec<R>): Call<A, R> => ({
    name,
    argument,
    result,
    kind,
  })
const read = call('read')
const write = call('write')
const atomic = call('atomic')
const meta = call('meta')
const admin = call('admin')
const internal = call('internal')
const oneWay = <A>(name: string, argument: Codec<A>, kind: RpcKind) => ({
  ...call(kind)(name, argument, Nothing),
  oneWay: true as const,
})

export const Rpc = {
  // Data operations, to a replica server with the gpid in the header.
  PUT: write('RPC_RRDB_RRDB_PUT', rrdb.UpdateRequest, rrdb.UpdateResponse),
  MULTI_PUT: write('RPC_RRDB_RRDB_MULTI_PUT', rrdb.MultiPutRequest, rrdb.UpdateResponse),
  REMOVE: write('RPC_RRDB_RRDB_REMOVE', blob, rrdb.UpdateResponse),
  MULTI_REMOVE: write(
    'RPC_RRDB_RRDB_MULTI_REMOVE',
    rrdb.MultiRemoveRequest,
    rrdb.MultiRemoveResponse,
  ),
  INCR: atomic('RPC_RRDB_RRDB_INCR', rrdb.IncrRequest, rrdb.IncrResponse),
  CHECK_AND_SET: atomic(
    'RPC_RRDB_RRDB_CHECK_AND_SET',
    rrdb.CheckAndSetRequest,
    rrdb.CheckAndSetResponse,
  ),
  CHECK_AND_MUTATE: atomic(
    'RPC_RRDB_RRDB_CHECK_AND_MUTATE',
    rrdb.CheckAndMutateRequest,
    rrdb.CheckAndMutateResponse,
  ),
  GET: read('RPC_RRDB_RRDB_GET', blob, rrdb.ReadResponse),
  MULTI_GET: read('RPC_RRDB_RRDB_MULTI_GET', rrdb.MultiGetRequest, rrdb.MultiGetResponse),
  BATCH_GET: read('RPC_RRDB_RRDB_BATCH_GET', rrdb.BatchGetRequest, rrdb.BatchGetResponse),
  SORTKEY_COUNT: read('RPC_RRDB_RRDB_SORTKEY_COUNT', blob, rrdb.CountResponse),
  TTL: read('RPC_RRDB_RRDB_TTL', blob, rrdb.TtlResponse),
  GET_SCANNER: read('RPC_RRDB_RRDB_GET_SCANNER', rrdb.GetScannerRequest, rrdb.ScanResponse),
  SCAN: read('RPC_RRDB_RRDB_SCAN', rrdb.ScanRequest, rrdb.ScanResponse),
  CLEAR_SCANNER: oneWay('RPC_RRDB_RRDB_CLEAR_SCANNER', i64Big, 'read'),
  DUPLICATE: write(
    'RPC_RRDB_RRDB_DUPLICATE',
    duplication.DuplicateRequest,
    duplication.DuplicateResponse,
  ),
  INGEST: write('RPC_RRDB_RRDB_BULK_LOAD', bulkLoad.IngestionRequest, bulkLoad.IngestionResponse),
  // Administration, to the meta server unless the name says disk, hotkey or app info (wire.md 11).
  CREATE_APP: admin(
    'RPC_CM_CREATE_APP',
    metaAdmin.ConfigurationCreateAppRequest,
    metaAdmin.ConfigurationCreateAppResponse,
  ),
  DROP_APP: admin(
    'RPC_CM_DROP_APP',
    metaAdmin.ConfigurationDropAppRequest,
    metaAdmin.ConfigurationDropAppResponse,
  ),
  RECALL_APP: admin(
    'RPC_CM_RECALL_APP',
    metaAdmin.ConfigurationRecallAppRequest,
    metaAdmin.ConfigurationRecallAppResponse,
  ),
  RENAME_APP: admin(
    'RPC_CM_RENAME_APP',
    metaAdmin.ConfigurationRenameAppRequest,
    metaAdmin.ConfigurationRenameAppResponse,
  ),
  LIST_APPS: admin(
    'RPC_CM_LIST_APPS',
    metaAdmin.ConfigurationListAppsRequest,
    metaAdmin.ConfigurationListAppsResponse,
  ),
  LIST_NODES: admin(
    'RPC_CM_LIST_NODES',
    metaAdmin.ConfigurationListNodesRequest,
    metaAdmin.ConfigurationListNodesResponse,
  ),
  CLUSTER_INFO: admin(
    'RPC_CM_CLUSTER_INFO',
    metaAdmin.ConfigurationClusterInfoRequest,
    metaAdmin.ConfigurationClusterInfoResponse,
  ),
  QUERY_PARTITION_CONFIG_BY_INDEX: meta(
    'RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX',
    layer2.QueryCfgRequest,
    layer2.QueryCfgResponse,
  ),
  UPDATE_APP_ENV: admin(
    'RPC_CM_UPDATE_APP_ENV',
    metaAdmin.ConfigurationUpdateAppEnvRequest,
    metaAdmin.ConfigurationUpdateAppEnvResponse,
  ),
  CONTROL_META: admin(
    'RPC_CM_CONTROL_META',
    metaAdmin.ConfigurationMetaControlRequest,
    metaAdmin.ConfigurationMetaControlResponse,
  ),
  PROPOSE_BALANCER: admin(
    'RPC_CM_PROPOSE_BALANCER',
    metaAdmin.ConfigurationBalancerRequest,
    metaAdmin.ConfigurationBalancerResponse,
  ),
  START_RECOVERY: admin(
    'RPC_CM_START_RECOVERY',
    metaAdmin.ConfigurationRecoveryRequest,
    metaAdmin.ConfigurationRecoveryResponse,
  ),
  DDD_DIAGNOSE: admin(
    'RPC_CM_DDD_DIAGNOSE',
    metaAdmin.DddDiagnoseRequest,
    metaAdmin.DddDiagnoseResponse,
  ),
  GET_MAX_REPLICA_COUNT: admin(
    'RPC_CM_GET_MAX_REPLICA_COUNT',
    metaAdmin.ConfigurationGetMaxReplicaCountRequest,
    metaAdmin.ConfigurationGetMaxReplicaCountResponse,
  ),
  SET_MAX_REPLICA_COUNT: admin(
    'RPC_CM_SET_MAX_REPLICA_COUNT',
    metaAdmin.ConfigurationSetMaxReplicaCountRequest,
    metaAdmin.ConfigurationSetMaxReplicaCountResponse,
  ),
  GET_ATOMIC_IDEMPOTENT: admin(
    'RPC_CM_GET_ATOMIC_IDEMPOTENT',
    metaAdmin.ConfigurationGetAtomicIdempotentRequest,
    metaAdmin.ConfigurationGetAtomicIdempotentResponse,
  ),
  SET_ATOMIC_IDEMPOTENT: admin(
    'RPC_CM_SET_ATOMIC_IDEMPOTENT',
    metaAdmin.ConfigurationSetAtomicIdempotentRequest,
    metaAdmin.ConfigurationSetAtomicIdempotentResponse,
  ),
  ADD_DUPLICATION: admin(
    'RPC_CM_ADD_DUPLICATION',
    duplication.DuplicationAddRequest,
    duplication.DuplicationAddResponse,
  ),
  QUERY_DUPLICATION: admin(
    'RPC_CM_QUERY_DUPLICATION',
    duplication.DuplicationQueryRequest,
    duplication.DuplicationQueryResponse,
  ),
  MODIFY_DUPLICATION: admin(
    'RPC_CM_MODIFY_DUPLICATION',
    duplication.DuplicationModifyRequest,
    duplication.DuplicationModifyResponse,
  ),
  LIST_DUPLICATION: admin(
    'RPC_CM_LIST_DUPLICATION',
    duplication.DuplicationListRequest,
    duplication.DuplicationListResponse,
  ),
  ADD_BACKUP_POLICY: admin(
    'RPC_CM_ADD_BACKUP_POLICY',
    backup.ConfigurationAddBackupPolicyRequest,
    backup.ConfigurationAddBackupPolicyResponse,
  ),
  QUERY_BACKUP_POLICY: admin(
    'RPC_CM_QUERY_BACKUP_POLICY',
    backup.ConfigurationQueryBackupPolicyRequest,
    backup.ConfigurationQueryBackupPolicyResponse,
  ),
  MODIFY_BACKUP_POLICY: admin(
    'RPC_CM_MODIFY_BACKUP_POLICY',
    backup.ConfigurationModifyBackupPolicyRequest,
    backup.ConfigurationModifyBackupPolicyResponse,
  ),
  START_BACKUP_APP: admin(
    'RPC_CM_START_BACKUP_APP',
    backup.StartBackupAppRequest,
    backup.StartBackupAppResponse,
  ),
  QUERY_BACKUP_STATUS: admin(
    'RPC_CM_QUERY_BACKUP_STATUS',
    backup.QueryBackupStatusRequest,
    backup.QueryBackupStatusResponse,
  ),
  START_RESTORE: admin(
    'RPC_CM_START_RESTORE',
    backup.ConfigurationRestoreRequest,
    metaAdmin.ConfigurationCreateAppResponse,
  ),
  QUERY_RESTORE_STATUS: admin(
    'RPC_CM_QUERY_RESTORE_STATUS',
    backup.ConfigurationQueryRestoreRequest,
    backup.ConfigurationQueryRestoreResponse,
  ),
  START_PARTITION_SPLIT: admin(
    'RPC_CM_START_PARTITION_SPLIT',
    split.StartPartitionSplitRequest,
    split.StartPartitionSplitResponse,
  ),
  QUERY_PARTITION_SPLIT: admin(
    'RPC_CM_QUERY_PARTITION_SPLIT',
    split.QuerySplitRequest,
    split.QuerySplitResponse,
  ),
  CONTROL_PARTITION_SPLIT: admin(
    'RPC_CM_CONTROL_PARTITION_SPLIT',
    split.ControlSplitRequest,
    split.ControlSplitResponse,
  ),
  START_BULK_LOAD: admin(
    'RPC_CM_START_BULK_LOAD',
    bulkLoad.StartBulkLoadRequest,
    bulkLoad.StartBulkLoadResponse,
  ),
  QUERY_BULK_LOAD_STATUS: admin(
    'RPC_CM_QUERY_BULK_LOAD_STATUS',
    bulkLoad.QueryBulkLoadRequest,
    bulkLoad.QueryBulkLoadResponse,
  ),
  CONTROL_BULK_LOAD: admin(
    'RPC_CM_CONTROL_BULK_LOAD',
    bulkLoad.ControlBulkLoadRequest,
    bulkLoad.ControlBulkLoadResponse,
  ),
  CLEAR_BULK_LOAD: admin(
    'RPC_CM_CLEAR_BULK_LOAD',
    bulkLoad.ClearBulkLoadStateRequest,
    bulkLoad.ClearBulkLoadStateResponse,
  ),
  START_MANUAL_COMPACT: admin(
    'RPC_CM_START_MANUAL_COMPACT',
    metaAdmin.StartAppManualCompactRequest,
    metaAdmin.StartAppManualCompactResponse,
  ),
  QUERY_MANUAL_COMPACT_STATUS: admin(
    'RPC_CM_QUERY_MANUAL_COMPACT_STATUS',
    metaAdmin.QueryAppManualCompactRequest,
    metaAdmin.QueryAppManualCompactResponse,
  ),
  QUERY_APP_INFO: admin(
    'RPC_QUERY_APP_INFO',
    metaAdmin.QueryAppInfoRequest,
    metaAdmin.QueryAppInfoResponse,
  ),
  QUERY_DISK_INFO: admin(
    'RPC_QUERY_DISK_INFO',
    replicaAdmin.QueryDiskInfoRequest,
    replicaAdmin.QueryDiskInfoResponse,
  ),
  REPLICA_DISK_MIGRATE: admin(
    'RPC_REPLICA_DISK_MIGRATE',
    replicaAdmin.ReplicaDiskMigrateRequest,
    replicaAdmin.ReplicaDiskMigrateResponse,
  ),
  DETECT_HOTKEY: admin(
    'RPC_DETECT_HOTKEY',
    replicaAdmin.DetectHotkeyRequest,
    replicaAdmin.DetectHotkeyResponse,
  ),
  ADD_NEW_DISK: admin(
    'RPC_ADD_NEW_DISK',
    replicaAdmin.AddNewDiskRequest,
    replicaAdmin.AddNewDiskResponse,
  ),
  CLI_CALL: admin('RPC_CLI_CLI_CALL', command.Command, string),
  // Between servers (meta-server.md 12, replica-server.md 19).
  /** The argument is three parts in a row, not one struct: `prepare.ts`. */
  PREPARE: { name: 'RPC_PREPARE', result: consensus.PrepareAck, kind: 'internal' as const },
  FD_FAILURE_DETECTOR_PING: internal('RPC_FD_FAILURE_DETECTOR_PING', fd.BeaconMsg, fd.BeaconAck),
  CONFIG_SYNC: internal(
    'RPC_CM_CONFIG_SYNC',
    metaAdmin.ConfigurationQueryByNodeRequest,
    metaAdmin.ConfigurationQueryByNodeResponse,
  ),
  UPDATE_PARTITION_CONFIGURATION: internal(
    'RPC_CM_UPDATE_PARTITION_CONFIGURATION',
    metaAdmin.ConfigurationUpdateRequest,
    metaAdmin.ConfigurationUpdateResponse,
  ),
  CONFIG_PROPOSAL: oneWay('RPC_CONFIG_PROPOSAL', metaAdmin.ConfigurationUpdateRequest, 'internal'),
  DUPLICATION_SYNC: internal(
    'RPC_CM_DUPLICATION_SYNC',
    duplication.DuplicationSyncRequest,
    duplication.DuplicationSyncResponse,
  ),
  REPORT_RESTORE_STATUS: internal(
    'RPC_CM_REPORT_RESTORE_STATUS',
    backup.ConfigurationReportRestoreStatusRequest,
    backup.ConfigurationReportRestoreStatusResponse,
  ),
  REGISTER_CHILD_REPLICA: internal(
    'RPC_CM_REGISTER_CHILD_REPLICA',
    split.RegisterChildRequest,
    split.RegisterChildResponse,
  ),
  NOTIFY_STOP_SPLIT: internal(
    'RPC_CM_NOTIFY_STOP_SPLIT',
    split.NotifyStopSplitRequest,
    split.NotifyStopSplitResponse,
  ),
  QUERY_CHILD_STATE: internal(
    'RPC_CM_QUERY_CHILD_STATE',
    split.QueryChildStateRequest,
    split.QueryChildStateResponse,
  ),
  QUERY_PN_DECREE: internal(
    'RPC_QUERY_PN_DECREE',
    replicaAdmin.QueryReplicaDecreeRequest,
    replicaAdmin.QueryReplicaDecreeResponse,
  ),
  QUERY_REPLICA_INFO: internal(
    'RPC_QUERY_REPLICA_INFO',
    replicaAdmin.QueryReplicaInfoRequest,
    replicaAdmin.QueryReplicaInfoResponse,
  ),
  LEARN: internal('RPC_LEARN', consensus.LearnRequest, consensus.LearnResponse),
  LEARN_ADD_LEARNER: oneWay('RPC_LEARN_ADD_LEARNER', consensus.GroupCheckRequest, 'internal'),
  LEARN_COMPLETION_NOTIFY: internal(
    'RPC_LEARN_COMPLETION_NOTIFY',
    consensus.GroupCheckResponse,
    consensus.LearnNotifyResponse,
  ),
  GROUP_CHECK: internal(
    'RPC_GROUP_CHECK',
    consensus.GroupCheckRequest,
    consensus.GroupCheckResponse,
  ),
  REMOVE_REPLICA: oneWay('RPC_REMOVE_REPLICA', metadata.ReplicaConfiguration, 'internal'),
  QUERY_LAST_CHECKPOINT_INFO: internal(
    'RPC_QUERY_LAST_CHECKPOINT_INFO',
    consensus.LearnRequest,
    consensus.LearnResponse,
  ),
  NFS_COPY: internal('RPC_NFS_COPY', nfs.CopyRequest, nfs.CopyResponse),
  NFS_GET_FILE_SIZE: internal(
    'RPC_NFS_GET_FILE_SIZE',
    nfs.GetFileSizeRequest,
    nfs.GetFileSizeResponse,
  ),
  COLD_BACKUP: internal('RPC_COLD_BACKUP', backup.BackupRequest, backup.BackupResponse),
  CLEAR_COLD_BACKUP: oneWay('RPC_CLEAR_COLD_BACKUP', backup.BackupClearRequest, 'internal'),
  BULK_LOAD: internal('RPC_BULK_LOAD', bulkLoad.BulkLoadRequest, bulkLoad.BulkLoadResponse),
  GROUP_BULK_LOAD: internal(
    'RPC_GROUP_BULK_LOAD',
    bulkLoad.GroupBulkLoadRequest,
    bulkLoad.GroupBulkLoadResponse,
  ),
  SPLIT_NOTIFY_CATCH_UP: internal(
    'RPC_SPLIT_NOTIFY_CATCH_UP',
    split.NotifyCatchUpRequest,
    split.NotifyCacthUpResponse,
  ),
  SPLIT_UPDATE_CHILD_PARTITION_COUNT: internal(
    'RPC_SPLIT_UPDATE_CHILD_PARTITION_COUNT',
    split.UpdateChildGroupPartitionCountRequest,
    split.UpdateChildGroupPartitionCountResponse,
  ),
  NEGOTIATION: internal(
    'RPC_NEGOTIATION',
    security.NegotiationRequest,
    security.NegotiationResponse,
  ),
}

const byName: ReadonlyMap<string, RpcEntry> = new Map(
  Object.values(Rpc).map((entry) => [entry.name, entry as unknown as RpcEntry]),
)

/** The entry of a name on the wire, `undefined` for names nobody defined. */
export function rpcByName(name: string): RpcEntry | undefined {
  return byName.get(name)
}
