/**
 * Changes through the admin API (gateway.md 14): history and revert, edits by other tools, audit and its
 * chain, idempotency keys, dry runs, batches, previews of imports and their apply.
 */
import { connect } from 'node:net'
import t from 'tap'
import { AuditList, AuditVerification } from '../../gateway/admin/api/audit.ts'
import { BatchResult, ChangeSet } from '../../gateway/admin/api/changes.ts'
import {
  ChangePreview,
  SparseTableList,
  Table,
  TableHistory,
} from '../../gateway/admin/api/tables.ts'
import { jsonPieces } from '../../gateway/admin/json-pieces.ts'
import { type Call, create, startAdminWorld } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'

t.setTimeout(180_000)

const edit = { cluster: 'c1', metas: ['127.0.0.1:1'] }

async function history(call: Call, name: string): Promise<TableHistory['entries']> {
  return (await call('GET', `/tables/${name}/history`)).as(TableHistory).entries
}

void t.test('every version is kept, and going back to one is an edit', async (t) => {
  const { call } = await startAdminWorld(t)
  const reason = encodeURIComponent('Umzug: größer')
  const first = await call('PUT', '/tables/a', {
    body: edit,
    headers: { ...create, 'x-change-reason': reason, 'x-change-source': 'ui' },
  })
  const second = await call('PATCH', '/tables/a', {
    body: { note: 'two', group: 'g' },
    headers: { 'if-match': first.etag },
  })
  t.match(second.json, { cluster: 'c1', note: 'two', memberOf: ['g'] })
  const [newest, oldest] = await history(call, 'a')
  t.match(newest, { action: 'change', actor: 'loopback', source: 'api' })
  t.match(oldest, { action: 'create', source: 'ui', reason: 'Umzug: größer', before: null })
  t.equal(newest?.before, oldest?.after, 'each version begins where the one before ended')
  const back = await call('POST', '/tables/a:revert', {
    body: { to: oldest?.id },
    headers: { 'if-match': second.etag },
  })
  t.equal(back.status, 200)
  t.notOk('note' in back.as(Table))
  const gone = await call('DELETE', '/tables/a', { headers: { 'if-match': back.etag } })
  t.equal(gone.status, 204)
  t.equal((await call('GET', '/tables/a')).status, 404)
  t.equal((await history(call, 'a')).length, 4, 'the history outlives the mapping')
  const undone = await call('POST', '/tables/a:revert', {
    body: { to: newest?.id },
    headers: create,
  })
  t.equal(undone.status, 201)
  t.match(undone.json, { note: 'two' })
  t.match(
    (await call('POST', '/tables/a:revert', { body: { to: 99 }, headers: { 'if-match': '*' } }))
      .problem,
    { code: 'bad-request', errors: [{ field: 'to' }] },
  )
})

void t.test('no more than fifty versions of a table are kept', async (t) => {
  const { call, world } = await startAdminWorld(t)
  await call('PUT', '/tables/a', { body: edit, headers: create })
  for (let index = 0; index < 55; index++)
    await call('PATCH', '/tables/a', {
      body: { note: String(index) },
      headers: { 'if-match': '*' },
    })
  t.equal((await history(call, 'a')).length, 50)
  t.equal((await world.editor.children(`${root}.gateway/history/a`)).length, 50)
})

void t.test('H-4: an edit by another tool is in history and audit as external', async (t) => {
  const { call, world, admin } = await startAdminWorld(t)
  await until(() => admin.services.observer.isHolder)
  const { etag } = await call('PUT', '/tables/a', { body: edit, headers: create })
  const foreign = JSON.stringify({ cluster: 'by hand', 'meta-addrs': ['h:1'] })
  await world.editor.set(`${root}/a`, Buffer.from(foreign))
  await until(async () => (await history(call, 'a')).length === 2)
  t.match((await history(call, 'a'))[0], {
    actor: 'unknown',
    source: 'external',
    action: 'change',
    after: foreign,
  })
  const refused = await call('PUT', '/tables/a', { body: edit, headers: { 'if-match': etag } })
  t.equal(refused.code, '412 changed-meanwhile')
  t.match(refused.problem.changedBy, { source: 'external' })
  t.match(refused.problem.current, { cluster: 'by hand' })
  await world.editor.remove(`${root}/a`)
  await until(async () => (await history(call, 'a')).length === 3)
  t.match((await history(call, 'a'))[0], { source: 'external', action: 'delete', after: null })
  const audit = (await call('GET', '/audit?source=external')).as(AuditList)
  t.same(
    audit.entries.map(({ action, name }) => [action, name]),
    [
      ['delete', 'a'],
      ['change', 'a'],
    ],
  )
})

void t.test('the audit is a chain, and whoever tampers with it is found out', async (t) => {
  const { call, world } = await startAdminWorld(t)
  for (const name of ['a', 'b', 'c'])
    await call('PUT', `/tables/${name}`, { body: edit, headers: create })
  const verified = async (): Promise<AuditVerification> =>
    (await call('GET', '/audit:verify')).as(AuditVerification)
  t.match(await verified(), { ok: true, checked: 3, head: { seq: 3 } })
  const pages: number[] = []
  let cursor = ''
  do {
    const page = (await call('GET', `/audit?limit=2${cursor}`)).as(AuditList)
    pages.push(...page.entries.map(({ seq }) => seq))
    cursor = page.cursor === undefined ? '' : `&cursor=${page.cursor}`
  } while (cursor !== '')
  t.same(pages, [3, 2, 1])
  const exported = (await call('GET', '/audit:export')).text.trim().split('\n')
  t.equal(exported.length, 3)
  const controlRoot = `${root}.gateway`
  const [folder = ''] = (await world.editor.children(`${controlRoot}/audit`)).filter(
    (name) => name !== 'head',
  )
  const path = `${controlRoot}/audit/${folder}/0000000002`
  const { data } = await world.editor.get(path)
  await world.editor.set(path, Buffer.from(data.toString().replace('"b"', '"x"')))
  t.match(await verified(), { ok: false, problem: { seq: 2, message: /hash/ } })
  await world.editor.set(path, data)
  t.equal((await verified()).ok, true)
  await world.editor.remove(path)
  t.match(await verified(), { ok: false, problem: { seq: 2, message: /missing/ } })
  await world.editor.create(path, data)
  await world.editor.remove(`${controlRoot}/audit/${folder}/0000000003`)
  t.match(await verified(), { ok: false, problem: { seq: 3, message: /missing/ } })
})

void t.test('an idempotency key acts once, at any gateway', async (t) => {
  const { call, another } = await startAdminWorld(t)
  const headers = { ...create, 'idempotency-key': 'k1' }
  const first = await call('PUT', '/tables/a', { body: edit, headers })
  t.equal(first.status, 201)
  const other = await another()
  for (const again of [call, other.call]) {
    const replayed = await again('PUT', '/tables/a', { body: edit, headers })
    t.equal(replayed.headers.get('idempotency-replayed'), 'true')
    t.same([replayed.status, replayed.etag], [201, first.etag])
    t.match(replayed.json, { name: 'a', version: 0, etag: first.etag })
  }
  t.equal((await history(call, 'a')).length, 1)
  const misused = await call('PUT', '/tables/a', { body: { ...edit, note: 'x' }, headers })
  t.equal(misused.code, '409 idempotency-conflict')
  const failing = { 'if-match': '"1.1"', 'idempotency-key': 'k2' }
  t.equal((await call('PUT', '/tables/a', { body: edit, headers: failing })).status, 412)
  const retried = { 'if-match': first.etag, 'idempotency-key': 'k3' }
  const twice = await Promise.all(
    [1, 2].map(() => call('DELETE', '/tables/a', { headers: retried })),
  )
  t.ok(
    twice.every(({ status }) => status === 204 || status === 409),
    'of two at once one acts',
  )
  t.equal((await call('DELETE', '/tables/a', { headers: retried })).status, 204)
})

void t.test('a dry run checks everything and changes nothing', async (t) => {
  const { call, world } = await startAdminWorld(t)
  const preview = await call('PUT', '/tables/a?dry_run=true', { body: edit, headers: create })
  t.equal(preview.status, 200)
  const { action, before, after, checks } = preview.as(ChangePreview)
  t.match({ action, before }, { action: 'create', before: null })
  t.match(JSON.parse(after ?? ''), { cluster: 'c1' })
  t.match(
    checks.find(({ id }) => id === 'metas-reachable'),
    { level: 'warning', field: 'metas' },
    'metas that do not answer are a warning',
  )
  t.equal(await world.editor.exists(`${root}/a`), undefined)
  t.equal(
    (await call('PUT', '/tables/a?dry_run=true', { body: edit, headers: { 'if-match': '"1.1"' } }))
      .code,
    '404 not-found',
  )
})

void t.test('a batch: all or nothing, or each for itself', async (t) => {
  const { call } = await startAdminWorld(t)
  const changes = ['a', 'b'].map((name) => ({ action: 'create', name, edit }))
  const made = await call('POST', '/tables:batch', { body: { atomic: true, changes } })
  t.match(made.json, { done: 2, failed: 0, skipped: 0 })
  const more = [{ action: 'create', name: 'c', edit }, ...changes]
  const refused = await call('POST', '/tables:batch', { body: { atomic: true, changes: more } })
  const { done, results } = refused.as(BatchResult)
  t.equal(done, 0)
  t.same(
    results.map(({ status }) => status),
    ['skipped', 'failed', 'failed'],
  )
  t.equal((await call('GET', '/tables/c')).status, 404, 'nothing was changed')
  const each = await call('POST', '/tables:batch', { body: { atomic: false, changes: more } })
  t.match(each.json, { done: 1, skipped: 2, failed: 0 })
  t.equal((await call('GET', '/tables/c')).status, 200)
})

void t.test('an import does what its preview said, and no more', async (t) => {
  const { call, world, another } = await startAdminWorld(t)
  for (const name of ['keep', 'move', 'same', 'raced'])
    await call('PUT', `/tables/${name}`, { body: edit, headers: create })
  const text = [
    'table,cluster,metas,group,note',
    'move,c2,"h:1,h:2",,',
    'same,c1,127.0.0.1:1,,',
    'raced,c3,h:3,,',
    'new,c2,h:1 h:2,pay,"two ""words"""',
    'bad,c2,nonsense,,',
    'a/b,c2,h:1,,',
    'new,c2,h:1,,',
  ].join('\n')
  const imported = await call('POST', '/tables:import', { body: { format: 'csv', text } })
  t.equal(imported.status, 200, imported.text)
  const set = imported.as(ChangeSet)
  t.same(set.counts, { create: 1, change: 2, delete: 0, same: 1, invalid: 3 })
  t.same(
    set.items.filter(({ kind }) => kind === 'invalid').map(({ line }) => line),
    [6, 7, 8],
  )
  await world.editor.set(
    `${root}/raced`,
    Buffer.from(JSON.stringify({ cluster: 'x', 'meta-addrs': ['h:9'] })),
  )
  const other = await another()
  const applied = await other.call('POST', '/tables:apply', { body: { token: set.token } })
  t.match(applied.json, { done: 2, skipped: 1, failed: 0 })
  t.match((await call('GET', '/tables/new')).json, { cluster: 'c2', group: 'pay' })
  for (const { name, after, kind } of set.items) {
    if (kind !== 'create' && name !== 'move') continue
    t.equal((await world.editor.get(`${root}/${name}`)).data.toString(), after)
  }
  t.equal(
    (await call('POST', '/tables:apply', { body: { token: set.token } })).code,
    '410 preview-expired',
    'once',
  )
})

void t.test('ten thousand rows are kept in pieces, and applied from them', async (t) => {
  const { call, world } = await startAdminWorld(t)
  const rows = 10_000
  const tables = Array.from({ length: rows }, (_, index) => ({
    name: `t${index}`,
    cluster: `c${index % 7}`,
    metas: ['h:1', 'h:2'],
    note: 'ö'.repeat(100),
  }))
  const csv = tables.map(({ name, cluster, note }) => `${name},${cluster},h:1 h:2,${note}`)
  const texts = {
    json: JSON.stringify(tables),
    csv: ['table,cluster,metas,note', ...csv].join('\n'),
  }
  for (const [format, text] of Object.entries(texts)) {
    const imported = await call('POST', '/tables:import', { body: { format, text } })
    const set = imported.as(ChangeSet)
    t.match(set.counts, { invalid: 0 })
    t.same(
      set.items.map(({ name }) => name),
      tables.map(({ name }) => name),
    )
    const path = `${root}.gateway/previews/${set.token}`
    const pieces = await world.editor.children(path)
    t.ok(pieces.length > 5, `${format}: ${pieces.length} pieces`)
    for (const piece of pieces) {
      const { data } = await world.editor.get(`${path}/${piece}`)
      t.ok(data.length <= 200_002 && Array.isArray(JSON.parse(data.toString())))
    }
    const include = [`t${format.length}`, `t${rows - format.length}`]
    const applied = await call('POST', '/tables:apply', { body: { token: set.token, include } })
    t.match(applied.json, { done: 2, failed: 0 })
    t.equal(await world.editor.exists(path), undefined, 'used')
  }
})

void t.test('large bodies: too large ones, broken ones, and keys that nobody knows', async (t) => {
  const { admin, call } = await startAdminWorld(t)
  const post = async (body: string | ReadableStream): Promise<string> => {
    const response = await fetch(`http://${admin.address}/api/v1/tables:import`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      ...(typeof body === 'string' ? {} : { duplex: 'half' }),
    })
    const { code } = (await response.json()) as { readonly code: string }
    return `${response.status} ${code}`
  }
  const megabytes = (count: number): string => '"'.padEnd(count * 1024 * 1024, 'x')
  const chunked = (text: string): ReadableStream => new Blob([text]).stream()
  t.equal(await post(megabytes(6.5)), '413 too-large')
  t.equal(await post(chunked(megabytes(6.5))), '413 too-large', 'without a length')
  t.equal(await post(megabytes(5.5)), '400 bad-request')
  t.equal(await post(chunked('{"format":"json"')), '400 bad-request')
  t.equal(await post(''), '400 bad-request')
  const polluted = '{"format":"json","text":"[]","__proto__":{"mode":"replace"}}'
  t.equal(await post(polluted), '400 bad-request')
  const cut = connect(Number(admin.address.split(':')[1]), '127.0.0.1')
  const head = 'POST /api/v1/tables:import HTTP/1.1\r\nhost: localhost\r\n'
  cut.end(`${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{"form`)
  cut.resume()
  await new Promise((resolve) => cut.once('close', resolve))
  t.equal((await call('GET', '/tables')).status, 200)
})

void t.test('a long list is written in short turns, as the same JSON', async (t) => {
  for (const length of [0, 1, 50, 51, 1234]) {
    const list = Array.from({ length }, (_, index) => ({ index, text: '"\u2028' }))
    let pauses = 0
    const pieces: string[] = []
    const pause = async (): Promise<void> => void pauses++
    for await (const piece of jsonPieces({ total: length }, 'items', list, pause))
      pieces.push(piece)
    t.same(JSON.parse(pieces.join('')), { total: length, items: list })
    t.equal(pauses, Math.ceil(length / 50))
  }
  const pieces: string[] = []
  for await (const piece of jsonPieces({}, 'a b', [null], async () => undefined)) pieces.push(piece)
  t.equal(pieces.join(''), '{"a b":[null]}')
})

void t.test('an export can be imported again and changes no byte', async (t) => {
  const { call, world } = await startAdminWorld(t)
  const odd = '{ "meta_addrs":"h:1,h:2" , "cluster_name":"c", "mine":[1,2] }'
  await world.editor.create(`${root}/odd`, Buffer.from(odd))
  await world.editor.create(`${root}/broken`, Buffer.from('not json'))
  await call('PUT', '/tables/plain', { body: { ...edit, note: '=1+1' }, headers: create })
  await until(async () => (await call('GET', '/tables')).as(SparseTableList).total === 3)
  const file = (await call('GET', '/tables:export')).text
  const again = await call('POST', '/tables:import', {
    body: { format: 'json', mode: 'replace', text: file },
  })
  t.match(again.as(ChangeSet).counts, { create: 0, change: 0, delete: 0, same: 3, invalid: 0 })
  await world.editor.remove(`${root}/odd`)
  await world.editor.create(`${root}/extra`, Buffer.from(odd))
  await until(async () => (await call('GET', '/tables?q=extra')).as(SparseTableList).total === 1)
  await until(async () => (await call('GET', '/tables?q=odd')).as(SparseTableList).total === 0)
  const restore = await call('POST', '/tables:import', {
    body: { format: 'json', mode: 'replace', text: file },
  })
  const set = restore.as(ChangeSet)
  t.match(set.counts, { create: 1, delete: 1, same: 2 })
  await call('POST', '/tables:apply', { body: { token: set.token } })
  t.equal((await world.editor.get(`${root}/odd`)).data.toString(), odd)
  t.equal(await world.editor.exists(`${root}/extra`), undefined)
  const csv = (await call('GET', '/tables:export?format=csv')).text
  t.match(csv, /^plain,c1,127.0.0.1:1,,'=1\+1\r$/m, 'a formula is not run by a spreadsheet')
})

void t.test('a file of the wrong shape is told line by line', async (t) => {
  const { call } = await startAdminWorld(t)
  const lines = async (format: string, text: string): Promise<unknown> =>
    (await call('POST', '/tables:import', { body: { format, text } }))
      .as(ChangeSet)
      .items.map(({ line, errors }) => [line, errors?.[0]?.field])
  t.same(await lines('json', '[\n{"name":"a","cluster":"c","metas":["h:1"]},\n{"name":"b",}\n]'), [
    [2, undefined],
    [3, ''],
  ])
  t.same(await lines('json', '{"tables":[\n{"name":"a","clutser":"c"}]}'), [[2, 'clutser']])
  t.same(await lines('json', '"text"'), [[1, '']])
  t.same(await lines('json', '[\n\n{"name":"a"'), [[3, '']])
  t.same(await lines('csv', 'name;cluster\na;b'), [[1, '']])
  t.same(await lines('csv', 'table,cluster,metas\na,c,h:1,extra'), [[2, '']])
  for (const empty of ['', '\ufeff', 'table,cluster,metas\n'])
    t.same(await lines('csv', empty), [[1, '']])
})

void t.test('a file with lines that nobody can read deletes nothing', async (t) => {
  const { call } = await startAdminWorld(t)
  for (const name of ['a', 'b'])
    await call('PUT', `/tables/${name}`, { body: edit, headers: create })
  const counts = async (format: string, text: string): Promise<ChangeSet['counts']> => {
    const answer = await call('POST', '/tables:import', { body: { format, mode: 'replace', text } })
    return answer.as(ChangeSet).counts
  }
  t.match(await counts('csv', 'table,cluster,metas\na,c2,h:1'), {
    change: 1,
    delete: 1,
    invalid: 0,
  })
  t.match(await counts('csv', 'table,cluster,metas\na,c2,h:1\nb/,c2,h:1'), {
    change: 1,
    delete: 0,
    invalid: 2,
  })
  t.match(
    await counts('csv', 'name,cluster,metas\na,c2,h:1'),
    { delete: 0, invalid: 2 },
    'a wrong column',
  )
  t.match(await counts('csv', ''), { delete: 0, invalid: 2 }, 'an empty file')
  t.match(await counts('json', '[{"name":"a"},'), { delete: 0, invalid: 2 }, 'half a file')
  const known = await counts('csv', 'table,cluster,metas\na,c2,nonsense')
  t.match(known, { delete: 1, invalid: 1 }, 'a table whose line is wrong is named all the same')
})

void t.test('one meta server for another, in the registry and every mapping', async (t) => {
  const { call } = await startAdminWorld(t)
  await call('PUT', '/clusters/c1', { body: { metas: ['old:1', 'b:1'] }, headers: create })
  for (const name of ['a', 'b'])
    await call('PUT', `/tables/${name}`, {
      body: { cluster: 'c1' },
      headers: create,
    })
  t.match((await call('GET', '/tables/a')).json, { metas: ['old:1', 'b:1'] })
  const set = (
    await call('POST', '/clusters/c1:replace-meta', { body: { from: 'old:1', to: 'new:1' } })
  ).as(ChangeSet)
  t.match(set.counts, { change: 2 })
  const applied = await call('POST', '/tables:apply', { body: { token: set.token } })
  t.match(applied.json, { done: 2 })
  t.match((await call('GET', '/tables/b')).json, { metas: ['new:1', 'b:1'] })
  await until(async () => (await call('GET', '/tables/b')).as(Table).state === 'ok')
  t.match((await call('GET', '/clusters/c1')).json, { metas: ['new:1', 'b:1'], drift: [] })
})

void t.test('a bulk edit of what a filter selects', async (t) => {
  const { call } = await startAdminWorld(t)
  for (const name of ['a1', 'a2', 'b1'])
    await call('PUT', `/tables/${name}`, { body: edit, headers: create })
  const set = (
    await call('POST', '/tables:preview', {
      body: { select: { filter: { q: 'a' } }, patch: { group: 'pay', frozen: true } },
    })
  ).as(ChangeSet)
  t.match(set.counts, { change: 2 })
  await call('POST', '/tables:apply', { body: { token: set.token, include: ['a2'] } })
  t.same(
    (await call('GET', '/tables?group=pay')).as(SparseTableList).tables.map(({ name }) => name),
    ['a2'],
  )
  const frozen = await call('POST', '/tables:preview', {
    body: { select: { names: ['a2'] }, delete: true },
  })
  t.match(frozen.as(ChangeSet).items, [{ kind: 'invalid', errors: [{ field: 'frozen' }] }])
  const thaw = (
    await call('POST', '/tables:preview', {
      body: { select: { names: ['a2'] }, patch: { frozen: null } },
    })
  ).as(ChangeSet)
  t.match((await call('POST', '/tables:apply', { body: { token: thaw.token } })).json, {
    done: 1,
  })
})

void t.test('the OpenAPI document names the paths as clients call them', async (t) => {
  const { call } = await startAdminWorld(t)
  const { openapi, paths } = (await call('GET', '//openapi.json')).json as {
    readonly openapi: string
    readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  }
  t.match(openapi, /^3\.1/)
  for (const path of ['/tables:batch', '/tables/{name}:probe', '/audit:verify', '/session'])
    t.ok(paths[`/api/v1${path}`], path)
  t.notOk(Object.keys(paths).some((path) => /\{(export|verify|batch)\}/.test(path)))
})
