/**
 * The gateway as processes: a primary that holds the ZooKeeper sessions and the port, and workers that
 * serve from copies (gateway.md 10). Workers and the primary are killed under load, the port is
 * taken, the configuration is wrong.
 */
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { startFakeMeta } from '../support/fake-meta.ts'
import {
  appIdOf,
  askAppId,
  childrenOf,
  isAlive,
  runCommand,
  startServedStand,
  startStand,
} from '../support/gateway-process.ts'
import { FrameClient, root, until } from '../support/gateway-world.ts'

// A process takes a second to start, more when the machine is busy.
t.setTimeout(180_000)

void t.test('L-1: two workers serve, and hold no ZooKeeper session of their own', async (t) => {
  const stand = await startStand(t.testdir(), { workers: 2 })
  const one = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
  const two = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 2 }))
  t.teardown(async () => {
    await stand.close()
    await Promise.all([one.close(), two.close()])
  })
  await stand.map('temp', [one.address])
  t.equal((await runCommand(['gateway', '--config', stand.file, '--check-config']).ended).code, 0)
  const gateway = stand.start()
  await until(stand.isReady)
  const pid = gateway.child.pid ?? 0
  t.equal(childrenOf(pid).length, 2)
  t.equal(stand.zookeeper.sessions(), 3, 'of the test, and for data and control of the gateway')

  const ask = async (client: FrameClient): Promise<number> => appIdOf(await client.query('temp'))
  const clients: FrameClient[] = []
  while (clients.length < 20) {
    const client = await FrameClient.dial(stand.rpc)
    clients.push(client)
    t.equal(await ask(client), 1)
  }
  t.equal(await stand.metric('client_connection_count'), 20, 'O-2: one number for all workers')
  t.equal(await stand.metric('client_query_config_count{table="temp"}'), 20)
  t.equal(await stand.metric('zk_request_count{table="temp"}'), 1, 'one read for all of them')

  await stand.map('temp', [two.address])
  await until(async () => (await Promise.all(clients.map(ask))).every((appId) => appId === 2))
  t.pass('a moved table is seen in every worker')
  const counted = await stand.metric('client_query_config_count{table="temp"}')

  const [victim = 0] = childrenOf(pid)
  process.kill(victim, 'SIGKILL')
  // Spread evenly: half of them end, and those of the other worker live on.
  await until(() => clients.filter((client) => client.hasEnded).length >= 10)
  await until(() => !isAlive(victim))
  const left = clients.filter((client) => !client.hasEnded)
  t.equal(left.length, 10)
  for (const client of left) t.equal(await ask(client), 2)
  await until(async () => (await stand.metric('gateway_worker_restarts_total')) === 1)
  await until(async () => childrenOf(pid).length === 2 && (await stand.isReady()))
  t.ok(
    ((await stand.metric('client_query_config_count{table="temp"}')) ?? 0) >= (counted ?? 0),
    'O-2: what a dead worker counted stays counted',
  )
  const more = await Promise.all(Array.from({ length: 10 }, () => FrameClient.dial(stand.rpc)))
  for (const client of more) t.equal(await ask(client), 2)
  t.equal(stand.zookeeper.sessions(), 3)

  gateway.child.kill('SIGTERM')
  await until(() => [...left, ...more].every((client) => client.hasEnded))
  for (const client of [...clients, ...more]) client.destroy()
  t.equal((await gateway.ended).code, 0, gateway.output())
  t.equal(stand.zookeeper.sessions(), 1)
  await until(() => one.connections.size + two.connections.size === 0)
})

void t.test('S3: what the gateway says it has applied, every worker serves', async (t) => {
  const stand = await startStand(t.testdir(), { workers: 2 })
  const metas = [
    await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 })),
    await startFakeMeta(() => ({ error: 'ERR_OK', appId: 2 })),
  ]
  t.teardown(async () => {
    await stand.close()
    await Promise.all(metas.map((meta) => meta.close()))
  })
  const valueOf = (turn: number): Buffer =>
    Buffer.from(JSON.stringify({ cluster: 'c', 'meta-addrs': [metas[turn % 2]?.address] }))
  const { editor } = stand
  const control = `${root}.gateway`
  await editor.create(`${root}/temp`, valueOf(0))
  const gateway = stand.start()
  await until(stand.isReady)
  const published = async (): Promise<number> => {
    const [id] = await editor.children(`${control}/gateways`).catch(() => [])
    if (id === undefined) return -1
    const { data } = await editor.get(`${control}/gateways/${id}`)
    return (JSON.parse(data.toString()) as { appliedEpoch: number }).appliedEpoch
  }
  await until(async () => (await published()) >= 0)
  if ((await editor.exists(`${control}/epoch`)) === undefined)
    await editor.create(`${control}/epoch`, Buffer.alloc(0))
  const clients: FrameClient[] = []
  while (clients.length < 10) {
    const client = await FrameClient.dial(stand.rpc)
    clients.push(client)
    t.equal(appIdOf(await client.query('temp')), 1)
  }
  for (let turn = 1; turn <= 20; turn++) {
    await editor.multi([
      { type: 'set', path: `${root}/temp`, data: valueOf(turn) },
      { type: 'set', path: `${control}/epoch`, data: Buffer.alloc(0) },
    ])
    const { version } = (await editor.get(`${control}/epoch`)).stat
    await until(async () => (await published()) === version)
    const answers = await Promise.all(clients.map((client) => client.query('temp')))
    const expected = (turn % 2) + 1
    t.same(
      answers.map(appIdOf),
      clients.map(() => expected),
      `turn ${turn}`,
    )
  }
  for (const client of clients) client.destroy()
  gateway.child.kill('SIGTERM')
  t.equal((await gateway.ended).code, 0)
})

void t.test('L-2: no new connection hangs while workers are killed', async (t) => {
  const stand = await startServedStand(t, { workers: 2 })
  const gateway = stand.start()
  await until(stand.isReady)
  const pid = gateway.child.pid ?? 0
  const storm = { isOver: false }
  let answered = 0
  let closed = 0
  let slowestMs = 0
  const rush = async (): Promise<void> => {
    while (!storm.isOver) {
      const startedAt = performance.now()
      if ((await askAppId(stand.rpc, 'temp', 20_000)) === 1) answered++
      else closed++
      slowestMs = Math.max(slowestMs, performance.now() - startedAt)
    }
  }
  const rushes = Array.from({ length: 16 }, rush)
  for (let kills = 0; kills < 6; kills++) {
    const before = answered
    await until(() => answered > before + 50)
    const [victim] = childrenOf(pid)
    if (victim !== undefined) process.kill(victim, 'SIGKILL')
    await until(() => childrenOf(pid).every((child) => child !== victim))
    await until(() => childrenOf(pid).length === 2)
  }
  storm.isOver = true
  await Promise.all(rushes)
  t.comment(`${answered} answered, ${closed} closed, the slowest after ${slowestMs.toFixed(0)} ms`)
  t.ok(closed > 0, 'some were cut off')
  t.ok(
    slowestMs < 5000,
    'a close, at the latest a second after: nobody waited for his own patience',
  )
  t.match((await stand.page('/readyz')).text, /6 worker crashes within a minute/)
  t.equal(await askAppId(stand.rpc), 1, 'not ready, and serving all the same')
})

void t.test(
  'L-1: the death of the primary does not cut off clients, and frees the port',
  async (t) => {
    const stand = await startServedStand(t, { workers: 2, drainMs: 1500 })
    const gateway = stand.start()
    await until(stand.isReady)
    const workers = childrenOf(gateway.child.pid ?? 0)
    t.equal(workers.length, 2)
    const clients = await Promise.all(Array.from({ length: 20 }, () => FrameClient.dial(stand.rpc)))
    for (const client of clients) await client.query('temp')
    const resets: unknown[] = []
    for (const client of clients) client.socket.on('error', (error) => resets.push(error))

    gateway.child.kill('SIGKILL')
    const next = stand.start()
    let servedAfter = 0
    await Promise.all(
      clients.map(async (client) => {
        try {
          while (!client.hasEnded) {
            await client.query('temp')
            servedAfter++
          }
        } catch {
          // Its connection was ended, in order.
        }
      }),
    )
    t.ok(servedAfter > 0, 'known tables are served on')
    t.same(resets, [], 'no connection was reset')
    for (const client of clients) client.destroy()
    await until(stand.isReady)
    t.equal(await askAppId(stand.rpc), 1, next.output())
    await until(() => !workers.some(isAlive))
    next.child.kill('SIGTERM')
    t.equal((await next.ended).code, 0)
  },
)

void t.test('L-4: SIGTERM while workers are still starting ends them at once', async (t) => {
  const stand = await startStand(t.testdir(), { workers: 4 })
  t.teardown(() => stand.close())
  for (let round = 0; round < 3; round++) {
    const gateway = stand.start()
    // The first worker serves; the others are being started.
    await until(() => gateway.output().includes('gateway listens'))
    gateway.child.kill('SIGTERM')
    const { code, output } = await gateway.ended
    t.equal(code, 0)
    t.notMatch(output, /did not end in time|left open/)
  }
})

void t.test('a wrong configuration and a taken port are one clear line', async (t) => {
  const folder = t.testdir()
  const wrongFile = join(folder, 'wrong.yaml')
  const brokenFile = join(folder, 'broken.yaml')
  writeFileSync(
    wrongFile,
    'zookeeper: { servers: "127.0.0.1:1", rot: /tables }\nrpc: { port: seven }\n',
  )
  writeFileSync(brokenFile, 'zookeeper: {')
  const wrong = await runCommand(['gateway', '--config', wrongFile]).ended
  t.equal(wrong.code, 2)
  t.match(wrong.output, /wrong\.yaml:1:\d+: zookeeper\.rot: unknown key/)
  t.match(wrong.output, /wrong\.yaml:2:\d+: rpc\.port: expected a whole number/)
  for (const file of [brokenFile, join(folder, 'absent.yaml')])
    t.equal((await runCommand(['gateway', '--config', file]).ended).code, 2)

  const taken = createServer()
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve)
  })
  const { port } = taken.address() as AddressInfo
  for (const [option, other, workers] of [
    ['rpc.port', 'http.port', '1'],
    ['rpc.port', 'http.port', '2'],
    ['http.port', 'rpc.port', '1'],
    ['http.port', 'rpc.port', '2'],
  ] as const) {
    const flags = { 'zookeeper.servers': '127.0.0.1:1', 'zookeeper.root': root, workers }
    const all = { ...flags, 'rpc.host': '127.0.0.1', [option]: String(port), [other]: '0' }
    const words = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])
    const ended = await runCommand(['gateway', ...words]).ended
    t.equal(ended.code, 1, `${option} with ${workers}`)
    t.match(ended.output, new RegExp(`^metaproxy gateway: .*${port}.*$`, 'm'))
  }
  await new Promise((resolve) => {
    taken.close(resolve)
  })
})
