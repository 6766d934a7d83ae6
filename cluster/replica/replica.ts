/**
 * One replica of a partition: takes events one at a time and answers with effects (PacificA;
 * replica-server.md 2 to 12). All decisions are in the phases that are imported here; this file
 * routes events, and holds back those of a ballot that is not durable yet (S2: a replica never acts
 * under a ballot that it could forget). Pure: no clock, no I/O.
 */
import type { Gpid } from '../protocol/base.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import { PartitionStatus, ReplicaInfo } from '../protocol/metadata.ts'
import type { Mutation } from './mutation.ts'
import {
  answerGroupCheck,
  onGroupCheckAnswered,
  onGroupCheckTimer,
  wireStatus,
} from './group-check.ts'
import { onLearn, onLearnNotify, onLogRead, onSnapshotOpened, promote } from './learnee.ts'
import {
  continueLearning,
  onLearnAnswered,
  onNotifyAnswered,
  onRetryLearn,
  onRetryNotify,
  onSnapshotCopied,
  onSnapshotFailed,
  onWiped,
  startLearning,
} from './learner.ts'
import {
  decidedConfig,
  learnInfo,
  onConfigSynced,
  onDecreeAnswered,
  onHandshakeOver,
  onMetaAnswered,
  onProposal,
  onRetryMeta,
} from './reconfigure.ts'
import { recover } from './recovery.ts'
import type { ReplicaEffect, ReplicaEvent, ReplicaRecord, ReplicaTimer } from './replica-events.ts'
import {
  type LearnStage,
  type ReplicaOptions,
  type ReplicaState,
  type Step,
  answer,
  applyMore,
  endRoles,
  fail,
  initialState,
  persist,
  trace,
} from './replica-state.ts'
import { adoptMemberConfiguration, onDisconnected } from './roles.ts'
import { commitTo, markLogged, onLoggedBySecondary, onPrepare } from './secondary.ts'
import type { ReplicaStatus } from './trace.ts'
import {
  admissionProblem,
  commitReady,
  onPrepareAnswered,
  onResendPrepare,
  onWrite,
  startWrites,
} from './two-phase-commit.ts'

export interface Now {
  readonly monotonicMs: number
  /** Unix time; only for timestamps of mutations. */
  readonly wallUs: number
}

export interface ReplicaGiven {
  readonly gpid: Gpid
  readonly self: string
  readonly options: ReplicaOptions
  readonly info: AppInfo
  readonly record: ReplicaRecord
  /** Decree and largest timestamp that the engine holds. */
  readonly applied: number
  readonly lastTimestampUs: number
  readonly nowMs: number
}

/** What the outside may know of a replica between two steps. */
export interface ReplicaView {
  readonly gpid: Gpid
  readonly info: AppInfo
  readonly status: ReplicaStatus
  readonly transient: boolean
  readonly ballot: number
  readonly primary: string
  readonly secondaries: readonly string[]
  readonly applied: number
  readonly committed: number
  readonly lastPrepared: number
  readonly maxDecree: number
  readonly learning: LearnStage | undefined
  readonly lastConfigChangeMs: number
  readonly queuedWrites: number
  readonly updatePending: boolean
  readonly closed: boolean
}

/** Events held back until a ballot is durable; more are dropped (and answered with silence). */
const STASH_MAX = 4096

export class Replica {
  readonly #state: ReplicaState

  private constructor(state: ReplicaState) {
    this.#state = state
  }

  /** A partition that this server never had. */
  static create(given: ReplicaGiven): Replica {
    return new Replica(initialState({ ...given, restarted: false }))
  }

  /** From disk; the effects come before any other. */
  static recover(
    given: ReplicaGiven,
    mutations: readonly Mutation[],
  ): { readonly replica: Replica; readonly effects: readonly ReplicaEffect[] } {
    const { state, effects } = recover(given, mutations)
    return { replica: new Replica(state), effects }
  }

  step(event: ReplicaEvent, now: Now): readonly ReplicaEffect[] {
    const step: Step = {
      state: this.#state,
      nowMs: now.monotonicMs,
      nowUs: now.wallUs,
      out: [],
    }
    dispatch(step, event)
    return step.out
  }

  view(): ReplicaView {
    const state = this.#state
    return {
      gpid: state.gpid,
      info: state.info,
      status: state.status,
      transient: state.transient,
      ballot: state.ballot,
      primary: state.config.primary,
      secondaries: state.config.secondaries,
      applied: state.applied,
      committed: state.list.committed,
      lastPrepared: state.list.lastPrepared(),
      maxDecree: state.list.maxDecree,
      learning: state.learning?.stage,
      lastConfigChangeMs: state.lastConfigChangeMs,
      queuedWrites: state.queue.count,
      updatePending: state.update !== undefined,
      closed: state.closed,
    }
  }

  /** Description of the table, as last heard; cheap. */
  get appInfo(): AppInfo {
    return this.#state.info
  }

  /**
   * For config sync and queries of the meta server. Data with holes count as none, for who has lost
   * all members of a partition must not build on them (meta-server.md 9.3).
   */
  info(durable: number): ReplicaInfo {
    const state = this.#state
    if (state.record.incomplete || state.recordWanted.incomplete)
      return unusableReplica(state, wireStatus[state.status])
    return ReplicaInfo.make({
      pid: state.gpid,
      ballot: state.ballot,
      status: wireStatus[state.status],
      lastCommittedDecree: state.list.committed,
      lastPreparedDecree: state.list.lastPrepared(),
      lastDurableDecree: durable,
      appType: state.info.appType,
      diskTag: 'default',
    })
  }

  /** Why no write is admitted now; undefined when writes are welcome. */
  writeProblem(): string | undefined {
    return admissionProblem(this.#state)
  }

  /**
   * Why no read is served now (replica-server.md 13); the lease is checked by the caller. A new
   * primary first applies what it inherited.
   */
  readProblem(isBackupRequest: boolean): string | undefined {
    const { status, applied, readGate } = this.#state
    if (isBackupRequest)
      return status === 'primary' || status === 'secondary' ? undefined : 'ERR_INVALID_STATE'
    return status === 'primary' && applied >= readGate ? undefined : 'ERR_INVALID_STATE'
  }
}

/** The ballot that an event would have the replica act under; 0 for those that name none. */
function ballotOf(event: ReplicaEvent): number {
  if (event.type === 'prepare' || event.type === 'remove') return event.config.ballot
  if (event.type === 'proposal' || event.type === 'config-synced')
    return event.request.config.ballot
  if (event.type === 'add-learner' || event.type === 'group-check')
    return event.request.config.ballot
  // A refusal may carry anything, such as the configuration that was asked for and not decided.
  if (event.type === 'meta-answered') return decidedConfig(event)?.ballot ?? 0
  if (event.type === 'learn-answered')
    return event.response?.err === 'ERR_OK' ? event.response.config.ballot : 0
  return 0
}

/** A replica that is there and of no use to anybody as it is. */
export function unusableReplica(
  { gpid, info }: { readonly gpid: Gpid; readonly info: AppInfo },
  status: number,
): ReplicaInfo {
  return ReplicaInfo.make({
    pid: gpid,
    ballot: -1,
    status,
    lastCommittedDecree: -1,
    lastPreparedDecree: -1,
    lastDurableDecree: -1,
    appType: info.appType,
    diskTag: 'default',
  })
}

type Handlers = {
  readonly [K in ReplicaEvent['type']]: (step: Step, event: ReplicaEvent & { type: K }) => void
}

const handlers: Readonly<Record<ReplicaEvent['type'], (step: Step, event: never) => void>> = {
  write: (step, { write }) => onWrite(step, write),
  'start-writes': startWrites,
  logged: onLogged,
  applied: onApplied,
  persisted: (step, { record }) => onPersisted(step, record),
  close: onClose,
  'storage-failed': (step, { reason }) => fail(step, 'storage-failed', reason),
  timer: (step, { timer }) => onTimer(step, timer),
  connected: ({ state }) => {
    state.connected = true
  },
  disconnected: onDisconnected,
  proposal: (step, { request }) => onProposal(step, request),
  'config-synced': (step, { request }) => onConfigSynced(step, request),
  'meta-answered': onMetaAnswered,
  remove: onRemove,
  prepare: onPrepare,
  'prepare-answered': onPrepareAnswered,
  'group-check': onGroupCheck,
  'add-learner': onGroupCheck,
  'group-check-answered': (step, event) => onGroupCheckAnswered(step, event, promote),
  learn: onLearn,
  'log-read': onLogRead,
  'snapshot-opened': onSnapshotOpened,
  'learn-notify': onLearnNotify,
  'learn-answered': onLearnAnswered,
  'notify-answered': onNotifyAnswered,
  'snapshot-copied': onSnapshotCopied,
  'snapshot-failed': (step, { reason }) => onSnapshotFailed(step, reason),
  wiped: onWiped,
  'decree-answered': onDecreeAnswered,
} satisfies Handlers

function dispatch(step: Step, event: ReplicaEvent): void {
  const { state } = step
  if (state.closed) return ignore(step, event)
  const ballot = ballotOf(event)
  if (ballot > state.record.ballot) {
    if (state.stash.length >= STASH_MAX) return ignore(step, event)
    state.stash.push(event)
    return persist(step, { ballot })
  }
  // The table has for each type the handler of that type; the compiler cannot follow the pairing.
  handlers[event.type](step, event as never)
}

/** A closed replica, or too many waiting events: nobody is left without an end. */
function ignore(step: Step, event: ReplicaEvent): void {
  if ('token' in event) answer(step, event.token, { kind: 'silence' })
  if (event.type === 'write')
    step.out.push({ type: 'refuse', ids: [event.write.id], error: 'ERR_OBJECT_NOT_FOUND' })
}

function onClose(step: Step): void {
  endRoles(step)
  step.state.status = 'inactive'
  step.state.transient = false
  step.state.closed = true
  for (const event of step.state.stash.splice(0)) ignore(step, event)
  for (const token of step.state.learns.keys()) answer(step, token, { kind: 'silence' })
  step.state.learns.clear()
  trace(step, () => ({ type: 'closed', cleared: false }))
}

function onLogged(step: Step, event: ReplicaEvent & { type: 'logged' }): void {
  const { state } = step
  state.durablyAppended++
  const entry = markLogged(step, event.ballot, event.decree)
  if (entry !== undefined)
    if (state.status === 'primary') commitReady(step)
    else onLoggedBySecondary(step, entry)
  continueLearning(step)
}

function onApplied(step: Step, event: ReplicaEvent & { type: 'applied' }): void {
  const { state } = step
  if (event.life !== state.life) return
  state.applying = false
  state.applied = event.decree
  trace(step, () => ({ type: 'applied', decree: event.decree }))
  applyMore(step)
  if (state.status === 'primary') startWrites(step)
  continueLearning(step)
}

function onPersisted(step: Step, record: ReplicaRecord): void {
  const { state } = step
  if (record.ballot > state.record.ballot)
    trace(step, () => ({ type: 'ballot-persisted', ballot: record.ballot }))
  state.record = record
  state.recordInFlight = undefined
  persist(step, {})
  for (const event of state.stash.splice(0)) dispatch(step, event)
  continueLearning(step)
}

function onTimer(step: Step, timer: ReplicaTimer): void {
  switch (timer.kind) {
    case 'group-check':
      return onGroupCheckTimer(step, timer.round)
    case 'retry-meta':
      return onRetryMeta(step, timer.attempt)
    case 'resend-prepare':
      return onResendPrepare(step, timer)
    case 'retry-learn':
      return onRetryLearn(step, timer.signature)
    case 'retry-notify':
      return onRetryNotify(step, timer.signature)
    case 'handshake-over':
      return onHandshakeOver(step, timer.ballot)
  }
}

/** The receiver's side of a group check, and of being called as a learner (RS 10.1 and 11). */
function onGroupCheck(
  step: Step,
  event: ReplicaEvent & { type: 'group-check' | 'add-learner' },
): void {
  const { state } = step
  const { config, lastCommittedDecree } = event.request
  const done = (err: string): void => {
    if (event.type === 'group-check') answerGroupCheck(step, event.token, err)
  }
  if (!state.connected) return done('ERR_INACTIVE_STATE')
  if (config.ballot < state.ballot) return done('ERR_VERSION_OUTDATED')
  const wanted = config.status === PartitionStatus.PS_POTENTIAL_SECONDARY
  const changed = config.ballot > state.ballot || wireStatus[state.status] !== config.status
  if (changed && !adoptMemberConfiguration(step, config))
    return done(
      state.status === 'inactive' && state.transient ? 'ERR_INACTIVE_STATE' : 'ERR_INVALID_STATE',
    )
  learnInfo(step, { info: event.request.app })
  if (wanted) startLearning(step, config.learnerSignature)
  else if (state.status === 'secondary' && !commitTo(step, lastCommittedDecree))
    return done('ERR_INVALID_STATE')
  done('ERR_OK')
}

/** The primary has removed this member; a newer ballot says so. */
function onRemove(step: Step, { config }: ReplicaEvent & { type: 'remove' }): void {
  if (config.ballot > step.state.ballot) adoptMemberConfiguration(step, config)
}
