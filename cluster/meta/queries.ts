/**
 * Lookups that a leader answers from memory: the partition table that every client asks for, lists
 * of tables and nodes, facts about the cluster (meta-server.md 13.1, 13.5, 16). Pure; nothing here
 * changes the state or waits for the storage.
 */
import { AppStatus, type QueryCfgRequest, type QueryCfgResponse } from '../protocol/layer2.ts'
import {
  type ConfigurationListAppsRequest,
  type ConfigurationListAppsResponse,
  MetaFunctionLevel,
} from '../protocol/meta-admin.ts'
import { PatternMatchType } from '../protocol/pattern-match.ts'
import type { MetaState } from './state.ts'
import { busyError } from './tables.ts'
import { type HostNames, configToWire } from './wire.ts'

export function noTable(err: string): QueryCfgResponse {
  return { err, appId: 0, partitionCount: 0, isStateful: false, partitions: [] }
}

/** With `names` the answer carries `hp_*` fields. */
export function queryConfig(
  state: MetaState,
  { appName, partitionIndices }: QueryCfgRequest,
  names: HostNames | undefined,
): QueryCfgResponse {
  const app = state.names.get(appName)
  if (app === undefined) return noTable('ERR_OBJECT_NOT_FOUND')
  const busy = busyError(app.info.status)
  if (busy !== 'ERR_OK') return noTable(busy)
  const asked = partitionIndices.flatMap((index) => app.partitions[index] ?? [])
  const partitions = asked.length === 0 ? app.partitions : asked
  return {
    err: 'ERR_OK',
    appId: app.info.appId,
    partitionCount: app.info.partitionCount,
    isStateful: app.info.isStateful,
    partitions: partitions.map(({ config }) => configToWire(config, names)),
  }
}

type NameTest = (name: string) => boolean

function nameTest(pattern: string, matchType: number): NameTest | undefined {
  switch (matchType) {
    case PatternMatchType.PMT_MATCH_ALL:
      return () => true
    case PatternMatchType.PMT_MATCH_EXACT:
      return (name) => name === pattern
    case PatternMatchType.PMT_MATCH_ANYWHERE:
      return (name) => name.includes(pattern)
    case PatternMatchType.PMT_MATCH_PREFIX:
      return (name) => name.startsWith(pattern)
    case PatternMatchType.PMT_MATCH_POSTFIX:
      return (name) => name.endsWith(pattern)
    default:
      return undefined
  }
}

/** The pattern counts only when both of its fields are there. Dropped tables are listed too. */
export function listApps(
  state: MetaState,
  { status, appNamePattern, matchType }: ConfigurationListAppsRequest,
): ConfigurationListAppsResponse {
  let matches: NameTest = () => true
  if (appNamePattern !== undefined && matchType !== undefined) {
    const test = nameTest(appNamePattern, matchType)
    if (test === undefined)
      return {
        err: 'ERR_NOT_IMPLEMENTED',
        infos: [],
        hintMessage: `match type ${matchType} is not supported`,
      }
    matches = test
  }
  const infos = [...state.apps.values()]
    .map(({ info }) => info)
    .filter((info) => status === AppStatus.AS_INVALID || info.status === status)
    .filter((info) => matches(info.appName))
    .toSorted((a, b) => a.appId - b.appId)
  return { err: 'ERR_OK', infos }
}

const levelNames = new Map<number, string>(
  Object.entries(MetaFunctionLevel).map(([name, level]) => [level, name.replace(/^fl_/, '')]),
)

export function levelName(level: number): string {
  return levelNames.get(level) ?? String(level)
}

export function isLevel(level: number): boolean {
  return levelNames.has(level)
}

/** Two decimals; over the nodes that this leader knows as alive. */
function deviation(counts: readonly number[]): string {
  if (counts.length === 0) return '0.00'
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
  const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / counts.length
  return Math.sqrt(variance).toFixed(2)
}

export interface ClusterFacts {
  readonly metaServers: readonly string[]
  readonly leader: string
  readonly zookeeperHosts: string
  readonly zookeeperRoot: string
  readonly clusterName: string
}

/** Keys and values in upstream's order; tools read them by key. */
export function clusterInfo(
  state: MetaState,
  facts: ClusterFacts,
): readonly (readonly [string, string])[] {
  const alive = [...state.nodes.values()].filter((node) => node.alive)
  const counts = (of: 'primaries' | 'partitions'): number[] =>
    alive.map((node) => [...node.shares.values()].reduce((sum, share) => sum + share[of].size, 0))
  return [
    ['meta_servers', facts.metaServers.join(',')],
    ['primary_meta_server', facts.leader],
    ['zookeeper_hosts', facts.zookeeperHosts],
    ['zookeeper_root', facts.zookeeperRoot],
    ['meta_function_level', levelName(state.level)],
    // There is no balancer yet, so no move is ever pending.
    ['balance_operation_count', '{"move_pri":0,"copy_pri":0,"copy_sec":0,"total":0}'],
    ['primary_replica_count_stddev', deviation(counts('primaries'))],
    ['total_replica_count_stddev', deviation(counts('partitions'))],
    ['cluster_name', facts.clusterName],
  ]
}
