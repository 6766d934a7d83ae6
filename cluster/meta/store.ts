/**
 * The stored tree on the coordinator: reads it whole for a new leader, and writes nodes, one write
 * per node at a time and in the order asked for, each repeated until its outcome is known
 * (meta-server.md 3.2, 4, 8.4). A write that fails for any other reason ends the process: a wrong
 * view is worse than a restart.
 */
import { type Coordinator, CoordinatorError } from '../coordinator/coordinator.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { createPath, isTransient } from './contender.ts'
import type { StoredApp, StoredTree } from './restore.ts'
import { appPath, appsPath, partitionPath, unlocked } from './storage-tree.ts'

const RETRY_MS = 1000
const inFlightMax = 64

interface Write {
  readonly path: string
  readonly data: Buffer
  readonly fresh: boolean
  readonly onDone: () => void
}

export class Store {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #root: string
  /** Per node; the first one is being written or waits for its turn in `#ready`. */
  readonly #queues = new Map<string, Write[]>()
  #ready: Write[] = []
  #inFlight = 0
  #closed = false

  /** `root` is the cluster root, such as `/pegasus/alpha`. */
  constructor(runtime: Runtime, coordinator: Coordinator, root: string) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#root = root
  }

  /** Writes not acknowledged yet. */
  get pending(): number {
    let count = 0
    for (const queue of this.#queues.values()) count += queue.length
    return count
  }

  /** `onDone` is called in a later turn, when the storage has acknowledged it. */
  write(path: string, data: string, fresh: boolean, onDone: () => void): void {
    const write = { path, data: Buffer.from(data), fresh, onDone }
    const queue = this.#queues.get(path)
    if (queue !== undefined) {
      queue.push(write)
      return
    }
    this.#queues.set(path, [write])
    this.#ready.push(write)
    this.#pump()
  }

  /** Nothing is begun or reported any more. */
  close(): void {
    this.#closed = true
  }

  #pump(): void {
    while (!this.#closed && this.#inFlight < inFlightMax) {
      const write = this.#ready.shift()
      if (write === undefined) return
      this.#inFlight++
      void this.#attempt(write)
    }
  }

  async #attempt(write: Write): Promise<void> {
    try {
      await this.#put(write)
    } catch (error) {
      if (this.#closed) return
      if (!isTransient(error))
        this.#runtime.crash('a write to the coordination service failed', {
          path: write.path,
          error,
        })
      this.#runtime.log.warn('the outcome of a write is unknown; the same again', {
        path: write.path,
        error,
      })
      this.#runtime.timers.after(RETRY_MS, () => {
        if (!this.#closed) void this.#attempt(write)
      })
      return
    }
    if (this.#closed) return
    this.#inFlight--
    const queue = this.#queues.get(write.path)
    queue?.shift()
    const next = queue?.[0]
    if (next === undefined) this.#queues.delete(write.path)
    else this.#ready.push(next)
    write.onDone()
    this.#pump()
  }

  /** Whole contents: an earlier try that arrived after all, or a leftover, is simply replaced. */
  async #put({ path, data, fresh }: Write): Promise<void> {
    const full = this.#root + path
    const set = (): Promise<unknown> => this.#coordinator.set(full, data)
    const create = (): Promise<unknown> => this.#coordinator.create(full, data)
    try {
      await (fresh ? create() : set())
    } catch (error) {
      if (!(error instanceof CoordinatorError)) throw error
      if (fresh && error.code === 'node-exists') await set()
      else if (!fresh && error.code === 'no-node') await create()
      else throw error
    }
  }

  /** Until it succeeds; prepares an empty tree at the first start of a cluster. */
  async read(): Promise<StoredTree> {
    for (;;)
      try {
        return await this.#readOnce()
      } catch (error) {
        if (this.#closed || !isTransient(error)) throw error
        this.#runtime.log.warn('reading the stored tree failed; once more', { error })
        await new Promise<void>((resolve) => {
          this.#runtime.timers.after(RETRY_MS, resolve)
        })
      }
  }

  async #readOnce(): Promise<StoredTree> {
    const root = await this.#get(appsPath)
    if (root === undefined) {
      await createPath(this.#coordinator, this.#root)
      await this.#put({
        path: appsPath,
        data: Buffer.from(unlocked),
        fresh: true,
        onDone: () => {},
      })
      return { root: undefined, apps: [] }
    }
    const appIds = await this.#numbers(appsPath)
    const apps = await inParallel(appIds, (appId) => this.#readApp(appId))
    return { root, apps: apps.filter((app) => app !== undefined) }
  }

  async #readApp(appId: number): Promise<StoredApp | undefined> {
    const [text, indexes] = await Promise.all([
      this.#get(appPath(appId)),
      this.#numbers(appPath(appId)),
    ])
    if (text === undefined) return undefined
    const read = await inParallel(indexes, async (index) => {
      const config = await this.#get(partitionPath(appId, index))
      return [index, config] as const
    })
    const partitions = new Map<number, string>()
    for (const [index, config] of read) if (config !== undefined) partitions.set(index, config)
    return { appId, text, partitions }
  }

  async #get(path: string): Promise<string | undefined> {
    try {
      const { data } = await this.#coordinator.get(this.#root + path)
      return data.toString('utf8')
    } catch (error) {
      if (error instanceof CoordinatorError && error.code === 'no-node') return undefined
      throw error
    }
  }

  /** Children whose names are numbers; others (such as `duplication`) belong to somebody else. */
  async #numbers(path: string): Promise<readonly number[]> {
    const names = await this.#coordinator.children(this.#root + path)
    return names
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .toSorted((a, b) => a - b)
  }
}

/** At most `readsMax` at a time, results in the order of the items. */
async function inParallel<T, R>(
  items: readonly T[],
  read: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const at = next++
      const item = items[at]
      if (item !== undefined) results[at] = await read(item)
    }
  }
  await Promise.all(Array.from({ length: Math.min(readsMax, items.length) }, work))
  return results
}

/** Tables and partitions of a table, each: 16 × 16 reads stay below the coordinator's limit. */
const readsMax = 16
