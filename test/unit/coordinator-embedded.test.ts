/**
 * The embedded ZooKeeper server from outside and below: bytes that no client should send, and what
 * its data folder holds after restarts, power cuts and damage. What clients may rely on is in
 * `test/contract/coordinator.test.ts`.
 */
import fc from 'fast-check'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { JuteReader, JuteWriter } from '../../cluster/coordinator/embedded/jute.ts'
import { decodeSnapshot, encodeSnapshot } from '../../cluster/coordinator/embedded/records.ts'
import type { Transaction } from '../../cluster/coordinator/embedded/records.ts'
import {
  startEmbeddedZooKeeper,
  type EmbeddedZooKeeper,
  type EmbeddedZooKeeperOptions,
} from '../../cluster/coordinator/embedded/server.ts'
import { embeddedZooKeeperConfig } from '../../cluster/coordinator/embedded/main.ts'
import { ServerState } from '../../cluster/coordinator/embedded/state.ts'
import { openTransactionLog } from '../../cluster/coordinator/embedded/transaction-log.ts'
import { openAccess, Tree, type TreeRequest } from '../../cluster/coordinator/tree.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'

const runtime = nodeRuntime({ log: silentLog })
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))

async function serve(
  t: Test,
  options: Partial<EmbeddedZooKeeperOptions> = {},
): Promise<EmbeddedZooKeeper> {
  const server = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    ...options,
    // Asking again for the folder of a test would empty it.
    dataDirectory: options.dataDirectory ?? t.testdir(),
  })
  t.teardown(() => server.close())
  return server
}

function coordinatorOf(t: Test, server: EmbeddedZooKeeper) {
  const coordinator = connectZooKeeper(runtime, {
    servers: `127.0.0.1:${server.port}`,
    sessionTimeoutMs: 5000,
    onExpiry: 'end',
  })
  t.teardown(() => coordinator.close())
  return coordinator
}

/** A connection that sends any bytes and splits what comes back into frames. */
class RawClient {
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  #isClosed = false
  #wake: (() => void) | undefined

  constructor(t: Test, port: number) {
    this.#socket = connect({ host: '127.0.0.1', port })
    this.#socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake?.()
    })
    this.#socket.on('error', () => undefined)
    this.#socket.on('close', () => {
      this.#isClosed = true
      this.#wake?.()
    })
    t.teardown(() => this.#socket.destroy())
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  sendFrame(body: Buffer): void {
    const length = Buffer.alloc(4)
    length.writeInt32BE(body.length)
    this.send(Buffer.concat([length, body]))
  }

  /** Everything up to the end of the connection. */
  async untilClosed(): Promise<Buffer> {
    while (!this.#isClosed) await this.#change()
    return this.#received
  }

  async frame(): Promise<Buffer> {
    for (;;) {
      const size = this.#received.length < 4 ? Infinity : 4 + this.#received.readInt32BE(0)
      if (this.#received.length >= size) {
        const frame = this.#received.subarray(4, size)
        this.#received = this.#received.subarray(size)
        return frame
      }
      if (this.#isClosed) throw new Error('closed')
      await this.#change()
    }
  }

  /** The answer to a connect request: timeout, session and password. */
  async connect(options: { timeoutMs?: number; id?: bigint; password?: Buffer } = {}) {
    const { timeoutMs = 5000, id = 0n, password = Buffer.alloc(16) } = options
    const request = new JuteWriter().int(0).long(0n).int(timeoutMs).long(id).buffer(password)
    this.sendFrame(request.boolean(false).take())
    const reader = new JuteReader(await this.frame())
    reader.int()
    return { timeoutMs: reader.int(), id: reader.long(), password: reader.buffer() }
  }

  /** Header of the answer to a request. */
  async ask(type: number, body: Buffer): Promise<{ xid: number; error: number }> {
    this.sendFrame(Buffer.concat([new JuteWriter().int(7).int(type).take(), body]))
    const reader = new JuteReader(await this.frame())
    const xid = reader.int()
    reader.long()
    return { xid, error: reader.int() }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }
}

const pathAndWatch = (path: string): Buffer => new JuteWriter().string(path).boolean(false).take()

void t.test('garbage ends its own connection and nothing else', async (t) => {
  const server = await serve(t)
  const witness = coordinatorOf(t, server)
  await witness.create('/witness', Buffer.from('here'))
  const head = (length: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(length)
    return bytes
  }
  const beforeHandshake: readonly Buffer[] = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    head(-1),
    head(2 * 1024 * 1024 + 1),
    head(0x7fffffff),
    Buffer.concat([head(4), head(0)]),
    Buffer.concat([head(8), head(9), head(9)]),
  ]
  for (const bytes of beforeHandshake) {
    const client = new RawClient(t, server.port)
    client.send(bytes)
    t.equal((await client.untilClosed()).length, 0, bytes.toString('hex').slice(0, 32))
  }
  const getData = new JuteWriter().int(7).int(4)
  const afterHandshake: readonly Buffer[] = [
    head(-5),
    head(0x10000000),
    Buffer.concat([head(2), Buffer.alloc(2)]),
    // A path that is longer than its frame, of negative length, and not UTF-8.
    Buffer.concat([head(12), getData.take(), head(1000)]),
    Buffer.concat([head(12), getData.take(), head(-7)]),
    Buffer.concat([head(14), getData.take(), head(2), Buffer.from([0xff, 0xfe])]),
    // Watches: a list of two billion paths.
    Buffer.concat([head(20), new JuteWriter().int(7).int(101).long(0n).int(0x7fffffff).take()]),
  ]
  for (const bytes of afterHandshake) {
    const client = new RawClient(t, server.port)
    await client.connect()
    client.send(bytes)
    t.equal((await client.untilClosed()).length, 0, bytes.toString('hex').slice(0, 48))
  }
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
      const client = new RawClient(t, server.port)
      await client.connect()
      client.sendFrame(Buffer.from(bytes))
      client.send(head(-1))
      await client.untilClosed()
    }),
    { numRuns: 50 },
  )
  t.equal((await witness.get('/witness')).data.toString(), 'here')
  t.equal(witness.sessionEpoch(), 1)
})

void t.test('frames may come in pieces', async (t) => {
  const server = await serve(t)
  const client = new RawClient(t, server.port)
  const { id } = await client.connect()
  t.ok(server.sessionIds().includes(id))
  const request = Buffer.concat([new JuteWriter().int(1).int(3).take(), pathAndWatch('/')])
  const frame = Buffer.concat([new JuteWriter().int(request.length).take(), request])
  for (const byte of frame) {
    client.send(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
  client.send(Buffer.concat([frame, frame, frame.subarray(0, 7)]))
  client.send(frame.subarray(7))
  for (let count = 0; count < 4; count += 1) t.equal(new JuteReader(await client.frame()).int(), 1)
})

void t.test('unknown operations are answered and cost nothing', async (t) => {
  const server = await serve(t)
  const client = new RawClient(t, server.port)
  await client.connect()
  for (const type of [16, 19, 21, 22, 102, 106, 107, 4711, -3])
    t.same(await client.ask(type, pathAndWatch('/')), { xid: 7, error: -6 }, String(type))
  t.same(await client.ask(3, pathAndWatch('/')), { xid: 7, error: 0 })
  t.same(await client.ask(4, pathAndWatch('/none')), { xid: 7, error: -101 })
})

void t.test('session times are brought into range, passwords are checked', async (t) => {
  const server = await serve(t)
  const short = await new RawClient(t, server.port).connect({ timeoutMs: 1 })
  t.equal(short.timeoutMs, 2000)
  const long = await new RawClient(t, server.port).connect({ timeoutMs: 0x7fffffff })
  t.equal(long.timeoutMs, 60_000)
  const again = await new RawClient(t, server.port).connect(long)
  t.same(again, long, 'the session is taken up')
  const gone = { timeoutMs: 0, id: 0n, password: Buffer.alloc(16) }
  const wrong = new RawClient(t, server.port)
  t.same(await wrong.connect({ ...long, password: Buffer.alloc(16, 1) }), gone)
  await wrong.untilClosed()
  t.same(await new RawClient(t, server.port).connect({ ...long, id: 12_345n }), gone)
})

void t.test('a session expired on command is gone for its client', async (t) => {
  const server = await serve(t)
  const coordinator = coordinatorOf(t, server)
  await coordinator.create('/mine', Buffer.alloc(0), { ephemeral: true })
  const [id = 0n] = server.sessionIds()
  t.equal((await coordinator.exists('/mine'))?.ephemeralOwner, id)
  const expired = new Promise<void>((resolve) => {
    coordinator.onState((state) => {
      if (state === 'expired') resolve()
    })
  })
  server.expireSession(id)
  await expired
  t.equal(await coordinatorOf(t, server).exists('/mine'), undefined)
})

void t.test('four-letter words', async (t) => {
  const server = await serve(t)
  const ask = async (word: string): Promise<string> => {
    const client = new RawClient(t, server.port)
    client.send(Buffer.from(word))
    return (await client.untilClosed()).toString()
  }
  t.equal(await ask('ruok'), 'imok')
  t.match(await ask('mntr'), /^zk_version\t.*zk_server_state\tstandalone\n.*zk_znode_count\t1\n/s)
  t.match(await ask('srvr'), /Mode: standalone\nNode count: 1\n/)
  t.match(await ask('stat'), /Clients:\n \/127\.0\.0\.1:\d+\n/)
})

void t.test('connections beyond the limit are closed', async (t) => {
  const server = await serve(t, { connectionsMax: 2 })
  const first = new RawClient(t, server.port)
  await first.connect()
  await new RawClient(t, server.port).connect()
  t.equal((await new RawClient(t, server.port).untilClosed()).length, 0)
  t.same(await first.ask(3, pathAndWatch('/')), { xid: 7, error: 0 })
})

void t.test('a port in use is an error of the start', async (t) => {
  const { port } = await serve(t)
  const options = { host: '127.0.0.1', port, dataDirectory: t.testdir({ other: {} }) }
  await t.rejects(startEmbeddedZooKeeper(runtime, options), { code: 'EADDRINUSE' })
})

async function written(t: Test, directory: string, count: number): Promise<void> {
  const server = await serve(t, { dataDirectory: directory, snapshotLogBytes: 4096 })
  const coordinator = coordinatorOf(t, server)
  for (let index = 0; index < count; index += 1)
    await coordinator.create(`/node${index}`, Buffer.alloc(100, index))
  await coordinator.close()
  await server.close()
}

async function nodesOf(t: Test, directory: string): Promise<number> {
  const server = await serve(t, { dataDirectory: directory })
  const names = await coordinatorOf(t, server).children('/')
  await server.close()
  return names.length
}

const filesOf = (directory: string, kind: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.startsWith(kind))
    .map((name) => join(directory, name))

void t.test('snapshots replace old logs, and restarts find everything', async (t) => {
  const directory = t.testdir()
  await written(t, directory, 60)
  t.equal(filesOf(directory, 'snapshot').length, 1)
  t.ok(filesOf(directory, 'transactions').length <= 2)
  t.equal(await nodesOf(t, directory), 60)
  t.equal(await nodesOf(t, directory), 60)
})

void t.test('a torn tail is cut off, whatever it holds', async (t) => {
  const directory = t.testdir()
  await written(t, directory, 3)
  const [path = ''] = filesOf(directory, 'transactions')
  const whole = readFileSync(path)
  const tails = [
    Buffer.from([0]),
    Buffer.from([0, 0, 0, 200, 1, 2, 3, 4, 5]),
    Buffer.alloc(512, 0xff),
    Buffer.concat([Buffer.from([0, 0, 0, 4, 9, 9, 9, 9]), Buffer.alloc(2000)]),
  ]
  for (const tail of tails) {
    writeFileSync(path, Buffer.concat([whole, tail]))
    t.equal(await nodesOf(t, directory), 3)
    t.ok(statSync(path).size <= whole.length + 1024)
  }
  writeFileSync(path, whole.subarray(0, whole.length - 400))
  t.ok((await nodesOf(t, directory)) <= 3)
})

void t.test('damage and newer formats are refused with a reason', async (t) => {
  const refused = async (what: RegExp, spoil: (directory: string) => void): Promise<void> => {
    const directory = t.testdir()
    await written(t, directory, 60)
    spoil(directory)
    const options = { host: '127.0.0.1', port: 0, dataDirectory: directory }
    await t.rejects(startEmbeddedZooKeeper(runtime, options), { message: what })
  }
  const change = (path: string, edit: (bytes: Buffer) => void): void => {
    const bytes = readFileSync(path)
    edit(bytes)
    writeFileSync(path, bytes)
  }
  for (const kind of ['transactions', 'snapshot'])
    await refused(/has format 2, written by a newer version; this version reads/, (directory) =>
      change(filesOf(directory, kind)[0] ?? '', (bytes) => bytes.writeUInt32BE(2, 8)),
    )
  await refused(/is damaged: wrong checksum/, (directory) =>
    change(filesOf(directory, 'snapshot')[0] ?? '', (bytes) => bytes.fill(0x55, 100, 101)),
  )
  await refused(/is no file of the embedded coordination server/, (directory) =>
    change(filesOf(directory, 'snapshot')[0] ?? '', (bytes) => bytes.write('something')),
  )
  await refused(/are missing/, (directory) =>
    writeFileSync(
      join(directory, 'transactions-0000000000001000'),
      logFileFrom(filesOf(directory, 'transactions').at(-1) ?? ''),
    ),
  )
})

/** The first sector of a log and one record of a far later transaction. */
function logFileFrom(path: string): Buffer {
  const body = new JuteWriter().long(0x1000n).long(0n).int(1).int(0).take()
  const head = new JuteWriter().int(body.length).int(0).take()
  head.writeUInt32BE(crc(body), 4)
  return Buffer.concat([readFileSync(path).subarray(0, 512), head, body])
}

function crc(bytes: Buffer): number {
  let value = 0xffffffff
  for (const byte of bytes) {
    value ^= byte
    for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0)
  }
  return ~value >>> 0
}

const anyName = fc.constantFrom('a', 'b', 'c')
const anyPath = fc
  .array(anyName, { minLength: 1, maxLength: 3 })
  .map((names) => `/${names.join('/')}`)
const anyVersion = fc.constantFrom(-1, -1, 0, 1)
const anyData = fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes))
const anyRequest: fc.Arbitrary<TreeRequest> = fc.oneof(
  fc.record({
    type: fc.constant('create' as const),
    path: anyPath,
    data: anyData,
    access: fc.constant(openAccess),
    owner: fc.constantFrom(0n, 0n, 1n, 2n),
    sequential: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('set' as const),
    path: anyPath,
    data: anyData,
    version: anyVersion,
  }),
  fc.record({ type: fc.constant('remove' as const), path: anyPath, version: anyVersion }),
  fc.record({ type: fc.constant('check' as const), path: anyPath, version: anyVersion }),
)
const anyStep = fc.oneof(
  { weight: 9, arbitrary: fc.array(anyRequest, { minLength: 1, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(1n, 2n) },
)

function emptyState(transactions: Transaction[]): ServerState<string> {
  const recovered = { zxid: 0n, sessions: [], tree: new Tree() }
  return new ServerState<string>(recovered, {
    commit: (transaction) => transactions.push(transaction),
    notify: () => undefined,
  })
}

/** Without the order of nodes, which is none of the tree's promises. */
/** What a tree holds, whatever the order in which it came to be. */
function contentOf(snapshot: Parameters<typeof encodeSnapshot>[0]): unknown {
  const nodes = [...snapshot.tree.entries()]
    .map(([path, node]) => [path, { ...node, children: [...node.children].toSorted() }] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { zxid: snapshot.zxid, sessions: snapshot.sessions, nodes: Object.fromEntries(nodes) }
}

void t.test('what is logged, or in a snapshot, makes the same tree again', async (t) => {
  const world = new SimulatedWorld({ seed: 1 })
  const node = world.node('server', { ip: '10.0.0.1' })
  let directories = 0
  const property = fc.asyncProperty(fc.array(anyStep, { maxLength: 30 }), async (steps) => {
    const transactions: Transaction[] = []
    const state = emptyState(transactions)
    for (const id of [1n, 2n])
      state.openSession({ id, timeoutMs: 2000, password: Buffer.alloc(16) }, 1)
    for (const step of steps)
      if (typeof step === 'bigint') state.endSession(step, 1)
      else {
        const before = encodeSnapshot(state.snapshot())
        const outcome = state.write(step, [], 2)
        if (outcome.ok) continue
        const after = contentOf(state.snapshot())
        if (
          JSON.stringify(after, plain) !== JSON.stringify(contentOf(decodeSnapshot(before)), plain)
        )
          throw new Error('a failed request left something behind')
      }
    const options = {
      directory: `/data${(directories += 1)}`,
      snapshotLogBytes: 1 << 20,
      takeSnapshot: () => state.snapshot(),
      onDurable: () => undefined,
      onFailure: (error: unknown) => {
        throw error
      },
    }
    let found: unknown
    const roundTrip = async (): Promise<void> => {
      const { log } = await openTransactionLog(node.runtime, options)
      for (const transaction of transactions) log.append(transaction)
      await log.close()
      const again = await openTransactionLog(node.runtime, options)
      found = contentOf(again.recovered)
      await again.log.close()
    }
    void roundTrip()
    await world.run({ untilMs: Infinity, until: () => found !== undefined })
    const wanted = JSON.stringify(contentOf(state.snapshot()), plain)
    const copy = decodeSnapshot(encodeSnapshot(state.snapshot()))
    return (
      JSON.stringify(found, plain) === wanted && JSON.stringify(contentOf(copy), plain) === wanted
    )
  })
  await t.resolves(fc.assert(property, { numRuns: 60 }))
})

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

void t.test('a log is whole wherever its batches end in a sector', async (t) => {
  const world = new SimulatedWorld({ seed: 1 })
  const node = world.node('server', { ip: '10.0.0.1' })
  const warnings: string[] = []
  const log = { ...silentLog, warn: (message: string) => warnings.push(message) }
  const options = {
    directory: '/data',
    snapshotLogBytes: 1 << 30,
    takeSnapshot: () => t.fail('no snapshot is due') as never,
    onDurable: () => undefined,
    onFailure: (error: unknown) => t.fail(String(error)),
  }
  let found = 0n
  const write = async (): Promise<void> => {
    for (let zxid = 1n; zxid <= 512n && found === zxid - 1n; zxid++) {
      const opened = await openTransactionLog({ ...node.runtime, log }, options)
      const data = Buffer.alloc(Number(zxid), 7)
      const path = `/n${String(zxid).padStart(3, '0')}`
      const change = { type: 'create', path, data, access: openAccess, owner: 0n } as const
      opened.log.append({ zxid, wallMs: 0, kind: 'changes', changes: [change] })
      await opened.log.close()
      const again = await openTransactionLog({ ...node.runtime, log }, options)
      found = again.recovered.zxid
      await again.log.close()
    }
  }
  let isDone = false
  void write().finally(() => (isDone = true))
  await world.run({ untilMs: Infinity, until: () => isDone })
  t.equal(found, 512n)
  t.same(warnings, [], 'nothing is taken for torn')
})

void t.test('a power cut loses nothing that was called durable', async (t) => {
  for (let seed = 0; seed < 80; seed += 1) {
    const world = new SimulatedWorld({ seed })
    const node = world.node('server', { ip: '10.0.0.1' })
    node.disk.configure({ syncErrorProbability: seed % 2 === 0 ? 0 : 0.05 })
    let durable = 0n
    let zxid = 0n
    const latest = { zxid: 0n, sessions: [], tree: new Tree() }
    const options = {
      directory: '/data',
      snapshotLogBytes: 8192,
      takeSnapshot: () => ({ ...latest, zxid }),
      onDurable: (reached: bigint) => {
        durable = reached
      },
      onFailure: () => undefined,
    }
    for (let life = 0; life < 6; life += 1) {
      let recovered: bigint | undefined
      let problem: unknown
      const live = async (): Promise<void> => {
        const opened = await openTransactionLog(node.runtime, options)
        latest.tree = opened.recovered.tree
        zxid = opened.recovered.zxid
        recovered = zxid
        const appendSome = (): void => {
          for (let count = world.random.below(4); count >= 0; count -= 1) {
            zxid += 1n
            const path = `/n${zxid}`
            const data = Buffer.alloc(world.random.below(900), 7)
            const change = { type: 'create', path, data, access: openAccess, owner: 0n } as const
            latest.tree.apply(change, { zxid, wallMs: 0 }, [])
            opened.log.append({ zxid, wallMs: 0, kind: 'changes', changes: [change] })
          }
          node.runtime.timers.after(1, appendSome)
        }
        appendSome()
      }
      const before = durable
      live().catch((error: unknown) => (problem = error))
      const isUp = (): boolean => recovered !== undefined || problem !== undefined
      await world.run({ untilMs: Infinity, until: isUp })
      if (recovered === undefined) t.match(String(problem), /EIO/, 'a sync failed at the start')
      else {
        t.ok(recovered >= before, `seed ${seed}: ${recovered} of ${before}`)
        t.equal(latest.tree.nodeCount(), 1 + Number(zxid))
      }
      await world.run({ untilMs: world.nowMs() + world.random.below(60) })
      node.crash({ powerCut: world.random.chance(0.7) })
      await world.run({ untilMs: world.nowMs() + 1 })
      node.restart()
    }
  }
})

void t.test('its options have names, ranges and defaults', (t) => {
  const load = (flags: Readonly<Record<string, string>>) =>
    loadConfig(embeddedZooKeeperConfig, { environment: {}, flags, environmentPrefix: 'METAPROXY' })
  t.match(load({ dataDirectory: '/tmp/x', port: '34690' }), {
    ok: true,
    config: {
      host: '127.0.0.1',
      port: 34690,
      sessions: { timeoutMsMin: 2000, timeoutMsMax: 60_000 },
    },
  })
  t.match(load({ port: '70000' }), { ok: false, problems: { length: 2 } })
  t.end()
})
