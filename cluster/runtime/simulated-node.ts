/**
 * A simulated machine with one process on it. The machine outlives the process: its disk stays, its
 * clocks go on. Each start of the process is an incarnation with a runtime of its own; once it has
 * ended, none of its callbacks runs, none of its promises settles, and what it still calls has no
 * effect.
 */
import type { SimulatedWorld } from './simulated.ts'
import { SimulatedDisk } from './simulated-files.ts'
import type { SeededRandom } from './simulated-random.ts'
import { simulatedEpochMs } from './simulated.ts'
import type { Log, LogFields, Runtime, Timer } from './runtime.ts'

export interface NodeOptions {
  readonly ip: string
  /** Names that resolve to it, besides its own. */
  readonly aliases?: readonly string[]
  /** Difference of its wall clock to the world's time. */
  readonly wallOffsetMs?: number
  /** Speed of both clocks, such as 1.005; timers run by it. */
  readonly clockRate?: number
}

/** Thrown by `runtime.crash` to leave the caller's logic; the node has already ended. */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash'
}

/** How a process ended. `stopped` is a fault of the simulation, the others are its own doing. */
export interface NodeExit {
  readonly atMs: number
  readonly how: 'stopped' | 'crash' | 'uncaught' | 'start-failed'
  readonly message: string
  readonly error?: unknown
}

export interface LogLine {
  readonly atMs: number
  readonly node: string
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
  readonly fields: LogFields
}

/** One life of the process. */
export interface Incarnation {
  readonly node: SimulatedNode
  readonly number: number
  alive: boolean
}

type Deferred = { readonly kind: 'timer' | 'input'; readonly run: () => void }

export class SimulatedNode {
  readonly name: string
  readonly ip: string
  readonly aliases: readonly string[]
  readonly disk: SimulatedDisk
  /** Every end of its process, oldest first. */
  readonly exits: NodeExit[] = []
  /** Sees every log line; set by who wants them. */
  onLog: ((line: LogLine) => void) | undefined
  /** Told when the process ends on its own account. */
  onExit: ((exit: NodeExit) => void) | undefined
  readonly #world: SimulatedWorld
  readonly #clockRate: number
  readonly #monotonicStartMs: number
  readonly #random: SeededRandom
  #wallOffsetMs: number
  #incarnation: Incarnation
  #runtime: Runtime
  #poweredOff = false
  #paused = false
  #deferred: Deferred[] = []

  constructor(world: SimulatedWorld, name: string, options: NodeOptions) {
    this.#world = world
    this.name = name
    this.ip = options.ip
    this.aliases = [name, ...(options.aliases ?? [])]
    this.#random = world.random.fork(`node/${name}`)
    this.#clockRate = options.clockRate ?? 1
    this.#wallOffsetMs = options.wallOffsetMs ?? 0
    this.#monotonicStartMs = this.#random.between(0, 1e6)
    this.disk = new SimulatedDisk(world, this.#random.fork('disk'))
    this.#incarnation = { node: this, number: 0, alive: false }
    this.#runtime = this.restart()
  }

  /** The runtime of the current incarnation. */
  get runtime(): Runtime {
    return this.#runtime
  }

  get incarnation(): Incarnation {
    return this.#incarnation
  }

  get alive(): boolean {
    return this.#incarnation.alive
  }

  /** Off: it does not even refuse connections. */
  get poweredOff(): boolean {
    return this.#poweredOff
  }

  get paused(): boolean {
    return this.#paused
  }

  /** Ends the process at once. A power cut also loses what was not synced, and falls silent. */
  crash(options: { readonly powerCut: boolean }): void {
    this.#world.note(this.name, options.powerCut ? 'power-cut' : 'kill', this.#incarnation.number)
    this.#end({ atMs: this.#world.nowMs(), how: 'stopped', message: '' }, options.powerCut)
  }

  /** Starts a new incarnation; the caller runs a program on the runtime that this answers. */
  restart(): Runtime {
    if (this.#incarnation.alive) throw new Error(`node ${this.name} is running`)
    const number = this.#incarnation.number + 1
    this.#incarnation = { node: this, number, alive: true }
    this.#runtime = this.#makeRuntime(this.#incarnation)
    if (number > 1) this.#world.note(this.name, 'restart', number)
    this.#paused = false
    if (this.#poweredOff) {
      this.#poweredOff = false
      this.#world.network.reachable()
    }
    return this.#runtime
  }

  /** A stopped event loop: nothing runs, while clocks and the network's buffers go on. */
  pause(): void {
    if (this.#paused || !this.alive) return
    this.#world.note(this.name, 'pause', 0)
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#world.note(this.name, 'resume', this.#deferred.length)
    this.#paused = false
    const late = this.#deferred
    this.#deferred = []
    // Whether late timers or waiting input run first is not for the program to rely on.
    const first = this.#random.chance(0.5) ? 'timer' : 'input'
    const ordered = [
      ...late.filter((entry) => entry.kind === first),
      ...late.filter((entry) => entry.kind !== first),
    ]
    const { number } = this.#incarnation
    for (const { kind, run } of ordered)
      this.#world.after(0, () => {
        if (this.#incarnation.number === number) this.perform(this.#incarnation, kind, run)
      })
  }

  /** The wall clock steps; nothing else may notice. */
  stepWallClock(byMs: number): void {
    this.#world.note(this.name, 'clock-step', byMs)
    this.#wallOffsetMs += byMs
  }

  /** Runs code of an incarnation: now, when it resumes, or never. */
  perform(incarnation: Incarnation, kind: 'timer' | 'input', run: () => void): void {
    if (!incarnation.alive) return
    if (this.#paused) this.#deferred.push({ kind, run })
    else this.#world.enter(this, run)
  }

  /** An exception or rejection that nobody handled. */
  failed(error: unknown): void {
    if (error instanceof SimulatedCrash || !this.alive) return
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#world.note(this.name, 'uncaught', error instanceof Error ? error.message : message)
    this.#endItself({ atMs: this.#world.nowMs(), how: 'uncaught', message, error })
  }

  /** The program's start was rejected: the process ends with exit code 1. */
  startFailed(error: unknown): void {
    if (error instanceof SimulatedCrash || !this.alive) return
    const message = error instanceof Error ? error.message : String(error)
    this.#world.note(this.name, 'start-failed', message)
    this.#endItself({ atMs: this.#world.nowMs(), how: 'start-failed', message, error })
  }

  #endItself(exit: NodeExit): void {
    this.#end(exit, false)
    this.onExit?.(exit)
  }

  #end(exit: NodeExit, powerCut: boolean): void {
    if (this.#incarnation.alive) {
      this.#incarnation.alive = false
      this.exits.push(exit)
      this.#world.exitCount++
    }
    this.#deferred = []
    this.#paused = false
    this.#poweredOff ||= powerCut
    this.#world.network.ended(this.#incarnation, powerCut)
    this.disk.ended(powerCut)
  }

  #makeRuntime(incarnation: Incarnation): Runtime {
    const world = this.#world
    const monotonicMs = (): number => this.#monotonicStartMs + world.nowMs() * this.#clockRate
    const random = this.#random.fork(`incarnation/${incarnation.number}`)
    const after = (delayMs: number, run: () => void): Timer => {
      if (!incarnation.alive) return { cancel: () => undefined }
      // A thousandth of a microsecond against rounding, and the lateness of real timers.
      const lateMs = 1e-6 + (delayMs > 0 ? random.float() : 0)
      let cancelled = false
      const event = world.after(delayMs / this.#clockRate + lateMs, () =>
        this.perform(incarnation, 'timer', () => {
          if (!cancelled) run()
        }),
      )
      return {
        cancel: () => {
          cancelled = true
          event.cancelled = true
        },
      }
    }
    return {
      clock: {
        monotonicMs,
        wallMs: () =>
          Math.floor(simulatedEpochMs + world.nowMs() * this.#clockRate + this.#wallOffsetMs),
      },
      timers: {
        after,
        soon: (run) => {
          world.after(0, () => this.perform(incarnation, 'input', run))
        },
      },
      random,
      network: world.network.networkOf(incarnation),
      files: this.disk.filesOf(incarnation),
      log: this.#makeLog(incarnation, {}),
      crash: (message: string, fields?: LogFields): never => {
        if (incarnation.alive) {
          world.note(this.name, 'crash', message)
          this.#emit('error', message, fields ?? {})
          this.#endItself({ atMs: world.nowMs(), how: 'crash', message, error: fields })
        }
        throw new SimulatedCrash(message)
      },
    }
  }

  #emit(level: LogLine['level'], message: string, fields: LogFields): void {
    this.onLog?.({ atMs: this.#world.nowMs(), node: this.name, level, message, fields })
  }

  #makeLog(incarnation: Incarnation, base: LogFields): Log {
    const at =
      (level: LogLine['level']) =>
      (message: string, fields?: LogFields): void => {
        if (!incarnation.alive) return
        if (level !== 'debug') this.#world.note(this.name, level, message)
        if (this.onLog !== undefined) this.#emit(level, message, { ...base, ...fields })
      }
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: (fields) => this.#makeLog(incarnation, { ...base, ...fields }),
    }
  }
}
