/**
 * What a onebox consists of: from the flags to the list of servers with their ports, folders and
 * configuration files. Pure. The ports and defaults are product.md's ("Onebox").
 */
import { parseArgs } from 'node:util'

export interface TableWish {
  readonly name: string
  readonly partitionCount: number
}

export interface OneboxOptions {
  readonly host: string
  readonly portBase: number
  readonly clusterCount: number
  readonly metaCount: number
  readonly replicaCount: number
  readonly dataDirectory: string
  readonly fresh: boolean
  /** A connection string of a real ZooKeeper instead of the embedded one. */
  readonly zookeeper: string | undefined
  readonly gatewayWorkers: number
  readonly supervise: boolean
  readonly hostPortFields: boolean
  readonly tables: readonly TableWish[]
}

export type ServerRole = 'zookeeper' | 'meta' | 'replica' | 'gateway'

export interface PlannedServer {
  /** Such as `alpha-replica-1`. */
  readonly name: string
  readonly role: ServerRole
  /** Absent for servers that belong to no cluster. */
  readonly cluster?: string
  /** `host:port` of the protocol that its clients speak. */
  readonly rpc: string
  /** `host:port` of health, metrics and admin; ZooKeeper has none. */
  readonly http?: string
  readonly dataDirectory?: string
  /** The file that `metaproxy ROLE --config` is given. */
  readonly config: Readonly<Record<string, unknown>>
}

export interface OneboxPlan {
  readonly servers: readonly PlannedServer[]
  readonly zookeeper: string
  readonly gateway: string
  readonly admin: string
  /** First is the cluster that new tables are created on. */
  readonly clusters: readonly { readonly name: string; readonly metas: readonly string[] }[]
}

export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const clusterPorts = [
  { name: 'alpha', meta: 11, replica: 21 },
  { name: 'beta', meta: 31, replica: 41 },
] as const

export const mappingRoot = '/metaproxy/tables'

function wholeNumber(flag: string, text: string, low: number, high: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < low || value > high)
    throw new UsageError(`--${flag} ${text}: expected a whole number from ${low} to ${high}`)
  return value
}

function tableWish(text: string): TableWish {
  const [, name = '', count = ''] = /^([^:]+):(\d+)$/.exec(text) ?? []
  if (!/^[A-Za-z0-9._-]{1,255}$/.test(name))
    throw new UsageError(`--table ${text}: expected NAME:PARTITIONS, such as orders:8`)
  const partitionCount = wholeNumber('table', count, 2, 1024)
  if ((partitionCount & (partitionCount - 1)) !== 0)
    throw new UsageError(
      `--table ${text}: the partition count must be a power of two, or Go clients refuse the table`,
    )
  return { name, partitionCount }
}

/** Throws UsageError with one line that names the flag. */
export function parseOneboxFlags(words: readonly string[]): OneboxOptions {
  let values
  try {
    values = parseArgs({
      args: [...words],
      options: {
        host: { type: 'string', default: '127.0.0.1' },
        'port-base': { type: 'string', default: '34600' },
        clusters: { type: 'string', default: '2' },
        metas: { type: 'string', default: '2' },
        replicas: { type: 'string', default: '3' },
        'data-dir': { type: 'string', default: './data' },
        fresh: { type: 'boolean', default: false },
        zookeeper: { type: 'string' },
        'gateway-workers': { type: 'string', default: '1' },
        'no-supervise': { type: 'boolean', default: false },
        'host-port-fields': { type: 'boolean', default: false },
        table: { type: 'string', multiple: true, default: [] },
      },
    }).values
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(values.host))
    throw new UsageError(`--host ${values.host}: expected an IPv4 address`)
  if (values.host === '0.0.0.0')
    throw new UsageError(
      '--host 0.0.0.0: expected one address of this machine, under which the servers reach each other',
    )
  const tables = [{ name: 'temp', partitionCount: 8 }, ...values.table.map(tableWish)]
  return {
    host: values.host,
    portBase: wholeNumber('port-base', values['port-base'], 1024, 64_000),
    clusterCount: wholeNumber('clusters', values.clusters, 1, 2),
    metaCount: wholeNumber('metas', values.metas, 1, 9),
    replicaCount: wholeNumber('replicas', values.replicas, 1, 9),
    dataDirectory: values['data-dir'],
    fresh: values.fresh,
    zookeeper: values.zookeeper,
    gatewayWorkers: wholeNumber('gateway-workers', values['gateway-workers'], 1, 64),
    supervise: !values['no-supervise'],
    hostPortFields: values['host-port-fields'],
    tables: [...new Map(tables.map((table) => [table.name, table])).values()],
  }
}

/** How many copies each partition gets: three, or as many as there are replica servers. */
export function copiesOf(options: OneboxOptions): number {
  return Math.min(3, options.replicaCount)
}

export function planOnebox(options: OneboxOptions): OneboxPlan {
  const { host, portBase, dataDirectory } = options
  const at = (offset: number): string => `${host}:${portBase + offset}`
  const ensemble = options.zookeeper ?? `127.0.0.1:${portBase + 90}`
  const [servers = '', chroot = ''] = ensemble.split(/(?=\/)(.*)/s)
  const clusters = clusterPorts.slice(0, options.clusterCount).map(({ name, meta }) => ({
    name,
    metas: Array.from({ length: options.metaCount }, (_, index) => at(meta + index)),
  }))
  const planned: PlannedServer[] = []
  if (options.zookeeper === undefined)
    planned.push({
      name: 'zookeeper',
      role: 'zookeeper',
      rpc: ensemble,
      dataDirectory: `${dataDirectory}/zookeeper`,
      config: {
        host: '127.0.0.1',
        port: portBase + 90,
        dataDirectory: `${dataDirectory}/zookeeper`,
      },
    })
  for (const [clusterIndex, cluster] of clusters.entries()) {
    const first = clusterPorts[clusterIndex]?.replica ?? 0
    for (const [index, rpc] of cluster.metas.entries())
      planned.push(metaServer(options, cluster, index, rpc, ensemble))
    for (let index = 0; index < options.replicaCount; index++)
      planned.push(replicaServer(options, cluster, index, at(first + index)))
  }
  planned.push({
    name: 'gateway',
    role: 'gateway',
    rpc: at(1),
    http: `127.0.0.1:${portBase + 80}`,
    config: {
      rpc: { host, port: portBase + 1 },
      http: { host: '127.0.0.1', port: portBase + 80 },
      zookeeper: { servers, root: `${chroot}${mappingRoot}` },
      workers: options.gatewayWorkers,
      // Ctrl-C is not the end of thousands of clients.
      drainMs: 1000,
    },
  })
  return {
    servers: planned,
    zookeeper: ensemble,
    gateway: at(1),
    admin: `127.0.0.1:${portBase + 80}`,
    clusters,
  }
}

function portOf(address: string): number {
  return Number(address.split(':').at(-1))
}

function metaServer(
  options: OneboxOptions,
  cluster: { readonly name: string; readonly metas: readonly string[] },
  index: number,
  rpc: string,
  zookeeper: string,
): PlannedServer {
  const http = `${options.host}:${portOf(rpc) + 1000}`
  return {
    name: `${cluster.name}-meta-${index + 1}`,
    role: 'meta',
    cluster: cluster.name,
    rpc,
    http,
    config: {
      clusterName: cluster.name,
      metaServers: cluster.metas,
      rpc: { host: options.host, port: portOf(rpc) },
      http: { host: options.host, port: portOf(http) },
      zookeeper: { servers: zookeeper, root: `/pegasus/${cluster.name}` },
      meta: {
        hostPortFields: options.hostPortFields ? 'on' : 'off',
        // One machine: fewer than three live nodes must not freeze the cluster (meta-server.md 11).
        minLiveNodes: 1,
        // Restarts are part of trying things out (product.md, "Decisions").
        unstableNodeFilter: false,
      },
    },
  }
}

function replicaServer(
  options: OneboxOptions,
  cluster: { readonly name: string; readonly metas: readonly string[] },
  index: number,
  rpc: string,
): PlannedServer {
  const name = `${cluster.name}-replica-${index + 1}`
  const http = `${options.host}:${portOf(rpc) + 1000}`
  const dataDirectory = `${options.dataDirectory}/${name}`
  return {
    name,
    role: 'replica',
    cluster: cluster.name,
    rpc,
    http,
    dataDirectory,
    config: {
      clusterName: cluster.name,
      rpc: { host: options.host, port: portOf(rpc) },
      http: { host: options.host, port: portOf(http) },
      metaServers: cluster.metas,
      dataDirectory,
      // With a single replica server a group of one must take writes.
      replica: { minReplicasForWrite: Math.min(2, options.replicaCount) },
    },
  }
}
