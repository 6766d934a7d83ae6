/**
 * Whether an update's new configuration is what its type allows to make of the current one
 * (meta-server.md 8.2; invariants C2, C4, C5). Upstream trusts the replica here. Pure.
 */
import { ConfigType } from '../protocol/meta-admin.ts'
import type { ConfigUpdate } from './effects.ts'
import { type Config, isDropped, isMember, sameNodes } from './state.ts'

interface Members {
  readonly primary: string
  readonly secondaries: readonly string[]
}

function without(nodes: readonly string[], node: string): readonly string[] {
  return nodes.filter((other) => other !== node)
}

/** What the type makes of the members, or why it cannot be. */
function expectedMembers(current: Config, type: number, node: string): Members | string {
  const { primary, secondaries, maxReplicaCount } = current
  switch (type) {
    case ConfigType.CT_ASSIGN_PRIMARY:
      if (primary !== '') return `${primary} is primary`
      if (secondaries.includes(node)) return 'a secondary is upgraded, not assigned'
      return { primary: node, secondaries }
    case ConfigType.CT_UPGRADE_TO_PRIMARY:
      if (primary !== '') return `${primary} is primary`
      if (!secondaries.includes(node)) return 'only a secondary is upgraded'
      return { primary: node, secondaries: without(secondaries, node) }
    case ConfigType.CT_UPGRADE_TO_SECONDARY:
      if (primary === '') return 'there is no primary that could have taught it'
      if (isMember(current, node)) return 'it is a member'
      if (secondaries.length + 1 > maxReplicaCount) return 'the group is full'
      return { primary, secondaries: [...secondaries, node] }
    case ConfigType.CT_DOWNGRADE_TO_SECONDARY:
      if (primary !== node) return 'only the primary steps down'
      return { primary: '', secondaries: [...secondaries, node] }
    case ConfigType.CT_DOWNGRADE_TO_INACTIVE:
    case ConfigType.CT_REMOVE:
      if (!isMember(current, node)) return 'it is no member'
      return {
        primary: primary === node ? '' : primary,
        secondaries: without(secondaries, node),
      }
    case ConfigType.CT_PRIMARY_FORCE_UPDATE_BALLOT:
      if (primary !== node || node === '') return 'only the primary may ask for it'
      return { primary, secondaries }
    default:
      return `type ${type} is no update of a replica`
  }
}

/** `undefined` when the update is fine. The ballot is checked before. */
export function configurationProblem(current: Config, update: ConfigUpdate): string | undefined {
  const { type, node, config: wanted } = update
  if (node === '') return 'no node is given'
  if (isDropped(current)) return 'the partition is dropped'
  if (wanted.maxReplicaCount !== current.maxReplicaCount) return 'max_replica_count differs'
  if (wanted.lastCommittedDecree < 0) return 'last_committed_decree is negative'
  const expected = expectedMembers(current, type, node)
  if (typeof expected === 'string') return expected
  if (wanted.primary !== expected.primary) return `the primary must be ${expected.primary}`
  if (!sameNodes(wanted.secondaries, expected.secondaries))
    return `the secondaries must be ${expected.secondaries.join(', ')}`
  return undefined
}
