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
import { changeAuthor } from './journal.ts'

/** Removed with one change when there are more. */
const PRUNED_MAX = 10

/** Looked at to find one version: those of other tools may be written late, behind newer ones. */
const RECENT_MAX = 4

export interface StoredVersion extends Omit<HistoryEntry, 'id'> {
  /** Of the mapping's change, when it was not made in the transaction of this node. */
  readonly zxid?: string
  /** ZooKeeper's version of the mapping after the change; absent for deletions and old entries. */
  readonly nodeVersion?: number
}

export interface Version extends HistoryEntry {
  /** Of the mapping's change. */
  readonly zxid: bigint
  readonly nodeVersion?: number
}

/** The end of a history. */
export interface RecentVersions {
  /** All there are, oldest first; undefined: the table has no history yet. */
  readonly names: readonly string[] | undefined
  /** Some, newest first. */
  readonly versions: readonly Version[]
}

/** In the order of the mapping's changes; `zxid`: only what was before. */
export function newestBefore(versions: readonly Version[], zxid?: bigint): Version | undefined {
  let newest: Version | undefined
  for (const version of versions)
    if (zxid === undefined || version.zxid < zxid)
      if (newest === undefined || version.zxid > newest.zxid) newest = version
  return newest
}

export class TableHistories {
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  /** Of one table; the audit has all. */
  readonly versionsMax: number

  constructor(coordinator: Coordinator, tree: ControlTree, versionsMax: number) {
    this.#coordinator = coordinator
    this.#tree = tree
    this.versionsMax = versionsMax
  }

  /** Newest first. Rejects with a `CoordinatorError`. */
  async list(table: string): Promise<readonly Version[]> {
    const names = (await this.names(table)) ?? []
    const found = await Promise.all(names.toReversed().map((name) => this.#read(table, name)))
    return found.filter((version) => version !== undefined)
  }

  /** As the API shows it. */
  async entries(table: string): Promise<HistoryEntry[]> {
    const versions = await this.list(table)
    return versions.map(({ zxid: _zxid, nodeVersion: _nodeVersion, ...entry }) => entry)
  }

  async get(table: string, id: number): Promise<Version | undefined> {
    return this.#read(table, seqName(id))
  }

  /** The newest versions, at least back to this zxid of the mapping unless too many are newer. */
  async recent(table: string, zxid?: bigint): Promise<RecentVersions> {
    const names = await this.names(table)
    const versions: Version[] = []
    for (const name of (names ?? []).slice(-RECENT_MAX).toReversed()) {
      const version = await this.#read(table, name)
      if (version === undefined) continue
      versions.push(version)
      if (zxid === undefined || version.zxid <= zxid) break
    }
    return { names, versions }
  }

  async latest(table: string): Promise<Version | undefined> {
    return (await this.recent(table)).versions[0]
  }

  /** Who made the version with this zxid; undefined when it was none of ours and not observed yet. */
  async authorOf(table: string, modifiedZxid: bigint): Promise<ChangeAuthor | undefined> {
    const { versions } = await this.recent(table, modifiedZxid)
    const made = versions.find(({ zxid }) => zxid === modifiedZxid)
    return made && changeAuthor(made)
  }

  /** What adds a version, and removes the oldest when there are too many. */
  append(
    table: string,
    seq: number,
    version: StoredVersion,
    names: readonly string[] | undefined,
  ): readonly CoordinatorOperation[] {
    const path = this.#tree.path('history', table)
    const excess = Math.max(0, (names?.length ?? 0) + 1 - this.versionsMax)
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

  /** Of its versions, oldest first; undefined: it has no history yet. */
  async names(table: string): Promise<readonly string[] | undefined> {
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
