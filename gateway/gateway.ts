/**
 * One gateway put together: a directory on a given coordinator, and what serves clients from it.
 * Tests and the simulation run this inside one process; `processes/` puts the same two parts into
 * one process or several. The admin server stands beside it (`admin/server.ts`).
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import type { Metrics } from '../cluster/runtime/metrics.ts'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import { openBooks } from './admin/change-books.ts'
import { NewTableMappings } from './admin/new-table-mappings.ts'
import type { GatewayConfig } from './config.ts'
import { directoryMetrics } from './metrics.ts'
import { controlRootOf } from './routing/control-nodes.ts'
import { SnapshotKeeper } from './routing/snapshot-keeper.ts'
import { parseStalePolicy, SERVE } from './routing/staleness.ts'
import { TableDirectory } from './routing/table-directory.ts'
import { type Serving, startServing } from './serving.ts'
import { type ServedTable, type TableView, tableView } from './table-view.ts'

export interface Gateway extends Serving {
  readonly directory: TableDirectory
  /** Why clients should not be sent here yet; undefined when they may. */
  readonly unreadyReason: () => string | undefined
  /** It serves, but not as it should; reasons in words. */
  readonly degradedReasons: () => readonly string[]
  /** Answers what is being worked on, then closes everything but the coordinator. Idempotent. */
  readonly close: (spreadMs?: number) => Promise<void>
}

interface DirectoryParts {
  readonly runtime: Runtime
  /** The caller's; not closed here. */
  readonly coordinator: Coordinator
  readonly config: GatewayConfig
  readonly metrics: Metrics
}

/** Looking at a table finds it out, as a query would. */
const LOOK_MS = 5000

/** The debug view of a table (O-5); `served` asks the processes that serve clients. */
export async function viewTable(
  directory: TableDirectory,
  table: string,
  served: () => Promise<readonly ServedTable[]>,
): Promise<TableView> {
  await new Promise<void>((resolve) => directory.load(table, LOOK_MS, () => resolve()))
  return tableView(table, directory.describe(table), await served())
}

/** The directory as the configuration wants it, with its gauges. */
export function openDirectory(parts: DirectoryParts): TableDirectory {
  const { runtime, coordinator, config, metrics } = parts
  const { routing } = config
  const directory = new TableDirectory(runtime, coordinator, directoryMetrics(metrics), {
    root: config.zookeeper.root,
    controlRoot: controlRootOf(config.zookeeper),
    stale: parseStalePolicy(routing.stale) ?? SERVE,
    routesMax: routing.cache,
    negativesMax: routing.negativeCache,
    negativeTtlMs: routing.negativeTtlMs,
    lookupTimeoutMs: routing.lookupTimeoutMs,
    reconcileIntervalMs: routing.reconcileIntervalMs,
    keepOnDeleteMs: routing.keepOnDeleteMs,
  })
  exposeGauges(metrics, directory, coordinator)
  return directory
}

/** Loads what was known, when that is configured; to be closed before the directory. */
export async function openSnapshot(
  { runtime, config }: Pick<DirectoryParts, 'runtime' | 'config'>,
  directory: TableDirectory,
): Promise<SnapshotKeeper | undefined> {
  const file = config.routing.snapshotFile
  return file === undefined ? undefined : SnapshotKeeper.open(runtime, directory, file)
}

/** Rejects with a RuntimeError such as EADDRINUSE. */
export async function startGateway(parts: DirectoryParts): Promise<Gateway> {
  const directory = openDirectory(parts)
  const snapshot = await openSnapshot(parts, directory)
  const { runtime, coordinator, config } = parts
  const newTables = new NewTableMappings({
    runtime,
    data: coordinator,
    control: coordinator,
    config,
    directory,
    books: openBooks(runtime, coordinator, config, () => 'gateway'),
    applied: async () => undefined,
  })
  const serving = await startServing({ ...parts, routes: directory, newTables }).catch(
    (error: unknown) => {
      directory.close()
      throw error
    },
  )
  let closing: Promise<void> | undefined
  const closeAll = async (spreadMs: number): Promise<void> => {
    await serving.close(spreadMs)
    await snapshot?.close()
    directory.close()
  }
  return {
    ...serving,
    directory,
    unreadyReason: () => (closing === undefined ? directory.unreadyReason() : 'draining'),
    degradedReasons: () => directory.degradedReasons(),
    close: (spreadMs = 0) => {
      closing ??= closeAll(spreadMs)
      return closing
    },
  }
}

function exposeGauges(metrics: Metrics, directory: TableDirectory, coordinator: Coordinator): void {
  metrics.gauge('gateway_route_cache_entries', 'Tables in memory, by kind', () => [
    { labels: { kind: 'route' }, value: directory.routeCount },
    { labels: { kind: 'negative' }, value: directory.negativeCount },
  ])
  metrics.gauge('gateway_redirects', 'Cluster redirects in force', () => directory.redirects.size)
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
    'gateway_zk_watches',
    'Watches on mapping nodes, of tables in memory and left over',
    () => {
      const { count, leftoverCount } = directory.watches
      return [
        { labels: { kind: 'table' }, value: count - leftoverCount },
        { labels: { kind: 'leftover' }, value: leftoverCount },
      ]
    },
  )
}
