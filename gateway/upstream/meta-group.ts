/**
 * One cluster as seen from here: the group of its meta servers (gateway.md 4). A known leader that
 * answers in time is the rule: such a question goes straight to its connection, and nothing is kept
 * of it here. Anything else makes it a search (`searches.ts`). Every question is told within its
 * deadline.
 */
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { Batch } from '../batch.ts'
import type { UpstreamMetrics } from '../metrics.ts'
import type { Question } from '../question.ts'
import type { BreakerState } from './breaker.ts'
import { Hedging } from './hedging.ts'
import { Leader } from './leader.ts'
import type { MetaConnection, ReplyTaker } from './meta-connection.ts'
import { MetaNames } from './meta-names.ts'
import type { MetaPeer, PeerOptions, PeerView } from './meta-peer.ts'
import { MetaPeers } from './meta-peers.ts'
import type { ReplyStream } from './reply-stream.ts'
import { Searches } from './searches.ts'

export interface UpstreamOptions extends PeerOptions {
  /** A leader silent for this long, at least: the others are asked as well (M-4). */
  readonly hedgeMs: number
  /** Metas silent for this long are given up when nothing else is being tried. */
  readonly silenceMs: number
  /** Names are resolved again when the last answer is older. */
  readonly resolveMs: number
}

/** For people: the debug view. */
export interface GroupView {
  readonly cluster: string
  /** As the mapping names them. */
  readonly names: readonly string[]
  readonly leader: string | undefined
  readonly metas: readonly PeerView[]
  /** Questions not answered yet, and those of them that the leader did not simply answer. */
  readonly inFlight: number
  readonly searching: number
  readonly p95Ms: number
  readonly hedgeAfterMs: number
}

const SWEEP_MS = 25

export class MetaGroup {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #cluster: string
  readonly #metas: readonly string[]
  readonly #hedging: Hedging
  readonly #names: MetaNames
  readonly #peers: MetaPeers
  readonly #leader: Leader
  readonly #searches: Searches
  /** Takes the replies to questions that went straight to the leader. */
  readonly #straight: ReplyTaker
  #straightCount = 0
  #sweepTimer: Timer | undefined
  #usedAtMs: number
  #closed = false

  constructor(
    runtime: Runtime,
    batch: Batch,
    route: { readonly cluster: string; readonly metas: readonly string[] },
    metrics: UpstreamMetrics,
    options: UpstreamOptions,
  ) {
    const { cluster, metas } = route
    this.#runtime = runtime
    this.#cluster = cluster
    this.#metas = metas
    this.#log = runtime.log.child({ part: 'upstream', cluster, metas: metas.join(',') })
    this.#hedging = new Hedging(options.hedgeMs)
    this.#leader = new Leader(runtime.clock, this.#log)
    this.#names = new MetaNames(runtime, this.#log, metas, {
      resolveMs: options.resolveMs,
      onChange: () => this.#peers.list(this.#names.endpoints),
    })
    this.#peers = new MetaPeers(
      {
        runtime,
        batch,
        options,
        hedging: this.#hedging,
        observeSeconds: metrics.durationOf(cluster),
        onDial: (nowMs) => this.#names.onDial(nowMs),
        onLost: (peer) => this.#leader.onLost(peer),
        onBreaker: (peer, state) => this.#onBreaker(peer, state),
      },
      (address) => metrics.totals.of(cluster, address),
    )
    this.#peers.list(this.#names.endpoints)
    this.#searches = new Searches(runtime, {
      names: this.#names,
      peers: this.#peers,
      leader: this.#leader,
      hedging: this.#hedging,
      metrics,
      silenceMs: options.silenceMs,
    })
    this.#usedAtMs = runtime.clock.monotonicMs()
    this.#straight = {
      onReply: (connection, _seqid, reply) => this.#onStraightReply(connection, reply),
      onLost: (connection, _seqid, question) => {
        this.#straightCount--
        // One that was up may be just one connection: its server may be asked again.
        this.#searches.start(question, connection.wasOpen ? undefined : connection.address)
      },
    }
  }

  get cluster(): string {
    return this.#cluster
  }

  get leader(): string | undefined {
    return this.#leader.peer?.address
  }

  get isClosed(): boolean {
    return this.#closed
  }

  get inFlight(): number {
    return this.#searches.size + this.#straightCount
  }

  get usedAtMs(): number {
    return this.#usedAtMs
  }

  get connectionCount(): number {
    return this.#peers.all().reduce((sum, peer) => sum + peer.connections.length, 0)
  }

  breakers(): readonly { readonly address: string; readonly state: BreakerState }[] {
    return this.#peers.all().map(({ address, breakerState: state }) => ({ address, state }))
  }

  describe(): GroupView {
    const nowMs = this.#runtime.clock.monotonicMs()
    return {
      cluster: this.#cluster,
      names: this.#metas,
      leader: this.leader,
      metas: this.#peers.all().map((peer) => peer.view(nowMs)),
      inFlight: this.inFlight,
      searching: this.#searches.size,
      p95Ms: Math.round(this.#hedging.p95Ms()),
      hedgeAfterMs: Math.round(this.#hedging.waitMs),
    }
  }

  /** The question is told once, in a later turn. */
  ask(question: Question, nowMs: number): void {
    this.#usedAtMs = nowMs
    this.#scheduleSweep()
    if (this.#names.isStale(nowMs)) {
      const resolved = this.#names.resolve()
      if (this.#names.endpoints.length === 0) {
        this.#searches.startAfter(resolved, question)
        return
      }
    }
    const seqid = this.#leader.connection?.send(question, this.#straight, nowMs) ?? -1
    if (seqid < 0) this.#searches.start(question)
    else this.#straightCount++
  }

  /** Idempotent; every question is told that nobody answered. */
  close(): void {
    this.#closed = true
    this.#sweepTimer?.cancel()
    this.#searches.close()
    this.#peers.close('group closed')
    // Those that went straight are searches now, as their connections are lost.
    this.#searches.close()
  }

  #onStraightReply(connection: MetaConnection, reply: ReplyStream): void {
    const { question } = connection
    if (question === undefined) return
    this.#straightCount--
    if (!reply.isPlain) {
      this.#searches.answered(question, connection, reply)
      return
    }
    if (this.#leader.connection !== connection)
      this.#leader.set(this.#peers.get(connection.address), connection)
    const { bytes, start, end, seqidAt } = reply
    question.answered(bytes, start, end, seqidAt, connection.heardAtMs)
  }

  #onBreaker(peer: MetaPeer, state: BreakerState): void {
    if (this.#closed) return
    this.#log.info('meta breaker', { address: peer.address, state })
    if (state === 'open') this.#leader.drop(peer)
  }

  #scheduleSweep(): void {
    this.#sweepTimer ??= this.#runtime.timers.after(SWEEP_MS, () => {
      // After a pause of this process answers wait in the sockets: read before silence is judged.
      this.#runtime.timers.soon(() => {
        this.#sweepTimer = undefined
        if (this.#closed) return
        this.#sweep(this.#runtime.clock.monotonicMs())
        if (this.inFlight > 0) this.#scheduleSweep()
      })
    })
  }

  #sweep(nowMs: number): void {
    const peers = this.#peers.all()
    for (const peer of peers)
      for (const connection of peer.connections) this.#sweepStraight(connection, nowMs)
    this.#searches.sweep(nowMs)
    for (const peer of peers) peer.sweep(nowMs)
    this.#leader.sweep(nowMs)
  }

  /** Questions that wait too long for their one answer become searches. */
  #sweepStraight(connection: MetaConnection, nowMs: number): void {
    connection.forEachOf(this.#straight, (seqid, question, startedAtMs) => {
      if (nowMs < question.deadlineMs && nowMs - startedAtMs < this.#hedging.waitMs) return
      this.#straightCount--
      this.#searches.takeOver(question, { connection, seqid, startedAtMs })
    })
  }
}
