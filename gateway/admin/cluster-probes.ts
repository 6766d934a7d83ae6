/**
 * Asking meta servers now (gateway.md 14): each address of a list with a configuration query, which a
 * leader answers and a standby forwards, so that one round tells who lives, who leads, and what the
 * leader knows of a table. Bounded in time and number; answers of a cluster are shared for a moment.
 */
import { AdminClient, type TableInfo } from '../../cluster/client/admin.ts'
import type { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { Peers } from '../../cluster/rpc/peers.ts'
import { RpcError } from '../../cluster/rpc/rpc-error.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { canonicalMetas } from '../routing/mapping.ts'
import type { ClusterHealth } from './api/clusters.ts'
import type { Check } from './api/requests.ts'
import type { MetaProbe, PartitionProbe, ProbeResult } from './api/tables.ts'
import { ApiError } from './problem.ts'

interface MetaAnswer {
  readonly probe: MetaProbe
  /** What the leader says. */
  readonly response: QueryCfgResponse | undefined
}

interface Standing {
  readonly state: ClusterHealth['state']
  readonly sinceMs: number
}

const PROBE_MS = 1500
const LIST_MS = 4000
const SHARED_MS = 2000
const RUNNING_MAX = 64
const STANDINGS_MAX = 1000
/** A name that no cluster has: the leader says so, a standby forwards. */
const NO_TABLE = '__metaproxy_probe__'

export class ClusterProbes {
  readonly #runtime: Runtime
  readonly #peers: Peers
  readonly #shared = new Map<string, { readonly atMs: number; readonly value: Promise<unknown> }>()
  readonly #standings = new Map<string, Standing>()
  #running = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
    this.#peers = new Peers(runtime, { connectTimeoutMs: 1000, silentMs: 3000, backoffMaxMs: 250 })
  }

  close(): void {
    this.#peers.close()
  }

  /** A table as its metas see it. Never rejects for a cluster that does not answer. */
  async table(name: string, metas: readonly string[]): Promise<ProbeResult> {
    const startedMs = this.#runtime.clock.monotonicMs()
    const askedAt = this.#now()
    const answers = await this.#askAll(metas, name)
    const response = answers.find((answer) => answer.response !== undefined)?.response
    const partitions = response?.err === 'ERR_OK' ? response.partitions.map(partitionProbe) : []
    return {
      askedAt,
      elapsedMs: Math.round(this.#runtime.clock.monotonicMs() - startedMs),
      metas: answers.map(({ probe }) => probe),
      ...(response === undefined ? {} : { table: tableFacts(response) }),
      partitions,
      checks: checksOf(name, answers, response, partitions),
    }
  }

  /** How a cluster is; the same answer for everybody who asks within two seconds. */
  health(name: string, metas: readonly string[]): Promise<ClusterHealth> {
    return this.#share(`health ${name} ${canonicalMetas(metas)}`, () => this.#health(name, metas))
  }

  /** The tables that the cluster has. Rejects with `upstream-unavailable`. */
  tables(name: string, metas: readonly string[]): Promise<readonly TableInfo[]> {
    return this.#share(`tables ${name} ${canonicalMetas(metas)}`, async () => {
      const client = this.#client(metas, LIST_MS)
      try {
        return await client.listTables()
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        throw new ApiError('upstream-unavailable', `cluster ${name}: ${reason}`)
      } finally {
        client.close()
      }
    })
  }

  #client(metas: readonly string[], operationTimeoutMs: number): AdminClient {
    return new AdminClient({ metaServers: metas, operationTimeoutMs, runtime: this.#runtime })
  }

  #share<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const [other, { atMs }] of this.#shared)
      if (nowMs - atMs > SHARED_MS) this.#shared.delete(other)
    const known = this.#shared.get(key)
    // Only this function puts anything there, under a key that names the kind of answer.
    if (known !== undefined) return known.value as Promise<T>
    const value = ask()
    this.#shared.set(key, { atMs: nowMs, value })
    return value
  }

  async #health(name: string, metas: readonly string[]): Promise<ClusterHealth> {
    const startedMs = this.#runtime.clock.monotonicMs()
    const askedAt = this.#now()
    const answers = await this.#askAll(metas, NO_TABLE)
    const leader = answers.find(({ probe }) => probe.leader)?.probe.address
    const reasons = answers
      .filter(({ probe }) => !probe.reachable)
      .map(({ probe }) => `meta ${probe.address}: ${probe.error ?? 'does not answer'}`)
    if (leader === undefined) reasons.unshift('no meta server leads')
    let nodes: ClusterHealth['nodes'] = []
    let info: ClusterHealth['info'] = {}
    if (leader !== undefined) {
      const client = this.#client([leader], PROBE_MS)
      try {
        const [listed, told] = await Promise.all([client.listNodes(), client.clusterInfo()])
        nodes = listed.map(({ address, alive }) => ({ address, alive }))
        info = Object.fromEntries(told)
        for (const { address, alive } of nodes) if (!alive) reasons.push(`node ${address} is lost`)
      } catch (error) {
        reasons.push(`leader ${leader}: ${error instanceof Error ? error.message : 'no answer'}`)
      } finally {
        client.close()
      }
    }
    const state = leader === undefined ? 'unreachable' : reasons.length === 0 ? 'ok' : 'degraded'
    return {
      name,
      state,
      reasons,
      askedAt,
      elapsedMs: Math.round(this.#runtime.clock.monotonicMs() - startedMs),
      since: new Date(this.#sinceMs(name, state)).toISOString(),
      metas: answers.map(({ probe }) => probe),
      nodes,
      info,
    }
  }

  #sinceMs(name: string, state: ClusterHealth['state']): number {
    const known = this.#standings.get(name)
    if (known?.state === state) return known.sinceMs
    const sinceMs = this.#runtime.clock.wallMs()
    if (this.#standings.size >= STANDINGS_MAX) this.#standings.clear()
    this.#standings.set(name, { state, sinceMs })
    return sinceMs
  }

  async #askAll(metas: readonly string[], table: string): Promise<readonly MetaAnswer[]> {
    if (this.#running + metas.length > RUNNING_MAX)
      throw new ApiError('too-many-requests', 'too many meta servers are being asked', {
        retryAfterSeconds: 1,
      })
    this.#running += metas.length
    try {
      return await Promise.all(metas.map((address) => this.#ask(address, table)))
    } finally {
      this.#running -= metas.length
    }
  }

  async #ask(address: string, table: string): Promise<MetaAnswer> {
    const startedMs = this.#runtime.clock.monotonicMs()
    const silent = { address, reachable: false, leader: false }
    try {
      const response = await this.#peers
        .get(address)
        .call(
          Rpc.QUERY_PARTITION_CONFIG_BY_INDEX,
          { appName: table, partitionIndices: [] },
          { deadline: { atMs: startedMs + PROBE_MS } },
        )
      const leader = response.err !== 'ERR_FORWARD_TO_OTHERS'
      const latencyMs = Math.round((this.#runtime.clock.monotonicMs() - startedMs) * 10) / 10
      return {
        probe: { address, reachable: true, leader, latencyMs },
        response: leader ? response : undefined,
      }
    } catch (error) {
      if (!(error instanceof RpcError) && !(error instanceof RangeError)) throw error
      const reason = error instanceof RpcError ? error.summary : error.message
      return { probe: { ...silent, error: reason }, response: undefined }
    }
  }

  #now(): string {
    return new Date(this.#runtime.clock.wallMs()).toISOString()
  }
}

function tableFacts(response: QueryCfgResponse): NonNullable<ProbeResult['table']> {
  if (response.err === 'ERR_OK')
    return { exists: true, appId: response.appId, partitionCount: response.partitionCount }
  return { exists: response.err !== 'ERR_OBJECT_NOT_FOUND', error: response.err }
}

function partitionProbe(partition: QueryCfgResponse['partitions'][number]): PartitionProbe {
  const { pid, primary, secondaries, ballot, maxReplicaCount } = partition
  const hasPrimary = primary !== '' && !primary.startsWith('0.0.0.0')
  const isFull = secondaries.length + 1 >= maxReplicaCount
  return {
    index: pid.partitionIndex,
    primary: hasPrimary ? primary : '',
    secondaries: [...secondaries],
    ballot: String(ballot),
    health: !hasPrimary ? 'no-primary' : isFull ? 'healthy' : 'short',
  }
}

function checksOf(
  name: string,
  answers: readonly MetaAnswer[],
  response: QueryCfgResponse | undefined,
  partitions: readonly PartitionProbe[],
): Check[] {
  const checks: Check[] = []
  const add = (
    id: string,
    isFine: boolean,
    fine: string,
    warning: string,
    field?: string,
  ): void => {
    const message = isFine ? fine : warning
    const level = isFine ? 'ok' : 'warning'
    checks.push({ id, level, message, ...(field === undefined || isFine ? {} : { field }) })
  }
  const silent = answers.filter(({ probe }) => !probe.reachable).map(({ probe }) => probe.address)
  add(
    'metas-reachable',
    silent.length === 0,
    `all ${answers.length} meta servers answer`,
    `no answer from ${silent.join(', ')}`,
    'metas',
  )
  const leader = answers.find(({ probe }) => probe.leader)?.probe.address
  add('leader', leader !== undefined, `${leader} leads`, 'none of them leads', 'metas')
  if (response === undefined) return checks
  const { exists, error, partitionCount } = tableFacts(response)
  add('table-exists', exists, `the cluster has a table ${name}`, `the cluster has no table ${name}`)
  if (!exists) return checks
  const isAvailable = error === undefined
  add('table-available', isAvailable, `${partitionCount} partitions`, `the table: ${error}`)
  if (!isAvailable) return checks
  const lacking = partitions.filter(({ health }) => health !== 'healthy').length
  add('partitions', lacking === 0, 'all partitions are healthy', `${lacking} partitions are not`)
  return checks
}
