/**
 * Reading the audit (gateway.md 14): pages newest first, the whole as a stream, and the verification of
 * the chain. Entries are written by the journal only.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { AuditEntry, AuditList, AuditQuery, AuditVerification } from './api/audit.ts'
import {
  type AuditAnchor,
  type AuditHead,
  anchorText,
  noEntries,
  parseHead,
  readEntry,
  seqName,
} from './audit-chain.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { badField } from './problem.ts'

export type AuditFilter = Omit<AuditQuery, 'limit' | 'cursor'>

const READS_AT_ONCE = 64
/** Read for one page. */
const EXAMINED_MAX = 2000
const LIMIT_DEFAULT = 100

/** When entries are removed meanwhile. */
const VERIFICATIONS_MAX = 3

export interface AuditPiece {
  readonly entries: readonly AuditEntry[]
  /** The folder has no more behind them. */
  readonly isLast: boolean
  readonly problem: AuditProblem | undefined
}

type AuditProblem = NonNullable<AuditVerification['problem']>

type Read = { readonly seq: number; readonly result: ReturnType<typeof readEntry> | undefined }

export class AuditLog {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree

  constructor(coordinator: Coordinator, tree: ControlTree) {
    this.#coordinator = coordinator
    this.#tree = tree
  }

  async page({ limit = LIMIT_DEFAULT, cursor, ...filter }: AuditQuery): Promise<AuditList> {
    const beforeSeq = cursor === undefined ? Infinity : readCursor(cursor)
    const matches = testOf(filter)
    const entries: AuditEntry[] = []
    let examined = 0
    let lastSeq: number | undefined
    for await (const { seq, result } of this.#newestFirst(
      beforeSeq,
      Math.min(limit, READS_AT_ONCE),
    )) {
      if (entries.length >= limit || examined >= EXAMINED_MAX) {
        if (lastSeq !== undefined)
          return { entries, cursor: Buffer.from(String(lastSeq)).toString('base64url') }
        break
      }
      examined++
      lastSeq = seq
      if (result !== undefined && 'entry' in result && matches(result.entry))
        entries.push(result.entry)
    }
    return { entries }
  }

  /** All that match, oldest first. */
  async *all(filter: AuditFilter): AsyncGenerator<AuditEntry> {
    const matches = testOf(filter)
    for await (const { result } of this.#oldestFirst(await this.anchor()))
      if (result !== undefined && 'entry' in result && matches(result.entry)) yield result.entry
  }

  /**
   * Every entry behind the anchor is there, has its hash, and follows the one before it; the head is the
   * last; and the anchor is where the chain says that it was moved to.
   */
  async verify(): Promise<AuditVerification> {
    for (let attempt = 1; ; attempt++) {
      const anchor = await this.anchor()
      const verification = await this.#verify(anchor)
      // While it was read, the oldest entries may have been removed.
      const isMoved = anchorText(await this.anchor()) !== anchorText(anchor)
      if (verification.ok || !isMoved || attempt >= VERIFICATIONS_MAX) return verification
    }
  }

  async #verify(anchor: AuditAnchor): Promise<AuditVerification> {
    const head = await this.#head()
    let { seq, hash } = anchor
    let checked = 0
    let moved = anchorText(noEntries)
    const facts = (): Omit<AuditVerification, 'ok'> => ({
      checked,
      head: { seq: head.seq, hash: head.hash },
      ...(anchor.seq === 0 ? {} : { anchor: { seq: anchor.seq, hash: anchor.hash } }),
    })
    const broken = (at: number, message: string): AuditVerification => ({
      ok: false,
      ...facts(),
      problem: { seq: at, message },
    })
    for await (const { seq: named, result } of this.#oldestFirst(anchor)) {
      // Written since the head was read.
      if (named > head.seq) break
      const read = follow({ seq, hash }, named, result)
      if ('problem' in read) return broken(read.problem.seq, read.problem.message)
      const { entry } = read
      seq = named
      hash = entry.hash
      checked++
      if (entry.kind === 'audit' && entry.action === 'trim') moved = entry.after ?? ''
    }
    if (seq < head.seq) return broken(seq + 1, 'it is missing')
    if (hash !== head.hash) return broken(seq, 'the head has another hash')
    if (moved !== anchorText(anchor))
      return broken(anchor.seq, 'the entries up to it were not removed by a gateway')
    return { ok: true, ...facts() }
  }

  /** The last entry that is no longer kept; number 0 when all are. */
  async anchor(): Promise<AuditAnchor> {
    return (await this.anchorNode()).anchor
  }

  /** `version`: of its node; undefined when there is none. */
  async anchorNode(): Promise<{ readonly anchor: AuditAnchor; readonly version?: number }> {
    try {
      const { data, stat } = await this.#coordinator.get(this.#tree.path('audit', 'anchor'))
      const { seq, hash } = JSON.parse(data.toString('utf8')) as AuditAnchor
      return { anchor: { seq, hash }, version: stat.version }
    } catch (error) {
      if (isCode(error, 'no-node')) return { anchor: noEntries }
      throw error
    }
  }

  /** The first entries of a folder behind the anchor, as far as they follow each other. */
  async piece(folder: string, anchor: AuditAnchor, max: number): Promise<AuditPiece> {
    const names = (await this.#children('audit', folder)).toSorted()
    const wanted = names.filter((name) => Number(name) > anchor.seq)
    const entries: AuditEntry[] = []
    let { seq, hash } = anchor
    for await (const { seq: named, result } of this.#reads(
      folder,
      wanted.slice(0, max),
      READS_AT_ONCE,
    )) {
      const read = follow({ seq, hash }, named, result)
      if ('problem' in read) return { entries, isLast: false, problem: read.problem }
      entries.push(read.entry)
      seq = named
      hash = read.entry.hash
    }
    return { entries, isLast: wanted.length <= max, problem: undefined }
  }

  async #head(): Promise<AuditHead> {
    try {
      const { data } = await this.#coordinator.get(this.#tree.path('audit', 'head'))
      return parseHead(data.toString('utf8'))
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
      return noEntries
    }
  }

  /** One or several a day, oldest first. */
  async folders(): Promise<readonly string[]> {
    const names = await this.#children('audit')
    return names.filter((name) => name !== 'head' && name !== 'anchor').toSorted()
  }

  async *#newestFirst(beforeSeq: number, readsAtOnce: number): AsyncGenerator<Read> {
    const { seq: removed } = await this.anchor()
    for (const folder of (await this.folders()).toReversed()) {
      const names = (await this.#children('audit', folder)).toSorted().toReversed()
      const wanted = names.filter((name) => Number(name) < beforeSeq && Number(name) > removed)
      yield* this.#reads(folder, wanted, readsAtOnce)
    }
  }

  async *#oldestFirst({ seq: removed }: AuditAnchor): AsyncGenerator<Read> {
    for (const folder of await this.folders()) {
      const names = (await this.#children('audit', folder)).toSorted()
      const wanted = names.filter((name) => Number(name) > removed)
      yield* this.#reads(folder, wanted, READS_AT_ONCE)
    }
  }

  async *#reads(
    folder: string,
    names: readonly string[],
    readsAtOnce: number,
  ): AsyncGenerator<Read> {
    for (let at = 0; at < names.length; at += readsAtOnce) {
      const batch = names.slice(at, at + readsAtOnce)
      yield* await Promise.all(batch.map((name) => this.#read(folder, Number(name))))
    }
  }

  async #read(folder: string, seq: number): Promise<Read> {
    try {
      const path = this.#tree.path('audit', folder, seqName(seq))
      const { data } = await this.#coordinator.get(path)
      return { seq, result: readEntry(data.toString('utf8')) }
    } catch (error) {
      if (isCode(error, 'no-node')) return { seq, result: undefined }
      throw error
    }
  }

  async #children(...parts: readonly string[]): Promise<readonly string[]> {
    try {
      return await this.#coordinator.children(this.#tree.path(...parts))
    } catch (error) {
      if (isCode(error, 'no-node')) return []
      throw error
    }
  }
}

/** What was read as number `named`, if it is the next one behind `last`. */
function follow(
  last: AuditAnchor,
  named: number,
  result: Read['result'],
): { readonly entry: AuditEntry } | { readonly problem: AuditProblem } {
  const at = (seq: number, message: string) => ({ problem: { seq, message } })
  if (named !== last.seq + 1) return at(last.seq + 1, 'it is missing')
  if (result === undefined) return at(named, 'it is missing')
  if ('problem' in result) return at(named, result.problem)
  const { entry } = result
  if (entry.seq !== named) return at(named, `it says that it is number ${entry.seq}`)
  if (entry.prev !== last.hash) return at(named, 'it does not follow the entry before it')
  return { entry }
}

function readCursor(cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('utf8')
  if (!/^\d{1,15}$/.test(text)) throw badField('cursor', 'not a cursor of the audit')
  return Number(text)
}

function testOf(filter: AuditFilter): (entry: AuditEntry) => boolean {
  const { actor, action, kind, name, source, since, until, q } = filter
  const sinceMs = momentOf('since', since)
  const untilMs = momentOf('until', until)
  const part = q?.toLowerCase()
  return (entry) => {
    const atMs = Date.parse(entry.at)
    return (
      (actor === undefined || entry.actor === actor) &&
      (action === undefined || entry.action === action) &&
      (kind === undefined || entry.kind === kind) &&
      (name === undefined || entry.name === name) &&
      (source === undefined || entry.source === source) &&
      (sinceMs === undefined || atMs >= sinceMs) &&
      (untilMs === undefined || atMs <= untilMs) &&
      (part === undefined || JSON.stringify(entry).toLowerCase().includes(part))
    )
  }
}

function momentOf(field: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw badField(field, 'expected a moment such as 2026-11-25T10:00:00Z')
  return ms
}
