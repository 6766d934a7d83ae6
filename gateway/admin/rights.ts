/**
 * Who may do what (gateway.md X-5): a grant gives a role's rights on the clusters and groups that its
 * patterns match. Pure.
 */
import { type Grant, type Right, rightsOf } from './api/access.ts'
import { namePattern } from './name-pattern.ts'
import { ApiError } from './problem.ts'

/** What is to be changed: its cluster, and the groups that it belongs to. */
export interface Scope {
  readonly cluster?: string
  readonly groups?: readonly string[]
}

export interface Caller {
  readonly name: string
  readonly via: 'local' | 'oidc' | 'token' | 'loopback'
  readonly grants: readonly Grant[]
}

export function rightsOfGrants(grants: readonly Grant[]): readonly Right[] {
  const rights = grants.flatMap(({ role }): readonly Right[] => rightsOf[role])
  return [...new Set(rights)].toSorted()
}

function covers({ cluster, group }: Grant, scope: Scope): boolean {
  if (cluster !== undefined && !namePattern(cluster)(scope.cluster ?? '')) return false
  if (group === undefined) return true
  const test = namePattern(group)
  return (scope.groups ?? []).some((name) => test(name))
}

export function allows(grants: readonly Grant[], right: Right, scope: Scope): boolean {
  return grants.some((grant) => {
    const rights: readonly Right[] = rightsOf[grant.role]
    return rights.includes(right) && covers(grant, scope)
  })
}

/** Throws what is missing: the right, or the right on this cluster or group. */
export function demand(caller: Caller, right: Right, scope: Scope = {}): void {
  if (allows(caller.grants, right, scope)) return
  const [group] = scope.groups ?? []
  const where = [
    ...(scope.cluster === undefined ? [] : [`cluster ${scope.cluster}`]),
    ...(group === undefined ? [] : [`group ${group}`]),
  ].join(', ')
  const has = caller.grants.map(describeGrant).join('; ')
  throw new ApiError(
    'forbidden',
    `${caller.name} lacks the right ${right}${where === '' ? '' : ` on ${where}`}; has: ${has === '' ? 'no role' : has}`,
    {
      missing: {
        right,
        ...(scope.cluster === undefined ? {} : { cluster: scope.cluster }),
        ...(group === undefined ? {} : { group }),
      },
    },
  )
}

function describeGrant({ role, cluster, group }: Grant): string {
  const on = [
    ...(cluster === undefined ? [] : [`clusters ${cluster}`]),
    ...(group === undefined ? [] : [`groups ${group}`]),
  ].join(' and ')
  return on === '' ? role : `${role} on ${on}`
}
