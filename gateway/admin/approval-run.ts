/**
 * Carrying out an approved change. Each transaction of mappings also writes how far the approval is,
 * under the version that its writer has seen: so whatever moment a gateway dies in, the next one knows
 * exactly which changes are settled, and of two that carry out the same one only one goes on.
 */
import type { CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import {
  type ApprovalStore,
  type ItemNote,
  type PlannedChange,
  type SeenApproval,
  type StoredApproval,
  isPlanned,
} from './approval-store.ts'
import { TOGETHER, isOfAll, overtaken } from './bulk-changes.ts'
import type { EventHub } from './event-hub.ts'
import { asApiError } from './problem.ts'
import type { Caller } from './rights.ts'
import type { TableChangeRequest, TableEdits } from './table-edits.ts'

interface RunParts {
  readonly runtime: Runtime
  readonly store: ApprovalStore
  readonly edits: TableEdits
  readonly events: EventHub
}

/**
 * Goes on to the end. Throws the `ApiError` that stops it, such as `zookeeper-unavailable`, or
 * `changed-meanwhile` when another gateway goes on with it; it can be gone on with then.
 */
export async function carryOut(parts: RunParts, seen: SeenApproval): Promise<void> {
  const items = (await parts.store.items(seen)).filter(isPlanned)
  await new Run(parts, seen, items).toEnd()
}

export function settledOf({ done, failed, skipped }: StoredApproval): number {
  return done + failed + skipped
}

class Run {
  readonly #parts: RunParts
  readonly #items: readonly PlannedChange[]
  #seen: SeenApproval

  constructor(parts: RunParts, seen: SeenApproval, items: readonly PlannedChange[]) {
    this.#parts = parts
    this.#items = items
    this.#seen = seen
  }

  async toEnd(): Promise<void> {
    const { length } = this.#items
    while (settledOf(this.#seen.head) < length) {
      const from = settledOf(this.#seen.head)
      await this.#settle(this.#seen.head.atomic ? length : Math.min(TOGETHER, length - from))
      this.#tell()
    }
  }

  /** The next so many changes: together, else each for itself. */
  async #settle(count: number): Promise<void> {
    const from = settledOf(this.#seen.head)
    const wanted = this.#items.slice(from, from + count).map((item) => this.#request(item))
    try {
      await this.#apply(wanted)
    } catch (error) {
      if (isOfAll(error)) throw error
      if (count === 1) await this.#note([noteOf(from, error)])
      else if (this.#seen.head.atomic) await this.#noteBlame(wanted, error)
      else for (let at = 0; at < count; at++) await this.#settle(1)
    }
  }

  async #apply(wanted: readonly TableChangeRequest[]): Promise<void> {
    const { edits, store } = this.#parts
    const { approver, author } = this.#by()
    const head = this.#after({ done: wanted.length })
    const rider = (): readonly CoordinatorOperation[] => [store.set(this.#seen, head)]
    await edits.apply(approver, author, wanted, rider)
    this.#seen = { ...this.#seen, head, version: this.#seen.version + 1 }
  }

  /** All or nothing, and it is nothing: of which ones? */
  async #noteBlame(wanted: readonly TableChangeRequest[], error: unknown): Promise<void> {
    const { approver } = this.#by()
    const notes: ItemNote[] = []
    for (const [index, request] of wanted.entries()) {
      try {
        await this.#parts.edits.decide(approver, request)
        notes.push({ index, status: 'skipped', why: 'all or nothing, and another one could not' })
      } catch (cause) {
        if (isOfAll(cause)) throw cause
        notes.push({ ...noteOf(index, cause), status: 'failed' })
      }
    }
    const isOfOne = notes.some(({ status }) => status === 'failed')
    await this.#note(isOfOne ? notes : notes.map(({ index }) => noteOf(index, error)))
  }

  async #note(notes: readonly ItemNote[]): Promise<void> {
    const count = (status: ItemNote['status']): number =>
      notes.filter((note) => note.status === status).length
    const head = this.#after({ failed: count('failed'), skipped: count('skipped') })
    this.#seen = await this.#parts.store.note(this.#seen, head, notes)
  }

  #after(more: Partial<Record<'done' | 'failed' | 'skipped', number>>): StoredApproval {
    const { head } = this.#seen
    const next = {
      ...head,
      done: head.done + (more.done ?? 0),
      failed: head.failed + (more.failed ?? 0),
      skipped: head.skipped + (more.skipped ?? 0),
      progressAt: new Date(this.#parts.runtime.clock.wallMs()).toISOString(),
    }
    const isAtEnd = settledOf(next) >= this.#items.length
    return isAtEnd ? { ...next, state: 'applied' } : next
  }

  #by(): { readonly approver: Caller; readonly author: StoredApproval['author'] } {
    const { approver, author } = this.#seen.head
    if (approver === undefined) throw new Error(`approval ${this.#seen.id} has no approver`)
    return { approver, author: { ...author, approvedBy: approver.name } }
  }

  #request({ name, kind, etag, after, thaws }: PlannedChange): TableChangeRequest {
    const { origin } = this.#seen.head
    const action = origin === 'batch' ? kind : origin
    return {
      name,
      wish:
        after === undefined
          ? { kind: 'delete' }
          : { kind: 'exact', text: after, action, ...(thaws === true ? { thaws } : {}) },
      precondition: etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag },
    }
  }

  #tell(): void {
    const { id, head } = this.#seen
    const { done, failed, skipped } = head
    const progress = { done, failed, skipped, total: this.#items.length }
    this.#parts.events.publish({ topic: 'apply', type: 'progress', name: id, progress })
  }
}

function noteOf(index: number, error: unknown): ItemNote {
  const { code, message } = asApiError(error)
  return { index, status: overtaken.has(code) ? 'skipped' : 'failed', why: message }
}
