/**
 * Whether an operator wants this gateway to be left by its clients: a node `drains/<id>` of the control
 * tree that the admin API makes and takes away. Ids are new with each start of a process, so a wish
 * ends with the process it was made for. Without ZooKeeper the last known wish holds.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

const RETRY_MS = 1000

export function drainPath(controlRoot: string, id: string): string {
  return `${controlRoot}/drains/${id}`
}

export class DrainWish {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #path: string
  readonly #onChange: (isWished: boolean) => void
  #isWished = false
  #isArmed = false
  #isReading = false
  #closed = false
  readonly #stopListening: () => void

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    options: {
      readonly controlRoot: string
      /** Of this gateway, in the fleet. */
      readonly id: string
      readonly onChange: (isWished: boolean) => void
    },
  ) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#path = drainPath(options.controlRoot, options.id)
    this.#onChange = options.onChange
    this.#stopListening = coordinator.onState(() => this.#look())
    this.#look()
  }

  get isWished(): boolean {
    return this.#isWished
  }

  close(): void {
    this.#closed = true
    this.#stopListening()
  }

  #look(): void {
    if (this.#closed || this.#isArmed || this.#isReading) return
    if (this.#coordinator.state() === 'connected') void this.#read()
  }

  async #read(): Promise<void> {
    this.#isReading = true
    let isFound: boolean | undefined
    try {
      let hasFired = false
      const stat = await this.#coordinator.exists(this.#path, () => {
        hasFired = true
        this.#isArmed = false
        this.#look()
      })
      this.#isArmed = !hasFired
      isFound = stat !== undefined
    } catch {
      this.#runtime.timers.after(RETRY_MS, () => this.#look())
    }
    this.#isReading = false
    if (this.#closed) return
    if (isFound !== undefined && isFound !== this.#isWished) {
      this.#isWished = isFound
      this.#onChange(isFound)
    }
    // It may have fired while this was read.
    if (isFound !== undefined) this.#look()
  }
}
