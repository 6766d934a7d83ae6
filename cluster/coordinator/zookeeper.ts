/**
 * The coordination contract on ZooKeeper, a real ensemble or the embedded server: reads the
 * connection string and puts the client half (`session-client.ts`) on a link through the library
 * (`zookeeper-link.ts`). What the library gets wrong, and where each defect (dependencies.md 4,
 * meta-server.md 2.3b) is dealt with:
 *
 * 1 no read timeout: watchdog and deadlines, session client. 2, 3 expiry is final and silent: new
 * link, `session-lost` to every watch, session client. 4 requests pile up while disconnected: they
 * never reach the library then. 5 requests before authentication: `connected` follows a round trip.
 * 6 all watches in one packet: sent in batches by the link. 7 order of servers and back-off: own
 * ones in the link. 8 too much data throws: checked before. 9 no retries: `retries: 0`, so a caller
 * whose create ended with `connection-loss` or `timeout` reads back to learn whether it happened.
 * Beyond that list: `sync` is missing, version 0 counts as "any" in transactions, and bytes of a
 * broken connection are taken for the beginning of the next one; all three in the link.
 */
import type { Coordinator } from './coordinator.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { SessionClientOptions } from './session-client.ts'
import { SessionClient } from './session-client.ts'
import { type AccessRule, digestIdentity, isPath, openAccess, Permission } from './tree.ts'
import { openZooKeeperLink } from './zookeeper-link.ts'

export interface ZooKeeperOptions extends SessionClientOptions {
  /** `host:port,host:port/chroot`; the port may be left out (2181), the chroot too. */
  readonly servers: string
  /** Proves an identity of scheme `digest` on every connection. */
  readonly auth?: Credentials
  /** Who may change nodes created here: anyone, or only the identity of `auth`. Default `open`. */
  readonly access?: 'open' | 'creator'
  /** With `creator`: who else may read them. Default: nobody. */
  readonly readers?: 'anyone' | Credentials
}

export interface Credentials {
  readonly user: string
  readonly password: string
}

export interface ServerList {
  readonly servers: readonly { readonly host: string; readonly port: number }[]
  /** '' for none. */
  readonly chroot: string
}

/** Throws an Error with a readable message when the connection string makes no sense. */
export function parseServers(text: string): ServerList {
  const slash = text.indexOf('/')
  const chroot = slash === -1 ? '' : text.slice(slash).replace(/\/$/, '')
  if (chroot !== '' && !isPath(chroot)) throw new Error(`not a ZooKeeper path: ${chroot}`)
  const names = (slash === -1 ? text : text.slice(0, slash)).split(',')
  const servers = names.map((name) => {
    const [, host, digits = '2181'] = /^([A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(name.trim()) ?? []
    const port = Number(digits)
    if (host === undefined || port < 1 || port > 65535)
      throw new Error(`not a ZooKeeper server list, expected host:port,…/chroot: ${text}`)
    return { host, port }
  })
  return { servers, chroot }
}

/**
 * Starts connecting and returns at once, in state `connecting`; operations wait for the first
 * session up to their deadline. Close it to end the session.
 */
export function connectZooKeeper(runtime: Runtime, options: ZooKeeperOptions): Coordinator {
  const { servers, chroot } = parseServers(options.servers)
  const access = accessOf(options)
  return new SessionClient(runtime, options, (handlers) =>
    openZooKeeperLink(runtime, handlers, {
      servers: shuffled(servers, (limit) => runtime.random.below(limit)),
      chroot,
      sessionTimeoutMs: options.sessionTimeoutMs,
      auth:
        options.auth === undefined ? undefined : `${options.auth.user}:${options.auth.password}`,
      access,
      secretAccess: [creator],
    }),
  )
}

/** Stands for what the connection has proved. */
const creator: AccessRule = { permissions: Permission.ALL, scheme: 'auth', id: '' }

/** The list that nodes created here get. */
function accessOf({ access, auth, readers }: ZooKeeperOptions): readonly AccessRule[] {
  if (access !== 'creator') return openAccess
  if (auth === undefined) throw new Error('access for the creator alone needs auth')
  if (readers === undefined) return [creator]
  const permissions = Permission.READ
  if (readers === 'anyone') return [creator, { permissions, scheme: 'world', id: 'anyone' }]
  const isSame = readers.user === auth.user && readers.password === auth.password
  return isSame
    ? [creator]
    : [
        creator,
        { permissions, ...digestIdentity(Buffer.from(`${readers.user}:${readers.password}`)) },
      ]
}

function shuffled<T>(items: readonly T[], below: (limit: number) => number): T[] {
  const rest = [...items]
  const result: T[] = []
  while (rest.length > 0) result.push(...rest.splice(below(rest.length), 1))
  return result
}
