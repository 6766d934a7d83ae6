/**
 * The handshake in front of a TLS listener's sockets: raw connections go in, sockets that have shown
 * what was asked of them come out. Bounded in time and number, because a connection that never says
 * a word costs memory too. Knows nothing of what is sent.
 */
import type { Socket as NetSocket } from 'node:net'
import { type SecureContextOptions, type Server, type TLSSocket, createServer } from 'node:tls'
import { type Preamble, RuntimeError, type TlsListening, type TlsMaterial } from './runtime.ts'

const handshakeMs = 10_000
const handshakesMax = 1024

export class SecureEntrance {
  readonly #listening: TlsListening
  readonly #server: Server
  /** `ip:port` of the connections whose handshake is not over. */
  readonly #shaking = new Set<string>()

  /** Throws RuntimeError when the material is unusable. */
  constructor(listening: TlsListening, onSocket: (socket: TLSSocket) => void) {
    this.#listening = listening
    this.#server = usable(() =>
      createServer({
        ...contextOf(listening.material),
        ...(listening.material.clientAuthorities === undefined
          ? {}
          : { requestCert: true, rejectUnauthorized: true }),
        handshakeTimeout: handshakeMs,
      }),
    )
    this.#server.on('secureConnection', (socket) => {
      this.#shaking.delete(peerOf(socket))
      onSocket(socket)
    })
    this.#server.on('tlsClientError', (error, socket) => {
      listening.onFailed(peerOf(socket), error.message)
      // Node leaves one that took too long open.
      socket.on('error', () => undefined).destroy()
    })
  }

  /** Whether clients must show a certificate stays as it was at the beginning. */
  set(material: TlsMaterial): void {
    usable(() => this.#server.setSecureContext(contextOf(material)))
  }

  enter(socket: NetSocket): void {
    socket.on('error', () => undefined)
    const peer = peerOf(socket)
    if (!this.#listening.admits(peer)) {
      socket.destroy()
      return
    }
    if (this.#shaking.size >= handshakesMax) {
      socket.destroy()
      this.#listening.onFailed(peer, `${handshakesMax} handshakes are running`)
      return
    }
    this.#shaking.add(peer)
    const preamble = this.#listening.preamble?.(peer)
    socket.once('close', () => {
      this.#shaking.delete(peer)
      preamble?.onClosed()
    })
    if (preamble === undefined) this.#server.emit('connection', socket)
    else this.#read(preamble, socket)
  }

  /** As long as a handshake may take; the handshake has its own time behind it. */
  #read(preamble: Preamble, socket: NetSocket): void {
    const timer = setTimeout(() => {
      preamble.onSlow()
      socket.destroy()
    }, handshakeMs)
    const onData = (chunk: Buffer): void => {
      const rest = preamble.push(chunk)
      if (rest === 'incomplete') return
      clearTimeout(timer)
      socket.off('data', onData).pause()
      if (rest === 'refused') {
        socket.destroy()
        return
      }
      // Given back to the socket, from which the handshake takes it first.
      if (rest.length > 0) socket.unshift(rest)
      this.#server.emit('connection', socket)
    }
    socket.on('data', onData)
    // Nobody reads on behind it.
    socket.once('end', () => {
      if (socket.listenerCount('data') > 0) socket.destroy()
    })
    socket.once('close', () => clearTimeout(timer))
  }
}

function contextOf({ certificate, key, clientAuthorities }: TlsMaterial): SecureContextOptions {
  return {
    cert: certificate,
    key,
    minVersion: 'TLSv1.2',
    ...(clientAuthorities === undefined ? {} : { ca: clientAuthorities }),
  }
}

/** With what Node says of a certificate or key that is no use, as a `RuntimeError`. */
export function usable<T>(make: () => T): T {
  try {
    return make()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new RuntimeError('EOTHER', `TLS certificate or key: ${reason}`, { cause })
  }
}

function peerOf(socket: NetSocket): string {
  return `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`
}
