/** What carries a query through the gateway without objects: each part agrees with the full decoder. */
import * as fc from 'fast-check'
import t from 'tap'
import {
  FrameError,
  RequestFramer,
  encodeArgument,
  encodeReply,
  encodeRequest,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { Batch } from '../../gateway/batch.ts'
import { InFlight } from '../../gateway/upstream/in-flight.ts'
import { KnownQueries } from '../../gateway/clients/known-queries.ts'
import { QueryScan } from '../../gateway/clients/query-scan.ts'
import { readQuery } from '../../gateway/clients/query.ts'
import { ReplyStream } from '../../gateway/upstream/reply-stream.ts'

const QUERY = 'RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX'
const limits = { maxBodyBytes: 1 << 20, maxMetaBytes: 4096 }

function request(
  version: 0 | 1,
  appName: string,
  partitionIndices: number[],
  seqid: number,
  clientTimeoutMs: number,
): Buffer {
  const header = {
    version,
    appId: 1,
    partitionIndex: -1,
    clientTimeoutMs,
    partitionHash: 7n,
    isBackupRequest: false,
  } as const
  const argument = encodeArgument(QueryCfgRequest, { appName, partitionIndices })
  return encodeRequest(header, QUERY, seqid, argument)
}

const requests = fc.record({
  version: fc.constantFrom(0 as const, 1 as const),
  appName: fc.string({ maxLength: 80, unit: 'binary' }),
  indices: fc.array(fc.integer({ min: -1, max: 4096 }), { maxLength: 4 }),
  seqid: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  timeoutMs: fc.integer({ min: 0, max: 10_000 }),
})

/** What the full decoder makes of the frame at the start; undefined when it takes none. */
function decoded(bytes: Buffer): { table: string; seqid: number; timeoutMs: number } | undefined {
  const framer = new RequestFramer(limits)
  framer.push(Buffer.from(bytes))
  try {
    const frame = framer.next()
    if (frame === undefined || frame.name !== QUERY) return undefined
    const table = readQuery(frame.argument)
    if (table === undefined) return undefined
    return { table, seqid: frame.seqid, timeoutMs: frame.header.clientTimeoutMs }
  } catch (error) {
    if (!(error instanceof FrameError)) throw error
    return undefined
  }
}

void t.test('W-9: the scan takes what clients send, and nothing that the decoder refuses', (t) => {
  const scan = new QueryScan(limits)
  const queries = new KnownQueries()
  const found = (bytes: Buffer): ReturnType<typeof decoded> => {
    scan.open(bytes)
    if (scan.next(0) === 0) return undefined
    const { table } = queries.scanned(scan)
    return { table, seqid: scan.seqid, timeoutMs: scan.clientTimeoutMs }
  }
  const same = (bytes: Buffer): void => {
    const taken = found(bytes)
    if (taken !== undefined && JSON.stringify(taken) !== JSON.stringify(decoded(bytes)))
      throw new Error(`scan: ${JSON.stringify(taken)}, decoder: ${JSON.stringify(decoded(bytes))}`)
  }
  fc.assert(
    fc.property(requests, ({ version, appName, indices, seqid, timeoutMs }) => {
      const bytes = request(version, appName, indices, seqid, timeoutMs)
      if (found(bytes) === undefined) throw new Error('not taken')
      same(bytes)
      for (let cut = 0; cut < bytes.length; cut++)
        if (found(Buffer.from(bytes.subarray(0, cut))) !== undefined)
          throw new Error(`cut at ${cut} is taken`)
    }),
    { numRuns: 60 },
  )
  const flips = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(requests, flips, ({ version, appName, indices, seqid, timeoutMs }, changes) => {
      const bytes = request(version, appName, indices, seqid, timeoutMs)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      same(bytes)
    }),
    { numRuns: 2000 },
  )
  const small = new QueryScan({ maxBodyBytes: 60, maxMetaBytes: 8 })
  for (const version of [0, 1] as const) {
    small.open(request(version, 'temp', [], 1, 0))
    t.equal(small.next(0), 0, 'the limits are kept')
  }
  t.end()
})

function answer(seqid: number, err: string, size: number): Buffer {
  const response = QueryCfgResponse.make({ err, partitionCount: size })
  const padding = Buffer.alloc(size, 7)
  return encodeReply(
    QUERY,
    seqid,
    'ERR_OK',
    Buffer.concat([encodeResult(QueryCfgResponse, response), padding]),
  )
}

void t.test('W-2: replies come out whole and in order, however the stream is cut', (t) => {
  const errors = ['ERR_OK', 'ERR_FORWARD_TO_OTHERS', 'ERR_BUSY']
  const replies = fc.array(
    fc.record({
      seqid: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      error: fc.constantFrom(...errors),
      size: fc.nat(600),
    }),
    { minLength: 1, maxLength: 12 },
  )
  const cutsOfAny = fc.array(fc.integer({ min: 1, max: 900 }))
  fc.assert(
    fc.property(replies, cutsOfAny, fc.nat(900), (wanted, cuts, unreadBytesMax) => {
      const frames = wanted.map(({ seqid, error, size }) => answer(seqid, error, size))
      const whole = Buffer.concat(frames)
      /** What the network puts in front of the next chunk, as `Socket.unread` says. */
      let unread = Buffer.alloc(0)
      const stream = new ReplyStream({
        unread: (bytes) => {
          if (bytes.length > unreadBytesMax) return false
          unread = Buffer.from(bytes)
          return true
        },
      })
      let count = 0
      for (let at = 0, index = 0; at < whole.length; index++) {
        const size = cuts[index % Math.max(1, cuts.length)] ?? 1
        stream.open(Buffer.concat([unread, whole.subarray(at, at + size)]))
        unread = Buffer.alloc(0)
        while (stream.next()) {
          const frame = frames[count]
          const { seqid, error } = wanted[count++] ?? {}
          const bytes = stream.bytes.subarray(stream.start, stream.end)
          if (frame === undefined || !bytes.equals(frame)) throw new Error('other bytes')
          if (stream.seqid !== seqid || stream.bytes.readInt32BE(stream.seqidAt) !== seqid)
            throw new Error('another sequence id')
          if (!stream.isAck || stream.isPlain !== (error === 'ERR_OK'))
            throw new Error('taken for another kind')
          if (stream.frame().seqid !== seqid) throw new Error('decoded as another')
        }
        at += size
      }
      if (count !== frames.length) throw new Error(`${count} of ${frames.length} replies`)
    }),
    { numRuns: 200 },
  )
  const stream = new ReplyStream({})
  stream.open(encodeReply(QUERY, 5, 'ERR_BUSY', undefined))
  t.ok(stream.next())
  t.match(stream, { isAck: true, isPlain: false, seqid: 5 })
  stream.open(encodeReply('RPC_OTHER', 5, 'ERR_OK', undefined))
  t.ok(stream.next())
  t.match(stream, { isAck: false, isPlain: false, seqid: 5 }, 'another RPC')
  t.notOk(stream.next())
  t.end()
})

void t.test(
  'a large reply is gathered in memory asked for once, and not copied there twice',
  (t) => {
    const sizes = fc.array(fc.integer({ min: 0, max: 400_000 }), { minLength: 1, maxLength: 4 })
    const cuts = fc.array(fc.integer({ min: 1, max: 150_000 }), { minLength: 1 })
    fc.assert(
      fc.property(sizes, cuts, fc.boolean(), (wanted, pieces, putsThere) => {
        const frames = wanted.map((size, seqid) => answer(seqid, 'ERR_OK', size))
        const whole = Buffer.concat(frames)
        /** What the network reads into next, as `Socket.gather` says. */
        let room: Buffer | undefined
        let gathered = 0
        const stream = new ReplyStream({
          gather: (bytes, at) => {
            gathered++
            const piece = Buffer.alloc(bytes)
            if (putsThere) room = piece.subarray(at)
            return piece
          },
        })
        let count = 0
        for (let at = 0, index = 0; at < whole.length; index++) {
          let size = Math.min(pieces[index % pieces.length] ?? 1, whole.length - at)
          let chunk: Buffer = Buffer.from(whole.subarray(at, at + size))
          if (room !== undefined) {
            size = Math.min(size, room.length)
            chunk = room.subarray(0, size)
            whole.copy(chunk, 0, at)
            room = size === room.length ? undefined : room.subarray(size)
          }
          stream.open(chunk)
          while (stream.next()) {
            const frame = frames[count++]
            if (frame?.equals(stream.bytes.subarray(stream.start, stream.end)) !== true)
              throw new Error('other bytes')
          }
          at += size
        }
        if (count !== frames.length) throw new Error(`${count} of ${frames.length} replies`)
        if (gathered > frames.filter(({ length }) => length > 128 << 10).length)
          throw new Error(`memory taken ${gathered} times`)
      }),
      { numRuns: 60 },
    )
    t.pass('all replies whole')
    t.end()
  },
)

void t.test('a reply that claims too much or too little breaks the stream', (t) => {
  for (const total of [0, 19, (64 << 20) + 1, 0xffffffff]) {
    for (const pieces of [1, 4]) {
      const bytes = Buffer.alloc(24)
      bytes.writeUInt32BE(total, 0)
      const stream = new ReplyStream({})
      t.throws(
        () => {
          for (let at = 0; at < bytes.length; at += bytes.length / pieces) {
            stream.open(Buffer.from(bytes.subarray(at, at + bytes.length / pieces)))
            stream.next()
          }
        },
        FrameError,
        `${total} in ${pieces}`,
      )
    }
  }
  t.end()
})

void t.test('M-7: what is in flight, against a plain map', (t) => {
  const operations = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.constant('add' as const) },
      { weight: 3, arbitrary: fc.nat(300).map((which) => ({ take: which })) },
      fc.nat(300).map((which) => ({ forget: which })),
    ),
    { maxLength: 600 },
  )
  fc.assert(
    fc.property(operations, (list) => {
      const flight = new InFlight<number, string>(256)
      const model = new Map<number, { question: number; taker: string | null; sentAtMs: number }>()
      const pick = (which: number): number => [...model.keys()][which % model.size] ?? -1
      for (const [index, operation] of list.entries()) {
        if (operation === 'add') {
          const seqid = flight.add(index, 'a', index)
          if (seqid < 0 !== model.size >= 256) throw new Error('the limit is not kept')
          if (model.has(seqid)) throw new Error('an id given twice')
          if (seqid >= 0) model.set(seqid, { question: index, taker: 'a', sentAtMs: index })
        } else if (model.size > 0 && 'take' in operation) {
          const seqid = pick(operation.take)
          const { question, taker } = model.get(seqid) ?? {}
          if (!flight.take(seqid) || flight.take(seqid)) throw new Error('not taken once')
          if (flight.taker !== taker) throw new Error('another taker')
          if (taker !== null && flight.question !== question) throw new Error('another question')
          model.delete(seqid)
        } else if (model.size > 0 && 'forget' in operation) {
          const seqid = pick(operation.forget)
          flight.give(seqid, null)
          const known = model.get(seqid)
          if (known !== undefined) known.taker = null
        }
        if (flight.size !== model.size) throw new Error('another size')
        const oldest = [...model.values()].map(({ sentAtMs }) => sentAtMs)
        if (flight.oldestSentAtMs() !== (oldest.length === 0 ? undefined : Math.min(...oldest)))
          throw new Error('another is the oldest')
      }
      if (flight.take(2 ** 30)) throw new Error('an id never issued is taken')
      const waiting = [...model.entries()].filter(([, { taker }]) => taker !== null)
      const seen: number[] = []
      flight.forEachOf('a', (seqid) => seen.push(seqid))
      const ids = waiting.map(([seqid]) => seqid).toSorted((a, b) => a - b)
      if (seen.toSorted((a, b) => a - b).join() !== ids.join()) throw new Error('not all visited')
      if (flight.takeAll().length !== waiting.length || flight.size !== 0)
        throw new Error('not all taken out')
    }),
    { numRuns: 100 },
  )
  t.pass('ids, owners, limit and the oldest are the same')
  t.end()
})

void t.test('a batch is written once at the end of the turn, then what follows it', (t) => {
  const turns: (() => void)[] = []
  const batch = new Batch({
    after: () => ({ cancel: () => undefined }),
    soon: (run) => turns.push(run),
  })
  const events: string[] = []
  const output = (name: string): Parameters<Batch['add']>[0] => ({
    flush: () => events.push(name),
    afterFlush: () => events.push(`after ${name}`),
  })
  batch.add(output('a'))
  batch.add(output('b'))
  t.equal(turns.length, 1)
  t.same(events, [])
  turns.shift()?.()
  t.same(events, ['a', 'b', 'after a', 'after b'])
  batch.add(output('c'))
  t.equal(turns.length, 1, 'the next turn has its own')
  turns.shift()?.()
  t.same(events.slice(4), ['c', 'after c'])
  const { turn } = batch
  batch.add(output('d'))
  batch.flush()
  t.same(events.slice(6), ['d', 'after d'], 'ended early')
  t.not(batch.turn, turn)
  batch.add(output('e'))
  t.equal(turns.length, 1, 'what follows leaves when the loop turns')
  turns.shift()?.()
  t.same(events.slice(8), ['e', 'after e'])
  t.end()
})
