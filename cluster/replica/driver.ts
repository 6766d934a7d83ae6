/**
 * Carries out what one replica decides: log, engine, calls to peers and to the meta server, timers.
 * Turns every completion into an event for `replica.ts`. It decides nothing itself but one thing:
 * whether the lease still allows an answer to a client at the moment it is given.
 *
 * Engine work of a replica runs one job after the other (replica-server.md E4).
 */
import { gpidText } from '../protocol/base.ts'
import type {
  ConfigurationUpdateRequest,
  ConfigurationUpdateResponse,
} from '../protocol/meta-admin.ts'
import { encode } from '../protocol/binary.ts'
import { AppInfo } from '../protocol/layer2.ts'
import type { Peers } from '../rpc/peers.ts'
import type { Log, Runtime, Timer } from '../runtime/runtime.ts'
import type { LogRecord } from '../storage/log-record.ts'
import type { MutationLog } from '../storage/mutation-log.ts'
import type { ReplicaStore } from '../storage/replica-store.ts'
import type { ReadAnswer, ReadRequest, ReplicaApp, ReplicaAppKind } from './app.ts'
import type { ReplicaMetrics } from './metrics.ts'
import { fromLogRecord, toLogRecord } from './mutation.ts'
import { callPeer } from './peer-calls.ts'
import type { Replica, ReplicaView } from './replica.ts'
import { type StoredRecord, writeInfo, writeRecord } from './replica-record.ts'
import type {
  Answered,
  ReplicaAlarm,
  ReplicaAnswer,
  ReplicaEffect,
  ReplicaEvent,
} from './replica-events.ts'
import { type Snapshots, copySnapshot } from './snapshots.ts'
import type { ObserveReplica, ReplicaTraceEvent } from './trace.ts'
import { WaitingClients, type WriteAnswer } from './waiting-clients.ts'

export interface DriverContext {
  readonly runtime: Runtime
  /** `ip:port` of this server. */
  readonly self: string
  readonly log: MutationLog
  readonly peers: Peers
  readonly snapshots: Snapshots
  readonly kind: ReplicaAppKind
  readonly metrics: ReplicaMetrics
  readonly observe: ObserveReplica | undefined
  readonly leaseValid: () => boolean
  readonly updateMeta: (
    request: ConfigurationUpdateRequest,
  ) => Promise<Answered<ConfigurationUpdateResponse>>
  /** The replica has stopped for a reason of its own. */
  readonly onFailed: (driver: ReplicaDriver, reason: string) => void
}

export class ReplicaDriver {
  readonly #context: DriverContext
  readonly #replica: Replica
  readonly #store: ReplicaStore
  readonly #log: Log
  readonly #gpidText: string
  #app: ReplicaApp
  #record: StoredRecord
  #infoBytes: Buffer
  /** The last of the chain of engine jobs; never rejects. */
  #jobs: Promise<void> = Promise.resolve()
  #lastAppend: Promise<void> = Promise.resolve()
  readonly #timers = new Set<Timer>()
  readonly #tokens = new Map<number, (answer: ReplicaAnswer) => void>()
  readonly #clients = new WaitingClients()
  #nextNumber = 0
  #durableNoted = 0
  #closed = false

  constructor(
    context: DriverContext,
    given: {
      readonly replica: Replica
      readonly store: ReplicaStore
      readonly record: StoredRecord
    },
  ) {
    this.#context = context
    this.#replica = given.replica
    this.#store = given.store
    this.#record = given.record
    this.#gpidText = gpidText(given.store.gpid)
    this.#log = context.runtime.log.child({ gpid: this.#gpidText })
    this.#infoBytes = encode(AppInfo, given.replica.view().info)
    this.#app = this.#openApp()
  }

  get store(): ReplicaStore {
    return this.#store
  }

  view(): ReplicaView {
    return this.#replica.view()
  }

  get replica(): Replica {
    return this.#replica
  }

  /** One event; also the effects that a recovery left. */
  dispatch(event: ReplicaEvent): void {
    const { clock } = this.#context.runtime
    const now = { monotonicMs: clock.monotonicMs(), wallUs: Math.floor(clock.wallMs() * 1000) }
    this.run(this.#replica.step(event, now))
  }

  run(effects: readonly ReplicaEffect[]): void {
    for (const effect of effects) this.#carryOut(effect)
  }

  /** A peer's request that gets one answer. */
  ask(event: (token: number) => ReplicaEvent): Promise<ReplicaAnswer> {
    return new Promise((resolve) => {
      const token = this.#nextNumber++
      this.#tokens.set(token, resolve)
      this.dispatch(event(token))
    })
  }

  write(given: {
    readonly code: string
    readonly body: Buffer
    readonly batchable: boolean
    readonly deadlineAtMs: number
  }): Promise<WriteAnswer> {
    return new Promise((resolve) => {
      const id = this.#nextNumber++
      this.#clients.add(id, { resolve, deadlineAtMs: given.deadlineAtMs })
      this.dispatch({ type: 'write', write: { id, ...given } })
    })
  }

  /** The caller has checked role and lease. */
  read(request: ReadRequest, isBackupRequest: boolean): Promise<ReadAnswer> {
    if (!isBackupRequest && this.#context.observe !== undefined) {
      const { ballot, applied } = this.#replica.view()
      this.#trace({ type: 'read-served', ballot, applied })
    }
    return this.#app.read(request)
  }

  /** After a sync of the engine: tells an observer how far the data are durable by themselves. */
  noteDurable(): void {
    const decree = this.#store.durableDecree
    if (decree === this.#durableNoted || this.#record.incomplete) return
    // Learning may be about to throw these data away.
    if (this.#replica.view().status === 'potential-secondary') return
    this.#durableNoted = decree
    this.#trace({ type: 'durable', decree })
  }

  /** Clients that gave up are answered (the outcome is unknown) and forgotten. */
  expireClients(nowMs: number): void {
    this.#clients.expire(nowMs)
  }

  /** Ends everything; data and record stay. Resolves when no job is running any more. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.dispatch({ type: 'close' })
      this.#closed = true
      for (const timer of this.#timers) timer.cancel()
      this.#clients.expire(Number.POSITIVE_INFINITY)
      for (const token of this.#tokens.keys()) this.#answerToken(token, { kind: 'silence' })
    }
    await this.#jobs
    await this.#app.close()
  }

  /** Changes the record of a closed replica. */
  async amendRecord(changes: Partial<StoredRecord>): Promise<void> {
    this.#record = { ...this.#record, ...changes }
    await writeRecord(this.#store, this.#record)
  }

  get record(): StoredRecord {
    return this.#record
  }

  #openApp(): ReplicaApp {
    const { runtime, self, kind } = this.#context
    const { info, gpid } = this.#replica.view()
    return kind.open({
      runtime,
      store: this.#store,
      gpid,
      server: self,
      envs: info.envs,
      partitionCount: info.partitionCount,
    })
  }

  #carryOut(effect: ReplicaEffect): void {
    const { runtime, peers } = this.#context
    switch (effect.type) {
      case 'send':
        return callPeer({ runtime, peers }, effect, this.#store.gpid, (event) => {
          this.#later(event)
        })
      case 'answer':
        return this.#answerToken(effect.token, effect.answer)
      case 'refuse':
        return this.#clients.refuse(effect.ids, effect.error)
      case 'append':
        return this.#append(effect)
      case 'apply':
        return this.#job(() => this.#apply(effect))
      case 'persist':
        return this.#job(() => this.#persist(effect))
      case 'update-meta':
        return this.#updateMeta(effect)
      case 'timer':
        return this.#after(effect.delayMs, { type: 'timer', timer: effect.timer })
      case 'start-writes-soon':
        return runtime.timers.soon(() => {
          this.#later({ type: 'start-writes' })
        })
      case 'read-log':
      case 'open-snapshot':
      case 'copy-snapshot':
      case 'wipe':
        return this.#carryOutLearning(effect)
      case 'info-changed':
        return this.#infoChanged()
      case 'alarm':
        return this.#alarm(effect.alarm, effect.message)
      case 'trace':
        return this.#trace(effect.event)
      case 'close':
        return this.#context.onFailed(this, effect.reason)
    }
  }

  #carryOutLearning(
    effect: ReplicaEffect & { type: 'read-log' | 'open-snapshot' | 'copy-snapshot' | 'wipe' },
  ): void {
    switch (effect.type) {
      case 'read-log':
        void this.#readLog(effect)
        return
      case 'open-snapshot':
        void this.#openSnapshot(effect)
        return
      case 'copy-snapshot':
        return this.#job(() => this.#copySnapshot(effect))
      case 'wipe':
        return this.#job(() => this.#wipe())
    }
  }

  /** Completions that come after the end say nothing. */
  #later(event: ReplicaEvent): void {
    if (!this.#closed) this.dispatch(event)
  }

  #after(delayMs: number, event: ReplicaEvent): void {
    const timer = this.#context.runtime.timers.after(delayMs, () => {
      this.#timers.delete(timer)
      this.#later(event)
    })
    this.#timers.add(timer)
  }

  /** Jobs on the engine: in order, one at a time; a failed one ends the replica. */
  #job(run: () => Promise<void>): void {
    this.#jobs = this.#jobs.then(async () => {
      if (this.#closed) return
      try {
        await run()
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        this.#log.error('replica: storage failed', { error })
        this.#later({ type: 'storage-failed', reason })
      }
    })
  }

  #append({ mutation }: ReplicaEffect & { type: 'append' }): void {
    const { log, runtime } = this.#context
    const { ballot, decree } = mutation
    this.#lastAppend = log.append(toLogRecord(this.#store.gpid, mutation)).then(
      () => {
        this.#later({ type: 'logged', ballot, decree })
      },
      (error: unknown) => {
        if (this.#closed) return
        // Nothing can be acknowledged without the log, by no replica (replica-server.md 8.3, L5).
        if (log.failure() !== undefined) runtime.crash('the mutation log failed', { error })
        this.#later({ type: 'storage-failed', reason: String(error) })
      },
    )
  }

  async #apply(effect: ReplicaEffect & { type: 'apply' }): Promise<void> {
    const { mutations, clients, life } = effect
    const results = await this.#app.apply(mutations)
    const decree = mutations.at(-1)?.decree ?? 0
    if (clients.some((ofMutation) => ofMutation.length > 0)) {
      const leaseValid = this.#context.leaseValid()
      for (const [index, mutation] of mutations.entries()) {
        const count = this.#clients.settle(clients[index] ?? [], results[index] ?? [], leaseValid)
        if (count === 0) continue
        this.#context.metrics.committedRequests.add(count)
        const { ballot, decree: acknowledged } = mutation
        this.#trace({ type: 'write-acknowledged', ballot, decree: acknowledged })
      }
    }
    this.#later({ type: 'applied', decree, life })
  }

  async #persist({ record }: ReplicaEffect & { type: 'persist' }): Promise<void> {
    let { logStart } = this.#record
    // Learning begins: what was logged and is not known to be committed is given up.
    if (record.incomplete && !this.#record.incomplete) logStart = await this.#freshLogStart()
    this.#record = { ...this.#record, ...record, logStart }
    await writeRecord(this.#store, this.#record)
    this.#later({ type: 'persisted', record })
  }

  async #freshLogStart(): Promise<number> {
    await this.#lastAppend
    return this.#context.log.endOffset()
  }

  #updateMeta({ attempt, request }: ReplicaEffect & { type: 'update-meta' }): void {
    void this.#context.updateMeta(request).then((answered) => {
      this.#later({ type: 'meta-answered', attempt, ...answered })
    })
  }

  async #readLog(effect: ReplicaEffect & { type: 'read-log' }): Promise<void> {
    const { token, fromDecree, toDecree, bytesMax } = effect
    let records: readonly LogRecord[] = []
    try {
      const { logStart } = this.#record
      const { gpid } = this.#store
      records = await this.#context.log.read(gpid, fromDecree, toDecree, bytesMax, logStart)
    } catch (error) {
      this.#log.warn('log not readable for a learner', { error })
    }
    this.#later({ type: 'log-read', token, mutations: records.map(fromLogRecord) })
  }

  async #openSnapshot(effect: ReplicaEffect & { type: 'open-snapshot' }): Promise<void> {
    const { token, learner, signature } = effect
    const { snapshots } = this.#context
    try {
      const snapshot = await snapshots.open(this.#store, `${learner} ${signature}`)
      this.#later({ type: 'snapshot-opened', token, snapshot })
    } catch (error) {
      this.#log.warn('no snapshot for a learner', { error })
      this.#later({ type: 'snapshot-opened', token, snapshot: undefined })
    }
  }

  async #copySnapshot(effect: ReplicaEffect & { type: 'copy-snapshot' }): Promise<void> {
    const { runtime, peers, metrics } = this.#context
    await this.#renewHistory()
    await this.#app.close()
    let event: ReplicaEvent
    try {
      const watcher = {
        onBytes: (count: number) => metrics.learnCopyBytes.add(count),
        isWanted: () => !this.#closed,
      }
      const point = await copySnapshot({ runtime, peers }, this.#store, effect, watcher)
      const { decree, timestampUs } = point
      event = { type: 'snapshot-copied', decree, timestampUs }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#log.warn('snapshot not copied', { learnee: effect.learnee, reason })
      await this.#store.wipe()
      event = { type: 'snapshot-failed', reason }
    }
    this.#app = this.#openApp()
    this.#later(event)
  }

  async #wipe(): Promise<void> {
    await this.#renewHistory()
    await this.#app.close()
    await this.#store.wipe()
    this.#app = this.#openApp()
    this.#later({ type: 'wiped' })
  }

  async #renewHistory(): Promise<void> {
    this.#record = { ...this.#record, logStart: await this.#freshLogStart() }
    await writeRecord(this.#store, this.#record)
  }

  #infoChanged(): void {
    const info = this.#replica.appInfo
    const bytes = encode(AppInfo, info)
    if (bytes.equals(this.#infoBytes)) return
    this.#infoBytes = bytes
    this.#app.setEnvs(info.envs)
    this.#job(() => writeInfo(this.#store, info))
  }

  #alarm(kind: ReplicaAlarm, message: string): void {
    const { metrics } = this.#context
    metrics.alarms.add()
    if (kind === 'learn-reset') metrics.learnResets.add()
    if (kind === 'content-mismatch') metrics.contentMismatch.add()
    if (kind === 'lost-tail') this.#log.warn('replica: behind its secondaries', { message })
    else this.#log.error(`replica: ${kind}`, { message })
  }

  #trace(event: ReplicaTraceEvent): void {
    const { observe, self, runtime } = this.#context
    observe?.({ node: self, gpid: this.#store.gpid, atMs: runtime.clock.monotonicMs(), event })
  }

  #answerToken(token: number, answer: ReplicaAnswer): void {
    const resolve = this.#tokens.get(token)
    this.#tokens.delete(token)
    resolve?.(answer)
  }
}
