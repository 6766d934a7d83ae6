/**
 * Other tools that change mappings faster than anybody could keep each version (H-4): nothing is
 * forgotten, what stands together says so, events name who did it, and queues stay small.
 */
import t from 'tap'
import { AuditList, AuditVerification } from '../../gateway/admin/api/audit.ts'
import { TableHistory } from '../../gateway/admin/api/tables.ts'
import type { ServerEvent } from '../../gateway/admin/api/events.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { type AdminWorld, create, openAdmin, startAdminWorld } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'

t.setTimeout(180_000)

const mapping = (note: string): Buffer =>
  Buffer.from(JSON.stringify({ cluster: 'c1', 'meta-addrs': ['h:1'], note }))

/** Changes of `tables`, all under way at once, round after round. */
async function storm(
  { world }: AdminWorld,
  tables: readonly string[],
  rounds: number,
): Promise<void> {
  for (let round = 1; round <= rounds; round++)
    await Promise.all(
      tables.map((name) => world.editor.set(`${root}/${name}`, mapping(String(round)))),
    )
}

/** Events of tables since the start of the gateway. */
function tableEvents({ admin }: AdminWorld): readonly ServerEvent[] {
  return (admin.services.events.after(0, 100_000) ?? [])
    .filter(({ topic }) => topic === 'tables')
    .map(({ json }) => JSON.parse(json) as ServerEvent)
}

async function startWithTables(t: Parameters<typeof startAdminWorld>[0], names: readonly string[]) {
  const started = await startAdminWorld(t)
  const { world, admin } = started
  await until(() => admin.services.observer.isHolder)
  await Promise.all(names.map((name) => world.editor.create(`${root}/${name}`, mapping('0'))))
  const { mirror, observer } = admin.services
  await until(() => mirror.size === names.length && observer.waiting === 0)
  return started
}

const TABLES = 200
const ROUNDS = 12
const names = Array.from({ length: TABLES }, (_, index) => `t${String(index).padStart(3, '0')}`)

void t.test('every version of a storm is told of, many tables in one transaction', async (t) => {
  const started = await startWithTables(t, names)
  const { world, admin, call } = started
  const { observer, mirror } = admin.services
  const head = async () => world.editor.get(`${root}.gateway/audit/head`)
  const entriesBefore = (await call('GET', '/audit:verify')).as(AuditVerification).checked
  const transactionsBefore = (await head()).stat.version
  let waitingMax = 0
  const watch = setInterval(() => {
    waitingMax = Math.max(waitingMax, observer.waiting)
  }, 1)
  await storm(started, names, ROUNDS)
  const isLast = (name: string): boolean => mirror.get(name)?.table.note === String(ROUNDS)
  await until(() => names.every(isLast) && observer.waiting === 0)
  clearInterval(watch)
  t.ok(waitingMax <= 3 * TABLES, `at most ${waitingMax} waited`)

  const verified = (await call('GET', '/audit:verify')).as(AuditVerification)
  t.equal(verified.ok, true)
  const entries = verified.checked - entriesBefore
  const transactions = (await head()).stat.version - transactionsBefore
  t.ok(entries >= TABLES, 'no table is left out')
  t.ok(entries / transactions >= 10, `${entries} entries in ${transactions} transactions`)
  for (const name of names.filter((_, index) => index % 20 === 0)) {
    const { entries: kept } = (await call('GET', `/tables/${name}/history`)).as(TableHistory)
    const oldestFirst = kept.toReversed()
    const versions = oldestFirst.map((entry) => entry.versions ?? 1)
    t.equal(
      versions.reduce((sum, count) => sum + count, 0),
      ROUNDS + 1,
      `${name}: its creation and ${ROUNDS} changes, in ${kept.length} entries`,
    )
    t.equal(oldestFirst.at(-1)?.after, mapping(String(ROUNDS)).toString())
    for (const [index, { before }] of oldestFirst.entries())
      t.equal(before, oldestFirst[index - 1]?.after ?? null, 'each begins where the last one ended')
  }
  const { entries: audited } = (await call('GET', '/audit?limit=500&name=t000')).as(AuditList)
  t.equal(
    audited.reduce((sum, { versions = 1 }) => sum + versions, 0),
    ROUNDS + 1,
  )
  const events = tableEvents(started)
  t.ok(events.length > TABLES)
  t.same([...new Set(events.map(({ source }) => source))], ['external'], 'no event without author')
})

void t.test('an edit in the middle of a storm is told with its author', async (t) => {
  const started = await startWithTables(t, names)
  const { admin, call, another } = started
  const other = await another()
  const { observer } = admin.services
  const edit = { cluster: 'c2', metas: ['h:2'] }
  const blowing = storm(started, names, ROUNDS)
  for (const [index, by] of [call, other.call, call, other.call].entries())
    await by('PUT', `/tables/own-${index}`, { body: edit, headers: create })
  // On tables of the storm, whoever wins.
  for (const name of names.slice(0, 5))
    await call('PATCH', `/tables/${name}`, {
      body: { note: 'ours' },
      headers: { 'if-match': '*' },
    })
  await blowing
  await until(() => observer.waiting === 0)
  const events = tableEvents(started)
  for (const index of [0, 1, 2, 3]) {
    const own = events.filter(({ name }) => name === `own-${index}`)
    t.match(own, [{ type: 'created', actor: 'loopback', source: 'api' }])
  }
  t.ok(events.every(({ source }) => source === 'api' || source === 'external'))
  for (const name of names.slice(0, 5)) {
    const { entries } = (await call('GET', `/tables/${name}/history`)).as(TableHistory)
    const own = entries.filter(({ source }) => source === 'api')
    t.equal(own.length, 1)
    t.match(own[0], { actor: 'loopback', action: 'change' })
    const versions = entries.reduce((sum, entry) => sum + (entry.versions ?? 1), 0)
    t.equal(versions, ROUNDS + 2, `${name}: creation, storm and edit, each version once`)
  }
  t.equal((await call('GET', '/audit:verify')).as(AuditVerification).ok, true)
})

void t.test('tables that come and go in a storm, and come again', async (t) => {
  const started = await startWithTables(t, names.slice(0, 20))
  const { world, admin, call } = started
  const { observer, mirror } = admin.services
  const [first = '', second = ''] = names
  for (let round = 0; round < 5; round++)
    for (const name of [first, second]) {
      await world.editor.remove(`${root}/${name}`)
      await world.editor.create(`${root}/${name}`, mapping(`again ${round}`))
    }
  await world.editor.remove(`${root}/${second}`)
  const isSeen = (): boolean =>
    mirror.get(first)?.table.note === 'again 4' && mirror.get(second) === undefined
  await until(() => isSeen() && observer.waiting === 0)
  const newest = async (name: string) =>
    (await call('GET', `/tables/${name}/history`)).as(TableHistory).entries[0]
  t.equal((await newest(first))?.after, mapping('again 4').toString())
  t.match(await newest(second), { action: 'delete', after: null, source: 'external' })
  t.equal((await call('GET', '/audit:verify')).as(AuditVerification).ok, true)
})

void t.test(
  'what nobody recorded is found by the next holder, with its number of versions',
  async (t) => {
    const started = await startWithTables(t, names.slice(0, 20))
    const { world, admin, call, another } = started
    const [name = ''] = names
    // As if the holder had died before it wrote.
    const { observer } = admin.services
    await until(async () => (await world.editor.exists(`${root}.gateway/observed`)) !== undefined)
    observer.close()
    for (const round of [1, 2, 3])
      await world.editor.set(`${root}/${name}`, mapping(`late ${round}`))
    const other = await another()
    await world.editor.remove(`${root}.gateway/locks/observer`)
    await until(() => other.admin.services.observer.isHolder)
    const history = async () =>
      (await call('GET', `/tables/${name}/history`)).as(TableHistory).entries
    await until(async () => (await history()).length === 2)
    t.match((await history())[0], {
      source: 'external',
      versions: 3,
      before: mapping('0').toString(),
    })
  },
)

void t.test('changes while the first gateway begins are told with what was before', async (t) => {
  const alive = setInterval(() => undefined, 1000)
  const runtime = nodeRuntime({ log: silentLog })
  const memory = new MemoryCoordination(runtime)
  const options = { sessionTimeoutMs: 60_000, onExpiry: 'renew' } as const
  const [own, editor] = [memory.connect(runtime, options), memory.connect(runtime, options)]
  await editor.create('/metaproxy', Buffer.alloc(0))
  await editor.create(root, Buffer.alloc(0))
  await Promise.all(names.map((name) => editor.create(`${root}/${name}`, mapping('0'))))
  const admin = await openAdmin(runtime, own)
  t.teardown(async () => {
    await admin.close()
    await Promise.all([own.close(), editor.close()])
    clearInterval(alive)
  })
  const { observer, mirror, histories } = admin.services
  await mirror.loaded()
  let round = 0
  for (let left = 5; left > 0; left -= observer.isHolder ? 1 : 0) {
    round++
    await Promise.all(names.map((name) => editor.set(`${root}/${name}`, mapping(String(round)))))
  }
  const isSeen = (name: string): boolean => mirror.get(name)?.table.note === String(round)
  await until(() => names.every(isSeen) && observer.waiting === 0)
  for (const name of names) {
    const entries = await histories.entries(name)
    t.ok(entries.length > 0 && entries.every(({ action }) => action === 'change'), name)
  }
})
