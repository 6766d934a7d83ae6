/**
 * A scripted meta server that tables can be created on, with upstream's answers (wire.md 11): what
 * clients of a gateway with `rpcPolicy.defaultCluster` meet behind it.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import {
  type RequestFrame,
  decodeArgument,
  decodeResult,
  encodeArgument,
  encodeReply,
  encodeRequest,
  encodeResult,
  type ReplyFrame,
} from '../../cluster/protocol/frame.ts'
import type { ConfigurationCreateAppRequest } from '../../cluster/protocol/meta-admin.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { AuditEntry } from '../../gateway/admin/api/audit.ts'
import { type FakeAnswer, type FakeMeta, startFakeMeta } from './fake-meta.ts'

export interface CreatingMeta {
  readonly meta: FakeMeta
  /** Table → its id. */
  readonly tables: Map<string, number>
  /** What it does instead, once a table was created; the next one is created as usual again. */
  onCreated: ((table: string) => FakeAnswer | Promise<void>) | undefined
}

export function createOptions(
  table: string,
  successIfExist: boolean,
): ConfigurationCreateAppRequest {
  const options = { partitionCount: 8, replicaCount: 3, successIfExist, isStateful: true }
  return { appName: table, options: { ...options, appType: 'pegasus', envs: new Map() } }
}

/** CREATE_APP as clients send it. */
export function createFrame(
  table: string,
  options: { successIfExist?: boolean; timeoutMs?: number; seqid?: number } = {},
): Buffer {
  const { successIfExist = true, timeoutMs = 0, seqid = 9 } = options
  const header = { version: 0, appId: 0, partitionIndex: 0, partitionHash: 0n } as const
  return encodeRequest(
    { ...header, clientTimeoutMs: timeoutMs, isBackupRequest: false },
    Rpc.CREATE_APP.name,
    seqid,
    encodeArgument(Rpc.CREATE_APP.argument, createOptions(table, successIfExist)),
  )
}

/** The error of an answer, and the id of the table. */
export function createdIn(reply: ReplyFrame): string {
  if (reply.errorName !== 'ERR_OK') return `header ${reply.errorName}`
  const { err, appid } = decodeResult(Rpc.CREATE_APP.result, reply.result)
  return err === 'ERR_OK' ? `ERR_OK ${appid}` : err
}

export async function startCreatingMeta(firstId: number): Promise<CreatingMeta> {
  const created: CreatingMeta = {
    meta: await startFakeMeta((request) => answer(created, firstId, request)),
    tables: new Map(),
    onCreated: undefined,
  }
  return created
}

function answer(created: CreatingMeta, firstId: number, request: RequestFrame): FakeAnswer {
  const { tables } = created
  if (request.name === Rpc.DROP_APP.name) {
    tables.delete(decodeArgument(Rpc.DROP_APP.argument, request.argument).appName)
    const result = encodeResult(Rpc.DROP_APP.result, { err: 'ERR_OK' })
    return { frame: encodeReply(request.name, 0, 'ERR_OK', result) }
  }
  if (request.name !== Rpc.CREATE_APP.name) {
    const query = decodeArgument(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.argument, request.argument)
    const appId = tables.get(query.appName)
    return appId === undefined ? { error: 'ERR_OBJECT_NOT_FOUND' } : { error: 'ERR_OK', appId }
  }
  const { appName, options } = decodeArgument(Rpc.CREATE_APP.argument, request.argument)
  const known = tables.get(appName)
  if (known !== undefined && !options.successIfExist) return reply('ERR_APP_EXIST', 0)
  const appid = known ?? firstId + tables.size
  tables.set(appName, appid)
  const instead = created.onCreated?.(appName)
  created.onCreated = undefined
  if (instead === undefined) return reply('ERR_OK', appid)
  if (!(instead instanceof Promise)) return instead
  return { later: instead.then(() => reply('ERR_OK', appid).frame) }
}

function reply(err: string, appid: number): { readonly frame: Buffer } {
  const result = encodeResult(Rpc.CREATE_APP.result, { err, appid })
  return { frame: encodeReply(Rpc.CREATE_APP.name, 0, 'ERR_OK', result) }
}

/** The newest entry of the audit in a control tree. */
export async function lastAudit(editor: Coordinator, control: string): Promise<AuditEntry> {
  const { data } = await editor.get(`${control}/audit/head`)
  const { seq, folder } = JSON.parse(data.toString()) as { seq: number; folder: string }
  const entry = await editor.get(`${control}/audit/${folder}/${String(seq).padStart(10, '0')}`)
  const [hash, text = ''] = entry.data.toString().split('\n')
  return { ...(JSON.parse(text) as AuditEntry), hash: hash ?? '' }
}

/** The versions of a table's mapping, oldest first. */
export async function historyOf(
  editor: Coordinator,
  control: string,
  table: string,
): Promise<readonly unknown[]> {
  const path = `${control}/history/${table}`
  const names = (await editor.children(path)).toSorted()
  const nodes = await Promise.all(names.map((name) => editor.get(`${path}/${name}`)))
  return nodes.map(({ data }) => JSON.parse(data.toString()) as unknown)
}
