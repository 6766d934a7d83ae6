/**
 * The children of one directory in ZooKeeper and their values, watched and parsed: a part of the
 * control tree as this process sees it (gateway.md 3.6). A bad value keeps the last good one, a
 * missing directory is empty and watched for; one that vanishes with what was in it is an outage and
 * not a deletion, as R-16 says of mappings. After a session loss everything is read again.
 *
 * Works in rounds, one at a time: whatever is dirty is read, a bounded number at once, and applied
 * together. What becomes dirty meanwhile is for the next round.
 */
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { FieldProblem, Parsed } from './mapping.ts'

export interface MirrorOptions<T> {
  /** The directory. */
  readonly path: string
  /** Children beyond are left out, with an alarm. */
  readonly nodesMax: number
  readonly parse: (name: string, data: Buffer) => Parsed<T>
  /** After each round that changed values. */
  readonly onChange: () => void
  /** Everything was read in this session, for the first time or again. */
  readonly onConfirmed: () => void
  /** The alarm of one child, or of the directory ('') as a whole, goes on or off. */
  readonly onProblem: (name: string, problem: FieldProblem | undefined) => void
}

const READS_MAX = 64
const RETRY_MS = 1000
/** These tell nothing about the node. */
const unanswered = new Set([
  'not-connected',
  'connection-loss',
  'timeout',
  'session-expired',
  'closed',
])

export class NodeMirror<T> {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #options: MirrorOptions<T>
  readonly #values = new Map<string, T>()
  /** By child, '' for the directory. */
  readonly #problems = new Map<string, string>()
  /** Children that are there and were, or will be, read. */
  #names = new Set<string>()
  #isDirectoryDirty = true
  #dirty = new Set<string>()
  #round = 0
  #isRunning = false
  #waiters: { round: number; readonly resolve: () => void }[] = []
  #sessionEpoch = 0
  #isLoaded = false
  /** The session in which everything was read last, 0 while something could not be. */
  #confirmedInSession = 0
  #retryTimer: Timer | undefined
  #closed = false
  readonly #stopListening: () => void

  constructor(runtime: Runtime, coordinator: Coordinator, options: MirrorOptions<T>) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'control-tree' })
    this.#coordinator = coordinator
    this.#options = options
    this.#sessionEpoch = coordinator.sessionEpoch()
    this.#stopListening = coordinator.onState(() => this.#onState())
    this.#run()
  }

  /** The last good values. */
  get values(): ReadonlyMap<string, T> {
    return this.#values
  }

  /** Read whole at least once. */
  get isLoaded(): boolean {
    return this.#isLoaded
  }

  /** Everything was read in the session that lasts, or was kept up to date by its watches. */
  get isConfirmed(): boolean {
    return this.#isLoaded && this.#confirmedInSession === this.#coordinator.sessionEpoch()
  }

  /** Resolves when every watch event received so far was read again and applied. */
  settled(): Promise<void> {
    const hasDirty = this.#isDirectoryDirty || this.#dirty.size > 0
    if (!hasDirty && !this.#isRunning) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiters.push({ round: hasDirty ? this.#round + 1 : this.#round, resolve })
    })
  }

  /** Promises of `settled` stay pending for ever. */
  close(): void {
    this.#closed = true
    this.#stopListening()
    this.#retryTimer?.cancel()
    this.#waiters = []
  }

  #onState(): void {
    if (this.#coordinator.state() !== 'connected') return
    if (this.#coordinator.sessionEpoch() !== this.#sessionEpoch) {
      this.#sessionEpoch = this.#coordinator.sessionEpoch()
      this.#isDirectoryDirty = true
      for (const name of this.#names) this.#dirty.add(name)
    }
    this.#run()
  }

  #run(): void {
    if (this.#isRunning || this.#closed) return
    if (!this.#isDirectoryDirty && this.#dirty.size === 0) return
    this.#isRunning = true
    void this.#rounds()
  }

  async #rounds(): Promise<void> {
    while (!this.#closed && (this.#isDirectoryDirty || this.#dirty.size > 0)) {
      this.#round++
      if (await this.#readRound()) {
        const done = this.#waiters.filter(({ round }) => round <= this.#round)
        this.#waiters = this.#waiters.filter(({ round }) => round > this.#round)
        for (const { resolve } of done) resolve()
        continue
      }
      for (const waiter of this.#waiters) waiter.round = Math.max(waiter.round, this.#round + 1)
      this.#confirmedInSession = 0
      break
    }
    this.#isRunning = false
    this.#retryLater()
  }

  /** A connection that comes back starts the next round; what is connected and fails is tried again. */
  #retryLater(): void {
    const isDirty = this.#isDirectoryDirty || this.#dirty.size > 0
    if (this.#closed || !isDirty || this.#coordinator.state() !== 'connected') return
    this.#retryTimer ??= this.#runtime.timers.after(RETRY_MS, () => {
      this.#retryTimer = undefined
      this.#run()
    })
  }

  /** Resolves to false when nobody could tell; what was not read is dirty again then. */
  async #readRound(): Promise<boolean> {
    const sessionEpoch = this.#coordinator.sessionEpoch()
    const wasConfirmed = this.isConfirmed
    let changed = false
    if (this.#isDirectoryDirty) {
      this.#isDirectoryDirty = false
      try {
        changed = await this.#readDirectory()
      } catch (error) {
        this.#isDirectoryDirty = true
        this.#log.debug('control directory not read', { path: this.#options.path, error })
        if (isUnanswered(error)) return false
        this.#tell('', { field: '', message: `cannot be read: ${String(error)}` })
        return false
      }
    }
    const names = [...this.#dirty]
    this.#dirty = new Set()
    let isWhole = true
    for (let at = 0; at < names.length; at += READS_MAX) {
      const batch = names.slice(at, at + READS_MAX)
      const outcomes = await Promise.all(batch.map((name) => this.#readNode(name)))
      if (outcomes.includes('changed')) changed = true
      if (outcomes.includes('unanswered')) isWhole = false
    }
    if (this.#closed) return false
    if (isWhole && sessionEpoch === this.#coordinator.sessionEpoch()) {
      this.#isLoaded = true
      this.#confirmedInSession = sessionEpoch
    }
    if (changed) this.#options.onChange()
    if (!wasConfirmed && this.isConfirmed) this.#options.onConfirmed()
    return isWhole
  }

  /** Marks new children dirty and drops old ones. Resolves to whether a value was dropped. */
  async #readDirectory(): Promise<boolean> {
    const { path, nodesMax } = this.#options
    const watch = (): void => {
      this.#isDirectoryDirty = true
      this.#runWhenConnected()
    }
    let found: readonly string[] | undefined
    while (found === undefined) {
      try {
        found = await this.#coordinator.children(path, watch)
      } catch (error) {
        if (!(error instanceof CoordinatorError) || error.code !== 'no-node') throw error
      }
      if (found === undefined && (await this.#coordinator.exists(path, watch)) === undefined) {
        const kept = this.#values.size
        this.#tell('', kept === 0 ? undefined : { field: '', message: `gone, ${kept} values kept` })
        return false
      }
    }
    const message = `${found.length} nodes, at most ${nodesMax}`
    this.#tell('', found.length > nodesMax ? { field: '', message } : undefined)
    const names = new Set(found.toSorted((a, b) => (a < b ? -1 : 1)).slice(0, nodesMax))
    for (const name of names) if (!this.#names.has(name)) this.#dirty.add(name)
    let changed = false
    for (const name of new Set([...this.#values.keys(), ...this.#problems.keys()]))
      if (name !== '' && !names.has(name) && this.#drop(name)) changed = true
    this.#names = names
    return changed
  }

  async #readNode(name: string): Promise<'changed' | 'same' | 'unanswered'> {
    if (!this.#names.has(name)) return 'same'
    const path = `${this.#options.path}/${name}`
    try {
      const { data } = await this.#coordinator.get(path, () => {
        this.#dirty.add(name)
        this.#runWhenConnected()
      })
      const parsed = this.#options.parse(name, data)
      this.#tell(name, parsed.ok ? undefined : parsed.problem)
      if (!parsed.ok || !this.#names.has(name)) return 'same'
      this.#values.set(name, parsed.value)
      return 'changed'
    } catch (error) {
      if (error instanceof CoordinatorError && error.code === 'no-node') {
        // The watch of the directory tells whether that is so; if it is back by then, it is new.
        this.#names.delete(name)
        return 'same'
      }
      if (isUnanswered(error)) {
        this.#dirty.add(name)
        return 'unanswered'
      }
      this.#tell(name, { field: '', message: `cannot be read: ${String(error)}` })
      this.#runtime.timers.after(RETRY_MS, () => {
        this.#dirty.add(name)
        this.#run()
      })
      return 'same'
    }
  }

  #runWhenConnected(): void {
    if (this.#coordinator.state() === 'connected') this.#run()
  }

  #drop(name: string): boolean {
    const hadProblem = this.#problems.has(name)
    this.#tell(name, undefined)
    this.#dirty.delete(name)
    return this.#values.delete(name) || hadProblem
  }

  #tell(name: string, problem: FieldProblem | undefined): void {
    if (this.#closed || this.#problems.get(name) === problem?.message) return
    const path = name === '' ? this.#options.path : `${this.#options.path}/${name}`
    if (problem === undefined) this.#problems.delete(name)
    else {
      this.#problems.set(name, problem.message)
      this.#log.error('control node unusable', { path, ...problem })
    }
    this.#options.onProblem(name, problem)
  }
}

function isUnanswered(error: unknown): boolean {
  return error instanceof CoordinatorError && unanswered.has(error.code)
}
