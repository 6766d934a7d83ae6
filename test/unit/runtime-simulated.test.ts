/** What only the simulated runtime promises: determinism, faults, and the end of incarnations. */
import t from 'tap'
import type { Runtime, Socket } from '../../cluster/runtime/runtime.ts'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'

/** An echo server and a client that keeps talking to it, over reconnections. */
function startEcho(runtime: Runtime): void {
  void runtime.network.listen({ host: '0.0.0.0', port: 80 }, (socket) => ({
    onData: (chunk) => {
      socket.write(chunk)
    },
    onEnd: () => socket.end(),
    onDrain: () => undefined,
    onClose: () => undefined,
  }))
}

function startTalking(runtime: Runtime, host: string, heard: string[]): void {
  const { network, timers, clock } = runtime
  const connect = (): void => {
    const socket: Socket = network.connect(
      { host, port: 80, timeoutMs: 500 },
      {
        onConnect: () => say(0),
        onData: (chunk) => heard.push(`${clock.monotonicMs().toFixed(3)} ${chunk.length}`),
        onEnd: () => socket.end(),
        onDrain: () => undefined,
        onClose: (cause) => {
          heard.push(cause?.code ?? 'closed')
          timers.after(20, connect)
        },
      },
    )
    const say = (count: number): void => {
      socket.write(runtime.random.bytes(1 + runtime.random.below(200)))
      if (count < 50) timers.after(5, () => say(count + 1))
      else socket.end()
    }
  }
  connect()
}

async function talk(seed: number): Promise<{ readonly hash: string; readonly heard: string[] }> {
  const world = new SimulatedWorld({ seed, network: { breakProbability: 0.002 } })
  const heard: string[] = []
  const server = world.node('server', { ip: '10.0.0.1' })
  const client = world.node('client', { ip: '10.0.0.2', clockRate: 1.01 })
  startEcho(server.runtime)
  startTalking(client.runtime, 'server', heard)
  world.after(900, () => world.network.block('client', 'server'))
  world.after(1500, () => world.network.unblock('client', 'server'))
  world.after(2000, () => server.crash({ powerCut: true }))
  world.after(2600, () => startEcho(server.restart()))
  world.after(3000, () => server.pause())
  world.after(3300, () => server.resume())
  await world.run({ untilMs: 5000 })
  return { hash: world.trace.hash(), heard }
}

void t.test('the same seed gives the same trace, another seed another one', async (t) => {
  const [first, second, other] = [await talk(1), await talk(1), await talk(2)]
  t.equal(first.hash, second.hash)
  t.same(first.heard, second.heard)
  t.not(first.hash, other.hash)
  t.ok(first.heard.length > 100)
})

void t.test('streams forked by name do not depend on what others draw', (t) => {
  const [a, b] = [seededRandom(5), seededRandom(5)]
  b.float()
  t.equal(a.fork('x').float(), b.fork('x').float())
  t.not(a.fork('x').float(), a.fork('y').float())
  t.end()
})

void t.test('after a crash nothing of the old incarnation runs or settles', async (t) => {
  const world = new SimulatedWorld({ seed: 3 })
  const node = world.node('a', { ip: '10.0.0.1' })
  const { runtime } = node
  const late: string[] = []
  runtime.timers.after(50, () => late.push('timer'))
  runtime.timers.soon(() => {
    void runtime.files.makeDirectory('/x').then(
      () => late.push('settled'),
      () => late.push('rejected'),
    )
    world.after(0, () => node.crash({ powerCut: false }))
  })
  await world.run({ untilMs: 100 })
  t.same(late, [])
  t.notOk(node.alive)
  runtime.timers.after(1, () => late.push('timer of the dead'))
  void runtime.network.listen({ host: '0.0.0.0', port: 1 }, () => t.fail('accepted') as never)
  node.restart()
  await world.run({ untilMs: 200 })
  t.same(late, [])
})

void t.test('runtime.crash ends that node only and leaves the logic of its caller', async (t) => {
  const world = new SimulatedWorld({ seed: 3 })
  const [a, b] = [world.node('a', { ip: '10.0.0.1' }), world.node('b', { ip: '10.0.0.2' })]
  let behind = false
  let other = false
  const crashLater = async (): Promise<void> => {
    await new Promise<void>((resolve) => a.runtime.timers.soon(resolve))
    a.runtime.crash('an invariant is broken', { decree: 7 })
    behind = true
  }
  void crashLater()
  b.runtime.timers.after(10, () => (other = true))
  await world.run({ untilMs: 100 })
  t.notOk(behind)
  t.ok(other)
  t.match(a.exits, [{ how: 'crash', message: 'an invariant is broken' }])
  t.ok(b.alive)
})

void t.test('an uncaught exception or rejection ends the node that caused it', async (t) => {
  const world = new SimulatedWorld({ seed: 3 })
  const [a, b] = [world.node('a', { ip: '10.0.0.1' }), world.node('b', { ip: '10.0.0.2' })]
  a.runtime.timers.after(1, () => {
    throw new Error('thrown')
  })
  b.runtime.timers.after(2, () => {
    void (async () => {
      await b.runtime.network.resolve('a')
      throw new Error('rejected')
    })()
  })
  await world.run({ untilMs: 100 })
  t.match(a.exits, [{ how: 'uncaught', message: /thrown/ }])
  t.match(b.exits, [{ how: 'uncaught', message: /rejected/ }])
})

void t.test('the peer of a killed process hears of it, that of a power cut does not', async (t) => {
  for (const powerCut of [false, true]) {
    const world = new SimulatedWorld({ seed: 4, network: { deadPeerMs: 3000 } })
    const [server, client] = [
      world.node('server', { ip: '10.0.0.1' }),
      world.node('client', { ip: '10.0.0.2' }),
    ]
    startEcho(server.runtime)
    const heard: string[] = []
    world.after(5, () => startTalking(client.runtime, 'server', heard))
    world.after(50, () => server.crash({ powerCut }))
    // What was on the way has arrived by then.
    if (powerCut) world.after(60, () => (heard.length = 0))
    await world.run({ untilMs: 1000 })
    t.equal(heard.length > 0, !powerCut)
    await world.run({ untilMs: 10_000 })
    t.ok(heard.includes(powerCut ? 'ETIMEDOUT' : 'ECONNREFUSED'))
  }
})

void t.test('a partition of one direction holds back that direction only', async (t) => {
  const world = new SimulatedWorld({ seed: 4 })
  const [a, b] = [world.node('a', { ip: '10.0.0.1' }), world.node('b', { ip: '10.0.0.2' })]
  const got = { a: '', b: '' }
  let [atA, atB]: [Socket | undefined, Socket | undefined] = [undefined, undefined]
  const handlers = (name: 'a' | 'b') => ({
    onData: (chunk: Buffer) => {
      got[name] += chunk.toString()
    },
    onEnd: () => undefined,
    onDrain: () => undefined,
    onClose: () => undefined,
  })
  void b.runtime.network.listen({ host: 'b', port: 9 }, (socket) => {
    atB = socket
    return handlers('b')
  })
  world.after(5, () => {
    atA = a.runtime.network.connect({ host: 'b', port: 9, timeoutMs: 100 }, handlers('a'))
  })
  world.after(50, () => world.network.block('a', 'b'))
  world.after(60, () => {
    atA?.write(Buffer.from('to b'))
    atB?.write(Buffer.from('to a'))
  })
  await world.run({ untilMs: 500 })
  t.same(got, { a: 'to a', b: '' })
  world.network.healAll()
  await world.run({ untilMs: 2000 })
  t.same(got, { a: 'to a', b: 'to b' })
})

void t.test('a paused node runs nothing, and everything late when it resumes', async (t) => {
  const world = new SimulatedWorld({ seed: 4 })
  const node = world.node('a', { ip: '10.0.0.1' })
  const ranAtMs: number[] = []
  for (const delayMs of [10, 20, 300])
    node.runtime.timers.after(delayMs, () => ranAtMs.push(Math.floor(world.nowMs() / 100)))
  world.after(5, () => node.pause())
  world.after(200, () => node.resume())
  await world.run({ untilMs: 1000 })
  t.same(ranAtMs, [2, 2, 3])
})

void t.test('clocks run at their own rate and wall clocks step', async (t) => {
  const world = new SimulatedWorld({ seed: 4 })
  const fast = world.node('fast', { ip: '10.0.0.1', clockRate: 1.1, wallOffsetMs: 5000 })
  const { clock, timers } = fast.runtime
  const [monotonicMs, wallMs] = [clock.monotonicMs(), clock.wallMs()]
  let timerAtMs = 0
  timers.after(1100, () => (timerAtMs = world.nowMs()))
  fast.stepWallClock(-3_600_000)
  await world.run({ untilMs: 2000 })
  t.ok(Math.abs(clock.monotonicMs() - monotonicMs - 2200) < 0.01)
  t.equal(clock.wallMs() - wallMs, 2200 - 3_600_000)
  t.ok(timerAtMs >= 1000 && timerAtMs < 1002)
})

/** Runs a program on a node to its end. */
async function finish<T>(world: SimulatedWorld, program: Promise<T>): Promise<T> {
  let settled = false
  const mark = (): boolean => (settled = true)
  program.then(mark, mark)
  await world.run({ untilMs: world.nowMs() + 60_000, until: () => settled })
  return program
}

void t.test('a kill keeps completed writes, a power cut only what was synced', async (t) => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < 60; seed++) {
    const world = new SimulatedWorld({ seed })
    const node = world.node('a', { ip: '10.0.0.1' })
    const { files } = node.runtime
    const synced = Buffer.alloc(1500, 's')
    await finish(
      world,
      (async () => {
        const file = await files.open('/log', 'create')
        await file.write(0, [synced])
        await file.sync()
        await files.syncDirectory('/')
        await file.write(1500, [Buffer.alloc(3000, 'u')])
        await (await files.open('/unsynced-name', 'create')).close()
      })(),
    )
    node.crash({ powerCut: false })
    const afterKill = await finish(world, node.restart().files.readFile('/log'))
    t.equal(afterKill.length, 4500)
    node.crash({ powerCut: true })
    const after = node.restart().files
    const content = await finish(world, after.readFile('/log'))
    t.ok(content.subarray(0, 1500).toString() === synced.toString() || content.length > 1500)
    t.ok(content.length >= 1500)
    const sectorOne = content.subarray(0, 1024)
    t.ok(
      sectorOne.every((byte) => byte === 's'.charCodeAt(0)),
      'synced sectors stay',
    )
    const tail = content.subarray(1536)
    outcomes.add(tail.length === 0 ? 'short' : tail.includes(0) ? 'holes' : 'whole')
    const name = await finish(world, after.stat('/unsynced-name'))
    outcomes.add(name === undefined ? 'name lost' : 'name kept')
  }
  t.same([...outcomes].toSorted(), ['holes', 'name kept', 'name lost', 'short', 'whole'])
})

void t.test('an un-synced rename survives a power cut or not, whole either way', async (t) => {
  const seen = new Set<string>()
  for (let seed = 0; seed < 40; seed++) {
    const world = new SimulatedWorld({ seed })
    const node = world.node('a', { ip: '10.0.0.1' })
    const { files } = node.runtime
    await finish(world, files.replaceFile('/state', Buffer.from('old')))
    await finish(
      world,
      (async () => {
        const file = await files.open('/state.tmp', 'create')
        await file.write(0, [Buffer.from('new')])
        await file.sync()
        await files.rename('/state.tmp', '/state')
      })(),
    )
    node.crash({ powerCut: true })
    seen.add((await finish(world, node.restart().files.readFile('/state'))).toString())
  }
  t.same([...seen].toSorted(), ['new', 'old'])
})

void t.test('replaceFile under a power cut at any moment leaves old or new', async (t) => {
  for (let seed = 0; seed < 60; seed++) {
    const world = new SimulatedWorld({ seed })
    const node = world.node('a', { ip: '10.0.0.1' })
    await finish(world, node.runtime.files.replaceFile('/state', Buffer.alloc(2000, 'o')))
    void node.runtime.files.replaceFile('/state', Buffer.alloc(2000, 'n'))
    await world.run({ untilMs: world.nowMs() + world.random.between(0, 3) })
    node.crash({ powerCut: true })
    const content = await finish(world, node.restart().files.readFile('/state'))
    t.match(content.toString(), /^(o{2000}|n{2000})$/)
  }
})

void t.test('disks fail as configured: EIO, ENOSPC, and a failed sync loses content', async (t) => {
  const world = new SimulatedWorld({ seed: 9 })
  const node = world.node('a', { ip: '10.0.0.1' })
  const { files } = node.runtime
  const file = await finish(world, files.open('/log', 'create'))
  await finish(world, files.syncDirectory('/'))
  node.disk.configure({ full: true })
  await t.rejects(finish(world, file.write(0, [Buffer.alloc(100)])), { code: 'ENOSPC' })
  node.disk.configure({ full: false, readErrorProbability: 1 })
  await t.rejects(finish(world, file.read(0, 1)), { code: 'EIO' })
  node.disk.configure({ readErrorProbability: 0 })
  await finish(world, file.write(0, [Buffer.alloc(600, 1)]))
  node.disk.configure({ syncErrorProbability: 1 })
  await t.rejects(finish(world, file.sync()), { code: 'EIO' })
  node.disk.configure({ syncErrorProbability: 0 })
  await finish(world, file.sync())
  node.crash({ powerCut: true })
  const content = await finish(world, node.restart().files.readFile('/log'))
  t.ok(
    content.every((byte) => byte === 0),
    'the later sync did not bring it back',
  )
})
