/**
 * A leader at work: turns completions, timers and requests into events for `meta.ts` and carries
 * out its effects. It decides nothing about tables. One per leadership: it starts by reading the
 * stored tree, and ends with its process (meta-server.md 1, 28).
 */
import type { FailureDetectorTimes, MasterGrace } from '../failure-detector.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import type { ReplicaInfo } from '../protocol/metadata.ts'
import type { Peers } from '../rpc/peers.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { ConfigSyncAnswer } from './config-sync.ts'
import type { MetaAnswer, MetaEffect, MetaEvent, MetaOptions, Now } from './effects.ts'
import { Meta } from './meta.ts'
import { type MetaState, configText } from './state.ts'
import { StoredDataError } from './storage-tree.ts'
import type { Store } from './store.ts'
import { type HostNames, configToWire } from './wire.ts'

/** A proposal that cannot be sent within this time is dropped; the check round repeats it. */
const PROPOSAL_MS = 3000
/** Events that ask for an early check round are gathered for so long. */
const CHECK_SOON_MS = 100

export interface LeaderSurroundings {
  readonly runtime: Runtime
  readonly store: Store
  readonly peers: Peers
  readonly grace: MasterGrace
  readonly times: FailureDetectorTimes
  readonly hosts: HostNames
  readonly hostPortFields: boolean
  readonly options: MetaOptions
  readonly functionLevel: number
  readonly checkRoundMs: number
  /** False while the leadership is not fresh enough to act on: no proposals then. */
  readonly mayAct: () => boolean
}

export class Leader {
  readonly #with: LeaderSurroundings
  readonly #meta: Meta
  readonly #requesters = new Map<number, (answer: MetaAnswer) => void>()
  #nextRequester = 1
  #started = false
  #closed = false
  #graceTimer: Timer | undefined
  #roundTimer: Timer | undefined
  #soonTimer: Timer | undefined

  constructor(surroundings: LeaderSurroundings) {
    this.#with = surroundings
    const { options, hosts, functionLevel } = surroundings
    this.#meta = new Meta(options, hosts, functionLevel)
  }

  /** The stored tree is loaded: requests may be served. */
  get started(): boolean {
    return this.#started
  }

  get state(): MetaState {
    return this.#meta.state
  }

  /** Reads the stored tree; a tree that must not be used ends the process. */
  async start(): Promise<void> {
    const { runtime, store, grace } = this.#with
    this.#checkGrace()
    try {
      const tree = await store.read()
      if (this.#closed) return
      this.#carryOut(this.#meta.restore(tree, this.#now()))
    } catch (error) {
      if (this.#closed) return
      const unusable = error instanceof StoredDataError
      runtime.crash(unusable ? 'the stored tree cannot be used' : 'the tree cannot be read', {
        error,
      })
    }
    // Who was heard while the tree was being read keeps what was found out about him.
    grace.assumeAlive(this.#meta.state.nodes.keys(), runtime.clock.monotonicMs())
    this.#started = true
    runtime.log.info('serving as leader', { tables: this.#meta.state.apps.size })
    const known = grace.nodes()
    for (const { node, alive } of known) if (alive) this.dispatch({ type: 'node-alive', node })
    const dead = known.filter(({ alive }) => !alive).map(({ node }) => node)
    if (dead.length > 0) this.dispatch({ type: 'nodes-dead', nodes: dead })
    this.#scheduleRound()
  }

  /** What beacons tell; while the tree is being read it is only kept by the failure detector. */
  onNode(event: MetaEvent & { type: 'node-alive' | 'node-restarted' }): void {
    if (this.#started) this.dispatch(event)
  }

  /** Settles with what the state machine answers, maybe after writes to the storage. */
  ask(eventOf: (requester: number) => MetaEvent): Promise<MetaAnswer> {
    return new Promise((resolve) => {
      const requester = this.#nextRequester++
      this.#requesters.set(requester, resolve)
      this.dispatch(eventOf(requester))
    })
  }

  configSync(node: string, stored: readonly ReplicaInfo[] | undefined): ConfigSyncAnswer {
    const { answer, effects } = this.#meta.configSync(node, stored, this.#now())
    this.#carryOut(effects)
    return answer
  }

  dispatch(event: MetaEvent): void {
    if (!this.#closed) this.#carryOut(this.#meta.step(event, this.#now()))
  }

  close(): void {
    this.#closed = true
    this.#graceTimer?.cancel()
    this.#roundTimer?.cancel()
    this.#soonTimer?.cancel()
    for (const resolve of this.#requesters.values()) resolve({ type: 'no-answer' })
    this.#requesters.clear()
  }

  #now(): Now {
    const { clock } = this.#with.runtime
    return {
      monotonicMs: clock.monotonicMs(),
      wallSeconds: Math.floor(clock.wallMs() / 1000),
    }
  }

  #checkGrace(): void {
    const { runtime, grace, times } = this.#with
    this.#graceTimer = runtime.timers.after(times.checkMs, () => {
      const dead = grace.check(runtime.clock.monotonicMs())
      if (dead.length > 0) {
        runtime.log.warn('nodes are dead', { nodes: dead })
        if (this.#started) this.dispatch({ type: 'nodes-dead', nodes: dead })
      }
      this.#checkGrace()
    })
  }

  #scheduleRound(): void {
    const { runtime, checkRoundMs } = this.#with
    this.#roundTimer = runtime.timers.after(checkRoundMs, () => {
      this.#round()
      this.#scheduleRound()
    })
  }

  #round(): void {
    if (this.#started && this.#with.mayAct()) this.dispatch({ type: 'check' })
  }

  #checkSoon(): void {
    const { runtime, checkRoundMs } = this.#with
    this.#soonTimer ??= runtime.timers.after(Math.min(CHECK_SOON_MS, checkRoundMs), () => {
      this.#soonTimer = undefined
      this.#round()
    })
  }

  #carryOut(effects: readonly MetaEffect[]): void {
    for (const effect of effects)
      switch (effect.type) {
        case 'write': {
          const { path, data, fresh, done } = effect
          this.#with.store.write(path, data, fresh, () => {
            this.dispatch(done)
          })
          break
        }
        case 'propose':
          this.#propose(effect)
          break
        case 'answer': {
          const resolve = this.#requesters.get(effect.requester)
          this.#requesters.delete(effect.requester)
          resolve?.(effect.answer)
          break
        }
        case 'check-soon':
          this.#checkSoon()
          break
        case 'note':
          this.#with.runtime.log[effect.level](effect.message, effect.fields)
          break
      }
  }

  #propose({ to, proposalType, node, config, info }: MetaEffect & { type: 'propose' }): void {
    const { runtime, peers, hosts, hostPortFields, mayAct } = this.#with
    if (!mayAct()) return
    const names = hostPortFields ? hosts : undefined
    runtime.log.debug('proposing', { to, type: proposalType, node, config: configText(config) })
    peers.get(to).send(
      Rpc.CONFIG_PROPOSAL,
      {
        info: { ...info },
        config: configToWire(config, names),
        type: proposalType,
        node,
        hostNode: '',
        ...(names === undefined ? {} : { hpNode: names.of(node) }),
      },
      {
        deadline: deadlineIn(runtime.clock, PROPOSAL_MS),
        appId: config.pid.appId,
        partitionIndex: config.pid.partitionIndex,
      },
    )
  }
}
