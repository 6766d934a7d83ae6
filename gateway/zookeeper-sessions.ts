/**
 * The gateway's two ZooKeeper sessions (gateway.md 13, X-3): the data session reads mappings and
 * watches them, the control session writes mappings and the control tree, and may have credentials
 * of its own. Nodes are made with the configured access list: with `creator` the writing user may do
 * everything and the reading one reads.
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import { connectZooKeeper } from '../cluster/coordinator/zookeeper.ts'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import type { GatewayConfig } from './config.ts'

type ZooKeeperConfig = GatewayConfig['zookeeper']
interface Credentials {
  readonly user: string
  readonly password: string
}

function credentials(given: {
  readonly user: string | undefined
  readonly password: string | undefined
}): Credentials | undefined {
  const { user, password } = given
  return user === undefined || password === undefined ? undefined : { user, password }
}

/** Who writes. */
function writer(config: ZooKeeperConfig): Credentials | undefined {
  return credentials(config.control) ?? credentials(config)
}

/** The access of nodes made here; `isImplied`: nobody asked for `open`, which deserves a warning. */
export function nodeAccess(config: ZooKeeperConfig): {
  readonly access: 'open' | 'creator'
  readonly isImplied: boolean
} {
  if (config.acl !== undefined) return { access: config.acl, isImplied: false }
  return writer(config) === undefined
    ? { access: 'open', isImplied: true }
    : { access: 'creator', isImplied: false }
}

/** ZooKeeper can tell the control session from others. */
export function hasIdentity(config: ZooKeeperConfig): boolean {
  return writer(config) !== undefined
}

/** What is wrong between the options of the section. */
export function zooKeeperProblems(config: ZooKeeperConfig): readonly string[] {
  const half = (path: string, given: { user: string | undefined; password: string | undefined }) =>
    (given.user === undefined) === (given.password === undefined)
      ? []
      : [`${path}.user and ${path}.password: give both or neither`]
  const colon = [
    ...(config.user?.includes(':') === true ? ['zookeeper.user'] : []),
    ...(config.control.user?.includes(':') === true ? ['zookeeper.control.user'] : []),
  ]
  return [
    ...half('zookeeper', config),
    ...half('zookeeper.control', config.control),
    ...colon.map((path) => `${path}: a colon ends the user of a digest, so it cannot hold one`),
    ...(config.acl === 'creator' && writer(config) === undefined
      ? ['zookeeper.acl creator: needs zookeeper.user or zookeeper.control.user']
      : []),
  ]
}

/** Left over watches, and the control tree. */
const SPARE_PATH_BYTES = 16 << 20
const PATH_BYTES_MAX = 512

/** The session that reads and watches mappings; there is room to watch every table in memory. */
export function connectData(
  runtime: Runtime,
  { zookeeper, routing }: Pick<GatewayConfig, 'zookeeper' | 'routing'>,
): Coordinator {
  const auth = credentials(zookeeper)
  const { servers, sessionTimeoutMs } = zookeeper
  return connectZooKeeper(runtime, {
    servers,
    sessionTimeoutMs,
    onExpiry: 'renew',
    watchedPathBytesMax:
      SPARE_PATH_BYTES + (routing.cache + routing.negativeCache) * PATH_BYTES_MAX,
    ...(auth === undefined ? {} : { auth }),
  })
}

/** The session that writes mappings and the control tree. */
export function connectControl(runtime: Runtime, config: ZooKeeperConfig): Coordinator {
  const auth = writer(config)
  const { servers, sessionTimeoutMs } = config
  return connectZooKeeper(runtime, {
    servers,
    sessionTimeoutMs,
    onExpiry: 'renew',
    access: nodeAccess(config).access,
    readers: credentials(config) ?? 'anyone',
    ...(auth === undefined ? {} : { auth }),
  })
}
