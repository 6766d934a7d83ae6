/**
 * Which queries people look at (gateway.md O-4, O-5): those of tables in the debug view, and every
 * n-th one for the log. Recording for a table begins with the first look at it, and ends when nobody
 * has looked for a minute: until then, and with sampling off, a query costs one look at `isActive`.
 * Bounded in tables and in queries of each.
 */
import type { Clock, Log, Runtime } from '../../cluster/runtime/runtime.ts'
import type { HeaderVersion, QueryCounts, Result } from '../metrics.ts'

/** One answered query. */
export interface SeenQuery {
  /** Unix milliseconds of the answer. */
  readonly atMs: number
  /** `ip:port` of the client. */
  readonly peer: string
  readonly seqid: number
  readonly headerVersion: HeaderVersion
  readonly result: Result
  readonly ms: number
}

const QUERIES_KEPT = 20
const TABLES_MAX = 32
const LOOK_MS = 60_000

/** What the desk knows of a query that was answered. */
export interface AnsweredQuery {
  readonly asker: { readonly peer: string }
  readonly seqid: number
  readonly counts: QueryCounts
}

interface Watched {
  untilMs: number
  readonly queries: SeenQuery[]
}

export class QueryWatch {
  /** Looked at once for each answered query; `seen` need not be called while it is false. */
  isActive: boolean
  readonly #clock: Clock
  readonly #log: Log
  /** 0: none. */
  readonly #logEvery: number
  #sinceLogged = 0
  readonly #tables = new Map<string, Watched>()

  /** `sample`: the share of queries that is logged, 0 to 1. */
  constructor(runtime: Pick<Runtime, 'clock' | 'log'>, sample: number) {
    this.#clock = runtime.clock
    this.#log = runtime.log.child({ logger: 'query' })
    this.#logEvery = sample > 0 ? Math.max(1, Math.round(1 / sample)) : 0
    this.isActive = this.#logEvery > 0
  }

  /** What was recorded, the newest first; recording begins or goes on. */
  look(table: string): readonly SeenQuery[] {
    this.expire()
    const watched = this.#tables.get(table) ?? { untilMs: 0, queries: [] }
    watched.untilMs = this.#clock.monotonicMs() + LOOK_MS
    this.#tables.delete(table)
    this.#tables.set(table, watched)
    if (this.#tables.size > TABLES_MAX)
      for (const oldest of this.#tables.keys()) {
        this.#tables.delete(oldest)
        break
      }
    this.isActive = true
    return watched.queries.toReversed()
  }

  seen(table: string, query: AnsweredQuery, result: Result, took: number): void {
    const isSampled = this.#logEvery > 0 && ++this.#sinceLogged >= this.#logEvery
    const watched = this.#tables.get(table)
    if (!isSampled && watched === undefined) return
    const { asker, seqid, counts } = query
    const ms = Math.round(took * 1000) / 1000
    const seen = { peer: asker.peer, seqid, headerVersion: counts.version, result, ms }
    if (isSampled) {
      this.#sinceLogged = 0
      this.#log.info('query', { table, ...seen })
    }
    if (watched === undefined) return
    watched.queries.push({ atMs: Math.round(this.#clock.wallMs()), ...seen })
    if (watched.queries.length > QUERIES_KEPT) watched.queries.shift()
  }

  /** Ends what nobody looks at any more; called about once a second. */
  expire(): void {
    if (this.#tables.size === 0) return
    const nowMs = this.#clock.monotonicMs()
    for (const [table, { untilMs }] of this.#tables)
      if (untilMs <= nowMs) this.#tables.delete(table)
    this.isActive = this.#logEvery > 0 || this.#tables.size > 0
  }
}
