/**
 * The client half of coordination where the contract suite does not reach: memory in the seeded
 * simulation, and the ZooKeeper wrapper against servers that are dead, mute or send garbage.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { connectZooKeeper, parseServers } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

const runtime = nodeRuntime({ log: silentLog })
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'ok'
  } catch (error) {
    return error instanceof CoordinatorError ? error.code : String(error)
  }
}

const isUnknown = (code: string): boolean => code === 'connection-loss' || code === 'timeout'

/**
 * Three clients add to one counter by compare-and-set while connections break, requests and replies
 * are lost, the service pauses, sessions expire and a client dies. Checked is what a linearizable
 * register promises: every acknowledged increment is there, and nothing else but unknown ones.
 */
async function counterRun(seed: number) {
  const world = new SimulatedWorld({ seed })
  const service = new MemoryCoordination(world.node('coordination', { ip: '10.0.0.9' }).runtime)
  const totals = { acknowledged: 0, unknown: 0, value: -1, log: '' }
  const names = ['a', 'b', 'c']
  const work = async (name: string, own: Runtime): Promise<void> => {
    const zk = service.connect(own, { name, sessionTimeoutMs: 400, onExpiry: 'renew' })
    zk.onState((state) => world.note(name, 'state', `${state} ${zk.sessionEpoch()}`))
    await codeOf(zk.create('/counter', Buffer.from('0')))
    while (world.nowMs() < 20_000) {
      await new Promise<void>((resolve) => own.timers.after(own.random.below(30), resolve))
      const read = await zk.get('/counter').catch(() => undefined)
      if (read === undefined) continue
      const next = Buffer.from(String(Number(read.data.toString()) + 1))
      const code = await codeOf(zk.set('/counter', next, read.stat.version))
      world.note(name, 'set', code)
      if (code === 'ok') totals.acknowledged += 1
      else if (isUnknown(code) || code === 'session-expired') totals.unknown += 1
    }
  }
  const nodes = names.map((name, index) => world.node(name, { ip: `10.0.0.${index + 1}` }))
  for (const node of nodes) void work(node.name, node.runtime)
  const fault = (): void => {
    const name = world.random.pick(names)
    world.random.pick([
      () => service.setReachable(name, 'down'),
      () => service.setReachable(name, 'lost-replies'),
      () => service.setReachable(name, 'up'),
      () => service.breakConnections(name),
      () => service.freeze(),
      () => service.expire(world.random.pick([...service.sessionIds(), 0n])),
    ])()
    world.after(world.random.below(150), () => {
      service.thaw()
      for (const one of names) service.setReachable(one, 'up')
    })
    if (world.nowMs() < 19_000) world.after(world.random.below(500), fault)
  }
  world.after(500, fault)
  world.after(7000, () => nodes[2]?.crash({ powerCut: false }))
  await world.run({ untilMs: 25_000 })
  const reader = service.connect(world.node('reader', { ip: '10.0.0.8' }).runtime, {
    sessionTimeoutMs: 400,
    onExpiry: 'end',
  })
  void reader.get('/counter').then(({ data }) => (totals.value = Number(data.toString())))
  await world.run({ untilMs: 26_000 })
  return { ...totals, hash: world.trace.hash() }
}

void t.test(
  'in the simulation memory is linearizable, and the same for the same seed',
  async (t) => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const first = await counterRun(seed)
      t.ok(first.acknowledged > 100, `seed ${seed} works: ${first.acknowledged}`)
      t.ok(first.value >= first.acknowledged, `seed ${seed} lost nothing`)
      // One more for the client that died with a request under way.
      t.ok(first.value <= first.acknowledged + first.unknown + 1, `seed ${seed} made nothing up`)
      if (seed <= 3) t.same(await counterRun(seed), first)
    }
  },
)

void t.test('a client that dies leaves nothing after its session time', async (t) => {
  const world = new SimulatedWorld({ seed: 7 })
  const service = new MemoryCoordination(world.node('coordination', { ip: '10.0.0.9' }).runtime)
  const mortal = world.node('mortal', { ip: '10.0.0.1' })
  const other = world.node('other', { ip: '10.0.0.2' })
  const options = { sessionTimeoutMs: 1000, onExpiry: 'end' } as const
  const zk = service.connect(mortal.runtime, options)
  void zk.create('/lock', Buffer.from('mortal'), { ephemeral: true })
  await world.run({ untilMs: 5000 })
  t.equal(zk.state(), 'connected')
  let goneAtMs: number | undefined
  void service.connect(other.runtime, options).exists('/lock', (event) => {
    if (event.type === 'deleted') goneAtMs = world.nowMs()
  })
  await world.run({ untilMs: 6000 })
  mortal.crash({ powerCut: false })
  await world.run({ untilMs: 20_000, until: () => goneAtMs !== undefined })
  t.ok(goneAtMs !== undefined && goneAtMs > 6300 && goneAtMs < 7100, String(goneAtMs))
  t.equal(service.sessionIds().length, 1)
})

void t.test('the fence of a cut-off client falls before its session can end', async (t) => {
  for (let seed = 0; seed < 30; seed += 1) {
    const world = new SimulatedWorld({ seed })
    const service = new MemoryCoordination(world.node('coordination', { ip: '10.0.0.9' }).runtime, {
      latencyMs: { min: 0, max: 40 },
    })
    const node = world.node('leader', { ip: '10.0.0.1' })
    const zk = service.connect(node.runtime, {
      name: 'leader',
      sessionTimeoutMs: 1000,
      onExpiry: 'end',
    })
    await world.run({ untilMs: 2000 + world.random.below(1000) })
    t.equal(zk.state(), 'connected')
    let fencedAtMs = 0
    zk.onState((state) => {
      if (state !== 'suspended' || fencedAtMs > 0) return
      fencedAtMs = world.nowMs()
      const ageMs = node.runtime.clock.monotonicMs() - zk.lastAnswerAtMs()
      t.ok(ageMs >= 2000 / 3 && ageMs < 700, `seed ${seed}: ${ageMs}`)
    })
    service.setReachable('leader', world.random.pick(['down', 'lost-replies'] as const))
    await world.run({ untilMs: 20_000, until: () => service.sessionIds().length === 0 })
    t.ok(fencedAtMs > 0 && fencedAtMs < world.nowMs(), `seed ${seed}`)
  }
})

void t.test('connection strings are read or refused with a reason', (t) => {
  t.same(parseServers('a:1,b'), {
    servers: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2181 },
    ],
    chroot: '',
  })
  t.same(parseServers('10.0.0.1:2181/x/y/').chroot, '/x/y')
  for (const bad of ['', ',', 'a:b', 'a:0', 'a:70000', 'a:1,,b:2', 'a b:1'])
    t.throws(() => parseServers(bad), { message: /^not a ZooKeeper server list, expected/ }, bad)
  t.throws(() => parseServers('a:1/x//y'), { message: 'not a ZooKeeper path: /x//y' })
  t.end()
})

async function fakeServer(t: Test, onSocket: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

function clientOf(t: Test, ports: readonly number[], operationTimeoutMs = 10_000): Coordinator {
  const zk = connectZooKeeper(runtime, {
    servers: ports.map((port) => `127.0.0.1:${port}`).join(','),
    sessionTimeoutMs: 2000,
    operationTimeoutMs,
    onExpiry: 'end',
  })
  t.teardown(() => zk.close())
  return zk
}

void t.test('servers that are dead or mute are passed over', async (t) => {
  const server = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: t.testdir(),
  })
  t.teardown(() => server.close())
  const mute = await fakeServer(t, () => undefined)
  const closing = await fakeServer(t, (socket) => socket.destroy())
  const zk = clientOf(t, [mute, 1, closing, server.port])
  await zk.create('/a', Buffer.from('1'))
  t.equal(zk.state(), 'connected')
})

void t.test('garbage from a server is a broken connection and no crash', async (t) => {
  const handshake = Buffer.from(
    '000000250000000000000fa0000000000000000100000010' + '00'.repeat(16) + '00',
    'hex',
  )
  const answers: readonly Buffer[] = [
    Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    Buffer.from('ffffffff', 'hex'),
    Buffer.from('7fffffff', 'hex'),
    Buffer.from('0000000400000000', 'hex'),
    Buffer.concat([handshake, Buffer.from('ffffffff0000', 'hex')]),
    // A header that is cut off, an answer nobody asked for, an unknown error, an unknown event.
    Buffer.concat([handshake, Buffer.from('0000000400000000', 'hex')]),
    Buffer.concat([handshake, Buffer.from('000000100000000900000000000000010000000000', 'hex')]),
    Buffer.concat([handshake, Buffer.from('00000010000000000000000000000001ffffd8f1', 'hex')]),
    Buffer.concat([
      handshake,
      Buffer.from('0000001dffffffffffffffffffffffff000000000000006300000003000000012f', 'hex'),
    ]),
    handshake.subarray(0, 20),
  ]
  let served = 0
  const port = await fakeServer(t, (socket) => {
    const answer = answers[served % answers.length]
    served += 1
    socket.on('data', () => undefined)
    if (answer !== undefined) socket.end(answer)
  })
  const zk = clientOf(t, [port], 200)
  t.equal(await codeOf(zk.get('/')), 'not-connected')
  while (served <= answers.length) await new Promise((resolve) => setTimeout(resolve, 10))
  t.not(zk.state(), 'connected')
})

void t.test(
  'with renew, what cannot resume its session for twice its time takes a new one',
  async (t) => {
    const world = new SimulatedWorld({ seed: 7 })
    const service = new MemoryCoordination(world.node('coordination', { ip: '10.0.0.9' }).runtime, {
      sessionTimeoutMs: { min: 60_000, max: 60_000 },
    })
    const connect = (name: string, ip: string, onExpiry: 'renew' | 'end'): Coordinator =>
      service.connect(world.node(name, { ip }).runtime, {
        name,
        sessionTimeoutMs: 60_000,
        onExpiry,
      })
    const renewing = connect('renewing', '10.0.0.1', 'renew')
    const ending = connect('ending', '10.0.0.2', 'end')
    const pass = (ms: number): Promise<boolean> => world.run({ untilMs: world.nowMs() + ms })
    await pass(1000)
    const lost: string[] = []
    void renewing.exists('/watched', (event) => lost.push(event.type))
    await pass(1000)
    // The service stands still, so it expires nobody.
    service.freeze()
    await pass(60_000)
    t.same([renewing.state(), ending.state(), lost.length], ['suspended', 'suspended', 0])
    await pass(120_000)
    t.same(
      [renewing.state(), ending.state(), lost.join()],
      ['expired', 'suspended', 'session-lost'],
    )
    service.thaw()
    await pass(20_000)
    t.same([renewing.state(), renewing.sessionEpoch()], ['connected', 2])
    t.equal(ending.sessionEpoch(), 1)
    for (const one of [renewing, ending]) void one.close()
  },
)
