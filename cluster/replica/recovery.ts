/**
 * Rebuilding one replica after a restart (replica-server.md 8.5 and 12): the engine says which
 * decree it holds, the log what was prepared beyond it. The result is inactive and waits for the
 * meta server's word. Pure.
 */
import type { Mutation } from './mutation.ts'
import {
  type ReplicaState,
  type Step,
  alarm,
  committed,
  initialState,
  noVotes,
  trace,
} from './replica-state.ts'
import type { ReplicaEffect } from './replica-events.ts'

/** How many mutations below the applied decree are worth keeping from the log. */
export interface Recovered {
  readonly state: ReplicaState
  /** First of all: committed mutations that the engine does not hold yet. */
  readonly effects: readonly ReplicaEffect[]
}

/**
 * `mutations` are those of the log for this replica's present incarnation, in the order of the log.
 * `given.record.incomplete` and a log with a hole below the commit point both end in a replica that
 * must learn.
 */
export function recover(
  given: Omit<Parameters<typeof initialState>[0], 'restarted'>,
  mutations: readonly Mutation[],
): Recovered {
  const { ballot, lastCommitted, lastTimestampUs, byDecree } = digest(given, mutations)
  const record = { ...given.record, ballot }
  const first = firstKept(byDecree, given)
  const state = initialState({
    ...given,
    record,
    applied: first - 1,
    lastTimestampUs,
    restarted: true,
  })
  const step: Step = { state, nowMs: given.nowMs, nowUs: 0, out: [] }
  state.applied = given.applied
  for (let decree = first; decree <= given.applied; decree++) {
    const mutation = byDecree.get(decree)
    if (mutation !== undefined) state.list.addCommitted(mutation, noVotes())
  }
  if (!record.incomplete) prepareAll(step, byDecree, lastCommitted)
  trace(step, () => ({
    type: 'recovered',
    ballot,
    applied: state.applied,
    lastPrepared: state.list.lastPrepared(),
  }))
  return { state, effects: step.out }
}

function digest(
  given: { record: { ballot: number }; applied: number; lastTimestampUs: number },
  mutations: readonly Mutation[],
): {
  ballot: number
  lastCommitted: number
  lastTimestampUs: number
  byDecree: Map<number, Mutation>
} {
  let { ballot } = given.record
  let { lastTimestampUs } = given
  let lastCommitted = given.applied
  const byDecree = new Map<number, Mutation>()
  for (const mutation of mutations) {
    ballot = Math.max(ballot, mutation.ballot)
    lastTimestampUs = Math.max(lastTimestampUs, mutation.timestampUs)
    lastCommitted = Math.max(lastCommitted, mutation.lastCommittedDecree)
    const present = byDecree.get(mutation.decree)
    if (present === undefined || present.ballot <= mutation.ballot)
      byDecree.set(mutation.decree, mutation)
  }
  return { ballot, lastCommitted, lastTimestampUs, byDecree }
}

/** Lowest decree from which on the log has all up to the applied one, as far as the list keeps. */
function firstKept(
  byDecree: ReadonlyMap<number, Mutation>,
  { applied, options }: { applied: number; options: { prepareListMax: number } },
): number {
  let first = applied + 1
  while (first > 1 && applied - first + 1 < options.prepareListMax && byDecree.has(first - 1))
    first--
  return first
}

/** Above the applied decree: what is known to be committed is applied, the rest is prepared. */
function prepareAll(
  step: Step,
  byDecree: ReadonlyMap<number, Mutation>,
  lastCommitted: number,
): void {
  const { state } = step
  for (let decree = state.applied + 1; decree <= lastCommitted; decree++) {
    const mutation = byDecree.get(decree)
    if (mutation === undefined) return incomplete(step, decree)
    committed(step, [state.list.addCommitted(mutation, noVotes())])
  }
  const rest = [...byDecree.values()]
    .filter(({ decree }) => decree > lastCommitted)
    .toSorted((a, b) => a.decree - b.decree)
  for (const mutation of rest) {
    const outcome = state.list.prepare(mutation, noVotes())
    if (outcome.kind !== 'added') return incomplete(step, mutation.decree)
    outcome.entry.logged = true
  }
}

/** The log lost something that this replica had acknowledged: it must not vote any more. */
function incomplete(step: Step, decree: number): void {
  const { state } = step
  alarm(step, 'missing-prepared', `decree ${decree} is missing in the log: must learn`)
  state.transient = false
  state.record = { ...state.record, incomplete: true }
  state.recordWanted = state.record
}
