/**
 * The failure detector, both sides: the worker's lease (a replica server stops serving in time) and
 * the master's grace (the meta leader declares it dead later). Pure: times come in as monotonic
 * milliseconds, beacons and timers are the drivers' business. Rules: meta-server.md 6,
 * replica-server.md 4.1; the relation between the times: product.md ("Decisions").
 *
 * Why it is safe: a worker stops at the latest `leaseMs` after *sending* a beacon that a master
 * acknowledged, the master waits `graceMs` > `leaseMs` after *receiving* the last one.
 */
import { type ConfigOf, duration, section } from './runtime/options.ts'

export interface FailureDetectorTimes {
  readonly beaconMs: number
  readonly checkMs: number
  readonly leaseMs: number
  readonly graceMs: number
}

/** Defaults of ours; upstream's are 3, 2, 20 and 22 s. Both roles must agree. */
export const failureDetectorDefaults: FailureDetectorTimes = {
  beaconMs: 1000,
  checkMs: 500,
  leaseMs: 6000,
  graceMs: 7000,
}

/** The same as a section of a configuration, for both roles. Durations are milliseconds. */
export const failureDetectorOptions = section('failure detector; equal on all servers', {
  beacon: duration({ about: 'between two beacons', default: 1000, min: 5, max: 60_000 }),
  check: duration({ about: 'between two checks', default: 500, min: 5, max: 60_000 }),
  lease: duration({ about: 'a worker stops serving', default: 6000, min: 20, max: 600_000 }),
  grace: duration({ about: 'a worker is declared dead', default: 7000, min: 20, max: 600_000 }),
})

export function timesOf(options: ConfigOf<typeof failureDetectorOptions>): FailureDetectorTimes {
  const { beacon, check, lease, grace } = options
  return { beaconMs: beacon, checkMs: check, leaseMs: lease, graceMs: grace }
}

/**
 * The sentence to refuse a configuration with, `undefined` when the times are fine. `leaderChange`
 * is what a new meta leader needs; replica servers, which do not know it, leave it out.
 */
export function timingProblem(
  times: FailureDetectorTimes,
  leaderChange?: { readonly sessionMs: number; readonly restoreMs: number },
): string | undefined {
  const { beaconMs, checkMs, leaseMs, graceMs } = times
  if (leaderChange !== undefined) {
    const { sessionMs, restoreMs } = leaderChange
    if (!(sessionMs + restoreMs + beaconMs < leaseMs && leaseMs < graceMs))
      return (
        `ZooKeeper session (${sessionMs} ms) + restore of a new leader (${restoreMs} ms) + one ` +
        `beacon interval (${beaconMs} ms) < lease (${leaseMs} ms) < grace (${graceMs} ms) must ` +
        'hold; otherwise the death of a meta leader stops every replica'
      )
  }
  if (!(beaconMs + checkMs < leaseMs && leaseMs < graceMs))
    return (
      `one beacon interval (${beaconMs} ms) + one check interval (${checkMs} ms) < lease ` +
      `(${leaseMs} ms) < grace (${graceMs} ms) must hold; otherwise a healthy replica server ` +
      'stops serving, or a dead one is replaced while it still serves'
    )
  return undefined
}

// ---------------------------------------------------------------------------------- worker side

/** What the other side answered to a beacon. */
export interface BeaconAnswer {
  /** The meta server asked, and when the beacon left (both as in the `send-beacon` effect). */
  readonly to: string
  readonly sentAtMs: number
  readonly isMaster: boolean
  readonly allowed: boolean
  /** Address of the leader, '' when the answering server knows none. */
  readonly primary: string
}

export type LeaseEvent =
  /** Start-up, and whenever the time of the last `next-beacon` effect has come. */
  | { readonly type: 'beacon-due' }
  | ({ readonly type: 'ack' } & BeaconAnswer)
  /** No answer within the time-out, or the call failed. */
  | { readonly type: 'failed'; readonly to: string; readonly sentAtMs: number }
  /** Every `checkMs`. */
  | { readonly type: 'check' }

export type LeaseEffect =
  | {
      readonly type: 'send-beacon'
      readonly to: string
      readonly sentAtMs: number
      readonly timeoutMs: number
    }
  /** Raise `beacon-due` after this time; replaces what an earlier effect asked for. */
  | { readonly type: 'next-beacon'; readonly afterMs: number }
  /** A leader holds this server for alive: run a configuration sync before serving. */
  | { readonly type: 'connected'; readonly master: string }
  /** The lease is over: every replica stops serving now. */
  | { readonly type: 'disconnected' }
  /** The leader's white list does not name this server: no beacons any more. */
  | { readonly type: 'refused'; readonly master: string }

/**
 * When a meta server did not answer or knew no leader, the next one is asked this part of a beacon
 * interval after it was: a new leader must be found before the lease is over. (Upstream waits 1 s.)
 */
const NEXT_META_PART = 1 / 4

/** The lease of one replica server. */
export class WorkerLease {
  readonly #times: FailureDetectorTimes
  readonly #metas: readonly string[]
  #master: string
  #connected = false
  #refused = false
  /** Send time of the newest beacon that a leader acknowledged. */
  #ackedSendMs = Number.NEGATIVE_INFINITY
  #redirectedAtMs = Number.NEGATIVE_INFINITY

  /** `metas` must not be empty; `first` is the index of the one asked first (draw it). */
  constructor(options: {
    readonly times: FailureDetectorTimes
    readonly metas: readonly string[]
    readonly first: number
  }) {
    this.#times = options.times
    this.#metas = options.metas
    const master = options.metas[options.first % options.metas.length]
    if (master === undefined) throw new RangeError('a replica server needs a meta server')
    this.#master = master
  }

  /** To be asked before each read is served and each write acknowledged: one comparison. */
  leaseValid(nowMs: number): boolean {
    return this.#connected && nowMs < this.#ackedSendMs + this.#times.leaseMs
  }

  /** Whether `connected` was the last word; `leaseValid` may already say no. */
  get connected(): boolean {
    return this.#connected
  }

  /** The meta server that is taken for the leader. */
  get master(): string {
    return this.#master
  }

  /** Milliseconds of lease left, 0 when none. */
  remainingMs(nowMs: number): number {
    if (!this.#connected) return 0
    return Math.max(0, this.#ackedSendMs + this.#times.leaseMs - nowMs)
  }

  step(event: LeaseEvent, nowMs: number): readonly LeaseEffect[] {
    switch (event.type) {
      case 'beacon-due':
        return this.#beacon(nowMs)
      case 'check':
        return this.#expire(nowMs + this.#times.checkMs)
      case 'failed':
        return event.to === this.#master && event.sentAtMs > this.#ackedSendMs
          ? this.#tryNextMeta(nowMs - event.sentAtMs)
          : []
      case 'ack':
        return this.#acknowledged(event, nowMs)
    }
  }

  #beacon(nowMs: number): readonly LeaseEffect[] {
    if (this.#refused) return []
    const { beaconMs } = this.#times
    const timeoutMs = Math.ceil((beaconMs * 2) / 3)
    return [
      { type: 'send-beacon', to: this.#master, sentAtMs: nowMs, timeoutMs },
      { type: 'next-beacon', afterMs: beaconMs },
    ]
  }

  /** `horizonMs` is now, or now and one check interval: never late, rather early. */
  #expire(horizonMs: number): readonly LeaseEffect[] {
    if (!this.#connected || horizonMs < this.#ackedSendMs + this.#times.leaseMs) return []
    this.#connected = false
    return [{ type: 'disconnected' }]
  }

  #acknowledged(answer: BeaconAnswer, nowMs: number): readonly LeaseEffect[] {
    const { to, sentAtMs, isMaster, allowed, primary } = answer
    // From a server that is no longer asked, or older than what is known: says nothing new.
    if (to !== this.#master || sentAtMs <= this.#ackedSendMs) return []
    if (!allowed) {
      this.#refused = true
      return [{ type: 'refused', master: to }]
    }
    if (!isMaster) return this.#redirected(primary, sentAtMs, nowMs)
    // A lease that ran out while nobody looked (a stalled process) has ended all the same: the
    // master may have declared this server dead meanwhile, so its configurations are stale.
    const effects = [...this.#expire(nowMs)]
    this.#ackedSendMs = sentAtMs
    if (!this.#connected && nowMs < sentAtMs + this.#times.leaseMs) {
      this.#connected = true
      effects.push({ type: 'connected', master: to })
    }
    return effects
  }

  /** At once, but not in circles: two standbys may each take the other for the leader. */
  #redirected(primary: string, sentAtMs: number, nowMs: number): readonly LeaseEffect[] {
    if (primary === '' || primary === this.#master) return this.#tryNextMeta(nowMs - sentAtMs)
    this.#master = primary
    const pauseMs = this.#times.beaconMs * NEXT_META_PART
    const again = nowMs - this.#redirectedAtMs < pauseMs
    this.#redirectedAtMs = nowMs
    return [{ type: 'next-beacon', afterMs: again ? pauseMs : 0 }]
  }

  #tryNextMeta(waitedMs: number): readonly LeaseEffect[] {
    const at = this.#metas.indexOf(this.#master)
    this.#master = this.#metas[(at + 1) % this.#metas.length] ?? this.#master
    const pauseMs = this.#times.beaconMs * NEXT_META_PART
    return [{ type: 'next-beacon', afterMs: Math.max(0, pauseMs - waitedMs) }]
  }
}

// ---------------------------------------------------------------------------------- master side

/** A node that restarts too often gets no answers until it has run long enough (6.6). */
export interface UnstableNodeFilter {
  readonly minRunningMs: number
  readonly maxSuccessiveRestarts: number
}

export const unstableNodeDefaults: UnstableNodeFilter = {
  minRunningMs: 600_000,
  maxSuccessiveRestarts: 5,
}

export interface MasterGraceOptions {
  readonly times: FailureDetectorTimes
  /** Left out: no filter (the onebox). */
  readonly unstable?: UnstableNodeFilter
  /** New workers outside of it are refused; left out: all are welcome. */
  readonly whiteList?: ReadonlySet<string>
}

/**
 * What to do with a beacon: `alive` is acknowledged as master (`joined` when the node was unknown
 * or dead: a node event), `restarted` the same when it was alive and has a newer start time, `refused` is answered allowed = false, `ignored` gets no answer.
 */
export type BeaconVerdict = 'alive' | 'joined' | 'restarted' | 'refused' | 'ignored'

interface Worker {
  readonly lastBeaconMs: number
  alive: boolean
  /** 0 when unknown. */
  readonly startTimeMs: number
}

interface Restarts {
  startTimeMs: number
  /** When this start time was first seen. */
  seenSinceMs: number
  count: number
}

/** What a meta leader knows of the workers. A standby uses only `stable`. */
export class MasterGrace {
  readonly #options: MasterGraceOptions
  readonly #workers = new Map<string, Worker>()
  readonly #restarts = new Map<string, Restarts>()
  #lastCheckMs: number | undefined

  constructor(options: MasterGraceOptions) {
    this.#options = options
  }

  /**
   * The stability filter, to be asked first, by leader and standby: false means no answer at all.
   * `startTimeMs` is the worker's own clock, undefined when the beacon carries none.
   */
  stable(node: string, startTimeMs: number | undefined, nowMs: number): boolean {
    const { unstable } = this.#options
    if (unstable === undefined || startTimeMs === undefined) return true
    const known = this.#restarts.get(node)
    if (known === undefined) {
      this.#restarts.set(node, { startTimeMs, seenSinceMs: nowMs, count: 0 })
      return true
    }
    const ranMs = nowMs - known.seenSinceMs
    if (startTimeMs === known.startTimeMs) {
      if (ranMs >= unstable.minRunningMs) known.count = 0
    } else if (startTimeMs > known.startTimeMs) {
      const shortLived = startTimeMs - known.startTimeMs < unstable.minRunningMs
      known.count = shortLived ? known.count + 1 : 0
      known.startTimeMs = startTimeMs
      known.seenSinceMs = nowMs
    } else return known.count < unstable.maxSuccessiveRestarts
    return known.count < unstable.maxSuccessiveRestarts
  }

  /** Nodes that the filter keeps out at the moment. */
  unstableNodes(): readonly string[] {
    const limit = this.#options.unstable?.maxSuccessiveRestarts ?? Number.POSITIVE_INFINITY
    return [...this.#restarts].filter(([, { count }]) => count >= limit).map(([node]) => node)
  }

  /** A beacon that reached the leader at `nowMs`. */
  beacon(node: string, startTimeMs: number | undefined, nowMs: number): BeaconVerdict {
    if (!this.stable(node, startTimeMs, nowMs)) return 'ignored'
    const worker = this.#workers.get(node)
    if (worker === undefined && this.#options.whiteList?.has(node) === false) return 'refused'
    const wasAlive = worker?.alive === true
    const knownStartMs = worker?.startTimeMs ?? 0
    const restarted = knownStartMs > 0 && (startTimeMs ?? 0) > knownStartMs
    this.#workers.set(node, {
      lastBeaconMs: Math.max(nowMs, worker?.lastBeaconMs ?? nowMs),
      alive: true,
      startTimeMs: Math.max(startTimeMs ?? 0, knownStartMs),
    })
    if (!wasAlive) return 'joined'
    return restarted ? 'restarted' : 'alive'
  }

  /**
   * A new leader cannot know who lives: every node that a configuration names counts as heard now
   * (6.5). Nodes already known keep what is known.
   */
  assumeAlive(nodes: Iterable<string>, nowMs: number): void {
    for (const node of nodes)
      if (!this.#workers.has(node))
        this.#workers.set(node, { lastBeaconMs: nowMs, alive: true, startTimeMs: 0 })
  }

  /**
   * Every `checkMs`: the nodes that died since, in one batch. After a stall of this process nobody
   * dies in this check: beacons may be waiting in the sockets (28.5), the next check sees them.
   */
  check(nowMs: number): readonly string[] {
    const { checkMs, graceMs } = this.#options.times
    const stalled = this.#lastCheckMs !== undefined && nowMs - this.#lastCheckMs > 2 * checkMs
    this.#lastCheckMs = nowMs
    if (stalled) return []
    const dead: string[] = []
    for (const [node, worker] of this.#workers)
      if (worker.alive && nowMs - worker.lastBeaconMs > graceMs) {
        worker.alive = false
        dead.push(node)
      }
    return dead
  }

  isAlive(node: string): boolean {
    return this.#workers.get(node)?.alive === true
  }

  /** Nodes seen by this leader. */
  nodes(): readonly { readonly node: string; readonly alive: boolean }[] {
    return [...this.#workers].map(([node, { alive }]) => ({ node, alive }))
  }

  /** A dead node that no configuration names any more. */
  forget(node: string): void {
    if (this.#workers.get(node)?.alive === false) this.#workers.delete(node)
  }
}
