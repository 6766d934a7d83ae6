/**
 * CREATE_APP on a table that is mapped nowhere, with `rpcPolicy.defaultCluster` set (gateway.md 6): the
 * table is created on that cluster first, its mapping is written second, and then the meta server's
 * answer is given to the client, so that a query that follows finds the table.
 *
 *     missing ── place ──▶ create ── ERR_OK, ERR_APP_EXIST ──▶ map ──▶ the meta's answer
 *                               └── any other answer, or none ──▶ that, and no mapping
 *
 * What was cut off in between is completed by asking again. The table is there then, and the meta says
 * ERR_OK to who wants success if it exists, else ERR_APP_EXIST: with both it gets its mapping.
 */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { canonicalMetas, isTableName } from '../routing/mapping.ts'
import type { NewTables, NotPossible } from '../routing/new-tables.ts'
import type { Destination } from '../upstream/upstreams.ts'
import { type Call, type Outcome, errorIn, outcomeOf } from './rpc-outcome.ts'
import { CREATE, type TableRpc } from './rpc-policy.ts'
import type { RpcRelay } from './rpc-relay.ts'

interface Parts {
  readonly newTables: NewTables
  readonly relay: Pick<RpcRelay, 'ask'>
  readonly leaderOf: (route: Destination) => string | undefined
}

/** Of the time that is left, what each of the two steps in ZooKeeper may count on. */
export function zooKeeperMs(leftMs: number): number {
  return leftMs / 3
}

/** Whether the meta server's answer to CREATE_APP says that the table is there. */
export function isThere(error: string): boolean {
  return error === 'ERR_OK' || error === 'ERR_APP_EXIST'
}

export class TableCreation {
  readonly #runtime: Runtime
  readonly #parts: Parts
  readonly #cluster: string | undefined

  /** `cluster` is `rpcPolicy.defaultCluster`. */
  constructor(runtime: Runtime, parts: Parts, cluster: string | undefined) {
    this.#runtime = runtime
    this.#parts = parts
    this.#cluster = cluster
  }

  /** Whether an unmapped table is created by this RPC; not when no node can have its name. */
  takes(rpc: TableRpc, table: string): boolean {
    return this.#cluster !== undefined && rpc.name === CREATE && isTableName(table)
  }

  /** Never rejects. `mapped`: somebody was faster; it is to be routed as any other. */
  async run(call: Call): Promise<Outcome | 'mapped'> {
    const { newTables, relay, leaderOf } = this.#parts
    const { rpc, table, argument, deadlineMs, peer } = call
    const cluster = this.#cluster ?? ''
    call.cluster = cluster
    const placing = await newTables.place(table, cluster, zooKeeperMs(this.#leftMs(deadlineMs)))
    if (placing.kind === 'mapped') return 'mapped'
    if (placing.kind === 'not-possible') return refused(placing, 'nothing created')
    const { metas } = placing
    const leader = leaderOf({ cluster, metas, group: canonicalMetas(metas) })
    const mappingMs = zooKeeperMs(this.#leftMs(deadlineMs))
    const outcome = outcomeOf(
      await relay.ask(
        { name: rpc.name, argument, isWrite: true },
        { metas, leader },
        deadlineMs - mappingMs,
      ),
    )
    if (outcome.kind === 'own') return { ...outcome, why: `not mapped: ${outcome.why}` }
    if (!isThere(errorIn(rpc, outcome.reply))) return outcome
    const wish = { table, cluster, metas, peer }
    const made = await newTables.map(wish, this.#leftMs(deadlineMs))
    return made.kind === 'mapped'
      ? { ...outcome, mapping: made.isOurs ? 'written' : 'by others' }
      : { ...refused(made, `on cluster ${cluster} and not mapped`), meta: outcome.meta }
  }

  #leftMs(deadlineMs: number): number {
    return Math.max(0, deadlineMs - this.#runtime.clock.monotonicMs())
  }
}

function refused({ problem, why }: NotPossible, state: string): Outcome & { kind: 'own' } {
  return { kind: 'own', result: problem, why: `${state}: ${why}` }
}
