/**
 * Who changed a mapping: for the events of this gateway, and, by the one gateway that holds the lease,
 * for the history of changes that other tools made (H-4). A change is ours when the newest version in
 * the table's history has its zxid, because both were made in one transaction.
 *
 * While nobody held the lease changes went by: `<control_root>/observed` says up to which zxid all were
 * seen, and the next holder looks at what is newer.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { ChangeAuthor } from './api/problem.ts'
import { type ControlTree, createIfAbsent, isCode } from './control-tree.ts'
import type { EventHub } from './event-hub.ts'
import type { Author, Journal } from './journal.ts'
import { Lease } from './lease.ts'
import type { TableHistories } from './table-history.ts'
import type { TableChange, TableMirror } from './table-mirror.ts'

interface Seen extends Omit<TableChange, 'isFirst'> {
  /** Found by looking back, or told already: no news. */
  readonly isOld?: boolean
  /** Rises with each change seen; older ones of a table are no news after a newer one. */
  readonly order?: number
}

const LOOKUPS_MAX = 16
/** Beyond, events go out without an author, and the sweep of the holder records what was missed. */
const QUEUE_MAX = 5000
/** Events behind this many are published at once. */
const WAITING_FOR_AUTHORS_MAX = 32
const MARK_MS = 10_000

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
}

export class Observer {
  readonly #parts: ObserverParts
  readonly #lease: Lease
  readonly #queue: Seen[] = []
  #lookups = 0
  #seen = 0
  /** Tables of a storm, with the order of their last change that was published at once. */
  readonly #told = new Map<string, number>()
  #isSwept = false
  #wasOverrun = false
  #markedZxid = 0n
  #timer: Timer | undefined
  #closed = false

  constructor(parts: ObserverParts) {
    this.#parts = parts
    this.#lease = new Lease(parts, {
      name: 'observer',
      holder: parts.gateway(),
      onHeld: () => void this.#sweep(),
    })
    this.#scheduleMark()
  }

  get isHolder(): boolean {
    return this.#lease.isHeld
  }

  saw(change: TableChange): void {
    if (change.isFirst || this.#closed) return
    if (this.#queue.length >= QUEUE_MAX) {
      this.#wasOverrun = true
      this.#publish(change, undefined)
      return
    }
    // Under a storm the news goes first, without an author: a page shall not be as late as the audit.
    const isTold = this.#queue.length >= WAITING_FOR_AUTHORS_MAX
    const order = this.#seen++
    if (isTold) {
      this.#publish(change, undefined)
      this.#told.set(change.name, order)
    }
    this.#queue.push({ ...change, order, isOld: isTold })
    this.#pump()
  }

  close(): void {
    this.#closed = true
    this.#lease.close()
    this.#timer?.cancel()
    this.#queue.length = 0
  }

  #pump(): void {
    while (this.#lookups < LOOKUPS_MAX && !this.#closed) {
      const change = this.#queue.shift()
      if (change === undefined) {
        if (this.#lookups === 0) this.#told.clear()
        return
      }
      this.#lookups++
      void this.#explain(change).finally(() => {
        this.#lookups--
        this.#pump()
      })
    }
  }

  async #explain(change: Seen): Promise<void> {
    const { mirror } = this.#parts
    const { name, after } = change
    let author: ChangeAuthor | undefined
    try {
      author = await this.#authorOf(change)
      if (author === undefined) {
        const at = after?.table.modifiedAt ?? new Date(this.#wallMs()).toISOString()
        author = { actor: 'unknown', source: 'external', at }
        if (this.#lease.isHeld) await this.#record(change)
      }
    } catch (error) {
      this.#wasOverrun = true
      this.#parts.runtime.log.debug('author of a mapping not found out', { table: name, error })
    }
    if (after !== undefined && author !== undefined)
      mirror.attribute(name, after.node.stat.modifiedZxid, author)
    const isNews = (this.#told.get(name) ?? -1) < (change.order ?? 0)
    if (change.isOld !== true && isNews) this.#publish(change, author)
  }

  async #authorOf({ name, before, after }: Seen): Promise<ChangeAuthor | undefined> {
    const { histories } = this.#parts
    if (after !== undefined) return histories.authorOf(name, after.node.stat.modifiedZxid)
    const latest = await histories.latest(name)
    const isOurs = latest?.after === null && latest.zxid > (before?.node.stat.modifiedZxid ?? 0n)
    return isOurs ? latest : undefined
  }

  /** A version in the history for a change that another tool made. */
  async #record({ name, before, after }: Seen): Promise<void> {
    const { journal, histories } = this.#parts
    const zxid = after?.node.stat.modifiedZxid
    const at = after?.table.modifiedAt ?? new Date(this.#wallMs()).toISOString()
    await journal.commit(externalAuthor, async (seq) => {
      const latest = await histories.latest(name)
      const isKnown = zxid === undefined ? latest?.after === null : latest?.zxid === zxid
      if (isKnown) return { operations: [], entries: [], raisesEpoch: false }
      const was = before?.node.text ?? latest?.after ?? null
      const is = after?.node.text ?? null
      const action = is === null ? 'delete' : was === null ? 'create' : 'change'
      const operations = await histories.append(name, seq, {
        at,
        actor: externalAuthor.actor,
        source: externalAuthor.source,
        action,
        before: was,
        after: is,
        ...(zxid === undefined ? {} : { zxid: String(zxid) }),
      })
      return {
        operations,
        entries: [{ action, kind: 'table', name, before: was, after: is }],
        raisesEpoch: false,
      }
    })
  }

  /** What changed while nobody looked. */
  async #sweep(): Promise<void> {
    const { coordinator, tree, mirror, histories } = this.#parts
    this.#isSwept = false
    await mirror.loaded()
    try {
      const path = tree.path('observed')
      await createIfAbsent(coordinator, path, Buffer.from(String(this.#newestZxid())))
      const observed = BigInt((await coordinator.get(path)).data.toString('utf8'))
      this.#markedZxid = observed
      for (const name of mirror.names) {
        const view = mirror.get(name)
        if (view === undefined || view.node.stat.modifiedZxid <= observed) continue
        this.#queue.push({ name, before: undefined, after: view, isOld: true })
      }
      for (const name of await coordinator.children(tree.path('history'))) {
        if (mirror.get(name) !== undefined) continue
        const latest = await histories.latest(name)
        if (latest !== undefined && latest.after !== null)
          await this.#record({ name, before: undefined, after: undefined })
      }
      this.#isSwept = true
      this.#pump()
    } catch (error) {
      this.#wasOverrun = true
      this.#parts.runtime.log.debug('changes by others not looked for', { error })
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
    if (this.#queue.length > 0 || this.#lookups > 0) return
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
    const cluster = after?.table.cluster
    this.#parts.events.publish({
      topic: 'tables',
      type: after === undefined ? 'deleted' : before === undefined ? 'created' : 'changed',
      name,
      ...(after === undefined ? {} : { etag: after.table.etag, state: after.table.state }),
      ...(cluster === undefined ? {} : { cluster }),
      ...(clusterBefore === undefined ? {} : { clusterBefore }),
      ...(author === undefined ? {} : { actor: author.actor, source: author.source }),
    })
  }

  #wallMs(): number {
    return this.#parts.runtime.clock.wallMs()
  }
}

const externalAuthor: Author = {
  actor: 'unknown',
  source: 'external',
  from: '',
  requestId: '',
  reason: undefined,
}
