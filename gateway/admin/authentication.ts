/**
 * Who sends a request (gateway.md X-4): a token in `Authorization: Bearer`, or the session of a cookie,
 * which needs its CSRF token with everything but reading. Without `auth` configured: everybody on this
 * machine under a local host name (so that no web page can come by a name of its own), and nobody else.
 */
import type { FastifyRequest } from 'fastify'
import type { Accounts } from './accounts.ts'
import { ApiError } from './problem.ts'
import type { Caller } from './rights.ts'
import { type Session, type Sessions, csrfTokenOf, isCsrfToken } from './sessions.ts'

export const SESSION_COOKIE = 'metaproxy_session'
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

export interface Authenticated {
  readonly caller: Caller
  /** With a cookie. */
  readonly cookie?: string
  readonly session?: Session
  readonly csrfToken?: string
}

export interface Authentication {
  readonly mode: 'open-on-loopback' | 'authenticated'
  /** Undefined: nobody; throws when somebody is refused. */
  readonly identify: (request: FastifyRequest) => Promise<Authenticated | undefined>
}

export function withSession(caller: Caller, cookie: string, session: Session): Authenticated {
  return { caller, cookie, session, csrfToken: csrfTokenOf(cookie) }
}

const everybodyHere: Caller = {
  name: 'loopback',
  via: 'loopback',
  grants: [{ role: 'dr-admin' }, { role: 'admin' }],
}

export const openOnLoopback: Authentication = {
  mode: 'open-on-loopback',
  identify: async (request) => {
    refuseStrangers(request)
    refuseOtherOrigins(request)
    return { caller: everybodyHere }
  },
}

export function authenticating(
  accounts: Accounts,
  sessions: Sessions,
  ready: () => Promise<void>,
): Authentication {
  return {
    mode: 'authenticated',
    identify: async (request) => {
      refuseOtherOrigins(request)
      await ready()
      const { authorization } = request.headers
      if (authorization !== undefined) return byToken(accounts, authorization)
      const cookie = request.cookies[SESSION_COOKIE]
      return cookie === undefined ? undefined : byCookie(accounts, sessions, request, cookie)
    },
  }
}

function byToken(accounts: Accounts, authorization: string): Authenticated {
  const [, text = ''] = /^Bearer +(\S+)$/i.exec(authorization) ?? []
  const token = accounts.tokenOf(text)
  if (token === undefined) throw new ApiError('bad-credentials', 'the token is unknown or expired')
  const { owner, grants } = token
  return { caller: { name: `${owner}/${token.name}`, via: 'token', grants, owner } }
}

function byCookie(
  accounts: Accounts,
  sessions: Sessions,
  request: FastifyRequest,
  cookie: string,
): Authenticated | undefined {
  const session = sessions.find(cookie)
  if (session === undefined) return undefined
  const { name, via } = session
  // A local user's rights are those that he has now.
  const grants = via === 'oidc' ? session.grants : accounts.activeUser(name)?.grants
  if (grants === undefined) return undefined
  if (!SAFE.has(request.method) && !isCsrfToken(cookie, request.headers['x-csrf-token']))
    throw new ApiError('csrf-token', 'send x-csrf-token with the token of GET /session')
  return withSession({ name, via, grants }, cookie, session)
}

/** Browsers say where a request that changes something comes from. */
function refuseOtherOrigins({ method, headers }: FastifyRequest): void {
  const { origin, host } = headers
  if (SAFE.has(method) || origin === undefined) return
  if (URL.canParse(origin) && new URL(origin).host === host) return
  throw new ApiError('csrf-token', `the request comes from another page: ${origin.slice(0, 200)}`)
}

function refuseStrangers(request: FastifyRequest): void {
  const { remoteAddress = '' } = request.socket
  if (!/^(::ffff:)?127\.|^::1$/.test(remoteAddress))
    throw new ApiError('forbidden', 'the API answers this machine only until auth is configured')
  if (!/^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(request.headers.host ?? ''))
    throw new ApiError('forbidden', 'the API answers under a local host name only')
}
