/**
 * The network contract on Node's TCP sockets: half-open connections, no Nagle delay, and writes of
 * one turn gathered into one system call. Knows nothing of what is sent.
 */
import { lookup } from 'node:dns/promises'
import {
  createServer,
  connect as netConnect,
  type Server,
  type Socket as NetSocket,
} from 'node:net'
import { RuntimeError } from './runtime.ts'
import type { Listener, Network, Socket, SocketHandlers, Timer, Timers } from './runtime.ts'
import { systemError } from './system-error.ts'

const keepAliveMs = 30_000
const backlog = 1024

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
  to: { readonly host: string; readonly port: number; readonly timeoutMs: number },
  handlers: SocketHandlers,
): Socket {
  const attempt = `connect to ${to.host}:${to.port}`
  const socket = netConnect({
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
  return adopt(socket, attempt, () => handlers)
}

async function listen(
  at: { readonly host: string; readonly port: number },
  onSocket: (socket: Socket) => SocketHandlers,
): Promise<Listener> {
  const attempt = `listen on ${at.host}:${at.port}`
  const server = createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs },
    (socket) => {
      const peer = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`
      adopt(socket, `connection from ${peer}`, onSocket)
    },
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(systemError(attempt, cause)))
    server.listen({ host: at.host, port: at.port, backlog }, resolve)
  })
  // Failures to accept (too many open files) leave the listener open: the peer sees a reset.
  server.on('error', () => undefined)
  const bound = server.address()
  if (bound === null || typeof bound === 'string')
    throw new RuntimeError('EOTHER', `${attempt}: not a TCP address`)
  return { host: at.host, port: bound.port, close: () => closeListener(server) }
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
): Socket {
  let cause: RuntimeError | undefined
  let gathering = false
  const sendGathered = (): void => {
    gathering = false
    socket.uncork()
  }
  let remoteAddress = addressOf(socket.remoteAddress, socket.remotePort)
  let localAddress = addressOf(socket.localAddress, socket.localPort)
  const adopted: Socket = {
    get remoteAddress() {
      return remoteAddress
    },
    get localAddress() {
      return localAddress
    },
    write: (bytes) => {
      if (socket.destroyed || socket.writableEnded) return true
      if (!gathering) {
        gathering = true
        socket.cork()
        process.nextTick(sendGathered)
      }
      return socket.write(bytes)
    },
    bufferedBytes: () => socket.writableLength,
    pause: () => {
      socket.pause()
    },
    resume: () => {
      socket.resume()
    },
    end: () => {
      socket.end()
    },
    destroy: () => {
      socket.destroy()
    },
  }
  const handlers = handlersFor(adopted)
  socket.on('connect', () => {
    remoteAddress = addressOf(socket.remoteAddress, socket.remotePort)
    localAddress = addressOf(socket.localAddress, socket.localPort)
    handlers.onConnect?.()
  })
  socket.on('data', (chunk: Buffer) => handlers.onData(chunk))
  socket.on('end', () => {
    if (!socket.destroyed) handlers.onEnd()
  })
  socket.on('drain', () => handlers.onDrain())
  socket.on('error', (error) => {
    cause ??= systemError(attempt, error)
  })
  socket.on('close', () => handlers.onClose(cause))
  return adopted
}
