/**
 * Configuration sync: a replica server tells what it stores and learns what it should be; and which
 * of its replicas nobody needs any more (meta-server.md 10). Deleting is advice, given only at the
 * level `lively`, and never for the last copy of anything (invariants G1 to G3).
 */
import { gpidText } from '../protocol/base.ts'
import { type AppInfo, AppStatus } from '../protocol/layer2.ts'
import { PartitionStatus, type ReplicaInfo } from '../protocol/metadata.ts'
import { MetaFunctionLevel } from '../protocol/meta-admin.ts'
import { concerns } from './configuration.ts'
import type { Step } from './effects.ts'
import { isAddType, setDropped } from './guardian.ts'
import {
  type App,
  type Config,
  type NodeState,
  type Partition,
  effectiveLevel,
  invalidBallot,
  isAlive,
  isMember,
  membersOf,
} from './state.ts'

export interface ConfigSyncAnswer {
  readonly err: 'ERR_OK' | 'ERR_BUSY' | 'ERR_OBJECT_NOT_FOUND'
  readonly partitions: readonly { readonly info: Readonly<AppInfo>; readonly config: Config }[]
  /** `undefined` when the node did not say what it stores. */
  readonly gcReplicas: readonly ReplicaInfo[] | undefined
}

export function configSync(
  step: Step,
  node: string,
  stored: readonly ReplicaInfo[] | undefined,
): ConfigSyncAnswer {
  const known = step.state.nodes.get(node)
  const refusal = (err: ConfigSyncAnswer['err']): ConfigSyncAnswer => ({
    err,
    partitions: [],
    gcReplicas: undefined,
  })
  if (known === undefined) return refusal('ERR_OBJECT_NOT_FOUND')
  if (isBusyAbout(step, node)) return refusal('ERR_BUSY')
  const partitions = partitionsOf(step, known)
  if (stored === undefined) return { err: 'ERR_OK', partitions, gcReplicas: undefined }
  const gcReplicas = stored.filter((replica) => !isUseful(step, node, replica))
  known.collected = true
  if (step.state.lost.size > 0) step.effects.push({ type: 'check-soon' })
  return { err: 'ERR_OK', partitions, gcReplicas }
}

/** Nobody is told a configuration that is about to change about him. */
function isBusyAbout(step: Step, node: string): boolean {
  for (const partition of step.state.changing)
    if (partition.pending !== undefined && concerns(partition.pending, partition, node)) return true
  return false
}

function partitionsOf(step: Step, node: NodeState): ConfigSyncAnswer['partitions'] {
  const partitions: { readonly info: Readonly<AppInfo>; readonly config: Config }[] = []
  for (const [appId, share] of node.shares) {
    const app = step.state.apps.get(appId)
    for (const index of share.partitions) {
      const config = app?.partitions[index]?.config
      if (app !== undefined && config !== undefined) partitions.push({ info: app.info, config })
    }
  }
  return partitions
}

/** Judges one stored replica and takes note of what it says. */
function isUseful(step: Step, node: string, replica: ReplicaInfo): boolean {
  const { state, options, now } = step
  const mayDelete = effectiveLevel(state, options) > MetaFunctionLevel.fl_steady
  const app = state.apps.get(replica.pid.appId)
  const partition = app?.partitions[replica.pid.partitionIndex]
  if (app === undefined || partition === undefined) {
    step.effects.push({
      type: 'note',
      level: 'warn',
      message: 'a node stores a replica that nobody knows; it is kept',
      fields: { node, partition: gpidText(replica.pid) },
    })
    return true
  }
  const { status, expireSecond } = app.info
  if (status === AppStatus.AS_DROPPED)
    return expireSecond === 0 || now.wallSeconds < expireSecond || !mayDelete
  if (status !== AppStatus.AS_AVAILABLE || isMember(partition.config, node)) return true
  if (partition.config.ballot === invalidBallot) return true
  watchLearner(partition, node, replica.status)
  takeNote(step, partition, node, replica)
  const kept =
    replica.status === PartitionStatus.PS_POTENTIAL_SECONDARY ||
    partition.dropped.some((dropped) => dropped.node === node) ||
    partition.config.lastDrops.includes(node)
  return kept || !mayDelete || !isReplaced(step, app, partition, replica)
}

/** A learner that was seen learning and does so no more has failed (9.6). */
function watchLearner({ proposal }: Partition, node: string, status: number): void {
  if (proposal === undefined || proposal.node !== node || !isAddType(proposal.type)) return
  if (status === PartitionStatus.PS_POTENTIAL_SECONDARY) proposal.learnerSeen = true
  else if (
    proposal.learnerSeen &&
    (status === PartitionStatus.PS_ERROR || status === PartitionStatus.PS_INACTIVE)
  )
    proposal.abnormal = true
}

/** What a former member still has, for the choice after a loss of all replicas. */
function takeNote(step: Step, partition: Partition, node: string, replica: ReplicaInfo): void {
  const known = partition.dropped.find((dropped) => dropped.node === node)
  const others = partition.dropped.filter((dropped) => dropped.node !== node)
  const preferred = partition.dropped[partition.preferredDropped]?.node
  setDropped(step, partition, [
    ...others,
    {
      node,
      timeMs: known?.timeMs ?? 0,
      ballot: replica.ballot,
      lastCommittedDecree: replica.lastCommittedDecree,
      lastPreparedDecree: replica.lastPreparedDecree,
    },
  ])
  // A report is no reason to begin again with candidates that were tried.
  if (known !== undefined)
    partition.preferredDropped = partition.dropped.findIndex((entry) => entry.node === preferred)
}

/** Whether a living member holds at least as new a configuration, so that this copy is not needed. */
function isReplaced(step: Step, app: App, { config }: Partition, replica: ReplicaInfo): boolean {
  return (
    app.info.status === AppStatus.AS_AVAILABLE &&
    config.ballot >= replica.ballot &&
    membersOf(config).some((member) => isAlive(step.state, member))
  )
}
