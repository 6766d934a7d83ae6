/**
 * How busy a gateway is, for the fleet (admin-ui.md 3.10): rates over some seconds from counts that
 * are kept anyway, so that no query pays for it. Pure but for the last reading.
 */
import { type ServerMetrics, durationBuckets, results } from './metrics.ts'

/** What was counted since the beginning; no number ever falls. */
export interface ServedCounts {
  /** Configuration queries that were answered, whatever the answer. */
  readonly queries: number
  /** Those of them that could not be served. */
  readonly failed: number
  /**
   * How long those took that a meta's answer was relayed to, or should have been: one number for each
   * bound of `durationBuckets`, not cumulative, and a last one for what took longer.
   */
  readonly durations: readonly number[]
}

export interface GatewayLoad {
  /** What the rates are of. */
  readonly overSeconds: number
  readonly queriesPerSecond: number
  /**
   * Queries that could not be served: ZooKeeper or every meta was silent, the mapping is not valid.
   * Neither tables that do not exist nor clients that break a limit or the protocol.
   */
  readonly errorsPerSecond: number
  /**
   * 99 of 100 queries were answered within this: the upper bound of a bucket of the histogram, so the
   * real value is at most this and may be less than half. Left out when nobody asked.
   */
  readonly p99Ms?: number
  /** How late the event loop of any of its processes was at worst: at most this, of `lagSteps`. */
  readonly loopLagMs: number
  /** Tables in memory. */
  readonly routes: number
}

export interface LoadReading {
  readonly counts: ServedCounts
  /** Since the last reading. */
  readonly loopLagMs: number
  readonly routes: number
}

/** Above the last bucket: `requestTimeoutMs` allows no more. */
const ANSWER_MS_MAX = 60_000
/** Shorter than the time between two writes of a gateway's node; else the last figures are good. */
const PERIOD_MS_MIN = 4000
/** Figures that moved a little are told this late. */
const RETELL_MS = 60_000
/** What goes on below the first one is no news. */
export const lagSteps = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000] as const
/** A figure has moved far when it did by a fifth, and by more than this. */
const leastMoves = {
  queriesPerSecond: 1,
  errorsPerSecond: 0,
  p99Ms: 5,
  loopLagMs: 50,
  routes: 100,
} as const
const FAR = 0.2

export const nothingServed: ServedCounts = {
  queries: 0,
  failed: 0,
  durations: durationBuckets.map(() => 0).concat(0),
}

/** What one process has counted until now. */
export function servedCounts(metrics: ServerMetrics): ServedCounts {
  const counters = Object.values(metrics.queries)
  const answered = (result: (typeof results)[number]): number =>
    counters.reduce((sum, counts) => sum + counts[result].value(), 0)
  const { relayed, unavailable, 'invalid-mapping': invalid } = metrics.durationSeconds
  return {
    queries: results.reduce((sum, result) => sum + answered(result), 0),
    failed: answered('unavailable') + answered('invalid-mapping'),
    durations: [relayed, unavailable, invalid].map((one) => one.counts()).reduce(addEach),
  }
}

export function addCounts(a: ServedCounts, b: ServedCounts): ServedCounts {
  return {
    queries: a.queries + b.queries,
    failed: a.failed + b.failed,
    durations: addEach(a.durations, b.durations),
  }
}

function addEach(a: readonly number[], b: readonly number[]): readonly number[] {
  return a.map((count, at) => count + (b[at] ?? 0))
}

export class LoadMeter {
  readonly #monotonicMs: () => number
  readonly #read: () => LoadReading
  #last: LoadReading
  #lastAtMs: number
  #load: GatewayLoad | undefined

  constructor(monotonicMs: () => number, read: () => LoadReading) {
    this.#monotonicMs = monotonicMs
    this.#read = read
    this.#last = read()
    this.#lastAtMs = monotonicMs()
  }

  /** Undefined in the first seconds. */
  load(): GatewayLoad | undefined {
    const nowMs = this.#monotonicMs()
    const tookMs = nowMs - this.#lastAtMs
    if (tookMs < PERIOD_MS_MIN) return this.#load
    const now = this.#read()
    this.#load = loadBetween(this.#last, now, tookMs)
    this.#last = now
    this.#lastAtMs = nowMs
    return this.#load
  }
}

export function loadBetween(before: LoadReading, now: LoadReading, tookMs: number): GatewayLoad {
  const seconds = tookMs / 1000
  const durations = now.counts.durations.map((n, at) => n - (before.counts.durations[at] ?? 0))
  const p99Ms = p99Of(durations)
  return {
    overSeconds: Math.round(seconds),
    queriesPerSecond: rounded((now.counts.queries - before.counts.queries) / seconds),
    errorsPerSecond: rounded((now.counts.failed - before.counts.failed) / seconds),
    ...(p99Ms === undefined ? {} : { p99Ms }),
    loopLagMs: lagSteps.find((step) => now.loopLagMs <= step) ?? lagSteps[lagSteps.length - 1] ?? 0,
    routes: now.routes,
  }
}

function p99Of(durations: readonly number[]): number | undefined {
  const total = durations.reduce((sum, count) => sum + count, 0)
  if (total === 0) return undefined
  let below = 0
  const at = durations.findIndex((count) => (below += count) >= total * 0.99)
  const seconds = durationBuckets[at]
  return seconds === undefined ? ANSWER_MS_MAX : seconds * 1000
}

/** Three digits. */
function rounded(value: number): number {
  return Number(value.toPrecision(3))
}

/**
 * Whether everybody who watches this gateway's node should hear of the new figures, when nothing else
 * in it has changed: something moved far, or anything did and they heard nothing for a minute.
 */
export function isNews(
  told: GatewayLoad | undefined,
  now: GatewayLoad | undefined,
  toldForMs: number,
): boolean {
  if (now === undefined) return false
  if (told === undefined) return true
  const keys = Object.keys(leastMoves) as (keyof typeof leastMoves)[]
  return keys.some((key) => {
    const [was = 0, is = 0] = [told[key], now[key]]
    const moved = Math.abs(is - was)
    const isFar = moved > leastMoves[key] && moved > FAR * Math.max(was, is)
    return isFar || (moved > 0 && toldForMs >= RETELL_MS)
  })
}
