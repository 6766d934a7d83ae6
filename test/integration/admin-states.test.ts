/** What the state of a table follows from besides its node: redirects in force, and metas that differ. */
import t from 'tap'
import { ChangePreview, SparseTableList, Table } from '../../gateway/admin/api/tables.ts'
import {
  endRedirectOperations,
  prepareRedirects,
  redirectOperations,
  writePlan,
} from '../../gateway/routing/redirect-plan.ts'
import { emptyContext } from '../../gateway/admin/table-view.ts'
import { type Call, create, startAdminWorld } from '../support/admin-world.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { root, until } from '../support/gateway-world.ts'

t.setTimeout(120_000)

const controlRoot = `${root}.gateway`

async function stateOf(call: Call, table: string): Promise<string> {
  return (await call('GET', `/tables/${table}`)).as(Table).state
}

async function inState(call: Call, state: string): Promise<readonly string[]> {
  const list = (await call('GET', `/tables?state=${state}`)).as(SparseTableList)
  return list.tables.map(({ name }) => name)
}

void t.test('a table is redirected while a redirect in force has it', async (t) => {
  const { call, world, admin } = await startAdminWorld(t)
  for (const name of ['moved', 'stays'])
    await call('PUT', `/tables/${name}`, {
      body: { cluster: 'one', metas: ['127.0.0.1:1'] },
      headers: create,
    })
  const registered = await call('PUT', '/clusters/two', {
    body: { metas: ['127.0.0.1:2'] },
    headers: create,
  })
  t.equal(registered.status, 200)
  const { editor } = world
  await prepareRedirects(editor, controlRoot)
  const digest = await writePlan(editor, controlRoot, 'plan-1', ['moved', 'not-mapped'])
  const redirect = { to: 'two', plan: 'plan-1', epoch: 1, digest }
  const { events, mirror } = admin.services
  // What is known at the start is told to nobody: only what differs from it later is.
  await until(() => mirror.context !== emptyContext)
  const { number } = events
  await editor.multi(redirectOperations(controlRoot, 'one', redirect))
  await until(async () => (await stateOf(call, 'moved')) === 'redirected')
  const moved = (await call('GET', '/tables/moved')).as(Table)
  t.match(moved, { cluster: 'one', redirect: { to: 'two', plan: 'plan-1' } })
  const told = (): readonly { topic: string; name: string; state?: string }[] =>
    (events.after(number, 100) ?? [])
      .map(({ json }) => JSON.parse(json) as { topic: string; name: string; state?: string })
      .filter(({ topic }) => topic === 'tables')
  await until(() => told().length > 0)
  const event = {
    name: 'moved',
    state: 'redirected',
    cluster: 'one',
    redirect: { to: 'two', plan: 'plan-1' },
  }
  t.match(told(), [event], 'those who listen are told, and where it is sent')
  t.equal(told().length, 1)
  t.equal(await stateOf(call, 'stays'), 'ok')
  t.same(await inState(call, 'redirected'), ['moved'])

  await editor.multi(endRedirectOperations(controlRoot, 'one', 0))
  await until(async () => (await stateOf(call, 'moved')) === 'ok')
  t.equal((await call('GET', '/tables/moved')).as(Table).redirect, undefined)
  t.match(told().at(-1), { name: 'moved', state: 'ok', redirect: undefined })
  t.same(await inState(call, 'redirected'), [])
})

void t.test('a table drifts from the registry, or from the others of its cluster', async (t) => {
  const { call, world } = await startAdminWorld(t)
  const map = (table: string, metas: string[]) => world.map(table, metas, 'c')
  await map('a', ['127.0.0.1:1'])
  await map('b', ['127.0.0.1:1'])
  await map('c', ['127.0.0.1:2'])
  await until(async () => (await inState(call, 'drifted')).length === 1)
  t.same(await inState(call, 'drifted'), ['c'], 'R-6: most have other metas')
  await map('d', ['127.0.0.1:2'])
  await until(async () => (await inState(call, 'drifted')).length === 4)
  t.pass('none is right when as many have others')
  await call('PUT', '/clusters/c', { body: { metas: ['127.0.0.1:2'] }, headers: create })
  await until(async () => (await inState(call, 'drifted')).length === 2)
  t.same(await inState(call, 'drifted'), ['a', 'b'], 'the registry decides')
  await map('a', ['127.0.0.1:2'])
  await map('b', ['127.0.0.1:2'])
  await until(async () => (await inState(call, 'drifted')).length === 0)
})

void t.test('a dry run says how many clients asked for the table', async (t) => {
  const { call, world } = await startAdminWorld(t)
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK' }))
  t.teardown(() => meta.close())
  await world.map('temp', [meta.address], 'one')
  const client = await world.client()
  await client.query('temp')
  await until(async () => (await call('GET', '/tables/temp')).status === 200)
  const preview = async (note: string): Promise<ChangePreview> =>
    (
      await call('PATCH', '/tables/temp?dry_run=true', {
        body: { note },
        headers: { 'if-match': '*' },
      })
    ).as(ChangePreview)
  t.equal((await preview('soon')).clients, 1)
  const fresh = await call('PUT', '/tables/new?dry_run=true', {
    body: { cluster: 'one', metas: [meta.address] },
    headers: create,
  })
  t.equal(fresh.as(ChangePreview).clients, undefined)
})
