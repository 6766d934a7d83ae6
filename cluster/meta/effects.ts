/**
 * What the meta state machine takes in and gives out, and the surroundings that its rules share.
 * Pure data: `driver.ts` turns the outside world into events and carries out the effects.
 */
import type { Gpid } from '../protocol/base.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import type {
  ConfigurationCreateAppRequest,
  ConfigurationDropAppRequest,
  ConfigurationUpdateAppEnvRequest,
} from '../protocol/meta-admin.ts'
import type { Config, MetaState } from './state.ts'
import type { HostNames } from './wire.ts'

export interface MetaOptions {
  /** Fewer live nodes freeze the cluster. */
  readonly minLiveNodes: number
  /** A smaller percentage of live nodes freezes the cluster. */
  readonly nodeLivePercentage: number
  /** Replicas that a write needs; 0: a majority of the table's replica count. */
  readonly minReplicasForWrite: number
  /** How long a dropped replica is waited for before another node takes its place. */
  readonly assignDelayMs: number
  readonly maxReservedDroppedReplicas: number
  readonly minReplicaCount: number
  readonly maxReplicaCount: number
  readonly maxPartitionCount: number
  /** How long the data of a dropped table is kept unless the request says so. */
  readonly holdDroppedSeconds: number
  /** At most so many new secondaries per receiving node and check round; undefined: no limit. */
  readonly addSecondaryMaxPerNode: number | undefined
}

export interface Now {
  readonly monotonicMs: number
  readonly wallSeconds: number
}

/** An update as a replica sent it, with nodes as `ip:port`. */
export interface ConfigUpdate {
  readonly type: number
  readonly config: Config
  readonly node: string
}

export type MetaEvent =
  | { readonly type: 'node-alive'; readonly node: string }
  /** It came back before its death was noticed. */
  | { readonly type: 'node-restarted'; readonly node: string }
  | { readonly type: 'nodes-dead'; readonly nodes: readonly string[] }
  /** The check round, and shortly after `check-soon`. */
  | { readonly type: 'check' }
  | { readonly type: 'set-level'; readonly level: number }
  | { readonly type: 'update'; readonly requester: number; readonly update: ConfigUpdate }
  | {
      readonly type: 'create-app'
      readonly requester: number
      readonly request: ConfigurationCreateAppRequest
    }
  | {
      readonly type: 'drop-app'
      readonly requester: number
      readonly request: ConfigurationDropAppRequest
    }
  | {
      readonly type: 'update-envs'
      readonly requester: number
      readonly request: ConfigurationUpdateAppEnvRequest
    }
  /** The storage has acknowledged the partition's pending configuration. */
  | { readonly type: 'partition-written'; readonly pid: Gpid }
  /** The storage has acknowledged the oldest write of this table's node. */
  | { readonly type: 'app-written'; readonly appId: number }

export type MetaAnswer =
  | { readonly type: 'updated'; readonly err: string; readonly config: Config }
  /** No answer at all: the outcome is not known yet, the replica asks again. */
  | { readonly type: 'no-answer' }
  | { readonly type: 'app-created'; readonly err: string; readonly appId: number }
  | { readonly type: 'app-dropped'; readonly err: string }
  | { readonly type: 'envs-updated'; readonly err: string; readonly hint: string }

export type MetaEffect =
  /**
   * Store whole contents under a path relative to the cluster root, retried for ever; writes of
   * one path in this order. The end is reported as an event.
   */
  | {
      readonly type: 'write'
      readonly path: string
      readonly data: string
      /** Nothing is expected to be there yet; if there is, it is replaced all the same. */
      readonly fresh: boolean
      readonly done:
        | { readonly type: 'partition-written'; readonly pid: Gpid }
        | { readonly type: 'app-written'; readonly appId: number }
    }
  /** One way, never awaited: the check round repeats it. */
  | {
      readonly type: 'propose'
      readonly to: string
      readonly proposalType: number
      readonly node: string
      readonly config: Config
      readonly info: Readonly<AppInfo>
    }
  | { readonly type: 'answer'; readonly requester: number; readonly answer: MetaAnswer }
  /** Something changed that a check round should look at before its time. */
  | { readonly type: 'check-soon' }
  | {
      readonly type: 'note'
      readonly level: 'info' | 'warn' | 'error'
      readonly message: string
      readonly fields: Readonly<Record<string, unknown>>
    }

/** What every rule works on during one step. */
export interface Step {
  readonly state: MetaState
  readonly options: MetaOptions
  /** Names of nodes, for the stored form. */
  readonly hosts: HostNames
  readonly now: Now
  readonly effects: MetaEffect[]
}
