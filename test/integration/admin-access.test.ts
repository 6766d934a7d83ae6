/**
 * Who may do what at the admin port (gateway.md 13, X-4 and X-5): log-in, sessions, tokens, roles and
 * scopes, and an identity provider of this machine.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import t from 'tap'
import {
  type Grant,
  NewToken,
  SessionInfo,
  TokenList,
  User,
} from '../../gateway/admin/api/access.ts'
import { AuditList } from '../../gateway/admin/api/audit.ts'
import { grantsFor } from '../../gateway/admin/identity-provider.ts'
import {
  type AdminWorld,
  type Call,
  callOf,
  create,
  startAdminWorld,
} from '../support/admin-world.ts'
import { until } from '../support/gateway-world.ts'

t.setTimeout(180_000)

const PASSWORD = 'correct horse battery'
// As the configuration takes it; the secret itself is in the environment of a real process.
const withAuth = { 'auth.enabled': 'true' }

interface LoggedIn {
  readonly call: Call
  readonly cookie: string
  readonly csrf: string
}

async function startWithAdmin(
  t: Parameters<typeof startAdminWorld>[0],
  flags: Readonly<Record<string, string>> = {},
): Promise<AdminWorld & { readonly asAdmin: LoggedIn }> {
  const started = await startAdminWorld(t, { ...withAuth, ...flags }, undefined, PASSWORD)
  let asAdmin: LoggedIn | undefined
  await until(async () => {
    asAdmin = await logIn(started, 'admin', PASSWORD).catch(() => undefined)
    return asAdmin !== undefined
  })
  if (asAdmin === undefined) throw new Error('no administrator')
  return { ...started, asAdmin }
}

async function logIn({ admin }: AdminWorld, name: string, password: string): Promise<LoggedIn> {
  const answer = await callOf(admin.address)('POST', '/session', { body: { name, password } })
  if (answer.status !== 200) throw new Error(answer.text)
  const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split(';')
  const csrf = answer.as(SessionInfo).csrfToken ?? ''
  return { cookie, csrf, call: callOf(admin.address, { cookie, 'x-csrf-token': csrf }) }
}

void t.test('nobody reads or writes without logging in, and everybody learns how', async (t) => {
  const { call, asAdmin } = await startWithAdmin(t)
  const info = (await call('GET', '/session')).as(SessionInfo)
  t.match(info, { mode: 'authenticated', methods: { password: true } })
  t.notOk(info.me)
  for (const [method, path] of [
    ['GET', '/tables'],
    ['GET', '/me'],
    ['GET', '/events'],
    ['GET', '/users'],
    ['GET', '//config'],
    ['DELETE', '/tables/a'],
  ] as const)
    t.equal((await call(method, path)).code, '401 not-logged-in', path)
  const wrong = await call('POST', '/session', { body: { name: 'admin', password: 'x' } })
  const unknown = await call('POST', '/session', { body: { name: 'nobody', password: 'x' } })
  t.same([wrong.code, unknown.code], ['401 bad-credentials', '401 bad-credentials'])
  t.equal(wrong.problem.detail, unknown.problem.detail, 'whether there is such a user is not told')
  t.match((await asAdmin.call('GET', '/me')).json, { name: 'admin', via: 'local' })
})

void t.test('a cookie is out of reach of scripts and other pages', async (t) => {
  const { admin, asAdmin, call } = await startWithAdmin(t)
  const answer = await call('POST', '/session', { body: { name: 'admin', password: PASSWORD } })
  t.match(answer.headers.get('set-cookie'), /HttpOnly/)
  t.match(answer.headers.get('set-cookie'), /SameSite=Strict/)
  t.notMatch(answer.headers.get('set-cookie'), /Secure/, 'plain HTTP')
  const behindTls = await call('POST', '/session', {
    body: { name: 'admin', password: PASSWORD },
    headers: { 'x-forwarded-proto': 'https' },
  })
  t.match(behindTls.headers.get('set-cookie'), /Secure/)
  const without = callOf(admin.address, { cookie: asAdmin.cookie })
  const put = (by: Call, headers = {}): Promise<string> =>
    by('PUT', '/clusters/c', { body: { metas: ['h:1'] }, headers: { ...create, ...headers } }).then(
      (refused) => refused.code,
    )
  t.equal(await put(without), '403 csrf-token')
  t.equal(await put(asAdmin.call, { origin: 'http://evil.example' }), '403 csrf-token')
  t.equal(await put(asAdmin.call, { origin: `http://${admin.address}` }), '200')
  t.equal((await asAdmin.call('DELETE', '/session')).status, 204)
  t.equal((await asAdmin.call('GET', '/me')).code, '401 not-logged-in', 'logged out at the server')
})

void t.test('who guesses passwords has to wait', async (t) => {
  const { call } = await startWithAdmin(t)
  const codes: string[] = []
  for (let index = 0; index < 7; index++)
    codes.push((await call('POST', '/session', { body: { name: 'x', password: 'y' } })).code)
  t.equal(codes[0], '401 bad-credentials')
  t.equal(codes[6], '429 too-many-requests')
})

void t.test('X-5: roles and scopes, call by call', async (t) => {
  const world = await startWithAdmin(t)
  const { asAdmin } = world
  const tokenFor = async (name: string, grants: readonly Grant[]): Promise<Call> => {
    const made = (await asAdmin.call('POST', '/tokens', { body: { name, grants } })).as(NewToken)
    return callOf(world.admin.address, { authorization: `Bearer ${made.secret}` })
  }
  const callers: Readonly<Record<string, Call>> = {
    nothing: await tokenFor('nothing', []),
    viewer: await tokenFor('viewer', [{ role: 'viewer' }]),
    editor: await tokenFor('editor', [{ role: 'editor' }]),
    'editor of pay*': await tokenFor('editor of pay*', [{ role: 'editor', cluster: 'pay*' }]),
    'editor of group g': await tokenFor('editor of group g', [{ role: 'editor', group: 'g' }]),
    operator: await tokenFor('operator', [{ role: 'operator' }]),
    admin: await tokenFor('admin', [{ role: 'admin' }]),
  }
  const edit = (cluster: string, group?: string): object => ({
    cluster,
    metas: ['h:1'],
    ...(group === undefined ? {} : { group }),
  })
  const calls: Readonly<Record<string, (call: Call, caller: string) => Promise<string>>> = {
    read: async (call) => (await call('GET', '/tables')).code,
    'edit pay-1': async (call, caller) =>
      (
        await call('PUT', `/tables/${encodeURIComponent(`p ${caller}`)}`, {
          body: edit('pay-1'),
          headers: create,
        })
      ).code,
    'edit other': async (call, caller) =>
      (
        await call('PUT', `/tables/${encodeURIComponent(`o ${caller}`)}`, {
          body: edit('other'),
          headers: create,
        })
      ).code,
    'edit in g': async (call, caller) =>
      (
        await call('PUT', `/tables/${encodeURIComponent(`g ${caller}`)}`, {
          body: edit('other', 'g'),
          headers: create,
        })
      ).code,
    'register cluster': async (call, caller) =>
      (
        await call('PUT', `/clusters/${encodeURIComponent(`c-${caller.replaceAll(/\W/g, '')}`)}`, {
          body: { metas: ['h:1'] },
          headers: create,
        })
      ).code,
    users: async (call) => (await call('GET', '/users')).code,
    drain: async (call) => (await call('POST', '/gateways/nobody:drain')).code,
  }
  const none = '404 not-found'
  const no = '403 forbidden'
  const expected: Readonly<Record<string, readonly string[]>> = {
    //                    read   pay-1  other  in g   cluster users  drain
    nothing: [no, no, no, no, no, no, no],
    viewer: ['200', no, no, no, no, no, no],
    editor: ['200', '201', '201', '201', no, no, no],
    'editor of pay*': ['200', '201', no, no, no, no, no],
    'editor of group g': ['200', no, no, '201', no, no, no],
    operator: ['200', '201', '201', '201', '200', no, none],
    admin: ['200', no, no, no, '200', '200', none],
  }
  for (const [caller, call] of Object.entries(callers)) {
    const found: string[] = []
    for (const act of Object.values(calls)) found.push(await act(call, caller))
    t.same(found, expected[caller], caller)
  }
  const moved = await callers['editor of pay*']?.('PATCH', '/tables/p%20editor', {
    body: { cluster: 'other', metas: ['h:2'] },
    headers: { 'if-match': '*' },
  })
  t.equal(moved?.code, no, 'the right is needed where it goes, too')
  t.match(moved?.problem.missing, { right: 'tables.edit', cluster: 'other' })
  t.match(moved?.problem.detail, /editor on clusters pay\*/)
})

void t.test('a token is shown once, kept as a hash, and ends', async (t) => {
  const { admin, asAdmin, world } = await startWithAdmin(t)
  const made = (
    await asAdmin.call('POST', '/tokens', { body: { name: 'ci', grants: [{ role: 'viewer' }] } })
  ).as(NewToken)
  const call = callOf(admin.address, { authorization: `Bearer ${made.secret}` })
  t.match((await call('GET', '/me')).json, { name: 'admin/ci', via: 'token' })
  const listed = (await asAdmin.call('GET', '/tokens')).as(TokenList)
  t.equal(listed.tokens.length, 1)
  const path = `/metaproxy/tables.gateway/tokens/${made.token.id}`
  const stored = (await world.editor.get(path)).data.toString()
  t.notMatch(stored, made.secret.slice(16), 'only its hash is kept')
  const audit = (await asAdmin.call('GET', '/audit?kind=token')).as(AuditList)
  t.notMatch(JSON.stringify(audit), /secret/, 'not in the audit either')
  const forged = `${made.secret.slice(0, -1)}${made.secret.endsWith('A') ? 'B' : 'A'}`
  t.equal(
    (await callOf(admin.address, { authorization: `Bearer ${forged}` })('GET', '/me')).code,
    '401 bad-credentials',
  )
  t.equal(made.token.lastUsedAt, undefined)
  const uses = `/metaproxy/tables.gateway/token-uses/${made.token.id}`
  await until(async () => (await world.editor.exists(uses)) !== undefined)
  const lastUse = async (): Promise<string> =>
    (await asAdmin.call('GET', '/tokens')).as(TokenList).tokens[0]?.lastUsedAt ?? ''
  await until(async () => (await lastUse()) !== '')
  t.ok(Math.abs(Date.parse(await lastUse()) - Date.now()) < 60_000)
  for (let n = 0; n < 5; n++) await call('GET', '/me')
  t.equal((await world.editor.exists(uses))?.version, 0, 'written at most once a minute')
  const used = (await asAdmin.call('GET', '/audit?kind=token')).as(AuditList)
  t.equal(used.entries.length, audit.entries.length, 'and in no audit')
  t.equal((await asAdmin.call('DELETE', `/tokens/${made.token.id}`)).status, 204)
  await until(async () => (await world.editor.exists(uses)) === undefined)
  t.equal((await call('GET', '/me')).code, '401 bad-credentials')
})

void t.test('users: made, shut out at once, and never without an administrator', async (t) => {
  const started = await startWithAdmin(t)
  const { asAdmin } = started
  const grants = [{ role: 'viewer' }]
  const anna = await asAdmin.call('PUT', '/users/anna', {
    body: { grants, password: 'a long password' },
    headers: create,
  })
  t.equal(anna.status, 200)
  t.notMatch(anna.text, /scrypt|password/)
  const asAnna = await logIn(started, 'anna', 'a long password')
  t.equal((await asAnna.call('GET', '/tables')).status, 200)
  const changed = await asAnna.call('PUT', '/me/password', {
    body: { old: 'a long password', new: 'another password' },
  })
  t.equal(changed.status, 204)
  t.equal((await asAnna.call('GET', '/me')).status, 200, 'this session stays')
  const now = (await asAdmin.call('GET', '/users/anna')).as(User)
  const body = { grants: [] }
  const headers = { 'if-match': now.etag }
  const dry = await asAdmin.call('PUT', '/users/anna?dry_run=true', { headers, body })
  t.equal(dry.code, '400 bad-request', 'what knows no dry run refuses one')
  t.equal((await asAdmin.call('GET', '/users/anna')).as(User).etag, now.etag)
  const off = await asAdmin.call('PUT', '/users/anna', {
    body: { grants, disabled: true },
    headers: { 'if-match': now.etag },
  })
  t.equal(off.status, 200)
  t.equal((await asAnna.call('GET', '/me')).code, '401 not-logged-in')
  const me = (await asAdmin.call('GET', '/users/admin')).as(User)
  t.equal(
    (await asAdmin.call('DELETE', '/users/admin', { headers: { 'if-match': me.etag } })).code,
    '409 in-use',
  )
  t.match(
    (await asAdmin.call('PUT', '/users/bob', { body: { grants }, headers: create })).problem,
    { errors: [{ field: 'password' }] },
  )
  t.match(
    (
      await asAdmin.call('PUT', '/users/bob', {
        body: { grants, password: 'short' },
        headers: create,
      })
    ).problem,
    { errors: [{ field: 'password' }] },
  )
})

void t.test('a session is known at every gateway, and ends at every gateway', async (t) => {
  const { asAdmin, another } = await startWithAdmin(t)
  const other = await another()
  const there = callOf(other.admin.address, { cookie: asAdmin.cookie })
  await until(async () => (await there('GET', '/me')).status === 200)
  await asAdmin.call('DELETE', '/session')
  await until(async () => (await there('GET', '/me')).status === 401)
  t.pass('ended')
})

/** A provider that logs everybody in as anna, of the groups that it is told. */
async function startProvider(
  redirectUrl: () => string,
): Promise<{ readonly issuer: string; readonly server: Server }> {
  const server = createServer((request, response) => void callback?.(request, response))
  let callback: ReturnType<Provider['callback']> | undefined
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'metaproxy', client_secret: 's', redirect_uris: [redirectUrl()] }],
    claims: { openid: ['sub', 'preferred_username', 'groups'] },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: true } },
    findAccount: async (_context, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, preferred_username: id, groups: ['dba', 'staff'] }),
    }),
    cookies: { keys: ['test'] },
  })
  callback = provider.callback()
  return { issuer, server }
}

/** A browser without scripts: follows redirects, keeps cookies by host, sends the forms it meets. */
async function browse(start: string, fill: Readonly<Record<string, string>>): Promise<string> {
  const jar = new Map<string, Map<string, string>>()
  let url = start
  let form: URLSearchParams | undefined
  for (let hop = 0; hop < 20; hop++) {
    const { host } = new URL(url)
    const cookies = jar.get(host) ?? new Map<string, string>()
    jar.set(host, cookies)
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([key, value]) => `${key}=${value}`).join('; ') },
      ...(form === undefined ? {} : { method: 'POST', body: form }),
    })
    form = undefined
    for (const line of response.headers.getSetCookie()) {
      const [, key = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') cookies.delete(key)
      else cookies.set(key, value)
    }
    const text = await response.text()
    const location = response.headers.get('location')
    if (location !== null) {
      url = new URL(location, url).href
      if (new URL(url).pathname === '/' && cookies.has('metaproxy_session'))
        return `metaproxy_session=${cookies.get('metaproxy_session')}`
      continue
    }
    const [, action] = /<form[^>]*action="([^"]+)"/.exec(text) ?? []
    if (action === undefined) throw new Error(`stuck at ${url}: ${text.slice(0, 500)}`)
    url = new URL(action, url).href
    form = new URLSearchParams(fill)
    for (const [, name = '', value = ''] of text.matchAll(/name="([^"]+)" value="([^"]*)"/g))
      form.set(name, value)
  }
  throw new Error('too many redirects')
}

void t.test('log-in by an identity provider, with roles from its groups', async (t) => {
  let address = ''
  const port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address() as AddressInfo
      probe.close(() => resolve(free))
    })
  })
  address = `127.0.0.1:${port}`
  const redirectUrl = `http://${address}/api/v1/session/oidc/callback`
  const { issuer, server } = await startProvider(() => redirectUrl)
  t.teardown(() => server.close())
  const { admin } = await startWithAdmin(t, {
    'http.port': String(port),
    'auth.oidc.issuer': issuer,
    'auth.oidc.clientId': 'metaproxy',
    'auth.oidc.clientSecret': 's',
    'auth.oidc.redirectUrl': redirectUrl,
    'auth.oidc.roles': 'dba=editor@pay*,boss=admin',
  })
  const cookie = await browse(`http://${admin.address}/api/v1/session/oidc`, {
    login: 'anna',
    password: 'x',
  })
  const me = await callOf(admin.address, { cookie })('GET', '/me')
  t.match(me.json, { name: 'anna', via: 'oidc', grants: [{ role: 'editor', cluster: 'pay*' }] })
  const forged = await callOf(admin.address)('GET', '/session/oidc/callback?code=x&state=y')
  t.equal(forged.code, '401 bad-credentials', 'a log-in that was not begun here')
  t.same(grantsFor('dba', ['dba=viewer']), [{ role: 'viewer' }], 'a single group is a text')
  t.same(grantsFor(undefined, ['undefined=admin']), [])
})
