/**
 * All replicas of one server: opening what is on disk, creating what the meta server assigns,
 * closing what it takes away, and handing events to each (replica-server.md 4.2, 4.3, 12). What a
 * single replica does is `replica.ts` with its driver.
 */
import { type Gpid, gpidText } from '../protocol/base.ts'
import type { GroupCheckRequest } from '../protocol/consensus.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import {
  type ConfigurationQueryByNodeResponse,
  ConfigType,
  ConfigurationUpdateRequest,
} from '../protocol/meta-admin.ts'
import { PartitionStatus, ReplicaInfo } from '../protocol/metadata.ts'
import type { ReplicaStore } from '../storage/replica-store.ts'
import type { ReplicaStores } from '../storage/replica-stores.ts'
import { type DriverContext, ReplicaDriver } from './driver.ts'
import type { MetaLink } from './meta-link.ts'
import { withoutMember } from './meta-update.ts'
import { type Mutation, fromLogRecord } from './mutation.ts'
import { Replica, unusableReplica } from './replica.ts'
import { type StoredRecord, writeInfo, writeRecord } from './replica-record.ts'
import type { ReplicaOptions } from './replica-state.ts'

export interface NodeOptions {
  readonly replica: ReplicaOptions
  /** A replica that no configuration names stays open for so long, to be learned again cheaply. */
  readonly inactiveKeepMs: number
  /** Data that the meta server calls superfluous are removed after this. */
  readonly garbageKeepMs: number
}

export type NodeContext = Omit<DriverContext, 'onFailed' | 'leaseValid' | 'updateMeta'> & {
  readonly stores: ReplicaStores
}

/** A replica on disk that is not open. */
interface ClosedReplica {
  readonly store: ReplicaStore
  record: StoredRecord
  readonly info: AppInfo
}

/** Mutations of a closed replica that are read again from the log when it is opened. */
const REOPEN_BYTES_MAX = 64 * 1024 * 1024

export class ReplicaNode {
  readonly #context: NodeContext
  readonly #options: NodeOptions
  readonly #link: MetaLink
  readonly #open = new Map<string, ReplicaDriver>()
  readonly #closed = new Map<string, ClosedReplica>()
  /** Being opened or closed; what arrives meanwhile waits for it. */
  readonly #changing = new Map<string, Promise<void>>()
  #connected = false
  #stopping = false

  constructor(context: NodeContext, options: NodeOptions, link: MetaLink) {
    this.#context = context
    this.#options = options
    this.#link = link
  }

  get(gpid: Gpid): ReplicaDriver | undefined {
    return this.#open.get(gpidText(gpid))
  }

  drivers(): readonly ReplicaDriver[] {
    return [...this.#open.values()]
  }

  closedCount(): number {
    return this.#closed.size
  }

  get connected(): boolean {
    return this.#connected
  }

  /**
   * Opens one replica found on disk at start. `mutations` are those of its log behind the start of
   * its history. Data that are not usable stay where they are and are reported.
   */
  async openStored(
    store: ReplicaStore,
    { record, info }: { readonly record: StoredRecord; readonly info: AppInfo },
    mutations: readonly Mutation[],
  ): Promise<void> {
    if (record.failed === undefined && record.garbageSinceMs === undefined)
      return this.#recover(store, record, info, mutations)
    this.#closed.set(gpidText(store.gpid), { store, record, info })
  }

  /** For config sync: everything there is, open or not. */
  storedReplicas(): readonly ReplicaInfo[] {
    const open = this.drivers().map((driver) => driver.replica.info(driver.store.durableDecree))
    const closed = [...this.#closed.values()].map(({ store, record, info }) => {
      const { gpid } = store
      if (record.failed !== undefined)
        return unusableReplica({ gpid, info }, PartitionStatus.PS_ERROR)
      if (record.incomplete) return unusableReplica({ gpid, info }, PartitionStatus.PS_INACTIVE)
      return ReplicaInfo.make({
        pid: gpid,
        ballot: record.ballot,
        status: PartitionStatus.PS_INACTIVE,
        lastCommittedDecree: store.applied.decree,
        lastPreparedDecree: store.applied.decree,
        lastDurableDecree: store.durableDecree,
        appType: info.appType,
        diskTag: 'default',
      })
    })
    return [...open, ...closed]
  }

  onDisconnected(): void {
    this.#connected = false
    for (const driver of this.drivers()) driver.dispatch({ type: 'disconnected' })
  }

  onSynced(response: ConfigurationQueryByNodeResponse, sentAtMs: number): void {
    if (!this.#connected) {
      this.#connected = true
      for (const driver of this.drivers()) driver.dispatch({ type: 'connected' })
    }
    const named = new Set<string>()
    for (const request of response.partitions) {
      named.add(gpidText(request.config.pid))
      this.#onSyncedPartition(request)
    }
    for (const driver of this.drivers())
      if (!named.has(gpidText(driver.store.gpid))) this.#onUnknownReplica(driver, sentAtMs)
    for (const { pid } of response.gcReplicas ?? []) this.#markGarbage(pid)
  }

  #onSyncedPartition(request: ConfigurationUpdateRequest): void {
    const { pid, primary } = request.config
    const driver = this.get(pid)
    if (driver !== undefined) return driver.dispatch({ type: 'config-synced', request })
    if (primary !== this.#context.self || this.#changing.has(gpidText(pid))) return
    // Named primary of a partition that is not here: the meta server has to take another one.
    const { self } = this.#context
    const config = withoutMember(request.config, self)
    const update = ConfigurationUpdateRequest.make({
      info: request.info,
      config: { ...config, ballot: request.config.ballot + 1 },
      type: ConfigType.CT_DOWNGRADE_TO_INACTIVE,
      node: self,
    })
    void this.#link.updateConfiguration(update)
  }

  /** The meta server does not name this server for it. A learner, or a fresh one, is not named. */
  #onUnknownReplica(driver: ReplicaDriver, sentAtMs: number): void {
    const view = driver.view()
    if (view.status === 'potential-secondary' || view.updatePending) return
    if (view.lastConfigChangeMs >= sentAtMs) return
    if (view.status === 'inactive') {
      const nowMs = this.#context.runtime.clock.monotonicMs()
      if (nowMs - view.lastConfigChangeMs < this.#options.inactiveKeepMs) return
    }
    this.#close(driver, undefined)
  }

  #markGarbage(gpid: Gpid): void {
    const closed = this.#closed.get(gpidText(gpid))
    if (closed === undefined || closed.record.garbageSinceMs !== undefined) return
    closed.record = { ...closed.record, garbageSinceMs: this.#context.runtime.clock.wallMs() }
    this.#change(gpid, () => writeRecord(closed.store, closed.record))
  }

  onProposal(request: ConfigurationUpdateRequest): void {
    if (!this.#connected || this.#stopping) return
    const { pid, ballot } = request.config
    const dispatch = (): void => {
      this.get(pid)?.dispatch({ type: 'proposal', request })
    }
    if (this.get(pid) !== undefined) return dispatch()
    if (request.type !== ConfigType.CT_ASSIGN_PRIMARY || request.node !== this.#context.self) return
    const known = this.#closed.get(gpidText(pid))
    // A partition that has lived needs data; without them it would come up empty.
    if (known === undefined && ballot > 0) return
    if (known?.record.failed !== undefined) return
    this.#change(pid, async () => {
      if (this.get(pid) === undefined)
        if (known === undefined) await this.#create(pid, request.info, false)
        else await this.#reopen(known)
      dispatch()
    })
  }

  /** A primary calls this server as a learner: the replica is opened or made when it is not there. */
  onLearnerCalled(request: GroupCheckRequest): void {
    if (!this.#connected || this.#stopping) return
    const { pid } = request.config
    const dispatch = (): void => {
      this.get(pid)?.dispatch({ type: 'add-learner', request })
    }
    if (this.get(pid) !== undefined) return dispatch()
    this.#change(pid, async () => {
      if (this.get(pid) === undefined) await this.#openLearner(pid, request.app)
      dispatch()
    })
  }

  /** Regular housekeeping. Resolves when done. */
  async sweep(): Promise<void> {
    const { clock } = this.#context.runtime
    const nowMs = clock.monotonicMs()
    for (const driver of this.drivers()) {
      driver.expireClients(nowMs)
      const { status, transient, lastConfigChangeMs } = driver.view()
      const idle = nowMs - lastConfigChangeMs >= this.#options.inactiveKeepMs
      if (status === 'inactive' && !transient && idle && this.#connected)
        this.#close(driver, undefined)
    }
    for (const [key, { record, store }] of this.#closed) {
      const sinceMs = record.garbageSinceMs
      if (sinceMs === undefined || clock.wallMs() - sinceMs < this.#options.garbageKeepMs) continue
      this.#change(store.gpid, async () => {
        if (!this.#closed.delete(key)) return
        await this.#context.stores.remove(store.gpid)
        this.#context.observe?.({
          node: this.#context.self,
          gpid: store.gpid,
          atMs: clock.monotonicMs(),
          event: { type: 'closed', cleared: true },
        })
      })
    }
    await Promise.all(this.#changing.values())
  }

  /** Log records of a replica up to this decree are not needed any more. */
  collectable(gpid: Gpid): number | 'gone' {
    const driver = this.get(gpid)
    if (driver === undefined) return 'gone'
    const oldest = this.#context.snapshots.oldestDecree(gpid)
    return Math.min(driver.store.durableDecree, oldest ?? Number.MAX_SAFE_INTEGER)
  }

  async close(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#changing.values())
    await Promise.all(this.drivers().map((driver) => driver.close()))
    this.#open.clear()
  }

  async #create(gpid: Gpid, info: AppInfo, incomplete: boolean): Promise<void> {
    const { stores, log } = this.#context
    const store = await stores.getOrCreate(gpid)
    const record = { ballot: 0, incomplete, logStart: log.endOffset() }
    await writeInfo(store, info)
    await writeRecord(store, record)
    const replica = Replica.create(this.#given(store, record, info))
    this.#add(new ReplicaDriver(this.#driverContext(), { replica, store, record }))
  }

  async #reopen({ store, record, info }: ClosedReplica): Promise<void> {
    const { log } = this.#context
    const { gpid, applied } = store
    const records = await log.read(
      gpid,
      applied.decree + 1,
      Number.MAX_SAFE_INTEGER,
      REOPEN_BYTES_MAX,
      record.logStart,
    )
    await this.#recover(store, record, info, records.map(fromLogRecord))
  }

  /** Data of a failed replica are thrown away: the group has them. */
  async #openLearner(gpid: Gpid, info: AppInfo): Promise<void> {
    const known = this.#closed.get(gpidText(gpid))
    if (known === undefined) return this.#create(gpid, info, true)
    const { store, record } = known
    if (record.failed !== undefined) await store.wipe()
    const { ballot } = record
    const fresh = { ballot, incomplete: true, logStart: this.#context.log.endOffset() }
    await writeRecord(store, fresh)
    await this.#recover(store, fresh, info, [])
  }

  async #recover(
    store: ReplicaStore,
    record: StoredRecord,
    info: AppInfo,
    mutations: readonly Mutation[],
  ): Promise<void> {
    const { garbageSinceMs: _, ...kept } = record
    const given = this.#given(store, kept, info)
    const { replica, effects } = Replica.recover(given, mutations)
    const driver = new ReplicaDriver(this.#driverContext(), { replica, store, record: kept })
    this.#closed.delete(gpidText(store.gpid))
    driver.run(effects)
    this.#add(driver)
  }

  #given(store: ReplicaStore, record: StoredRecord, info: AppInfo) {
    const { runtime, self } = this.#context
    const { decree, timestampUs } = store.applied
    return {
      gpid: store.gpid,
      self,
      options: this.#options.replica,
      info,
      record: { ballot: record.ballot, incomplete: record.incomplete },
      applied: decree,
      lastTimestampUs: timestampUs,
      nowMs: runtime.clock.monotonicMs(),
    }
  }

  #driverContext(): DriverContext {
    return {
      ...this.#context,
      leaseValid: () => this.#link.leaseValid(),
      updateMeta: (request) => this.#link.updateConfiguration(request),
      onFailed: (driver, reason) => {
        this.#close(driver, reason)
      },
    }
  }

  #add(driver: ReplicaDriver): void {
    this.#open.set(gpidText(driver.store.gpid), driver)
    if (this.#connected) driver.dispatch({ type: 'connected' })
  }

  #close(driver: ReplicaDriver, failed: string | undefined): void {
    const { store } = driver
    const key = gpidText(store.gpid)
    if (this.#open.get(key) !== driver) return
    this.#open.delete(key)
    const { info } = driver.view()
    this.#context.runtime.log.info('replica closed', { gpid: key, failed })
    this.#change(store.gpid, async () => {
      await driver.close()
      if (failed !== undefined) await driver.amendRecord({ failed, incomplete: true })
      this.#closed.set(key, { store, record: driver.record, info })
      if (failed !== undefined) this.#link.syncSoon()
    })
  }

  /** Changes of one replica follow each other; a failed one is logged and leaves it closed. */
  #change(gpid: Gpid, run: () => Promise<void>): void {
    const key = gpidText(gpid)
    const previous = this.#changing.get(key) ?? Promise.resolve()
    const next = previous.then(run).catch((error: unknown) => {
      this.#context.runtime.log.error('replica: not opened or closed', { gpid: key, error })
    })
    this.#changing.set(key, next)
    void next.then(() => {
      if (this.#changing.get(key) === next) this.#changing.delete(key)
    })
  }
}
