/**
 * Tables created through the built gateway (gateway.md 6, `rpcPolicy.defaultCluster`), as one process and
 * with workers, which ask their primary for the mapping; what the admin API tells of it; a silent
 * ZooKeeper; a second root; a configuration in which nothing could be created.
 */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { AuditList } from '../../gateway/admin/api/audit.ts'
import type { Table, TableHistory } from '../../gateway/admin/api/tables.ts'
import {
  type CreatingMeta,
  createFrame,
  createdIn,
  historyOf,
  lastAudit,
  startCreatingMeta,
} from '../support/creating-meta.ts'
import { type GatewayStand, runCommand, startStand } from '../support/gateway-process.ts'
import { FrameClient, root, until } from '../support/gateway-world.ts'
import { freePort } from '../support/ports.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { answerIn } from '../support/zookeeper-world.ts'

// A process takes a second to start, more when the machine is busy.
t.setTimeout(180_000)

const control = `${root}.gateway`
const CREATE = Rpc.CREATE_APP.name
/** A busy machine is not what is tested. */
const patient = { requestTimeoutMs: 60_000, routing: { lookupTimeoutMs: 10_000 } }

interface World {
  readonly stand: GatewayStand
  readonly cluster: CreatingMeta
}

async function world(t: Test, options: Readonly<Record<string, unknown>>): Promise<World> {
  const stand = await startStand(t.testdir(), {
    ...patient,
    rpcPolicy: { allow: [CREATE], defaultCluster: 'c1' },
    ...options,
  })
  const cluster = await startCreatingMeta(100)
  t.teardown(async () => {
    await stand.close()
    await cluster.meta.close()
  })
  return { stand, cluster }
}

/** As an operator does. */
async function register(http: number, name: string, metas: readonly string[]): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${http}/api/v1/clusters/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-none-match': '*', connection: 'close' },
    body: JSON.stringify({ metas }),
  })
  await response.text()
  return response.status
}

async function dial(t: Test, port: number): Promise<FrameClient> {
  const client = await FrameClient.dial(port)
  t.teardown(() => client.destroy())
  return client
}

async function create(client: FrameClient, table: string, timeoutMs = 0): Promise<string> {
  const count = client.replies.length + 1
  client.send(createFrame(table, { timeoutMs }))
  const reply = (await client.received(count))[count - 1]
  return reply === undefined ? 'nothing' : createdIn(reply)
}

for (const workers of [1, 2])
  void t.test(`created, mapped and served by all of ${workers} process(es)`, async (t) => {
    const { stand, cluster } = await world(t, { workers })
    const gateway = stand.start()
    const degraded = 'degraded: rpcPolicy.defaultCluster c1 is not in the registry'
    await until(async () => (await stand.page('/readyz')).text === degraded)
    t.equal((await stand.page('/readyz')).status, 200)
    const clients = await Promise.all(Array.from({ length: 8 }, () => dial(t, stand.rpc)))
    const [first] = clients
    if (first === undefined) throw new Error('a client')
    t.equal(await create(first, 'early'), 'ERR_CLUSTER_NOT_FOUND')
    t.equal(cluster.meta.requests.length, 0)
    t.equal(await register(stand.http, 'c1', [cluster.meta.address]), 200)
    await until(stand.isReady)

    const events = await fetch(`http://127.0.0.1:${stand.http}/api/v1/events`)
    const reader = events.body?.getReader()
    const queryAll = (table: string): Promise<readonly (number | string)[]> =>
      Promise.all(clients.map(async (client) => answerIn(await client.query(table))))
    for (let round = 0; round < 10; round++) {
      const table = `t${round}`
      t.same(new Set(await queryAll(table)), new Set(['ERR_OBJECT_NOT_FOUND']))
      const creator = clients[round % clients.length] ?? first
      t.equal(await create(creator, table), `ERR_OK ${100 + round}`)
      t.same(new Set(await queryAll(table)), new Set([100 + round]), 'every process serves it')
    }

    const api = async <T>(path: string): Promise<T> =>
      JSON.parse((await stand.page(`/api/v1${path}`)).text) as T
    await until(async () => (await stand.page('/api/v1/tables/t9')).status === 200)
    const table = await api<Table>('/tables/t9')
    const actor = /^rpc:127\.0\.0\.1:\d+$/
    t.match(table, { cluster: 'c1', metas: [cluster.meta.address], changedBy: { actor } })
    const { entries: versions } = await api<TableHistory>('/tables/t9/history')
    t.match(versions, [{ action: 'create', source: 'rpc', actor, before: null }])
    const { entries } = await api<AuditList>('/audit?source=rpc')
    t.equal(entries.length, 10)
    t.match(entries[0], { kind: 'table', name: 't9', from: '127.0.0.1', reason: /cluster c1$/ })
    t.match(await api('/audit:verify'), { ok: true })
    const decoder = new TextDecoder()
    let told = ''
    const isTold = (): boolean => /"type":"created","name":"t9".*"source":"rpc"/.test(told)
    while (!isTold()) told += decoder.decode((await reader?.read())?.value, { stream: true })
    await reader?.cancel()
    t.equal(await stand.metric(series('relayed')), 10)
    t.equal(await stand.metric(series('no-cluster')), 1)

    const other = await startCreatingMeta(200)
    t.teardown(() => other.meta.close())
    await register(stand.http, 'c2', [other.meta.address])
    stand.configure({ rpcPolicy: { allow: [CREATE], defaultCluster: 'c2' } })
    gateway.child.kill('SIGHUP')
    await until(() => gateway.output().includes('clients of before the reload have gone'))
    const late = await dial(t, stand.rpc)
    t.equal(await create(late, 'late'), 'ERR_OK 200', 'reloaded: on the other cluster')
    t.equal(answerIn(await late.query('late')), 200)
    gateway.child.kill('SIGTERM')
    t.equal((await gateway.ended).code, 0)
  })

function series(result: string): string {
  return `gateway_requests_total{rpc="${CREATE}",result="${result}",header_version="0"}`
}

for (const workers of [1, 2])
  void t.test(`ZooKeeper is silent in between, ${workers} process(es)`, async (t) => {
    const { stand, cluster } = await world(t, { workers })
    const { zookeeper } = JSON.parse(readFileSync(stand.file, 'utf8')) as {
      zookeeper: { servers: string }
    }
    const proxy = await startTcpProxy(() => Number(zookeeper.servers.split(':')[1]))
    t.teardown(() => proxy.close())
    const servers = `127.0.0.1:${proxy.port}`
    stand.configure({ zookeeper: { servers, root, sessionTimeoutMs: 60_000 } })
    const gateway = stand.start()
    await until(async () => (await stand.page('/readyz')).status === 200)
    await register(stand.http, 'c1', [cluster.meta.address])
    const client = await dial(t, stand.rpc)
    t.equal(answerIn(await client.query('new')), 'ERR_OBJECT_NOT_FOUND')
    cluster.onCreated = async () => proxy.cut()
    await until(async () => (await create(client, 'new', 3000)) === 'ERR_TIMEOUT')
    t.ok(cluster.tables.has('new'))
    t.equal(await stand.editor.exists(`${root}/new`), undefined)
    t.match(
      gateway.output(),
      /"level":"warn".*on cluster c1 and not mapped: (ZooKeeper|the primary)/,
    )
    proxy.restore()
    await until(async () => (await create(client, 'new', 2000)) === 'ERR_OK 100')
    t.equal(answerIn(await client.query('new')), 100)
    t.equal((await historyOf(stand.editor, control, 'new')).length, 1, 'mapped once')
  })

void t.test('each root has a registry, a default and an audit of its own', async (t) => {
  const east = '/east/tables'
  const port = await freePort()
  const { stand, cluster } = await world(t, {
    endpoints: [{ host: '127.0.0.1', port, root: east }],
  })
  const { editor } = stand
  const inEast = await startCreatingMeta(200)
  t.teardown(() => inEast.meta.close())
  for (const path of ['/east', east, `${east}.gateway`, `${east}.gateway/clusters`])
    await editor.create(path, Buffer.alloc(0))
  const value = Buffer.from(JSON.stringify({ metas: [inEast.meta.address] }))
  await editor.create(`${east}.gateway/clusters/c1`, value)
  stand.start()
  await until(async () => (await stand.page('/readyz')).status === 200)
  await register(stand.http, 'c1', [cluster.meta.address])
  await until(stand.isReady)
  for (const [at, id, owner] of [
    [stand.rpc, 100, root],
    [port, 200, east],
  ] as const) {
    const client = await dial(t, at)
    t.equal(await create(client, 'same'), `ERR_OK ${id}`)
    t.equal(answerIn(await client.query('same')), id)
    t.match(await lastAudit(editor, `${owner}.gateway`), { name: 'same', source: 'rpc' })
    const [member = ''] = await editor.children(`${owner}.gateway/gateways`)
    t.match(await lastAudit(editor, `${owner}.gateway`), { gateway: member })
  }
})

void t.test('--check-config: a default cluster without CREATE_APP is a mistake', async (t) => {
  const { stand } = await world(t, {
    rpcPolicy: { allow: ['RPC_CM_DROP_APP'], defaultCluster: 'c1' },
  })
  const { code, output } = await runCommand(['gateway', '--config', stand.file, '--check-config'])
    .ended
  t.equal(code, 2)
  t.match(output, /rpcPolicy\.defaultCluster: creates nothing unless rpcPolicy\.allow has RPC_CM_/)
})
