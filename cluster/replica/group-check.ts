/**
 * The periodic check of a group by its primary (replica-server.md 11): members learn the commit
 * point and their role, learners are woken, dead members are found. Pure.
 */
import { GroupCheckRequest, GroupCheckResponse, LearnerStatus } from '../protocol/consensus.ts'
import { PartitionStatus } from '../protocol/metadata.ts'
import type { ReplicaEvent } from './replica-events.ts'
import { type ReplicaState, type Step, answer } from './replica-state.ts'
import { memberConfiguration, memberFailed, proposeEmpty } from './two-phase-commit.ts'
import type { ReplicaStatus } from './trace.ts'

export const wireStatus: Readonly<Record<ReplicaStatus, number>> = {
  inactive: PartitionStatus.PS_INACTIVE,
  error: PartitionStatus.PS_ERROR,
  primary: PartitionStatus.PS_PRIMARY,
  secondary: PartitionStatus.PS_SECONDARY,
  'potential-secondary': PartitionStatus.PS_POTENTIAL_SECONDARY,
}

function scheduleGroupCheck(step: Step): void {
  const { state, out } = step
  const timer = { kind: 'group-check', round: state.groupCheckRound } as const
  out.push({ type: 'timer', timer, delayMs: state.options.groupCheckMs })
}

/** Begins with the role; the timers of an earlier term of office do nothing any more. */
export function startGroupChecks(step: Step): void {
  step.state.groupCheckRound++
  checkGroup(step)
  scheduleGroupCheck(step)
}

export function onGroupCheckTimer(step: Step, round: number): void {
  const { group, groupCheckRound, status } = step.state
  // A primary that comes back begins a new round.
  if (round !== groupCheckRound || status !== 'primary' || group === undefined) return
  checkGroup(step)
  if (!group.preparedSinceCheck) proposeEmpty(step)
  group.preparedSinceCheck = false
  scheduleGroupCheck(step)
}

export function groupCheckRequest(state: ReplicaState, node: string): GroupCheckRequest {
  return GroupCheckRequest.make({
    app: state.info,
    node,
    config: memberConfiguration(state, node),
    lastCommittedDecree: state.list.committed,
    confirmedDecree: -1,
  })
}

function checkGroup(step: Step): void {
  const { state, out } = step
  if (state.group === undefined) return
  for (const to of [...state.config.secondaries, ...state.group.learners.keys()]) {
    const request = groupCheckRequest(state, to)
    const timeoutMs = state.options.prepareTimeoutMs
    out.push({ type: 'send', to, call: { kind: 'group-check', request }, timeoutMs })
  }
}

export function onGroupCheckAnswered(
  step: Step,
  event: ReplicaEvent & { type: 'group-check-answered' },
  onLearned: (step: Step, node: string, signature: bigint) => void,
): void {
  const { state } = step
  const { to, ballot, response } = event
  if (state.status !== 'primary' || ballot !== state.ballot) return
  const error = response?.err ?? event.error
  // "Not yet": the member has lost its meta server for now, or is restarting. Its prepares decide.
  if (error === 'ERR_INACTIVE_STATE' || error === 'ERR_BUSY' || error === 'ERR_TRY_AGAIN') return
  if (error !== 'ERR_OK') return memberFailed(step, to)
  if (response?.learnerStatus === LearnerStatus.LearningSucceeded)
    onLearned(step, to, response.learnerSignature)
}

/** What this replica says of itself to its primary. */
export function groupCheckResponse(state: ReplicaState, err: string): GroupCheckResponse {
  return GroupCheckResponse.make({
    pid: state.gpid,
    err,
    node: state.self,
    lastCommittedDecreeInApp: state.applied,
    lastCommittedDecreeInPrepareList: state.list.committed,
    learnerStatus: learnerStatus(state),
    learnerSignature: state.learning?.signature ?? 0n,
  })
}

function learnerStatus(state: ReplicaState): number {
  if (state.status !== 'potential-secondary') return LearnerStatus.LearningInvalid
  switch (state.learning?.stage) {
    case undefined:
      return LearnerStatus.LearningFailed
    case 'with-prepare':
      return LearnerStatus.LearningWithPrepare
    case 'succeeded':
      return LearnerStatus.LearningSucceeded
    case 'marking':
    case 'asking':
    case 'copying':
    case 'wiping':
    case 'applying':
      return LearnerStatus.LearningWithoutPrepare
  }
}

export function answerGroupCheck(step: Step, token: number, err: string): void {
  const response = groupCheckResponse(step.state, err)
  answer(step, token, { kind: 'group-check', response })
}
