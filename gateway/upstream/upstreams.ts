/** The meta groups in use, one per set of metas, shared by all tables of it (gateway.md M-1). */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { Batch } from '../batch.ts'
import type { UpstreamMetrics } from '../metrics.ts'
import { MetaGroup, type UpstreamOptions } from './meta-group.ts'

export class Upstreams {
  /** What goes out to metas and clients, one write per socket and turn. */
  readonly batch: Batch
  readonly #make: (metas: readonly string[]) => MetaGroup
  readonly #groups = new Map<string, MetaGroup>()

  constructor(runtime: Runtime, metrics: UpstreamMetrics, options: UpstreamOptions) {
    const batch = new Batch(runtime.timers)
    this.batch = batch
    this.#make = (metas) => new MetaGroup(runtime, batch, metas, metrics, options)
  }

  get size(): number {
    return this.#groups.size
  }

  group(route: { readonly group: string; readonly metas: readonly string[] }): MetaGroup {
    let group = this.#groups.get(route.group)
    if (group === undefined) {
      group = this.#make(route.metas)
      this.#groups.set(route.group, group)
    }
    return group
  }

  entries(): IterableIterator<[string, MetaGroup]> {
    return this.#groups.entries()
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
