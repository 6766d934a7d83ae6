/**
 * From the stored tree to the state of a new leader: what was whole is taken as it is, what a crash
 * left half done is completed through the ordinary writes (meta-server.md 4.1). Repeating it after a
 * crash at any point gives the same. Throws `StoredDataError` for a tree that must not be used.
 */
import { gpidText } from '../protocol/base.ts'
import { type AppInfo, AppStatus } from '../protocol/layer2.ts'
import { begin, dropPartition } from './configuration.ts'
import type { Step } from './effects.ts'
import { setDropped } from './guardian.ts'
import {
  type App,
  type Config,
  type Partition,
  droppedFlag,
  emptyConfig,
  indexConfig,
  invalidBallot,
  isDropped,
  newApp,
  newPartition,
} from './state.ts'
import {
  StoredDataError,
  appPath,
  appsPath,
  decodeApp,
  decodeConfig,
  partitionPath,
  unlocked,
} from './storage-tree.ts'
import { createPartition } from './tables.ts'

/** What was read below the cluster root. */
export interface StoredTree {
  /** Contents of `/apps`; `undefined` when it does not exist: there never was a table. */
  readonly root: string | undefined
  readonly apps: readonly StoredApp[]
}

export interface StoredApp {
  readonly appId: number
  readonly text: string
  /** By partition index; what is missing has no node. */
  readonly partitions: ReadonlyMap<number, string>
}

/** Fills an empty state and begins the writes that complete what was half done. */
export function restore(step: Step, tree: StoredTree): void {
  if (tree.root !== undefined && tree.root !== '' && tree.root !== unlocked)
    throw new StoredDataError(
      `${appsPath}: holds ${JSON.stringify(tree.root.slice(0, 100))}, expected "${unlocked}": ` +
        'the first initialisation was cut off',
    )
  const ordered = tree.apps.toSorted((a, b) => a.appId - b.appId)
  for (const stored of ordered) restoreApp(step, stored)
}

function restoreApp(step: Step, { appId, text, partitions }: StoredApp): void {
  const { state } = step
  const stored = decodeApp(text, appPath(appId))
  if (stored.appId !== appId)
    throw new StoredDataError(`${appPath(appId)}: holds table ${stored.appId}`)
  if (stored.partitionCount < 1 || stored.partitionCount > step.options.maxPartitionCount)
    throw new StoredDataError(`${appPath(appId)}: partition_count ${stored.partitionCount}`)
  const available = stored.status === AppStatus.AS_AVAILABLE
  const status = available ? AppStatus.AS_CREATING : AppStatus.AS_DROPPING
  const app = newApp({ ...stored, status }, [])
  if (available && state.names.has(stored.appName))
    throw new StoredDataError(`${appPath(appId)}: the name ${stored.appName} is taken`)
  state.apps.set(appId, app)
  if (available) state.names.set(stored.appName, app)
  for (let index = 0; index < stored.partitionCount; index++)
    restorePartition(step, app, stored, index, partitions.get(index))
  if (app.unfinished === 0) app.info = stored
}

function restorePartition(
  step: Step,
  app: App,
  stored: Readonly<AppInfo>,
  partitionIndex: number,
  text: string | undefined,
): void {
  const pid = { appId: stored.appId, partitionIndex }
  const available = stored.status === AppStatus.AS_AVAILABLE
  const partition = newPartition(emptyConfig(pid, stored.maxReplicaCount))
  app.partitions.push(partition)
  if (text === undefined) {
    restoreMissing(step, app, stored, partition)
    return
  }
  const path = partitionPath(pid.appId, partitionIndex)
  const config = decodeConfig(text, { path, pid: gpidText(pid) }, step.hosts)
  partition.config = config
  if (available !== isDropped(config)) {
    takeWhole(step, partition, available)
    return
  }
  app.unfinished++
  takeWhole(step, partition, true)
  if (available) finishRecall(step, partition)
  else dropPartition(step, partition)
}

/** Members of tables in use count as alive; the last drops are candidates for later. */
function takeWhole(step: Step, partition: Partition, available: boolean): void {
  const { config } = partition
  if (available) indexConfig(step.state, config)
  setDropped(
    step,
    partition,
    config.lastDrops.map((node) => ({
      node,
      timeMs: 0,
      ballot: -1,
      lastCommittedDecree: -1,
      lastPreparedDecree: -1,
    })),
  )
}

/** A recall was cut off: the flag goes, the ballot stays. */
function finishRecall(step: Step, partition: Partition): void {
  const { config } = partition
  const next: Config = { ...config, partitionFlags: config.partitionFlags & ~droppedFlag }
  begin(step, partition, {
    kind: 'finish-recall',
    next,
    type: 0,
    node: '',
    requester: undefined,
  })
}

/** No node: half created, or the unborn child of a split. */
function restoreMissing(
  step: Step,
  app: App,
  { status, initPartitionCount, partitionCount }: Readonly<AppInfo>,
  partition: Partition,
): void {
  const { config } = partition
  const { partitionIndex } = config.pid
  const halfCreated = initPartitionCount <= 0 || partitionIndex < initPartitionCount
  if (!halfCreated && partitionIndex >= partitionCount / 2) {
    partition.config = { ...config, ballot: invalidBallot }
    return
  }
  if (status === AppStatus.AS_DROPPED) partition.config = { ...config, partitionFlags: droppedFlag }
  app.unfinished++
  createPartition(step, partition)
}
