/**
 * What a meta server answers to each RPC (meta-server.md 12): as the leader from its state, as a
 * standby with the way to the leader, while loading with "not yet". Encoding, limits and unknown
 * RPCs are the RPC layer's.
 */
import type { MasterGrace } from '../failure-detector.ts'
import { rpcAddress } from '../protocol/base.ts'
import { encodeResult } from '../protocol/frame.ts'
import type { Codec } from '../protocol/schema.ts'
import type { BeaconAck, BeaconMsg } from '../protocol/fd.ts'
import type { QueryCfgResponse } from '../protocol/layer2.ts'
import {
  type ConfigurationQueryByNodeRequest,
  type ConfigurationQueryByNodeResponse,
  type ConfigurationUpdateRequest,
  type ConfigurationUpdateResponse,
  MetaFunctionLevel,
  NodeStatus,
} from '../protocol/meta-admin.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import {
  type Answer,
  type Reply,
  type RpcRequest,
  type RpcSignature,
  headerErrorWithBytes,
  silence,
} from '../rpc/handler.ts'
import type { RpcServer } from '../rpc/server.ts'
import type { Clock } from '../runtime/runtime.ts'
import type { Leader } from './driver.ts'
import type { MetaAnswer, MetaEvent } from './effects.ts'
import type { MetaCounters } from './metrics.ts'
import {
  type ClusterFacts,
  clusterInfo,
  isLevel,
  listApps,
  noTable,
  queryConfig,
} from './queries.ts'
import { type HostNames, configFromWire, configToWire, leaderOnlyConfig } from './wire.ts'

export interface HandlerSurroundings {
  readonly clock: Clock
  readonly self: () => string
  readonly hosts: HostNames
  readonly hostPortFields: boolean
  readonly grace: MasterGrace
  readonly counters: MetaCounters
  readonly facts: () => ClusterFacts
  /** The leader as far as known, '' otherwise. */
  readonly leaderAddress: () => string
  /** Present while this server leads and its leadership is fresh (asked at each answer). */
  readonly leading: () => Leader | undefined
}

type Refusal = 'ERR_FORWARD_TO_OTHERS' | 'ERR_SERVICE_NOT_ACTIVE'

/**
 * Whether a C++ program reads the answer: it finds nodes by their `hp_*` fields (wire.md 6). It shows by
 * the native header, or by field id 0 of the argument, as native peers write it and a gateway passes on.
 */
function isFromNative({ native, argumentBytes }: RpcRequest): boolean {
  return native !== undefined || (argumentBytes[1] === 0 && argumentBytes[2] === 0)
}

export class Handlers {
  readonly #with: HandlerSurroundings

  constructor(surroundings: HandlerSurroundings) {
    this.#with = surroundings
  }

  /** Given when the answer is to carry `hp_*` fields. */
  #namesFor(request: RpcRequest): HostNames | undefined {
    const { hosts, hostPortFields } = this.#with
    return hostPortFields || isFromNative(request) ? hosts : undefined
  }

  register(server: RpcServer): void {
    server.handle(Rpc.FD_FAILURE_DETECTOR_PING, (beacon, request) =>
      this.#beacon(beacon, this.#namesFor(request)),
    )
    server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, (query, request) => {
      const names = this.#namesFor(request)
      return this.#serve(
        request,
        (leader) => queryConfig(leader.state, query, names),
        (err) => this.#forwardedQuery(err, names),
      )
    })
    server.handle(Rpc.CONFIG_SYNC, (sync, request) =>
      this.#serve(
        request,
        (leader) => this.#configSync(leader, sync, this.#namesFor(request)),
        (err) => ({ err, partitions: [] }),
      ),
    )
    server.handle(Rpc.UPDATE_PARTITION_CONFIGURATION, (update, request) =>
      this.#serve(
        request,
        (leader) => this.#update(leader, update, this.#namesFor(request)),
        (err) => ({ err, config: update.config }),
      ),
    )
    this.#registerTables(server)
    this.#registerCluster(server)
  }

  #registerTables(server: RpcServer): void {
    this.#admin(server, Rpc.CREATE_APP, async (leader, request) => {
      const answer = await leader.ask((requester) => ({ type: 'create-app', requester, request }))
      return answer.type === 'app-created' ? { err: answer.err, appid: answer.appId } : silence
    })
    this.#admin(server, Rpc.DROP_APP, async (leader, request) => {
      const answer = await leader.ask((requester) => ({ type: 'drop-app', requester, request }))
      return answer.type === 'app-dropped' ? { err: answer.err } : silence
    })
    this.#admin(server, Rpc.UPDATE_APP_ENV, async (leader, request) => {
      const answer = await leader.ask((requester) => ({ type: 'update-envs', requester, request }))
      return answer.type === 'envs-updated'
        ? { err: answer.err, hintMessage: answer.hint }
        : silence
    })
    this.#admin(server, Rpc.LIST_APPS, (leader, request) => listApps(leader.state, request))
  }

  #registerCluster(server: RpcServer): void {
    this.#admin(server, Rpc.LIST_NODES, (_leader, { status }, request) => {
      const names = this.#namesFor(request)
      const infos = this.#with.grace
        .nodes()
        .map(({ node, alive }) => ({
          status: alive ? NodeStatus.NS_ALIVE : NodeStatus.NS_UNALIVE,
          node,
          ...(names === undefined ? {} : { hpNode: names.of(node) }),
        }))
        .filter((info) => status === NodeStatus.NS_INVALID || info.status === status)
        .toSorted((a, b) => (a.node < b.node ? -1 : 1))
      return { err: 'ERR_OK', infos }
    })
    this.#admin(server, Rpc.CLUSTER_INFO, (leader) => {
      const entries = clusterInfo(leader.state, this.#with.facts())
      return {
        err: 'ERR_OK',
        keys: entries.map(([key]) => key),
        values: entries.map(([, value]) => value),
      }
    })
    this.#admin(server, Rpc.CONTROL_META, (leader, { level }) => {
      const oldLevel = leader.state.level
      if (!isLevel(level)) return { err: 'ERR_INVALID_PARAMETERS', oldLevel }
      if (level !== MetaFunctionLevel.fl_invalid) leader.dispatch({ type: 'set-level', level })
      return { err: 'ERR_OK', oldLevel }
    })
  }

  /** An RPC whose response carries nothing but `err` when this server cannot serve it. */
  #admin<A, R extends { err: string }>(
    server: RpcServer,
    rpc: { readonly name: string; readonly argument: Codec<A>; readonly result: Codec<R> },
    serve: (leader: Leader, argument: A, request: RpcRequest) => Answer<R> | Promise<Answer<R>>,
  ): void {
    const signature: RpcSignature<A, R> = rpc
    server.handle(signature, (argument, request) =>
      this.#serve(
        request,
        (leader) => serve(leader, argument, request),
        (err) => ({ ...rpc.result.empty(), err }),
      ),
    )
  }

  #serve<R>(
    request: RpcRequest,
    serve: (leader: Leader) => Answer<R> | Promise<Answer<R>>,
    refuse: (err: Refusal) => R,
  ): Answer<R> | Promise<Answer<R>> {
    const leader = this.#with.leading()
    if (leader === undefined) return this.#elsewhere(request) ?? refuse('ERR_FORWARD_TO_OTHERS')
    if (!leader.started) return refuse('ERR_SERVICE_NOT_ACTIVE')
    return serve(leader)
  }

  /** The leader that this server would send others to; '' when unknown or itself. */
  #otherLeader(): string {
    const address = this.#with.leaderAddress()
    return address === this.#with.self() ? '' : address
  }

  /**
   * What a standby says to a native caller that can be sent elsewhere: the leader's address, whatever
   * it asked (meta-server.md 2.4). Upstream relays the requests of servers instead; they take this
   * answer as clients do, and ask there themselves.
   */
  #elsewhere({ native }: RpcRequest): Reply | undefined {
    const leader = native?.isForwardSupported === true ? this.#otherLeader() : ''
    if (leader === '') return undefined
    return headerErrorWithBytes('ERR_FORWARD_TO_OTHERS', encodeResult(rpcAddress, leader))
  }

  #forwardedQuery(err: Refusal, names: HostNames | undefined): QueryCfgResponse {
    const leader = err === 'ERR_FORWARD_TO_OTHERS' ? this.#otherLeader() : ''
    const partitions = leader === '' ? [] : [leaderOnlyConfig(leader, names)]
    return { ...noTable(err), partitions }
  }

  #beacon(beacon: BeaconMsg, names: HostNames | undefined): Answer<BeaconAck> {
    const { clock, grace, hosts, counters } = this.#with
    const self = this.#with.self()
    const nowMs = clock.monotonicMs()
    const node = hosts.addressOf(beacon.fromNode, beacon.hpFromNode)
    if (node === '') return silence
    counters.beacons.add()
    const leader = this.#with.leading()
    if (leader === undefined) {
      if (!grace.stable(node, beacon.startTime, nowMs)) return silence
      return ack(
        beacon,
        { isMaster: false, allowed: true, primaryNode: this.#otherLeader() },
        names,
      )
    }
    switch (grace.beacon(node, beacon.startTime, nowMs)) {
      case 'ignored':
        return silence
      case 'refused':
        return ack(beacon, { isMaster: true, allowed: false, primaryNode: self }, names)
      case 'joined':
        leader.onNode({ type: 'node-alive', node })
        return ack(beacon, { isMaster: true, allowed: true, primaryNode: self }, names)
      case 'restarted':
        leader.onNode({ type: 'node-restarted', node })
        return ack(beacon, { isMaster: true, allowed: true, primaryNode: self }, names)
      case 'alive':
        return ack(beacon, { isMaster: true, allowed: true, primaryNode: self }, names)
    }
  }

  #configSync(
    leader: Leader,
    request: ConfigurationQueryByNodeRequest,
    names: HostNames | undefined,
  ): ConfigurationQueryByNodeResponse {
    const node = this.#with.hosts.addressOf(request.node, request.hpNode)
    const answer = leader.configSync(node, request.storedReplicas)
    const partitions = answer.partitions.map(({ info, config }) => ({
      info: { ...info },
      config: configToWire(config, names),
      type: 0,
      node,
      hostNode: '',
      ...(names === undefined ? {} : { hpNode: names.of(node) }),
    }))
    const { err, gcReplicas } = answer
    return gcReplicas === undefined
      ? { err, partitions }
      : { err, partitions, gcReplicas: [...gcReplicas] }
  }

  async #update(
    leader: Leader,
    request: ConfigurationUpdateRequest,
    names: HostNames | undefined,
  ): Promise<ConfigurationUpdateResponse | Reply> {
    const { hosts, counters } = this.#with
    const update = {
      type: request.type,
      config: configFromWire(request.config, hosts),
      node: hosts.addressOf(request.node, request.hpNode),
    }
    const answer: MetaAnswer = await leader.ask((requester): MetaEvent => ({
      type: 'update',
      requester,
      update,
    }))
    if (answer.type !== 'updated') return silence
    if (answer.err === 'ERR_OK') counters.updates.add()
    else counters.updatesRefused.add()
    return { err: answer.err, config: configToWire(answer.config, names) }
  }
}

function ack(
  { time, toNode, hpToNode }: BeaconMsg,
  verdict: Pick<BeaconAck, 'isMaster' | 'allowed' | 'primaryNode'>,
  names: HostNames | undefined,
): BeaconAck {
  return {
    time,
    thisNode: toNode,
    ...verdict,
    ...(names === undefined
      ? {}
      : {
          hpThisNode: hpToNode ?? names.of(toNode),
          hpPrimaryNode: names.of(verdict.primaryNode),
        }),
  }
}
