/**
 * What a meta server answers to each RPC (meta-server.md 12): as the leader from its state, as a
 * standby with the way to the leader, while loading with "not yet". Encoding, limits and unknown
 * RPCs are the RPC layer's.
 */
import type { MasterGrace } from '../failure-detector.ts'
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
import { type Answer, type Reply, type RpcSignature, silence } from '../rpc/handler.ts'
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

export class Handlers {
  readonly #with: HandlerSurroundings
  readonly #names: HostNames | undefined

  constructor(surroundings: HandlerSurroundings) {
    this.#with = surroundings
    this.#names = surroundings.hostPortFields ? surroundings.hosts : undefined
  }

  register(server: RpcServer): void {
    server.handle(Rpc.FD_FAILURE_DETECTOR_PING, (beacon) => this.#beacon(beacon))
    server.handle(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, (request) =>
      this.#serve(
        (leader) => queryConfig(leader.state, request, this.#names),
        (err) => this.#forwardedQuery(err),
      ),
    )
    server.handle(Rpc.CONFIG_SYNC, (request) =>
      this.#serve(
        (leader) => this.#configSync(leader, request),
        (err) => ({ err, partitions: [] }),
      ),
    )
    server.handle(Rpc.UPDATE_PARTITION_CONFIGURATION, (request) =>
      this.#serve(
        (leader) => this.#update(leader, request),
        (err) => ({ err, config: request.config }),
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
    this.#admin(server, Rpc.LIST_NODES, (_leader, { status }) => {
      const infos = this.#with.grace
        .nodes()
        .map(({ node, alive }) => ({
          status: alive ? NodeStatus.NS_ALIVE : NodeStatus.NS_UNALIVE,
          node,
          ...(this.#names === undefined ? {} : { hpNode: this.#names.of(node) }),
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
    serve: (leader: Leader, request: A) => Answer<R> | Promise<Answer<R>>,
  ): void {
    const signature: RpcSignature<A, R> = rpc
    server.handle(signature, (request) =>
      this.#serve(
        (leader) => serve(leader, request),
        (err) => ({ ...rpc.result.empty(), err }),
      ),
    )
  }

  #serve<R>(
    serve: (leader: Leader) => Answer<R> | Promise<Answer<R>>,
    refuse: (err: Refusal) => R,
  ): Answer<R> | Promise<Answer<R>> {
    const leader = this.#with.leading()
    if (leader === undefined) return refuse('ERR_FORWARD_TO_OTHERS')
    if (!leader.started) return refuse('ERR_SERVICE_NOT_ACTIVE')
    return serve(leader)
  }

  /** The leader that this server would send others to; '' when unknown or itself. */
  #otherLeader(): string {
    const address = this.#with.leaderAddress()
    return address === this.#with.self() ? '' : address
  }

  #forwardedQuery(err: Refusal): QueryCfgResponse {
    const leader = err === 'ERR_FORWARD_TO_OTHERS' ? this.#otherLeader() : ''
    const partitions = leader === '' ? [] : [leaderOnlyConfig(leader, this.#names)]
    return { ...noTable(err), partitions }
  }

  #beacon(beacon: BeaconMsg): Answer<BeaconAck> {
    const { clock, grace, hosts, counters } = this.#with
    const self = this.#with.self()
    const nowMs = clock.monotonicMs()
    const node = hosts.addressOf(beacon.fromNode, beacon.hpFromNode)
    if (node === '') return silence
    counters.beacons.add()
    const leader = this.#with.leading()
    if (leader === undefined) {
      if (!grace.stable(node, beacon.startTime, nowMs)) return silence
      return this.#ack(beacon, { isMaster: false, allowed: true, primaryNode: this.#otherLeader() })
    }
    switch (grace.beacon(node, beacon.startTime, nowMs)) {
      case 'ignored':
        return silence
      case 'refused':
        return this.#ack(beacon, { isMaster: true, allowed: false, primaryNode: self })
      case 'joined':
        leader.onNode({ type: 'node-alive', node })
        return this.#ack(beacon, { isMaster: true, allowed: true, primaryNode: self })
      case 'restarted':
        leader.onNode({ type: 'node-restarted', node })
        return this.#ack(beacon, { isMaster: true, allowed: true, primaryNode: self })
      case 'alive':
        return this.#ack(beacon, { isMaster: true, allowed: true, primaryNode: self })
    }
  }

  #ack(
    { time, toNode, hpToNode }: BeaconMsg,
    verdict: Pick<BeaconAck, 'isMaster' | 'allowed' | 'primaryNode'>,
  ): BeaconAck {
    return {
      time,
      thisNode: toNode,
      ...verdict,
      ...(this.#names === undefined
        ? {}
        : {
            hpThisNode: hpToNode ?? this.#names.of(toNode),
            hpPrimaryNode: this.#names.of(verdict.primaryNode),
          }),
    }
  }

  #configSync(
    leader: Leader,
    request: ConfigurationQueryByNodeRequest,
  ): ConfigurationQueryByNodeResponse {
    const node = this.#with.hosts.addressOf(request.node, request.hpNode)
    const answer = leader.configSync(node, request.storedReplicas)
    const partitions = answer.partitions.map(({ info, config }) => ({
      info: { ...info },
      config: configToWire(config, this.#names),
      type: 0,
      node,
      hostNode: '',
      ...(this.#names === undefined ? {} : { hpNode: this.#names.of(node) }),
    }))
    const { err, gcReplicas } = answer
    return gcReplicas === undefined
      ? { err, partitions }
      : { err, partitions, gcReplicas: [...gcReplicas] }
  }

  async #update(
    leader: Leader,
    request: ConfigurationUpdateRequest,
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
    return { err: answer.err, config: configToWire(answer.config, this.#names) }
  }
}
