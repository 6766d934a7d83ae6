/**
 * Everything a client may ask besides the configuration query (gateway.md 6): negotiation, which is
 * answered here; RPCs about one table that the configuration allows, which are relayed to the table's
 * cluster; and all the rest, which no handler is found for (W-8). Each call of an allowed RPC leaves
 * one line in the log, `rpc audit`, also when it was refused for where it came from.
 */
import { type ReplyFrame, decodeArgument, encodeResult } from '../../cluster/protocol/frame.ts'
import { type AnyRequest, encodeAnswer } from '../../cluster/protocol/request-stream.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ProtocolError } from '../../cluster/protocol/schema.ts'
import { NegotiationResponse, NegotiationStatus } from '../../cluster/protocol/security.ts'
import { auditLog } from '../../cluster/runtime/log-repeats.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import type { HeaderVersion } from '../metrics.ts'
import type { NewTables } from '../routing/new-tables.ts'
import type { Routes } from '../routing/routes.ts'
import type { Lookup, Route } from '../routing/table-entry.ts'
import type { Destination } from '../upstream/upstreams.ts'
import type { Client } from './admission.ts'
import { type Call, type Outcome, errorIn, outcomeOf, own, ownErrors } from './rpc-outcome.ts'
import { RpcPolicy, type TableRpc, isOneWay } from './rpc-policy.ts'
import { RpcRelay } from './rpc-relay.ts'
import { TableCreation } from './table-creation.ts'
import { TokenBuckets } from './token-buckets.ts'

export interface OtherRpcsOptions {
  /** Entries of `rpcPolicy.allow`. */
  readonly allow: readonly string[]
  /** `rpcPolicy.defaultCluster`: where tables are created that are not mapped. */
  readonly defaultCluster: string | undefined
  readonly connectTimeoutMs: number
}

/** Whom to answer; exactly one of the two is called, once. */
export interface Asker {
  readonly client: Client
  /** Our end of the connection, as native replies name it. */
  readonly localAddress: string
  readonly answer: (bytes: Buffer, start: number, end: number) => void
  /** The RPC wants no answer. */
  readonly skip: () => void
}

interface Parts {
  readonly routes: Routes
  readonly newTables: NewTables
  /** `ip:port` of the meta server that leads the table's cluster, when it is known. */
  readonly leaderOf: (route: Destination) => string | undefined
  readonly budgetMs: (clientTimeoutMs: number) => number
  readonly count: (rpc: string, result: string, version: HeaderVersion) => void
}

/** Administration is rare: more at a time than this is a mistake or an attack. */
const RUNNING_MAX = 64
/** Lines about refused calls, for each source. */
const REFUSED_LINES = { perSecond: 1, burst: 20, maxKeys: 1000 } as const
const NEGOTIATION = Rpc.NEGOTIATION.name

export class OtherRpcs {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #parts: Parts
  readonly #policy: RpcPolicy
  readonly #relay: RpcRelay
  readonly #creation: TableCreation
  readonly #refusedLines = new TokenBuckets(REFUSED_LINES)
  #running = 0

  constructor(runtime: Runtime, parts: Parts, options: OtherRpcsOptions) {
    this.#runtime = runtime
    this.#log = auditLog(runtime.log).child({ part: 'rpc' })
    this.#parts = parts
    this.#policy = new RpcPolicy(options.allow)
    const relay = new RpcRelay(runtime, options)
    this.#relay = relay
    const { newTables, leaderOf } = parts
    const creationParts = { newTables, relay, leaderOf }
    this.#creation = new TableCreation(runtime, creationParts, options.defaultCluster)
  }

  /** Calls that are being relayed. */
  get running(): number {
    return this.#running
  }

  onRequest(asker: Asker, frame: AnyRequest): void {
    const { name } = frame
    if (name === NEGOTIATION) {
      this.#negotiate(asker, frame)
      return
    }
    const judgement = this.#policy.judge(name, asker.client.source)
    switch (judgement.kind) {
      case 'allowed':
        this.#onAllowed(asker, frame, judgement.rpc)
        return
      case 'refused':
        this.#auditRefused(asker.client, frame, judgement.rpc)
        break
      case 'not-served':
        break
      default:
        judgement satisfies never
    }
    this.#parts.count(name, 'unknown-rpc', frame.header.version)
    if (isOneWay(name)) asker.skip()
    else answerError(asker, frame, 'ERR_HANDLER_NOT_FOUND')
  }

  /** Ends what is being relayed; its clients are told as if the metas had gone. */
  close(): void {
    this.#relay.close()
  }

  /** There is nothing to negotiate: authentication is off. */
  #negotiate(asker: Asker, frame: AnyRequest): void {
    this.#parts.count(frame.name, 'unknown-rpc', frame.header.version)
    if (!isNegotiation(frame.argument)) {
      answerError(asker, frame, 'ERR_INVALID_DATA')
      return
    }
    const status = NegotiationStatus.SASL_AUTH_DISABLE
    const result = encodeResult(Rpc.NEGOTIATION.result, NegotiationResponse.make({ status }))
    answerWhole(asker, encodeAnswer(frame, asker.localAddress, 'ERR_OK', result))
  }

  #auditRefused({ peer, source }: Client, { argument }: AnyRequest, rpc: TableRpc): void {
    if (!this.#refusedLines.take(source, this.#runtime.clock.monotonicMs())) return
    const table = rpc.tableOf(argument)
    this.#log.warn('rpc audit', { peer, rpc: rpc.name, table, outcome: 'refused by source' })
  }

  #onAllowed(asker: Asker, frame: AnyRequest, rpc: TableRpc): void {
    const { version, clientTimeoutMs } = frame.header
    const startedAtMs = this.#runtime.clock.monotonicMs()
    const table = rpc.tableOf(frame.argument)
    if (table === undefined) {
      this.#parts.count(rpc.name, 'unreadable', version)
      this.#audit(asker.client, { rpc, table, cluster: undefined }, startedAtMs, 'unreadable')
      answerError(asker, frame, 'ERR_INVALID_DATA')
      return
    }
    const deadlineMs = startedAtMs + this.#parts.budgetMs(clientTimeoutMs)
    // The receive buffer is not kept that long.
    const argument = Buffer.from(frame.argument)
    const { peer } = asker.client
    const call: Call = { rpc, table, argument, peer, deadlineMs, cluster: undefined }
    void this.#run(call).then((outcome) => {
      if (outcome.kind === 'relayed') {
        const { reply, meta, mapping } = outcome
        this.#parts.count(rpc.name, 'relayed', version)
        this.#audit(asker.client, call, startedAtMs, errorIn(rpc, reply), { meta, mapping })
        answerWhole(asker, inKind(frame, asker.localAddress, reply))
        return
      }
      const { result, why, meta } = outcome
      const error = ownErrors[result]
      this.#parts.count(rpc.name, result, version)
      this.#audit(asker.client, call, startedAtMs, error, { why, meta })
      answerWhole(asker, encodeAnswer(frame, asker.localAddress, 'ERR_OK', rpc.resultOf(error)))
    })
  }

  /** Never rejects. */
  async #run(call: Call): Promise<Outcome> {
    if (this.#running >= RUNNING_MAX) return own('busy', `${RUNNING_MAX} calls are running`)
    this.#running++
    try {
      const lookup = await this.#lookup(call)
      switch (lookup.kind) {
        case 'route':
          return await this.#send(call, lookup.route)
        case 'missing':
          return await this.#create(call)
        case 'invalid':
          return own('invalid-mapping', 'the mapping is invalid')
        case 'unavailable':
          return own('unavailable', 'where the table is cannot be told now')
        default:
          return lookup satisfies never
      }
    } finally {
      this.#running--
    }
  }

  async #send(call: Call, route: Route): Promise<Outcome> {
    const { rpc, argument, deadlineMs } = call
    call.cluster = route.cluster
    const isWrite = rpc.class === 'table-write'
    // Changes made now could be lost with the switch.
    if (isWrite && route.plan !== undefined)
      return own('busy', `the table is being switched by plan ${route.plan}`)
    const outcome = await this.#relay.ask(
      { name: rpc.name, argument, isWrite },
      { metas: route.metas, leader: this.#parts.leaderOf(route) },
      deadlineMs,
    )
    return outcomeOf(outcome)
  }

  async #create(call: Call): Promise<Outcome> {
    const { rpc, table } = call
    if (!this.#creation.takes(rpc, table)) return own('no-table', 'the table is not mapped')
    const outcome = await this.#creation.run(call)
    if (outcome !== 'mapped') return outcome
    const lookup = this.#parts.routes.find(table)
    if (lookup?.kind === 'route') return this.#send(call, lookup.route)
    return own('unavailable', 'where the table is cannot be told now')
  }

  #lookup({ table, deadlineMs }: Call): Promise<Lookup> {
    const known = this.#parts.routes.find(table)
    if (known !== undefined) return Promise.resolve(known)
    const budgetMs = deadlineMs - this.#runtime.clock.monotonicMs()
    return new Promise((resolve) => this.#parts.routes.load(table, budgetMs, resolve))
  }

  #audit(
    { peer }: Client,
    { rpc, table, cluster }: Pick<Call, 'rpc' | 'cluster'> & { readonly table: string | undefined },
    startedAtMs: number,
    outcome: string,
    details: Readonly<Record<string, string | undefined>> = {},
  ): void {
    const ms = Math.round(this.#runtime.clock.monotonicMs() - startedAtMs)
    const fields = { peer, rpc: rpc.name, table, cluster, outcome, ms, ...details }
    // Half done: on its cluster, and no client will find it.
    const isHalfDone = details['why'] !== undefined && details['meta'] !== undefined
    this.#log[isHalfDone ? 'warn' : 'info']('rpc audit', fields)
  }
}

/** The meta's frame with the client's sequence id, or the same in the native form. */
function inKind(request: AnyRequest, localAddress: string, reply: ReplyFrame): Buffer {
  if (request.kind === 'native')
    return encodeAnswer(request, localAddress, reply.errorName, reply.result)
  reply.bytes.writeInt32BE(request.seqid, reply.seqidOffset)
  return reply.bytes
}

function isNegotiation(argument: Buffer): boolean {
  try {
    decodeArgument(Rpc.NEGOTIATION.argument, argument)
    return true
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return false
  }
}

function answerWhole(asker: Asker, bytes: Buffer): void {
  asker.answer(bytes, 0, bytes.length)
}

/** A header error and no body: what a server says that cannot or will not look at the request. */
function answerError(asker: Asker, request: AnyRequest, error: string): void {
  answerWhole(asker, encodeAnswer(request, asker.localAddress, error, undefined))
}
