/**
 * How far this gateway has come with the changes of routing that our tools made (gateway.md 8.5,
 * DR-31). Every tool raises the version of `<control root>/epoch` in the transaction of its change.
 * ZooKeeper tells a session of a change before it lets it read anything later, so once version E was
 * read on the session that watches the mappings, every change up to E is known here; and once those
 * are applied, and all workers have them, E is the applied epoch.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

export interface FleetEpochOptions {
  readonly controlRoot: string
  /** Resolves when every watch event so far is applied in this process. */
  readonly settled: () => Promise<void>
  /** Resolves when all workers serve what is applied here. */
  readonly acknowledged: (epoch: number) => Promise<void>
  readonly onApplied: (epoch: number) => void
}

const RETRY_MS = 1000

export class FleetEpoch {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #options: FleetEpochOptions
  readonly #path: string
  #applied = 0
  #isArmed = false
  #isRunning = false
  #again = false
  #closed = false
  readonly #stopListening: () => void

  /** The coordinator is the one that watches the mappings. */
  constructor(runtime: Runtime, coordinator: Coordinator, options: FleetEpochOptions) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#options = options
    this.#path = `${options.controlRoot}/epoch`
    this.#stopListening = coordinator.onState((state) => {
      if (state === 'connected' && !this.#isArmed) this.#run()
    })
    this.#run()
  }

  /** 0 before the first, and while no tool has changed anything. */
  get applied(): number {
    return this.#applied
  }

  close(): void {
    this.#closed = true
    this.#stopListening()
  }

  #run(): void {
    if (this.#isRunning) this.#again = true
    else void this.#apply()
  }

  async #apply(): Promise<void> {
    this.#isRunning = true
    do {
      this.#again = false
      const epoch = await this.#read()
      if (epoch === undefined) break
      await this.#options.settled()
      await this.#options.acknowledged(epoch)
      if (this.#closed) return
      this.#applied = epoch
      this.#options.onApplied(epoch)
    } while (this.#again)
    this.#isRunning = false
  }

  /** Undefined when it cannot be told now; it is read again later. */
  async #read(): Promise<number | undefined> {
    try {
      this.#isArmed = true
      const stat = await this.#coordinator.exists(this.#path, () => {
        this.#isArmed = false
        if (this.#coordinator.state() === 'connected') this.#run()
      })
      return this.#closed ? undefined : (stat?.version ?? 0)
    } catch {
      this.#isArmed = false
      if (this.#coordinator.state() === 'connected' && !this.#closed)
        this.#runtime.timers.after(RETRY_MS, () => {
          if (!this.#isArmed && !this.#closed) this.#run()
        })
      return undefined
    }
  }
}
