/**
 * The control tree as far as routing reads it (gateway.md 3.6): the registry of clusters, the groups'
 * staleness policies, and the redirects. Three mirrored directories, and the redirects that follow
 * from them. Until it was read once nobody knows where a mapped table is: a redirect may be in force.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { DirectoryMetrics } from '../metrics.ts'
import {
  parseRedirect,
  parseRegisteredCluster,
  parseTableGroup,
  type RedirectNode,
  type RegisteredCluster,
  type TableGroup,
} from './control-nodes.ts'
import type { FieldProblem, Parsed } from './mapping.ts'
import type { NameTest } from './name-pattern.ts'
import { NodeMirror } from './node-mirror.ts'
import { type Redirect, Redirects } from './redirects.ts'
import { type StalePolicy, usableMs } from './staleness.ts'

export interface ControlTreeOptions {
  readonly controlRoot: string
  /** Redirects or policies have changed, or routes may be told from now on. Synchronous. */
  readonly onChange: () => void
  /** All of it is known to be current. */
  readonly onConfirmed: () => void
}

const CLUSTERS_MAX = 1000
const GROUPS_MAX = 10_000
const REDIRECTS_MAX = 1000

export class ControlTree {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #metrics: DirectoryMetrics
  readonly #options: ControlTreeOptions
  readonly #clusters: NodeMirror<RegisteredCluster>
  readonly #groups: NodeMirror<TableGroup>
  readonly #redirectNodes: NodeMirror<RedirectNode>
  readonly #redirects: Redirects
  readonly #redirectListeners = new Set<() => void>()
  /** Groups that say something of their tables. */
  #policies: readonly { readonly stale: StalePolicy; readonly has: NameTest }[] = []
  #wasLoaded = false

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    metrics: DirectoryMetrics,
    options: ControlTreeOptions,
  ) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#metrics = metrics
    this.#options = options
    this.#redirects = new Redirects(runtime, coordinator, {
      controlRoot: options.controlRoot,
      clusters: () => (this.#clusters.isLoaded ? this.#clusters.values : undefined),
      onChange: () => {
        options.onChange()
        for (const listener of this.#redirectListeners) listener()
      },
      onDecided: () => this.#onConfirmed(),
      onRefused: (source, problem) => metrics.redirectRefused.set(source, problem !== undefined),
    })
    const decide = (): void => this.#redirects.decide()
    this.#clusters = this.#mirror('clusters', CLUSTERS_MAX, parseRegisteredCluster, decide)
    this.#groups = this.#mirror('groups', GROUPS_MAX, parseTableGroup, () => {
      this.#policies = [...this.#groups.values.values()].flatMap(({ stale, has }) =>
        stale === undefined ? [] : [{ stale, has }],
      )
      options.onChange()
    })
    this.#redirectNodes = this.#mirror('redirects', REDIRECTS_MAX, parseRedirect, () =>
      this.#redirects.update(this.#redirectNodes.values),
    )
  }

  /** Routes may be told. */
  get isLoaded(): boolean {
    return this.#redirects.isDecided && this.#groups.isLoaded
  }

  /** What is told was read in the session that lasts. */
  get isConfirmed(): boolean {
    const areRead = this.#redirectNodes.isConfirmed && !this.#redirects.isReading
    return this.isLoaded && areRead && this.#clusters.isConfirmed && this.#groups.isConfirmed
  }

  /** The registry, as last read. */
  get clusters(): ReadonlyMap<string, RegisteredCluster> {
    return this.#clusters.values
  }

  /** Undefined while the registry was not read. */
  isRegistered(cluster: string): boolean | undefined {
    return this.#clusters.isLoaded ? this.#clusters.values.has(cluster) : undefined
  }

  /** Redirects in force, by source. */
  get redirects(): ReadonlyMap<string, Redirect> {
    return this.#redirects.applied
  }

  /** Called when others are in force; answers how to stop it. */
  onRedirects(listener: () => void): () => void {
    this.#redirectListeners.add(listener)
    return () => this.#redirectListeners.delete(listener)
  }

  get refusedCount(): number {
    return this.#redirects.refusedCount
  }

  redirect(cluster: string, table: string): Redirect | undefined {
    return this.#redirects.find(cluster, table)
  }

  /** Of the group that the mapping names, else the strictest one of those that claim the table. */
  groupPolicy(table: string, named: string | undefined): StalePolicy | undefined {
    const own = named === undefined ? undefined : this.#groups.values.get(named)?.stale
    if (own !== undefined) return own
    const claiming = this.#policies.filter(({ has }) => has(table)).map(({ stale }) => stale)
    return claiming.toSorted((a, b) => usableMs(a, 0) - usableMs(b, 0))[0]
  }

  /** Resolves when every watch event so far was applied, and no redirect is refused. */
  async settled(): Promise<void> {
    await Promise.all([
      this.#clusters.settled(),
      this.#groups.settled(),
      this.#redirectNodes.settled(),
    ])
    await this.#redirects.settled()
  }

  close(): void {
    this.#clusters.close()
    this.#groups.close()
    this.#redirectNodes.close()
    this.#redirects.close()
  }

  #mirror<T>(
    name: string,
    nodesMax: number,
    parse: (name: string, data: Buffer) => Parsed<T>,
    onChange: () => void,
  ): NodeMirror<T> {
    const onProblem = (child: string, problem: FieldProblem | undefined): void => {
      this.#metrics.controlInvalid.set(`${name}/${child}`, problem !== undefined)
      if (name === 'redirects') this.#redirects.malformed(child, problem !== undefined)
    }
    const path = `${this.#options.controlRoot}/${name}`
    return new NodeMirror(this.#runtime, this.#coordinator, {
      path,
      nodesMax,
      parse,
      onChange,
      onConfirmed: () => {
        // Also when there was nothing to change: an empty directory decides too.
        onChange()
        this.#onConfirmed()
      },
      onProblem,
    })
  }

  #onConfirmed(): void {
    if (!this.#wasLoaded && this.isLoaded) {
      this.#wasLoaded = true
      this.#options.onChange()
    }
    if (this.isConfirmed) this.#options.onConfirmed()
  }
}
