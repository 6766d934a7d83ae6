/**
 * Log-in, users and tokens (gateway.md 13, X-4 and X-5).
 *
 *     GET    /session          → SessionInfo; for everybody: how to log in, and who one is
 *     POST   /session          LogInRequest → SessionInfo, with the cookie
 *     DELETE /session          logs out
 *     GET    /session/oidc     → redirect to the identity provider; comes back to `/`
 *     GET    /me               → Me
 *     PUT    /me/password      PasswordChange
 *     GET    /users            → UserList;  GET, PUT, DELETE /users/{u}   UserEdit → User
 *     GET    /tokens           → TokenList; POST /tokens TokenRequest → NewToken (shown once);
 *     DELETE /tokens/{id}
 *
 * A page sends `x-csrf-token` (from `SessionInfo`) with everything but GET. Programs send
 * `Authorization: Bearer TOKEN` and need none.
 *
 * Scopes restrict changes; whoever is logged in with any role reads everything but users and tokens.
 */
import { type Static, Type } from 'typebox'
import { formed } from './requests.ts'
import { type Role, roles } from './roles.ts'

const pattern = Type.String({ minLength: 1, maxLength: 255 })

/** A role, on clusters and groups whose names match (`*`, `?`); a pattern left out is any. */
export const Grant = Type.Object(
  {
    role: Type.Unsafe<Role>(Type.Union(roles.map((role) => Type.Literal(role)))),
    cluster: Type.Optional(pattern),
    group: Type.Optional(pattern),
  },
  { additionalProperties: false, title: 'Grant' },
)
export type Grant = Static<typeof Grant>

const userName = formed(
  '^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$',
  'up to 100 letters, digits and . _ @ + -, the first a letter or digit',
)
const password = Type.String({ minLength: 10, maxLength: 200 })
const grants = Type.Array(Grant, { maxItems: 100 })

export const Me = Type.Object(
  {
    /** `open-on-loopback`: no `auth` configured; everybody on this machine may do everything. */
    mode: Type.Union([Type.Literal('open-on-loopback'), Type.Literal('authenticated')]),
    name: Type.String(),
    /** local, oidc, token or loopback. */
    via: Type.String(),
    grants: Type.Array(Grant),
    /** All rights that some grant gives, whatever its scope. */
    rights: Type.Array(Type.String()),
    /** With a cookie: when it ends. */
    expiresAt: Type.Optional(Type.String({ format: 'date-time' })),
  },
  { title: 'Me' },
)
export type Me = Static<typeof Me>

export const SessionInfo = Type.Object(
  {
    mode: Type.Union([Type.Literal('open-on-loopback'), Type.Literal('authenticated')]),
    /** How one may log in here; `oidc` has the words for the button. */
    methods: Type.Object({
      password: Type.Boolean(),
      oidc: Type.Optional(Type.Object({ label: Type.String(), url: Type.String() })),
    }),
    /** Absent: not logged in. */
    me: Type.Optional(Me),
    csrfToken: Type.Optional(Type.String()),
    /** Shown at the top; `production` in red. */
    environment: Type.Object({ name: Type.String(), production: Type.Boolean() }),
    /** X-Change-Reason is mandatory. */
    reasonRequired: Type.Boolean(),
    /** Mappings that one request may change without a second person; 0: any number. */
    approvalAbove: Type.Integer(),
    /** The gateway that answers, and its version. */
    gateway: Type.String(),
    version: Type.String(),
  },
  { title: 'SessionInfo' },
)
export type SessionInfo = Static<typeof SessionInfo>

export const LogInRequest = Type.Object(
  {
    name: Type.String({ maxLength: 100 }),
    password: Type.String({ maxLength: 200 }),
  },
  { additionalProperties: false, title: 'LogInRequest' },
)
export type LogInRequest = Static<typeof LogInRequest>

export const PasswordChange = Type.Object(
  { old: Type.String({ maxLength: 200 }), new: password },
  { additionalProperties: false, title: 'PasswordChange' },
)
export type PasswordChange = Static<typeof PasswordChange>

export const User = Type.Object(
  {
    name: Type.String(),
    displayName: Type.Optional(Type.String()),
    grants: Type.Array(Grant),
    disabled: Type.Boolean(),
    etag: Type.String(),
    version: Type.Integer(),
    modifiedAt: Type.String({ format: 'date-time' }),
  },
  { title: 'User' },
)
export type User = Static<typeof User>

export const UserList = Type.Object({ users: Type.Array(User) }, { title: 'UserList' })
export type UserList = Static<typeof UserList>

export const UserParams = Type.Object({ name: userName })

/** `password` is needed for a new user; left out: the old one stays. */
export const UserEdit = Type.Object(
  {
    displayName: Type.Optional(Type.String({ maxLength: 255 })),
    grants,
    disabled: Type.Optional(Type.Boolean()),
    password: Type.Optional(password),
  },
  { additionalProperties: false, title: 'UserEdit' },
)
export type UserEdit = Static<typeof UserEdit>

export const Token = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    /** Who made it. */
    owner: Type.String(),
    grants: Type.Array(Grant),
    createdAt: Type.String({ format: 'date-time' }),
    expiresAt: Type.Optional(Type.String({ format: 'date-time' })),
    /** To the minute; absent when it was never used. */
    lastUsedAt: Type.Optional(Type.String({ format: 'date-time' })),
  },
  { title: 'Token' },
)
export type Token = Static<typeof Token>

export const TokenList = Type.Object({ tokens: Type.Array(Token) }, { title: 'TokenList' })
export type TokenList = Static<typeof TokenList>

export const TokenRequest = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    grants,
    /** Days until it ends; never when left out. */
    days: Type.Optional(Type.Integer({ minimum: 1, maximum: 3650 })),
  },
  { additionalProperties: false, title: 'TokenRequest' },
)
export type TokenRequest = Static<typeof TokenRequest>

/** `secret` is shown this once; only its hash is kept. */
export const NewToken = Type.Object({ token: Token, secret: Type.String() }, { title: 'NewToken' })
export type NewToken = Static<typeof NewToken>
