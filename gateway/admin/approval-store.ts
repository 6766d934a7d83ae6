/**
 * Where changes that wait for a second person are kept: `approvals/<id>` with who asks and how far it is
 * (a `StoredApproval`), `approvals/<id>/<n>` with the changes in lists, `approvals/<id>/notes-<n>` with
 * those that were not done. Who writes the first node says which version of it he has seen.
 */
import type { Coordinator, CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import type { ApprovalState } from './api/approvals.ts'
import type { ChangeItem, ItemResult } from './api/changes.ts'
import type { ChangeAuthor } from './api/problem.ts'
import type { RegistryChange } from './change-sets.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { piecesOf, readPieces, removeWithPieces } from './item-pieces.ts'
import type { Author } from './journal.ts'
import { ApiError, fromCoordinator } from './problem.ts'
import { objectOf } from './registry.ts'
import type { Caller } from './rights.ts'

/** What is wanted of one mapping, and the version that it was seen in. */
export interface PlannedChange extends ChangeItem {
  /** Of the version that was seen; absent: there was none. */
  readonly etag?: string
  readonly thaws?: boolean
}

/** Why a change was not done, by its index among those that are not invalid. */
export interface ItemNote {
  readonly index: number
  readonly status: Exclude<ItemResult['status'], 'done'>
  readonly why: string
}

export interface StoredApproval {
  /** `writing`: not all of it is there yet; nobody is shown it. */
  readonly state: ApprovalState | 'writing'
  readonly origin: string
  readonly atomic: boolean
  readonly author: Author
  /** Who may not approve it. */
  readonly person: string
  readonly at: string
  readonly counts: Readonly<Record<'create' | 'change' | 'delete' | 'invalid', number>>
  readonly registry?: RegistryChange
  readonly pieces: number
  readonly bytes: number
  /** Wall-clock ms; see `Approval.until`. */
  readonly untilMs: number
  readonly decision?: ChangeAuthor
  /** On whose rights it is carried out. */
  readonly approver?: Caller
  /** Changes that are settled, in their order, and how. */
  readonly done: number
  readonly failed: number
  readonly skipped: number
  readonly progressAt?: string
  /** The last notes; earlier ones are in nodes of their own. */
  readonly notes: readonly ItemNote[]
  readonly noteNodes: number
}

/** As it is in ZooKeeper; a write of it names the version. */
export interface SeenApproval {
  readonly id: string
  readonly head: StoredApproval
  readonly version: number
}

const BYTES_MAX = 16 * 1024 * 1024
const NOTES_IN_HEAD_MAX = 50

/** Undefined for what another tool has put there. */
export function headOf(text: string): StoredApproval | undefined {
  const value = objectOf(text)
  return 'state' in value && 'counts' in value ? (value as unknown as StoredApproval) : undefined
}

export function isPlanned({ kind }: PlannedChange): boolean {
  return kind === 'create' || kind === 'change' || kind === 'delete'
}

export class ApprovalStore {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree

  constructor(coordinator: Coordinator, tree: ControlTree) {
    this.#coordinator = coordinator
    this.#tree = tree
  }

  /** Throws `not-found`. */
  async read(id: string): Promise<SeenApproval> {
    const gone = new ApiError('not-found', `no approval ${id.slice(0, 50)}`)
    if (!/^[0-9a-f]{12}$/.test(id)) throw gone
    try {
      const { data, stat } = await this.#coordinator.get(this.#path(id))
      const head = headOf(data.toString('utf8'))
      if (head === undefined || head.state === 'writing') throw gone
      return { id, head, version: stat.version }
    } catch (error) {
      throw isCode(error, 'no-node') ? gone : fromCoordinator(error, false)
    }
  }

  /** Writes everything but the state that makes it visible. Throws `too-large`. */
  async write(
    id: string,
    head: Omit<StoredApproval, 'state' | 'pieces' | 'bytes'>,
    items: readonly PlannedChange[],
  ): Promise<SeenApproval> {
    let pieces = 0
    let bytes = 0
    const written = (): StoredApproval => ({ ...head, state: 'writing', pieces, bytes })
    try {
      await this.#tree.ensure()
      await this.#coordinator.create(this.#path(id), encode(written()))
      for (const piece of piecesOf(items)) {
        bytes += piece.length
        if (bytes > BYTES_MAX)
          throw new ApiError(
            'too-large',
            `changes that need approval have at most ${BYTES_MAX} bytes of mappings, old and new; ask for fewer at once`,
          )
        await this.#coordinator.create(this.#path(id, String(pieces++)), piece)
      }
      return { id, head: written(), version: 0 }
    } catch (error) {
      await this.remove(id).catch(() => undefined)
      throw fromCoordinator(error, false)
    }
  }

  async items({ id, head }: SeenApproval): Promise<readonly PlannedChange[]> {
    try {
      return (await readPieces(this.#coordinator, this.#path(id), head.pieces)) as PlannedChange[]
    } catch (error) {
      // It was decided long ago, and is forgotten just now.
      if (isCode(error, 'no-node')) throw new ApiError('not-found', `no approval ${id}`)
      throw fromCoordinator(error, false)
    }
  }

  async notes({ id, head }: SeenApproval): Promise<readonly ItemNote[]> {
    const notes: ItemNote[] = []
    try {
      for (let index = 0; index < head.noteNodes; index++) {
        const { data } = await this.#coordinator.get(this.#path(id, `notes-${index}`))
        notes.push(...(JSON.parse(data.toString('utf8')) as readonly ItemNote[]))
      }
    } catch (error) {
      throw fromCoordinator(error, false)
    }
    return [...notes, ...head.notes]
  }

  set({ id, version }: SeenApproval, head: StoredApproval): CoordinatorOperation {
    return { type: 'set', path: this.#path(id), data: encode(head), version }
  }

  /** Settles changes that were not done. Throws `changed-meanwhile` when somebody else wrote it. */
  async note(
    seen: SeenApproval,
    head: StoredApproval,
    notes: readonly ItemNote[],
  ): Promise<SeenApproval> {
    const { id, version } = seen
    const all = [...head.notes, ...notes]
    const isFull = all.length > NOTES_IN_HEAD_MAX
    const { noteNodes } = head
    const next = { ...head, notes: isFull ? [] : all, noteNodes: noteNodes + (isFull ? 1 : 0) }
    const path = this.#path(id, `notes-${noteNodes}`)
    const data = Buffer.from(JSON.stringify(all))
    try {
      await this.#coordinator.multi([
        ...(isFull ? [{ type: 'create' as const, path, data }] : []),
        this.set(seen, next),
      ])
    } catch (error) {
      if (isCode(error, 'bad-version', 'no-node', 'node-exists'))
        throw new ApiError('changed-meanwhile', `another gateway goes on with approval ${id}`)
      throw fromCoordinator(error, true)
    }
    return { id, head: next, version: version + 1 }
  }

  /** Rejects with a `CoordinatorError`. */
  remove(id: string): Promise<void> {
    return removeWithPieces(this.#coordinator, this.#path(id))
  }

  #path(id: string, ...parts: readonly string[]): string {
    return this.#tree.path('approvals', id, ...parts)
  }
}

function encode(head: StoredApproval): Buffer {
  return Buffer.from(JSON.stringify(head))
}
