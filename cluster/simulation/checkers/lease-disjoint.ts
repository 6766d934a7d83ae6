/**
 * A node that answers a read or acknowledges a write is not overtaken: no other primary with a
 * higher ballot has acknowledged a write of that partition before (replica-invariants.md I3,
 * meta-invariants.md C7).
 */
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

export const leaseDisjoint: MakeChecker = (report) => {
  const latest = new Map<string, { ballot: number; node: string }>()
  return {
    property: 'serving intervals of primaries do not overlap',
    observe: (trace) => {
      const { event, node } = trace
      if (event.type !== 'write-acknowledged' && event.type !== 'read-served') return
      const gpid = gpidText(trace)
      const last = entryOf(latest, gpid, () => ({ ballot: event.ballot, node }))
      if (event.ballot < last.ballot)
        report(
          `${gpid}: ${node} ${event.type} under ballot ${event.ballot} ` +
            `after ${last.node} acknowledged under ballot ${last.ballot}`,
        )
      else if (event.type === 'write-acknowledged') {
        last.ballot = event.ballot
        last.node = node
      }
    },
  }
}
