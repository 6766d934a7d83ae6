/**
 * `/api/v1/groups` (gateway.md 14): named sets of tables. A table belongs to a group by the `group`
 * key of its mapping, by the group's list of names, or by one of its patterns (`*` any text, `?` one
 * character). Its tables are `GET /tables?group=NAME`. Readiness comes with the DR switch.
 *
 *     GET  /groups                     → GroupList
 *     GET, PUT, DELETE /groups/{g}     GroupEdit → Group; ETags as with tables
 */
import { type Static, Type } from 'typebox'
import { Freshness, StalePolicy, tableName } from './requests.ts'

export const Group = Type.Object(
  {
    name: Type.String(),
    /** False: no entry of its own, only mappings name it. */
    registered: Type.Boolean(),
    members: Type.Array(Type.String()),
    patterns: Type.Array(Type.String()),
    note: Type.Optional(Type.String()),
    /** Staleness policy of its tables; a table's own goes first. */
    stale: Type.Optional(Type.String()),
    tables: Type.Integer(),
    etag: Type.Optional(Type.String()),
    version: Type.Optional(Type.Integer()),
    modifiedAt: Type.Optional(Type.String({ format: 'date-time' })),
  },
  { title: 'Group' },
)
export type Group = Static<typeof Group>

export const GroupList = Type.Object(
  { groups: Type.Array(Group), total: Type.Integer(), asOf: Freshness },
  { title: 'GroupList' },
)
export type GroupList = Static<typeof GroupList>

export const GroupEdit = Type.Object(
  {
    members: Type.Array(tableName, { maxItems: 5000 }),
    patterns: Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { maxItems: 100 }),
    note: Type.Optional(Type.String({ maxLength: 4096 })),
    stale: Type.Optional(StalePolicy),
  },
  { additionalProperties: false, title: 'GroupEdit' },
)
export type GroupEdit = Static<typeof GroupEdit>
