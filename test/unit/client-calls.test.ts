/**
 * The client against scripted servers over real sockets: routing and its refresh, resending,
 * deadlines, aborts, leader discovery, scans, batches, administration.
 */
import t, { type Test } from 'tap'
import {
  AdminClient,
  type ClientOptions,
  PegasusError,
  type Table,
  createClient,
} from '../../cluster/client/client.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { AppInfo, PartitionConfiguration, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import * as metaAdmin from '../../cluster/protocol/meta-admin.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import * as rrdb from '../../cluster/protocol/rrdb.ts'
import { type Reply, type RpcRequest, headerError, silence } from '../../cluster/rpc/handler.ts'
import { RpcServer } from '../../cluster/rpc/server.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'

const runtime = nodeRuntime({ log: silentLog })

interface Node {
  readonly server: RpcServer
  readonly address: string
}

async function node(t: Test): Promise<Node> {
  const server = new RpcServer(runtime, { name: 'test' })
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => server.close())
  return { server, address: `127.0.0.1:${port}` }
}

/** One meta server that says what `state` holds; tests change that. */
interface Cluster {
  readonly meta: Node
  readonly state: {
    appId: number
    ballot: number
    primaries: string[]
    err: string
    queries: number
  }
  readonly client: (options?: Partial<ClientOptions>) => ReturnType<typeof createClient>
  readonly open: (options?: Partial<ClientOptions>) => Promise<Table>
}

async function cluster(t: Test, primaries: string[]): Promise<Cluster> {
  const meta = await node(t)
  const state = { appId: 2, ballot: 3, primaries, err: 'ERR_OK', queries: 0 }
  meta.server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, () => {
    state.queries++
    return configuration(state)
  })
  const client = (options: Partial<ClientOptions> = {}): ReturnType<typeof createClient> => {
    const made = createClient({
      metaServers: [meta.address],
      operationTimeoutMs: 20_000,
      ...options,
    })
    t.teardown(() => made.close())
    return made
  }
  return { meta, state, client, open: (options) => client(options).openTable('temp') }
}

function configuration(state: {
  readonly appId: number
  readonly ballot: number
  readonly primaries: readonly string[]
  readonly err: string
}): QueryCfgResponse {
  if (state.err !== 'ERR_OK') return QueryCfgResponse.make({ err: state.err })
  return QueryCfgResponse.make({
    appId: state.appId,
    partitionCount: state.primaries.length,
    isStateful: true,
    partitions: state.primaries.map((primary, partitionIndex) =>
      PartitionConfiguration.make({
        pid: { appId: state.appId, partitionIndex },
        ballot: state.ballot,
        maxReplicaCount: 1,
        primary,
      }),
    ),
  })
}

const found = (text: string): rrdb.ReadResponse =>
  rrdb.ReadResponse.make({ value: Buffer.from(text) })

async function failure(call: Promise<unknown>): Promise<PegasusError> {
  try {
    await call
  } catch (error) {
    if (error instanceof PegasusError) return error
    throw error
  }
  throw new Error('the call did not fail')
}

async function condition(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setTimeout(resolve, 2))
}

void t.test('a moved primary is found by the call that met the old one', async (t) => {
  const [a, b] = [await node(t), await node(t)]
  const { state, open } = await cluster(t, [a.address, a.address])
  const table = await open()
  const seen: RpcRequest[] = []
  a.server.handle(Rpc.GET, (_, request) => {
    seen.push(request)
    state.primaries = [b.address, b.address]
    state.ballot = 4
    return headerError('ERR_INVALID_STATE')
  })
  b.server.handle(Rpc.GET, (_, request) => {
    seen.push(request)
    return found('from b')
  })
  t.same(await table.get('h', 's'), Buffer.from('from b'))
  t.equal(state.queries, 2)
  t.equal(seen.length, 2)
  t.ok((seen[1]?.clientTimeoutMs ?? 0) <= (seen[0]?.clientTimeoutMs ?? 0), 'one deadline for all')
})

void t.test('another cluster with the same ids and smaller ballots is followed', async (t) => {
  const [a, b] = [await node(t), await node(t)]
  const { state, open } = await cluster(t, [a.address, a.address])
  state.ballot = 900
  const table = await open()
  a.server.handle(Rpc.GET, () => {
    state.primaries = [b.address, b.address]
    state.ballot = 3
    return headerError('ERR_INVALID_STATE')
  })
  b.server.handle(Rpc.GET, () => found('b'))
  t.same(await table.get('h', 's'), Buffer.from('b'))
})

void t.test('another app id and partition count are followed', async (t) => {
  const [a, b] = [await node(t), await node(t)]
  const { state, open } = await cluster(t, [a.address, a.address])
  const table = await open()
  a.server.handle(Rpc.GET, () => {
    state.primaries = Array.from({ length: 8 }, () => b.address)
    state.appId = 77
    return headerError('ERR_OBJECT_NOT_FOUND')
  })
  let seen: RpcRequest | undefined
  b.server.handle(Rpc.GET, (_, request) => {
    seen = request
    return found('b')
  })
  t.same(await table.get('h1', 's'), Buffer.from('b'))
  t.match(seen, { appId: 77, partitionIndex: 2, partitionHash: 0xaae1fd17e635e4dan })
})

void t.test('a partition without a primary is waited for', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, ['', ''])
  const table = await open()
  a.server.handle(Rpc.PUT, () => rrdb.UpdateResponse.empty())
  const call = table.set('h', 's', 'v')
  await condition(() => state.queries >= 2)
  state.primaries = [a.address, a.address]
  state.ballot = 4
  await call
})

void t.test('addresses that no server can have count as no primary', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, ['127.0.0.1:0', 'raw:0000000100000002'])
  const table = await open()
  a.server.handle(Rpc.GET, () => found('a'))
  const calls = ['h1', 'h2', 'h3', 'h4'].map((hashKey) => table.get(hashKey, 's'))
  await condition(() => state.queries >= 2)
  state.primaries = [a.address, a.address]
  state.ballot = 4
  for (const value of await Promise.all(calls)) t.same(value, Buffer.from('a'))
})

void t.test('a server that is gone is left for the new primary', async (t) => {
  const [a, b] = [await node(t), await node(t)]
  const { state, open } = await cluster(t, [a.address, a.address])
  const table = await open()
  a.server.handle(Rpc.GET, () => found('a'))
  b.server.handle(Rpc.GET, () => found('b'))
  t.same(await table.get('h', 's'), Buffer.from('a'))
  await a.server.close()
  const call = table.get('h', 's')
  await condition(() => state.queries >= 2)
  state.primaries = [b.address, b.address]
  state.ballot = 4
  t.same(await call, Buffer.from('b'))
})

void t.test('concurrent failures share one configuration query', async (t) => {
  const [a, b] = [await node(t), await node(t)]
  const { state, open } = await cluster(t, [a.address, a.address])
  const table = await open()
  a.server.handle(Rpc.GET, () => headerError('ERR_INVALID_STATE'))
  b.server.handle(Rpc.GET, () => found('b'))
  state.primaries = [b.address, b.address]
  state.ballot = 4
  const calls = Array.from({ length: 100 }, (_, index) => table.get(`h${index}`, 's'))
  t.equal((await Promise.all(calls)).length, 100)
  t.ok(state.queries <= 4, `${state.queries} queries`)
})

void t.test('refusals that a retry does not cure are given to the caller at once', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, [a.address, a.address])
  const table = await open()
  let calls = 0
  let answer = ''
  a.server.handle(Rpc.PUT, () => {
    calls++
    return headerError(answer)
  })
  for (const code of ['ERR_BUSY', 'ERR_SPLITTING', 'ERR_ACL_DENY', 'ERR_INVALID_DATA']) {
    answer = code
    t.match(await failure(table.set('h', 's', 'v')), { code, effect: 'none' })
  }
  t.equal(calls, 4)
  t.equal(state.queries, 1)
})

void t.test(
  'too few members: the same request again, without asking the meta server',
  async (t) => {
    const a = await node(t)
    const { state, open } = await cluster(t, [a.address, a.address])
    const table = await open()
    const bodies: Buffer[] = []
    a.server.handle(Rpc.PUT, (_, request) => {
      bodies.push(request.argumentBytes)
      return bodies.length < 3 ? headerError('ERR_NOT_ENOUGH_MEMBER') : rrdb.UpdateResponse.empty()
    })
    const value = Buffer.from('value')
    const call = table.set('h', 's', value)
    value.fill(0)
    await call
    t.equal(state.queries, 1)
    t.equal(bodies.length, 3)
    t.ok(bodies.every((body) => body.includes('value') && body.equals(bodies[0] ?? body)))
  },
)

void t.test('a lost reply: sent again, or unknown when the caller wants it so', async (t) => {
  for (const resendUnknownWrites of [true, false]) {
    const a = await node(t)
    const { open } = await cluster(t, [a.address, a.address])
    const table = await open({ resendUnknownWrites })
    let calls = 0
    const broken = new RpcServer(runtime, { name: 'broken' })
    t.teardown(() => broken.close())
    a.server.handle(Rpc.PUT, () => {
      calls++
      return calls === 1 ? new Promise<Reply>(() => undefined) : rrdb.UpdateResponse.empty()
    })
    const call = resendUnknownWrites ? table.set('h', 's', 'v') : failure(table.set('h', 's', 'v'))
    await condition(() => calls === 1)
    // The connection ends while the server lives on.
    await a.server.close()
    const { port } = { port: Number(a.address.split(':')[1]) }
    const revived = new RpcServer(runtime, { name: 'revived' })
    t.teardown(() => revived.close())
    revived.handle(Rpc.PUT, () => {
      calls++
      return rrdb.UpdateResponse.empty()
    })
    await revived.listen({ host: '127.0.0.1', port })
    const outcome = await call
    if (resendUnknownWrites) t.equal(calls, 2)
    else t.match(outcome, { code: 'ERR_SESSION_RESET', effect: 'unknown' })
  }
})

void t.test('the deadline spans all attempts and tells what went wrong last', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  let calls = 0
  a.server.handle(Rpc.PUT, () => {
    calls++
    return headerError('ERR_NOT_ENOUGH_MEMBER')
  })
  const error = await failure(table.set('h', 's', 'v', { timeoutMs: 120 }))
  t.match(error, { code: 'ERR_TIMEOUT' })
  t.match(error.cause, { code: 'ERR_NOT_ENOUGH_MEMBER' })
  t.ok(calls > 1)
  a.server.handle(Rpc.GET, () => silence)
  a.server.handle(Rpc.REMOVE, () => silence)
  t.match(await failure(table.get('h', 's', { timeoutMs: 20 })), {
    code: 'ERR_TIMEOUT',
    effect: 'none',
  })
  t.match(await failure(table.del('h', 's', { timeoutMs: 20 })), {
    code: 'ERR_TIMEOUT',
    effect: 'unknown',
  })
  t.match(await failure(table.get('h', 's', { timeoutMs: 0 })), { code: 'ERR_INVALID_PARAMETERS' })
})

void t.test('an abort ends a call wherever it is', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, [a.address, ''])
  const table = await open()
  let calls = 0
  a.server.handle(Rpc.PUT, () => {
    calls++
    return silence
  })
  const sent = new AbortController()
  const inFlight = failure(table.set('', '', 'v', { signal: sent.signal }))
  await condition(() => calls === 1)
  sent.abort(new Error('enough'))
  t.match(await inFlight, { code: 'ERR_ABORTED', effect: 'unknown' })
  const already = failure(table.set('', '', 'v', { signal: sent.signal }))
  t.match(await already, { code: 'ERR_ABORTED', effect: 'none', cause: { message: 'enough' } })
  const waiting = new AbortController()
  state.primaries = ['', '']
  state.ballot++
  const stuck = await cluster(t, ['', ''])
  const noPrimary = await stuck.open()
  const pausing = failure(noPrimary.get('h', 's', { signal: waiting.signal }))
  await condition(() => stuck.state.queries >= 2)
  waiting.abort()
  t.match(await pausing, { code: 'ERR_ABORTED', effect: 'none' })
})

void t.test('many calls may share one signal', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  a.server.handle(Rpc.PUT, () => rrdb.UpdateResponse.empty())
  const warnings: Error[] = []
  const listener = (warning: Error): number => warnings.push(warning)
  process.on('warning', listener)
  t.teardown(() => process.off('warning', listener))
  const { signal } = new AbortController()
  const records = Array.from({ length: 40 }, (_, i) => ({
    hashKey: `${i}`,
    sortKey: '',
    value: '',
  }))
  await table.batchSet(records, { signal })
  await new Promise<void>((resolve) => setImmediate(resolve))
  t.same(warnings, [])
})

void t.test('close ends calls in flight, in a pause, and later ones', async (t) => {
  const a = await node(t)
  const { client } = await cluster(t, [a.address, a.address])
  const made = client()
  const table = await made.openTable('temp')
  let calls = 0
  a.server.handle(Rpc.PUT, () => {
    calls++
    return silence
  })
  const inFlight = failure(table.set('h', 's', 'v'))
  const stuck = await cluster(t, ['', ''])
  const other = stuck.client()
  const pausing = failure((await other.openTable('temp')).get('h', 's'))
  await condition(() => calls === 1 && stuck.state.queries >= 2)
  await made.close()
  await other.close()
  t.match(await inFlight, { code: 'ERR_SESSION_RESET', effect: 'unknown' })
  t.match(await pausing, { code: 'ERR_SESSION_RESET', effect: 'none' })
  t.match(await failure(table.get('h', 's')), { code: 'ERR_SESSION_RESET' })
  t.match(await failure(made.openTable('temp')), { code: 'ERR_SESSION_RESET' })
  await made.close()
})

void t.test('a storage status becomes an error with its number', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  a.server.handle(Rpc.PUT, () => rrdb.UpdateResponse.make({ error: 4 }))
  const error = await failure(table.set('h', 's', 'v'))
  t.match(error, { code: 'ERR_STORAGE', storageStatus: 4, effect: 'none' })
  t.match(error.message, /kInvalidArgument/)
})

void t.test('opening: what the meta server says is what the caller gets', async (t) => {
  const { state, client } = await cluster(t, [])
  const made = client()
  for (const code of ['ERR_OBJECT_NOT_FOUND', 'ERR_BUSY_CREATING', 'ERR_BUSY_DROPPING']) {
    state.err = code
    t.match(await failure(made.openTable('temp')), { code, effect: 'none' })
    await new Promise<void>((resolve) => setTimeout(resolve, 0))
  }
  t.match(await failure(made.openTable('')), { code: 'ERR_INVALID_PARAMETERS' })
  t.throws(() => createClient({ metaServers: [] }), PegasusError)
  t.throws(() => createClient({ metaServers: ['nonsense'] }), { code: 'ERR_INVALID_PARAMETERS' })
})

void t.test('a table that is dropped meanwhile is reported as such', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, [a.address, a.address])
  const table = await open()
  a.server.handle(Rpc.GET, () => headerError('ERR_OBJECT_NOT_FOUND'))
  state.err = 'ERR_OBJECT_NOT_FOUND'
  t.match(await failure(table.get('h', 's')), { code: 'ERR_OBJECT_NOT_FOUND' })
})

void t.test('the leader is found by its forward address, also outside of the list', async (t) => {
  const [follower, leader] = [await node(t), await node(t)]
  const asked: string[] = []
  follower.server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, () => {
    asked.push('follower')
    const primary = leader.address
    return QueryCfgResponse.make({
      err: 'ERR_FORWARD_TO_OTHERS',
      partitions: [PartitionConfiguration.make({ primary })],
    })
  })
  leader.server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, () => {
    asked.push('leader')
    const [address] = [leader.address]
    return configuration({ appId: 2, ballot: 3, primaries: [address, address], err: 'ERR_OK' })
  })
  const client = createClient({ metaServers: [follower.address] })
  t.teardown(() => client.close())
  await client.openTable('one')
  await client.openTable('two')
  t.same(asked, ['follower', 'leader', 'leader'], 'and remembered')
})

void t.test('servers that are down or do not know the leader are passed over', async (t) => {
  const [gone, vague, leader] = [await node(t), await node(t), await node(t)]
  await gone.server.close()
  vague.server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, () =>
    QueryCfgResponse.make({ err: 'ERR_FORWARD_TO_OTHERS' }),
  )
  const primaries = [leader.address, leader.address]
  leader.server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, () =>
    configuration({ appId: 2, ballot: 3, primaries, err: 'ERR_OK' }),
  )
  const metaServers = [gone.address, vague.address, leader.address]
  const client = createClient({ metaServers, operationTimeoutMs: 20_000 })
  t.teardown(() => client.close())
  t.equal((await client.openTable('temp')).name, 'temp')
})

void t.test('a leader that is still loading is asked again', async (t) => {
  const { state, client } = await cluster(t, ['127.0.0.1:1', '127.0.0.1:1'])
  state.err = 'ERR_SERVICE_NOT_ACTIVE'
  const opening = client().openTable('temp')
  await condition(() => state.queries === 1)
  state.err = 'ERR_OK'
  await opening
  t.equal(state.queries, 2)
})

void t.test('names are resolved, and anew after a round that failed', async (t) => {
  const { meta, state } = await cluster(t, ['127.0.0.1:1', '127.0.0.1:1'])
  const gone = await node(t)
  await gone.server.close()
  const [, port = ''] = meta.address.split(':')
  let lookups = 0
  const named: Runtime = {
    ...runtime,
    network: {
      ...runtime.network,
      resolve: (host) => {
        lookups++
        t.equal(host, 'meta.example')
        if (lookups === 1) return Promise.reject(new Error('no such name'))
        return Promise.resolve(lookups === 2 ? ['127.0.0.2'] : ['127.0.0.1'])
      },
    },
  }
  const metaServers = [`meta.example:${port}`]
  const client = createClient({ metaServers, runtime: named, operationTimeoutMs: 20_000 })
  t.teardown(() => client.close())
  await client.openTable('temp')
  t.equal(lookups, 3)
  t.equal(state.queries, 1)
  const unknown = createClient({
    metaServers: ['meta.example:1'],
    runtime: {
      ...named,
      network: { ...named.network, resolve: () => Promise.reject(new Error('no such name')) },
    },
  })
  t.teardown(() => unknown.close())
  const error = await failure(unknown.openTable('temp', { timeoutMs: 50 }))
  t.match(error, { code: 'ERR_TIMEOUT', message: /no address of meta.example found/ })
})

const kv = (hashKey: string, sortKey: string): rrdb.KeyValue => ({
  key: encodeKey(Buffer.from(hashKey), Buffer.from(sortKey)),
  value: Buffer.from(`${hashKey}/${sortKey}`),
})
const page = (given: Partial<rrdb.ScanResponse>): rrdb.ScanResponse => rrdb.ScanResponse.make(given)

async function texts(scanner: AsyncIterable<{ readonly value: Buffer }>): Promise<string[]> {
  const values: string[] = []
  for await (const { value } of scanner) values.push(value.toString())
  return values
}

void t.test('a scan goes on through empty replies, negative ids and lost contexts', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  const opened: rrdb.GetScannerRequest[] = []
  const continued: bigint[] = []
  a.server.handle(Rpc.GET_SCANNER, (request) => {
    opened.push(request)
    if (opened.length === 1) return page({ kvs: [kv('h', 'a')], contextId: -7002926102905618432n })
    if (opened.length === 2) return page({ kvs: [kv('h', 'c')], error: 7, contextId: 0n })
    return page({ kvs: [kv('h', 'd')], contextId: -1n })
  })
  a.server.handle(Rpc.SCAN, ({ contextId }) => {
    continued.push(contextId)
    if (continued.length === 1) return page({ contextId: 12n })
    if (continued.length === 2) return page({ kvs: [kv('h', 'b')], contextId: 13n })
    return page({ error: 1, contextId: 0n })
  })
  t.same(await texts(table.getScanner('h')), ['h/a', 'h/b', 'h/c', 'h/d'])
  t.same(continued, [-7002926102905618432n, 12n, 13n])
  t.same(
    opened.map(({ startKey, startInclusive }) => [startKey.toString('latin1'), startInclusive]),
    [
      ['\0\x01h', true],
      ['\0\x01hb', false],
      ['\0\x01hc', false],
    ],
  )
})

void t.test('a scan that gets nowhere ends with an error', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  let opens = 0
  a.server.handle(Rpc.GET_SCANNER, () => {
    opens++
    return page({ contextId: 5n })
  })
  a.server.handle(Rpc.SCAN, () => page({ error: 1 }))
  t.match(await failure(texts(table.getScanner('h'))), { code: 'ERR_STORAGE', storageStatus: 1 })
  t.ok(opens > 1 && opens < 50)
})

void t.test(
  'a full scan walks every partition once, each from the last to the first',
  async (t) => {
    const a = await node(t)
    const { open } = await cluster(t, Array<string>(8).fill(a.address))
    const table = await open()
    const order: number[] = []
    a.server.handle(Rpc.GET_SCANNER, (request, { partitionIndex, partitionHash }) => {
      order.push(partitionIndex)
      t.equal(partitionHash, BigInt(partitionIndex))
      t.equal(request.validatePartitionHash, true)
      return page({ kvs: [kv(`h${partitionIndex}`, 's')], contextId: -1n })
    })
    for (const [maxCount, shares] of [
      [1, [8]],
      [3, [3, 3, 2]],
      [100, [1, 1, 1, 1, 1, 1, 1, 1]],
    ] as const) {
      order.length = 0
      const scanners = await table.getUnorderedScanners(maxCount)
      const values: string[][] = []
      for (const scanner of scanners) values.push(await texts(scanner))
      t.same(
        values.map(({ length }) => length),
        shares,
      )
      t.same(
        order.toSorted((x, y) => x - y),
        [0, 1, 2, 3, 4, 5, 6, 7],
      )
      if (maxCount === 1) t.same(order, [7, 6, 5, 4, 3, 2, 1, 0])
    }
    t.match(await failure(table.getUnorderedScanners(0)), { code: 'ERR_INVALID_PARAMETERS' })
  },
)

void t.test('a full scan over a table that was split meanwhile is refused', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, Array<string>(4).fill(a.address))
  const table = await open()
  a.server.handle(Rpc.GET_SCANNER, () => {
    state.primaries = Array<string>(8).fill(a.address)
    return headerError('ERR_PARENT_PARTITION_MISUSED')
  })
  const [scanner] = await table.getUnorderedScanners(1)
  if (scanner === undefined) throw new Error('no scanner')
  t.match(await failure(texts(scanner)), { code: 'ERR_INVALID_STATE', message: /from 4 to 8/ })
})

void t.test('closing a scanner frees its context and does not wait', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  const cleared: bigint[] = []
  a.server.handle(Rpc.GET_SCANNER, () => page({ kvs: [kv('h', 'a'), kv('h', 'b')], contextId: 9n }))
  a.server.handle(Rpc.CLEAR_SCANNER, (contextId) => {
    cleared.push(contextId)
    return silence
  })
  const scanner = table.getScanner('h')
  t.equal((await scanner.next()).done, false)
  await scanner.close()
  await scanner.close()
  t.equal((await scanner.next()).done, true)
  await condition(() => cleared.length === 1)
  for await (const record of table.getScanner('h')) {
    t.equal(record.value.toString(), 'h/a')
    break
  }
  await condition(() => cleared.length === 2)
  t.same(cleared, [9n, 9n])
})

void t.test(
  'overlapping next calls are served in order; expiry is given when asked for',
  async (t) => {
    const a = await node(t)
    const { open } = await cluster(t, [a.address, a.address])
    const table = await open()
    a.server.handle(Rpc.GET_SCANNER, (request) => {
      t.equal(request.returnExpireTs, true)
      const kvs = [kv('h', 'a'), { ...kv('h', 'b'), expireTsSeconds: 60 }]
      return page({ kvs, contextId: -1n })
    })
    const scanner = table.getScanner('h', { withExpiry: true })
    const [first, second, third] = await Promise.all([
      scanner.next(),
      scanner.next(),
      scanner.next(),
    ])
    t.match(first.value, { expiresAt: undefined })
    t.same(second.value?.expiresAt, new Date('2016-01-01T00:01:00Z'))
    t.equal(third.done, true)
    t.throws(() => table.getScanner('h', { batchSize: 0 }), { code: 'ERR_INVALID_PARAMETERS' })
    t.throws(() => table.getScanner(''), { code: 'ERR_INVALID_PARAMETERS' })
    const none = { start: 'x', sortKeyFilter: { match: 'prefix', pattern: 'a' } } as const
    t.same(await texts(table.getScanner('h', none)), [], 'a range without keys asks nobody')
  },
)

void t.test('batchGet asks each partition once and keeps the order of the keys', async (t) => {
  const a = await node(t)
  const { state, open } = await cluster(t, Array<string>(4).fill(a.address))
  const table = await open()
  const asked: number[] = []
  let split = true
  a.server.handle(Rpc.BATCH_GET, ({ keys }, { partitionIndex }) => {
    asked.push(partitionIndex)
    if (split) {
      split = false
      state.primaries = Array<string>(8).fill(a.address)
      return headerError('ERR_PARENT_PARTITION_MISUSED')
    }
    const data = keys
      .filter(({ sortKey }) => sortKey.toString() !== 'missing')
      .map((key) => ({ ...key, value: Buffer.from(`value of ${key.hashKey.toString()}`) }))
    return rrdb.BatchGetResponse.make({ data })
  })
  const keys = Array.from({ length: 40 }, (_, index) => ({
    hashKey: `h${index}`,
    sortKey: index % 5 === 0 ? 'missing' : 's',
  }))
  const values = await table.batchGet([...keys, { hashKey: 'h1', sortKey: 's' }])
  t.same(
    values.map((value) => value?.toString()),
    [
      ...keys.map(({ hashKey, sortKey }) => (sortKey === 's' ? `value of ${hashKey}` : undefined)),
      'value of h1',
    ],
  )
  const lastRound = asked.slice(-8)
  t.same(
    lastRound.toSorted((x, y) => x - y),
    [0, 1, 2, 3, 4, 5, 6, 7],
    'grouped anew after the split',
  )
})

void t.test('a batch write tries all and names those that failed', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  let most = 0
  let now = 0
  a.server.handle(Rpc.PUT, async ({ value }) => {
    now++
    most = Math.max(most, now)
    await new Promise<void>((resolve) => setTimeout(resolve, 1))
    now--
    return value.toString() === '7' ? headerError('ERR_BUSY') : rrdb.UpdateResponse.empty()
  })
  a.server.handle(Rpc.REMOVE, () => rrdb.UpdateResponse.empty())
  const records = Array.from({ length: 200 }, (_, index) => ({
    hashKey: `h${index}`,
    sortKey: 's',
    value: `${index}`,
  }))
  const error = await failure(table.batchSet(records))
  t.match(error, { code: 'ERR_BUSY', effect: 'unknown' })
  t.same([...(error.failures?.keys() ?? [])], [7])
  t.ok(most <= 64)
  await table.batchDel(records)
  t.match(await failure(table.batchSet([])), { code: 'ERR_INVALID_PARAMETERS' })
})

void t.test('delRange removes what its scan finds, a hundred at a time', async (t) => {
  const a = await node(t)
  const { open } = await cluster(t, [a.address, a.address])
  const table = await open()
  const removed: number[] = []
  a.server.handle(Rpc.GET_SCANNER, ({ noValue }) => {
    t.equal(noValue, true)
    const kvs = Array.from({ length: 250 }, (_, index) => kv('h', String(1000 + index)))
    return page({ kvs, contextId: -1n })
  })
  a.server.handle(Rpc.MULTI_REMOVE, ({ sortKeys }) => {
    removed.push(sortKeys.length)
    return rrdb.MultiRemoveResponse.empty()
  })
  t.equal(await table.delRange('h', { start: '1' }), 250)
  t.same(removed, [100, 100, 50])
})

void t.test('administration: create, list, wait, drop', async (t) => {
  const { meta, state } = await cluster(t, ['', ''])
  meta.server.handle(Rpc.CREATE_APP, ({ options }) =>
    metaAdmin.ConfigurationCreateAppResponse.make(
      options.partitionCount > 0 ? { appid: 2 } : { err: 'ERR_INVALID_PARAMETERS' },
    ),
  )
  meta.server.handle(Rpc.DROP_APP, () =>
    metaAdmin.ConfigurationDropAppResponse.make({ err: 'ERR_APP_NOT_EXIST' }),
  )
  meta.server.handle(Rpc.LIST_APPS, () =>
    metaAdmin.ConfigurationListAppsResponse.make({
      infos: [AppInfo.make({ appName: 'temp', appId: 2, partitionCount: 2, status: 1 })],
    }),
  )
  meta.server.handle(Rpc.LIST_NODES, () =>
    metaAdmin.ConfigurationListNodesResponse.make({
      infos: [
        metaAdmin.NodeInfo.make({ node: '127.0.0.1:1', status: 1 }),
        metaAdmin.NodeInfo.make({ node: '127.0.0.1:2', status: 2 }),
      ],
    }),
  )
  meta.server.handle(Rpc.CLUSTER_INFO, () =>
    metaAdmin.ConfigurationClusterInfoResponse.make({ keys: ['a', 'b'], values: ['1', '2'] }),
  )
  const admin = new AdminClient({ metaServers: [meta.address] })
  t.teardown(() => admin.close())
  t.equal(await admin.createTable('temp', { partitionCount: 2 }), 2)
  t.match(await failure(admin.createTable('temp', { partitionCount: 0 })), {
    code: 'ERR_INVALID_PARAMETERS',
  })
  t.match(await failure(admin.dropTable('temp')), { code: 'ERR_APP_NOT_EXIST' })
  t.match(await admin.listTables(), [{ name: 'temp', appId: 2, status: 'available' }])
  t.same(await admin.listNodes(), [
    { address: '127.0.0.1:1', alive: true },
    { address: '127.0.0.1:2', alive: false },
  ])
  t.same([...(await admin.clusterInfo())], [['a', '1'], ['b', '2']]) // prettier-ignore
  const waiting = admin.waitForTable('temp')
  await condition(() => state.queries >= 2)
  state.primaries = ['127.0.0.1:1', '127.0.0.1:1']
  await waiting
  state.primaries = ['127.0.0.1:1', '']
  const late = await failure(admin.waitForTable('temp', { timeoutMs: 50 }))
  t.match(late, { code: 'ERR_TIMEOUT', message: /partition 1 has no primary/ })
  state.err = 'ERR_OBJECT_NOT_FOUND'
  t.match(await failure(admin.waitForTable('temp')), { code: 'ERR_OBJECT_NOT_FOUND' })
})
