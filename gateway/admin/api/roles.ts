/** Roles and what they may do (gateway.md X-5). Without schemas, so that the page can have it whole. */
export const roles = ['viewer', 'editor', 'operator', 'dr-admin', 'admin'] as const
export type Role = (typeof roles)[number]

/**
 * What a role may do. viewer ⊂ editor ⊂ operator ⊂ dr-admin; admin stands aside: users, tokens and
 * the registry of clusters and the gateways, no mappings. The rights of the DR switch come with it.
 */
export const rightsOf = {
  viewer: ['read'],
  editor: ['read', 'tables.edit', 'groups.edit'],
  operator: ['read', 'tables.edit', 'groups.edit', 'clusters.edit', 'gateways.drain'],
  'dr-admin': ['read', 'tables.edit', 'groups.edit', 'clusters.edit', 'gateways.drain'],
  admin: ['read', 'users.edit', 'clusters.edit', 'gateways.drain'],
} as const satisfies Readonly<Record<Role, readonly string[]>>
export type Right = (typeof rightsOf)[Role][number]
