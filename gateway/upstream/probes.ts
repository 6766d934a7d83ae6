/**
 * The health of every known cluster, for readiness, the admin page and the switch (gateway.md M-8).
 * Each cluster is probed every few seconds by one gateway of the fleet, which holds the lease: the
 * ephemeral node `<control root>/locks/probe-<cluster>`. Its value is the last verdict, written when
 * it changes and now and then, so that all the others know it too; they watch the node and take the
 * lease when it goes. Runs where the control session is.
 */
import { closingSignal } from '../../cluster/client/call.ts'
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { Peers } from '../../cluster/rpc/peers.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import { makePath } from '../routing/redirect-plan.ts'
import { ClusterProbe, type ProbeVerdict } from './cluster-probe.ts'

export interface ProbeResult extends ProbeVerdict {
  readonly cluster: string
  /** Unix milliseconds at the end of the probe, by the prober's clock. */
  readonly atMs: number
  /** The gateway that probed. */
  readonly by: string
}

export interface ProbesOptions {
  readonly controlRoot: string
  /** Of this gateway, in the fleet. */
  readonly id: string
  /** Clusters to look after, and their metas (`host:port`), as known now. */
  readonly clusters: () => ReadonlyMap<string, readonly string[]>
  /** Between two probes of a cluster. */
  readonly intervalMs?: number
}

const INTERVAL_MS = 5000
const JITTER = 0.1
/** An unchanged verdict is written again after this, so that its age tells something. */
const REWRITE_MS = 15_000
const CLUSTERS_MAX = 1000
/** Probes, reads and writes under way. */
const AT_ONCE_MAX = 16
const PEER_OPTIONS = { connectTimeoutMs: 1000, silentMs: 2000, idleMs: 60_000 }

interface Watched {
  readonly cluster: string
  readonly path: string
  metas: string
  probe: ClusterProbe | undefined
  result: ProbeResult | undefined
  /** The session that made our node; 0 when the lease is not ours. */
  leaseSession: number
  /** Another gateway's node is watched, in this session. */
  watchSession: number
  writtenAtMs: number
  isBusy: boolean
}

export class ClusterProbes {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #control: Coordinator
  readonly #options: ProbesOptions
  readonly #peers: Peers
  readonly #closing = closingSignal()
  readonly #watched = new Map<string, Watched>()
  #locksMadeIn = 0
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  /** Those that a watch began. */
  readonly #turns = new Set<Promise<void>>()
  #closed = false

  constructor(runtime: Runtime, control: Coordinator, options: ProbesOptions) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'probes' })
    this.#control = control
    this.#options = options
    this.#peers = new Peers(runtime, PEER_OPTIONS)
    this.#schedule(0)
  }

  /** The last verdict of each cluster, ours or another gateway's. */
  results(): readonly ProbeResult[] {
    return [...this.#watched.values()].flatMap(({ result }) =>
      result === undefined ? [] : [result],
    )
  }

  result(cluster: string): ProbeResult | undefined {
    return this.#watched.get(cluster)?.result
  }

  /** Clusters that this gateway probes. */
  get leases(): readonly string[] {
    return [...this.#watched.values()].flatMap((each) => (this.#holds(each) ? [each.cluster] : []))
  }

  /** Gives the leases back. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#closing.abort()
    this.#peers.close()
    await Promise.all([this.#running, ...this.#turns])
    const held = [...this.#watched.values()].filter((each) => this.#holds(each))
    this.#watched.clear()
    await Promise.all(held.map((each) => this.#release(each)))
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return
    this.#timer = this.#runtime.timers.after(delayMs, () => {
      this.#running = this.#round().finally(() => {
        this.#running = undefined
        const jitter = 1 + JITTER * (2 * this.#runtime.random.float() - 1)
        this.#schedule((this.#options.intervalMs ?? INTERVAL_MS) * jitter)
      })
    })
  }

  async #round(): Promise<void> {
    await this.#adopt()
    const queue = [...this.#watched.values()]
    const work = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined && !this.#closed; next = queue.pop())
        await this.#turn(next)
    }
    await Promise.all(Array.from({ length: AT_ONCE_MAX }, work))
  }

  /** Clusters come and go, and so do their metas. */
  async #adopt(): Promise<void> {
    const known = new Map([...this.#options.clusters()].slice(0, CLUSTERS_MAX))
    for (const [cluster, each] of this.#watched) {
      if (known.has(cluster)) continue
      this.#watched.delete(cluster)
      if (this.#holds(each)) await this.#release(each)
    }
    for (const [cluster, metas] of known) {
      const each = this.#watched.get(cluster) ?? this.#add(cluster)
      const text = metas.join()
      if (each.metas === text) continue
      each.metas = text
      each.probe = this.#probeOf(cluster, metas)
    }
  }

  #add(cluster: string): Watched {
    const each: Watched = {
      cluster,
      path: `${this.#options.controlRoot}/locks/probe-${encodeURIComponent(cluster)}`,
      metas: '',
      probe: undefined,
      result: undefined,
      leaseSession: 0,
      watchSession: 0,
      writtenAtMs: -Infinity,
      isBusy: false,
    }
    this.#watched.set(cluster, each)
    return each
  }

  #probeOf(cluster: string, metas: readonly string[]): ClusterProbe | undefined {
    try {
      return new ClusterProbe(this.#runtime, this.#peers, metas, this.#closing.signal)
    } catch (error) {
      this.#log.warn('cluster not probed', { cluster, metas, error })
      return undefined
    }
  }

  #holds(each: Watched): boolean {
    return each.leaseSession > 0 && each.leaseSession === this.#control.sessionEpoch()
  }

  #turnSoon(each: Watched): void {
    const turn = this.#turn(each).finally(() => this.#turns.delete(turn))
    this.#turns.add(turn)
  }

  /** Never rejects: ZooKeeper's troubles end this turn, and the next one is soon. */
  async #turn(each: Watched): Promise<void> {
    if (this.#watched.get(each.cluster) !== each || this.#control.state() !== 'connected') return
    if (each.isBusy || each.probe === undefined) return
    each.isBusy = true
    try {
      if (this.#holds(each) || (await this.#take(each))) await this.#probe(each, each.probe)
    } catch (error) {
      if (!(error instanceof CoordinatorError)) throw error
      each.watchSession = 0
      if (error.code === 'no-node') {
        each.leaseSession = 0
        this.#locksMadeIn = 0
      }
      this.#log.debug('probe lease', { cluster: each.cluster, error })
    } finally {
      each.isBusy = false
      // Known no longer since the lease was asked for.
      const isGone = this.#closed || this.#watched.get(each.cluster) !== each
      if (isGone && this.#holds(each)) await this.#release(each)
    }
  }

  async #probe(each: Watched, probe: ClusterProbe): Promise<void> {
    const verdict = await probe.run()
    if (this.#closed || !this.#holds(each)) return
    const { cluster, result: before } = each
    const result = { ...verdict, cluster, atMs: this.#runtime.clock.wallMs(), by: this.#options.id }
    each.result = result
    const isNews =
      before?.leaderReachable !== result.leaderReachable || before.queryOk !== result.queryOk
    if (isNews) this.#log.info('cluster probed', { ...result })
    const nowMs = this.#runtime.clock.monotonicMs()
    if (!isNews && nowMs - each.writtenAtMs < REWRITE_MS) return
    await this.#control.set(each.path, bytesOf(result))
    each.writtenAtMs = nowMs
  }

  /** True when the lease is ours now. Otherwise its holder's node is watched. */
  async #take(each: Watched): Promise<boolean> {
    const session = this.#control.sessionEpoch()
    if (each.watchSession === session) return false
    await this.#makeLocks(session)
    if (this.#closed) return false
    try {
      await this.#control.create(each.path, this.#claim(), { ephemeral: true })
      each.leaseSession = session
      each.writtenAtMs = -Infinity
      return true
    } catch (error) {
      if (!(error instanceof CoordinatorError) || error.code !== 'node-exists') throw error
    }
    each.watchSession = session
    const { data } = await this.#control.get(each.path, () => {
      // Changed, or gone: look again, and take it if it is free.
      each.watchSession = 0
      if (!this.#closed) this.#turnSoon(each)
    })
    // Of a create whose outcome we did not learn, or of our session before: free with the next turn.
    if (data.equals(this.#claim()) || resultOf(each.cluster, data)?.by === this.#options.id) {
      each.watchSession = 0
      await this.#control.remove(each.path)
      return false
    }
    each.result = resultOf(each.cluster, data) ?? each.result
    return false
  }

  #claim(): Buffer {
    return Buffer.from(JSON.stringify({ by: this.#options.id }))
  }

  async #makeLocks(session: number): Promise<void> {
    if (this.#locksMadeIn === session) return
    await makePath(this.#control, `${this.#options.controlRoot}/locks`)
    this.#locksMadeIn = session
  }

  async #release(each: Watched): Promise<void> {
    each.leaseSession = 0
    // When it fails, the end of the session takes the node away.
    await this.#control.remove(each.path).catch(() => undefined)
  }
}

function bytesOf(result: ProbeResult): Buffer {
  return Buffer.from(JSON.stringify(result))
}

/** Written by another gateway, perhaps of another version: taken as it is when it has our form. */
function resultOf(cluster: string, data: Buffer): ProbeResult | undefined {
  let value: unknown
  try {
    value = JSON.parse(data.toString())
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { leaderReachable, leader, queryOk, ms, error, atMs, by } = value as Record<string, unknown>
  if (typeof leaderReachable !== 'boolean' || typeof ms !== 'number') return undefined
  if (typeof atMs !== 'number' || typeof by !== 'string') return undefined
  return {
    cluster,
    leaderReachable,
    ms,
    atMs,
    by,
    ...(typeof leader === 'string' ? { leader } : {}),
    ...(typeof queryOk === 'boolean' ? { queryOk } : {}),
    ...(typeof error === 'string' ? { error } : {}),
  }
}
