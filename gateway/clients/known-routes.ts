/**
 * The routes of known queries, as far as they are in memory. Of a thousand tables the way from the
 * name to its route and its group is cold memory, so it is not gone for every query: what was found
 * holds for the turn, in which no change is seen half, and for a second while the routes say that
 * nothing has changed.
 */
import type { ServerMetrics } from '../metrics.ts'
import type { Routes } from '../routing/routes.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { Upstreams } from '../upstream/upstreams.ts'
import type { KnownQuery } from './known-queries.ts'

/** To be found again means to be in use: a route that has not changed is, after this. */
const KEPT_MS = 1000

export class KnownRoutes {
  readonly #routes: Routes
  readonly #upstreams: Upstreams
  readonly #counts: ServerMetrics['lookups']
  #staleTurn = -1
  #isStale = false

  constructor(routes: Routes, upstreams: Upstreams, counts: ServerMetrics['lookups']) {
    this.#routes = routes
    this.#upstreams = upstreams
    this.#counts = counts
  }

  /** Leaves its group in `query.group`; undefined when the node must be read first. */
  find(query: KnownQuery, nowMs: number): Lookup | undefined {
    const { turn } = this.#upstreams.batch
    if (query.turn === turn) return query.lookup
    query.turn = turn
    return this.#isKept(query, nowMs) ? query.lookup : this.#find(query, nowMs)
  }

  /** So many queries are answered by what was found. */
  count(lookup: Lookup, queries: number): void {
    const { hit, negative, stale } = this.#counts
    if (this.#isUnconfirmed()) stale.add(queries)
    else if (lookup.kind === 'missing') negative.add(queries)
    else hit.add(queries)
  }

  #isKept({ revision, isKeptUntilMs, group }: KnownQuery, nowMs: number): boolean {
    return revision === this.#routes.revision && nowMs < isKeptUntilMs && group?.isClosed === false
  }

  #find(query: KnownQuery, nowMs: number): Lookup | undefined {
    const lookup = this.#routes.find(query.table)
    query.lookup = lookup
    query.group = lookup?.kind === 'route' ? this.#upstreams.group(lookup.route) : undefined
    // Only what does not change with age.
    const isKept = lookup?.kind === 'route' && lookup.route.stale.kind === 'serve'
    query.revision = this.#routes.revision
    query.isKeptUntilMs = isKept ? nowMs + KEPT_MS : 0
    return lookup
  }

  /** Looked at once a turn. */
  #isUnconfirmed(): boolean {
    const { turn } = this.#upstreams.batch
    if (this.#staleTurn !== turn) {
      this.#staleTurn = turn
      this.#isStale = this.#routes.stalenessMs() > 0
    }
    return this.#isStale
  }
}
