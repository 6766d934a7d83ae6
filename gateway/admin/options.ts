/** The options of the admin port: who may use it, and what it says of this installation. */
import {
  address,
  choice,
  duration,
  flag,
  integer,
  list,
  optional,
  secret,
  section,
  text,
} from '../../cluster/runtime/options.ts'

export const authOptions = section('Who may use the admin port', {
  enabled: flag({
    about: 'Callers must log in or send a token; without it the port stays on loopback',
    default: false,
  }),
  sessionMs: duration({
    about: 'A log-in is good for',
    default: 43_200_000,
    min: 60_000,
    max: 2_592_000_000,
  }),
  secureCookies: choice({
    about: 'Cookies for TLS only; auto: when the request came by TLS, by x-forwarded-proto too',
    of: ['auto', 'always', 'never'],
    default: 'auto',
  }),
  firstAdmin: section('Made when there is no user yet', {
    name: text({
      about: 'Name',
      default: 'admin',
      pattern: /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$/,
      expected: 'letters, digits and . _ @ + -',
    }),
    password: optional(secret({ about: 'Password of at least 10 characters' })),
  }),
  oidc: section('Log-in with an identity provider (OpenID Connect)', {
    issuer: optional(
      text({ about: 'Its address', pattern: /^https?:\/\/\S+$/, expected: 'an address' }),
    ),
    clientId: optional(text({ about: 'Our id there' })),
    clientSecret: optional(secret({ about: 'Our secret there' })),
    redirectUrl: optional(
      text({
        about: 'Where it sends browsers back to: this gateway, /api/v1/session/oidc/callback',
        pattern: /^https?:\/\/\S+\/api\/v1\/session\/oidc\/callback$/,
        expected: 'an address that ends with /api/v1/session/oidc/callback',
      }),
    ),
    label: text({ about: 'Words on the button', default: 'Single sign-on', maxLength: 60 }),
    scopes: text({ about: 'Scopes asked for', default: 'openid profile email' }),
    userClaim: text({ about: 'Claim with the user’s name', default: 'preferred_username' }),
    groupsClaim: text({ about: 'Claim with the names of groups', default: 'groups' }),
    roles: list({
      about: 'GROUP=ROLE or GROUP=ROLE@CLUSTERS, CLUSTERS a pattern; others may do nothing',
      of: text({ about: 'A rule', maxLength: 1000 }),
      default: [],
      maxItems: 200,
    }),
  }),
})

const days = { min: 0, max: 36_500, unit: 'days' } as const

export const auditOptions = section('Audit of changes, in the control tree', {
  keepDays: integer({
    about: 'Entries are kept for, then removed by one gateway of the fleet; 0: for ever',
    default: 400,
    ...days,
  }),
  exportFolder: optional(
    text({
      about: 'Folder for entries that are removed, as files of JSON lines',
      maxLength: 1024,
      pattern: /^\//,
      expected: 'an absolute path',
    }),
  ),
})

export const historyOptions = section('Versions of mappings that can be gone back to', {
  versionsPerTable: integer({
    about: 'Versions kept of one table',
    default: 50,
    min: 2,
    max: 1000,
    unit: 'versions',
  }),
  keepDeletedDays: integer({
    about: 'The history of a deleted table is kept for; 0: for ever',
    default: 90,
    ...days,
  }),
})

export const adminOptions = section('Admin API and page', {
  environment: text({
    about: 'Name of this installation, shown at the top of the page',
    default: '',
    maxLength: 40,
  }),
  production: flag({ about: 'Shown in red', default: false }),
  requireReason: flag({ about: 'A change needs the header X-Change-Reason', default: false }),
  endpoint: optional(
    address({ about: 'Where clients connect, as the page tells it; the address of rpc else' }),
  ),
})

export const approvalOptions = section('Changes that a second person must approve', {
  bulkAbove: integer({
    about:
      'Mappings that one request may change alone; more wait for the approval of somebody else, ' +
      'for a day at most. Needs auth; the same at all gateways. 0: any number',
    default: 0,
    min: 0,
    max: 20_000,
    unit: 'mappings',
  }),
})
