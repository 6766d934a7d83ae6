/**
 * The event queue of the simulation: a binary heap by virtual time, first come first served among
 * equal times.
 */
export interface QueuedEvent {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
  cancelled: boolean
}

function before(a: QueuedEvent, b: QueuedEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

export class EventQueue {
  readonly #heap: QueuedEvent[] = []
  #order = 0

  get length(): number {
    return this.#heap.length
  }

  push(atMs: number, run: () => void): QueuedEvent {
    const event: QueuedEvent = { atMs, order: this.#order++, run, cancelled: false }
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parentAt = (at - 1) >> 1
      const parent = heap[parentAt]
      if (parent === undefined || !before(event, parent)) break
      heap[at] = parent
      at = parentAt
    }
    heap[at] = event
    return event
  }

  /** The next event that is not cancelled, left in the queue. */
  peek(): QueuedEvent | undefined {
    while (this.#heap[0]?.cancelled === true) this.#removeFirst()
    return this.#heap[0]
  }

  pop(): QueuedEvent | undefined {
    const first = this.peek()
    if (first !== undefined) this.#removeFirst()
    return first
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let childAt = 2 * at + 1
      let child = heap[childAt]
      if (child === undefined) break
      const right = heap[childAt + 1]
      if (right !== undefined && before(right, child)) {
        child = right
        childAt++
      }
      if (!before(child, last)) break
      heap[at] = child
      at = childAt
    }
    heap[at] = last
  }
}
