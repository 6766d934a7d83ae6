/**
 * Takes part in the election on the coordinator: carries out what `election.ts` decides, repeats a
 * step whose outcome is unknown after a pause, and judges how fresh the leadership is. Ends the
 * process when the session or the own node is lost; the supervisor starts a new one (meta-server.md
 * 2.3). Storage writes go through the same coordinator, so a lost session refuses them too.
 */
import {
  type Coordinator,
  CoordinatorError,
  type Watch,
  type WatchEvent,
} from '../coordinator/coordinator.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { Election, type ElectionEffect, type ElectionEvent } from './election.ts'

const RETRY_MS = 1000

/** The name of the lock below its root, as upstream's. */
const lockName = 'dsn.meta.server.leader'

export interface ContenderOptions {
  /** The address others reach this server at. */
  readonly self: string
  /** Lock root, such as `/pegasus/alpha/lock`. */
  readonly lockRoot: string
  readonly onGranted: () => void
  /** For logs and forwarding; '' when unknown. */
  readonly onLeader: (address: string) => void
}

/** Creates a path with its parents; those that exist are fine. */
export async function createPath(coordinator: Coordinator, path: string): Promise<void> {
  const parts = path.split('/').filter((part) => part !== '')
  for (const count of parts.keys())
    try {
      await coordinator.create(`/${parts.slice(0, count + 1).join('/')}`, Buffer.alloc(0))
    } catch (error) {
      if (!(error instanceof CoordinatorError) || error.code !== 'node-exists') throw error
    }
}

/** Whether the same operation may be tried again: its outcome is unknown, or it was not sent. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof CoordinatorError &&
    ['connection-loss', 'timeout', 'not-connected'].includes(error.code)
  )
}

export class Contender {
  readonly #runtime: Runtime
  readonly #coordinator: Coordinator
  readonly #options: ContenderOptions
  readonly #election: Election
  readonly #directory: string
  #leader = ''
  #closed = false
  /** Only the watch set last counts. */
  #watchNumber = 0

  constructor(runtime: Runtime, coordinator: Coordinator, options: ContenderOptions) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#options = options
    this.#election = new Election(options.self)
    this.#directory = `${options.lockRoot}/${lockName}`
    coordinator.onState((state) => {
      if (state === 'expired' && !this.#closed)
        this.#runtime.crash('the coordination session has expired')
    })
  }

  /** The leader as far as known, '' otherwise; may be this server. */
  get leader(): string {
    return this.#leader
  }

  /**
   * Whether this server leads and has heard from the coordination service lately enough to act on
   * it: an older answer than two thirds of the session time fences it (2.3). To be asked at the
   * moment of answering.
   */
  leadsNow(): boolean {
    if (!this.#election.leading || this.#closed) return false
    const ageMs = this.#runtime.clock.monotonicMs() - this.#coordinator.lastAnswerAtMs()
    return ageMs <= (this.#coordinator.sessionTimeoutMs() * 2) / 3
  }

  start(): void {
    void this.#run(async () => {
      await createPath(this.#coordinator, this.#directory)
      return { type: 'start' }
    })
  }

  /** Takes no further step; the node goes with the session. */
  close(): void {
    this.#closed = true
  }

  #step(event: ElectionEvent): void {
    for (const effect of this.#election.step(event)) this.#perform(effect)
  }

  #perform(effect: ElectionEffect): void {
    const coordinator = this.#coordinator
    switch (effect.type) {
      case 'create':
        void this.#run(async () => {
          const data = Buffer.from(this.#options.self)
          const options = { ephemeral: true, sequential: true }
          const path = await coordinator.create(`${this.#directory}/LOCKNODE`, data, options)
          return { type: 'created', name: path.slice(this.#directory.length + 1) }
        })
        break
      case 'list':
        void this.#run(async () => ({
          type: 'listed',
          names: await coordinator.children(this.#directory),
        }))
        break
      case 'read':
        void this.#run(() => (effect.own ? this.#watchOwn(effect.name) : this.#read(effect.name)))
        break
      case 'remove':
        void this.#run(async () => {
          await ignoring('no-node', coordinator.remove(`${this.#directory}/${effect.name}`))
          return { type: 'owner-gone' }
        })
        break
      case 'leader':
        if (this.#leader !== effect.address) {
          this.#leader = effect.address
          this.#options.onLeader(effect.address)
        }
        break
      case 'granted':
        this.#options.onGranted()
        break
      case 'lost':
        this.#runtime.crash('the leader lock is lost')
    }
  }

  async #read(name: string): Promise<ElectionEvent> {
    const watch = this.#watch(() => ({ type: 'owner-gone' }))
    const found = await ignoring(
      'no-node',
      this.#coordinator.get(`${this.#directory}/${name}`, watch),
    )
    return { type: 'owner-read', name, address: found?.data.toString('utf8') }
  }

  /** `undefined` while all is well: the watch brings the end. */
  async #watchOwn(name: string): Promise<ElectionEvent | undefined> {
    const path = `${this.#directory}/${name}`
    const watch = this.#watch((event) => {
      if (event.type !== 'changed') return { type: 'own-gone' }
      void this.#run(() => this.#watchOwn(name))
      return undefined
    })
    const found = await ignoring('no-node', this.#coordinator.get(path, watch))
    return found === undefined ? { type: 'own-gone' } : undefined
  }

  #watch(then: (event: WatchEvent) => ElectionEvent | undefined): Watch {
    const number = ++this.#watchNumber
    return (event) => {
      if (this.#closed || number !== this.#watchNumber) return
      const next = then(event)
      if (next !== undefined) this.#step(next)
    }
  }

  /** Until it succeeds; an error that no repetition helps against ends the process. */
  async #run(attempt: () => Promise<ElectionEvent | undefined>): Promise<void> {
    try {
      const event = await attempt()
      if (event !== undefined && !this.#closed) this.#step(event)
    } catch (error) {
      if (this.#closed) return
      if (!isTransient(error))
        this.#runtime.crash('the election failed', { error, lock: this.#directory })
      this.#runtime.timers.after(RETRY_MS, () => {
        if (!this.#closed) void this.#run(attempt)
      })
    }
  }
}

async function ignoring<T>(
  code: CoordinatorError['code'],
  operation: Promise<T>,
): Promise<T | undefined> {
  try {
    return await operation
  } catch (error) {
    if (error instanceof CoordinatorError && error.code === code) return undefined
    throw error
  }
}
