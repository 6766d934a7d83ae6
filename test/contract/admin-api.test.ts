/**
 * The admin API on every ZooKeeper that it may meet (gateway.md 14): what it promises rests on
 * transactions, versions and watches, so it is tried on the embedded server and on a real one.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { AdminServer } from '../../gateway/admin/server.ts'
import { Approval, ApprovalDetail } from '../../gateway/admin/api/approvals.ts'
import { type AuditEntry, AuditList, AuditVerification } from '../../gateway/admin/api/audit.ts'
import { BatchResult, ChangeSet } from '../../gateway/admin/api/changes.ts'
import { SparseTableList, Table, TableHistory } from '../../gateway/admin/api/tables.ts'
import { type Call, callOf, create, openAdmin } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'
import { PASSWORD, hire, logIn, logInAsAdmin } from '../support/people.ts'
import { startRealZooKeeper, whyNoRealZooKeeper } from '../support/real-zookeeper.ts'

t.setTimeout(240_000)
const runtime = nodeRuntime({ log: silentLog })

interface Server {
  readonly port: number
  readonly restart: () => Promise<void>
  readonly close: () => Promise<void>
}

async function embedded(): Promise<Server> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'admin-api-'))
  const open = (port: number) =>
    startEmbeddedZooKeeper(runtime, { host: '127.0.0.1', port, dataDirectory })
  let server = await open(0)
  const { port } = server
  return {
    port,
    restart: async () => {
      await server.close()
      server = await open(port)
    },
    close: async () => {
      await server.close()
      rmSync(dataDirectory, { recursive: true, force: true })
    },
  }
}

interface World {
  readonly server: Server
  /** Another tool. */
  readonly stranger: Coordinator
  /** The control session of each gateway. */
  readonly coordinators: readonly Coordinator[]
  readonly gateways: readonly { readonly admin: AdminServer; readonly call: Call }[]
  readonly call: Call
}

/** Two gateways with a control session each. */
async function startWorld(t: Test, start: () => Promise<Server>): Promise<World> {
  const server = await start()
  const connect = (user?: string): Coordinator =>
    connectZooKeeper(runtime, {
      servers: `127.0.0.1:${server.port}`,
      sessionTimeoutMs: 10_000,
      onExpiry: 'renew',
      ...(user === undefined
        ? {}
        : { auth: { user, password: 'p' }, access: 'open', readers: 'anyone' }),
    })
  const stranger = connect()
  await stranger.create('/metaproxy', Buffer.alloc(0))
  await stranger.create(root, Buffer.alloc(0))
  const coordinators = [connect('writer'), connect('writer')]
  const admins: AdminServer[] = []
  for (const coordinator of coordinators) admins.push(await openAdmin(runtime, coordinator))
  t.teardown(async () => {
    await Promise.all(admins.map((admin) => admin.close()))
    await Promise.all([stranger, ...coordinators].map((coordinator) => coordinator.close()))
    await server.close()
  })
  await until(() => admins.some(({ services }) => services.observer.isHolder))
  const gateways = admins.map((admin) => ({ admin, call: callOf(admin.address) }))
  const [first] = gateways
  if (first === undefined) throw new Error('no gateway')
  return { server, stranger, coordinators, gateways, call: first.call }
}

const edit = { cluster: 'c1', metas: ['127.0.0.1:1'] }
const mapping = (note: string): Buffer =>
  Buffer.from(JSON.stringify({ cluster: 'foreign', 'meta-addrs': ['h:1'], note }))

async function history(call: Call, name: string): Promise<TableHistory['entries']> {
  return (await call('GET', `/tables/${name}/history`)).as(TableHistory).entries
}

async function claims(t: Test, start: () => Promise<Server>): Promise<void> {
  const world = await startWorld(t, start)
  const { stranger, gateways, call } = world
  const [, second] = gateways
  const other = second?.call ?? call
  const quiet = (): boolean => gateways.every(({ admin }) => admin.services.observer.waiting === 0)

  await t.test('of two edits of one version one wins, and the other is told by whom', async (t) => {
    const made = await call('PUT', '/tables/a', { body: edit, headers: create })
    t.equal(made.status, 201)
    const edits = await Promise.all(
      [call, other].map((by, index) =>
        by('PATCH', '/tables/a', {
          body: { note: `gateway ${index}` },
          headers: { 'if-match': made.etag },
        }),
      ),
    )
    t.same(new Set(edits.map(({ status }) => status)), new Set([200, 412]))
    const refused = edits.find(({ status }) => status === 412)
    t.match(refused?.problem, {
      code: 'changed-meanwhile',
      changedBy: { actor: 'loopback', source: 'api' },
    })
    const winner = edits.find(({ status }) => status === 200)
    for (const by of [call, other])
      await until(async () => (await by('GET', '/tables/a')).etag === winner?.etag)
    t.match((await call('GET', '/tables/a')).as(Table).changedBy, { actor: 'loopback' })
  })

  await t.test('every version is kept, and can be gone back to', async (t) => {
    const before = await history(call, 'a')
    t.equal(before.length, 2)
    const [, first] = before
    const current = await call('GET', '/tables/a')
    const back = await other('POST', '/tables/a:revert', {
      body: { to: first?.id },
      headers: { 'if-match': current.etag },
    })
    t.equal(back.status, 200)
    t.notOk('note' in back.as(Table))
    t.match((await history(other, 'a'))[0], { action: 'revert', after: first?.after })
  })

  await t.test('a batch is all or nothing', async (t) => {
    const changes = ['b', 'c'].map((name) => ({ action: 'create', name, edit }))
    const more = [...changes, { action: 'create', name: 'a', edit }]
    const refused = await call('POST', '/tables:batch', { body: { atomic: true, changes: more } })
    t.equal(refused.as(BatchResult).done, 0)
    t.equal(await stranger.exists(`${root}/b`), undefined)
    const made = await call('POST', '/tables:batch', { body: { atomic: true, changes } })
    t.equal(made.as(BatchResult).done, 2)
    const stats = await Promise.all(['b', 'c'].map((name) => stranger.exists(`${root}/${name}`)))
    t.equal(stats[0]?.createdZxid, stats[1]?.createdZxid, 'one transaction')
  })

  await t.test('an import of a thousand tables is previewed here and applied there', async (t) => {
    const tables = Array.from({ length: 1000 }, (_, index) => ({
      name: `imported-${index}`,
      cluster: 'c2',
      metas: ['h:1', 'h:2'],
    }))
    const text = JSON.stringify({ tables })
    const imported = await call('POST', '/tables:import', { body: { format: 'json', text } })
    const { counts, token } = imported.as(ChangeSet)
    t.match(counts, { create: 1000, invalid: 0 })
    await stranger.create(`${root}/imported-7`, mapping('first'))
    const applied = await other('POST', '/tables:apply', { body: { token } })
    t.match(applied.json, { done: 999, skipped: 1, failed: 0 })
    t.equal((await call('POST', '/tables:apply', { body: { token } })).code, '410 preview-expired')
    const total = async () =>
      (await call('GET', '/tables?limit=1&q=imported')).as(SparseTableList).total
    await until(async () => (await total()) === 1000)
  })

  await t.test('H-4: what another tool does is told as external, by every gateway', async (t) => {
    await stranger.set(`${root}/a`, mapping('by hand'))
    await until(async () => (await history(call, 'a')).length === 4)
    t.match((await history(call, 'a'))[0], {
      source: 'external',
      after: String(mapping('by hand')),
    })
    const refused = await call('PUT', '/tables/a', { body: edit, headers: { 'if-match': '"1.1"' } })
    t.match(refused.problem.changedBy, { source: 'external' })
    await stranger.remove(`${root}/a`)
    await until(async () => (await history(call, 'a')).length === 5)
    t.match((await history(call, 'a'))[0], { source: 'external', action: 'delete', after: null })
    for (const { admin } of gateways) {
      const told = (admin.services.events.after(0, 100_000) ?? []).filter(
        ({ topic, json }) => topic === 'tables' && json.includes('"name":"a"'),
      )
      t.match(JSON.parse(told.at(-1)?.json ?? '{}'), { type: 'deleted', source: 'external' })
    }
  })

  await t.test('H-4: a storm of another tool is recorded whole', async (t) => {
    const names = Array.from({ length: 150 }, (_, index) => `imported-${index}`)
    for (let round = 1; round <= 6; round++)
      await Promise.all(names.map((name) => stranger.set(`${root}/${name}`, mapping(`r${round}`))))
    const isSeen = ({ admin }: (typeof gateways)[number]): boolean =>
      names.every((name) => admin.services.mirror.get(name)?.table.note === 'r6')
    await until(() => gateways.every(isSeen) && quiet())
    for (const name of names.slice(0, 10)) {
      const versions = (await history(call, name)).reduce(
        (sum, { versions: count = 1 }) => sum + count,
        0,
      )
      t.equal(versions, 7, `${name}: its creation and six changes`)
    }
  })

  await t.test('who held the lease goes, and the other one records', async (t) => {
    const holder = gateways.find(({ admin }) => admin.services.observer.isHolder)
    const heir = gateways.find((one) => one !== holder)
    await stranger.remove(`${root}.gateway/locks/observer`)
    holder?.admin.services.observer.close()
    await until(() => heir?.admin.services.observer.isHolder === true)
    await stranger.set(`${root}/b`, mapping('for the heir'))
    await until(async () => (await history(call, 'b')).length === 2)
    t.match((await history(call, 'b'))[0], { source: 'external' })
  })

  await t.test(
    'an outage: lists go on, changes are refused, then everything goes on',
    async (t) => {
      const before = (await call('GET', '/tables?limit=1')).as(SparseTableList).total
      await world.server.restart()
      await until(async () => {
        const { status } = await call('PATCH', '/tables/c', {
          body: { note: 'after' },
          headers: { 'if-match': '*' },
        })
        t.ok(status === 200 || status === 503, `status ${status}`)
        return status === 200
      })
      t.equal((await call('GET', '/tables?limit=1')).as(SparseTableList).total, before)
      await until(async () => (await other('GET', '/tables/c')).as(Table).note === 'after')
      t.match((await history(call, 'c'))[0], { actor: 'loopback', source: 'api' })
    },
  )

  await t.test('X-5: what needs a second person is asked here and approved there', async (t) => {
    const flags = { 'auth.enabled': 'true', 'approval.bulkAbove': '50' }
    const guarded = await Promise.all(
      world.coordinators.map((coordinator) => openAdmin(runtime, coordinator, flags, PASSWORD)),
    )
    t.teardown(() => Promise.all(guarded.map((admin) => admin.close())))
    const [here = '', there = ''] = guarded.map(({ address }) => address)
    const asAdmin = await logInAsAdmin(here)
    const asAnna = await hire(asAdmin, here, 'anna', [{ role: 'editor' }])
    await hire(asAdmin, here, 'ben', [{ role: 'editor' }])
    const body = { select: { filter: { q: 'imported' } }, patch: { group: 'pay' } }
    const set = (await asAnna('POST', '/tables:preview', { body })).as(ChangeSet)
    t.match(set, { needsApproval: true, counts: { change: 1000 } })
    const asked = await asAnna('POST', '/tables:apply', { body: { token: set.token } })
    t.equal(asked.status, 202, asked.text)
    const { id } = asked.as(Approval)
    await stranger.set(`${root}/imported-500`, mapping('meanwhile'))
    t.equal((await asAnna('POST', `/approvals/${id}:approve`)).code, '403 forbidden')
    let asBen: Call | undefined
    await until(async () => {
      asBen = await logIn(there, 'ben').catch(() => undefined)
      return asBen !== undefined
    })
    const approved = await asBen?.('POST', `/approvals/${id}:approve`)
    const { state, progress, items } = approved?.as(ApprovalDetail) ?? {}
    t.match({ state, progress }, { state: 'applied', progress: { done: 999, skipped: 1 } })
    t.match(
      items?.filter(({ status }) => status !== 'done'),
      [{ name: 'imported-500', status: 'skipped' }],
    )
    t.match((await history(call, 'imported-1'))[0], { actor: 'anna', approvedBy: 'ben' })
    const again = await asBen?.('POST', `/approvals/${id}:approve`)
    t.equal(again?.code, '412 changed-meanwhile')
  })

  await t.test('the audit has all of it, and its chain holds', async (t) => {
    await until(quiet)
    const verified = (await other('GET', '/audit:verify')).as(AuditVerification)
    t.equal(verified.ok, true, verified.problem?.message ?? '')
    t.equal(verified.checked, verified.head.seq)
    const entries: AuditEntry[] = []
    let cursor = ''
    do {
      const query = `limit=500&kind=table&name=a${cursor}`
      const page = (await call('GET', `/audit?${query}`)).as(AuditList)
      entries.push(...page.entries)
      cursor = page.cursor === undefined ? '' : `&cursor=${page.cursor}`
    } while (cursor !== '')
    t.same(
      entries.map(({ action, source }) => [action, source]),
      [
        ['delete', 'external'],
        ['change', 'external'],
        ['revert', 'api'],
        ['change', 'api'],
        ['create', 'api'],
      ],
    )
  })
}

void t.test('embedded ZooKeeper', (t) => claims(t, embedded))
const reason = whyNoRealZooKeeper()
if (reason === undefined) void t.test('real ZooKeeper', (t) => claims(t, startRealZooKeeper))
else void t.test('real ZooKeeper', { skip: reason }, () => undefined)
