/** Replica to replica: prepare, learn, group check (upstream idl/metadata.thrift and src/replica consensus structs). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
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
import { blob, errorCode, gpid, hostPort, rpcAddress } from './base.ts'
import { AppInfo } from './layer2.ts'
import { ReplicaConfiguration } from './metadata.ts'

export const LearnType = {
  LT_INVALID: 0,
  LT_CACHE: 1,
  LT_APP: 2,
  LT_LOG: 3,
} as const

export const LearnerStatus = {
  LearningInvalid: 0,
  LearningWithoutPrepare: 1,
  LearningWithPrepareTransient: 2,
  LearningWithPrepare: 3,
  LearningSucceeded: 4,
  LearningFailed: 5,
} as const

export const PrepareAck = struct('prepare_ack', {
  pid: field(1, gpid),
  err: field(2, errorCode),
  ballot: field(3, i64),
  decree: field(4, i64),
  lastCommittedDecreeInApp: field(5, i64),
  lastCommittedDecreeInPrepareList: field(6, i64),
  receiveTimestamp: optional(7, i64Big),
  responseTimestamp: optional(8, i64Big),
})
export type PrepareAck = ValueOf<typeof PrepareAck>

export const LearnState = struct('learn_state', {
  fromDecreeExcluded: field(1, i64),
  toDecreeIncluded: field(2, i64),
  meta: field(3, blob),
  files: field(4, list(string)),
  learnStartDecree: optional(5, i64),
  fileSizes: optional(6, list(i64)),
  fileChecksums: optional(7, list(string)),
})
export type LearnState = ValueOf<typeof LearnState>

export const LearnRequest = struct('learn_request', {
  pid: field(1, gpid),
  learner: field(2, rpcAddress),
  signature: field(3, i64Big),
  lastCommittedDecreeInApp: field(4, i64),
  lastCommittedDecreeInPrepareList: field(5, i64),
  appSpecificLearnRequest: field(6, blob),
  maxGcedDecree: optional(7, i64),
  hpLearner: optional(8, hostPort),
  checksumType: optional(9, i32),
})
export type LearnRequest = ValueOf<typeof LearnRequest>

export const LearnResponse = struct('learn_response', {
  err: field(1, errorCode),
  config: field(2, ReplicaConfiguration),
  lastCommittedDecree: field(3, i64),
  prepareStartDecree: field(4, i64),
  type: field(5, i32),
  state: field(6, LearnState),
  learnee: field(7, rpcAddress),
  baseLocalDir: field(8, string),
  replicaDiskTag: optional(9, string),
  hpLearnee: optional(10, hostPort),
})
export type LearnResponse = ValueOf<typeof LearnResponse>

export const LearnNotifyResponse = struct('learn_notify_response', {
  pid: field(1, gpid),
  err: field(2, errorCode),
  signature: field(3, i64Big),
})
export type LearnNotifyResponse = ValueOf<typeof LearnNotifyResponse>

export const GroupCheckRequest = struct('group_check_request', {
  app: field(1, AppInfo),
  node: field(2, rpcAddress),
  config: field(3, ReplicaConfiguration),
  lastCommittedDecree: field(4, i64),
  confirmedDecree: optional(5, i64),
  childGpid: optional(6, gpid),
  metaSplitStatus: optional(7, i32),
  hpNode: optional(8, hostPort),
})
export type GroupCheckRequest = ValueOf<typeof GroupCheckRequest>

export const GroupCheckResponse = struct('group_check_response', {
  pid: field(1, gpid),
  err: field(2, errorCode),
  lastCommittedDecreeInApp: field(3, i64),
  lastCommittedDecreeInPrepareList: field(4, i64),
  learnerStatus: field(5, i32),
  learnerSignature: field(6, i64Big),
  node: field(7, rpcAddress),
  isSplitStopped: optional(8, bool),
  diskStatus: optional(9, i32),
  hpNode: optional(10, hostPort),
})
export type GroupCheckResponse = ValueOf<typeof GroupCheckResponse>
