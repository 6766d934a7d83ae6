/**
 * Work that one gateway of the fleet should do: an ephemeral node that whoever creates it holds. It
 * goes with the session of its holder, and everybody else watches it.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { type ControlTree, isCode } from './control-tree.ts'

const RETRY_MS = 1000

export class Lease {
  readonly #runtime: Pick<Runtime, 'timers'>
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #path: string
  readonly #holder: string
  readonly #onHeld: () => void
  /** The session that holds it; 0 when none of ours does. */
  #heldInEpoch = 0
  #isTrying = false
  #timer: Timer | undefined
  #closed = false
  readonly #stopListening: () => void

  constructor(
    parts: {
      readonly runtime: Pick<Runtime, 'timers'>
      readonly coordinator: Coordinator
      readonly tree: ControlTree
    },
    options: {
      readonly name: string
      readonly holder: string
      /** Each time it is won. */
      readonly onHeld: () => void
    },
  ) {
    this.#runtime = parts.runtime
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#path = parts.tree.path('locks', options.name)
    this.#holder = options.holder
    this.#onHeld = options.onHeld
    this.#stopListening = parts.coordinator.onState(() => void this.#try())
    void this.#try()
  }

  /** False as soon as the session may be gone. */
  get isHeld(): boolean {
    return (
      this.#heldInEpoch !== 0 &&
      this.#heldInEpoch === this.#coordinator.sessionEpoch() &&
      this.#coordinator.state() === 'connected'
    )
  }

  close(): void {
    this.#closed = true
    this.#stopListening()
    this.#timer?.cancel()
  }

  async #try(): Promise<void> {
    if (this.#closed || this.#isTrying || this.#coordinator.state() !== 'connected') return
    if (this.#heldInEpoch === this.#coordinator.sessionEpoch()) return
    this.#isTrying = true
    let isAgain = false
    try {
      await this.#tree.ensure()
      const epoch = this.#coordinator.sessionEpoch()
      await this.#coordinator.create(this.#path, Buffer.from(this.#holder), { ephemeral: true })
      this.#heldInEpoch = epoch
    } catch (error) {
      isAgain = !isCode(error, 'node-exists') || !(await this.#waitsForRelease())
    }
    this.#isTrying = false
    if (this.isHeld) this.#onHeld()
    else if (isAgain) this.#retryLater()
  }

  /** False when it is free already, or nobody could tell. */
  async #waitsForRelease(): Promise<boolean> {
    try {
      const stat = await this.#coordinator.exists(this.#path, () => void this.#try())
      return stat !== undefined
    } catch {
      return false
    }
  }

  #retryLater(): void {
    if (this.#closed) return
    this.#timer?.cancel()
    this.#timer = this.#runtime.timers.after(RETRY_MS, () => void this.#try())
  }
}
