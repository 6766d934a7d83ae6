/**
 * When a primary commits or acknowledges a write of decree d under ballot b, every member of
 * configuration b holds d: logged it durably, or has it in its engine (replica-invariants.md I6,
 * I11, C2).
 */
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

interface Holding {
  readonly logged: Set<number>
  applied: number
}

export const acknowledgedByAll: MakeChecker = (report) => {
  const members = new Map<string, readonly string[]>()
  const holdings = new Map<string, Holding>()
  return {
    property: 'an acknowledged write is held by every member of its configuration',
    observe: (trace) => {
      const { event, node } = trace
      const gpid = gpidText(trace)
      const holdingOf = (member: string): Holding =>
        entryOf(holdings, `${gpid} ${member}`, () => ({ logged: new Set(), applied: 0 }))
      const { type } = event
      if (type === 'configured' && event.status === 'primary')
        members.set(`${gpid} ${event.ballot}`, [event.primary, ...event.secondaries])
      else if (type === 'logged') holdingOf(node).logged.add(event.decree)
      else if (type === 'applied')
        holdingOf(node).applied = Math.max(holdingOf(node).applied, event.decree)
      else if (type === 'recovered')
        // Its log was read again, with records that had not been reported.
        holdingOf(node).applied = Math.max(event.applied, event.lastPrepared)
      else if (type === 'wiped' || (type === 'closed' && event.cleared))
        holdings.delete(`${gpid} ${node}`)
      else if (
        type === 'write-acknowledged' ||
        (type === 'committed' && event.status === 'primary')
      ) {
        const { ballot, decree } = event
        for (const member of members.get(`${gpid} ${ballot}`) ?? []) {
          const { logged, applied } = holdingOf(member)
          if (!logged.has(decree) && applied < decree)
            report(
              `${gpid} decree ${decree} ballot ${ballot}: ` +
                `${node} ${type}, ${member} does not hold it`,
            )
        }
      }
    },
  }
}
