/**
 * Configuration changes: what a replica asks for, what the meta server does by itself, and how a
 * change becomes decided (meta-server.md 8). Storage first, memory second, answer third; one change
 * per partition at a time; the ballot rises by exactly one with each.
 *
 * An override (death of a primary, drop of a table) waits for the change in flight and comes on top
 * of it, so no two different configurations ever have the same ballot (8.4).
 */
import { type Gpid, gpidText } from '../protocol/base.ts'
import { AppStatus } from '../protocol/layer2.ts'
import { ConfigType, MetaFunctionLevel } from '../protocol/meta-admin.ts'
import { configurationProblem } from './configuration-delta.ts'
import type { ConfigUpdate, MetaAnswer, Step } from './effects.ts'
import { cureNow, recordChange } from './guardian.ts'
import {
  type App,
  type Partition,
  type Pending,
  applyConfig,
  droppedFlag,
  effectiveLevel,
  emptyConfig,
  invalidBallot,
  isAlive,
  isDropped,
  isMember,
  isTableBusy,
  lastDropsMax,
  partitionOf,
  sameConfig,
} from './state.ts'
import { encodeConfig, partitionPath } from './storage-tree.ts'

const addingTypes: ReadonlySet<number> = new Set([
  ConfigType.CT_ASSIGN_PRIMARY,
  ConfigType.CT_UPGRADE_TO_PRIMARY,
  ConfigType.CT_UPGRADE_TO_SECONDARY,
])
const removingTypes: ReadonlySet<number> = new Set([
  ConfigType.CT_DOWNGRADE_TO_INACTIVE,
  ConfigType.CT_REMOVE,
])

function answer(step: Step, requester: number, given: MetaAnswer): void {
  step.effects.push({ type: 'answer', requester, answer: given })
}

function appendDrops(lastDrops: readonly string[], nodes: readonly string[]): readonly string[] {
  return [...lastDrops.filter((node) => !nodes.includes(node)), ...nodes].slice(-lastDropsMax)
}

/** A replica's request for a change (8.3). */
export function onUpdate(step: Step, requester: number, update: ConfigUpdate): void {
  const { state, options } = step
  const { config: wanted, type, node } = update
  const found = partitionOf(state, wanted.pid)
  if (found === undefined) {
    const config = emptyConfig(wanted.pid, 0)
    answer(step, requester, { type: 'updated', err: 'ERR_OBJECT_NOT_FOUND', config })
    return
  }
  const { app, partition } = found
  const current = partition.config
  const refuse = (err: string): void =>
    answer(step, requester, { type: 'updated', err, config: current })
  if (effectiveLevel(state, options) <= MetaFunctionLevel.fl_freezed) {
    refuse('ERR_STATE_FREEZED')
    return
  }
  const { pending } = partition
  const silent = (): void => answer(step, requester, { type: 'no-answer' })
  if (sameConfig(current, wanted)) {
    // Sent again: it is decided already. But nobody is told what is about to change about him.
    if (pending !== undefined && concerns(pending, partition, node)) silent()
    else refuse('ERR_OK')
    return
  }
  if (current.ballot + 1 !== wanted.ballot) {
    refuse('ERR_INVALID_VERSION')
    return
  }
  const { status } = app.info
  // The outcome of the change in flight is not known: the replica asks again.
  if (pending !== undefined || isTableBusy(status)) {
    silent()
    return
  }
  const problem =
    status === AppStatus.AS_AVAILABLE
      ? configurationProblem(current, update)
      : 'the table is dropped'
  if (problem !== undefined) {
    step.effects.push({
      type: 'note',
      level: 'warn',
      message: 'configuration update refused',
      fields: { partition: gpidText(current.pid), type, node, problem },
    })
    refuse('ERR_INVALID_PARAMETERS')
    return
  }
  // A node that is declared dead becomes no primary; it asks again when it is back.
  if (wanted.primary === node && !isAlive(state, node)) {
    silent()
    return
  }
  let { lastDrops } = current
  if (addingTypes.has(type)) lastDrops = lastDrops.filter((dropped) => dropped !== node)
  if (removingTypes.has(type)) lastDrops = appendDrops(lastDrops, [node])
  begin(step, partition, {
    kind: 'update',
    next: { ...wanted, pid: current.pid, lastDrops, partitionFlags: current.partitionFlags },
    type,
    node,
    requester,
  })
}

/** Sends a change to the storage, or holds it while the level is too low. */
export function begin(
  step: Step,
  partition: Partition,
  change: Pick<Pending, 'kind' | 'next' | 'type' | 'node' | 'requester'>,
): void {
  if (partition.pending !== undefined)
    throw new Error(`${gpidText(change.next.pid)}: a change is in flight already`)
  const held =
    change.kind === 'update' &&
    effectiveLevel(step.state, step.options) <= MetaFunctionLevel.fl_blind
  partition.pending = { ...change, held, downgradeNext: '' }
  step.state.changing.add(partition)
  if (!held) store(step, change)
}

function store(step: Step, { next: config, kind }: Pick<Pending, 'kind' | 'next'>): void {
  const { appId, partitionIndex } = config.pid
  step.effects.push({
    type: 'write',
    path: partitionPath(appId, partitionIndex),
    data: encodeConfig(config, step.hosts),
    fresh: kind === 'create',
    done: { type: 'partition-written', pid: config.pid },
  })
}

/** Sends what the level held back, once it is high enough again. */
export function releaseHeld(step: Step): void {
  if (effectiveLevel(step.state, step.options) <= MetaFunctionLevel.fl_blind) return
  for (const { pending } of step.state.changing)
    if (pending?.held === true) {
      pending.held = false
      store(step, pending)
    }
}

/** The storage has acknowledged the pending configuration: it is decided now. */
export function onPartitionWritten(step: Step, pid: Gpid): void {
  const found = partitionOf(step.state, pid)
  const pending = found?.partition.pending
  if (found === undefined || pending === undefined)
    throw new Error(`${gpidText(pid)}: a write ended that nobody began`)
  const { app, partition } = found
  const before = partition.config
  const { next, kind, requester, downgradeNext } = pending
  const rises =
    before.ballot === invalidBallot ||
    next.ballot === before.ballot + (kind === 'update' || kind === 'drop' ? 1 : 0)
  if (!rises)
    throw new Error(`${gpidText(pid)}: ballot ${next.ballot} was decided after ${before.ballot}`)
  applyConfig(step.state, partition, next)
  partition.pending = undefined
  step.state.changing.delete(partition)
  if (requester !== undefined)
    answer(step, requester, { type: 'updated', err: 'ERR_OK', config: next })
  recordChange(step, partition, { before, type: pending.type, node: pending.node })
  if (kind === 'create' || kind === 'finish-recall' || (kind === 'drop' && isDropped(next)))
    app.unfinished--
  settle(step, app, partition, downgradeNext)
  if (partition.pending === undefined) cureNow(step, app, partition)
}

/** What must follow at once: an override that waited. */
function settle(step: Step, app: App, partition: Partition, downgradeNext: string): void {
  const { config } = partition
  if (app.info.status === AppStatus.AS_DROPPING) {
    if (!isDropped(config)) dropPartition(step, partition)
    return
  }
  const { primary } = config
  if (primary !== '' && (primary === downgradeNext || !isAlive(step.state, primary)))
    downgradePrimary(step, partition)
}

/**
 * A primary died: the meta server takes it out of the configuration itself. A change in flight is
 * awaited first, and whoever asked for it gets no answer; a drop makes it unnecessary.
 */
export function downgradePrimary(step: Step, partition: Partition): void {
  const { config, pending } = partition
  const { primary } = config
  if (pending !== undefined) {
    if (pending.kind === 'drop') return
    pending.downgradeNext = primary
    withdrawRequester(step, pending)
    return
  }
  begin(step, partition, {
    kind: 'update',
    next: {
      ...config,
      ballot: config.ballot + 1,
      primary: '',
      lastDrops: appendDrops(config.lastDrops, [primary]),
    },
    type: ConfigType.CT_DOWNGRADE_TO_INACTIVE,
    node: primary,
    requester: undefined,
  })
}

function withdrawRequester(step: Step, pending: Pending): void {
  if (pending.requester !== undefined) answer(step, pending.requester, { type: 'no-answer' })
  pending.requester = undefined
}

/** Takes a partition of a dropped table out of service: no members, flag set, ballot + 1. */
export function dropPartition(step: Step, partition: Partition): void {
  const { config, pending } = partition
  if (pending !== undefined) {
    // `settle` comes back here when it is decided. What was held back must not hold up the drop.
    withdrawRequester(step, pending)
    if (pending.held) {
      pending.held = false
      store(step, pending)
    }
    return
  }
  const { primary, secondaries } = config
  const gone = primary === '' ? secondaries : [...secondaries, primary]
  begin(step, partition, {
    kind: 'drop',
    next: {
      ...config,
      ballot: config.ballot + 1,
      primary: '',
      secondaries: [],
      lastDrops: appendDrops(config.lastDrops, gone),
      partitionFlags: config.partitionFlags | droppedFlag,
    },
    type: ConfigType.CT_DROP_PARTITION,
    node: '',
    requester: undefined,
  })
}

/** Whether the change in flight is about this node: it must not be told a configuration now. */
export function concerns(pending: Pending, partition: Partition, node: string): boolean {
  if (pending.kind === 'drop') return isMember(partition.config, node)
  return pending.node === node || pending.downgradeNext === node
}
