/**
 * What the requests of all resources have in common: preconditions, dry run, reason, idempotency
 * (gateway.md 14, H-1 and H-2), and the age of what is answered from memory.
 */
import { type Static, Type } from 'typebox'

/** Text of a form; `expected` says in errors what the form means. */
export function formed(pattern: string, expected: string, description?: string) {
  return Type.String({
    pattern,
    'x-expected': expected,
    ...(description === undefined ? {} : { description }),
  })
}

/** As far as a pattern can tell; the length in bytes is looked at besides. */
export const tableName = formed(
  '^(?!\\.{1,2}$)[^/\\u0000-\\u001f\\u007f-\\u009f]{1,255}$',
  'a name of 1 to 255 bytes without / and control characters',
)

const port =
  '0{0,4}([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])'

export const metaText = formed(`^\\s*[A-Za-z0-9._-]{1,253}:${port}\\s*$`, 'host:port')

/** 1 to 32 meta servers. */
export const metaList = Type.Array(metaText, { minItems: 1, maxItems: 32 })

export const StalePolicy = formed(
  '^(serve|fail|bounded:[0-9]{1,9})$',
  'serve, fail or bounded:MILLISECONDS',
  'What happens when ZooKeeper is gone: serve, fail or bounded:MILLISECONDS',
)

/**
 * How old the answer is. `live`: watched, changes arrive within milliseconds; `stale`: ZooKeeper
 * does not answer, this is what was there `ageMs` ago; `loading`: not everything was read yet.
 */
export const Freshness = Type.Object(
  {
    state: Type.Union([Type.Literal('live'), Type.Literal('stale'), Type.Literal('loading')]),
    ageMs: Type.Integer({ minimum: 0 }),
  },
  { title: 'Freshness' },
)
export type Freshness = Static<typeof Freshness>

/**
 * Of every call that changes something. `if-match` has the ETag that the author saw (`*`: whatever
 * is there); `if-none-match: *` creates.
 */
export const ChangeHeaders = Type.Object({
  'if-match': Type.Optional(Type.String({ maxLength: 1000 })),
  'if-none-match': Type.Optional(Type.String({ maxLength: 1000 })),
  /** The same key within 24 hours gives the first answer again, at any gateway. */
  'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
  /** Percent-encoded UTF-8, up to 1000 characters. */
  'x-change-reason': Type.Optional(Type.String({ maxLength: 9000 })),
  /** `ui`, `cli` or `api` (what it is without this header); for the audit only. */
  'x-change-source': Type.Optional(Type.String({ maxLength: 20 })),
})
export type ChangeHeaders = Static<typeof ChangeHeaders>

/** `?dry_run=true`: every check, no effect. */
export const DryRunQuery = Type.Object(
  { dry_run: Type.Optional(Type.Boolean({ description: 'Check everything, change nothing' })) },
  { additionalProperties: false },
)
export type DryRunQuery = Static<typeof DryRunQuery>

/** Of changes that know no dry run: asking for one is refused, not ignored. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

export const NameParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 255 }) })

/** `error` forbids the change, `warning` does not. */
export const Check = Type.Object(
  {
    /** name, metas-reachable, leader, table-exists, table-available, same-metas, frozen, … */
    id: Type.String(),
    level: Type.Union([Type.Literal('ok'), Type.Literal('warning'), Type.Literal('error')]),
    message: Type.String(),
    field: Type.Optional(Type.String()),
  },
  { title: 'Check' },
)
export type Check = Static<typeof Check>

/** Of what every gateway was asked through ZooKeeper, which takes up to a second. */
export const askedOfFleet = {
  askedAt: Type.String({ format: 'date-time' }),
  elapsedMs: Type.Integer(),
  /** Gateways that answered. An answer may be a second old when the same was asked just before. */
  answered: Type.Array(Type.String()),
  /** Gateways of the fleet that did not, and why. */
  silent: Type.Array(Type.Object({ id: Type.String(), reason: Type.String() })),
}
