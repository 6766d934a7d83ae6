/**
 * What the admin page is tested against, without clusters: a real gateway process with the built page,
 * the embedded ZooKeeper in this process, and scripted meta servers that say they have every table.
 */
import { join } from 'node:path'
import type { Test } from 'tap'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { startFakeMeta } from './fake-meta.ts'
import { type GatewayCommand, startGatewayCommand } from './gateway-command.ts'
import { freePort } from './ports.ts'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

export const root = '/metaproxy/tables'
export const controlRoot = `${root}.gateway`

export interface PageWorld {
  /** Where the page is, without a slash at the end. */
  readonly url: string
  /** Where Pegasus clients ask, at 127.0.0.1. */
  readonly rpcPort: number
  /** Addresses of meta servers that answer, one of each of two clusters. */
  readonly metas: readonly [string, string]
  /** A session of another tool. */
  readonly other: Coordinator
  /** A mapping as another tool writes it. */
  readonly write: (table: string, value: object) => Promise<void>
  /** What the API answers; fails the test unless it is a success. */
  readonly call: (method: string, path: string, body?: unknown) => Promise<unknown>
  /** Of the gateway's way to ZooKeeper. */
  readonly proxy: TcpProxy
  readonly stopGateway: () => Promise<void>
  /** On the same port as before. */
  readonly startGateway: () => Promise<void>
}

export interface PageWorldOptions {
  /** `host:port` of a ZooKeeper; the embedded one when left out. */
  readonly zookeeper?: string
  readonly flags?: readonly string[]
  readonly environment?: NodeJS.ProcessEnv
}

export async function startPageWorld(t: Test, options: PageWorldOptions = {}): Promise<PageWorld> {
  const runtime = nodeRuntime({ log: silentLog })
  const alive = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(alive))
  const servers = options.zookeeper ?? (await embedded(t))
  const proxy = await startTcpProxy(() => Number(servers.split(':')[1]))
  t.teardown(() => proxy.close())
  const other = connectZooKeeper(runtime, { servers, sessionTimeoutMs: 60_000, onExpiry: 'renew' })
  t.teardown(() => other.close())
  const metas = [await fakeMeta(t), await fakeMeta(t)] as const
  const ports = { rpc: await freePort(), http: await freePort() }
  const words = [
    ...['--zookeeper.servers', `127.0.0.1:${proxy.port}`, '--zookeeper.root', root],
    ...['--rpc.host', '127.0.0.1', '--rpc.port', String(ports.rpc)],
    ...['--http.host', '127.0.0.1', '--http.port', String(ports.http)],
    ...(options.flags ?? []),
  ]
  const url = `http://127.0.0.1:${ports.http}`
  let gateway: GatewayCommand | undefined
  t.teardown(async () => {
    gateway?.child.kill('SIGKILL')
    await gateway?.ended
  })
  const startGateway = async (): Promise<void> => {
    gateway = startGatewayCommand(words, options.environment)
    await gateway.told('http')
    await gateway.told('rpc')
  }
  for (const path of ['/metaproxy', root]) await other.create(path, Buffer.alloc(0))
  await startGateway()
  return {
    url,
    rpcPort: ports.rpc,
    metas,
    other,
    proxy,
    write: async (table, value) => {
      const path = `${root}/${table}`
      const data = Buffer.from(JSON.stringify(value))
      if ((await other.exists(path)) === undefined) await other.create(path, data)
      else await other.set(path, data)
    },
    call: async (method, path, body) => {
      const response = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(method === 'PUT' ? { 'if-none-match': '*' } : {}),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      return text === '' ? undefined : (JSON.parse(text) as unknown)
    },
    stopGateway: async () => {
      await gateway?.stop()
    },
    startGateway,
  }
}

async function fakeMeta(t: Test): Promise<string> {
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 7 }))
  t.teardown(() => meta.close())
  return meta.address
}

async function embedded(t: Test): Promise<string> {
  const runtime = nodeRuntime({ log: silentLog })
  const folder = t.testdir({ zookeeper: {} })
  const server = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: join(folder, 'zookeeper'),
  })
  t.teardown(() => server.close())
  return `127.0.0.1:${server.port}`
}
