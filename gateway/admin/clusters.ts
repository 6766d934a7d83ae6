/**
 * Clusters for the admin API: the registry, and the clusters that mappings name without it. What a
 * cluster says of itself is `cluster-probes.ts`, the comparison with the mappings `reconcile.ts`.
 */
import { canonicalMetas, parseMetas } from '../routing/mapping.ts'
import type { Cluster, ClusterEdit, ClusterList } from './api/clusters.ts'
import type { RegistryChange } from './change-sets.ts'
import type { Author } from './journal.ts'
import { ApiError } from './problem.ts'
import {
  type JsonObject,
  type Registry,
  type RegistryEntry,
  stringOf,
  stringsOf,
} from './registry.ts'
import { type Caller, demand } from './rights.ts'
import { invalid } from './schema-errors.ts'
import type { Precondition } from './table-edits.ts'
import type { TableMirror } from './table-mirror.ts'

/** How many tables have which set of metas. */
interface Use {
  tables: number
  readonly sets: Map<string, number>
}

export class Clusters {
  readonly #registry: Registry
  readonly #mirror: TableMirror
  #revision = -1
  #uses = new Map<string, Use>()

  constructor(registry: Registry, mirror: TableMirror) {
    this.#registry = registry
    this.#mirror = mirror
  }

  list(): ClusterList {
    const uses = this.#usesNow()
    const names = new Set([...this.#registry.list().map(({ name }) => name), ...uses.keys()])
    const clusters = [...names]
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((name) => describe(name, this.#registry.get(name), uses.get(name)))
    return { clusters, total: clusters.length, asOf: this.#registry.freshness() }
  }

  get(name: string): Cluster {
    const entry = this.#registry.get(name)
    const use = this.#usesNow().get(name)
    if (entry === undefined && use === undefined)
      throw new ApiError('not-found', `no cluster ${name}, neither registered nor mapped to`)
    return describe(name, entry, use)
  }

  /** The registered ones only. */
  registeredMetas(name: string): readonly string[] | undefined {
    const metas = metasOf(this.#registry.get(name))
    return metas.length === 0 ? undefined : metas
  }

  async put(
    caller: Caller,
    author: Author,
    name: string,
    edit: ClusterEdit,
    precondition: Precondition,
    isDryRun: boolean,
  ): Promise<Cluster> {
    demand(caller, 'clusters.edit', { cluster: name })
    const metas = parseMetas(edit.metas, 'metas')
    const wrong = metas.ok ? [] : [metas.problem]
    if (edit.peer === name) wrong.push({ field: 'peer', message: 'a cluster is not its own peer' })
    if (!metas.ok || wrong.length > 0) throw invalid(wrong)
    const make = (current: RegistryEntry | undefined): JsonObject => {
      const { peer: _peer, note: _note, ...rest } = current?.value ?? {}
      return {
        ...rest,
        metas: metas.value,
        ...(edit.peer === undefined ? {} : { peer: edit.peer }),
        ...(edit.note === undefined ? {} : { note: edit.note }),
      }
    }
    const entry = await this.#registry.change(author, name, precondition, make, { isDryRun })
    return describe(name, entry, this.#usesNow().get(name))
  }

  /**
   * Other metas than those that were seen; nothing where they are these already. A conflict stops the
   * whole: mappings and registry would disagree otherwise.
   */
  async replaceMetas(
    caller: Caller,
    author: Author,
    { cluster, etag, metas }: RegistryChange,
  ): Promise<void> {
    const { metas: current, peer, note } = this.get(cluster)
    if (canonicalMetas(current) === canonicalMetas(metas)) return
    const edit = {
      metas: [...metas],
      ...(peer === undefined ? {} : { peer }),
      ...(note === undefined ? {} : { note }),
    }
    try {
      await this.put(caller, author, cluster, edit, { ifMatch: etag }, false)
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'changed-meanwhile') throw error
      const detail = `${error.message}: make the preview again`
      throw new ApiError('changed-meanwhile', detail, error.facts)
    }
  }

  /** Its mappings must go first. */
  async remove(
    caller: Caller,
    author: Author,
    name: string,
    precondition: Precondition,
    isDryRun: boolean,
  ): Promise<void> {
    demand(caller, 'clusters.edit', { cluster: name })
    const make = (): null => {
      const tables = this.#usesNow().get(name)?.tables ?? 0
      if (tables > 0) throw new ApiError('in-use', `${tables} tables are mapped to cluster ${name}`)
      return null
    }
    await this.#registry.change(author, name, precondition, make, { isDryRun })
  }

  /**
   * Of clusters that are not registered and whose tables have different metas: those that most
   * have, in canonical form; '' when as many have others.
   */
  disputedMetas(): ReadonlyMap<string, string> {
    const disputed = new Map<string, string>()
    for (const [name, { sets }] of this.#usesNow()) {
      if (sets.size < 2 || this.#registry.get(name) !== undefined) continue
      const [first, second] = [...sets].toSorted((a, b) => b[1] - a[1])
      const isClear = first !== undefined && first[1] > (second?.[1] ?? 0)
      disputed.set(name, isClear ? first[0] : '')
    }
    return disputed
  }

  #usesNow(): ReadonlyMap<string, Use> {
    if (this.#revision === this.#mirror.revision) return this.#uses
    const uses = new Map<string, Use>()
    for (const name of this.#mirror.names) {
      const view = this.#mirror.get(name)
      if (view?.mapping === undefined) continue
      let use = uses.get(view.mapping.cluster)
      if (use === undefined) {
        use = { tables: 0, sets: new Map() }
        uses.set(view.mapping.cluster, use)
      }
      use.tables++
      use.sets.set(view.canonical, (use.sets.get(view.canonical) ?? 0) + 1)
    }
    this.#revision = this.#mirror.revision
    this.#uses = uses
    return uses
  }
}

export function metasOf(entry: RegistryEntry | undefined): readonly string[] {
  const metas = parseMetas(stringsOf(entry?.value['metas']), 'metas')
  return metas.ok ? metas.value : []
}

function describe(name: string, entry: RegistryEntry | undefined, use: Use | undefined): Cluster {
  const sets = [...(use?.sets ?? [])].toSorted((a, b) => b[1] - a[1])
  const registered = metasOf(entry)
  const metas = entry === undefined ? (sets[0]?.[0].split(',') ?? []) : registered
  const canonical = canonicalMetas(metas)
  const peer = stringOf(entry?.value['peer'])
  const note = stringOf(entry?.value['note'])
  return {
    name,
    registered: entry !== undefined,
    metas: [...metas],
    ...(peer === undefined ? {} : { peer }),
    ...(note === undefined ? {} : { note }),
    tables: use?.tables ?? 0,
    drift: sets
      .filter(([set]) => set !== canonical)
      .map(([set, tables]) => ({ metas: set.split(','), tables })),
    ...(entry === undefined
      ? {}
      : { etag: entry.etag, version: entry.version, modifiedAt: entry.modifiedAt }),
  }
}
