/**
 * What a replica called durable is there after a restart, also after a power cut: every decree that
 * it logged, and every decree that its engine had synced (replica-invariants.md I13, I17). Throwing
 * its data away, or learning them anew, ends its history.
 */
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

interface Promised {
  /** Highest decree logged, and highest decree durable in the engine. */
  logged: number
  durable: number
}

export const durableSurvives: MakeChecker = (report) => {
  const promises = new Map<string, Promised>()
  return {
    property: 'what was durable is there after a restart',
    observe: (trace) => {
      const { event, node } = trace
      const key = `${gpidText(trace)} on ${node}`
      const promised = entryOf(promises, key, () => ({ logged: 0, durable: 0 }))
      if (event.type === 'logged') promised.logged = Math.max(promised.logged, event.decree)
      else if (event.type === 'durable') promised.durable = Math.max(promised.durable, event.decree)
      else if (event.type === 'learning' && event.step === 'started') {
        promised.logged = 0
        promised.durable = 0
      } else if (event.type === 'wiped' || (event.type === 'closed' && event.cleared))
        promises.delete(key)
      else if (event.type === 'recovered') {
        const { applied, lastPrepared } = event
        if (applied < promised.durable)
          report(`${key}: recovered up to ${applied}, but ${promised.durable} was durable`)
        if (Math.max(applied, lastPrepared) < promised.logged)
          report(`${key}: recovered log up to ${lastPrepared}, but ${promised.logged} was logged`)
      }
    },
  }
}
