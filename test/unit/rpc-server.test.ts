/**
 * The accepting side over real sockets, spoken to byte by byte: pipelining, limits, garbage, half
 * close, drain; and the frame abuse that was recorded from an original server.
 */
import { readFileSync } from 'node:fs'
import { type Socket as NetSocket, connect } from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  encodeArgument,
  encodeRequest,
  encodeResult,
  ReplyFramer,
} from '../../cluster/protocol/frame.ts'
import type { ReplyFrame } from '../../cluster/protocol/frame.ts'
import type { RequestHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ReadResponse } from '../../cluster/protocol/rrdb.ts'
import { headerError, headerErrorWithBody, silence } from '../../cluster/rpc/handler.ts'
import type { RpcRequest } from '../../cluster/rpc/handler.ts'
import { RpcServer, type RpcServerOptions } from '../../cluster/rpc/server.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'

const runtime = nodeRuntime({ log: silentLog })

const v0: RequestHeader = {
  version: 0,
  appId: 2,
  partitionIndex: 3,
  clientTimeoutMs: 1000,
  partitionHash: 7n,
  isBackupRequest: false,
}
const v1: RequestHeader = { ...v0, version: 1, isBackupRequest: true }

function get(header: RequestHeader, seqid: number, key = 'key', type = 1): Buffer {
  const argument = encodeArgument(Rpc.GET.argument, Buffer.from(key))
  return encodeRequest(header, Rpc.GET.name, seqid, argument, type)
}

/** A client that knows nothing of ours but the reply framing. */
class RawClient {
  readonly #socket: NetSocket
  readonly #framer = new ReplyFramer({ maxFrameBytes: 1 << 26 })
  readonly replies: ReplyFrame[] = []
  ended = false
  closed = false
  #wake: () => void = () => undefined

  constructor(port: number, options: { readonly allowHalfOpen?: boolean } = {}) {
    this.#socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, ...options })
    this.#socket.on('data', (chunk: Buffer) => {
      this.#framer.push(chunk)
      for (let frame = this.#framer.next(); frame !== undefined; frame = this.#framer.next())
        this.replies.push(frame)
      this.#wake()
    })
    this.#socket.on('end', () => {
      this.ended = true
      this.#wake()
    })
    this.#socket.on('error', () => undefined)
    this.#socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  get unsentBytes(): number {
    return this.#socket.writableLength
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition())
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
  }
}

async function condition(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setTimeout(resolve, 2))
}

const value = (text: string, seen?: RpcRequest): ReadResponse =>
  ReadResponse.make({ value: Buffer.from(text), server: seen === undefined ? '' : seen.name })

async function start(
  t: Test,
  options: Partial<RpcServerOptions> = {},
): Promise<{ server: RpcServer; port: number; client: () => RawClient }> {
  const server = new RpcServer(runtime, { name: 'test', ...options })
  const listener = await server.listen({ host: '127.0.0.1', port: 0 })
  const clients: RawClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    await server.close()
  })
  const client = (): RawClient => {
    const made = new RawClient(listener.port)
    clients.push(made)
    return made
  }
  return { server, port: listener.port, client }
}

void t.test(
  'pipelined requests of both header versions are answered as they complete',
  async (t) => {
    const { server, client } = await start(t)
    const waiting: (() => void)[] = []
    const seen: RpcRequest[] = []
    server.handle(Rpc.GET, (key, request) => {
      seen.push(request)
      if (key.toString() === 'now') return value('now')
      return new Promise((resolve) => {
        waiting.push(() => resolve(value(key.toString())))
      })
    })
    const raw = client()
    raw.write(Buffer.concat([get(v0, 0, 'a'), get(v1, -1, 'b'), get(v0, 7, 'now')]))
    await raw.until(() => raw.replies.length === 1)
    t.equal(raw.replies[0]?.seqid, 7)
    waiting[1]?.()
    await raw.until(() => raw.replies.length === 2)
    waiting[0]?.()
    await raw.until(() => raw.replies.length === 3)
    t.same(
      raw.replies.map((reply) => [reply.seqid, reply.errorName, reply.name]),
      [7, -1, 0].map((seqid) => [seqid, 'ERR_OK', 'RPC_RRDB_RRDB_GET_ACK']),
    )
    t.same(raw.replies[2]?.result, encodeResult(ReadResponse, value('a')))
    t.match(seen[0], { appId: 2, partitionIndex: 3, partitionHash: 7n, clientTimeoutMs: 1000 })
    t.same(
      seen.slice(0, 2).map((request) => request.isBackupRequest),
      [false, true],
    )
    t.equal(Math.round((seen[0]?.deadlineAtMs ?? 0) - (seen[0]?.receivedAtMs ?? 0)), 1000)
  },
)

void t.test('equal sequence ids in flight are legal', async (t) => {
  const { server, client } = await start(t)
  server.handle(Rpc.GET, async (key) => value(key.toString()))
  const raw = client()
  raw.write(Buffer.concat([get(v0, 5, 'a'), get(v0, 5, 'b')]))
  await raw.until(() => raw.replies.length === 2)
  t.same(
    raw.replies.map((reply) => reply.seqid),
    [5, 5],
  )
})

void t.test('the answers of one turn leave in one write', async (t) => {
  const { server, client } = await start(t)
  server.handle(Rpc.GET, () => value('x'))
  const raw = client()
  raw.write(Buffer.concat(Array.from({ length: 1000 }, (_, index) => get(v0, index))))
  await raw.until(() => raw.replies.length === 1000)
  t.same(
    raw.replies.map((reply) => reply.seqid),
    [...Array(1000).keys()],
  )
})

void t.test('handlers may refuse, refuse with a body, or keep silent', async (t) => {
  const { server, client } = await start(t)
  server.handle(Rpc.GET, (key) => {
    if (key.toString() === 'refuse') return headerError('ERR_INVALID_STATE')
    return headerErrorWithBody('ERR_BUSY', value('late'))
  })
  server.handle(Rpc.CLEAR_SCANNER, () => silence)
  server.handle(Rpc.TTL, async () => headerError('ERR_ACL_DENY'))
  server.handleRaw(Rpc.SCAN.name, (request) => request.argumentBytes)
  const raw = client()
  const clear = encodeArgument(Rpc.CLEAR_SCANNER.argument, -5n)
  const ttl = encodeArgument(Rpc.TTL.argument, Buffer.from('k'))
  const scan = encodeArgument(Rpc.SCAN.argument, { contextId: 9n })
  raw.write(
    Buffer.concat([
      get(v0, 1, 'refuse'),
      encodeRequest(v0, Rpc.CLEAR_SCANNER.name, 2, clear),
      get(v0, 3, 'busy', 4),
      encodeRequest(v0, Rpc.TTL.name, 4, ttl),
      encodeRequest(v0, Rpc.SCAN.name, 5, scan),
    ]),
  )
  await raw.until(() => raw.replies.length === 4)
  const bySeqid = new Map(raw.replies.map((reply) => [reply.seqid, reply]))
  t.equal(bySeqid.get(1)?.errorName, 'ERR_INVALID_STATE')
  t.equal(bySeqid.get(1)?.result.length, 0)
  t.equal(bySeqid.get(3)?.errorName, 'ERR_BUSY')
  t.same(bySeqid.get(3)?.result, encodeResult(ReadResponse, value('late')))
  t.equal(bySeqid.get(4)?.errorName, 'ERR_ACL_DENY')
  t.same(bySeqid.get(5)?.result, scan)
})

void t.test(
  'an unknown RPC and a cut argument are answered, and the connection lives on',
  async (t) => {
    const { server, client } = await start(t)
    server.handle(Rpc.GET, () => value('fine'))
    const raw = client()
    const argument = encodeArgument(Rpc.GET.argument, Buffer.from('key'))
    raw.write(
      Buffer.concat([
        encodeRequest(v0, 'RPC_NOBODY_KNOWS', 1, argument),
        encodeRequest(v0, Rpc.GET.name, 2, argument.subarray(0, 6)),
        encodeRequest(v1, Rpc.GET.name, 3, Buffer.alloc(0)),
        get(v1, 4),
      ]),
    )
    await raw.until(() => raw.replies.length === 4)
    t.same(
      raw.replies.map((reply) => [reply.seqid, reply.errorName, reply.name]),
      [
        [1, 'ERR_HANDLER_NOT_FOUND', 'RPC_NOBODY_KNOWS_ACK'],
        [2, 'ERR_INVALID_DATA', 'RPC_RRDB_RRDB_GET_ACK'],
        [3, 'ERR_INVALID_DATA', 'RPC_RRDB_RRDB_GET_ACK'],
        [4, 'ERR_OK', 'RPC_RRDB_RRDB_GET_ACK'],
      ],
    )
  },
)

void t.test('a handler that throws answers ERR_UNKNOWN', async (t) => {
  const { server, client } = await start(t)
  server.handle(Rpc.GET, (key) => {
    if (key.toString() === 'sync') throw new Error('defect')
    return Promise.reject(new Error('defect'))
  })
  const raw = client()
  raw.write(Buffer.concat([get(v0, 1, 'sync'), get(v0, 2, 'async')]))
  await raw.until(() => raw.replies.length === 2)
  t.same(
    raw.replies.map((reply) => reply.errorName),
    ['ERR_UNKNOWN', 'ERR_UNKNOWN'],
  )
})

void t.test(
  'garbage behind good frames: what was complete is answered, then the end',
  async (t) => {
    const { server, client } = await start(t)
    server.handle(Rpc.GET, async (key) => value(key.toString()))
    const argument = encodeArgument(Rpc.GET.argument, Buffer.from('key'))
    const badType = encodeRequest(v0, Rpc.GET.name, 9, argument, 2)
    const cutMessage = Buffer.from(get(v0, 9))
    cutMessage.writeUInt32BE(6, 16)
    const badMeta = Buffer.from(get(v1, 9))
    badMeta.writeUInt32BE(1 << 30, 8)
    const oversize = Buffer.from(get(v0, 9))
    oversize.writeUInt32BE(0x7fffffff, 16)
    const garbage: Record<string, Buffer> = {
      text: Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      zeros: Buffer.alloc(64),
      badType,
      'message cut before the seqid': cutMessage.subarray(0, 54),
      badMeta,
      oversize,
    }
    for (const [what, bytes] of Object.entries(garbage)) {
      const raw = client()
      raw.write(Buffer.concat([get(v0, 1, 'a'), get(v1, 2, 'b'), bytes, get(v0, 3, 'c')]))
      await raw.until(() => raw.ended)
      t.same(
        raw.replies.map((reply) => reply.seqid),
        [1, 2],
        what,
      )
      raw.end()
      await raw.until(() => raw.closed)
    }
    await condition(() => server.counts().connections === 0)
  },
)

void t.test('a half close is answered completely and then returned', async (t) => {
  const { server, client } = await start(t)
  const waiting: (() => void)[] = []
  server.handle(Rpc.GET, (key) => {
    return new Promise((resolve) => {
      waiting.push(() => resolve(value(key.toString())))
    })
  })
  const raw = client()
  raw.write(Buffer.concat([get(v0, 1), get(v0, 2), get(v0, 3).subarray(0, 20)]))
  raw.end()
  await condition(() => waiting.length === 2)
  t.notOk(raw.ended)
  for (const release of waiting) release()
  await raw.until(() => raw.closed)
  t.equal(raw.replies.length, 2)
  await condition(() => server.counts().connections === 0)
})

void t.test(
  'a half close behind more requests than may be in flight answers them all',
  async (t) => {
    const { server, client } = await start(t, { maxInflightPerConnection: 2 })
    server.handle(Rpc.GET, async (key) => value(key.toString()))
    const raw = client()
    raw.write(Buffer.concat(Array.from({ length: 50 }, (_, index) => get(v0, index))))
    raw.end()
    await raw.until(() => raw.closed)
    t.equal(raw.replies.length, 50)
  },
)

void t.test('above the limit of requests in flight the socket is not read', async (t) => {
  const { server, client } = await start(t, { maxInflightPerConnection: 4 })
  const waiting: (() => void)[] = []
  let most = 0
  server.handle(Rpc.GET, () => {
    most = Math.max(most, waiting.length + 1)
    return new Promise((resolve) => {
      waiting.push(() => resolve(value('x')))
    })
  })
  const raw = client()
  for (let index = 0; index < 40; index++) raw.write(get(v0, index))
  await condition(() => waiting.length === 4)
  t.equal(server.counts().inflight, 4)
  while (raw.replies.length < 40) {
    await condition(() => waiting.length > 0 || raw.replies.length === 40)
    waiting.shift()?.()
  }
  t.equal(most, 4)
  t.equal(server.counts().inflight, 0)
})

void t.test('argument bytes in flight are limited, one big request alone is served', async (t) => {
  const { server, client } = await start(t, { maxInflightBytesPerConnection: 1000 })
  const waiting: (() => void)[] = []
  server.handle(Rpc.GET, () => {
    return new Promise((resolve) => {
      waiting.push(() => resolve(value('x')))
    })
  })
  const raw = client()
  const big = 'k'.repeat(5000)
  raw.write(Buffer.concat([get(v0, 1, big), get(v0, 2, big)]))
  await condition(() => waiting.length === 1)
  t.equal(server.counts().inflight, 1)
  waiting[0]?.()
  await condition(() => waiting.length === 2)
  waiting[1]?.()
  await raw.until(() => raw.replies.length === 2)
})

void t.test('a reader that takes nothing stops being read, others go on', async (t) => {
  const { server, client } = await start(t, { maxBufferedBytesPerConnection: 64 * 1024 })
  let served = 0
  const big = value('v'.repeat(16 * 1024))
  server.handle(Rpc.GET, (key) => {
    if (key.toString() === 'small') return value('small')
    served++
    return big
  })
  const slow = client()
  slow.pause()
  const count = 2000
  for (let index = 0; index < count; index++) slow.write(get(v0, index))
  const other = client()
  for (let index = 0; index < 20; index++) {
    other.write(get(v0, index, 'small'))
    await other.until(() => other.replies.length === index + 1)
  }
  t.ok(served < count, `${served} of ${count} served while nothing is read`)
  slow.resume()
  await slow.until(() => slow.replies.length === count)
  t.equal(served, count)
})

void t.test('a reader that stays away is reset', async (t) => {
  const { server, client } = await start(t, {
    maxBufferedBytesPerConnection: 64 * 1024,
    stalledMs: 100,
  })
  const big = value('v'.repeat(256 * 1024))
  server.handle(Rpc.GET, () => big)
  const slow = client()
  slow.pause()
  for (let index = 0; index < 100; index++) slow.write(get(v0, index))
  await condition(() => server.counts().accepted === 1 && server.counts().connections === 0)
  t.pass('reset')
})

void t.test('a frame that is never completed ends the connection', async (t) => {
  const { server, client } = await start(t, { frameMs: 50 })
  server.handle(Rpc.GET, () => value('x'))
  const raw = client()
  raw.write(get(v0, 1).subarray(0, 30))
  await raw.until(() => raw.ended || raw.closed)
  await condition(() => server.counts().connections === 0)
})

void t.test('an idle connection is closed when that is asked for', async (t) => {
  const { server, client } = await start(t, { idleMs: 50 })
  server.handle(Rpc.GET, () => value('x'))
  const raw = client()
  await raw.until(() => raw.ended)
  raw.end()
  await raw.until(() => raw.closed)
  t.pass('closed')
})

void t.test('connections over the limit are closed at once', async (t) => {
  const { server, client } = await start(t, { maxConnections: 2 })
  server.handle(Rpc.GET, () => value('x'))
  const first = client()
  const second = client()
  for (const raw of [first, second]) {
    raw.write(get(v0, 1))
    await raw.until(() => raw.replies.length === 1)
  }
  const third = client()
  await third.until(() => third.ended || third.closed)
  t.match(server.counts(), { connections: 2, accepted: 3, refused: 1 })
  first.destroy()
  await condition(() => server.counts().connections === 1)
  const fourth = client()
  fourth.write(get(v0, 4))
  await fourth.until(() => fourth.replies.length === 1)
})

void t.test('connections of one address have a limit of their own', async (t) => {
  const { server, client } = await start(t, { maxConnectionsPerHost: 1 })
  server.handle(Rpc.GET, () => value('x'))
  const first = client()
  first.write(get(v0, 1))
  await first.until(() => first.replies.length === 1)
  const second = client()
  await second.until(() => second.ended || second.closed)
  first.destroy()
  await condition(() => server.counts().connections === 0)
  const third = client()
  third.write(get(v0, 1))
  await third.until(() => third.replies.length === 1)
  t.equal(server.counts().refused, 1)
})

void t.test('drain answers what is in flight and then closes', async (t) => {
  const { server, client, port } = await start(t)
  const waiting: (() => void)[] = []
  server.handle(Rpc.GET, () => {
    return new Promise((resolve) => {
      waiting.push(() => resolve(value('x')))
    })
  })
  const busy = client()
  const idle = client()
  busy.write(get(v0, 1))
  await condition(() => waiting.length === 1 && server.counts().connections === 2)
  const drained = server.drain(deadlineIn(runtime.clock, 20_000))
  await idle.until(() => idle.ended)
  idle.end()
  t.notOk(busy.ended)
  waiting[0]?.()
  await busy.until(() => busy.ended)
  t.equal(busy.replies.length, 1)
  busy.end()
  await drained
  t.equal(server.counts().connections, 0)
  const late = new RawClient(port)
  await late.until(() => late.ended || late.closed)
  late.destroy()
})

void t.test('drain ends at its deadline though a handler never answers', async (t) => {
  const { server, client } = await start(t)
  server.handle(Rpc.GET, () => new Promise(() => undefined))
  const raw = client()
  raw.write(get(v0, 1))
  await condition(() => server.counts().inflight === 1)
  await server.drain(deadlineIn(runtime.clock, 30))
  await raw.until(() => raw.ended || raw.closed)
  t.equal(server.counts().connections, 0)
  await server.close()
})

void t.test('a name can have one handler only; a port in use is an error', async (t) => {
  const { server, port } = await start(t)
  server.handle(Rpc.GET, () => value('x'))
  t.throws(() => server.handle(Rpc.GET, () => value('y')), /already has a handler/)
  await t.rejects(server.listen({ host: '127.0.0.1', port }), { code: 'EADDRINUSE' })
})

interface Recorded {
  readonly name: string
  readonly description: string
  readonly outcome: string
  readonly request_hex?: string
}

void t.test('recorded frame abuse ends as with the original server', async (t) => {
  const text = readFileSync('test/vectors/server_responses.json', 'utf8')
  const { vectors } = JSON.parse(text) as { readonly vectors: readonly Recorded[] }
  const wanted =
    /^(bad_|crc_|get_seqid_|get_oneway|get_old_message_header|get_v1$|query_v1$|query_oneway|query_old)/
  const abuse = vectors.filter((vector) => wanted.test(vector.name))
  t.equal(abuse.length, 11)
  const { server, client } = await start(t)
  server.handle(Rpc.GET, () => value('x'))
  server.handleRaw(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name, () => Buffer.alloc(1))
  for (const vector of abuse) {
    const raw = client()
    raw.write(Buffer.from(vector.request_hex ?? '', 'hex'))
    if (vector.outcome === 'closed') {
      await raw.until(() => raw.ended)
      t.equal(raw.replies.length, 0, `${vector.name}: closed without a reply`)
    } else {
      await raw.until(() => raw.replies.length === 1)
      t.equal(raw.replies[0]?.errorName, 'ERR_OK', `${vector.name}: answered`)
    }
    raw.destroy()
  }
})

void t.test('damaged frames end or fail their own connection, never the server', async (t) => {
  const { server, client } = await start(t, { maxFrameBytes: 1 << 20 })
  server.handle(Rpc.GET, (key) => value(key.toString()))
  server.handle(Rpc.MULTI_PUT, async () => headerError('ERR_BUSY'))
  const whole = Buffer.concat([
    get(v0, 1),
    encodeRequest(
      v1,
      Rpc.MULTI_PUT.name,
      2,
      encodeArgument(Rpc.MULTI_PUT.argument, {
        hashKey: Buffer.from('h'),
        kvs: [{ key: Buffer.from('s'), value: Buffer.from('v') }],
        expireTsSeconds: 0,
      }),
    ),
    get(v1, 3),
  ])
  const damage = fc.record({
    changes: fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 }),
    cutAt: fc.nat(whole.length),
    splitAt: fc.nat(whole.length),
  })
  await fc.assert(
    fc.asyncProperty(damage, async ({ changes, cutAt, splitAt }) => {
      const bytes = Buffer.from(whole)
      for (const [at, to] of changes) bytes[at] = to
      const raw = client()
      raw.write(bytes.subarray(0, Math.min(splitAt, cutAt)))
      raw.write(bytes.subarray(Math.min(splitAt, cutAt), cutAt))
      raw.end()
      await raw.until(() => raw.closed)
      if (changes.length === 0 && cutAt === whole.length) t.equal(raw.replies.length, 3)
    }),
    { numRuns: 150 },
  )
  await condition(() => server.counts().connections === 0)
  const last = client()
  last.write(get(v0, 9))
  await last.until(() => last.replies.length === 1)
  t.equal(last.replies[0]?.errorName, 'ERR_OK')
})
