/**
 * The gateway as processes: the built command with workers, against the embedded ZooKeeper and a
 * scripted meta server. Workers are killed, the port is taken, the configuration is wrong.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { FrameClient, root, until } from '../support/gateway-world.ts'

const cli = new URL('../../cluster/cli/main.js', import.meta.url).pathname

// A process takes a second to start, more when the machine is busy.
t.setTimeout(120_000)

interface Ended {
  readonly code: number | null
  readonly output: string
}

function run(words: readonly string[]): {
  readonly child: ChildProcess
  readonly output: () => string
  readonly ended: Promise<Ended>
} {
  const child = spawn(process.execPath, [cli, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => resolve({ code, output }))
  })
  return { child, output: () => output, ended }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const bound = server.address()
  await new Promise((resolve) => {
    server.close(resolve)
  })
  return typeof bound === 'object' ? (bound?.port ?? 0) : 0
}

/** A served query, whatever it takes: workers may be on their way. */
async function askAppId(port: number): Promise<number> {
  try {
    const client = await FrameClient.dial(port)
    // A connection handed to a worker at the moment of its death stays silent.
    const patience = setTimeout(() => client.destroy(), 1000)
    try {
      return decodeResult(QueryCfgResponse, (await client.query('temp')).result).appId
    } finally {
      clearTimeout(patience)
      client.destroy()
    }
  } catch {
    return -1
  }
}

void t.test(
  'a gateway of two workers: health, a killed worker, a moved table, the end',
  { timeout: 60_000 },
  async (t) => {
    const folder = t.testdir({ zookeeper: {} })
    const runtime = nodeRuntime({ log: silentLog })
    const zookeeper = await startEmbeddedZooKeeper(runtime, {
      host: '127.0.0.1',
      port: 0,
      dataDirectory: join(folder, 'zookeeper'),
    })
    const one = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
    const two = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 2 }))
    const editor = connectZooKeeper(runtime, {
      servers: `127.0.0.1:${zookeeper.port}`,
      sessionTimeoutMs: 4000,
      onExpiry: 'renew',
    })
    const [rpc, http] = [await freePort(), await freePort()]
    const file = join(folder, 'gateway.yaml')
    writeFileSync(
      file,
      `rpc: { host: 127.0.0.1, port: ${rpc} }\nhttp: { host: 127.0.0.1, port: ${http} }\nzookeeper: { servers: "127.0.0.1:${zookeeper.port}", root: ${root} }\nworkers: 2\ndrainMs: 100\n`,
    )
    t.equal(
      (await run(['gateway', '--config', file, '--check-config']).ended).code,
      0,
      '--check-config',
    )

    const gateway = run(['gateway', '--config', file])
    t.teardown(async () => {
      gateway.child.kill('SIGKILL')
      await gateway.ended
      await editor.close()
      await zookeeper.close()
      await Promise.all([one.close(), two.close()])
    })
    const page = async (path: string): Promise<{ status: number; text: string }> => {
      try {
        const response = await fetch(`http://127.0.0.1:${http}${path}`, {
          headers: { connection: 'close' },
        })
        return { status: response.status, text: await response.text() }
      } catch {
        return { status: 0, text: '' }
      }
    }
    const put = async (
      metas: readonly string[],
      precondition: Readonly<Record<string, string>>,
    ): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${http}/api/v1/tables/temp`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json', connection: 'close', ...precondition },
        body: JSON.stringify({ cluster: 'c', metas }),
      })
      t.ok(response.ok, await response.text())
      return response.headers.get('etag') ?? ''
    }
    await until(async () => (await page('/readyz')).text === 'ready\n')
    const etag = await put([one.address], { 'if-none-match': '*' })
    await until(async () => (await askAppId(rpc)) === 1)

    const metrics = await page('/metrics')
    for (const worker of ['primary', '1', '2'])
      t.match(metrics.text, new RegExp(`process_cpu_seconds_total\\{worker="${worker}"\\}`))

    const pids = [...gateway.output().matchAll(/"pid":(\d+)/g)].map((match) => Number(match[1]))
    const workerPid = pids.find((pid) => pid !== gateway.child.pid)
    t.ok(workerPid, 'workers log with their own pid')
    process.kill(workerPid ?? 0, 'SIGKILL')
    await until(async () => (await askAppId(rpc)) === 1)
    await until(async () =>
      /gateway_worker_restarts_total\{worker="primary"\} 1/.test((await page('/metrics')).text),
    )
    await until(async () => (await page('/readyz')).text === 'ready\n')

    await put([two.address], { 'if-match': etag })
    await until(async () => (await askAppId(rpc)) === 2)

    const idle = await FrameClient.dial(rpc)
    gateway.child.kill('SIGTERM')
    await until(() => idle.hasEnded)
    idle.destroy()
    t.equal((await gateway.ended).code, 0, gateway.output())
    await until(() => one.connections.size + two.connections.size === 0)
  },
)

void t.test('a wrong configuration and a taken port are one clear line', async (t) => {
  const folder = t.testdir({
    'wrong.yaml': 'zookeeper: { servers: "127.0.0.1:1", rot: /tables }\nrpc: { port: seven }\n',
    'broken.yaml': 'zookeeper: {',
  })
  const wrong = await run(['gateway', '--config', join(folder, 'wrong.yaml')]).ended
  t.equal(wrong.code, 2)
  t.match(wrong.output, /wrong\.yaml:1:\d+: zookeeper\.rot: unknown key/)
  t.match(wrong.output, /wrong\.yaml:2:\d+: rpc\.port: expected a whole number/)
  t.equal((await run(['gateway', '--config', join(folder, 'broken.yaml')]).ended).code, 2)
  t.equal((await run(['gateway', '--config', join(folder, 'absent.yaml')]).ended).code, 2)

  const taken = createServer()
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve)
  })
  const bound = taken.address()
  const port = typeof bound === 'object' ? (bound?.port ?? 0) : 0
  for (const [option, other] of [
    ['rpc.port', 'http.port'],
    ['http.port', 'rpc.port'],
  ]) {
    const words = [
      'gateway',
      '--zookeeper.servers',
      '127.0.0.1:1',
      '--rpc.host',
      '127.0.0.1',
      `--${option ?? ''}`,
      String(port),
      `--${other ?? ''}`,
      '0',
    ]
    const ended = await run(words).ended
    t.equal(ended.code, 1, option ?? '')
    t.match(ended.output, new RegExp(`^metaproxy gateway: .*${port}.*$`, 'm'))
  }
  await new Promise((resolve) => {
    taken.close(resolve)
  })
})
