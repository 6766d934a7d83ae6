/**
 * What every checker of a simulated run looks like: it sees the events that replicas emit, in the
 * order in which they happen, and reports what must not be. One file per property.
 */
import type { ReplicaTrace } from '../../replica/trace.ts'

/** Called with the facts of a violation; the run is then judged as failed. */
export type Report = (message: string) => void

export interface Checker {
  /** The property, as a claim. */
  readonly property: string
  readonly observe: (trace: ReplicaTrace) => void
}

export type MakeChecker = (report: Report) => Checker

export function gpidText(trace: ReplicaTrace): string {
  return `${trace.gpid.appId}.${trace.gpid.partitionIndex}`
}

/** The value of a key, made on first use. */
export function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}
