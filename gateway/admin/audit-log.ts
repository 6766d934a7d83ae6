/**
 * Reading the audit (gateway.md 14): pages newest first, the whole as a stream, and the verification of
 * the chain. Entries are written by the journal only.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { AuditEntry, AuditList, AuditQuery, AuditVerification } from './api/audit.ts'
import { type AuditHead, NO_HASH, noEntries, parseHead, readEntry, seqName } from './audit-chain.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import { badField } from './problem.ts'

export type AuditFilter = Omit<AuditQuery, 'limit' | 'cursor'>

const READS_AT_ONCE = 64
/** Read for one page. */
const EXAMINED_MAX = 2000
const LIMIT_DEFAULT = 100

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
    for await (const { result } of this.#oldestFirst())
      if (result !== undefined && 'entry' in result && matches(result.entry)) yield result.entry
  }

  /** Every entry is there, has its hash, and follows the one before it; the head is the last. */
  async verify(): Promise<AuditVerification> {
    const head = await this.#head()
    let seq = 0
    let hash = NO_HASH
    let checked = 0
    const broken = (at: number, message: string): AuditVerification => ({
      ok: false,
      checked,
      head: { seq: head.seq, hash: head.hash },
      problem: { seq: at, message },
    })
    for await (const { seq: named, result } of this.#oldestFirst()) {
      // Written since the head was read.
      if (named > head.seq) break
      if (named !== seq + 1) return broken(seq + 1, 'it is missing')
      if (result === undefined) return broken(named, 'it is missing')
      if ('problem' in result) return broken(named, result.problem)
      const { entry } = result
      if (entry.seq !== named) return broken(named, `it says that it is number ${entry.seq}`)
      if (entry.prev !== hash) return broken(named, 'it does not follow the entry before it')
      seq = named
      hash = entry.hash
      checked++
    }
    if (seq < head.seq) return broken(seq + 1, 'it is missing')
    if (hash !== head.hash) return broken(seq, 'the head has another hash')
    return { ok: true, checked, head: { seq: head.seq, hash: head.hash } }
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

  async #folders(): Promise<readonly string[]> {
    return (await this.#children('audit')).filter((name) => name !== 'head').toSorted()
  }

  async *#newestFirst(beforeSeq: number, readsAtOnce: number): AsyncGenerator<Read> {
    for (const folder of (await this.#folders()).toReversed()) {
      const names = (await this.#children('audit', folder)).toSorted().toReversed()
      const wanted = names.filter((name) => Number(name) < beforeSeq)
      yield* this.#reads(folder, wanted, readsAtOnce)
    }
  }

  async *#oldestFirst(): AsyncGenerator<Read> {
    for (const folder of await this.#folders())
      yield* this.#reads(folder, (await this.#children('audit', folder)).toSorted(), READS_AT_ONCE)
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
