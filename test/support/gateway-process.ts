/**
 * The built `metaproxy gateway` as processes, against an embedded ZooKeeper and scripted metas: how
 * tests start it, ask it, look at its pages and at the processes it consists of.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { type FakeMeta, startFakeMeta } from './fake-meta.ts'
import { FrameClient, root, until } from './gateway-world.ts'
import { freePort } from './ports.ts'

export const cli = new URL('../../cluster/cli/main.js', import.meta.url).pathname

export interface Ended {
  readonly code: number | null
  readonly output: string
}

export interface RunningCommand {
  readonly child: ChildProcess
  readonly output: () => string
  readonly ended: Promise<Ended>
}

export function runCommand(words: readonly string[]): RunningCommand {
  const child = spawn(process.execPath, [cli, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => resolve({ code, output }))
  })
  return { child, output: () => output, ended }
}

/** Direct children of a process that have not ended. */
export function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return text
      .split(' ')
      .map(Number)
      .filter((child) => child > 0 && isAlive(child))
  } catch {
    return []
  }
}

export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
  } catch {
    return false
  }
}

/** The application id of the answer to one query on a connection of its own; -1 for none. */
export async function askAppId(port: number, table = 'temp', patienceMs = 10_000): Promise<number> {
  let client: FrameClient | undefined
  try {
    client = await FrameClient.dial(port)
    const patience = setTimeout(() => client?.destroy(), patienceMs)
    try {
      return appIdOf(await client.query(table))
    } finally {
      clearTimeout(patience)
    }
  } catch {
    return -1
  } finally {
    client?.destroy()
  }
}

export function appIdOf(reply: Awaited<ReturnType<FrameClient['query']>>): number {
  return decodeResult(QueryCfgResponse, reply.result).appId
}

export interface GatewayStand {
  readonly rpc: number
  readonly http: number
  /** The test's own session. */
  readonly editor: Coordinator
  readonly zookeeper: { readonly sessions: () => number }
  readonly file: string
  /** Writes the configuration anew: these options beside those of the stand. */
  readonly configure: (options: Readonly<Record<string, unknown>>) => void
  readonly start: () => RunningCommand
  readonly map: (table: string, metas: readonly string[]) => Promise<void>
  readonly page: (path: string) => Promise<{ readonly status: number; readonly text: string }>
  readonly isReady: () => Promise<boolean>
  /** The value of a series in `/metrics`; undefined when it is not there. */
  readonly metric: (series: string) => Promise<number | undefined>
  readonly close: () => Promise<void>
}

/** `folder` is the test's own; it holds the configuration and ZooKeeper's data. */
export async function startStand(
  folder: string,
  options: Readonly<Record<string, unknown>> = {},
): Promise<GatewayStand> {
  const runtime = nodeRuntime({ log: silentLog })
  const zookeeper = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: join(folder, 'zookeeper'),
  })
  const editor = connectZooKeeper(runtime, {
    servers: `127.0.0.1:${zookeeper.port}`,
    sessionTimeoutMs: 30_000,
    onExpiry: 'renew',
  })
  await until(() => editor.state() === 'connected')
  await editor.create('/metaproxy', Buffer.alloc(0))
  await editor.create(root, Buffer.alloc(0))
  const [rpc, http] = [await freePort(), await freePort()]
  const file = join(folder, 'gateway.yaml')
  const running = new Set<RunningCommand>()
  const page: GatewayStand['page'] = async (path) => {
    try {
      const response = await fetch(`http://127.0.0.1:${http}${path}`, {
        headers: { connection: 'close' },
        signal: AbortSignal.timeout(10_000),
      })
      return { status: response.status, text: (await response.text()).trim() }
    } catch {
      return { status: 0, text: '' }
    }
  }
  const configure: GatewayStand['configure'] = (more) =>
    writeFileSync(
      file,
      JSON.stringify({
        rpc: { host: '127.0.0.1', port: rpc },
        http: { host: '127.0.0.1', port: http },
        zookeeper: { servers: `127.0.0.1:${zookeeper.port}`, root },
        drainMs: 200,
        // A busy machine is no overload, unless a test says so.
        overload: { lagMs: 10_000 },
        ...options,
        ...more,
      }),
    )
  configure({})
  return {
    rpc,
    http,
    editor,
    zookeeper: { sessions: () => zookeeper.sessionIds().length },
    file,
    configure,
    start: () => {
      const command = runCommand(['gateway', '--config', file])
      running.add(command)
      return command
    },
    map: async (table, metas) => {
      const data = Buffer.from(JSON.stringify({ cluster: 'c', 'meta-addrs': metas }))
      const path = `${root}/${table}`
      if ((await editor.exists(path)) === undefined) await editor.create(path, data)
      else await editor.set(path, data)
    },
    page,
    isReady: async () => (await page('/readyz')).text === 'ready',
    metric: async (series) => {
      const line = (await page('/metrics')).text
        .split('\n')
        .find((candidate) => candidate.startsWith(`${series} `))
      return line === undefined ? undefined : Number(line.slice(series.length + 1))
    },
    close: async () => {
      for (const { child, ended } of running) {
        // Children of a killed primary end by themselves; a test that fails early kills them here.
        const children = child.pid === undefined ? [] : childrenOf(child.pid)
        child.kill('SIGKILL')
        for (const pid of children)
          try {
            process.kill(pid, 'SIGKILL')
          } catch {
            // Gone already.
          }
        await ended
      }
      await editor.close()
      await zookeeper.close()
    },
  }
}

/** A stand with the mapped table `temp`, whose meta answers with app id 1; both end with the test. */
export async function startServedStand(
  t: Test,
  options: Readonly<Record<string, unknown>> = {},
): Promise<GatewayStand & { readonly meta: FakeMeta }> {
  const stand = await startStand(t.testdir(), options)
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
  t.teardown(async () => {
    await stand.close()
    await meta.close()
  })
  await stand.map('temp', [meta.address])
  return { ...stand, meta }
}
