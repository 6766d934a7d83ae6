/** Routes of log-in, users and tokens (`api/access.ts`). */
import type { CookieSerializeOptions } from '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { programVersion } from '../../cluster/runtime/version.ts'
import type { GatewayConfig } from '../config.ts'
import type { Access } from './access.ts'
import {
  LogInRequest,
  Me,
  NewToken,
  PasswordChange,
  SessionInfo,
  TokenList,
  TokenRequest,
  User,
  UserEdit,
  UserList,
  UserParams,
} from './api/access.ts'
import { ChangeHeaders, NameParams, NoQuery } from './api/requests.ts'
import {
  type Authenticated,
  type Authentication,
  SESSION_COOKIE,
  withSession,
} from './authentication.ts'
import { rightsOfGrants } from './grants.ts'
import type { LogInAttempt } from './identity-provider.ts'
import { ApiError } from './problem.ts'
import {
  type Api,
  NoContent,
  answers,
  authorOf,
  callerOf,
  identityOf,
  preconditionOf,
  setIdentity,
} from './requests.ts'
import { demand } from './rights.ts'
import type { Services } from './services.ts'
import type { Session } from './sessions.ts'

const ATTEMPT_COOKIE = 'metaproxy_log_in'
const ATTEMPT_S = 600
const OIDC_PATH = '/api/v1/session/oidc'

interface AccessParts {
  readonly services: Services
  readonly authentication: Authentication
  readonly access: Access | undefined
  readonly admin: GatewayConfig['admin']
}

/** For everybody: how to log in. */
export function sessionRoutes(api: Api, parts: AccessParts): void {
  const { access } = parts

  api.get(
    '/session',
    {
      schema: {
        tags: ['access'],
        summary: 'How to log in, and who one is',
        response: answers({ 200: SessionInfo }),
      },
    },
    async (request) => sessionInfo(parts, identityOf(request)),
  )

  api.post(
    '/session',
    {
      schema: {
        tags: ['access'],
        summary: 'Log in',
        body: LogInRequest,
        response: answers({ 200: SessionInfo }),
      },
    },
    async (request, reply) => {
      const { accounts, limits, sessions } = needed(access)
      const { name, password } = request.body
      limits.count(name, request.ip)
      const user = await accounts.verify(name, password)
      if (user === undefined) {
        parts.services.runtime.log.warn('log-in refused', { name, from: request.ip })
        throw new ApiError('bad-credentials', 'name or password is wrong')
      }
      limits.succeeded(name)
      const opened = await sessions.open({ name, via: 'local', grants: [] })
      const { grants } = user
      return logIn(parts, request, reply, opened, { name, via: 'local', grants })
    },
  )

  api.get(
    '/session/oidc',
    { schema: { tags: ['access'], summary: 'Log in with the identity provider' } },
    async (request, reply) => {
      const { url, attempt } = await providerOf(access).begin()
      const text = Buffer.from(JSON.stringify(attempt)).toString('base64url')
      const options = { ...cookieOptions(needed(access), request), sameSite: 'lax' as const }
      void reply.setCookie(ATTEMPT_COOKIE, text, {
        ...options,
        path: OIDC_PATH,
        maxAge: ATTEMPT_S,
      })
      return reply.redirect(url)
    },
  )

  api.get('/session/oidc/callback', { schema: { hide: true } }, async (request, reply) => {
    const attempt = attemptOf(request)
    const found = await providerOf(access).finish(request.url.split('?')[1] ?? '', attempt)
    const identity = { ...found, via: 'oidc' as const }
    const opened = await needed(access).sessions.open(identity)
    await logIn(parts, request, reply, opened, identity)
    return reply.clearCookie(ATTEMPT_COOKIE, { path: OIDC_PATH }).redirect('/')
  })
}

/** For those who are somebody. */
export function accessRoutes(api: Api, parts: AccessParts): void {
  const { access, services } = parts
  /** What a change of the user or token in the path is made with; whoever may not is told so. */
  const byAdmin = (request: FastifyRequest<{ Params: { name: string } }>) => {
    demand(callerOf(request), 'users.edit')
    const author = authorOf(request, services.reasonRequired)
    return { ...needed(access), author, name: request.params.name }
  }

  api.get(
    '/me',
    { schema: { tags: ['access'], response: answers({ 200: Me }) } },
    async (request) => meOf(parts, identityOf(request)) ?? notLoggedIn(),
  )

  api.delete(
    '/session',
    { schema: { tags: ['access'], summary: 'Log out', response: answers({ 204: NoContent }) } },
    async (request, reply) => {
      const cookie = identityOf(request)?.cookie
      if (cookie !== undefined) await needed(access).sessions.end(cookie)
      return reply.clearCookie(SESSION_COOKIE, { path: '/' }).code(204).send(null)
    },
  )

  api.put(
    '/me/password',
    {
      schema: {
        tags: ['access'],
        querystring: NoQuery,
        body: PasswordChange,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { accounts, sessions, limits } = needed(access)
      const { name, via } = callerOf(request)
      if (via !== 'local') throw new ApiError('forbidden', 'only local users have a password here')
      limits.count(name, request.ip)
      if ((await accounts.verify(name, request.body.old)) === undefined)
        throw new ApiError('bad-credentials', 'the old password is wrong')
      await accounts.setPassword(authorOf(request, false), name, request.body.new)
      await sessions.endAllOf(name, identityOf(request)?.cookie)
      return reply.code(204).send(null)
    },
  )

  api.get(
    '/users',
    { schema: { tags: ['access'], response: answers({ 200: UserList }) } },
    async (request) => {
      demand(callerOf(request), 'users.edit')
      return { users: access?.accounts.users() ?? [] }
    },
  )

  api.get(
    '/users/:name',
    { schema: { tags: ['access'], params: UserParams, response: answers({ 200: User }) } },
    async (request, reply) => {
      demand(callerOf(request), 'users.edit')
      const user = needed(access).accounts.user(request.params.name)
      return reply.header('etag', user.etag).send(user)
    },
  )

  api.put(
    '/users/:name',
    {
      schema: {
        tags: ['access'],
        params: UserParams,
        querystring: NoQuery,
        headers: ChangeHeaders,
        body: UserEdit,
        response: answers({ 200: User }),
      },
    },
    async (request, reply) => {
      const { accounts, sessions, author, name } = byAdmin(request)
      const user = await accounts.putUser(author, name, request.body, preconditionOf(request))
      if (request.body.password !== undefined) await sessions.endAllOf(name, undefined)
      return reply.header('etag', user.etag).send(user)
    },
  )

  api.delete(
    '/users/:name',
    {
      schema: {
        tags: ['access'],
        params: UserParams,
        querystring: NoQuery,
        headers: ChangeHeaders,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { accounts, sessions, author, name } = byAdmin(request)
      await accounts.removeUser(author, name, preconditionOf(request))
      await sessions.endAllOf(name, undefined)
      return reply.code(204).send(null)
    },
  )

  api.get(
    '/tokens',
    { schema: { tags: ['access'], response: answers({ 200: TokenList }) } },
    async (request) => {
      demand(callerOf(request), 'users.edit')
      return { tokens: access?.accounts.tokens() ?? [] }
    },
  )

  api.post(
    '/tokens',
    {
      schema: {
        tags: ['access'],
        summary: 'A token for a program; its secret is shown this once',
        querystring: NoQuery,
        headers: ChangeHeaders,
        body: TokenRequest,
        response: answers({ 201: NewToken }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      demand(caller, 'users.edit')
      const author = authorOf(request, services.reasonRequired)
      const made = await needed(access).accounts.newToken(author, caller.name, request.body)
      return reply.code(201).send(made)
    },
  )

  api.delete(
    '/tokens/:name',
    {
      schema: {
        tags: ['access'],
        params: NameParams,
        querystring: NoQuery,
        headers: ChangeHeaders,
        response: answers({ 204: NoContent }),
      },
    },
    async (request, reply) => {
      const { accounts, author, name } = byAdmin(request)
      await accounts.removeToken(author, name)
      return reply.code(204).send(null)
    },
  )
}

async function logIn(
  parts: AccessParts,
  request: FastifyRequest,
  reply: FastifyReply,
  { cookie, session }: { readonly cookie: string; readonly session: Session },
  caller: Authenticated['caller'],
): Promise<SessionInfo> {
  const identity = withSession(caller, cookie, session)
  setIdentity(request, identity)
  await parts.services.journal.commit(authorOf(request, false), async () => ({
    operations: [],
    entries: [
      { action: 'log-in', kind: 'session', name: caller.name, before: null, after: caller.via },
    ],
    raisesEpoch: false,
  }))
  const maxAge = Math.floor((session.expiresAtMs - session.createdAtMs) / 1000)
  const options = cookieOptions(needed(parts.access), request)
  void reply.setCookie(SESSION_COOKIE, cookie, { ...options, maxAge })
  return sessionInfo(parts, identity)
}

function cookieOptions(
  { secureCookies }: Access,
  { protocol, headers }: FastifyRequest,
): CookieSerializeOptions {
  // Who forges the header only gets a cookie that his browser does not send back.
  const isTls = protocol === 'https' || headers['x-forwarded-proto'] === 'https'
  const secure = secureCookies === 'always' || (secureCookies === 'auto' && isTls)
  return { path: '/', httpOnly: true, sameSite: 'strict', secure }
}

function sessionInfo(parts: AccessParts, identity: Authenticated | undefined): SessionInfo {
  const { access, admin, authentication, services } = parts
  const me = meOf(parts, identity)
  return {
    mode: authentication.mode,
    methods: {
      password: access !== undefined,
      ...(access?.provider === undefined
        ? {}
        : { oidc: { label: access.providerLabel, url: OIDC_PATH } }),
    },
    ...(me === undefined ? {} : { me }),
    ...(identity?.csrfToken === undefined ? {} : { csrfToken: identity.csrfToken }),
    environment: { name: admin.environment, production: admin.production },
    reasonRequired: services.reasonRequired,
    approvalAbove: services.approvals.above,
    gateway: services.gatewayId,
    version: programVersion(),
  }
}

function meOf(
  { authentication }: AccessParts,
  identity: Authenticated | undefined,
): Me | undefined {
  if (identity === undefined) return undefined
  const { name, via, grants } = identity.caller
  const ends = identity.session?.expiresAtMs
  return {
    mode: authentication.mode,
    name,
    via,
    grants: [...grants],
    rights: [...rightsOfGrants(grants)],
    ...(ends === undefined ? {} : { expiresAt: new Date(ends).toISOString() }),
  }
}

function attemptOf({ cookies }: FastifyRequest): LogInAttempt {
  const text = Buffer.from(cookies[ATTEMPT_COOKIE] ?? '', 'base64url').toString('utf8')
  try {
    const { state, nonce, verifier } = JSON.parse(text) as Partial<LogInAttempt>
    if (state !== undefined && nonce !== undefined && verifier !== undefined)
      return { state, nonce, verifier }
  } catch {
    // Answered below.
  }
  throw new ApiError('bad-credentials', 'this log-in was not begun here, or ten minutes ago')
}

function needed(access: Access | undefined): Access {
  if (access !== undefined) return access
  throw new ApiError('not-found', 'there is no auth section: nobody has to log in here')
}

function providerOf(access: Access | undefined): NonNullable<Access['provider']> {
  const provider = access?.provider
  if (provider !== undefined) return provider
  throw new ApiError('not-found', 'no identity provider is configured')
}

function notLoggedIn(): never {
  throw new ApiError('not-logged-in', 'log in, or send a token')
}
