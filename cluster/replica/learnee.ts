/**
 * The primary's side of learning (replica-server.md 10.1 to 10.4): registers learners, hands out
 * committed mutations from the prepare list (`cache`) or the log (`log`), or a snapshot of the data
 * (`app`), and has a learner promoted that has it all. Pure.
 *
 * A `cache` answer and the prepares of everything behind it are made in one step, so that no
 * mutation falls between them. Rounds converge: app, then log, then cache.
 */
import { LearnNotifyResponse, LearnResponse, LearnState, LearnType } from '../protocol/consensus.ts'
import { ConfigType } from '../protocol/meta-admin.ts'
import { groupCheckRequest } from './group-check.ts'
import { requestUpdate } from './meta-update.ts'
import { type Mutation, encodeMutations } from './mutation.ts'
import type { OpenedSnapshot, ReplicaEvent } from './replica-events.ts'
import { type LearnerOfGroup, type PendingLearn, type Step, answer } from './replica-state.ts'
import { memberConfiguration, sendPrepare } from './two-phase-commit.ts'

export function addLearner(
  step: Step,
  { node, forBalance }: { node: string; forBalance: boolean },
): void {
  const { state, out } = step
  const { group, config } = state
  if (state.status !== 'primary' || group === undefined) return
  if (node === '' || node === state.self || config.secondaries.includes(node)) return
  if (!group.learners.has(node)) {
    const members = 1 + config.secondaries.length + group.learners.size
    if (members >= state.info.maxReplicaCount + (forBalance ? 1 : 0)) return
    group.learners.set(node, { signature: group.nextSignature, prepareStart: undefined })
    group.nextSignature++
  }
  const request = groupCheckRequest(state, node)
  out.push({ type: 'send', to: node, call: { kind: 'add-learner', request }, timeoutMs: 1000 })
}

export function onLearn(step: Step, event: ReplicaEvent & { type: 'learn' }): void {
  const { state, out } = step
  const { token, request } = event
  const problem = learnProblem(step, request.learner, request.signature)
  if (problem !== undefined) return answerLearn(step, token, request.learner, { err: problem })
  const theirs = request.lastCommittedDecreeInApp
  // The learner has a history that the group lost. It sees our commit point and starts afresh.
  if (theirs > state.list.maxDecree) return answerLearn(step, token, request.learner, {})
  // Committed by an earlier primary, and here only prepared: soon.
  if (theirs > state.list.committed)
    return answerLearn(step, token, request.learner, { err: 'ERR_INCONSISTENT_STATE' })
  const { learner, signature } = request
  const pending: PendingLearn = { learner, signature, fromDecree: theirs + 1 }
  if (pending.fromDecree >= state.list.keptFrom) return answerWith(step, token, pending, [])
  state.learns.set(token, pending)
  out.push({
    type: 'read-log',
    token,
    fromDecree: pending.fromDecree,
    toDecree: state.list.committed,
    bytesMax: state.options.learnBytesMax,
  })
}

function learnProblem(step: Step, node: string, signature: bigint): string | undefined {
  const { state } = step
  if (state.status !== 'primary')
    return state.status === 'inactive' && state.transient
      ? 'ERR_INACTIVE_STATE'
      : 'ERR_INVALID_STATE'
  const learner = state.group?.learners.get(node)
  if (learner === undefined) return 'ERR_OBJECT_NOT_FOUND'
  return learner.signature === signature ? undefined : 'ERR_WRONG_CHECKSUM'
}

/** Takes a waiting learn request out; undefined (and answered) when the world has changed. */
function resume(step: Step, token: number): PendingLearn | undefined {
  const { learns } = step.state
  const pending = learns.get(token)
  if (pending === undefined) return undefined
  learns.delete(token)
  const problem = learnProblem(step, pending.learner, pending.signature)
  if (problem === undefined) return pending
  answerLearn(step, token, pending.learner, { err: problem })
  return undefined
}

export function onLogRead(step: Step, event: ReplicaEvent & { type: 'log-read' }): void {
  const { state, out } = step
  const { token, mutations } = event
  const pending = state.learns.get(token)
  if (pending === undefined) return
  const reaches = mutations.length > 0 || pending.fromDecree >= state.list.keptFrom
  if (!reaches && learnProblem(step, pending.learner, pending.signature) === undefined) {
    const { learner, signature } = pending
    learnerOf(step, learner, (entry) => (entry.prepareStart = undefined))
    out.push({ type: 'open-snapshot', token, learner, signature })
    return
  }
  const resumed = resume(step, token)
  if (resumed !== undefined) answerWith(step, token, resumed, mutations)
}

/**
 * Committed mutations from `fromLog` and, behind them, from the list; all of them up to the commit
 * point when they fit, and then the prepares follow.
 */
function answerWith(
  step: Step,
  token: number,
  pending: PendingLearn,
  fromLog: readonly Mutation[],
): void {
  const { list, options } = step.state
  const mutations: Mutation[] = []
  let bytes = 0
  let next = pending.fromDecree
  for (; next <= list.committed && bytes < options.learnBytesMax; next++) {
    const mutation = list.get(next)?.mutation ?? fromLog[next - pending.fromDecree]
    if (mutation === undefined) break
    mutations.push(mutation)
    bytes += mutation.bytes.length
  }
  const complete = next > list.committed
  const state = LearnState.make({
    fromDecreeExcluded: pending.fromDecree - 1,
    toDecreeIncluded: next - 1,
    meta: encodeMutations(mutations),
    learnStartDecree: pending.fromDecree,
  })
  if (!complete) {
    learnerOf(step, pending.learner, (learner) => (learner.prepareStart = undefined))
    return answerLearn(step, token, pending.learner, { type: LearnType.LT_LOG, state })
  }
  const prepareStartDecree = list.committed + 1
  learnerOf(step, pending.learner, (learner) => (learner.prepareStart = prepareStartDecree))
  answerLearn(step, token, pending.learner, {
    type: LearnType.LT_CACHE,
    state,
    prepareStartDecree,
  })
  for (const entry of list.uncommitted()) {
    entry.extra.learners.add(pending.learner)
    sendPrepare(step, pending.learner, entry.mutation, step.nowMs)
  }
}

export function onSnapshotOpened(
  step: Step,
  { token, snapshot }: { token: number; snapshot: OpenedSnapshot | undefined },
): void {
  const pending = resume(step, token)
  if (pending === undefined) return
  if (snapshot === undefined)
    return answerLearn(step, token, pending.learner, { err: 'ERR_GET_LEARN_STATE_FAILED' })
  answerLearn(step, token, pending.learner, {
    type: LearnType.LT_APP,
    baseLocalDir: snapshot.directory,
    state: LearnState.make({ toDecreeIncluded: snapshot.decree, files: ['snapshot'] }),
  })
}

export function onLearnNotify(step: Step, event: ReplicaEvent & { type: 'learn-notify' }): void {
  const { state } = step
  const { node, learnerSignature } = event.request
  const joined = state.status === 'primary' && state.config.secondaries.includes(node)
  const err = joined ? 'ERR_OK' : (learnProblem(step, node, learnerSignature) ?? 'ERR_OK')
  const response = LearnNotifyResponse.make({ pid: state.gpid, err, signature: learnerSignature })
  answer(step, event.token, { kind: 'learn-notify', response })
  if (err === 'ERR_OK' && !joined) promote(step, node, learnerSignature)
}

/** The learner has everything, and durable: the meta server makes it a secondary. */
export function promote(step: Step, node: string, signature: bigint): void {
  const { state } = step
  const learner = state.group?.learners.get(node)
  if (state.status !== 'primary' || learner?.signature !== signature) return
  if (learner.prepareStart === undefined) return
  const config = { ...state.config, secondaries: [...state.config.secondaries, node] }
  requestUpdate(step, ConfigType.CT_UPGRADE_TO_SECONDARY, node, config)
}

function learnerOf(step: Step, node: string, change: (learner: LearnerOfGroup) => void): void {
  const learner = step.state.group?.learners.get(node)
  if (learner !== undefined) change(learner)
}

function answerLearn(
  step: Step,
  token: number,
  learner: string,
  given: Partial<LearnResponse>,
): void {
  const { state } = step
  const response = LearnResponse.make({
    err: 'ERR_OK',
    config: memberConfiguration(state, learner),
    lastCommittedDecree: state.list.committed,
    prepareStartDecree: -1,
    type: LearnType.LT_INVALID,
    learnee: state.self,
    ...given,
  })
  answer(step, token, { kind: 'learn', response })
}
