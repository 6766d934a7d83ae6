/**
 * The scanners of one replica that are waiting for their next use: by id, dropped when idle for
 * 5 minutes, when there are too many (the longest idle one goes), and when the replica closes. Ids
 * start at a random multiple of 2^32 and count up, so that ids of different servers and restarts
 * rarely meet; they stay within 1 .. 2^63 - 1 (data-model.md 4: clients compare with -1 only, but
 * negative ids trouble their clear_scanner).
 */
import type { GetScannerRequest } from '../protocol/rrdb.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { RangeReader } from './rrdb-range.ts'

export const scanContextLimits = {
  idleMs: 5 * 60 * 1000,
  /** Each holds an engine iterator and what that has read ahead. */
  countMax: 256,
} as const

export interface ScanContext {
  readonly request: GetScannerRequest
  readonly reader: RangeReader
}

interface Kept {
  readonly context: ScanContext
  readonly untilMs: number
}

export class ScanContexts {
  readonly #runtime: Runtime
  /** The longest idle one first: a used context comes back as a new entry. */
  readonly #kept = new Map<bigint, Kept>()
  #nextId: bigint
  #timer: Timer | undefined
  #closed = false

  constructor(runtime: Runtime) {
    this.#runtime = runtime
    this.#nextId = BigInt(1 + runtime.random.below(2 ** 31 - 2)) << 32n
  }

  get count(): number {
    return this.#kept.size
  }

  /** Keeps the context and its reader under a new id; `undefined` when closed: it stays with you. */
  put(context: ScanContext): bigint | undefined {
    if (this.#closed) return undefined
    const id = this.#nextId++
    const untilMs = this.#runtime.clock.monotonicMs() + scanContextLimits.idleMs
    this.#kept.set(id, { context, untilMs })
    if (this.#kept.size > scanContextLimits.countMax) this.#dropFirst()
    this.#schedule()
    return id
  }

  /** Hands the context over and forgets it; `undefined` for an id that is not, or no longer, known. */
  take(id: bigint): ScanContext | undefined {
    const kept = this.#kept.get(id)
    if (kept === undefined) return undefined
    this.#kept.delete(id)
    return kept.context
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = undefined
    const readers = [...this.#kept.values()].map(({ context }) => context.reader)
    this.#kept.clear()
    await Promise.all(readers.map((reader) => reader.close()))
  }

  #dropFirst(): void {
    for (const [id, { context }] of this.#kept) {
      this.#kept.delete(id)
      this.#end(context)
      return
    }
  }

  #dropIdle(): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const [id, { context, untilMs }] of this.#kept) {
      if (untilMs > nowMs) break
      this.#kept.delete(id)
      this.#end(context)
    }
    this.#schedule()
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed) return
    for (const { untilMs } of this.#kept.values()) {
      const delayMs = Math.max(0, untilMs - this.#runtime.clock.monotonicMs())
      this.#timer = this.#runtime.timers.after(delayMs, () => {
        this.#timer = undefined
        this.#dropIdle()
      })
      return
    }
  }

  #end({ reader }: ScanContext): void {
    reader.close().catch((error: unknown) => {
      this.#runtime.log.debug('scanner did not close', { error: String(error) })
    })
  }
}
