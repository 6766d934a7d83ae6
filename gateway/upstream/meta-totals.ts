/**
 * What became of the queries to each meta server's address, for the metrics (gateway.md 12): plain
 * numbers that outlive groups and connections, because counters never fall. Bounded: beyond the
 * limit the addresses of a cluster, then the clusters, are counted together.
 */

export interface MetaTotals {
  readonly cluster: string
  readonly address: string
  /** Late answers, which nobody waited for, are among them. */
  answered: number
  /** Gone with their connection. */
  lost: number
  /** Given up after a silence or at the end of the client's time. */
  timedOut: number
}

const SERIES_MAX = 300
const CLUSTERS_MAX = 100
export const OTHER = '__other__'

export class MetaTotalsTable {
  readonly #totals = new Map<string, MetaTotals>()
  readonly #clusters = new Set<string>()

  /** The name of the cluster as a label. */
  clusterLabel(cluster: string): string {
    if (this.#clusters.has(cluster)) return cluster
    if (this.#clusters.size >= CLUSTERS_MAX) return OTHER
    this.#clusters.add(cluster)
    return cluster
  }

  of(cluster: string, address: string): MetaTotals {
    const clusterLabel = this.clusterLabel(cluster)
    const isFull = this.#totals.size >= SERIES_MAX
    const key = `${clusterLabel} ${address}`
    return this.#totals.get(key) ?? this.#make(clusterLabel, isFull ? OTHER : address)
  }

  values(): IterableIterator<MetaTotals> {
    return this.#totals.values()
  }

  #make(cluster: string, address: string): MetaTotals {
    const key = `${cluster} ${address}`
    let totals = this.#totals.get(key)
    if (totals === undefined) {
      totals = { cluster, address, answered: 0, lost: 0, timedOut: 0 }
      this.#totals.set(key, totals)
    }
    return totals
  }
}
