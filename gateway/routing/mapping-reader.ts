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

/** Called when the node changes or goes, and when it is made. */
export interface NodeWatches {
  readonly value?: Watch
  readonly creation?: Watch
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
   * The node with a watch on its value, or undefined with a watch on its creation, as far as watches
   * are given. Rejects with a `CoordinatorError`; a watch may have been set all the same.
   */
  async read(path: string, watches: NodeWatches = {}): Promise<MappingNode | undefined> {
    if (this.#reads >= READS_MAX)
      await new Promise<void>((resolve) => {
        this.#queued.push(resolve)
      })
    this.#reads++
    try {
      return await this.#fetch(path, watches)
    } finally {
      this.#reads--
      this.#queued.shift()?.()
    }
  }

  /** Reads that wait for their turn go ahead and fail with the coordinator. */
  close(): void {
    for (const go of this.#queued.splice(0)) go()
  }

  async #fetch(path: string, { value, creation }: NodeWatches): Promise<MappingNode | undefined> {
    for (;;) {
      this.#counter.add()
      try {
        return await this.#coordinator.get(path, value)
      } catch (error) {
        if (!(error instanceof CoordinatorError) || error.code !== 'no-node') throw error
      }
      if (creation === undefined) return undefined
      this.#counter.add()
      if ((await this.#coordinator.exists(path, creation)) === undefined) return undefined
      // Created in between: read it; the watch just set stands for the same question.
    }
  }
}
