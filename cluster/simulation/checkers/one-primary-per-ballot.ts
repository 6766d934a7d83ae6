/**
 * At most one node acts as primary of a partition under one ballot, and no two configurations have
 * the same ballot (replica-invariants.md I1, I2; meta-invariants.md C1). Acting is giving a decree,
 * committing as primary, answering a read or acknowledging a write.
 */
import type { ReplicaTrace } from '../../replica/trace.ts'
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

function actingBallot({ event }: ReplicaTrace): number | undefined {
  const acts =
    event.type === 'proposed' || event.type === 'write-acknowledged' || event.type === 'read-served'
  return acts || (event.type === 'committed' && event.status === 'primary')
    ? event.ballot
    : undefined
}

export const onePrimaryPerBallot: MakeChecker = (report) => {
  const primaries = new Map<string, string>()
  const configurations = new Map<string, string>()
  return {
    property: 'one primary and one configuration per ballot',
    observe: (trace) => {
      const { event, node } = trace
      const ballot = actingBallot(trace)
      if (ballot !== undefined) {
        const key = `${gpidText(trace)} ballot ${ballot}`
        const other = entryOf(primaries, key, () => node)
        if (other !== node)
          report(`${key}: ${node} acts as primary (${event.type}), so did ${other}`)
      }
      if (event.type === 'configured' && event.status === 'primary') {
        const key = `${gpidText(trace)} ballot ${event.ballot}`
        const members = `${event.primary} [${event.secondaries.toSorted().join(' ')}]`
        const other = entryOf(configurations, key, () => members)
        if (other !== members) report(`${key}: configuration ${members}, earlier ${other}`)
      }
    },
  }
}
