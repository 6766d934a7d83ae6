/**
 * A meta leader's state machine with everything around it in plain sight: what it stores, proposes
 * and answers becomes lines such as `store {2,r1,[r2]}`. Nodes are r1, r2, …; writes are
 * acknowledged at once unless `holdWrites` is set. The invariants are checked after every step.
 */
import { gpidText } from '../../cluster/protocol/base.ts'
import { ConfigType, MetaFunctionLevel } from '../../cluster/protocol/meta-admin.ts'
import { PartitionStatus, type ReplicaInfo } from '../../cluster/protocol/metadata.ts'
import type { MetaEffect, MetaEvent, MetaOptions, Now } from '../../cluster/meta/effects.ts'
import { Meta } from '../../cluster/meta/meta.ts'
import type { StoredApp, StoredTree } from '../../cluster/meta/restore.ts'
import { type Config, brokenInvariants, configText } from '../../cluster/meta/state.ts'
import { decodeConfig } from '../../cluster/meta/storage-tree.ts'
import { HostNames } from '../../cluster/meta/wire.ts'

export const sceneOptions: MetaOptions = {
  minLiveNodes: 1,
  nodeLivePercentage: 0,
  minReplicasForWrite: 2,
  assignDelayMs: 600_000,
  maxReservedDroppedReplicas: 1,
  minReplicaCount: 1,
  maxReplicaCount: 5,
  maxPartitionCount: 1024,
  holdDroppedSeconds: 604_800,
  addSecondaryMaxPerNode: undefined,
}

export function addressOf(name: string): string {
  return name === '-' || name === '' ? '' : `10.0.0.${name.slice(1)}:34801`
}

function named(text: string): string {
  return text.replaceAll(/10\.0\.0\.(\d+):34801/g, 'r$1')
}

const typeNames = new Map<number, string>(
  Object.entries(ConfigType).map(([name, type]) => [type, name.replace('CT_', '')]),
)

type Write = MetaEffect & { type: 'write' }

export class Scene {
  readonly meta: Meta
  readonly hosts = new HostNames()
  readonly stored = new Map<string, string>()
  readonly writes: Write[] = []
  lines: string[] = []
  holdWrites = false
  nowMs = 1_000_000
  #requester = 0

  constructor(options: Partial<MetaOptions> = {}, level: number = MetaFunctionLevel.fl_steady) {
    this.meta = new Meta({ ...sceneOptions, ...options }, this.hosts, level)
  }

  /** A leader that starts on what another one stored. */
  static after(stored: ReadonlyMap<string, string>, options: Partial<MetaOptions> = {}): Scene {
    const scene = new Scene(options)
    for (const [path, data] of stored) scene.stored.set(path, data)
    scene.#take(scene.meta.restore(treeOf(stored), scene.#now))
    return scene
  }

  get #now(): Now {
    return { monotonicMs: this.nowMs, wallSeconds: Math.floor(this.nowMs / 1000) }
  }

  do(event: MetaEvent): readonly string[] {
    return this.#collect(() => this.#take(this.meta.step(event, this.#now)))
  }

  alive(...nodes: string[]): this {
    for (const node of nodes) this.do({ type: 'node-alive', node: addressOf(node) })
    return this
  }

  dead(...nodes: string[]): readonly string[] {
    return this.do({ type: 'nodes-dead', nodes: nodes.map(addressOf) })
  }

  check(): readonly string[] {
    return this.do({ type: 'check' })
  }

  create(appName: string, partitionCount = 1, replicaCount = 3): readonly string[] {
    const requester = ++this.#requester
    const options = {
      partitionCount,
      replicaCount,
      successIfExist: false,
      appType: 'pegasus',
      isStateful: true,
      envs: new Map<string, string>(),
    }
    return this.do({ type: 'create-app', requester, request: { appName, options } })
  }

  drop(appName: string): readonly string[] {
    const requester = ++this.#requester
    const options = { successIfNotExist: false }
    return this.do({ type: 'drop-app', requester, request: { appName, options } })
  }

  /** A replica's update: `update('UPGRADE_TO_SECONDARY', 'r2', '{2,r1,[r2]}')`. */
  update(type: string, node: string, config: string, pid = '1.0'): readonly string[] {
    const requester = ++this.#requester
    const current = this.config(pid)
    const update = {
      type: ConfigType[`CT_${type}` as keyof typeof ConfigType],
      node: addressOf(node),
      config: { ...current, ...parseConfig(config) },
    }
    return this.do({ type: 'update', requester, update })
  }

  sync(node: string, ...stored: Partial<ReplicaInfo>[]): readonly string[] {
    return this.#collect(() => {
      const replicas = stored.map((replica) => ({
        pid: { appId: 1, partitionIndex: 0 },
        ballot: 0,
        status: PartitionStatus.PS_INACTIVE,
        lastCommittedDecree: 0,
        lastPreparedDecree: 0,
        lastDurableDecree: 0,
        appType: 'pegasus',
        diskTag: 'disk',
        ...replica,
      }))
      const { answer, effects } = this.meta.configSync(addressOf(node), replicas, this.#now)
      const partitions = answer.partitions.map(({ config }) => configText(config)).join(' ')
      const gc = answer.gcReplicas?.map(({ pid }) => gpidText(pid)).join(' ') ?? ''
      this.lines.push(named(`sync ${answer.err} ${partitions}${gc === '' ? '' : ` gc ${gc}`}`))
      this.#take(effects)
    })
  }

  /** Acknowledges held writes, and those that follow from them. */
  flush(count = Number.POSITIVE_INFINITY): readonly string[] {
    return this.#collect(() => {
      for (let done = 0; done < count && this.writes.length > 0; done++) this.#acknowledge()
    })
  }

  #acknowledge(): void {
    const write = this.writes.shift()
    if (write === undefined) return
    this.stored.set(write.path, write.data)
    this.#take(this.meta.step(write.done, this.#now))
  }

  config(pid = '1.0'): Config {
    const [appId = 0, index = 0] = pid.split('.').map(Number)
    const config = this.meta.state.apps.get(appId)?.partitions[index]?.config
    if (config === undefined) throw new Error(`no partition ${pid}`)
    return config
  }

  /** `config:{2,r1,[r2,r3]}` */
  text(pid = '1.0'): string {
    return `config:${named(configText(this.config(pid)))}`
  }

  reason(pid = '1.0'): string | undefined {
    const reason = this.meta.state.lost.get(pid)?.reason
    return reason === undefined ? undefined : named(reason)
  }

  /** The steps of a healthy start: {3,r1,[r2,r3]}. */
  grow(): this {
    this.update('ASSIGN_PRIMARY', 'r1', '{1,r1,[]}')
    this.update('UPGRADE_TO_SECONDARY', 'r2', '{2,r1,[r2]}')
    this.update('UPGRADE_TO_SECONDARY', 'r3', '{3,r1,[r2,r3]}')
    return this
  }

  #collect(act: () => void): readonly string[] {
    this.lines = []
    act()
    return this.lines
  }

  #take(effects: readonly MetaEffect[]): void {
    const broken = brokenInvariants(this.meta.state)
    if (broken.length > 0) throw new Error(broken.join('\n'))
    for (const effect of effects) this.#record(effect)
    if (!this.holdWrites) while (this.writes.length > 0) this.#acknowledge()
  }

  #record(effect: MetaEffect): void {
    switch (effect.type) {
      case 'write': {
        this.writes.push(effect)
        this.lines.push(named(`store ${this.#storedText(effect)}`))
        break
      }
      case 'propose': {
        const { to, node, proposalType, config } = effect
        const type = typeNames.get(proposalType) ?? ''
        this.lines.push(named(`propose to ${to} ${type} ${node} ${configText(config)}`))
        break
      }
      case 'answer': {
        const { answer } = effect
        if (answer.type === 'no-answer') this.lines.push('silence')
        else if (answer.type === 'updated')
          this.lines.push(named(`answer ${answer.err} ${configText(answer.config)}`))
        else if (answer.type === 'app-created')
          this.lines.push(`answer ${answer.err} table ${answer.appId}`)
        else this.lines.push(`answer ${answer.err}`)
        break
      }
      case 'check-soon':
      case 'note':
        break
    }
  }

  #storedText({ path, data, done }: Write): string {
    if (done.type === 'app-written') return `${path} ${/AS_[A-Z]+/.exec(data)?.[0] ?? ''}`
    return configText(decodeConfig(data, { path, pid: gpidText(done.pid) }, this.hosts))
  }
}

export function parseConfig(text: string): Pick<Config, 'ballot' | 'primary' | 'secondaries'> {
  const [, ballot = '', primary = '', secondaries = ''] =
    /^\{(-?\d+),([^,]*),\[([^\]]*)\]\}$/.exec(text) ?? []
  return {
    ballot: Number(ballot),
    primary: addressOf(primary),
    secondaries: secondaries === '' ? [] : secondaries.split(',').map(addressOf),
  }
}

export function treeOf(stored: ReadonlyMap<string, string>): StoredTree {
  const apps = new Map<number, StoredApp & { readonly partitions: Map<number, string> }>()
  for (const [path, text] of stored) {
    const [, appId, index] = /^\/apps\/(\d+)(?:\/(\d+))?$/.exec(path) ?? []
    if (appId === undefined) continue
    const id = Number(appId)
    const app = apps.get(id) ?? { appId: id, text: '', partitions: new Map<number, string>() }
    if (index === undefined) apps.set(id, { ...app, text })
    else {
      app.partitions.set(Number(index), text)
      apps.set(id, app)
    }
  }
  return { root: stored.get('/apps') ?? 'unlock', apps: [...apps.values()] }
}
