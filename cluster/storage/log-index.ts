/**
 * What a server keeps in memory about one file of its mutation log: for each replica the decrees in
 * the file and a few places to start reading from. Pure; filled at replay and at each append.
 */
import type { Gpid } from '../protocol/base.ts'
import { gpidText } from '../protocol/base.ts'
import type { ScanStart } from './log-segment.ts'

/** Reading for decree d may start at the last point whose `decreeBefore` is below d. */
interface StartPoint extends ScanStart {
  /** Highest decree of the replica before this place in the file. */
  readonly decreeBefore: number
}

interface ReplicaRange {
  readonly gpid: Gpid
  minDecree: number
  maxDecree: number
  readonly points: StartPoint[]
}

/** Distance of start points in a file: what a reader may have to skip. */
const pointDistanceBytes = 1 << 20

export class LogIndex {
  readonly #ranges = new Map<string, ReplicaRange>()

  /** One record; `before` is its place and the chain of the record before it. */
  add(gpid: Gpid, decree: number, before: ScanStart): void {
    const key = gpidText(gpid)
    const range = this.#ranges.get(key)
    if (range === undefined) {
      const point = { ...before, decreeBefore: 0 }
      this.#ranges.set(key, { gpid, minDecree: decree, maxDecree: decree, points: [point] })
      return
    }
    const last = range.points.at(-1)
    if (last === undefined || before.position - last.position >= pointDistanceBytes)
      range.points.push({ ...before, decreeBefore: range.maxDecree })
    range.minDecree = Math.min(range.minDecree, decree)
    range.maxDecree = Math.max(range.maxDecree, decree)
  }

  ranges(): Iterable<{
    readonly gpid: Gpid
    readonly minDecree: number
    readonly maxDecree: number
  }> {
    return this.#ranges.values()
  }

  range(gpid: Gpid): { readonly minDecree: number; readonly maxDecree: number } | undefined {
    return this.#ranges.get(gpidText(gpid))
  }

  /** Where to start for this decree and later ones; undefined when the file has none of them. */
  startFor(gpid: Gpid, decree: number): ScanStart | undefined {
    const range = this.#ranges.get(gpidText(gpid))
    if (range === undefined || range.maxDecree < decree) return undefined
    return range.points.findLast((point) => point.decreeBefore < decree) ?? range.points[0]
  }
}
