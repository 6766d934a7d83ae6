/**
 * The learner's side of learning (replica-server.md 10.2 to 10.6): asks the primary round by round,
 * takes over a snapshot, mutations from the log, or the last mutations together with the prepares
 * behind them, and reports success when all that is durable here. Pure.
 *
 * While it learns, the replica's record says that log and data have holes: a restart in between
 * does not bring it back as a member.
 */
import { LearnRequest, type LearnResponse, LearnType } from '../protocol/consensus.ts'
import { ProtocolError } from '../protocol/schema.ts'
import { groupCheckResponse } from './group-check.ts'
import { type Mutation, decodeMutations } from './mutation.ts'
import type { ReplicaEvent } from './replica-events.ts'
import {
  type Entry,
  type LearnStage,
  type Step,
  alarm,
  append,
  committed,
  dropUncommitted,
  noVotes,
  persist,
  restartData,
  trace,
} from './replica-state.ts'
import { adoptMemberConfiguration, leaveGroup } from './roles.ts'

/** Remote failures in a row before the attempt is given up; the primary starts another one. */
const FAILURES_MAX = 20

/** The primary wants this learner to learn under `signature`; harmless when it already does. */
export function startLearning(step: Step, signature: bigint): void {
  const { state } = step
  if (state.status !== 'potential-secondary') return
  if (state.learning?.signature === signature) return
  state.learning = {
    signature,
    stage: 'marking',
    goal: 0,
    goalAppended: 0,
    failures: 0,
  }
  traceLearning(step, 'started')
  // What is not known to be committed does not count: the group decides anew.
  dropUncommitted(step)
  state.list.reset(state.list.committed)
  persist(step, { incomplete: true })
  continueLearning(step)
}

/** Moves on when what a stage waits for has happened. */
export function continueLearning(step: Step): void {
  const { state } = step
  const { learning } = state
  if (learning === undefined || state.replacing) return
  const settled = state.applied >= learning.goal && state.durablyAppended >= learning.goalAppended
  if (learning.stage === 'marking' && state.record.incomplete) ask(step)
  else if (learning.stage === 'copying' || learning.stage === 'wiping') ask(step)
  else if (learning.stage === 'applying' && settled) ask(step)
  else if (learning.stage === 'with-prepare' && settled) {
    if (state.recordWanted.incomplete) persist(step, { incomplete: false })
    else if (!state.record.incomplete && state.recordInFlight === undefined) succeed(step)
  }
}

function setStage(step: Step, stage: LearnStage): void {
  if (step.state.learning !== undefined) step.state.learning.stage = stage
}

function ask(step: Step): void {
  const { state, out } = step
  if (state.learning === undefined) return
  setStage(step, 'asking')
  const request = LearnRequest.make({
    pid: state.gpid,
    learner: state.self,
    signature: state.learning.signature,
    lastCommittedDecreeInApp: state.list.committed,
    lastCommittedDecreeInPrepareList: state.list.committed,
  })
  const timeoutMs = state.options.learnTimeoutMs
  out.push({ type: 'send', to: state.config.primary, call: { kind: 'learn', request }, timeoutMs })
}

function succeed(step: Step): void {
  setStage(step, 'succeeded')
  traceLearning(step, 'succeeded')
  notify(step)
}

function notify(step: Step): void {
  const { state, out } = step
  const request = groupCheckResponse(state, 'ERR_OK')
  const timeoutMs = state.options.learnTimeoutMs
  out.push({ type: 'send', to: state.config.primary, call: { kind: 'notify', request }, timeoutMs })
}

export function onLearnAnswered(
  step: Step,
  event: ReplicaEvent & { type: 'learn-answered' },
): void {
  const { state } = step
  const asking = state.status === 'potential-secondary' && state.learning?.stage === 'asking'
  if (!asking || state.learning?.signature !== event.signature) return
  const { response } = event
  const error = response?.err ?? event.error
  if (error !== 'ERR_OK' || response === undefined) return remoteFailure(step, error)
  if (response.config.ballot < state.ballot) return remoteFailure(step, 'ERR_VERSION_OUTDATED')
  if (response.config.ballot > state.ballot) {
    if (!adoptMemberConfiguration(step, response.config)) return giveUp(step)
    if (state.learning?.signature !== event.signature) return giveUp(step)
  }
  take(step, response)
}

function take(step: Step, response: LearnResponse): void {
  const { state, out } = step
  if (response.lastCommittedDecree < state.list.committed) {
    const ahead = `${state.list.committed} here, ${response.lastCommittedDecree} in the group`
    alarm(step, 'learn-reset', `committed ${ahead}: data that the group lost are thrown away`)
    trace(step, () => ({ type: 'wiped', applied: state.applied }))
    replaceData(step, 'wiping')
    out.push({ type: 'wipe' })
    return
  }
  const { type, learnee, baseLocalDir } = response
  if (type === LearnType.LT_APP) {
    traceLearning(step, 'app')
    replaceData(step, 'copying')
    const decree = response.state.toDecreeIncluded
    out.push({ type: 'copy-snapshot', learnee, directory: baseLocalDir, decree })
    return
  }
  if (type !== LearnType.LT_LOG && type !== LearnType.LT_CACHE)
    return remoteFailure(step, 'ERR_INVALID_DATA')
  const mutations = learnedMutations(step, response)
  const start = response.prepareStartDecree
  const reached = state.list.committed + (mutations?.length ?? 0)
  const complete = type === LearnType.LT_CACHE
  if (mutations === undefined || (complete ? reached !== start - 1 : mutations.length === 0))
    return remoteFailure(step, 'ERR_INVALID_DATA')
  traceLearning(step, complete ? 'cache' : 'log')
  takeMutations(step, mutations, complete)
}

/** Decoded, without those already here; undefined when they do not follow the commit point. */
function learnedMutations(step: Step, response: LearnResponse): Mutation[] | undefined {
  const { state } = step
  try {
    const all = decodeMutations(state.gpid, response.state.meta)
    const fresh = all.filter(({ decree }) => decree > state.list.committed)
    const follows = fresh.every(({ decree }, at) => decree === state.list.committed + 1 + at)
    return follows ? fresh : undefined
  } catch (error) {
    if (error instanceof ProtocolError) return undefined
    throw error
  }
}

function takeMutations(step: Step, mutations: readonly Mutation[], complete: boolean): void {
  const { state } = step
  const { learning } = state
  if (learning === undefined) return
  const entries: Entry[] = mutations.map((mutation) => {
    append(step, mutation)
    return state.list.addCommitted(mutation, noVotes())
  })
  learning.failures = 0
  learning.stage = complete ? 'with-prepare' : 'applying'
  learning.goal = state.list.committed
  learning.goalAppended = state.appended
  committed(step, entries)
  continueLearning(step)
}

function replaceData(step: Step, stage: 'copying' | 'wiping'): void {
  setStage(step, stage)
  step.state.replacing = true
  restartData(step, 0)
}

export function onSnapshotCopied(
  step: Step,
  { decree, timestampUs }: { decree: number; timestampUs: number },
): void {
  const { state } = step
  state.replacing = false
  state.lastTimestampUs = Math.max(state.lastTimestampUs, timestampUs)
  restartData(step, decree)
  if (state.learning !== undefined) state.learning.failures = 0
  continueLearning(step)
}

export function onWiped(step: Step): void {
  step.state.replacing = false
  continueLearning(step)
}

export function onSnapshotFailed(step: Step, reason: string): void {
  const { state } = step
  state.replacing = false
  if (state.learning?.stage === 'copying') remoteFailure(step, reason)
  else continueLearning(step)
}

function remoteFailure(step: Step, error: string): void {
  const { state, out } = step
  const { learning } = state
  if (learning === undefined) return
  learning.failures++
  learning.stage = 'asking'
  if (isHopeless(error) || learning.failures > FAILURES_MAX) return giveUp(step)
  const timer = { kind: 'retry-learn', signature: learning.signature } as const
  out.push({ type: 'timer', timer, delayMs: state.options.learnRetryMs })
}

/** The other side is no primary any more, or knows nothing of this attempt. */
function isHopeless(error: string): boolean {
  return (
    error === 'ERR_OBJECT_NOT_FOUND' ||
    error === 'ERR_WRONG_CHECKSUM' ||
    error === 'ERR_INVALID_STATE'
  )
}

export function onRetryLearn(step: Step, signature: bigint): void {
  const { learning, replacing } = step.state
  if (learning?.signature === signature && learning.stage === 'asking' && !replacing) ask(step)
}

/** The primary forgot this learner, or has another attempt in mind: it will call again. */
function giveUp(step: Step): void {
  traceLearning(step, 'failed')
  leaveGroup(step, step.state.config)
}

export function onNotifyAnswered(
  step: Step,
  event: ReplicaEvent & { type: 'notify-answered' },
): void {
  const { state, out } = step
  const { learning } = state
  if (learning?.signature !== event.signature || learning.stage !== 'succeeded') return
  const error = event.response?.err ?? event.error
  if (isHopeless(error)) return giveUp(step)
  // Told, but not promoted yet: should the primary change before it is, nobody would say so.
  const { learnRetryMs, groupCheckMs } = state.options
  const timer = { kind: 'retry-notify', signature: learning.signature } as const
  out.push({ type: 'timer', timer, delayMs: error === 'ERR_OK' ? groupCheckMs : learnRetryMs })
}

export function onRetryNotify(step: Step, signature: bigint): void {
  const { learning } = step.state
  if (learning?.signature === signature && learning.stage === 'succeeded') notify(step)
}

function traceLearning(
  step: Step,
  what: 'started' | 'cache' | 'log' | 'app' | 'succeeded' | 'failed',
): void {
  const { learning, applied } = step.state
  if (learning === undefined) return
  const { signature } = learning
  trace(step, () => ({ type: 'learning', signature, step: what, applied }))
}
