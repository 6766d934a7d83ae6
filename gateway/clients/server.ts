/**
 * The client side of the gateway: ends client connections, answers configuration queries by asking
 * the metas of the table's cluster, and refuses everything else (gateway.md 2 and 6). What a meta
 * answered goes out byte for byte except for the sequence id; every request gets an answer within
 * its budget. Which cluster a table is on is the directory's matter, how to ask it the upstream's.
 *
 * No promise, timer or log line per query: one object each, and clocks looked at in sweeps.
 */
import { encodeReply, encodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import type { NativeHeader } from '../../cluster/protocol/native-frame.ts'
import { type AnyRequest, encodeAnswer } from '../../cluster/protocol/request-stream.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Listener, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { Admission, type AdmissionOptions } from './admission.ts'
import {
  ClientConnection,
  type ConnectionEvents,
  type ConnectionLimits,
} from './client-connection.ts'
import type { QueryCounts, Result, ServerMetrics } from '../metrics.ts'
import { markNative, nativeAnswer } from './native-answer.ts'
import { OtherRpcs, type OtherRpcsOptions } from './other-rpcs.ts'
import { NameCache, QueryScan } from './query-scan.ts'
import { readQuery } from './query.ts'
import type { Question } from '../question.ts'
import type { Routes } from '../routing/routes.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { Upstreams } from '../upstream/upstreams.ts'
import { type BucketOptions, TokenBuckets } from './token-buckets.ts'

export interface ServerOptions {
  readonly host: string
  readonly port: number
  readonly limits: ConnectionLimits
  readonly admission: AdmissionOptions
  /** How many unknown tables one address may ask for (W-17); undefined: any number. */
  readonly unknownTables: BucketOptions | undefined
  readonly otherRpcs: OtherRpcsOptions
  /** The outer bound of every answer; below the Java client's 5 s (W-7). */
  readonly requestTimeoutMs: number
  /** `go-compat`: the error names of the Go proxy (W-6). */
  readonly errorsMode: 'pegasus' | 'go-compat'
}

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const CHECK_MS = 1000
const IDLE_GROUP_MS = 600_000
const CLIENT_TIMEOUT_MS_MIN = 1000

/** What the gateway itself answers to a query (W-3): is_stateful false, nothing in it but the error. */
function ownAnswer(error: string): Buffer {
  return encodeReply(
    QUERY,
    0,
    'ERR_OK',
    encodeResult(QueryCfgResponse, QueryCfgResponse.make({ err: error })),
  )
}

/** Behind total length, `ERR_OK` and the message's version and name. */
const OWN_SEQID_AT = 4 + 4 + 6 + 4 + 4 + QUERY.length + 4

export class GatewayServer {
  readonly #runtime: Runtime
  readonly #options: ServerOptions
  readonly #routes: Routes
  readonly #upstreams: Upstreams
  readonly #metrics: ServerMetrics
  readonly #events: ConnectionEvents
  readonly #scan: QueryScan
  readonly #names = new NameCache()
  readonly #connections = new Set<ClientConnection>()
  readonly #admission: Admission
  readonly #otherRpcs: OtherRpcs
  readonly #unknownTables: TokenBuckets | undefined
  readonly #answers: Readonly<Record<'missing' | 'invalid' | 'no-zookeeper' | 'no-meta', Buffer>>
  #listener: Listener | undefined
  #checkTimer: Timer | undefined
  #inFlight = 0
  #onIdle: (() => void) | undefined

  constructor(
    runtime: Runtime,
    parts: {
      readonly routes: Routes
      readonly upstreams: Upstreams
      readonly metrics: ServerMetrics
    },
    options: ServerOptions,
  ) {
    this.#runtime = runtime
    this.#options = options
    this.#routes = parts.routes
    this.#upstreams = parts.upstreams
    this.#metrics = parts.metrics
    this.#scan = new QueryScan(options.limits)
    const isGo = options.errorsMode === 'go-compat'
    this.#answers = {
      missing: ownAnswer('ERR_OBJECT_NOT_FOUND'),
      invalid: ownAnswer('ERR_INVALID_DATA'),
      'no-zookeeper': ownAnswer(isGo ? 'ERR_ZOOKEEPER_OPERATION' : 'ERR_SERVICE_NOT_ACTIVE'),
      'no-meta': ownAnswer(isGo ? 'ERR_UNKNOWN' : 'ERR_SERVICE_NOT_ACTIVE'),
    }
    const { unknownTables } = options
    this.#unknownTables = unknownTables === undefined ? undefined : new TokenBuckets(unknownTables)
    this.#otherRpcs = new OtherRpcs(
      runtime,
      {
        routes: this.#routes,
        leaderOf: (route) => this.#upstreams.group(route).leader,
        budgetMs: (clientTimeoutMs) => answerBudgetMs(clientTimeoutMs, options.requestTimeoutMs),
        count: this.#metrics.otherRequest,
      },
      options.otherRpcs,
    )
    this.#admission = new Admission(runtime, options.admission, {
      onRefused: (reason) => this.#metrics.refusedConnections[reason].add(),
      onAdmitted: (socket, client) => {
        const shared = { runtime, batch: this.#upstreams.batch, scan: this.#scan }
        const { limits } = this.#options
        const connection = new ClientConnection(shared, socket, client, limits, this.#events)
        this.#connections.add(connection)
        return connection.handlers()
      },
    })
    this.#events = {
      onRequest: (connection, frame) => this.#onRequest(connection, frame),
      onQuery: (connection, scan, nowMs) => this.#onScanned(connection, scan, nowMs),
      onBytes: (received, sent) => {
        this.#metrics.bytesIn.add(received)
        this.#metrics.bytesOut.add(sent)
      },
      onRejected: (reason) => this.#metrics.rejectedFrame(reason),
      onClosed: (connection) => this.#onClosed(connection),
    }
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Rejects with a RuntimeError such as EADDRINUSE. */
  async listen(): Promise<Listener> {
    const { host, port } = this.#options
    this.#listener = await this.#runtime.network.listen({ host, port }, (socket) =>
      this.#admission.accept(socket),
    )
    this.#scheduleCheck()
    return this.#listener
  }

  /**
   * Stops accepting, answers what is being worked on, and ends the connections, spread over
   * `spreadMs` because clients connect again at once (L-3). What is left at the end is reset.
   */
  async drain(spreadMs: number): Promise<void> {
    await this.#listener?.close()
    this.#admission.close()
    const connections = [...this.#connections]
    const pauseMs = spreadMs / Math.max(1, connections.length)
    for (const connection of connections) {
      connection.finish()
      if (pauseMs >= 1) await this.#wait(pauseMs)
    }
    if (this.#connections.size > 0) {
      const patience = this.#wait(this.#options.requestTimeoutMs)
      const idle = new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
      await Promise.race([idle, patience])
    }
    this.#checkTimer?.cancel()
    this.#otherRpcs.close()
    for (const connection of this.#connections) connection.destroy()
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
    const table = readQuery(argument)
    if (table === undefined) {
      this.#metrics.queries[header.version].unreadable.add()
      answerInKind(connection, frame, 'ERR_INVALID_DATA', undefined)
      return
    }
    const isNative = frame.kind === 'native'
    if (isNative) markNative(argument)
    const asked = isNative ? frame.native : frame.seqid
    const at = { bytes: argument, start: 0, end: argument.length }
    const nowMs = this.#runtime.clock.monotonicMs()
    const counts = this.#metrics.queries[header.version]
    this.#route(table, this.#question(connection, asked, header.clientTimeoutMs, at, nowMs, counts))
  }

  #onScanned(connection: ClientConnection, scan: QueryScan, nowMs: number): void {
    const table = this.#names.text(scan.bytes, scan.nameStart, scan.nameEnd)
    const counts = this.#metrics.queries[scan.version]
    this.#route(
      table,
      this.#question(connection, scan.seqid, scan.clientTimeoutMs, scan, nowMs, counts),
    )
  }

  #question(
    connection: ClientConnection,
    asked: number | NativeHeader,
    clientTimeoutMs: number,
    at: { readonly bytes: Buffer; readonly start: number; readonly end: number },
    nowMs: number,
    counts: QueryCounts,
  ): ClientQuestion {
    const deadlineMs = nowMs + answerBudgetMs(clientTimeoutMs, this.#options.requestTimeoutMs)
    return new ClientQuestion(this, connection, asked, at, nowMs, deadlineMs, counts)
  }

  #route(table: string, question: ClientQuestion): void {
    this.#inFlight++
    const known = this.#routes.find(table)
    if (known !== undefined) {
      if (known.kind === 'missing') this.#metrics.lookups.negative.add()
      else this.#metrics.lookups.hit.add()
      this.#onLookup(table, question, known, question.askedAtMs)
      return
    }
    this.#metrics.lookups.miss.add()
    this.#load(table, question)
  }

  /**
   * A lookup that costs a read takes a token of its source, and gives it back unless the table
   * turns out unknown. Without one the answer is not "no such table", which a client would take as
   * final (S7), but the one that makes it come again later (W-6).
   */
  #load(table: string, question: ClientQuestion): void {
    const tokens = this.#unknownTables
    const { source } = question
    if (tokens?.take(source, question.askedAtMs) === false) {
      this.#answerOwn(question, 'limited', this.#answers['no-zookeeper'])
      return
    }
    const budgetMs = question.deadlineMs - question.askedAtMs
    this.#routes.load(table, budgetMs, (lookup) => {
      if (lookup.kind !== 'missing') tokens?.giveBack(source)
      this.#onLookup(table, question, lookup, this.#runtime.clock.monotonicMs())
    })
  }

  #onLookup(table: string, question: ClientQuestion, lookup: Lookup, nowMs: number): void {
    this.#metrics.tableQueried(table, lookup.kind === 'route')
    switch (lookup.kind) {
      case 'route':
        this.#upstreams.group(lookup.route).ask(question, nowMs)
        return
      case 'missing':
        this.#answerOwn(question, 'no-table', this.#answers.missing)
        return
      case 'invalid':
        this.#answerOwn(question, 'invalid-mapping', this.#answers.invalid)
        return
      case 'unavailable':
        this.#answerOwn(question, 'unavailable', this.#answers['no-zookeeper'])
        return
      default:
        lookup satisfies never
    }
  }

  #answerOwn(question: ClientQuestion, result: Result, prepared: Buffer): void {
    const bytes = Buffer.from(prepared)
    const nowMs = this.#runtime.clock.monotonicMs()
    this.done(question, result, nowMs)
    question.answer(bytes, 0, bytes.length, OWN_SEQID_AT)
  }

  /** A question ends; for `ClientQuestion`. */
  done(question: ClientQuestion, result: Result, nowMs: number): void {
    this.#inFlight--
    question.counts[result].add()
    this.#metrics.durationSeconds[result].observe((nowMs - question.askedAtMs) / 1000)
  }

  /** No meta answered; for `ClientQuestion`. */
  nobodyAnswered(question: ClientQuestion): void {
    this.#answerOwn(question, 'unavailable', this.#answers['no-meta'])
  }
}

/** One client's query: knows whom to tell, and in which form. */
class ClientQuestion implements Question {
  readonly #server: GatewayServer
  readonly #connection: ClientConnection
  /** The sequence id, or the header of a native request. */
  readonly #asked: number | NativeHeader
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly askedAtMs: number
  readonly deadlineMs: number
  readonly counts: QueryCounts

  constructor(
    server: GatewayServer,
    connection: ClientConnection,
    asked: number | NativeHeader,
    argument: { readonly bytes: Buffer; readonly start: number; readonly end: number },
    askedAtMs: number,
    deadlineMs: number,
    counts: QueryCounts,
  ) {
    this.#server = server
    this.#connection = connection
    this.#asked = asked
    this.bytes = argument.bytes
    this.start = argument.start
    this.end = argument.end
    this.askedAtMs = askedAtMs
    this.deadlineMs = deadlineMs
    this.counts = counts
  }

  get source(): string {
    return this.#connection.client.source
  }

  /** The meta's bytes with the client's sequence id (W-1). */
  answered(bytes: Buffer, start: number, end: number, seqidAt: number, nowMs: number): void {
    this.#server.done(this, 'relayed', nowMs)
    this.answer(bytes, start, end, seqidAt)
  }

  unanswered(): void {
    this.#server.nobodyAnswered(this)
  }

  answer(bytes: Buffer, start: number, end: number, seqidAt: number): void {
    const asked = this.#asked
    const connection = this.#connection
    if (typeof asked === 'number') {
      bytes.writeInt32BE(asked, seqidAt)
      connection.answer(bytes, start, end)
    } else
      answerWhole(
        connection,
        nativeAnswer(asked, connection.localAddress, bytes, start, end, seqidAt),
      )
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

/**
 * W-7: within the client's time, 0 when it gave none, and ours. Go clients send any number below
 * 4295, however long they wait (wire.md 2): less than a second is not taken at its word.
 */
export function answerBudgetMs(clientTimeoutMs: number, requestTimeoutMs: number): number {
  if (clientTimeoutMs <= 0) return requestTimeoutMs
  return Math.min(Math.max(clientTimeoutMs, CLIENT_TIMEOUT_MS_MIN), requestTimeoutMs)
}
