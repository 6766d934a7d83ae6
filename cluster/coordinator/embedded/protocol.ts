/**
 * The client protocol of ZooKeeper 3.8 as far as the embedded server speaks it: requests decoded,
 * answers encoded. Every message is a frame: i32 length, then
 *
 *   first request   ConnectRequest  {version i32, zxid i64, timeout i32, session i64, password}
 *   its answer      ConnectResponse {version i32, timeout i32, session i64, password, readOnly}
 *   request         {xid i32, type i32} body        answer  {xid i32, zxid i64, error i32} body
 *   notification    {-1, zxid -1, 0} {type i32, state i32, path}
 *
 * No I/O and no state; the meaning of requests is in `connection.ts` and `state.ts`.
 */
import type { AccessRule, TreeErrorCode, TreeEvent, TreeNode } from '../tree.ts'
import { childrenVersionOf } from '../tree.ts'
import type { WatchedPaths } from '../watches.ts'
import { JuteError, JuteReader, JuteWriter } from './jute.ts'

export const OpCode = {
  CREATE: 1,
  DELETE: 2,
  EXISTS: 3,
  GET_DATA: 4,
  SET_DATA: 5,
  GET_ACL: 6,
  SET_ACL: 7,
  GET_CHILDREN: 8,
  SYNC: 9,
  PING: 11,
  GET_CHILDREN2: 12,
  CHECK: 13,
  MULTI: 14,
  CREATE2: 15,
  AUTH: 100,
  SET_WATCHES: 101,
  CLOSE_SESSION: -11,
  ERROR: -1,
} as const

export const ErrorNumber = {
  OK: 0,
  RUNTIME_INCONSISTENCY: -2,
  UNIMPLEMENTED: -6,
  INVALID_ACL: -114,
  AUTH_FAILED: -115,
} as const

export const treeErrorNumber: Readonly<Record<TreeErrorCode, number>> = {
  'bad-arguments': -8,
  'no-node': -101,
  'no-auth': -102,
  'bad-version': -103,
  'no-children-for-ephemerals': -108,
  'node-exists': -110,
  'not-empty': -111,
}

export interface ConnectRequest {
  readonly zxid: bigint
  readonly timeoutMs: number
  readonly sessionId: bigint
  readonly password: Buffer
}

export type WriteRequest =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Buffer
      readonly access: readonly AccessRule[]
      readonly ephemeral: boolean
      readonly sequential: boolean
      /** create2 answers with a stat. */
      readonly withStat: boolean
    }
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Buffer
      readonly version: number
    }
  | { readonly type: 'remove'; readonly path: string; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }
  | {
      readonly type: 'set-access'
      readonly path: string
      readonly access: readonly AccessRule[]
      readonly version: number
    }

export type ClientRequest =
  | WriteRequest
  | { readonly type: 'exists'; readonly path: string; readonly watch: boolean }
  | { readonly type: 'get'; readonly path: string; readonly watch: boolean }
  | {
      readonly type: 'children'
      readonly path: string
      readonly watch: boolean
      readonly withStat: boolean
    }
  | { readonly type: 'get-access'; readonly path: string }
  | { readonly type: 'sync'; readonly path: string }
  | { readonly type: 'ping' }
  | { readonly type: 'multi'; readonly operations: readonly WriteRequest[] }
  | { readonly type: 'auth'; readonly scheme: string; readonly credentials: Buffer }
  | { readonly type: 'set-watches'; readonly zxid: bigint; readonly watched: WatchedPaths }
  | { readonly type: 'close-session' }
  /** An operation of newer clients, or none at all. */
  | { readonly type: 'unknown'; readonly opCode: number }

/** Throws JuteError. Older clients send no read-only flag at the end; it does not matter here. */
export function decodeConnect(frame: Buffer): ConnectRequest {
  const reader = new JuteReader(frame)
  const version = reader.int()
  if (version !== 0) throw new JuteError(`protocol version ${version}, expected 0`)
  const zxid = reader.long()
  const timeoutMs = reader.int()
  return { zxid, timeoutMs, sessionId: reader.long(), password: reader.buffer() }
}

/** A timeout of 0 says that the session is gone. */
export function encodeConnected(session: {
  readonly id: bigint
  readonly timeoutMs: number
  readonly password: Buffer
}): Buffer {
  const writer = new JuteWriter().int(0).int(0).int(session.timeoutMs).long(session.id)
  return framed(writer.buffer(session.password).boolean(false))
}

/** Throws JuteError. */
export function decodeRequest(frame: Buffer): {
  readonly xid: number
  readonly request: ClientRequest
} {
  const reader = new JuteReader(frame)
  const xid = reader.int()
  return { xid, request: decodeBody(reader, reader.int()) }
}

function decodeBody(reader: JuteReader, opCode: number): ClientRequest {
  switch (opCode) {
    case OpCode.EXISTS:
      return { type: 'exists', path: reader.string(), watch: reader.boolean() }
    case OpCode.GET_DATA:
      return { type: 'get', path: reader.string(), watch: reader.boolean() }
    case OpCode.GET_CHILDREN:
    case OpCode.GET_CHILDREN2: {
      const withStat = opCode === OpCode.GET_CHILDREN2
      return { type: 'children', path: reader.string(), watch: reader.boolean(), withStat }
    }
    case OpCode.GET_ACL:
      return { type: 'get-access', path: reader.string() }
    case OpCode.SYNC:
      return { type: 'sync', path: reader.string() }
    case OpCode.PING:
      return { type: 'ping' }
    case OpCode.MULTI:
      return { type: 'multi', operations: decodeMulti(reader) }
    case OpCode.AUTH:
      reader.int()
      return { type: 'auth', scheme: reader.string(), credentials: reader.buffer() }
    case OpCode.SET_WATCHES: {
      const zxid = reader.long()
      const paths = (): string[] => reader.list(() => reader.string())
      return {
        type: 'set-watches',
        zxid,
        watched: { data: paths(), exist: paths(), child: paths() },
      }
    }
    case OpCode.CLOSE_SESSION:
      return { type: 'close-session' }
    default:
      return decodeWrite(reader, opCode) ?? { type: 'unknown', opCode }
  }
}

function decodeWrite(reader: JuteReader, opCode: number): WriteRequest | undefined {
  switch (opCode) {
    case OpCode.CREATE:
    case OpCode.CREATE2: {
      const path = reader.string()
      const data = reader.buffer()
      const access = decodeAccess(reader)
      const flags = reader.int()
      // Containers and nodes with a lifetime have flags of their own.
      if (flags < 0 || flags > 3) return undefined
      const ephemeral = (flags & 1) !== 0
      const sequential = (flags & 2) !== 0
      const withStat = opCode === OpCode.CREATE2
      return { type: 'create', path, data, access, ephemeral, sequential, withStat }
    }
    case OpCode.SET_DATA:
      return { type: 'set', path: reader.string(), data: reader.buffer(), version: reader.int() }
    case OpCode.DELETE:
      return { type: 'remove', path: reader.string(), version: reader.int() }
    case OpCode.CHECK:
      return { type: 'check', path: reader.string(), version: reader.int() }
    case OpCode.SET_ACL: {
      const path = reader.string()
      return { type: 'set-access', path, access: decodeAccess(reader), version: reader.int() }
    }
    default:
      return undefined
  }
}

/** Operations, each behind a header {type i32, done bool, error i32}, up to one that is done. */
function decodeMulti(reader: JuteReader): WriteRequest[] {
  const operations: WriteRequest[] = []
  for (;;) {
    const opCode = reader.int()
    const done = reader.boolean()
    reader.int()
    if (done) return operations
    const operation = decodeWrite(reader, opCode)
    if (operation === undefined) throw new JuteError(`operation ${opCode} in a multi`)
    operations.push(operation)
  }
}

export function decodeAccess(reader: JuteReader): AccessRule[] {
  return reader.list(() => ({
    permissions: reader.int(),
    scheme: reader.string(),
    id: reader.string(),
  }))
}

export function encodeAccess(writer: JuteWriter, access: readonly AccessRule[]): void {
  writer.list(access, (rule) => writer.int(rule.permissions).string(rule.scheme).string(rule.id))
}

export function encodeReply(
  header: { readonly xid: number; readonly zxid: bigint; readonly error: number },
  body?: (writer: JuteWriter) => void,
): Buffer {
  const writer = new JuteWriter().int(0).int(header.xid).long(header.zxid).int(header.error)
  body?.(writer)
  return framed(writer)
}

const eventNumber: Readonly<Record<TreeEvent['type'], number>> = {
  created: 1,
  deleted: 2,
  changed: 3,
  children: 4,
}

export function encodeEvent(event: TreeEvent): Buffer {
  const syncConnected = 3
  return encodeReply({ xid: -1, zxid: -1n, error: 0 }, (writer) =>
    writer.int(eventNumber[event.type]).int(syncConnected).string(event.path),
  )
}

export function encodeStat(writer: JuteWriter, node: Readonly<TreeNode>): void {
  writer
    .long(node.createdZxid)
    .long(node.modifiedZxid)
    .long(BigInt(node.createdWallMs))
    .long(BigInt(node.modifiedWallMs))
    .int(node.version)
    .int(childrenVersionOf(node))
    .int(node.accessVersion)
    .long(node.owner)
    .int(node.data.length)
    .int(node.children.size)
    .long(node.childrenZxid)
}

/** The writer began with four bytes for the length. */
function framed(writer: JuteWriter): Buffer {
  const frame = writer.take()
  frame.writeInt32BE(frame.length - 4, 0)
  return frame
}
