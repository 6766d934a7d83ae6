/**
 * One cluster as seen from here: the group of its meta servers (gateway.md 4). Asks the leader,
 * follows forwards, asks the others when it is silent, and always tells the question within the
 * deadline: a frame to relay, or nothing (W-6). An answer that would lead a client away from the
 * gateway never leaves this file (W-12).
 *
 * A known leader that answers in time is the rule: such a question goes straight to its connection,
 * and nothing is kept of it here. Anything else makes it a search. When nobody is left to ask: metas
 * that refused or reset count as dead, and the search ends at once; metas that say nothing are given
 * up when they have been silent for `silenceMs`; a meta that is alive but knows no leader is worth
 * waiting for, up to the deadline, because one is being elected.
 */
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { Batch } from '../batch.ts'
import { readMetaAnswer } from './meta-answer.ts'
import { MetaConnection, type ReplyTaker } from './meta-connection.ts'
import { MetaNames } from './meta-names.ts'
import type { UpstreamMetrics } from '../metrics.ts'
import type { Question } from '../question.ts'
import type { ReplyStream } from './reply-stream.ts'
import { type Attempt, type Frame, type Search, copyOf, newSearch } from './search.ts'

export interface UpstreamOptions {
  readonly connectTimeoutMs: number
  /** A leader silent for this long: the others are asked as well (M-4). */
  readonly hedgeMs: number
  /** Metas silent for this long are given up when nothing else is being tried. */
  readonly silenceMs: number
  /** Names are resolved again when the last answer is older. */
  readonly resolveMs: number
}

const HOPS_MAX = 3
const BACKOFF_LAST_MS = 400
const SWEEP_MS = 25
/** A meta that refused is not dialled again for this long. */
const REDIAL_MS = 100
const LEARNED_MAX = 16

export class MetaGroup {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #batch: Batch
  readonly #options: UpstreamOptions
  readonly #metrics: UpstreamMetrics
  readonly #names: MetaNames
  readonly #metaCount: number
  readonly #connections = new Map<string, MetaConnection>()
  /** When a dial or connection failed last; also holds leaders that are in no list. */
  readonly #failedAtMs = new Map<string, number>()
  readonly #searches = new Set<Search>()
  #leader: string | undefined
  /** The leader's, while it is of use. */
  #leaderConnection: MetaConnection | undefined
  /** Takes the replies to questions that went straight to the leader. */
  readonly #straight: ReplyTaker
  #straightCount = 0
  #sweepTimer: Timer | undefined
  #usedAtMs: number
  #closed = false

  constructor(
    runtime: Runtime,
    batch: Batch,
    metas: readonly string[],
    metrics: UpstreamMetrics,
    options: UpstreamOptions,
  ) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'upstream', metas: metas.join(',') })
    this.#batch = batch
    this.#options = options
    this.#metrics = metrics
    this.#names = new MetaNames(runtime, this.#log, metas, options.resolveMs)
    this.#metaCount = metas.length
    this.#usedAtMs = runtime.clock.monotonicMs()
    this.#straight = {
      onReply: (connection, _seqid, reply) => this.#onStraightReply(connection, reply),
      onLost: (connection, _seqid, question) => {
        this.#straightCount--
        this.#metrics.failed.add()
        this.#advance(this.#search(question, connection.address))
      },
    }
  }

  get leader(): string | undefined {
    return this.#leader
  }

  get inFlight(): number {
    return this.#searches.size + this.#straightCount
  }

  get usedAtMs(): number {
    return this.#usedAtMs
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** The question is told once, in a later turn. */
  ask(question: Question, nowMs: number): void {
    this.#usedAtMs = nowMs
    this.#scheduleSweep()
    if (this.#names.isStale(nowMs)) {
      const resolved = this.#names.resolve()
      if (this.#names.endpoints.length === 0) {
        const search = this.#search(question)
        void resolved.then(() => this.#advance(search))
        return
      }
    }
    const seqid = this.#leaderConnection?.send(question, this.#straight, nowMs) ?? -1
    if (seqid < 0) {
      this.#start(this.#search(question))
      return
    }
    this.#metrics.asked.add()
    this.#straightCount++
  }

  /** Idempotent; every question is told that nobody answered. */
  close(): void {
    this.#closed = true
    this.#sweepTimer?.cancel()
    for (const search of this.#searches) this.#finish(search, undefined)
    for (const connection of this.#connections.values()) connection.close('group closed')
  }

  #onStraightReply(connection: MetaConnection, reply: ReplyStream): void {
    const { question } = connection
    if (question === undefined) return
    this.#straightCount--
    if (!reply.isPlain) {
      this.#onAnswer(this.#search(question, connection.address), connection, reply)
      return
    }
    if (this.#leaderConnection !== connection) this.#setLeader(connection)
    const { bytes, start, end, seqidAt } = reply
    question.answered(bytes, start, end, seqidAt, connection.heardAtMs)
  }

  /** From now on the question is looked after here. */
  #search(question: Question, tried?: string): Search {
    const search: Search = newSearch(question, {
      onReply: (connection, seqid, reply) => {
        if (this.#dropAttempt(search, connection, seqid)) this.#onAnswer(search, connection, reply)
      },
      onLost: (connection, seqid) => {
        if (!this.#dropAttempt(search, connection, seqid)) return
        this.#metrics.failed.add()
        this.#advance(search)
      },
    })
    if (tried !== undefined) search.tried.add(tried)
    this.#searches.add(search)
    return search
  }

  #start(search: Search): void {
    const leader = this.#leader
    if (leader === undefined || !this.#ask(search, leader)) this.#advance(search)
  }

  /** Whether the question is on its way to that address. */
  #ask(search: Search, address: string): boolean {
    search.tried.add(address)
    const connection = this.#connectionTo(address)
    if (connection === undefined) return false
    const startedAtMs = this.#runtime.clock.monotonicMs()
    const seqid = connection.send(search.question, search.taker, startedAtMs)
    if (seqid < 0) return false
    this.#metrics.asked.add()
    search.attempts.push({ connection, startedAtMs, seqid })
    return true
  }

  #connectionTo(address: string): MetaConnection | undefined {
    const existing = this.#connections.get(address)
    if (existing !== undefined) return existing
    const failedAtMs = this.#failedAtMs.get(address) ?? -Infinity
    if (this.#closed || this.#runtime.clock.monotonicMs() - failedAtMs < REDIAL_MS) return undefined
    const { connectTimeoutMs } = this.#options
    const connection = new MetaConnection(
      this.#runtime,
      this.#batch,
      { address, connectTimeoutMs },
      (down) => this.#onDown(down),
    )
    this.#connections.set(address, connection)
    return connection
  }

  #onDown(connection: MetaConnection): void {
    const { address } = connection
    if (this.#connections.get(address) === connection) this.#connections.delete(address)
    if (this.#failedAtMs.size > LEARNED_MAX + this.#metaCount) this.#failedAtMs.clear()
    this.#failedAtMs.set(address, this.#runtime.clock.monotonicMs())
    this.#dropLeader(address)
  }

  /** False when nobody waits for that attempt any more. */
  #dropAttempt(search: Search, connection: MetaConnection, seqid: number): boolean {
    if (!this.#searches.has(search)) return false
    search.attempts = search.attempts.filter(
      (other) => other.connection !== connection || other.seqid !== seqid,
    )
    return true
  }

  #onAnswer(search: Search, connection: MetaConnection, reply: ReplyStream): void {
    const answer = readMetaAnswer(reply.frame())
    switch (answer.kind) {
      case 'answer':
        this.#setLeader(connection)
        this.#finish(search, reply)
        return
      case 'not-ready':
        search.someoneAlive = true
        search.notReady = copyOf(reply)
        this.#setLeader(connection)
        this.#planRetry(search)
        return
      case 'forward':
        search.someoneAlive = true
        this.#dropLeader(connection.address)
        this.#follow(search, answer.leader)
        return
      default:
        answer satisfies never
    }
  }

  #setLeader(connection: MetaConnection): void {
    const { address } = connection
    if (this.#connections.get(address) === connection) this.#leaderConnection = connection
    if (this.#leader === address) return
    this.#leader = address
    const isListed = this.#names.endpoints.includes(address)
    this.#log.info('meta leader', { leader: address, isListed })
  }

  #dropLeader(address: string): void {
    if (this.#leader !== address) return
    this.#leader = undefined
    this.#leaderConnection = undefined
  }

  #follow(search: Search, leader: string | undefined): void {
    const isAsked = search.attempts.some(({ connection }) => connection.address === leader)
    if (leader !== undefined && !isAsked && search.hops < HOPS_MAX) {
      search.hops++
      this.#metrics.forwardsFollowed.add()
      if (this.#ask(search, leader)) return
    }
    this.#advance(search)
  }

  /** Asks somebody who was not asked yet; when there is nobody, decides what to wait for. */
  #advance(search: Search): void {
    if (!this.#searches.has(search)) return
    if (search.attempts.length > 0 || search.retryAtMs > 0) return
    for (const address of this.#names.endpoints)
      if (!search.tried.has(address) && this.#ask(search, address)) return
    if (search.someoneAlive) {
      this.#planRetry(search)
      return
    }
    if (!search.hasResolvedAgain && this.#names.isNamed && !this.#closed) {
      // A failed round: the names may mean other addresses by now.
      search.hasResolvedAgain = true
      void this.#names.resolve().then(() => this.#advance(search))
      return
    }
    this.#finishLater(search)
  }

  #planRetry(search: Search): void {
    if (search.retryAtMs > 0) return
    search.retryAtMs = this.#runtime.clock.monotonicMs() + search.backoffMs
    search.backoffMs = Math.min(BACKOFF_LAST_MS, search.backoffMs * 2)
  }

  /** Nobody to ask: told in a later turn, as every answer is. */
  #finishLater(search: Search): void {
    this.#runtime.timers.soon(() => this.#finish(search, search.notReady))
  }

  #finish(search: Search, frame: Frame | undefined): void {
    if (!this.#searches.delete(search)) return
    for (const { connection, seqid } of search.attempts) connection.forget(seqid)
    if (frame === undefined) {
      search.question.unanswered()
      return
    }
    const { bytes, start, end, seqidAt } = frame
    search.question.answered(bytes, start, end, seqidAt, this.#runtime.clock.monotonicMs())
  }

  #scheduleSweep(): void {
    this.#sweepTimer ??= this.#runtime.timers.after(SWEEP_MS, () => {
      this.#sweepTimer = undefined
      const nowMs = this.#runtime.clock.monotonicMs()
      const connections = [...this.#connections.values()]
      for (const connection of connections) this.#sweepStraight(connection, nowMs)
      for (const search of this.#searches) this.#sweep(search, nowMs)
      for (const connection of connections) connection.checkSilence(nowMs)
      if (this.inFlight > 0 && !this.#closed) this.#scheduleSweep()
    })
  }

  /** Questions that wait too long for their one answer become searches. */
  #sweepStraight(connection: MetaConnection, nowMs: number): void {
    connection.forEachOf(this.#straight, (seqid, question, startedAtMs) => {
      if (nowMs < question.deadlineMs && nowMs - startedAtMs < this.#options.hedgeMs) return
      this.#straightCount--
      const search = this.#search(question, connection.address)
      search.attempts.push({ connection, seqid, startedAtMs })
      connection.give(seqid, search.taker)
    })
  }

  #sweep(search: Search, nowMs: number): void {
    if (nowMs >= search.question.deadlineMs) {
      this.#finish(search, search.notReady)
      return
    }
    if (search.retryAtMs > 0 && nowMs >= search.retryAtMs) {
      this.#retry(search)
      return
    }
    const [first] = search.attempts
    if (first === undefined) return
    if (!search.isHedged && nowMs - first.startedAtMs >= this.#options.hedgeMs) this.#hedge(search)
    if (search.attempts.every((attempt) => this.#isSilent(attempt, nowMs))) this.#giveUp(search)
  }

  /** A new round: everybody may be asked again, the leader first. */
  #retry(search: Search): void {
    search.retryAtMs = 0
    search.hops = 0
    search.tried.clear()
    this.#start(search)
  }

  #hedge(search: Search): void {
    search.isHedged = true
    this.#metrics.hedges.add()
    for (const address of this.#names.endpoints)
      if (!search.tried.has(address)) this.#ask(search, address)
  }

  /** A meta that answers others is slow, not gone. */
  #isSilent({ connection, startedAtMs }: Attempt, nowMs: number): boolean {
    return nowMs - Math.max(startedAtMs, connection.heardAtMs) >= this.#options.silenceMs
  }

  #giveUp(search: Search): void {
    for (const { connection, seqid } of search.attempts) {
      connection.forget(seqid)
      this.#dropLeader(connection.address)
    }
    search.attempts = []
    if (search.someoneAlive) this.#planRetry(search)
    else this.#finish(search, search.notReady)
  }
}
