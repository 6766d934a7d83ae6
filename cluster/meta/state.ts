/**
 * What a meta leader holds in memory: tables, partitions, nodes, and the index from nodes to
 * partitions (meta-server.md 7). Values that describe the world (`Config`, `AppInfo`) are replaced
 * whole; the containers around them are changed only by this part's own files, in one synchronous
 * step. Nothing here is stored; what is stored is in `storage-tree.ts`.
 */
import type { Gpid } from '../protocol/base.ts'
import { gpidText } from '../protocol/base.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import { AppStatus } from '../protocol/layer2.ts'
import { MetaFunctionLevel } from '../protocol/meta-admin.ts'

/** A partition's configuration. Nodes are `ip:port`, '' for none. Never changed in place. */
export interface Config {
  readonly pid: Gpid
  /** Rises by exactly one per decided change; 0 before the first primary, -1 for an unborn child. */
  readonly ballot: number
  readonly maxReplicaCount: number
  readonly primary: string
  readonly secondaries: readonly string[]
  /** Oldest first, at most `lastDropsMax`. */
  readonly lastDrops: readonly string[]
  readonly lastCommittedDecree: number
  /** Bit 0: dropped. */
  readonly partitionFlags: number
}

export const lastDropsMax = 3
export const droppedFlag = 1
export const invalidBallot = -1

/** A change that was sent to the storage and is not decided yet; one per partition. */
export interface Pending {
  readonly kind: 'create' | 'update' | 'drop' | 'finish-recall'
  readonly next: Config
  /** `ConfigType`, and the node that the change is about ('' for none). */
  readonly type: number
  readonly node: string
  /** Who gets the answer; undefined when nobody asked or an override took the right to it. */
  requester: number | undefined
  /** Not sent yet: the function level holds writes back. */
  held: boolean
  /** This primary died meanwhile: it is downgraded as soon as the change is decided. */
  downgradeNext: string
}

/** A wanted change that is proposed to `target` until it is decided or becomes impossible. */
export interface Proposal {
  readonly type: number
  readonly target: string
  readonly node: string
  /** The learner was seen learning (9.6). */
  learnerSeen: boolean
  /** The learner gave up: take another one. */
  abnormal: boolean
}

/** A replica that is no member any more; decrees and ballot are -1 while unknown. */
export interface DroppedReplica {
  readonly node: string
  /** Monotonic; 0 when unknown. */
  readonly timeMs: number
  readonly ballot: number
  readonly lastCommittedDecree: number
  readonly lastPreparedDecree: number
}

export interface Partition {
  config: Config
  pending: Pending | undefined
  proposal: Proposal | undefined
  /** Ascending by (time, ballot, committed, prepared): better candidates later. */
  dropped: readonly DroppedReplica[]
  /** Index in `dropped` of the next candidate for a secondary. */
  preferredDropped: number
}

/**
 * A change of a table's node. They are stored one after the other, each computed from the table as
 * it is when its turn comes, so that none undoes another (meta-server.md 4).
 */
export type AppChange =
  | { readonly kind: 'create' }
  | { readonly kind: 'drop'; readonly dropSecond: number; readonly expireSecond: number }
  | {
      readonly kind: 'envs'
      readonly requester: number
      readonly set: ReadonlyMap<string, string>
      readonly remove: readonly string[]
      readonly hint: string
    }

export interface App {
  info: Readonly<AppInfo>
  readonly partitions: Partition[]
  /** The first one is being stored, as `storing`. */
  readonly changes: AppChange[]
  storing: Readonly<AppInfo> | undefined
  /** Partitions whose part of a create, drop or restore is not stored yet. */
  unfinished: number
  /** Who gets the answer to the create or drop that is under way. */
  requester: number | undefined
}

/** Partitions of one table on one node; `newly` are proposed and not decided. */
export interface NodeShare {
  readonly primaries: Set<number>
  /** As primary or secondary. */
  readonly partitions: Set<number>
  newlyPrimaries: number
  newlyPartitions: number
}

export interface NodeState {
  alive: boolean
  /** It has reported its replicas since it came (back). */
  collected: boolean
  readonly shares: Map<number, NodeShare>
}

/** A partition that lost all its replicas and waits for a decision (DDD). */
export interface LostPartition {
  readonly config: Config
  readonly reason: string
}

export interface MetaState {
  /** All tables, dropped ones too. */
  readonly apps: Map<number, App>
  /** Tables that own their name: creating, available, dropping. */
  readonly names: Map<string, App>
  readonly nodes: Map<string, NodeState>
  /** As configured or set by an administrator; see `effectiveLevel`. */
  level: number
  readonly lost: Map<string, LostPartition>
  /** Partitions with a pending change. */
  readonly changing: Set<Partition>
}

export function emptyState(level: number): MetaState {
  return {
    apps: new Map(),
    names: new Map(),
    nodes: new Map(),
    level,
    lost: new Map(),
    changing: new Set(),
  }
}

export function newApp(info: Readonly<AppInfo>, partitions: Partition[]): App {
  return { info, partitions, changes: [], storing: undefined, unfinished: 0, requester: undefined }
}

export function newPartition(config: Config): Partition {
  return {
    config,
    pending: undefined,
    proposal: undefined,
    dropped: [],
    preferredDropped: 0,
  }
}

export function emptyConfig(pid: Gpid, maxReplicaCount: number): Config {
  return {
    pid,
    ballot: 0,
    maxReplicaCount,
    primary: '',
    secondaries: [],
    lastDrops: [],
    lastCommittedDecree: 0,
    partitionFlags: 0,
  }
}

export function isMember(config: Config, node: string): boolean {
  return config.primary === node || config.secondaries.includes(node)
}

export function membersOf(config: Config): readonly string[] {
  return config.primary === '' ? config.secondaries : [config.primary, ...config.secondaries]
}

export function isDropped(config: Config): boolean {
  return (config.partitionFlags & droppedFlag) !== 0
}

/** Equal but for `lastDrops`; the order of secondaries does not matter. */
export function sameConfig(a: Config, b: Config): boolean {
  return (
    gpidText(a.pid) === gpidText(b.pid) &&
    a.ballot === b.ballot &&
    a.maxReplicaCount === b.maxReplicaCount &&
    a.primary === b.primary &&
    a.lastCommittedDecree === b.lastCommittedDecree &&
    sameNodes(a.secondaries, b.secondaries)
  )
}

export function sameNodes(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node))
}

/** `2@r1,[r2,r3]`: for logs and tests. */
export function configText({ ballot, primary, secondaries }: Config): string {
  return `{${ballot},${primary === '' ? '-' : primary},[${secondaries.join(',')}]}`
}

export function partitionOf(
  state: MetaState,
  pid: Gpid,
): { readonly app: App; readonly partition: Partition } | undefined {
  const app = state.apps.get(pid.appId)
  const partition = app?.partitions[pid.partitionIndex]
  return app === undefined || partition === undefined ? undefined : { app, partition }
}

export function isAlive(state: MetaState, node: string): boolean {
  return state.nodes.get(node)?.alive === true
}

export function aliveCount(state: MetaState): number {
  let count = 0
  for (const node of state.nodes.values()) if (node.alive) count++
  return count
}

/**
 * The function level after the automatic freeze (meta-server.md 11): too few live nodes, or too
 * small a part of those that this leader has seen.
 */
export function effectiveLevel(
  state: MetaState,
  limits: { readonly minLiveNodes: number; readonly nodeLivePercentage: number },
): number {
  const alive = aliveCount(state)
  const { minLiveNodes, nodeLivePercentage } = limits
  const frozen = alive < minLiveNodes || alive * 100 < nodeLivePercentage * state.nodes.size
  return frozen ? Math.min(state.level, MetaFunctionLevel.fl_freezed) : state.level
}

export function nodeStateOf(state: MetaState, node: string): NodeState {
  let known = state.nodes.get(node)
  if (known === undefined) {
    known = { alive: true, collected: false, shares: new Map() }
    state.nodes.set(node, known)
  }
  return known
}

export function shareOf(node: NodeState, appId: number): NodeShare {
  let share = node.shares.get(appId)
  if (share === undefined) {
    share = { primaries: new Set(), partitions: new Set(), newlyPrimaries: 0, newlyPartitions: 0 }
    node.shares.set(appId, share)
  }
  return share
}

/** Puts a decided configuration in place and keeps the index of nodes in step with it. */
export function applyConfig(state: MetaState, partition: Partition, next: Config): void {
  const { appId, partitionIndex } = next.pid
  for (const node of membersOf(partition.config)) {
    const share = state.nodes.get(node)?.shares.get(appId)
    share?.primaries.delete(partitionIndex)
    share?.partitions.delete(partitionIndex)
  }
  partition.config = next
  indexConfig(state, next)
}

/** Enters the members of a configuration into the index; new nodes count as alive (6.5). */
export function indexConfig(state: MetaState, config: Config): void {
  const { appId, partitionIndex } = config.pid
  for (const node of membersOf(config)) {
    const share = shareOf(nodeStateOf(state, node), appId)
    share.partitions.add(partitionIndex)
    if (node === config.primary) share.primaries.add(partitionIndex)
  }
}

export function isTableBusy(status: number): boolean {
  return status !== AppStatus.AS_AVAILABLE && status !== AppStatus.AS_DROPPED
}

/** Sentences about what must never be so (invariants C2 and C11); empty when all is well. */
export function brokenInvariants(state: MetaState): readonly string[] {
  const problems: string[] = []
  for (const app of state.apps.values())
    for (const { config } of app.partitions) {
      const where = `${gpidText(config.pid)} ${configText(config)}`
      const members = membersOf(config)
      if (new Set(members).size !== members.length) problems.push(`${where}: a member twice`)
      if (config.lastDrops.length > lastDropsMax) problems.push(`${where}: too many last drops`)
      for (const node of members) {
        if (config.lastDrops.includes(node)) problems.push(`${where}: ${node} dropped and member`)
        const share = state.nodes.get(node)?.shares.get(config.pid.appId)
        if (share?.partitions.has(config.pid.partitionIndex) !== true)
          problems.push(`${where}: ${node} lacks it`)
        if (share?.primaries.has(config.pid.partitionIndex) !== (node === config.primary))
          problems.push(`${where}: ${node} is indexed with another role`)
      }
    }
  for (const [name, node] of state.nodes)
    for (const [appId, share] of node.shares)
      for (const index of share.partitions) {
        const config = state.apps.get(appId)?.partitions[index]?.config
        if (config === undefined || !isMember(config, name))
          problems.push(`${name} is indexed for ${appId}.${index}`)
      }
  return problems
}
