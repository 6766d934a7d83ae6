/**
 * Administration of one cluster's tables, as far as the onebox and tests need it. All calls go to
 * the meta leader; gateways relay what their configuration allows. A call whose reply was lost is
 * sent again, so that `createTable` and `dropTable` by default accept what an earlier attempt has done.
 */
import type { QueryCfgResponse } from '../protocol/layer2.ts'
import { AppStatus } from '../protocol/layer2.ts'
import { NodeStatus } from '../protocol/meta-admin.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { Peers } from '../rpc/peers.ts'
import { silentLog } from '../runtime/log.ts'
import { nodeRuntime } from '../runtime/node.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { type Budget, type CallOptions, budgetOf, callUntilDone, closingSignal } from './call.ts'
import { MetaSession } from './meta-session.ts'
import { PegasusError, codeOf } from './pegasus-error.ts'

export interface AdminClientOptions {
  /** `host:port` of the cluster's meta servers. */
  readonly metaServers: readonly string[]
  /** Default of every call; 10 000 when not given. */
  readonly operationTimeoutMs?: number
  readonly runtime?: Runtime
}

export interface CreateTableOptions extends CallOptions {
  /** A power of two from 2 up, or some clients cannot open the table. */
  readonly partitionCount: number
  /** 3 when not given. */
  readonly replicaCount?: number
  readonly envs?: Readonly<Record<string, string>>
  /** True when not given: an equal table that exists is fine. */
  readonly successIfExist?: boolean
}

export interface TableInfo {
  readonly name: string
  readonly appId: number
  readonly partitionCount: number
  readonly replicaCount: number
  /** Such as `available` or `dropped`. */
  readonly status: string
  readonly envs: Readonly<Record<string, string>>
}

export interface NodeInfo {
  /** `ip:port`. */
  readonly address: string
  readonly alive: boolean
}

const OPERATION_TIMEOUT_MS = 10_000
const HEALTH_POLL_MS = 100
/** A server that answers nothing for so long, not even a probe, is taken for lost. */
const SILENT_MS = 3000

export class AdminClient {
  readonly #runtime: Runtime
  readonly #peers: Peers
  readonly #meta: MetaSession
  readonly #closing = closingSignal()
  readonly #defaults: { readonly operationTimeoutMs: number; readonly closing: AbortSignal }

  /** Throws `PegasusError` (ERR_INVALID_PARAMETERS) for addresses that are none. */
  constructor(options: AdminClientOptions) {
    this.#runtime = options.runtime ?? nodeRuntime({ log: silentLog })
    this.#peers = new Peers(this.#runtime, { silentMs: SILENT_MS })
    this.#meta = new MetaSession(this.#runtime, this.#peers, options.metaServers)
    const operationTimeoutMs = options.operationTimeoutMs ?? OPERATION_TIMEOUT_MS
    this.#defaults = { operationTimeoutMs, closing: this.#closing.signal }
  }

  /**
   * Returns the app id as soon as the metadata is stored; replicas come after that, see
   * `waitForTable`. Rejects with ERR_APP_EXIST, ERR_INVALID_PARAMETERS (also: exists with other
   * options), ERR_BUSY_CREATING, ERR_BUSY_DROPPING, ERR_STATE_FREEZED.
   */
  async createTable(name: string, options: CreateTableOptions): Promise<number> {
    const request = {
      appName: name,
      options: {
        partitionCount: options.partitionCount,
        replicaCount: options.replicaCount ?? 3,
        successIfExist: options.successIfExist ?? true,
        appType: 'pegasus',
        isStateful: true,
        envs: new Map(Object.entries(options.envs ?? {})),
      },
    }
    const changes = { changes: true }
    const response = await this.#meta.call(Rpc.CREATE_APP, request, this.#budget(options), changes)
    expectOk(`create table ${name}`, response.err)
    return response.appid
  }

  /** Data is kept for `reserveSeconds` (0: the server's default). Rejects with ERR_APP_NOT_EXIST. */
  async dropTable(
    name: string,
    options: CallOptions & {
      readonly reserveSeconds?: number
      /** True when not given. */
      readonly successIfNotExist?: boolean
    } = {},
  ): Promise<void> {
    const request = {
      appName: name,
      options: {
        successIfNotExist: options.successIfNotExist ?? true,
        reserveSeconds: options.reserveSeconds ?? 0,
      },
    }
    const changes = { changes: true }
    const response = await this.#meta.call(Rpc.DROP_APP, request, this.#budget(options), changes)
    expectOk(`drop table ${name}`, response.err)
  }

  /** Those available, or all that the meta server still knows. */
  async listTables(options: CallOptions & { readonly all?: boolean } = {}): Promise<TableInfo[]> {
    const request = {
      status: options.all === true ? AppStatus.AS_INVALID : AppStatus.AS_AVAILABLE,
    }
    const changes = { changes: false }
    const response = await this.#meta.call(Rpc.LIST_APPS, request, this.#budget(options), changes)
    expectOk('list tables', response.err)
    return response.infos.map((info) => ({
      name: info.appName,
      appId: info.appId,
      partitionCount: info.partitionCount,
      replicaCount: info.maxReplicaCount,
      status: statusName(info.status),
      envs: Object.fromEntries(info.envs),
    }))
  }

  /** Replica servers, living and lost. */
  async listNodes(options: CallOptions = {}): Promise<NodeInfo[]> {
    const request = { status: NodeStatus.NS_INVALID }
    const changes = { changes: false }
    const response = await this.#meta.call(Rpc.LIST_NODES, request, this.#budget(options), changes)
    expectOk('list nodes', response.err)
    return response.infos.map(({ node, status }) => ({
      address: node,
      alive: status === NodeStatus.NS_ALIVE,
    }))
  }

  /** Keys as upstream names them: `primary_meta_server`, `meta_function_level` and so on. */
  async clusterInfo(options: CallOptions = {}): Promise<ReadonlyMap<string, string>> {
    const changes = { changes: false }
    const response = await this.#meta.call(Rpc.CLUSTER_INFO, {}, this.#budget(options), changes)
    expectOk('cluster info', response.err)
    return new Map(response.keys.map((key, index) => [key, response.values[index] ?? '']))
  }

  /**
   * Waits until every partition has a primary and all its secondaries. Rejects with ERR_TIMEOUT
   * when it does not come to that, at once with ERR_OBJECT_NOT_FOUND when there is no such table.
   */
  async waitForTable(name: string, options: CallOptions = {}): Promise<void> {
    const budget = this.#budget(options)
    await callUntilDone(this.#runtime, budget, `wait for table ${name}`, async () => {
      let response: QueryCfgResponse
      try {
        response = await this.#meta.queryConfiguration(name, budget)
      } catch (error) {
        if (!(error instanceof PegasusError)) throw error
        return { done: false, error, again: 'no' }
      }
      const lacking = response.err === 'ERR_OK' ? whatLacks(response) : response.err
      if (lacking === undefined) return { done: true, value: undefined }
      const code = response.err === 'ERR_OK' ? 'ERR_NOT_ENOUGH_MEMBER' : codeOf(response.err)
      const again = mayBecomeHealthy(response.err) ? HEALTH_POLL_MS : 'no'
      return { done: false, error: new PegasusError(code, `table ${name}: ${lacking}`), again }
    })
  }

  /** Ends every call. Idempotent. */
  close(): void {
    this.#closing.abort()
    this.#peers.close()
  }

  #budget(options: CallOptions): Budget {
    return budgetOf(this.#runtime, options, this.#defaults)
  }
}

function mayBecomeHealthy(errorName: string): boolean {
  return errorName === 'ERR_OK' || errorName === 'ERR_BUSY_CREATING'
}

function whatLacks(response: QueryCfgResponse): string | undefined {
  if (response.partitions.length < response.partitionCount)
    return `${response.partitions.length} of ${response.partitionCount} partitions`
  for (const { pid, primary, secondaries, maxReplicaCount } of response.partitions) {
    if (primary === '') return `partition ${pid.partitionIndex} has no primary`
    if (secondaries.length + 1 < maxReplicaCount)
      return `partition ${pid.partitionIndex} has ${secondaries.length + 1} of ${maxReplicaCount} replicas`
  }
  return undefined
}

function statusName(status: number): string {
  const found = Object.entries(AppStatus).find(([, number]) => number === status)
  return found === undefined ? String(status) : found[0].slice('AS_'.length).toLowerCase()
}

function expectOk(what: string, errorName: string): void {
  if (errorName !== 'ERR_OK') throw new PegasusError(codeOf(errorName), `${what}: ${errorName}`)
}
