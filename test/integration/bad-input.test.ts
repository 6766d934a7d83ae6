/**
 * Wrong bytes against the running servers of one onebox: after each case the same processes serve a
 * normal client, and the answer is the one that the spec names (wire.md 1, 4, 5, 8, 10.1; gateway.md
 * W-4 to W-12, R-14). Garbage costs a bounded amount of memory.
 */
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { createClient } from 'pegasus-metaproxy/client'
import t, { type Test } from 'tap'
import { decodeResult, encodeArgument } from '../../cluster/protocol/frame.ts'
import {
  ConfigurationCreateAppRequest,
  CreateAppOptions,
} from '../../cluster/protocol/meta-admin.ts'
import { QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { Rpc, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import { UpdateRequest } from '../../cluster/protocol/rrdb.ts'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import { FrameConnection } from '../interop/frame-connection.ts'
import { replyOf, viewTable } from '../interop/table-view.ts'
import { badArguments, badFields, brokenFrames, requestOf, v0 } from '../support/bad-frames.ts'
import { badKeyRequests } from '../support/bad-keys.ts'
import {
  badZooKeeperFrames,
  badZooKeeperHandshakes,
  zooKeeperEnds,
  zooKeeperHandshake,
  zooKeeperRequest,
} from '../support/bad-zookeeper.ts'
import { garbageGrowthMiB } from '../support/garbage-load.ts'
import { startOnebox } from '../support/onebox.ts'

/** What the resident memory of one server may grow by in the whole of the memory test. */
const growthMiBMax = 64
/** A started frame must be complete after 10 s (W-16). */
const frameMs = 10_000

t.setTimeout(280_000)
const box = await startOnebox({ flags: ['--clusters', '1'] })
t.teardown(async () => box.remove())
const metas = box.servers().flatMap(({ role, rpc }) => (role === 'meta' ? [rpc] : []))
const table = await viewTable(metas, 'temp')
const { appId } = table
const primary = table.partitions[0]?.primary ?? ''
const partition = { appId, partitionIndex: 0 }
const query = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const INVALID_ARGUMENT = 4
const nothing = Buffer.alloc(0)

function queryOf(appName: string): Buffer {
  return encodeArgument(QueryCfgRequest, { appName, partitionIndices: [] })
}

interface Target {
  readonly role: 'gateway' | 'meta' | 'replica'
  readonly address: string
  /** A good request, answered ERR_OK. */
  readonly request: (seqid: number) => Buffer
}

const emptyKey = encodeArgument(Rpc.GET.argument, Buffer.from([0, 1, 0x61]))
const targets: readonly Target[] = [
  ...(['gateway', 'meta'] as const).map((role) => ({
    role,
    address: role === 'gateway' ? box.gateway : table.metaLeader,
    request: (seqid: number) => requestOf(query, queryOf('temp'), { seqid }),
  })),
  {
    role: 'replica',
    address: primary,
    request: (seqid) => requestOf(Rpc.GET.name, emptyKey, { seqid, ...partition }),
  },
]

function pids(): string {
  return JSON.stringify(box.servers().map(({ name, pid }) => [name, pid]))
}
const pidsAtStart = pids()

/** A client that starts from nothing is served, by the processes of the beginning. */
async function stillServing(t: Test): Promise<void> {
  const client = createClient({ metaServers: [box.gateway] })
  try {
    const temp = await client.openTable('temp')
    const keys = Array.from({ length: 16 }, (_, index) => `key-${index}`)
    await Promise.all(keys.map(async (key) => temp.set(key, 'sort', key)))
    for (const key of keys) t.equal((await temp.get(key, 'sort'))?.toString(), key)
  } finally {
    await client.close()
  }
  t.equal(pids(), pidsAtStart, 'no server was started again')
}

/** A subtest on a connection of its own to each server, and afterwards the question above. */
function againstEach(what: string, run: (t: Test, target: Target) => Promise<void>): void {
  void t.test(what, async (t) => {
    for (const target of targets) await t.test(target.role, async (t) => run(t, target))
    await stillServing(t)
  })
}

/** A good request behind what was sent so far is answered; answers before it are passed over. */
async function isAnswered(connection: FrameConnection, target: Target): Promise<boolean> {
  connection.send(target.request(4711))
  let reply = await replyOf(connection)
  while (reply.seqid !== 4711) {
    // Meta servers, which do not serve it, say so as the original does; nobody asks them.
    if (target.role !== 'meta' && reply.name === `${Rpc.CLEAR_SCANNER.name}_ACK`) return false
    reply = await replyOf(connection)
  }
  return reply.errorName === 'ERR_OK' && reply.result.length > 20
}

againstEach('bytes that are no frame end the connection', async (t, { address, request }) => {
  for (const [what, bytes] of brokenFrames) {
    const alone = new FrameConnection(address)
    alone.send(bytes)
    t.equal(await alone.next(), 'closed', what)
    alone.close()
    const behind = new FrameConnection(address)
    behind.send(Buffer.concat([request(1), request(2), bytes, request(3)]))
    const answered = [await replyOf(behind), await replyOf(behind)]
    t.same(new Set(answered.map(({ seqid }) => seqid)), new Set([1, 2]))
    t.equal(await behind.next(), 'closed', `${what}, behind good requests, which are answered`)
    behind.close()
  }
})

againstEach(
  'a frame cut anywhere by the end of the connection',
  async (t, { address, request }) => {
    const frame = request(1)
    const cuts = Array.from({ length: 30 }, (_, index) => Math.floor((index * frame.length) / 30))
    const connections = cuts.map((cut) => {
      const connection = new FrameConnection(address)
      connection.send(frame.subarray(0, cut))
      connection.end()
      return connection
    })
    for (const connection of connections) {
      t.equal(await connection.next(), 'closed')
      connection.close()
    }
  },
)

againstEach(
  'a half close is answered before the connection ends',
  async (t, { address, request }) => {
    const connection = new FrameConnection(address)
    for (const seqid of [1, 2, 3]) connection.send(request(seqid))
    connection.end()
    const seqids = [await replyOf(connection), await replyOf(connection), await replyOf(connection)]
    t.same(new Set(seqids.map(({ seqid }) => seqid)), new Set([1, 2, 3]))
    t.equal(await connection.next(), 'closed')
    connection.close()
  },
)

againstEach('single bytes make a frame too', async (t, { address, request }) => {
  const connection = new FrameConnection(address)
  for (const byte of request(9)) {
    connection.send(Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal((await replyOf(connection)).seqid, 9)
  connection.close()
})

void t.test('a frame that never ends is given up', async (t) => {
  const slow = targets.map(async ({ role, address, request }) => {
    const connection = new FrameConnection(address)
    const drip = setInterval(() => connection.send(Buffer.from([0])), 500)
    connection.send(request(1).subarray(0, 20))
    t.equal(await connection.next(2 * frameMs), 'closed', role)
    clearInterval(drip)
    connection.close()
  })
  await Promise.all(slow)
  await stillServing(t)
})

againstEach('an unknown RPC is refused by name', async (t, target) => {
  const connection = new FrameConnection(target.address)
  for (const name of ['RPC_NO_SUCH', '', 'x'.repeat(5000), 'constructor', 'RPC_CM_\u0000']) {
    connection.send(requestOf(name, Buffer.from([0]), { seqid: -5, ...partition }))
    const reply = await replyOf(connection)
    t.same(
      [reply.errorName, reply.name, reply.seqid, reply.result.length],
      ['ERR_HANDLER_NOT_FOUND', `${name}_ACK`, -5, 0],
    )
  }
  t.ok(await isAnswered(connection, target), 'the connection goes on')
  connection.close()
})

const refusals = new Set(['ERR_INVALID_DATA', 'ERR_HANDLER_NOT_FOUND'])

againstEach('args that cannot be read are refused, whatever the RPC', async (t, target) => {
  const connection = new FrameConnection(target.address)
  for (const { name } of Object.values(Rpc)) {
    // Where nobody waits, an answer may come or not; `isAnswered` looks for the forbidden one.
    const isSilent = rpcByName(name)?.oneWay === true
    const accepted = new Set<string>()
    for (const [index, [what, argument]] of badArguments.entries()) {
      connection.send(requestOf(name, argument, { seqid: index, ...partition }))
      if (isSilent) continue
      const reply = await replyOf(connection)
      if (!refusals.has(reply.errorName) || reply.seqid !== index)
        accepted.add(`${what}: ${reply.errorName}`)
    }
    t.same([...accepted], [], name)
  }
  t.ok(await isAnswered(connection, target), 'the connection goes on')
  connection.close()
})

againstEach('lengths inside args are judged before memory is taken', async (t, target) => {
  const connection = new FrameConnection(target.address)
  const names =
    target.role === 'replica'
      ? [Rpc.PUT, Rpc.MULTI_PUT, Rpc.INCR, Rpc.MULTI_GET, Rpc.GET_SCANNER, Rpc.BATCH_GET]
      : [Rpc.QUERY_PARTITION_CONFIG_BY_INDEX]
  for (const { name } of names)
    for (const [what, argument] of badFields) {
      connection.send(requestOf(name, argument, partition))
      t.equal((await replyOf(connection)).errorName, 'ERR_INVALID_DATA', `${name}: ${what}`)
    }
  t.ok(await isAnswered(connection, target), 'the connection goes on')
  connection.close()
})

interface RecordedRequest {
  readonly name: string
  readonly hex: string
}

againstEach('recorded requests with flipped bytes harm nobody', async (t, target) => {
  const random = seededRandom(`bad-input ${target.role}`)
  const recorded = ['requests', 'requests_java', 'requests_node'].flatMap(
    (file) =>
      (
        JSON.parse(readFileSync(`test/vectors/${file}.json`, 'utf8')) as {
          vectors: RecordedRequest[]
        }
      ).vectors,
  )
  for (let round = 0; round < 600; round++) {
    const bytes = Buffer.from(random.pick(recorded).hex, 'hex')
    if (bytes.readUInt32BE(4) === 0) bytes.writeInt32BE(appId, 24)
    for (let flips = 1 + random.below(4); flips > 0; flips--)
      bytes[random.below(bytes.length)] = random.below(256)
    const connection = new FrameConnection(target.address)
    connection.send(bytes)
    connection.end()
    while (typeof (await connection.next()) !== 'string');
    t.ok(connection.isClosed)
    connection.close()
  }
})

void t.test('a partition that this server does not have', async (t) => {
  const connection = new FrameConnection(primary)
  const put = encodeArgument(UpdateRequest, UpdateRequest.make({ key: Buffer.from([0, 1, 0x61]) }))
  const cases: readonly (readonly [number, number, string])[] = [
    [9999, 0, 'ERR_OBJECT_NOT_FOUND'],
    [0x7fffffff, 0x7fffffff, 'ERR_OBJECT_NOT_FOUND'],
    [appId, 8, 'ERR_OBJECT_NOT_FOUND'],
    [appId, -1, 'ERR_OBJECT_NOT_FOUND'],
    [0, 0, 'ERR_HANDLER_NOT_FOUND'],
    [-1, 0, 'ERR_HANDLER_NOT_FOUND'],
    [-0x80000000, -2, 'ERR_HANDLER_NOT_FOUND'],
  ]
  for (const [app, partitionIndex, expected] of cases)
    for (const [name, argument] of [
      [Rpc.GET.name, emptyKey] as const,
      [Rpc.PUT.name, put] as const,
    ]) {
      connection.send(requestOf(name, argument, { appId: app, partitionIndex }))
      t.equal(
        (await replyOf(connection)).errorName,
        expected,
        `${name} to ${app}.${partitionIndex}`,
      )
    }
  connection.close()
  const meta = new FrameConnection(table.metaLeader)
  meta.send(requestOf(query, queryOf('temp'), { appId: -1, partitionIndex: -2 }))
  t.equal((await replyOf(meta)).errorName, 'ERR_OK', 'meta servers do not look at the gpid')
  meta.close()
  await stillServing(t)
})

async function errOf(connection: FrameConnection): Promise<string> {
  return decodeResult(QueryCfgResponse, (await replyOf(connection)).result).err
}

const oddNames = '|/|..|.|../temp|temp/|/temp|a/b|temp\u0000|te\nmp|ä| |\u001b[2J'.split('|')
const names = [...oddNames, '__proto__', ...[255, 256, 60_000].map((bytes) => 'x'.repeat(bytes))]

void t.test('names that no table has', async (t) => {
  for (const address of [box.gateway, table.metaLeader]) {
    const connection = new FrameConnection(address)
    for (const name of names) {
      connection.send(requestOf(query, queryOf(name)))
      t.equal(await errOf(connection), 'ERR_OBJECT_NOT_FOUND', JSON.stringify(name.slice(0, 20)))
    }
    const notUtf8 = Buffer.from('0c00010b000100000002fffe0f000208000000000000', 'hex')
    connection.send(requestOf(query, notUtf8))
    t.equal(await errOf(connection), 'ERR_OBJECT_NOT_FOUND', 'bytes that are no text')
    connection.close()
  }
  const connection = new FrameConnection(table.metaLeader)
  const { name, result } = Rpc.CREATE_APP
  const options = CreateAppOptions.make({ partitionCount: 4, replicaCount: 3 })
  for (const appName of [...oddNames, 'x'.repeat(60_000)]) {
    const request = ConfigurationCreateAppRequest.make({ appName, options })
    connection.send(requestOf(name, encodeArgument(ConfigurationCreateAppRequest, request)))
    const { err } = decodeResult(result, (await replyOf(connection)).result)
    t.equal(err, 'ERR_INVALID_PARAMETERS', `create ${JSON.stringify(appName.slice(0, 20))}`)
  }
  connection.close()
  await stillServing(t)
})

void t.test('10 000 names that no table has', async (t) => {
  for (const address of [box.gateway, table.metaLeader]) {
    const connection = new FrameConnection(address)
    let asked = Array.from({ length: 10_000 }, (_, index) => index)
    // On a busy machine a gateway sheds cold lookups, with the answer that means "come again" (L-7).
    for (let round = 0; round < 20 && asked.length > 0; round++) {
      for (const index of asked)
        connection.send(requestOf(query, queryOf(`unknown-${index}`), { seqid: index }))
      const errors = new Map<number, string>()
      while (errors.size < asked.length) {
        const reply = await replyOf(connection)
        errors.set(reply.seqid, decodeResult(QueryCfgResponse, reply.result).err)
      }
      const told = new Set(errors.values())
      told.delete('ERR_SERVICE_NOT_ACTIVE')
      t.strictSame([...told], ['ERR_OBJECT_NOT_FOUND'], address)
      asked = asked.filter((index) => errors.get(index) !== 'ERR_OBJECT_NOT_FOUND')
    }
    t.equal(asked.length, 0, 'every name was positively told in the end')
    connection.close()
  }
  await stillServing(t)
})

/** The status number in front of every data response. */
async function statusOf(connection: FrameConnection): Promise<number | string> {
  const { errorName, result } = await replyOf(connection)
  return errorName === 'ERR_OK' ? result.readInt32BE(6) : errorName
}

void t.test('keys that are none', async (t) => {
  const connection = new FrameConnection(primary)
  for (const [what, name, argument] of badKeyRequests) {
    connection.send(requestOf(name, argument, partition))
    t.equal(await statusOf(connection), INVALID_ARGUMENT, `${name}: ${what}`)
  }
  connection.close()
  await stillServing(t)
})

void t.test('a write over 1 MiB', async (t) => {
  const connection = new FrameConnection(primary)
  const put = (valueBytes: number): Buffer => {
    const key = Buffer.from('\u0000\u0003big')
    return encodeArgument(
      UpdateRequest,
      UpdateRequest.make({ key, value: Buffer.alloc(valueBytes) }),
    )
  }
  const overhead = 12 + Rpc.PUT.name.length + put(0).length
  for (const [bodyBytes, expected] of [
    [1 << 20, 0],
    [(1 << 20) + 1, 'ERR_INVALID_DATA'],
    [20 << 20, 'ERR_INVALID_DATA'],
  ] as const) {
    connection.send(requestOf(Rpc.PUT.name, put(bodyBytes - overhead), partition))
    t.equal(await statusOf(connection), expected, `a body of ${bodyBytes} bytes`)
  }
  connection.close()
  const client = createClient({ metaServers: [box.gateway] })
  const temp = await client.openTable('temp')
  await t.rejects(temp.set('big', 's', Buffer.alloc(1 << 20)), { code: 'ERR_INVALID_DATA' })
  await t.rejects(temp.set('x'.repeat(65_535), 's', ''), {
    code: 'ERR_INVALID_PARAMETERS',
    message: /hash key of 65535 bytes, at most 65534/,
  })
  await temp.set('x'.repeat(65_534), 's', 'longest')
  t.equal((await temp.get('x'.repeat(65_534), 's'))?.toString(), 'longest')
  await client.close()
  await stillServing(t)
})

const zookeeper = `127.0.0.1:${box.portBase + 90}`

void t.test('garbage for ZooKeeper', async (t) => {
  for (const [what, bytes] of badZooKeeperFrames) {
    t.ok(await zooKeeperEnds(zookeeper, bytes), what)
    t.ok(await zooKeeperEnds(zookeeper, zooKeeperHandshake, bytes), `${what}, behind a handshake`)
  }
  for (const [what, bytes] of badZooKeeperHandshakes)
    t.ok(await zooKeeperEnds(zookeeper, bytes), what)
  const random = seededRandom('bad-input zookeeper')
  const answers = Array.from({ length: 130 }, async (_, type) => {
    const payload = Buffer.from(Array.from({ length: random.below(60) }, () => random.below(256)))
    // The session is closed behind it, so the connection ends whatever was said to the request.
    const request = zooKeeperRequest(type - 15, payload)
    return zooKeeperEnds(zookeeper, zooKeeperHandshake, request, zooKeeperRequest(-11, nothing))
  })
  t.notOk((await Promise.all(answers)).includes(false), 'every request type with a random payload')
  const url = `${box.admin}/api/v1/tables/after-garbage`
  const body = JSON.stringify({ cluster: 'alpha', metas })
  const headers = { 'content-type': 'application/json', 'if-none-match': '*' }
  t.equal((await fetch(url, { method: 'PUT', headers, body })).status, 201, 'it stores')
  t.equal(((await (await fetch(url)).json()) as { cluster?: string }).cluster, 'alpha', 'and reads')
  await stillServing(t)
})

void t.test('garbage for the HTTP ports', async (t) => {
  const ports = box.servers().flatMap(({ http }) => (http === undefined ? [] : [new URL(http)]))
  for (const { hostname, port, origin } of ports) {
    for (const bytes of [Buffer.alloc(100, 0xff), Buffer.from('GET / HTTP/9\r\n\r\n')]) {
      const socket = connect(Number(port), hostname)
      socket.on('error', () => undefined)
      socket.end(bytes)
      await new Promise((resolve) => socket.resume().once('close', resolve))
    }
    const headers = { 'x-large': 'x'.repeat(100_000) }
    t.equal((await fetch(`${origin}/healthz`, { headers }).catch(() => undefined))?.status, 431)
    t.equal((await fetch(`${origin}/healthz`)).status, 200, origin)
  }
  await stillServing(t)
})

void t.test(`garbage costs less than ${growthMiBMax} MiB of memory`, async (t) => {
  for (const address of [...targets.map((target) => target.address), zookeeper]) {
    const server = box.servers().find(({ rpc }) => rpc === address)
    // The largest frame whose header is accepted, begun and held open.
    const body = server?.role === 'gateway' ? 1 << 20 : 64 << 20
    const begun = address === zookeeper ? Buffer.from('00200000', 'hex') : v0(nothing, { body })
    const grown = await garbageGrowthMiB({ address, begun, pid: server?.pid ?? 0 })
    t.ok(grown < growthMiBMax, `${server?.name} grew by ${grown.toFixed(0)} MiB`)
  }
  await stillServing(t)
})
