/**
 * What the gateway does with each RPC besides the configuration query (gateway.md 6), as a table: to
 * which class it belongs, and for those that concern one table, where its name is. All of them are
 * refused unless the configuration allows them one by one. Pure.
 *
 *     RPC_CM_QUERY_DUPLICATION
 *     RPC_CM_UPDATE_APP_ENV from 10.0.0.0/8,127.0.0.1/32
 */
import { decodeResult, encodeResult } from '../../cluster/protocol/frame.ts'
import { Rpc, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import { type Codec, ProtocolError } from '../../cluster/protocol/schema.ts'
import type { Option } from '../../cluster/runtime/options.ts'
import { SourceRanges, rangeForm } from './source-ranges.ts'
import { readWholeArgument } from './whole-argument.ts'

/** An RPC that concerns one table, and so has a cluster that it can be sent to. */
export interface TableRpc {
  readonly class: 'table-read' | 'table-write'
  readonly name: string
  /** The table in an args struct, read to its last byte; undefined when that is unreadable. */
  readonly tableOf: (argument: Buffer) => string | undefined
  /** The response struct with nothing but an error in it. */
  readonly resultOf: (error: string) => Buffer
  /** The error in a response struct; undefined when it is none of this RPC. */
  readonly errorOf: (result: Buffer) => string | undefined
}

/** Never relayed, each for a reason of its own. */
export type OtherClass = 'query' | 'negotiation' | 'cluster' | 'server' | 'data' | 'internal'

const whyNever: Readonly<Record<OtherClass, string>> = {
  query: 'is always served',
  negotiation: 'is answered by the gateway itself',
  cluster: 'concerns a whole cluster, so there is no table to route it by',
  server: 'is for one server and not for a table',
  data: 'goes to replica servers, which clients ask directly',
  internal: 'is spoken between the servers of a cluster and never by a client',
}

const table =
  (kind: TableRpc['class']) =>
  <A, R extends { err: string }>(
    rpc: {
      readonly name: string
      readonly argument: Codec<A>
      readonly result: Codec<R>
    },
    nameIn: (argument: A) => string,
  ): TableRpc => ({
    class: kind,
    name: rpc.name,
    tableOf: (argument) => {
      const request = readWholeArgument(rpc.argument, argument)
      return request === undefined ? undefined : nameIn(request)
    },
    resultOf: (error) => encodeResult(rpc.result, { ...rpc.result.empty(), err: error }),
    errorOf: (bytes) => {
      try {
        return decodeResult(rpc.result, bytes).err
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        return undefined
      }
    },
  })
const reads = table('table-read')
const writes = table('table-write')
const appName = (request: { readonly appName: string }): string => request.appName

/** The one RPC whose table may be unmapped (`rpcPolicy.defaultCluster`). */
export const CREATE = Rpc.CREATE_APP.name

/** Every RPC that there is. */
const policy: Readonly<Record<keyof typeof Rpc, TableRpc | OtherClass>> = {
  QUERY_PARTITION_CONFIG_BY_INDEX: 'query',
  NEGOTIATION: 'negotiation',

  QUERY_DUPLICATION: reads(Rpc.QUERY_DUPLICATION, appName),
  QUERY_PARTITION_SPLIT: reads(Rpc.QUERY_PARTITION_SPLIT, appName),
  QUERY_BULK_LOAD_STATUS: reads(Rpc.QUERY_BULK_LOAD_STATUS, appName),
  QUERY_MANUAL_COMPACT_STATUS: reads(Rpc.QUERY_MANUAL_COMPACT_STATUS, appName),
  GET_MAX_REPLICA_COUNT: reads(Rpc.GET_MAX_REPLICA_COUNT, appName),
  GET_ATOMIC_IDEMPOTENT: reads(Rpc.GET_ATOMIC_IDEMPOTENT, appName),

  CREATE_APP: writes(Rpc.CREATE_APP, appName),
  DROP_APP: writes(Rpc.DROP_APP, appName),
  RENAME_APP: writes(Rpc.RENAME_APP, (request) => request.oldAppName),
  UPDATE_APP_ENV: writes(Rpc.UPDATE_APP_ENV, appName),
  SET_MAX_REPLICA_COUNT: writes(Rpc.SET_MAX_REPLICA_COUNT, appName),
  SET_ATOMIC_IDEMPOTENT: writes(Rpc.SET_ATOMIC_IDEMPOTENT, appName),
  ADD_DUPLICATION: writes(Rpc.ADD_DUPLICATION, appName),
  MODIFY_DUPLICATION: writes(Rpc.MODIFY_DUPLICATION, appName),
  START_PARTITION_SPLIT: writes(Rpc.START_PARTITION_SPLIT, appName),
  CONTROL_PARTITION_SPLIT: writes(Rpc.CONTROL_PARTITION_SPLIT, appName),
  START_BULK_LOAD: writes(Rpc.START_BULK_LOAD, appName),
  CONTROL_BULK_LOAD: writes(Rpc.CONTROL_BULK_LOAD, appName),
  CLEAR_BULK_LOAD: writes(Rpc.CLEAR_BULK_LOAD, appName),
  START_MANUAL_COMPACT: writes(Rpc.START_MANUAL_COMPACT, appName),

  // By id, by pattern, by policy, or about all of it.
  RECALL_APP: 'cluster',
  LIST_APPS: 'cluster',
  LIST_NODES: 'cluster',
  CLUSTER_INFO: 'cluster',
  CONTROL_META: 'cluster',
  PROPOSE_BALANCER: 'cluster',
  START_RECOVERY: 'cluster',
  DDD_DIAGNOSE: 'cluster',
  LIST_DUPLICATION: 'cluster',
  ADD_BACKUP_POLICY: 'cluster',
  QUERY_BACKUP_POLICY: 'cluster',
  MODIFY_BACKUP_POLICY: 'cluster',
  START_BACKUP_APP: 'cluster',
  QUERY_BACKUP_STATUS: 'cluster',
  START_RESTORE: 'cluster',
  QUERY_RESTORE_STATUS: 'cluster',

  QUERY_APP_INFO: 'server',
  QUERY_DISK_INFO: 'server',
  REPLICA_DISK_MIGRATE: 'server',
  DETECT_HOTKEY: 'server',
  ADD_NEW_DISK: 'server',
  CLI_CALL: 'server',

  PUT: 'data',
  MULTI_PUT: 'data',
  REMOVE: 'data',
  MULTI_REMOVE: 'data',
  INCR: 'data',
  CHECK_AND_SET: 'data',
  CHECK_AND_MUTATE: 'data',
  GET: 'data',
  MULTI_GET: 'data',
  BATCH_GET: 'data',
  SORTKEY_COUNT: 'data',
  TTL: 'data',
  GET_SCANNER: 'data',
  SCAN: 'data',
  CLEAR_SCANNER: 'data',
  DUPLICATE: 'data',
  INGEST: 'data',

  PREPARE: 'internal',
  FD_FAILURE_DETECTOR_PING: 'internal',
  CONFIG_SYNC: 'internal',
  UPDATE_PARTITION_CONFIGURATION: 'internal',
  CONFIG_PROPOSAL: 'internal',
  DUPLICATION_SYNC: 'internal',
  REPORT_RESTORE_STATUS: 'internal',
  REGISTER_CHILD_REPLICA: 'internal',
  NOTIFY_STOP_SPLIT: 'internal',
  QUERY_CHILD_STATE: 'internal',
  QUERY_PN_DECREE: 'internal',
  QUERY_REPLICA_INFO: 'internal',
  LEARN: 'internal',
  LEARN_ADD_LEARNER: 'internal',
  LEARN_COMPLETION_NOTIFY: 'internal',
  GROUP_CHECK: 'internal',
  REMOVE_REPLICA: 'internal',
  QUERY_LAST_CHECKPOINT_INFO: 'internal',
  NFS_COPY: 'internal',
  NFS_GET_FILE_SIZE: 'internal',
  COLD_BACKUP: 'internal',
  CLEAR_COLD_BACKUP: 'internal',
  BULK_LOAD: 'internal',
  GROUP_BULK_LOAD: 'internal',
  SPLIT_NOTIFY_CATCH_UP: 'internal',
  SPLIT_UPDATE_CHILD_PARTITION_COUNT: 'internal',
}

const byName: ReadonlyMap<string, TableRpc | OtherClass> = new Map(
  Object.entries(Rpc).map(([key, { name }]) => [name, policy[key as keyof typeof Rpc]]),
)

interface Allowance {
  readonly rpc: TableRpc
  /** Empty: from everywhere. */
  readonly from: readonly string[]
}

const FORM = 'an RPC such as RPC_CM_QUERY_DUPLICATION, or RPC from RANGE,RANGE'

function readAllowance(entry: string): Allowance | { readonly problem: string } {
  const [, name = '', ranges] = /^(\S+)(?:\s+from\s+(.+))?$/.exec(entry.trim()) ?? []
  if (name === '') return { problem: `expected ${FORM}, found ${JSON.stringify(entry)}` }
  const rpc = byName.get(name)
  if (rpc === undefined) return { problem: `no RPC has the name ${JSON.stringify(name)}` }
  if (typeof rpc === 'string')
    return { problem: `${name} cannot be allowed: it ${whyNever[rpc]} (class ${rpc})` }
  const from = ranges === undefined ? [] : ranges.split(/[\s,]+/).filter((range) => range !== '')
  if (ranges !== undefined && from.length === 0)
    return { problem: `${name} from: expected ${rangeForm.expected}` }
  for (const range of from)
    if (!rangeForm.pattern.test(range))
      return { problem: `${name} from ${range}: expected ${rangeForm.expected}` }
  return { rpc, from }
}

/** One entry of the list in the configuration; its value is the text. */
export const allowanceOption: Option<string> = {
  kind: 'option',
  about: 'An RPC, and where it may come from',
  read: (raw) => {
    if (typeof raw !== 'string')
      return { problem: `expected ${FORM}, found ${JSON.stringify(raw)}` }
    const allowance = readAllowance(raw)
    return 'problem' in allowance ? allowance : { value: raw }
  },
}

export type Judgement =
  | { readonly kind: 'allowed'; readonly rpc: TableRpc }
  /** Allowed, but not from there. */
  | { readonly kind: 'refused'; readonly rpc: TableRpc }
  /** Nothing that is served here. */
  | { readonly kind: 'not-served' }

export class RpcPolicy {
  readonly #allowed = new Map<string, { readonly rpc: TableRpc; readonly from: SourceRanges[] }>()

  /** Entries that `allowanceOption` took; throws RangeError for others. */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      const allowance = readAllowance(entry)
      if ('problem' in allowance) throw new RangeError(allowance.problem)
      const { rpc, from } = allowance
      const known = this.#allowed.get(rpc.name) ?? { rpc, from: [] }
      known.from.push(new SourceRanges(from))
      this.#allowed.set(rpc.name, known)
    }
  }

  judge(name: string, source: string): Judgement {
    const entry = this.#allowed.get(name)
    if (entry === undefined) return { kind: 'not-served' }
    const { rpc, from } = entry
    const isAllowed = from.some((ranges) => ranges.isEmpty || ranges.includes(source))
    return { kind: isAllowed ? 'allowed' : 'refused', rpc }
  }
}

/** What is wrong between the options of the section. */
export function rpcPolicyProblems(options: {
  readonly allow: readonly string[]
  readonly defaultCluster: string | undefined
}): readonly string[] {
  if (options.defaultCluster === undefined) return []
  if (new RpcPolicy(options.allow).judge(CREATE, '').kind !== 'not-served') return []
  return [`rpcPolicy.defaultCluster: creates nothing unless rpcPolicy.allow has ${CREATE}`]
}

/** Whether an RPC wants no answer: one to clear_scanner ends the connection of a Go client. */
export function isOneWay(name: string): boolean {
  return rpcByName(name)?.oneWay === true
}
