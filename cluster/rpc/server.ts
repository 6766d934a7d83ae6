/**
 * The accepting side of the RPC layer (wire.md 1 to 6): handlers by RPC name, limits, drain. One
 * server object may listen on several addresses. What one connection does is in `session.ts`.
 */
import { type Deadline, remainingMs } from '../runtime/deadline.ts'
import type { Listener, Runtime, SocketHandlers, Timer } from '../runtime/runtime.ts'
import { type Handler, type RawHandler, type RpcSignature, typedHandler } from './handler.ts'
import { Session, type SessionLimits, type SessionOwner } from './session.ts'

export interface RpcServerOptions extends SessionLimits {
  /** For logs: `gateway`, `meta`, `replica`. */
  readonly name: string
  /** A connection above it is accepted and closed at once. */
  readonly maxConnections: number
  /** The same per client address (without port); 0 = no limit. */
  readonly maxConnectionsPerHost: number
}

export const rpcServerDefaults: Omit<RpcServerOptions, 'name'> = {
  maxConnections: 10_000,
  maxConnectionsPerHost: 0,
  maxInflightPerConnection: 256,
  maxInflightBytesPerConnection: 16 * 1024 * 1024,
  maxBufferedBytesPerConnection: 1024 * 1024,
  maxFrameBytes: 64 * 1024 * 1024,
  stalledMs: 30_000,
  frameMs: 10_000,
  idleMs: 0,
}

export interface RpcServerCounts {
  readonly connections: number
  readonly inflight: number
  /** Since the start: accepted, refused for a limit. */
  readonly accepted: number
  readonly refused: number
}

/** Limits in time are looked after so often, more often when they are shorter. */
const SWEEP_MS_MAX = 1000

export class RpcServer {
  readonly #runtime: Runtime
  readonly #options: RpcServerOptions
  readonly #handlers = new Map<string, RawHandler>()
  readonly #sessions = new Set<Session>()
  readonly #connectionsOfHost = new Map<string, number>()
  readonly #listeners = new Set<Listener>()
  readonly #owner: SessionOwner
  readonly #sweepMs: number
  #sweep: Timer | undefined
  #accepted = 0
  #refused = 0
  #stopping = false
  #onIdle: (() => void) | undefined

  /** Options not given are `rpcServerDefaults`. */
  constructor(runtime: Runtime, options: Partial<RpcServerOptions> & { readonly name: string }) {
    this.#runtime = runtime
    this.#options = { ...rpcServerDefaults, ...options }
    const { stalledMs, frameMs, idleMs } = this.#options
    const shortestMs = Math.min(stalledMs, frameMs, idleMs > 0 ? idleMs : Infinity)
    this.#sweepMs = Math.min(SWEEP_MS_MAX, Math.max(1, shortestMs / 2))
    this.#owner = {
      runtime,
      limits: this.#options,
      handlerOf: (name) => this.#handlers.get(name),
      onDefect: (name, error) => {
        runtime.log.error('handler failed', { server: options.name, rpc: name, error })
      },
      onClosed: (session, reason) => {
        this.#forget(session, reason)
      },
    }
  }

  /** The answer is an encoded value, a header error or silence; see `Handler`. */
  handle<A, R>(rpc: RpcSignature<A, R>, handler: Handler<A, R>): void {
    this.handleRaw(rpc.name, typedHandler(rpc, handler))
  }

  /** The argument stays bytes (the args struct); a result is given as result struct bytes. */
  handleRaw(name: string, handler: RawHandler): void {
    if (this.#handlers.has(name)) throw new Error(`${name} already has a handler`)
    this.#handlers.set(name, handler)
  }

  /** Rejects with a `RuntimeError` (EADDRINUSE, EADDRNOTAVAIL). */
  async listen(at: { readonly host: string; readonly port: number }): Promise<Listener> {
    const listener = await this.#runtime.network.listen(at, (socket) => {
      const host = socket.remoteAddress.replace(/:\d+$/, '')
      const session = new Session(this.#owner)
      const handlers = session.attach(socket)
      this.#sessions.add(session)
      this.#accepted++
      const ofHost = (this.#connectionsOfHost.get(host) ?? 0) + 1
      this.#connectionsOfHost.set(host, ofHost)
      const release = (): void => {
        const left = (this.#connectionsOfHost.get(host) ?? 1) - 1
        if (left === 0) this.#connectionsOfHost.delete(host)
        else this.#connectionsOfHost.set(host, left)
      }
      const refusal = this.#refusal(ofHost)
      if (refusal !== undefined) {
        this.#refused++
        session.destroy(refusal)
      }
      this.#scheduleSweep()
      return withRelease(handlers, release)
    })
    this.#listeners.add(listener)
    if (this.#stopping) await listener.close()
    return listener
  }

  counts(): RpcServerCounts {
    let inflight = 0
    for (const session of this.#sessions) inflight += session.inflight
    return {
      connections: this.#sessions.size,
      inflight,
      accepted: this.#accepted,
      refused: this.#refused,
    }
  }

  /**
   * Stops accepting and reading, answers what is in flight, half closes each connection; settles
   * when all are closed, at the latest at the deadline, when the rest is reset.
   */
  async drain(deadline: Deadline): Promise<void> {
    this.#stopping = true
    await this.#closeListeners()
    for (const session of this.#sessions) session.drain()
    if (this.#sessions.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#runtime.timers.after(
          remainingMs(this.#runtime.clock, deadline),
          resolve,
        )
        this.#onIdle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    await this.close()
  }

  /** Resets every connection. Idempotent; settles when all sockets are closed. */
  async close(): Promise<void> {
    this.#stopping = true
    await this.#closeListeners()
    for (const session of this.#sessions) session.destroy('server closed')
    if (this.#sessions.size > 0)
      await new Promise<void>((resolve) => {
        const previous = this.#onIdle
        this.#onIdle = () => {
          previous?.()
          resolve()
        }
      })
    this.#sweep?.cancel()
    this.#sweep = undefined
  }

  async #closeListeners(): Promise<void> {
    const listeners = [...this.#listeners]
    this.#listeners.clear()
    await Promise.all(listeners.map((listener) => listener.close()))
  }

  #refusal(connectionsOfHost: number): string | undefined {
    const { maxConnections, maxConnectionsPerHost } = this.#options
    if (this.#stopping) return 'server is stopping'
    if (this.#sessions.size > maxConnections) return `over ${maxConnections} connections`
    if (maxConnectionsPerHost > 0 && connectionsOfHost > maxConnectionsPerHost)
      return `over ${maxConnectionsPerHost} connections of one address`
    return undefined
  }

  #forget(session: Session, reason: string): void {
    if (!this.#sessions.delete(session)) return
    this.#runtime.log.debug('connection closed', {
      server: this.#options.name,
      peer: session.peer,
      reason,
    })
    if (this.#sessions.size > 0) return
    this.#sweep?.cancel()
    this.#sweep = undefined
    this.#onIdle?.()
  }

  /** One timer for all connections, and only while there are any. */
  #scheduleSweep(): void {
    if (this.#sweep !== undefined || this.#sessions.size === 0) return
    this.#sweep = this.#runtime.timers.after(this.#sweepMs, () => {
      this.#sweep = undefined
      const nowMs = this.#runtime.clock.monotonicMs()
      for (const session of this.#sessions) session.checkTime(nowMs)
      this.#scheduleSweep()
    })
  }
}

function withRelease(handlers: SocketHandlers, release: () => void): SocketHandlers {
  return {
    ...handlers,
    onClose: (cause) => {
      release()
      handlers.onClose(cause)
    },
  }
}
