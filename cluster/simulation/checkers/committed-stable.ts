/**
 * What one replica has committed, every replica commits with the same content, and no primary ever
 * proposes something else under its decree; timestamps rise with decrees (replica-invariants.md I7,
 * I8, I10, I18).
 */
import { entryOf, gpidText, type MakeChecker } from './checker.ts'

interface Committed {
  readonly hash: bigint
  readonly ballot: number
  readonly timestampUs: number
  readonly node: string
}

export const committedStable: MakeChecker = (report) => {
  const groups = new Map<string, Map<number, Committed>>()
  return {
    property: 'committed is never lost or changed',
    observe: (trace) => {
      const { event, node } = trace
      if (event.type !== 'committed' && event.type !== 'proposed') return
      const { decree, hash, timestampUs } = event
      const group = entryOf(groups, gpidText(trace), () => new Map<number, Committed>())
      const known = group.get(decree)
      const what = `${gpidText(trace)} decree ${decree} ballot ${event.ballot}`
      // A primary that was paused, and is none any more, may propose what it will never commit.
      const outdated =
        event.type === 'proposed' && known !== undefined && event.ballot < known.ballot
      if (known !== undefined && known.hash !== hash && !outdated)
        report(
          `${what}: ${node} ${event.type} content ${hash.toString(16)}, ` +
            `but ${known.node} committed ${known.hash.toString(16)}`,
        )
      if (event.type !== 'committed' || known !== undefined) return
      group.set(decree, { hash, ballot: event.ballot, timestampUs, node })
      const before = group.get(decree - 1)
      if (before !== undefined && before.timestampUs >= timestampUs)
        report(`${what}: timestamp ${timestampUs} is not behind ${before.timestampUs}`)
      const after = group.get(decree + 1)
      if (after !== undefined && after.timestampUs <= timestampUs)
        report(`${what}: timestamp ${timestampUs} is not before ${after.timestampUs}`)
    },
  }
}
