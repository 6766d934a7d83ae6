/**
 * The meta leader's decisions as one machine: `step(event) → effects`, synchronous, without clock,
 * storage or network. The rules are in `tables.ts`, `configuration.ts`, `guardian.ts` and
 * `config-sync.ts`; this file says which of them an event concerns.
 */
import { ConfigType, MetaFunctionLevel } from '../protocol/meta-admin.ts'
import type { ReplicaInfo } from '../protocol/metadata.ts'
import { type ConfigSyncAnswer, configSync } from './config-sync.ts'
import { downgradePrimary, onPartitionWritten, onUpdate, releaseHeld } from './configuration.ts'
import type { MetaEffect, MetaEvent, MetaOptions, Now, Step } from './effects.ts'
import { checkAll, clearProposal, sendProposal } from './guardian.ts'
import { type StoredTree, restore } from './restore.ts'
import {
  type App,
  type MetaState,
  type Partition,
  emptyState,
  isAlive,
  nodeStateOf,
} from './state.ts'
import { createApp, dropApp, finishIfDone, onAppWritten } from './tables.ts'
import { updateEnvs } from './update-envs.ts'
import type { HostNames } from './wire.ts'

export class Meta {
  readonly #options: MetaOptions
  readonly #hosts: HostNames
  readonly #state: MetaState

  constructor(options: MetaOptions, hosts: HostNames, level: number) {
    this.#options = options
    this.#hosts = hosts
    this.#state = emptyState(level)
  }

  /** For lookups; nobody but this part's rules changes it. */
  get state(): MetaState {
    return this.#state
  }

  /** Once, before the first event. Throws `StoredDataError` when the tree must not be used. */
  restore(tree: StoredTree, now: Now): readonly MetaEffect[] {
    const step = this.#step(now)
    restore(step, tree)
    return step.effects
  }

  step(event: MetaEvent, now: Now): readonly MetaEffect[] {
    const step = this.#step(now)
    switch (event.type) {
      case 'node-alive':
        nodeStateOf(this.#state, event.node).alive = true
        releaseHeld(step)
        step.effects.push({ type: 'check-soon' })
        break
      case 'node-restarted':
        forgetReports(step, event.node)
        break
      case 'nodes-dead':
        onNodesDead(step, event.nodes)
        break
      case 'check':
        releaseHeld(step)
        checkAll(step)
        break
      case 'set-level':
        onLevel(step, event.level)
        break
      case 'update':
        onUpdate(step, event.requester, event.update)
        break
      case 'create-app':
        createApp(step, event.requester, event.request)
        break
      case 'drop-app':
        dropApp(step, event.requester, event.request)
        break
      case 'update-envs':
        updateEnvs(step, event.requester, event.request)
        break
      case 'partition-written': {
        onPartitionWritten(step, event.pid)
        const app = this.#state.apps.get(event.pid.appId)
        if (app !== undefined) finishIfDone(step, app)
        break
      }
      case 'app-written':
        onAppWritten(step, event.appId)
        break
    }
    return step.effects
  }

  /** A replica server's report and what it is told; the answer holds for this very moment. */
  configSync(
    node: string,
    stored: readonly ReplicaInfo[] | undefined,
    now: Now,
  ): { readonly answer: ConfigSyncAnswer; readonly effects: readonly MetaEffect[] } {
    const step = this.#step(now)
    const answer = configSync(step, node, stored)
    return { answer, effects: step.effects }
  }

  #step(now: Now): Step {
    return { state: this.#state, options: this.#options, hosts: this.#hosts, now, effects: [] }
  }
}

/** 6.8: primaries are taken out at once, the loss of a secondary is its primary's business. */
function onNodesDead(step: Step, nodes: readonly string[]): void {
  const { state } = step
  for (const node of nodes) {
    nodeStateOf(state, node).alive = false
    forgetReports(step, node)
  }
  for (const node of nodes)
    for (const { app, partition } of partitionsOn(state, node)) {
      const { primary } = partition.config
      if (primary === node) downgradePrimary(step, partition)
      else if (primary !== '' && isAlive(state, primary) && partition.pending === undefined)
        sendProposal(step, app, partition, {
          type: ConfigType.CT_DOWNGRADE_TO_INACTIVE,
          target: primary,
          node,
        })
    }
}

/**
 * What a node said about its replicas no longer counts: a power cut may have taken the tail of its
 * log. It reports again when it is back.
 */
function forgetReports({ state }: Step, node: string): void {
  nodeStateOf(state, node).collected = false
  for (const app of state.names.values())
    for (const partition of app.partitions)
      if (partition.dropped.some((dropped) => dropped.node === node && dropped.ballot !== -1))
        partition.dropped = partition.dropped.map((dropped) =>
          dropped.node === node
            ? { ...dropped, ballot: -1, lastCommittedDecree: -1, lastPreparedDecree: -1 }
            : dropped,
        )
}

function partitionsOn(
  state: MetaState,
  node: string,
): readonly { readonly app: App; readonly partition: Partition }[] {
  const found: { readonly app: App; readonly partition: Partition }[] = []
  for (const [appId, share] of state.nodes.get(node)?.shares ?? []) {
    const app = state.apps.get(appId)
    for (const index of share.partitions) {
      const partition = app?.partitions[index]
      if (app !== undefined && partition !== undefined) found.push({ app, partition })
    }
  }
  return found
}

/** A low level withdraws what was proposed; a higher one lets held writes go. */
function onLevel(step: Step, level: number): void {
  step.state.level = level
  if (level <= MetaFunctionLevel.fl_steady)
    for (const app of step.state.apps.values())
      for (const partition of app.partitions)
        if (partition.proposal !== undefined) clearProposal(step, partition)
  releaseHeld(step)
  step.effects.push({ type: 'check-soon' })
}
