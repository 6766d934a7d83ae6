/**
 * ZooKeeper access (gateway.md X-3) on the embedded and, where there is one, the real ZooKeeper: who
 * reads and writes, what a wrong password looks like, and the report of open nodes.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { AclReport } from '../../gateway/admin/acl-report.ts'
import type { AclPage } from '../../gateway/admin/api/acl.ts'
import { ControlTree } from '../../gateway/admin/control-tree.ts'
import { closeSecretNodes } from '../../gateway/admin/secret-nodes.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { AccessProbe } from '../../gateway/routing/access-probe.ts'
import { connectControl, connectData } from '../../gateway/zookeeper-sessions.ts'
import { until } from '../support/gateway-world.ts'
import { startRealZooKeeper, whyNoRealZooKeeper } from '../support/real-zookeeper.ts'

t.setTimeout(180_000)
const runtime = nodeRuntime({ log: silentLog })
const root = '/gateway/tables'

interface Server {
  readonly port: number
  readonly close: () => Promise<void>
}

async function embedded(): Promise<Server> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'access-'))
  const server = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory,
  })
  return {
    port: server.port,
    close: async () => {
      await server.close()
      rmSync(dataDirectory, { recursive: true, force: true })
    },
  }
}

function sessions(t: Test, port: number, more: Readonly<Record<string, string>>) {
  const loaded = loadConfig(gatewayConfig, {
    environment: { READER: 'r', WRITER: 'w', WRONG: 'x' },
    environmentPrefix: 'METAPROXY',
    flags: {
      'zookeeper.servers': `127.0.0.1:${port}`,
      'zookeeper.root': root,
      'zookeeper.sessionTimeoutMs': '20000',
      ...more,
    },
  })
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
  const data = connectData(runtime, loaded.config)
  const control = connectControl(runtime, loaded.config.zookeeper)
  t.teardown(() => Promise.all([data.close(), control.close()]))
  return { data, control }
}

const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'ok',
    (error: unknown) => (error instanceof CoordinatorError ? error.code : String(error)),
  )

async function allPages(report: AclReport, limit: string): Promise<readonly AclPage[]> {
  const pages = [await report.page({ limit })]
  for (let last = pages[0]; last?.cursor !== undefined; last = pages.at(-1))
    pages.push(await report.page({ limit, cursor: last.cursor }))
  return pages
}

const reader = { 'zookeeper.user': 'reader', 'zookeeper.password': 'env:READER' }
const writer = { 'zookeeper.control.user': 'writer', 'zookeeper.control.password': 'env:WRITER' }

async function claims(t: Test, start: () => Promise<Server>): Promise<void> {
  const server = await start()
  const stranger: Coordinator = connectZooKeeper(runtime, {
    servers: `127.0.0.1:${server.port}`,
    sessionTimeoutMs: 20_000,
    onExpiry: 'renew',
  })
  t.teardown(async () => {
    await stranger.close()
    await server.close()
  })
  await stranger.create('/gateway', Buffer.alloc(0))

  await t.test('X-3: the data session reads what the control session alone writes', async (t) => {
    const { data, control } = sessions(t, server.port, { ...reader, ...writer })
    await control.create(root, Buffer.alloc(0))
    await control.create(`${root}/temp`, Buffer.from('1'))
    t.equal((await data.get(`${root}/temp`)).data.toString(), '1')
    t.equal(await codeOf(data.set(`${root}/temp`, Buffer.from('2'))), 'no-auth')
    t.equal(await codeOf(data.create(`${root}/other`, Buffer.alloc(0))), 'no-auth')
    t.equal(await codeOf(stranger.get(`${root}/temp`)), 'no-auth')
    t.equal(await codeOf(control.set(`${root}/temp`, Buffer.from('2'))), 'ok')
  })

  await t.test('X-3: a wrong password is told in one line, not a hang', async (t) => {
    const wrong = { ...reader, 'zookeeper.password': 'env:WRONG' }
    const { data } = sessions(t, server.port, wrong)
    const logged: string[] = []
    const log = { ...silentLog, error: (message: string) => logged.push(message) }
    const logging = { ...runtime, log: { ...log, child: () => log } }
    const probe = new AccessProbe(logging, data, root)
    t.teardown(() => probe.close())
    await until(() => probe.problem() !== undefined)
    t.match(probe.problem(), /refuses to show \/gateway\/tables: check zookeeper\.user/)
    t.match(logged, [/refuses reads: check user, password/])
    t.equal(data.state(), 'connected')
    t.equal(await codeOf(data.get(`${root}/temp`)), 'no-auth')
    const right = sessions(t, server.port, reader)
    const fine = new AccessProbe(runtime, right.data, root)
    t.teardown(() => fine.close())
    await right.data.get(root)
    t.equal(fine.problem(), undefined)
    const absent = new AccessProbe(runtime, right.data, '/gateway/none')
    t.teardown(() => absent.close())
    await right.data.exists('/gateway/none')
    t.equal(absent.problem(), undefined, 'a root that is not there yet is no refusal')
  })

  await t.test('X-3: users, tokens and sessions are for the control session alone', async (t) => {
    const both = { ...reader, ...writer, 'zookeeper.acl': 'open' }
    const { data, control } = sessions(t, server.port, both)
    const tree = new ControlTree(control, `${root}.secret`)
    // As an older version made them.
    await control.create(tree.root, Buffer.alloc(0))
    await control.create(tree.path('users'), Buffer.alloc(0))
    await control.create(tree.path('users', 'old'), Buffer.from('hash'))
    await tree.ensure()
    await control.create(tree.path('sessions', 'new'), Buffer.from('x'), { secret: true })
    await control.multi([
      { type: 'create', path: tree.path('tokens', 'new'), data: Buffer.from('x'), secret: true },
    ])
    const report = new AclReport(control, { root: `${root}.none`, controlRoot: tree.root })
    const secrets = async () => (await report.page({})).secrets.map(({ path }) => path)
    const old = [tree.path('users'), tree.path('users', 'old')]
    t.same(await secrets(), old)
    t.equal(await codeOf(data.get(tree.path('users', 'old'))), 'ok')
    t.equal(await closeSecretNodes(stranger, tree), 0, 'nobody in particular can close nothing')
    t.equal(await closeSecretNodes(control, tree), 2)
    t.equal(await closeSecretNodes(control, tree), 0)
    t.same(await secrets(), [])
    const paths = [
      ...old,
      tree.path('sessions'),
      tree.path('sessions', 'new'),
      tree.path('tokens', 'new'),
    ]
    for (const path of paths) {
      t.equal(await codeOf(data.get(path)), 'no-auth', path)
      t.equal(await codeOf(stranger.set(path, Buffer.alloc(0))), 'no-auth', path)
      t.equal(await codeOf(control.set(path, Buffer.from('y'))), 'ok', path)
    }
    t.equal(await codeOf(data.children(tree.path('users'))), 'no-auth', 'not even their names')
    await stranger.create('/plain', Buffer.alloc(0), { secret: true })
    t.equal(await codeOf(data.get('/plain')), 'ok', 'without an identity nothing is secret')
    t.equal(await codeOf(stranger.keepSecret('/plain')), 'no-auth')
  })

  await t.test(
    'X-3: acl_report lists the nodes that anybody may change, page by page',
    async (t) => {
      const { control } = sessions(t, server.port, { ...reader, ...writer })
      const control_root = `${root}.gateway`
      await control.create(control_root, Buffer.alloc(0))
      await control.create(`${control_root}/clusters`, Buffer.alloc(0))
      await control.create(`${control_root}/clusters/closed`, Buffer.alloc(0))
      // As the tools of others make them.
      const others = sessions(t, server.port, { ...writer, 'zookeeper.acl': 'open' })
      const names = Array.from({ length: 7 }, (_, n) => `${root}/open-${n}`)
      for (const path of [...names, `${control_root}/clusters/open`])
        await others.control.create(path, Buffer.alloc(0))
      const report = new AclReport(control, { root, controlRoot: control_root })
      const expected = [...names, `${control_root}/clusters/open`]
      for (const limit of ['1', '2', '3', '200']) {
        const pages = await allPages(report, limit)
        t.same(
          pages.flatMap(({ open }) => open.map(({ path }) => path)),
          expected,
          `limit ${limit}`,
        )
        t.equal(
          pages.reduce((sum, { checked }) => sum + checked, 0),
          13,
          'every node once',
        )
        t.ok(pages.every(({ checked }) => checked <= Number(limit)))
      }
      t.match((await report.page({})).open[0], { kind: 'mapping', rights: 'cdrwa' })
      t.match((await report.page({})).open.at(-1), { kind: 'control' })
      const strangers = new AclReport(stranger, { root, controlRoot: control_root })
      t.match(await strangers.page({}), { open: [], hidden: [root, control_root], checked: 2 })
      for (const query of [
        { limit: '0' },
        { limit: '501' },
        { cursor: 'x' },
        { cursor: 'world:/' },
      ])
        await t.rejects(report.page(query), { code: 'bad-request' })
    },
  )
}

void t.test('embedded ZooKeeper', (t) => claims(t, embedded))
const reason = whyNoRealZooKeeper()
if (reason === undefined) void t.test('real ZooKeeper', (t) => claims(t, startRealZooKeeper))
else void t.test('real ZooKeeper', { skip: reason }, () => undefined)
