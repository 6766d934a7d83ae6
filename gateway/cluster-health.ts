/**
 * The health of the clusters as this process tells it: the fleet's probes of all clusters that its
 * directory knows (`upstream/probes.ts`), as a gauge and as words for the readiness page.
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import type { Metrics } from '../cluster/runtime/metrics.ts'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import { ClusterProbes, type ProbeResult } from './upstream/probes.ts'

export interface ClusterHealth {
  /** The last verdict on each cluster, this gateway's or another one's. */
  readonly results: () => readonly ProbeResult[]
  readonly result: (cluster: string) => ProbeResult | undefined
  /** A few of the clusters that do not serve, and why. */
  readonly degradedReasons: () => readonly string[]
  readonly close: () => Promise<void>
}

const SERIES_MAX = 500
const REASONS_MAX = 5

export function watchClusters(parts: {
  readonly runtime: Runtime
  /** The session that writes; the caller's. */
  readonly control: Coordinator
  readonly controlRoot: string
  /** Of this gateway, in the fleet. */
  readonly id: string
  readonly directory: { readonly clusters: () => ReadonlyMap<string, readonly string[]> }
  readonly metrics: Metrics
  readonly intervalMs?: number
}): ClusterHealth {
  const { runtime, control, directory, metrics, ...options } = parts
  const clusters = (): ReadonlyMap<string, readonly string[]> => directory.clusters()
  const probes = new ClusterProbes(runtime, control, { ...options, clusters })
  metrics.gauge(
    'gateway_cluster_serving',
    'Whether the last probe of a cluster found its leader, and a configuration if there is a table',
    () =>
      probes
        .results()
        .slice(0, SERIES_MAX)
        .map((result) => ({
          labels: { cluster: result.cluster },
          value: Number(whyNotServing(result) === undefined),
        })),
  )
  return {
    results: () => probes.results(),
    result: (cluster) => probes.result(cluster),
    degradedReasons: () => {
      const reasons = probes.results().flatMap((result) => {
        const why = whyNotServing(result)
        return why === undefined ? [] : [`cluster ${result.cluster}: ${why}`]
      })
      if (reasons.length <= REASONS_MAX) return reasons
      return [...reasons.slice(0, REASONS_MAX), `and ${reasons.length - REASONS_MAX} clusters more`]
    },
    close: () => probes.close(),
  }
}

function whyNotServing({ leaderReachable, queryOk, error }: ProbeResult): string | undefined {
  if (leaderReachable && queryOk !== false) return undefined
  return `${leaderReachable ? 'no configuration' : 'no leader'}${error === undefined ? '' : `, ${error}`}`
}
