/**
 * A replica never forgets a ballot under which it logged a prepare, and its ballots do not go down
 * while it runs (replica-invariants.md I5, I9). Removing its data ends its history.
 */
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

export const ballotPersistent: MakeChecker = (report) => {
  const logged = new Map<string, number>()
  const configured = new Map<string, number>()
  return {
    property: 'ballots are not forgotten and do not go down',
    observe: (trace) => {
      const { event, node } = trace
      const key = `${gpidText(trace)} on ${node}`
      if (event.type === 'logged')
        logged.set(
          key,
          Math.max(
            event.ballot,
            entryOf(logged, key, () => 0),
          ),
        )
      else if (event.type === 'recovered') {
        configured.set(key, event.ballot)
        const highest = logged.get(key) ?? 0
        if (event.ballot < highest)
          report(`${key}: recovered with ballot ${event.ballot}, logged under ${highest}`)
      } else if (event.type === 'configured') {
        const before = configured.get(key) ?? 0
        if (event.ballot < before) report(`${key}: ballot ${event.ballot} after ${before}`)
        configured.set(key, event.ballot)
      } else if (event.type === 'wiped' || event.type === 'closed') {
        configured.delete(key)
        if (event.type === 'wiped' || event.cleared) logged.delete(key)
      }
    },
  }
}
