/**
 * The client side of the gateway: lets clients in and ends their connections, hands configuration
 * queries to the desk, and refuses everything else (gateway.md 2 and 6). Clocks of connections are
 * looked at in sweeps.
 */
import { type AnyRequest, encodeAnswer } from '../../cluster/protocol/request-stream.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { Admission, type AdmissionOptions } from './admission.ts'
import type { ClientBook } from './client-book.ts'
import {
  ClientConnection,
  type ConnectionEvents,
  type ConnectionLimits,
  type ConnectionParts,
  type MoveOn,
} from './client-connection.ts'
import type { ServerMetrics } from '../metrics.ts'
import { Listeners, type ListenOptions } from './listeners.ts'
import { NativeAsker } from './native-answer.ts'
import { OtherRpcs, type OtherRpcsOptions } from './other-rpcs.ts'
import { answerBudgetMs } from './answer-budget.ts'
import { type DeskOptions, QueryDesk } from './query-desk.ts'
import { QueryScan } from './query-scan.ts'
import type { QueryWatch } from './query-watch.ts'
import type { NewTables } from '../routing/new-tables.ts'
import type { Routes } from '../routing/routes.ts'
import { Slabs } from './turn-answers.ts'
import type { Upstreams } from '../upstream/upstreams.ts'

export interface ServerOptions {
  readonly listen: ListenOptions
  readonly limits: ConnectionLimits
  readonly admission: AdmissionOptions
  readonly queries: DeskOptions
  readonly otherRpcs: OtherRpcsOptions
}

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const CHECK_MS = 1000
const DRAIN_STEP_MS = 5
/** Behind the time, after a pause of this process: so many times as fast. */
const CATCH_UP = 4
const LATE_SHARE = 1.5
const BUSY_SPREAD_MS = 500
const BUSY_ROUNDS = 4
const IDLE_GROUP_MS = 600_000

export class GatewayServer {
  readonly #runtime: Runtime
  readonly #options: ServerOptions
  readonly #upstreams: Upstreams
  readonly #metrics: ServerMetrics
  readonly #watch: QueryWatch
  readonly #clients: ClientBook
  readonly #desk: QueryDesk
  readonly #connections = new Set<ClientConnection>()
  readonly #admission: Admission
  readonly #otherRpcs: OtherRpcs
  #listeners: Listeners | undefined
  #checkTimer: Timer | undefined
  #onIdle: (() => void) | undefined

  constructor(
    runtime: Runtime,
    parts: {
      readonly routes: Routes
      readonly newTables: NewTables
      readonly upstreams: Upstreams
      readonly metrics: ServerMetrics
      readonly watch: QueryWatch
      readonly clients: ClientBook
    },
    options: ServerOptions,
  ) {
    this.#runtime = runtime
    this.#options = options
    this.#upstreams = parts.upstreams
    this.#metrics = parts.metrics
    this.#watch = parts.watch
    this.#clients = parts.clients
    this.#desk = new QueryDesk(runtime, parts, options.queries)
    const shared: ConnectionParts = {
      runtime,
      batch: parts.upstreams.batch,
      scan: new QueryScan(options.limits),
      slabs: new Slabs(),
      spareAnswers: [],
      limits: options.limits,
      events: this.#connectionEvents(),
    }
    const { requestTimeoutMs } = options.queries
    this.#otherRpcs = new OtherRpcs(
      runtime,
      {
        routes: parts.routes,
        newTables: parts.newTables,
        leaderOf: (route) => this.#upstreams.group(route).leader,
        budgetMs: (clientTimeoutMs) => answerBudgetMs(clientTimeoutMs, requestTimeoutMs),
        count: this.#metrics.otherRequest,
      },
      options.otherRpcs,
    )
    this.#admission = new Admission(runtime, options.admission, {
      onRefused: (reason) => this.#metrics.refusedConnections[reason].add(),
      onAdmitted: (socket, client) => {
        const connection = new ClientConnection(shared, socket, client)
        this.#connections.add(connection)
        return connection.handlers()
      },
    })
  }

  #connectionEvents(): ConnectionEvents {
    const { bytesIn, bytesOut, rejectedFrame } = this.#metrics
    return {
      onRequest: (connection, frame) => this.#onRequest(connection, frame),
      onQuery: (connection, scan, nowMs) => this.#desk.askScanned(connection, scan, nowMs),
      onBytes: (received, sent) => {
        bytesIn.add(received)
        bytesOut.add(sent)
      },
      onRejected: rejectedFrame,
      onClosed: (connection) => this.#onClosed(connection),
    }
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  get inFlight(): number {
    return this.#desk.inFlight
  }

  /** Rejects with a RuntimeError such as EADDRINUSE. */
  async listen(): Promise<Listeners> {
    this.#listeners = await Listeners.open(this.#runtime, this.#options.listen, this.#admission)
    this.#scheduleCheck()
    return this.#listeners
  }

  /**
   * Stops accepting, answers what is being worked on, and ends the connections, spread over
   * `spreadMs` because clients connect again at once (L-3). Those that can are moved on instead, when
   * there is somebody to move them to. What is left at the end is reset.
   */
  async drain(spreadMs: number, moveOn?: MoveOn): Promise<void> {
    await this.#listeners?.close()
    this.#admission.close()
    if (moveOn === undefined) await this.endConnections(spreadMs)
    else await this.#moveConnections(spreadMs, moveOn)
    if (this.#connections.size > 0) {
      const patience = this.#wait(this.#options.queries.requestTimeoutMs)
      const idle = new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
      await Promise.race([idle, patience])
    }
    this.#checkTimer?.cancel()
    this.#otherRpcs.close()
    this.#desk.close()
    for (const connection of this.#connections) connection.destroy()
  }

  /** Ends the connections that there are, spread over the time; new ones are let in meanwhile. */
  async endConnections(spreadMs: number): Promise<void> {
    await this.#spread(spreadMs, (connection) => connection.finish())
  }

  async #moveConnections(spreadMs: number, moveOn: MoveOn): Promise<void> {
    const leave = (connection: ClientConnection): void => {
      if (!connection.moveOn(moveOn)) connection.finish()
    }
    const leaveIfIdle = (connection: ClientConnection): void => {
      if (connection.isIdle) leave(connection)
    }
    await this.#spread(spreadMs, leaveIfIdle, () => moveOn.mayMove())
    // Those that were just being answered are few, and mostly idle the next time.
    for (let again = 0; again < BUSY_ROUNDS && this.#connections.size > 0; again++)
      await this.#spread(Math.min(spreadMs, BUSY_SPREAD_MS), leaveIfIdle, () => moveOn.mayMove())
    for (const connection of this.#connections) leave(connection)
  }

  /**
   * Visits the connections that there are, at an even pace; a few need not take that long. Where it
   * may not go on it waits, though not much longer than the time.
   */
  async #spread(
    spreadMs: number,
    visit: (connection: ClientConnection) => void,
    mayGoOn = (): boolean => true,
  ): Promise<void> {
    const connections = [...this.#connections]
    const { clock } = this.#runtime
    const startedAtMs = clock.monotonicMs()
    const perStep = Math.ceil((connections.length * DRAIN_STEP_MS) / Math.max(1, spreadMs))
    for (let done = 0; ;) {
      const share = (clock.monotonicMs() - startedAtMs) / Math.max(1, spreadMs)
      const due = spreadMs === 0 ? Infinity : perStep + Math.floor(connections.length * share)
      const upTo = spreadMs === 0 ? Infinity : Math.min(due, done + CATCH_UP * perStep)
      for (const connection of connections.slice(done, upTo)) {
        if (share < LATE_SHARE && !mayGoOn()) break
        visit(connection)
        done++
      }
      if (done >= connections.length) return
      await this.#wait(DRAIN_STEP_MS)
    }
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#runtime.timers.after(delayMs, resolve)
    })
  }

  #scheduleCheck(): void {
    this.#checkTimer = this.#runtime.timers.after(CHECK_MS, () => {
      const nowMs = this.#runtime.clock.monotonicMs()
      this.#admission.checkTime(nowMs)
      for (const connection of this.#connections) connection.checkTime(nowMs)
      this.#upstreams.closeIdle(nowMs - IDLE_GROUP_MS)
      this.#watch.expire()
      this.#clients.expire()
      this.#scheduleCheck()
    })
  }

  #onClosed(connection: ClientConnection): void {
    if (!this.#connections.delete(connection)) return
    this.#admission.leave(connection.client)
    if (this.#connections.size === 0) this.#onIdle?.()
  }

  #onRequest(connection: ClientConnection, frame: AnyRequest): void {
    if (frame.name === QUERY) {
      this.#onQuery(connection, frame)
      return
    }
    this.#otherRpcs.onRequest(connection, frame)
  }

  #onQuery(connection: ClientConnection, frame: AnyRequest): void {
    const { argument, header } = frame
    const isNative = frame.kind === 'native'
    const asker = isNative ? new NativeAsker(connection, frame.native) : connection
    const isAsked = this.#desk.askDecoded(asker, argument, {
      // A native request is known by its header.
      seqid: isNative ? 0 : frame.seqid,
      version: header.version,
      clientTimeoutMs: header.clientTimeoutMs,
    })
    if (isAsked) return
    this.#metrics.queries[header.version].unreadable.add()
    answerInKind(connection, frame, 'ERR_INVALID_DATA', undefined)
  }
}

function answerInKind(
  connection: ClientConnection,
  request: AnyRequest,
  errorName: string,
  result: Buffer | undefined,
): void {
  answerWhole(connection, encodeAnswer(request, connection.localAddress, errorName, result))
}

function answerWhole(connection: ClientConnection, bytes: Buffer): void {
  connection.answer(bytes, 0, bytes.length)
}
