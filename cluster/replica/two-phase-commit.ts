/**
 * The write path on a primary (PacificA 2.2; replica-server.md 5.1 to 5.3, 5.6, 5.7 and 6.3):
 * admission, mutations from the queue, prepares to every member, the commit rule, and the
 * re-preparation of what an earlier configuration left uncommitted. Pure.
 *
 * A mutation is committed when it is logged here and acknowledged by all secondaries and all
 * learners that take part; not by a majority. A member that does not acknowledge is expelled
 * through the meta server, and only then does the commit go on.
 */
import { ConfigType } from '../protocol/meta-admin.ts'
import { PartitionStatus, ReplicaConfiguration } from '../protocol/metadata.ts'
import type { CommittedUpdate } from './app.ts'
import { type Mutation, contentHash, emptyMutation, makeMutation } from './mutation.ts'
import type { ReplicaEvent } from './replica-events.ts'
import {
  type Entry,
  type ReplicaState,
  type Step,
  type Votes,
  answer,
  append,
  committed,
  groupSize,
  minReplicaCount,
  refuse,
  trace,
} from './replica-state.ts'
import { requestUpdate, withoutMember } from './meta-update.ts'
import type { WriteRequest } from './write-queue.ts'

/** Rows 7 and 10 of replica-server.md 5.1; the rows before them are the server's. */
export function admissionProblem(state: ReplicaState): string | undefined {
  if (state.status !== 'primary') return 'ERR_INVALID_STATE'
  if (groupSize(state) < minReplicaCount(state)) return 'ERR_NOT_ENOUGH_MEMBER'
  return undefined
}

/** May this entry be committed, given that all before it are? */
export function mayCommit(state: ReplicaState, entry: Entry): boolean {
  const { secondaries, learners, groupSize: members } = entry.extra
  if (!entry.logged) return false
  if (state.options.commitRule === 'majority') return members - secondaries.size > members / 2
  return secondaries.size === 0 && learners.size === 0
}

export function onWrite(step: Step, write: WriteRequest): void {
  const { state } = step
  const problem = admissionProblem(state)
  if (problem !== undefined) return refuse(step, [write.id], problem)
  if (!state.queue.add(write)) return refuse(step, [write.id], 'ERR_BUSY')
  scheduleStart(step)
}

function scheduleStart(step: Step): void {
  const { state, out } = step
  if (state.startScheduled || state.queue.isEmpty) return
  state.startScheduled = true
  out.push({ type: 'start-writes-soon' })
}

/** Mutations are begun while the window allows; an unfilled one waits for company. */
export function startWrites(step: Step): void {
  const { state } = step
  state.startScheduled = false
  while (state.status === 'primary' && !state.queue.isEmpty) {
    const { list, options } = state
    const inFlight = list.maxDecree - list.committed
    const unapplied = list.maxDecree - state.applied
    if (inFlight >= options.stalenessMax || unapplied >= options.prepareListMax) return
    if (state.queue.headIsOpen && inFlight >= options.eagerInflightMax) return
    const taken = state.queue.take(step.nowMs)
    if (taken === undefined) return
    refuse(
      step,
      taken.late.map((write) => write.id),
      'ERR_TIMEOUT',
    )
    if (taken.due.length > 0) propose(step, taken.due)
  }
}

/** A write without effect: lets secondaries learn the commit point of an idle partition. */
export function proposeEmpty(step: Step): void {
  const { state } = step
  if (admissionProblem(state) !== undefined || !state.queue.isEmpty) return
  if (state.list.maxDecree - state.list.committed >= state.options.stalenessMax) return
  prepareOnPrimary(step, emptyMutation(state.gpid, nextHead(step)), [])
}

function nextHead(step: Step): Omit<Mutation, 'updates' | 'bytes'> {
  const { state } = step
  return {
    ballot: state.ballot,
    decree: state.list.maxDecree + 1,
    timestampUs: Math.max(step.nowUs, state.lastTimestampUs + 1),
    lastCommittedDecree: state.list.committed,
  }
}

function propose(step: Step, writes: readonly WriteRequest[]): void {
  const updates: CommittedUpdate[] = writes.map(({ code, body }) => ({ code, body }))
  const mutation = makeMutation(step.state.gpid, nextHead(step), updates)
  prepareOnPrimary(
    step,
    mutation,
    writes.map((write) => write.id),
  )
}

/** Own list, own log, every member (replica-server.md 5.3). */
function prepareOnPrimary(
  step: Step,
  mutation: Mutation,
  clients: readonly (number | undefined)[],
  replayed = false,
): void {
  const { state } = step
  const { group } = state
  if (group === undefined) return
  const learners = [...group.learners].filter(
    ([, { prepareStart }]) => prepareStart !== undefined && prepareStart <= mutation.decree,
  )
  const votes: Votes = {
    secondaries: new Set(state.config.secondaries),
    learners: new Set(learners.map(([node]) => node)),
    groupSize: groupSize(state),
    clients,
    tokens: [],
  }
  const outcome = state.list.prepare(mutation, votes)
  if (outcome.kind !== 'added') return refuse(step, clients, 'ERR_CAPACITY_EXCEEDED')
  // Prepares of an earlier primary that waited for the log: their sender has no say any more.
  for (const token of outcome.replaced?.extra.tokens.splice(0) ?? [])
    answer(step, token, { kind: 'silence' })
  group.preparedSinceCheck = true
  trace(step, () => ({
    type: 'proposed',
    ballot: mutation.ballot,
    decree: mutation.decree,
    hash: contentHash(mutation),
    timestampUs: mutation.timestampUs,
    committed: state.list.committed,
    replayed,
  }))
  for (const node of votes.secondaries) sendPrepare(step, node, mutation, step.nowMs)
  for (const node of votes.learners) sendPrepare(step, node, mutation, step.nowMs)
  append(step, mutation)
}

export function sendPrepare(
  step: Step,
  to: string,
  mutation: Mutation,
  firstSentAtMs: number,
): void {
  const { state, out } = step
  const learner = state.group?.learners.get(to)
  const { options } = state
  const budgetMs =
    learner === undefined ? options.prepareTimeoutMs : options.learnerPrepareTimeoutMs
  const config = memberConfiguration(state, to)
  const timeoutMs = Math.max(1, budgetMs - (step.nowMs - firstSentAtMs))
  out.push({
    type: 'send',
    to,
    call: { kind: 'prepare', config, mutation, firstSentAtMs },
    timeoutMs,
  })
}

/** The configuration as one member is told it. */
export function memberConfiguration(state: ReplicaState, node: string): ReplicaConfiguration {
  const learner = state.group?.learners.get(node)
  return ReplicaConfiguration.make({
    pid: state.gpid,
    ballot: state.ballot,
    primary: state.self,
    status:
      learner === undefined ? PartitionStatus.PS_SECONDARY : PartitionStatus.PS_POTENTIAL_SECONDARY,
    learnerSignature: learner?.signature ?? 0n,
  })
}

/** An entry became logged here. */
export function onLoggedByPrimary(step: Step): void {
  commitReady(step)
}

export function commitReady(step: Step): void {
  const { state } = step
  if (state.status !== 'primary') return
  const entries = state.list.commitReady((entry) => mayCommit(state, entry))
  if (entries.length === 0) return
  committed(step, entries)
  startWrites(step)
}

export function onPrepareAnswered(
  step: Step,
  event: ReplicaEvent & { type: 'prepare-answered' },
): void {
  const { state, out } = step
  const { to, ballot, decree, firstSentAtMs } = event
  if (state.status !== 'primary' || ballot < state.ballot || decree <= state.list.committed) return
  const entry = state.list.get(decree)
  if (entry === undefined || entry.mutation.ballot !== ballot) return
  const { secondaries, learners } = entry.extra
  const isLearner = learners.has(to)
  if (!isLearner && !secondaries.has(to)) return
  const error = event.response?.err ?? event.error
  if (error === 'ERR_OK') {
    secondaries.delete(to)
    learners.delete(to)
    return commitReady(step)
  }
  const delayMs = resendDelayMs(state, error, isLearner, step.nowMs - firstSentAtMs)
  if (delayMs === undefined) return memberFailed(step, to)
  const timer = { kind: 'resend-prepare', to, ballot, decree, firstSentAtMs } as const
  out.push({ type: 'timer', timer, delayMs })
}

/**
 * A member that is "not yet" so far is asked again for the whole time of a prepare; a broken
 * connection, which may be a restart of the peer, for a part of it. Otherwise undefined.
 */
function resendDelayMs(
  state: ReplicaState,
  error: string,
  isLearner: boolean,
  elapsedMs: number,
): number | undefined {
  const { prepareTimeoutMs, learnerPrepareTimeoutMs, prepareResendMs } = state.options
  const budgetMs = isLearner ? learnerPrepareTimeoutMs : prepareTimeoutMs
  if (error === 'ERR_INACTIVE_STATE' || error === 'ERR_TRY_AGAIN')
    return elapsedMs + prepareResendMs + 2 < budgetMs ? prepareResendMs : undefined
  if (error === 'ERR_NETWORK_FAILURE' || error === 'ERR_SESSION_RESET')
    return elapsedMs < budgetMs / 6 ? 10 * prepareResendMs : undefined
  return undefined
}

export function onResendPrepare(
  step: Step,
  timer: { to: string; ballot: number; decree: number; firstSentAtMs: number },
): void {
  const { state } = step
  const { to, ballot, decree, firstSentAtMs } = timer
  if (state.status !== 'primary' || ballot !== state.ballot || decree <= state.list.committed)
    return
  const entry = state.list.get(decree)
  if (entry === undefined || entry.mutation.ballot !== ballot) return
  const { secondaries, learners } = entry.extra
  if (secondaries.has(to) || learners.has(to)) sendPrepare(step, to, entry.mutation, firstSentAtMs)
}

/** A secondary must be expelled by the meta server; a learner is simply forgotten. */
export function memberFailed(step: Step, node: string): void {
  const { state } = step
  if (state.status !== 'primary') return
  if (state.group?.learners.has(node) === true) return forgetLearner(step, node)
  if (!state.config.secondaries.includes(node)) return
  const config = withoutMember(state.config, node)
  requestUpdate(step, ConfigType.CT_DOWNGRADE_TO_INACTIVE, node, config)
}

export function forgetLearner(step: Step, node: string): void {
  const { state } = step
  state.group?.learners.delete(node)
  for (const entry of state.list.uncommitted()) entry.extra.learners.delete(node)
  commitReady(step)
}

/**
 * Reconciliation (replica-server.md 6.3): everything above the commit point is prepared again under
 * the own ballot, holes as empty writes. Reads wait for what was inherited.
 */
export function prepareAgain(step: Step): void {
  const { state } = step
  const { list } = state
  const maxDecree = list.maxDecree
  let timestampUs = list.get(list.committed)?.mutation.timestampUs ?? 0
  for (let decree = list.committed + 1; decree <= maxDecree; decree++) {
    const present = list.get(decree)
    timestampUs = present?.mutation.timestampUs ?? timestampUs + 1
    const head = {
      ballot: state.ballot,
      decree,
      timestampUs,
      lastCommittedDecree: list.committed,
    }
    if (present === undefined) prepareOnPrimary(step, emptyMutation(state.gpid, head), [], true)
    else {
      const { updates } = present.mutation
      const mutation = makeMutation(state.gpid, head, updates)
      prepareOnPrimary(step, mutation, present.extra.clients, true)
    }
  }
  state.readGate = maxDecree
}

/** What was queued for a group that is now too small is refused; it was not executed. */
export function settleQueue(step: Step): void {
  const { state } = step
  if (admissionProblem(state) === undefined) return scheduleStart(step)
  const writes = state.queue.clear()
  refuse(
    step,
    writes.map((write) => write.id),
    'ERR_NOT_ENOUGH_MEMBER',
  )
}

/** The role is lost for good: queued writes were not executed, prepared ones are unknown. */
export function dropWrites(step: Step): void {
  const writes = step.state.queue.clear()
  refuse(
    step,
    writes.map((write) => write.id),
    'ERR_INVALID_STATE',
  )
  for (const entry of step.state.list.uncommitted())
    refuse(step, entry.extra.clients, 'ERR_TIMEOUT')
}
