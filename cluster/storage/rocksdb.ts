/**
 * The storage engine on RocksDB, through the binding of the npm package rocksdb 5.2.1. Only this file
 * imports it. What the binding can and cannot do: dependencies.md 2.2; why a `sync` write makes all
 * earlier batches durable: replica-server.md 9.4.
 *
 * The binding has no guard against use after close (it would crash the process), so every call goes
 * through one check here. It runs each call on libuv's thread pool; calls are not ordered among
 * themselves.
 */
import binding from 'rocksdb/binding.js'
import type { Context, IteratorContext, IteratorOptions } from 'rocksdb/binding.js'
import { makeDirectory } from '../runtime/node-files.ts'
import { EngineError } from './engine.ts'
import type {
  BatchOperation,
  EngineIterator,
  Entry,
  IterateOptions,
  StorageEngine,
} from './engine.ts'
import { GetQueue } from './get-queue.ts'
import type { QueuedGet } from './get-queue.ts'
import { callersRange, checkEngineFormat, isEmptyRange } from './engine-format.ts'

export interface RocksDbOptions {
  /** Folder of this database alone; made with its parents when missing. */
  readonly path: string
  /** Block cache, shared by all replicas of the engine. */
  readonly cacheBytes?: number
  /** Size of one memtable. */
  readonly writeBufferBytes?: number
  readonly openFilesMax?: number
}

/** Sized for a server process that keeps all its replicas in one engine. */
const defaults = { cacheBytes: 32 << 20, writeBufferBytes: 16 << 20, openFilesMax: 1000 }

/** Properties of RocksDB that `stats` reports, under these names. */
const properties = {
  memtableBytes: 'rocksdb.cur-size-all-mem-tables',
  tableFilesBytes: 'rocksdb.total-sst-files-size',
  keysEstimate: 'rocksdb.estimate-num-keys',
  compactionsRunning: 'rocksdb.num-running-compactions',
  flushesRunning: 'rocksdb.num-running-flushes',
  compactionPendingBytes: 'rocksdb.estimate-pending-compaction-bytes',
  writeStopped: 'rocksdb.is-write-stopped',
  blockCacheBytes: 'rocksdb.block-cache-usage',
  snapshots: 'rocksdb.num-snapshots',
  backgroundErrors: 'rocksdb.background-errors',
} as const

/**
 * Rejects with EngineError `locked` (another process has it open), `newer-format`, `corruption` or
 * `io`. One engine per folder and process.
 */
export async function openRocksDb(options: RocksDbOptions): Promise<StorageEngine> {
  const { path } = options
  const what = `storage engine ${path}`
  try {
    await makeDirectory(path)
  } catch (cause) {
    throw new EngineError('io', `${what}: cannot make the folder: ${messageOf(cause)}`, { cause })
  }
  const context = binding.db_init()
  await settle<void>(what, (done) =>
    binding.db_open(
      context,
      path,
      {
        createIfMissing: true,
        cacheSize: options.cacheBytes ?? defaults.cacheBytes,
        writeBufferSize: options.writeBufferBytes ?? defaults.writeBufferBytes,
        maxOpenFiles: options.openFilesMax ?? defaults.openFilesMax,
      },
      done,
    ),
  )
  const engine = new RocksDbEngine(context, what)
  try {
    await checkEngineFormat(engine, what)
  } catch (error) {
    await engine.close()
    throw error
  }
  return engine
}

class RocksDbEngine implements StorageEngine {
  readonly #context: Context
  readonly #what: string
  readonly #gets: GetQueue
  #closing: Promise<void> | undefined

  constructor(context: Context, what: string) {
    this.#context = context
    this.#what = what
    this.#gets = new GetQueue(setImmediate, (group) => this.#read(group))
  }

  write(batch: readonly BatchOperation[], options: { readonly sync: boolean }): Promise<void> {
    return this.#call((done) => binding.batch_do(this.#context, batch, options, done))
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    if (this.#closing !== undefined) return Promise.reject(this.#closedError())
    return this.#gets.add(key)
  }

  getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | undefined)[]> {
    return this.#call((done) => binding.db_get_many(this.#context, keys, noOptions, done))
  }

  iterate(options: IterateOptions): EngineIterator {
    if (this.#closing !== undefined) return closedIterator(this.#closedError())
    const range = callersRange(options)
    if (isEmptyRange(range)) return new RocksDbIterator(undefined, this.#what, () => this.#isOpen())
    const bounds: { -readonly [K in keyof IteratorOptions]: IteratorOptions[K] } = {
      reverse: range.reverse === true,
      values: range.keysOnly !== true,
      highWaterMark: iteratorReadAheadBytes,
    }
    // A bound of zero length means no bound to the binding; as a lower one it is just that.
    if (range.gte !== undefined && range.gte.length > 0) bounds.gte = range.gte
    else if (range.gt !== undefined && range.gt.length > 0) bounds.gt = range.gt
    if (range.lte !== undefined) bounds.lte = range.lte
    else if (range.lt !== undefined) bounds.lt = range.lt
    const context = binding.iterator_init(this.#context, bounds)
    return new RocksDbIterator(context, this.#what, () => this.#isOpen())
  }

  compactRange(range: { readonly start: Buffer; readonly end: Buffer }): Promise<void> {
    return this.#call((done) =>
      binding.db_compact_range(this.#context, range.start, range.end, done),
    )
  }

  approximateSizeBytes(range: { readonly start: Buffer; readonly end: Buffer }): Promise<number> {
    return this.#call((done) =>
      binding.db_approximate_size(this.#context, range.start, range.end, done),
    )
  }

  stats(): Readonly<Record<string, number>> {
    if (this.#closing !== undefined) return {}
    const figures: Record<string, number> = {}
    for (const [name, property] of Object.entries(properties)) {
      const text = binding.db_get_property(this.#context, property)
      if (/^\d+$/.test(text)) figures[name] = Number(text)
    }
    return figures
  }

  close(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    this.#gets.flush()
    this.#closing = settle<void>(this.#what, (done) => binding.db_close(this.#context, done))
    return this.#closing
  }

  #read(group: readonly QueuedGet[]): void {
    const keys = group.map(({ key }) => key)
    binding.db_get_many(this.#context, keys, noOptions, (error, values) => {
      for (const [index, { resolve, reject }] of group.entries())
        if (error === null) resolve(values[index])
        else reject(engineError(this.#what, error))
    })
  }

  #isOpen(): boolean {
    return this.#closing === undefined
  }

  #closedError(): EngineError {
    return new EngineError('closed', `${this.#what} is closed`)
  }

  #call<T>(start: (done: (error: Error | null, value: T) => void) => void): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(this.#closedError())
    return settle(this.#what, start)
  }
}

const noOptions = {}

/** One native read fetches about this much; the binding caps it at 1000 entries besides. */
const iteratorReadAheadBytes = 64 * 1024

class RocksDbIterator implements EngineIterator {
  readonly #context: IteratorContext | undefined
  readonly #what: string
  readonly #engineIsOpen: () => boolean
  /** Read ahead, last entry first: value, key, value, key … */
  #ahead: Buffer[] = []
  #finished: boolean
  #ended: Promise<void> | undefined

  constructor(context: IteratorContext | undefined, what: string, engineIsOpen: () => boolean) {
    this.#context = context
    this.#what = what
    this.#engineIsOpen = engineIsOpen
    this.#finished = context === undefined
  }

  async next(maxEntries: number, maxBytes: number): Promise<readonly Entry[]> {
    const entries: Entry[] = []
    let bytes = 0
    while (entries.length < maxEntries && bytes < maxBytes) {
      this.#checkUsable()
      const key = this.#ahead.pop()
      const value = this.#ahead.pop()
      if (key === undefined || value === undefined) {
        if (this.#finished) break
        await this.#readAhead()
        continue
      }
      entries.push([key, value])
      bytes += key.length + value.length
    }
    return entries
  }

  close(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #end(): Promise<void> {
    const context = this.#context
    this.#ahead = []
    // A closing engine has ended the iterator by itself.
    if (context === undefined || !this.#engineIsOpen()) return
    await settle<void>(this.#what, (done) => binding.iterator_end(context, done))
  }

  #readAhead(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#context === undefined) return resolve()
      binding.iterator_next(this.#context, (error, entries, finished) => {
        if (error !== null) return reject(engineError(this.#what, error))
        this.#ahead = entries
        this.#finished = finished
        resolve()
      })
    })
  }

  #checkUsable(): void {
    if (this.#ended === undefined && this.#engineIsOpen()) return
    throw new EngineError('closed', `${this.#what}: the iterator is closed`)
  }
}

function closedIterator(error: EngineError): EngineIterator {
  return { next: () => Promise.reject(error), close: () => Promise.resolve() }
}

function settle<T>(
  what: string,
  start: (done: (error: Error | null, value: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null || error === undefined) resolve(value)
      else reject(engineError(what, error))
    })
  })
}

function engineError(what: string, cause: Error): EngineError {
  const { message } = cause
  const text = `${what}: ${message}`
  if (message.startsWith('Corruption')) return new EngineError('corruption', text, { cause })
  if (/lock hold by|\/LOCK/.test(message))
    return new EngineError(
      'locked',
      `${what} is in use by another process: one server per data folder (${message})`,
      { cause },
    )
  return new EngineError('io', text, { cause })
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
