/**
 * A meta server put together: the RPC port, the election, and the leader while this server is it.
 * All on the runtime and coordination contracts, so that it runs in the simulation as it is. The
 * process around it is `main.ts`.
 */
import type { Coordinator } from '../coordinator/coordinator.ts'
import { MasterGrace, timesOf, timingProblem } from '../failure-detector.ts'
import { addressToBits } from '../protocol/base.ts'
import { MetaFunctionLevel } from '../protocol/meta-admin.ts'
import { Peers } from '../rpc/peers.ts'
import { RpcServer } from '../rpc/server.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Metrics } from '../runtime/metrics.ts'
import type { Listener, Runtime } from '../runtime/runtime.ts'
import type { MetaConfig } from './config.ts'
import { Contender } from './contender.ts'
import { Leader } from './driver.ts'
import type { MetaOptions } from './effects.ts'
import { Handlers } from './handlers.ts'
import { exposeMeta, metaCounters } from './metrics.ts'
import { Store } from './store.ts'
import { HostNames } from './wire.ts'

const DRAIN_MS = 5000

export interface MetaServer {
  /** `ip:port` that others reach it at; its identity in the election. */
  readonly address: string
  readonly isLeader: () => boolean
  /** Why it cannot serve yet; `undefined` on a leader that serves and on a standby. */
  readonly unreadyReason: () => string | undefined
  /** Answers what is in flight, then closes. */
  readonly drain: () => Promise<void>
  /** At once. Idempotent. The coordinator is the caller's to close, which frees the lock. */
  readonly close: () => Promise<void>
}

/** What makes the configuration unusable although every option by itself is fine. */
export function metaConfigProblems(config: MetaConfig): readonly string[] {
  const { failureDetector, zookeeper, meta, rpc } = config
  const problem = timingProblem(timesOf(failureDetector), {
    sessionMs: zookeeper.sessionTimeout,
    restoreMs: meta.restoreAllowance,
  })
  const problems = problem === undefined ? [] : [`failureDetector: ${problem}`]
  if (meta.minReplicaCount > meta.maxReplicaCount)
    problems.push(
      `meta.minReplicaCount ${meta.minReplicaCount}: above meta.maxReplicaCount ` +
        `${meta.maxReplicaCount}`,
    )
  if ((zookeeper.user === undefined) !== (zookeeper.password === undefined))
    problems.push('zookeeper.user and zookeeper.password: give both or neither')
  if (rpc.address === undefined && rpc.host === '0.0.0.0')
    problems.push(
      'rpc.host 0.0.0.0: set rpc.address to the IP:PORT that others reach this server at',
    )
  return problems
}

function optionsOf({ meta }: MetaConfig): MetaOptions {
  return {
    minLiveNodes: meta.minLiveNodes,
    nodeLivePercentage: meta.nodeLivePercentage,
    minReplicasForWrite: meta.minReplicasForWrite,
    assignDelayMs: meta.assignDelay,
    maxReservedDroppedReplicas: meta.maxReservedDroppedReplicas,
    minReplicaCount: meta.minReplicaCount,
    maxReplicaCount: meta.maxReplicaCount,
    maxPartitionCount: meta.maxPartitionCount,
    holdDroppedSeconds: Math.floor(meta.holdDropped / 1000),
    addSecondaryMaxPerNode: meta.addSecondaryFlowControl ? meta.addSecondaryMaxPerNode : undefined,
  }
}

function graceOf({ failureDetector, meta }: MetaConfig): MasterGrace {
  return new MasterGrace({
    times: timesOf(failureDetector),
    ...(meta.unstableNodeFilter
      ? {
          unstable: {
            minRunningMs: meta.stableRunning,
            maxSuccessiveRestarts: meta.maxSuccessiveRestarts,
          },
        }
      : {}),
    ...(meta.whiteList.length > 0 ? { whiteList: new Set(meta.whiteList) } : {}),
  })
}

/** The identity, as an address that fits the wire. Throws when there is none. */
async function identity(runtime: Runtime, config: MetaConfig, listener: Listener): Promise<string> {
  const given = config.rpc.address
  const name = given?.replace(/:\d+$/, '') ?? config.rpc.host
  const port = given?.replace(/^.*:/, '') ?? String(listener.port)
  const [ip = ''] = await runtime.network.resolve(name)
  const address = `${ip}:${port}`
  addressToBits(address)
  if (ip === '0.0.0.0')
    throw new Error(
      `rpc.host is 0.0.0.0: set rpc.address to the IP:PORT that others reach this server at`,
    )
  return address
}

/** The service may grant a longer session than asked for, and then the rule may be broken. */
function warnOfLongSession(runtime: Runtime, coordinator: Coordinator, config: MetaConfig): void {
  const problem = timingProblem(timesOf(config.failureDetector), {
    sessionMs: coordinator.sessionTimeoutMs(),
    restoreMs: config.meta.restoreAllowance,
  })
  if (problem !== undefined)
    runtime.log.warn('the session time that was granted is too long', { problem })
}

/**
 * Binds the port first: two processes of one identity would delete each other's lock nodes. Rejects
 * with a `RuntimeError` (EADDRINUSE) or an `Error` that says what is wrong with the configuration.
 * A lost session or lock later ends the process through `runtime.crash`.
 */
export async function startMetaServer(parts: {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly config: MetaConfig
  readonly metrics: Metrics
}): Promise<MetaServer> {
  const { runtime, coordinator, config, metrics } = parts
  const problems = metaConfigProblems(config)
  if (problems.length > 0) throw new Error(problems.join('; '))
  const { host, port, maxConnections } = config.rpc
  const rpc = new RpcServer(runtime, { name: 'meta', maxConnections })
  const state: { leader: Leader | undefined; contender: Contender | undefined } = {
    leader: undefined,
    contender: undefined,
  }
  const hosts = new HostNames()
  const grace = graceOf(config)
  const peers = new Peers(runtime)
  const { root } = config.zookeeper
  const store = new Store(runtime, coordinator, root)
  const leading = (): Leader | undefined =>
    state.contender?.leadsNow() === true ? state.leader : undefined
  const facts = {
    zookeeperHosts: config.zookeeper.servers.replace(/\/.*$/, ''),
    zookeeperRoot: root,
    clusterName: config.clusterName,
  }
  const self = { address: '' }
  const handlers = new Handlers({
    clock: runtime.clock,
    self: () => self.address,
    hosts,
    hostPortFields: config.meta.hostPortFields === 'on',
    grace,
    counters: metaCounters(metrics),
    facts: () => ({
      ...facts,
      metaServers: config.metaServers.length > 0 ? config.metaServers : [self.address],
      leader: self.address,
    }),
    leaderAddress: () => state.contender?.leader ?? '',
    leading,
  })
  handlers.register(rpc)
  exposeMeta(metrics, {
    leader: () => state.leader,
    grace,
    pendingWrites: () => store.pending,
    minReplicasForWrite: config.meta.minReplicasForWrite,
  })
  const listener = await rpc.listen({ host, port })
  try {
    self.address = await identity(runtime, config, listener)
  } catch (error) {
    await rpc.close()
    throw error
  }
  const contender = new Contender(runtime, coordinator, {
    self: self.address,
    lockRoot: `${root}/lock`,
    onLeader: (leader) => {
      runtime.log.info('leader', { leader: leader === '' ? 'unknown' : leader })
    },
    onGranted: () => {
      const leader = new Leader({
        runtime,
        store,
        peers,
        grace,
        times: timesOf(config.failureDetector),
        hosts,
        hostPortFields: config.meta.hostPortFields === 'on',
        options: optionsOf(config),
        functionLevel: MetaFunctionLevel[`fl_${config.meta.functionLevel}`],
        checkRoundMs: config.meta.checkRound,
        mayAct: () => contender.leadsNow(),
      })
      state.leader = leader
      warnOfLongSession(runtime, coordinator, config)
      void leader.start()
    },
  })
  state.contender = contender
  contender.start()
  const stop = (): void => {
    contender.close()
    state.leader?.close()
    store.close()
    peers.close()
  }
  return {
    address: self.address,
    isLeader: () => leading()?.started === true,
    unreadyReason: () => {
      if (state.leader !== undefined)
        return state.leader.started ? undefined : 'reading the stored tree'
      return contender.leader === '' ? 'no leader is known' : undefined
    },
    drain: async () => {
      await rpc.drain(deadlineIn(runtime.clock, DRAIN_MS))
      stop()
    },
    close: async () => {
      stop()
      await rpc.close()
    },
  }
}
