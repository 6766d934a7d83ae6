/**
 * One replica without a server: events in short notation, effects as lines, so that a test reads as
 * a transcript. `3@2` is decree 3 under ballot 2.
 */
import {
  GroupCheckRequest,
  GroupCheckResponse,
  LearnRequest,
  LearnResponse,
  LearnState,
  LearnType,
  PrepareAck,
} from '../../cluster/protocol/consensus.ts'
import { AppInfo, PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import { ConfigType, ConfigurationUpdateRequest } from '../../cluster/protocol/meta-admin.ts'
import { PartitionStatus, ReplicaConfiguration } from '../../cluster/protocol/metadata.ts'
import {
  type Mutation,
  decodeMutations,
  encodeMutations,
  makeMutation,
} from '../../cluster/replica/mutation.ts'
import { Replica } from '../../cluster/replica/replica.ts'
import type {
  ReplicaAnswer,
  ReplicaEffect,
  ReplicaEvent,
} from '../../cluster/replica/replica-events.ts'
import type { ReplicaOptions } from '../../cluster/replica/replica-state.ts'

export const gpid = { appId: 1, partitionIndex: 0 }
export const PUT = 'RPC_RRDB_RRDB_PUT'
export const MULTI_PUT = 'RPC_RRDB_RRDB_MULTI_PUT'

/** Servers by short name. */
export const address = (name: string): string =>
  name === '' ? '' : `10.0.0.${name.slice(1)}:34801`
const nameOf = (text: string): string => text.replace(/^10\.0\.0\.(\d+):34801$/, 'r$1')

const defaults: ReplicaOptions = {
  prepareTimeoutMs: 3000,
  learnerPrepareTimeoutMs: 5000,
  prepareResendMs: 5,
  stalenessMax: 4,
  prepareListMax: 10,
  minReplicaCount: 2,
  groupCheckMs: 10_000,
  metaRetryMs: 1000,
  learnRetryMs: 1000,
  learnTimeoutMs: 5000,
  learnBytesMax: 10_000,
  queuedBytesMax: 10_000,
  mutationBytesMax: 1000,
  applyBytesMax: 100_000,
  eagerInflightMax: 2,
  commitRule: 'all',
  knowsCode: (code) => code !== 'RPC_FROM_THE_FUTURE',
  traced: false,
}

export const info = AppInfo.make({
  appName: 'orders',
  appId: 1,
  partitionCount: 2,
  maxReplicaCount: 3,
})

/** A mutation with one put; `text` is its body. */
export function mutation(
  decree: number,
  ballot: number,
  { committed = decree - 1, text = `v${decree}`, code = PUT } = {},
): Mutation {
  const head = { ballot, decree, timestampUs: decree * 10, lastCommittedDecree: committed }
  return makeMutation(gpid, head, [{ code, body: Buffer.from(text) }])
}

/** `config(3, 'r1', 'r2 r3')` */
export function config(ballot: number, primary: string, secondaries = ''): PartitionConfiguration {
  return PartitionConfiguration.make({
    pid: gpid,
    ballot,
    maxReplicaCount: 3,
    primary: address(primary),
    secondaries: secondaries
      .split(' ')
      .filter((name) => name !== '')
      .map(address),
  })
}

const wireStatus = {
  secondary: PartitionStatus.PS_SECONDARY,
  learner: PartitionStatus.PS_POTENTIAL_SECONDARY,
  inactive: PartitionStatus.PS_INACTIVE,
} as const

export function member(
  ballot: number,
  primary: string,
  status: keyof typeof wireStatus,
  signature = 0n,
): ReplicaConfiguration {
  return ReplicaConfiguration.make({
    pid: gpid,
    ballot,
    primary: address(primary),
    status: wireStatus[status],
    learnerSignature: signature,
  })
}

const typeNames = Object.fromEntries(Object.entries(ConfigType).map(([name, n]) => [n, name]))
const learnNames = Object.fromEntries(Object.entries(LearnType).map(([name, n]) => [n, name]))

function shown(m: Mutation): string {
  const text = m.updates.map(({ code, body }) =>
    code === 'RPC_REPLICATION_WRITE_EMPTY' ? 'empty' : body.toString(),
  )
  return `${m.decree}@${m.ballot} ${text.join('+')}`
}

function shownAnswer(answer: ReplicaAnswer): string {
  switch (answer.kind) {
    case 'prepare':
      return `ack ${answer.ack.decree}@${answer.ack.ballot} ${answer.ack.err}`
    case 'group-check':
      return `group-check ${answer.response.err} learner=${answer.response.learnerStatus}`
    case 'learn': {
      const { err, type, state, prepareStartDecree, lastCommittedDecree } = answer.response
      if (err !== 'ERR_OK') return `learn ${err}`
      const decrees = decodeMutations(gpid, state.meta).map((m) => m.decree)
      const start = prepareStartDecree < 0 ? '' : ` then prepares from ${prepareStartDecree}`
      return `learn ${learnNames[type]} [${decrees.join(' ')}] committed=${lastCommittedDecree}${start}`
    }
    case 'learn-notify':
      return `notified ${answer.response.err}`
    case 'silence':
      return 'silence'
  }
}

function shownSend(effect: ReplicaEffect & { type: 'send' }): string {
  const { call } = effect
  const to = nameOf(effect.to)
  switch (call.kind) {
    case 'prepare': {
      const learner =
        call.config.status === PartitionStatus.PS_POTENTIAL_SECONDARY ? ' learner' : ''
      return `prepare${learner} ${to}: ${shown(call.mutation)} committed=${call.mutation.lastCommittedDecree}`
    }
    case 'group-check':
      return `group-check ${to}: ballot=${call.request.config.ballot} committed=${call.request.lastCommittedDecree}`
    case 'learn':
      return `learn ${to}: applied=${call.request.lastCommittedDecreeInApp}`
    case 'notify':
      return `notify ${to}: learner=${call.request.learnerStatus}`
    case 'query-decree':
      return `query-decree ${to}`
    case 'add-learner':
      return `add-learner ${to}: signature=${call.request.config.learnerSignature}`
    case 'remove':
      return `remove ${to}: ballot=${call.config.ballot}`
  }
}

function line(effect: ReplicaEffect): string {
  switch (effect.type) {
    case 'send':
      return shownSend(effect)
    case 'answer':
      return `answer ${effect.token}: ${shownAnswer(effect.answer)}`
    case 'refuse':
      return `refuse ${effect.ids.join(' ')}: ${effect.error}`
    case 'append':
      return `append ${shown(effect.mutation)}`
    case 'apply':
      return `apply ${effect.mutations.map((m) => m.decree).join(' ')}`
    case 'persist':
      return `persist ballot=${effect.record.ballot}${effect.record.incomplete ? ' incomplete' : ''}`
    case 'update-meta': {
      const { type, node, config: wanted } = effect.request
      const group = [wanted.primary, ...wanted.secondaries].map(nameOf).join(' ')
      return `update-meta ${typeNames[type]} ${nameOf(node)} ballot=${wanted.ballot} [${group}]`
    }
    case 'timer':
      return `timer ${effect.timer.kind} ${effect.delayMs}`
    case 'start-writes-soon':
      return 'start-writes-soon'
    case 'read-log':
      return `read-log ${effect.fromDecree}..${effect.toDecree}`
    case 'open-snapshot':
      return `open-snapshot for ${nameOf(effect.learner)}`
    case 'copy-snapshot':
      return `copy-snapshot ${effect.decree} from ${nameOf(effect.learnee)}`
    case 'wipe':
      return 'wipe'
    case 'alarm':
      return `alarm ${effect.alarm}`
    case 'close':
      return 'close'
    case 'info-changed':
    case 'trace':
      return ''
  }
}

export class Script {
  readonly replica: Replica
  nowMs = 0
  /** What came out before the first event. */
  readonly first: readonly string[]
  #attempt = 0
  #life = 0
  #ids = 0

  constructor(
    given: {
      readonly ballot?: number
      readonly applied?: number
      readonly incomplete?: boolean
      /** Restarted with these mutations in the log. */
      readonly log?: readonly Mutation[]
      readonly options?: Partial<ReplicaOptions>
    } = {},
  ) {
    const { ballot = 0, applied = 0, incomplete = false, log } = given
    const all = {
      gpid,
      self: address('r1'),
      options: { ...defaults, ...given.options },
      info,
      record: { ballot, incomplete },
      applied,
      lastTimestampUs: 0,
      nowMs: 0,
    }
    if (log === undefined) {
      this.replica = Replica.create(all)
      this.first = []
    } else {
      const { replica, effects } = Replica.recover(all, log)
      this.replica = replica
      this.first = this.#lines(effects)
    }
  }

  do(event: ReplicaEvent): string[] {
    const now = { monotonicMs: this.nowMs, wallUs: 0 }
    return this.#lines(this.replica.step(event, now))
  }

  #lines(effects: readonly ReplicaEffect[]): string[] {
    for (const effect of effects) {
      if (effect.type === 'update-meta') this.#attempt = effect.attempt
      if (effect.type === 'apply') this.#life = effect.life
    }
    return effects.map(line).filter((text) => text !== '')
  }

  state(): string {
    const { status, transient, ballot, applied, committed, maxDecree } = this.replica.view()
    const how = status === 'inactive' ? (transient ? ' transient' : ' for good') : ''
    return `${status}${how} ballot=${ballot} applied=${applied} committed=${committed} max=${maxDecree}`
  }

  write(text: string, given: { code?: string; deadlineAtMs?: number } = {}): string[] {
    const { code = PUT, deadlineAtMs = Infinity } = given
    this.#ids++
    return this.do({
      type: 'write',
      write: {
        id: this.#ids,
        code,
        body: Buffer.from(text),
        batchable: code === PUT,
        deadlineAtMs,
      },
    })
  }

  startWrites(): string[] {
    return this.do({ type: 'start-writes' })
  }

  logged(decree: number, ballot: number): string[] {
    return this.do({ type: 'logged', decree, ballot })
  }

  applied(decree: number): string[] {
    return this.do({ type: 'applied', decree, life: this.#life })
  }

  persisted(ballot: number, incomplete = false): string[] {
    return this.do({ type: 'persisted', record: { ballot, incomplete } })
  }

  acked(name: string, decree: number, ballot: number, error = 'ERR_OK', sentAtMs = 0): string[] {
    return this.do({
      type: 'prepare-answered',
      to: address(name),
      ballot,
      decree,
      firstSentAtMs: sentAtMs,
      error: 'ERR_OK',
      response: PrepareAck.make({ pid: gpid, err: error, ballot, decree }),
    })
  }

  unreached(name: string, decree: number, ballot: number, error = 'ERR_TIMEOUT'): string[] {
    return this.do({
      type: 'prepare-answered',
      to: address(name),
      ballot,
      decree,
      firstSentAtMs: 0,
      error,
      response: undefined,
    })
  }

  prepare(token: number, m: Mutation, from = 'r2', signature?: bigint): string[] {
    const status = signature === undefined ? 'secondary' : 'learner'
    return this.do({
      type: 'prepare',
      token,
      config: member(m.ballot, from, status, signature),
      mutation: m,
    })
  }

  proposal(type: keyof typeof ConfigType, node: string, pc: PartitionConfiguration): string[] {
    const request = ConfigurationUpdateRequest.make({
      info,
      config: pc,
      type: ConfigType[type],
      node: address(node),
    })
    return this.do({ type: 'proposal', request })
  }

  synced(pc: PartitionConfiguration): string[] {
    const request = ConfigurationUpdateRequest.make({ info, config: pc })
    return this.do({ type: 'config-synced', request })
  }

  metaAnswered(error: string, pc?: PartitionConfiguration): string[] {
    return this.do({
      type: 'meta-answered',
      attempt: this.#attempt,
      error: pc === undefined ? error : 'ERR_OK',
      response: pc === undefined ? undefined : { err: error, config: pc },
    })
  }

  learn(token: number, name: string, applied: number, signature: bigint): string[] {
    const request = LearnRequest.make({
      pid: gpid,
      learner: address(name),
      signature,
      lastCommittedDecreeInApp: applied,
    })
    return this.do({ type: 'learn', token, request })
  }

  groupCheck(
    token: number,
    ballot: number,
    status: 'secondary' | 'learner',
    { committed = 0, signature = 0n, from = 'r2' } = {},
  ): string[] {
    const request = GroupCheckRequest.make({
      app: info,
      config: member(ballot, from, status, signature),
      lastCommittedDecree: committed,
    })
    return this.do({ type: 'group-check', token, request })
  }

  learnAnswered(
    signature: bigint,
    given: {
      err?: string
      type?: number
      mutations?: readonly Mutation[]
      committed?: number
      prepareStart?: number
      ballot?: number
      snapshot?: number
    },
  ): string[] {
    const { err = 'ERR_OK', type = LearnType.LT_CACHE, mutations = [], ballot = 3 } = given
    return this.do({
      type: 'learn-answered',
      signature,
      error: 'ERR_OK',
      response: LearnResponse.make({
        err,
        config: member(ballot, 'r2', 'learner', signature),
        type,
        lastCommittedDecree: given.committed ?? 0,
        prepareStartDecree: given.prepareStart ?? -1,
        learnee: address('r2'),
        state: LearnState.make({
          meta: encodeMutations(mutations),
          toDecreeIncluded: given.snapshot ?? 0,
        }),
      }),
    })
  }

  notify(token: number, name: string, signature: bigint): string[] {
    const request = GroupCheckResponse.make({
      pid: gpid,
      err: 'ERR_OK',
      node: address(name),
      learnerSignature: signature,
      learnerStatus: 4,
    })
    return this.do({ type: 'learn-notify', token, request })
  }

  /** Connected, and primary of `group` (`'r2 r3'`) under ballot 3 with nothing prepared. */
  static primary(group = 'r2 r3', options: Partial<ReplicaOptions> = {}): Script {
    const script = new Script({ ballot: 2, options })
    script.do({ type: 'connected' })
    script.proposal('CT_ASSIGN_PRIMARY', 'r1', config(2, '', group))
    script.metaAnswered('ERR_OK', config(3, 'r1', group))
    script.persisted(3)
    return script
  }

  /** Connected, and secondary of r2 under ballot 3; decrees 1 to `committed` are applied. */
  static secondary(committed = 0): Script {
    const script = new Script({ ballot: 3, applied: committed })
    script.do({ type: 'connected' })
    script.synced(config(3, 'r2', 'r1 r3'))
    return script
  }

  /** Connected, and a learner of r2 under ballot 3 that has asked; its data end at `applied`. */
  static learner(applied = 0, signature = 7n): Script {
    const script = new Script({ ballot: 3, applied, incomplete: true })
    script.do({ type: 'connected' })
    script.groupCheck(0, 3, 'learner', { signature })
    return script
  }
}
