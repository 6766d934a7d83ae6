/**
 * Two mapping nodes that give one cluster different metas (gateway.md R-6): a warning, as each table
 * still uses its own. Remembers what each cluster was given last, of a bounded number.
 */
import type { Log } from '../../cluster/runtime/runtime.ts'

const CLUSTERS_MAX = 10_000

export class ClusterDrift {
  readonly #log: Log
  readonly #metasOf = new Map<string, string>()

  constructor(log: Log) {
    this.#log = log
  }

  /** A mapping was read; `metas` is equal for equal sets. */
  look(table: string, cluster: string, metas: string): void {
    const other = this.#metasOf.get(cluster)
    if (other !== undefined && other !== metas)
      this.#log.warn('cluster with two sets of metas', { table, cluster, metas, other })
    if (this.#metasOf.size > CLUSTERS_MAX) this.#metasOf.clear()
    this.#metasOf.set(cluster, metas)
  }
}
