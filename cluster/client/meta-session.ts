/**
 * Calls to the leader among a cluster's meta servers (client.md 1). Any of the addresses given may
 * be asked; a follower answers ERR_FORWARD_TO_OTHERS, to configuration queries with the leader's
 * address. One address is enough when it is a gateway's, which always answers itself.
 */
import { PegasusError, codeOf, fromRpcError, invalidParameters } from './pegasus-error.ts'
import { type Budget, type Outcome, callUntilDone, withinBudget } from './call.ts'
import type { Peers } from '../rpc/peers.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import type { RpcSignature } from '../rpc/handler.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import type { QueryCfgResponse } from '../protocol/layer2.ts'
import type { Runtime } from '../runtime/runtime.ts'

/**
 * With others to ask, one meta server gets so long; a lone address gets all the time there is. A
 * change may take the leader longer, and must not be repeated without need.
 */
const QUERY_ATTEMPT_MS = 1500
const CHANGE_ATTEMPT_MS = 5000
/** Pause before a leader that is still loading is asked again. */
const NOT_ACTIVE_MS = 1000
const HOPS_MAX = 3

interface HostAndPort {
  readonly host: string
  readonly port: number
}

/** What one call learned of the servers so far. */
interface Progress {
  /** Servers in a row that could not answer. */
  misses: number
  /** Forward addresses followed since then. */
  hops: number
}

/** The response's own `err` is judged by the caller. */
interface WithError {
  readonly err: string
}

export interface MetaCallOptions<R> {
  /** Whether the operation changes something, so that a lost reply leaves its effect unknown. */
  readonly changes: boolean
  /** The leader's address in a follower's response, '' when it names none. */
  readonly forwardOf?: (response: R) => string
}

export class MetaSession {
  readonly #runtime: Runtime
  readonly #peers: Peers
  readonly #configured: readonly HostAndPort[]
  #candidates: readonly string[] = []
  #cursor = 0
  #leader: string | undefined
  #lastFailure: PegasusError | undefined

  /** `metaServers` are `host:port`, names or IPv4. Throws `PegasusError` when one is not. */
  constructor(runtime: Runtime, peers: Peers, metaServers: readonly string[]) {
    if (metaServers.length === 0) throw invalidParameters('metaServers is empty')
    this.#runtime = runtime
    this.#peers = peers
    this.#configured = metaServers.map(parseAddress)
  }

  /** Why the last server that was of no use was so; for messages. */
  get lastFailure(): PegasusError | undefined {
    return this.#lastFailure
  }

  /** The table's configuration. `err` is not a leader's trouble, but may be ERR_OBJECT_NOT_FOUND. */
  async queryConfiguration(tableName: string, budget: Budget): Promise<QueryCfgResponse> {
    const query = { appName: tableName, partitionIndices: [] }
    return this.call(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, query, budget, {
      changes: false,
      forwardOf: (response) => response.partitions[0]?.primary ?? '',
    })
  }

  /**
   * The leader's response, whose `err` may be any but the three that speak of the leader itself.
   * A call whose reply was lost is sent again, so the operation must bear that. Rejects with
   * `PegasusError`.
   */
  async call<A, R extends WithError>(
    rpc: RpcSignature<A, R>,
    argument: A,
    budget: Budget,
    options: MetaCallOptions<R>,
  ): Promise<R> {
    const progress: Progress = { misses: 0, hops: 0 }
    return callUntilDone(this.#runtime, budget, rpc.name, async () => {
      if (this.#candidates.length === 0) {
        const failure = await this.#resolve(budget)
        if (failure !== undefined) {
          this.#lastFailure = failure
          return { done: false, error: failure, again: 'backoff' }
        }
      }
      const target = this.#leader ?? this.#candidates[this.#cursor % this.#candidates.length] ?? ''
      return this.#ask(target, rpc, argument, budget, options, progress)
    })
  }

  async #ask<A, R extends WithError>(
    target: string,
    rpc: RpcSignature<A, R>,
    argument: A,
    budget: Budget,
    options: MetaCallOptions<R>,
    progress: Progress,
  ): Promise<Outcome<R>> {
    let response: R
    try {
      response = await this.#peers.get(target).call(rpc, argument, {
        deadline: this.#attemptDeadline(target, budget, options.changes),
        signal: budget.signal,
      })
    } catch (error) {
      if (!(error instanceof RpcError)) throw error
      const effect = options.changes ? error.effect : 'none'
      return this.#failed(target, error, fromRpcError(error, effect), progress)
    }
    if (response.err === 'ERR_FORWARD_TO_OTHERS')
      return this.#forwarded(target, rpc.name, options.forwardOf?.(response) ?? '', progress)
    if (isLoading(response.err)) {
      this.#leader = target
      return { done: false, error: answered(rpc.name, target, response.err), again: NOT_ACTIVE_MS }
    }
    this.#leader = target
    return { done: true, value: response }
  }

  #attemptDeadline(target: string, budget: Budget, changes: boolean): { readonly atMs: number } {
    const alone = this.#candidates.length === 1 && this.#candidates[0] === target
    if (alone) return budget.deadline
    const attemptMs = changes ? CHANGE_ATTEMPT_MS : QUERY_ATTEMPT_MS
    const atMs = this.#runtime.clock.monotonicMs() + attemptMs
    return { atMs: Math.min(atMs, budget.deadline.atMs) }
  }

  #failed(
    target: string,
    error: RpcError,
    failure: PegasusError,
    progress: Progress,
  ): Outcome<never> {
    if (error.code === 'ERR_ABORTED') return { done: false, error: failure, again: 'no' }
    if (!error.local && isLoading(error.code))
      return { done: false, error: failure, again: NOT_ACTIVE_MS }
    const refused = !error.local && error.code !== 'ERR_FORWARD_TO_OTHERS'
    if (refused) return { done: false, error: failure, again: 'no' }
    return this.#missed(target, failure, progress)
  }

  #forwarded(target: string, rpcName: string, address: string, progress: Progress): Outcome<never> {
    const error = answered(rpcName, target, 'ERR_FORWARD_TO_OTHERS')
    const useless = address === target || this.#peers.find(address) === undefined
    if (useless || progress.hops >= HOPS_MAX) {
      progress.hops = 0
      return this.#missed(target, error, progress)
    }
    progress.hops++
    this.#leader = address
    return { done: false, error, again: 0 }
  }

  /** On to the next server; after a round of all a pause, and names are resolved anew. */
  #missed(target: string, error: PegasusError, progress: Progress): Outcome<never> {
    if (this.#leader === target) this.#leader = undefined
    if (this.#candidates[this.#cursor % this.#candidates.length] === target) this.#cursor++
    this.#lastFailure = error
    progress.misses++
    if (progress.misses < this.#candidates.length) return { done: false, error, again: 0 }
    progress.misses = 0
    progress.hops = 0
    if (this.#configured.some(({ host }) => !isAddress(host))) this.#candidates = []
    return { done: false, error, again: 'backoff' }
  }

  /** All addresses of all names. An error when none could be resolved. */
  async #resolve(budget: Budget): Promise<PegasusError | undefined> {
    const failures: unknown[] = []
    const found = await Promise.all(
      this.#configured.map(async ({ host, port }) => {
        if (isAddress(host)) return [`${host}:${port}`]
        const resolving = this.#runtime.network.resolve(host)
        try {
          const addresses = await withinBudget(this.#runtime, budget, `resolve ${host}`, resolving)
          return addresses.map((address) => `${address}:${port}`)
        } catch (error) {
          failures.push(error)
          return []
        }
      }),
    )
    const candidates = [...new Set(found.flat())]
    if (candidates.length === 0) {
      const names = this.#configured.map(({ host }) => host).join(', ')
      return new PegasusError('ERR_NETWORK_FAILURE', `no address of ${names} found`, {
        cause: failures[0],
      })
    }
    this.#candidates = candidates
    return undefined
  }
}

function isLoading(errorName: string): boolean {
  return errorName === 'ERR_SERVICE_NOT_ACTIVE' || errorName === 'ERR_UNDER_RECOVERY'
}

function answered(rpcName: string, target: string, errorName: string): PegasusError {
  return new PegasusError(codeOf(errorName), `${rpcName} to ${target}: ${errorName}`)
}

function isAddress(host: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(host)
}

function parseAddress(text: string): HostAndPort {
  const match = /^([^:\s]+):(\d{1,5})$/.exec(text.trim())
  const port = Number(match?.[2])
  const host = match?.[1]
  if (host === undefined || port < 1 || port > 65535)
    throw invalidParameters(`meta server ${JSON.stringify(text)}, expected host:port`)
  return { host, port }
}
