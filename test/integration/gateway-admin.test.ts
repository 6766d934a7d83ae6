/** The admin port: mapping API with preconditions, problem details, health and metrics. */
import { request as httpRequest } from 'node:http'
import t from 'tap'
import type { Problem } from '../../gateway/admin/api/problem.ts'
import type { Table, TableList } from '../../gateway/admin/api/tables.ts'
import { type AdminServer, startAdmin } from '../../gateway/admin/server.ts'
import { viewTable } from '../../gateway/gateway.ts'
import { healthPages } from '../../gateway/health.ts'
import {
  answerOf,
  type GatewayWorld,
  root,
  startWorld,
  testConfig,
  until,
} from '../support/gateway-world.ts'

// Far above what it takes: machines that build and test at once are slow.
t.setTimeout(120_000)

interface Answer {
  readonly status: number
  readonly etag: string
  readonly type: string
  readonly json: unknown
  readonly text: string
}

interface Started {
  readonly world: GatewayWorld
  readonly admin: AdminServer
  readonly call: (
    method: string,
    path: string,
    options?: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> },
  ) => Promise<Answer>
}

async function start(
  t: { teardown: (end: () => Promise<void>) => unknown },
  sessionTimeoutMs?: number,
): Promise<Started> {
  const world = await startWorld({}, sessionTimeoutMs)
  const { runtime, metrics, gateway, coordinator } = world
  const admin = await startAdmin({
    config: testConfig(),
    runtime,
    coordinator,
    pages: healthPages(gateway, () => metrics.text()),
    effective: () => [],
    tableView: (table) =>
      viewTable(gateway.directory, table, async () => [gateway.describeTable(table, '', true)]),
    answer: (question) => answerOf(gateway, question),
    probed: () => undefined,
    redirects: gateway.directory,
  })
  t.teardown(async () => {
    await admin.close()
    await world.close()
  })
  return {
    world,
    admin,
    call: async (method, path, { body, headers = {} } = {}) => {
      const response = await fetch(`http://${admin.address}${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          connection: 'close',
          ...headers,
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const text = await response.text()
      const type = response.headers.get('content-type') ?? ''
      const json: unknown = type.includes('json') ? JSON.parse(text) : undefined
      return { status: response.status, etag: response.headers.get('etag') ?? '', type, json, text }
    },
  }
}

const tables = '/api/v1/tables'
const edit = { cluster: 'c1', metas: ['127.0.0.1:34601', 'meta.example:34602'] }
const create = { 'if-none-match': '*' }
const codeOf = (answer: Answer): unknown => [answer.status, (answer.json as Problem).code]

void t.test('a mapping is created, read, replaced and deleted under its version', async (t) => {
  const { call, world } = await start(t)
  const created = await call('PUT', `${tables}/temp`, {
    body: { ...edit, note: 'first' },
    headers: create,
  })
  t.equal(created.status, 201)
  t.match(created.json, {
    name: 'temp',
    valid: true,
    cluster: 'c1',
    metas: edit.metas,
    form: 'both',
    note: 'first',
    version: 0,
  })
  t.match(created.etag, /^"\d+\.0"$/)
  const node = async (): Promise<Record<string, unknown>> =>
    JSON.parse((await world.editor.get(`${root}/temp`)).data.toString()) as Record<string, unknown>
  t.same(await node(), {
    cluster: 'c1',
    'meta-addrs': edit.metas,
    cluster_name: 'c1',
    meta_addrs: edit.metas.join(','),
    note: 'first',
  })

  const read = await call('GET', `${tables}/temp`)
  t.same([read.status, read.etag, read.json], [200, created.etag, created.json])

  const replaced = await call('PUT', `${tables}/temp`, {
    body: { ...edit, cluster: 'c2' },
    headers: { 'if-match': created.etag },
  })
  t.equal(replaced.status, 200)
  t.match(replaced.json, { cluster: 'c2', version: 1 })
  t.notOk('note' in (replaced.json as Table), 'an optional key left out is removed')
  t.not(replaced.etag, created.etag)

  t.equal(
    (await call('DELETE', `${tables}/temp`, { headers: { 'if-match': replaced.etag } })).status,
    204,
  )
  t.same(codeOf(await call('GET', `${tables}/temp`)), [404, 'not-found'])
})

void t.test(
  'a change that does not know what is there is refused with what is there',
  async (t) => {
    const { call, world } = await start(t)
    t.same(codeOf(await call('PUT', `${tables}/temp`, { body: edit })), [
      428,
      'precondition-required',
    ])
    t.same(
      codeOf(await call('PUT', `${tables}/temp`, { body: edit, headers: { 'if-match': '"1.0"' } })),
      [404, 'not-found'],
    )
    const first = await call('PUT', `${tables}/temp`, { body: edit, headers: create })
    const again = await call('PUT', `${tables}/temp`, { body: edit, headers: create })
    t.same(codeOf(again), [412, 'exists'])
    t.match((again.json as Problem).current, { name: 'temp' })
    await world.editor.set(
      `${root}/temp`,
      Buffer.from(JSON.stringify({ cluster: 'by hand', 'meta-addrs': ['h:1'], foreign: 7 })),
    )
    for (const method of ['PUT', 'DELETE']) {
      const stale = await call(method, `${tables}/temp`, {
        ...(method === 'PUT' ? { body: edit } : {}),
        headers: { 'if-match': first.etag },
      })
      t.same(codeOf(stale), [412, 'changed-meanwhile'], method)
      t.equal(stale.type, 'application/problem+json')
      t.match((stale.json as Problem).current, { cluster: 'by hand', form: 'rfc' })
    }
    t.same(codeOf(await call('DELETE', `${tables}/temp`)), [428, 'precondition-required'])
    const { etag } = await call('GET', `${tables}/temp`)
    await call('PUT', `${tables}/temp`, { body: edit, headers: { 'if-match': etag } })
    const { data } = await world.editor.get(`${root}/temp`)
    t.same(
      JSON.parse(data.toString()),
      { cluster: 'c1', 'meta-addrs': edit.metas, foreign: 7 },
      'form and foreign keys kept',
    )
  },
)

void t.test('of two edits at once one wins', async (t) => {
  const { call } = await start(t)
  const { etag } = await call('PUT', `${tables}/temp`, { body: edit, headers: create })
  const both = await Promise.all(
    ['x', 'y'].map((cluster) =>
      call('PUT', `${tables}/temp`, { body: { ...edit, cluster }, headers: { 'if-match': etag } }),
    ),
  )
  t.same(
    both.map((answer) => answer.status).toSorted((a, b) => a - b),
    [200, 412],
  )
})

void t.test('problem details name the field at fault', async (t) => {
  const { call } = await start(t)
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['no cluster', { metas: ['a:1'] }, 'cluster'],
    ['no metas', { cluster: 'c' }, 'metas'],
    ['an empty list', { cluster: 'c', metas: [] }, 'metas'],
    ['a number', { cluster: 'c', metas: [1] }, 'metas.0'],
    ['no port', { cluster: 'c', metas: ['a:1', 'nonsense'] }, 'metas.1'],
    ['a port too high', { cluster: 'c', metas: ['a:65536'] }, 'metas.0'],
    ['no port at all', { cluster: 'c', metas: ['a:00000'] }, 'metas.0'],
    ['an address out of range', { cluster: 'c', metas: ['300.0.0.1:1'] }, 'metas'],
    [
      'too many',
      { cluster: 'c', metas: Array.from({ length: 33 }, (_, index) => `h${index}:1`) },
      'metas',
    ],
    ['an unknown key', { ...edit, clutser: 'c' }, 'clutser'],
    ['a blank cluster', { ...edit, cluster: '  ' }, 'cluster'],
    ['a staleness policy', { ...edit, stale: 'sometimes' }, 'stale'],
  ]
  for (const [what, body, field] of cases) {
    const answer = await call('PUT', `${tables}/temp`, { body, headers: create })
    t.same(codeOf(answer), [400, 'bad-request'], what)
    t.ok(
      (answer.json as Problem).errors?.some((error) => error.field === field),
      `${what}: ${answer.text}`,
    )
  }
  t.same(codeOf(await call('PUT', `${tables}/temp`, { body: '{"cluster":', headers: create })), [
    400,
    'bad-request',
  ])
  t.same(
    codeOf(
      await call('PUT', `${tables}/temp`, {
        body: JSON.stringify({ note: 'x'.repeat(300_000) }),
        headers: create,
      }),
    ),
    [413, 'too-large'],
  )
  for (const name of ['a%2Fb', '..%2Fb', 'a%00', 'x'.repeat(256)])
    t.same(codeOf(await call('GET', `${tables}/${name}`)), [400, 'bad-request'], name.slice(0, 9))
  t.same(codeOf(await call('GET', '/api/v2/nothing')), [404, 'not-found'])
  t.same(codeOf(await call('GET', `${tables}?limit=x`)), [400, 'bad-request'])
})

void t.test(
  'what is wrong is told whole: every field of every part, and how it should be',
  async (t) => {
    const { call } = await start(t)
    const told = async (method: string, path: string, body: unknown): Promise<Problem> => {
      const answer = await call(method, path, { body, headers: create })
      t.equal(answer.status, 400, answer.text)
      return answer.json as Problem
    }
    const fieldsOf = ({ errors = [] }: Problem): readonly string[] =>
      errors.map(({ field }) => field)
    const group = await told('PUT', '/api/v1/groups/g', { members: ['a/b', 'c', ''], patterns: [] })
    t.same(fieldsOf(group), ['members.0', 'members.2'])
    const long = await told('PUT', '/api/v1/groups/g', {
      members: ['表'.repeat(86), '表'.repeat(90)],
      patterns: [],
    })
    t.same(fieldsOf(long), ['members.0', 'members.1'])
    const cluster = await told('PUT', '/api/v1/clusters/c', { metas: ['1.2.3.400:1'], peer: 'c' })
    t.same(fieldsOf(cluster), ['metas', 'peer'])
    const changes = ['fine', 'a/b', 'c\u0000', '..', '...'].map((name) => ({
      action: 'delete',
      name,
    }))
    const batch = await told('POST', `${tables}:batch`, { atomic: false, changes })
    t.same(fieldsOf(batch), ['changes.1.name', 'changes.2.name', 'changes.3.name'])
    const json = await told('PUT', `${tables}/x`, '{\n  "cluster": oops\n}')
    t.match(json.detail, /^the body is not JSON: .*o/)
    t.match((await told('PUT', `${tables}/x`, '')).detail, /the body is empty/)
    const text = await call('PUT', `${tables}/x`, {
      body: 'cluster=c',
      headers: { ...create, 'content-type': 'text/plain' },
    })
    t.same(codeOf(text), [415, 'unsupported-media-type'])
    t.match((text.json as Problem).detail, /application\/json/)
    const address = await call('GET', `${tables}/%E8%A1`)
    t.equal(address.type, 'application/problem+json')
    t.same(codeOf(address), [400, 'bad-request'])
  },
)

void t.test('a frozen table is not changed until it is thawed', async (t) => {
  const { call } = await start(t)
  const { etag } = await call('PUT', `${tables}/temp`, {
    body: { ...edit, frozen: true },
    headers: create,
  })
  const headers = { 'if-match': etag }
  t.same(codeOf(await call('PUT', `${tables}/temp`, { body: edit, headers })), [409, 'frozen'])
  t.same(codeOf(await call('DELETE', `${tables}/temp`, { headers })), [409, 'frozen'])
  t.equal(
    (await call('PUT', `${tables}/temp`, { body: { ...edit, frozen: false }, headers })).status,
    200,
  )
})

void t.test('the list: pages, parts of names, clusters and invalid nodes', async (t) => {
  const { call, world } = await start(t)
  for (let index = 0; index < 25; index++)
    await world.map(`t${String(index).padStart(2, '0')}`, ['h:1'], index % 2 === 0 ? 'even' : 'odd')
  await world.editor.create(`${root}/broken`, Buffer.from('nothing'))
  const all = async (): Promise<TableList> => (await call('GET', tables)).json as TableList
  await until(async () => (await all()).total === 26)
  const names: string[] = []
  let cursor: string | undefined
  do {
    const page = (
      await call('GET', `${tables}?limit=7${cursor === undefined ? '' : `&cursor=${cursor}`}`)
    ).json as TableList
    t.equal(page.total, 26)
    names.push(...page.tables.map((table) => table.name))
    cursor = page.cursor
  } while (cursor !== undefined)
  t.same(names, [
    'broken',
    ...Array.from({ length: 25 }, (_, index) => `t${String(index).padStart(2, '0')}`),
  ])
  const list = async (query: string): Promise<string[]> =>
    ((await call('GET', `${tables}?${query}`)).json as TableList).tables.map((table) => table.name)
  t.same(await list('q=t1&cluster=odd'), ['t11', 't13', 't15', 't17', 't19'])
  t.same(await list('invalid=true'), ['broken'])
  t.match((await call('GET', `${tables}/broken`)).json, {
    valid: false,
    problem: { field: '' },
  })
  t.same(await list('q=nothing-like-it'), [])
})

void t.test('the parent of the mapping nodes is made when it is missing', async (t) => {
  const { call, world } = await start(t)
  await world.editor.remove(root)
  t.match((await call('GET', tables)).json, { tables: [], total: 0 })
  t.equal((await call('PUT', `${tables}/temp`, { body: edit, headers: create })).status, 201)
})

void t.test(
  'without the coordination the API says so, and health tells it from being unready',
  async (t) => {
    const { call, world } = await start(t, 1500)
    await until(() => world.gateway.unreadyReason() === undefined)
    t.same(
      [(await call('GET', '/healthz')).status, (await call('GET', '/readyz')).text],
      [200, 'ready\n'],
    )
    world.memory.freeze()
    await until(() => world.coordinator.state() !== 'connected')
    t.same(codeOf(await call('GET', `${tables}/temp`)), [503, 'zookeeper-unavailable'])
    const ready = await call('GET', '/readyz')
    t.equal(ready.status, 200)
    t.match(ready.text, /^degraded: ZooKeeper/)
    world.memory.thaw()
    await until(async () => (await call('GET', '/readyz')).text === 'ready\n')
    await world.gateway.close()
    t.same(
      [(await call('GET', '/readyz')).status, (await call('GET', '/healthz')).status],
      [503, 200],
      'draining',
    )
  },
)

void t.test('the metrics keep the names of the Go proxy', async (t) => {
  const { call, world } = await start(t)
  await world.map('temp', ['127.0.0.1:1'])
  const client = await world.client()
  await client.query('temp')
  await client.query('nobody')
  const { text, type } = await call('GET', '/metrics')
  t.match(type, /^text\/plain/)
  t.match(text, /^client_connection_count 1$/m)
  t.match(text, /^client_query_config_count\{table="temp"\} 1$/m)
  t.match(text, /^client_query_config_count\{table="__unknown__"\} 1$/m)
  t.match(text, /^zk_request_count\{table="temp"\} 1$/m)
  t.match(
    text,
    /^gateway_requests_total\{rpc="RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX",result="no-table",header_version="0"\} 1$/m,
  )
})

void t.test('without auth the API answers this machine under a local name only', async (t) => {
  const { admin } = await start(t)
  const [, port = ''] = admin.address.split(':')
  const status = (path: string, host: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const request = httpRequest(
        { host: '127.0.0.1', port, path, headers: { host, connection: 'close' } },
        (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        },
      )
      request.on('error', reject).end()
    })
  t.equal(await status(tables, 'localhost:1'), 200)
  t.equal(await status(tables, 'evil.example'), 403)
  t.equal(await status('/healthz', 'gateway.example'), 200)
})

void t.test('X-3: the report of open nodes is a page of the API', async (t) => {
  const { call, world } = await start(t)
  await world.map('temp', ['127.0.0.1:1'])
  const answer = await call('GET', '/api/v1/acl-report?limit=500')
  t.equal(answer.status, 200)
  t.match(answer.json, { hidden: [], open: [{ path: root }, { path: `${root}/temp` }] })
  t.equal((await call('GET', '/api/v1/acl-report?limit=0')).status, 400)
  t.equal((await call('GET', '/api/v1/acl-report?cursor=x')).status, 400)
})

void t.test('O-5: the view of a table is for this machine, and takes any name', async (t) => {
  const { call, world } = await start(t)
  await world.map('temp', ['127.0.0.1:1'])
  const answer = await call('GET', '/debug/table/temp')
  t.equal(answer.status, 200)
  t.match(answer.json, {
    table: 'temp',
    routing: { answer: 'route' },
    processes: [{ process: '' }],
  })
  const odd = await call('GET', `/debug/table/${encodeURIComponent('a/b <x>')}`)
  t.match(odd.json, { table: 'a/b <x>', why: [/cannot be the name of a node/] })
})
