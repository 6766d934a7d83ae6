/**
 * The questions that a leader did not simply answer (gateway.md 4): who is asked next, what is
 * followed, when a second opinion is sought, and when nobody is left. Every question ends here within
 * its deadline, with a frame to relay or with nothing (W-6); an answer that would lead a client away
 * from the gateway never leaves this file (W-12).
 *
 * When nobody is left to ask: metas that refused or reset count as dead, and the search ends at once;
 * metas that say nothing are given up when they have been silent for `silenceMs`; a meta that is
 * alive but knows no leader is worth waiting for, up to the deadline, because one is being elected.
 *
 * Addresses with an open breaker are passed over. When that leaves nobody, one search in half a
 * second may ask them all the same, and others wait for what it finds (panic mode, M-5).
 */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { UpstreamMetrics } from '../metrics.ts'
import type { Question } from '../question.ts'
import type { Hedging } from './hedging.ts'
import type { Leader } from './leader.ts'
import { readMetaAnswer } from './meta-answer.ts'
import type { MetaConnection, ReplyTaker } from './meta-connection.ts'
import type { MetaNames } from './meta-names.ts'
import type { MetaPeer } from './meta-peer.ts'
import type { MetaPeers } from './meta-peers.ts'
import type { ReplyStream } from './reply-stream.ts'
import { type Attempt, type Frame, type Search, copyOf, newSearch } from './search.ts'

const HOPS_MAX = 3
const BACKOFF_LAST_MS = 400
const PANIC_MS = 500

export class Searches {
  readonly #runtime: Runtime
  readonly #names: MetaNames
  readonly #peers: MetaPeers
  readonly #leader: Leader
  readonly #hedging: Hedging
  readonly #metrics: UpstreamMetrics
  readonly #leastSilenceMs: number
  readonly #all = new Set<Search>()
  /** The search that passes open breakers, and those that wait for it. */
  #panic: Search | undefined
  #panicAtMs = -Infinity
  readonly #parked = new Set<Search>()
  #closed = false

  constructor(
    runtime: Runtime,
    group: {
      readonly names: MetaNames
      readonly peers: MetaPeers
      readonly leader: Leader
      readonly hedging: Hedging
      readonly metrics: UpstreamMetrics
      readonly silenceMs: number
    },
  ) {
    this.#runtime = runtime
    this.#names = group.names
    this.#peers = group.peers
    this.#leader = group.leader
    this.#hedging = group.hedging
    this.#metrics = group.metrics
    this.#leastSilenceMs = group.silenceMs
  }

  get size(): number {
    return this.#all.size
  }

  /** From now on the question is looked after here; nobody was asked yet, but for `tried`. */
  start(question: Question, tried?: string): void {
    this.#start(this.#add(question, this.#runtime.clock.monotonicMs(), tried))
  }

  /** Nobody can be asked before the names are resolved. */
  startAfter(resolved: Promise<void>, question: Question): void {
    const search = this.#add(question, this.#runtime.clock.monotonicMs())
    void resolved.then(() => this.#advance(search))
  }

  /** Asked already, and waited for too long. */
  takeOver(question: Question, attempt: Attempt): void {
    const { connection, seqid, startedAtMs } = attempt
    const search = this.#add(question, startedAtMs, connection.address)
    search.attempts.push(attempt)
    connection.give(seqid, search.taker)
  }

  /** Asked already; what came back is not what a leader usually says. */
  answered(question: Question, connection: MetaConnection, reply: ReplyStream): void {
    const search = this.#add(question, this.#runtime.clock.monotonicMs(), connection.address)
    this.#onAnswer(search, connection, reply)
  }

  sweep(nowMs: number): void {
    for (const search of this.#all) this.#sweep(search, nowMs)
  }

  /** Every question is told that nobody answered, also those whose connections are lost then. */
  close(): void {
    this.#closed = true
    for (const search of this.#all) this.#finish(search, undefined)
  }

  #add(question: Question, sinceMs: number, tried?: string): Search {
    const taker: ReplyTaker = {
      onReply: (connection, seqid, reply) => {
        if (this.#dropAttempt(search, connection, seqid)) this.#onAnswer(search, connection, reply)
      },
      onLost: (connection, seqid) => {
        if (!this.#dropAttempt(search, connection, seqid)) return
        // One that was up may be just one connection: its server may be asked again.
        if (connection.wasOpen) search.tried.delete(connection.address)
        this.#advance(search)
      },
    }
    const search = newSearch(question, taker, sinceMs)
    if (tried !== undefined) search.tried.add(tried)
    this.#all.add(search)
    return search
  }

  #start(search: Search): void {
    const { peer } = this.#leader
    if (peer !== undefined && !search.tried.has(peer.address))
      if (this.#ask(search, peer, this.#runtime.clock.monotonicMs())) return
    this.#advance(search)
  }

  /** Whether the question is on its way to that meta. */
  #ask(search: Search, peer: MetaPeer, nowMs: number): boolean {
    search.tried.add(peer.address)
    search.askedAtMs = nowMs
    const besides = search.attempts.map((attempt) => attempt.connection)
    const connection = peer.connection(nowMs, besides)
    const seqid = connection?.send(search.question, search.taker, nowMs) ?? -1
    if (connection === undefined || seqid < 0) return false
    search.attempts.push({ connection, startedAtMs: nowMs, seqid })
    return true
  }

  /** False when nobody waits for that attempt any more. */
  #dropAttempt(search: Search, connection: MetaConnection, seqid: number): boolean {
    if (!this.#all.has(search)) return false
    search.attempts = search.attempts.filter(
      (other) => other.connection !== connection || other.seqid !== seqid,
    )
    return true
  }

  #onAnswer(search: Search, connection: MetaConnection, reply: ReplyStream): void {
    const peer = this.#peers.get(connection.address)
    peer?.onAnswer(connection.heardAtMs)
    const answer = readMetaAnswer(reply.frame())
    switch (answer.kind) {
      case 'answer':
        this.#finish(search, reply)
        this.#hasLeader(peer, connection)
        return
      case 'not-ready':
        search.someoneAlive = true
        search.notReady = copyOf(reply)
        this.#planRetry(search)
        this.#hasLeader(peer, connection)
        break
      case 'forward':
        search.someoneAlive = true
        this.#leader.drop(peer)
        this.#follow(search, answer.leader)
        break
      default:
        answer satisfies never
    }
    if (search === this.#panic) this.#endPanic()
  }

  /** Those who wait for somebody else ask a new leader, once this turn's answers are read. */
  #hasLeader(peer: MetaPeer | undefined, connection: MetaConnection): void {
    if (!this.#leader.set(peer, connection) || this.#all.size === 0) return
    this.#runtime.timers.soon(() => {
      if (!this.#closed) this.sweep(this.#runtime.clock.monotonicMs())
    })
  }

  /** Whoever was asked in this round has no better answer than it gave then. */
  #follow(search: Search, leader: string | undefined): void {
    if (leader !== undefined && !search.tried.has(leader) && search.hops < HOPS_MAX) {
      const peer = this.#peers.learn(leader)
      if (peer !== undefined) {
        search.hops++
        this.#metrics.forwardsFollowed.add()
        if (this.#ask(search, peer, this.#runtime.clock.monotonicMs())) return
      }
    }
    this.#advance(search)
  }

  /** Asks somebody who was not asked yet; when there is nobody, decides what to wait for. */
  #advance(search: Search): void {
    if (!this.#all.has(search) || search.attempts.length > 0 || search.retryAtMs > 0) return
    const nowMs = this.#runtime.clock.monotonicMs()
    const next = this.#askNext(search, nowMs)
    if (next === 'asked') return
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
    if (next === 'barred' && this.#mayPanic(search, nowMs)) return
    // Nobody to ask: told in a later turn, as every answer is.
    this.#runtime.timers.soon(() => this.#finish(search, search.notReady))
  }

  /** `barred`: there are others, but their breakers are open. Those in trouble come last. */
  #askNext(search: Search, nowMs: number): 'asked' | 'barred' | 'nobody' {
    const troubled: MetaPeer[] = []
    let isBarred = false
    const asks = (peer: MetaPeer): boolean => {
      const isAdmitted = search.isPanic || peer.admits(nowMs)
      if (!isAdmitted) isBarred = true
      return isAdmitted && this.#ask(search, peer, nowMs)
    }
    for (const peer of this.#peers.all()) {
      if (search.tried.has(peer.address)) continue
      if (peer.isGone(nowMs) || peer.isSilent(this.#hedging.waitMs, nowMs)) troubled.push(peer)
      else if (asks(peer)) return 'asked'
    }
    if (!search.isLate) for (const peer of troubled) if (asks(peer)) return 'asked'
    return isBarred ? 'barred' : 'nobody'
  }

  /** Whether the search goes on: past the breakers, or when the one that passed them knows more. */
  #mayPanic(search: Search, nowMs: number): boolean {
    if (nowMs - this.#panicAtMs >= PANIC_MS) {
      this.#panicAtMs = nowMs
      search.isPanic = true
      if (this.#askNext(search, nowMs) === 'asked') {
        this.#panic = search
        return true
      }
    }
    if (this.#panic === undefined) return false
    this.#parked.add(search)
    return true
  }

  #endPanic(): void {
    this.#panic = undefined
    const parked = [...this.#parked]
    this.#parked.clear()
    for (const search of parked) if (this.#all.has(search)) this.#start(search)
  }

  #planRetry(search: Search): void {
    if (search.retryAtMs > 0) return
    search.retryAtMs = this.#runtime.clock.monotonicMs() + search.backoffMs
    search.backoffMs = Math.min(BACKOFF_LAST_MS, search.backoffMs * 2)
  }

  #finish(search: Search, frame: Frame | undefined): void {
    if (!this.#all.delete(search)) return
    this.#parked.delete(search)
    for (const { connection, seqid } of search.attempts) connection.forget(seqid)
    if (frame === undefined) search.question.unanswered()
    else {
      const { bytes, start, end, seqidAt } = frame
      search.question.answered(bytes, start, end, seqidAt, this.#runtime.clock.monotonicMs())
    }
    if (search === this.#panic && !this.#closed) this.#endPanic()
  }

  #sweep(search: Search, nowMs: number): void {
    if (nowMs >= search.question.deadlineMs) {
      this.#giveUpAttempts(search, nowMs)
      this.#finish(search, search.notReady)
      return
    }
    const { peer, sinceMs } = this.#leader
    const isNews = peer !== undefined && sinceMs > search.askedAtMs
    if (search.retryAtMs > 0 && (isNews || nowMs >= search.retryAtMs)) {
      this.#retry(search, nowMs)
      return
    }
    if (isNews && this.#ask(search, peer, nowMs)) return
    const [first] = search.attempts
    const isLate = nowMs - search.roundAtMs >= this.#silenceMs()
    if (first === undefined) {
      if (isLate && this.#parked.has(search)) this.#finish(search, search.notReady)
      return
    }
    if (!search.isHedged && nowMs - first.startedAtMs >= this.#hedging.waitMs)
      this.#hedge(search, first, nowMs)
    if (isLate && search.attempts.every((attempt) => this.#isSilent(attempt, nowMs)))
      this.#giveUp(search, nowMs)
  }

  /** A new round: everybody may be asked again, the leader first. */
  #retry(search: Search, nowMs: number): void {
    search.retryAtMs = 0
    search.hops = 0
    search.roundAtMs = nowMs
    search.askedAtMs = nowMs
    search.isLate = false
    search.tried.clear()
    this.#start(search)
  }

  /** Asks everybody else who is not silent too, and the same one over its other connection. */
  #hedge(search: Search, { connection }: Attempt, nowMs: number): void {
    const { waitMs } = this.#hedging
    const others = this.#peers
      .all()
      .filter(
        (peer) =>
          !search.tried.has(peer.address) &&
          !peer.isSilent(waitMs, nowMs) &&
          (search.isPanic || peer.admits(nowMs)),
      )
    const same = this.#peers.get(connection.address)
    const isStuck = connection.silentMs(nowMs) >= waitMs
    if (isStuck && same?.hasAnother(connection, waitMs, nowMs) === true) others.push(same)
    if (others.length === 0 || !this.#hedging.take(nowMs)) return
    search.isHedged = true
    this.#metrics.hedges.add()
    for (const peer of others) this.#ask(search, peer, nowMs)
  }

  /** In a slow cluster the others get their time after the hedge, too. */
  #silenceMs(): number {
    const leastMs = this.#leastSilenceMs
    return Math.max(leastMs, this.#hedging.waitMs + leastMs / 2)
  }

  /** A meta that answers others is slow, not gone. */
  #isSilent({ connection, startedAtMs }: Attempt, nowMs: number): boolean {
    const silentMs = nowMs - Math.max(startedAtMs, connection.heardAtMs)
    return silentMs >= this.#leastSilenceMs / 2
  }

  #giveUp(search: Search, nowMs: number): void {
    this.#giveUpAttempts(search, nowMs)
    search.isLate = true
    this.#advance(search)
  }

  #giveUpAttempts(search: Search, nowMs: number): void {
    for (const attempt of search.attempts) {
      const { connection, seqid } = attempt
      connection.forget(seqid)
      const peer = this.#peers.get(connection.address)
      peer?.timedOut()
      if (this.#isSilent(attempt, nowMs)) this.#leader.drop(peer)
    }
    search.attempts = []
  }
}
