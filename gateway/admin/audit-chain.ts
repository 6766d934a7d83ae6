/**
 * The form of audit entries and of the chain that they make (gateway.md 14). Pure but for sha256.
 *
 * A node holds the hash in hexadecimal, a line feed, and the entry's JSON, in which `prev` is the
 * hash of the entry before it; the hash is over the bytes of the JSON. So nothing has to be written
 * again to be verified, and who changes an entry must change every later one and the head.
 */
import { createHash } from 'node:crypto'
import type { AuditEntry } from './api/audit.ts'

/** Entries of one folder: lists of children stay small. */
export const FOLDER_ENTRIES_MAX = 5000

export interface AuditHead {
  readonly seq: number
  readonly hash: string
  /** Of the last entry: `2026-11-25`, and `2026-11-25.001` when that is full. */
  readonly folder: string
  readonly inFolder: number
}

export const NO_HASH = '0'.repeat(64)
/** Before the first entry. */
export const noEntries: AuditHead = { seq: 0, hash: NO_HASH, folder: '', inFolder: 0 }

/** The last entry that is no longer kept. */
export type AuditAnchor = Pick<AuditHead, 'seq' | 'hash'>

/** Of the node `audit/anchor`. */
export function anchorText({ seq, hash }: AuditAnchor): string {
  return JSON.stringify({ seq, hash })
}

export type AuditFacts = Omit<AuditEntry, 'seq' | 'prev' | 'hash'>

export interface ChainedEntry {
  readonly entry: AuditEntry
  readonly folder: string
  readonly text: string
}

export function parseHead(text: string): AuditHead {
  const { seq, hash, folder, inFolder } = JSON.parse(text) as AuditHead
  return { seq, hash, folder, inFolder }
}

export function seqName(seq: number): string {
  return String(seq).padStart(10, '0')
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Days only go forward, whatever the clock does: folders and entries are in one order. */
function folderFor(head: AuditHead, day: string): { folder: string; inFolder: number } {
  const [headDay = '', part = '000'] = head.folder.split('.')
  if (day > headDay) return { folder: day, inFolder: 0 }
  if (head.inFolder < FOLDER_ENTRIES_MAX) return { folder: head.folder, inFolder: head.inFolder }
  return { folder: `${headDay}.${String(Number(part) + 1).padStart(3, '0')}`, inFolder: 0 }
}

/** Entries behind the head, all in one folder, and the head behind them. */
export function chain(
  head: AuditHead,
  facts: readonly AuditFacts[],
): { readonly entries: readonly ChainedEntry[]; readonly head: AuditHead } {
  const day = (facts[0]?.at ?? '').slice(0, 10)
  const { folder, inFolder } = folderFor(head, day)
  let { seq, hash } = head
  const entries = facts.map((one) => {
    seq++
    const body = JSON.stringify({ seq, ...one, prev: hash })
    const prev = hash
    hash = sha256(body)
    return { entry: { seq, ...one, prev, hash }, folder, text: `${hash}\n${body}` }
  })
  return { entries, head: { seq, hash, folder, inFolder: inFolder + entries.length } }
}

/** The entry of a node's text, or what is wrong with it. */
export function readEntry(
  text: string,
): { readonly entry: AuditEntry } | { readonly problem: string } {
  const at = text.indexOf('\n')
  const hash = text.slice(0, Math.max(0, at))
  const body = text.slice(at + 1)
  if (sha256(body) !== hash) return { problem: 'its text does not have its hash' }
  try {
    return { entry: { ...(JSON.parse(body) as Omit<AuditEntry, 'hash'>), hash } }
  } catch {
    return { problem: 'it is not JSON' }
  }
}
