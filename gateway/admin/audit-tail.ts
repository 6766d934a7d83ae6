/**
 * Who made the mapping changes that this gateway sees, for all of them at once: the end of the audit,
 * read as it grows. A change and its entry are one transaction, so the entry's node was created by the
 * zxid of the mapping; what has no entry was made by another tool.
 *
 * The epoch is raised by every mapping change of the API and by nothing that is recorded for others:
 * as long as it stands still, a storm of other tools costs two reads for any number of changes.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { ChangeAuthor } from './api/problem.ts'
import { type AuditHead, noEntries, parseHead, readEntry, seqName } from './audit-chain.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { changeAuthor } from './journal.ts'

interface OwnChange {
  readonly zxid: bigint
  readonly isDeletion: boolean
  readonly author: ChangeAuthor
}

/** Entries read at one time; when there are more, the histories are asked. */
const ENTRIES_MAX = 2000
const READS_AT_ONCE = 64
/** Before the first look: changes that are on their way just now. */
const FIRST_ENTRIES = 100
const TABLES_MAX = 10_000
const CHANGES_OF_TABLE_MAX = 16

export class AuditTail {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  #head: AuditHead | undefined
  #epochVersion = -1
  /** Entries of up to this zxid were not all read. */
  #blindUpTo = 0n
  /** By table, the oldest table first. */
  readonly #changes = new Map<string, OwnChange[]>()

  constructor(coordinator: Coordinator, tree: ControlTree) {
    this.#coordinator = coordinator
    this.#tree = tree
  }

  /**
   * Reads on: of every change of the API that the caller has seen before this call the author is known
   * then, if `isKnown` says so. Rejects with a `CoordinatorError`.
   */
  async catchUp(): Promise<void> {
    const seen = this.#head
    // In this order: what is behind this head raises the epoch after it was read, if at all.
    const [{ head }, epoch] = await Promise.all([
      this.#readHead(),
      this.#coordinator.exists(this.#tree.path('epoch')),
    ])
    const epochVersion = epoch?.version ?? -1
    if (seen !== undefined && epochVersion === this.#epochVersion && head.seq >= seen.seq) {
      this.#head = head
      return
    }
    const upTo = await this.#readHead()
    const after = seen?.seq ?? Math.max(0, upTo.head.seq - FIRST_ENTRIES)
    const isWhole = await this.#readEntries(seen ?? upTo.head, after, upTo.head)
    if (seen === undefined || !isWhole) this.#blindUpTo = upTo.zxid
    this.#head = upTo.head
    this.#epochVersion = epochVersion
  }

  /** Whether a change of the API with this zxid would be known. */
  isKnown(zxid: bigint): boolean {
    return zxid > this.#blindUpTo
  }

  /** Who made the version with this zxid. */
  authorOf(table: string, zxid: bigint): ChangeAuthor | undefined {
    return this.#changes.get(table)?.find((change) => change.zxid === zxid)?.author
  }

  /** Who deleted the table, when it was there at this zxid. */
  deleterOf(table: string, zxid: bigint): ChangeAuthor | undefined {
    const changes = this.#changes.get(table) ?? []
    return changes.find((change) => change.isDeletion && change.zxid > zxid)?.author
  }

  async #readHead(): Promise<{ readonly head: AuditHead; readonly zxid: bigint }> {
    try {
      const { data, stat } = await this.#coordinator.get(this.#tree.path('audit', 'head'))
      return { head: parseHead(data.toString('utf8')), zxid: stat.modifiedZxid }
    } catch (error) {
      // Nobody has changed anything yet.
      if (isCode(error, 'no-node')) return { head: noEntries, zxid: 0n }
      throw error
    }
  }

  /** False when there are too many, or some are elsewhere. */
  async #readEntries(seen: AuditHead, after: number, upTo: AuditHead): Promise<boolean> {
    if (upTo.seq - after > ENTRIES_MAX || upTo.seq < after) return false
    let isWhole = true
    for (let seq = after + 1; seq <= upTo.seq; seq += READS_AT_ONCE) {
      const count = Math.min(READS_AT_ONCE, upTo.seq - seq + 1)
      const reads = Array.from({ length: count }, async (_, offset) => {
        const one = seq + offset
        const isInLast = one > upTo.seq - upTo.inFolder
        return this.#readEntry(isInLast ? upTo.folder : seen.folder, one)
      })
      if ((await Promise.all(reads)).includes(false)) isWhole = false
    }
    return isWhole
  }

  async #readEntry(folder: string, seq: number): Promise<boolean> {
    if (folder === '') return false
    try {
      const { data, stat } = await this.#coordinator.get(
        this.#tree.path('audit', folder, seqName(seq)),
      )
      const read = readEntry(data.toString('utf8'))
      if (!('entry' in read)) return false
      const { kind, name, source, after } = read.entry
      if (kind === 'table' && source !== 'external')
        this.#keep(name, {
          zxid: stat.createdZxid,
          isDeletion: after === null,
          author: changeAuthor(read.entry),
        })
      return true
    } catch (error) {
      if (isCode(error, 'no-node')) return false
      throw error
    }
  }

  #keep(table: string, change: OwnChange): void {
    const changes = this.#changes.get(table) ?? []
    this.#changes.delete(table)
    this.#changes.set(table, [...changes, change].slice(-CHANGES_OF_TABLE_MAX))
    const [oldest] = this.#changes.keys()
    if (this.#changes.size > TABLES_MAX && oldest !== undefined) this.#changes.delete(oldest)
  }
}
