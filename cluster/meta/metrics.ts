/**
 * What a meta server counts. Gauges are read from the state when somebody asks.
 */
import type { MasterGrace } from '../failure-detector.ts'
import type { MetricCounter, Metrics } from '../runtime/metrics.ts'
import type { Leader } from './driver.ts'
import { writableCount } from './guardian.ts'
import { type Config, type MetaState, aliveCount, membersOf } from './state.ts'

export interface MetaCounters {
  readonly beacons: MetricCounter
  readonly updates: MetricCounter
  readonly updatesRefused: MetricCounter
}

export function metaCounters(metrics: Metrics): MetaCounters {
  return {
    beacons: metrics.counter('meta_beacons_total', 'beacons received'),
    updates: metrics.counter(
      'meta_configuration_updates_total',
      'configuration updates of replica servers that were decided',
    ),
    updatesRefused: metrics.counter(
      'meta_configuration_updates_refused_total',
      'configuration updates of replica servers that were refused',
    ),
  }
}

type PartitionHealth = 'healthy' | 'writable_ill' | 'unwritable' | 'unreadable' | 'dead'

export function healthOf(config: Config, minReplicasForWrite: number): PartitionHealth {
  const replicas = membersOf(config).length
  if (replicas === 0) return 'dead'
  if (config.primary === '') return 'unreadable'
  if (replicas < writableCount(config.maxReplicaCount, minReplicasForWrite)) return 'unwritable'
  return replicas < config.maxReplicaCount ? 'writable_ill' : 'healthy'
}

export function healthCounts(
  state: MetaState,
  minReplicasForWrite: number,
): Readonly<Record<PartitionHealth, number>> {
  const counts = { healthy: 0, writable_ill: 0, unwritable: 0, unreadable: 0, dead: 0 }
  for (const app of state.names.values())
    for (const { config } of app.partitions) counts[healthOf(config, minReplicasForWrite)]++
  return counts
}

export function exposeMeta(
  metrics: Metrics,
  parts: {
    readonly leader: () => Leader | undefined
    readonly grace: MasterGrace
    readonly pendingWrites: () => number
    readonly minReplicasForWrite: number
  },
): void {
  const { grace, pendingWrites, minReplicasForWrite } = parts
  const state = (): MetaState | undefined => parts.leader()?.state
  metrics.gauge('meta_is_leader', '1 on the leader that serves', () =>
    parts.leader()?.started === true ? 1 : 0,
  )
  metrics.gauge('meta_tables', 'tables that are not dropped', () => state()?.names.size ?? 0)
  metrics.gauge('meta_live_nodes', 'replica servers alive', () => {
    const known = state()
    return known === undefined ? 0 : aliveCount(known)
  })
  metrics.gauge(
    'meta_unstable_nodes',
    'replica servers kept out because they restart again and again',
    () => grace.unstableNodes().length,
  )
  metrics.gauge(
    'meta_lost_partitions',
    'partitions that lost all replicas and wait for a decision',
    () => state()?.lost.size ?? 0,
  )
  metrics.gauge('meta_pending_writes', 'writes that the storage has not acknowledged', () =>
    pendingWrites(),
  )
  metrics.gauge('meta_partitions', 'partitions by health', () => {
    const known = state()
    if (known === undefined) return []
    return Object.entries(healthCounts(known, minReplicasForWrite)).map(([health, value]) => ({
      labels: { health },
      value,
    }))
  })
}
