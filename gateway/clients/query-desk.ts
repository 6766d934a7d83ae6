/**
 * Takes configuration queries in and sees to it that each gets its answer (gateway.md 2 and 5): finds
 * the table's route, asks the cluster's metas, or answers itself where there is no route. What a
 * meta answered goes out byte for byte except for the sequence id; every query is answered within its
 * budget. Which cluster a table is on is the routes' matter, how to ask it the upstream's.
 *
 * Coalescing (C-1): queries with the same bytes share one round. A round gathers until its turn of
 * the event loop ends, then it is on the wire and nobody joins any more: who asks because he saw a
 * failure must not get an answer computed before it. Those who come meanwhile gather for the next
 * round, which starts when the running one ends, or when that takes longer than `OVERDUE_MS`: a
 * silent leader delays nobody else's search for another.
 *
 * No promise, timer or log line per query, one object without coalescing and at most one with it.
 */
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { Flushable } from '../batch.ts'
import { answerBudgetMs } from './answer-budget.ts'
import type { HeaderVersion, Result, ServerMetrics } from '../metrics.ts'
import type { Routes } from '../routing/routes.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { Upstreams } from '../upstream/upstreams.ts'
import type { ClientBook } from './client-book.ts'
import { KnownQueries, type KnownQuery } from './known-queries.ts'
import { KnownRoutes } from './known-routes.ts'
import {
  ANSWER_SEQID_AT,
  type ErrorsMode,
  type OwnAnswer,
  isPlainAnswer,
  ownAnswers,
} from './own-answers.ts'
import { partialAnswer } from './partial-answer.ts'
import type { QueryScan } from './query-scan.ts'
import type { QueryWatch } from './query-watch.ts'
import { ResponseCache } from './response-cache.ts'
import { type Asker, Round, type RoundEnd, type Waiter } from './round.ts'
import { type BucketOptions, TokenBuckets } from './token-buckets.ts'

export interface DeskOptions {
  /** The outer bound of every answer; below the Java client's 5 s (W-7). */
  readonly requestTimeoutMs: number
  /** `go-compat`: the error names of the Go proxy (W-6). */
  readonly errorsMode: ErrorsMode
  readonly coalesces: boolean
  /** How long an answer may be used again (C-2); 0: never. */
  readonly responseCacheMs: number
  /** How many unknown tables one address may ask for (W-17); undefined: any number. */
  readonly unknownTables: BucketOptions | undefined
}

/** What stands in a request beside its arguments. */
export interface Asked {
  readonly seqid: number
  readonly version: HeaderVersion
  readonly clientTimeoutMs: number
}

/** A running round older than this no longer holds the next one back. */
const OVERDUE_MS = 25
/** With less time left than this it is not worth asking again. */
const SPARE_MS = 50

export class QueryDesk implements Flushable {
  readonly #runtime: Runtime
  readonly #routes: Routes
  readonly #upstreams: Upstreams
  readonly #metrics: ServerMetrics
  readonly #options: DeskOptions
  readonly #queries = new KnownQueries()
  readonly #known: KnownRoutes
  readonly #watch: QueryWatch
  readonly #clients: ClientBook
  readonly #answers: Readonly<Record<OwnAnswer, Buffer>>
  readonly #roundEnd: RoundEnd
  readonly #unknownTables: TokenBuckets | undefined
  readonly #cache: ResponseCache | undefined
  #inFlight = 0
  /** Among `#starting` there is one for some partitions only. */
  #hasPartial = false
  /** Queries whose round starts when this turn ends. */
  readonly #starting: KnownQuery[] = []
  /** Queries whose next round waits for the running one. */
  #behind: KnownQuery[] = []
  #overdueTimer: Timer | undefined

  constructor(
    runtime: Runtime,
    parts: {
      readonly routes: Routes
      readonly upstreams: Upstreams
      readonly metrics: ServerMetrics
      readonly watch: QueryWatch
      readonly clients: ClientBook
    },
    options: DeskOptions,
  ) {
    this.#runtime = runtime
    this.#routes = parts.routes
    this.#upstreams = parts.upstreams
    this.#metrics = parts.metrics
    this.#watch = parts.watch
    this.#known = new KnownRoutes(parts.routes, parts.upstreams, parts.metrics.lookups)
    this.#clients = parts.clients
    this.#options = options
    this.#answers = ownAnswers(options.errorsMode)
    const { unknownTables } = options
    this.#unknownTables = unknownTables === undefined ? undefined : new TokenBuckets(unknownTables)
    const { responseCacheMs } = options
    this.#cache = responseCacheMs === 0 ? undefined : new ResponseCache(responseCacheMs)
    this.#roundEnd = {
      onAnswered: (round, bytes, start, end, seqidAt, nowMs) => {
        const isSpecial = round.riders !== undefined || this.#cache !== undefined
        if (isSpecial)
          this.#onSpecialAnswer(round, bytes.subarray(start, end), seqidAt - start, nowMs)
        this.#onAnswered(round, nowMs)
      },
      onUnanswered: (round) => this.#onUnanswered(round),
    }
  }

  get inFlight(): number {
    return this.#inFlight
  }

  close(): void {
    this.#overdueTimer?.cancel()
  }

  /** A query as the scan found it; the asker is told once. */
  askScanned(asker: Asker, scan: QueryScan, nowMs: number): void {
    this.#ask(asker, this.#queries.scanned(scan), scan, nowMs)
  }

  /** A query in any form; false when it is none, and nobody is told. Native arguments are marked. */
  askDecoded(asker: Asker, argument: Buffer, asked: Asked): boolean {
    const query = this.#queries.decoded(argument, asked.version === 'native')
    if (query === undefined) return false
    this.#ask(asker, query, asked, this.#runtime.clock.monotonicMs())
    return true
  }

  #ask(asker: Asker, query: KnownQuery, asked: Asked, nowMs: number): void {
    this.#inFlight++
    const { seqid } = asked
    const counts = this.#metrics.queries[asked.version]
    const budgetMs = answerBudgetMs(asked.clientTimeoutMs, this.#options.requestTimeoutMs)
    const deadlineMs = nowMs + budgetMs
    if (this.#cache !== undefined && this.#answerCached(this.#cache, asker, query, asked, nowMs))
      return
    const { gathering } = query
    if (gathering !== undefined) {
      this.#metrics.coalesced.add()
      gathering.join({ asker, seqid, counts, askedAtMs: nowMs, deadlineMs })
      return
    }
    const round = new Round(this.#roundEnd, query, asker, seqid, counts, nowMs, deadlineMs)
    if (this.#options.coalesces && this.#known.find(query, nowMs)?.kind === 'route')
      this.#gather(round, nowMs)
    else this.#start(round, nowMs)
  }

  #answerCached(
    cache: ResponseCache,
    asker: Asker,
    query: KnownQuery,
    asked: Asked,
    nowMs: number,
  ): boolean {
    const lookup = this.#known.find(query, nowMs)
    const frame = cache.find(query, asker.source, lookup, nowMs)
    if (frame === undefined) return false
    const { seqid } = asked
    const counts = this.#metrics.queries[asked.version]
    this.#metrics.cached.add()
    const waiter = { asker, seqid, counts, askedAtMs: nowMs, deadlineMs: 0 }
    this.#count(query, waiter, 'relayed', lookup, nowMs)
    asker.answerShared(frame, ANSWER_SEQID_AT, seqid)
    return true
  }

  #start(round: Round, nowMs: number): void {
    const lookup = this.#known.find(round.query, nowMs)
    if (lookup?.kind !== 'route') this.#unseat(round, nowMs)
    if (lookup === undefined) {
      this.#load(round, nowMs)
      return
    }
    if (round.lookup === undefined) this.#known.count(lookup, round.count)
    this.#onLookup(round, lookup, nowMs)
  }

  /**
   * A lookup that costs a read takes a token of its source, and gives it back unless the table
   * turns out unknown. Without one the answer is not "no such table", which a client would take as
   * final (S7), but the one that makes it come again later (W-6).
   */
  #load(round: Round, nowMs: number): void {
    this.#metrics.lookups.miss.add()
    const tokens = this.#unknownTables
    const { source } = round.asker
    if (tokens?.take(source, nowMs) === false) {
      this.#answerOwn(round, 'limited', 'no-zookeeper')
      return
    }
    this.#routes.load(round.query.table, round.deadlineMs - nowMs, (lookup) => {
      if (lookup.kind !== 'missing') tokens?.giveBack(source)
      const { query } = round
      // Known from now on, also in this turn.
      query.turn = -1
      round.lookup = lookup
      const loadedAtMs = this.#runtime.clock.monotonicMs()
      // Those who asked while the table was read ask the meta together.
      const mayJoin = this.#options.coalesces && query.running !== round
      if (lookup.kind !== 'route' || !mayJoin) this.#onLookup(round, lookup, loadedAtMs)
      else if (query.gathering === undefined) this.#gather(round, loadedAtMs)
      else {
        this.#metrics.coalesced.add()
        query.gathering.join(round)
      }
    })
  }

  #onLookup(round: Round, lookup: Lookup, nowMs: number): void {
    const { query } = round
    if (lookup.kind === 'route') {
      query.asked ??= this.#metrics.tableQueries(query.table)
      query.asked.add(round.count)
      round.lookup = lookup
      const known = query.lookup === lookup ? query.group : undefined
      const group = known ?? this.#upstreams.group(lookup.route)
      group.ask(round, nowMs)
      return
    }
    this.#metrics.unmappedQueries.add(round.count)
    switch (lookup.kind) {
      case 'missing':
        this.#answerOwn(round, 'no-table', 'missing')
        return
      case 'invalid':
        this.#answerOwn(round, 'invalid-mapping', 'invalid')
        return
      case 'unavailable':
        this.#answerOwn(round, 'unavailable', 'no-zookeeper')
        return
      default:
        lookup satisfies never
    }
  }

  /** A round that others may join, until it starts. */
  #gather(round: Round, nowMs: number): void {
    const { query } = round
    query.gathering = round
    const { running } = query
    if (running !== undefined && nowMs - running.startedAtMs < OVERDUE_MS) {
      this.#behind.push(query)
      this.#overdueTimer ??= this.#runtime.timers.after(OVERDUE_MS, () => this.#startOverdue())
      return
    }
    if (!query.isWhole) this.#hasPartial = true
    if (this.#starting.push(query) === 1) this.#upstreams.batch.add(this)
  }

  /**
   * C-3: queries for some partitions of a table go along with one for all of them, when both start
   * now. Nobody rides with a round that was on the wire before he asked.
   */
  #seatRiders(starting: readonly KnownQuery[], nowMs: number): void {
    this.#hasPartial = false
    const wholes = new Map<string, Round>()
    for (const { isWhole, isNative, table, gathering } of starting)
      if (isWhole && !isNative && gathering !== undefined) wholes.set(table, gathering)
    for (const query of starting) {
      const { isWhole, isNative, table, gathering } = query
      const whole = isWhole || isNative ? undefined : wholes.get(table)
      if (whole === undefined || gathering === undefined) continue
      whole.riders ??= []
      whole.riders.push(gathering)
      query.gathering = undefined
      query.running = gathering
      gathering.startedAtMs = nowMs
      if (gathering.deadlineMs < whole.deadlineMs) whole.deadlineMs = gathering.deadlineMs
    }
  }

  /** Riders go on alone. */
  #unseat(round: Round, nowMs: number): void {
    const { riders } = round
    if (riders === undefined) return
    round.riders = undefined
    for (const rider of riders) this.#start(rider, nowMs)
  }

  /** The turn ends: rounds go onto the wire. */
  flush(): void {
    const starting = this.#starting
    const nowMs = this.#runtime.clock.monotonicMs()
    if (this.#hasPartial) this.#seatRiders(starting, nowMs)
    for (const query of starting) this.#startGathered(query, nowMs)
    starting.length = 0
  }

  #startGathered(query: KnownQuery, nowMs: number): void {
    const round = query.gathering
    if (round === undefined) return
    query.gathering = undefined
    query.running = round
    round.startedAtMs = nowMs
    this.#start(round, nowMs)
  }

  #startOverdue(): void {
    this.#overdueTimer = undefined
    const behind = this.#behind
    this.#behind = []
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const query of behind) {
      const { running, gathering } = query
      if (gathering === undefined) continue
      if (running !== undefined && nowMs - running.startedAtMs < OVERDUE_MS)
        this.#behind.push(query)
      else this.#startGathered(query, nowMs)
    }
    if (this.#behind.length > 0)
      this.#overdueTimer = this.#runtime.timers.after(OVERDUE_MS, () => this.#startOverdue())
  }

  #onSpecialAnswer(round: Round, frame: Buffer, seqidAt: number, nowMs: number): void {
    const { query, riders } = round
    if (riders !== undefined) {
      round.riders = undefined
      for (const rider of riders) {
        rider.lookup = round.lookup
        const part = partialAnswer(frame, seqidAt, rider.query.indices())
        if (part === undefined) this.#start(rider, nowMs)
        else rider.answered(part, 0, part.length, seqidAt, nowMs)
      }
    }
    if (round.lookup !== undefined && isPlainAnswer(frame, seqidAt))
      this.#cache?.keep(query, frame, round.lookup, nowMs)
  }

  #onAnswered(round: Round, nowMs: number): void {
    const took = this.#metrics.durationSeconds.relayed
    const isWatched = this.#watch.isActive
    const { query, lookup } = round
    const clients = this.#clients
    this.#inFlight -= round.count
    round.forEach((waiter) => {
      waiter.counts.relayed.add()
      const ms = nowMs - waiter.askedAtMs
      took.observe(ms / 1000)
      if (isWatched) this.#watch.seen(query.table, waiter, 'relayed', ms)
      clients.count(waiter, query, 'relayed', lookup, nowMs)
    })
    this.#ended(round, nowMs)
  }

  #count(
    query: KnownQuery,
    waiter: Waiter,
    result: Result,
    lookup: Lookup | undefined,
    nowMs: number,
  ): void {
    this.#inFlight--
    this.#clients.count(waiter, query, result, lookup, nowMs)
    waiter.counts[result].add()
    const ms = nowMs - waiter.askedAtMs
    this.#metrics.durationSeconds[result].observe(ms / 1000)
    if (this.#watch.isActive) this.#watch.seen(query.table, waiter, result, ms)
  }

  /** The next round of its query may start. */
  #ended(round: Round, nowMs: number): void {
    const { query } = round
    if (query.running !== round) return
    query.running = undefined
    if (query.gathering !== undefined) this.#startGathered(query, nowMs)
  }

  /** No meta answered: whose time is not up goes into another round. */
  #onUnanswered(round: Round): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    const isLate = nowMs >= round.deadlineMs
    if (isLate) this.#unseat(round, nowMs)
    const { riders } = round
    if (riders !== undefined) for (const rider of riders) this.#onUnanswered(rider)
    round.forEach((waiter) => {
      if (isLate && waiter.deadlineMs - nowMs > SPARE_MS) this.#again(round.query, waiter, nowMs)
      else this.#tell(round, waiter, 'unavailable', 'no-meta', nowMs)
    })
    this.#ended(round, nowMs)
  }

  #again(query: KnownQuery, waiter: Waiter, nowMs: number): void {
    if (query.gathering !== undefined) {
      query.gathering.join(waiter)
      return
    }
    const { asker, seqid, counts, askedAtMs, deadlineMs } = waiter
    const round = new Round(this.#roundEnd, query, asker, seqid, counts, askedAtMs, deadlineMs)
    this.#gather(round, nowMs)
  }

  #answerOwn(round: Round, result: Result, answer: OwnAnswer): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    round.forEach((waiter) => this.#tell(round, waiter, result, answer, nowMs))
    this.#ended(round, nowMs)
  }

  #tell(round: Round, waiter: Waiter, result: Result, answer: OwnAnswer, nowMs: number): void {
    this.#count(round.query, waiter, result, round.lookup, nowMs)
    waiter.asker.answerShared(this.#answers[answer], ANSWER_SEQID_AT, waiter.seqid)
  }
}
