/**
 * Who gets in: limits on connections in all and per address (gateway.md W-17), source ranges,
 * and the PROXY header of balancers, which says whose a connection really is (W-18). A connection
 * that is not let in is closed at once, and counted by the reason. What a client says once it is in
 * is not looked at here.
 */
import type { Preamble, Runtime, Socket, SocketHandlers } from '../../cluster/runtime/runtime.ts'
import { ProxyHeader, type ProxyHeaderState } from './proxy-header.ts'
import { SourceRanges, sourceOf } from './source-ranges.ts'

export interface AdmissionOptions {
  readonly maxConnections: number
  readonly maxConnectionsPerSource: number
  /** Ranges that clients may come from; empty: from everywhere. */
  readonly allowFrom: readonly string[]
  /** Balancers: their connections begin with a PROXY header. Nobody else's may. */
  readonly proxyFrom: readonly string[]
  /** The same for the listener with TLS: the header stands in front of the handshake. */
  readonly secureProxyFrom: readonly string[]
  /** A balancer's header must be complete within this time. */
  readonly proxyHeaderMs: number
  /** While it is so, nobody is let in (L-7). */
  readonly isOverloaded: () => boolean
}

export const refusals = [
  'overload',
  'limit',
  'source-limit',
  'source-range',
  'no-proxy-header',
  'bad-proxy-header',
  'slow-proxy-header',
  'tls-handshake',
] as const
export type Refusal = (typeof refusals)[number]

/** Whose a connection is. */
export interface Client {
  /** `ip:port`. */
  readonly peer: string
  /** The address alone: what limits go by. */
  readonly source: string
}

export interface AdmissionEvents {
  readonly onRefused: (reason: Refusal) => void
  /** A client is in; must be given back with `leave` when its connection has closed. */
  readonly onAdmitted: (socket: Socket, client: Client) => SocketHandlers
}

export class Admission {
  readonly #runtime: Runtime
  readonly #options: AdmissionOptions
  readonly #events: AdmissionEvents
  readonly #allowed: SourceRanges
  readonly #balancers: SourceRanges
  readonly #secureBalancers: SourceRanges
  /** What balancers said in front of a handshake, by their end of the connection. */
  readonly #announced = new Map<string, Announced>()
  readonly #perSource = new Map<string, number>()
  readonly #arriving = new Set<Arrival>()
  #admittedCount = 0

  constructor(runtime: Runtime, options: AdmissionOptions, events: AdmissionEvents) {
    this.#runtime = runtime
    this.#options = options
    this.#events = events
    this.#allowed = new SourceRanges(options.allowFrom)
    this.#balancers = new SourceRanges(options.proxyFrom)
    this.#secureBalancers = new SourceRanges(options.secureProxyFrom)
  }

  /** Connections whose PROXY header is still to come. */
  get arrivingCount(): number {
    return this.#arriving.size
  }

  /** For the network's `listen`. */
  accept(socket: Socket): SocketHandlers {
    if (this.#options.isOverloaded()) return this.#refuse(socket, 'overload')
    const client = clientOf(socket.remoteAddress)
    if (!this.#balancers.includes(client.source)) return this.#admit(socket, client, false)
    if (this.#isFull()) return this.#refuse(socket, 'limit')
    const arrival = new Arrival(socket, this.#runtime.clock.monotonicMs(), {
      onHeader: (header) => this.#onHeader(arrival, header, client),
      onGone: () => this.#arriving.delete(arrival),
    })
    this.#arriving.add(arrival)
    return arrival.handlers()
  }

  /** For the network's `listen` with TLS. */
  acceptSecure(socket: Socket): SocketHandlers {
    const { remoteAddress } = socket
    const { client, isTrusted } = this.#announced.get(remoteAddress) ?? {
      client: clientOf(remoteAddress),
      isTrusted: false,
    }
    return this.#admit(socket, client, isTrusted)
  }

  /** Whether a handshake is worth while; a refusal is counted. */
  admits(peer: string): boolean {
    const isOverloaded = this.#options.isOverloaded()
    const source = sourceOf(peer)
    // Of a balancer's client nothing is known yet.
    const isAllowed = this.#secureBalancers.includes(source) || this.#isAllowed(source)
    if (!isOverloaded && isAllowed) return true
    this.#events.onRefused(isOverloaded ? 'overload' : 'source-range')
    return false
  }

  /** For the network's `listen` with TLS: a balancer's header, in front of the handshake. */
  preamble(peer: string): Preamble | undefined {
    if (!this.#secureBalancers.includes(sourceOf(peer))) return undefined
    const header = new ProxyHeader()
    return {
      push: (chunk) => this.#onSecureHeader(peer, header.push(chunk)),
      onSlow: () => this.#events.onRefused('slow-proxy-header'),
      onClosed: () => this.#announced.delete(peer),
    }
  }

  #onSecureHeader(peer: string, header: ProxyHeaderState): Buffer | 'incomplete' | 'refused' {
    if (header.kind === 'incomplete') return 'incomplete'
    if (header.kind === 'broken') {
      const isAbsent = header.reason === 'absent'
      this.#events.onRefused(isAbsent ? 'no-proxy-header' : 'bad-proxy-header')
      return 'refused'
    }
    this.#announced.set(peer, announcedBy(header, clientOf(peer)))
    return header.rest
  }

  failedHandshake(peer: string, reason: string): void {
    this.#events.onRefused('tls-handshake')
    this.#runtime.log.debug('TLS handshake failed', { peer, reason })
  }

  /** A connection that was admitted has closed. */
  leave({ source }: Client): void {
    this.#admittedCount--
    const left = (this.#perSource.get(source) ?? 1) - 1
    if (left > 0) this.#perSource.set(source, left)
    else this.#perSource.delete(source)
  }

  /** Looks at the clock of those whose header is still to come; called about once a second. */
  checkTime(nowMs: number): void {
    for (const arrival of this.#arriving)
      if (nowMs - arrival.sinceMs > this.#options.proxyHeaderMs)
        this.#turnAway(arrival, 'slow-proxy-header')
  }

  /** Ends the connections that are not in yet. */
  close(): void {
    for (const { socket } of this.#arriving) socket.destroy()
    this.#arriving.clear()
  }

  #isAllowed(source: string): boolean {
    return this.#allowed.isEmpty || this.#allowed.includes(source)
  }

  #isFull(): boolean {
    return this.#admittedCount + this.#arriving.size >= this.#options.maxConnections
  }

  #onHeader(arrival: Arrival, header: ProxyHeaderState, balancer: Client): void {
    if (!this.#arriving.has(arrival)) return
    switch (header.kind) {
      case 'incomplete':
        return
      case 'broken': {
        const isAbsent = header.reason === 'absent'
        this.#turnAway(arrival, isAbsent ? 'no-proxy-header' : 'bad-proxy-header')
        return
      }
      case 'client':
      case 'unknown':
      case 'local': {
        this.#arriving.delete(arrival)
        const { client, isTrusted } = announcedBy(header, balancer)
        arrival.become(this.#admit(arrival.socket, client, isTrusted), header.rest)
        return
      }
      default:
        header satisfies never
    }
  }

  #admit(socket: Socket, client: Client, isTrusted: boolean): SocketHandlers {
    const { source } = client
    if (!isTrusted && !this.#isAllowed(source)) return this.#refuse(socket, 'source-range')
    if (this.#isFull()) return this.#refuse(socket, 'limit')
    const fromSource = this.#perSource.get(source) ?? 0
    if (fromSource >= this.#options.maxConnectionsPerSource)
      return this.#refuse(socket, 'source-limit')
    this.#admittedCount++
    this.#perSource.set(source, fromSource + 1)
    return this.#events.onAdmitted(socket, client)
  }

  #turnAway(arrival: Arrival, reason: Refusal): void {
    this.#arriving.delete(arrival)
    arrival.become(this.#refuse(arrival.socket, reason), undefined)
  }

  #refuse(socket: Socket, reason: Refusal): SocketHandlers {
    this.#events.onRefused(reason)
    this.#runtime.log.debug('connection refused', { peer: socket.remoteAddress, reason })
    this.#runtime.timers.soon(() => socket.destroy())
    return deaf
  }
}

interface Announced {
  readonly client: Client
  readonly isTrusted: boolean
}

/** No client can make a balancer say `local`, so its health checks need no range. */
function announcedBy(
  header: Extract<ProxyHeaderState, { readonly rest: Buffer }>,
  balancer: Client,
): Announced {
  const client = header.kind === 'client' ? clientOf(header.peer) : balancer
  return { client, isTrusted: header.kind === 'local' }
}

/** A balancer's connection: first its header, then whatever the client behind it sends. */
class Arrival {
  readonly socket: Socket
  readonly sinceMs: number
  readonly #header = new ProxyHeader()
  readonly #events: {
    readonly onHeader: (header: ProxyHeaderState) => void
    readonly onGone: () => void
  }
  #next: SocketHandlers | undefined

  constructor(
    socket: Socket,
    sinceMs: number,
    events: { readonly onHeader: (header: ProxyHeaderState) => void; readonly onGone: () => void },
  ) {
    this.socket = socket
    this.sinceMs = sinceMs
    this.#events = events
  }

  /** From now on events go to `next`, first what came behind the header. */
  become(next: SocketHandlers, rest: Buffer | undefined): void {
    this.#next = next
    if (rest !== undefined && rest.length > 0) next.onData(rest)
  }

  handlers(): SocketHandlers {
    return {
      onData: (chunk) => {
        if (this.#next === undefined) this.#events.onHeader(this.#header.push(chunk))
        else this.#next.onData(chunk)
      },
      onEnd: () => {
        // A balancer that looks whether the port is open says nothing at all.
        if (this.#next === undefined) this.socket.destroy()
        else this.#next.onEnd()
      },
      onDrain: () => this.#next?.onDrain(),
      onClose: (cause) => {
        if (this.#next === undefined) this.#events.onGone()
        else this.#next.onClose(cause)
      },
    }
  }
}

const deaf: SocketHandlers = {
  onData: () => undefined,
  onEnd: () => undefined,
  onDrain: () => undefined,
  onClose: () => undefined,
}

function clientOf(peer: string): Client {
  return { peer, source: sourceOf(peer) }
}
