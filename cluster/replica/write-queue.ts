/**
 * Client writes that wait on a primary for their decree, merged into mutations (replica-server.md
 * 5.2): batchable ones share, others travel alone, order is kept. Pure; knows no decrees.
 */

export interface WriteRequest {
  /** The driver's number of the waiting client. */
  readonly id: number
  readonly code: string
  /** Args struct bytes. */
  readonly body: Buffer
  readonly batchable: boolean
  /** Monotonic; not executed after it. Infinity when the client gave no timeout. */
  readonly deadlineAtMs: number
}

export interface WriteQueueLimits {
  /** Bodies waiting, in bytes; above it `add` refuses. */
  readonly queuedBytesMax: number
  /** A mutation with this many bytes of bodies takes no further update. */
  readonly mutationBytesMax: number
  readonly mutationUpdatesMax: number
}

interface Batch {
  readonly writes: WriteRequest[]
  sizeBytes: number
  /** Takes no further write. */
  closed: boolean
}

/** What a queued write weighs beside its body. */
const OVERHEAD_BYTES = 64

export class WriteQueue {
  readonly #limits: WriteQueueLimits
  #batches: Batch[] = []
  #queuedBytes = 0
  #count = 0

  constructor(limits: WriteQueueLimits) {
    this.#limits = limits
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** Writes waiting. */
  get count(): number {
    return this.#count
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0
  }

  /** False when the queue is full: the client is told ERR_BUSY. */
  add(write: WriteRequest): boolean {
    const weight = write.body.length + OVERHEAD_BYTES
    if (this.#queuedBytes + weight > this.#limits.queuedBytesMax) return false
    this.#queuedBytes += weight
    this.#count++
    const last = this.#batches.at(-1)
    if (last !== undefined && write.batchable && !last.closed) {
      last.writes.push(write)
      last.sizeBytes += weight
      last.closed = this.#isFull(last)
      return true
    }
    if (last !== undefined) last.closed = true
    const batch = { writes: [write], sizeBytes: weight, closed: !write.batchable }
    batch.closed ||= this.#isFull(batch)
    this.#batches.push(batch)
    return true
  }

  /** The oldest batch may still grow: it pays to leave it while others are in flight. */
  get headIsOpen(): boolean {
    return this.#batches[0]?.closed === false
  }

  /**
   * The writes of the next mutation and those that came too late for their client; `undefined` when
   * nothing waits. The first list may be empty when all were late.
   */
  take(nowMs: number): { readonly due: WriteRequest[]; readonly late: WriteRequest[] } | undefined {
    const batch = this.#batches.shift()
    if (batch === undefined) return undefined
    this.#queuedBytes -= batch.sizeBytes
    this.#count -= batch.writes.length
    const due: WriteRequest[] = []
    const late: WriteRequest[] = []
    for (const write of batch.writes) (write.deadlineAtMs <= nowMs ? late : due).push(write)
    return { due, late }
  }

  /** Takes everything out: the role is gone. */
  clear(): WriteRequest[] {
    const writes = this.#batches.flatMap((batch) => batch.writes)
    this.#batches = []
    this.#queuedBytes = 0
    this.#count = 0
    return writes
  }

  #isFull(batch: Batch): boolean {
    return (
      batch.sizeBytes >= this.#limits.mutationBytesMax ||
      batch.writes.length >= this.#limits.mutationUpdatesMax
    )
  }
}
