/**
 * One suite for every implementation of the coordination contract: memory, the ZooKeeper wrapper on
 * the embedded server, and the wrapper on a real ZooKeeper. Faults of the network and of the server
 * are part of the contract, so each harness can cause them.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Coordinator, WatchEvent } from '../../cluster/coordinator/coordinator.ts'
import { CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { startRealZooKeeper, whyNoRealZooKeeper } from '../support/real-zookeeper.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

interface ConnectOptions {
  readonly sessionTimeoutMs?: number
  readonly operationTimeoutMs?: number
  readonly onExpiry?: 'end' | 'renew'
  readonly maxPending?: number
  readonly watchedPathBytesMax?: number
  readonly chroot?: string
  readonly auth?: { readonly user: string; readonly password: string }
  readonly access?: 'open' | 'creator'
  readonly readers?: 'anyone' | { readonly user: string; readonly password: string }
  /** Through the network that `cut`, `restore` and `reset` act on. */
  readonly faulty?: boolean
}

interface Harness {
  readonly speaksZooKeeper: boolean
  readonly connect: (options?: ConnectOptions) => Coordinator
  /** Of the faulty network. */
  readonly cut: () => void
  readonly restore: () => void
  readonly reset: () => void
  readonly restart: () => Promise<void>
  readonly freeze: () => void
  readonly thaw: () => void
  readonly close: () => Promise<void>
}

const runtime = nodeRuntime({ log: silentLog })
const shortMs = 1000
const longMs = 6000

async function memoryHarness(): Promise<Harness> {
  const service = new MemoryCoordination(runtime)
  return {
    speaksZooKeeper: false,
    connect: ({ faulty = false, sessionTimeoutMs = longMs, onExpiry = 'end', ...rest } = {}) =>
      service.connect(runtime, {
        name: faulty ? 'faulty' : 'healthy',
        sessionTimeoutMs,
        onExpiry,
        ...rest,
      }),
    cut: () => service.setReachable('faulty', 'down'),
    restore: () => service.setReachable('faulty', 'up'),
    reset: () => service.breakConnections('faulty'),
    restart: async () => service.breakConnections(),
    freeze: () => service.freeze(),
    thaw: () => service.thaw(),
    close: async () => undefined,
  }
}

function zooKeeperHarness(
  port: () => number,
  proxy: TcpProxy,
  server: Pick<Harness, 'restart' | 'freeze' | 'thaw' | 'close'>,
): Harness {
  return {
    speaksZooKeeper: true,
    connect: (options = {}) => {
      const { faulty, chroot = '', sessionTimeoutMs = longMs, onExpiry = 'end', ...rest } = options
      return connectZooKeeper(runtime, {
        servers: `127.0.0.1:${faulty === true ? proxy.port : port()}${chroot}`,
        sessionTimeoutMs,
        onExpiry,
        ...rest,
      })
    },
    cut: proxy.cut,
    restore: proxy.restore,
    reset: proxy.reset,
    ...server,
    close: async () => {
      await proxy.close()
      await server.close()
    },
  }
}

async function embeddedHarness(): Promise<Harness> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'embedded-zookeeper-'))
  const options = { host: '127.0.0.1', dataDirectory, sessionTimeoutMsMin: 500 }
  let server = await startEmbeddedZooKeeper(runtime, { ...options, port: 0 })
  const proxy = await startTcpProxy(() => server.port)
  return zooKeeperHarness(() => server.port, proxy, {
    restart: async () => {
      const { port } = server
      await server.close()
      server = await startEmbeddedZooKeeper(runtime, { ...options, port })
    },
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    close: async () => {
      await server.close()
      rmSync(dataDirectory, { recursive: true, force: true })
    },
  })
}

async function realHarness(): Promise<Harness> {
  const server = await startRealZooKeeper()
  const proxy = await startTcpProxy(() => server.port)
  return zooKeeperHarness(() => server.port, proxy, server)
}

const text = (value: string): Buffer => Buffer.from(value)

/** Waits for a condition; the limit only ends a test that would hang. */
async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const startedAtMs = Date.now()
  while (!(await condition())) {
    if (Date.now() - startedAtMs > 20_000) throw new Error(`did not happen: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const inState = (coordinator: Coordinator, state: string): Promise<void> =>
  until(`state ${state}`, () => coordinator.state() === state)

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'ok'
  } catch (error) {
    return error instanceof CoordinatorError ? error.code : String(error)
  }
}

function watcher(): { readonly events: WatchEvent[]; readonly watch: (e: WatchEvent) => void } {
  const events: WatchEvent[] = []
  return { events, watch: (event) => events.push(event) }
}

function suite(name: string, open: () => Promise<Harness>): void {
  void t.test(name, { buffered: true, timeout: 120_000 }, async (t) => {
    const harness = await open()
    const opened: Coordinator[] = []
    let number = 0
    const connect = (options?: ConnectOptions): Coordinator => {
      const coordinator = harness.connect(options)
      opened.push(coordinator)
      return coordinator
    }
    /** A claim with a coordinator and a fresh root node. */
    const claim = (
      title: string,
      run: (t: Test, zk: Coordinator, root: string) => Promise<void>,
    ): Promise<unknown> =>
      t.test(title, async (t) => {
        const zk = connect()
        const root = `/root${(number += 1)}`
        await zk.create(root, text(''))
        await run(t, zk, root)
        await Promise.all(opened.splice(0).map((one) => one.close()))
      })
    const context = { harness, connect, claim }
    await dataClaims(context)
    await watchClaims(context)
    await limitClaims(context)
    await sessionClaims(context)
    await expiryClaims(context)
    if (harness.speaksZooKeeper) await zooKeeperClaims(context)
    await harness.close()
  })
}

interface Context {
  readonly harness: Harness
  readonly connect: (options?: ConnectOptions) => Coordinator
  readonly claim: (
    title: string,
    run: (t: Test, zk: Coordinator, root: string) => Promise<void>,
  ) => Promise<unknown>
}

async function dataClaims({ connect, claim }: Context): Promise<void> {
  await claim('nodes hold data with versions and times', async (t, zk, root) => {
    const path = `${root}/node`
    t.equal(await zk.create(path, text('one')), path)
    const { data, stat } = await zk.get(path)
    t.equal(data.toString(), 'one')
    t.match(stat, { version: 0, ephemeralOwner: 0n, childrenCount: 0, dataSizeBytes: 3 })
    t.ok(Math.abs(Date.now() - stat.createdWallMs) < 60_000)
    const changed = await zk.set(path, text('three'), 0)
    t.match(changed, { version: 1, dataSizeBytes: 5 })
    t.ok(changed.modifiedZxid > stat.modifiedZxid)
    t.equal(changed.createdZxid, stat.createdZxid)
    t.same(await zk.exists(path), changed)
    t.equal((await zk.get(path)).data.toString(), 'three')
    await zk.create(`${path}/a`, Buffer.alloc(0))
    await zk.create(`${path}/b`, Buffer.alloc(0))
    await zk.remove(`${path}/a`)
    t.match(await zk.exists(path), { childrenVersion: 3, childrenCount: 1 })
    t.same(await zk.children(path), ['b'])
    t.equal((await zk.get(`${path}/b`)).data.length, 0)
    await zk.remove(`${path}/b`, 0)
    await zk.remove(path)
    t.equal(await zk.exists(path), undefined)
  })

  await claim('a node that nobody closed is open, and acl says so', async (t, zk, root) => {
    t.same(await zk.acl(root), [{ permissions: 31, scheme: 'world', id: 'anyone' }])
    t.equal(await codeOf(zk.acl(`${root}/none`)), 'no-node')
    t.equal(await codeOf(zk.acl('a//b')), 'bad-arguments')
  })

  await claim('each refusal has its code', async (t, zk, root) => {
    const ephemeral = `${root}/ephemeral`
    await zk.create(ephemeral, text(''), { ephemeral: true })
    const one = text('1')
    t.equal(await codeOf(zk.create(root, one)), 'node-exists')
    t.equal(await codeOf(zk.create(`${root}/a/b`, one)), 'no-node')
    t.equal(await codeOf(zk.create(`${ephemeral}/child`, one)), 'no-children-for-ephemerals')
    t.equal(await codeOf(zk.get(`${root}/none`)), 'no-node')
    t.equal(await codeOf(zk.children(`${root}/none`)), 'no-node')
    t.equal(await codeOf(zk.set(`${root}/none`, one)), 'no-node')
    t.equal(await codeOf(zk.remove(`${root}/none`)), 'no-node')
    t.equal(await codeOf(zk.set(root, one, 7)), 'bad-version')
    t.equal(await codeOf(zk.remove(ephemeral, 7)), 'bad-version')
    t.equal(await codeOf(zk.remove(root)), 'not-empty')
    for (const path of ['', 'a', '/a/', '//a', '/a//b', '/./a', '/a/..', '/a\u0000b'])
      t.equal(await codeOf(zk.get(path)), 'bad-arguments', JSON.stringify(path))
    t.equal(zk.state(), 'connected')
  })

  await claim('sequential names count upwards in the order of calls', async (t, zk, root) => {
    const data = text('')
    const create = (): Promise<string> =>
      zk.create(`${root}/n-`, data, { sequential: true, ephemeral: true })
    const paths = await Promise.all(Array.from({ length: 20 }, create))
    t.same(
      paths,
      paths.map((_, index) => `${root}/n-${String(index).padStart(10, '0')}`),
    )
    await zk.remove(paths[19] ?? '')
    await zk.create(`${root}/other`, data)
    t.equal(await create(), `${root}/n-0000000021`, 'every child counts, and none twice')
  })

  await claim('operations take effect and settle in the order of calls', async (t, zk, root) => {
    const settled: number[] = []
    const calls = Array.from({ length: 300 }, async (_, index) => {
      if (index % 3 === 0) await zk.get(root)
      else await zk.set(root, text(String(index)))
      settled.push(index)
    })
    await Promise.all(calls)
    t.same(
      settled,
      settled.map((_, index) => index),
    )
    t.equal((await zk.get(root)).data.toString(), '299')
  })

  await claim('a multi happens as a whole or not at all', async (t, zk, root) => {
    await zk.create(`${root}/a`, text('a'))
    const { events, watch } = watcher()
    await zk.get(`${root}/a`, watch)
    await zk.children(root, watch)
    const spoiled = zk.multi([
      { type: 'set', path: `${root}/a`, data: text('b'), version: 0 },
      { type: 'create', path: `${root}/c`, data: text('c'), ephemeral: true },
      { type: 'remove', path: `${root}/a` },
      { type: 'remove', path: `${root}/none` },
    ])
    t.equal(await codeOf(spoiled), 'no-node')
    t.match(await zk.get(`${root}/a`), { data: text('a'), stat: { version: 0 } })
    t.equal(await zk.exists(`${root}/c`), undefined)
    t.same(events, [])
    await zk.multi([
      { type: 'check', path: root, version: 0 },
      { type: 'create', path: `${root}/b`, data: text('b') },
      { type: 'set', path: `${root}/b`, data: text('bb') },
      { type: 'create', path: `${root}/b/c`, data: text('c') },
      { type: 'remove', path: `${root}/a`, version: 0 },
    ])
    t.match(await zk.get(`${root}/b`), { data: text('bb'), stat: { version: 1 } })
    t.same(await zk.children(`${root}/b`), ['c'])
    await until('both watches', () => events.length === 2)
    // Version 0 is a version like any other.
    for (const operation of [
      { type: 'check', path: `${root}/b`, version: 0 },
      { type: 'set', path: `${root}/b`, data: text('x'), version: 0 },
      { type: 'remove', path: `${root}/b`, version: 0 },
    ] as const)
      t.equal(await codeOf(zk.multi([operation])), 'bad-version', operation.type)
  })

  await claim('sync shows what others were told is written', async (t, zk, root) => {
    const other = connect()
    await other.set(root, text('new'))
    await zk.sync(root)
    t.equal((await zk.get(root)).data.toString(), 'new')
  })
}

async function watchClaims({ connect, claim }: Context): Promise<void> {
  await claim('a watch fires once, for the change it waits for', async (t, zk, root) => {
    const other = connect()
    const path = `${root}/node`
    const watchesBefore = zk.watchCount()
    const created = watcher()
    t.equal(await zk.exists(path, created.watch), undefined)
    const children = watcher()
    await zk.children(root, children.watch)
    await other.create(path, text('1'))
    await until('creation', () => created.events.length + children.events.length === 2)
    t.same(created.events, [{ type: 'created', path }])
    t.same(children.events, [{ type: 'children', path: root }])
    const changed = watcher()
    await zk.get(path, changed.watch)
    await zk.exists(path, changed.watch)
    const deleted = watcher()
    await zk.children(path, deleted.watch)
    t.equal(zk.watchCount(), watchesBefore + 2, 'one for its value and one for its children')
    await other.set(path, text('2'))
    await until('change', () => changed.events.length === 2)
    await other.set(path, text('3'))
    await other.create(`${root}/sibling`, text(''))
    await zk.get(path, changed.watch)
    await other.remove(path)
    await until('deletion', () => deleted.events.length === 1 && changed.events.length === 3)
    const types = changed.events.map(({ type }) => type)
    t.same(types, ['changed', 'changed', 'deleted'])
    t.same(deleted.events, [{ type: 'deleted', path }])
    t.equal(created.events.length + children.events.length, 2)
    t.equal(zk.watchCount(), watchesBefore)
  })

  await claim('a read that fails sets no watch, except for existence', async (t, zk, root) => {
    const { events, watch } = watcher()
    const path = `${root}/node`
    await codeOf(zk.get(path, watch))
    await codeOf(zk.children(path, watch))
    await zk.create(path, text(''))
    await zk.set(path, text('2'))
    await zk.sync(path)
    t.same(events, [])
  })

  await claim('a client hears of a change before it sees the new state', async (t, zk, root) => {
    const other = connect()
    await other.sync('/')
    let heard = 0
    let isLate = false
    for (let round = 1; round <= 20; round += 1) {
      await zk.get(root, () => (heard = round))
      const write = other.set(root, text(String(round)))
      await until('the new state', async () => {
        const { data } = await zk.get(root)
        if (data.toString() !== String(round)) return false
        isLate ||= heard !== round
        return true
      })
      await write
    }
    t.notOk(isLate)
  })
}

async function limitClaims({ harness, connect, claim }: Context): Promise<void> {
  await claim('data up to the limit passes, more is refused', async (t, zk, root) => {
    const most = Buffer.alloc(1_039_900, 7)
    await zk.set(root, most)
    t.ok((await zk.get(root)).data.equals(most))
    const more = Buffer.alloc(1_040_001)
    t.equal(await codeOf(zk.set(root, more)), 'too-large')
    t.equal(await codeOf(zk.create(`${root}/b`, more)), 'too-large')
    const half = { type: 'set', path: root, data: Buffer.alloc(600_000) } as const
    t.equal(await codeOf(zk.multi([half, half])), 'too-large')
    t.equal(zk.state(), 'connected')
  })

  await claim('more pending operations than allowed are refused', async (t, _zk, root) => {
    const zk = connect({ maxPending: 10 })
    await zk.get(root)
    const codes = await Promise.all(Array.from({ length: 25 }, () => codeOf(zk.get(root))))
    t.same(
      codes,
      codes.map((_, index) => (index < 10 ? 'ok' : 'not-connected')),
    )
    t.equal(await codeOf(zk.get(root)), 'ok')
  })

  await claim('more watched paths than allowed are refused', async (t, _zk, root) => {
    const zk = connect({ watchedPathBytesMax: 20 })
    const { events, watch } = watcher()
    t.equal(await codeOf(zk.exists(`${root}/a`, watch)), 'ok')
    t.equal(await codeOf(zk.exists(`${root}/bcdefghijkl`, watch)), 'too-large')
    t.equal(await codeOf(zk.exists(`${root}/bcdefghijkl`)), 'ok')
    await zk.create(`${root}/a`, text(''))
    await until('the watch', () => events.length === 1)
    t.equal(await codeOf(zk.exists(`${root}/bcdefghijkl`, watch)), 'ok', 'there is room again')
  })

  await claim('what a listener asks for comes behind what waited', async (t) => {
    const zk = connect()
    const settled: string[] = []
    zk.onState((state) => {
      if (state === 'connected') void zk.get('/').then(() => settled.push('listener'))
    })
    await Promise.all(['a', 'b'].map((name) => zk.get('/').then(() => settled.push(name))))
    await until('its answer', () => settled.length === 3)
    t.same(settled, ['a', 'b', 'listener'])
  })

  await claim('without a service operations wait for their deadline only', async (t) => {
    harness.cut()
    const zk = connect({ faulty: true, operationTimeoutMs: 200, sessionTimeoutMs: shortMs })
    t.equal(zk.state(), 'connecting')
    t.equal(zk.sessionEpoch(), 0)
    t.equal(zk.sessionTimeoutMs(), 0)
    t.equal(await codeOf(zk.get('/')), 'not-connected')
    t.equal(zk.state(), 'connecting')
    const last = codeOf(zk.get('/'))
    await zk.close()
    t.equal(await last, 'closed')
    harness.restore()
  })

  await claim('close ends the session and every operation', async (t, zk, root) => {
    const other = connect()
    const states: string[] = []
    other.onState((state) => states.push(state))
    await other.create(`${root}/mine`, text(''), { ephemeral: true })
    const { events, watch } = watcher()
    await zk.exists(`${root}/mine`, watch)
    const pending = codeOf(other.get(root))
    await Promise.all([other.close(), other.close()])
    t.match(await pending, /^(ok|closed)$/)
    t.equal(await codeOf(other.get(root)), 'closed')
    t.equal(other.state(), 'closed')
    t.same(states, ['connected', 'closed'])
    await until('the ephemeral node has gone', () => events.length === 1)
    t.same(events, [{ type: 'deleted', path: `${root}/mine` }])
  })
}

async function sessionClaims({ harness, connect, claim }: Context): Promise<void> {
  await claim('a broken connection costs no session and no watch', async (t, zk, root) => {
    const victim = connect({ faulty: true })
    await victim.create(`${root}/mine`, text(''), { ephemeral: true })
    await zk.create(`${root}/still`, text(''))
    const missed = watcher()
    const later = watcher()
    await victim.get(root, missed.watch)
    await victim.exists(`${root}/new`, missed.watch)
    await victim.children(root, missed.watch)
    await victim.get(`${root}/still`, later.watch)
    await victim.exists(`${root}/later`, later.watch)
    harness.cut()
    const pending = codeOf(victim.get(root))
    await zk.set(root, text('changed'))
    await zk.create(`${root}/new`, text(''))
    harness.reset()
    t.equal(await pending, 'connection-loss')
    harness.restore()
    await until('missed events', () => missed.events.length === 3)
    const types = missed.events.map(({ type }) => type).toSorted()
    t.same(types, ['changed', 'children', 'created'])
    t.same(later.events, [])
    await inState(victim, 'connected')
    t.equal(victim.sessionEpoch(), 1)
    t.ok(await zk.exists(`${root}/mine`))
    await zk.set(`${root}/still`, text('2'))
    await zk.create(`${root}/later`, text('2'))
    await until('later events', () => later.events.length === 2)
  })

  await claim('data, sessions and watches outlive a restart', async (t, zk, root) => {
    await zk.create(`${root}/mine`, text('mine'), { ephemeral: true })
    const first = await zk.create(`${root}/n-`, text(''), { sequential: true })
    const { events, watch } = watcher()
    await zk.get(root, watch)
    const before = await zk.exists(root)
    await harness.restart()
    await until('a new connection', async () => (await codeOf(zk.sync('/'))) === 'ok')
    t.equal(zk.sessionEpoch(), 1)
    t.same(await zk.exists(root), before)
    t.equal((await zk.get(`${root}/mine`)).data.toString(), 'mine')
    const second = await zk.create(`${root}/n-`, text(''), { sequential: true })
    t.ok(second > first)
    t.same(events, [])
    await zk.set(root, text('again'))
    await until('the watch', () => events.length === 1)
    t.same(events, [{ type: 'changed', path: root }])
  })

  await claim('a frozen service is noticed within two thirds', async (t, _zk, root) => {
    const zk = connect({ sessionTimeoutMs: 3000, operationTimeoutMs: 60_000 })
    await zk.get(root)
    const states: string[] = []
    zk.onState((state) => states.push(state))
    t.equal(zk.sessionTimeoutMs(), 3000)
    harness.freeze()
    const pending = [codeOf(zk.get(root)), codeOf(zk.set(root, text('2'))), codeOf(zk.sync(root))]
    await inState(zk, 'suspended')
    const ageMs = runtime.clock.monotonicMs() - zk.lastAnswerAtMs()
    t.ok(ageMs >= 2000, 'not too early; how late at most is a claim of the simulation')
    t.same(
      await Promise.all(pending),
      pending.map(() => 'connection-loss'),
    )
    t.equal(await codeOf(zk.get(root)), 'not-connected')
    harness.thaw()
    await until('an end of it', () => zk.state() !== 'suspended')
    t.match(states, ['suspended', /connected|expired/])
  })

  await claim('a deadline ends an operation whose answer is late', async (t, _zk, root) => {
    const zk = connect({ operationTimeoutMs: 300 })
    await zk.get(root)
    harness.freeze()
    const settled: string[] = []
    const calls = ['a', 'b', 'c'].map(async (name) => {
      const code = await codeOf(zk.set(root, text(name)))
      settled.push(`${name} ${code}`)
    })
    await Promise.all(calls)
    t.same(settled, ['a timeout', 'b timeout', 'c timeout'])
    harness.thaw()
    // Unknown means that it may have happened.
    await until('the outcome', async () => (await codeOf(zk.get(root))) === 'ok')
    t.equal((await zk.get(root)).data.toString(), 'c')
  })
}

async function expiryClaims({ harness, connect, claim }: Context): Promise<void> {
  const expire = async (zk: Coordinator, root: string): Promise<void> => {
    const gone = watcher()
    await zk.exists(`${root}/mine`, gone.watch)
    harness.cut()
    await until('the ephemeral node has gone', () => gone.events.length === 1)
    harness.restore()
  }

  await claim('an expired session takes everything with it and ends', async (t, zk, root) => {
    const victim = connect({ faulty: true, sessionTimeoutMs: shortMs })
    const states: string[] = []
    victim.onState((state) => states.push(state))
    await victim.create(`${root}/mine`, text(''), { ephemeral: true })
    const { events, watch } = watcher()
    await victim.get(root, watch)
    await victim.exists(`${root}/none`, watch)
    await victim.children(root, watch)
    await expire(zk, root)
    await inState(victim, 'expired')
    t.same(states, ['connected', 'suspended', 'expired'])
    t.same(
      events.map(({ type }) => type),
      ['session-lost', 'session-lost', 'session-lost'],
    )
    t.equal(await codeOf(victim.get(root)), 'session-expired')
    t.equal(victim.sessionEpoch(), 1)
    t.equal(victim.state(), 'expired')
  })

  await claim('renewed after expiry, it is another session', async (t, zk, root) => {
    const victim = connect({ faulty: true, sessionTimeoutMs: shortMs, onExpiry: 'renew' })
    await victim.create(`${root}/mine`, text(''), { ephemeral: true })
    const { events, watch } = watcher()
    await victim.get(root, watch)
    const seen: string[] = []
    victim.onState((state) => seen.push(`${state} ${victim.sessionEpoch()}`))
    await expire(zk, root)
    await inState(victim, 'connected')
    t.same(seen, ['suspended 1', 'expired 1', 'connected 2'])
    t.same(events, [{ type: 'session-lost', path: root }])
    await victim.create(`${root}/mine`, text(''), { ephemeral: true })
    await victim.get(root, watch)
    await zk.set(root, text('2'))
    await until('the new watch', () => events.length === 2)
  })
}

async function zooKeeperClaims({ harness, connect, claim }: Context): Promise<void> {
  await claim('a chroot is the root of every path', async (t, zk, root) => {
    const inside = connect({ chroot: root, faulty: true })
    const { events, watch } = watcher()
    await inside.exists('/node', watch)
    await inside.children('/', watch)
    t.equal(await inside.create('/node', text('1')), '/node')
    t.equal((await zk.get(`${root}/node`)).data.toString(), '1')
    await until('both watches', () => events.length === 2)
    t.same(events.map(({ path }) => path).toSorted(), ['/', '/node'])
    await inside.multi([{ type: 'create', path: '/multi', data: text('') }])
    await inside.sync('/node')
    t.equal(await inside.create('/n-', text(''), { sequential: true }), '/n-0000000002')
    await inside.get('/node', watch)
    harness.reset()
    await until('a new connection', async () => (await codeOf(inside.sync('/'))) === 'ok')
    await zk.set(`${root}/node`, text('2'))
    await until('the watch', () => events.length === 3)
    t.same(events[2], { type: 'changed', path: '/node' })
  })

  await claim('nodes of a creator are closed to others', async (t, zk, root) => {
    const auth = { user: 'meta', password: 'secret' }
    const owner = connect({ auth, access: 'creator', faulty: true })
    await owner.create(`${root}/closed`, text('secret'))
    t.equal(await codeOf(zk.get(`${root}/closed`)), 'no-auth')
    t.equal(await codeOf(zk.set(`${root}/closed`, text(''))), 'no-auth')
    const impostor = connect({ auth: { user: 'meta', password: 'guess' } })
    t.equal(await codeOf(impostor.get(`${root}/closed`)), 'no-auth')
    const friend = connect({ auth })
    t.equal((await friend.get(`${root}/closed`)).data.toString(), 'secret')
    for (let round = 0; round < 3; round += 1) {
      harness.reset()
      await until('a new connection', async () => {
        const code = await codeOf(owner.get(`${root}/closed`))
        t.not(code, 'no-auth')
        return code === 'ok'
      })
    }
  })

  await claim(
    'readers of a creator read and do not write; acl says who may',
    async (t, zk, root) => {
      const auth = { user: 'writer', password: 'secret' }
      const reader = { user: 'reader', password: 'other' }
      const owner = connect({ auth, access: 'creator', readers: reader })
      await owner.create(`${root}/mapping`, text('1'))
      const { all, read } = { all: 31, read: 1 }
      const shown = [
        { permissions: all, scheme: 'digest', id: /^writer:/ },
        { permissions: read, scheme: 'digest', id: /^reader:/ },
      ]
      t.match(await owner.acl(`${root}/mapping`), shown)
      const friend = connect({ auth: reader })
      t.equal((await friend.get(`${root}/mapping`)).data.toString(), '1')
      t.match(await friend.acl(`${root}/mapping`), shown)
      t.equal(await codeOf(friend.set(`${root}/mapping`, text('2'))), 'no-auth')
      t.equal(await codeOf(zk.get(`${root}/mapping`)), 'no-auth')
      t.equal(await codeOf(zk.acl(`${root}/mapping`)), 'no-auth')
      const shared = connect({ auth, access: 'creator', readers: 'anyone' })
      await shared.multi([{ type: 'create', path: `${root}/public`, data: text('2') }])
      t.equal((await zk.get(`${root}/public`)).data.toString(), '2')
      t.equal(await codeOf(zk.remove(`${root}/public`)), 'ok', 'deleting is a right on the parent')
      await shared.create(`${root}/public`, text('3'))
      t.equal(await codeOf(zk.set(`${root}/public`, text('4'))), 'no-auth')
    },
  )

  await claim('more watches than one packet holds are set again', async (t, zk, root) => {
    const victim = connect({ faulty: true, maxPending: 10_000, operationTimeoutMs: 20_000 })
    const { events, watch } = watcher()
    const paths = Array.from({ length: 8000 }, (_, index) => `${root}/${'x'.repeat(150)}${index}`)
    await Promise.all(paths.map((path) => victim.exists(path, watch)))
    harness.reset()
    await until('a new connection', async () => (await codeOf(victim.sync('/'))) === 'ok')
    const chosen = [paths[0] ?? '', paths[4000] ?? '', paths[7999] ?? '']
    for (const path of chosen) await zk.create(path, text(''))
    await until('their watches', () => events.length === 3)
    t.same(
      events.map(({ path }) => path),
      chosen,
    )
    t.equal(victim.sessionEpoch(), 1)
  })
}

// Timers of the runtime keep no process alive, and memory has nothing else.
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))
t.jobs = 3
suite('memory', memoryHarness)
suite('embedded ZooKeeper', embeddedHarness)
const reason = whyNoRealZooKeeper()
if (reason === undefined) suite('real ZooKeeper', realHarness)
else void t.test('real ZooKeeper', { skip: reason }, () => undefined)
