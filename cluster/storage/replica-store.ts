/**
 * One replica's content in the shared engine: its records, how far it has applied its history, and
 * the meta entries of its owner. Every applied decree changes records and the applied point in one
 * batch, so a crash leaves exactly the decrees 1 … applied (replica-server.md 9.3, invariant I14).
 *
 * Content is replaced (learning) or removed in several batches under a mark, so that whatever is left
 * of it by a crash is detected and removed at the next start. The set of all stores of a server, their
 * recovery and their durable decree is `replica-stores.ts`.
 */
import type { Gpid } from '../protocol/base.ts'
import { gpidText } from '../protocol/base.ts'
import { EngineError } from './engine.ts'
import type { BatchOperation, EngineIterator, IterateOptions, StorageEngine } from './engine.ts'
import { SnapshotLoader } from './snapshot-loader.ts'
import { StoreSnapshot } from './store-snapshot.ts'
import {
  NOTHING_APPLIED,
  dataEnd,
  dataKey,
  dataRange,
  decodePoint,
  encodePoint,
  metaKey,
  storeEnd,
  storePrefix,
  withoutPrefix,
} from './store-keys.ts'
import type { AppliedPoint } from './store-keys.ts'

/** Names of the store's own meta entries; those of its owner get a prefix. */
const APPLIED = 'decree'
const SYNCED = 'sync'
/** Present while content is replaced or removed: 'wipe' leaves the owner's entries, 'remove' none. */
const UNFINISHED = 'unfinished'
const OWNERS = 'own.'
type Unfinished = 'wipe' | 'remove'

/** Bounds of one deleting batch. */
const deleteEntriesMax = 4096
const deleteBytesMax = 1 << 20

export class ReplicaStore {
  readonly gpid: Gpid
  readonly #engine: StorageEngine
  readonly #prefix: Buffer
  #applied: AppliedPoint
  #durableDecree: number
  #unsyncedBytes = 0
  /** The batch under way: at most one. */
  #writing: Promise<void> | undefined
  /** Callers of `snapshot` that wait for it. */
  #waiting: (() => void)[] = []
  /** After a failed batch nothing is known about the store until it is opened again. */
  #failure: Error | undefined
  #loading = false

  private constructor(
    engine: StorageEngine,
    gpid: Gpid,
    state: { readonly applied: AppliedPoint; readonly durableDecree: number },
  ) {
    this.gpid = gpid
    this.#engine = engine
    this.#prefix = storePrefix(gpid)
    this.#applied = state.applied
    this.#durableDecree = state.durableDecree
  }

  /**
   * Reads where the replica stands; first finishes a removal or an unfinished load that a crash
   * interrupted, which leaves an empty store. Rejects with EngineError.
   */
  static async open(engine: StorageEngine, gpid: Gpid): Promise<ReplicaStore> {
    const prefix = storePrefix(gpid)
    const [unfinished, applied, synced] = await engine.getMany(
      [UNFINISHED, APPLIED, SYNCED].map((name) => metaKey(prefix, name)),
    )
    if (unfinished !== undefined) {
      const store = new ReplicaStore(engine, gpid, { applied: NOTHING_APPLIED, durableDecree: 0 })
      await store.#deleteContent(unfinished.toString() === 'wipe' ? 'wipe' : 'remove')
      return store
    }
    const point = (bytes: Buffer | undefined): AppliedPoint => {
      const decoded = bytes === undefined ? NOTHING_APPLIED : decodePoint(bytes)
      if (decoded !== undefined) return decoded
      throw new EngineError('corruption', `replica ${gpidText(gpid)}: unreadable applied decree`)
    }
    const state = point(applied)
    // A sync mark can outlive the content that it was about.
    const durableDecree = Math.min(point(synced).decree, state.decree)
    return new ReplicaStore(engine, gpid, { applied: state, durableDecree })
  }

  /** The last batch that is in the engine. */
  get applied(): AppliedPoint {
    return this.#applied
  }

  /** Decrees up to this one survive a power cut without the log. */
  get durableDecree(): number {
    return this.#durableDecree
  }

  /** Size of the batches since the last sync mark, to decide when the next one is due. */
  get unsyncedBytes(): number {
    return this.#unsyncedBytes
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.#engine.get(dataKey(this.#prefix, key))
  }

  /** One state for all keys; order as asked. */
  getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | undefined)[]> {
    return this.#engine.getMany(keys.map((key) => dataKey(this.#prefix, key)))
  }

  /** Over records only, with raw keys, whatever bounds are given. Whoever asks closes it. */
  iterate(options: IterateOptions): EngineIterator {
    const inner = this.#engine.iterate(dataRange(this.#prefix, options))
    return {
      next: async (maxEntries, maxBytes) =>
        (await inner.next(maxEntries, maxBytes)).map(withoutPrefix),
      close: () => inner.close(),
    }
  }

  /**
   * Applies the changes of one or more consecutive mutations, up to `point.decree`; `operations` may
   * be empty. Later operations on a key win. Settles when the batch is in the engine (it survives the
   * process); the log keeps it safe until the next sync mark. One at a time, in order of decrees; a
   * rejection leaves the store behind its history and its owner has to give it up.
   */
  async apply(operations: readonly BatchOperation[], point: AppliedPoint): Promise<void> {
    this.#checkUsable()
    if (point.decree <= this.#applied.decree)
      throw new Error(
        `${this.#name()}: decree ${point.decree} after decree ${this.#applied.decree}`,
      )
    const batch: BatchOperation[] = []
    let bytes = 0
    for (const operation of operations) {
      const key = dataKey(this.#prefix, operation.key)
      if (operation.type === 'put') {
        batch.push({ type: 'put', key, value: operation.value })
        bytes += operation.value.length
      } else batch.push({ type: 'del', key })
      bytes += key.length
    }
    batch.push({ type: 'put', key: metaKey(this.#prefix, APPLIED), value: encodePoint(point) })
    await this.#exclusively(async () => {
      await this.#engine.write(batch, { sync: false })
      this.#applied = point
      this.#unsyncedBytes += bytes
    })
  }

  /**
   * Removes records outside the history of decrees, such as expired ones (replica-server.md 9.7);
   * waits for a batch under way. The caller makes sure that no newer value is meant.
   */
  async removeUnlogged(keys: readonly Buffer[]): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
    const batch = keys.map((key) => ({ type: 'del' as const, key: dataKey(this.#prefix, key) }))
    await this.#exclusively(() => this.#engine.write(batch, { sync: false }))
  }

  /** An entry of the replica's owner (ballot, table description and the like). */
  getMeta(name: string): Promise<Buffer | undefined> {
    return this.#engine.get(metaKey(this.#prefix, OWNERS + name))
  }

  /** All or none; `undefined` deletes. With `sync` durable when it settles. */
  async putMeta(
    entries: Readonly<Record<string, Buffer | undefined>>,
    { sync }: { readonly sync: boolean },
  ): Promise<void> {
    const batch = Object.entries(entries).map(([name, value]): BatchOperation => {
      const key = metaKey(this.#prefix, OWNERS + name)
      return value === undefined ? { type: 'del', key } : { type: 'put', key, value }
    })
    await this.#engine.write(batch, { sync })
  }

  /**
   * A consistent copy of all records at one applied decree, to be read block by block. It waits for
   * a batch under way. Pins files until closed: whoever asks closes it.
   */
  async snapshot(): Promise<StoreSnapshot> {
    while (this.#writing !== undefined)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#checkUsable()
    // From the check on nothing is awaited, so that no batch comes between the two.
    const { applied } = this
    return new StoreSnapshot(this.iterate({}), applied)
  }

  /**
   * Begins to replace all records by those of a snapshot: wipes the store under a mark, then takes
   * blocks. Until `finish` the store counts as empty, also after a crash. The owner's entries stay.
   */
  async beginLoad(): Promise<SnapshotLoader> {
    await this.#exclusively(async () => {
      await this.#mark('wipe')
      await this.#deleteContent('wipe', true)
    })
    this.#loading = true
    const finish = (point: AppliedPoint): Promise<void> =>
      this.#exclusively(() => this.#finishLoad(point))
    return new SnapshotLoader(this.#engine, this.#prefix, this.#name(), finish)
  }

  /** Removes all records and the applied decree, durably; the owner's entries stay. */
  async wipe(): Promise<void> {
    await this.#exclusively(async () => {
      await this.#mark('wipe')
      await this.#deleteContent('wipe')
    })
    this.#loading = false
  }

  /** Removes everything of this replica, durably. The store is of no use afterwards. */
  async remove(): Promise<void> {
    await this.#exclusively(async () => {
      await this.#mark('remove')
      await this.#deleteContent('remove')
    })
  }

  compact(): Promise<void> {
    const end = storeEnd(this.#prefix)
    return this.#engine.compactRange({ start: this.#prefix, end })
  }

  approximateSizeBytes(): Promise<number> {
    const end = storeEnd(this.#prefix)
    return this.#engine.approximateSizeBytes({ start: this.#prefix, end })
  }

  /** For `replica-stores.ts`: the operation that notes the applied decree as synced, if it is due. */
  syncMark(): { readonly operation: BatchOperation; readonly done: () => void } | undefined {
    const point = this.#applied
    const bytes = this.#unsyncedBytes
    if (point.decree === this.#durableDecree) return undefined
    return {
      operation: {
        type: 'put',
        key: metaKey(this.#prefix, SYNCED),
        value: encodePoint(point),
      },
      done: () => {
        // A wipe meanwhile has set both back.
        if (this.#applied.decree < point.decree) return
        this.#durableDecree = Math.max(this.#durableDecree, point.decree)
        this.#unsyncedBytes = Math.max(0, this.#unsyncedBytes - bytes)
      },
    }
  }

  #name(): string {
    return `replica ${gpidText(this.gpid)}`
  }

  #checkUsable(): void {
    if (this.#failure !== undefined)
      throw new Error(`${this.#name()}: a batch failed before`, { cause: this.#failure })
    if (this.#loading) throw new Error(`${this.#name()}: its content is being loaded`)
  }

  async #finishLoad(point: AppliedPoint): Promise<void> {
    const value = encodePoint(point)
    await this.#engine.write(
      [
        { type: 'put', key: metaKey(this.#prefix, APPLIED), value },
        { type: 'put', key: metaKey(this.#prefix, SYNCED), value },
        { type: 'del', key: metaKey(this.#prefix, UNFINISHED) },
      ],
      { sync: true },
    )
    this.#applied = point
    this.#durableDecree = point.decree
    this.#loading = false
  }

  /** From here on the store counts as empty, also after a crash. */
  async #mark(kind: Unfinished): Promise<void> {
    await this.#engine.write(
      [
        { type: 'put', key: metaKey(this.#prefix, UNFINISHED), value: Buffer.from(kind) },
        { type: 'del', key: metaKey(this.#prefix, APPLIED) },
        { type: 'del', key: metaKey(this.#prefix, SYNCED) },
      ],
      { sync: true },
    )
    this.#applied = NOTHING_APPLIED
    this.#durableDecree = 0
    this.#unsyncedBytes = 0
  }

  async #deleteContent(kind: Unfinished, keepMark = false): Promise<void> {
    const mark = metaKey(this.#prefix, UNFINISHED)
    const end = kind === 'remove' ? storeEnd(this.#prefix) : dataEnd(this.#prefix)
    const iterator = this.#engine.iterate({ gte: this.#prefix, lt: end, keysOnly: true })
    try {
      for (;;) {
        const entries = await iterator.next(deleteEntriesMax, deleteBytesMax)
        if (entries.length === 0) break
        const batch = entries
          .filter(([key]) => !key.equals(mark))
          .map(([key]) => ({ type: 'del' as const, key }))
        await this.#engine.write(batch, { sync: false })
      }
    } finally {
      await iterator.close()
    }
    if (!keepMark) await this.#engine.write([{ type: 'del', key: mark }], { sync: true })
  }

  async #exclusively(write: () => Promise<void>): Promise<void> {
    if (this.#writing !== undefined) throw new Error(`${this.#name()}: two batches at once`)
    const writing = write()
    this.#writing = writing.catch((cause: unknown) => {
      this.#failure = cause instanceof Error ? cause : new Error(String(cause))
    })
    try {
      await writing
    } finally {
      this.#writing = undefined
      const waiting = this.#waiting
      this.#waiting = []
      for (const resolve of waiting) resolve()
    }
  }
}
