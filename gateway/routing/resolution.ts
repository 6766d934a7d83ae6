/**
 * From what is known of a table to the answer in force: its mapping, the redirect that may lead
 * elsewhere (gateway.md 8.5), and how old all this may be (3.4). Pure.
 */
import { canonicalMetas, type Mapping } from './mapping.ts'
import type { Redirect } from './redirects.ts'
import { parseStalePolicy, SERVE, type StalePolicy, usableMs } from './staleness.ts'
import type { Lookup, Mapped, Route, Truth } from './table-entry.ts'

export const MISSING: Lookup = { kind: 'missing' }
export const INVALID: Lookup = { kind: 'invalid' }
export const UNAVAILABLE: Lookup = { kind: 'unavailable' }

/** What routing takes of a mapping; a staleness policy that is none counts as none given. */
export function mappedOf({ cluster, metas, raw }: Mapping): Mapped {
  const { stale, group } = raw
  return {
    cluster,
    metas,
    group: canonicalMetas(metas),
    tableGroup: typeof group === 'string' ? group : undefined,
    stale: parseStalePolicy(stale),
  }
}

/** The route of a mapped table; a redirect's target is not redirected again. */
export function routeOf(
  table: string,
  mapped: Mapped,
  redirect: Redirect | undefined,
  stale: StalePolicy,
): Route {
  const { cluster, metas, group } = mapped
  if (redirect === undefined) return { table, cluster, metas, group, stale }
  const { to, plan, target } = redirect
  return {
    table,
    cluster: to,
    metas: target.metas,
    group: target.group,
    stale,
    mappedCluster: cluster,
    plan,
  }
}

/** What is known positively, as an answer; `route` for a table that is mapped. */
export function answerOf(truth: Truth, route: Route | undefined): Lookup | undefined {
  switch (truth) {
    case 'unread':
      return undefined
    case 'missing':
      return MISSING
    case 'invalid':
      return INVALID
    case 'mapped':
      return route === undefined ? undefined : { kind: 'route', route }
  }
}

/** From when on an answer may no longer be used that could not be confirmed since `sinceMs`. */
export function unusableAtMs(
  policy: StalePolicy,
  sinceMs: number | undefined,
  suspectMs: number,
): number {
  return sinceMs === undefined ? Infinity : sinceMs + usableMs(policy, suspectMs)
}

export function isSameLookup(a: Lookup | undefined, b: Lookup | undefined): boolean {
  if (a === b) return true
  if (a?.kind !== 'route' || b?.kind !== 'route') return a?.kind === b?.kind
  const [one, two] = [a.route, b.route]
  return (
    one.cluster === two.cluster &&
    one.group === two.group &&
    one.mappedCluster === two.mappedCluster &&
    one.plan === two.plan &&
    isSamePolicy(one.stale, two.stale)
  )
}

function isSamePolicy(a: StalePolicy, b: StalePolicy): boolean {
  return a.kind === b.kind && usableMs(a, 0) === usableMs(b, 0)
}

/** The first one that says something: the table's, its group's, the configuration's. */
export function policyOf(...policies: readonly (StalePolicy | undefined)[]): StalePolicy {
  return policies.find((policy) => policy !== undefined) ?? SERVE
}
