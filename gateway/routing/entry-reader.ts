/**
 * Keeps entries in step with their nodes: reads a node with a watch, again when the watch fires, and
 * all of them, bounded and in the order given, after their watches died with a session. Which answer
 * a value means is the directory's matter.
 *
 * One read of an entry at a time. An entry is *unsettled* from a watch event, or the loss of its
 * watch, until a read that began later has been applied.
 */
import {
  type Coordinator,
  CoordinatorError,
  type NodeStat,
  type WatchEvent,
} from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import type { DirectoryMetrics } from '../metrics.ts'
import { EntryWatches } from './entry-watches.ts'
import { type MappingNode, MappingReader } from './mapping-reader.ts'
import type { Entry } from './table-entry.ts'

/** Re-reads after a reconnect or expiry, in flight at once. */
const REARMS_MAX = 64
const RETRY_MS = 1000
/** Of paths; beyond, tables without a node are not watched, only looked at again when old. */
const LEFTOVER_BYTES_MAX = 4 << 20

export interface EntryReaderEvents {
  readonly onValue: (entry: Entry, data: Buffer, stat: NodeStat) => void
  readonly onAbsent: (entry: Entry) => void
  /** Nobody could tell; it is read again when its answer is in memory, else not. */
  readonly onFailure: (entry: Entry) => void
  /** Its value is right, but cannot be watched: not to be kept. */
  readonly onUnwatchable: (entry: Entry) => void
}

interface Barrier {
  /** Entry → the number of the read that must have been applied. */
  readonly pending: Map<Entry, number>
  readonly resolve: () => void
}

export class EntryReader {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #metrics: DirectoryMetrics
  readonly #events: EntryReaderEvents
  readonly #reader: MappingReader
  readonly watches: EntryWatches
  /** Waiting for a read that sets their watch again. */
  readonly #rearm = new Set<Entry>()
  readonly #rearming = new Set<Entry>()
  readonly #unsettled = new Set<Entry>()
  readonly #barriers = new Set<Barrier>()
  #closed = false

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    metrics: DirectoryMetrics,
    events: EntryReaderEvents,
  ) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'directory' })
    this.#coordinator = coordinator
    this.#metrics = metrics
    this.#events = events
    this.#reader = new MappingReader(coordinator, metrics.zooKeeperReads)
    this.watches = new EntryWatches((entry, event) => this.#onWatch(entry, event))
  }

  /** Not every entry was read again since its session was lost. */
  get isRearming(): boolean {
    return this.#rearm.size > 0 || this.#rearming.size > 0
  }

  /** Starts a read with a watch, or remembers to. */
  read(entry: Entry): void {
    if (this.#closed || entry.evicted) return
    if (entry.isReading) {
      entry.again = true
      return
    }
    void this.#readNow(entry)
  }

  /** Their watches are gone, or may be: reads them again, in this order, when connected. */
  rearm(entries: Iterable<Entry>): void {
    for (const entry of entries) {
      this.#unsettled.add(entry)
      this.#rearm.add(entry)
    }
    this.#pumpRearm()
  }

  /** The entry left the memory. */
  forget(entry: Entry): void {
    entry.evicted = true
    this.watches.abandon(entry)
    this.#rearm.delete(entry)
    this.#settle(entry, Infinity)
  }

  /** Resolves when every watch event received so far, of these entries, was read again and applied. */
  settled(entries: Iterable<Entry> = this.#unsettled): Promise<void> {
    const pending = new Map<Entry, number>()
    for (const entry of entries)
      if (this.#unsettled.has(entry))
        pending.set(entry, entry.isReading && !entry.again ? entry.reading : entry.reading + 1)
    if (pending.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#barriers.add({ pending, resolve })
    })
  }

  /** Promises of `settled` stay pending for ever. */
  close(): void {
    this.#closed = true
    this.#rearm.clear()
    this.#barriers.clear()
    this.#reader.close()
  }

  async #readNow(entry: Entry): Promise<void> {
    entry.isReading = true
    entry.again = false
    entry.armed = false
    const number = ++entry.reading
    try {
      const isWatched = await this.#readAndWatch(entry)
      if (!isWatched && !entry.evicted) this.#events.onUnwatchable(entry)
      if (!entry.again) this.#unsettled.delete(entry)
      this.#settle(entry, number)
    } catch (error) {
      this.#onFailure(entry, error)
    } finally {
      entry.isReading = false
      this.#rearming.delete(entry)
      if (entry.again) this.read(entry)
      this.#pumpRearm()
    }
  }

  /** Resolves to false when the value will be stale without our knowing. */
  async #readAndWatch(entry: Entry): Promise<boolean> {
    const taken = this.watches.takeOver(entry)
    if (taken !== undefined) {
      try {
        this.#tell(entry, await this.#reader.read(entry.path))
      } finally {
        entry.armed = !taken.hasFired
      }
      return true
    }
    const watch = this.watches.next(entry)
    const value = (event: WatchEvent): void => this.watches.fire(watch, event)
    const mayWatchAbsence = this.watches.leftoverBytes <= LEFTOVER_BYTES_MAX
    let node: MappingNode | undefined
    try {
      node = await this.#reader.read(
        entry.path,
        mayWatchAbsence ? { value, creation: value } : { value },
      )
    } catch (error) {
      if (!(error instanceof CoordinatorError) || error.code !== 'too-large') throw error
      this.#log.error('no room for a further watch', { table: entry.table })
      this.#tell(entry, await this.#reader.read(entry.path))
      return entry.truth === 'missing'
    }
    if (node !== undefined || mayWatchAbsence) {
      this.watches.keep(watch)
      entry.armed = !watch.hasFired
    }
    this.#tell(entry, node)
    return true
  }

  #tell(entry: Entry, node: MappingNode | undefined): void {
    this.#metrics.tableRead(entry.table, node !== undefined)
    if (node === undefined) this.#events.onAbsent(entry)
    else this.#events.onValue(entry, node.data, node.stat)
  }

  #onWatch(entry: Entry, event: WatchEvent): void {
    entry.armed = false
    this.#unsettled.add(entry)
    // After a session loss the next session reads everything again.
    if (event.type !== 'session-lost') this.read(entry)
  }

  #onFailure(entry: Entry, error: unknown): void {
    const code = error instanceof CoordinatorError ? error.code : String(error)
    this.#log.debug('mapping not read', { table: entry.table, code })
    this.#events.onFailure(entry)
    if (entry.truth === 'unread') {
      this.#settle(entry, Infinity)
      return
    }
    // The answer stays; a lost session or connection reads everything again when it is back.
    this.#unsettled.add(entry)
    if (this.#coordinator.state() === 'connected' && !this.#closed)
      this.#runtime.timers.after(RETRY_MS, () => this.read(entry))
  }

  #settle(entry: Entry, number: number): void {
    if (number === Infinity) this.#unsettled.delete(entry)
    for (const barrier of this.#barriers) {
      const target = barrier.pending.get(entry)
      if (target === undefined || target > number) continue
      barrier.pending.delete(entry)
      if (barrier.pending.size > 0) continue
      this.#barriers.delete(barrier)
      barrier.resolve()
    }
  }

  #pumpRearm(): void {
    if (this.#closed || this.#coordinator.state() !== 'connected') return
    for (const entry of this.#rearm) {
      if (this.#rearming.size >= REARMS_MAX) return
      this.#rearm.delete(entry)
      if (!entry.isReading) this.#rearming.add(entry)
      this.read(entry)
    }
  }
}
