/**
 * The admin API as schemas and types (gateway.md 14): requests are checked against them, answers are
 * written by them, and the admin page is compiled against them. No behaviour.
 */
import { type Static, Type } from 'typebox'

/** One mapping node. `valid: false`: the node holds no mapping; then only `problem` tells of it. */
export const Table = Type.Object({
  name: Type.String(),
  valid: Type.Boolean(),
  cluster: Type.Optional(Type.String()),
  metas: Type.Optional(Type.Array(Type.String())),
  /** Which keys the node's JSON has: rfc, go or both. */
  form: Type.Optional(Type.String()),
  group: Type.Optional(Type.String()),
  note: Type.Optional(Type.String()),
  frozen: Type.Optional(Type.Boolean()),
  stale: Type.Optional(Type.String()),
  standby: Type.Optional(Type.String()),
  problem: Type.Optional(Type.Object({ field: Type.String(), message: Type.String() })),
  /** ZooKeeper's version of the node. */
  version: Type.Integer(),
  modifiedAt: Type.String(),
})
export type Table = Static<typeof Table>

export const TableList = Type.Object({
  tables: Type.Array(Table),
  /** For the next page; absent on the last one. */
  cursor: Type.Optional(Type.String()),
  /** Of all pages; absent where counting would mean reading every node. */
  total: Type.Optional(Type.Integer()),
})
export type TableList = Static<typeof TableList>

export const TableEdit = Type.Object(
  {
    cluster: Type.String({ minLength: 1, maxLength: 255 }),
    metas: Type.Array(Type.String({ maxLength: 300 }), { minItems: 1, maxItems: 64 }),
    group: Type.Optional(Type.String({ maxLength: 255 })),
    note: Type.Optional(Type.String({ maxLength: 4096 })),
    frozen: Type.Optional(Type.Boolean()),
    stale: Type.Optional(Type.String({ pattern: '^(serve|fail|bounded:[0-9]{1,9})$' })),
    standby: Type.Optional(Type.String({ maxLength: 255 })),
  },
  { additionalProperties: false },
)
export type TableEdit = Static<typeof TableEdit>

export const TableParams = Type.Object({ name: Type.String() })

export const TableQuery = Type.Object(
  {
    /** At most 500. */
    limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,3}$' })),
    cursor: Type.Optional(Type.String({ maxLength: 1024 })),
    /** Part of the table's name. */
    q: Type.Optional(Type.String({ maxLength: 255 })),
    cluster: Type.Optional(Type.String({ maxLength: 255 })),
    /** Only nodes that hold no mapping. */
    invalid: Type.Optional(Type.Literal('true')),
  },
  { additionalProperties: false },
)
export type TableQuery = Static<typeof TableQuery>

/** RFC 9457. `code` is stable; `errors` name the fields at fault; `current` is what is there now. */
export interface Problem {
  readonly type: 'about:blank'
  readonly title: string
  readonly status: number
  readonly code: ProblemCode
  readonly detail: string
  readonly errors?: readonly { readonly field: string; readonly message: string }[]
  readonly current?: Table
}

export type ProblemCode =
  | 'bad-request'
  | 'forbidden'
  | 'not-found'
  | 'frozen'
  | 'changed-meanwhile'
  | 'exists'
  | 'precondition-required'
  | 'too-large'
  | 'zookeeper-unavailable'
  | 'outcome-unknown'
  | 'internal'
