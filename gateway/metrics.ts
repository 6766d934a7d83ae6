/**
 * What a gateway process counts (gateway.md 12): the Go proxy's names kept, our own with the prefix
 * `gateway_`. Labels are bounded: a table's name becomes one only when it is mapped, and only up to
 * a limit (O-1).
 */
import type { Labels, MetricCounter, MetricHistogram, Metrics } from '../cluster/runtime/metrics.ts'
import { type Refusal, refusals } from './clients/admission.ts'
import { MetaTotalsTable } from './upstream/meta-totals.ts'

export interface DirectoryMetrics {
  readonly coalescedLookups: MetricCounter
  readonly zooKeeperReads: MetricCounter
  readonly missedWatches: MetricCounter
  readonly sessionsExpired: MetricCounter
  /** A node was read; the Go proxy's count by table. */
  readonly tableRead: (table: string, isMapped: boolean) => void
  /** Tables whose node holds no valid mapping now. */
  readonly invalid: { readonly set: (table: string, isInvalid: boolean) => void }
}

export interface UpstreamMetrics {
  /** What became of the queries to each address. */
  readonly totals: MetaTotalsTable
  /** Where the times of a cluster's answers go, in seconds; they are samples. */
  readonly durationOf: (cluster: string) => (seconds: number) => void
  readonly forwardsFollowed: MetricCounter
  readonly hedges: MetricCounter
}

export const results = [
  'relayed',
  'no-table',
  'invalid-mapping',
  'unavailable',
  'unreadable',
  'unknown-rpc',
  'limited',
] as const
export type Result = (typeof results)[number]

export interface ServerMetrics {
  readonly requests: Readonly<Record<Result, MetricCounter>>
  readonly lookups: {
    readonly hit: MetricCounter
    readonly negative: MetricCounter
    readonly miss: MetricCounter
  }
  readonly durationSeconds: MetricHistogram
  readonly rejectedFrame: (reason: string) => void
  readonly refusedConnections: Readonly<Record<Refusal, MetricCounter>>
  readonly bytesIn: MetricCounter
  readonly bytesOut: MetricCounter
  readonly tableQueried: (table: string, isMapped: boolean) => void
}

export interface ServingMetrics {
  readonly upstream: UpstreamMetrics
  readonly server: ServerMetrics
}

export interface GatewayMetrics extends ServingMetrics {
  readonly directory: DirectoryMetrics
}

const TABLE_SERIES_MAX = 500
const INVALID_SERIES_MAX = 500
const durationBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8]

/** `metric.tags` as labels of every series. */
export function tagLabels(tags: readonly string[]): Labels {
  return Object.fromEntries(tags.map((tag) => tag.split('=')))
}

export function gatewayMetrics(metrics: Metrics): GatewayMetrics {
  return { directory: directoryMetrics(metrics), ...servingMetrics(metrics) }
}

export function servingMetrics(metrics: Metrics): ServingMetrics {
  return { upstream: upstreamMetrics(metrics), server: serverMetrics(metrics) }
}

export function directoryMetrics(metrics: Metrics): DirectoryMetrics {
  const invalid = new Set<string>()
  metrics.gauge('mapping_invalid', 'Tables whose mapping node holds no valid value', () =>
    [...invalid].slice(0, INVALID_SERIES_MAX).map((table) => ({ labels: { table }, value: 1 })),
  )
  const counter = (name: string, help: string): MetricCounter =>
    metrics.counter(`gateway_${name}`, help)
  return {
    coalescedLookups: counter(
      'route_lookups_coalesced_total',
      'Lookups that joined a running read',
    ),
    zooKeeperReads: counter('zk_reads_total', 'Reads of mapping nodes'),
    missedWatches: counter('zk_missed_watch_total', 'Changes found without a watch event'),
    sessionsExpired: counter('zk_session_expired_total', 'ZooKeeper sessions lost'),
    tableRead: byTable(metrics, 'zk_request_count', 'Mapping nodes read, by table'),
    invalid: {
      set: (table, isInvalid) => {
        if (isInvalid) invalid.add(table)
        else invalid.delete(table)
      },
    },
  }
}

function upstreamMetrics(metrics: Metrics): UpstreamMetrics {
  const totals = new MetaTotalsTable()
  metrics.totals(
    'gateway_meta_requests_total',
    'Queries to meta servers, by what became of them',
    () =>
      [...totals.values()].flatMap(({ cluster, address: addr, answered, lost, timedOut }) => [
        { labels: { cluster, addr, result: 'answered' }, value: answered },
        { labels: { cluster, addr, result: 'lost' }, value: lost },
        { labels: { cluster, addr, result: 'timed-out' }, value: timedOut },
      ]),
  )
  return {
    totals,
    durationOf: (cluster) =>
      metrics.histogram(
        'gateway_meta_request_duration_seconds',
        'From a query to its answer by a meta server, sampled',
        durationBuckets,
        { cluster: totals.clusterLabel(cluster) },
      ).observe,
    forwardsFollowed: metrics.counter(
      'gateway_meta_forward_followed_total',
      'Forwards to another meta server that were followed',
    ),
    hedges: metrics.counter(
      'gateway_meta_hedges_total',
      'Queries repeated at the other metas because the first one was silent',
    ),
  }
}

function serverMetrics(metrics: Metrics): ServerMetrics {
  const requests = Object.fromEntries(
    results.map((result) => [
      result,
      metrics.counter('gateway_requests_total', 'Requests answered, by result', { result }),
    ]),
  ) as Record<Result, MetricCounter>
  const refusedConnections = Object.fromEntries(
    refusals.map((reason) => [
      reason,
      metrics.counter('gateway_connections_rejected_total', 'Connections not let in, by reason', {
        reason,
      }),
    ]),
  ) as Record<Refusal, MetricCounter>
  const lookup = (result: string): MetricCounter =>
    metrics.counter('gateway_route_lookups_total', 'Route lookups, by result', { result })
  return {
    requests,
    lookups: { hit: lookup('hit'), negative: lookup('negative'), miss: lookup('miss') },
    durationSeconds: metrics.histogram(
      'gateway_request_duration_seconds',
      'From a whole request to its answer',
      durationBuckets,
    ),
    rejectedFrame: (reason) =>
      metrics
        .counter(
          'gateway_frames_rejected_total',
          'Connections ended for what came, or did not come, on them, by reason',
          { reason },
        )
        .add(),
    refusedConnections,
    bytesIn: metrics.counter('gateway_received_bytes_total', 'Bytes from clients'),
    bytesOut: metrics.counter('gateway_sent_bytes_total', 'Bytes to clients'),
    tableQueried: byTable(metrics, 'client_query_config_count', 'Configuration queries, by table'),
  }
}

/** A counter with the label `table`, for mapped tables up to a limit (O-1). */
function byTable(
  metrics: Metrics,
  name: string,
  help: string,
): (table: string, isMapped: boolean) => void {
  const tables = new Map<string, MetricCounter>()
  const unknown = metrics.counter(name, help, { table: '__unknown__' })
  const other = metrics.counter(name, help, { table: '__other__' })
  return (table, isMapped) => {
    let counter = isMapped ? tables.get(table) : unknown
    if (counter === undefined) {
      const isFull = tables.size >= TABLE_SERIES_MAX
      counter = isFull ? other : metrics.counter(name, help, { table })
      if (!isFull) tables.set(table, counter)
    }
    counter.add()
  }
}
