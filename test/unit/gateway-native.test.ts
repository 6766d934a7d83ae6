/**
 * Native clients at a gateway (gateway.md W-19): asked in the native form, answered in kind, relayed to
 * metas in Thrift frames; beside Thrift clients on the same port.
 */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import {
  decodeArgument,
  decodeResult,
  encodeReply,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { encodeNativeFrame } from '../../cluster/protocol/native-frame.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { NegotiationStatus } from '../../cluster/protocol/security.ts'
import { type FakeAnswer, type FakeMeta, startFakeMeta } from '../support/fake-meta.ts'
import {
  FrameClient,
  type GatewayWorld,
  QUERY,
  queryFrame,
  root,
  startWorld,
  until,
} from '../support/gateway-world.ts'
import {
  NativeClient,
  nativeArgument,
  nativeHeader,
  nativeRequest,
} from '../support/native-client.ts'

type Changes = Parameters<typeof nativeHeader>[1]

interface Stage extends GatewayWorld {
  readonly native: () => NativeClient
  readonly meta: (
    answer: (request: Parameters<FakeMeta['answer']>[0]) => FakeAnswer,
  ) => Promise<FakeMeta>
}

async function stage(t: Test, flags: Readonly<Record<string, string>> = {}): Promise<Stage> {
  const world = await startWorld(flags)
  const clients: NativeClient[] = []
  const metas: FakeMeta[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    await world.close()
    for (const meta of metas) await meta.close()
  })
  return {
    ...world,
    native: () => {
      const client = new NativeClient(world.gateway.port)
      clients.push(client)
      return client
    },
    meta: async (answer) => {
      const meta = await startFakeMeta(answer)
      metas.push(meta)
      return meta
    },
  }
}

function query(table: string, changes: Changes = {}, partitionIndices: number[] = []): Buffer {
  const rpc = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX
  return nativeRequest(rpc, { appName: table, partitionIndices }, changes)
}

const responseOf = (body: Buffer): QueryCfgResponse => decodeResult(QueryCfgResponse, body)

const recorded = new Map(
  (
    JSON.parse(readFileSync('test/vectors/rdsn.json', 'utf8')) as {
      vectors: { name: string; hex: string }[]
    }
  ).vectors.map(({ name, hex }) => [name, Buffer.from(hex, 'hex')]),
)
function frameOf(name: string): Buffer {
  const bytes = recorded.get(name)
  if (bytes === undefined) throw new Error(`no recorded frame ${name}`)
  return Buffer.from(bytes)
}

void t.test('W-19: the recorded query of a C++ client gets the recorded answer', async (t) => {
  const world = await stage(t)
  const expected = frameOf('query_cfg_leader_response')
  const result = expected.subarray(192)
  const meta = await world.meta(() => ({ frame: encodeReply(QUERY, 0, 'ERR_OK', result) }))
  await world.map('stat', [meta.address])
  const client = world.native()
  const request = frameOf('query_cfg_leader_request')
  await client.ask(request)
  const answer = Buffer.concat(client.chunks)
  t.equal(answer.readUInt16LE(114), world.gateway.port, 'from: the address that was asked')
  for (const at of [88, 112, 116, 184]) answer.writeUInt32LE(expected.readUInt32LE(at), at)
  t.equal(answer.toString('hex'), expected.toString('hex'), 'outside numbers local to a program')
  const [asked] = meta.requests
  t.equal(asked?.kind, 'thrift')
  t.same(asked?.argument, request.subarray(192), 'W-1: the args reached the meta unchanged')
  t.same([asked?.name, asked?.header.appId, asked?.header.partitionIndex], [QUERY, 0, 0])
})

void t.test('W-1: any answer of a meta is relayed byte for byte behind the header', async (t) => {
  // What says "not yet" is relayed when the time is up (M-3).
  const world = await stage(t, { requestTimeoutMs: '300' })
  const frames = (
    JSON.parse(readFileSync('test/vectors/responses_meta.json', 'utf8')) as {
      vectors: { name: string; hex: string }[]
    }
  ).vectors.filter(({ name }) => !name.includes('forward'))
  let frame: Buffer = Buffer.alloc(0)
  const meta = await world.meta(() => ({ frame }))
  await world.map('temp', [meta.address])
  const thrift = await world.client()
  const client = world.native()
  t.ok(frames.length > 8)
  for (const { name, hex } of frames) {
    frame = Buffer.from(hex, 'hex')
    const [byThrift, byNative] = [await thrift.query('temp'), await client.ask(query('temp'))]
    t.equal(byNative.header.errorName, byThrift.errorName, name)
    t.same(byNative.body, byThrift.result, name)
  }
})

/** A reply whose message header has the old form: name, type, sequence id. */
function oldReply(seqid: number, errorName: string, result: Buffer): Buffer {
  const text = (value: string): Buffer => Buffer.concat([word(value.length), Buffer.from(value)])
  const word = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(value)
    return bytes
  }
  const parts = [text(errorName), text(`${QUERY}_ACK`), Buffer.from([2]), word(seqid), result]
  const body = Buffer.concat(parts)
  return Buffer.concat([word(4 + body.length), body])
}

void t.test('header errors and old message headers of metas are told in kind', async (t) => {
  const world = await stage(t)
  let reply: (seqid: number) => Buffer = () => Buffer.alloc(0)
  const meta = await world.meta(({ seqid }) => ({ raw: reply(seqid) }))
  await world.map('temp', [meta.address])
  const client = world.native()
  const result = encodeResult(QueryCfgResponse, QueryCfgResponse.make({ appId: 5 }))
  const nothing = Buffer.alloc(0)
  for (const [make, errorName, body] of [
    [(seqid: number) => encodeReply(QUERY, seqid, 'ERR_BUSY', undefined), 'ERR_BUSY', nothing],
    [(seqid: number) => encodeReply(QUERY, seqid, 'ERR_BUSY', result), 'ERR_BUSY', result],
    [(seqid: number) => encodeReply(QUERY, seqid, 'E'.repeat(60), result), 'E'.repeat(47), result],
    [(seqid: number) => oldReply(seqid, 'ERR_OK', result), 'ERR_OK', result],
  ] as const) {
    reply = make
    const answer = await client.ask(query('temp'))
    t.same([answer.header.errorName, answer.body], [errorName, body])
  }
})

void t.test('the field id of the argument tells metas that a native client asks', async (t) => {
  const world = await stage(t)
  const meta = await world.meta(() => ({ error: 'ERR_OK', appId: 2 }))
  await world.map('temp', [meta.address])
  const client = world.native()
  const usual = nativeArgument(QueryCfgRequest, { appName: 'temp', partitionIndices: [1, 2] })
  const withId1 = Buffer.from(usual)
  withId1.writeInt16BE(1, 1)
  for (const argument of [usual, withId1]) {
    const reply = await client.ask(encodeNativeFrame(nativeHeader(QUERY), argument))
    t.equal(responseOf(reply.body).appId, 2)
  }
  await (await world.client()).query('temp')
  t.same(
    meta.requests.map(({ argument }) => argument.readInt16BE(1)),
    [0, 0, 1],
  )
  const [first] = meta.requests
  t.same(first === undefined ? {} : decodeArgument(QueryCfgRequest, first.argument), {
    appName: 'temp',
    partitionIndices: [1, 2],
  })
})

void t.test(
  'W-3 to W-6: what the gateway answers itself comes in the native form too',
  async (t) => {
    const world = await stage(t)
    await world.editor.create(`${root}/broken`, Buffer.from('no mapping'))
    await world.map('dead', ['127.0.0.1:1'])
    const client = world.native()
    for (const [table, err] of [
      ['unknown', 'ERR_OBJECT_NOT_FOUND'],
      ['broken', 'ERR_INVALID_DATA'],
      ['dead', 'ERR_SERVICE_NOT_ACTIVE'],
      ['..', 'ERR_OBJECT_NOT_FOUND'],
    ] as const) {
      const { header, body } = await client.ask(query(table, { id: 77n, traceId: 5n }))
      t.same(
        [header.errorName, header.id, header.traceId, header.name],
        ['ERR_OK', 77n, 5n, `${QUERY}_ACK`],
      )
      t.same(responseOf(body), {
        err,
        appId: 0,
        partitionCount: 0,
        isStateful: false,
        partitions: [],
      })
    }
  },
)

void t.test('W-7: a silent meta is answered for within the time of the client', async (t) => {
  const world = await stage(t, { requestTimeoutMs: '4000', 'meta.silenceMs': '30000' })
  const meta = await world.meta(() => 'silence')
  await world.map('temp', [meta.address])
  const startedMs = performance.now()
  const { body } = await world.native().ask(query('temp', { timeoutMs: 1000 }))
  t.equal(responseOf(body).err, 'ERR_SERVICE_NOT_ACTIVE')
  t.ok(performance.now() - startedMs < 3900, 'not our own, longer time')
})

void t.test('W-8: other RPCs are refused in kind, one-way ones not at all', async (t) => {
  const world = await stage(t)
  const client = world.native()
  client.send(
    Buffer.concat([
      nativeRequest(Rpc.CLEAR_SCANNER, 5n, { id: 1n }),
      frameOf('put_request'),
      frameOf('beacon_request'),
      frameOf('cluster_info_request'),
      encodeNativeFrame(nativeHeader('N'.repeat(47), { id: 3n }), Buffer.alloc(0)),
    ]),
  )
  const replies = await client.received(4)
  t.same(
    replies.map(({ header, body }) => [header.name, header.errorName, body.length]),
    [
      ['RPC_RRDB_RRDB_PUT_ACK', 'ERR_HANDLER_NOT_FOUND', 0],
      ['RPC_FD_FAILURE_DETECTOR_PING_ACK', 'ERR_HANDLER_NOT_FOUND', 0],
      ['RPC_CM_CLUSTER_INFO_ACK', 'ERR_HANDLER_NOT_FOUND', 0],
      ['N'.repeat(47), 'ERR_HANDLER_NOT_FOUND', 0],
    ],
  )
})

void t.test('a negotiation is told that authentication is off', async (t) => {
  const world = await stage(t)
  const client = world.native()
  const hello = { status: NegotiationStatus.SASL_LIST_MECHANISMS, msg: Buffer.alloc(0) }
  const { header, body } = await client.ask(nativeRequest(Rpc.NEGOTIATION, hello))
  t.equal(header.name, 'RPC_NEGOTIATION_ACK')
  t.equal(decodeResult(Rpc.NEGOTIATION.result, body).status, NegotiationStatus.SASL_AUTH_DISABLE)
  const cut = encodeNativeFrame(nativeHeader('RPC_NEGOTIATION'), Buffer.from('0c0000', 'hex'))
  t.equal((await client.ask(cut)).header.errorName, 'ERR_INVALID_DATA')
})

void t.test('W-9: a query cut at any byte is refused, and reaches no meta', async (t) => {
  const world = await stage(t)
  const meta = await world.meta(() => ({ error: 'ERR_OK' }))
  await world.map('temp', [meta.address])
  const client = world.native()
  const whole = nativeArgument(QueryCfgRequest, { appName: 'temp', partitionIndices: [1] })
  const long = Buffer.from(whole)
  long.writeInt32BE(1000, 6)
  const broken = [
    ...Array.from({ length: whole.length }, (_, cut) => whole.subarray(0, cut)),
    Buffer.concat([whole, Buffer.from([0])]),
    long,
  ]
  for (const argument of broken) {
    const { header, body } = await client.ask(encodeNativeFrame(nativeHeader(QUERY), argument))
    t.same([header.errorName, body.length], ['ERR_INVALID_DATA', 0], argument.toString('hex'))
  }
  t.equal(meta.requests.length, 0)
  t.equal((await client.ask(query('temp'))).header.errorName, 'ERR_OK', 'the connection stays')
})

void t.test('W-12: a native client is never sent to another address', async (t) => {
  const world = await stage(t, { requestTimeoutMs: '1000' })
  const leader = await world.meta(() => ({ error: 'ERR_OK', appId: 9 }))
  const follower = await world.meta(() => ({
    error: 'ERR_FORWARD_TO_OTHERS',
    forwardTo: leader.address,
  }))
  await world.map('temp', [follower.address])
  const client = world.native()
  const followed = await client.ask(query('temp'))
  t.equal(followed.header.errorName, 'ERR_OK')
  t.equal(responseOf(followed.body).appId, 9)
  const circle = await world.meta(() => ({ error: 'ERR_FORWARD_TO_OTHERS' }))
  const headerForward = await world.meta((request) => ({
    frame: encodeReply(request.name, 0, 'ERR_FORWARD_TO_OTHERS', undefined),
  }))
  await world.map('lost', [circle.address, headerForward.address])
  const lost = await client.ask(query('lost'))
  t.equal(lost.header.errorName, 'ERR_OK')
  t.same(responseOf(lost.body), {
    ...QueryCfgResponse.make({ err: 'ERR_SERVICE_NOT_ACTIVE' }),
    partitions: [],
  })
})

void t.test('W-10: what breaks the native form closes the connection', async (t) => {
  const world = await stage(t)
  const version1 = query('temp')
  version1.writeUInt32LE(1, 4)
  const badCrc = query('temp', { checksummed: true })
  badCrc.writeUInt8((badCrc[30] ?? 0) ^ 1, 30)
  const large = query('temp')
  large.writeUInt32LE((1 << 20) + 1, 16)
  const reply = query('temp')
  reply.writeUInt32LE(0x440, 104)
  for (const [what, bytes] of [
    ['version 1', version1],
    ['a wrong checksum', badCrc],
    ['W-11: a body over 1 MiB', large],
    ['a reply', reply],
    ['zeros', Buffer.concat([Buffer.from('RDSN'), Buffer.alloc(400)])],
  ] as const) {
    const client = world.native()
    client.send(bytes)
    await client.ended()
    t.equal(client.replies.length, 0, what)
  }
  const behind = world.native()
  behind.send(Buffer.concat([query('unknown'), queryFrame('unknown')]))
  await behind.ended()
  t.equal(behind.replies.length, 1, 'a Thrift frame behind a native one')
  const thrift = await world.client()
  await thrift.query('unknown')
  thrift.send(query('unknown'))
  await until(() => thrift.hasEnded)
  t.equal(thrift.replies.length, 1, 'a native frame behind a Thrift one')
})

void t.test('W-10: switched off, the native form is garbage', async (t) => {
  const world = await stage(t, { 'rpc.nativeHeader': 'off' })
  const client = world.native()
  client.send(query('temp'))
  await client.ended()
  t.equal(client.replies.length, 0)
  t.equal((await (await world.client()).query('unknown')).errorName, 'ERR_OK', 'Thrift is served')
})

void t.test('W-14, W-16: a frame cut at any byte is neither answered nor left open', async (t) => {
  const world = await stage(t)
  const whole = query('temp')
  const cuts = Array.from({ length: whole.length }, (_, cut) => cut)
  await Promise.all(
    cuts.map(async (cut) => {
      const client = world.native()
      client.socket.end(whole.subarray(0, cut))
      await client.closed
      t.equal(client.replies.length, 0, `cut at ${cut}`)
    }),
  )
  const client = world.native()
  client.socket.end(Buffer.concat([query('unknown', { id: 1n }), query('unknown', { id: 2n })]))
  await client.closed
  t.equal(client.replies.length, 2, 'W-14: answers, then the end')
  await until(() => world.gateway.server.connectionCount === 0)
})

void t.test('both forms are served at once on one port (W-13)', async (t) => {
  const world = await stage(t)
  const meta = await world.meta((request) => {
    const { partitionIndices } = decodeArgument(QueryCfgRequest, request.argument)
    return { error: 'ERR_OK', appId: partitionIndices[0] ?? 0 }
  })
  await world.map('temp', [meta.address])
  const rounds = 100
  const natives = [world.native(), world.native()]
  const thrifts: FrameClient[] = [await world.client(), await world.client()]
  for (let round = 1; round <= rounds; round++) {
    for (const client of natives) client.send(query('temp', { id: BigInt(round) }, [round]))
    for (const client of thrifts)
      client.send(
        queryFrame('temp', { seqid: round, indices: [round], version: round % 2 ? 1 : 0 }),
      )
  }
  const expected = Array.from({ length: rounds }, (_, round) => [round + 1, round + 1])
  const order = (a: readonly number[], b: readonly number[]): number => (a[0] ?? 0) - (b[0] ?? 0)
  for (const client of natives) {
    const replies = await client.received(rounds)
    const sizes = new Set(replies.map(({ body }) => body.length))
    t.equal(sizes.size, 1, 'each body is one struct, whatever arrived with it')
    const told = replies.map(({ header, body }) => [Number(header.id), responseOf(body).appId])
    t.same(told.toSorted(order), expected)
  }
  for (const client of thrifts) {
    const replies = await client.received(rounds)
    const told = replies.map(({ seqid, result }) => [seqid, responseOf(result).appId])
    t.same(told.toSorted(order), expected)
  }
})

void t.test('C-1: equal queries share an answer, but not across the forms', async (t) => {
  const world = await stage(t)
  const meta = await world.meta(({ argument }) => ({
    error: 'ERR_OK',
    appId: argument.readInt16BE(1) === 0 ? 100 : 200,
  }))
  await world.map('temp', [meta.address])
  const natives = Array.from({ length: 8 }, () => world.native())
  const thrifts = await Promise.all(Array.from({ length: 8 }, () => world.client()))
  const rounds = 25
  for (let round = 0; round < rounds; round++)
    for (const [index, thrift] of thrifts.entries()) {
      natives[index]?.send(query('temp', { id: BigInt(round) }))
      thrift.send(queryFrame('temp', { seqid: round }))
    }
  for (const client of natives)
    for (const { body } of await client.received(rounds)) t.equal(responseOf(body).appId, 100)
  for (const client of thrifts)
    for (const { result } of await client.received(rounds)) t.equal(responseOf(result).appId, 200)
  for (const client of natives)
    t.same(
      client.replies.map(({ header }) => Number(header.id)).toSorted((a, b) => a - b),
      Array.from({ length: rounds }, (_, round) => round),
    )
  const [, shared = '0'] = /^gateway_coalesced_total (\d+)$/m.exec(await world.metrics.text()) ?? []
  t.ok(Number(shared) > 0, `${shared} were asked together with another one`)
})

void t.test('checksums are answered with checksums', async (t) => {
  const world = await stage(t)
  const { header } = await world.native().ask(query('unknown', { checksummed: true }))
  t.ok(header.checksummed)
})
