/**
 * Reading mapping nodes with a watch, a bounded number at a time: the ZooKeeper client slows down
 * beyond about a thousand requests in flight (dependencies.md 4).
 */
import {
  type Coordinator,
  CoordinatorError,
  type NodeStat,
  type Watch,
} from '../../cluster/coordinator/coordinator.ts'
import type { MetricCounter } from '../../cluster/runtime/metrics.ts'

const READS_MAX = 256

export interface MappingNode {
  readonly data: Buffer
  readonly stat: NodeStat
}

export class MappingReader {
  readonly #coordinator: Coordinator
  readonly #counter: MetricCounter
  readonly #queued: (() => void)[] = []
  #reads = 0

  constructor(coordinator: Coordinator, counter: MetricCounter) {
    this.#coordinator = coordinator
    this.#counter = counter
  }

  /**
   * The node with a watch on its value, or undefined with a watch on its creation. Rejects with a
   * `CoordinatorError`; a watch may have been set all the same.
   */
  async read(path: string, watch: Watch): Promise<MappingNode | undefined> {
    if (this.#reads >= READS_MAX)
      await new Promise<void>((resolve) => {
        this.#queued.push(resolve)
      })
    this.#reads++
    try {
      return await this.#fetch(path, watch)
    } finally {
      this.#reads--
      this.#queued.shift()?.()
    }
  }

  /** Reads that wait for their turn go ahead and fail with the coordinator. */
  close(): void {
    for (const go of this.#queued.splice(0)) go()
  }

  async #fetch(path: string, watch: Watch): Promise<MappingNode | undefined> {
    for (;;) {
      this.#counter.add()
      try {
        return await this.#coordinator.get(path, watch)
      } catch (error) {
        if (!(error instanceof CoordinatorError) || error.code !== 'no-node') throw error
      }
      this.#counter.add()
      if ((await this.#coordinator.exists(path, watch)) === undefined) return undefined
      // Created in between: read it; the watch just set stands for the same question.
    }
  }
}
