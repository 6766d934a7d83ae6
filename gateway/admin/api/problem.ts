/**
 * Failures of the admin API (gateway.md 14, H-1): problem details of RFC 9457, sent as
 * `application/problem+json`. `code` is stable and what programs react to; `detail` is for people.
 * Like every file of this folder: schemas and types only, usable in a browser.
 */
import { type Static, Type } from 'typebox'

/** Code → status and title. A code is never reused for something else. */
export const problemCodes = {
  'bad-request': [400, 'The request is not valid'],
  'not-logged-in': [401, 'Log in first'],
  'bad-credentials': [401, 'Name or password is wrong'],
  forbidden: [403, 'Not allowed'],
  /** The session's cookie came without its `x-csrf-token`. */
  'csrf-token': [403, 'The request does not come from the page'],
  'not-found': [404, 'Not found'],
  'method-not-allowed': [405, 'Not possible with this method'],
  frozen: [409, 'The table is frozen'],
  /** The same Idempotency-Key came with another request, or its first request is still running. */
  'idempotency-conflict': [409, 'The idempotency key is in use'],
  /** Something else needs it: a cluster with tables, the last administrator. */
  'in-use': [409, 'It is in use'],
  /** The token of a preview is unknown, used or older than 15 minutes. */
  'preview-expired': [410, 'The preview is no longer valid'],
  /** `current` is what is there now, `changedBy` who made it so. */
  'changed-meanwhile': [412, 'Somebody else changed it'],
  exists: [412, 'It exists already'],
  /** No whole request came in time. */
  'request-timeout': [408, 'The request did not come in time'],
  'too-large': [413, 'The request is too large'],
  'headers-too-large': [431, 'The headers are too large'],
  'unsupported-media-type': [415, 'The body is of an unsupported type'],
  'precondition-required': [428, 'If-Match or If-None-Match is missing'],
  'reason-required': [428, 'X-Change-Reason is missing'],
  'too-many-requests': [429, 'Too many requests'],
  internal: [500, 'Internal error'],
  /** An identity provider or a cluster that had to be asked did not answer. */
  'upstream-unavailable': [502, 'A server that was asked does not answer'],
  'zookeeper-unavailable': [503, 'ZooKeeper does not answer'],
  'outcome-unknown': [503, 'The change may or may not have happened'],
  busy: [503, 'Too much is being worked on'],
} as const satisfies Readonly<Record<string, readonly [status: number, title: string]>>

export type ProblemCode = keyof typeof problemCodes

/** A field at fault: `metas.0`, or the name of a query parameter or header; '' for the whole. */
export const FieldError = Type.Object({ field: Type.String(), message: Type.String() })
export type FieldError = Static<typeof FieldError>

/** Who made a change. `source`: with what; `external` is a tool that wrote to ZooKeeper itself. */
export const ChangeAuthor = Type.Object({
  actor: Type.String(),
  source: Type.String({ description: 'ui, api, cli, rpc, external or automatic' }),
  at: Type.String({ format: 'date-time' }),
  reason: Type.Optional(Type.String()),
  /** The second person, of a change that needed one. */
  approvedBy: Type.Optional(Type.String()),
})
export type ChangeAuthor = Static<typeof ChangeAuthor>

export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'Stable; see the documentation of the API' }),
    detail: Type.String(),
    /** To quote when asking for help; the log has it too. */
    requestId: Type.String(),
    errors: Type.Optional(Type.Array(FieldError)),
    /** With `changed-meanwhile`, `exists` and `frozen`: the object as it is now. */
    current: Type.Optional(Type.Unknown()),
    changedBy: Type.Optional(ChangeAuthor),
    /** With `forbidden`: the right that lacks, and on what. */
    missing: Type.Optional(
      Type.Object({
        right: Type.String(),
        cluster: Type.Optional(Type.String()),
        group: Type.Optional(Type.String()),
      }),
    ),
    retryAfterSeconds: Type.Optional(Type.Integer()),
  },
  { title: 'Problem', description: 'Problem details (RFC 9457)' },
)
/** `code` is a `ProblemCode`; the schema leaves it open so that clients survive a new one. */
export type Problem = Static<typeof Problem>
