/**
 * Adopting a partition configuration: which changes of status a replica may make (replica-server.md
 * 3) and what each one entails. The ballot of what is adopted is already durable here; `replica.ts`
 * holds back whatever carries a higher one. Pure.
 */
import { PartitionConfiguration } from '../protocol/layer2.ts'
import { PartitionStatus, type ReplicaConfiguration } from '../protocol/metadata.ts'
import { startGroupChecks } from './group-check.ts'
import { becomeInactive, traceStatus } from './meta-update.ts'
import { type ReplicaState, type Step, answer } from './replica-state.ts'
import type { ReplicaStatus } from './trace.ts'
import { commitReady, dropWrites, prepareAgain, settleQueue } from './two-phase-commit.ts'

interface LocalConfiguration {
  readonly status: ReplicaStatus
  readonly config: PartitionConfiguration
  readonly signature: bigint
}

/** As the meta server describes the group. False when it was not adopted. */
export function adoptPartitionConfiguration(step: Step, config: PartitionConfiguration): boolean {
  const { self } = step.state
  const status =
    config.primary === self
      ? 'primary'
      : config.secondaries.includes(self)
        ? 'secondary'
        : 'inactive'
  return adopt(step, { status, config, signature: 0n })
}

/** As the primary describes one member. False when it was not adopted. */
export function adoptMemberConfiguration(step: Step, member: ReplicaConfiguration): boolean {
  const { pid, ballot, primary } = member
  const status =
    member.status === PartitionStatus.PS_SECONDARY
      ? 'secondary'
      : member.status === PartitionStatus.PS_POTENTIAL_SECONDARY
        ? 'potential-secondary'
        : 'inactive'
  const config = PartitionConfiguration.make({ pid, ballot, primary })
  return adopt(step, { status, config, signature: member.learnerSignature })
}

function adopt(step: Step, next: LocalConfiguration): boolean {
  const { state } = step
  const { ballot } = next.config
  if (state.closed || ballot < state.ballot) return false
  const risen = ballot > state.ballot
  if (!risen && !maySwitchInBallot(state, next.status)) return false
  // Data or log are known to have holes: the configuration counts on something that is not here.
  const refused = !mayServe(state) && (next.status === 'primary' || next.status === 'secondary')
  if (refused && !risen) return false

  state.ballot = ballot
  state.lastConfigChangeMs = step.nowMs
  state.handshake = undefined
  if (risen) state.update = undefined
  if (refused) leaveGroup(step, next.config)
  else if (next.status === 'primary') becomePrimary(step, next.config, risen)
  else if (next.status === 'secondary') becomeSecondary(step, next.config)
  else if (next.status === 'potential-secondary') becomeLearner(step, next)
  else if (risen) leaveGroup(step, next.config)
  return !refused
}

/** Changes that need no new ballot (S1). */
function maySwitchInBallot(state: ReplicaState, to: ReplicaStatus): boolean {
  const from = state.status
  if (from === to) return true
  if (from === 'inactive' && to === 'potential-secondary') return true
  if (from === 'potential-secondary' && to === 'secondary') return true
  return from === 'inactive' && state.transient && (to === 'primary' || to === 'secondary')
}

/** A learner serves only when it has learned all; an inactive replica only when it is transient. */
function mayServe(state: ReplicaState): boolean {
  if (state.record.incomplete || state.recordWanted.incomplete) return false
  if (state.status === 'potential-secondary') return state.learning?.stage === 'succeeded'
  return state.status !== 'inactive' || state.transient
}

function becomePrimary(step: Step, config: PartitionConfiguration, risen: boolean): void {
  const { state } = step
  if (state.status === 'primary' && !risen) return
  const first = (BigInt(state.ballot) << 32n) + 1n
  const kept = state.config.primary === state.self ? state.group : undefined
  state.group = {
    learners: new Map(
      [...(kept?.learners ?? [])].filter(([node]) => !config.secondaries.includes(node)),
    ),
    nextSignature: risen || kept === undefined ? first : kept.nextSignature + 1n,
    preparedSinceCheck: true,
  }
  for (const entry of state.list.uncommitted())
    for (const token of entry.extra.tokens.splice(0)) answer(step, token, { kind: 'silence' })
  state.config = config
  state.status = 'primary'
  state.initializing = false
  state.learning = undefined
  traceStatus(step)
  prepareAgain(step)
  startGroupChecks(step)
  settleQueue(step)
  commitReady(step)
}

function becomeSecondary(step: Step, config: PartitionConfiguration): void {
  const { state } = step
  if (state.status !== 'secondary') dropWrites(step)
  state.config = config
  state.status = 'secondary'
  state.group = undefined
  state.learning = undefined
  state.initializing = false
  traceStatus(step)
}

function becomeLearner(step: Step, next: LocalConfiguration): void {
  const { state } = step
  if (state.status !== 'potential-secondary') {
    dropWrites(step)
    state.learning = undefined
  }
  if (state.learning?.signature !== next.signature) state.learning = undefined
  state.config = next.config
  state.status = 'potential-secondary'
  state.transient = false
  state.group = undefined
  state.initializing = false
  traceStatus(step)
}

/** Not a member any more: only learning brings it back. */
export function leaveGroup(step: Step, config: PartitionConfiguration): void {
  const { state } = step
  dropWrites(step)
  state.config = config
  state.status = 'inactive'
  state.transient = false
  state.group = undefined
  state.learning = undefined
  state.initializing = false
  traceStatus(step)
}

/** The lease is over, or the server lost its meta server (replica-server.md 4.2). */
export function onDisconnected(step: Step): void {
  const { state } = step
  state.connected = false
  state.update = undefined
  state.handshake = undefined
  if (state.status === 'primary' || state.status === 'secondary') return becomeInactive(step)
  if (state.status !== 'potential-secondary') return
  // A learner that has learned all may already be a member by the meta server's decision. Since the
  // primary asked for that, nothing has been committed without it, so it may take its place when it
  // is back; if it is no member, the next configuration says so and it leaves.
  const { incomplete } = state.record
  state.transient = state.learning?.stage === 'succeeded' && !incomplete
  state.status = 'inactive'
  state.learning = undefined
  traceStatus(step)
}
