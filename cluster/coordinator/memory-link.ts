/**
 * One client's connection to a `MemoryCoordination`: two streams of messages that arrive in order
 * and late, lose everything behind the first message that is lost (as TCP does), and are renewed
 * with the same session. Messages to the client run on the client's own timers, so nothing reaches
 * a client whose node has crashed.
 */
import type { Link, LinkHandlers, LinkReply, LinkRequest } from './link.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { TreeEvent } from './tree.ts'
import type { WatchedPaths } from './watches.ts'

export interface MemoryHello {
  /** 0n asks for a new session. */
  readonly sessionId: bigint
  readonly sessionTimeoutMs: number
  /** The last change that the client has seen. */
  readonly zxid: bigint
  readonly watched: WatchedPaths
}

/** What the service holds of one connection. Messages go to the client late and in order. */
export interface MemoryPort {
  readonly name: string
  sessionId: bigint
  readonly up: (session: { readonly id: bigint; readonly timeoutMs: number }) => void
  readonly expired: () => void
  readonly reply: (reply: LinkReply, zxid: bigint) => void
  readonly event: (event: TreeEvent, zxid: bigint) => void
  /** The service closes the connection, which a client out of reach does not notice. */
  readonly cut: () => void
  /** The connection breaks in a way that its client notices at once. */
  readonly reset: () => void
}

export interface MemoryService {
  readonly name: string
  readonly sessionTimeoutMs: number
  readonly latencyMs: () => number
  readonly reachability: () => 'up' | 'lost-replies' | 'down'
  readonly deliver: (run: () => void) => void
  readonly hello: (port: MemoryPort, hello: MemoryHello) => void
  readonly request: (port: MemoryPort, request: LinkRequest) => void
  readonly goodbye: (port: MemoryPort) => void
}

interface Connection {
  readonly port: MemoryPort
  readonly toService: (() => void)[]
  readonly toClient: (() => void)[]
  readonly replies: ((reply: LinkReply) => void)[]
  lostToService: boolean
  lostToClient: boolean
}

export class MemoryLink implements Link {
  readonly #runtime: Runtime
  readonly #handlers: LinkHandlers
  readonly #service: MemoryService
  #connection: Connection | undefined
  #sessionId = 0n
  #timeoutMs: number
  #zxid = 0n
  #isUp = false
  #isClosed = false
  #retryTimer: Timer | undefined

  constructor(runtime: Runtime, handlers: LinkHandlers, service: MemoryService) {
    this.#runtime = runtime
    this.#handlers = handlers
    this.#service = service
    this.#timeoutMs = service.sessionTimeoutMs
    this.#retryTimer = runtime.timers.after(0, () => this.#connect())
  }

  send(request: LinkRequest, onReply: (reply: LinkReply) => void): void {
    const connection = this.#connection
    if (connection === undefined) return
    connection.replies.push(onReply)
    this.#toService(connection, () => this.#service.request(connection.port, request))
  }

  reconnect(): void {
    this.#drop()
    this.#retryLater()
  }

  close(): Promise<void> {
    const connection = this.#connection
    const wasUp = this.#isUp
    this.#isClosed = true
    this.#drop()
    this.#retryTimer?.cancel()
    if (connection !== undefined && wasUp)
      this.#toService(connection, () => this.#service.goodbye(connection.port))
    return Promise.resolve()
  }

  #connect(): void {
    if (this.#isClosed) return
    const connection = this.#newConnection()
    this.#connection = connection
    const hello: MemoryHello = {
      sessionId: this.#sessionId,
      sessionTimeoutMs: this.#service.sessionTimeoutMs,
      zxid: this.#zxid,
      watched: this.#handlers.watched(),
    }
    this.#toService(connection, () => this.#service.hello(connection.port, hello))
    this.#retryTimer = this.#runtime.timers.after(this.#timeoutMs / 3, () => this.#connect())
  }

  #newConnection(): Connection {
    const port: MemoryPort = {
      name: this.#service.name,
      sessionId: 0n,
      up: (session) =>
        this.#toClient(connection, () => {
          this.#retryTimer?.cancel()
          this.#sessionId = session.id
          this.#timeoutMs = session.timeoutMs
          this.#isUp = true
          this.#handlers.onUp(session)
        }),
      expired: () => this.#toClient(connection, () => this.#handlers.onExpired()),
      reply: (reply, zxid) =>
        this.#toClient(connection, () => {
          this.#zxid = zxid
          connection.replies.shift()?.(reply)
        }),
      event: (event) => this.#toClient(connection, () => this.#handlers.onEvent(event)),
      cut: () => this.#toClient(connection, () => this.#onBroken()),
      reset: () => {
        this.#runtime.timers.after(this.#service.latencyMs(), () => {
          if (connection === this.#connection && !this.#isClosed) this.#onBroken()
        })
      },
    }
    const connection: Connection = {
      port,
      toService: [],
      toClient: [],
      replies: [],
      lostToService: false,
      lostToClient: false,
    }
    return connection
  }

  #onBroken(): void {
    const wasUp = this.#isUp
    this.reconnect()
    if (wasUp) this.#handlers.onDown()
  }

  #drop(): void {
    this.#connection = undefined
    this.#isUp = false
  }

  #retryLater(): void {
    this.#retryTimer?.cancel()
    const delayMs = 1 + this.#runtime.random.float() * (this.#timeoutMs / 20)
    this.#retryTimer = this.#runtime.timers.after(delayMs, () => this.#connect())
  }

  /** The k-th timer carries the k-th message, so that latencies cannot change the order. */
  #toService(connection: Connection, run: () => void): void {
    if (this.#service.reachability() === 'down') connection.lostToService = true
    if (connection.lostToService) return
    connection.toService.push(run)
    this.#service.deliver(() => {
      const next = connection.toService.shift()
      if (this.#service.reachability() === 'down') connection.lostToService = true
      if (!connection.lostToService) next?.()
    })
  }

  #toClient(connection: Connection, run: () => void): void {
    if (this.#service.reachability() !== 'up') connection.lostToClient = true
    if (connection.lostToClient) return
    connection.toClient.push(run)
    this.#runtime.timers.after(this.#service.latencyMs(), () => {
      const next = connection.toClient.shift()
      if (this.#service.reachability() !== 'up') connection.lostToClient = true
      if (connection.lostToClient || connection !== this.#connection || this.#isClosed) return
      next?.()
    })
  }
}
