/**
 * `/api/v1/acl-report`: which nodes of ours in ZooKeeper others may change, or read although they are
 * secret (gateway.md X-3). In pages; those after the first take the `cursor` of the one before.
 *
 *     GET /acl-report   AclQuery → AclPage
 */
import { type Static, Type } from 'typebox'
import { formed } from './requests.ts'

export const AclQuery = Type.Object(
  {
    /** Nodes looked at for this page, at most 500; default 200. */
    limit: Type.Optional(formed('^[0-9]{1,3}$', 'a number up to 999')),
    cursor: Type.Optional(Type.String({ maxLength: 4096 })),
  },
  { additionalProperties: false },
)

export type AclQuery = Static<typeof AclQuery>

export const AclPage = Type.Object({
  /** World-writable nodes among those looked at. */
  open: Type.Array(
    Type.Object({
      path: Type.String(),
      kind: Type.Union([Type.Literal('mapping'), Type.Literal('control')]),
      /** What anyone may do, in ZooKeeper's letters: c(reate) d(elete) r(ead) w(rite) a(dmin). */
      rights: Type.String(),
    }),
  ),
  /** Users, tokens and sessions that not only the gateway may read, and who else. */
  secrets: Type.Array(Type.Object({ path: Type.String(), others: Type.Array(Type.String()) })),
  /** Nodes whose list this gateway may not see. */
  hidden: Type.Array(Type.String()),
  checked: Type.Integer(),
  /** For the next page; absent on the last one. */
  cursor: Type.Optional(Type.String()),
})
export type AclPage = Static<typeof AclPage>
