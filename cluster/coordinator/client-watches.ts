/**
 * The watches that one client has set: which callbacks an event of the service ends, and which
 * paths must be watched again over a new connection. Pure bookkeeping with a limit in bytes.
 */
import type { Watch } from './coordinator.ts'
import type { TreeEvent } from './tree.ts'
import type { WatchedPaths } from './watches.ts'

type Kind = 'data' | 'exist' | 'child'

export class ClientWatches {
  readonly #tables: Readonly<Record<Kind, Map<string, Watch[]>>> = {
    data: new Map(),
    exist: new Map(),
    child: new Map(),
  }
  readonly #pathBytesMax: number
  #pathBytes = 0

  constructor(pathBytesMax: number) {
    this.#pathBytesMax = pathBytesMax
  }

  /** As the service counts them: one for each path and kind. */
  get count(): number {
    return Object.values(this.#tables).reduce((sum, table) => sum + table.size, 0)
  }

  hasRoomFor(path: string): boolean {
    return this.#pathBytes + path.length <= this.#pathBytesMax
  }

  add(kind: Kind, path: string, watch: Watch | undefined): void {
    if (watch === undefined) return
    const watches = this.#tables[kind].get(path)
    if (watches === undefined) this.#tables[kind].set(path, [watch])
    else watches.push(watch)
    this.#pathBytes += path.length
  }

  /** The watches that the event ends, in the order in which they were set for each kind. */
  take({ type, path }: TreeEvent): Watch[] {
    if (type === 'children') return this.#take('child', path)
    const taken = [...this.#take('data', path), ...this.#take('exist', path)]
    return type === 'deleted' ? [...taken, ...this.#take('child', path)] : taken
  }

  paths(): WatchedPaths {
    const { data, exist, child } = this.#tables
    return { data: [...data.keys()], exist: [...exist.keys()], child: [...child.keys()] }
  }

  /** Forgets everything and returns it. */
  clear(): readonly { readonly path: string; readonly watch: Watch }[] {
    const all = Object.values(this.#tables).flatMap((table) =>
      [...table].flatMap(([path, watches]) => watches.map((watch) => ({ path, watch }))),
    )
    for (const table of Object.values(this.#tables)) table.clear()
    this.#pathBytes = 0
    return all
  }

  #take(kind: Kind, path: string): Watch[] {
    const watches = this.#tables[kind].get(path) ?? []
    this.#tables[kind].delete(path)
    this.#pathBytes -= path.length * watches.length
    return watches
  }
}
