/** Failure detector beacons (upstream src/failure_detector/fd.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import { type ValueOf, bool, field, i64, optional, struct } from './schema.ts'
import { hostPort, rpcAddress } from './base.ts'

export const BeaconMsg = struct('beacon_msg', {
  time: field(1, i64),
  fromNode: field(2, rpcAddress),
  toNode: field(3, rpcAddress),
  startTime: optional(4, i64),
  hpFromNode: optional(5, hostPort),
  hpToNode: optional(6, hostPort),
})
export type BeaconMsg = ValueOf<typeof BeaconMsg>

export const BeaconAck = struct('beacon_ack', {
  time: field(1, i64),
  thisNode: field(2, rpcAddress),
  primaryNode: field(3, rpcAddress),
  isMaster: field(4, bool),
  allowed: field(5, bool),
  hpThisNode: optional(6, hostPort),
  hpPrimaryNode: optional(7, hostPort),
})
export type BeaconAck = ValueOf<typeof BeaconAck>

export const ConfigMasterMessage = struct('config_master_message', {
  master: field(1, rpcAddress),
  isRegister: field(2, bool),
  hpMaster: optional(3, hostPort),
})
export type ConfigMasterMessage = ValueOf<typeof ConfigMasterMessage>
