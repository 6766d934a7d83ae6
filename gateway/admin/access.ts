/** Log-in, users and tokens put together from the `auth` section; undefined without it. */
import type { GatewayConfig } from '../config.ts'
import { Accounts } from './accounts.ts'
import { type Authentication, authenticating, openOnLoopback } from './authentication.ts'
import { IdentityProvider, isRoleRule } from './identity-provider.ts'
import { LogInLimits } from './log-in-limits.ts'
import { Passwords } from './passwords.ts'
import { Registry } from './registry.ts'
import type { Services } from './services.ts'
import { Sessions } from './sessions.ts'
import { TokenUses } from './token-uses.ts'

type AuthConfig = GatewayConfig['auth']

export interface Access {
  readonly accounts: Accounts
  readonly sessions: Sessions
  readonly limits: LogInLimits
  readonly provider: IdentityProvider | undefined
  readonly providerLabel: string
  readonly secureCookies: AuthConfig['secureCookies']
  readonly close: () => void
}

const READY_MS = 2000

/** What is wrong between the options of the section. */
export function authProblems(auth: AuthConfig): readonly string[] {
  const { issuer, clientId, redirectUrl, roles } = auth.oidc
  const problems: string[] = []
  if (issuer !== undefined && (clientId === undefined || redirectUrl === undefined))
    problems.push('auth.oidc.issuer: needs auth.oidc.clientId and auth.oidc.redirectUrl')
  for (const rule of roles)
    if (!isRoleRule(rule))
      problems.push(`auth.oidc.roles: expected GROUP=ROLE or GROUP=ROLE@CLUSTERS, found ${rule}`)
  if (
    auth.enabled &&
    auth.firstAdmin.password !== undefined &&
    auth.firstAdmin.password.length < 10
  )
    problems.push('auth.firstAdmin.password: expected at least 10 characters')
  return problems
}

/** One person alone cannot ask and approve. */
export function approvalProblems({ auth, approval }: Pick<GatewayConfig, 'auth' | 'approval'>) {
  if (approval.bulkAbove === 0 || auth.enabled) return []
  return ['approval.bulkAbove: needs auth.enabled: where nobody logs in there are no two people']
}

export function openAccess(services: Services, auth: AuthConfig): Access | undefined {
  if (!auth.enabled) return undefined
  const { runtime, coordinator, tree, journal } = services
  const common = { runtime, coordinator, tree, journal }
  const wallMs = (): number => runtime.clock.wallMs()
  const accounts = new Accounts({
    users: new Registry(common, { kind: 'user', folder: 'users', isSecret: true }),
    tokens: new Registry(common, { kind: 'token', folder: 'tokens', isSecret: true }),
    uses: new TokenUses(common),
    passwords: new Passwords(),
    wallMs,
  })
  const sessions = new Sessions(common, auth.sessionMs)
  void makeFirstAdmin(services, accounts, auth.firstAdmin)
  services.alsoTidy(() => sessions.expire())
  services.alsoTidy(() => accounts.tidy())
  return {
    accounts,
    sessions,
    limits: new LogInLimits(() => runtime.clock.monotonicMs()),
    provider: providerOf(auth.oidc),
    providerLabel: auth.oidc.label,
    secureCookies: auth.secureCookies,
    close: () => {
      accounts.close()
      sessions.close()
    },
  }
}

export function authenticationOf(services: Services, access: Access | undefined): Authentication {
  if (access === undefined) return openOnLoopback
  const { accounts, sessions } = access
  const loaded = Promise.all([accounts.loaded(), sessions.loaded()]).then(() => undefined)
  return authenticating(accounts, sessions, () => services.within(READY_MS, loaded))
}

function providerOf(options: AuthConfig['oidc']): IdentityProvider | undefined {
  const { issuer, clientId, redirectUrl } = options
  if (issuer === undefined || clientId === undefined || redirectUrl === undefined) return undefined
  return new IdentityProvider({ ...options, issuer, clientId, redirectUrl })
}

/** Somebody must be able to make the others: when there is no user at all. */
async function makeFirstAdmin(
  services: Services,
  accounts: Accounts,
  { name, password }: AuthConfig['firstAdmin'],
): Promise<void> {
  await accounts.loaded()
  if (password === undefined || accounts.users().length > 0) return
  const author = {
    actor: 'configuration',
    source: 'automatic',
    from: '',
    requestId: '',
    reason: 'there was no user',
  }
  const grants = [{ role: 'admin' as const }, { role: 'dr-admin' as const }]
  try {
    await accounts.putUser(author, name, { grants, password }, { ifNoneMatch: '*' })
  } catch (error) {
    services.runtime.log.warn('first administrator not made', { name, error })
  }
}
