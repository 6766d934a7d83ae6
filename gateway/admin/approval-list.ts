/**
 * The approvals that this gateway knows of by watches (`approval-store.ts`): the list, its events, and
 * the limit of how many there may be.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { Approval, ApprovalList } from './api/approvals.ts'
import {
  type ApprovalStore,
  type SeenApproval,
  type StoredApproval,
  headOf,
} from './approval-store.ts'
import type { ControlTree } from './control-tree.ts'
import type { EventHub } from './event-hub.ts'
import { changeAuthor } from './journal.ts'
import { ApiError } from './problem.ts'
import { type Caller, personOf } from './rights.ts'
import { type FolderChange, WatchedFolder } from './watched-folder.ts'

/** Pending or being carried out. */
const OPEN_MAX = 100
/** Decided ones are forgotten early when there are more of all, or more bytes. */
const KEPT_MAX = 200
const KEPT_BYTES_MAX = 64 * 1024 * 1024

export class KnownApprovals {
  readonly #runtime: Pick<Runtime, 'clock'>
  readonly #events: EventHub
  readonly #store: ApprovalStore
  readonly #folder: WatchedFolder

  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
      readonly events: EventHub
    },
    store: ApprovalStore,
  ) {
    this.#runtime = parts.runtime
    this.#events = parts.events
    this.#store = store
    this.#folder = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path('approvals'),
      onChange: (change) => this.#publish(change),
    })
  }

  /** Newest first. */
  list(caller: Caller): ApprovalList {
    const approvals = this.#all().map((seen) => shownTo(caller, this.#wallMs(), seen))
    const byAge = approvals.toSorted((a, b) => (a.author.at < b.author.at ? 1 : -1))
    const pending = byAge.filter(({ state }) => state === 'pending').length
    return { approvals: byAge, pending, asOf: this.#folder.freshness() }
  }

  /** For one more: the oldest decided ones go. Throws `busy`. */
  async makeRoom(): Promise<void> {
    await this.#folder.loaded()
    const all = this.#all()
    // An expired one has its entry in the audit before it goes.
    const isOpen = ({ head }: SeenApproval): boolean =>
      head.state === 'pending' || head.state === 'applying'
    const open = all.filter(isOpen)
    const bytesOf = (some: readonly SeenApproval[]): number =>
      some.reduce((sum, { head }) => sum + head.bytes, 0)
    if (open.length >= OPEN_MAX || bytesOf(open) >= KEPT_BYTES_MAX)
      throw new ApiError('busy', `${open.length} changes wait for approval: decide those first`)
    const decided = all
      .filter((one) => !isOpen(one))
      .toSorted((a, b) => a.head.untilMs - b.head.untilMs)
    let count = all.length
    let bytes = bytesOf(all)
    for (const { id, head } of decided) {
      if (count < KEPT_MAX && bytes < KEPT_BYTES_MAX) return
      await this.#store.remove(id).catch(() => undefined)
      count--
      bytes -= head.bytes
    }
  }

  /** After a write of one's own, so that the next list shows it. */
  async refresh(id: string): Promise<void> {
    await this.#folder.refresh(id).catch(() => undefined)
  }

  close(): void {
    this.#folder.close()
  }

  /** From memory; those that are written just now are not among them. */
  #all(): readonly SeenApproval[] {
    return [...this.#folder.nodes()].flatMap(({ name, text, stat }) => {
      const head = headOf(text)
      const isShown = head !== undefined && head.state !== 'writing'
      return isShown ? [{ id: name, head, version: stat.version }] : []
    })
  }

  #publish({ name, before, after, isFirst }: FolderChange): void {
    const isSeen = (node: FolderChange['after']): boolean =>
      (headOf(node?.text ?? '')?.state ?? 'writing') !== 'writing'
    const [was, is] = [isSeen(before), isSeen(after)]
    if (isFirst || (!was && !is)) return
    const type = !is ? 'deleted' : was ? 'changed' : 'created'
    this.#events.publish({ topic: 'approvals', type, name })
  }

  #wallMs(): number {
    return this.#runtime.clock.wallMs()
  }
}

/** As somebody sees it. */
export function shownTo(caller: Caller, wallMs: number, { id, head }: SeenApproval): Approval {
  const { origin, atomic, author, at, counts, registry, decision, progressAt } = head
  const { done, failed, skipped } = head
  const total = counts.create + counts.change + counts.delete
  const state = stateAt(head, wallMs)
  return {
    id,
    state: state === 'writing' ? 'pending' : state,
    origin,
    atomic,
    author: changeAuthor({ ...author, at }),
    mine: head.person === personOf(caller),
    counts: { ...counts },
    ...(registry === undefined
      ? {}
      : { registry: { cluster: registry.cluster, metas: [...registry.metas] } }),
    until: new Date(head.untilMs).toISOString(),
    ...(decision === undefined ? {} : { decision }),
    ...(progressAt === undefined
      ? {}
      : { progress: { done, failed, skipped, total, at: progressAt } }),
  }
}

/** Expired is what nobody has written down yet, too. */
export function stateAt(
  { state, untilMs }: StoredApproval,
  wallMs: number,
): StoredApproval['state'] {
  const isLate = state === 'pending' && untilMs <= wallMs
  return isLate ? 'expired' : state
}
