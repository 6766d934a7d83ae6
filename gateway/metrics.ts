/**
 * What a gateway process counts (gateway.md 12): the Go proxy's names kept, our own with the prefix
 * `gateway_`. Labels are bounded: a table's name becomes one only when it is mapped, and only up to
 * a limit (O-1).
 */
import { Rpc, rpcByName } from '../cluster/protocol/rpc-codes.ts'
import type {
  Labels,
  LoopDelays,
  MetricCounter,
  MetricHistogram,
  Metrics,
} from '../cluster/runtime/metrics.ts'
import { type Refusal, refusals } from './clients/admission.ts'
import { MetaTotalsTable } from './upstream/meta-totals.ts'

/** By name, each on or off. */
export interface Alarms {
  readonly set: (name: string, isOn: boolean) => void
}

export interface DirectoryMetrics {
  readonly coalescedLookups: MetricCounter
  readonly zooKeeperReads: MetricCounter
  readonly missedWatches: MetricCounter
  readonly sessionsExpired: MetricCounter
  /** A node was read; the Go proxy's count by table. */
  readonly tableRead: (table: string, isMapped: boolean) => void
  /** Tables whose node holds no valid mapping now. */
  readonly invalid: Alarms
  /** Nodes of the control tree that hold no valid value now, such as `groups/g1`. */
  readonly controlInvalid: Alarms
  /** Clusters whose redirect cannot be applied now. */
  readonly redirectRefused: Alarms
}

export interface UpstreamMetrics {
  /** What became of the queries to each address. */
  readonly totals: MetaTotalsTable
  /** Where the times of a cluster's answers go, in seconds; they are samples. */
  readonly durationOf: (cluster: string) => (seconds: number) => void
  readonly forwardsFollowed: MetricCounter
  readonly hedges: MetricCounter
}

/** What became of a configuration query. */
export const results = [
  'relayed',
  'no-table',
  'invalid-mapping',
  'unavailable',
  'unreadable',
  'limited',
] as const
export type Result = (typeof results)[number]

/** How a request was framed: a Thrift header of version 0 or 1, or the native header. */
export type HeaderVersion = 0 | 1 | 'native'

/** Of queries with one header version: found with the request, then one field away. */
export type QueryCounts = Readonly<Record<Result, MetricCounter>> & {
  readonly version: HeaderVersion
}

export interface ServerMetrics {
  readonly queries: Readonly<Record<HeaderVersion, QueryCounts>>
  readonly durationSeconds: Readonly<Record<Result, MetricHistogram>>
  /** A request for another RPC; names that do not exist count as one. */
  readonly otherRequest: (rpc: string, result: string, version: HeaderVersion) => void
  readonly lookups: {
    readonly hit: MetricCounter
    readonly negative: MetricCounter
    readonly miss: MetricCounter
    /** Answered from memory while ZooKeeper could not confirm it. */
    readonly stale: MetricCounter
  }
  /** Queries that shared another one's round, and those answered from memory. */
  readonly coalesced: MetricCounter
  readonly cached: MetricCounter
  readonly rejectedFrame: (reason: string) => void
  readonly refusedConnections: Readonly<Record<Refusal, MetricCounter>>
  readonly bytesIn: MetricCounter
  readonly bytesOut: MetricCounter
  /** Counts the queries of a mapped table; to be kept, finding it costs more than counting. */
  readonly tableQueries: (table: string) => MetricCounter
  readonly unmappedQueries: MetricCounter
  readonly tableCounts: () => TableCounts
}

/** Queries of each mapped table so far. */
export interface TableCounts {
  readonly tables: readonly (readonly [table: string, queries: number])[]
  /** There were more tables than are counted apart. */
  readonly isShort: boolean
}

export interface ServingMetrics {
  readonly upstream: UpstreamMetrics
  readonly server: ServerMetrics
}

export interface GatewayMetrics extends ServingMetrics {
  readonly directory: DirectoryMetrics
}

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const TABLE_SERIES_MAX = 500
const ALARM_SERIES_MAX = 500
/** Upper bounds, in seconds. */
export const durationBuckets = [
  0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8,
]

/** How late the event loop was at worst since the last reading; others may read it besides. */
export function exposeEventLoopLag(metrics: Metrics): LoopDelays {
  return metrics.eventLoopLag(
    'gateway_eventloop_lag_seconds',
    'How late the event loop was at worst since the last reading',
  )
}

/** 0 for ever where the process itself serves. */
export function workerRestarts(metrics: Metrics): MetricCounter {
  return metrics.counter(
    'gateway_worker_restarts_total',
    'Workers that died and were started again',
  )
}

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
  const counter = (name: string, help: string): MetricCounter =>
    metrics.counter(`gateway_${name}`, help)
  const reads = byTable(metrics, 'zk_request_count', 'Mapping nodes read, by table')
  return {
    coalescedLookups: lookupCounters(metrics)('coalesced'),
    zooKeeperReads: counter('zk_reads_total', 'Reads of mapping nodes'),
    missedWatches: counter('zk_missed_watch_total', 'Changes found without a watch event'),
    sessionsExpired: counter('zk_session_expired_total', 'ZooKeeper sessions lost'),
    tableRead: (table, isMapped) => reads.counter(table, isMapped).add(),
    invalid: alarms(metrics, {
      name: 'gateway_mapping_invalid',
      help: 'Tables whose mapping node holds no valid value',
      label: 'table',
    }),
    controlInvalid: alarms(metrics, {
      name: 'gateway_control_invalid',
      help: 'Nodes of the control tree that hold no valid value',
      label: 'node',
    }),
    redirectRefused: alarms(metrics, {
      name: 'gateway_redirect_refused',
      help: 'Clusters whose redirect cannot be applied',
      label: 'source',
    }),
  }
}

/** A series with value 1 for each alarm that is on. */
function alarms(
  metrics: Metrics,
  { name, help, label }: { readonly name: string; readonly help: string; readonly label: string },
): Alarms {
  const on = new Set<string>()
  metrics.gauge(name, help, () =>
    [...on].slice(0, ALARM_SERIES_MAX).map((key) => ({ labels: { [label]: key }, value: 1 })),
  )
  return {
    set: (key, isOn) => {
      if (isOn) on.add(key)
      else on.delete(key)
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
  const requests = metrics.counters(
    'gateway_requests_total',
    'Requests answered, by RPC, result and header version',
    'rpc',
    'result',
    'header_version',
  )
  const queries = byTable(metrics, 'client_query_config_count', 'Configuration queries, by table')
  const queryCounts = (version: HeaderVersion): QueryCounts => ({
    ...byResult((result) => requests(QUERY, result, String(version))),
    version,
  })
  const lookups = lookupCounters(metrics)
  const bytes = metrics.counters('gateway_bytes_total', 'Bytes from and to clients', 'dir')
  const frames = metrics.counters(
    'gateway_frames_rejected_total',
    'Connections ended for what came, or did not come, on them, by reason',
    'reason',
  )
  const refusedConnections = Object.fromEntries(
    refusals.map((reason) => [
      reason,
      metrics.counter('gateway_connections_rejected_total', 'Connections not let in, by reason', {
        reason,
      }),
    ]),
  ) as Record<Refusal, MetricCounter>
  return {
    queries: { 0: queryCounts(0), 1: queryCounts(1), native: queryCounts('native') },
    durationSeconds: byResult((result) =>
      metrics.histogram(
        'gateway_request_duration_seconds',
        'From a whole configuration query to its answer',
        durationBuckets,
        { result },
      ),
    ),
    otherRequest: (rpc, result, version) =>
      requests(rpcByName(rpc) === undefined ? '__unknown__' : rpc, result, String(version)).add(),
    lookups: {
      hit: lookups('hit'),
      negative: lookups('negative'),
      miss: lookups('miss'),
      stale: lookups('stale'),
    },
    coalesced: metrics.counter(
      'gateway_coalesced_total',
      'Queries that shared the round of another',
    ),
    cached: metrics.counter('gateway_cached_answers_total', 'Queries answered from memory'),
    rejectedFrame: (reason) => frames(reason).add(),
    refusedConnections,
    bytesIn: bytes('in'),
    bytesOut: bytes('out'),
    tableQueries: (table) => queries.counter(table, true),
    unmappedQueries: queries.counter('', false),
    tableCounts: queries.counts,
  }
}

function byResult<T>(make: (result: Result) => T): Readonly<Record<Result, T>> {
  return Object.fromEntries(results.map((result) => [result, make(result)])) as Record<Result, T>
}

function lookupCounters(metrics: Metrics): (result: string) => MetricCounter {
  return metrics.counters('gateway_route_lookups_total', 'Route lookups, by result', 'result')
}

/** Counters with the label `table`, for mapped tables up to a limit (O-1). */
function byTable(
  metrics: Metrics,
  name: string,
  help: string,
): {
  readonly counter: (table: string, isMapped: boolean) => MetricCounter
  readonly counts: () => TableCounts
} {
  const tables = new Map<string, MetricCounter>()
  const unknown = metrics.counter(name, help, { table: '__unknown__' })
  const other = metrics.counter(name, help, { table: '__other__' })
  return {
    counter: (table, isMapped) => {
      let counter = isMapped ? tables.get(table) : unknown
      if (counter === undefined) {
        const isFull = tables.size >= TABLE_SERIES_MAX
        counter = isFull ? other : metrics.counter(name, help, { table })
        if (!isFull) tables.set(table, counter)
      }
      return counter
    },
    counts: () => ({
      tables: [...tables].map(([table, counter]) => [table, counter.value()] as const),
      isShort: other.value() > 0,
    }),
  }
}
