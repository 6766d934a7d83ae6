/**
 * One server of the simulated cluster under supervision: its process is started on its node, ended
 * by faults or by itself, and started again. What survives is the node's disk and its engine's.
 */
import type { SimulatedNode } from '../runtime/simulated-node.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { SimulatedWorld } from '../runtime/simulated.ts'

/** How long after a fault a server may still end of it. */
const excuseMs = 10_000

export interface ManagedServerOptions {
  readonly role: 'meta' | 'replica'
  readonly node: SimulatedNode
  /** `ip:port` of its Pegasus port. */
  readonly address: string
  /** Runs the product's server; resolves when it serves. */
  readonly program: (runtime: Runtime) => Promise<unknown>
  /** The process has ended, or the power was cut; called for every end. */
  readonly onEnd: (powerCut: boolean) => void
}

export class ManagedServer {
  readonly role: 'meta' | 'replica'
  readonly node: SimulatedNode
  readonly address: string
  readonly #world: SimulatedWorld
  readonly #options: ManagedServerOptions
  /** While a fault keeps it down nobody restarts it. */
  #heldDown = false
  #excusedUntilMs = 0

  constructor(world: SimulatedWorld, options: ManagedServerOptions) {
    this.#world = world
    this.#options = options
    this.role = options.role
    this.node = options.node
    this.address = options.address
    this.node.onExit = () => {
      options.onEnd(false)
      world.after(world.random.between(50, 500), () => this.#bootUnlessHeld())
    }
    this.#run()
  }

  /** A fault from which this server's own end may follow: then it is no finding. */
  excuse(): void {
    this.#excusedUntilMs = this.#world.nowMs() + excuseMs
  }

  get excused(): boolean {
    return this.#world.nowMs() < this.#excusedUntilMs
  }

  /** A fault: ends the process, and keeps it down until `release`. */
  holdDown(powerCut: boolean): void {
    this.#heldDown = true
    this.node.crash({ powerCut })
    this.#options.onEnd(powerCut)
  }

  release(): void {
    this.#heldDown = false
    this.#bootUnlessHeld()
  }

  #bootUnlessHeld(): void {
    if (this.#heldDown || this.node.alive) return
    this.node.restart()
    this.#run()
  }

  #run(): void {
    const { incarnation, runtime } = this.node
    const start = async (): Promise<void> => {
      try {
        await this.#options.program(runtime)
      } catch (error) {
        if (incarnation.alive) this.node.startFailed(error)
      }
    }
    this.#world.after(0, () => this.node.perform(incarnation, 'input', () => void start()))
  }
}
