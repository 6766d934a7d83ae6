/**
 * Users, tokens and sessions are for the control session alone (gateway.md X-3): who may read their
 * nodes, and closing those that older versions, or gateways without an identity, left open.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { type AccessRule, Permission } from '../../cluster/coordinator/tree.ts'
import { type ControlTree, isCode, secretFolders } from './control-tree.ts'

/** Who may read or change it besides one identity, such as `world:anyone` and `digest:reader`. */
export function othersIn(list: readonly AccessRule[]): readonly string[] {
  // The one that may do everything is whose secret it is.
  const owner = list.find(
    ({ permissions, scheme }) => permissions === Permission.ALL && scheme !== 'world',
  )
  return list
    .filter((rule) => rule !== owner)
    .map(({ scheme, id }) => `${scheme}:${id.replace(/:.*$/, '')}`)
}

/**
 * Resolves to the number of nodes that were open. Ends at the first one that it may not close: without
 * an identity that is every one, and the report tells of them.
 */
export async function closeSecretNodes(
  coordinator: Coordinator,
  tree: ControlTree,
): Promise<number> {
  let closed = 0
  for (const folder of secretFolders) {
    const path = tree.path(folder)
    const names = await coordinator.children(path)
    for (const each of [path, ...names.map((name) => `${path}/${name}`)])
      try {
        if (othersIn(await coordinator.acl(each)).length === 0) continue
        await coordinator.keepSecret(each)
        closed++
      } catch (error) {
        if (isCode(error, 'no-auth')) return closed
        if (!isCode(error, 'no-node')) throw error
      }
  }
  return closed
}
