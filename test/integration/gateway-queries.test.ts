/**
 * The gateway over real sockets, with scripted meta servers behind it: what goes out to clients and
 * what never does (gateway.md 2 and 4). Rule numbers are those of that document.
 */
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import {
  decodeResult,
  encodeReply,
  encodeRequest,
  encodeResult,
  type ReplyFrame,
  type RequestFrame,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import {
  type FakeAnswer,
  type FakeMeta,
  configAnswer,
  startFakeMeta,
  withSeqid,
} from '../support/fake-meta.ts'
import {
  type FrameClient,
  type GatewayWorld,
  QUERY,
  queryFrame,
  root,
  startWorld,
  until,
} from '../support/gateway-world.ts'

// Far above what it takes: machines that build and test at once are slow.
t.setTimeout(120_000)

interface Vector {
  readonly name: string
  readonly hex: string
}
const recorded = (
  JSON.parse(readFileSync('test/vectors/responses_meta.json', 'utf8')) as { vectors: Vector[] }
).vectors

const ok =
  (appId: number): (() => FakeAnswer) =>
  () => ({ error: 'ERR_OK', appId })
const forward =
  (to?: string): (() => FakeAnswer) =>
  () => ({ error: 'ERR_FORWARD_TO_OTHERS', ...(to === undefined ? {} : { forwardTo: to }) })
const body = (reply: ReplyFrame): QueryCfgResponse => decodeResult(QueryCfgResponse, reply.result)
const errorOf = (reply: ReplyFrame): string =>
  reply.result.length === 0 ? reply.errorName : body(reply).err

/** A world with metas, closed when the test ends. */
async function world(
  t: { teardown: (end: () => Promise<void>) => unknown },
  answers: readonly ((request: RequestFrame) => FakeAnswer)[],
  flags: Readonly<Record<string, string>> = {},
): Promise<{ world: GatewayWorld; metas: FakeMeta[]; client: FrameClient }> {
  const metas = await Promise.all(answers.map((answer) => startFakeMeta(answer)))
  const started = await startWorld(flags)
  t.teardown(async () => {
    await started.close()
    await Promise.all(metas.map((meta) => meta.close()))
  })
  await started.map(
    'temp',
    metas.map((meta) => meta.address),
  )
  return { world: started, metas, client: await started.client() }
}

void t.test(
  'W-1: what the leader answers goes out byte for byte, but for the sequence id',
  async (t) => {
    let frame: Buffer = Buffer.alloc(0)
    const { client } = await world(t, [() => ({ frame })])
    let seqid = -2
    for (const vector of recorded) {
      frame = Buffer.from(vector.hex, 'hex')
      const error = /ERR_[A-Z_]+/.exec(frame.toString('latin1', 60))?.[0] ?? ''
      if (/FORWARD|NOT_ACTIVE|UNDER_RECOVERY/.test(frame.toString('latin1'))) continue
      for (const version of [0, 1] as const) {
        const reply = await client.query('temp', { version, seqid: ++seqid })
        t.same(reply.bytes, withSeqid(frame, seqid), `${vector.name}, header v${version}, ${error}`)
      }
    }
    const invented = Buffer.concat([
      Buffer.from(recorded[0]?.hex ?? '', 'hex').subarray(0, -2),
      Buffer.from('0c004d0000000161', 'hex'),
      Buffer.from('0000', 'hex'),
    ])
    invented.writeUInt32BE(invented.length, 0)
    frame = invented
    t.same(
      (await client.query('temp', { seqid: 77 })).bytes,
      withSeqid(invented, 77),
      'a field nobody knows',
    )
    const big = QueryCfgResponse.make({
      err: 'ERR_OK',
      appId: 1,
      partitionCount: 4096,
      isStateful: true,
    })
    for (let index = 0; index < 4096; index++)
      big.partitions.push({
        pid: { appId: 1, partitionIndex: index },
        ballot: 3,
        maxReplicaCount: 3,
        primary: '10.0.0.1:34801',
        secondaries: ['10.0.0.2:34801', '10.0.0.3:34801'],
        lastDrops: [],
        lastCommittedDecree: 9,
        partitionFlags: 0,
      })
    frame = encodeReply(QUERY, 0, 'ERR_OK', encodeResult(QueryCfgResponse, big))
    t.same(
      (await client.query('temp', { seqid: 78 })).bytes,
      withSeqid(frame, 78),
      '4096 partitions',
    )
    frame = encodeReply(QUERY, 0, 'ERR_BUSY', undefined)
    t.same(
      (await client.query('temp', { seqid: 79 })).bytes,
      withSeqid(frame, 79),
      'a header error',
    )
    frame = encodeReply(QUERY, 0, 'ERR_OK', Buffer.from('0b0000000000016100', 'hex'))
    t.same(
      (await client.query('temp', { seqid: 80 })).bytes,
      withSeqid(frame, 80),
      'a result of unknown form',
    )
  },
)

void t.test('W-1: the arguments reach the meta as they came', async (t) => {
  const { client, metas } = await world(t, [ok(1)])
  const header = { ...emptyHeader, version: 1, appId: -1, partitionIndex: -2 } as const
  const forms = {
    indices: queryFrame('temp', { indices: [0, 3, -1] }),
    'no list': encodeRequest(
      header,
      QUERY,
      5,
      Buffer.from('0c00010b00010000000474656d700000', 'hex'),
    ),
    'native field id': encodeRequest(
      header,
      QUERY,
      5,
      Buffer.from('0c00000b00010000000474656d700f000208000000000000', 'hex'),
    ),
    'unknown field': encodeRequest(
      header,
      QUERY,
      5,
      Buffer.from('0c00010b00010000000474656d70080063000000070000', 'hex'),
    ),
  }
  for (const [what, frame] of Object.entries(forms)) {
    client.send(frame)
    await client.received(client.replies.length + 1)
    const argument = metas[0]?.requests.at(-1)?.argument ?? Buffer.alloc(0)
    t.ok(frame.subarray(-argument.length).equals(argument), what)
    t.equal(errorOf(client.replies.at(-1) as ReplyFrame), 'ERR_OK', what)
  }
})

void t.test('W-3, W-4, W-5: answers that the gateway makes itself', async (t) => {
  const {
    client,
    world: { editor },
  } = await world(t, [ok(1)])
  await editor.create(`${root}/broken`, Buffer.from('{"cluster":'))
  const cases: readonly (readonly [string, string])[] = [
    ['nobody', 'ERR_OBJECT_NOT_FOUND'],
    ['', 'ERR_OBJECT_NOT_FOUND'],
    ['a/b', 'ERR_OBJECT_NOT_FOUND'],
    ['..', 'ERR_OBJECT_NOT_FOUND'],
    ['x'.repeat(256), 'ERR_OBJECT_NOT_FOUND'],
    ['broken', 'ERR_INVALID_DATA'],
  ]
  for (const [table, error] of cases) {
    const reply = await client.query(table, { seqid: 9 })
    t.equal(reply.errorName, 'ERR_OK')
    t.equal(reply.seqid, 9)
    t.equal(reply.name, `${QUERY}_ACK`)
    t.same(body(reply), QueryCfgResponse.make({ err: error }), table.slice(0, 10))
  }
})

void t.test(
  'W-8, W-9, negotiation: other RPCs and unreadable arguments leave the connection open',
  async (t) => {
    const { client, metas } = await world(t, [ok(1)])
    const good = queryFrame('temp').subarray(48 + 12 + QUERY.length)
    for (let cut = 0; cut < good.length; cut++) {
      client.send(encodeRequest(emptyHeader, QUERY, cut, Buffer.from(good.subarray(0, cut))))
      const reply = (await client.received(cut + 1))[cut]
      t.same(
        [reply?.errorName, reply?.seqid, reply?.result.length],
        ['ERR_INVALID_DATA', cut, 0],
        `cut at ${cut}`,
      )
    }
    const bad = {
      'a string longer than the frame': '0c00010b00017fffffff74656d700f000208000000000000',
      'a list longer than the frame': '0c00010b00010000000474656d700f000208400000000000',
      'bytes behind the struct': '0c00010b00010000000474656d700f00020800000000000000',
      'an unknown struct inside': '0c00010b00010000000474656d700c0063000000',
      'no struct': '0b00010000000474656d7000',
    }
    for (const [what, hex] of Object.entries(bad)) {
      const count = client.replies.length + 1
      client.send(encodeRequest(emptyHeader, QUERY, 1, Buffer.from(hex, 'hex')))
      t.equal((await client.received(count))[count - 1]?.errorName, 'ERR_INVALID_DATA', what)
    }
    t.equal(metas[0]?.requests.length, 0, 'nothing of this was forwarded')
    for (const name of [
      'RPC_NO_SUCH',
      'RPC_CM_LIST_APPS',
      'RPC_RRDB_RRDB_GET',
      'RPC_CM_CONFIG_SYNC',
      'x'.repeat(60),
    ]) {
      const count = client.replies.length + 1
      client.send(encodeRequest(emptyHeader, name, -7, Buffer.from([0])))
      const reply = (await client.received(count))[count - 1]
      t.same(
        [reply?.errorName, reply?.name, reply?.seqid, reply?.result.length],
        ['ERR_HANDLER_NOT_FOUND', `${name}_ACK`, -7, 0],
        name,
      )
    }
    const count = client.replies.length + 1
    client.send(
      encodeRequest(
        emptyHeader,
        Rpc.CLEAR_SCANNER.name,
        3,
        Buffer.from('0a0001000000000000000100', 'hex'),
      ),
    )
    client.send(
      encodeRequest(emptyHeader, Rpc.NEGOTIATION.name, 4, Buffer.from('0c0001000000', 'hex')),
    )
    const negotiated = (await client.received(count))[count - 1]
    t.equal(negotiated?.seqid, 4, 'clear_scanner is never answered')
    t.equal(decodeResult(Rpc.NEGOTIATION.result, negotiated?.result ?? Buffer.alloc(0)).status, 9)
    t.equal(errorOf(await client.query('temp')), 'ERR_OK', 'the connection still works')
  },
)

void t.test(
  'W-10, W-11: broken frames close the connection, good ones before them are answered',
  async (t) => {
    const { world: running, metas } = await world(t, [ok(1)])
    const broken = {
      garbage: Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      'version 2': patched(4, 2),
      'header length 47': patched(8, 47),
      'message type REPLY': patched(48, 0x80010002),
      'a body over the limit': patched(16, (1 << 20) + 1),
      'a v1 meta over the limit': Buffer.from('54484654000000010000100100000010', 'hex'),
      'a name beyond the body': patched(52, 0x00ffffff),
      'an empty body': patched(16, 0).subarray(0, 48),
    }
    for (const [what, bytes] of Object.entries(broken)) {
      const alone = await running.client()
      alone.send(bytes)
      await until(() => alone.hasEnded)
      alone.socket.end()
      t.equal(alone.replies.length, 0, what)
      const behind = await running.client()
      behind.send(
        Buffer.concat([
          queryFrame('temp', { seqid: 5 }),
          queryFrame('nobody', { seqid: 6 }),
          bytes,
        ]),
      )
      await until(() => behind.hasEnded)
      t.same(
        behind.replies.map((reply) => reply.seqid).toSorted((a, b) => a - b),
        [5, 6],
        `${what}, behind good frames`,
      )
      behind.socket.end()
    }
    await until(() => running.gateway.server.connectionCount <= 1)
    t.ok((metas[0]?.connections.size ?? 9) <= 2, 'two connections to the meta for all of it (M-6)')
  },
)

function patched(at: number, value: number): Buffer {
  const frame = queryFrame('temp')
  frame.writeUInt32BE(value, at)
  return frame
}

void t.test(
  'W-12, M-2: forwards are followed, also to a leader in no list, and never relayed',
  async (t) => {
    const leader = await startFakeMeta(ok(42))
    t.teardown(() => leader.close())
    const { client, metas } = await world(t, [forward(leader.address), forward()])
    t.equal(body(await client.query('temp')).appId, 42)
    t.equal(body(await client.query('temp')).appId, 42)
    t.equal(leader.requests.length, 2)
    t.ok(
      metas.reduce((sum, meta) => sum + meta.requests.length, 0) <= 2,
      'the leader is remembered',
    )
  },
)

void t.test(
  'W-12: metas that forward in a circle, or know no leader, end with ERR_SERVICE_NOT_ACTIVE',
  async (t) => {
    const { client, metas } = await world(t, [forward(), forward()], { requestTimeoutMs: '1500' })
    const [a, b] = metas
    if (a === undefined || b === undefined) throw new Error('two metas')
    a.answer = forward(b.address)
    b.answer = forward(a.address)
    t.equal(errorOf(await client.query('temp')), 'ERR_SERVICE_NOT_ACTIVE')
    t.ok(a.requests.length + b.requests.length < 40, 'asked in moderation')
    a.answer = forward('0.0.0.0:0')
    t.equal(errorOf(await client.query('temp')), 'ERR_SERVICE_NOT_ACTIVE')
    a.answer = ok(1)
    t.equal(errorOf(await client.query('temp')), 'ERR_OK', 'served again once there is a leader')
  },
)

void t.test(
  'a new leader is found inside the budget of the query that met the election',
  async (t) => {
    const { client, metas } = await world(t, [forward(), forward()])
    const asked = client.query('temp')
    await until(() => (metas[1]?.requests.length ?? 0) >= 2)
    if (metas[1] !== undefined) metas[1].answer = ok(5)
    t.equal(body(await asked).appId, 5)
  },
)

void t.test(
  'W-6: dead metas are told at once, silent ones after the silence, and both recover',
  async (t) => {
    const { client, metas } = await world(t, [ok(1), ok(1)], {
      'meta.silenceMs': '1500',
      'meta.hedgeMs': '50',
    })
    t.equal(errorOf(await client.query('temp')), 'ERR_OK')
    for (const meta of metas) meta.answer = () => 'silence'
    t.equal(errorOf(await client.query('temp')), 'ERR_SERVICE_NOT_ACTIVE', 'silent')
    for (const meta of metas) meta.answer = () => 'reset'
    t.equal(errorOf(await client.query('temp')), 'ERR_SERVICE_NOT_ACTIVE', 'reset')
    await Promise.all(metas.map((meta) => meta.close()))
    t.equal(errorOf(await client.query('temp')), 'ERR_SERVICE_NOT_ACTIVE', 'refused')
    const back = await startFakeMeta(ok(7), metas[1]?.port)
    t.teardown(() => back.close())
    await until(async () => errorOf(await client.query('temp')) === 'ERR_OK')
    t.equal(body(await client.query('temp')).appId, 7)
  },
)

void t.test(
  'M-4: a silent leader does not hold up the query when another meta knows better',
  async (t) => {
    const { client, metas } = await world(t, [ok(1), () => 'silence'])
    const [a, b] = metas
    t.equal(body(await client.query('temp')).appId, 1)
    if (a !== undefined) a.answer = () => 'silence'
    if (b !== undefined) b.answer = ok(2)
    t.equal(body(await client.query('temp')).appId, 2)
  },
)

void t.test(
  'M-3: a leader that is still loading is asked again, and its word is relayed in the end',
  async (t) => {
    const { client, metas } = await world(t, [() => ({ error: 'ERR_SERVICE_NOT_ACTIVE' })])
    const asked = client.query('temp')
    await until(() => (metas[0]?.requests.length ?? 0) >= 2)
    if (metas[0] !== undefined) metas[0].answer = ok(3)
    t.equal(body(await asked).appId, 3)
    if (metas[0] !== undefined) metas[0].answer = () => ({ error: 'ERR_UNDER_RECOVERY' })
    t.equal(errorOf(await client.query('temp', { timeoutMs: 1000 })), 'ERR_UNDER_RECOVERY')
  },
)

void t.test(
  'M-7: late answers are ignored, broken ones end the connection and not the query',
  async (t) => {
    const {
      client,
      metas,
      world: running,
    } = await world(t, [ok(1), ok(2)], {
      requestTimeoutMs: '4000',
      'meta.hedgeMs': '50',
      'meta.silenceMs': '3000',
    })
    const [a, b] = metas
    if (a === undefined || b === undefined) throw new Error('two metas')
    const wrong: Readonly<Record<string, (request: RequestFrame) => FakeAnswer>> = {
      'a sequence id never issued': (request) => ({
        raw: withSeqid(configAnswer(request, { error: 'ERR_OK', appId: 9 }), 4711),
      }),
      'another RPC': (request) => ({
        raw: encodeReply('RPC_OTHER', request.seqid, 'ERR_OK', undefined),
      }),
      'half a frame and the end': (request) => ({
        raw: configAnswer(request, { error: 'ERR_OK' }).subarray(0, 30),
        thenClose: true,
      }),
      'half a frame and silence': (request) => ({
        raw: configAnswer(request, { error: 'ERR_OK' }).subarray(0, 30),
      }),
      garbage: () => ({ raw: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }),
    }
    for (const [what, answer] of Object.entries(wrong)) {
      a.answer = answer
      t.equal(body(await client.query('temp')).appId, 2, what)
      a.answer = ok(1)
      // Makes the first meta the one that is asked first again.
      b.answer = forward(a.address)
      await until(async () => body(await client.query('temp')).appId === 1)
      b.answer = ok(2)
    }
    t.equal(running.gateway.server.inFlight, 0)
  },
)

void t.test('W-13: pipelined queries with equal sequence ids are all answered', async (t) => {
  const { client } = await world(t, [ok(1)])
  const frames = Array.from({ length: 600 }, (_, index) =>
    queryFrame(index % 3 === 0 ? 'nobody' : 'temp', {
      seqid: 1 + (index % 2),
      version: index % 2 === 0 ? 0 : 1,
    }),
  )
  client.send(Buffer.concat(frames))
  const replies = await client.received(600)
  t.equal(replies.filter((reply) => errorOf(reply) === 'ERR_OK').length, 400)
  t.equal(replies.filter((reply) => reply.seqid === 1).length, 300)
})

void t.test(
  'W-14: a client that ends its half still gets its answers, then the connection ends',
  async (t) => {
    const { client, world: running } = await world(t, [ok(1)])
    for (let seqid = 0; seqid < 20; seqid++) client.send(queryFrame('temp', { seqid }))
    client.socket.end()
    t.equal((await client.received(20)).length, 20)
    await client.closed
    await until(() => running.gateway.server.connectionCount === 0)
    t.pass('nothing is left half closed')
  },
)

for (const coalescing of ['off', 'on'] as const)
  void t.test(
    `W-15: a client that does not read stops being read, and is reset in the end, coalescing ${coalescing}`,
    async (t) => {
      const large = QueryCfgResponse.make({ err: 'ERR_OK', partitionCount: 1, isStateful: true })
      for (let index = 0; index < 3000; index++)
        large.partitions.push({
          pid: { appId: 1, partitionIndex: index },
          ballot: 3,
          maxReplicaCount: 3,
          primary: '10.0.0.1:34801',
          secondaries: [],
          lastDrops: [],
          lastCommittedDecree: 9,
          partitionFlags: 0,
        })
      const frame = encodeReply(QUERY, 0, 'ERR_OK', encodeResult(QueryCfgResponse, large))
      const {
        client,
        world: running,
        metas,
      } = await world(t, [() => ({ frame })], {
        'limits.slowReaderMs': '500',
        'limits.inFlight': '16',
        coalescing,
      })
      client.socket.pause()
      const requests = 2000
      client.send(Buffer.concat(Array.from({ length: requests }, () => queryFrame('temp'))))
      const fast = await running.client()
      await until(() => (metas[0]?.requests.length ?? 0) > (coalescing === 'off' ? 20 : 0))
      t.equal(
        (await fast.query('temp')).result.length,
        frame.length - 12 - 18 - QUERY.length,
        'another connection is not held up',
      )
      await until(() => running.gateway.server.connectionCount === 1)
      t.ok(
        (metas[0]?.requests.length ?? requests) < requests,
        'reading stopped long before the end',
      )
    },
  )

void t.test(
  'W-16, W-17: half a request is not waited for for ever, and connections are limited',
  async (t) => {
    const { world: running } = await world(t, [ok(1)], {
      'limits.frameMs': '200',
      'limits.connections': '3',
    })
    const slow = await running.client()
    slow.send(queryFrame('temp').subarray(0, 30))
    const idle = await running.client()
    const fourth = connect({ port: running.gateway.port, host: '127.0.0.1' })
    await new Promise((resolve) => {
      fourth.on('error', () => undefined).once('close', resolve)
    })
    t.pass('the connection over the limit is closed')
    await until(() => slow.hasEnded)
    t.equal(errorOf(await idle.query('temp')), 'ERR_OK', 'an idle connection stays')
  },
)

void t.test('W-7: the time limit of the client is kept', async (t) => {
  const { client } = await world(t, [() => 'silence'], { 'meta.silenceMs': '30000' })
  t.equal(errorOf(await client.query('temp', { timeoutMs: 150 })), 'ERR_SERVICE_NOT_ACTIVE')
})

void t.test('names of meta servers are resolved', async (t) => {
  const { world: running, metas, client } = await world(t, [ok(8)])
  await running.map('named', [`localhost:${metas[0]?.port ?? 0}`], 'c2')
  await running.map('unresolved', ['no-such-host.invalid:1'], 'c3')
  t.equal(body(await client.query('named')).appId, 8)
  t.equal(errorOf(await client.query('unresolved')), 'ERR_SERVICE_NOT_ACTIVE')
})

void t.test('go-compat: the error names of the Go proxy', async (t) => {
  const { world: running, client } = await world(t, [() => 'reset'], {
    'errors.mode': 'go-compat',
    'routing.lookupTimeoutMs': '1500',
  })
  t.equal(errorOf(await client.query('temp')), 'ERR_UNKNOWN')
  running.memory.freeze()
  t.equal(errorOf(await client.query('cold')), 'ERR_ZOOKEEPER_OPERATION')
  running.memory.thaw()
})

void t.test('drain: what is being worked on is answered, then every connection ends', async (t) => {
  const {
    world: running,
    client,
    metas,
  } = await world(t, [() => 'silence', ok(1)], { 'meta.hedgeMs': '100' })
  const idle = await running.client()
  const asked = client.query('temp')
  await until(() => (metas[0]?.requests.length ?? 0) > 0)
  const closing = running.gateway.close()
  t.equal(running.gateway.unreadyReason(), 'draining')
  t.equal(errorOf(await asked), 'ERR_OK')
  client.socket.end()
  idle.socket.end()
  await closing
  t.equal(running.gateway.server.connectionCount, 0)
  await until(() => metas.every((meta) => meta.connections.size === 0))
})

void t.test('random bytes never take the gateway down', async (t) => {
  const { world: running } = await world(t, [ok(1)])
  let state = 12345
  const random = (): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 4294967296
  for (let round = 0; round < 150; round++) {
    const client = await running.client()
    const frame = Buffer.concat([queryFrame('temp'), queryFrame('temp', { version: 1 })])
    for (let flips = 0; flips < 1 + (round % 8); flips++)
      frame[Math.floor(random() * frame.length)] = Math.floor(random() * 256)
    client.send(frame.subarray(0, Math.floor(random() * (frame.length + 1))))
    client.socket.end()
    await client.closed
  }
  await until(
    () => running.gateway.server.connectionCount <= 1 && running.gateway.server.inFlight === 0,
  )
  const client = await running.client()
  t.equal(errorOf(await client.query('temp')), 'ERR_OK')
})
