/**
 * Mappings of tables that clients create (gateway.md 6), written by the process that holds the
 * ZooKeeper sessions: through the journal as every change is, so with audit, history and epoch, and
 * only where there is no node yet.
 *
 * While a redirect leads away from the cluster nothing is created on it or mapped to it: the plan's
 * table set does not have the new table, so it would stay behind. Redirects and the epoch change
 * together, so a mapping whose transaction finds the epoch as it was before the redirects were looked
 * at was written while there was none. The same goes for the registry's entry.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { parseRegisteredCluster } from '../routing/control-nodes.ts'
import type { GatewayConfig } from '../config.ts'
import { canonicalMetas, formatMapping, parseMapping } from '../routing/mapping.ts'
import {
  type Mapped,
  type MappingMade,
  type MappingWish,
  type NewTables,
  type NotPossible,
  type Placing,
  notPossible,
} from '../routing/new-tables.ts'
import type { TableDirectory } from '../routing/table-directory.ts'
import type { ChangeBooks } from './change-books.ts'
import { isCode, makePath } from './control-tree.ts'
import { type Author, type Plan, changeAuthor } from './journal.ts'
import { ApiError, asApiError } from './problem.ts'
import type { StoredVersion } from './table-history.ts'

export interface NewTableParts {
  readonly runtime: Runtime
  readonly config: Pick<GatewayConfig, 'zookeeper' | 'routing'>
  /** The sessions that read mappings, and write them. */
  readonly data: Coordinator
  readonly control: Coordinator
  readonly books: ChangeBooks
  readonly directory: Pick<TableDirectory, 'outage' | 'routeCount' | 'reread'>
  /** Resolves when every process that serves clients has what the directory has. */
  readonly applied: () => Promise<void>
}

/** Creating tables is rare: more at a time than this is a mistake or an attack. */
const RUNNING_MAX = 64
const NOT_READ = notPossible('unavailable', 'ZooKeeper did not answer in time')
const NOT_WRITTEN = notPossible('outcome-unknown', 'ZooKeeper did not answer in time')
const VANISHED = notPossible('unavailable', 'mappings have vanished from ZooKeeper')

interface Registered {
  readonly kind: 'registered'
  readonly metas: readonly string[]
  readonly version: number
}

export class NewTableMappings implements NewTables {
  readonly #parts: NewTableParts
  readonly #log: Log
  /** Parent of the mapping nodes. */
  readonly #root: string
  #running = 0

  constructor(parts: NewTableParts) {
    this.#parts = parts
    this.#root = parts.config.zookeeper.root
    this.#log = parts.runtime.log.child({ part: 'new-tables' })
  }

  place(table: string, cluster: string, budgetMs: number): Promise<Placing> {
    return this.#within(budgetMs, NOT_READ, () => this.#place(table, cluster))
  }

  map(wish: MappingWish, budgetMs: number): Promise<MappingMade> {
    return this.#within(budgetMs, NOT_WRITTEN, () => this.#map(wish))
  }

  /** The work goes on when the time is up; what it waits for has limits of its own. */
  async #within<T>(
    budgetMs: number,
    late: NotPossible,
    work: () => Promise<T>,
  ): Promise<T | NotPossible> {
    if (this.#running >= RUNNING_MAX)
      return notPossible('busy', `${RUNNING_MAX} tables are being created`)
    this.#running++
    const answer = await new Promise<T | NotPossible>((resolve) => {
      const timer = this.#parts.runtime.timers.after(budgetMs, () => resolve(late))
      void work()
        .catch((error: unknown) => this.#problemOf(error))
        .then((result) => {
          timer.cancel()
          resolve(result)
        })
    })
    this.#running--
    return answer
  }

  async #place(table: string, cluster: string): Promise<Placing> {
    const { control } = this.#parts
    const path = `${this.#root}/${table}`
    await control.sync(path)
    if (await this.#hasVanished()) return VANISHED
    if ((await control.exists(path)) !== undefined) {
      await this.#serve(table)
      return { kind: 'mapped', isOurs: false }
    }
    const registered = await this.#registered(cluster)
    if (registered.kind === 'not-possible') return registered
    return (await this.#redirected(cluster)) ?? { kind: 'create', metas: registered.metas }
  }

  async #map(wish: MappingWish): Promise<MappingMade> {
    let found: MappingMade | undefined
    await this.#parts.books.journal.commit(authorOf(wish), async (firstSeq, at) => {
      const planned = await this.#plan(wish, firstSeq, at)
      found = 'kind' in planned ? planned : undefined
      return 'kind' in planned ? { operations: [], entries: [], raisesEpoch: false } : planned
    })
    if (found?.kind === 'not-possible') return found
    try {
      await this.#serve(wish.table)
    } catch (error) {
      const { message } = asApiError(error)
      return notPossible('outcome-unknown', `mapped, but not served here yet: ${message}`)
    }
    return found ?? { kind: 'mapped', isOurs: true }
  }

  /** What to write, or what there is in the way. */
  async #plan(wish: MappingWish, firstSeq: number, at: string): Promise<Plan | MappingMade> {
    const { control, config, books } = this.#parts
    const { tree, histories } = books
    const { table, cluster, metas } = wish
    if (await this.#hasVanished()) return VANISHED
    const found = await this.#found(table, cluster)
    if (found !== undefined) return found
    const epochVersion = (await control.exists(tree.path('epoch')))?.version ?? 0
    const redirected = await this.#redirected(cluster)
    if (redirected !== undefined) return redirected
    const registered = await this.#registered(cluster)
    if (registered.kind === 'not-possible') return registered
    if (canonicalMetas(registered.metas) !== canonicalMetas(metas))
      return notPossible('busy', `the registry has other metas for cluster ${cluster} now`)
    await makePath(control, this.#root)
    const data = formatMapping({ cluster, metas }, undefined, config.routing.writeForm)
    const text = data.toString('utf8')
    const action = 'create'
    const author = changeAuthor({ ...authorOf(wish), at })
    const version: StoredVersion = { ...author, action, before: null, after: text, nodeVersion: 0 }
    const history = histories.append(table, firstSeq, version, await histories.names(table))
    return {
      operations: [
        { type: 'check', path: tree.path('epoch'), version: epochVersion },
        { type: 'check', path: tree.path('clusters', cluster), version: registered.version },
        { type: 'create', path: `${this.#root}/${table}`, data },
        ...history,
      ],
      entries: [{ action, kind: 'table', name: table, before: null, after: text }],
      raisesEpoch: true,
    }
  }

  /** A node made meanwhile is left as it is; undefined when there is none. */
  async #found(table: string, cluster: string): Promise<Mapped | NotPossible | undefined> {
    try {
      const { data } = await this.#parts.control.get(`${this.#root}/${table}`)
      const parsed = parseMapping(data)
      if (!parsed.ok)
        return notPossible('invalid-mapping', 'somebody made a node that holds no mapping')
      const { cluster: other } = parsed.value
      return other === cluster
        ? { kind: 'mapped', isOurs: false }
        : notPossible('busy', `somebody mapped it to cluster ${other} meanwhile`)
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
  }

  /** then a table without a node may be mapped all the same. */
  async #hasVanished(): Promise<boolean> {
    const { control, directory } = this.#parts
    if (directory.outage) return true
    return directory.routeCount > 0 && (await control.exists(this.#root)) === undefined
  }

  async #redirected(cluster: string): Promise<NotPossible | undefined> {
    const { control, books } = this.#parts
    const redirect = await control.exists(books.tree.path('redirects', cluster))
    return (
      redirect && notPossible('busy', `cluster ${cluster} is being switched: it has a redirect`)
    )
  }

  async #registered(cluster: string): Promise<Registered | NotPossible> {
    const { control, books } = this.#parts
    try {
      const { data, stat } = await control.get(books.tree.path('clusters', cluster))
      const parsed = parseRegisteredCluster(cluster, data)
      if (parsed.ok) return { kind: 'registered', metas: parsed.value.metas, version: stat.version }
      const { field, message } = parsed.problem
      const what = field === '' ? message : `${field}: ${message}`
      return notPossible('invalid-cluster', `the registry's entry of ${cluster}: ${what}`)
    } catch (error) {
      if (!isCode(error, 'no-node')) throw error
      return notPossible('no-cluster', `cluster ${cluster} is not in the registry`)
    }
  }

  /**
   * The session that reads hears of the node before it reads anything later; what it watched is read
   * again, and then the copies have it too.
   */
  async #serve(table: string): Promise<void> {
    const { data, directory, applied } = this.#parts
    await data.sync(`${this.#root}/${table}`)
    await directory.reread(table)
    await applied()
  }

  #problemOf(error: unknown): NotPossible {
    const { code, message, cause } = asApiError(error)
    if (isCode(cause, 'no-auth')) return notPossible('no-right', message)
    if (code === 'outcome-unknown' || code === 'busy') return notPossible(code, message)
    if (code === 'zookeeper-unavailable' || error instanceof ApiError)
      return notPossible('unavailable', message)
    this.#log.error('new table failed', { error })
    return notPossible('unavailable', String(error))
  }
}

function authorOf({ peer, cluster }: MappingWish): Author {
  return {
    actor: `rpc:${peer}`,
    source: 'rpc',
    from: peer.slice(0, Math.max(0, peer.lastIndexOf(':'))),
    requestId: '',
    reason: `RPC_CM_CREATE_APP on the default cluster ${cluster}`,
  }
}
