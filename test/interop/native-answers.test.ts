/**
 * The native form against a running cluster of the built program (wire.md 12, gateway.md W-19): the
 * requests that the C++ shell and real servers sent, to live meta and replica servers, whose answers
 * must be the recorded ones outside what depends on addresses, ids and clocks; and what the C++ client
 * does with a gateway: a query through it, then data straight from the replica servers it named.
 */
import { readFileSync } from 'node:fs'
import { createClient } from 'pegasus-metaproxy/client'
import t, { type Test } from 'tap'
import { type Gpid, rpcAddress } from '../../cluster/protocol/base.ts'
import {
  GroupCheckRequest,
  GroupCheckResponse,
  LearnRequest,
  LearnResponse,
  PrepareAck,
} from '../../cluster/protocol/consensus.ts'
import { decodeArgument, decodeResult, encodeResult } from '../../cluster/protocol/frame.ts'
import { BeaconMsg } from '../../cluster/protocol/fd.ts'
import { encodeKey, partitionHash, partitionIndexOf } from '../../cluster/protocol/key.ts'
import { QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import type { PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import {
  type NativeFrame,
  NativeFramer,
  type NativeHeader,
  encodeNativeFrame,
} from '../../cluster/protocol/native-frame.ts'
import { type Prepare, decodePrepare, encodePrepare } from '../../cluster/protocol/prepare.ts'
import { threadHash } from '../../cluster/protocol/request-header.ts'
import { Rpc, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import {
  GetScannerRequest,
  MultiGetRequest,
  MultiPutRequest,
  UpdateRequest,
} from '../../cluster/protocol/rrdb.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'
import { NativeClient, nativeArgument, nativeRequest } from '../support/native-client.ts'
import { type TestOnebox, startOnebox } from '../support/onebox.ts'
import { type TableView, viewTable } from './table-view.ts'

const vectors = new Map(
  (
    JSON.parse(readFileSync('test/vectors/rdsn.json', 'utf8')) as {
      vectors: { name: string; hex: string }[]
    }
  ).vectors.map(({ name, hex }) => [name, hex]),
)

function recorded(name: string): NativeFrame {
  const framer = new NativeFramer({ maxBodyBytes: 1 << 20 })
  framer.push(Buffer.from(vectors.get(name) ?? '', 'hex'))
  const frame = framer.next()
  if (frame === undefined) throw new Error(`no recorded frame ${name}`)
  return frame
}

/** A recorded request, with another header or body where it depends on the recording cluster. */
function again(name: string, changes: Partial<NativeHeader> = {}, body?: Buffer): Buffer {
  const frame = recorded(`${name}_request`)
  return encodeNativeFrame({ ...frame.header, ...changes }, body ?? frame.body)
}

/** A reply's header without what is local to programs, addresses and table ids. */
function comparable({ header }: NativeFrame) {
  return { ...header, localCode: 0, errorLocalCode: 0, from: '', appId: 0, threadHash: 0 }
}

class Cluster {
  readonly onebox: TestOnebox
  readonly view: TableView
  readonly #clients = new Map<string, NativeClient>()

  constructor(onebox: TestOnebox, view: TableView) {
    this.onebox = onebox
    this.view = view
  }

  static async start(t: Test): Promise<Cluster> {
    // Without the switch for `hp_*` fields: native callers get them all the same.
    const onebox = await startOnebox({ flags: ['--clusters', '1'] })
    t.teardown(() => onebox.remove())
    const metas = onebox.servers().filter(({ role }) => role === 'meta')
    const view = await viewTable(
      metas.map(({ rpc }) => rpc),
      'temp',
    )
    const cluster = new Cluster(onebox, view)
    t.teardown(() => cluster.close())
    return cluster
  }

  async ask(address: string, bytes: Buffer): Promise<NativeFrame> {
    let client = this.#clients.get(address)
    if (client === undefined || client.hasEnded) {
      client = NativeClient.to(address)
      this.#clients.set(address, client)
    }
    return client.ask(bytes)
  }

  close(): void {
    for (const client of this.#clients.values()) client.destroy()
  }
}

/** Field names at every depth, of the first element of lists: what kind of answer it is. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? 'empty' : [shapeOf(value[0])]
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return typeof value
  if (value instanceof Map) return 'map'
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, part]): [string, unknown] => [name, shapeOf(part)])
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  )
}

const resultCodec = (name: string): Codec<unknown> =>
  rpcByName(name)?.result as unknown as Codec<unknown>

/** Of a data answer, the bytes with table id, decree and server made equal. */
function comparableBody(name: string, body: Buffer): string {
  const codec = resultCodec(name)
  const value = decodeResult(codec, body) as object
  const own = { appId: 0, server: '', ...('decree' in value ? { decree: 0 } : {}) }
  return encodeResult(codec, { ...value, ...own }).toString('hex')
}

async function metasAnswer(t: Test, cluster: Cluster): Promise<void> {
  const { metaLeader, metaFollowers } = cluster.view
  const query = nativeArgument(QueryCfgRequest, { appName: 'temp', partitionIndices: [] })

  const config = await cluster.ask(metaLeader, again('query_cfg_leader', {}, query))
  const expected = recorded('query_cfg_leader_response')
  t.same(comparable(config), comparable(expected), 'query: header')
  t.equal(config.header.from, metaLeader)
  const response = decodeResult(QueryCfgResponse, config.body)
  const shape = shapeOf(decodeResult(QueryCfgResponse, expected.body)) as { partitions: unknown }
  t.same(
    { ...(shapeOf(response) as object), partitions: '' },
    { ...shape, partitions: '' },
    'query: the fields of the original',
  )
  for (const partition of response.partitions) checkRouting(t, partition)
  t.equal(response.partitions.length, response.partitionCount)

  const forward = await cluster.ask(metaFollowers[0] ?? '', again('query_cfg_follower', {}, query))
  t.same(comparable(forward), comparable(recorded('query_cfg_follower_response')), 'forward')
  t.equal(decodeResult(rpcAddress, forward.body), metaLeader)
  for (const [what, changes] of [
    ['a server is told the same', { from: '127.0.0.1:34801' }],
    ['so is a caller of any other RPC', { name: 'RPC_CM_CLUSTER_INFO' }],
  ] as const) {
    const told = await cluster.ask(
      metaFollowers[0] ?? '',
      again('query_cfg_follower', changes, query),
    )
    t.equal(told.header.errorName, 'ERR_FORWARD_TO_OTHERS', what)
    t.equal(decodeResult(rpcAddress, told.body), metaLeader)
  }
  const unforwarded = await cluster.ask(
    metaFollowers[0] ?? '',
    again('query_cfg_follower', { isForwardSupported: false }, query),
  )
  t.equal(unforwarded.header.errorName, 'ERR_OK', 'without the bit: in the body')
  t.match(decodeResult(QueryCfgResponse, unforwarded.body), {
    err: 'ERR_FORWARD_TO_OTHERS',
    isStateful: false,
    partitions: [{ primary: metaLeader, hpPrimary: { type: 1 } }],
  })

  for (const name of ['cluster_info', 'list_apps', 'list_nodes', 'config_sync_crc']) {
    const answer = await cluster.ask(metaLeader, again(name))
    const original = recorded(`${name}_response`)
    t.same(comparable(answer), comparable(original), `${name}: header`)
    const codec = resultCodec(answer.header.name.replace('_ACK', ''))
    t.same(
      shapeOf(decodeResult(codec, answer.body)),
      shapeOf(decodeResult(codec, original.body)),
      `${name}: the fields of the original`,
    )
  }
}

/** What the C++ client routes by: it takes a partition by its ballot, and its primary by name. */
function checkRouting(t: Test, partition: PartitionConfiguration): void {
  const { hpPrimary, hpSecondaries, primary, secondaries, ballot } = partition
  t.equal(`${hpPrimary?.host}:${hpPrimary?.port}`, primary)
  t.equal(hpPrimary?.type, 1)
  t.equal(hpSecondaries?.length, secondaries.length)
  t.ok(ballot > 0)
}

async function beaconIsAnswered(t: Test, cluster: Cluster): Promise<void> {
  const { metaLeader } = cluster.view
  const beacon = decodeArgument(BeaconMsg, recorded('beacon_request').body)
  for (const name of ['beacon', 'beacon_udp_crc']) {
    const answer = await cluster.ask(metaLeader, again(name))
    const original = recorded(`${name}_response`)
    t.same(comparable(answer), comparable(original), `${name}: header`)
    const codec = resultCodec('RPC_FD_FAILURE_DETECTOR_PING')
    const [ours, theirs] = [answer, original].map(({ body }) => decodeResult(codec, body))
    t.same(shapeOf(ours), shapeOf(theirs), `${name}: the fields of the original`)
    t.match(ours, { isMaster: true, allowed: true, primaryNode: metaLeader })
    if (name === 'beacon') t.match(ours, { time: beacon.time, thisNode: beacon.toNode })
  }
}

async function replicasAnswer(t: Test, cluster: Cluster): Promise<void> {
  const { appId, partitions } = cluster.view
  const order = 'put get multi_put multi_get incr check_and_set ttl remove get_not_found'
  for (const name of order.split(' ')) {
    const { header } = recorded(`${name}_request`)
    const { partitionIndex } = header
    const answer = await cluster.ask(
      partitions[partitionIndex]?.primary ?? '',
      again(name, { appId, threadHash: threadHash(appId, partitionIndex) }),
    )
    const original = recorded(`${name}_response`)
    t.same(comparable(answer), comparable(original), `${name}: header`)
    t.same(
      [answer.header.appId, answer.header.threadHash, answer.header.from],
      [appId, threadHash(appId, partitionIndex), partitions[partitionIndex]?.primary],
      `${name}: what depends on the cluster`,
    )
    t.equal(
      comparableBody(header.name, answer.body),
      comparableBody(header.name, original.body),
      `${name}: body`,
    )
  }
  const anyone = partitions[0]?.primary ?? ''
  const missing = await cluster.ask(anyone, again('get', { appId: 9999 }))
  t.same([missing.header.errorName, missing.body.length], ['ERR_OBJECT_NOT_FOUND', 0])
  const secondary = partitions[0]?.secondaries[0] ?? ''
  const refused = await cluster.ask(secondary, again('put', { appId, partitionIndex: 0 }))
  t.same([refused.header.errorName, refused.body.length], ['ERR_INVALID_STATE', 0])
}

function prepareOf(pid: Gpid): Prepare {
  const { config, mutation } = decodePrepare(recorded('prepare_request').body)
  return { pid, config: { ...config, pid }, mutation: { ...mutation, pid } }
}

function errorOf<R extends { readonly err: string }>(codec: Codec<R>): (body: Buffer) => string {
  return (body) => decodeResult(codec, body).err
}

/** What real servers send each other, about a partition that is not there. */
async function serversAnswer(t: Test, cluster: Cluster): Promise<void> {
  const address = cluster.view.partitions[0]?.primary ?? ''
  const nowhere = { appId: 9999, partitionIndex: 0 }
  const check = decodeArgument(GroupCheckRequest, recorded('group_check_request').body)
  const learn = decodeArgument(LearnRequest, recorded('learn_request').body)
  const checked = { ...check, config: { ...check.config, pid: nowhere, learnerSignature: 0n } }
  for (const [name, body, error] of [
    ['prepare', encodePrepare(prepareOf(nowhere)), errorOf(PrepareAck)],
    ['group_check', nativeArgument(GroupCheckRequest, checked), errorOf(GroupCheckResponse)],
    ['learn', nativeArgument(LearnRequest, { ...learn, pid: nowhere }), errorOf(LearnResponse)],
  ] as const) {
    const answer = await cluster.ask(address, again(name, {}, body))
    t.same(comparable(answer), comparable(recorded(`${name}_response`)), `${name}: header`)
    t.equal(error(answer.body), 'ERR_OBJECT_NOT_FOUND', name)
  }
}

async function gatewayRoutes(t: Test, cluster: Cluster): Promise<void> {
  const { gateway } = cluster.onebox
  const query = nativeRequest(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, {
    appName: 'temp',
    partitionIndices: [],
  })
  const [through, direct] = [
    await cluster.ask(gateway, query),
    await cluster.ask(cluster.view.metaLeader, query),
  ]
  t.same(through.body, direct.body, 'W-1: as the leader itself answers')
  t.same(comparable(through), comparable(direct))
  t.equal(through.header.from, gateway)
  const { appId, partitionCount, partitions } = decodeResult(QueryCfgResponse, through.body)
  for (const partition of partitions) checkRouting(t, partition)

  let nextId = 1000n
  /** Sends a data request to the primary that the gateway's answer named. */
  const call = async <A, R>(
    rpc: { readonly name: string; readonly argument: Codec<A>; readonly result: Codec<R> },
    hashKey: string,
    argument: A,
  ): Promise<R> => {
    const hash = partitionHash(Buffer.from(hashKey), Buffer.alloc(0))
    const partitionIndex = partitionIndexOf(hash, partitionCount)
    const to = partitions[partitionIndex]?.hpPrimary
    const answer = await cluster.ask(
      `${to?.host}:${to?.port}`,
      nativeRequest(rpc, argument, {
        id: nextId++,
        appId,
        partitionIndex,
        threadHash: threadHash(appId, partitionIndex),
        partitionHash: hash,
      }),
    )
    t.equal(answer.header.errorName, 'ERR_OK', `${rpc.name} ${hashKey}`)
    return decodeResult(rpc.result, answer.body)
  }
  const client = createClient({ metaServers: [gateway] })
  t.teardown(() => client.close())
  const table = await client.openTable('temp')
  const hashKeys = Array.from({ length: 24 }, (_, index) => `native-${index}`)
  await Promise.all(
    hashKeys.map(async (hashKey) => {
      const key = encodeKey(Buffer.from(hashKey), Buffer.from('a'))
      const value = Buffer.from(`value of ${hashKey}`)
      t.equal((await call(Rpc.PUT, hashKey, UpdateRequest.make({ key, value }))).error, 0)
      const kvs = ['b', 'c'].map((sortKey) => ({ key: Buffer.from(sortKey), value }))
      const request = MultiPutRequest.make({ hashKey: Buffer.from(hashKey), kvs })
      t.equal((await call(Rpc.MULTI_PUT, hashKey, request)).error, 0)
      t.same((await call(Rpc.GET, hashKey, key)).value, value)
      t.equal(String(await table.get(hashKey, 'c')), String(value), 'a Thrift client reads it')
      await table.set(hashKey, 'd', 'by Thrift')
    }),
  )
  for (const hashKey of hashKeys) {
    const all = MultiGetRequest.make({
      hashKey: Buffer.from(hashKey),
      maxKvCount: -1,
      maxKvSize: -1,
      startInclusive: true,
    })
    const got = await call(Rpc.MULTI_GET, hashKey, all)
    t.same(
      got.kvs.map(({ key }) => String(key)),
      ['a', 'b', 'c', 'd'],
    )
    t.equal(String(got.kvs[3]?.value), 'by Thrift')
    t.same(await scanned(call, hashKey), ['a', 'b', 'c', 'd'])
  }
}

/** The sort keys of one hash key, two at a time. */
async function scanned(
  call: <A, R>(
    rpc: { readonly name: string; readonly argument: Codec<A>; readonly result: Codec<R> },
    hashKey: string,
    argument: A,
  ) => Promise<R>,
  hashKey: string,
): Promise<string[]> {
  const startKey = encodeKey(Buffer.from(hashKey), Buffer.alloc(0))
  const stopKey = encodeKey(Buffer.from(hashKey), Buffer.from('z'))
  const range = { startKey, stopKey, startInclusive: true, batchSize: 2 }
  let answer = await call(Rpc.GET_SCANNER, hashKey, GetScannerRequest.make(range))
  const sortKeys: string[] = []
  for (;;) {
    for (const { key } of answer.kvs) sortKeys.push(String(key.subarray(2 + hashKey.length)))
    if (answer.contextId < 0n) return sortKeys
    answer = await call(Rpc.SCAN, hashKey, { contextId: answer.contextId })
  }
}

void t.test('live servers answer native requests as recorded', { timeout: 400_000 }, async (t) => {
  const cluster = await Cluster.start(t)
  await t.test('a gateway leads a native client to its data', (t) => gatewayRoutes(t, cluster))
  await t.test('meta servers', (t) => metasAnswer(t, cluster))
  await t.test('replica servers', (t) => replicasAnswer(t, cluster))
  await t.test('between servers', (t) => serversAnswer(t, cluster))
  await t.test('beacons', (t) => beaconIsAnswered(t, cluster))
})
