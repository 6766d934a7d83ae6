/** Whether grants give a right on something (gateway.md X-5). Pure; the page previews with it too. */
import type { Grant } from './api/access.ts'
import { type Right, rightsOf } from './api/roles.ts'
import { namePattern } from '../routing/name-pattern.ts'

/** What is to be changed: its cluster, and the groups that it belongs to. */
export interface Scope {
  readonly cluster?: string
  readonly groups?: readonly string[]
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

/** Scopes restrict changes; reading is for every role. */
export function allows(grants: readonly Grant[], right: Right, scope: Scope): boolean {
  return grants.some((grant) => {
    const rights: readonly Right[] = rightsOf[grant.role]
    return rights.includes(right) && (right === 'read' || covers(grant, scope))
  })
}
