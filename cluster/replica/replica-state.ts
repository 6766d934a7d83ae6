/**
 * The state of one replica and the small steps that all its phases share: moving the commit point,
 * handing committed mutations to the engine, persisting the ballot. The phases are
 * `two-phase-commit.ts`, `secondary.ts`, `reconfigure.ts`, `learnee.ts`, `learner.ts` and
 * `group-check.ts`; `replica.ts` puts them together. Pure.
 *
 * Decree ladder (replica-server.md 1): applied <= committed <= prepared <= maxDecree. `applied`
 * trails `committed` because the engine works asynchronously.
 */
import type { Gpid } from '../protocol/base.ts'
import { type AppInfo, PartitionConfiguration } from '../protocol/layer2.ts'
import { type ConfigType } from '../protocol/meta-admin.ts'
import { type Mutation, contentHash, sizeBytes } from './mutation.ts'
import { type Prepared, PrepareList } from './prepare-list.ts'
import type {
  ReplicaAlarm,
  ReplicaAnswer,
  ReplicaEffect,
  ReplicaEvent,
  ReplicaRecord,
} from './replica-events.ts'
import type { ReplicaStatus, ReplicaTraceEvent } from './trace.ts'
import { WriteQueue } from './write-queue.ts'

export type CommitRule = 'all' | 'majority'

export interface ReplicaOptions {
  readonly prepareTimeoutMs: number
  readonly learnerPrepareTimeoutMs: number
  /** Pause before a prepare is repeated to a member that said "not yet". */
  readonly prepareResendMs: number
  /** Mutations between prepared and committed on a primary. */
  readonly stalenessMax: number
  /** Window of the prepare list, and committed mutations kept for learners. */
  readonly prepareListMax: number
  /** Members without which a primary takes no writes; 0: from the table's replica count. */
  readonly minReplicaCount: number
  readonly groupCheckMs: number
  readonly metaRetryMs: number
  readonly learnRetryMs: number
  readonly learnTimeoutMs: number
  /** Mutations in one answer to a learner. */
  readonly learnBytesMax: number
  readonly queuedBytesMax: number
  readonly mutationBytesMax: number
  readonly applyBytesMax: number
  /** An unfilled mutation waits for others while so many are in flight. */
  readonly eagerInflightMax: number
  /** Always 'all' (PacificA); 'majority' is the mistake that the simulation must catch. */
  readonly commitRule: CommitRule
  /** False for a write that this version cannot apply. */
  readonly knowsCode: (code: string) => boolean
  /** Whether somebody looks at traces; without it they are not made. */
  readonly traced: boolean
}

/** What a primary and a secondary keep beside an entry of the prepare list. */
export interface Votes {
  /** Members that have not acknowledged it. */
  readonly secondaries: Set<string>
  readonly learners: Set<string>
  /** Size of the group when it was prepared, this replica included. */
  readonly groupSize: number
  /** Waiting client per update. */
  readonly clients: readonly (number | undefined)[]
  /** Prepares to acknowledge when logged. */
  readonly tokens: number[]
}

export type Entry = Prepared<Votes>

/** A learner as its primary sees it. */
export interface LearnerOfGroup {
  readonly signature: bigint
  /** First decree that is prepared to it; undefined while it only copies. */
  prepareStart: number | undefined
}

export interface GroupState {
  readonly learners: Map<string, LearnerOfGroup>
  nextSignature: bigint
  /** Something was prepared since the last group check. */
  preparedSinceCheck: boolean
}

export interface PendingUpdate {
  readonly attempt: number
  readonly type: (typeof ConfigType)[keyof typeof ConfigType]
  readonly node: string
  readonly config: PartitionConfiguration
}

export type LearnStage =
  /** Waits until it is durable that the data here are incomplete. */
  | 'marking'
  /** A learn request is out, or its retry is scheduled. */
  | 'asking'
  | 'copying'
  | 'wiping'
  /** Learned mutations are being logged and applied; the next round follows. */
  | 'applying'
  /** Prepares flow; what was learned becomes durable. */
  | 'with-prepare'
  | 'succeeded'

/** A learn request on its primary. */
export interface PendingLearn {
  readonly learner: string
  readonly signature: bigint
  readonly fromDecree: number
}

export interface LearnerState {
  readonly signature: bigint
  stage: LearnStage
  /** Applied decree and durable appends that end the stages `applying` and `with-prepare`. */
  goal: number
  goalAppended: number
  /** Remote failures in a row. */
  failures: number
}

export interface ReplicaState {
  readonly gpid: Gpid
  /** `ip:port` of this server. */
  readonly self: string
  readonly options: ReplicaOptions
  info: AppInfo
  status: ReplicaStatus
  /** Only for `inactive`: may become primary or secondary again without learning. */
  transient: boolean
  ballot: number
  /** The configuration acted under; only a primary knows all members. */
  config: PartitionConfiguration
  lastConfigChangeMs: number
  connected: boolean
  /** Restarted, and not yet told by meta what it is. */
  initializing: boolean
  closed: boolean

  record: ReplicaRecord
  /** Being written; at most one at a time. */
  recordInFlight: ReplicaRecord | undefined
  recordWanted: ReplicaRecord
  /** Events of a ballot that is not durable yet. */
  readonly stash: ReplicaEvent[]

  readonly list: PrepareList<Votes>
  /** Committed, not handed to the engine. */
  readonly unapplied: Entry[]
  applying: boolean
  applied: number
  /** Changes when the data are replaced: completions of an earlier life say nothing. */
  life: number
  /** Largest timestamp seen in any mutation. */
  lastTimestampUs: number
  /** Mutations given to the log, and those of them that are durable; the log keeps the order. */
  appended: number
  durablyAppended: number

  readonly queue: WriteQueue
  startScheduled: boolean
  /** Normal reads wait until this decree is applied (replica-server.md 6.3). */
  readGate: number
  group: GroupState | undefined
  update: PendingUpdate | undefined
  updateAttempts: number
  learning: LearnerState | undefined
  /** The driver is replacing or clearing the data. */
  replacing: boolean
  /** Learn requests that wait for the log or a snapshot, by token. */
  readonly learns: Map<number, PendingLearn>
  groupCheckRound: number
  /** Secondaries that a restarted primary still asks for their last prepared decree. */
  handshake: Set<string> | undefined
}

/** One step: the state, the time, and what comes out. */
export interface Step {
  readonly state: ReplicaState
  readonly nowMs: number
  /** Wall clock, microseconds. */
  readonly nowUs: number
  readonly out: ReplicaEffect[]
}

export function initialState(given: {
  readonly gpid: Gpid
  readonly self: string
  readonly options: ReplicaOptions
  readonly info: AppInfo
  readonly record: ReplicaRecord
  readonly applied: number
  readonly lastTimestampUs: number
  /** A new replica may become anything; one that was found on disk waits for meta's word. */
  readonly restarted: boolean
  readonly nowMs: number
}): ReplicaState {
  const { options, record } = given
  return {
    gpid: given.gpid,
    self: given.self,
    options,
    info: given.info,
    status: 'inactive',
    transient: !record.incomplete,
    ballot: record.ballot,
    config: PartitionConfiguration.make({ pid: given.gpid, ballot: record.ballot }),
    lastConfigChangeMs: given.nowMs,
    connected: false,
    initializing: given.restarted,
    closed: false,
    record,
    recordInFlight: undefined,
    recordWanted: record,
    stash: [],
    list: new PrepareList<Votes>(options.prepareListMax, given.applied),
    unapplied: [],
    applying: false,
    applied: given.applied,
    life: 0,
    lastTimestampUs: given.lastTimestampUs,
    appended: 0,
    durablyAppended: 0,
    queue: new WriteQueue({
      queuedBytesMax: options.queuedBytesMax,
      mutationBytesMax: options.mutationBytesMax,
      mutationUpdatesMax: 4096,
    }),
    startScheduled: false,
    readGate: 0,
    group: undefined,
    update: undefined,
    updateAttempts: 0,
    learning: undefined,
    replacing: false,
    learns: new Map(),
    groupCheckRound: 0,
    handshake: undefined,
  }
}

export function trace(step: Step, make: () => ReplicaTraceEvent): void {
  if (step.state.options.traced) step.out.push({ type: 'trace', event: make() })
}

export function alarm(step: Step, kind: ReplicaAlarm, message: string): void {
  step.out.push({ type: 'alarm', alarm: kind, message })
}

export function answer(step: Step, token: number, value: ReplicaAnswer): void {
  step.out.push({ type: 'answer', token, answer: value })
}

export function refuse(step: Step, ids: readonly (number | undefined)[], error: string): void {
  const waiting = ids.filter((id) => id !== undefined)
  if (waiting.length > 0) step.out.push({ type: 'refuse', ids: waiting, error })
}

/** Votes of an entry that waits for nobody. */
export function noVotes(tokens: number[] = []): Votes {
  return { secondaries: new Set(), learners: new Set(), groupSize: 1, clients: [], tokens }
}

/** Brings the record on disk to what is wanted, one write at a time. */
export function persist(step: Step, wanted: Partial<ReplicaRecord>): void {
  const { state, out } = step
  const ballot = Math.max(state.recordWanted.ballot, wanted.ballot ?? 0)
  const incomplete = wanted.incomplete ?? state.recordWanted.incomplete
  state.recordWanted = { ballot, incomplete }
  if (state.recordInFlight !== undefined) return
  if (ballot === state.record.ballot && incomplete === state.record.incomplete) return
  state.recordInFlight = state.recordWanted
  out.push({ type: 'persist', record: state.recordWanted })
}

/** A mutation enters the own log. */
export function append(step: Step, mutation: Mutation): void {
  step.state.appended++
  step.state.lastTimestampUs = Math.max(step.state.lastTimestampUs, mutation.timestampUs)
  step.out.push({ type: 'append', mutation })
}

/** What the list has just committed goes to the engine, in order. */
export function committed(step: Step, entries: readonly Entry[]): void {
  const { state } = step
  for (const entry of entries) {
    const { mutation } = entry
    state.unapplied.push(entry)
    trace(step, () => ({
      type: 'committed',
      ballot: mutation.ballot,
      decree: mutation.decree,
      hash: contentHash(mutation),
      timestampUs: mutation.timestampUs,
      status: state.status,
    }))
  }
  applyMore(step)
}

/** At most one batch of a replica is in the engine at any time (replica-server.md E4). */
export function applyMore(step: Step): void {
  const { state, out } = step
  if (state.applying || state.unapplied.length === 0) return
  const mutations: Mutation[] = []
  const clients: (readonly (number | undefined)[])[] = []
  let bytes = 0
  for (const entry of state.unapplied) {
    bytes += sizeBytes(entry.mutation)
    if (mutations.length > 0 && bytes > state.options.applyBytesMax) break
    mutations.push(entry.mutation)
    clients.push(entry.extra.clients)
  }
  state.unapplied.splice(0, mutations.length)
  state.applying = true
  out.push({ type: 'apply', life: state.life, mutations, clients })
}

/** Everything learned or applied so far is void; the data start again at `decree`. */
export function restartData(step: Step, decree: number): void {
  const { state } = step
  state.life++
  state.applying = false
  state.unapplied.length = 0
  dropUncommitted(step)
  state.list.reset(decree)
  state.applied = decree
}

/** Clients and peers that wait for entries which will be dropped: the outcome is unknown. */
export function dropUncommitted(step: Step): void {
  for (const entry of step.state.list.uncommitted()) {
    refuse(step, entry.extra.clients, 'ERR_TIMEOUT')
    for (const token of entry.extra.tokens.splice(0)) answer(step, token, { kind: 'silence' })
  }
}

/** Local failure: PS_ERROR, which is final for this replica object. */
export function fail(step: Step, kind: ReplicaAlarm, reason: string): void {
  const { state, out } = step
  if (state.closed) return
  alarm(step, kind, reason)
  trace(step, () => ({ type: 'failed', reason }))
  endRoles(step)
  for (const token of state.learns.keys()) answer(step, token, { kind: 'silence' })
  state.learns.clear()
  for (const event of state.stash.splice(0))
    if ('token' in event) answer(step, event.token, { kind: 'silence' })
  state.status = 'error'
  state.closed = true
  out.push({ type: 'close', reason })
}

/** Gives up every role: whoever waits is told. */
export function endRoles(step: Step): void {
  const { state } = step
  refuse(
    step,
    state.queue.clear().map((write) => write.id),
    'ERR_INVALID_STATE',
  )
  dropUncommitted(step)
  state.group = undefined
  state.update = undefined
  state.learning = undefined
  state.handshake = undefined
}

/** Members without which no write is admitted (replica-server.md 5.1). */
export function minReplicaCount(state: ReplicaState): number {
  const configured = state.options.minReplicaCount
  if (configured > 0) return configured
  const max = state.info.maxReplicaCount
  return max <= 2 ? 1 : Math.floor(max / 2) + 1
}

export function groupSize(state: ReplicaState): number {
  return 1 + state.config.secondaries.length
}
