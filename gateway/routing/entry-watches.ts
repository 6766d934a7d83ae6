/**
 * The watches that the directory has set, at most one per path (gateway.md R-12). A watch cannot be
 * taken back: when its entry is evicted it is left over until it fires or its session ends, and it is
 * taken over when the table is asked for again, so that a table asked for a million times costs one.
 */
import type { WatchEvent } from '../../cluster/coordinator/coordinator.ts'
import type { Entry } from './table-entry.ts'

export interface EntryWatch {
  readonly path: string
  /** Whom to tell; undefined while it is left over. */
  entry: Entry | undefined
  hasFired: boolean
  isKept: boolean
}

export class EntryWatches {
  readonly #onEvent: (entry: Entry, event: WatchEvent) => void
  readonly #watches = new Map<string, EntryWatch>()
  #leftoverCount = 0
  #pathBytes = 0
  #leftoverBytes = 0

  /** Events of watches that entries still have. */
  constructor(onEvent: (entry: Entry, event: WatchEvent) => void) {
    this.#onEvent = onEvent
  }

  get count(): number {
    return this.#watches.size
  }

  get leftoverCount(): number {
    return this.#leftoverCount
  }

  /** Of the paths that are watched; a client sends them all again when it reconnects. */
  get pathBytes(): number {
    return this.#pathBytes
  }

  get leftoverBytes(): number {
    return this.#leftoverBytes
  }

  /** The watch that an evicted entry of the same path left, for this entry from now on. */
  takeOver(entry: Entry): EntryWatch | undefined {
    const watch = this.#watches.get(entry.path)
    if (watch === undefined || watch.entry !== undefined) return undefined
    watch.entry = entry
    this.#leftoverCount--
    this.#leftoverBytes -= watch.path.length
    return watch
  }

  /** For a read that is about to set it; `keep` follows when it was set. */
  next(entry: Entry): EntryWatch {
    return { path: entry.path, entry, hasFired: false, isKept: false }
  }

  /** It was set; it may have fired since. An older one of the path no longer counts. */
  keep(watch: EntryWatch): void {
    if (watch.hasFired) return
    this.#drop(watch.path)
    watch.isKept = true
    this.#watches.set(watch.path, watch)
    this.#pathBytes += watch.path.length
    if (watch.entry === undefined || watch.entry.evicted) this.#leave(watch)
  }

  /** One that was replaced is silent: the one in its place fires too. */
  fire(watch: EntryWatch, event: WatchEvent): void {
    watch.hasFired = true
    const { entry, path } = watch
    if (watch.isKept) {
      if (this.#watches.get(path) !== watch) return
      this.#drop(path)
    }
    if (entry !== undefined && !entry.evicted) this.#onEvent(entry, event)
  }

  /** The entry was evicted. */
  abandon(entry: Entry): void {
    const watch = this.#watches.get(entry.path)
    if (watch?.entry === entry) this.#leave(watch)
  }

  #leave(watch: EntryWatch): void {
    watch.entry = undefined
    this.#leftoverCount++
    this.#leftoverBytes += watch.path.length
  }

  #drop(path: string): void {
    const watch = this.#watches.get(path)
    if (watch === undefined) return
    this.#watches.delete(path)
    this.#pathBytes -= path.length
    if (watch.entry !== undefined) return
    this.#leftoverCount--
    this.#leftoverBytes -= path.length
  }
}
