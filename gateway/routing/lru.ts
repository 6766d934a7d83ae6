/**
 * A map with a limit that forgets what was used longest ago. Reading counts as use; `peek` and the
 * iteration (oldest first) do not. Up to half of the limit nothing is near being forgotten, and
 * reading moves nothing: a move costs 300 ns, more than all else that routing does for a query.
 */
export class Lru<V> {
  readonly #capacity: number
  readonly #evicted: (key: string, value: V) => void
  readonly #entries = new Map<string, V>()
  #newest: string | undefined

  /** `evicted` is called for entries that the limit pushes out, not for those deleted. */
  constructor(capacity: number, evicted: (key: string, value: V) => void) {
    this.#capacity = capacity
    this.#evicted = evicted
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined || key === this.#newest) return value
    if (this.#entries.size <= this.#capacity / 2) return value
    this.#entries.delete(key)
    this.#entries.set(key, value)
    this.#newest = key
    return value
  }

  peek(key: string): V | undefined {
    return this.#entries.get(key)
  }

  set(key: string, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    this.#newest = key
    if (this.#entries.size <= this.#capacity) return
    const oldest = this.#entries.entries().next()
    if (oldest.done === true) return
    this.#entries.delete(oldest.value[0])
    this.#evicted(oldest.value[0], oldest.value[1])
  }

  delete(key: string): boolean {
    if (key === this.#newest) this.#newest = undefined
    return this.#entries.delete(key)
  }

  values(): MapIterator<V> {
    return this.#entries.values()
  }
}
