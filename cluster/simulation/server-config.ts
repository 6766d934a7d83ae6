/** The plan of a run in the words of the servers' own configurations, checked by their schemas. */
import { metaConfigSchema, type MetaConfig } from '../meta/config.ts'
import { replicaConfig, type ReplicaConfig } from '../replica/config.ts'
import { loadConfig, type AnySection, type ConfigOf } from '../runtime/config.ts'
import type { ClusterPlan } from './cluster-plan.ts'

export const clusterRoot = '/pegasus/simulated'

interface Place {
  readonly ip: string
  readonly port: number
  readonly metaServers: readonly string[]
}

function failureDetector(plan: ClusterPlan): Readonly<Record<string, number>> {
  const { beaconMs, checkMs, leaseMs, graceMs } = plan
  return { beacon: beaconMs, check: checkMs, lease: leaseMs, grace: graceMs }
}

/** A configuration that the schema refuses is a mistake of the simulation. */
function load<Schema extends AnySection>(schema: Schema, values: unknown): ConfigOf<Schema> {
  const loaded = loadConfig(schema, {
    fileText: JSON.stringify(values),
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: {},
  })
  if (!loaded.ok) throw new Error(`simulated configuration: ${loaded.problems.join('; ')}`)
  return loaded.config
}

export function metaConfigOf(plan: ClusterPlan, { ip, port, metaServers }: Place): MetaConfig {
  return load(metaConfigSchema, {
    clusterName: 'simulated',
    metaServers,
    rpc: { host: ip, port },
    zookeeper: { root: clusterRoot, sessionTimeout: plan.sessionTimeoutMs },
    failureDetector: failureDetector(plan),
    meta: {
      minLiveNodes: 1,
      nodeLivePercentage: 0,
      unstableNodeFilter: false,
      checkRound: plan.checkRoundMs,
      restoreAllowance: 100,
      assignDelay: plan.assignDelayMs,
      minReplicasForWrite: 2,
    },
  })
}

export function replicaConfigOf(
  plan: ClusterPlan,
  { ip, port, metaServers }: Place,
): ReplicaConfig {
  return load(replicaConfig, {
    clusterName: 'simulated',
    rpc: { host: ip, port },
    metaServers,
    dataDirectory: '/data',
    failureDetector: failureDetector(plan),
    mutationLog: { segmentBytes: plan.segmentBytes, reserveBytes: 2 * plan.segmentBytes },
    replica: {
      minReplicasForWrite: 2,
      prepareTimeout: plan.prepareTimeoutMs,
      learnerPrepareTimeout: plan.prepareTimeoutMs,
      stalenessMax: plan.stalenessMax,
      prepareListMax: plan.prepareListMax,
      groupCheck: plan.groupCheckMs,
      configSync: plan.configSyncMs,
      metaRetry: 50,
      metaTimeout: 200,
      learnRetry: 100,
      learnAnswerBytes: plan.learnAnswerBytes,
      inactiveKeep: 20_000,
      garbageKeep: 20_000,
      syncInterval: plan.syncIntervalMs,
    },
  })
}
