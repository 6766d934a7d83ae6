/**
 * The network contract on Node's TCP: listening, connecting and looking up names, for half-open
 * connections without Nagle's delay. What becomes of a connection is `node-socket.ts`'s matter.
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
import { readDirectly } from './direct-io.ts'
import { LentMemory } from './lent-memory.ts'
import { NodeSocket, type TcpHandle, addressOf } from './node-socket.ts'
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
