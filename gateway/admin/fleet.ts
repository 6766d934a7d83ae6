/**
 * The fleet of gateways as their ephemeral nodes tell of it (`<control_root>/gateways/<id>`), and the
 * fleet's epoch: the version of `<control_root>/epoch`, which each change of ours raises.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { Gateway, GatewayList } from './api/gateways.ts'
import type { ControlTree } from './control-tree.ts'
import { type JsonObject, stringOf, stringsOf } from './registry.ts'
import { type FolderChange, type FolderNode, WatchedFolder } from './watched-folder.ts'

export class Fleet {
  readonly #folder: WatchedFolder
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #selfId: () => string
  #epoch = 0

  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
      /** The id under which this gateway is registered. */
      readonly selfId: () => string
    },
    onChange: (change: FolderChange) => void,
  ) {
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#selfId = parts.selfId
    this.#folder = new WatchedFolder(parts.runtime, parts.coordinator, {
      path: parts.tree.path('gateways'),
      onChange,
    })
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
      .map((node) => describe(node, fleetEpoch, this.#selfId()))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    return { gateways, total: gateways.length, fleetEpoch, asOf: this.#folder.freshness() }
  }

  close(): void {
    this.#folder.close()
  }
}

function describe(node: FolderNode, fleetEpoch: number, selfId: string): Gateway {
  let value: JsonObject = {}
  try {
    value = JSON.parse(node.text) as JsonObject
  } catch {
    // A gateway of another version; its id is all that is known.
  }
  const number = (key: string): number => {
    const found = value[key]
    return typeof found === 'number' && Number.isFinite(found) ? Math.trunc(found) : 0
  }
  const startedAt = stringOf(value['startedAt'])
  const appliedEpoch = number('appliedEpoch')
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
    draining: value['draining'] === true,
  }
}
