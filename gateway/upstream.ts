/**
 * One cluster as seen from here: the group of its meta servers (gateway.md 4). Asks the leader,
 * follows forwards, asks the others when it is silent, and always calls back within the deadline:
 * with a frame to relay, or with nothing (W-6). An answer that would lead a client away from the
 * gateway never leaves this file (W-12).
 *
 * When nobody is left to ask: metas that refused or reset count as dead, and the query ends at once;
 * metas that say nothing are given up when they have been silent for `silenceMs`; a meta that is
 * alive but knows no leader is worth waiting for, up to the deadline, because one is being elected.
 */
import type { ReplyFrame } from '../cluster/protocol/frame.ts'
import type { Log, Runtime, Timer } from '../cluster/runtime/runtime.ts'
import { readMetaAnswer } from './meta-answer.ts'
import { MetaConnection } from './meta-connection.ts'
import type { UpstreamMetrics } from './metrics.ts'

export interface UpstreamOptions {
  readonly connectTimeoutMs: number
  /** A leader silent for this long: the others are asked as well (M-4). */
  readonly hedgeMs: number
  /** Metas silent for this long are given up when nothing else is being tried. */
  readonly silenceMs: number
  /** Names are resolved again when the last answer is older. */
  readonly resolveMs: number
}

/** `undefined`: nobody answered; the client is told ERR_SERVICE_NOT_ACTIVE. */
export type QueryHandler = (reply: ReplyFrame | undefined) => void

interface Attempt {
  readonly address: string
  readonly connection: MetaConnection
  readonly seqid: number
  readonly startedAtMs: number
}

interface Query {
  readonly argument: Buffer
  readonly deadlineMs: number
  readonly handler: QueryHandler
  readonly tried: Set<string>
  attempts: Attempt[]
  hops: number
  /** Monotonic time of the next round, 0 when none is planned. */
  retryAtMs: number
  backoffMs: number
  isHedged: boolean
  /** Some meta answered, be it only that it is not the leader. */
  someoneAlive: boolean
  hasResolvedAgain: boolean
  /** What the leader said while it was loading: relayed when the time is up (M-3). */
  notReady: ReplyFrame | undefined
}

const HOPS_MAX = 3
const BACKOFF_FIRST_MS = 100
const BACKOFF_LAST_MS = 400
const SWEEP_MS = 25
/** A meta that refused is not dialled again for this long. */
const REDIAL_MS = 100
const LEARNED_MAX = 16

export class MetaGroup {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #options: UpstreamOptions
  readonly #metrics: UpstreamMetrics
  readonly #names: readonly string[]
  /** `ip:port` of the configured metas, as last resolved. */
  #endpoints: readonly string[]
  readonly #connections = new Map<string, MetaConnection>()
  /** When a dial or connection failed last; also holds leaders that are in no list. */
  readonly #failedAtMs = new Map<string, number>()
  readonly #queries = new Set<Query>()
  #leader: string | undefined
  #resolving: Promise<void> | undefined
  #resolvedAtMs = -Infinity
  #sweepTimer: Timer | undefined
  #usedAtMs: number
  #closed = false

  constructor(
    runtime: Runtime,
    metas: readonly string[],
    metrics: UpstreamMetrics,
    options: UpstreamOptions,
  ) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'upstream', metas: metas.join(',') })
    this.#options = options
    this.#metrics = metrics
    this.#names = metas
    this.#endpoints = metas.filter(isLiteral)
    this.#usedAtMs = runtime.clock.monotonicMs()
  }

  get leader(): string | undefined {
    return this.#leader
  }

  get inFlight(): number {
    return this.#queries.size
  }

  get usedAtMs(): number {
    return this.#usedAtMs
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** `argument` is the args struct as it came. The handler is called once, in a later turn. */
  query(argument: Buffer, deadlineMs: number, handler: QueryHandler): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    this.#usedAtMs = nowMs
    const query: Query = {
      argument,
      deadlineMs,
      handler,
      tried: new Set(),
      attempts: [],
      hops: 0,
      retryAtMs: 0,
      backoffMs: BACKOFF_FIRST_MS,
      isHedged: false,
      someoneAlive: false,
      hasResolvedAgain: false,
      notReady: undefined,
    }
    this.#queries.add(query)
    this.#scheduleSweep()
    const named = this.#names.length > 0 && this.#names.some((name) => !isLiteral(name))
    if (named && nowMs - this.#resolvedAtMs > this.#options.resolveMs) {
      const resolved = this.#resolve()
      if (this.#endpoints.length === 0) {
        void resolved.then(() => this.#advance(query))
        return
      }
    }
    this.#start(query)
  }

  /** Idempotent; every query is answered with nothing. */
  close(): void {
    this.#closed = true
    this.#sweepTimer?.cancel()
    for (const query of this.#queries) this.#finish(query, undefined)
    for (const connection of this.#connections.values()) connection.close('group closed')
  }

  #start(query: Query): void {
    const leader = this.#leader
    if (leader === undefined || !this.#ask(query, leader)) this.#advance(query)
  }

  /** Whether the query is on its way to that address. */
  #ask(query: Query, address: string): boolean {
    query.tried.add(address)
    const connection = this.#connectionTo(address)
    if (connection === undefined) return false
    const startedAtMs = this.#runtime.clock.monotonicMs()
    const leftMs = query.deadlineMs - startedAtMs
    const attempt = {
      address,
      connection,
      startedAtMs,
      seqid: connection.send(query.argument, leftMs, (reply) =>
        this.#onReply(query, attempt, reply),
      ),
    }
    if (attempt.seqid < 0) return false
    this.#metrics.asked.add()
    query.attempts.push(attempt)
    return true
  }

  #connectionTo(address: string): MetaConnection | undefined {
    const existing = this.#connections.get(address)
    if (existing !== undefined) return existing
    const failedAtMs = this.#failedAtMs.get(address) ?? -Infinity
    if (this.#closed || this.#runtime.clock.monotonicMs() - failedAtMs < REDIAL_MS) return undefined
    const connection = new MetaConnection(
      this.#runtime,
      address,
      this.#options.connectTimeoutMs,
      (down) => {
        if (this.#connections.get(address) === down) this.#connections.delete(address)
        if (this.#failedAtMs.size > LEARNED_MAX + this.#names.length) this.#failedAtMs.clear()
        this.#failedAtMs.set(address, this.#runtime.clock.monotonicMs())
        if (this.#leader === address) this.#leader = undefined
      },
    )
    this.#connections.set(address, connection)
    return connection
  }

  #onReply(query: Query, attempt: Attempt, reply: ReplyFrame | undefined): void {
    if (!this.#queries.has(query)) return
    query.attempts = query.attempts.filter((other) => other !== attempt)
    if (reply === undefined) {
      this.#metrics.failed.add()
      this.#advance(query)
      return
    }
    const answer = readMetaAnswer(reply)
    switch (answer.kind) {
      case 'answer':
        this.#setLeader(attempt.address)
        this.#finish(query, reply)
        return
      case 'not-ready':
        query.someoneAlive = true
        query.notReady = reply
        this.#setLeader(attempt.address)
        this.#planRetry(query)
        return
      case 'forward':
        query.someoneAlive = true
        if (this.#leader === attempt.address) this.#leader = undefined
        this.#follow(query, answer.leader)
        return
      default:
        answer satisfies never
    }
  }

  #setLeader(address: string): void {
    if (this.#leader === address) return
    this.#leader = address
    this.#log.info('meta leader', { leader: address, isListed: this.#endpoints.includes(address) })
  }

  #follow(query: Query, leader: string | undefined): void {
    const isAsked = query.attempts.some((attempt) => attempt.address === leader)
    if (leader !== undefined && !isAsked && query.hops < HOPS_MAX) {
      query.hops++
      this.#metrics.forwardsFollowed.add()
      if (this.#ask(query, leader)) return
    }
    this.#advance(query)
  }

  /** Asks somebody who was not asked yet; when there is nobody, decides what to wait for. */
  #advance(query: Query): void {
    if (!this.#queries.has(query)) return
    if (query.attempts.length > 0 || query.retryAtMs > 0) return
    for (const address of this.#endpoints)
      if (!query.tried.has(address) && this.#ask(query, address)) return
    if (query.someoneAlive) {
      this.#planRetry(query)
      return
    }
    if (!query.hasResolvedAgain && this.#names.some((name) => !isLiteral(name))) {
      // A failed round: the names may mean other addresses by now.
      query.hasResolvedAgain = true
      void this.#resolve().then(() => this.#advance(query))
      return
    }
    this.#finishLater(query)
  }

  #planRetry(query: Query): void {
    if (query.retryAtMs > 0) return
    query.retryAtMs = this.#runtime.clock.monotonicMs() + query.backoffMs
    query.backoffMs = Math.min(BACKOFF_LAST_MS, query.backoffMs * 2)
  }

  /** Nobody to ask: told in a later turn, as every answer is. */
  #finishLater(query: Query): void {
    this.#runtime.timers.soon(() => this.#finish(query, query.notReady))
  }

  #finish(query: Query, reply: ReplyFrame | undefined): void {
    if (!this.#queries.delete(query)) return
    for (const { connection, seqid } of query.attempts) connection.forget(seqid)
    query.handler(reply)
  }

  #scheduleSweep(): void {
    this.#sweepTimer ??= this.#runtime.timers.after(SWEEP_MS, () => {
      this.#sweepTimer = undefined
      const nowMs = this.#runtime.clock.monotonicMs()
      for (const query of this.#queries) this.#sweep(query, nowMs)
      for (const connection of this.#connections.values()) connection.checkSilence(nowMs)
      if (this.#queries.size > 0 && !this.#closed) this.#scheduleSweep()
    })
  }

  #sweep(query: Query, nowMs: number): void {
    if (nowMs >= query.deadlineMs) {
      this.#finish(query, query.notReady)
      return
    }
    if (query.retryAtMs > 0 && nowMs >= query.retryAtMs) {
      this.#retry(query)
      return
    }
    const [first] = query.attempts
    if (first === undefined) return
    if (!query.isHedged && nowMs - first.startedAtMs >= this.#options.hedgeMs) this.#hedge(query)
    if (query.attempts.every((attempt) => this.#isSilent(attempt, nowMs))) this.#giveUp(query)
  }

  /** A new round: everybody may be asked again, the leader first. */
  #retry(query: Query): void {
    query.retryAtMs = 0
    query.hops = 0
    query.tried.clear()
    this.#start(query)
  }

  #hedge(query: Query): void {
    query.isHedged = true
    this.#metrics.hedges.add()
    for (const address of this.#endpoints) if (!query.tried.has(address)) this.#ask(query, address)
  }

  /** A meta that answers others is slow, not gone. */
  #isSilent({ connection, startedAtMs }: Attempt, nowMs: number): boolean {
    return nowMs - Math.max(startedAtMs, connection.heardAtMs) >= this.#options.silenceMs
  }

  #giveUp(query: Query): void {
    for (const { address, connection, seqid } of query.attempts) {
      connection.forget(seqid)
      if (this.#leader === address) this.#leader = undefined
    }
    query.attempts = []
    if (query.someoneAlive) this.#planRetry(query)
    else this.#finish(query, query.notReady)
  }

  /** Never rejects; the endpoints stay as they are when no name can be resolved. */
  #resolve(): Promise<void> {
    this.#resolving ??= this.#resolveNow().finally(() => {
      this.#resolving = undefined
    })
    return this.#resolving
  }

  async #resolveNow(): Promise<void> {
    const found = await Promise.all(
      this.#names.map(async (name) => {
        if (isLiteral(name)) return [name]
        const colon = name.lastIndexOf(':')
        try {
          const addresses = await this.#runtime.network.resolve(name.slice(0, colon))
          return addresses.map((ip) => `${ip}${name.slice(colon)}`)
        } catch (error) {
          this.#log.debug('name not resolved', { name, error })
          return []
        }
      }),
    )
    this.#resolvedAtMs = this.#runtime.clock.monotonicMs()
    const endpoints = [...new Set(found.flat())]
    if (endpoints.length > 0) this.#endpoints = endpoints
  }
}

function isLiteral(address: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+:/.test(address)
}
