/**
 * A replica server: opens engine and log, brings its replicas back, serves clients, peers and the
 * meta server until closed. Everything nondeterministic comes through the runtime, so that the same
 * code runs in the simulation.
 */
import type { Gpid } from '../protocol/base.ts'
import {
  GroupCheckResponse,
  LearnNotifyResponse,
  LearnResponse,
  PrepareAck,
} from '../protocol/consensus.ts'
import { encodeResult } from '../protocol/frame.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { ProtocolError } from '../protocol/schema.ts'
import { timesOf, timingProblem } from '../failure-detector.ts'
import { type Answer, type RpcRequest, headerError, silence } from '../rpc/handler.ts'
import { Peers } from '../rpc/peers.ts'
import { RpcServer } from '../rpc/server.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Metrics } from '../runtime/metrics.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { StorageEngine } from '../storage/engine.ts'
import type { MutationLog } from '../storage/mutation-log.ts'
import type { ReplicaStores } from '../storage/replica-stores.ts'
import { WRITE_EMPTY } from './app.ts'
import { ClientRequests } from './client-requests.ts'
import type { ReplicaConfig } from './config.ts'
import type { ReplicaDriver } from './driver.ts'
import { MetaLink } from './meta-link.ts'
import { replicaMetrics } from './metrics.ts'
import { ReplicaNode } from './node.ts'
import { readPrepare } from './peer-calls.ts'
import type { ReplicaAnswer } from './replica-events.ts'
import type { CommitRule, ReplicaOptions } from './replica-state.ts'
import { rrdb } from './rrdb-app.ts'
import { Snapshots } from './snapshots.ts'
import { openStorage } from './start-up.ts'
import type { ObserveReplica } from './trace.ts'

export interface ReplicaServerOptions {
  readonly runtime: Runtime
  /** Opens the engine in the data folder; the server closes it. */
  readonly openEngine: () => Promise<StorageEngine>
  readonly config: ReplicaConfig
  readonly metrics: Metrics
  /** Sees every event that the invariants speak of. */
  readonly observe?: ObserveReplica
  /** 'majority' plants a mistake for the simulation to find. */
  readonly commitRule?: CommitRule
}

export interface ReplicaServer {
  /** `ip:port` under which the cluster knows this server. */
  readonly address: string
  /** Why it does not serve yet; undefined when it is connected to the meta server. */
  readonly unreadyReason: () => string | undefined
  readonly node: ReplicaNode
  /** Finishes what is in flight, makes all durable, closes everything. Idempotent. */
  readonly close: () => Promise<void>
}

const EXPIRE_MS = 500
const DRAIN_MS = 5000
/** The engine is synced early when so much is not. */
const UNSYNCED_BYTES_MAX = 32 * 1024 * 1024

/** Rejects with an error that says what is wrong: configuration, data folder, port in use. */
export async function startReplicaServer(options: ReplicaServerOptions): Promise<ReplicaServer> {
  const { runtime, config } = options
  const times = timesOf(config.failureDetector)
  const problem = timingProblem(times)
  if (problem !== undefined) throw new Error(problem)
  const storage = await openStorage(runtime, options.openEngine, config)
  const { stores, log } = storage
  const server = new RpcServer(runtime, {
    name: 'replica',
    maxConnections: config.rpc.maxConnections,
    // All partitions of a peer share its connection.
    maxInflightPerConnection: 8192,
    maxInflightBytesPerConnection: 64 * 1024 * 1024,
  })
  // A peer that lost its power says nothing: the connection is given up soon, not at TCP's pace.
  const { prepareTimeout } = config.replica
  const peers = new Peers(runtime, { silentMs: prepareTimeout, connectTimeoutMs: prepareTimeout })
  const quietMs = Math.ceil(times.leaseMs / 4)
  const metaPeers = new Peers(runtime, { silentMs: quietMs, connectTimeoutMs: quietMs })
  const metrics = replicaMetrics(options.metrics)
  const snapshots = new Snapshots(runtime)
  let node: ReplicaNode | undefined
  let link: MetaLink | undefined
  const find = (gpid: Gpid): ReplicaDriver | undefined => node?.get(gpid)
  const clients = new ClientRequests({
    runtime,
    kind: rrdb,
    metrics,
    find,
    leaseValid: () => link?.leaseValid() ?? false,
    maxWriteBytes: config.replica.maxWriteBytes,
    writeTimeoutMs: config.replica.writeTimeout,
  })
  for (const name of rrdb.writes.keys()) server.handleRaw(name, (request) => clients.write(request))
  for (const name of rrdb.reads) server.handleRaw(name, (request) => clients.read(request))
  handlePeers(server, () => node, snapshots)

  let listener
  try {
    listener = await server.listen({ host: config.rpc.host, port: config.rpc.port })
  } catch (error) {
    await storage.close()
    throw error
  }
  const self = config.rpc.address ?? `${listener.host}:${listener.port}`
  link = new MetaLink(
    runtime,
    metaPeers,
    {
      self,
      metas: config.metaServers,
      times,
      configSyncMs: config.replica.configSync,
      callTimeoutMs: config.replica.metaTimeout,
    },
    {
      storedReplicas: () => node?.storedReplicas() ?? [],
      onDisconnected: () => node?.onDisconnected(),
      onSynced: (response, sentAtMs) => node?.onSynced(response, sentAtMs),
      onBeaconFailed: () => metrics.beaconFailed.add(),
    },
  )
  const running = new ReplicaNode(
    { runtime, self, log, peers, snapshots, kind: rrdb, metrics, observe: options.observe, stores },
    {
      replica: replicaOptions(options),
      inactiveKeepMs: config.replica.inactiveKeep,
      garbageKeepMs: config.replica.garbageKeep,
    },
    link,
  )
  node = running
  for (const { store, found, mutations } of storage.replicas)
    await running.openStored(store, found, mutations)
  gauges(options.metrics, running, link)
  const housekeeping = keepHouse(runtime, { node: running, stores, log, config })
  link.start()
  runtime.log.info('replica server started', { self, replicas: storage.replicas.length })

  const end = async (): Promise<void> => {
    link.close()
    await server.drain(deadlineIn(runtime.clock, DRAIN_MS))
    await housekeeping.stop()
    await running.close()
    snapshots.close()
    peers.close()
    metaPeers.close()
    await storage.close()
  }
  let ending: Promise<void> | undefined
  return {
    address: self,
    node: running,
    unreadyReason: () => (link.state === 'connected' ? undefined : `meta server: ${link.state}`),
    close: () => (ending ??= end()),
  }
}

function replicaOptions({ config, observe, commitRule }: ReplicaServerOptions): ReplicaOptions {
  const { replica } = config
  return {
    prepareTimeoutMs: replica.prepareTimeout,
    learnerPrepareTimeoutMs: replica.learnerPrepareTimeout,
    prepareResendMs: 5,
    stalenessMax: replica.stalenessMax,
    prepareListMax: Math.max(replica.prepareListMax, replica.stalenessMax),
    minReplicaCount: replica.minReplicasForWrite,
    groupCheckMs: replica.groupCheck,
    metaRetryMs: replica.metaRetry,
    learnRetryMs: replica.learnRetry,
    learnTimeoutMs: 2 * replica.prepareTimeout,
    learnBytesMax: replica.learnAnswerBytes,
    queuedBytesMax: replica.queuedBytesMax,
    mutationBytesMax: 1024 * 1024,
    applyBytesMax: 4 * 1024 * 1024,
    eagerInflightMax: 1,
    commitRule: commitRule ?? 'all',
    knowsCode: (code) => code === WRITE_EMPTY || rrdb.writes.has(code),
    traced: observe !== undefined,
  }
}

/** RPCs of other replica servers and of the meta server (replica-server.md 19). */
function handlePeers(
  server: RpcServer,
  node: () => ReplicaNode | undefined,
  snapshots: Snapshots,
): void {
  const find = (pid: Gpid): ReplicaDriver | undefined => node()?.get(pid)
  const notHere = (): string =>
    node() === undefined ? 'ERR_INACTIVE_STATE' : 'ERR_OBJECT_NOT_FOUND'
  server.handleRaw('RPC_PREPARE', (request) => handlePrepare(request, find, notHere))
  server.handle(Rpc.GROUP_CHECK, async (request) => {
    const { pid } = request.config
    const driver = find(pid)
    if (driver === undefined) {
      // A learner is opened or made; it answers for itself the next time.
      if (request.config.learnerSignature !== 0n) {
        node()?.onLearnerCalled(request)
        return GroupCheckResponse.make({ pid, err: 'ERR_OK', node: request.node })
      }
      return GroupCheckResponse.make({ pid, err: notHere(), node: request.node })
    }
    const answer = await driver.ask((token) => ({ type: 'group-check', token, request }))
    return answer.kind === 'group-check' ? answer.response : silence
  })
  server.handle(Rpc.LEARN, async (request) => {
    const driver = find(request.pid)
    if (driver === undefined) return LearnResponse.make({ err: notHere() })
    const answer = await driver.ask((token) => ({ type: 'learn', token, request }))
    return answer.kind === 'learn' ? answer.response : silence
  })
  server.handle(Rpc.LEARN_COMPLETION_NOTIFY, async (request) => {
    const driver = find(request.pid)
    if (driver === undefined) return LearnNotifyResponse.make({ pid: request.pid, err: notHere() })
    const answer = await driver.ask((token) => ({ type: 'learn-notify', token, request }))
    return answer.kind === 'learn-notify' ? answer.response : silence
  })
  server.handle(Rpc.LEARN_ADD_LEARNER, (request) => {
    node()?.onLearnerCalled(request)
    return silence
  })
  server.handle(Rpc.REMOVE_REPLICA, (config) => {
    find(config.pid)?.dispatch({ type: 'remove', config })
    return silence
  })
  server.handle(Rpc.CONFIG_PROPOSAL, (request) => {
    node()?.onProposal(request)
    return silence
  })
  server.handle(Rpc.NFS_COPY, (request) => snapshots.block(request))
  server.handle(Rpc.QUERY_PN_DECREE, ({ pid }) => {
    const view = find(pid)?.view()
    if (view === undefined) return { err: notHere(), lastDecree: 0 }
    const lastDecree = view.status === 'potential-secondary' ? 0 : view.lastPrepared
    return { err: 'ERR_OK', lastDecree }
  })
  server.handle(Rpc.QUERY_REPLICA_INFO, () => ({
    err: 'ERR_OK',
    replicas: [...(node()?.storedReplicas() ?? [])],
  }))
  server.handle(Rpc.QUERY_APP_INFO, () => {
    const apps = new Map<number, AppInfo>()
    for (const driver of node()?.drivers() ?? []) {
      const { info } = driver.view()
      apps.set(info.appId, info)
    }
    return { err: 'ERR_OK', apps: [...apps.values()] }
  })
}

function handlePrepare(
  request: RpcRequest,
  find: (pid: Gpid) => ReplicaDriver | undefined,
  notHere: () => string,
): Answer<Buffer> | Promise<Answer<Buffer>> {
  let prepare
  try {
    prepare = readPrepare(request.argumentBytes)
  } catch (error) {
    if (error instanceof ProtocolError) return headerError('ERR_INVALID_DATA')
    throw error
  }
  const { pid, config, mutation } = prepare
  const driver = find(pid)
  if (driver === undefined) {
    const { ballot, decree } = mutation
    return encodeResult(PrepareAck, PrepareAck.make({ pid, err: notHere(), ballot, decree }))
  }
  const asking = driver.ask((token) => ({ type: 'prepare', token, config, mutation }))
  return asking.then((answer: ReplicaAnswer) =>
    answer.kind === 'prepare' ? encodeResult(PrepareAck, answer.ack) : silence,
  )
}

function gauges(metrics: Metrics, node: ReplicaNode, link: MetaLink): void {
  const count = (status: string) => (): number =>
    node.drivers().filter((driver) => driver.view().status === status).length
  metrics.gauge('total_replicas', 'Open replicas', () => node.drivers().length)
  metrics.gauge('primary_replicas', 'Replicas that are primary', count('primary'))
  metrics.gauge('secondary_replicas', 'Replicas that are secondary', count('secondary'))
  metrics.gauge('learning_replicas', 'Replicas that learn', count('potential-secondary'))
  metrics.gauge('inactive_replicas', 'Replicas without a role', count('inactive'))
  metrics.gauge('closed_replicas', 'Replicas on disk that are not open', () => node.closedCount())
  metrics.gauge('lease_remaining_ms', 'Lease left', () => link.leaseRemainingMs())
  metrics.gauge('apply_lag', 'Largest distance of applied to committed decree', () =>
    node.drivers().reduce((lag, driver) => {
      const { committed, applied } = driver.view()
      return Math.max(lag, committed - applied)
    }, 0),
  )
}

interface Household {
  readonly node: ReplicaNode
  readonly stores: ReplicaStores
  readonly log: MutationLog
  readonly config: ReplicaConfig
}

/** Sync marks, collection of the log, expiry of clients; each turn schedules the next. */
function keepHouse(
  runtime: Runtime,
  { node, stores, log, config }: Household,
): { readonly stop: () => Promise<void> } {
  let stopped = false
  let syncing = false
  let turn = Promise.resolve()
  let syncTimer: Timer | undefined
  let expireTimer: Timer | undefined
  const keep = async (): Promise<void> => {
    try {
      await stores.sync()
      for (const driver of node.drivers()) driver.noteDurable()
      await node.sweep()
      await log.collect((gpid) => node.collectable(gpid))
    } catch (error) {
      runtime.log.error('housekeeping failed', { error })
    }
    if (!stopped) schedule()
  }
  const schedule = (): void => {
    syncTimer = runtime.timers.after(config.replica.syncInterval, () => {
      turn = keep()
    })
  }
  const expire = (): void => {
    const nowMs = runtime.clock.monotonicMs()
    for (const driver of node.drivers()) driver.expireClients(nowMs)
    if (!syncing && stores.unsyncedBytes() > UNSYNCED_BYTES_MAX) {
      syncing = true
      stores
        .sync()
        .catch((error: unknown) => runtime.log.error('sync mark failed', { error }))
        .finally(() => (syncing = false))
    }
    expireTimer = runtime.timers.after(EXPIRE_MS, expire)
  }
  schedule()
  expire()
  return {
    stop: async () => {
      stopped = true
      syncTimer?.cancel()
      expireTimer?.cancel()
      await turn
      syncTimer?.cancel()
    },
  }
}
