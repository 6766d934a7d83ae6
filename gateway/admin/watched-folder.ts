/**
 * The children of one ZooKeeper node with their values, kept in memory by watches: what lists of the
 * admin API are answered from. Holds texts and stats, knows nothing of what they mean.
 *
 * One watch on the list of children, one on each child while the watched paths stay within their
 * budget of bytes; children beyond it are compared every `pollMs`. A session loss reads everything
 * again and keeps what is known until then. A read is applied in the order of the answers, which is
 * the order of ZooKeeper, so that an answer never goes back behind one applied before.
 */
import type { Coordinator, NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { Freshness } from './api/requests.ts'
import { isCode } from './control-tree.ts'

export interface FolderNode {
  readonly name: string
  readonly text: string
  readonly stat: NodeStat
}

/** `isFirst`: it was there when this process began to look; nobody has changed anything. */
export interface FolderChange {
  readonly name: string
  readonly before: FolderNode | undefined
  readonly after: FolderNode | undefined
  readonly isFirst: boolean
}

export interface FolderOptions {
  readonly path: string
  readonly watchedBytesMax?: number
  readonly pollMs?: number
  /** After the change was applied. */
  readonly onChange?: (change: FolderChange) => void
}

interface Slot {
  node: FolderNode | undefined
  armed: boolean
  isReading: boolean
  again: boolean
}

const READS_MAX = 64
const RETRY_MS = 500
const WATCHED_BYTES_MAX = 4 << 20
const POLL_MS = 15_000

export class WatchedFolder {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers'>
  readonly #coordinator: Coordinator
  readonly #options: FolderOptions
  readonly #slots = new Map<string, Slot>()
  readonly #queue = new Set<string>()
  #reads = 0
  #watchedBytes = 0
  #isListing = false
  #listAgain = false
  #listArmed = false
  #isFirst = true
  #isComplete = false
  #sessionEpoch = 0
  #closed = false
  #retryTimer: Timer | undefined
  #pollTimer: Timer | undefined
  #waiting: (() => void)[] = []
  readonly #stopListening: () => void

  constructor(
    runtime: Pick<Runtime, 'clock' | 'timers'>,
    coordinator: Coordinator,
    options: FolderOptions,
  ) {
    this.#runtime = runtime
    this.#coordinator = coordinator
    this.#options = options
    this.#sessionEpoch = coordinator.sessionEpoch()
    this.#stopListening = coordinator.onState(() => this.#onState())
    void this.#list()
    this.#schedulePoll()
  }

  get(name: string): FolderNode | undefined {
    return this.#slots.get(name)?.node
  }

  *nodes(): Iterable<FolderNode> {
    for (const { node } of this.#slots.values()) if (node !== undefined) yield node
  }

  /** Children that are not watched, because too many bytes of paths are. */
  get polled(): number {
    let count = 0
    for (const { node, armed } of this.#slots.values()) if (node !== undefined && !armed) count++
    return count
  }

  freshness(): Freshness {
    const isConnected = this.#coordinator.state() === 'connected'
    if (isConnected && this.#isComplete) return { state: 'live', ageMs: 0 }
    if (this.#isFirst) return { state: 'loading', ageMs: 0 }
    const ageMs = this.#runtime.clock.monotonicMs() - this.#coordinator.lastAnswerAtMs()
    return { state: isConnected ? 'loading' : 'stale', ageMs: Math.max(0, Math.round(ageMs)) }
  }

  /** Resolves when everything was read once; at once when it was. */
  loaded(): Promise<void> {
    if (!this.#isFirst) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /**
   * Reads one child now, after a change of one's own, so that the next list shows it. Rejects with a
   * `CoordinatorError`.
   */
  async refresh(name: string): Promise<FolderNode | undefined> {
    const slot = this.#slot(name)
    try {
      const { data, stat } = await this.#coordinator.get(`${this.#options.path}/${name}`)
      this.#apply(name, slot, { name, text: data.toString('utf8'), stat })
      if (!slot.armed) this.#enqueue(name)
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
      this.#apply(name, slot, undefined)
    }
    return this.#slots.get(name)?.node
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    this.#stopListening()
    this.#retryTimer?.cancel()
    this.#pollTimer?.cancel()
    for (const go of this.#waiting.splice(0)) go()
  }

  #slot(name: string): Slot {
    let slot = this.#slots.get(name)
    if (slot === undefined) {
      slot = { node: undefined, armed: false, isReading: false, again: false }
      this.#slots.set(name, slot)
    }
    return slot
  }

  #apply(name: string, slot: Slot, after: FolderNode | undefined): void {
    const before = slot.node
    slot.node = after
    if (after === undefined && !slot.isReading && !slot.armed) this.#slots.delete(name)
    const isSame =
      before?.stat.modifiedZxid === after?.stat.modifiedZxid &&
      before?.stat.createdZxid === after?.stat.createdZxid
    if (isSame || this.#closed) return
    this.#options.onChange?.({ name, before, after, isFirst: this.#isFirst })
  }

  #onState(): void {
    if (this.#closed || this.#coordinator.state() !== 'connected') return
    if (this.#coordinator.sessionEpoch() !== this.#sessionEpoch) {
      this.#sessionEpoch = this.#coordinator.sessionEpoch()
      this.#listArmed = false
      for (const slot of this.#slots.values()) slot.armed = false
      this.#watchedBytes = 0
    }
    // Trust but verify: an event may have been lost with the connection.
    this.#isComplete = false
    for (const name of this.#slots.keys()) this.#queue.add(name)
    void this.#list()
  }

  async #list(): Promise<void> {
    if (this.#closed) return
    if (this.#isListing) {
      this.#listAgain = true
      return
    }
    this.#isListing = true
    this.#listAgain = false
    try {
      const names = new Set(await this.#children())
      for (const name of names) if (this.#slots.get(name)?.node === undefined) this.#enqueue(name)
      for (const [name, slot] of this.#slots)
        if (!names.has(name) && slot.node !== undefined) this.#enqueue(name)
      this.#pump()
    } catch {
      this.#listAgain = true
      this.#retryLater()
      return
    } finally {
      this.#isListing = false
    }
    if (this.#listAgain) void this.#list()
    else this.#finish()
  }

  async #children(): Promise<readonly string[]> {
    const { path } = this.#options
    // The event may come before the continuation of the read that set its watch.
    let hasFired = false
    const watch = (): void => {
      hasFired = true
      this.#listArmed = false
      if (this.#coordinator.state() === 'connected') void this.#list()
    }
    const arms = !this.#listArmed
    try {
      const names = await this.#coordinator.children(path, arms ? watch : undefined)
      if (arms) this.#listArmed = !hasFired
      return names
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
    }
    if (this.#listArmed) return []
    const found = await this.#coordinator.exists(path, watch)
    // Created in between: its children are not watched yet.
    if (found === undefined) this.#listArmed = !hasFired
    else this.#listAgain = true
    return []
  }

  #enqueue(name: string): void {
    this.#queue.add(name)
    this.#pump()
  }

  #pump(): void {
    if (this.#closed) return
    for (const name of this.#queue) {
      if (this.#reads >= READS_MAX || this.#coordinator.state() !== 'connected') return
      this.#queue.delete(name)
      const slot = this.#slot(name)
      if (slot.isReading) slot.again = true
      else void this.#read(name, slot)
    }
  }

  async #read(name: string, slot: Slot): Promise<void> {
    slot.isReading = true
    slot.again = false
    this.#reads++
    const path = `${this.#options.path}/${name}`
    const bytesMax = this.#options.watchedBytesMax ?? WATCHED_BYTES_MAX
    const arms = !slot.armed && this.#watchedBytes + path.length <= bytesMax
    let isUnread = false
    const epoch = this.#sessionEpoch
    // The event may come before the continuation of the read that set its watch.
    let hasFired = false
    const onEvent = (): void => {
      hasFired = true
      if (epoch !== this.#sessionEpoch) return
      if (slot.armed) this.#watchedBytes -= path.length
      slot.armed = false
      if (this.#coordinator.state() === 'connected') this.#enqueue(name)
    }
    try {
      const { data, stat } = await this.#coordinator.get(path, arms ? onEvent : undefined)
      if (arms && !hasFired && epoch === this.#sessionEpoch) {
        slot.armed = true
        this.#watchedBytes += path.length
      }
      this.#apply(name, slot, { name, text: data.toString('utf8'), stat })
    } catch (error) {
      if (isCode(error, 'no-node')) this.#apply(name, slot, undefined)
      else isUnread = true
    }
    slot.isReading = false
    this.#reads--
    if (slot.node === undefined && !slot.armed && !isUnread) this.#slots.delete(name)
    if (isUnread || slot.again) this.#queue.add(name)
    if (isUnread) this.#retryLater()
    else this.#pump()
    this.#finish()
  }

  /** Everything that was asked for is there. */
  #finish(): void {
    if (this.#queue.size > 0 || this.#reads > 0 || this.#isListing || this.#listAgain) return
    if (this.#coordinator.state() !== 'connected') return
    this.#isComplete = true
    if (!this.#isFirst) return
    this.#isFirst = false
    for (const go of this.#waiting.splice(0)) go()
  }

  #retryLater(): void {
    if (this.#closed) return
    this.#retryTimer ??= this.#runtime.timers.after(RETRY_MS, () => {
      this.#retryTimer = undefined
      if (this.#coordinator.state() !== 'connected') return
      if (this.#listAgain) void this.#list()
      this.#pump()
    })
  }

  #schedulePoll(): void {
    this.#pollTimer = this.#runtime.timers.after(this.#options.pollMs ?? POLL_MS, () => {
      for (const [name, slot] of this.#slots) if (!slot.armed) this.#queue.add(name)
      this.#pump()
      this.#schedulePoll()
    })
  }
}
