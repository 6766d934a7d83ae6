/**
 * The receiving side of the two-phase commit (replica-server.md 5.5): a secondary or a learner logs
 * what the primary prepares, acknowledges when it is durable, and commits what the primary says is
 * committed. Pure.
 */
import { PrepareAck } from '../protocol/consensus.ts'
import { PartitionStatus, type ReplicaConfiguration } from '../protocol/metadata.ts'
import { type Mutation, contentHash } from './mutation.ts'
import type { ReplicaEvent } from './replica-events.ts'
import {
  type Entry,
  type ReplicaState,
  type Step,
  answer,
  append,
  committed,
  fail,
  noVotes,
  trace,
} from './replica-state.ts'
import { adoptMemberConfiguration } from './roles.ts'

export function onPrepare(step: Step, event: ReplicaEvent & { type: 'prepare' }): void {
  const { state } = step
  const { token, config, mutation } = event
  if (config.ballot < state.ballot || mutation.ballot !== config.ballot)
    return answer(step, token, { kind: 'silence' })
  if (!state.connected) return acknowledge(step, token, mutation, 'ERR_INACTIVE_STATE')
  if (config.ballot > state.ballot && !adoptMemberConfiguration(step, config))
    return acknowledge(step, token, mutation, 'ERR_INVALID_STATE')
  const refusal = roleProblem(state, config)
  if (refusal !== undefined) return acknowledge(step, token, mutation, refusal)

  const { list } = state
  if (mutation.decree <= list.committed) {
    if (list.agreesWithCommitted(mutation) !== false)
      return acknowledge(step, token, mutation, 'ERR_OK')
    const what = `decree ${mutation.decree} is committed here with other content`
    acknowledge(step, token, mutation, 'ERR_INVALID_STATE')
    return fail(step, 'content-mismatch', what)
  }
  const unknown = mutation.updates.find(({ code }) => !state.options.knowsCode(code))
  if (unknown !== undefined) {
    acknowledge(step, token, mutation, 'ERR_INVALID_STATE')
    return fail(step, 'unknown-code', `cannot apply ${unknown.code}: a newer version's?`)
  }
  const present = list.get(mutation.decree)
  if (present?.mutation.ballot === mutation.ballot) {
    if (present.logged) acknowledge(step, token, mutation, 'ERR_OK')
    else present.extra.tokens.push(token)
    return
  }
  prepareHere(step, token, mutation)
}

/** Commits what the header says, then takes the mutation into list and log. */
function prepareHere(step: Step, token: number, mutation: Mutation): void {
  const { state } = step
  if (!commitTo(step, mutation.lastCommittedDecree))
    return acknowledge(step, token, mutation, 'ERR_INVALID_STATE')
  // The engine is too far behind: the primary asks again while it catches up.
  if (mutation.decree > state.applied + 2 * state.options.prepareListMax)
    return acknowledge(step, token, mutation, 'ERR_TRY_AGAIN')
  const outcome = state.list.prepare(mutation, noVotes([token]))
  if (outcome.kind === 'capacity') return acknowledge(step, token, mutation, 'ERR_TRY_AGAIN')
  if (outcome.kind === 'conflict') {
    acknowledge(step, token, mutation, 'ERR_INVALID_STATE')
    const { ballot } = outcome.present.mutation
    const what = `decree ${mutation.decree} is prepared here under the higher ballot ${ballot}`
    return fail(step, 'content-mismatch', what)
  }
  for (const old of outcome.replaced?.extra.tokens.splice(0) ?? [])
    answer(step, old, { kind: 'silence' })
  append(step, mutation)
}

function roleProblem(state: ReplicaState, config: ReplicaConfiguration): string | undefined {
  switch (state.status) {
    case 'inactive':
      return state.transient ? 'ERR_INACTIVE_STATE' : 'ERR_INVALID_STATE'
    case 'error':
    case 'primary':
      return 'ERR_INVALID_STATE'
    case 'secondary':
      return config.status === PartitionStatus.PS_SECONDARY ? undefined : 'ERR_INVALID_STATE'
    case 'potential-secondary': {
      const stage = state.learning?.stage
      if (config.learnerSignature !== state.learning?.signature) return 'ERR_INVALID_STATE'
      return stage === 'with-prepare' || stage === 'succeeded' ? undefined : 'ERR_TRY_AGAIN'
    }
  }
}

/** The log has it: acknowledge, and commit what its header says is committed. */
export function onLoggedBySecondary(step: Step, entry: Entry): void {
  const { state } = step
  const { mutation, extra } = entry
  const current = mutation.ballot === state.ballot
  for (const token of extra.tokens.splice(0))
    if (current) acknowledge(step, token, mutation, 'ERR_OK')
    else answer(step, token, { kind: 'silence' })
  if (current) commitTo(step, mutation.lastCommittedDecree)
}

/**
 * Commits up to a decree that the primary has committed. This member acknowledged all of them, so a
 * missing one means that its log lost something: the replica stops. False then.
 */
export function commitTo(step: Step, decree: number): boolean {
  const outcome = step.state.list.commitHard(decree)
  if ('missing' in outcome) {
    fail(
      step,
      'missing-prepared',
      `decree ${outcome.missing} is committed by the primary and not prepared here`,
    )
    return false
  }
  committed(step, outcome.committed)
  return true
}

function acknowledge(step: Step, token: number, mutation: Mutation, err: string): void {
  const { state } = step
  const ack = PrepareAck.make({
    pid: state.gpid,
    err,
    ballot: mutation.ballot,
    decree: mutation.decree,
    lastCommittedDecreeInApp: state.applied,
    lastCommittedDecreeInPrepareList: state.list.committed,
  })
  answer(step, token, { kind: 'prepare', ack })
}

/** Shared by all roles: the entry of this ballot and decree, if it is still the one in the list. */
export function markLogged(step: Step, ballot: number, decree: number): Entry | undefined {
  const entry = step.state.list.get(decree)
  if (entry === undefined || entry.mutation.ballot !== ballot) return undefined
  entry.logged = true
  trace(step, () => ({ type: 'logged', ballot, decree, hash: contentHash(entry.mutation) }))
  return entry
}
