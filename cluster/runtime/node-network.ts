/**
 * The network contract on Node's TCP sockets: half-open connections, no Nagle delay, and writes of
 * one turn gathered into one system call. Knows nothing of what is sent.
 */
import { lookup } from 'node:dns/promises'
import {
  type OnReadOpts,
  type Server,
  Socket as NetSocket,
  type SocketConstructorOpts,
  createServer,
  connect as netConnect,
} from 'node:net'
import { DirectWriter, readDirectly } from './direct-io.ts'
import { LentMemory, type Sending } from './lent-memory.ts'
import { SecureEntrance } from './node-tls.ts'
import { RuntimeError } from './runtime.ts'
import type {
  BareConnection,
  Listener,
  Network,
  Socket,
  SocketHandlers,
  Timer,
  Timers,
} from './runtime.ts'
import { systemError } from './system-error.ts'

const keepAliveMs = 30_000
/** Clients keep connections open for days; a lost one is found within some minutes. */
const acceptedKeepAliveMs = 60_000
const backlog = 1024
/** Beyond this a writer is asked to wait. */
const highWaterBytes = 64 * 1024
const smallChunkBytes = 8 * 1024
const scratchBytes = 64 * 1024
/** What accepted sockets of a lending listener are read into, one after the other. */
const sharedBytes = 64 * 1024

export function nodeNetwork(timers: Timers): Network {
  return {
    connect: (to, handlers) => connectSocket(timers, to, handlers),
    listen,
    resolve: async (host) => {
      try {
        const found = await lookup(host, { family: 4, all: true })
        return found.map((entry) => entry.address)
      } catch (cause) {
        throw systemError(`resolve ${host}`, cause)
      }
    },
  }
}

function connectSocket(
  timers: Timers,
  to: {
    readonly host: string
    readonly port: number
    readonly timeoutMs: number
    readonly lends?: boolean
  },
  handlers: SocketHandlers,
): Socket {
  const attempt = `connect to ${to.host}:${to.port}`
  const lent = to.lends === true ? new LentMemory() : undefined
  const socket = netConnect({
    ...(lent === undefined ? {} : { onread: lent.reading(handlers) }),
    host: to.host,
    port: to.port,
    family: 4,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  })
  const timer: Timer = timers.after(to.timeoutMs, () =>
    socket.destroy(new RuntimeError('ETIMEDOUT', `${attempt}: no answer in ${to.timeoutMs} ms`)),
  )
  socket.once('connect', () => timer.cancel())
  socket.once('close', () => timer.cancel())
  return adopt(socket, attempt, () => handlers, lent)
}

async function listen(at: ListenAt, onSocket: OnSocket): Promise<Listener> {
  const { enter, setTls } = entrance(at, onSocket)
  return { ...(await listenBare(at, enter)), ...(setTls === undefined ? {} : { setTls }) }
}

type ListenAt = Parameters<Network['listen']>[0]
type OnSocket = (socket: Socket) => SocketHandlers

interface TcpHandle extends BareConnection {
  onconnection?: (error: number, handle: TcpHandle | undefined) => void
  readonly setNoDelay: (on: boolean) => number
  readonly readStop?: () => number
  /** Kept by the sockets of Node: whether it is being read. */
  reading?: boolean
  readonly setKeepAlive: (on: boolean, delaySeconds: number) => number
}

/**
 * Accepts connections and hands them on as they are, to an `entrance` of this process or of another.
 * The accepted handle is Node's own; a Node without it gives the handle of the socket that it made.
 * Rejects with a RuntimeError such as EADDRINUSE.
 */
export async function listenBare(
  at: { readonly host: string; readonly port: number },
  onConnection: (connection: BareConnection) => void,
): Promise<Listener> {
  const attempt = `listen on ${at.host}:${at.port}`
  const accept = (handle: TcpHandle): void => {
    handle.setNoDelay(true)
    handle.setKeepAlive(true, acceptedKeepAliveMs / 1000)
    onConnection(handle)
  }
  const server = createServer({ pauseOnConnect: true }, (socket) =>
    accept(Reflect.get(socket, '_handle') as TcpHandle),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(systemError(attempt, cause)))
    server.listen({ host: at.host, port: at.port, backlog }, resolve)
  })
  const listening = Reflect.get(server, '_handle') as TcpHandle | null | undefined
  if (typeof listening?.onconnection === 'function')
    listening.onconnection = (error, handle) => {
      // Too many open files, or the peer has left again: it sees a reset.
      if (error === 0 && handle !== undefined) accept(handle)
    }
  // Failures to accept (too many open files) leave the listener open: the peer sees a reset.
  server.on('error', () => undefined)
  const bound = server.address()
  if (bound === null || typeof bound === 'string')
    throw new RuntimeError('EOTHER', `${attempt}: not a TCP address`)
  return { host: at.host, port: bound.port, close: () => closeListener(server) }
}

export interface Entrance {
  readonly enter: (connection: BareConnection) => void
  readonly setTls?: NonNullable<Listener['setTls']>
}

/** What an accepted connection goes through before it is a socket of the contract. */
export function entrance(at: Pick<ListenAt, 'lends' | 'tls'>, onSocket: OnSocket): Entrance {
  if (at.tls === undefined)
    return { enter: at.lends === true ? enterLending(onSocket) : (bare) => admit(netSocket(bare)) }
  const secure = new SecureEntrance(at.tls, admit)
  return { enter: (bare) => secure.enter(netSocket(bare)), setTls: (tls) => secure.set(tls) }

  function admit(socket: NetSocket): void {
    const peer = addressOf(socket.remoteAddress, socket.remotePort)
    adopt(socket, `connection from ${peer}`, onSocket, undefined)
  }
}

function netSocket(handle: BareConnection, onread?: OnReadOpts): NetSocket {
  const options: SocketConstructorOpts & { handle: BareConnection } = {
    handle,
    allowHalfOpen: true,
    readable: true,
    writable: true,
    ...(onread === undefined ? {} : { onread }),
  }
  return new NetSocket(options)
}

/**
 * Accepted sockets read into one shared buffer. Node has the option (`onread`) for sockets that
 * connect and not for those it accepts: for each read of those it takes 64 KB of memory, cuts it to
 * size and wraps it, 3 of the 15 us that a small request and its answer cost in all. So the accepted
 * handle is wrapped here, with the constructor that Node itself uses.
 */
function enterLending(onSocket: OnSocket): (connection: BareConnection) => void {
  const shared = Buffer.allocUnsafeSlow(sharedBytes)
  // Requests tend to be of one length: a view of its own for each would cost more than reading it.
  let chunk = shared
  return (connection) => {
    let handlers: SocketHandlers | undefined
    const callback = (readBytes: number): boolean => {
      if (chunk.length !== readBytes) chunk = shared.subarray(0, readBytes)
      handlers?.onData(chunk)
      return true
    }
    const socket = netSocket(connection, { buffer: shared, callback })
    readDirectly(socket, callback)
    const peer = addressOf(socket.remoteAddress, socket.remotePort)
    adopt(socket, `connection from ${peer}`, (adopted) => (handlers = onSocket(adopted)), 'shared')
  }
}

/** Does not wait for the sockets that were accepted: they live on. */
async function closeListener(server: Server): Promise<void> {
  server.close()
  await new Promise<void>((resolve) => setImmediate(resolve))
}

function addressOf(ip: string | undefined, port: number | undefined): string {
  return ip === undefined || port === undefined ? '' : `${ip}:${port}`
}

function adopt(
  socket: NetSocket,
  attempt: string,
  handlersFor: (socket: Socket) => SocketHandlers,
  reads: LentMemory | 'shared' | undefined,
): Socket {
  const adopted = new NodeSocket(socket, attempt, reads)
  adopted.attach(handlersFor(adopted))
  return adopted
}

/** Sockets with something written since the last tick; all of them are seen to in one go. */
let written: NodeSocket[] = []
/** Where small chunks are put together; used again when the system took them at once. */
let scratch: Buffer = Buffer.allocUnsafeSlow(scratchBytes)
/** Given back while something written was still to be sent. */
let givenBack: LentMemory[] = []

function sendWritten(): void {
  const sockets = written
  written = []
  for (const socket of sockets) socket.send()
  if (givenBack.length === 0) return
  const sending = sockets.filter((socket) => socket.bufferedBytes() > 0)
  for (const lent of givenBack) lent.giveBack(sending)
  givenBack = []
}

const nothing = Buffer.alloc(0)

class NodeSocket implements Socket, Sending {
  readonly #socket: NetSocket
  readonly #attempt: string
  /** How chunks come: by the `onread` option into lent memory or a shared buffer, or as events. */
  readonly #reads: LentMemory | 'shared' | undefined
  #handlers: SocketHandlers | undefined
  /** Once it is connected, where that can be. */
  #direct: DirectWriter | undefined
  /** Written in this tick: the first chunk, which mostly is the only one, and the others. */
  #first: Buffer | undefined
  #others: Buffer[] = []
  #gatheredBytes = 0
  #isWriting = true
  #wantsDrain = false
  #cause: RuntimeError | undefined
  #remoteAddress: string
  #localAddress: string

  constructor(socket: NetSocket, attempt: string, reads: LentMemory | 'shared' | undefined) {
    this.#socket = socket
    this.#reads = reads
    this.#attempt = attempt
    this.#remoteAddress = addressOf(socket.remoteAddress, socket.remotePort)
    this.#localAddress = addressOf(socket.localAddress, socket.localPort)
  }

  get remoteAddress(): string {
    return this.#remoteAddress
  }

  get localAddress(): string {
    return this.#localAddress
  }

  attach(handlers: SocketHandlers): void {
    const socket = this.#socket
    this.#handlers = handlers
    if (!socket.connecting) this.#writeDirectly()
    socket.on('connect', () => {
      this.#writeDirectly()
      this.#remoteAddress = addressOf(socket.remoteAddress, socket.remotePort)
      this.#localAddress = addressOf(socket.localAddress, socket.localPort)
      handlers.onConnect?.()
    })
    if (this.#reads === undefined) socket.on('data', (chunk: Buffer) => handlers.onData(chunk))
    // As an event listener does, unless the handlers have paused it already.
    else if (!socket.isPaused()) socket.resume()
    socket.on('end', () => {
      if (!socket.destroyed) handlers.onEnd()
    })
    socket.on('drain', () => this.#drained())
    socket.on('error', (error) => {
      this.#cause ??= systemError(this.#attempt, error)
    })
    socket.on('close', () => {
      this.#isWriting = false
      handlers.onClose(this.#cause)
    })
  }

  /** Lent memory is for those who want it fast; only they are without TLS for sure. */
  #writeDirectly(): void {
    if (this.#reads !== undefined)
      this.#direct = DirectWriter.of(this.#socket, () => this.#drained())
  }

  write(bytes: Buffer): boolean {
    if (!this.#isWriting || this.#socket.destroyed) return true
    if (this.#first === undefined) {
      this.#first = bytes
      if (written.push(this) === 1) process.nextTick(sendWritten)
    } else this.#others.push(bytes)
    this.#gatheredBytes += bytes.length
    if (this.bufferedBytes() < highWaterBytes) return true
    this.#wantsDrain = true
    return false
  }

  /** Hands what was gathered to the system, in one call. */
  send(): void {
    const first = this.#first
    if (first === undefined) return
    const others = this.#others
    const bytes = this.#gatheredBytes
    this.#first = undefined
    this.#gatheredBytes = 0
    if (this.#socket.destroyed) return
    if (others.length === 0) this.#hand(first)
    else {
      this.#others = []
      this.#sendMany([first, ...others], bytes)
    }
    if (this.#wantsDrain) this.#drained()
  }

  #hand(bytes: Buffer): void {
    const direct = this.#direct
    if (direct === undefined) this.#socket.write(bytes)
    else if (this.#socket.writableLength === 0) direct.write(bytes)
    // Nothing overtakes what the socket holds since before it was connected.
    else this.#socket.write(bytes, () => this.#drained())
  }

  /** Handed to the socket, and not to the network yet. */
  #unsentBytes(): number {
    return this.#socket.writableLength + (this.#direct?.unsentBytes ?? 0)
  }

  /** Small chunks cost less copied than handed over one by one. */
  #sendMany(chunks: readonly Buffer[], bytes: number): void {
    if (bytes <= Math.min(scratchBytes, chunks.length * smallChunkBytes)) {
      let at = 0
      for (const chunk of chunks) {
        scratch.set(chunk, at)
        at += chunk.length
      }
      this.#hand(scratch.subarray(0, bytes))
      // Not taken at once: it belongs to the socket now.
      if (this.#unsentBytes() > 0) scratch = Buffer.allocUnsafeSlow(scratchBytes)
      return
    }
    const last = chunks.at(-1)
    this.#socket.cork()
    for (const chunk of chunks)
      this.#socket.write(chunk, chunk === last ? () => this.#drained() : undefined)
    this.#socket.uncork()
  }

  #drained(): void {
    if (!this.#wantsDrain || this.bufferedBytes() > 0 || this.#socket.destroyed) return
    this.#wantsDrain = false
    this.#handlers?.onDrain()
  }

  bufferedBytes(): number {
    return this.#gatheredBytes + this.#unsentBytes()
  }

  writeNow(bytes: Buffer): boolean {
    const socket = this.#socket
    if (!this.#isWriting || socket.destroyed) return true
    this.send()
    this.#hand(bytes)
    const leftBytes = this.#unsentBytes()
    if (leftBytes >= highWaterBytes) this.#wantsDrain = true
    return leftBytes === 0
  }

  giveBack(): void {
    const lent = this.#reads
    if (lent === undefined || lent === 'shared') return
    if (written.length === 0) lent.giveBack([])
    else givenBack.push(lent)
  }

  gather(bytes: number, at: number): Buffer {
    const lent = this.#reads
    if (lent === undefined || lent === 'shared') return Buffer.allocUnsafe(bytes)
    return lent.gather(bytes, at)
  }

  unread(bytes: Buffer): boolean {
    const lent = this.#reads
    return lent !== undefined && lent !== 'shared' && lent.unread(bytes)
  }

  /** Node calls back for a chunk when those before it are sent: one without bytes tells the end. */
  whenSent(callback: () => void): void {
    if (this.#socket.writable) this.#socket.write(nothing, callback)
    else this.#socket.once('close', callback)
  }

  /** Only where chunks are read by `onread`: there nothing that was read waits in the socket. */
  detach(): BareConnection | undefined {
    const socket = this.#socket
    const handle = Reflect.get(socket, '_handle') as TcpHandle | null | undefined
    const mayLeave =
      this.#reads === 'shared' && this.#isWriting && !socket.destroyed && !socket.readableEnded
    if (!mayLeave || this.bufferedBytes() > 0 || typeof handle?.readStop !== 'function')
      return undefined
    handle.readStop()
    handle.reading = false
    Reflect.set(socket, '_handle', null)
    this.destroy()
    return handle
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#isWriting = false
    this.#wantsDrain = false
    this.send()
    this.#socket.end()
  }

  destroy(): void {
    this.#isWriting = false
    this.#first = undefined
    this.#others = []
    this.#gatheredBytes = 0
    this.#socket.destroy()
  }
}
