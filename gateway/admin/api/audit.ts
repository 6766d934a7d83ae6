/**
 * `/api/v1/audit` (gateway.md 14; admin-ui.md 3.11): who changed what, append-only, each entry
 * holding the hash of the one before it.
 *
 *     GET  /audit          AuditQuery → AuditList, newest first
 *     GET  /audit:export   AuditExportQuery → a file, JSON lines or CSV
 *     GET  /audit:verify   → AuditVerification; reads the whole chain
 */
import { type Static, Type } from 'typebox'

export const AuditEntry = Type.Object(
  {
    /** From 1, without gaps. */
    seq: Type.Integer(),
    at: Type.String({ format: 'date-time' }),
    actor: Type.String(),
    /** ui, api, cli, rpc (a client's), external or automatic. */
    source: Type.String(),
    /** The caller's address; '' for external and automatic ones. */
    from: Type.String(),
    /** create, change, delete, revert, import, log-in, trim (of old entries), request, approve, … */
    action: Type.String(),
    /** table, cluster, group, user, token, session, audit, approval. */
    kind: Type.String(),
    name: Type.String(),
    reason: Type.Optional(Type.String()),
    /** The second person, of a change that needed one. */
    approvedBy: Type.Optional(Type.String()),
    /** Text of the object before and after; secrets left out. */
    before: Type.Union([Type.String(), Type.Null()]),
    after: Type.Union([Type.String(), Type.Null()]),
    versions: Type.Optional(
      Type.Integer({
        description: 'Versions of the mapping from before to after, when there were several',
      }),
    ),
    requestId: Type.String(),
    gateway: Type.String(),
    /** Hash of the entry before this one, and of this one: sha256, hexadecimal. */
    prev: Type.String(),
    hash: Type.String(),
  },
  { title: 'AuditEntry' },
)
export type AuditEntry = Static<typeof AuditEntry>

const filters = {
  actor: Type.Optional(Type.String({ maxLength: 255 })),
  action: Type.Optional(Type.String({ maxLength: 50 })),
  kind: Type.Optional(Type.String({ maxLength: 50 })),
  name: Type.Optional(Type.String({ maxLength: 255 })),
  source: Type.Optional(Type.String({ maxLength: 50 })),
  since: Type.Optional(Type.String({ format: 'date-time' })),
  until: Type.Optional(Type.String({ format: 'date-time' })),
  q: Type.Optional(
    Type.String({ maxLength: 255, description: 'Part of the entry’s text, before and after too' }),
  ),
}

export const AuditQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, default: 100 })),
    cursor: Type.Optional(Type.String({ maxLength: 200 })),
    ...filters,
  },
  { additionalProperties: false },
)
export type AuditQuery = Static<typeof AuditQuery>

export const AuditExportQuery = Type.Object(
  {
    format: Type.Optional(Type.Union([Type.Literal('jsonl'), Type.Literal('csv')])),
    ...filters,
  },
  { additionalProperties: false },
)
export type AuditExportQuery = Static<typeof AuditExportQuery>

/** One page may be short although `cursor` is there: a page reads at most 2000 entries. */
export const AuditList = Type.Object(
  { entries: Type.Array(AuditEntry), cursor: Type.Optional(Type.String()) },
  { title: 'AuditList' },
)
export type AuditList = Static<typeof AuditList>

export const AuditVerification = Type.Object(
  {
    ok: Type.Boolean(),
    checked: Type.Integer(),
    /** The chain's end: write it down elsewhere, and a rewritten chain is found out. */
    head: Type.Object({ seq: Type.Integer(), hash: Type.String() }),
    /** The last entry that is no longer kept (`audit.keepDays`); an entry `trim` of the chain has it. */
    anchor: Type.Optional(Type.Object({ seq: Type.Integer(), hash: Type.String() })),
    /** The first entry at fault. */
    problem: Type.Optional(Type.Object({ seq: Type.Integer(), message: Type.String() })),
  },
  { title: 'AuditVerification' },
)
export type AuditVerification = Static<typeof AuditVerification>
