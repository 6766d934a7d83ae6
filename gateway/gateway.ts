/**
 * One gateway put together: directory, upstreams and client server on a given runtime and
 * coordinator. This is what a worker process runs, and what tests and the simulation run inside one
 * process. The admin server stands beside it (`admin/server.ts`), processes are `processes/workers.ts`.
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import type { Metrics } from '../cluster/runtime/metrics.ts'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import type { GatewayConfig } from './config.ts'
import { gatewayMetrics } from './metrics.ts'
import { GatewayServer } from './clients/server.ts'
import { TableDirectory } from './routing/table-directory.ts'
import { Upstreams } from './upstream/upstreams.ts'

export interface Gateway {
  readonly host: string
  /** The real port, also when 0 was asked for. */
  readonly port: number
  readonly directory: TableDirectory
  readonly upstreams: Upstreams
  readonly server: GatewayServer
  /** Why clients should not be sent here yet; undefined when they may. */
  readonly unreadyReason: () => string | undefined
  /** It serves, but not as it should; reasons in words. */
  readonly degradedReasons: () => readonly string[]
  /** Answers what is being worked on, then closes everything but the coordinator. Idempotent. */
  readonly close: (spreadMs?: number) => Promise<void>
}

const LINGER_MS = 5000
/** Addresses whose unknown tables are counted. */
const BUCKETS_MAX = 10_000

/** Rejects with a RuntimeError such as EADDRINUSE. The coordinator belongs to the caller. */
export async function startGateway(parts: {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly config: GatewayConfig
  readonly metrics: Metrics
}): Promise<Gateway> {
  const { runtime, coordinator, config, metrics } = parts
  const counted = gatewayMetrics(metrics)
  const { routing, limits } = config
  const directory = new TableDirectory(runtime, coordinator, counted.directory, {
    root: config.zookeeper.root,
    routesMax: routing.cache,
    negativesMax: routing.negativeCache,
    negativeTtlMs: routing.negativeTtlMs,
    lookupTimeoutMs: routing.lookupTimeoutMs,
    reconcileIntervalMs: routing.reconcileIntervalMs,
  })
  const upstreams = new Upstreams(runtime, counted.upstream, config.meta)
  const server = new GatewayServer(
    runtime,
    { routes: directory, upstreams, metrics: counted.server },
    {
      host: config.rpc.host,
      port: config.rpc.port,
      limits: {
        maxBodyBytes: limits.bodyBytes,
        maxMetaBytes: limits.metaBytes,
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
        proxyHeaderMs: limits.proxyHeaderMs,
      },
      unknownTables:
        limits.unknownTablesPerSecond === 0
          ? undefined
          : {
              perSecond: limits.unknownTablesPerSecond,
              burst: limits.unknownTablesBurst,
              maxKeys: BUCKETS_MAX,
            },
      requestTimeoutMs: config.requestTimeoutMs,
      errorsMode: config.errors.mode,
    },
  )
  exposeGauges(metrics, { directory, upstreams, server, coordinator })
  const listener = await server.listen().catch((error: unknown) => {
    directory.close()
    upstreams.close()
    throw error
  })
  let closing: Promise<void> | undefined
  const closeAll = async (spreadMs: number): Promise<void> => {
    await server.drain(spreadMs)
    directory.close()
    upstreams.close()
  }
  return {
    host: listener.host,
    port: listener.port,
    directory,
    upstreams,
    server,
    unreadyReason: () => {
      if (closing !== undefined) return 'draining'
      return coordinator.sessionEpoch() === 0 ? 'no ZooKeeper session yet' : undefined
    },
    degradedReasons: () => {
      const reasons: string[] = []
      if (coordinator.state() !== 'connected') reasons.push(`ZooKeeper ${coordinator.state()}`)
      if (directory.outage) reasons.push('mappings vanished, routes kept')
      return reasons
    },
    close: (spreadMs = 0) => {
      closing ??= closeAll(spreadMs)
      return closing
    },
  }
}

function exposeGauges(
  metrics: Metrics,
  parts: {
    readonly directory: TableDirectory
    readonly upstreams: Upstreams
    readonly server: GatewayServer
    readonly coordinator: Coordinator
  },
): void {
  const { directory, upstreams, server, coordinator } = parts
  metrics.gauge('client_connection_count', 'Client connections', () => server.connectionCount)
  metrics.gauge('gateway_inflight', 'Queries being worked on', () => server.inFlight)
  metrics.gauge('gateway_route_cache_entries', 'Tables in memory, by kind', () => [
    { labels: { kind: 'route' }, value: directory.routeCount },
    { labels: { kind: 'negative' }, value: directory.negativeCount },
  ])
  metrics.gauge('gateway_routing_epoch', 'Changes of routes so far', () => directory.epoch)
  metrics.gauge(
    'gateway_route_staleness_seconds',
    'Since the routes were last known to be current',
    () => directory.stalenessMs() / 1000,
  )
  metrics.gauge('gateway_zk_connected', 'ZooKeeper session up', () =>
    Number(coordinator.state() === 'connected'),
  )
  metrics.gauge(
    'gateway_zk_leftover_watches',
    'Watches of tables no longer in memory',
    () => directory.leftoverWatches,
  )
  metrics.gauge('gateway_meta_groups', 'Clusters talked to', () => upstreams.size)
}
