/**
 * Whether ZooKeeper lets a session read a node (gateway.md X-3). A wrong password is no error there:
 * the session opens, and every read is refused, which would look like an outage table by table. So
 * the root is read with each new session, and the refusal has one clear line and a reason on the
 * health page. Asked again from time to time, because access lists are repaired while we run.
 */
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'

const AGAIN_MS = 2000

export class AccessProbe {
  readonly #runtime: Pick<Runtime, 'timers'>
  readonly #coordinator: Coordinator
  readonly #path: string
  readonly #log: Log
  readonly #stopListening: () => void
  #timer: Timer | undefined
  #refused = false
  #granted = false
  #closed = false
  #isAsking = false

  constructor(runtime: Runtime, coordinator: Coordinator, path: string) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#path = path
    this.#log = runtime.log.child({ part: 'zookeeper' })
    this.#stopListening = coordinator.onState((state) => {
      if (state === 'connected') void this.#ask()
    })
    if (coordinator.state() === 'connected') void this.#ask()
  }

  /** In words, while the node may not be read. */
  problem(): string | undefined {
    return this.#refused
      ? `ZooKeeper refuses to show ${this.#path}: check zookeeper.user, zookeeper.password and its ACL`
      : undefined
  }

  /** Nothing was ever read with this identity: it may be the wrong one altogether. */
  get isNeverGranted(): boolean {
    return !this.#granted
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#stopListening()
  }

  async #ask(): Promise<void> {
    if (this.#isAsking || this.#closed) return
    this.#isAsking = true
    this.#timer?.cancel()
    const answer = await this.#read()
    this.#isAsking = false
    if (this.#closed) return
    if (answer === 'granted') this.#granted = true
    if (answer !== 'unknown') this.#note(answer === 'refused')
    if (this.#refused) this.#timer = this.#runtime.timers.after(AGAIN_MS, () => void this.#ask())
  }

  async #read(): Promise<'granted' | 'refused' | 'unknown'> {
    try {
      await this.#coordinator.get(this.#path)
      return 'granted'
    } catch (error) {
      if (!(error instanceof CoordinatorError)) throw error
      if (error.code === 'no-auth') return 'refused'
      return error.code === 'no-node' ? 'granted' : 'unknown'
    }
  }

  #note(refused: boolean): void {
    if (refused === this.#refused) return
    this.#refused = refused
    const fields = { path: this.#path }
    if (refused) this.#log.error('ZooKeeper refuses reads: check user, password and ACL', fields)
    else this.#log.info('ZooKeeper grants reads again', fields)
  }
}
