/**
 * Looks at one cluster as a client of it would (gateway.md M-8): does its leader answer, and can it
 * tell a table's configuration. Which table: the one with the fewest partitions, looked up now and
 * then; in a cluster without tables there is nothing to ask for.
 */
import { MetaSession } from '../../cluster/client/meta-session.ts'
import { PegasusError } from '../../cluster/client/pegasus-error.ts'
import type { Budget } from '../../cluster/client/call.ts'
import { AppStatus } from '../../cluster/protocol/layer2.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Peers } from '../../cluster/rpc/peers.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

export interface ProbeVerdict {
  readonly leaderReachable: boolean
  /** `host:port` as the leader itself says, when it does. */
  readonly leader?: string
  /** Whether a table's configuration could be had; absent when there is no table to ask for. */
  readonly queryOk?: boolean
  readonly ms: number
  /** What went wrong first. */
  readonly error?: string
}

const PROBE_MS = 3000
const TABLE_MS = 600_000

export class ClusterProbe {
  readonly #runtime: Runtime
  readonly #meta: MetaSession
  readonly #closing: AbortSignal
  #table: string | undefined
  #tableAtMs = -Infinity

  /** Throws `PegasusError` for addresses that are none. */
  constructor(runtime: Runtime, peers: Peers, metas: readonly string[], closing: AbortSignal) {
    this.#runtime = runtime
    this.#meta = new MetaSession(runtime, peers, metas)
    this.#closing = closing
  }

  /** Never rejects; takes three seconds at most. */
  async run(): Promise<ProbeVerdict> {
    const { clock } = this.#runtime
    const startedAtMs = clock.monotonicMs()
    const tookMs = (): number => Math.round(clock.monotonicMs() - startedAtMs)
    const budget: Budget = {
      deadline: { atMs: startedAtMs + PROBE_MS },
      signal: undefined,
      closing: this.#closing,
    }
    let leader: string | undefined
    try {
      const info = await this.#meta.call(Rpc.CLUSTER_INFO, {}, budget, { changes: false })
      expectOk(Rpc.CLUSTER_INFO.name, info.err)
      leader = info.values[info.keys.indexOf('primary_meta_server')]
    } catch (error) {
      return { leaderReachable: false, ms: tookMs(), error: textOf(error) }
    }
    const reached = { leaderReachable: true, ...(leader === undefined ? {} : { leader }) }
    try {
      const table = await this.#smallTable(budget)
      if (table === undefined) return { ...reached, ms: tookMs() }
      const answer = await this.#meta.queryConfiguration(table, budget)
      // Dropped meanwhile: another one the next time.
      if (answer.err !== 'ERR_OK') this.#tableAtMs = -Infinity
      expectOk(`${Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name} of ${table}`, answer.err)
      return { ...reached, queryOk: true, ms: tookMs() }
    } catch (error) {
      return { ...reached, queryOk: false, ms: tookMs(), error: textOf(error) }
    }
  }

  async #smallTable(budget: Budget): Promise<string | undefined> {
    const nowMs = this.#runtime.clock.monotonicMs()
    if (this.#table !== undefined && nowMs - this.#tableAtMs < TABLE_MS) return this.#table
    const status = AppStatus.AS_AVAILABLE
    const listed = await this.#meta.call(Rpc.LIST_APPS, { status }, budget, { changes: false })
    expectOk(Rpc.LIST_APPS.name, listed.err)
    const [least] = listed.infos.toSorted((a, b) => a.partitionCount - b.partitionCount)
    this.#table = least?.appName
    this.#tableAtMs = nowMs
    return this.#table
  }
}

function expectOk(what: string, err: string): void {
  if (err !== 'ERR_OK') throw new Error(`${what}: ${err}`)
}

function textOf(error: unknown): string {
  if (error instanceof PegasusError) return `${error.code}: ${error.message}`.slice(0, 300)
  return (error instanceof Error ? error.message : String(error)).slice(0, 300)
}
