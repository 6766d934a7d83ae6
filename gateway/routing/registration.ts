/**
 * This gateway's node `<control root>/gateways/<id>` (gateway.md 3.6, DR-31): ephemeral, on the session
 * that writes, made again after every loss of it, written when something in it changes. Changes that
 * others wait for are written at once, numbers that merely move every few seconds; how busy the
 * gateway is makes a write of its own only when that is news (`load.ts`): the whole fleet watches.
 */
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { type GatewayLoad, isNews } from '../load.ts'
import { makePath } from './redirect-plan.ts'

/** What does not change while the process lives. */
export interface GatewayFacts {
  readonly id: string
  readonly version: string
  /** ISO 8601. */
  readonly startedAt: string
  readonly host: string
  /** `ip:port` of each address that clients may use. */
  readonly rpc: readonly string[]
  readonly http: string
  readonly workers: number
}

export interface GatewayState {
  /** The fleet's routing epoch up to which everything is applied (`fleet-epoch.ts`). */
  readonly appliedEpoch: number
  /** Counts the changes of this process's routes. */
  readonly routingEpoch: number
  /** Epochs of the redirects in force, by the cluster that they lead away from. */
  readonly redirects: Readonly<Record<string, number>>
  /** The session that watches the mappings. */
  readonly zookeeper: 'connected' | 'suspended'
  readonly connections: number
  readonly draining: boolean
  /** Of the configuration that should be equal in the whole fleet (`shared-config.ts`). */
  readonly configHash: string
  /** Undefined in the first seconds. */
  readonly load: GatewayLoad | undefined
}

export interface RegistrationOptions {
  readonly controlRoot: string
  readonly facts: GatewayFacts
  readonly state: () => GatewayState
}

const REFRESH_MS = 5000
const RETRY_MS = 1000

export class Registration {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #control: Coordinator
  readonly #options: RegistrationOptions
  readonly #path: string
  /** The session that made the node; 0 when there is none that we know of. */
  #madeInSession = 0
  /** What was written last, without the load; '' when that is not known. */
  #written = ''
  #load: GatewayLoad | undefined
  #loadWrittenAtMs = 0
  #isWriting = false
  #again = false
  #timer: Timer | undefined
  #isFailing = false
  #closed = false
  readonly #stopListening: () => void

  constructor(runtime: Runtime, control: Coordinator, options: RegistrationOptions) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'registration' })
    this.#control = control
    this.#options = options
    this.#path = `${options.controlRoot}/gateways/${options.facts.id}`
    this.#stopListening = control.onState((state) => {
      if (state === 'connected') this.update()
    })
    this.update()
  }

  /** Something in the node has changed that others may wait for. */
  update(): void {
    if (this.#closed) return
    this.#again = true
    if (!this.#isWriting) void this.#write()
  }

  /** Takes the node away. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#stopListening()
    this.#timer?.cancel()
    // When it fails, the end of the session takes it away.
    await this.#control.remove(this.#path).catch(() => undefined)
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    this.#timer?.cancel()
    let delayMs = REFRESH_MS
    while (this.#again && !this.#closed) {
      this.#again = false
      if (this.#control.state() !== 'connected') break
      try {
        await this.#publish()
        this.#isFailing = false
      } catch (error) {
        delayMs = RETRY_MS
        if (!this.#isFailing) this.#log.warn('not registered', { path: this.#path, error })
        this.#isFailing = true
        break
      }
    }
    this.#isWriting = false
    if (!this.#closed) this.#timer = this.#runtime.timers.after(delayMs, () => this.update())
  }

  async #publish(): Promise<void> {
    const { load, ...state } = this.#options.state()
    const node = { ...this.#options.facts, ...state }
    const session = this.#control.sessionEpoch()
    const toldForMs = this.#runtime.clock.monotonicMs() - this.#loadWrittenAtMs
    const isNew = JSON.stringify(node) !== this.#written || isNews(this.#load, load, toldForMs)
    const isThere =
      this.#madeInSession === session &&
      (isNew || (await this.#control.exists(this.#path)) !== undefined)
    if (isThere && !isNew) return
    const data = Buffer.from(JSON.stringify({ ...node, load }))
    this.#written = ''
    if (isThere) await this.#set(data)
    else await this.#make(data, session)
    this.#written = JSON.stringify(node)
    this.#load = load
    this.#loadWrittenAtMs = this.#runtime.clock.monotonicMs()
  }

  /** A node that is there belongs to an older session of ours, and would go with it. */
  async #make(data: Buffer, session: number): Promise<void> {
    await makePath(this.#control, `${this.#options.controlRoot}/gateways`)
    await this.#control.remove(this.#path).catch((error: unknown) => {
      if (!isCode(error, 'no-node')) throw error
    })
    await this.#control.create(this.#path, data, { ephemeral: true })
    this.#madeInSession = session
  }

  async #set(data: Buffer): Promise<void> {
    try {
      await this.#control.set(this.#path, data)
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
      this.#madeInSession = 0
      this.#again = true
    }
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof CoordinatorError && error.code === code
}
