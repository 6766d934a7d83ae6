/**
 * Who changed a mapping: for the events of this gateway, and, by the one gateway that holds the lease,
 * for the history of changes that other tools made (H-4, `external-changes.ts`). A change is ours when
 * the audit has an entry of its transaction (`audit-tail.ts`).
 *
 * While nobody held the lease changes went by: `<control_root>/observed` says up to which zxid all were
 * seen, and the next holder looks at what is newer.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { AuditTail } from './audit-tail.ts'
import type { ChangeAuthor } from './api/problem.ts'
import { type ControlTree, createIfAbsent, isCode } from './control-tree.ts'
import type { EventHub } from './event-hub.ts'
import { ExternalChanges, externalAuthor } from './external-changes.ts'
import type { Journal } from './journal.ts'
import { Lease } from './lease.ts'
import type { TableHistories } from './table-history.ts'
import type { TableChange, TableMirror } from './table-mirror.ts'
import { eventFacts } from './table-view.ts'

type Seen = Omit<TableChange, 'isFirst'>

/** Explained in one turn. */
const TOGETHER = 200
/** Beyond, events go out without an author, and the sweep of the holder records what was missed. */
const QUEUE_MAX = 5000
const MARK_MS = 10_000
/** Tables that a sweep hands over before it lets others run. */
const SWEEP_SLICE = 250

export interface ObserverParts {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly tree: ControlTree
  readonly mirror: TableMirror
  readonly histories: TableHistories
  readonly journal: Journal
  readonly events: EventHub
  /** This gateway. */
  readonly gateway: () => string
  /** The lease is this gateway's now. */
  readonly onHeld?: () => void
}

export class Observer {
  readonly #parts: ObserverParts
  readonly #lease: Lease
  readonly #tail: AuditTail
  readonly #external: ExternalChanges
  readonly #queue: Seen[] = []
  /** Changes of each table that are queued or being explained: a sweep knows less of them. */
  readonly #unsettled = new Map<string, number>()
  #isExplaining = false
  #isSwept = false
  #wasOverrun = false
  #markedZxid = 0n
  #timer: Timer | undefined
  #closed = false

  constructor(parts: ObserverParts) {
    this.#parts = parts
    this.#tail = new AuditTail(parts.coordinator, parts.tree)
    this.#external = new ExternalChanges({
      log: parts.runtime.log.child({ part: 'audit' }),
      journal: parts.journal,
      histories: parts.histories,
      onFailed: () => {
        this.#wasOverrun = true
      },
    })
    this.#lease = new Lease(parts, {
      name: 'observer',
      holder: parts.gateway(),
      onHeld: () => {
        void this.#sweep()
        parts.onHeld?.()
      },
    })
    this.#scheduleMark()
  }

  get isHolder(): boolean {
    return this.#lease.isHeld
  }

  /** Changes that are not in events or in the history yet. */
  get waiting(): number {
    return this.#queue.length + this.#external.size
  }

  saw(change: TableChange): void {
    if (change.isFirst || this.#closed) return
    if (this.#queue.length >= QUEUE_MAX) {
      this.#wasOverrun = true
      this.#publish(change, undefined)
      return
    }
    this.#queue.push(change)
    this.#unsettled.set(change.name, (this.#unsettled.get(change.name) ?? 0) + 1)
    void this.#explain()
  }

  close(): void {
    this.#closed = true
    this.#lease.close()
    this.#timer?.cancel()
    this.#queue.length = 0
    this.#external.clear()
  }

  /** What was seen while the one before was found out goes together. */
  async #explain(): Promise<void> {
    if (this.#isExplaining) return
    this.#isExplaining = true
    while (this.#queue.length > 0) {
      const changes = this.#queue.splice(0, TOGETHER)
      const authors = await this.#authorsOf(changes)
      if (this.#closed) return
      for (const [index, change] of changes.entries()) this.#settle(change, authors?.[index])
    }
    this.#isExplaining = false
  }

  /** In the order of the changes; undefined when they could not be found out. */
  async #authorsOf(changes: readonly Seen[]): Promise<readonly ChangeAuthor[] | undefined> {
    try {
      await this.#tail.catchUp()
      return await Promise.all(changes.map((change) => this.#authorOf(change)))
    } catch (error) {
      this.#wasOverrun = true
      this.#parts.runtime.log.debug('authors of mappings not found out', { error })
      return undefined
    }
  }

  async #authorOf(change: Seen): Promise<ChangeAuthor> {
    const { name, before, after } = change
    const zxid = after?.node.stat.modifiedZxid
    const beforeZxid = before?.node.stat.modifiedZxid ?? 0n
    const known =
      zxid === undefined ? this.#tail.deleterOf(name, beforeZxid) : this.#tail.authorOf(name, zxid)
    if (known !== undefined) return known
    const mayBeOurs = !this.#tail.isKnown(zxid ?? beforeZxid)
    const found = mayBeOurs ? await this.#fromHistory(change) : undefined
    const at = after?.table.modifiedAt ?? new Date(this.#wallMs()).toISOString()
    return found ?? { actor: externalAuthor.actor, source: externalAuthor.source, at }
  }

  async #fromHistory({ name, before, after }: Seen): Promise<ChangeAuthor | undefined> {
    const { histories } = this.#parts
    if (after !== undefined) return histories.authorOf(name, after.node.stat.modifiedZxid)
    const latest = await histories.latest(name)
    const isOurs = latest?.after === null && latest.zxid > (before?.node.stat.modifiedZxid ?? 0n)
    return isOurs ? latest : undefined
  }

  #settle(change: Seen, author: ChangeAuthor | undefined): void {
    const { name, after } = change
    const others = (this.#unsettled.get(name) ?? 1) - 1
    if (others === 0) this.#unsettled.delete(name)
    else this.#unsettled.set(name, others)
    if (after !== undefined && author !== undefined)
      this.#parts.mirror.attribute(name, after.node.stat.modifiedZxid, author)
    this.#publish(change, author)
    if (author === undefined) return
    if (author.source === externalAuthor.source) this.#record(change)
    else this.#external.seal(name)
  }

  /** The holder of the lease writes; should it lose the lease, the next one looks for what is new. */
  #record({ name, before, after }: Seen): void {
    if (!this.#lease.isHeld) {
      this.#external.clear()
      return
    }
    const isTaken = this.#external.add({ name, before, after, seenAtMs: this.#wallMs() })
    if (!isTaken) this.#wasOverrun = true
  }

  /** What changed while nobody looked. */
  async #sweep(): Promise<void> {
    const { coordinator, tree, mirror } = this.#parts
    this.#isSwept = false
    await mirror.loaded()
    try {
      const path = tree.path('observed')
      await createIfAbsent(coordinator, path, Buffer.from(String(this.#newestZxid())))
      const observed = BigInt((await coordinator.get(path)).data.toString('utf8'))
      this.#markedZxid = observed
      for (const [index, name] of [...mirror.names].entries()) {
        if (index % SWEEP_SLICE === SWEEP_SLICE - 1) await this.#pause()
        const view = mirror.get(name)
        const isNew = view !== undefined && view.node.stat.modifiedZxid > observed
        if (isNew && !this.#unsettled.has(name))
          this.#record({ name, before: undefined, after: view })
      }
      await this.#sweepDeleted()
      this.#isSwept = true
    } catch (error) {
      this.#wasOverrun = true
      this.#parts.runtime.log.debug('changes by others not looked for', { error })
    }
  }

  /** Tables with a history that does not end with a deletion, but without a mapping. */
  async #sweepDeleted(): Promise<void> {
    const { coordinator, tree, mirror, histories } = this.#parts
    for (const name of await coordinator.children(tree.path('history'))) {
      if (mirror.get(name) !== undefined) continue
      const latest = await histories.latest(name)
      const isUntold = latest !== undefined && latest.after !== null
      if (isUntold && mirror.get(name) === undefined && !this.#unsettled.has(name))
        this.#record({ name, before: undefined, after: undefined })
    }
  }

  #newestZxid(): bigint {
    const { mirror } = this.#parts
    let newest = 0n
    for (const name of mirror.names) {
      const zxid = mirror.get(name)?.node.stat.modifiedZxid ?? 0n
      if (zxid > newest) newest = zxid
    }
    return newest
  }

  #scheduleMark(): void {
    this.#timer = this.#parts.runtime.timers.after(MARK_MS, () => {
      void this.#mark().finally(() => {
        if (!this.#closed) this.#scheduleMark()
      })
    })
  }

  /** Everything up to the newest change was looked at. */
  async #mark(): Promise<void> {
    if (!this.#lease.isHeld) return
    if (this.waiting > 0 || this.#isExplaining) return
    if (this.#wasOverrun || !this.#isSwept) {
      this.#wasOverrun = false
      await this.#sweep()
      return
    }
    const newest = this.#newestZxid()
    if (newest <= this.#markedZxid) return
    try {
      const { coordinator, tree } = this.#parts
      await coordinator.set(tree.path('observed'), Buffer.from(String(newest)))
      this.#markedZxid = newest
    } catch (error) {
      if (isCode(error, 'no-node')) this.#isSwept = false
    }
  }

  #publish({ name, before, after }: Seen, author: ChangeAuthor | undefined): void {
    const clusterBefore = before?.table.cluster
    this.#parts.events.publish({
      topic: 'tables',
      type: after === undefined ? 'deleted' : before === undefined ? 'created' : 'changed',
      name,
      ...(after === undefined ? {} : eventFacts(after.table)),
      ...(clusterBefore === undefined ? {} : { clusterBefore }),
      ...(author === undefined ? {} : { actor: author.actor, source: author.source }),
    })
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.runtime.timers.soon(resolve)
    })
  }

  #wallMs(): number {
    return this.#parts.runtime.clock.wallMs()
  }
}
