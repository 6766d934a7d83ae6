/**
 * The versions of a mapping that are kept in the control tree: `history/<table>/<seq>`, one node for
 * each change, with the text before and after. Written by `table-edits.ts` in the transaction of the
 * change, and by the observer for changes by other tools (H-4).
 */
import type { Coordinator, CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import type { ChangeAuthor } from './api/problem.ts'
import type { HistoryEntry } from './api/tables.ts'
import { seqName } from './audit-chain.ts'
import { type ControlTree, isCode } from './control-tree.ts'

/** Versions of one table; the audit has all. */
export const VERSIONS_MAX = 50
/** Removed with one change when there are more. */
const PRUNED_MAX = 10

/** `zxid`: of the mapping's change when it was not made in the transaction of this node. */
export interface StoredVersion extends Omit<HistoryEntry, 'id'> {
  readonly zxid?: string
}

export interface Version extends HistoryEntry {
  /** Of the mapping's change. */
  readonly zxid: bigint
}

export class TableHistories {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree

  constructor(coordinator: Coordinator, tree: ControlTree) {
    this.#coordinator = coordinator
    this.#tree = tree
  }

  /** Newest first. Rejects with a `CoordinatorError`. */
  async list(table: string): Promise<readonly Version[]> {
    const names = (await this.#names(table)) ?? []
    const found = await Promise.all(names.toReversed().map((name) => this.#read(table, name)))
    return found.filter((version) => version !== undefined)
  }

  async get(table: string, id: number): Promise<Version | undefined> {
    return this.#read(table, seqName(id))
  }

  async latest(table: string): Promise<Version | undefined> {
    const name = (await this.#names(table))?.at(-1)
    return name === undefined ? undefined : this.#read(table, name)
  }

  /** Who made the version with this zxid; undefined when it was none of ours and not observed yet. */
  async authorOf(table: string, modifiedZxid: bigint): Promise<ChangeAuthor | undefined> {
    const latest = await this.latest(table)
    if (latest?.zxid !== modifiedZxid) return undefined
    const { actor, source, at, reason } = latest
    return { actor, source, at, ...(reason === undefined ? {} : { reason }) }
  }

  /** What adds a version, and removes the oldest when there are too many. */
  async append(
    table: string,
    seq: number,
    version: StoredVersion,
  ): Promise<readonly CoordinatorOperation[]> {
    const path = this.#tree.path('history', table)
    const names = await this.#names(table)
    const excess = Math.max(0, (names?.length ?? 0) + 1 - VERSIONS_MAX)
    return [
      ...(names === undefined ? [{ type: 'create' as const, path, data: Buffer.alloc(0) }] : []),
      {
        type: 'create',
        path: `${path}/${seqName(seq)}`,
        data: Buffer.from(JSON.stringify(version)),
      },
      ...(names ?? []).slice(0, Math.min(excess, PRUNED_MAX)).map((name) => ({
        type: 'remove' as const,
        path: `${path}/${name}`,
      })),
    ]
  }

  async #names(table: string): Promise<readonly string[] | undefined> {
    try {
      return (await this.#coordinator.children(this.#tree.path('history', table))).toSorted()
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
  }

  async #read(table: string, name: string): Promise<Version | undefined> {
    try {
      const { data, stat } = await this.#coordinator.get(this.#tree.path('history', table, name))
      const { zxid, ...version } = JSON.parse(data.toString('utf8')) as StoredVersion
      return {
        ...version,
        id: Number(name),
        zxid: zxid === undefined ? stat.createdZxid : BigInt(zxid),
      }
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
  }
}
