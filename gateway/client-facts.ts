/**
 * What a gateway remembers of one client address that asked for a table (admin-ui.md 3.3): kept by
 * the serving processes (`clients/client-book.ts`), merged over processes and gateways. Pure.
 */
import type { HeaderVersion, Result } from './metrics.ts'

/** Travels as JSON between processes and gateways. */
export interface ClientFacts {
  /** Without port: every connection of a machine. */
  readonly address: string
  /** Unix milliseconds. */
  readonly firstAtMs: number
  readonly lastAtMs: number
  readonly queries: number
  /** Of the last query, as is all that follows. */
  readonly version: HeaderVersion
  /** Which libraries send such queries; none: no known one. */
  readonly libraries: readonly string[]
  /** All partitions were asked for. */
  readonly isWhole: boolean
  readonly result: Result
  /** The cluster that the last relayed answer came from. */
  readonly cluster?: string
}

/** How the list of partitions stands in the args: written, left out, or in no form of the clients. */
export type IndicesForm = 'written' | 'absent' | 'other'

const cpp = ['c++']
const java = ['java', 'pegasus-metaproxy']
const goOrPython = ['go', 'python']
const node = ['node']
const unknown: readonly string[] = []

/**
 * The header tells the C++ client and those with version 1 from the others, and Node.js leaves the
 * list of partitions out (wire.md 2, 3 and 6). Nothing on the wire tells the rest apart.
 */
export function librariesOf(version: HeaderVersion, form: IndicesForm): readonly string[] {
  if (version === 'native') return cpp
  if (form === 'other') return unknown
  if (version === 1) return form === 'written' ? java : unknown
  return form === 'written' ? goOrPython : node
}

/** One entry for each address: the newest one says what was asked and answered, all of them count. */
export function mergeClients(lists: Iterable<readonly ClientFacts[]>): ClientFacts[] {
  const merged = new Map<string, ClientFacts>()
  for (const list of lists)
    for (const one of list) {
      const other = merged.get(one.address)
      if (other === undefined) merged.set(one.address, one)
      else
        merged.set(one.address, {
          ...(one.lastAtMs > other.lastAtMs ? one : other),
          firstAtMs: Math.min(one.firstAtMs, other.firstAtMs),
          queries: one.queries + other.queries,
        })
    }
  return [...merged.values()]
}
