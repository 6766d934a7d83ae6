/**
 * The storage engine in memory, with the crash behaviour of RocksDB as `rocksdb.ts` uses it
 * (replica-invariants.md 3.3): the death of the process keeps every batch that was reported done
 * (and possibly some that were under way, in order); a power cut keeps a prefix of the batches, not
 * shorter than the last synced one. For the simulation and for tests; deterministic, given the
 * runtime's timers and randomness.
 *
 * `MemoryEngineDisk` is what survives a restart of its node; an engine is one opening of it.
 */
import type { Random, Runtime } from '../runtime/runtime.ts'
import { EngineError } from './engine.ts'
import type {
  BatchOperation,
  EngineErrorCode,
  EngineIterator,
  Entry,
  IterateOptions,
  StorageEngine,
} from './engine.ts'
import { callersRange, checkEngineFormat, isEmptyRange } from './engine-format.ts'
import { mapDelete, mapGet, mapNext, mapPrevious, mapSet, mapSize } from './sorted-map.ts'
import type { SortedMap } from './sorted-map.ts'

export interface MemoryEngineOptions {
  /** Each operation takes a random time up to this; 0 (default) means one turn of the loop. */
  readonly latencyMsMax?: number
}

interface PendingWrite {
  readonly batch: readonly BatchOperation[]
  readonly sync: boolean
}

export interface CrashOptions {
  /** A power cut also loses batches that no later sync covers. */
  readonly powerCut: boolean
  readonly random: Random
}

/** Older un-synced batches count as written back by the operating system. */
const historyMax = 10_000

export class MemoryEngineDisk {
  readonly #latencyMsMax: number
  /** States from the last synced one to the current one, one per batch. Never empty. */
  #history: SortedMap[] = [undefined]
  /** Batches whose operation is under way, in the order of the calls. */
  #pending: PendingWrite[] = []
  /** Counts openings; an engine of an older one belongs to a dead process. */
  #generation = 0
  #open = false
  #fault: EngineErrorCode | undefined

  constructor(options: MemoryEngineOptions = {}) {
    this.#latencyMsMax = options.latencyMsMax ?? 0
  }

  /** Rejects with EngineError `locked` while an earlier opening is neither closed nor crashed. */
  async open(runtime: Runtime): Promise<StorageEngine> {
    if (this.#open) throw new EngineError('locked', 'memory engine: it is open already')
    this.#open = true
    this.#generation++
    const engine = this.#engine(runtime, this.#generation)
    try {
      await checkEngineFormat(engine, 'memory engine')
    } catch (error) {
      await engine.close()
      throw error
    }
    return engine
  }

  /**
   * The node died: operations under way never complete, and the batches that survive are drawn. The
   * disk can be opened again.
   */
  crash({ powerCut, random }: CrashOptions): void {
    const started = random.below(this.#pending.length + 1)
    for (const write of this.#pending.slice(0, started)) this.#apply(write)
    this.#pending = []
    this.#generation++
    this.#open = false
    if (!powerCut) return
    this.#history.length = 1 + random.below(this.#history.length)
    this.#history = [this.#current()]
  }

  /** From now on operations fail with this code; `undefined` ends that. */
  setFault(code: EngineErrorCode | undefined): void {
    this.#fault = code
  }

  /** Entries stored, those of the engine itself included. */
  entryCount(): number {
    return mapSize(this.#current())
  }

  #current(): SortedMap {
    return this.#history.at(-1)
  }

  #apply({ batch, sync }: PendingWrite): void {
    let map = this.#current()
    for (const operation of batch)
      map =
        operation.type === 'put'
          ? mapSet(map, operation.key, operation.value)
          : mapDelete(map, operation.key)
    if (sync) this.#history = [map]
    else if (this.#history.push(map) > historyMax) this.#history.shift()
  }

  #engine(runtime: Runtime, generation: number): StorageEngine {
    let closed = false
    let underWay = 0
    let allDone: (() => void) | undefined

    const closedError = (): EngineError => new EngineError('closed', 'memory engine: it is closed')
    /** Runs `action` after the latency, unless the node has crashed: then it never settles. */
    const later = <T>(action: () => T): Promise<T> => {
      if (closed) return Promise.reject(closedError())
      underWay++
      return new Promise<T>((resolve, reject) => {
        const run = (): void => {
          if (generation !== this.#generation) return
          try {
            if (this.#fault !== undefined)
              throw new EngineError(this.#fault, `memory engine: injected ${this.#fault} fault`)
            resolve(action())
          } catch (error) {
            reject(error)
          }
          if (--underWay === 0) allDone?.()
        }
        if (this.#latencyMsMax === 0) runtime.timers.soon(run)
        else runtime.timers.after(runtime.random.float() * this.#latencyMsMax, run)
      })
    }

    return {
      write: async (batch, { sync }) => {
        if (closed) throw closedError()
        const write: PendingWrite = { batch: copyOf(batch), sync }
        this.#pending.push(write)
        try {
          await later(() => this.#apply(write))
        } finally {
          this.#pending = this.#pending.filter((other) => other !== write)
        }
      },
      get: (key) => later(() => mapGet(this.#current(), key)),
      getMany: (keys) =>
        later(() => {
          const map = this.#current()
          return keys.map((key) => mapGet(map, key))
        }),
      iterate: (options) => {
        const map = closed ? undefined : this.#current()
        return memoryIterator(map, callersRange(options), later)
      },
      compactRange: () => later(() => undefined),
      approximateSizeBytes: ({ start, end }) =>
        later(() => rangeSizeBytes(this.#current(), start, end)),
      stats: () => ({ keysEstimate: mapSize(this.#current()) }),
      close: async () => {
        closed = true
        if (underWay > 0) await new Promise<void>((resolve) => (allDone = resolve))
        if (generation === this.#generation) this.#open = false
      },
    }
  }
}

/** What the engine keeps must not change when the caller reuses its buffers. */
function copyOf(batch: readonly BatchOperation[]): BatchOperation[] {
  return batch.map((operation) =>
    operation.type === 'put'
      ? { type: 'put', key: Buffer.from(operation.key), value: Buffer.from(operation.value) }
      : { type: 'del', key: Buffer.from(operation.key) },
  )
}

function memoryIterator(
  map: SortedMap,
  options: IterateOptions,
  later: <T>(action: () => T) => Promise<T>,
): EngineIterator {
  const reverse = options.reverse === true
  const [from, fromInclusive] = reverse
    ? [options.lte ?? options.lt, options.lte !== undefined]
    : [options.gte ?? options.gt, options.gte !== undefined]
  let at: { readonly key: Buffer | undefined; readonly inclusive: boolean } | undefined = {
    key: from,
    inclusive: fromInclusive,
  }
  let closed = false
  if (isEmptyRange(options)) at = undefined

  const take = (maxEntries: number, maxBytes: number): readonly Entry[] => {
    const entries: Entry[] = []
    let bytes = 0
    while (at !== undefined && entries.length < maxEntries && bytes < maxBytes) {
      const found = (reverse ? mapPrevious : mapNext)(map, at.key, at.inclusive)
      if (found === undefined || !isInside(found[0], options)) {
        at = undefined
        break
      }
      const [key, value] = found
      entries.push([Buffer.from(key), options.keysOnly === true ? EMPTY : Buffer.from(value)])
      bytes += key.length + (options.keysOnly === true ? 0 : value.length)
      at = { key, inclusive: false }
    }
    return entries
  }

  return {
    next: (maxEntries, maxBytes) =>
      closed
        ? Promise.reject(new EngineError('closed', 'memory engine: the iterator is closed'))
        : later(() => take(maxEntries, maxBytes)),
    close: () => {
      closed = true
      return Promise.resolve()
    },
  }
}

const EMPTY = Buffer.alloc(0)

function isInside(key: Buffer, { gte, gt, lte, lt }: IterateOptions): boolean {
  if (gte !== undefined && Buffer.compare(key, gte) < 0) return false
  if (gt !== undefined && Buffer.compare(key, gt) <= 0) return false
  if (lte !== undefined && Buffer.compare(key, lte) > 0) return false
  return lt === undefined || Buffer.compare(key, lt) < 0
}

function rangeSizeBytes(map: SortedMap, start: Buffer, end: Buffer): number {
  let bytes = 0
  let entry = mapNext(map, start, true)
  while (entry !== undefined && Buffer.compare(entry[0], end) < 0) {
    bytes += entry[0].length + entry[1].length
    entry = mapNext(map, entry[0], false)
  }
  return bytes
}
