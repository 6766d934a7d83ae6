/**
 * The partition guardian: what a partition lacks and what to do about it, one proposal at a time
 * (meta-server.md 9). A decision is kept as the partition's proposal, so that later rounds repeat
 * the same one until it is decided or has become impossible. Choosing after the loss of all
 * replicas is in `lost-partition.ts`.
 */
import { AppStatus } from '../protocol/layer2.ts'
import { ConfigType, MetaFunctionLevel } from '../protocol/meta-admin.ts'
import { gpidText } from '../protocol/base.ts'
import type { Step } from './effects.ts'
import { chooseAmongLost } from './lost-partition.ts'
import { leastLoaded } from './node-load.ts'
import {
  type App,
  type Config,
  type DroppedReplica,
  type Partition,
  type Proposal,
  effectiveLevel,
  invalidBallot,
  isAlive,
  isMember,
  membersOf,
  nodeStateOf,
  shareOf,
} from './state.ts'

type Wish = Pick<Proposal, 'type' | 'target' | 'node'>

export type Health = 'healthy' | 'ill' | 'dead'

const isPrimaryType = (type: number): boolean =>
  type === ConfigType.CT_ASSIGN_PRIMARY || type === ConfigType.CT_UPGRADE_TO_PRIMARY

export const isAddType = (type: number): boolean =>
  type === ConfigType.CT_ADD_SECONDARY || type === ConfigType.CT_ADD_SECONDARY_FOR_LB

/** Keeps the wish and counts it on the node, so that the next choice looks elsewhere. */
function setProposal(step: Step, partition: Partition, wish: Wish): Proposal {
  const proposal: Proposal = { ...wish, learnerSeen: false, abnormal: false }
  partition.proposal = proposal
  countNewly(step, partition, 1)
  return proposal
}

export function clearProposal(step: Step, partition: Partition): void {
  countNewly(step, partition, -1)
  partition.proposal = undefined
}

function countNewly(step: Step, { proposal, config }: Partition, by: 1 | -1): void {
  if (proposal === undefined || !(isPrimaryType(proposal.type) || isAddType(proposal.type))) return
  const share = shareOf(nodeStateOf(step.state, proposal.node), config.pid.appId)
  if (isPrimaryType(proposal.type)) share.newlyPrimaries += by
  if (proposal.type !== ConfigType.CT_UPGRADE_TO_PRIMARY) share.newlyPartitions += by
}

/** A proposal that can still come true; otherwise it is discarded (9.2). */
export function isPossible(step: Step, partition: Partition, proposal: Proposal): boolean {
  const { type, target, node, abnormal } = proposal
  const { primary, secondaries } = partition.config
  if (abnormal || !isAlive(step.state, target) || !isAlive(step.state, node)) return false
  switch (type) {
    case ConfigType.CT_ASSIGN_PRIMARY:
      return node === target && primary === '' && !secondaries.includes(node)
    case ConfigType.CT_UPGRADE_TO_PRIMARY:
      return node === target && primary === '' && secondaries.includes(node)
    case ConfigType.CT_ADD_SECONDARY:
    case ConfigType.CT_ADD_SECONDARY_FOR_LB:
      return target === primary && !isMember(partition.config, node)
    case ConfigType.CT_DOWNGRADE_TO_INACTIVE:
    case ConfigType.CT_REMOVE:
      return target === primary && isMember(partition.config, node)
    case ConfigType.CT_DOWNGRADE_TO_SECONDARY:
      return target === node && node === primary
    default:
      return false
  }
}

/** Replicas below which writes stop. */
export function writableCount(maxReplicaCount: number, configured: number): number {
  if (configured > 0) return configured
  return maxReplicaCount <= 2 ? 1 : Math.floor(maxReplicaCount / 2) + 1
}

/** Whether the guardian may look at it now: served, decided, born. */
export function isCurable(app: App, { config, pending }: Partition): boolean {
  return (
    app.info.status === AppStatus.AS_AVAILABLE &&
    pending === undefined &&
    config.ballot !== invalidBallot
  )
}

/** Decides what the partition needs; at most one proposal, which the caller sends. */
export function cure(
  step: Step,
  app: App,
  partition: Partition,
): { readonly health: Health; readonly proposal: Proposal | undefined } {
  const waiting = partition.proposal
  if (waiting !== undefined) {
    if (isPossible(step, partition, waiting)) return { health: 'ill', proposal: waiting }
    clearProposal(step, partition)
  }
  const { config } = partition
  if (config.primary === '') return cureWithoutPrimary(step, app, partition)
  if (config.secondaries.length + 1 < config.maxReplicaCount) {
    const node = chooseSecondary(step, partition)
    if (node === undefined) return { health: 'ill', proposal: undefined }
    const wish = { type: ConfigType.CT_ADD_SECONDARY, target: config.primary, node }
    return { health: 'ill', proposal: setProposal(step, partition, wish) }
  }
  if (config.secondaries.length >= config.maxReplicaCount) {
    const node = leastLoaded(step.state, config.secondaries, config.pid.appId, 'most-partitions')
    if (node === undefined) return { health: 'healthy', proposal: undefined }
    const wish = { type: ConfigType.CT_REMOVE, target: config.primary, node }
    return { health: 'ill', proposal: setProposal(step, partition, wish) }
  }
  return { health: 'healthy', proposal: undefined }
}

/** 9.3: upgrade a living secondary; a fresh partition goes anywhere; else all were lost. */
function cureWithoutPrimary(
  step: Step,
  app: App,
  partition: Partition,
): { readonly health: Health; readonly proposal: Proposal | undefined } {
  const { state } = step
  const { config } = partition
  const propose = (type: number, node: string | undefined): Proposal | undefined =>
    node === undefined ? undefined : setProposal(step, partition, { type, target: node, node })
  if (config.secondaries.length > 0) {
    const alive = config.secondaries.filter((node) => isAlive(state, node))
    const node = leastLoaded(state, alive, app.info.appId, 'least-primaries')
    const proposal = propose(ConfigType.CT_UPGRADE_TO_PRIMARY, node)
    return { health: proposal === undefined ? 'dead' : 'ill', proposal }
  }
  if (config.lastDrops.length === 0) {
    const candidates = [...state.nodes.keys()].filter((node) => isAlive(state, node))
    const node = leastLoaded(state, candidates, app.info.appId, 'least-primaries')
    return { health: 'ill', proposal: propose(ConfigType.CT_ASSIGN_PRIMARY, node) }
  }
  const choice = chooseAmongLost(state, partition)
  if ('node' in choice)
    return { health: 'dead', proposal: propose(ConfigType.CT_ASSIGN_PRIMARY, choice.node) }
  state.lost.set(gpidText(config.pid), { config, reason: choice.reason })
  return { health: 'dead', proposal: undefined }
}

/** 9.4: a replica that was here before, or another node when it is urgent; else wait. */
function chooseSecondary(step: Step, partition: Partition): string | undefined {
  const { state, options, now } = step
  const { config, dropped } = partition
  const { maxReplicaCount } = config
  const replicas = config.secondaries.length + 1
  const needed = writableCount(maxReplicaCount, options.minReplicasForWrite)
  const newest = dropped.at(-1)
  const urgent =
    (maxReplicaCount > needed && replicas < needed) ||
    newest === undefined ||
    newest.timeMs + options.assignDelayMs <= now.monotonicMs
  const usable = (node: string): boolean => isAlive(state, node) && !isMember(config, node)
  if (!urgent) return usable(newest.node) ? newest.node : undefined
  // Each try moves on, so that a replica that cannot learn is not taken for ever.
  while (partition.preferredDropped >= 0) {
    const candidate = dropped[partition.preferredDropped]
    partition.preferredDropped--
    if (candidate !== undefined && usable(candidate.node)) return candidate.node
  }
  const others = [...state.nodes.keys()].filter(usable)
  return leastLoaded(state, others, config.pid.appId, 'least-partitions')
}

export function sendProposal(step: Step, app: App, partition: Partition, wish: Wish): void {
  step.effects.push({
    type: 'propose',
    to: wish.target,
    proposalType: wish.type,
    node: wish.node,
    config: partition.config,
    info: app.info,
  })
}

/** Looks at one partition outside of the rounds, as after a change. */
export function cureNow(step: Step, app: App, partition: Partition): void {
  if (effectiveLevel(step.state, step.options) <= MetaFunctionLevel.fl_freezed) return
  if (!isCurable(app, partition)) return
  const { proposal } = cure(step, app, partition)
  if (proposal === undefined) return
  if (step.options.addSecondaryMaxPerNode !== undefined && isAddType(proposal.type)) return
  sendProposal(step, app, partition, proposal)
}

/** The round over all partitions (9.1): proposals are sent, new secondaries within the limit. */
export function checkAll(step: Step): void {
  const { state, options } = step
  if (effectiveLevel(state, options) <= MetaFunctionLevel.fl_freezed) return
  state.lost.clear()
  const adds: { readonly app: App; readonly partition: Partition; readonly wish: Wish }[] = []
  for (const app of state.names.values())
    for (const partition of app.partitions) {
      if (!isCurable(app, partition)) continue
      const { proposal } = cure(step, app, partition)
      if (proposal === undefined) continue
      if (isAddType(proposal.type)) adds.push({ app, partition, wish: proposal })
      else sendProposal(step, app, partition, proposal)
    }
  const alone = ({ partition }: { readonly partition: Partition }): number =>
    partition.config.secondaries.length === 0 ? 0 : 1
  const sent = new Map<string, number>()
  const limit = options.addSecondaryMaxPerNode ?? Number.POSITIVE_INFINITY
  for (const { app, partition, wish } of adds.toSorted((a, b) => alone(a) - alone(b))) {
    const count = sent.get(wish.node) ?? 0
    if (count >= limit) continue
    sent.set(wish.node, count + 1)
    sendProposal(step, app, partition, wish)
  }
}

/** Ascending: the better candidate later. */
export function byQuality(a: DroppedReplica, b: DroppedReplica): number {
  return (
    a.timeMs - b.timeMs ||
    a.ballot - b.ballot ||
    a.lastCommittedDecree - b.lastCommittedDecree ||
    a.lastPreparedDecree - b.lastPreparedDecree
  )
}

/** Replaces the history; the oldest go when there are more than may be kept (9.5). */
export function setDropped(
  step: Step,
  partition: Partition,
  dropped: readonly DroppedReplica[],
): void {
  const { config } = partition
  const room =
    config.maxReplicaCount + step.options.maxReservedDroppedReplicas - membersOf(config).length
  const sorted = dropped.toSorted(byQuality)
  partition.dropped = room > 0 ? sorted.slice(-room) : []
  partition.preferredDropped = partition.dropped.length - 1
}

/** What a decided change means for the proposal and for the history (9.5). */
export function recordChange(
  step: Step,
  partition: Partition,
  change: { readonly before: Config; readonly type: number; readonly node: string },
): void {
  if (partition.proposal !== undefined) clearProposal(step, partition)
  const gone = membersOf(change.before).filter((node) => !isMember(partition.config, node))
  const kept = partition.dropped.filter(({ node }) => !isMember(partition.config, node))
  const added: readonly DroppedReplica[] = gone.map((node) => ({
    node,
    timeMs: step.now.monotonicMs,
    ballot: -1,
    lastCommittedDecree: -1,
    lastPreparedDecree: -1,
  }))
  const others = kept.filter(({ node }) => !gone.includes(node))
  if (gone.length > 0 || others.length < partition.dropped.length)
    setDropped(step, partition, [...others, ...added])
}
