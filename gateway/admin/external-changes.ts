/**
 * Changes that other tools made to mappings, on their way into history and audit (H-4): as many tables
 * as fit into one transaction of the journal at a time. What changes again while it waits is one entry,
 * which says for how many versions of the node it stands; so the queue never holds a table twice in a
 * row, and a storm costs as much as can be written, not as much as happens.
 */
import type { NodeStat } from '../../cluster/coordinator/coordinator.ts'
import type { Log } from '../../cluster/runtime/runtime.ts'
import type { Author, EntryDraft, Journal } from './journal.ts'
import { asApiError } from './problem.ts'
import {
  type StoredVersion,
  type TableHistories,
  type Version,
  newestBefore,
} from './table-history.ts'
import type { TableView } from './table-view.ts'

export interface ExternalChange {
  readonly name: string
  /** Undefined: there was none, or nobody looked. */
  readonly before: TableView | undefined
  readonly after: TableView | undefined
  /** When it was seen; the node's own time counts when there is one. */
  readonly seenAtMs: number
}

interface Waiting {
  readonly name: string
  readonly before: TableView | undefined
  after: TableView | undefined
  seenAtMs: number
}

/** Tables of one transaction, and characters of their texts: history and audit have each twice. */
const TOGETHER = 100
const TEXTS_MAX = 100_000
/** Longer texts are no mappings of anybody; the beginning is kept. */
const TEXT_MAX = 16_384
const WAITING_MAX = 20_000

export class ExternalChanges {
  readonly #log: Log
  readonly #journal: Journal
  readonly #histories: TableHistories
  readonly #onFailed: () => void
  readonly #queue: Waiting[] = []
  /** The last of each table, as long as nothing came between. */
  readonly #open = new Map<string, Waiting>()
  #isWriting = false

  constructor(parts: {
    readonly log: Log
    readonly journal: Journal
    readonly histories: TableHistories
    /** Some were not written, and must be looked for again. */
    readonly onFailed: () => void
  }) {
    this.#log = parts.log
    this.#journal = parts.journal
    this.#histories = parts.histories
    this.#onFailed = parts.onFailed
  }

  /** Tables that wait or are being written. */
  get size(): number {
    return this.#queue.length + (this.#isWriting ? 1 : 0)
  }

  /** False when too many wait: it must be looked for again later. */
  add(change: ExternalChange): boolean {
    const { name, after, seenAtMs } = change
    const open = this.#open.get(name)
    // Made and deleted again would be nothing at all.
    const isNothing = after === undefined && open?.before === undefined
    if (open !== undefined && !isNothing) {
      open.after = after
      open.seenAtMs = seenAtMs
    } else if (this.#queue.length >= WAITING_MAX) return false
    else {
      const waiting: Waiting = { ...change }
      this.#queue.push(waiting)
      this.#open.set(name, waiting)
    }
    void this.#write()
    return true
  }

  /** A change of the API came between: what follows is another entry. */
  seal(name: string): void {
    this.#open.delete(name)
  }

  clear(): void {
    this.#queue.length = 0
    this.#open.clear()
  }

  async #write(): Promise<void> {
    if (this.#isWriting) return
    this.#isWriting = true
    // What comes with the same turn goes together.
    await Promise.resolve()
    while (this.#queue.length > 0) {
      const batch = this.#take()
      try {
        await this.#commit(batch)
      } catch (error) {
        const { code, message } = asApiError(error)
        this.#log.warn('changes by other tools not recorded yet', {
          tables: this.#queue.length + batch.length,
          code,
          reason: message,
        })
        this.clear()
        this.#onFailed()
      }
    }
    this.#isWriting = false
  }

  #take(): readonly Waiting[] {
    const batch: Waiting[] = []
    const names = new Set<string>()
    let length = 0
    for (const waiting of this.#queue) {
      const { name, before, after } = waiting
      for (const view of [before, after]) length += Math.min(TEXT_MAX, view?.node.text.length ?? 0)
      const isFull = batch.length >= TOGETHER || length > TEXTS_MAX
      if (names.has(name) || (batch.length > 0 && isFull)) break
      names.add(name)
      batch.push(waiting)
      if (this.#open.get(name) === waiting) this.#open.delete(name)
    }
    this.#queue.splice(0, batch.length)
    return batch
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    await this.#journal.commit(externalAuthor, async (firstSeq) => {
      const recents = await Promise.all(
        batch.map(({ name, after }) => this.#histories.recent(name, after?.node.stat.modifiedZxid)),
      )
      const entries: EntryDraft[] = []
      const operations = batch.flatMap((waiting, index) => {
        const { names, versions } = recents[index] ?? { names: undefined, versions: [] }
        if (isRecorded(waiting, versions)) return []
        const version = versionOf(waiting, versions)
        const { action, before, after, versions: count } = version
        const seq = firstSeq + entries.length
        const counted = count === undefined ? {} : { versions: count }
        entries.push({ action, kind: 'table', name: waiting.name, before, after, ...counted })
        return this.#histories.append(waiting.name, seq, version, names)
      })
      return { operations, entries, raisesEpoch: false }
    })
  }
}

export const externalAuthor: Author = {
  actor: 'unknown',
  source: 'external',
  from: '',
  requestId: '',
  reason: undefined,
}

/** By another gateway; or it was a change of the API after all. */
function isRecorded({ after }: Waiting, known: readonly Version[]): boolean {
  if (after === undefined) return newestBefore(known)?.after === null
  return known.some(({ zxid }) => zxid === after.node.stat.modifiedZxid)
}

function versionOf({ before, after, seenAtMs }: Waiting, known: readonly Version[]): StoredVersion {
  const stat = after?.node.stat
  const last = newestBefore(known, stat?.modifiedZxid)
  const was = last === undefined ? cut(before?.node.text ?? null) : last.after
  const is = cut(after?.node.text ?? null)
  const count = versionsSince(last, before?.node.stat, stat)
  const zxid = stat?.modifiedZxid ?? deletionZxid(before?.node.stat)
  return {
    at: new Date(stat?.modifiedWallMs ?? seenAtMs).toISOString(),
    actor: externalAuthor.actor,
    source: externalAuthor.source,
    action: is === null ? 'delete' : was === null ? 'create' : 'change',
    before: was,
    after: is,
    ...(count > 1 ? { versions: count } : {}),
    ...(zxid === undefined ? {} : { zxid: String(zxid) }),
    ...(stat === undefined ? {} : { nodeVersion: stat.version }),
  }
}

/** Nobody is told the zxid of a deletion: the first that it can have. */
function deletionZxid(before: NodeStat | undefined): bigint | undefined {
  return before === undefined ? undefined : before.modifiedZxid + 1n
}

/** Versions of the node, its deletion among them, that no older entry of the history tells of. */
function versionsSince(
  last: Version | undefined,
  before: NodeStat | undefined,
  after: NodeStat | undefined,
): number {
  if (after === undefined) {
    const unseen = last === undefined || before === undefined ? 0 : versionsUpTo(last, before)
    return Math.max(0, unseen) + 1
  }
  if (last !== undefined) return versionsUpTo(last, after)
  return before?.createdZxid === after.createdZxid
    ? after.version - before.version
    : after.version + 1
}

function versionsUpTo(last: Version, stat: NodeStat): number {
  if (last.after === null) return stat.version + 1
  if (stat.createdZxid > last.zxid) return stat.version + 2
  return last.nodeVersion === undefined ? 1 : stat.version - last.nodeVersion
}

function cut(text: string | null): string | null {
  if (text === null || text.length <= TEXT_MAX) return text
  return `${text.slice(0, TEXT_MAX)}… (the first ${TEXT_MAX} of ${text.length} characters)`
}
