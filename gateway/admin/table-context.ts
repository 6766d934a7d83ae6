/**
 * What the state of a table depends on besides its node (`table-view.ts`): registry, groups, redirects,
 * what clusters were found to have, and what most tables of an unregistered cluster have. Told of
 * changes, it gives the mirror a new context; many changes at once, as at the start, make one.
 */
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { canonicalMetas } from '../routing/mapping.ts'
import type { Redirect } from '../routing/redirects.ts'
import { type Clusters, metasOf } from './clusters.ts'
import type { Groups } from './groups.ts'
import type { Registry } from './registry.ts'
import type { TableMirror } from './table-mirror.ts'

/** The cluster redirects in force at this gateway, by source. */
export interface RedirectsInForce {
  /** Another map after each change. */
  readonly redirects: ReadonlyMap<string, Redirect>
  /** Answers how to stop it. */
  readonly onRedirects: (listener: () => void) => () => void
}

/** Tables of a cluster are believed for so long after they were listed. */
const LISTED_MS = 600_000
const SOON_MS = 50
/** After a change of a table, which rarely changes what most have. */
const LATER_MS = 500

export class TableContexts {
  readonly #runtime: Runtime
  readonly #mirror: TableMirror
  readonly #registry: Registry
  readonly #clusters: Clusters
  readonly #groups: Groups
  readonly #redirects: RedirectsInForce
  readonly #listed = new Map<string, { readonly atMs: number; readonly names: Set<string> }>()
  /** Of the context in force. */
  #disputed = ''
  #soon: Timer | undefined
  #later: Timer | undefined
  readonly #stopListening: () => void

  constructor(parts: {
    readonly runtime: Runtime
    readonly mirror: TableMirror
    readonly registry: Registry
    readonly clusters: Clusters
    readonly groups: Groups
    readonly redirects: RedirectsInForce
  }) {
    this.#runtime = parts.runtime
    this.#mirror = parts.mirror
    this.#registry = parts.registry
    this.#clusters = parts.clusters
    this.#groups = parts.groups
    this.#redirects = parts.redirects
    this.#stopListening = parts.redirects.onRedirects(() => this.renew())
  }

  /** What a cluster was found to have: tables mapped to it that it lacks dangle. */
  sawTablesOf(cluster: string, names: readonly string[]): void {
    this.#listed.set(cluster, { atMs: this.#runtime.clock.monotonicMs(), names: new Set(names) })
    this.renew()
  }

  /** Something other than a table has changed. */
  renew(): void {
    this.#soon ??= this.#runtime.timers.after(SOON_MS, () => {
      this.#soon = undefined
      this.#set(this.#clusters.disputedMetas())
    })
  }

  /** A table has changed: what most tables of its cluster have may be something else now. */
  sawTable(): void {
    this.#later ??= this.#runtime.timers.after(LATER_MS, () => {
      this.#later = undefined
      const disputed = this.#clusters.disputedMetas()
      if (JSON.stringify([...disputed]) !== this.#disputed) this.#set(disputed)
    })
  }

  close(): void {
    this.#stopListening()
    this.#soon?.cancel()
    this.#later?.cancel()
  }

  #set(disputed: ReadonlyMap<string, string>): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const [name, { atMs }] of this.#listed)
      if (nowMs - atMs > LISTED_MS) this.#listed.delete(name)
    this.#disputed = JSON.stringify([...disputed])
    const registered = this.#registry
      .list()
      .map((entry) => [entry.name, canonicalMetas(metasOf(entry))] as const)
    this.#mirror.setContext({
      metasOf: new Map([...disputed, ...registered]),
      groups: this.#groups.tests(),
      tablesOf: new Map([...this.#listed].map(([name, { names }]) => [name, names])),
      redirects: this.#redirects.redirects,
    })
  }
}
