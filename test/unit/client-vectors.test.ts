/**
 * The client against recorded bytes: what it sends equals what the official Java (header v1) and Go
 * clients sent for the same calls, and what it makes of recorded replies is sensible, errors
 * included. Sequence ids, timeouts and clock-dependent expiries are masked.
 */
import { readFileSync } from 'node:fs'
import { type Server, type Socket, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { createClient } from '../../cluster/client/client.ts'
import { AdminClient, PegasusError, type Table } from '../../cluster/client/client.ts'
import {
  type RequestFrame,
  RequestFramer,
  encodeReply,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { PartitionConfiguration, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import * as metaAdmin from '../../cluster/protocol/meta-admin.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'
import * as rrdb from '../../cluster/protocol/rrdb.ts'

interface Vector {
  readonly name: string
  readonly hex: string
  readonly fields: { readonly message: { readonly name: string } }
  readonly volatile?: readonly { readonly offset: number; readonly length: number }[]
}

function load(file: string): ReadonlyMap<string, Vector> {
  const text = readFileSync(`test/vectors/${file}`, 'utf8')
  const { vectors } = JSON.parse(text) as { readonly vectors: readonly Vector[] }
  return new Map(vectors.map((vector) => [vector.name, vector]))
}

const java = load('requests_java.json')
const go = load('requests.json')
const goAdmin = load('requests_admin.json')

interface Seen {
  readonly request: RequestFrame
  /** The whole frame as it came. */
  readonly bytes: Buffer
}

/** A meta server and all replica servers in one; the client sends one request at a time. */
class RecordingServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly seen: Seen[] = []
  port = 0
  answer: (request: RequestFrame) => Buffer | undefined

  constructor(answer: (request: RequestFrame, port: number) => Buffer | undefined) {
    this.answer = (request) => answer(request, this.port)
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      const framer = new RequestFramer({ maxBodyBytes: 1 << 26, maxMetaBytes: 4096 })
      let bytes = Buffer.alloc(0)
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk])
        framer.push(chunk)
        for (let request = framer.next(); request !== undefined; request = framer.next()) {
          const size = 16 + bytes.readUInt32BE(8) + bytes.readUInt32BE(12)
          this.seen.push({ request, bytes: bytes.subarray(0, size) })
          bytes = bytes.subarray(size)
          const reply = this.answer(request)
          if (reply !== undefined) socket.write(reply)
        }
      })
    })
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const at = this.#server.address()
    if (at !== null && typeof at !== 'string') this.port = at.port
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }
}

function configuration(port: number, partitionCount = 8): Buffer {
  const partitions = Array.from({ length: partitionCount }, (_, partitionIndex) =>
    PartitionConfiguration.make({
      pid: { appId: 2, partitionIndex },
      ballot: 3,
      maxReplicaCount: 1,
      primary: `127.0.0.1:${port}`,
    }),
  )
  return encodeResult(
    QueryCfgResponse,
    QueryCfgResponse.make({ appId: 2, partitionCount, isStateful: true, partitions }),
  )
}

const pair = (sortKey: string): rrdb.KeyValue => ({
  key: Buffer.from(`\0\x02h1${sortKey}`),
  value: Buffer.alloc(0),
})

/** Plain success for everything; a scan has a second batch that ends it. */
function succeed(request: RequestFrame, port: number): Buffer | undefined {
  const ok = (result: Buffer): Buffer => encodeReply(request.name, request.seqid, 'ERR_OK', result)
  switch (request.name) {
    case Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name:
      return ok(configuration(port))
    case Rpc.GET_SCANNER.name: {
      const page = { kvs: [pair('s1'), pair('s2')], contextId: 5001n }
      return ok(encodeResult(rrdb.ScanResponse, rrdb.ScanResponse.make(page)))
    }
    case Rpc.SCAN.name:
      return ok(encodeResult(rrdb.ScanResponse, rrdb.ScanResponse.make({ contextId: -1n })))
    case Rpc.CLEAR_SCANNER.name:
      return undefined
    case Rpc.CREATE_APP.name:
      return ok(
        encodeResult(
          metaAdmin.ConfigurationCreateAppResponse,
          metaAdmin.ConfigurationCreateAppResponse.make({ appid: 2 }),
        ),
      )
    default: {
      const rpc = Object.values(Rpc).find((entry) => entry.name === request.name)
      if (rpc === undefined) throw new Error(`unknown ${request.name}`)
      return ok(encodeResult(rpc.result as Codec<unknown>, rpc.result.empty()))
    }
  }
}

async function recording(
  t: Test,
  answer: (request: RequestFrame, port: number) => Buffer | undefined = succeed,
): Promise<{ server: RecordingServer; table: () => Promise<Table>; admin: AdminClient }> {
  const server = new RecordingServer(answer)
  await server.listen()
  const options = { metaServers: [`127.0.0.1:${server.port}`], operationTimeoutMs: 20_000 }
  const client = createClient(options)
  const admin = new AdminClient(options)
  t.teardown(async () => {
    admin.close()
    await client.close()
    await server.close()
  })
  return { server, table: () => client.openTable('temp'), admin }
}

/** Masked: the timeout in a v1 meta, the sequence id, and what the vector calls volatile. */
function masked(bytes: Buffer, vector: Vector, bodyAt: number, vectorBodyAt: number): string {
  const copy = Buffer.from(bytes)
  const seqidAt = bodyAt + 8 + vector.fields.message.name.length
  copy.fill(0, seqidAt, seqidAt + 4)
  for (const { offset, length } of vector.volatile ?? []) {
    const at = offset - vectorBodyAt + bodyAt
    if (at >= bodyAt) copy.fill(0, at, at + length)
  }
  return copy.toString('hex')
}

/** Header v1 with its five meta fields: 16 + 37 bytes, the timeout at 16 + 17. */
const V1_BODY_AT = 53

function wholeFrame(bytes: Buffer, vector: Vector): string {
  const copy = Buffer.from(bytes)
  copy.fill(0, 33, 37)
  return masked(copy, vector, V1_BODY_AT, V1_BODY_AT)
}

const scanAll = async (scanner: AsyncIterable<unknown>): Promise<unknown[]> => {
  const records: unknown[] = []
  for await (const record of scanner) records.push(record)
  return records
}

const range = { start: 's1', stop: 's9' }
const two = ['s1', 's2']
const both = [
  { sortKey: 's1', value: 'v1' },
  { sortKey: 's2', value: 'v2' },
]

/**
 * For each call: the frames it must send, by the names of their vectors; '' = do not compare. Java
 * leaves out empty lists and patterns, so its multi_get and get_scanner frames differ.
 */
type Calls = readonly (readonly [readonly string[], (table: Table) => Promise<unknown>])[]

const sameAsJava: Calls = [
  [['get'], (table) => table.get('h1', 's1')],
  [['get_null_sort_key'], (table) => table.get('h1', '')],
  [['exist'], (table) => table.exist('h1', 's1')],
  [['ttl'], (table) => table.ttl('h1', 's1')],
  [['set'], (table) => table.set('h1', 's1', 'v1')],
  [['set_ttl'], (table) => table.set('h1', 's1', 'v1', { ttlSeconds: 3600 })],
  [['del'], (table) => table.del('h1', 's1')],
  [['multi_set'], (table) => table.multiSet('h1', both)],
  [['multi_set_ttl'], (table) => table.multiSet('h1', both.slice(0, 1), { ttlSeconds: 100 })],
  [['sortkey_count'], (table) => table.sortKeyCount('h1')],
  [
    ['batch_get_by_partitions'],
    (table) => table.batchGet(two.map((sortKey) => ({ hashKey: 'h1', sortKey }))),
  ],
  [['', 'multi_get_sort_key_names#2'], (table) => scanAll(table.getScanner('h1'))],
  [
    ['', 'get_scanner#2'],
    async (table) => {
      const scanner = table.getScanner('h1')
      await scanner.next()
      await scanner.close()
    },
  ],
]

void t.test('frames equal those of the Java client, header and all', async (t) => {
  const { server, table } = await recording(t)
  const handle = await table()
  for (const [names, call] of sameAsJava) {
    server.seen.length = 0
    await call(handle)
    for (const [index, name] of names.entries()) {
      while (server.seen.length <= index)
        await new Promise<void>((resolve) => setTimeout(resolve, 1))
      const vector = java.get(name)
      const sent = server.seen[index]
      if (vector === undefined || sent === undefined) continue
      const expected = wholeFrame(Buffer.from(vector.hex, 'hex'), vector)
      t.equal(wholeFrame(sent.bytes, vector), expected, name)
    }
  }
  t.equal(sameAsJava.flatMap(([names]) => names).filter((name) => java.has(name)).length, 13)
})

const sameAsGo: Calls = [
  [['get'], (table) => table.get('h1', 's1')],
  [['get_empty_sort_key'], (table) => table.get('h1', '')],
  [
    ['get_binary_key'],
    (table) => table.get(Buffer.from('ff0080', 'hex'), new Uint8Array([0, 0xff])),
  ],
  [['get_long_hash_key'], (table) => table.get('k'.repeat(300), 's')],
  [['get_utf8_key'], (table) => table.get('你好', '世')],
  [['set_empty_sort_key_and_value'], (table) => table.set('h1', '', '')],
  [['set_ttl'], (table) => table.set('h1', 's1', 'v1', { ttlSeconds: 3600 })],
  [['del'], (table) => table.del('h1', 's1')],
  [['multi_get_sort_keys'], (table) => table.multiGet('h1', two)],
  [['multi_get_all'], (table) => table.multiGetRange('h1')],
  [
    ['multi_get_opt_reverse_no_value'],
    (table) =>
      table.multiGetRange('h1', {
        stopInclusive: true,
        sortKeyFilter: { match: 'prefix', pattern: 's' },
        reverse: true,
        noValue: true,
        maxCount: -1,
        maxBytes: -1,
      }),
  ],
  [['multi_get_range'], (table) => table.multiGetRange('h1', range)],
  [['multi_get_range_open'], (table) => table.multiGetRange('h1', {})],
  [
    ['multi_get_range_filter_anywhere'],
    (table) =>
      table.multiGetRange('h1', {
        sortKeyFilter: { match: 'anywhere', pattern: 'ab' },
        maxCount: 10,
        maxBytes: 1000,
      }),
  ],
  [
    ['multi_get_range_filter_postfix'],
    (table) =>
      table.multiGetRange('h1', {
        sortKeyFilter: { match: 'postfix', pattern: 'ab' },
        maxCount: 10,
        maxBytes: 1000,
      }),
  ],
  [['multi_set'], (table) => table.multiSet('h1', both)],
  [['multi_set_ttl'], (table) => table.multiSet('h1', both.slice(0, 1), { ttlSeconds: 100 })],
  [['multi_del'], (table) => table.multiDel('h1', two)],
  [['ttl'], (table) => table.ttl('h1', 's1')],
  [['exist'], (table) => table.exist('h1', 's1')],
  [['sortkey_count'], (table) => table.sortKeyCount('h1')],
  [['get_scanner', 'scan'], (table) => scanAll(table.getScanner('h1', range))],
  [
    ['get_scanner', 'clear_scanner'],
    async (table) => {
      const scanner = table.getScanner('h1', range)
      await scanner.next()
      await scanner.close()
    },
  ],
  [
    ['get_scanner_prefix_no_value'],
    (table) =>
      scanAll(
        table.getScanner('h1', {
          sortKeyFilter: { match: 'prefix', pattern: 'ab' },
          noValue: true,
          batchSize: 10,
        }),
      ),
  ],
  [
    ['get_unordered_scanner', '', '', '', '', '', '', ''],
    async (table) => {
      const scanners = await table.getUnorderedScanners(4)
      for (const scanner of scanners) {
        await scanner.next()
        await scanner.close()
      }
    },
  ],
  [['', '', 'del_range#2'], (table) => table.delRange('h1', range)],
]

void t.test('message bodies equal those of the Go client', async (t) => {
  const { server, table } = await recording(t)
  const handle = await table()
  let compared = 0
  for (const [names, call] of sameAsGo) {
    server.seen.length = 0
    await call(handle)
    for (const [index, name] of names.entries()) {
      while (server.seen.length <= index)
        await new Promise<void>((resolve) => setTimeout(resolve, 1))
      const vector = go.get(name)
      const sent = server.seen[index]
      if (vector === undefined || sent === undefined) continue
      const bytes = Buffer.from(vector.hex, 'hex')
      const { header } = sent.request
      const expected = masked(bytes, vector, 48, 48).slice(96)
      t.equal(masked(sent.bytes, vector, V1_BODY_AT, 48).slice(2 * V1_BODY_AT), expected, name)
      t.equal(header.partitionHash, bytes.readBigUInt64BE(40), `${name}: partition hash`)
      t.equal(header.partitionIndex, bytes.readInt32BE(28), `${name}: partition`)
      compared++
    }
  }
  t.equal(compared, sameAsGo.flatMap(([names]) => names).filter((name) => name !== '').length)
})

void t.test('administration equals that of the Java and Go clients', async (t) => {
  const { server, admin, table } = await recording(t)
  await table()
  const body = (bytes: Buffer, vector: Vector, at: number): string =>
    masked(bytes, vector, at, at).slice(2 * at)
  const query = go.get('query_config')
  if (query !== undefined)
    t.equal(
      body(server.seen[0]?.bytes ?? Buffer.alloc(0), query, V1_BODY_AT),
      body(Buffer.from(query.hex, 'hex'), query, 48),
      'configuration query',
    )
  const calls: readonly (readonly [Vector | undefined, number, () => Promise<unknown>])[] = [
    [
      java.get('admin_drop_app'),
      V1_BODY_AT,
      () => admin.dropTable('temp', { reserveSeconds: 3600 }),
    ],
    [java.get('admin_list_apps'), V1_BODY_AT, () => admin.listTables()],
    [goAdmin.get('cluster_info'), 48, () => admin.clusterInfo()],
    [
      goAdmin.get('create_table'),
      48,
      () => admin.createTable('temp', { partitionCount: 2, envs: { default_ttl: '86400' } }),
    ],
  ]
  for (const [vector, at, call] of calls) {
    server.seen.length = 0
    await call()
    const sent = server.seen[0]?.bytes ?? Buffer.alloc(0)
    if (vector === undefined) t.fail('no such vector')
    else
      t.equal(
        body(sent, vector, V1_BODY_AT),
        body(Buffer.from(vector.hex, 'hex'), vector, at),
        vector.name,
      )
  }
})

const responses = load('responses.json')
const operations: Readonly<Record<string, (table: Table) => Promise<unknown>>> = {
  RPC_RRDB_RRDB_GET_ACK: (table) => table.get('h1', 's1', { timeoutMs: 400 }),
  RPC_RRDB_RRDB_PUT_ACK: (table) => table.set('h1', 's1', 'v1', { timeoutMs: 400 }),
  RPC_RRDB_RRDB_MULTI_GET_ACK: (table) => table.multiGetRange('h1', { timeoutMs: 400 }),
  RPC_RRDB_RRDB_TTL_ACK: (table) => table.ttl('h1', 's1', { timeoutMs: 400 }),
  RPC_RRDB_RRDB_SORTKEY_COUNT_ACK: (table) => table.sortKeyCount('h1', { timeoutMs: 400 }),
  RPC_RRDB_RRDB_GET_SCANNER_ACK: (table) => scanAll(table.getScanner('h1', { timeoutMs: 400 })),
}

const v1 = Buffer.from('v1')
/** Sent again until the time is over; the last attempt may still be under way then. */
const resent = ['ERR_TIMEOUT']

/** A value, or the code and effect of the error. */
const sensible: Readonly<Record<string, unknown>> = {
  get_ok: v1,
  get_ok_empty_value: Buffer.alloc(0),
  get_not_found: undefined,
  get_header_busy_with_body: ['ERR_BUSY', 'none'],
  multi_get_incomplete: {
    records: [{ sortKey: Buffer.from('s1'), value: v1 }],
    complete: false,
  },
  multi_get_empty: { records: [], complete: true },
  ttl_none: -1,
  ttl_not_found: undefined,
  sortkey_count_minus_one: -1,
  scan_complete: [{ hashKey: Buffer.from('h1'), sortKey: Buffer.from('s1'), value: v1 }],
  // The recorded server repeats itself for ever; ours notices.
  scan_incomplete_error: ['ERR_INVALID_DATA', 'none'],
  put_header_ERR_OBJECT_NOT_FOUND: resent,
  put_header_ERR_INVALID_STATE: resent,
  put_header_ERR_PARENT_PARTITION_MISUSED: resent,
  put_header_ERR_NOT_ENOUGH_MEMBER: resent,
  put_header_ERR_CAPACITY_EXCEEDED: resent,
  put_header_ERR_SPLITTING: ['ERR_SPLITTING', 'none'],
  put_header_ERR_BUSY: ['ERR_BUSY', 'none'],
  put_header_ERR_TIMEOUT: ['ERR_TIMEOUT', 'unknown'],
  put_header_ERR_INVALID_DATA: ['ERR_INVALID_DATA', 'none'],
  put_header_ERR_OPERATION_DISABLED: ['ERR_OPERATION_DISABLED', 'none'],
  put_header_ERR_ACL_DENY: ['ERR_ACL_DENY', 'none'],
  put_header_ERR_HANDLER_NOT_FOUND: ['ERR_HANDLER_NOT_FOUND', 'none'],
  put_header_ERR_DISK_INSUFFICIENT: ['ERR_DISK_INSUFFICIENT', 'none'],
  put_header_ERR_UNKNOWN: ['ERR_UNKNOWN', 'unknown'],
  put_header_ERR_TRY_AGAIN: ['ERR_TRY_AGAIN', 'none'],
  put_header_unknown_name: ['ERR_DISK_IO_ERROR', 'unknown'],
}

function withSeqid(hex: string, seqid: number): Buffer {
  const bytes = Buffer.from(hex, 'hex')
  const nameAt = 8 + bytes.readUInt32BE(4) + 4
  bytes.writeInt32BE(seqid, nameAt + 4 + bytes.readUInt32BE(nameAt))
  return bytes
}

async function result(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    if (error instanceof PegasusError) return [error.code, error.effect]
    throw error
  }
}

void t.test('recorded replies become sensible results and errors', async (t) => {
  let hex = ''
  const { table } = await recording(t, (request, port) =>
    request.name === Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
      ? succeed(request, port)
      : withSeqid(hex, request.seqid),
  )
  const handle = await table()
  for (const [name, vector] of responses) {
    const operation = operations[vector.fields.message.name]
    if (operation === undefined || name === 'scan_context_lost') continue
    const expected = name.startsWith('put_rocksdb_error_')
      ? ['ERR_STORAGE', 'none']
      : sensible[name]
    hex = vector.hex
    const outcome = await result(operation(handle))
    t.same(
      expected === resent && Array.isArray(outcome) ? outcome.slice(0, 1) : outcome,
      expected,
      name,
    )
    if (!(name in sensible)) t.match(name, /^put_rocksdb_error_/)
  }
})

void t.test('recorded configurations open the table or say why not', async (t) => {
  for (const [name, vector] of load('responses_meta.json')) {
    if (name === 'forward_with_leader') continue
    let answered = false
    const { table } = await recording(t, (request, port) => {
      if (request.name !== Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name) return succeed(request, port)
      answered = true
      return withSeqid(vector.hex, request.seqid)
    })
    const error = /^err_(.*)$/.exec(name)?.[1]
    if (error === 'ERR_SERVICE_NOT_ACTIVE' || error === 'ERR_FORWARD_TO_OTHERS') continue
    const outcome = await result(table().then((handle) => handle.name))
    t.same(outcome, error === undefined ? 'temp' : [error, 'none'], name)
    t.ok(answered)
  }
})
