/**
 * Tables: create, drop, and the order in which their stored form changes (meta-server.md 4, 13.2,
 * 13.3). The table's node is the commit point of both: a create or drop that was cut off behind it
 * is completed by the next leader. Lookups are in `queries.ts`.
 */
import { AppStatus, type AppInfo } from '../protocol/layer2.ts'
import {
  type ConfigurationCreateAppRequest,
  type ConfigurationDropAppRequest,
  type CreateAppOptions,
  MetaFunctionLevel,
} from '../protocol/meta-admin.ts'
import { creationEnvProblem } from './app-envs.ts'
import { begin, dropPartition } from './configuration.ts'
import type { Step } from './effects.ts'
import { cureNow } from './guardian.ts'
import {
  type App,
  type AppChange,
  aliveCount,
  effectiveLevel,
  emptyConfig,
  newApp,
  newPartition,
} from './state.ts'
import { appPath, encodeApp } from './storage-tree.ts'

/** Upstream's clients allow these characters; `-` is ours. */
const TABLE_NAME = /^[0-9A-Za-z._:-]{1,255}$/

/** The only kind of table there is. */
const APP_TYPE = 'pegasus'

/** Why a table that is in between cannot be used now; ERR_OK when it is not in between. */
export function busyError(status: number): string {
  switch (status) {
    case AppStatus.AS_AVAILABLE:
      return 'ERR_OK'
    case AppStatus.AS_CREATING:
    case AppStatus.AS_RECALLING:
      return 'ERR_BUSY_CREATING'
    case AppStatus.AS_DROPPING:
      return 'ERR_BUSY_DROPPING'
    default:
      return 'ERR_UNKNOWN'
  }
}

export function createApp(
  step: Step,
  requester: number,
  { appName, options }: ConfigurationCreateAppRequest,
): void {
  const answer = (err: string, appId = 0): void => {
    step.effects.push({ type: 'answer', requester, answer: { type: 'app-created', err, appId } })
  }
  const { state } = step
  if (effectiveLevel(state, step.options) <= MetaFunctionLevel.fl_freezed) {
    answer('ERR_STATE_FREEZED')
    return
  }
  const problem = creationProblem(step, appName, options)
  if (problem !== undefined) {
    step.effects.push({
      type: 'note',
      level: 'warn',
      message: 'table not created',
      fields: { table: appName.slice(0, 300), problem },
    })
    answer('ERR_INVALID_PARAMETERS')
    return
  }
  const existing = state.names.get(appName)
  if (existing !== undefined) {
    const busy = busyError(existing.info.status)
    if (busy !== 'ERR_OK') answer(busy)
    else if (!options.successIfExist) answer('ERR_APP_EXIST')
    else if (!sameOptions(existing.info, options)) answer('ERR_INVALID_PARAMETERS')
    else answer('ERR_OK', existing.info.appId)
    return
  }
  const app = newTable(step, appName, options)
  state.apps.set(app.info.appId, app)
  state.names.set(appName, app)
  app.requester = requester
  change(step, app, { kind: 'create' })
}

function creationProblem(
  step: Step,
  appName: string,
  options: CreateAppOptions,
): string | undefined {
  const { minReplicaCount, maxReplicaCount, maxPartitionCount } = step.options
  const { partitionCount, replicaCount, appType, envs } = options
  if (!TABLE_NAME.test(appName)) return 'the name must be 1 to 255 of 0-9 A-Z a-z . _ : -'
  // No mapping node can have such a name: clients of a gateway would never find the table.
  if (appName === '.' || appName === '..') return `the name ${appName} cannot be mapped`
  if (partitionCount < 1 || partitionCount > maxPartitionCount)
    return `partition_count ${partitionCount}: expected 1 to ${maxPartitionCount}`
  if (replicaCount < minReplicaCount || replicaCount > maxReplicaCount)
    return `replica_count ${replicaCount}: expected ${minReplicaCount} to ${maxReplicaCount}`
  const alive = aliveCount(step.state)
  if (replicaCount > alive) return `replica_count ${replicaCount}: ${alive} nodes are alive`
  if (appType !== '' && appType !== APP_TYPE) return `app_type: expected ${APP_TYPE}`
  return creationEnvProblem(envs)
}

function sameOptions(info: Readonly<AppInfo>, options: CreateAppOptions): boolean {
  const { envs } = options
  return (
    info.partitionCount === options.partitionCount &&
    info.maxReplicaCount === options.replicaCount &&
    (options.appType === '' || info.appType === options.appType) &&
    info.envs.size === envs.size &&
    [...info.envs].every(([key, value]) => envs.get(key) === value)
  )
}

function newTable(step: Step, appName: string, options: CreateAppOptions): App {
  let appId = 1
  for (const known of step.state.apps.keys()) appId = Math.max(appId, known + 1)
  const { partitionCount, replicaCount } = options
  const info: AppInfo = {
    status: AppStatus.AS_CREATING,
    appType: APP_TYPE,
    appName,
    appId,
    partitionCount,
    envs: new Map(options.envs),
    isStateful: true,
    maxReplicaCount: replicaCount,
    expireSecond: 0,
    createSecond: step.now.wallSeconds,
    dropSecond: 0,
    duplicating: false,
    initPartitionCount: partitionCount,
    isBulkLoading: false,
    atomicIdempotent: options.atomicIdempotent === true,
  }
  const partitions = Array.from({ length: partitionCount }, (_, partitionIndex) =>
    newPartition(emptyConfig({ appId, partitionIndex }, replicaCount)),
  )
  return newApp(info, partitions)
}

export function dropApp(
  step: Step,
  requester: number,
  { appName, options }: ConfigurationDropAppRequest,
): void {
  const answer = (err: string): void => {
    step.effects.push({ type: 'answer', requester, answer: { type: 'app-dropped', err } })
  }
  const app = step.state.names.get(appName)
  if (app === undefined) {
    answer(options.successIfNotExist ? 'ERR_OK' : 'ERR_APP_NOT_EXIST')
    return
  }
  const busy = busyError(app.info.status)
  if (busy !== 'ERR_OK') {
    answer(busy)
    return
  }
  const { reserveSeconds = 0 } = options
  const dropSecond = step.now.wallSeconds
  const keptSeconds = reserveSeconds > 0 ? reserveSeconds : step.options.holdDroppedSeconds
  app.info = { ...app.info, status: AppStatus.AS_DROPPING }
  app.requester = requester
  change(step, app, { kind: 'drop', dropSecond, expireSecond: dropSecond + keptSeconds })
}

/** Queues a change of the table's node. */
export function change(step: Step, app: App, wanted: AppChange): void {
  app.changes.push(wanted)
  if (app.storing === undefined) storeNext(step, app)
}

/** The table with the change, as it is stored: AS_AVAILABLE or AS_DROPPED, nothing in between. */
function changed(info: Readonly<AppInfo>, wanted: AppChange): Readonly<AppInfo> {
  switch (wanted.kind) {
    case 'create':
      return { ...info, status: AppStatus.AS_AVAILABLE }
    case 'drop': {
      const { dropSecond, expireSecond } = wanted
      return { ...info, status: AppStatus.AS_DROPPED, dropSecond, expireSecond }
    }
    case 'envs': {
      const envs = new Map([...info.envs, ...wanted.set])
      for (const key of wanted.remove) envs.delete(key)
      return { ...info, status: AppStatus.AS_AVAILABLE, envs }
    }
  }
}

function storeNext(step: Step, app: App): void {
  const wanted = app.changes[0]
  if (wanted === undefined) return
  const { appId } = app.info
  app.storing = changed(app.info, wanted)
  step.effects.push({
    type: 'write',
    path: appPath(appId),
    data: encodeApp(app.storing),
    fresh: wanted.kind === 'create',
    done: { type: 'app-written', appId },
  })
}

/** The storage has acknowledged the table's node. */
export function onAppWritten(step: Step, appId: number): void {
  const app = step.state.apps.get(appId)
  const wanted = app?.changes.shift()
  if (app?.storing === undefined || wanted === undefined)
    throw new Error(`table ${appId}: a write ended that nobody began`)
  // The status stays what it is in memory until all partitions have followed.
  app.info = { ...app.storing, status: app.info.status }
  app.storing = undefined
  switch (wanted.kind) {
    case 'create':
      createPartitions(step, app)
      break
    case 'drop':
      step.state.names.delete(app.info.appName)
      dropPartitions(step, app)
      break
    case 'envs': {
      const { requester, hint } = wanted
      const answer = { type: 'envs-updated', err: 'ERR_OK', hint } as const
      step.effects.push({ type: 'answer', requester, answer })
      break
    }
  }
  refuseBehindDrop(step, app)
  storeNext(step, app)
}

/** Changes that wait behind the drop of their table have come too late. */
function refuseBehindDrop(step: Step, app: App): void {
  const late =
    app.info.dropSecond > 0 && app.info.status !== AppStatus.AS_AVAILABLE
      ? app.changes.splice(0)
      : []
  for (const wanted of late)
    if (wanted.kind === 'envs')
      step.effects.push({
        type: 'answer',
        requester: wanted.requester,
        answer: { type: 'envs-updated', err: 'ERR_APP_DROPPED', hint: 'the table was dropped' },
      })
}

function createPartitions(step: Step, app: App): void {
  app.unfinished = app.partitions.length
  for (const partition of app.partitions) createPartition(step, partition)
}

export function createPartition(step: Step, partition: App['partitions'][number]): void {
  begin(step, partition, {
    kind: 'create',
    next: partition.config,
    type: 0,
    node: '',
    requester: undefined,
  })
}

function dropPartitions(step: Step, app: App): void {
  app.unfinished = app.partitions.length
  for (const partition of app.partitions) dropPartition(step, partition)
}

/** Ends a create or drop when its last partition is stored: the status, then the answer. */
export function finishIfDone(step: Step, app: App): void {
  if (app.unfinished > 0) return
  const { requester } = app
  const { appId, status } = app.info
  if (status === AppStatus.AS_CREATING) {
    app.info = { ...app.info, status: AppStatus.AS_AVAILABLE }
    if (requester !== undefined)
      step.effects.push({
        type: 'answer',
        requester,
        answer: { type: 'app-created', err: 'ERR_OK', appId },
      })
    for (const partition of app.partitions) cureNow(step, app, partition)
  } else if (status === AppStatus.AS_DROPPING) {
    app.info = { ...app.info, status: AppStatus.AS_DROPPED }
    if (requester !== undefined)
      step.effects.push({
        type: 'answer',
        requester,
        answer: { type: 'app-dropped', err: 'ERR_OK' },
      })
  } else return
  app.requester = undefined
}
