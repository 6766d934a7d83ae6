/**
 * The Go proxy's configuration file (meta-proxy: config/config.go), taken as it is: recognised by its
 * `zookeeper.address`, which ours has not, and put in our form. Pure.
 *
 *     zookeeper: {address: [host:port, …], root: /path, timeout: ms, table_watcher_cache_capacity: n}
 *     metric: {type: prometheus | falcon, tags: [name=value, …]}
 *
 * Keys are compared without regard to case and lists may be texts with commas, as its reader does.
 * What it has built in is kept as well: port 34601 on every address, and with `prometheus` a metrics
 * page on port 9091. Keys that it does not know stay, and are refused as everywhere.
 */
import type { Translation } from '../cluster/runtime/config.ts'

type Fields = Readonly<Record<string, unknown>>

const GO_METRICS_PORT = 9091
/** No ZooKeeper with its usual tick grants less; the Go proxy gets this too when it asks for less. */
const SESSION_MS_MIN = 2000

export function translateGoProxyConfig(root: unknown): Translation | undefined {
  const file = fieldsOf(root)
  const zookeeper = fieldsOf(file?.['zookeeper'])
  if (file === undefined || zookeeper === undefined || !('address' in zookeeper)) return undefined
  const { zookeeper: _, metric: metricSection, ...others } = file
  const { address, root: tables, timeout, table_watcher_cache_capacity, ...strange } = zookeeper
  const metric = fieldsOf(metricSection) ?? {}
  const { type, tags, ...strangeMetric } = metric
  return {
    root: {
      ...others,
      zookeeper: {
        ...strange,
        servers: Array.isArray(address) ? address.join(',') : address,
        // Without one it would look for tables below '/': never meant, so it must be given.
        root: typeof tables === 'string' ? tables.replace(/(?<=.)\/+$/, '') : (tables ?? ''),
        sessionTimeoutMs: typeof timeout === 'number' ? Math.max(SESSION_MS_MIN, timeout) : timeout,
      },
      routing: { cache: table_watcher_cache_capacity },
      metric: { ...strangeMetric, tags },
      ...(type === 'prometheus' ? { health: { host: '0.0.0.0', port: GO_METRICS_PORT } } : {}),
    },
    cameFrom: {
      'zookeeper.servers': 'zookeeper.address',
      'zookeeper.sessionTimeoutMs': 'zookeeper.timeout',
      'routing.cache': 'zookeeper.table_watcher_cache_capacity',
      'health.host': 'metric.type',
      'health.port': 'metric.type',
    },
    notes: notesOf(timeout, type),
  }
}

/** Also of keys written with capitals, which its reader takes. */
function fieldsOf(value: unknown): Fields | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.toLowerCase(), inner]))
}

function notesOf(timeout: unknown, type: unknown): readonly string[] {
  const notes = ["the file has the Go proxy's form; --help lists all options"]
  if (typeof timeout === 'number' && timeout < SESSION_MS_MIN)
    notes.push(`zookeeper.timeout ${timeout}: ${SESSION_MS_MIN} ms are asked for`)
  if (type !== undefined && type !== 'prometheus')
    notes.push(
      `metric.type ${JSON.stringify(type)}: nothing is pushed; the metrics are on the http port`,
    )
  return notes
}
