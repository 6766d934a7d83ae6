/**
 * Removing the oldest entries of the audit (`audit.keepDays`) without breaking its chain.
 *
 * `audit/anchor` has number and hash of the last entry that is no longer kept. Moving it is a change like
 * every other, with an entry `trim` of the same transaction that says where it was and is; only then are
 * nodes removed, so what a crash leaves behind is before the anchor and removed the next time. Who removes
 * entries and moves the anchor himself lacks that entry. A part of the chain that does not hold is never
 * removed: it is evidence.
 */
import { join } from 'node:path'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import type { AuditEntry } from './api/audit.ts'
import { type AuditAnchor, anchorText, parseHead, seqName } from './audit-chain.ts'
import type { AuditLog } from './audit-log.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import type { Journal } from './journal.ts'

export interface AuditRetention {
  /** 0: for ever. */
  readonly keepDays: number
  /** Where removed entries are written first, as JSON lines; undefined: nowhere. */
  readonly exportFolder: string | undefined
}

const DAY_MS = 86_400_000
/** Entries of one move of the anchor, and of one file. */
const PIECE = 500
const PIECES_OF_RUN_MAX = 40
const REMOVED_TOGETHER = 100

export class AuditTrimmer {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #journal: Journal
  readonly #audit: AuditLog
  readonly #retention: AuditRetention

  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
      readonly journal: Journal
      readonly audit: AuditLog
    },
    retention: AuditRetention,
  ) {
    this.#runtime = parts.runtime
    this.#log = parts.runtime.log.child({ part: 'audit' })
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#journal = parts.journal
    this.#audit = parts.audit
    this.#retention = retention
  }

  /**
   * By one gateway of the fleet. Whole days only, oldest first, a bounded number of entries at a time.
   * Rejects with a `CoordinatorError`, an `ApiError` or a `RuntimeError`; what was done so far holds.
   */
  async trim(): Promise<void> {
    const { keepDays } = this.#retention
    if (keepDays === 0) return
    const untilMs = this.#runtime.clock.wallMs() - keepDays * DAY_MS
    const untilDay = new Date(untilMs).toISOString().slice(0, 10)
    const { data } = await this.#coordinator.get(this.#tree.path('audit', 'head'))
    const last = parseHead(data.toString('utf8')).folder
    let pieces = 0
    for (const folder of await this.#audit.folders()) {
      // New entries still go into the last one.
      if (folder >= untilDay || folder === last) return
      for (let isMore = true; isMore; pieces++) {
        if (pieces >= PIECES_OF_RUN_MAX) return
        const moved = await this.#trimPiece(folder)
        if (moved === 'refused') return
        isMore = moved === 'more'
      }
      await this.#removeFolder(folder)
    }
  }

  async #trimPiece(folder: string): Promise<'more' | 'whole' | 'refused'> {
    const anchor = await this.#audit.anchor()
    const { entries, problem, isLast } = await this.#audit.piece(folder, anchor, PIECE)
    if (problem !== undefined) {
      this.#log.error('audit not trimmed, its chain is broken', { folder, ...problem })
      return 'refused'
    }
    const newest = entries.at(-1)
    if (newest !== undefined) {
      await this.#export(entries)
      const moved = { seq: newest.seq, hash: newest.hash }
      if (!(await this.#moveAnchor(anchor, moved, entries.length))) return 'refused'
    }
    await this.#removeUpTo(folder, newest?.seq ?? anchor.seq)
    return isLast ? 'whole' : 'more'
  }

  async #export(entries: readonly AuditEntry[]): Promise<void> {
    const { exportFolder } = this.#retention
    const [first, last] = [entries[0], entries.at(-1)]
    if (exportFolder === undefined || first === undefined || last === undefined) return
    const { files } = this.#runtime
    await files.makeDirectory(exportFolder)
    const name = `metaproxy-audit-${seqName(first.seq)}-${seqName(last.seq)}.jsonl`
    const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`)
    await files.replaceFile(join(exportFolder, name), Buffer.from(lines.join('')))
  }

  /** False when another gateway was faster. */
  async #moveAnchor(from: AuditAnchor, to: AuditAnchor, count: number): Promise<boolean> {
    const path = this.#tree.path('audit', 'anchor')
    const author = {
      actor: 'configuration',
      source: 'automatic',
      from: '',
      requestId: '',
      reason: `audit.keepDays: ${this.#retention.keepDays}`,
    }
    const written = await this.#journal.commit(author, async () => {
      const current = await this.#audit.anchorNode()
      if (anchorText(current.anchor) !== anchorText(from))
        return { operations: [], entries: [], raisesEpoch: false }
      const data = Buffer.from(anchorText(to))
      const { version } = current
      return {
        operations: [
          version === undefined
            ? { type: 'create', path, data }
            : { type: 'set', path, data, version },
        ],
        entries: [
          {
            action: 'trim',
            kind: 'audit',
            name: `${from.seq + 1}-${to.seq}`,
            before: version === undefined ? null : anchorText(from),
            after: anchorText(to),
          },
        ],
        raisesEpoch: false,
      }
    })
    if (written.length === 0) return false
    this.#log.info('audit trimmed', { entries: count, ...to })
    return true
  }

  async #removeUpTo(folder: string, seq: number): Promise<void> {
    const path = this.#tree.path('audit', folder)
    const names = (await this.#coordinator.children(path)).filter((name) => Number(name) <= seq)
    for (let at = 0; at < names.length; at += REMOVED_TOGETHER)
      await this.#coordinator.multi(
        names
          .slice(at, at + REMOVED_TOGETHER)
          .map((name) => ({ type: 'remove', path: `${path}/${name}` })),
      )
  }

  async #removeFolder(folder: string): Promise<void> {
    try {
      await this.#coordinator.remove(this.#tree.path('audit', folder))
    } catch (error) {
      if (!isCode(error, 'no-node', 'not-empty')) throw error
    }
  }
}
