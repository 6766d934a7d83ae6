/**
 * The embedded ZooKeeper server as a process: killed and started again under its clients, ended in
 * order, and refusing to start with one clear line and the right exit code.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { freePort } from '../support/ports.ts'

const command = fileURLToPath(new URL('../../cluster/cli/main.js', import.meta.url))
const runtime = nodeRuntime({ log: silentLog })
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly complaint: string
}

function run(t: Test, flags: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [command, 'zookeeper', ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr?.on('data', (bytes) => (complaint += String(bytes)))
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, complaint }))
  })
  return { child, ended }
}

void t.test('clients outlive kill -9, and nothing acknowledged is lost', async (t) => {
  const dataDirectory = t.testdir()
  const port = await freePort()
  const flags = ['--port', String(port), '--dataDirectory', dataDirectory]
  let server = run(t, flags)
  const zk = connectZooKeeper(runtime, {
    servers: `127.0.0.1:${port}`,
    sessionTimeoutMs: 20_000,
    onExpiry: 'end',
  })
  t.teardown(() => zk.close())
  await zk.create('/mine', Buffer.from('mine'), { ephemeral: true })
  const acknowledged = new Set<string>()
  const stop = new AbortController()
  const write = async (): Promise<void> => {
    for (let index = 0; !stop.signal.aborted; index += 1)
      await zk.create(`/n${index}`, Buffer.alloc(200)).then(
        (path) => acknowledged.add(path.slice(1)),
        () => new Promise((resolve) => setTimeout(resolve, 10)),
      )
  }
  const writing = write()
  for (let round = 1; round <= 3; round += 1) {
    const before = acknowledged.size
    while (acknowledged.size < before + 100) await new Promise((r) => setTimeout(r, 5))
    server.child.kill('SIGKILL')
    t.equal((await server.ended).signal, 'SIGKILL')
    server = run(t, flags)
  }
  const before = acknowledged.size
  while (acknowledged.size === before) await new Promise((r) => setTimeout(r, 5))
  stop.abort()
  await writing
  const found = new Set(await zk.children('/'))
  t.same(
    [...acknowledged].filter((name) => !found.has(name)),
    [],
  )
  t.ok(found.has('mine'))
  t.equal(zk.sessionEpoch(), 1)
  await zk.close()
  server.child.kill('SIGTERM')
  t.match(await server.ended, { code: 0, signal: null })
})

void t.test('it refuses what it cannot use with one clear line', async (t) => {
  const dataDirectory = t.testdir({ good: {}, file: 'no folder' })
  const port = await freePort()
  t.match(await run(t, ['--port', 'x']).ended, {
    code: 2,
    complaint: /--port: expected a whole number from 0 to 65535[^]*dataDirectory: missing/,
  })
  const good = ['--port', String(port), '--dataDirectory', join(dataDirectory, 'good')]
  const first = run(t, good)
  const zk = connectZooKeeper(runtime, {
    servers: `127.0.0.1:${port}`,
    sessionTimeoutMs: 20_000,
    onExpiry: 'end',
  })
  await zk.create('/a', Buffer.alloc(0))
  const other = ['--port', String(port), '--dataDirectory', join(dataDirectory, 'other')]
  t.match(await run(t, other).ended, { code: 1, complaint: /^metaproxy zookeeper: listen on .*/m })
  await zk.close()
  first.child.kill('SIGTERM')
  await first.ended
  const [log = ''] = readdirSync(join(dataDirectory, 'good'))
  const path = join(dataDirectory, 'good', log)
  const bytes = readFileSync(path)
  bytes.writeUInt32BE(9, 8)
  writeFileSync(path, bytes)
  const newer = /^metaproxy zookeeper: .* has format 9, written by a newer version/m
  t.match(await run(t, good).ended, { code: 1, complaint: newer })
  const folder = ['--port', String(port), '--dataDirectory', join(dataDirectory, 'file')]
  t.match(await run(t, folder).ended, { code: 1, complaint: /^metaproxy zookeeper: .*file/m })
})
