/**
 * Opening what a replica server has on disk: engine, log, and per replica its record with the part
 * of the log behind the engine (replica-server.md 12). Nothing is served here.
 */
import { gpidText } from '../protocol/base.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import { type Runtime, RuntimeError } from '../runtime/runtime.ts'
import type { StorageEngine } from '../storage/engine.ts'
import { MutationLog } from '../storage/mutation-log.ts'
import type { ReplicaStore } from '../storage/replica-store.ts'
import { ReplicaStores } from '../storage/replica-stores.ts'
import type { ReplicaConfig } from './config.ts'
import { type Mutation, fromLogRecord } from './mutation.ts'
import { type StoredRecord, readRecord } from './replica-record.ts'

export interface StoredReplica {
  readonly store: ReplicaStore
  readonly found: { record: StoredRecord; readonly info: AppInfo }
  /** Of its present history, from a window below the applied decree on, in the log's order. */
  readonly mutations: Mutation[]
}

export interface OpenedStorage {
  readonly stores: ReplicaStores
  readonly log: MutationLog
  readonly replicas: readonly StoredReplica[]
  /** Syncs and closes log and engine. */
  readonly close: () => Promise<void>
}

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

export async function openStorage(
  runtime: Runtime,
  openEngine: () => Promise<StorageEngine>,
  config: ReplicaConfig,
): Promise<OpenedStorage> {
  const engine = await openEngine()
  let log: MutationLog | undefined
  try {
    const stores = await ReplicaStores.open(engine)
    const replicas = await readReplicas(runtime, stores)
    const keep = config.replica.prepareListMax
    const options = {
      directory: `${config.dataDirectory}/log`,
      sync: config.mutationLog.sync,
      segmentBytes: config.mutationLog.segmentBytes,
      reserveBytes: config.mutationLog.reserveBytes,
    }
    log = await MutationLog.open(runtime, options, (record) => {
      const replica = replicas.get(gpidText(record.gpid))
      if (replica === undefined || record.offset < replica.found.record.logStart) return
      if (record.decree <= replica.store.applied.decree - keep) return
      replica.mutations.push(fromLogRecord({ ...record, body: Buffer.from(record.body) }))
    })
    if (await mayHaveLostLog(runtime, config, log.closedInOrder()))
      for (const { found } of replicas.values())
        found.record = { ...found.record, incomplete: true }
    const opened = log
    return {
      stores,
      log,
      replicas: [...replicas.values()],
      close: async () => {
        await stores.sync()
        await opened.close()
        await engine.close()
      },
    }
  } catch (error) {
    await log?.close()
    await engine.close()
    throw error
  }
}

/** A replica without a usable record is left where it is: reported, not opened, not removed. */
async function readReplicas(
  runtime: Runtime,
  stores: ReplicaStores,
): Promise<Map<string, StoredReplica>> {
  const replicas = new Map<string, StoredReplica>()
  for (const store of stores.all()) {
    const found = await readRecord(store)
    if (typeof found === 'string')
      runtime.log.error('replica on disk not usable', {
        gpid: gpidText(store.gpid),
        problem: found,
      })
    else replicas.set(gpidText(store.gpid), { store, found, mutations: [] })
  }
  return replicas
}

/**
 * Without a sync per group, a machine that went down has forgotten what this server acknowledged:
 * its replicas must learn (replica-server.md 12.4 c). The boot record says how the last process
 * wrote, and on which boot of the machine.
 */
async function mayHaveLostLog(
  runtime: Runtime,
  config: ReplicaConfig,
  closedInOrder: boolean,
): Promise<boolean> {
  const { files } = runtime
  const path = `${config.dataDirectory}/boot`
  const bootId = await readOptional(runtime, BOOT_ID)
  const before = await readOptional(runtime, path)
  const now = `${config.mutationLog.sync} ${bootId ?? 'unknown'}`
  if (before !== now) await files.replaceFile(path, Buffer.from(now))
  if (before === undefined || closedInOrder || before.startsWith('group ')) return false
  return bootId === undefined || before !== `os ${bootId}`
}

async function readOptional(runtime: Runtime, path: string): Promise<string | undefined> {
  try {
    return (await runtime.files.readFile(path)).toString().trim()
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'ENOENT') return undefined
    throw error
  }
}
