/**
 * What a replica called durable is there after a restart, also after a power cut: every decree that
 * it logged under its last ballot without a hole below it, and every decree that its engine had
 * synced (replica-invariants.md I13, I17). Throwing its data away, or learning them anew, ends its history. Decrees logged under an
 * older ballot are not judged: `lastPrepared` ends where ballots fall, and a record of the newer
 * ballot may be on disk without having been reported.
 */
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

interface Promised {
  /** Highest ballot logged under, and the decrees logged under it. */
  ballot: number
  logged: Set<number>
  /** Below it the log has no hole: a prepare may arrive before the one that precedes it. */
  committed: number
  /** Highest decree that is durable in the engine. */
  durable: number
  /** Its data are incomplete until it has learned all: a restart then keeps nothing of the log. */
  learning: boolean
}

export const durableSurvives: MakeChecker = (report) => {
  const promises = new Map<string, Promised>()
  return {
    property: 'what was durable is there after a restart',
    observe: (trace) => {
      const { event, node } = trace
      const key = `${gpidText(trace)} on ${node}`
      const promised = entryOf(promises, key, () => ({
        ballot: 0,
        logged: new Set<number>(),
        committed: 0,
        durable: 0,
        learning: false,
      }))
      if (event.type === 'logged' && !promised.learning) {
        if (event.ballot > promised.ballot) promised.logged.clear()
        promised.ballot = Math.max(promised.ballot, event.ballot)
        if (event.ballot === promised.ballot) promised.logged.add(event.decree)
      } else if (event.type === 'committed') {
        promised.committed = Math.max(promised.committed, event.decree)
        promised.logged.delete(event.decree - 1)
      } else if (event.type === 'durable')
        promised.durable = Math.max(promised.durable, event.decree)
      else if (event.type === 'learning' && event.step === 'started') {
        promised.logged.clear()
        promised.durable = 0
        promised.learning = true
      } else if (event.type === 'learning' && event.step === 'succeeded') promised.learning = false
      else if (event.type === 'wiped' || (event.type === 'closed' && event.cleared))
        promises.delete(key)
      // Closed by its server: the group has gone on without it, what was not committed is not kept.
      else if (event.type === 'closed') promised.logged.clear()
      else if (event.type === 'recovered') {
        const { applied, ballot, lastPrepared } = event
        promised.learning = false
        if (applied < promised.durable)
          report(`${key}: recovered up to ${applied}, but ${promised.durable} was durable`)
        let end = promised.committed
        while (promised.logged.has(end + 1)) end++
        const logged = Math.max(0, ...[...promised.logged].filter((decree) => decree <= end))
        if (ballot === promised.ballot && Math.max(applied, lastPrepared) < logged)
          report(`${key}: recovered log up to ${lastPrepared}, but ${logged} was logged`)
        promised.committed = Math.max(applied, Math.min(promised.committed, lastPrepared))
      }
    },
  }
}
