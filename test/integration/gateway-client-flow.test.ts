/**
 * Clients that send and read at their own pace (gateway.md W-14 to W-16), over real sockets: what they
 * are sent is compared byte by byte while others go on, because memory is used again on both sides.
 */
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import {
  type RequestFrame,
  decodeResult,
  encodeReply,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import { type FakeAnswer, type FakeMeta, startFakeMeta, withSeqid } from '../support/fake-meta.ts'
import {
  FrameClient,
  type GatewayWorld,
  QUERY,
  queryFrame,
  startWorld,
  until,
} from '../support/gateway-world.ts'

t.setTimeout(120_000)

const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, delayMs)
  })

async function world(
  t: Test,
  answer: (request: RequestFrame) => FakeAnswer,
  flags: Readonly<Record<string, string>> = {},
): Promise<{ readonly world: GatewayWorld; readonly meta: FakeMeta }> {
  const meta = await startFakeMeta(answer)
  const started = await startWorld(flags)
  t.teardown(async () => {
    await started.close()
    await meta.close()
  })
  await started.map('temp', [meta.address])
  return { world: started, meta }
}

const small = (): FakeAnswer => ({ error: 'ERR_OK', appId: 1 })

/** An answer that says `mark` in each of its partitions, so that a mixture of two is seen. */
function marked(mark: number, partitions: number): Buffer {
  const response = QueryCfgResponse.make({
    err: 'ERR_OK',
    appId: mark,
    partitionCount: partitions,
    isStateful: true,
  })
  for (let index = 0; index < partitions; index++)
    response.partitions.push({
      pid: { appId: mark, partitionIndex: index },
      ballot: mark,
      maxReplicaCount: 3,
      primary: `10.0.${(mark >> 8) & 255}.${mark & 255}:34801`,
      secondaries: [],
      lastDrops: [],
      lastCommittedDecree: mark,
      partitionFlags: 0,
    })
  return encodeReply(QUERY, 0, 'ERR_OK', encodeResult(QueryCfgResponse, response))
}

async function counted(running: GatewayWorld, reason: string): Promise<number> {
  const line = new RegExp(`^gateway_frames_rejected_total\\{[^}]*"${reason}"[^}]*\\} (\\d+)$`, 'm')
  return Number(line.exec(await running.metrics.text())?.[1] ?? 0)
}

void t.test('W-16: a frame that drips in is not waited for', async (t) => {
  const { world: running } = await world(t, small, { 'limits.frameMs': '400' })
  const frame = queryFrame('temp')
  const drippers = await Promise.all([0, 10, 47, 60].map(() => running.client()))
  const busy = await running.client()
  for (let at = 0; at < frame.length; at++) {
    if (drippers.every((client) => client.hasEnded)) break
    for (const client of drippers) client.send(frame.subarray(at, at + 1))
    await busy.query('temp')
    await pause(60)
  }
  t.ok(drippers.every((client) => client.hasEnded))
  t.ok(drippers.every((client) => client.replies.length === 0))
  t.equal(await counted(running, 'slow-frame'), drippers.length)
})

void t.test(
  'W-16: a busy client is not taken for a slow one because each read ends inside a frame',
  async (t) => {
    const { world: running } = await world(t, small, { 'limits.frameMs': '500' })
    const client = await running.client()
    client.socket.setNoDelay(true)
    let seqid = 0
    let rest = Buffer.alloc(0)
    const startedAt = performance.now()
    while (performance.now() - startedAt < 4000 && !client.hasEnded) {
      const frame = queryFrame('temp', { seqid: ++seqid })
      client.send(Buffer.concat([rest, frame.subarray(0, 50)]))
      rest = Buffer.from(frame.subarray(50))
      await pause(30)
    }
    client.send(rest)
    t.equal((await client.received(seqid)).length, seqid)
    t.equal(await counted(running, 'slow-frame'), 0)
  },
)

void t.test(
  'W-14: a client that asks for more than may be in flight, and ends its half',
  async (t) => {
    const { world: running } = await world(t, small, { 'limits.inFlight': '16' })
    for (const version of [0, 1] as const) {
      const client = await running.client()
      const count = 3000
      const frames = Array.from({ length: count }, (_, seqid) =>
        queryFrame(seqid % 2 === 0 ? 'temp' : `unknown-${seqid % 50}`, { seqid, version }),
      )
      client.send(Buffer.concat(frames))
      client.socket.end()
      const replies = await client.received(count)
      t.equal(new Set(replies.map(({ seqid }) => seqid)).size, count, `header v${version}`)
      await client.closed
    }
    await until(() => running.gateway.server.connectionCount === 0)
  },
)

void t.test('W-14: behind its end a client may read as slowly as any other', async (t) => {
  const frame = marked(77, 4096)
  const { world: running } = await world(t, () => ({ frame }), { 'limits.unsentBytes': '33554432' })
  const client = await running.client()
  client.socket.pause()
  const count = 100
  client.send(
    Buffer.concat(Array.from({ length: count }, (_, seqid) => queryFrame('temp', { seqid }))),
  )
  client.socket.end()
  // Longer than a connection that has ended is left open for its client to close.
  await pause(8000)
  t.equal(running.gateway.server.connectionCount, 1, 'still there')
  client.socket.resume()
  const replies = await client.received(count)
  for (const reply of replies)
    if (!reply.bytes.equals(withSeqid(frame, reply.seqid))) t.fail(`answer ${reply.seqid}`)
  await client.closed
  await until(() => running.gateway.server.connectionCount === 0)
})

/** Clients that ask for large answers and read them in fits and starts. */
async function slowReaders(
  running: GatewayWorld,
  options: { readonly readers: number; readonly queries: number; readonly indexCount: number },
): Promise<readonly FrameClient[]> {
  const random = seededRandom('slow readers')
  const clients = await Promise.all(
    Array.from({ length: options.readers }, () => FrameClient.dial(running.gateway.port)),
  )
  await Promise.all(
    clients.map(async (client) => {
      const state = { isDone: false }
      const reading = (async () => {
        while (!state.isDone) {
          client.socket.pause()
          await pause(random.below(40))
          client.socket.resume()
          await pause(random.below(8))
        }
      })()
      for (let seqid = 0; seqid < options.queries; seqid++) {
        const indices = [random.below(options.indexCount)]
        client.send(queryFrame('temp', { seqid, indices, version: seqid % 2 === 0 ? 0 : 1 }))
        if (seqid % 8 === 7) await pause(random.below(5))
      }
      await client.received(options.queries)
      state.isDone = true
      await reading
    }),
  )
  return clients
}

for (const coalescing of ['on', 'off'])
  void t.test(
    `W-15: slow readers get every byte as it was, also while others go on (coalescing ${coalescing})`,
    async (t) => {
      // Some are larger than what one read brings.
      const frames = Array.from({ length: 199 }, (_, mark) =>
        marked(mark, mark % 16 === 0 ? 4096 : 40 + (mark % 7) * 60),
      )
      let answers = 0
      const { world: running } = await world(
        t,
        () => ({ frame: frames[answers++ % frames.length] ?? Buffer.alloc(0) }),
        {
          'limits.unsentBytes': '65536',
          'limits.inFlight': '8',
          'meta.hedgeMs': '5000',
          coalescing,
        },
      )
      const fast = await running.client()
      const state = { isDone: false }
      const asking = (async () => {
        while (!state.isDone) {
          const reply = await fast.query('temp', { indices: [5000] })
          if (!isWhole(reply.result)) t.fail('a mixed answer for the fast one')
          fast.replies.length = 0
        }
      })()
      const clients = await slowReaders(running, { readers: 12, queries: 150, indexCount: 10 })
      state.isDone = true
      await asking
      let wrong = 0
      for (const client of clients)
        for (const reply of client.replies)
          if (reply.bytes.length !== reply.bytes.readUInt32BE(0) || !isWhole(reply.result)) wrong++
      t.equal(wrong, 0, 'answers that were mixed or changed')
      t.ok(answers > 100, `${answers} answers of the meta`)
      for (const client of clients) client.destroy()
    },
  )

/** Of queries one behind the other. */
async function p99Ms(client: FrameClient, count: number): Promise<number> {
  const takeMs: number[] = []
  for (let index = 0; index < count; index++) {
    const startedAt = performance.now()
    await client.query('other')
    takeMs.push(performance.now() - startedAt)
  }
  takeMs.sort((a, b) => a - b)
  return takeMs[Math.floor(count * 0.99)] ?? Infinity
}

void t.test('W-15: readers that have stopped do not raise the p99 of the others', async (t) => {
  const frames = Array.from({ length: 50 }, (_, mark) => marked(mark, 1000))
  let answers = 0
  const { world: running } = await world(
    t,
    () => ({ frame: frames[answers++ % frames.length] ?? Buffer.alloc(0) }),
    { 'limits.inFlight': '16' },
  )
  const other = await startFakeMeta(small)
  t.teardown(() => other.close())
  await running.map('other', [other.address], 'c2')
  const fast = await running.client()
  await p99Ms(fast, 50)
  const before = await p99Ms(fast, 400)
  const queries = 160
  const stopped = await Promise.all(Array.from({ length: 8 }, () => running.client()))
  for (const client of stopped) {
    client.socket.pause()
    for (let seqid = 0; seqid < queries; seqid++)
      client.send(queryFrame('temp', { seqid, indices: [seqid] }))
  }
  await until(() => answers >= 50 && running.gateway.server.inFlight === 0)
  const during = await p99Ms(fast, 400)
  t.ok(during < 50 + 10 * before, `p99 ${during.toFixed(1)} ms, before ${before.toFixed(1)} ms`)
  for (const client of stopped) client.socket.resume()
  for (const client of stopped) {
    const replies = await client.received(queries)
    if (!replies.every((reply) => isWhole(reply.result))) t.fail('a mixed answer')
    if (new Set(replies.map(({ seqid }) => seqid)).size !== queries) t.fail('not all answered')
    client.destroy()
  }
})

/** Every partition says the same as the whole. */
function isWhole(result: Buffer): boolean {
  const response = decodeResult(QueryCfgResponse, result)
  const { appId: mark } = response
  return response.partitions.every(
    (partition, index) =>
      partition.pid.appId === mark &&
      partition.pid.partitionIndex === index &&
      partition.ballot === mark &&
      partition.lastCommittedDecree === mark &&
      partition.primary === `10.0.${(mark >> 8) & 255}.${mark & 255}:34801`,
  )
}

void t.test(
  'W-15: a client that never reads is reset in the end, and costs a bounded amount',
  async (t) => {
    const frame = marked(9, 2000)
    const { world: running, meta } = await world(t, () => ({ frame }), {
      'limits.slowReaderMs': '1500',
      'limits.inFlight': '8',
      coalescing: 'off',
    })
    const deaf = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const socket = connect({ port: running.gateway.port, host: '127.0.0.1' })
        socket.on('error', () => undefined)
        socket.pause()
        socket.write(Buffer.concat(Array.from({ length: 2000 }, () => queryFrame('temp'))))
        return socket
      }),
    )
    const fast = await running.client()
    await until(async () => {
      const reply = await fast.query('temp')
      fast.replies.length = 0
      if (!reply.bytes.equals(withSeqid(frame, 1))) t.fail('a changed answer')
      return (await counted(running, 'slow-reader')) === deaf.length
    })
    await until(() => running.gateway.server.connectionCount === 1)
    t.ok(meta.requests.length < 5 * 2000, 'reading stopped long before the end')
    for (const socket of deaf) socket.destroy()
  },
)
