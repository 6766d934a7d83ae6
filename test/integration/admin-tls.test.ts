/**
 * TLS on the admin port: the API, the page's cookies, events and health over it, renewal of the
 * certificate on SIGHUP without losing a connection, and options that are no use.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, type RequestOptions, request } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { TLSSocket } from 'node:tls'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { adminTlsProblems } from '../../gateway/admin/tls-listener.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { startAdminWorld } from '../support/admin-world.ts'
import { makeAuthority, opensslMissing } from '../support/certificates.ts'
import { startStand } from '../support/gateway-process.ts'
import { until } from '../support/gateway-world.ts'

t.setTimeout(120_000)
const needed = { skip: opensslMissing }

interface TlsAnswer {
  readonly status: number
  readonly cookies: readonly string[]
  readonly text: string
  /** Common name of the certificate shown. */
  readonly shown: string
}

function ask(url: string, options: RequestOptions, body?: unknown): Promise<TlsAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, options, (response) => {
      let text = ''
      const shown = String((response.socket as TLSSocket).getPeerCertificate().subject?.CN ?? '')
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          cookies: response.headers['set-cookie'] ?? [],
          text,
          shown,
        }),
      )
    })
    asked.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
  })
}

void t.test('the API speaks TLS, and its cookies are for TLS only', needed, async (t) => {
  const authority = makeAuthority(t.testdir())
  const { certFile, keyFile } = authority.sign('admin')
  const password = 'a long password'
  const { admin } = await startAdminWorld(
    t,
    { 'http.certFile': certFile, 'http.keyFile': keyFile, 'auth.enabled': 'true' },
    undefined,
    password,
  )
  const agent = new Agent({ ca: readFileSync(authority.certFile) })
  const url = `https://${admin.address}`
  const body = { name: 'admin', password }
  const json = { 'content-type': 'application/json' }
  const logIn = () => ask(`${url}/api/v1/session`, { agent, method: 'POST', headers: json }, body)
  await until(async () => (await logIn()).status === 200)
  const { cookies } = await logIn()
  t.match(cookies[0], /; Secure/)
  t.match(cookies[0], /; HttpOnly/)
  const [cookie = ''] = (cookies[0] ?? '').split(';')
  t.equal((await ask(`${url}/api/v1/tables`, { agent, headers: { cookie } })).status, 200)
  t.equal((await ask(`${url}/api/v1/tables`, { agent })).status, 401)
  t.equal((await ask(`${url}/healthz`, { agent })).status, 200)
  await t.rejects(
    ask(`${url}/healthz`, { agent: new Agent() }),
    'by an authority that nobody knows',
  )
  await t.rejects(fetch(`http://${admin.address}/healthz`), 'no plain HTTP on this port')
  const [host = '', port = ''] = admin.address.split(':')
  const silent = connect(Number(port), host)
  silent.on('error', () => undefined).resume()
  await new Promise((resolve) => silent.once('close', resolve))
  t.pass('who does not begin the handshake is closed')
})

void t.test('SIGHUP shows the new certificate; a broken one changes nothing', needed, async (t) => {
  const folder = t.testdir({ zookeeper: {} })
  const authority = makeAuthority(folder)
  const [first, second] = [authority.sign('first'), authority.sign('second')]
  const live = { certFile: join(folder, 'live.pem'), keyFile: join(folder, 'live.key') }
  const put = (from: typeof first): void => {
    copyFileSync(from.certFile, live.certFile)
    copyFileSync(from.keyFile, live.keyFile)
  }
  put(first)
  const stand = await startStand(folder)
  t.teardown(() => stand.close())
  const http = { host: '127.0.0.1', port: stand.http, ...live }
  stand.configure({ http })
  const gateway = stand.start()
  const ca = readFileSync(authority.certFile)
  const url = `https://127.0.0.1:${stand.http}/readyz`
  const agentOf = (keepAlive: boolean) => new Agent({ ca, keepAlive, maxCachedSessions: 0 })
  const shown = async (): Promise<string> =>
    (await ask(url, { agent: agentOf(false) }).catch(() => undefined))?.shown ?? ''
  await until(async () => (await shown()) === 'first')
  const kept = agentOf(true)
  t.teardown(() => kept.destroy())
  t.equal((await ask(url, { agent: kept })).shown, 'first')

  const reloads = (): number => gateway.output().split('"event":"reloaded"').length - 1
  const hangUp = async (): Promise<void> => {
    const before = reloads()
    gateway.child.kill('SIGHUP')
    await until(() => reloads() > before)
  }
  writeFileSync(live.certFile, 'no certificate')
  await hangUp()
  t.equal(await shown(), 'first', 'the last good one stays')
  t.match(gateway.output(), /TLS certificate not renewed/)
  put(second)
  await hangUp()
  t.equal(await shown(), 'second')
  t.equal((await ask(url, { agent: kept })).shown, 'first', 'connections of before live on')
})

void t.test('options and files that are no use', needed, async (t) => {
  const folder = t.testdir({ 'bad.pem': 'nothing' })
  const { keyFile } = makeAuthority(folder).sign('admin')
  const bad = join(folder, 'bad.pem')
  await t.rejects(
    startAdminWorld(t, { 'http.certFile': bad, 'http.keyFile': keyFile }),
    /TLS certificate or key/,
  )
  await t.rejects(
    startAdminWorld(t, { 'http.certFile': join(folder, 'absent'), 'http.keyFile': keyFile }),
    /absent/,
  )
  const loaded = loadConfig(gatewayConfig, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: { 'zookeeper.servers': 'a:1', 'http.keyFile': keyFile },
  })
  t.ok(loaded.ok)
  if (loaded.ok) t.match(adminTlsProblems(loaded.config.http), [/give both or neither/])
})
