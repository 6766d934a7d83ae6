/**
 * Talking with the meta server about the group (replica-server.md 4.3, 6.1, 6.2, 12.3, 12.4 e):
 * proposals, configurations from config sync, answers to update requests, and the start of a
 * restarted primary. Pure.
 */
import type { PartitionConfiguration } from '../protocol/layer2.ts'
import { ConfigType, type ConfigurationUpdateRequest } from '../protocol/meta-admin.ts'
import { PartitionStatus, ReplicaConfiguration } from '../protocol/metadata.ts'
import { addLearner } from './learnee.ts'
import { requestUpdate, sendUpdate, withoutMember } from './meta-update.ts'
import type { ReplicaEvent } from './replica-events.ts'
import { type ReplicaState, type Step, alarm } from './replica-state.ts'
import { adoptPartitionConfiguration } from './roles.ts'

export function onProposal(step: Step, request: ConfigurationUpdateRequest): void {
  const { state } = step
  const { config, node } = request
  if (!state.connected || state.update !== undefined) return
  if (config.ballot < state.ballot) return
  if (config.ballot > state.ballot && !adoptPartitionConfiguration(step, config)) return
  learnInfo(step, request)
  switch (request.type) {
    case ConfigType.CT_ASSIGN_PRIMARY:
    case ConfigType.CT_UPGRADE_TO_PRIMARY:
      return takeOver(step, request)
    case ConfigType.CT_ADD_SECONDARY:
      return addLearner(step, { node, forBalance: false })
    case ConfigType.CT_ADD_SECONDARY_FOR_LB:
      return addLearner(step, { node, forBalance: true })
    case ConfigType.CT_DOWNGRADE_TO_SECONDARY:
    case ConfigType.CT_DOWNGRADE_TO_INACTIVE:
    case ConfigType.CT_REMOVE:
      return shrink(step, request.type, node)
    default:
      return
  }
}

function takeOver(step: Step, { type, node, config }: ConfigurationUpdateRequest): void {
  const { state } = step
  if (node !== state.self || config.primary !== '' || state.recordWanted.incomplete) return
  const fresh = type === ConfigType.CT_ASSIGN_PRIMARY && state.status === 'inactive'
  if (!fresh && state.status !== 'secondary') return
  state.transient = true
  const secondaries = config.secondaries.filter((secondary) => secondary !== state.self)
  const next = { ...config, primary: state.self, secondaries }
  requestUpdate(
    step,
    fresh ? ConfigType.CT_ASSIGN_PRIMARY : ConfigType.CT_UPGRADE_TO_PRIMARY,
    state.self,
    next,
  )
}

function shrink(
  step: Step,
  type: (typeof ConfigType)['CT_DOWNGRADE_TO_SECONDARY' | 'CT_DOWNGRADE_TO_INACTIVE' | 'CT_REMOVE'],
  node: string,
): void {
  const { state } = step
  if (state.status !== 'primary') return
  const { config, self } = state
  if (node !== self && !config.secondaries.includes(node)) return
  const without = withoutMember(config, node)
  if (type !== ConfigType.CT_DOWNGRADE_TO_SECONDARY) return requestUpdate(step, type, node, without)
  if (node !== self) return
  requestUpdate(step, type, node, { ...without, secondaries: [...without.secondaries, self] })
}

/**
 * The configuration that meta has decided on, be it the one asked for or another one; undefined when
 * the answer decides nothing and the request has to be repeated.
 */
export function decidedConfig({
  response,
}: ReplicaEvent & { type: 'meta-answered' }): PartitionConfiguration | undefined {
  const decided =
    response?.err === 'ERR_OK' ||
    response?.err === 'ERR_INVALID_VERSION' ||
    response?.err === 'ERR_INVALID_PARAMETERS'
  return decided ? response.config : undefined
}

export function onMetaAnswered(step: Step, event: ReplicaEvent & { type: 'meta-answered' }): void {
  const { state, out } = step
  const { update } = state
  if (update === undefined || update.attempt !== event.attempt) return
  if (!state.connected || state.status !== 'inactive') {
    state.update = undefined
    return
  }
  const config = decidedConfig(event)
  if (config === undefined) {
    const timer = { kind: 'retry-meta', attempt: update.attempt } as const
    out.push({ type: 'timer', timer, delayMs: state.options.metaRetryMs })
    return
  }
  state.update = undefined
  const adopted = adoptPartitionConfiguration(step, config)
  if (!adopted || event.response?.err !== 'ERR_OK') return
  if (update.type === ConfigType.CT_REMOVE && update.node !== state.self)
    out.push({
      type: 'send',
      to: update.node,
      call: { kind: 'remove', config: removedConfiguration(state, config.primary) },
      timeoutMs: 1000,
    })
}

function removedConfiguration(state: ReplicaState, primary: string): ReplicaConfiguration {
  return ReplicaConfiguration.make({
    pid: state.gpid,
    ballot: state.ballot,
    primary,
    status: PartitionStatus.PS_INACTIVE,
  })
}

export function onRetryMeta(step: Step, attempt: number): void {
  const { update } = step.state
  if (update?.attempt === attempt) sendUpdate(step, update)
}

/** Takes over table information; the server hands changed environments to the data operations. */
export function learnInfo(
  step: Step,
  { info }: { info: ConfigurationUpdateRequest['info'] },
): void {
  step.state.info = info
  step.out.push({ type: 'info-changed' })
}

/** The configuration that meta has for this server, from a sync of the present connection. */
export function onConfigSynced(step: Step, request: ConfigurationUpdateRequest): void {
  const { state } = step
  const { config } = request
  if (!state.connected || state.closed || config.ballot < state.ballot) return
  learnInfo(step, request)
  if (state.status === 'primary' || state.update !== undefined) return
  const hasHoles = state.status === 'inactive' && !state.transient
  if (hasHoles || state.recordWanted.incomplete) {
    // Counted on as primary without the data: let the meta server take another one.
    if (config.primary !== state.self || state.status !== 'inactive') return
    state.ballot = config.ballot
    return requestUpdate(
      step,
      ConfigType.CT_DOWNGRADE_TO_INACTIVE,
      state.self,
      withoutMember(config, state.self),
    )
  }
  if (state.initializing && config.primary === state.self) return startHandshake(step, config)
  adoptPartitionConfiguration(step, config)
}

/**
 * A restarted primary first asks its secondaries how far they are: with a log that lost its end it
 * would give decrees away twice (replica-server.md 12.4 e). Then it renews its ballot.
 */
function startHandshake(step: Step, config: PartitionConfiguration): void {
  const { state, out } = step
  if (state.handshake !== undefined) return
  state.ballot = config.ballot
  state.config = config
  state.handshake = new Set(config.secondaries)
  const timeoutMs = Math.ceil(state.options.prepareTimeoutMs / 3)
  for (const to of config.secondaries)
    out.push({ type: 'send', to, call: { kind: 'query-decree', ballot: state.ballot }, timeoutMs })
  const timer = { kind: 'handshake-over', ballot: state.ballot } as const
  out.push({ type: 'timer', timer, delayMs: timeoutMs })
  endHandshakeWhenDone(step)
}

export function onDecreeAnswered(
  step: Step,
  event: ReplicaEvent & { type: 'decree-answered' },
): void {
  const { state } = step
  const { handshake } = state
  if (handshake === undefined || event.ballot !== state.ballot) return
  if (event.error !== 'ERR_OK' || event.response === undefined) return
  const own = state.list.lastPrepared()
  if (event.response.lastPrepared > own) {
    state.handshake = undefined
    const theirs = event.response.lastPrepared
    alarm(step, 'lost-tail', `prepared up to ${own}, ${event.from} up to ${theirs}: stepping down`)
    const config = withoutMember(state.config, state.self)
    return requestUpdate(step, ConfigType.CT_DOWNGRADE_TO_INACTIVE, state.self, config)
  }
  handshake.delete(event.from)
  endHandshakeWhenDone(step)
}

export function onHandshakeOver(step: Step, ballot: number): void {
  const { state } = step
  if (state.handshake === undefined || ballot !== state.ballot) return
  state.handshake.clear()
  endHandshakeWhenDone(step)
}

function endHandshakeWhenDone(step: Step): void {
  const { state } = step
  if (state.handshake === undefined || state.handshake.size > 0) return
  state.handshake = undefined
  requestUpdate(step, ConfigType.CT_PRIMARY_FORCE_UPDATE_BALLOT, state.self, state.config)
}
