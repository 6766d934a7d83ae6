/**
 * The fleet of gateways as their ephemeral nodes tell of it (`<control_root>/gateways/<id>`), the
 * fleet's epoch: the version of `<control_root>/epoch`, which each change of ours raises, and the wishes
 * of operators that a gateway be left by its clients (`drains/<id>`).
 */
import { Check } from 'typebox/value'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { type Gateway, GatewayLoad, type GatewayList } from './api/gateways.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import type { Author, Journal } from './journal.ts'
import { ApiError } from './problem.ts'
import { objectOf, stringOf, stringsOf } from './registry.ts'
import { type FolderChange, type FolderNode, WatchedFolder } from './watched-folder.ts'

export class Fleet {
  readonly #folder: WatchedFolder
  readonly #drains: WatchedFolder
  readonly #wallMs: () => number
  readonly #journal: Journal
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #selfId: () => string
  #epoch = 0

  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
      readonly journal: Journal
      /** The id under which this gateway is registered. */
      readonly selfId: () => string
    },
    onChange: (change: FolderChange) => void,
  ) {
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#selfId = parts.selfId
    this.#journal = parts.journal
    this.#wallMs = () => parts.runtime.clock.wallMs()
    this.#folder = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path('gateways'),
      onChange: (change) => {
        if (isMoreThanFigures(change)) onChange(change)
      },
    })
    this.#drains = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path('drains'),
      // Another wish is a change of the gateway.
      onChange: ({ name, isFirst }) => {
        const node = this.#folder.get(name)
        if (node !== undefined) onChange({ name, before: node, after: node, isFirst })
      },
    })
  }

  /** In the order of the ids. */
  ids(): readonly string[] {
    return [...this.#folder.nodes()].map(({ name }) => name).toSorted()
  }

  /** Asked of ZooKeeper; the last one known when it does not answer. */
  async epoch(): Promise<number> {
    try {
      this.#epoch = (await this.#coordinator.exists(this.#tree.path('epoch')))?.version ?? 0
    } catch {
      // The answer says how old it is.
    }
    return this.#epoch
  }

  async list(): Promise<GatewayList> {
    const fleetEpoch = await this.epoch()
    const gateways = [...this.#folder.nodes()]
      .map((node) => this.#describe(node, fleetEpoch))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    return { gateways, total: gateways.length, fleetEpoch, asOf: this.#folder.freshness() }
  }

  /** Throws `not-found` for one that is not there now. */
  async get(id: string): Promise<Gateway> {
    const node = this.#folder.get(id)
    if (node === undefined) throw new ApiError('not-found', `no gateway ${id} in the fleet now`)
    return this.#describe(node, await this.epoch())
  }

  /** Makes the wish or takes it away, with its audit entry; nothing when it is so already. */
  async wishDrain(author: Author, id: string, isWished: boolean): Promise<Gateway> {
    await this.get(id)
    const path = this.#tree.path('drains', id)
    await this.#journal.commit(author, async (_firstSeq, at) => {
      const before = await this.#read(path)
      if ((before !== undefined) === isWished)
        return { operations: [], entries: [], raisesEpoch: false }
      const { actor, reason } = author
      const text = JSON.stringify({ actor, at, ...(reason === undefined ? {} : { reason }) })
      const entry = { kind: 'gateway', name: id }
      return {
        operations: [
          isWished ? { type: 'create', path, data: Buffer.from(text) } : { type: 'remove', path },
        ],
        entries: [
          isWished
            ? { ...entry, action: 'drain', before: null, after: text }
            : { ...entry, action: 'resume', before: before ?? null, after: null },
        ],
        raisesEpoch: false,
      }
    })
    await this.#drains.refresh(id).catch(() => undefined)
    return this.get(id)
  }

  async #read(path: string): Promise<string | undefined> {
    try {
      return (await this.#coordinator.get(path)).data.toString('utf8')
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
  }

  /** Removes the wishes of gateways that have been gone for an hour. */
  async tidy(): Promise<void> {
    const oldestMs = this.#wallMs() - GONE_MS
    for (const { name, stat } of this.#drains.nodes())
      if (this.#folder.get(name) === undefined && stat.modifiedWallMs < oldestMs)
        await this.#coordinator.remove(this.#tree.path('drains', name), stat.version)
  }

  #describe(node: FolderNode, fleetEpoch: number): Gateway {
    return describe(node, {
      fleetEpoch,
      selfId: this.#selfId(),
      drain: this.#drains.get(node.name),
    })
  }

  close(): void {
    this.#folder.close()
    this.#drains.close()
  }
}

const GONE_MS = 3_600_000

/** Numbers of a busy fleet move all the time: who wants them asks for them now and then. */
function isMoreThanFigures({ before, after }: FolderChange): boolean {
  if (before === undefined || after === undefined) return true
  const [was, is] = [before, after].map(({ text }) =>
    JSON.stringify({ ...objectOf(text), load: 0, connections: 0 }),
  )
  return was !== is
}

/** Another tool may have put anything there; that somebody wants it is clear. */
function wishOf({ text, stat }: FolderNode): NonNullable<Gateway['drain']> {
  const value = objectOf(text)
  const reason = stringOf(value['reason'])
  return {
    actor: stringOf(value['actor']) ?? 'unknown',
    at: new Date(stat.createdWallMs).toISOString(),
    ...(reason === undefined ? {} : { reason }),
  }
}

function describe(
  node: FolderNode,
  at: {
    readonly fleetEpoch: number
    readonly selfId: string
    readonly drain: FolderNode | undefined
  },
): Gateway {
  const { fleetEpoch, selfId, drain } = at
  // Nothing in it: a gateway of another version, whose id is all that is known.
  const value = objectOf(node.text)
  const number = (key: string): number => {
    const found = value[key]
    return typeof found === 'number' && Number.isFinite(found) ? Math.trunc(found) : 0
  }
  const startedAt = stringOf(value['startedAt'])
  const appliedEpoch = number('appliedEpoch')
  const { load } = value
  const configHash = stringOf(value['configHash'])
  return {
    id: node.name,
    self: node.name === selfId,
    version: stringOf(value['version']) ?? '',
    ...(startedAt === undefined ? {} : { startedAt }),
    host: stringOf(value['host']) ?? '',
    rpc: [...stringsOf(value['rpc'])],
    http: stringOf(value['http']) ?? '',
    workers: number('workers'),
    appliedEpoch,
    behind: Math.max(0, fleetEpoch - appliedEpoch),
    routingEpoch: number('routingEpoch'),
    zookeeper: stringOf(value['zookeeper']) ?? 'unknown',
    connections: number('connections'),
    ...(Check(GatewayLoad, load) ? { load } : {}),
    ...(configHash === undefined ? {} : { configHash }),
    draining: value['draining'] === true,
    ...(drain === undefined ? {} : { drain: wishOf(drain) }),
  }
}
