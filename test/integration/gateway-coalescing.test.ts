/**
 * Queries that share an answer, over real sockets with scripted metas (gateway.md 5): who shares, who
 * must not, and that everybody gets the bytes a meta sent, under his own sequence id.
 */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import t from 'tap'
import {
  type ReplyFrame,
  type RequestFrame,
  decodeArgument,
  decodeResult,
  encodeReply,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import {
  type FakeAnswer,
  type FakeMeta,
  configAnswer,
  startFakeMeta,
  withSeqid,
} from '../support/fake-meta.ts'
import {
  FrameClient,
  type GatewayWorld,
  QUERY,
  queryFrame,
  startWorld,
  until,
} from '../support/gateway-world.ts'

// Far above what it takes: machines that build and test at once are slow.
t.setTimeout(120_000)

const recorded = (
  JSON.parse(readFileSync('test/vectors/server_responses.json', 'utf8')) as {
    readonly vectors: readonly { readonly name: string; readonly hex: string }[]
  }
).vectors
const vector = (name: string): Buffer => {
  const found = recorded.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no vector ${name}`)
  return Buffer.from(found.hex, 'hex')
}

const appIdOf = (reply: ReplyFrame | undefined): number =>
  reply === undefined ? -1 : decodeResult(QueryCfgResponse, reply.result).appId
const errorOf = (reply: ReplyFrame): string => decodeResult(QueryCfgResponse, reply.result).err
const asked = (request: RequestFrame): QueryCfgRequest =>
  decodeArgument(QueryCfgRequest, request.argument)

async function world(
  t: { teardown: (end: () => Promise<void>) => unknown },
  answer: (request: RequestFrame) => FakeAnswer,
  flags: Readonly<Record<string, string>> = {},
  tables: readonly string[] = ['temp'],
): Promise<{ world: GatewayWorld; meta: FakeMeta; client: FrameClient }> {
  const meta = await startFakeMeta(answer)
  // On a busy machine a meta may be slow: that nobody asks twice is what is tested here.
  const patient = { 'meta.hedgeMs': '10000', 'meta.silenceMs': '20000' }
  const started = await startWorld({ ...patient, ...flags })
  t.teardown(async () => {
    await started.close()
    await meta.close()
  })
  for (const table of tables) await started.map(table, [meta.address])
  const client = await started.client()
  // Everything is known and connected from here on.
  const first = meta.answer
  meta.answer = () => ({ error: 'ERR_OK', appId: 99 })
  for (const table of tables) await client.query(table)
  client.replies.length = 0
  meta.requests.length = 0
  meta.answer = first
  return { world: started, meta, client }
}

/** An answer that is sent when the test says so. */
function held(): { readonly later: Promise<Buffer>; readonly send: (frame: Buffer) => void } {
  let send: (frame: Buffer) => void = () => undefined
  const later = new Promise<Buffer>((resolve) => {
    send = resolve
  })
  return { later, send }
}

const okFrame = (request: RequestFrame | undefined, appId: number): Buffer => {
  if (request === undefined) throw new Error('no request')
  return configAnswer(request, { error: 'ERR_OK', appId })
}

void t.test('C-1: equal queries that arrive together are one at the meta', async (t) => {
  const frame = vector('query_all')
  const { meta, client } = await world(t, () => ({ frame }))
  const seqids = Array.from({ length: 16 }, (_, index) => 100 - index)
  client.send(Buffer.concat(seqids.map((seqid) => queryFrame('temp', { seqid }))))
  const replies = await client.received(seqids.length)
  t.equal(meta.requests.length, 1)
  t.same(
    replies.map(({ seqid }) => seqid),
    seqids,
    'each with its own sequence id',
  )
  for (const [index, reply] of replies.entries())
    t.ok(reply.bytes.equals(withSeqid(frame, seqids[index] ?? 0)), 'and the bytes of the meta')
})

void t.test('C-1: who asks while the table is read asks the meta together', async (t) => {
  const { world: running, meta, client } = await world(t, () => ({ error: 'ERR_OK', appId: 4 }))
  await running.map('cold', [meta.address])
  const queries = Array.from({ length: 16 }, (_, seqid) => queryFrame('cold', { seqid }))
  client.send(Buffer.concat(queries))
  const replies = await client.received(queries.length)
  t.ok(replies.every((reply) => appIdOf(reply) === 4))
  t.equal(meta.requests.length, 1)
})

void t.test('C-1: an answer on its way is for nobody who comes later', async (t) => {
  const holds = [held(), held(), held()]
  let count = 0
  const { world: running, meta, client } = await world(t, () => holds[count++] ?? 'silence')
  const other = await running.client()
  client.send(queryFrame('temp', { seqid: 1 }))
  await until(() => meta.requests.length === 1)
  other.send(Buffer.concat([queryFrame('temp', { seqid: 2 }), queryFrame('temp', { seqid: 3 })]))
  // The first one takes long: the next is not held back by it.
  await until(() => meta.requests.length === 2)
  holds[1]?.send(okFrame(meta.requests[1], 2))
  t.same((await other.received(2)).map(appIdOf), [2, 2], 'who came together shares')
  t.equal(client.replies.length, 0)
  holds[0]?.send(okFrame(meta.requests[0], 1))
  t.equal(appIdOf((await client.received(1))[0]), 1)
  t.equal(meta.requests.length, 2)
})

void t.test('C-1: the next round starts when the running one ends', async (t) => {
  const holds = Array.from({ length: 40 }, held)
  let count = 0
  const { meta, client } = await world(t, () => holds[count++] ?? 'silence')
  for (let round = 0; round < holds.length; round++) {
    client.send(queryFrame('temp', { seqid: round }))
    await until(() => meta.requests.length === round + 1)
    holds[round]?.send(okFrame(meta.requests[round], round))
    const replies = await client.received(round + 1)
    t.equal(appIdOf(replies[round]), round)
  }
})

void t.test('C-1: with coalescing off each query is forwarded', async (t) => {
  const { meta, client } = await world(t, () => ({ error: 'ERR_OK', appId: 5 }), {
    coalescing: 'off',
  })
  client.send(
    Buffer.concat(Array.from({ length: 10 }, (_, seqid) => queryFrame('temp', { seqid }))),
  )
  await client.received(10)
  t.equal(meta.requests.length, 10)
})

void t.test('C-1: another table, other indices, another answer', async (t) => {
  const ids = new Map<string, number>()
  const { meta, client } = await world(
    t,
    (request) => {
      const key = JSON.stringify(asked(request))
      ids.set(key, ids.get(key) ?? ids.size)
      return { error: 'ERR_OK', appId: ids.get(key) ?? -1 }
    },
    {},
    ['temp', 'temq'],
  )
  const queries = [
    queryFrame('temp', { seqid: 0 }),
    queryFrame('temq', { seqid: 1 }),
    queryFrame('temp', { seqid: 2, indices: [1] }),
    queryFrame('temp', { seqid: 3, indices: [2] }),
    queryFrame('temq', { seqid: 4 }),
  ]
  client.send(Buffer.concat(queries))
  const replies = await client.received(5)
  const appIds = new Map(replies.map((reply) => [reply.seqid, appIdOf(reply)]))
  t.equal(appIds.get(1), appIds.get(4))
  t.equal(new Set(appIds.values()).size, 4)
  t.equal(meta.requests.length, 4)
})

void t.test('W-7: of those who share a round each keeps its own time', async (t) => {
  const { client } = await world(t, () => 'silence')
  const startedAtMs = performance.now()
  client.send(
    Buffer.concat([
      queryFrame('temp', { seqid: 1, timeoutMs: 3000 }),
      queryFrame('temp', { seqid: 2, timeoutMs: 1000 }),
    ]),
  )
  const first = (await client.received(1))[0]
  const second = (await client.received(2))[1]
  t.equal(first?.seqid, 2)
  t.equal(second?.seqid, 1)
  t.ok(performance.now() - startedAtMs >= 2900, 'the longer one was waited for')
  for (const reply of client.replies) t.equal(errorOf(reply), 'ERR_SERVICE_NOT_ACTIVE')
})

void t.test('C-3: some partitions are cut out of an answer that starts together', async (t) => {
  const { meta, client } = await world(t, (request) =>
    asked(request).partitionIndices.length === 0
      ? { frame: vector('query_all') }
      : { error: 'ERR_OK', appId: 77 },
  )
  const wanted: readonly { readonly indices: number[]; readonly like?: string }[] = [
    { indices: [0], like: 'query_indices_0' },
    { indices: [1, 0], like: 'query_indices_1' },
    { indices: [], like: 'query_all' },
    { indices: [0, 0], like: 'query_indices_2' },
    { indices: [-1] },
    { indices: [1000] },
    { indices: [1, 1000] },
  ]
  client.send(
    Buffer.concat(wanted.map(({ indices }, seqid) => queryFrame('temp', { seqid, indices }))),
  )
  const replies = await client.received(wanted.length)
  for (const [seqid, { indices, like }] of wanted.entries()) {
    const reply = replies.find((one) => one.seqid === seqid)
    const name = `indices [${indices.join()}]`
    if (like === undefined) t.equal(appIdOf(reply), 77, `${name}: asked at the meta`)
    else {
      const expected = withSeqid(vector(like), seqid)
      t.ok(reply?.bytes.equals(expected), `${name}: as an original meta answers`)
    }
  }
  t.same(
    meta.requests.map((request) => asked(request).partitionIndices),
    [[], [-1], [1000], [1, 1000]],
  )
})

void t.test('C-3: an error for the whole table is no answer for its partitions', async (t) => {
  const { meta, client } = await world(t, (request) =>
    asked(request).partitionIndices.length === 0
      ? { error: 'ERR_BUSY_CREATING' }
      : { error: 'ERR_OK', appId: 78 },
  )
  client.send(
    Buffer.concat([
      queryFrame('temp', { seqid: 1 }),
      queryFrame('temp', { seqid: 2, indices: [3] }),
    ]),
  )
  const replies = await client.received(2)
  t.equal(appIdOf(replies.find(({ seqid }) => seqid === 2)), 78)
  t.equal(meta.requests.length, 2)
})

void t.test('C-2: an answer is given again to others, not to who asks again', async (t) => {
  let appId = 0
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: ++appId }))
  const running = await startWorld({ responseCacheMs: '200', 'rpc.proxyFrom': '127.0.0.1' })
  t.teardown(async () => {
    await running.close()
    await meta.close()
  })
  await running.map('temp', [meta.address])
  const from = async (source: string): Promise<FrameClient> => {
    const other = await running.client()
    other.send(Buffer.from(`PROXY TCP4 ${source} 127.0.0.1 1000 2000\r\n`))
    return other
  }
  const clients = await Promise.all(['10.0.0.1', '10.0.0.2', '10.0.0.3'].map(from))
  const [one, two, three] = clients
  if (one === undefined || two === undefined || three === undefined) throw new Error('three')
  // A busy machine may take longer than the answer lives: then the attempt says nothing.
  let isShared = false
  for (let attempt = 0; attempt < 50 && !isShared; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 450))
    const startedAtMs = performance.now()
    const first = appIdOf(await one.query('temp'))
    const second = appIdOf(await two.query('temp'))
    const again = appIdOf(await one.query('temp'))
    const third = appIdOf(await three.query('temp'))
    if (performance.now() - startedAtMs > 150) continue
    isShared = true
    t.equal(second, first, 'another client: from memory')
    t.equal(again, first + 1, 'the same client: asked again')
    t.equal(third, again, 'the newest answer is the one that is given')
  }
  t.ok(isShared)
})

void t.test(
  'W-1: every answer is the meta’s, however streams are cut and whoever is slow',
  async (t) => {
    const tables = ['t0', 't1', 't2', 't3']
    const sizes: Readonly<Record<string, number>> = { t0: 1, t1: 40, t2: 900, t3: 9000 }
    /** A different answer for each argument; large ones do not fit into one read. */
    const frameFor = (table: string, indices: readonly number[]): Buffer => {
      const padding = Buffer.alloc((sizes[table] ?? 0) * 16, `${table}${indices.join()}.`)
      const result = encodeResult(
        QueryCfgResponse,
        QueryCfgResponse.make({ err: 'ERR_OK', appId: 1, partitionCount: 1 }),
      )
      return encodeReply(QUERY, 0, 'ERR_OK', Buffer.concat([result, padding]))
    }
    const worlds = await Promise.all(
      ['on', 'off'].map((coalescing) =>
        world(
          t,
          (request) => ({
            frame: frameFor(asked(request).appName, asked(request).partitionIndices),
          }),
          { coalescing },
          tables,
        ),
      ),
    )
    const query = fc.record({
      table: fc.constantFrom(...tables),
      version: fc.constantFrom(0 as const, 1 as const),
      indices: fc.array(fc.integer({ min: -1, max: 3 }), { maxLength: 2 }),
    })
    const client = fc.record({
      queries: fc.array(query, { minLength: 1, maxLength: 30 }),
      cuts: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
      isSlow: fc.boolean(),
    })
    const clients = fc.array(client, { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(clients, fc.nat(1), async (plans, which) => {
        const { world: running } = worlds[which] ?? {}
        if (running === undefined) throw new Error('no world')
        await Promise.all(
          plans.map(async ({ queries, cuts, isSlow }) => {
            const raw = await FrameClient.dial(running.gateway.port)
            if (isSlow) raw.socket.pause()
            const bytes = Buffer.concat(
              queries.map(({ table, version, indices }, seqid) =>
                queryFrame(table, { version, indices, seqid }),
              ),
            )
            for (let at = 0, index = 0; at < bytes.length; index++) {
              const size = cuts[index % cuts.length] ?? 1
              raw.send(bytes.subarray(at, at + size))
              at += size
              if (index % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
            }
            if (isSlow) raw.socket.resume()
            const replies = await raw.received(queries.length)
            for (const [seqid, { table, indices }] of queries.entries()) {
              const expected = withSeqid(frameFor(table, indices), seqid)
              if (!replies.some(({ bytes: frame }) => frame.equals(expected)))
                throw new Error(`no such answer to ${table} [${indices.join()}]`)
            }
            raw.destroy()
          }),
        )
      }),
      { numRuns: 30 },
    )
    t.equal(worlds[0]?.world.gateway.server.inFlight, 0)
  },
)
