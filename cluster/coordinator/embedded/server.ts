/**
 * The embedded ZooKeeper server: one node, ZooKeeper's own client protocol, kept in a data folder.
 * It spares a small installation (and every test) a ZooKeeper of its own, so that product code knows
 * only ZooKeeper. It is no ensemble: while it is down nobody coordinates, but sessions and data are
 * on disk, and clients that come back within their session time find their session alive.
 *
 * Here: listening, sessions and their clocks, authentication, four-letter words.
 */
import type { Listener, Runtime, Timer } from '../../runtime/runtime.ts'
import type { TreeEvent } from '../tree.ts'
import type { ConnectionOwner } from './connection.ts'
import { Connection } from './connection.ts'
import type { ClientRequest, ConnectRequest } from './protocol.ts'
import { encodeConnected, encodeReply, ErrorNumber } from './protocol.ts'
import type { StoredSession } from './records.ts'
import { digestIdentity } from '../tree.ts'
import { carryOut, sendEvent } from './requests.ts'
import { ServerState } from './state.ts'
import type { TransactionLog } from './transaction-log.ts'
import { openTransactionLog } from './transaction-log.ts'

export interface EmbeddedZooKeeperOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Made when absent; holds the log and the snapshots. One server per folder. */
  readonly dataDirectory: string
  /** Session times asked for are brought into this range. Default 2 to 60 s. */
  readonly sessionTimeoutMsMin?: number
  readonly sessionTimeoutMsMax?: number
  /** Default 1000; connections beyond are closed at once. */
  readonly connectionsMax?: number
  /** Size of the log at which a snapshot is taken. Default 16 MiB. */
  readonly snapshotLogBytes?: number
}

export interface EmbeddedZooKeeper {
  readonly host: string
  readonly port: number
  /** Ids of living sessions. */
  readonly sessionIds: () => readonly bigint[]
  /** Ends a session at once, as if its time were over: ephemerals go, its client is cut off. */
  readonly expireSession: (id: bigint) => void
  /** Stops answering; connections stay open, new ones are accepted and get no answer. */
  readonly freeze: () => void
  /** Goes on where it stopped; for sessions the time in between does not count. */
  readonly thaw: () => void
  /** Closes connections and files; sessions live on in the data folder. Idempotent. */
  readonly close: () => Promise<void>
}

/** A connection that has not introduced itself by then is closed. */
const handshakeMsMax = 10_000
const lingerMsMax = 1000
const noSession = { id: 0n, timeoutMs: 0, password: Buffer.alloc(16) }

/** Rejects when the port is taken or the data folder is unusable, damaged or of a newer format. */
export async function startEmbeddedZooKeeper(
  runtime: Runtime,
  options: EmbeddedZooKeeperOptions,
): Promise<EmbeddedZooKeeper> {
  const server = new Server(runtime, options)
  await server.start()
  return server
}

interface LiveSession {
  connection: Connection | undefined
  lastHeardAtMs: number
  timer: Timer | undefined
}

class Server implements EmbeddedZooKeeper, ConnectionOwner {
  readonly host: string
  readonly #runtime: Runtime
  readonly #options: EmbeddedZooKeeperOptions
  readonly #connections = new Map<Connection, Timer>()
  readonly #live = new Map<bigint, LiveSession>()
  #state: ServerState<Connection> | undefined
  #log: TransactionLog | undefined
  #listener: Listener | undefined
  #durableZxid = 0n
  #isFrozen = false
  #closing: Promise<void> | undefined

  constructor(runtime: Runtime, options: EmbeddedZooKeeperOptions) {
    this.#runtime = runtime
    this.#options = options
    this.host = options.host
  }

  async start(): Promise<void> {
    const { log, recovered } = await openTransactionLog(this.#runtime, {
      directory: this.#options.dataDirectory,
      snapshotLogBytes: this.#options.snapshotLogBytes ?? 16 * 1024 * 1024,
      takeSnapshot: () => this.#opened().snapshot(),
      onDurable: (zxid) => this.#onDurable(zxid),
      onFailure: (error) => this.#runtime.crash('the transaction log cannot be written', { error }),
    })
    this.#log = log
    this.#durableZxid = recovered.zxid
    this.#state = new ServerState<Connection>(recovered, {
      commit: (transaction) => log.append(transaction),
      notify: (connection, event) => this.#notify(connection, event),
    })
    try {
      const { host, port } = this.#options
      this.#listener = await this.#runtime.network.listen({ host, port }, (socket) => {
        const connection = new Connection(socket, this)
        if (this.#connections.size >= (this.#options.connectionsMax ?? 1000))
          this.#runtime.timers.soon(() => connection.close('too many connections'))
        const timer = this.#runtime.timers.after(handshakeMsMax, () => {
          if (connection.sessionId === 0n && !this.#isFrozen) connection.close('no handshake')
        })
        this.#connections.set(connection, timer)
        return connection.handlers()
      })
    } catch (error) {
      await log.close()
      throw error
    }
    for (const { id } of this.#state.sessions()) this.#live.set(id, this.#newLiveSession())
    for (const id of this.#live.keys()) this.#armExpiry(id)
    this.#runtime.log.info('embedded coordination server ready', {
      port: this.port,
      nodes: this.#state.tree.nodeCount(),
      sessions: this.#live.size,
    })
  }

  get port(): number {
    return this.#listener?.port ?? 0
  }

  sessionIds(): readonly bigint[] {
    return [...this.#live.keys()]
  }

  expireSession(id: bigint): void {
    const live = this.#live.get(id)
    if (live === undefined) return
    this.#runtime.log.info('session expired', { session: id.toString(16) })
    this.#endSession(id)
    live.connection?.close(undefined)
  }

  freeze(): void {
    this.#isFrozen = true
  }

  thaw(): void {
    if (!this.#isFrozen) return
    this.#isFrozen = false
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const [id, live] of this.#live) {
      live.lastHeardAtMs = nowMs
      this.#armExpiry(id)
    }
    for (const connection of this.#connections.keys()) connection.resume()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#listener?.close()
    for (const live of this.#live.values()) live.timer?.cancel()
    for (const [connection, timer] of this.#connections) {
      timer.cancel()
      connection.close(undefined)
    }
    await this.#log?.close()
  }

  isFrozen(): boolean {
    return this.#isFrozen
  }

  later(run: () => void): void {
    this.#runtime.timers.soon(run)
  }

  durableZxid(): bigint {
    return this.#durableZxid
  }

  onConnect(connection: Connection, request: ConnectRequest): void {
    const state = this.#opened()
    const isNew = request.sessionId === 0n
    const session = isNew ? this.#openSession(request) : state.session(request.sessionId)
    if (session === undefined || (!isNew && !session.password.equals(request.password))) {
      connection.send(0n, encodeConnected(noSession))
      this.#finish(connection)
      return
    }
    const live = this.#live.get(session.id)
    if (live === undefined) return
    live.connection?.close('the session moved to another connection')
    live.connection = connection
    live.lastHeardAtMs = this.#runtime.clock.monotonicMs()
    connection.sessionId = session.id
    connection.send(state.zxid(), encodeConnected(session))
  }

  onRequest(connection: Connection, xid: number, request: ClientRequest): void {
    const state = this.#opened()
    const live = this.#live.get(connection.sessionId)
    if (live?.connection !== connection) {
      connection.close('its session is gone')
      return
    }
    live.lastHeardAtMs = this.#runtime.clock.monotonicMs()
    const zxid = state.zxid()
    if (request.type === 'ping')
      connection.send(zxid, encodeReply({ xid, zxid, error: ErrorNumber.OK }))
    else if (request.type === 'auth') {
      const isKnown = request.scheme === 'digest'
      const error = isKnown ? ErrorNumber.OK : ErrorNumber.AUTH_FAILED
      if (isKnown)
        connection.identities = [...connection.identities, digestIdentity(request.credentials)]
      connection.send(zxid, encodeReply({ xid, zxid, error }))
      if (!isKnown) this.#finish(connection)
    } else if (request.type === 'close-session') {
      this.#endSession(connection.sessionId)
      const ended = state.zxid()
      connection.send(ended, encodeReply({ xid, zxid: ended, error: ErrorNumber.OK }))
      this.#finish(connection)
    } else carryOut(state, connection, xid, request, this.#wallMs())
  }

  onWord(word: string): string | undefined {
    const state = this.#opened()
    const facts: readonly (readonly [string, string])[] = [
      ['version', 'embedded'],
      ['server_state', 'standalone'],
      ['num_alive_connections', String(this.#connections.size)],
      ['znode_count', String(state.tree.nodeCount())],
      ['watch_count', String(state.watches.count())],
      ['global_sessions', String(this.#live.size)],
      ['zxid', `0x${state.zxid().toString(16)}`],
    ]
    switch (word) {
      case 'ruok':
        return 'imok'
      case 'mntr':
        return facts.map(([name, value]) => `zk_${name}\t${value}\n`).join('')
      case 'srvr':
      case 'stat': {
        const clients = [...this.#connections.keys()].map((one) => ` /${one.remoteAddress}\n`)
        const list = word === 'stat' ? `Clients:\n${clients.join('')}\n` : ''
        return (
          `Zookeeper version: embedded\n${list}Connections: ${this.#connections.size}\n` +
          `Zxid: 0x${state.zxid().toString(16)}\nMode: standalone\n` +
          `Node count: ${state.tree.nodeCount()}\n`
        )
      }
      default:
        return undefined
    }
  }

  onClosed(connection: Connection, reason: string | undefined): void {
    this.#connections.get(connection)?.cancel()
    this.#connections.delete(connection)
    this.#state?.watches.removeSubscriber(connection)
    const live = this.#live.get(connection.sessionId)
    if (live?.connection === connection) live.connection = undefined
    if (reason !== undefined)
      this.#runtime.log.info('client connection closed', {
        peer: connection.remoteAddress,
        reason,
      })
  }

  /** Lets the answers out; a client that does not close then is cut off. */
  #finish(connection: Connection): void {
    connection.finish()
    this.#runtime.timers.after(lingerMsMax, () => connection.close(undefined))
  }

  #openSession({ timeoutMs }: ConnectRequest): StoredSession {
    const { sessionTimeoutMsMin = 2000, sessionTimeoutMsMax = 60_000 } = this.#options
    const session = {
      // 63 bits: positive for clients, and never met twice.
      id: this.#runtime.random.bytes(8).readBigUInt64BE(0) >> 1n || 1n,
      timeoutMs: Math.min(Math.max(timeoutMs, sessionTimeoutMsMin), sessionTimeoutMsMax),
      password: this.#runtime.random.bytes(16),
    }
    this.#opened().openSession(session, this.#wallMs())
    this.#live.set(session.id, this.#newLiveSession())
    this.#armExpiry(session.id)
    return session
  }

  #newLiveSession(): LiveSession {
    const lastHeardAtMs = this.#runtime.clock.monotonicMs()
    return { connection: undefined, lastHeardAtMs, timer: undefined }
  }

  #endSession(id: bigint): void {
    const live = this.#live.get(id)
    live?.timer?.cancel()
    this.#live.delete(id)
    if (live?.connection !== undefined) this.#opened().watches.removeSubscriber(live.connection)
    this.#opened().endSession(id, this.#wallMs())
  }

  /** One timer per session, set again when it finds that the client was heard meanwhile. */
  #armExpiry(id: bigint): void {
    const live = this.#live.get(id)
    const session = this.#opened().session(id)
    if (live === undefined || session === undefined) return
    live.timer?.cancel()
    const endMs = live.lastHeardAtMs + session.timeoutMs
    const leftMs = Math.max(0, endMs - this.#runtime.clock.monotonicMs())
    live.timer = this.#runtime.timers.after(leftMs, () => {
      // After a pause of this process, what clients sent meanwhile must be read first.
      this.#runtime.timers.soon(() => {
        if (this.#isFrozen || this.#live.get(id) !== live || this.#closing !== undefined) return
        const silentMs = this.#runtime.clock.monotonicMs() - live.lastHeardAtMs
        if (silentMs >= session.timeoutMs) this.expireSession(id)
        else this.#armExpiry(id)
      })
    })
  }

  #notify(connection: Connection, event: TreeEvent): void {
    sendEvent(connection, this.#opened().zxid(), event)
  }

  #onDurable(zxid: bigint): void {
    this.#durableZxid = zxid
    for (const connection of this.#connections.keys()) connection.release()
  }

  #wallMs(): number {
    return Math.floor(this.#runtime.clock.wallMs())
  }

  #opened(): ServerState<Connection> {
    if (this.#state === undefined) throw new Error('broken state: the server is not started')
    return this.#state
  }
}
