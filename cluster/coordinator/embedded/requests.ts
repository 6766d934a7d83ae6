/**
 * What each request of a client does to the state of the embedded server, and its answer. One
 * request after the other, so answers leave a connection in the order of its requests.
 */
import type { AccessRule, TransactionOutcome, TreeEvent, TreeRequest } from '../tree.ts'
import { allows, Permission } from '../tree.ts'
import type { Connection } from './connection.ts'
import type { JuteWriter } from './jute.ts'
import {
  encodeAccess,
  encodeEvent,
  encodeReply,
  encodeStat,
  ErrorNumber,
  OpCode,
  treeErrorNumber,
  type ClientRequest,
  type WriteRequest,
} from './protocol.ts'
import type { ServerState } from './state.ts'

type State = ServerState<Connection>

/** Ping, authentication and the end of the session are the server's part and no requests here. */
export type DataRequest = Exclude<ClientRequest, { type: 'ping' | 'auth' | 'close-session' }>

/** Notifications wait, like answers, until what they tell is durable. */
export function sendEvent(connection: Connection, zxid: bigint, event: TreeEvent): void {
  connection.send(zxid, encodeEvent(event))
}

export function carryOut(
  state: State,
  connection: Connection,
  xid: number,
  request: DataRequest,
  wallMs: number,
): void {
  const reply = (error: number, body?: (writer: JuteWriter) => void): void => {
    const zxid = state.zxid()
    connection.send(zxid, encodeReply({ xid, zxid, error }, body))
  }
  switch (request.type) {
    case 'create':
    case 'set':
    case 'remove':
    case 'check':
    case 'set-access':
      write(state, connection, request, wallMs, reply)
      return
    case 'multi':
      multi(state, connection, request.operations, wallMs, reply)
      return
    case 'sync':
      reply(ErrorNumber.OK, (writer) => writer.string(request.path))
      return
    case 'set-watches': {
      const { zxid, watched } = request
      // Missed events go out in front of the answer.
      for (const event of state.watches.rearm(state.tree, connection, zxid, watched))
        sendEvent(connection, state.zxid(), event)
      reply(ErrorNumber.OK)
      return
    }
    case 'unknown':
      reply(ErrorNumber.UNIMPLEMENTED)
      return
    case 'exists':
    case 'get':
    case 'children':
    case 'get-access':
      read(state, connection, request, reply)
  }
}

function read(
  state: State,
  connection: Connection,
  request: Extract<DataRequest, { type: 'exists' | 'get' | 'children' | 'get-access' }>,
  reply: (error: number, body?: (writer: JuteWriter) => void) => void,
): void {
  const { path } = request
  const node = state.tree.node(path)
  if (request.type === 'exists' && request.watch) state.watches.add('node', path, connection)
  if (node === undefined) {
    reply(treeErrorNumber['no-node'])
    return
  }
  const wanted =
    request.type === 'get-access' ? Permission.READ | Permission.ADMIN : Permission.READ
  if (request.type !== 'exists' && !allows(node, wanted, connection.identities)) {
    reply(treeErrorNumber['no-auth'])
    return
  }
  switch (request.type) {
    case 'exists':
      reply(ErrorNumber.OK, (writer) => encodeStat(writer, node))
      return
    case 'get':
      if (request.watch) state.watches.add('node', path, connection)
      reply(ErrorNumber.OK, (writer) => encodeStat(writer.buffer(node.data), node))
      return
    case 'children':
      if (request.watch) state.watches.add('child', path, connection)
      reply(ErrorNumber.OK, (writer) => {
        writer.list([...node.children], (name) => writer.string(name))
        if (request.withStat) encodeStat(writer, node)
      })
      return
    case 'get-access': {
      const maySeeAll = allows(node, Permission.ADMIN, connection.identities)
      const shown = maySeeAll ? node.access : node.access.map(withoutSecret)
      reply(ErrorNumber.OK, (writer) => {
        encodeAccess(writer, shown)
        encodeStat(writer, node)
      })
    }
  }
}

function write(
  state: State,
  connection: Connection,
  request: WriteRequest,
  wallMs: number,
  reply: (error: number, body?: (writer: JuteWriter) => void) => void,
): void {
  const resolved = treeRequest(request, connection)
  if (resolved === undefined) {
    reply(ErrorNumber.INVALID_ACL)
    return
  }
  const outcome = state.write([resolved], connection.identities, wallMs)
  if (!outcome.ok) {
    reply(treeErrorNumber[outcome.code])
    return
  }
  const path = outcome.paths[0] ?? request.path
  reply(ErrorNumber.OK, (writer) => encodeResult(writer, state, request, path))
}

/** In a multi a later operation may have removed the node: then the stat is that of the root. */
function encodeResult(writer: JuteWriter, state: State, request: WriteRequest, path: string): void {
  if (request.type === 'create') writer.string(path)
  const withStat =
    request.type === 'set' ||
    request.type === 'set-access' ||
    (request.type === 'create' && request.withStat)
  const node = state.tree.node(path) ?? state.tree.node('/')
  if (withStat && node !== undefined) encodeStat(writer, node)
}

/** Answer: a result per operation, or for each an error (0 in front of the one that failed). */
function multi(
  state: State,
  connection: Connection,
  operations: readonly WriteRequest[],
  wallMs: number,
  reply: (error: number, body?: (writer: JuteWriter) => void) => void,
): void {
  const requests = operations.map((operation) => treeRequest(operation, connection))
  const valid = requests.filter((request) => request !== undefined)
  const outcome: TransactionOutcome | undefined =
    valid.length < requests.length ? undefined : state.write(valid, connection.identities, wallMs)
  const invalidAt = (index: number): number =>
    requests[index] === undefined ? ErrorNumber.INVALID_ACL : ErrorNumber.OK
  reply(ErrorNumber.OK, (writer) => {
    const item = (type: number, done: boolean, error: number): JuteWriter =>
      writer.int(type).boolean(done).int(error)
    for (const [index, operation] of operations.entries())
      if (outcome?.ok === true) {
        item(opCodeOf(operation), false, ErrorNumber.OK)
        encodeResult(writer, state, operation, outcome.paths[index] ?? operation.path)
      } else {
        const error = outcome === undefined ? invalidAt(index) : errorAt(outcome, index)
        item(OpCode.ERROR, false, error).int(error)
      }
    item(OpCode.ERROR, true, -1)
  })
}

function errorAt(outcome: TransactionOutcome, index: number): number {
  if (outcome.ok || index < outcome.failedIndex) return ErrorNumber.OK
  return index === outcome.failedIndex
    ? treeErrorNumber[outcome.code]
    : ErrorNumber.RUNTIME_INCONSISTENCY
}

function opCodeOf(operation: WriteRequest): number {
  switch (operation.type) {
    case 'create':
      return operation.withStat ? OpCode.CREATE2 : OpCode.CREATE
    case 'set':
      return OpCode.SET_DATA
    case 'remove':
      return OpCode.DELETE
    case 'check':
      return OpCode.CHECK
    case 'set-access':
      return OpCode.SET_ACL
  }
}

/** `undefined` when its access list is not valid. */
function treeRequest(request: WriteRequest, connection: Connection): TreeRequest | undefined {
  if (request.type === 'create') {
    const access = resolveAccess(request.access, connection)
    const owner = request.ephemeral ? connection.sessionId : 0n
    const { path, data, sequential } = request
    return access && { type: 'create', path, data, access, owner, sequential }
  }
  if (request.type !== 'set-access') return request
  const access = resolveAccess(request.access, connection)
  return access && { ...request, access }
}

/** Scheme `auth` stands for everything that the connection has proved. */
function resolveAccess(
  access: readonly AccessRule[],
  connection: Connection,
): readonly AccessRule[] | undefined {
  if (access.length === 0) return undefined
  const resolved: AccessRule[] = []
  for (const rule of access)
    if (rule.scheme === 'auth') {
      const proved = connection.identities.filter(({ scheme }) => scheme !== 'ip')
      if (proved.length === 0) return undefined
      for (const identity of proved) resolved.push({ ...identity, permissions: rule.permissions })
    } else if (
      (rule.scheme === 'world' && rule.id === 'anyone') ||
      (rule.scheme === 'digest' && /^[^:]+:[^:]+$/.test(rule.id)) ||
      (rule.scheme === 'ip' && /^\d+(\.\d+){3}$/.test(rule.id))
    )
      resolved.push(rule)
    else return undefined
  return resolved
}

function withoutSecret(rule: AccessRule): AccessRule {
  return rule.scheme === 'digest' ? { ...rule, id: rule.id.replace(/:.*$/, ':x') } : rule
}
