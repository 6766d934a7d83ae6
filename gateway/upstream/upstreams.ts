/** The meta groups in use, one per set of metas, shared by all tables of it (gateway.md M-1). */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { Batch } from '../batch.ts'
import type { UpstreamMetrics } from '../metrics.ts'
import { MetaGroup, type UpstreamOptions } from './meta-group.ts'

/** Where a table's questions go. */
export interface Destination {
  readonly cluster: string
  readonly metas: readonly string[]
  /** Equal for equal sets of metas. */
  readonly group: string
}

const GROUPS_MAX = 1024

export class Upstreams {
  /** What goes out to metas and clients, one write per socket and turn. */
  readonly batch: Batch
  readonly #make: (route: Destination) => MetaGroup
  readonly #groups = new Map<string, MetaGroup>()

  constructor(runtime: Runtime, metrics: UpstreamMetrics, options: UpstreamOptions) {
    const batch = new Batch(runtime.timers)
    this.batch = batch
    this.#make = (route) => new MetaGroup(runtime, batch, route, metrics, options)
  }

  get size(): number {
    return this.#groups.size
  }

  group(route: Destination): MetaGroup {
    let group = this.#groups.get(route.group)
    if (group === undefined) {
      if (this.#groups.size >= GROUPS_MAX) this.#closeLeastUsed()
      group = this.#make(route)
      this.#groups.set(route.group, group)
    }
    return group
  }

  /** The one in use, if there is one. */
  known(route: Destination): MetaGroup | undefined {
    return this.#groups.get(route.group)
  }

  /** Mappings that change all the time name ever new sets: the idlest group makes room. */
  #closeLeastUsed(): void {
    let least: [string, MetaGroup] | undefined
    for (const entry of this.#groups)
      if (entry[1].inFlight === 0 && entry[1].usedAtMs < (least?.[1].usedAtMs ?? Infinity))
        least = entry
    if (least === undefined) return
    this.#groups.delete(least[0])
    least[1].close()
  }

  groups(): IterableIterator<MetaGroup> {
    return this.#groups.values()
  }

  /** Closes groups that nobody used since `beforeMs` of the monotonic clock. */
  closeIdle(beforeMs: number): void {
    for (const [key, group] of this.#groups)
      if (group.usedAtMs < beforeMs && group.inFlight === 0) {
        this.#groups.delete(key)
        group.close()
      }
  }

  close(): void {
    for (const group of this.#groups.values()) group.close()
    this.#groups.clear()
  }
}
