/**
 * Frames that the official Go, Java and Node clients wrote (test/vectors/requests*.json), sent to
 * running servers as they came, but for the table's id: every reply decodes and makes sense, and the
 * connection stays usable. What the operations must answer is server-responses.test.ts.
 */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import {
  type RequestFrame,
  RequestFramer,
  decodeResult,
  encodeArgument,
  encodeRequest,
} from '../../cluster/protocol/frame.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { Rpc, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import { startOnebox } from '../support/onebox.ts'
import { FrameConnection } from './frame-connection.ts'
import { type TableView, header, replyOf, viewTable } from './table-view.ts'

interface Recorded {
  readonly name: string
  readonly bytes: Buffer
  readonly frame: RequestFrame
}

function recordedRequests(file: string, appId: number): Recorded[] {
  const text = readFileSync(`test/vectors/${file}.json`, 'utf8')
  const { vectors } = JSON.parse(text) as { vectors: { name: string; hex: string }[] }
  return vectors.map(({ name, hex }) => {
    const bytes = Buffer.from(hex, 'hex')
    const framer = new RequestFramer({ maxBodyBytes: 1 << 24, maxMetaBytes: 1024 })
    framer.push(bytes)
    const frame = framer.next()
    if (frame === undefined) throw new Error(`${file}: ${name} is no whole frame`)
    // In v1 the id is the first field of the meta: type, field id, value.
    if (frame.header.appId > 0) bytes.writeInt32BE(appId, frame.header.version === 0 ? 24 : 19)
    return { name, bytes, frame }
  })
}

const isData = ({ frame }: Recorded): boolean => frame.header.appId > 0
const isSilent = ({ frame }: Recorded): boolean => frame.name === Rpc.CLEAR_SCANNER.name
const isQuery = ({ frame }: Recorded): boolean =>
  frame.name === Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name

/** Statuses that a data operation may answer, whatever is stored. */
const saneStatuses: ReadonlySet<unknown> = new Set([0, 1, 4, 7, 13])
const probeSeqid = 0x7fff_0000

/** All frames of a client for one server in one go, as a pipelining client would send them. */
async function sendPipelined(
  t: Test,
  address: string,
  requests: readonly Recorded[],
): Promise<void> {
  const connection = new FrameConnection(address)
  try {
    connection.send(Buffer.concat(requests.map(({ bytes }) => bytes)))
    // Clients count per connection, so a recording of several has some ids twice.
    const waiting = requests.filter((request) => !isSilent(request))
    while (waiting.length > 0) {
      const reply = await replyOf(connection)
      const index = waiting.findIndex(
        ({ frame }) => frame.seqid === reply.seqid && `${frame.name}_ACK` === reply.name,
      )
      const [request] = waiting.splice(index, index < 0 ? 0 : 1)
      if (request === undefined) {
        t.fail(`unexpected reply ${reply.name} ${reply.seqid}`)
        return
      }
      const { name, frame } = request
      t.equal(reply.errorName, 'ERR_OK', `${name}: ${frame.name} is answered`)
      const codec = rpcByName(frame.name)?.result
      if (codec === undefined) throw new Error(`no schema of ${frame.name}`)
      const result: unknown = decodeResult(codec, reply.result)
      const error = (result as { readonly error?: number }).error
      t.ok(saneStatuses.has(error), `${name}: error ${error} is one of the operation`)
    }
    const key = encodeArgument(Rpc.GET.argument, encodeKey(Buffer.from('x'), Buffer.alloc(0)))
    connection.send(encodeRequest(header({}), Rpc.GET.name, probeSeqid, key))
    const reply = await replyOf(connection)
    t.equal(reply.seqid, probeSeqid, 'the connection is usable, and nothing was answered twice')
  } finally {
    connection.close()
  }
}

/** Sent alone on a connection; the reply is not judged beyond its frame. */
async function ask(address: string, { bytes, frame }: Recorded) {
  const connection = new FrameConnection(address)
  try {
    connection.send(bytes)
    const reply = await replyOf(connection)
    connection.send(bytes)
    const again = await replyOf(connection)
    return { reply, isUsable: again.seqid === frame.seqid }
  } finally {
    connection.close()
  }
}

function primariesOf(view: TableView, requests: readonly Recorded[]): Map<string, Recorded[]> {
  const byAddress = new Map<string, Recorded[]>()
  for (const request of requests) {
    const address = view.partitions[request.frame.header.partitionIndex]?.primary ?? ''
    byAddress.set(address, [...(byAddress.get(address) ?? []), request])
  }
  return byAddress
}

const membersOf = ({ partitions }: TableView): unknown =>
  partitions.map(({ ballot, primary, secondaries }) => [ballot, primary, secondaries])

void t.test('recorded frames of official clients', { timeout: 400_000 }, async (t) => {
  const onebox = await startOnebox({ flags: ['--clusters', '1'] })
  t.teardown(() => onebox.remove())
  const servers = onebox.servers()
  const metas = servers.filter(({ role }) => role === 'meta').map(({ rpc }) => rpc)
  const view = await viewTable(metas, 'temp')

  for (const file of ['requests', 'requests_java', 'requests_node', 'requests_v1']) {
    const all = recordedRequests(file, view.appId)
    await t.test(`data requests of ${file}`, async (t) => {
      for (const [address, requests] of primariesOf(view, all.filter(isData)))
        await sendPipelined(t, address, requests)
    })
    await t.test(`configuration queries of ${file}`, async (t) => {
      for (const query of all.filter(isQuery))
        for (const [what, address] of [
          ['meta', view.metaLeader],
          ['gateway', onebox.gateway],
        ] as const) {
          const { reply, isUsable } = await ask(address, query)
          const response = decodeResult(QueryCfgResponse, reply.result)
          t.equal(response.err, 'ERR_OK', `${query.name}: the ${what} answers`)
          t.equal(response.partitions.length, 8)
          t.ok(isUsable)
        }
    })
  }

  await t.test('a backup request is served by a secondary', async (t) => {
    const all = [
      ...recordedRequests('requests_java', view.appId),
      ...recordedRequests('requests_v1', view.appId),
    ].filter(({ frame }) => frame.header.isBackupRequest)
    t.ok(all.length > 0)
    for (const request of all) {
      const { secondaries } = view.partitions[request.frame.header.partitionIndex] ?? {}
      await sendPipelined(t, secondaries?.[0] ?? '', [request])
    }
  })

  await t.test('no mangled frame ends a server or disturbs the others', async (t) => {
    const before = onebox.servers()
    const all = ['requests', 'requests_java', 'requests_node', 'requests_v1'].flatMap((file) =>
      recordedRequests(file, view.appId).filter((request) => isData(request) || isQuery(request)),
    )
    const targets = [view.metaLeader, onebox.gateway, view.partitions[2]?.primary ?? '']
    const samples = fc.sample(fc.tuple(fc.constantFrom(...all), mangling), {
      seed: 11,
      numRuns: 600,
    })
    for (let from = 0; from < samples.length; from += 60)
      await Promise.all(
        samples.slice(from, from + 60).map(async ([{ bytes }, mangle], index) => {
          const connection = new FrameConnection(targets[index % targets.length] ?? '')
          connection.send(mangle(bytes))
          // Whether it is answered, refused by closing or waited for is not judged here.
          await connection.next(300)
          connection.close()
        }),
      )
    const pids = (servers: typeof before): unknown => servers.map(({ name, pid }) => [name, pid])
    t.same(pids(onebox.servers()), pids(before), 'all servers are still the same processes')
    const [get] = recordedRequests('requests', view.appId).filter(isData)
    if (get !== undefined) await sendPipelined(t, targets[2] ?? '', [get])
    t.same(membersOf(await viewTable(metas, 'temp')), membersOf(view), 'no replica has gone')
    t.equal((await viewTable([onebox.gateway], 'temp')).partitions.length, 8)
  })

  // Last, because it drops the table.
  await t.test('administration is answered, or refused as unknown', async (t) => {
    const replica = servers.find(({ role }) => role === 'replica')?.rpc ?? ''
    const all = [
      ...recordedRequests('requests_java', view.appId),
      ...recordedRequests('requests_admin', view.appId),
    ]
    for (const request of all.filter((other) => !isData(other) && !isQuery(other))) {
      const { name } = request.frame
      const address = name.startsWith('RPC_CM_') ? view.metaLeader : replica
      const { reply, isUsable } = await ask(address, request)
      const codec = rpcByName(name)?.result
      t.ok(codec, `${request.name}: ${name} is known`)
      if (reply.errorName === 'ERR_OK' && codec !== undefined) {
        const decode = (): unknown => decodeResult(codec, reply.result)
        t.doesNotThrow(decode, `${request.name}: the answer decodes`)
      } else t.equal(reply.errorName, 'ERR_HANDLER_NOT_FOUND', `${request.name}: refused`)
      t.ok(isUsable, `${request.name}: the connection stays usable`)
    }
  })
})

/** Ways to spoil a frame: cut inside with the length put right or not, bytes changed, lengths huge. */
const mangling: fc.Arbitrary<(frame: Buffer) => Buffer> = fc.oneof(
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }).map((share) => (frame: Buffer) => {
    const isV0 = frame.readInt32BE(4) === 0
    const bodyAt = isV0 ? 48 : 16 + frame.readInt32BE(8)
    const body = Math.floor((frame.length - bodyAt) * share)
    const cut = Buffer.from(frame.subarray(0, bodyAt + body))
    cut.writeInt32BE(body, isV0 ? 16 : 12)
    return cut
  }),
  fc
    .double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    .map((share) => (frame: Buffer) => frame.subarray(0, Math.floor(frame.length * share))),
  fc
    .array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 })
    .map((changes) => (frame: Buffer) => {
      const changed = Buffer.from(frame)
      for (const [at, byte] of changes) changed[at % changed.length] = byte
      return changed
    }),
  fc
    .tuple(fc.nat(), fc.constantFrom(-1, 0x7fffffff, 0x00ffffff))
    .map(([at, length]) => (frame: Buffer) => {
      const changed = Buffer.from(frame)
      changed.writeInt32BE(length, at % (changed.length - 3))
      return changed
    }),
)
