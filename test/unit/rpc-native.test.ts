/**
 * Native requests at an `RpcServer` over real sockets (wire.md 12): told from Thrift ones by the first
 * four bytes of a connection, handled by the same handlers, answered in kind; and everything that
 * breaks the form.
 */
import t, { type Test } from 'tap'
import {
  decodeResult,
  encodeArgument,
  encodeRequest,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { encodeNativeFrame, encodeNativeReply } from '../../cluster/protocol/native-frame.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ReadResponse } from '../../cluster/protocol/rrdb.ts'
import * as schema from '../../cluster/protocol/schema.ts'
import {
  headerError,
  headerErrorWithBody,
  headerErrorWithBytes,
  type RpcRequest,
  silence,
} from '../../cluster/rpc/handler.ts'
import { RpcServer, type RpcServerOptions } from '../../cluster/rpc/server.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { header } from '../interop/table-view.ts'
import { FrameClient } from '../support/gateway-world.ts'
import { NativeClient, nativeHeader, nativeRequest } from '../support/native-client.ts'

const runtime = nodeRuntime({ log: silentLog })

async function start(
  t: Test,
  options: Partial<RpcServerOptions> = {},
): Promise<{ server: RpcServer; port: number; client: () => NativeClient }> {
  const server = new RpcServer(runtime, { name: 'test', ...options })
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
  const clients: NativeClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    await server.close()
  })
  const client = (): NativeClient => {
    const made = new NativeClient(port)
    clients.push(made)
    return made
  }
  return { server, port, client }
}

async function condition(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setTimeout(resolve, 2))
}

const value = (text: string): ReadResponse => ReadResponse.make({ value: Buffer.from(text) })
const get = (key: string, changes: Parameters<typeof nativeRequest>[2] = {}): Buffer =>
  nativeRequest(Rpc.GET, Buffer.from(key), changes)

/** A server that answers reads, counts them, and never fails. */
async function reading(t: Test, options: Partial<RpcServerOptions> = {}) {
  const started = await start(t, options)
  const seen: RpcRequest[] = []
  started.server.handle(Rpc.GET, (key, request) => {
    seen.push(request)
    return value(key.toString())
  })
  return { ...started, seen }
}

void t.test(
  'a native request reaches the handler, and its reply repeats what it must',
  async (t) => {
    const { port, client, seen } = await reading(t)
    const native = client()
    const request = {
      id: 0xffff_ffff_ffff_fff0n,
      traceId: 0x8000_0000_0000_0001n,
      appId: 7,
      partitionIndex: 3,
      timeoutMs: 1234,
      threadHash: -5,
      partitionHash: 0xfedc_ba98_7654_3210n,
      isBackupRequest: true,
      from: '10.1.2.3:34801',
    }
    const reply = await native.ask(get('key', request))
    const { isBackupRequest, ...repeated } = request
    t.match(reply.header, {
      ...repeated,
      name: 'RPC_RRDB_RRDB_GET_ACK',
      from: `127.0.0.1:${port}`,
      errorName: 'ERR_OK',
      localHash: 0,
      errorLocalHash: 0,
      isRequest: false,
      isForwarded: false,
      isBackupRequest: false,
      checksummed: false,
    })
    t.equal(Buffer.concat(native.chunks).readUInt32LE(104), 0x440, 'context')
    t.same(reply.body, encodeResult(ReadResponse, value('key')), 'result struct with field id 0')
    t.match(seen[0], {
      name: 'RPC_RRDB_RRDB_GET',
      appId: 7,
      partitionIndex: 3,
      partitionHash: 0xfedc_ba98_7654_3210n,
      clientTimeoutMs: 1234,
      isBackupRequest,
      native: { from: '10.1.2.3:34801', isForwardSupported: true },
    })
    t.equal(Math.round((seen[0]?.deadlineAtMs ?? 0) - (seen[0]?.receivedAtMs ?? 0)), 1234)
  },
)

void t.test(
  'errors come in the header with an empty body, and bodies where there is one',
  async (t) => {
    const { server, client } = await start(t)
    const forward = encodeResult(schema.i64Big, 0x7f00_0001_8729_0001n)
    server.handle(Rpc.GET, (key) => {
      if (key.toString() === 'forward')
        return headerErrorWithBytes('ERR_FORWARD_TO_OTHERS', forward)
      if (key.toString() === 'busy') return headerErrorWithBody('ERR_BUSY', value('late'))
      if (key.toString() === 'defect') throw new Error('a defect')
      if (key.toString() === 'silence') return silence
      return headerError('ERR_INVALID_STATE')
    })
    server.handle(Rpc.TTL, async () => headerError('ERR_ACL_DENY'))
    server.handle(Rpc.CLEAR_SCANNER, () => silence)
    const native = client()
    native.send(
      Buffer.concat([
        get('refuse', { id: 1n }),
        get('forward', { id: 2n }),
        get('busy', { id: 3n }),
        get('silence', { id: 4n }),
        nativeRequest(Rpc.CLEAR_SCANNER, -5n, { id: 5n }),
        nativeRequest(Rpc.TTL, Buffer.from('k'), { id: 6n }),
        get('defect', { id: 7n }),
        encodeNativeFrame(nativeHeader(Rpc.GET.name, { id: 8n }), Buffer.from('0c00', 'hex')),
        encodeNativeFrame(nativeHeader('RPC_NOBODY_KNOWS', { id: 9n }), Buffer.alloc(0)),
      ]),
    )
    const replies = new Map((await native.received(7)).map((reply) => [reply.header.id, reply]))
    const told = (id: bigint) => [
      replies.get(id)?.header.errorName,
      replies.get(id)?.body.toString('hex'),
    ]
    t.same(told(1n), ['ERR_INVALID_STATE', ''])
    t.same(told(2n), ['ERR_FORWARD_TO_OTHERS', forward.toString('hex')])
    t.same(told(3n), ['ERR_BUSY', encodeResult(ReadResponse, value('late')).toString('hex')])
    t.same(told(6n), ['ERR_ACL_DENY', ''])
    t.same(told(7n), ['ERR_UNKNOWN', ''])
    t.same(told(8n), ['ERR_INVALID_DATA', ''], 'a cut argument')
    t.same(told(9n), ['ERR_HANDLER_NOT_FOUND', ''])
    t.equal(replies.get(9n)?.header.name, 'RPC_NOBODY_KNOWS_ACK')
    t.equal((await native.ask(get('refuse'))).header.errorName, 'ERR_INVALID_STATE', 'still open')
  },
)

void t.test('checksums are sent to who sends them', async (t) => {
  const { client } = await reading(t)
  const native = client()
  const reply = await native.ask(get('k', { checksummed: true }))
  // Both were verified by the framer of this client.
  const bytes = Buffer.concat(native.chunks)
  t.ok(reply.header.checksummed)
  t.not(bytes.readUInt32LE(12), 0)
  t.not(bytes.readUInt32LE(20), 0)
  const bodyOnly = get('k', { checksummed: true })
  bodyOnly.writeUInt32LE(0, 12)
  t.equal((await native.ask(bodyOnly)).header.errorName, 'ERR_OK', 'an absent header checksum')
})

void t.test('names that fill their field are cut where it ends and break nothing', async (t) => {
  const { client } = await reading(t)
  const native = client()
  const unterminated = encodeNativeFrame(nativeHeader('A'.repeat(47)), Buffer.alloc(0))
  unterminated.fill('B', 40, 88)
  for (const [bytes, expected] of [
    [encodeNativeFrame(nativeHeader('A'.repeat(43)), Buffer.alloc(0)), `${'A'.repeat(43)}_ACK`],
    [encodeNativeFrame(nativeHeader('A'.repeat(44)), Buffer.alloc(0)), `${'A'.repeat(44)}_AC`],
    [encodeNativeFrame(nativeHeader('A'.repeat(47)), Buffer.alloc(0)), 'A'.repeat(47)],
    [unterminated, 'B'.repeat(47)],
    [encodeNativeFrame(nativeHeader(''), Buffer.alloc(0)), '_ACK'],
  ] as const) {
    const reply = await native.ask(bytes)
    t.equal(reply.header.name, expected)
    t.equal(reply.header.errorName, 'ERR_HANDLER_NOT_FOUND')
  }
  t.equal(encodeNativeReply(nativeHeader('A'), '', 'E'.repeat(60), Buffer.alloc(0)).length, 192)
})

void t.test(
  'the first four bytes choose the form of a connection for good (wire.md 1)',
  async (t) => {
    const { port, client, seen } = await reading(t)
    const thriftGet = encodeRequest(
      header({}),
      Rpc.GET.name,
      9,
      encodeArgument(Rpc.GET.argument, Buffer.from('thrift')),
    )
    const native = client()
    native.send(Buffer.concat([get('a', { id: 1n }), thriftGet]))
    t.equal((await native.received(1))[0]?.header.id, 1n, 'what was complete is answered')
    await native.ended()
    t.equal(native.replies.length, 1)
    const thrift = await FrameClient.dial(port)
    t.teardown(() => thrift.destroy())
    thrift.send(thriftGet)
    t.equal((await thrift.received(1))[0]?.seqid, 9)
    thrift.send(get('b'))
    await condition(() => thrift.hasEnded)
    t.equal(thrift.replies.length, 1)
    t.same(
      seen.map((request) => request.native !== undefined),
      [true, false],
    )
  },
)

void t.test('both forms are served at once, whatever the chunks', async (t) => {
  const { port, client } = await reading(t)
  const thrift = await FrameClient.dial(port)
  t.teardown(() => thrift.destroy())
  const native = client()
  for (let round = 0; round < 20; round++) {
    const bytes = get(`n${round}`, { id: BigInt(round) })
    for (const part of [bytes.subarray(0, 1 + round), bytes.subarray(1 + round)]) {
      native.send(part)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const argument = encodeArgument(Rpc.GET.argument, Buffer.from(`t${round}`))
    thrift.send(encodeRequest(header({}), Rpc.GET.name, round, argument))
  }
  const natives = await native.received(20)
  const thrifts = await thrift.received(20)
  for (let round = 0; round < 20; round++) {
    t.equal(natives[round]?.header.id, BigInt(round))
    t.equal(
      String(decodeResult(ReadResponse, natives[round]?.body ?? Buffer.alloc(0)).value),
      `n${round}`,
    )
    t.equal(thrifts[round]?.seqid, round)
  }
})

void t.test('a native connection has the limits of every other', async (t) => {
  const { server, client } = await start(t, {
    maxInflightPerConnection: 2,
    maxFrameBytes: 1000,
    frameMs: 100,
    idleMs: 0,
  })
  const waiting: (() => void)[] = []
  server.handle(
    Rpc.GET,
    (key) =>
      new Promise((resolve) => {
        waiting.push(() => resolve(value(key.toString())))
      }),
  )
  const native = client()
  native.send(Buffer.concat(['a', 'b', 'c'].map((key) => get(key))))
  await condition(() => waiting.length === 2)
  t.equal(server.counts().inflight, 2, 'the third waits')
  waiting[0]?.()
  await condition(() => waiting.length === 3)
  waiting[1]?.()
  waiting[2]?.()
  await native.received(3)
  const large = client()
  large.send(get('x'.repeat(1000)))
  await large.ended()
  t.equal(large.replies.length, 0, 'over the limit')
  const slow = client()
  slow.send(get('slow').subarray(0, 3))
  await slow.ended()
  t.equal(slow.replies.length, 0, 'a frame of three bytes in 100 ms')
})

/** A native request with four bytes changed. */
function changed(at: number, word: number, checksummed = false): Buffer {
  const bytes = get('key', { checksummed })
  bytes.writeUInt32LE(word >>> 0, at)
  return bytes
}

const broken: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['version 1', changed(4, 1)],
  ['a header of 191 bytes', changed(8, 191)],
  ['a header of 4 GiB', changed(8, 0xffffffff)],
  ['a body of 65 MiB', changed(16, 65 << 20)],
  ['a body of 4 GiB', changed(16, 0xffffffff)],
  ['a wrong header checksum', changed(12, 12345)],
  ['a wrong body checksum', changed(20, 12345)],
  ['a changed header under its checksum', changed(24, 77, true)],
  ['a changed body under its checksum', changed(196, 77, true)],
  ['a reply', changed(104, 0x440)],
  ['serialization JSON', changed(104, 0x481)],
  ['no serialization', changed(104, 0x401)],
  ['zeros behind the magic', Buffer.concat([Buffer.from('RDSN'), Buffer.alloc(188)])],
]

for (const [what, bytes] of broken)
  void t.test(`closed unanswered: ${what}`, async (t) => {
    const { client, seen } = await reading(t)
    const native = client()
    native.send(bytes)
    await native.ended()
    t.equal(native.replies.length, 0)
    t.equal(seen.length, 0)
    const other = client()
    t.equal((await other.ask(get('alive'))).header.errorName, 'ERR_OK', 'others are served')
  })

void t.test('a frame cut at any byte is waited for, then given up without an answer', async (t) => {
  const { client, seen, server } = await reading(t)
  const whole = get('key')
  const clients: NativeClient[] = []
  for (let cut = 0; cut < whole.length; cut++) {
    const native = client()
    native.socket.end(whole.subarray(0, cut))
    clients.push(native)
  }
  await Promise.all(clients.map((native) => native.ended()))
  t.equal(
    clients.reduce((sum, native) => sum + native.replies.length, 0),
    0,
  )
  t.equal(seen.length, 0)
  t.equal((await client().ask(whole)).header.errorName, 'ERR_OK')
  await condition(() => server.counts().connections === 1)
})
