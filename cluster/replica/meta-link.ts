/**
 * The link of a replica server to its meta servers (replica-server.md 4): beacons and the lease,
 * configuration sync, and calls to the leader. Who is asked follows the failure detector. What is
 * decided about replicas is not here.
 *
 *   disconnected → connecting (a leader acknowledged a beacon) → connected (first sync answered)
 *
 * Answers to calls of an earlier connection say nothing: meanwhile the meta server may have taken
 * this server for dead.
 */
import {
  type ConfigurationQueryByNodeResponse,
  type ConfigurationUpdateRequest,
  type ConfigurationUpdateResponse,
} from '../protocol/meta-admin.ts'
import type { ReplicaInfo } from '../protocol/metadata.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { type FailureDetectorTimes, type LeaseEffect, WorkerLease } from '../failure-detector.ts'
import type { Peers } from '../rpc/peers.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import { answered } from './peer-calls.ts'
import type { Answered } from './replica-events.ts'

export interface MetaLinkOptions {
  /** `ip:port` of this server, its name in the cluster. */
  readonly self: string
  /** `host:port` of all meta servers, at least one. */
  readonly metas: readonly string[]
  readonly times: FailureDetectorTimes
  readonly configSyncMs: number
  readonly callTimeoutMs: number
}

export interface MetaLinkOwner {
  readonly storedReplicas: () => readonly ReplicaInfo[]
  /** The lease is over: stop serving. */
  readonly onDisconnected: () => void
  /** An answer of the present connection; the first one makes the server connected. */
  readonly onSynced: (response: ConfigurationQueryByNodeResponse, sentAtMs: number) => void
  readonly onBeaconFailed: () => void
}

export type MetaLinkState = 'disconnected' | 'connecting' | 'connected'

const SYNC_BUSY_MS = 500
const SYNC_FAILED_MS = 1000
const CAPACITY_MB = 1024 * 1024

export class MetaLink {
  readonly #runtime: Runtime
  readonly #peers: Peers
  readonly #options: MetaLinkOptions
  readonly #owner: MetaLinkOwner
  readonly #lease: WorkerLease
  readonly #startedAtMs: number
  #state: MetaLinkState = 'disconnected'
  /** Counts connections; answers of another one are dropped. */
  #connection = 0
  #beaconTimer: Timer | undefined
  #checkTimer: Timer | undefined
  #syncTimer: Timer | undefined
  #syncing = false
  #closed = false

  constructor(runtime: Runtime, peers: Peers, options: MetaLinkOptions, owner: MetaLinkOwner) {
    this.#runtime = runtime
    this.#peers = peers
    this.#options = options
    this.#owner = owner
    this.#startedAtMs = Math.floor(runtime.clock.wallMs())
    this.#lease = new WorkerLease({
      times: options.times,
      metas: options.metas,
      first: runtime.random.below(options.metas.length),
    })
  }

  get state(): MetaLinkState {
    return this.#state
  }

  /** To be asked at the moment of use. */
  leaseValid(): boolean {
    return this.#lease.leaseValid(this.#runtime.clock.monotonicMs())
  }

  leaseRemainingMs(): number {
    return this.#lease.remainingMs(this.#runtime.clock.monotonicMs())
  }

  start(): void {
    this.#stepLease({ type: 'beacon-due' })
    this.#scheduleCheck()
  }

  close(): void {
    this.#closed = true
    for (const timer of [this.#beaconTimer, this.#checkTimer, this.#syncTimer]) timer?.cancel()
  }

  /** Asks the leader to change a configuration. Never rejects. */
  updateConfiguration(
    request: ConfigurationUpdateRequest,
  ): Promise<Answered<ConfigurationUpdateResponse>> {
    const deadline = deadlineIn(this.#runtime.clock, this.#options.callTimeoutMs)
    const leader = this.#peers.get(this.#lease.master)
    return answered(leader.call(Rpc.UPDATE_PARTITION_CONFIGURATION, request, { deadline }))
  }

  /** Runs a configuration sync now instead of later. */
  syncSoon(): void {
    if (this.#state !== 'disconnected') this.#scheduleSync(0)
  }

  #stepLease(event: Parameters<WorkerLease['step']>[0]): void {
    if (this.#closed) return
    const nowMs = this.#runtime.clock.monotonicMs()
    for (const effect of this.#lease.step(event, nowMs)) this.#carryOut(effect)
  }

  #carryOut(effect: LeaseEffect): void {
    switch (effect.type) {
      case 'send-beacon':
        void this.#sendBeacon(effect)
        return
      case 'next-beacon':
        this.#beaconTimer?.cancel()
        this.#beaconTimer = this.#runtime.timers.after(effect.afterMs, () => {
          this.#stepLease({ type: 'beacon-due' })
        })
        return
      case 'connected':
        this.#runtime.log.info('connected to the meta server', { master: effect.master })
        this.#connection++
        this.#state = 'connecting'
        this.#syncing = false
        return this.#scheduleSync(0)
      case 'disconnected':
        this.#runtime.log.warn('lease lost: replicas stop serving')
        this.#connection++
        this.#state = 'disconnected'
        this.#syncTimer?.cancel()
        return this.#owner.onDisconnected()
      case 'refused':
        this.#runtime.log.error('this server is not on the white list of the meta server', {
          master: effect.master,
        })
        return
    }
  }

  async #sendBeacon(beacon: LeaseEffect & { type: 'send-beacon' }): Promise<void> {
    const { to, sentAtMs, timeoutMs } = beacon
    const message = {
      time: Math.floor(sentAtMs),
      fromNode: this.#options.self,
      toNode: isAddress(to) ? to : '',
      startTime: this.#startedAtMs,
    }
    const deadline = deadlineIn(this.#runtime.clock, timeoutMs)
    const { response } = await answered(
      this.#peers.get(to).call(Rpc.FD_FAILURE_DETECTOR_PING, message, { deadline }),
    )
    if (response === undefined) {
      this.#owner.onBeaconFailed()
      return this.#stepLease({ type: 'failed', to, sentAtMs })
    }
    const { isMaster, allowed, primaryNode } = response
    this.#stepLease({ type: 'ack', to, sentAtMs, isMaster, allowed, primary: primaryNode })
  }

  #scheduleCheck(): void {
    this.#checkTimer = this.#runtime.timers.after(this.#options.times.checkMs, () => {
      this.#stepLease({ type: 'check' })
      if (!this.#closed) this.#scheduleCheck()
    })
  }

  #scheduleSync(delayMs: number): void {
    if (this.#closed || this.#syncing) return
    this.#syncTimer?.cancel()
    this.#syncTimer = this.#runtime.timers.after(delayMs, () => {
      void this.#sync()
    })
  }

  async #sync(): Promise<void> {
    const connection = this.#connection
    this.#syncing = true
    const { clock } = this.#runtime
    const sentAtMs = clock.monotonicMs()
    const request = {
      node: this.#options.self,
      storedReplicas: [...this.#owner.storedReplicas()],
      info: { geoTags: new Map<string, string>(), totalCapacityMb: CAPACITY_MB },
    }
    const deadline = deadlineIn(clock, this.#options.callTimeoutMs)
    const { error, response } = await answered(
      this.#peers.get(this.#lease.master).call(Rpc.CONFIG_SYNC, request, { deadline }),
    )
    if (this.#closed || connection !== this.#connection) return
    this.#syncing = false
    const outcome = response?.err ?? error
    if (outcome !== 'ERR_OK' || response === undefined) {
      this.#runtime.log.debug('config sync failed', { error: outcome })
      return this.#scheduleSync(outcome === 'ERR_BUSY' ? SYNC_BUSY_MS : SYNC_FAILED_MS)
    }
    this.#state = 'connected'
    this.#owner.onSynced(response, sentAtMs)
    this.#scheduleSync(this.#options.configSyncMs)
  }
}

function isAddress(text: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}:\d{1,5}$/.test(text)
}
