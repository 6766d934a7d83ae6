/**
 * Log-in by OpenID Connect (gateway.md X-4): authorization code with PKCE, by openid-client, and the
 * only file that imports it. What a user may do comes from a claim with group names, by a configured
 * list `GROUP=ROLE` or `GROUP=ROLE@CLUSTERS` (a pattern).
 */
import * as oidc from 'openid-client'
import type { Grant } from './api/access.ts'
import { type Role, roles } from './api/roles.ts'
import { ApiError } from './problem.ts'

export interface ProviderOptions {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string | undefined
  readonly redirectUrl: string
  readonly scopes: string
  readonly userClaim: string
  readonly groupsClaim: string
  readonly roles: readonly string[]
}

/** What the browser keeps between going there and coming back. */
export interface LogInAttempt {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
}

const TIMEOUT_S = 5
const RULE = /^([^=]+)=([a-z-]+)(?:@(.+))?$/

export class IdentityProvider {
  readonly #options: ProviderOptions
  #discovered: Promise<oidc.Configuration> | undefined

  constructor(options: ProviderOptions) {
    this.#options = options
  }

  async begin(): Promise<{ readonly url: string; readonly attempt: LogInAttempt }> {
    const configuration = await this.#configuration()
    const verifier = oidc.randomPKCECodeVerifier()
    const attempt = { state: oidc.randomState(), nonce: oidc.randomNonce(), verifier }
    const url = oidc.buildAuthorizationUrl(configuration, {
      redirect_uri: this.#options.redirectUrl,
      scope: this.#options.scopes,
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    })
    return { url: url.href, attempt }
  }

  /** `query` as the provider sent the browser back with. Throws `ApiError`. */
  async finish(
    query: string,
    { state, nonce, verifier }: LogInAttempt,
  ): Promise<{ readonly name: string; readonly grants: readonly Grant[] }> {
    const configuration = await this.#configuration()
    const url = new URL(this.#options.redirectUrl)
    url.search = query
    let claims: oidc.IDToken | undefined
    try {
      const tokens = await oidc.authorizationCodeGrant(configuration, url, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      })
      claims = tokens.claims()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new ApiError('bad-credentials', `the identity provider did not confirm: ${reason}`)
    }
    const name = claims?.[this.#options.userClaim] ?? claims?.sub
    if (typeof name !== 'string' || name === '')
      throw new ApiError('bad-credentials', `the claim ${this.#options.userClaim} is missing`)
    return { name, grants: grantsFor(claims?.[this.#options.groupsClaim], this.#options.roles) }
  }

  /** Tried again at the next log-in when the provider did not answer. */
  async #configuration(): Promise<oidc.Configuration> {
    const { issuer, clientId, clientSecret } = this.#options
    const url = new URL(issuer)
    this.#discovered ??= oidc.discovery(url, clientId, clientSecret, undefined, {
      timeout: TIMEOUT_S,
      // Only where the configuration names the provider by http, as in tests.
      ...(url.protocol === 'http:' ? { execute: [oidc.allowInsecureRequests] } : {}),
    })
    try {
      return await this.#discovered
    } catch (error) {
      this.#discovered = undefined
      const reason = error instanceof Error ? error.message : String(error)
      throw new ApiError('upstream-unavailable', `identity provider ${issuer}: ${reason}`)
    }
  }
}

export function grantsFor(groups: unknown, rules: readonly string[]): Grant[] {
  const member = new Set<unknown>(Array.isArray(groups) ? groups : [groups])
  return rules.flatMap((rule): Grant[] => {
    const [, group, role, cluster] = RULE.exec(rule) ?? []
    const known = roles.find((one): one is Role => one === role)
    if (known === undefined || !member.has(group)) return []
    return [{ role: known, ...(cluster === undefined ? {} : { cluster }) }]
  })
}

export function isRoleRule(rule: string): boolean {
  const [, , role] = RULE.exec(rule) ?? []
  return roles.some((known) => known === role)
}
