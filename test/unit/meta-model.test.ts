/**
 * The meta leader against model replicas under random faults: messages lost, doubled and late, nodes
 * dying and returning, leaders crashing at any write. Checked all the time: ballots rise by one, one
 * membership per ballot, no acknowledged write is lost (C1, C6, C10, S4 of meta-invariants.md); at
 * the end, with all faults gone: every partition is whole again (V2, V3, V5).
 */
import * as fc from 'fast-check'
import t from 'tap'
import { gpidText } from '../../cluster/protocol/base.ts'
import { ConfigType } from '../../cluster/protocol/meta-admin.ts'
import { PartitionStatus } from '../../cluster/protocol/metadata.ts'
import type { MetaEffect, MetaEvent } from '../../cluster/meta/effects.ts'
import { Meta } from '../../cluster/meta/meta.ts'
import {
  type Config,
  brokenInvariants,
  configText,
  isDropped,
  isMember,
  membersOf,
} from '../../cluster/meta/state.ts'
import { decodeConfig } from '../../cluster/meta/storage-tree.ts'
import { HostNames } from '../../cluster/meta/wire.ts'
import { addressOf, sceneOptions, treeOf } from './meta-scene.ts'

/** A replica on a node's disk: what survives a crash, and its role while the node lives. */
interface Replica {
  ballot: number
  committed: number
  /** What it takes for the configuration; undefined: inactive. */
  view: Config | undefined
  /** Its own request to the meta server that has not been answered. */
  asking: { readonly type: number; readonly node: string; readonly next: Config } | undefined
}

interface Node {
  alive: boolean
  synced: boolean
  readonly replicas: Map<string, Replica>
}

type Write = MetaEffect & { type: 'write' }

class World {
  readonly #below: (limit: number) => number
  readonly #hosts = new HostNames()
  readonly #stored = new Map<string, string>()
  readonly nodes = new Map<string, Node>()
  readonly #names: readonly string[]
  /** What was ever told to anybody: membership by partition and ballot. */
  readonly #announced = new Map<string, string>()
  /** The newest write that a client was promised, by partition. */
  readonly #acknowledged = new Map<string, number>()
  #meta: Meta
  #writes: Write[] = []
  #messages: (() => void)[] = []
  #requests = new Map<number, (answer: { err: string; config: Config } | undefined) => void>()
  #requester = 0
  faults = true
  nowMs = 1_000_000
  /** To see what happened when a run fails. */
  readonly trace: string[] = []

  constructor(seed: number) {
    let state = seed | 0
    this.#below = (limit) => {
      state = (state + 0x6d2b79f5) | 0
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
      return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
    }
    // With three nodes all replicas of a partition get lost now and then.
    this.#names = (seed % 2 === 0 ? ['r1', 'r2', 'r3'] : ['r1', 'r2', 'r3', 'r4', 'r5']).map(
      addressOf,
    )
    for (const name of this.#names)
      this.nodes.set(name, { alive: true, synced: true, replicas: new Map() })
    this.#meta = new Meta(sceneOptions, this.#hosts, 400)
    this.#carryOut(this.#meta.restore(treeOf(this.#stored), this.#now()))
    for (const node of this.#names) this.#event({ type: 'node-alive', node })
  }

  #now() {
    return { monotonicMs: this.nowMs, wallSeconds: Math.floor(this.nowMs / 1000) }
  }

  #chance(percent: number): boolean {
    return this.faults && this.#below(100) < percent
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#below(items.length)]
  }

  #event(event: MetaEvent): void {
    this.#carryOut(this.#meta.step(event, this.#now()))
  }

  create(appName: string, partitionCount: number): void {
    const options = {
      partitionCount,
      replicaCount: 3,
      successIfExist: true,
      appType: 'pegasus',
      isStateful: true,
      envs: new Map<string, string>(),
    }
    const request = { appName, options }
    this.#event({ type: 'create-app', requester: ++this.#requester, request })
  }

  drop(appName: string): void {
    const request = { appName, options: { successIfNotExist: true } }
    this.#event({ type: 'drop-app', requester: ++this.#requester, request })
  }

  #carryOut(effects: readonly MetaEffect[]): void {
    const broken = brokenInvariants(this.#meta.state)
    if (broken.length > 0) throw new Error(broken.join('\n'))
    for (const effect of effects)
      switch (effect.type) {
        case 'write':
          this.#writes.push(effect)
          break
        case 'propose':
          this.#announce(effect.config)
          this.#send(() => this.#proposed(effect))
          break
        case 'answer': {
          const reply = this.#requests.get(effect.requester)
          this.#requests.delete(effect.requester)
          const { answer } = effect
          if (answer.type !== 'updated') break
          if (answer.err === 'ERR_OK' || answer.err === 'ERR_INVALID_VERSION')
            this.#announce(answer.config)
          if (reply !== undefined) this.#send(() => reply(answer))
          break
        }
        case 'check-soon':
        case 'note':
          break
      }
  }

  /** S4: what is told is stored; C1: one membership per ballot. */
  #announce(config: Config): void {
    const key = `${gpidText(config.pid)}@${config.ballot}`
    const members = `${config.primary};${config.secondaries.toSorted().join(',')}`
    const known = this.#announced.get(key)
    if (known !== undefined && known !== members)
      throw new Error(`${key} was announced as ${known} and as ${members}`)
    this.#announced.set(key, members)
  }

  #send(deliver: () => void): void {
    if (this.#chance(10)) return
    this.#messages.push(deliver)
    if (this.#chance(10)) this.#messages.push(deliver)
  }

  /** The storage takes a write: ballots rise by one in its order. */
  #storeOne(write: Write): void {
    if (write.done.type === 'partition-written') {
      const { pid } = write.done
      const at = { path: write.path, pid: gpidText(pid) }
      const before = this.#stored.get(write.path)
      const next = decodeConfig(write.data, at, this.#hosts)
      if (before !== undefined) {
        const old = decodeConfig(before, at, this.#hosts)
        const again = old.ballot === next.ballot && before === write.data
        if (!again && next.ballot !== old.ballot + 1)
          throw new Error(`${at.pid}: ${configText(next)} stored after ${configText(old)}`)
      }
      this.trace.push(`${at.pid} ${configText(next)}`)
      this.#primaryChosen(next)
    }
    this.#stored.set(write.path, write.data)
  }

  /** C6: whoever becomes primary has every acknowledged write. */
  #primaryChosen(config: Config): void {
    if (config.primary === '' || isDropped(config)) return
    const pid = gpidText(config.pid)
    const committed = this.nodes.get(config.primary)?.replicas.get(pid)?.committed ?? 0
    const promised = this.#acknowledged.get(pid) ?? 0
    if (committed < promised)
      throw new Error(`${pid}: ${config.primary} has ${committed}, promised was ${promised}`)
  }

  #proposed({ to, proposalType, node, config }: MetaEffect & { type: 'propose' }): void {
    const target = this.nodes.get(to)
    if (target?.alive !== true || !target.synced) return
    const replica = this.#replica(to, config)
    if (config.ballot < replica.ballot || replica.asking !== undefined) return
    if (config.ballot > replica.ballot) {
      replica.ballot = config.ballot
      replica.view = config
    }
    const next = { ...config, ballot: config.ballot + 1 }
    switch (proposalType) {
      case ConfigType.CT_ASSIGN_PRIMARY:
        this.#ask(to, replica, proposalType, node, { ...next, primary: node })
        break
      case ConfigType.CT_UPGRADE_TO_PRIMARY: {
        const secondaries = config.secondaries.filter((other) => other !== node)
        this.#ask(to, replica, proposalType, node, { ...next, primary: node, secondaries })
        break
      }
      case ConfigType.CT_ADD_SECONDARY: {
        const learner = this.nodes.get(node)
        if (learner?.alive !== true || !learner.synced || replica.view?.primary !== to) return
        const copy = this.#replica(node, config)
        if (copy.ballot > config.ballot) return
        copy.committed = replica.committed
        copy.ballot = config.ballot
        copy.view = undefined
        const secondaries = [...config.secondaries, node]
        const type = ConfigType.CT_UPGRADE_TO_SECONDARY
        this.#ask(to, replica, type, node, { ...next, secondaries })
        break
      }
      case ConfigType.CT_DOWNGRADE_TO_INACTIVE:
      case ConfigType.CT_REMOVE: {
        const secondaries = config.secondaries.filter((other) => other !== node)
        this.#ask(to, replica, proposalType, node, { ...next, secondaries })
      }
    }
  }

  #replica(node: string, { pid }: Config): Replica {
    const replicas = this.nodes.get(node)?.replicas ?? new Map<string, Replica>()
    let replica = replicas.get(gpidText(pid))
    if (replica === undefined) {
      replica = { ballot: 0, committed: 0, view: undefined, asking: undefined }
      replicas.set(gpidText(pid), replica)
    }
    return replica
  }

  #ask(self: string, replica: Replica, type: number, node: string, next: Config): void {
    replica.asking = { type, node, next }
    this.#askAgain(self, replica)
  }

  #askAgain(self: string, replica: Replica): void {
    const asked = replica.asking
    if (asked === undefined) return
    this.#send(() => {
      const requester = ++this.#requester
      this.#requests.set(requester, (answer) => {
        if (this.nodes.get(self)?.alive !== true || replica.asking !== asked) return
        if (answer?.err !== 'ERR_OK' && answer?.err !== 'ERR_INVALID_VERSION') return
        replica.asking = undefined
        if (answer.config.ballot < replica.ballot) return
        replica.ballot = answer.config.ballot
        replica.view = isMember(answer.config, self) ? answer.config : undefined
      })
      const update = { type: asked.type, node: asked.node, config: asked.next }
      this.#event({ type: 'update', requester, update })
    })
  }

  #sync(name: string): void {
    const node = this.nodes.get(name)
    if (node?.alive !== true) return
    const stored = [...node.replicas].map(([text, replica]) => {
      const [appId = 0, partitionIndex = 0] = text.split('.').map(Number)
      return {
        pid: { appId, partitionIndex },
        ballot: replica.ballot,
        status: PartitionStatus.PS_INACTIVE,
        lastCommittedDecree: replica.committed,
        lastPreparedDecree: replica.committed,
        lastDurableDecree: replica.committed,
        appType: 'pegasus',
        diskTag: '',
      }
    })
    const { answer, effects } = this.#meta.configSync(name, stored, this.#now())
    this.#carryOut(effects)
    if (answer.err !== 'ERR_OK') return
    node.synced = true
    for (const { config } of answer.partitions) {
      this.#announce(config)
      const replica = this.#replica(name, config)
      if (replica.asking !== undefined || config.ballot < replica.ballot) continue
      replica.ballot = config.ballot
      replica.view = config
    }
  }

  /** A client's write: acknowledged when every member of the primary's configuration has it; one alone
   * is enough here, so that any wrong choice after a loss of all is seen. */
  #clientWrite(): void {
    const pid = this.#pick([
      ...new Set([...this.nodes.values()].flatMap((n) => [...n.replicas.keys()])),
    ])
    for (const [name, node] of this.nodes) {
      const primary = node.replicas.get(pid ?? '')
      const view = primary?.view
      if (primary === undefined || view === undefined || view.primary !== name) continue
      if (!node.alive || !node.synced || primary.asking !== undefined) continue
      const group = membersOf(view).map((member) => ({
        node: this.nodes.get(member),
        replica: this.#replica(member, view),
      }))
      const all = group.every(
        (member) =>
          member.node?.alive === true && member.node.synced && member.replica.ballot <= view.ballot,
      )
      if (!all) continue
      const decree = Math.max(...group.map(({ replica }) => replica.committed)) + 1
      for (const { replica } of group) {
        replica.committed = decree
        replica.ballot = view.ballot
        if (replica !== primary) replica.view = view
      }
      const promised = Math.max(this.#acknowledged.get(pid ?? '') ?? 0, decree)
      this.#acknowledged.set(pid ?? '', promised)
    }
  }

  die(name: string): void {
    const node = this.nodes.get(name)
    if (node?.alive !== true) return
    this.trace.push(`${name} dies`)
    node.alive = false
    node.synced = false
    for (const replica of node.replicas.values()) {
      replica.view = undefined
      replica.asking = undefined
    }
    this.#event({ type: 'nodes-dead', nodes: [name] })
  }

  comeBack(name: string): void {
    const node = this.nodes.get(name)
    if (node === undefined || node.alive) return
    this.trace.push(`${name} is back`)
    node.alive = true
    this.#event({ type: 'node-alive', node: name })
    this.#sync(name)
  }

  /** The leader dies: what it wrote last is stored or not; another one starts on what is there. */
  crashLeader(): void {
    this.trace.push('the leader crashes')
    for (const write of this.#writes) if (this.#below(2) === 0) this.#storeOne(write)
    this.#writes = []
    this.#requests.clear()
    this.#meta = new Meta(sceneOptions, this.#hosts, 400)
    this.#carryOut(this.#meta.restore(treeOf(this.#stored), this.#now()))
    for (const [name, { alive }] of this.nodes)
      if (alive) this.#event({ type: 'node-alive', node: name })
    const dead = [...this.nodes].filter(([, { alive }]) => !alive).map(([name]) => name)
    if (dead.length > 0) this.#event({ type: 'nodes-dead', nodes: dead })
  }

  turn(): void {
    this.nowMs += this.#below(2000)
    const choice = this.#below(100)
    if (choice < 40) {
      const at = this.#below(Math.max(1, this.#messages.length))
      this.#messages.splice(at, 1)[0]?.()
    } else if (choice < 65) {
      const write = this.#writes.splice(this.#below(Math.max(1, this.#writes.length)), 1)[0]
      if (write === undefined) return
      this.#storeOne(write)
      this.#event(write.done)
    } else if (choice < 75) this.#clientWrite()
    else if (choice < 83) this.#event({ type: 'check' })
    else if (choice < 90) {
      const name = this.#pick(this.#names) ?? ''
      this.#sync(name)
      for (const replica of this.nodes.get(name)?.replicas.values() ?? [])
        this.#askAgain(name, replica)
    } else if (!this.faults) this.nowMs += 60_000
    else if (choice < 94) this.die(this.#pick(this.#names) ?? '')
    else if (choice < 97) this.comeBack(this.#pick(this.#names) ?? '')
    else if (choice < 98) this.crashLeader()
  }

  heal(): void {
    this.faults = false
    for (const name of this.#names) this.comeBack(name)
  }

  /** What is not as it should be in a cluster without faults. */
  unfinished(): readonly string[] {
    const ill: string[] = []
    for (const { info, partitions } of this.#meta.state.apps.values())
      for (const partition of partitions) {
        const { config, pending } = partition
        const where = `${gpidText(config.pid)} ${configText(config)}`
        const lost = this.#meta.state.lost.get(gpidText(config.pid))?.reason ?? ''
        if (pending !== undefined) ill.push(`${where} pending`)
        else if (info.dropSecond > 0 ? !isDropped(config) : membersOf(config).length !== 3)
          ill.push(`${where} ${lost}`)
      }
    return ill
  }
}

void t.test('random faults break no promise, and everything heals', (t) => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const world = new World(seed)
      try {
        world.create('a', 3)
        world.create('b', 1)
        for (let turn = 0; turn < 1500; turn++) {
          world.turn()
          if (turn === 700) world.drop('b')
          if (turn === 900) world.create('b', 2)
        }
        world.heal()
        let turns = 0
        while (world.unfinished().length > 0 && turns < 20_000) {
          world.turn()
          turns++
        }
        const ill = world.unfinished()
        if (ill.length > 0) throw new Error(`not healed: ${ill.join('\n')}`)
      } catch (cause) {
        throw new Error(`seed ${seed}\n${world.trace.slice(-40).join('\n')}`, { cause })
      }
    }),
    { numRuns: 40 },
  )
  t.pass('every seed')
  t.end()
})
