/**
 * The public entry of the client, `pegasus-metaproxy/client`: tables of a Pegasus cluster, found
 * through its meta servers or through a gateway's single address.
 *
 *     const client = createClient({ metaServers: ['gateway.example:34601'] })
 *     const table = await client.openTable('users')
 *     await table.set('ann', 'mail', 'ann@example.org', { ttlSeconds: 3600 })
 *     await client.close()
 *
 * What goes wrong is a `PegasusError` with a stable `code` and an `effect`.
 */
import { Peers } from '../rpc/peers.ts'
import { silentLog } from '../runtime/log.ts'
import { nodeRuntime } from '../runtime/node.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { type CallOptions, budgetOf, closingSignal } from './call.ts'
import { MetaSession } from './meta-session.ts'
import { invalidParameters } from './pegasus-error.ts'
import { Table } from './table.ts'
import { type RoutingOptions, TableRouting } from './table-routing.ts'

export { AdminClient } from './admin.ts'
export type { AdminClientOptions, CreateTableOptions, NodeInfo, TableInfo } from './admin.ts'
export type { CallOptions } from './call.ts'
export type { Bytes, KeyFilter, SortKeyRange } from './operation-arguments.ts'
export { PegasusError } from './pegasus-error.ts'
export type { PegasusErrorCode } from './pegasus-error.ts'
export type { HashKeyScanOptions, ScannedRecord, Scanner, TableScanOptions } from './scanner.ts'
export { Table } from './table.ts'
export type {
  KeyArgument,
  MultiGetOptions,
  MultiGetRangeOptions,
  MultiGetResult,
  RecordArgument,
  SetOptions,
  SortedRecord,
} from './table.ts'

export interface ClientOptions {
  /** `host:port` of meta servers or of a gateway, names or IPv4 addresses; at least one. */
  readonly metaServers: readonly string[]
  /** Default of every call, retries included; 5000 when not given. */
  readonly operationTimeoutMs?: number
  /**
   * Whether set, multiSet, del and multiDel are sent again when it is unknown whether they were
   * carried out; true when not given. A write sent twice may undo another one that came between:
   * without it such a call fails with effect `unknown` instead.
   */
  readonly resendUnknownWrites?: boolean
  /** Node's clock, network and so on when not given. */
  readonly runtime?: Runtime
}

const OPERATION_TIMEOUT_MS = 5000
/** Enough for the leader of a meta group to be found and for a gateway's own budget. */
const QUERY_TIMEOUT_MS = 5000
const REFRESHES_PER_SECOND_MAX = 5
/** A server that answers nothing for so long, not even a probe, is taken for lost. */
const SILENT_MS = 3000

export class PegasusClient {
  readonly #runtime: Runtime
  readonly #peers: Peers
  readonly #meta: MetaSession
  readonly #tables = new Map<string, TableRouting>()
  readonly #closing = closingSignal()
  readonly #routingOptions: RoutingOptions
  readonly #defaults: { readonly operationTimeoutMs: number; readonly closing: AbortSignal }

  /** Throws `PegasusError` (ERR_INVALID_PARAMETERS) for options that make no sense. */
  constructor(options: ClientOptions) {
    const operationTimeoutMs = options.operationTimeoutMs ?? OPERATION_TIMEOUT_MS
    if (!(operationTimeoutMs > 0))
      throw invalidParameters(`operationTimeoutMs ${operationTimeoutMs}, expected over 0`)
    this.#runtime = options.runtime ?? nodeRuntime({ log: silentLog })
    this.#peers = new Peers(this.#runtime, { silentMs: SILENT_MS })
    this.#meta = new MetaSession(this.#runtime, this.#peers, options.metaServers)
    this.#defaults = { operationTimeoutMs, closing: this.#closing.signal }
    this.#routingOptions = {
      resendUnknownWrites: options.resendUnknownWrites ?? true,
      refreshesPerSecondMax: REFRESHES_PER_SECOND_MAX,
      queryTimeoutMs: Math.max(QUERY_TIMEOUT_MS, operationTimeoutMs),
    }
  }

  /**
   * Finds the table and its partitions; handles of one table share what is known of it. Partitions
   * without a primary do not prevent it: calls to them wait for one. Rejects with `PegasusError`:
   * ERR_OBJECT_NOT_FOUND (no such table), ERR_BUSY_CREATING, ERR_BUSY_DROPPING, ERR_TIMEOUT (no meta
   * server or no leader answered), ERR_ABORTED, ERR_INVALID_PARAMETERS, ERR_SESSION_RESET (closed).
   */
  async openTable(name: string, options: CallOptions = {}): Promise<Table> {
    if (typeof name !== 'string' || name === '') throw invalidParameters('empty table name')
    const known = this.#tables.get(name)
    const routing =
      known ??
      new TableRouting(name, {
        runtime: this.#runtime,
        peers: this.#peers,
        meta: this.#meta,
        options: this.#routingOptions,
        closing: this.#closing.signal,
      })
    this.#tables.set(name, routing)
    try {
      await routing.open(budgetOf(this.#runtime, options, this.#defaults))
    } catch (error) {
      // Names that were never found must not pile up.
      if (routing.map === undefined && this.#tables.get(name) === routing) this.#tables.delete(name)
      throw error
    }
    return new Table(this.#runtime, routing, this.#defaults)
  }

  /** Ends every call with ERR_SESSION_RESET and closes all connections. Idempotent. */
  close(): Promise<void> {
    this.#closing.abort()
    this.#peers.close()
    this.#tables.clear()
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** The same as `new PegasusClient(options)`. No connection is made before the first call. */
export function createClient(options: ClientOptions): PegasusClient {
  return new PegasusClient(options)
}
