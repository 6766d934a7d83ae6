/** The state of the meta groups as gauges (gateway.md 12), read when somebody asks. */
import type { GaugeReading, Metrics } from '../../cluster/runtime/metrics.ts'
import type { BreakerState } from './breaker.ts'
import type { Upstreams } from './upstreams.ts'

const SERIES_MAX = 500
const breakerValues: Readonly<Record<BreakerState, number>> = { closed: 0, 'half-open': 1, open: 2 }

export function exposeUpstreams(metrics: Metrics, upstreams: Upstreams): void {
  metrics.gauge('gateway_meta_groups', 'Clusters talked to', () => upstreams.size)
  metrics.gauge('gateway_meta_leader', 'Who leads a cluster: always 1', () => leaders(upstreams))
  metrics.gauge(
    'gateway_breaker_state',
    'Circuit breaker of a meta server: 0 closed, 1 half open, 2 open',
    () => breakers(upstreams),
  )
}

function leaders(upstreams: Upstreams): GaugeReading {
  // Two groups may have the same cluster's name, with other metas.
  const known = new Map<string, { cluster: string; addr: string }>()
  for (const { cluster, leader: addr } of upstreams.groups())
    if (addr !== undefined) known.set(`${cluster} ${addr}`, { cluster, addr })
  return [...known.values()].slice(0, SERIES_MAX).map((labels) => ({ labels, value: 1 }))
}

/** An address may be in several groups: the worst state counts. */
function breakers(upstreams: Upstreams): GaugeReading {
  const states = new Map<string, number>()
  for (const group of upstreams.groups())
    for (const { address, state } of group.breakers())
      states.set(address, Math.max(states.get(address) ?? 0, breakerValues[state]))
  return [...states].slice(0, SERIES_MAX).map(([addr, value]) => ({ labels: { addr }, value }))
}
