/**
 * Changes that wait for a second person (`api/approvals.ts`): asking, deciding, expiring. Every decision
 * is a transaction of the journal under the version of the approval that was seen, so of two only one
 * counts. What an approval carries out is in `approval-run.ts`.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { Approval, ApprovalDetail, ApprovalItem, ApprovalList } from './api/approvals.ts'
import type { ChangeAuthor } from './api/problem.ts'
import { KnownApprovals, shownTo, stateAt } from './approval-list.ts'
import { carryOut, settledOf } from './approval-run.ts'
import {
  ApprovalStore,
  type PlannedChange,
  type SeenApproval,
  type StoredApproval,
  headOf,
  isPlanned,
} from './approval-store.ts'
import type { RegistryChange } from './change-sets.ts'
import type { ControlTree } from './control-tree.ts'
import type { EventHub } from './event-hub.ts'
import { type Author, type EntryDraft, type Journal, changeAuthor } from './journal.ts'
import { ApiError } from './problem.ts'
import { type Caller, demand, personOf } from './rights.ts'
import type { TableEdits } from './table-edits.ts'
import type { TableMirror } from './table-mirror.ts'

export interface ApprovalParts {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly tree: ControlTree
  readonly journal: Journal
  readonly mirror: TableMirror
  readonly edits: TableEdits
  readonly events: EventHub
  /** `approval.bulkAbove`; 0: nothing needs a second person. */
  readonly above: number
  /** Does nothing where it is so already. Throws `changed-meanwhile`. */
  readonly changeRegistry: (caller: Caller, author: Author, change: RegistryChange) => Promise<void>
}

export interface AskedChange {
  readonly origin: string
  readonly atomic: boolean
  readonly items: readonly PlannedChange[]
  readonly registry?: RegistryChange | undefined
}

const DAY_MS = 24 * 3_600_000
/** Writing the changes takes less. */
const WRITING_MS_MAX = 15 * 60_000
/** Without progress for this long nobody carries it out any more; should he, only one goes on. */
const LEFT_MS = 30_000
/** Tables whose rights are looked at in one turn. */
const SLICE = 50

const expiry = { actor: 'configuration', source: 'automatic', from: '', requestId: '' } as const

export class Approvals {
  readonly #parts: ApprovalParts
  readonly #store: ApprovalStore
  readonly #known: KnownApprovals

  constructor(parts: ApprovalParts) {
    this.#parts = parts
    this.#store = new ApprovalStore(parts.coordinator, parts.tree)
    this.#known = new KnownApprovals(parts, this.#store)
  }

  /** Mappings that one request may change alone; 0: any number. */
  get above(): number {
    return this.#parts.above
  }

  isNeeded(mappings: number): boolean {
    return this.above > 0 && mappings > this.above
  }

  list(caller: Caller): ApprovalList {
    return this.#known.list(caller)
  }

  async detail(caller: Caller, id: string): Promise<ApprovalDetail> {
    const seen = await this.#store.read(id)
    const [changes, notes] = await Promise.all([this.#store.items(seen), this.#store.notes(seen)])
    const settled = settledOf(seen.head)
    const noteOf = new Map(notes.map((note) => [note.index, note]))
    let index = -1
    const items = changes.map((change): ApprovalItem => {
      const { etag: _etag, thaws: _thaws, ...item } = change
      if (!isPlanned(change) || ++index >= settled) return item
      const { status = 'done', why } = noteOf.get(index) ?? {}
      return { ...item, status, ...(why === undefined ? {} : { why }) }
    })
    return { ...shownTo(caller, this.#wallMs(), seen), items }
  }

  /** Throws `busy` when too many wait, `too-large`. */
  async ask(caller: Caller, author: Author, asked: AskedChange): Promise<Approval> {
    await this.#known.makeRoom()
    const { runtime, journal } = this.#parts
    const { origin, atomic, items, registry } = asked
    const nowMs = this.#wallMs()
    const count = (kind: PlannedChange['kind']): number =>
      items.filter((item) => item.kind === kind).length
    const counts = {
      create: count('create'),
      change: count('change'),
      delete: count('delete'),
      invalid: count('invalid'),
    }
    const id = Buffer.from(runtime.random.bytes(6)).toString('hex')
    const written = await this.#store.write(
      id,
      {
        origin,
        atomic,
        author,
        person: personOf(caller),
        at: new Date(nowMs).toISOString(),
        counts,
        ...(registry === undefined ? {} : { registry }),
        untilMs: nowMs + DAY_MS,
        done: 0,
        failed: 0,
        skipped: 0,
        notes: [],
        noteNodes: 0,
      },
      items,
    )
    const head: StoredApproval = { ...written.head, state: 'pending' }
    await journal.commit(author, async () => ({
      operations: [this.#store.set(written, head)],
      entries: [draft('request', id, undefined, head)],
      raisesEpoch: false,
    }))
    await this.#known.refresh(id)
    return shownTo(caller, this.#wallMs(), { id, head, version: 1 })
  }

  /** Carries it out, or goes on with it. The request waits for the end, as that of a batch does. */
  async approve(caller: Caller, author: Author, id: string): Promise<ApprovalDetail> {
    const { head } = await this.#mayDecide(caller, id, ['pending', 'applying'])
    if (head.state === 'pending') {
      const by = { ...head.author, approvedBy: caller.name }
      if (head.registry !== undefined) await this.#parts.changeRegistry(caller, by, head.registry)
      await this.#decide(author, id, 'approve', (decision) => ({
        state: 'applying',
        approver: caller,
        progressAt: decision.at,
      }))
    } else if (!this.#isLeft(head)) return this.detail(caller, id)
    await this.#goOn(await this.#store.read(id))
    return this.detail(caller, id)
  }

  async reject(caller: Caller, author: Author, id: string): Promise<Approval> {
    await this.#mayDecide(caller, id, ['pending'])
    await this.#decide(author, id, 'reject', () => ({ state: 'rejected' }))
    return shownTo(caller, this.#wallMs(), await this.#store.read(id))
  }

  async withdraw(caller: Caller, author: Author, id: string): Promise<Approval> {
    const { head } = await this.#store.read(id)
    if (head.person !== personOf(caller))
      throw new ApiError('forbidden', `only ${head.person}, who asked for it, can withdraw it`)
    await this.#decide(author, id, 'withdraw', () => ({ state: 'withdrawn' }))
    return shownTo(caller, this.#wallMs(), await this.#store.read(id))
  }

  /** By one gateway of the fleet: expires, forgets, and goes on with what another one left. */
  async tidy(): Promise<void> {
    const { coordinator, tree, runtime } = this.#parts
    for (const id of await coordinator.children(tree.path('approvals'))) {
      const { data, stat } = await coordinator.get(tree.path('approvals', id))
      const head = headOf(data.toString('utf8'))
      if (head === undefined) continue
      await this.#tidyOne({ id, head, version: stat.version }).catch((error: unknown) =>
        runtime.log.warn('approval not tidied', { approval: id, error }),
      )
    }
  }

  close(): void {
    this.#known.close()
  }

  async #tidyOne(seen: SeenApproval): Promise<void> {
    const { id, head } = seen
    const nowMs = this.#wallMs()
    if (head.state === 'applying') {
      if (this.#isLeft(head)) await this.#goOn(seen)
      return
    }
    const shortMs = head.state === 'writing' ? DAY_MS - WRITING_MS_MAX : 0
    if (head.untilMs - shortMs > nowMs) return
    if (head.state === 'pending') await this.#expire(id)
    else await this.#store.remove(id)
  }

  async #goOn(seen: SeenApproval): Promise<void> {
    const { runtime, edits, events } = this.#parts
    if (seen.head.state !== 'applying') return
    try {
      await carryOut({ runtime, edits, events, store: this.#store }, seen)
    } finally {
      await this.#known.refresh(seen.id)
    }
  }

  async #expire(id: string): Promise<void> {
    const author = { ...expiry, reason: 'nobody decided within a day' }
    await this.#decide(author, id, 'expire', () => ({ state: 'expired' }))
  }

  /** What was asked for is left to others, who must have the rights for all of it. */
  async #mayDecide(
    caller: Caller,
    id: string,
    states: readonly StoredApproval['state'][],
  ): Promise<SeenApproval> {
    const seen = await this.#store.read(id)
    const { head } = seen
    if (head.person === personOf(caller))
      throw new ApiError('forbidden', `${head.person} asked for it: another person must decide`)
    this.#mustBe(seen, states)
    if (head.registry !== undefined)
      demand(caller, 'clusters.edit', { cluster: head.registry.cluster })
    const { mirror, edits } = this.#parts
    await mirror.loaded()
    for (const [index, item] of (await this.#store.items(seen)).entries()) {
      if (index % SLICE === SLICE - 1) await this.#pause()
      if (isPlanned(item))
        edits.demand(caller, item.name, mirror.get(item.name), item.after ?? null)
    }
    return seen
  }

  #mustBe(seen: SeenApproval, states: readonly StoredApproval['state'][]): void {
    const { id, head } = seen
    const state = stateAt(head, this.#wallMs())
    if (states.includes(state)) return
    throw new ApiError('changed-meanwhile', `approval ${id} is ${state}`, {
      ...(head.decision === undefined ? {} : { changedBy: head.decision }),
    })
  }

  /** Makes a pending one something else, with an audit entry. */
  async #decide(
    author: Author,
    id: string,
    action: string,
    change: (decision: ChangeAuthor) => Partial<StoredApproval>,
  ): Promise<void> {
    await this.#parts.journal.commit(author, async (_firstSeq, at) => {
      const seen = await this.#store.read(id)
      const mayBeLate = action === 'expire' && seen.head.state === 'pending'
      if (!mayBeLate) this.#mustBe(seen, ['pending'])
      const decision = changeAuthor({ ...author, at })
      const untilMs = this.#wallMs() + DAY_MS
      const head = { ...seen.head, untilMs, decision, ...change(decision) }
      return {
        operations: [this.#store.set(seen, head)],
        entries: [draft(action, id, seen.head, head)],
        raisesEpoch: false,
      }
    })
    await this.#known.refresh(id)
  }

  #isLeft({ progressAt = '' }: StoredApproval): boolean {
    return Date.parse(progressAt) + LEFT_MS <= this.#wallMs()
  }

  #wallMs(): number {
    return this.#parts.runtime.clock.wallMs()
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.runtime.timers.soon(resolve)
    })
  }
}

function draft(
  action: string,
  name: string,
  before: StoredApproval | undefined,
  after: StoredApproval,
): EntryDraft {
  const textOf = ({ state, origin, author, counts }: StoredApproval): string =>
    JSON.stringify({ state, origin, author: author.actor, ...counts })
  const kind = 'approval'
  return { action, kind, name, before: before ? textOf(before) : null, after: textOf(after) }
}
