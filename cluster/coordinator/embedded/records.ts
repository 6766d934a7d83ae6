/**
 * What the embedded server keeps on disk, as bytes: transactions of the log and the snapshot of
 * sessions and tree. Format version 1, big-endian, in jute like ZooKeeper's own files but not the
 * same. Pure; files are handled by `transaction-log.ts`.
 *
 *   transaction   {zxid i64, wallMs i64, kind i32} then, by kind:
 *     1 changes   list of {type i32, path, data | access …}
 *     2 session   {id i64, timeoutMs i32, password}
 *     3 session ended {id i64}
 *   snapshot      {zxid i64} list of sessions, list of nodes (parents first)
 */
import type { AccessRule, TreeChange, TreeNode } from '../tree.ts'
import { Tree } from '../tree.ts'
import { JuteError, JuteReader, JuteWriter } from './jute.ts'
import { decodeAccess, encodeAccess } from './protocol.ts'

export interface StoredSession {
  readonly id: bigint
  readonly timeoutMs: number
  readonly password: Buffer
}

export type Transaction = {
  readonly zxid: bigint
  readonly wallMs: number
} & (
  | { readonly kind: 'changes'; readonly changes: readonly TreeChange[] }
  | { readonly kind: 'session'; readonly session: StoredSession }
  | { readonly kind: 'session-end'; readonly sessionId: bigint }
)

export interface Snapshot {
  readonly zxid: bigint
  readonly sessions: readonly StoredSession[]
  readonly tree: Tree
}

const kindNumber = { changes: 1, session: 2, 'session-end': 3 } as const
const changeNumber = { create: 1, set: 2, remove: 3, 'set-access': 4 } as const

export function encodeTransaction(transaction: Transaction): Buffer {
  const writer = new JuteWriter()
    .long(transaction.zxid)
    .long(BigInt(transaction.wallMs))
    .int(kindNumber[transaction.kind])
  switch (transaction.kind) {
    case 'changes':
      writer.list(transaction.changes, (change) => encodeChange(writer, change))
      break
    case 'session':
      encodeSession(writer, transaction.session)
      break
    case 'session-end':
      writer.long(transaction.sessionId)
      break
  }
  return writer.take()
}

/** Throws JuteError. */
export function decodeTransaction(bytes: Buffer): Transaction {
  const reader = new JuteReader(bytes)
  const time = { zxid: reader.long(), wallMs: Number(reader.long()) }
  const kind = reader.int()
  switch (kind) {
    case kindNumber.changes:
      return { ...time, kind: 'changes', changes: reader.list(() => decodeChange(reader)) }
    case kindNumber.session:
      return { ...time, kind: 'session', session: decodeSession(reader) }
    case kindNumber['session-end']:
      return { ...time, kind: 'session-end', sessionId: reader.long() }
    default:
      throw new JuteError(`transaction of kind ${kind}`)
  }
}

function encodeChange(writer: JuteWriter, change: TreeChange): void {
  writer.int(changeNumber[change.type]).string(change.path)
  switch (change.type) {
    case 'create':
      encodeAccess(writer.buffer(change.data).long(change.owner), change.access)
      break
    case 'set':
      writer.buffer(change.data)
      break
    case 'remove':
      break
    case 'set-access':
      encodeAccess(writer, change.access)
      break
  }
}

function decodeChange(reader: JuteReader): TreeChange {
  const type = reader.int()
  const path = reader.string()
  switch (type) {
    case changeNumber.create: {
      const data = reader.buffer()
      const owner = reader.long()
      return { type: 'create', path, data, owner, access: decodeAccess(reader) }
    }
    case changeNumber.set:
      return { type: 'set', path, data: reader.buffer() }
    case changeNumber.remove:
      return { type: 'remove', path }
    case changeNumber['set-access']:
      return { type: 'set-access', path, access: decodeAccess(reader) }
    default:
      throw new JuteError(`change of type ${type}`)
  }
}

function encodeSession(writer: JuteWriter, session: StoredSession): void {
  writer.long(session.id).int(session.timeoutMs).buffer(session.password)
}

function decodeSession(reader: JuteReader): StoredSession {
  return { id: reader.long(), timeoutMs: reader.int(), password: reader.buffer() }
}

export function encodeSnapshot(snapshot: Snapshot): Buffer {
  const writer = new JuteWriter(64 * 1024).long(snapshot.zxid)
  writer.list(snapshot.sessions, (session) => encodeSession(writer, session))
  writer.int(snapshot.tree.nodeCount())
  for (const [path, node] of snapshot.tree.entries()) encodeNode(writer, path, node)
  return writer.take()
}

/** Throws JuteError. */
export function decodeSnapshot(bytes: Buffer): Snapshot {
  const reader = new JuteReader(bytes)
  const zxid = reader.long()
  const sessions = reader.list(() => decodeSession(reader))
  const tree = new Tree()
  const nodeCount = reader.int()
  for (let count = 0; count < nodeCount; count += 1) {
    const path = reader.string()
    tree.restoreNode(path, decodeNode(reader))
  }
  return { zxid, sessions, tree }
}

function encodeNode(writer: JuteWriter, path: string, node: Readonly<TreeNode>): void {
  writer
    .string(path)
    .buffer(node.data)
    .long(node.owner)
    .long(node.createdZxid)
    .long(node.modifiedZxid)
    .long(node.childrenZxid)
    .long(BigInt(node.createdWallMs))
    .long(BigInt(node.modifiedWallMs))
    .int(node.version)
    .int(node.accessVersion)
    .int(node.childrenCreated)
  encodeAccess(writer, node.access)
}

function decodeNode(reader: JuteReader): TreeNode {
  const data = reader.buffer()
  const owner = reader.long()
  const createdZxid = reader.long()
  const modifiedZxid = reader.long()
  const childrenZxid = reader.long()
  const createdWallMs = Number(reader.long())
  const modifiedWallMs = Number(reader.long())
  const version = reader.int()
  const accessVersion = reader.int()
  const childrenCreated = reader.int()
  const access: readonly AccessRule[] = decodeAccess(reader)
  return {
    data,
    access,
    owner,
    createdZxid,
    modifiedZxid,
    childrenZxid,
    createdWallMs,
    modifiedWallMs,
    version,
    accessVersion,
    childrenCreated,
    children: new Set(),
  }
}
