/**
 * What serves clients in a process: their connections on one side, the clusters' metas on the other,
 * and between them routes that somebody else keeps (the process itself, or the primary of workers).
 * A reload replaces this part and nothing else (`processes/`).
 */
import type { Metrics } from '../cluster/runtime/metrics.ts'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import { ClientBook } from './clients/client-book.ts'
import { QueryWatch } from './clients/query-watch.ts'
import type { MoveOn } from './clients/client-connection.ts'
import { GatewayServer } from './clients/server.ts'
import type { GatewayConfig } from './config.ts'
import { type ServedCounts, servedCounts } from './load.ts'
import { type TableCounts, servingMetrics } from './metrics.ts'
import type { ServedTable } from './table-view.ts'
import { type OverloadLevel, OverloadSampler } from './processes/overload.ts'
import { SheddingRoutes } from './processes/shedding-routes.ts'
import type { NewTables } from './routing/new-tables.ts'
import type { Routes } from './routing/routes.ts'
import { tlsOf } from './tls-options.ts'
import { exposeUpstreams } from './upstream/upstream-gauges.ts'
import { Upstreams } from './upstream/upstreams.ts'

export interface Serving {
  readonly host: string
  /** The real port, also when 0 was asked for. */
  readonly port: number
  /** Of the TLS listener, when there is one. */
  readonly tlsPort: number | undefined
  readonly server: GatewayServer
  readonly upstreams: Upstreams
  /** Whether this process keeps up (L-7). */
  readonly overload: () => OverloadLevel
  /** For people: what this process does with a table, under its name; `records`: its queries too. */
  readonly describeTable: (table: string, process: string, records: boolean) => ServedTable
  /** What it has served until now. */
  readonly counts: () => ServedCounts
  readonly tableCounts: () => TableCounts
  /** Who asked for which table. */
  readonly clients: ClientBook
  /**
   * No further connections; answers what is being worked on and ends the connections, spread over
   * `spreadMs`, or moves them on. The routes belong to the caller. Idempotent.
   */
  readonly close: (spreadMs?: number, moveOn?: MoveOn) => Promise<void>
}

const LINGER_MS = 5000
/** Addresses whose unknown tables are counted. */
const BUCKETS_MAX = 10_000

/** Rejects with a RuntimeError such as EADDRINUSE. */
export async function startServing(parts: {
  readonly runtime: Runtime
  readonly routes: Routes
  readonly newTables: NewTables
  readonly config: GatewayConfig
  readonly metrics: Metrics
  /** Left out: one of its own. */
  readonly clients?: ClientBook
}): Promise<Serving> {
  const { runtime, config, metrics } = parts
  const { limits } = config
  const counted = servingMetrics(metrics)
  const upstreams = new Upstreams(runtime, counted.upstream, config.meta)
  const watch = new QueryWatch(runtime, config.log.querySample)
  const clients = parts.clients ?? new ClientBook(runtime.clock)
  const overload = new OverloadSampler(runtime, config.overload)
  const shed = metrics.counter(
    'gateway_shed_lookups_total',
    'Cold lookups that were refused because the process was overloaded',
  )
  const routes = new SheddingRoutes(parts.routes, {
    isShedding: () => overload.level !== 'normal',
    onShed: () => shed.add(),
  })
  const server = new GatewayServer(
    runtime,
    {
      routes,
      newTables: parts.newTables,
      upstreams,
      metrics: counted.server,
      watch,
      clients,
    },
    {
      listen: { host: config.rpc.host, port: config.rpc.port, tls: tlsOf(config) },
      limits: {
        maxBodyBytes: limits.bodyBytes,
        maxMetaBytes: limits.metaBytes,
        native: config.rpc.nativeHeader === 'on',
        maxInFlight: limits.inFlight,
        maxUnsentBytes: limits.unsentBytes,
        slowReaderMs: limits.slowReaderMs,
        frameMs: limits.frameMs,
        idleMs: limits.idleMs,
        lingerMs: LINGER_MS,
      },
      admission: {
        maxConnections: limits.connections,
        maxConnectionsPerSource: limits.connectionsPerSource,
        allowFrom: config.rpc.allowFrom,
        proxyFrom: config.rpc.proxyFrom,
        secureProxyFrom: config.tls.proxyFrom,
        proxyHeaderMs: limits.proxyHeaderMs,
        isOverloaded: () => overload.level === 'refusing',
      },
      queries: {
        requestTimeoutMs: config.requestTimeoutMs,
        errorsMode: config.errors.mode,
        coalesces: config.coalescing === 'on',
        responseCacheMs: config.responseCacheMs,
        unknownTables:
          limits.unknownTablesPerSecond === 0
            ? undefined
            : {
                perSecond: limits.unknownTablesPerSecond,
                burst: limits.unknownTablesBurst,
                maxKeys: BUCKETS_MAX,
              },
      },
      otherRpcs: {
        allow: config.rpcPolicy.allow,
        defaultCluster: config.rpcPolicy.defaultCluster,
        connectTimeoutMs: config.meta.connectTimeoutMs,
      },
    },
  )
  metrics.gauge('client_connection_count', 'Client connections', () => server.connectionCount)
  metrics.gauge('gateway_overload_level', '1: cold lookups refused, 2: connections too', () =>
    ['normal', 'shedding', 'refusing'].indexOf(overload.level),
  )
  metrics.gauge('gateway_inflight', 'Queries being worked on', () => server.inFlight)
  exposeUpstreams(metrics, upstreams)
  const listeners = await server.listen().catch((error: unknown) => {
    upstreams.close()
    overload.close()
    throw error
  })
  let closing: Promise<void> | undefined
  const closeAll = async (spreadMs: number, moveOn?: MoveOn): Promise<void> => {
    await server.drain(spreadMs, moveOn)
    upstreams.close()
    overload.close()
  }
  return {
    host: listeners.plain.host,
    port: listeners.plain.port,
    tlsPort: listeners.tls?.port,
    server,
    upstreams,
    clients,
    counts: () => servedCounts(counted.server),
    tableCounts: counted.server.tableCounts,
    overload: () => overload.level,
    describeTable: (table, process, records) => {
      const lookup = routes.find(table)
      const route = lookup?.kind === 'route' ? lookup.route : undefined
      const group = route === undefined ? undefined : upstreams.known(route)
      return {
        process,
        answer: lookup?.kind ?? 'unread',
        ...(route === undefined ? {} : { cluster: route.cluster }),
        ...(group === undefined ? {} : { metas: group.describe() }),
        queries: records ? watch.look(table) : [],
      }
    },
    close: (spreadMs = 0, moveOn) => {
      closing ??= closeAll(spreadMs, moveOn)
      return closing
    },
  }
}
