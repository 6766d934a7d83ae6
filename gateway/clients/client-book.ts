/**
 * Who asked for which table in the last day (admin-ui.md 3.3): "who still talks to the old cluster?".
 * An entry for each table and client address, with what its last query was and what it was told.
 *
 * A connection and a known query keep the entry that they counted in last, so that a query like the
 * one before costs a few compares and stores; only another one's address is looked up here. Nothing is made
 * for a query whose address is known, and nothing at all for tables that are not mapped. Bounded in
 * tables, in addresses of a table and in all; what does not fit is left out, and said to be.
 */
import type { Clock } from '../../cluster/runtime/runtime.ts'
import { type ClientFacts, librariesOf } from '../client-facts.ts'
import type { HeaderVersion, QueryCounts, Result } from '../metrics.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { KnownQuery } from './known-queries.ts'
import { indicesForm } from './query.ts'

export interface BookLimits {
  readonly tablesMax: number
  readonly clientsOfTableMax: number
  readonly clientsMax: number
}

/** An entry takes some 200 bytes. */
const usual: BookLimits = { tablesMax: 8192, clientsOfTableMax: 2000, clientsMax: 100_000 }
const KEPT_MS = 86_400_000
const EXPIRE_EVERY_MS = 600_000
/** Handed over when a process ends. */
const HANDED_OVER_MAX = 20_000

/** One address and one table. What the desk compares and counts comes first. */
export class ClientUse {
  readonly source: string
  /** Of the last query; undefined: this entry is not, or no longer, to be counted in directly. */
  query: KnownQuery | undefined
  lookup: Lookup | undefined
  result: Result = 'relayed'
  counts: QueryCounts | undefined
  queries = 0
  /** Monotonic. */
  lastAtMs: number
  firstAtMs: number
  version: HeaderVersion = 0
  libraries: readonly string[] = []
  isWhole = true
  cluster: string | undefined

  constructor(source: string, nowMs: number) {
    this.source = source
    this.firstAtMs = nowMs
    this.lastAtMs = nowMs
  }
}

/** Who asks, with the entry that this connection counted in last. */
export interface BookedAsker {
  readonly source: string
  use: ClientUse | undefined
}

/** What it says of itself. */
export interface BookedQuery {
  readonly asker: BookedAsker
  readonly counts: QueryCounts
}

export class ClientBook {
  readonly #clock: Clock
  readonly #limits: BookLimits
  readonly #tables = new Map<string, Map<string, ClientUse>>()
  /** Tables of which addresses were left out or forgotten before their time. */
  readonly #short = new Set<string>()
  #size = 0
  #expiredAtMs: number

  constructor(clock: Clock, limits: BookLimits = usual) {
    this.#clock = clock
    this.#limits = limits
    this.#expiredAtMs = clock.monotonicMs()
  }

  get size(): number {
    return this.#size
  }

  /** A query that was answered; `lookup` is the route it went by, undefined when it went nowhere. */
  count(
    { asker, counts }: BookedQuery,
    query: KnownQuery,
    result: Result,
    lookup: Lookup | undefined,
    nowMs: number,
  ): void {
    const { use } = asker
    if (
      use !== undefined &&
      use.query === query &&
      use.lookup === lookup &&
      use.result === result &&
      use.counts === counts
    ) {
      use.queries++
      use.lastAtMs = nowMs
    } else this.#countOther(asker, query, counts, result, lookup, nowMs)
  }

  /** One that differs from the one that its connection had before. */
  #countOther(
    asker: BookedAsker,
    query: KnownQuery,
    counts: QueryCounts,
    result: Result,
    lookup: Lookup | undefined,
    nowMs: number,
  ): void {
    const isMapped = lookup?.kind === 'route'
    const { source } = asker
    const last = query.use
    const isSame = last !== undefined && last.query === query && last.source === source
    const use = isSame ? last : this.#use(query.table, source, nowMs, isMapped)
    if (use === undefined) return
    if (use.counts !== counts || use.query !== query) {
      use.version = counts.version
      use.isWhole = query.isWhole
      use.libraries = librariesOf(counts.version, indicesForm(query.argument))
    }
    use.query = query
    use.counts = counts
    use.result = result
    use.lookup = lookup
    if (isMapped && result === 'relayed') use.cluster = lookup.route.cluster
    use.queries++
    use.lastAtMs = nowMs
    asker.use = use
    query.use = use
  }

  /** Undefined when there is none, and none is to be made or there is no room. */
  #use(table: string, source: string, nowMs: number, isMade: boolean): ClientUse | undefined {
    const { tablesMax, clientsOfTableMax, clientsMax } = this.#limits
    let uses = this.#tables.get(table)
    const known = uses?.get(source)
    if (known !== undefined || !isMade) return known
    if (this.#size >= clientsMax) {
      if (uses !== undefined) this.#short.add(table)
      return undefined
    }
    if (uses === undefined) {
      if (this.#tables.size >= tablesMax) return undefined
      uses = new Map()
      this.#tables.set(table, uses)
    }
    if (uses.size >= clientsOfTableMax) this.#forgetOldest(table, uses)
    const use = new ClientUse(source, nowMs)
    uses.set(source, use)
    this.#size++
    return use
  }

  /** A quarter at once, so that many new addresses do not sort for each. */
  #forgetOldest(table: string, uses: Map<string, ClientUse>): void {
    this.#short.add(table)
    const oldest = [...uses].toSorted(([, a], [, b]) => a.lastAtMs - b.lastAtMs)
    for (const [source, use] of oldest.slice(0, Math.ceil(uses.size / 4)))
      this.#forget(uses, source, use)
  }

  #forget(uses: Map<string, ClientUse>, source: string, use: ClientUse): void {
    uses.delete(source)
    use.query = undefined
    this.#size--
  }

  /** Who asked for a table; `isShort`: some are missing. */
  clientsOf(table: string): {
    readonly clients: readonly ClientFacts[]
    readonly isShort: boolean
  } {
    this.#expireTable(table, this.#clock.monotonicMs())
    const uses = this.#tables.get(table)
    return {
      clients: uses === undefined ? [] : this.#facts(uses),
      isShort: this.#short.has(table) || (uses === undefined && this.#isFull()),
    }
  }

  #isFull(): boolean {
    const { tablesMax, clientsMax } = this.#limits
    return this.#tables.size >= tablesMax || this.#size >= clientsMax
  }

  #facts(uses: ReadonlyMap<string, ClientUse>): ClientFacts[] {
    const offsetMs = this.#clock.wallMs() - this.#clock.monotonicMs()
    return [...uses].map(([address, use]) => ({
      address,
      firstAtMs: Math.round(use.firstAtMs + offsetMs),
      lastAtMs: Math.round(use.lastAtMs + offsetMs),
      queries: use.queries,
      version: use.version,
      libraries: use.libraries,
      isWhole: use.isWhole,
      result: use.result,
      ...(use.cluster === undefined ? {} : { cluster: use.cluster }),
    }))
  }

  /** Everything, for whoever takes over; whole tables, up to a limit. */
  all(): readonly (readonly [table: string, clients: readonly ClientFacts[]])[] {
    const all: [string, readonly ClientFacts[]][] = []
    let count = 0
    for (const [table, uses] of this.#tables) {
      count += uses.size
      if (count > HANDED_OVER_MAX) break
      all.push([table, this.#facts(uses)])
    }
    return all
  }

  /** What another process kept. */
  absorb(all: ReturnType<ClientBook['all']>): void {
    const offsetMs = this.#clock.wallMs() - this.#clock.monotonicMs()
    for (const [table, clients] of all)
      for (const one of clients) {
        const use = this.#use(table, one.address, one.firstAtMs - offsetMs, true)
        if (use === undefined) continue
        use.queries += one.queries
        const lastAtMs = one.lastAtMs - offsetMs
        if (lastAtMs < use.lastAtMs) continue
        use.lastAtMs = lastAtMs
        use.version = one.version
        use.libraries = one.libraries
        use.isWhole = one.isWhole
        use.result = one.result
        use.cluster = one.cluster
      }
  }

  /** Forgets who has not asked for a day; called about once a second, looks every ten minutes. */
  expire(): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#expiredAtMs < EXPIRE_EVERY_MS) return
    this.#expiredAtMs = nowMs
    for (const table of this.#tables.keys()) this.#expireTable(table, nowMs)
  }

  #expireTable(table: string, nowMs: number): void {
    const uses = this.#tables.get(table)
    if (uses === undefined) return
    for (const [source, use] of uses)
      if (nowMs - use.lastAtMs > KEPT_MS) this.#forget(uses, source, use)
    if (uses.size > 0) return
    this.#tables.delete(table)
    this.#short.delete(table)
  }
}
