/**
 * The seeded simulation of the runtime contract: one process, many nodes, virtual time. Events are
 * taken from a queue by virtual time, one per turn of the real event loop, so that every promise
 * continuation of an event has run before the next one. The seed draws everything; the same seed
 * gives the same trace. Network and files are modelled in `simulated-network.ts` and
 * `simulated-files.ts`; a node and its incarnations in `simulated-node.ts`.
 *
 * Nothing real may be awaited by code in here: no timer, no file, no socket of this machine.
 */
import { SimulatedNetwork, type NetworkSettings } from './simulated-network.ts'
import { SimulatedCrash, SimulatedNode, type NodeOptions } from './simulated-node.ts'
import { EventQueue, type QueuedEvent } from './simulated-queue.ts'
import { seededRandom, type SeededRandom } from './simulated-random.ts'
import { SimulatedTrace } from './simulated-trace.ts'

export interface WorldOptions {
  readonly seed: number | string
  readonly network?: Partial<NetworkSettings>
  /** How many of the last events are kept in words; 500 when left out. */
  readonly traceKeptMax?: number
}

export interface RunLimits {
  /** Virtual time at which to stop at the latest. */
  readonly untilMs: number
  /** Asked before each event; true ends the run. */
  readonly until?: () => boolean
}

/** 2030-01-01, so that nothing depends on when the simulation is run. */
export const simulatedEpochMs = 1_893_456_000_000

export class SimulatedWorld {
  readonly random: SeededRandom
  readonly trace: SimulatedTrace
  readonly network: SimulatedNetwork
  readonly #queue = new EventQueue()
  readonly #nodes = new Map<string, SimulatedNode>()
  /** How many processes have ended so far. */
  exitCount = 0
  #nowMs = 0
  #running = false
  #current: SimulatedNode | undefined

  constructor(options: WorldOptions) {
    this.random = seededRandom(options.seed)
    this.trace = new SimulatedTrace(options.traceKeptMax ?? 500)
    this.network = new SimulatedNetwork(this, options.network ?? {})
  }

  nowMs(): number {
    return this.#nowMs
  }

  /** Adds a machine; its process is running at once. */
  node(name: string, options: NodeOptions): SimulatedNode {
    if (this.#nodes.has(name)) throw new Error(`node ${name} exists`)
    const node = new SimulatedNode(this, name, options)
    this.#nodes.set(name, node)
    this.network.addNode(node)
    return node
  }

  nodes(): readonly SimulatedNode[] {
    return [...this.#nodes.values()]
  }

  /** Schedules work of the world itself (faults, checks), which no crash or pause holds up. */
  after(delayMs: number, run: () => void): QueuedEvent {
    return this.#queue.push(this.#nowMs + Math.max(0, delayMs), run)
  }

  /** Puts a line into the trace. */
  note(node: string, kind: string, detail: string | number, facts?: object): void {
    this.trace.add(this.#nowMs, node, kind, detail, facts)
  }

  /** Runs code of a node; what it throws ends the node, as an uncaught exception ends a process. */
  enter(node: SimulatedNode, run: () => void): void {
    const outer = this.#current
    this.#current = node
    try {
      run()
    } catch (error) {
      node.failed(error)
    }
    // At the outermost level it stays: continuations of this turn belong to the same node.
    if (outer !== undefined) this.#current = outer
  }

  /**
   * Takes events until the time, until the condition holds, or until none is left. Resolves to true
   * when the condition held. One run at a time.
   */
  async run(limits: RunLimits): Promise<boolean> {
    if (this.#running) throw new Error('the world is already running')
    this.#running = true
    const release = this.#catchRejections()
    try {
      return await new Promise<boolean>((resolve, reject) => {
        const turn = (): void => {
          try {
            const ended = this.#turn(limits)
            if (ended === undefined) setImmediate(turn)
            else resolve(ended)
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)))
          }
        }
        setImmediate(turn)
      })
    } finally {
      release()
      this.#running = false
    }
  }

  #turn({ untilMs, until }: RunLimits): boolean | undefined {
    this.network.flush()
    this.#current = undefined
    if (until?.() === true) return true
    const next = this.#queue.peek()
    if (next === undefined || next.atMs > untilMs) {
      if (Number.isFinite(untilMs)) this.#nowMs = Math.max(this.#nowMs, untilMs)
      return false
    }
    this.#queue.pop()
    this.#nowMs = Math.max(this.#nowMs, next.atMs)
    this.trace.addQuietly(this.#nowMs, next.order)
    next.run()
    return undefined
  }

  /**
   * A promise that a node leaves rejected ends that node. The process's own listeners are put aside
   * while the world runs: they would end the whole simulation.
   */
  #catchRejections(): () => void {
    const others = process.listeners('unhandledRejection')
    const listener = (reason: unknown): void => {
      if (reason instanceof SimulatedCrash) return
      const node = this.#current
      if (node !== undefined) node.failed(reason)
      else for (const other of others) other(reason, Promise.resolve())
    }
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', listener)
    return () => {
      process.removeListener('unhandledRejection', listener)
      for (const other of others) process.on('unhandledRejection', other)
    }
  }
}
