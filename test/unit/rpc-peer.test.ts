/**
 * The calling side: every call ends exactly once, by reply, deadline, abort, loss of the connection
 * or close, and says whether the request may have been carried out.
 */
import { type Server, type Socket as NetSocket, createServer } from 'node:net'
import t, { type Test } from 'tap'
import {
  RequestFramer,
  encodeArgument,
  encodeReply,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import type { RequestFrame } from '../../cluster/protocol/frame.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ReadResponse } from '../../cluster/protocol/rrdb.ts'
import { headerError } from '../../cluster/rpc/handler.ts'
import { Peer, type PeerOptions } from '../../cluster/rpc/peer.ts'
import { Peers } from '../../cluster/rpc/peers.ts'
import { RpcError } from '../../cluster/rpc/rpc-error.ts'
import { RpcServer } from '../../cluster/rpc/server.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'

const runtime = nodeRuntime({ log: silentLog })
const key = Buffer.from('\0\x03abc')
const inTime = (): { readonly deadline: { readonly atMs: number } } => ({
  deadline: deadlineIn(runtime.clock, 20_000),
})
const after = (budgetMs: number): { readonly deadline: { readonly atMs: number } } => ({
  deadline: deadlineIn(runtime.clock, budgetMs),
})
const value = (text: string): ReadResponse => ReadResponse.make({ value: Buffer.from(text) })
const result = (text: string): Buffer => encodeResult(ReadResponse, value(text))

async function condition(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setTimeout(resolve, 2))
}

/** The error of a call that must fail. */
async function failure(call: Promise<unknown>): Promise<RpcError> {
  try {
    await call
  } catch (error) {
    if (error instanceof RpcError) return error
    throw error
  }
  throw new Error('the call did not fail')
}

/** A server whose every byte the test decides. */
class ScriptedServer {
  readonly #server: Server
  readonly sockets: NetSocket[] = []
  readonly requests: RequestFrame[] = []
  connections = 0
  port = 0
  onRequest: (request: RequestFrame, socket: NetSocket) => void = () => undefined

  constructor() {
    this.#server = createServer((socket) => {
      this.connections++
      this.sockets.push(socket)
      const framer = new RequestFramer({ maxBodyBytes: 1 << 26, maxMetaBytes: 4096 })
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => {
        framer.push(chunk)
        for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
          this.requests.push(frame)
          this.onRequest(frame, socket)
        }
      })
    })
  }

  async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    const at = this.#server.address()
    if (at !== null && typeof at !== 'string') this.port = at.port
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }
}

async function scripted(
  t: Test,
  options: Partial<PeerOptions> = {},
): Promise<{ server: ScriptedServer; peer: Peer }> {
  const server = new ScriptedServer()
  await server.listen()
  const peer = new Peer(runtime, { address: `127.0.0.1:${server.port}`, ...options })
  t.teardown(async () => {
    peer.close()
    await server.close()
  })
  return { server, peer }
}

void t.test('calls are pipelined and matched by sequence id', async (t) => {
  const { server, peer } = await scripted(t)
  const calls = ['a', 'b', 'c'].map((text) => peer.call(Rpc.GET, Buffer.from(text), inTime()))
  await condition(() => server.requests.length === 3)
  t.equal(server.connections, 1)
  t.equal(peer.inflight, 3)
  for (const request of server.requests.toReversed())
    server.sockets[0]?.write(
      encodeReply(request.name, request.seqid, 'ERR_OK', result(`for ${request.seqid}`)),
    )
  const values = (await Promise.all(calls)).map((response) => response.value.toString())
  t.same(
    values,
    server.requests.map((request) => `for ${request.seqid}`),
  )
  t.equal(peer.inflight, 0)
  t.equal(peer.state, 'open')
})

void t.test('a request carries header v1 with the routing and the time left', async (t) => {
  const { server, peer } = await scripted(t)
  server.onRequest = (request, socket) => {
    socket.write(encodeReply(request.name, request.seqid, 'ERR_OK', result('')))
  }
  const partitionHash = 0xfedcba9876543210n
  const route = { appId: 2, partitionIndex: 5, partitionHash, isBackupRequest: true }
  await peer.call(Rpc.GET, key, { ...after(5000), ...route })
  const header = server.requests[0]?.header
  t.match(header, { version: 1, ...route })
  t.ok((header?.clientTimeoutMs ?? 0) > 0 && (header?.clientTimeoutMs ?? 0) <= 5000)
  t.same(server.requests[0]?.argument, encodeArgument(Rpc.GET.argument, key))
})

void t.test('a header error rejects a typed call and settles a raw one', async (t) => {
  const { server, peer } = await scripted(t)
  server.onRequest = (request, socket) => {
    socket.write(encodeReply(request.name, request.seqid, 'ERR_BUSY', result('body')))
  }
  const error = await failure(peer.call(Rpc.GET, key, inTime()))
  t.match(error, { code: 'ERR_BUSY', effect: 'none', local: false })
  const raw = await peer.callRaw(Rpc.GET.name, encodeArgument(Rpc.GET.argument, key), inTime())
  t.equal(raw.errorName, 'ERR_BUSY')
  t.same(raw.result, result('body'))
})

void t.test('a reply that cannot be read fails one call, not the connection', async (t) => {
  const { server, peer } = await scripted(t)
  server.onRequest = (request, socket) => {
    const bytes = server.requests.length === 1 ? Buffer.from([12, 0, 0, 8]) : result('fine')
    socket.write(encodeReply(request.name, request.seqid, 'ERR_OK', bytes))
  }
  const error = await failure(peer.call(Rpc.GET, key, inTime()))
  t.match(error, { code: 'ERR_INVALID_DATA', effect: 'unknown', local: true })
  t.equal((await peer.call(Rpc.GET, key, inTime())).value.toString(), 'fine')
  t.equal(server.connections, 1)
})

void t.test('a deadline ends the call, and its late reply is dropped', async (t) => {
  const { server, peer } = await scripted(t)
  server.onRequest = (request, socket) => {
    if (request.name !== Rpc.GET.name) return
    socket.write(encodeReply(request.name, request.seqid, 'ERR_OK', result('next')))
  }
  await peer.call(Rpc.GET, key, inTime())
  const error = await failure(peer.call(Rpc.PUT, Rpc.PUT.argument.empty(), after(20)))
  t.match(error, { code: 'ERR_TIMEOUT', effect: 'unknown', local: true })
  t.equal(peer.inflight, 0)
  await condition(() => server.requests.length === 2)
  const late = server.requests[1]
  if (late !== undefined)
    server.sockets[0]?.write(encodeReply(late.name, late.seqid, 'ERR_OK', result('late')))
  t.equal((await peer.call(Rpc.GET, key, inTime())).value.toString(), 'next')
  const over = await failure(peer.call(Rpc.GET, key, after(-1)))
  t.match(over, { code: 'ERR_TIMEOUT', effect: 'none' })
})

void t.test('deadlines of many lengths all end their calls', async (t) => {
  const { peer } = await scripted(t)
  const budgets = [40, 5, 25, 60, 10, 30, 12]
  const order: number[] = []
  await Promise.all(
    budgets.map(async (budgetMs) => {
      await failure(peer.call(Rpc.GET, key, after(budgetMs)))
      order.push(budgetMs)
    }),
  )
  t.same(
    order,
    budgets.toSorted((a, b) => a - b),
  )
  t.equal(peer.inflight, 0)
})

void t.test('an abort ends the call, before and behind its sending', async (t) => {
  const { server, peer } = await scripted(t)
  const early = new AbortController()
  const queued = peer.call(Rpc.GET, key, { ...inTime(), signal: early.signal })
  early.abort()
  t.match(await failure(queued), { code: 'ERR_ABORTED', effect: 'none' })
  const late = new AbortController()
  const sent = peer.call(Rpc.GET, key, { ...inTime(), signal: late.signal })
  await condition(() => server.requests.length === 1)
  late.abort()
  t.match(await failure(sent), { code: 'ERR_ABORTED', effect: 'unknown' })
  const sameTurn = new AbortController()
  const gathered = peer.call(Rpc.GET, Buffer.from('x'), { ...inTime(), signal: sameTurn.signal })
  sameTurn.abort()
  t.match(await failure(gathered), { code: 'ERR_ABORTED', effect: 'unknown' }, 'goes out anyway')
  await condition(() => server.requests.length === 2)
  const never = peer.call(Rpc.GET, key, { ...inTime(), signal: late.signal })
  t.match(await failure(never), { code: 'ERR_ABORTED', effect: 'none' })
  t.equal(peer.inflight, 0)
})

void t.test('the end of the connection ends all its calls with unknown effect', async (t) => {
  const { server, peer } = await scripted(t)
  const calls = [1, 2, 3].map(() => failure(peer.call(Rpc.GET, key, inTime())))
  await condition(() => server.requests.length === 3)
  server.sockets[0]?.destroy()
  for (const error of await Promise.all(calls))
    t.match(error, { code: 'ERR_SESSION_RESET', effect: 'unknown' })
  server.onRequest = (request, socket) => {
    socket.write(encodeReply(request.name, request.seqid, 'ERR_OK', result('again')))
  }
  await condition(() => peer.state === 'idle')
  const again = await peer.call(Rpc.GET, key, inTime())
  t.equal(again.value.toString(), 'again', 'and the next call connects again')
  t.equal(server.connections, 2)
})

void t.test('a half close by the server ends the calls', async (t) => {
  const { server, peer } = await scripted(t)
  server.onRequest = (_, socket) => socket.end()
  t.match(await failure(peer.call(Rpc.GET, key, inTime())), {
    code: 'ERR_SESSION_RESET',
    effect: 'unknown',
  })
})

void t.test('garbage and oversized replies end the connection', async (t) => {
  for (const bytes of [Buffer.from('HTTP/1.1 400 Bad Request'), Buffer.alloc(32)]) {
    const { server, peer } = await scripted(t, { maxFrameBytes: 1 << 20 })
    server.onRequest = (_, socket) => {
      socket.write(bytes)
    }
    const error = await failure(peer.call(Rpc.GET, key, inTime()))
    t.match(error, { code: 'ERR_SESSION_RESET', effect: 'unknown' })
    t.match(error.message, /protocol violation/)
  }
})

void t.test(
  'a server that is not there fails calls at once, with back-off, until it is',
  async (t) => {
    const server = new ScriptedServer()
    await server.listen()
    const { port } = server
    await server.close()
    const peer = new Peer(runtime, { address: `127.0.0.1:${port}`, backoffMinMs: 30 })
    t.teardown(() => peer.close())
    const [first, second] = await Promise.all([
      failure(peer.call(Rpc.PUT, Rpc.PUT.argument.empty(), inTime())),
      failure(peer.call(Rpc.PUT, Rpc.PUT.argument.empty(), inTime())),
    ])
    t.match(first, { code: 'ERR_NETWORK_FAILURE', effect: 'none' })
    t.match(second, { code: 'ERR_NETWORK_FAILURE', effect: 'none' })
    const paused = await failure(peer.call(Rpc.GET, key, inTime()))
    t.match(paused.message, /a moment ago/)
    const revived = new ScriptedServer()
    revived.onRequest = (request, socket) => {
      socket.write(encodeReply(request.name, request.seqid, 'ERR_OK', result('back')))
    }
    await revived.listen(port)
    t.teardown(() => revived.close())
    let text = ''
    while (text === '') {
      try {
        text = (await peer.call(Rpc.GET, key, inTime())).value.toString()
      } catch (error) {
        t.match(error, { code: 'ERR_NETWORK_FAILURE' })
        await new Promise<void>((resolve) => setTimeout(resolve, 5))
      }
    }
    t.equal(text, 'back')
  },
)

void t.test('limits of calls and bytes refuse with ERR_BUSY', async (t) => {
  const { peer } = await scripted(t, { maxInflight: 2 })
  const waiting = [1, 2].map(() => failure(peer.call(Rpc.GET, key, inTime())))
  t.match(await failure(peer.call(Rpc.GET, key, inTime())), { code: 'ERR_BUSY', effect: 'none' })
  peer.close()
  t.equal((await Promise.all(waiting)).length, 2)
  const { server, peer: full } = await scripted(t, { maxBufferedBytes: 1000 })
  const first = failure(full.call(Rpc.GET, key, inTime()))
  await condition(() => server.requests.length === 1)
  const big = failure(full.call(Rpc.GET, Buffer.alloc(2000), inTime()))
  const refused = await failure(full.call(Rpc.GET, key, inTime()))
  t.match(refused, { code: 'ERR_BUSY', effect: 'none' })
  full.close()
  await Promise.all([first, big])
})

void t.test('close ends every call, also those never sent, and refuses new ones', async (t) => {
  const { server, peer } = await scripted(t)
  const sent = failure(peer.call(Rpc.GET, key, inTime()))
  await condition(() => server.requests.length === 1)
  const unsent = failure(peer.call(Rpc.GET, key, inTime()))
  t.equal(server.requests.length, 1)
  peer.close()
  peer.close()
  t.match(await sent, { code: 'ERR_SESSION_RESET', effect: 'unknown' })
  t.match(await unsent, { code: 'ERR_SESSION_RESET', effect: 'none' })
  t.match(await failure(peer.call(Rpc.GET, key, inTime())), {
    code: 'ERR_SESSION_RESET',
    effect: 'none',
  })
  t.equal(peer.state, 'closed')
})

void t.test('a server that answers nothing at all is given up before the deadline', async (t) => {
  const { server, peer } = await scripted(t, { silentMs: 60 })
  const error = await failure(peer.call(Rpc.GET, key, inTime()))
  t.match(error, { code: 'ERR_SESSION_RESET', effect: 'unknown', message: /nothing heard for/ })
  t.same(
    server.requests.map(({ name }) => name),
    [Rpc.GET.name, 'RPC_PEER_PROBE'],
  )
})

void t.test('send connects, wants no reply, and drops one that comes', async (t) => {
  const { server, peer } = await scripted(t)
  server.onRequest = (request, socket) => {
    socket.write(encodeReply(request.name, request.seqid, 'ERR_OK', result('unasked')))
  }
  peer.send(Rpc.CLEAR_SCANNER, -7n, { ...inTime(), appId: 2 })
  await condition(() => server.requests.length === 1)
  t.equal(peer.inflight, 0)
  t.equal((await peer.call(Rpc.GET, key, inTime())).value.toString(), 'unasked')
})

void t.test('an address must be host:port', (t) => {
  for (const address of ['', 'x', ':1', 'h:', 'h:0', 'h:65536', 'h:1x'])
    t.throws(() => new Peer(runtime, { address }), RangeError, JSON.stringify(address))
  t.end()
})

void t.test('peers are shared by address and closed when idle', async (t) => {
  const server = new RpcServer(runtime, { name: 'test' })
  server.handle(Rpc.GET, (raw) => (raw.length === 0 ? headerError('ERR_ACL_DENY') : value('x')))
  const listener = await server.listen({ host: '127.0.0.1', port: 0 })
  const peers = new Peers(runtime, { idleMs: 40 })
  t.teardown(async () => {
    peers.close()
    await server.close()
  })
  const address = `127.0.0.1:${listener.port}`
  const peer = peers.get(address)
  t.equal(peers.get(address), peer)
  t.equal((await peer.call(Rpc.GET, key, inTime())).value.toString(), 'x')
  await condition(() => peers.size === 0)
  t.equal(peer.state, 'closed')
  await condition(() => server.counts().connections === 0)
  t.equal((await peers.get(address).call(Rpc.GET, key, inTime())).value.toString(), 'x')
  peers.close()
  t.match(await failure(peers.get(address).call(Rpc.GET, key, inTime())), {
    code: 'ERR_SESSION_RESET',
  })
})
