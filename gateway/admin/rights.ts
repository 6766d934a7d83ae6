/** A caller must have the right to what they ask for (gateway.md X-5), or is told which one lacks. */
import type { Grant } from './api/access.ts'
import type { Right } from './api/roles.ts'
import { allows, type Scope } from './grants.ts'
import { ApiError } from './problem.ts'

export interface Caller {
  readonly name: string
  readonly via: 'local' | 'oidc' | 'token' | 'loopback'
  readonly grants: readonly Grant[]
  /** Of a token: who made it. */
  readonly owner?: string
}

/** A token acts for who made it: the two are one person. */
export function personOf({ name, owner }: Pick<Caller, 'name' | 'owner'>): string {
  return owner ?? name
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
