/**
 * One table as the client reaches it: its partition map, shared by all handles, and the way of a
 * request to the primary that serves its partition. What may be resent is decided in `call.ts`, what
 * a new configuration changes in `partition-map.ts`.
 */
import { decodeResult, encodeArgument } from '../protocol/frame.ts'
import type { RpcKind } from '../protocol/rpc-codes.ts'
import { ProtocolError } from '../protocol/schema.ts'
import type { RpcSignature } from '../rpc/handler.ts'
import type { Peer, RawReply } from '../rpc/peer.ts'
import type { Peers } from '../rpc/peers.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { type Budget, type Outcome, callUntilDone, failureRule, withinBudget } from './call.ts'
import type { MetaSession } from './meta-session.ts'
import { type PartitionMap, type Route, type Target, doubt } from './partition-map.ts'
import { mergePartitionMap, routeOf } from './partition-map.ts'
import { PegasusError, codeOf, fromRpcError } from './pegasus-error.ts'
import { errorEntry } from '../protocol/error-codes.ts'

export interface RoutingOptions {
  /** Resend idempotent writes whose outcome is unknown. */
  readonly resendUnknownWrites: boolean
  /** Shared configuration queries of a table; calls that want more wait with what is known. */
  readonly refreshesPerSecondMax: number
  /** For one shared configuration query, whoever waits for it. */
  readonly queryTimeoutMs: number
}

export interface DataRpc<A, R> extends RpcSignature<A, R> {
  readonly kind: RpcKind
}

/** Where an attempt goes, and when that was decided. */
interface Way {
  readonly peer: Peer
  readonly route: Route
  readonly routedAtMs: number
}

/** Errors of a configuration query that asking again will not cure soon (client.md 2). */
function isFinal(error: PegasusError): boolean {
  return error.code !== 'ERR_TIMEOUT' && error.code !== 'ERR_NETWORK_FAILURE'
}

export class TableRouting {
  readonly name: string
  readonly #runtime: Runtime
  readonly #peers: Peers
  readonly #meta: MetaSession
  readonly #options: RoutingOptions
  readonly #closing: AbortSignal
  #map: PartitionMap | undefined
  #refreshing: Promise<void> | undefined
  #refreshedAtMs = -Infinity
  /** When the last queries were started, oldest first; at most `refreshesPerSecondMax`. */
  readonly #recentQueriesMs: number[] = []

  constructor(
    name: string,
    parts: {
      readonly runtime: Runtime
      readonly peers: Peers
      readonly meta: MetaSession
      readonly options: RoutingOptions
      readonly closing: AbortSignal
    },
  ) {
    this.name = name
    this.#runtime = parts.runtime
    this.#peers = parts.peers
    this.#meta = parts.meta
    this.#options = parts.options
    this.#closing = parts.closing
  }

  /** `undefined` before `open` and after the table was found to be gone. */
  get map(): PartitionMap | undefined {
    return this.#map
  }

  /** Makes sure that a map is there. Rejects with `PegasusError` (ERR_OBJECT_NOT_FOUND and others). */
  async open(budget: Budget): Promise<PartitionMap> {
    return callUntilDone(this.#runtime, budget, `open table ${this.name}`, async () => {
      const failure = this.#map === undefined ? await this.#refresh(budget, Infinity) : undefined
      if (this.#map !== undefined) return { done: true, value: this.#map }
      const error = failure ?? new PegasusError('ERR_BUSY', `${this.name} was asked for too often`)
      return { done: false, error, again: failure && isFinal(failure) ? 'no' : 'backoff' }
    })
  }

  /**
   * Sends one operation to the primary of its partition until it is answered. `accept` turns the
   * response into the caller's value or throws `PegasusError` for a storage status that it does not
   * expect. A `target` that is a function is asked at each attempt and may throw to give up.
   */
  async call<A, R, T>(
    rpc: DataRpc<A, R>,
    argument: A,
    target: Target | ((map: PartitionMap) => Target),
    budget: Budget,
    accept: (response: R, route: Route) => T,
  ): Promise<T> {
    // Once for all attempts: the caller's buffers are not looked at again.
    const bytes = encodeArgument(rpc.argument, argument)
    return callUntilDone(this.#runtime, budget, `${rpc.name} on ${this.name}`, async () => {
      const routedAtMs = this.#runtime.clock.monotonicMs()
      const map = this.#map
      if (map === undefined) {
        const failure = await this.#refresh(budget, routedAtMs)
        return this.#unroutable(failure, 'its configuration is not known')
      }
      const route = routeOf(map, typeof target === 'function' ? target(map) : target)
      const peer = this.#peers.find(route.primary)
      if (peer === undefined) {
        const failure = await this.#refresh(budget, routedAtMs)
        return this.#unroutable(failure, `partition ${route.partitionIndex} has no primary`)
      }
      return this.#attempt(rpc, bytes, { peer, route, routedAtMs }, budget, accept)
    })
  }

  /** Best effort to the current primary: no retry, no reply. */
  send<A, R>(rpc: DataRpc<A, R>, argument: A, target: Target, budget: Budget): void {
    if (this.#map === undefined) return
    const route = routeOf(this.#map, target)
    this.#peers.find(route.primary)?.send(rpc, argument, { ...route, deadline: budget.deadline })
  }

  async #attempt<A, R, T>(
    rpc: DataRpc<A, R>,
    bytes: Buffer,
    way: Way,
    budget: Budget,
    accept: (response: R, route: Route) => T,
  ): Promise<Outcome<T>> {
    const { peer, route } = way
    const { appId, partitionIndex, partitionHash } = route
    const { deadline, signal } = budget
    let reply: RawReply
    try {
      const options = { deadline, signal, appId, partitionIndex, partitionHash }
      reply = await peer.callRaw(rpc.name, bytes, options)
    } catch (error) {
      if (!(error instanceof RpcError)) throw error
      return this.#failed(rpc, error, way, budget)
    }
    if (reply.errorName !== 'ERR_OK')
      return this.#failed(rpc, this.#answered(rpc, reply.errorName, peer), way, budget)
    let response: R
    try {
      response = decodeResult(rpc.result, reply.result)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      const facts = { effect: 'unknown', local: true, reason: error.message } as const
      const unreadable = this.#rpcError('ERR_INVALID_DATA', rpc, peer, facts)
      return this.#failed(rpc, unreadable, way, budget)
    }
    try {
      return { done: true, value: accept(response, route) }
    } catch (error) {
      if (!(error instanceof PegasusError)) throw error
      return { done: false, error, again: 'no' }
    }
  }

  async #failed<A, R>(
    rpc: DataRpc<A, R>,
    error: RpcError,
    { route, routedAtMs }: Way,
    budget: Budget,
  ): Promise<Outcome<never>> {
    const rule = failureRule(error, rpc.kind, this.#options.resendUnknownWrites)
    const failure = fromRpcError(error, rule.effect)
    if (rule.refresh && this.#map?.appId === route.appId) {
      this.#map = doubt(this.#map, route.partitionIndex)
      if (rule.resend) {
        const refreshFailure = await this.#refresh(budget, routedAtMs)
        if (this.#map === undefined && refreshFailure !== undefined)
          return { done: false, error: refreshFailure, again: 'no' }
      } else this.#refreshInBackground(routedAtMs)
    }
    return { done: false, error: failure, again: rule.resend ? 'backoff' : 'no' }
  }

  #unroutable(failure: PegasusError | undefined, why: string): Outcome<never> {
    if (failure !== undefined)
      return { done: false, error: failure, again: isFinal(failure) ? 'no' : 'backoff' }
    // A new map is there, or one is not to be had just now: look again behind a pause.
    const error = new PegasusError('ERR_INACTIVE_STATE', `table ${this.name}: ${why}`)
    return { done: false, error, again: 'backoff' }
  }

  /**
   * Takes part in the one query under way, or starts it; neither when the map is younger than the
   * route that failed, or when too many were started lately. Returns why the configuration could not
   * be had; what was known then stays, except for a table that is gone.
   */
  async #refresh(budget: Budget, routedAtMs: number): Promise<PegasusError | undefined> {
    const shared = this.#sharedQuery(routedAtMs)
    if (shared === undefined) return undefined
    try {
      await withinBudget(this.#runtime, budget, `configuration of ${this.name}`, shared)
      return undefined
    } catch (error) {
      if (!(error instanceof PegasusError)) throw error
      const { lastFailure } = this.#meta
      if (error.code !== 'ERR_TIMEOUT' || error.cause !== undefined || lastFailure === undefined)
        return error
      const message = `${error.message}; last: ${lastFailure.message}`
      return new PegasusError('ERR_TIMEOUT', message, { cause: lastFailure })
    }
  }

  #refreshInBackground(routedAtMs: number): void {
    // Its failure is met by the call that needs the configuration next.
    this.#sharedQuery(routedAtMs)?.catch(() => undefined)
  }

  #sharedQuery(routedAtMs: number): Promise<void> | undefined {
    if (this.#refreshing !== undefined) return this.#refreshing
    if (routedAtMs < this.#refreshedAtMs) return undefined
    const nowMs = this.#runtime.clock.monotonicMs()
    const recent = this.#recentQueriesMs
    while (recent[0] !== undefined && recent[0] <= nowMs - 1000) recent.shift()
    if (recent.length >= this.#options.refreshesPerSecondMax) return undefined
    recent.push(nowMs)
    const query = this.#query().finally(() => {
      this.#refreshing = undefined
      this.#refreshedAtMs = this.#runtime.clock.monotonicMs()
    })
    this.#refreshing = query
    return query
  }

  async #query(): Promise<void> {
    const deadline = deadlineIn(this.#runtime.clock, this.#options.queryTimeoutMs)
    const budget = { deadline, signal: undefined, closing: this.#closing }
    const response = await this.#meta.queryConfiguration(this.name, budget)
    if (response.err !== 'ERR_OK') {
      if (response.err === 'ERR_OBJECT_NOT_FOUND') this.#map = undefined
      throw new PegasusError(codeOf(response.err), `table ${this.name}: ${response.err}`)
    }
    const map = mergePartitionMap(this.#map, response)
    if (map === undefined) {
      const { appId, partitionCount } = response
      const found = `app id ${appId}, ${partitionCount} partitions`
      throw new PegasusError('ERR_INVALID_DATA', `configuration of ${this.name}: ${found}`)
    }
    this.#map = map
  }

  #answered<A, R>(rpc: DataRpc<A, R>, errorName: string, peer: Peer): RpcError {
    const effect = errorEntry(errorName).effect === 'none' ? 'none' : 'unknown'
    return this.#rpcError(errorName, rpc, peer, { effect, local: false })
  }

  #rpcError<A, R>(
    code: string,
    rpc: DataRpc<A, R>,
    peer: Peer,
    facts: {
      readonly effect: 'none' | 'unknown'
      readonly local: boolean
      readonly reason?: string
    },
  ): RpcError {
    return new RpcError(code, { ...facts, rpcName: rpc.name, address: peer.address })
  }
}
