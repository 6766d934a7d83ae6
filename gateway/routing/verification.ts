/**
 * Trust but verify (gateway.md ): compares cached entries with their nodes without setting
 * watches, all of them every few minutes and after a reconnect, and single ones when they are old. A
 * difference that no watch told is counted, and the entry is read again.
 */
import type { Coordinator, NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { DirectoryMetrics } from '../metrics.ts'
import type { Entry } from './table-entry.ts'

export interface VerificationOptions {
  readonly intervalMs: number
  /** All cached entries, those to be looked at first first. */
  readonly entries: () => readonly Entry[]
  /** Something already takes care of the entry. */
  readonly isHandled: (entry: Entry) => boolean
  readonly read: (entry: Entry) => void
}

/** At most a thousand a second. */
const STEP = 16
const PAUSE_MS = 16
const START_MS_MAX = 500

export class Verification {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #metrics: DirectoryMetrics
  readonly #options: VerificationOptions
  #timer: Timer | undefined
  #pauseTimer: Timer | undefined
  #run = 0
  #closed = false

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    metrics: DirectoryMetrics,
    options: VerificationOptions,
  ) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#metrics = metrics
    this.#options = options
    this.#schedule()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#pauseTimer?.cancel()
  }

  /**
   * One after the other, at a bounded rate with jitter so that a fleet does not look all at once,
   * until the connection or the session is lost, or another run begins.
   */
  async confirmAll(): Promise<void> {
    const run = ++this.#run
    const sessionEpoch = this.#coordinator.sessionEpoch()
    await this.#pause(START_MS_MAX * this.#runtime.random.float())
    let count = 0
    for (const entry of this.#options.entries()) {
      if (this.#closed || run !== this.#run) return
      if (sessionEpoch !== this.#coordinator.sessionEpoch()) return
      if (this.#coordinator.state() !== 'connected') return
      await this.confirm(entry)
      if (++count % STEP === 0) await this.#pause(PAUSE_MS * (0.5 + this.#runtime.random.float()))
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#pauseTimer = this.#runtime.timers.after(delayMs, resolve)
    })
  }

  /** Compares an entry with its node; reads it with a watch when they differ. */
  async confirm(entry: Entry): Promise<void> {
    if (this.#closed || entry.evicted || entry.isReading) return
    const { reading } = entry
    let stat: NodeStat | undefined
    try {
      this.#metrics.zooKeeperReads.add()
      stat = await this.#coordinator.exists(entry.path)
    } catch {
      return
    }
    const known = entry.truth === 'missing' ? undefined : entry.modifiedZxid
    // When a watch event came in the meantime, a read is on its way.
    const isHandled = entry.reading !== reading || entry.isReading || this.#options.isHandled(entry)
    if (stat?.modifiedZxid === known || isHandled) return
    this.#metrics.missedWatches.add()
    this.#options.read(entry)
  }

  #schedule(): void {
    const intervalMs = this.#options.intervalMs * (0.8 + 0.4 * this.#runtime.random.float())
    this.#timer = this.#runtime.timers.after(intervalMs, () => {
      void this.confirmAll().finally(() => {
        if (!this.#closed) this.#schedule()
      })
    })
  }
}
