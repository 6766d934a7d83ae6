/**
 * Several endpoints in one process (gateway.md R-30): ports with limits of their own, each for the
 * tables of one root. The first endpoint is what `rpc` and `zookeeper.root` say, further ones are
 * listed. Every endpoint is served as if the whole configuration were its own; the roots share the
 * ZooKeeper sessions and nothing else.
 */
import { integer, list, optional, section, sections, text } from '../cluster/runtime/options.ts'
import { rangeForm } from './clients/source-ranges.ts'
import type { GatewayConfig } from './config.ts'
import { controlRootOf } from './routing/control-nodes.ts'

const ENDPOINTS_MAX = 16
export const RANGES_MAX = 256
const path = { pattern: /^(\/[^/\s]+)+$/, expected: 'a path such as /metaproxy/tables' }

/** Of the main port, and of each further one for itself. */
export const endpointLimits = {
  connections: integer({
    about: 'Connections of one worker process',
    default: 50_000,
    min: 1,
    max: 1_000_000,
  }),
  connectionsPerSource: integer({
    about: 'Connections of one worker process from one address',
    default: 50_000,
    min: 1,
    max: 1_000_000,
  }),
  unknownTablesPerSecond: integer({
    about: 'Unknown tables one address may ask a worker for; 0: any number',
    default: 0,
    min: 0,
    max: 1_000_000,
    unit: 'tables a second',
  }),
}

export const endpointsOption = sections({
  about: 'Further ports, each for the tables of a root of its own or of another port',
  of: section('One endpoint', {
    host: text({
      about: 'Address to listen on',
      default: '0.0.0.0',
      pattern: /^[A-Za-z0-9._-]{1,253}$/,
      expected: 'a host name or an IPv4 address',
    }),
    port: integer({ about: 'Port of the Pegasus protocol', min: 0, max: 65535 }),
    root: text({ about: 'Parent of the mapping nodes', ...path }),
    controlRoot: optional(text({ about: 'Parent of the control tree of this root', ...path })),
    allowFrom: list({
      about: 'IPv4 ranges that clients may come from; none: from everywhere',
      default: [],
      of: text({ about: 'A range', ...rangeForm }),
      maxItems: RANGES_MAX,
    }),
    ...endpointLimits,
  }),
  maxItems: ENDPOINTS_MAX,
})

export interface Endpoint {
  /** Where it is in the configuration, such as `endpoints.1`. */
  readonly name: string
  readonly root: string
  /** The whole configuration as if this were the only endpoint. */
  readonly config: GatewayConfig
}

/** The first one is the configuration's own. Series get the label `root` when there are several. */
export function endpointsOf(config: GatewayConfig): readonly Endpoint[] {
  const { root } = config.zookeeper
  if (config.endpoints.length === 0) return [{ name: 'rpc', root, config }]
  const first = { name: 'rpc', root, config: labelled(config, root) }
  const others = config.endpoints.map((endpoint, index) => ({
    name: `endpoints.${index + 1}`,
    root: endpoint.root,
    config: labelled(configOf(config, endpoint), endpoint.root),
  }))
  return [first, ...others]
}

function configOf(
  config: GatewayConfig,
  endpoint: GatewayConfig['endpoints'][number],
): GatewayConfig {
  const { host, port, root, controlRoot, allowFrom } = endpoint
  const { connections, connectionsPerSource, unknownTablesPerSecond } = endpoint
  return {
    ...config,
    rpc: { ...config.rpc, host, port, allowFrom },
    tls: { ...config.tls, port: undefined },
    zookeeper: { ...config.zookeeper, root, controlRoot },
    limits: { ...config.limits, connections, connectionsPerSource, unknownTablesPerSecond },
    routing: {
      ...config.routing,
      snapshotFile: snapshotFileOf(config, root),
    },
  }
}

/** One file for each root. */
function snapshotFileOf(config: GatewayConfig, root: string): string | undefined {
  const file = config.routing.snapshotFile
  const isFirst = root === config.zookeeper.root
  return file === undefined || isFirst ? file : `${file}${root.replaceAll('/', '.')}`
}

function labelled(config: GatewayConfig, root: string): GatewayConfig {
  return { ...config, metric: { ...config.metric, tags: [...config.metric.tags, `root=${root}`] } }
}

/** What is wrong between the endpoints. */
export function endpointProblems(config: GatewayConfig): readonly string[] {
  const problems: string[] = []
  const ports = new Map<string, string>()
  const owners = new Map<string, string>()
  const roots = new Map<string, string>()
  for (const { name, root, config: own } of endpointsOf(config)) {
    const { host, port } = own.rpc
    const at = `${host}:${port}`
    const other = ports.get(at)
    if (port !== 0 && other !== undefined) problems.push(`${name}: ${at} is taken by ${other}`)
    ports.set(at, name)
    const controlRoot = controlRootOf(own.zookeeper)
    const known = roots.get(root)
    if (known !== undefined && known !== controlRoot)
      problems.push(`${name}.controlRoot: ${root} has the control tree ${known}`)
    roots.set(root, known ?? controlRoot)
    const owner = owners.get(controlRoot) ?? root
    if (owner !== root)
      problems.push(`${name}.controlRoot: ${controlRoot} belongs to the root ${owner}`)
    owners.set(controlRoot, owner)
  }
  return problems
}
