/**
 * Every change of the admin API is one ZooKeeper transaction: the change itself with the versions
 * that its author saw, its audit entries, the head of their chain, for mappings the new version in
 * the table's history and the fleet's epoch. So there is no change without its entry and no entry
 * without its change, and an edit is ours exactly when a history node has the zxid of the mapping.
 *
 * The head's version orders all changes of the fleet; who loses plans again on what is there now.
 */
import type { Coordinator, CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import type { ChangeAuthor } from './api/problem.ts'
import {
  type AuditFacts,
  type AuditHead,
  type ChainedEntry,
  chain,
  parseHead,
  seqName,
} from './audit-chain.ts'
import { type ControlTree, createIfAbsent, isCode } from './control-tree.ts'
import { ApiError, fromCoordinator } from './problem.ts'

/** Who does it, and from where. */
export interface Author {
  readonly actor: string
  /** ui, api, cli, rpc (a client's), external or automatic. */
  readonly source: string
  /** Address; '' when there is none. */
  readonly from: string
  readonly requestId: string
  readonly reason: string | undefined
  /** The second person, where a change needs one (`approvals.ts`). */
  readonly approvedBy?: string
}

/** As versions of mappings and conflicts name them: less than an audit entry or a version says. */
export function changeAuthor(facts: {
  readonly actor: string
  readonly source: string
  readonly at: string
  readonly reason?: string | undefined
  readonly approvedBy?: string | undefined
}): ChangeAuthor {
  const { actor, source, at, reason, approvedBy } = facts
  return {
    actor,
    source,
    at,
    ...(reason === undefined ? {} : { reason }),
    ...(approvedBy === undefined ? {} : { approvedBy }),
  }
}

export interface EntryDraft {
  readonly action: string
  readonly kind: string
  readonly name: string
  readonly before: string | null
  readonly after: string | null
  /** Versions that it stands for, when there are several. */
  readonly versions?: number
}

export interface Plan {
  readonly operations: readonly CoordinatorOperation[]
  /** None: there is nothing to do, and nothing is done. */
  readonly entries: readonly EntryDraft[]
  /** A mapping or redirect changes: gateways say in their nodes when they serve it. */
  readonly raisesEpoch: boolean
}

/**
 * Reads what is there and decides; called again when somebody else was faster. `firstSeq` is the
 * number of its first audit entry, `at` the time of all of them, if it comes to that. Throws `ApiError` when it may not be.
 */
export type Planner = (firstSeq: number, at: string) => Promise<Plan>

const ATTEMPTS_MAX = 30
const WAITING_MAX = 200
const READ_BACK_MS = 3000
const READ_BACK_EVERY_MS = 100

export class Journal {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #gateway: () => string
  readonly #foldersMade = new Set<string>()
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  /** Called after each change with its entries. */
  onCommitted: ((entries: readonly ChainedEntry[]) => void) | undefined

  constructor(
    runtime: Runtime,
    coordinator: Coordinator,
    tree: ControlTree,
    gateway: () => string,
  ) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'audit' })
    this.#coordinator = coordinator
    this.#tree = tree
    this.#gateway = gateway
  }

  /** One change after the other: they would fight for the head otherwise. */
  async commit(author: Author, plan: Planner): Promise<readonly ChainedEntry[]> {
    if (this.#waiting >= WAITING_MAX) throw new ApiError('busy', 'too many changes are waiting')
    this.#waiting++
    const before = this.#last
    const mine = (async () => {
      await before
      return this.#commit(author, plan)
    })()
    this.#last = mine.catch(() => undefined)
    try {
      return await mine
    } finally {
      this.#waiting--
    }
  }

  async #commit(author: Author, plan: Planner): Promise<readonly ChainedEntry[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(author, plan)
      } catch (error) {
        // Each of these may be the head's, a folder's or the object's: look again.
        const isLost = isCode(error, 'bad-version', 'node-exists', 'no-node', 'not-empty')
        if (!isLost) throw fromCoordinator(error, true)
        if (attempt >= ATTEMPTS_MAX)
          throw new ApiError('busy', 'others changed it again and again; try again')
        if (isCode(error, 'no-node')) {
          this.#tree.forget()
          this.#foldersMade.clear()
        }
        if (attempt > 1) await this.#pause(this.#runtime.random.float() * 10 * attempt)
      }
    }
  }

  async #attempt(author: Author, plan: Planner): Promise<readonly ChainedEntry[]> {
    const at = new Date(this.#runtime.clock.wallMs()).toISOString()
    const { last, version, planned } = await this.#read((firstSeq) => plan(firstSeq, at))
    const { operations, entries, raisesEpoch } = planned
    if (entries.length === 0) return []
    const chained = chain(
      last,
      entries.map((entry) => this.#facts(author, at, entry)),
    )
    const folder = chained.entries[0]?.folder
    if (folder !== undefined) await this.#makeFolder(folder)
    await this.#transact(
      [
        ...operations,
        ...chained.entries.map(({ entry, text, folder: name }) => ({
          type: 'create' as const,
          path: this.#tree.path('audit', name, seqName(entry.seq)),
          data: Buffer.from(text),
        })),
        {
          type: 'set',
          path: this.#tree.path('audit', 'head'),
          data: Buffer.from(JSON.stringify(chained.head)),
          version,
        },
        ...(raisesEpoch
          ? [{ type: 'set' as const, path: this.#tree.path('epoch'), data: Buffer.alloc(0) }]
          : []),
      ],
      chained.entries.at(-1),
    )
    this.#tell(chained.entries, chained.head)
    return chained.entries
  }

  /** Nothing has changed yet when this fails. */
  async #read(
    plan: (firstSeq: number) => Promise<Plan>,
  ): Promise<{ readonly last: AuditHead; readonly version: number; readonly planned: Plan }> {
    try {
      await this.#tree.ensure()
      const { data, stat } = await this.#coordinator.get(this.#tree.path('audit', 'head'))
      const last = parseHead(data.toString('utf8'))
      return { last, version: stat.version, planned: await plan(last.seq + 1) }
    } catch (error) {
      throw isCode(error, 'no-node') ? error : fromCoordinator(error, false)
    }
  }

  #facts(author: Author, at: string, draft: EntryDraft): AuditFacts {
    const { actor, source, from, requestId, reason, approvedBy } = author
    return {
      at,
      actor,
      source,
      from,
      action: draft.action,
      kind: draft.kind,
      name: draft.name,
      ...(reason === undefined ? {} : { reason }),
      ...(approvedBy === undefined ? {} : { approvedBy }),
      before: draft.before,
      after: draft.after,
      ...(draft.versions === undefined ? {} : { versions: draft.versions }),
      requestId,
      gateway: this.#gateway(),
    }
  }

  /** After a lost answer the last audit entry tells whether the change happened. */
  async #transact(
    operations: readonly CoordinatorOperation[],
    last: ChainedEntry | undefined,
  ): Promise<void> {
    try {
      await this.#coordinator.multi(operations)
    } catch (error) {
      if (last === undefined || !isCode(error, 'connection-loss', 'timeout')) throw error
      if (!(await this.#happened(last))) throw error
    }
  }

  async #happened(last: ChainedEntry): Promise<boolean> {
    const path = this.#tree.path('audit', last.folder, seqName(last.entry.seq))
    const untilMs = this.#runtime.clock.monotonicMs() + READ_BACK_MS
    while (this.#runtime.clock.monotonicMs() < untilMs) {
      try {
        await this.#coordinator.sync(path)
        const { data } = await this.#coordinator.get(path)
        return data.toString('utf8') === last.text
      } catch (error) {
        if (isCode(error, 'no-node')) return false
      }
      await this.#pause(READ_BACK_EVERY_MS)
    }
    return false
  }

  async #makeFolder(name: string): Promise<void> {
    if (this.#foldersMade.has(name)) return
    await createIfAbsent(this.#coordinator, this.#tree.path('audit', name), Buffer.alloc(0))
    if (this.#foldersMade.size > 100) this.#foldersMade.clear()
    this.#foldersMade.add(name)
  }

  #tell(entries: readonly ChainedEntry[], head: AuditHead): void {
    // The log is elsewhere: a chain written anew from here on would not match it.
    this.#log.info('changed', {
      seq: head.seq,
      hash: head.hash,
      actor: entries[0]?.entry.actor,
      action: entries[0]?.entry.action,
      kind: entries[0]?.entry.kind,
      name: entries[0]?.entry.name,
      entries: entries.length,
    })
    this.onCommitted?.(entries)
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#runtime.timers.after(ms, resolve, { holdsProcess: true })
    })
  }
}
