/**
 * A built gateway as a process, with an embedded ZooKeeper and a scripted meta server here, and what
 * can be seen of it from outside: its files, its memory, its metrics. Linux only (/proc).
 */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { type FakeMeta, startFakeMeta } from './fake-meta.ts'
import { startGatewayCommand } from './gateway-command.ts'
import { FrameClient, root, until } from './gateway-world.ts'

export interface GatewayProcess {
  readonly pid: number
  readonly port: number
  readonly meta: FakeMeta
  /** Open file descriptors. */
  readonly files: () => number
  readonly residentMiB: () => number
  /** Value of the first series whose line matches; -1 when there is none. */
  readonly metric: (series: RegExp) => Promise<number>
  /** The mapped table `temp` is answered, on a new connection. */
  readonly serves: () => Promise<boolean>
  /** Stops all of it; resolves to the exit code of the gateway. Idempotent. */
  readonly stop: () => Promise<number | null>
}

/** `folder` is empty and the test's. The table `temp` is mapped to the meta, which answers app id 1. */
export async function startGatewayProcess(
  folder: string,
  flags: Readonly<Record<string, string>> = {},
  environment: NodeJS.ProcessEnv = {},
): Promise<GatewayProcess> {
  const runtime = nodeRuntime({ log: silentLog })
  const zookeeper = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: join(folder, 'zookeeper'),
  })
  const servers = `127.0.0.1:${zookeeper.port}`
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
  const editor = connectZooKeeper(runtime, {
    servers,
    sessionTimeoutMs: 10_000,
    onExpiry: 'renew',
  })
  for (const path of ['/metaproxy', root]) await editor.create(path, Buffer.alloc(0))
  const mapping = { cluster: 'c1', 'meta-addrs': [meta.address] }
  await editor.create(`${root}/temp`, Buffer.from(JSON.stringify(mapping)))
  const given = {
    'rpc.host': '127.0.0.1',
    'rpc.port': '0',
    'http.port': '0',
    'zookeeper.servers': servers,
    'zookeeper.root': root,
    drainMs: '100',
    ...flags,
  }
  const gateway = startGatewayCommand(
    Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]),
    environment,
  )
  const http = await gateway.told('http')
  const port = Number((await gateway.told('rpc')).split(':')[1])
  const pid = gateway.child.pid ?? 0
  const serves = async (): Promise<boolean> => {
    const client = await FrameClient.dial(port).catch(() => undefined)
    if (client === undefined) return false
    try {
      const reply = await client.query('temp')
      return decodeResult(QueryCfgResponse, reply.result).appId === 1
    } catch {
      return false
    } finally {
      client.destroy()
    }
  }
  await until(serves)
  let stopping: Promise<number | null> | undefined
  const stopAll = async (): Promise<number | null> => {
    const code = await gateway.stop()
    await editor.close()
    await zookeeper.close()
    await meta.close()
    return code
  }
  return {
    pid,
    port,
    meta,
    files: () => readdirSync(`/proc/${pid}/fd`).length,
    residentMiB: () => {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024
    },
    metric: async (series) => {
      const { text } = await gateway.get(http, '/metrics')
      const line = text.split('\n').find((found) => series.test(found))
      return line === undefined ? -1 : Number(line.split(' ').at(-1))
    },
    serves,
    stop: () => {
      stopping ??= stopAll()
      return stopping
    },
  }
}
