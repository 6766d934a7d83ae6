/**
 * Asking the meta server for a changed partition configuration (replica-server.md 6.1): the replica
 * first stops acting (inactive, transient), then sends the request again and again until there is
 * an answer, for the meta server may have decided it. Pure.
 */
import { type ConfigType, ConfigurationUpdateRequest } from '../protocol/meta-admin.ts'
import type { PartitionConfiguration } from '../protocol/layer2.ts'
import { type PendingUpdate, type Step, trace } from './replica-state.ts'

/** One request at a time: while one is pending, others are dropped. */
export function requestUpdate(
  step: Step,
  type: (typeof ConfigType)[keyof typeof ConfigType],
  node: string,
  changed: PartitionConfiguration,
): void {
  const { state } = step
  if (state.update !== undefined || !state.connected || state.closed) return
  state.updateAttempts++
  const config = { ...changed, ballot: state.ballot + 1, lastCommittedDecree: state.list.committed }
  state.update = { attempt: state.updateAttempts, type, node, config }
  becomeInactive(step)
  sendUpdate(step, state.update)
}

/** Keeps list, queue, group and ballot: the role may come back without learning. */
export function becomeInactive(step: Step): void {
  const { state } = step
  if (state.status === 'inactive') return
  state.status = 'inactive'
  state.transient = true
  traceStatus(step)
}

export function sendUpdate(step: Step, update: PendingUpdate): void {
  const { state, out } = step
  const { type, node, config, attempt } = update
  const request = ConfigurationUpdateRequest.make({ info: state.info, config, type, node })
  out.push({ type: 'update-meta', attempt, request })
}

export function withoutMember(
  config: PartitionConfiguration,
  node: string,
): PartitionConfiguration {
  return {
    ...config,
    primary: config.primary === node ? '' : config.primary,
    secondaries: config.secondaries.filter((secondary) => secondary !== node),
  }
}

export function traceStatus(step: Step): void {
  const { state } = step
  trace(step, () => ({
    type: 'configured',
    status: state.status,
    transient: state.transient,
    ballot: state.ballot,
    primary: state.config.primary,
    secondaries: state.config.secondaries,
  }))
}
