/**
 * What is kept of the past: old audit entries are removed without breaking the chain, histories of
 * tables that are gone for long too, and nobody else can do that unnoticed.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { AuditEntry, AuditList, AuditVerification } from '../../gateway/admin/api/audit.ts'
import { TableHistory } from '../../gateway/admin/api/tables.ts'
import { AuditTrimmer } from '../../gateway/admin/audit-trim.ts'
import { HistoryTrimmer } from '../../gateway/admin/history-trim.ts'
import { Check } from 'typebox/value'
import { callOf, create, openAdmin } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'

t.setTimeout(120_000)
const DAY_MS = 86_400_000
const author = { actor: 'test', source: 'api', from: '', requestId: '', reason: undefined }
const edit = { cluster: 'c1', metas: ['h:1'] }

/** A gateway whose days pass when the test says so. */
async function startWorld(t: Test, flags: Readonly<Record<string, string>> = {}) {
  const alive = setInterval(() => undefined, 1000)
  const real = nodeRuntime({ log: silentLog })
  const errors: string[] = []
  const log = { ...silentLog, error: (message: string) => void errors.push(message) }
  let days = 0
  const runtime: Runtime = {
    ...real,
    log: { ...log, child: () => log },
    clock: {
      wallMs: () => real.clock.wallMs() + days * DAY_MS,
      monotonicMs: () => real.clock.monotonicMs(),
    },
  }
  const memory = new MemoryCoordination(runtime)
  const connect = (name: string) =>
    memory.connect(runtime, { sessionTimeoutMs: 60_000, onExpiry: 'renew', name })
  const coordinator = connect('gateway')
  const editor = connect('editor')
  await coordinator.create('/metaproxy', Buffer.alloc(0))
  await coordinator.create(root, Buffer.alloc(0))
  const admin = await openAdmin(runtime, coordinator, flags)
  t.teardown(async () => {
    await admin.close()
    await Promise.all([coordinator.close(), editor.close()])
    clearInterval(alive)
  })
  const { services } = admin
  await until(() => services.observer.isHolder)
  const call = callOf(admin.address)
  return {
    runtime,
    admin,
    services,
    editor,
    errors,
    call,
    connect,
    pass: (count: number) => {
      days += count
    },
    /** So many entries of today. */
    write: async (count: number): Promise<void> => {
      for (let left = count; left > 0; left -= 100)
        await services.journal.commit(author, async () => ({
          operations: [],
          entries: Array.from({ length: Math.min(left, 100) }, (_, index) => ({
            action: 'change',
            kind: 'table',
            name: `t${left - index}`,
            before: null,
            after: null,
          })),
          raisesEpoch: false,
        }))
    },
    trim: (keepDays: number, exportFolder?: string): Promise<void> =>
      new AuditTrimmer(services, { keepDays, exportFolder }).trim(),
    verify: async (): Promise<AuditVerification> =>
      (await call('GET', '/audit:verify')).as(AuditVerification),
  }
}

void t.test('old entries are written to files and removed, and the chain holds', async (t) => {
  const world = await startWorld(t)
  const folder = mkdtempSync(join(tmpdir(), 'audit-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  await world.write(1200)
  world.pass(1)
  await world.write(30)
  world.pass(10)
  await world.write(7)
  await world.trim(400, folder)
  t.match(await world.verify(), { ok: true, checked: 1237 }, 'nothing is that old')
  t.same(readdirSync(folder), [])

  await world.trim(5, folder)
  const verified = await world.verify()
  t.match(verified, { ok: true, anchor: { seq: 1230 } }, verified.problem?.message ?? '')
  t.equal(verified.checked, verified.head.seq - 1230)
  const page = (await world.call('GET', '/audit?limit=500')).as(AuditList)
  t.equal(page.entries.at(-1)?.seq, 1231)
  t.equal(page.cursor, undefined)
  const exported = (await world.call('GET', '/audit:export')).text.trim().split('\n')
  t.equal(exported.length, verified.checked)
  const trims = page.entries.filter(({ action }) => action === 'trim')
  t.equal(trims.length, 4, 'three pieces of the first day, one of the second')
  t.match(trims[0], { kind: 'audit', source: 'automatic', reason: 'audit.keepDays: 5' })
  const days = await world.editor.children(`${root}.gateway/audit`)
  t.equal(days.length, 3, 'head, anchor and one day')

  const lines = readdirSync(folder).flatMap((name) =>
    readFileSync(join(folder, name), 'utf8').trim().split('\n'),
  )
  const entries = lines.map((line): unknown => JSON.parse(line))
  t.ok(entries.every((entry) => Check(AuditEntry, entry)))
  let prev = '0'.repeat(64)
  for (const entry of entries as AuditEntry[]) {
    if (entry.prev !== prev) t.fail(`${entry.seq} does not follow`)
    prev = entry.hash
  }
  t.equal(entries.length, 1230)
  t.equal(prev, verified.anchor?.hash, 'files and what is left are one chain')
  await world.trim(5, folder)
  t.same(await world.verify(), verified, 'there is nothing more to do')
})

void t.test('what a crash left is hidden, and removed the next time', async (t) => {
  const world = await startWorld(t)
  await world.write(20)
  const [day = ''] = (await world.editor.children(`${root}.gateway/audit`)).filter(
    (name) => name !== 'head',
  )
  const path = `${root}.gateway/audit/${day}`
  const old = (await world.editor.get(`${path}/0000000020`)).data
  world.pass(40)
  await world.write(1)
  await world.trim(30)
  await world.editor.create(path, Buffer.alloc(0))
  await world.editor.create(`${path}/0000000020`, old)
  t.equal((await world.verify()).ok, true)
  const page = (await world.call('GET', '/audit')).as(AuditList)
  t.same(
    page.entries.map(({ seq }) => seq),
    [22, 21],
  )
  await world.trim(30)
  t.equal(await world.editor.exists(path), undefined)
  t.equal((await world.verify()).ok, true)
})

void t.test('who removes entries and moves the anchor himself is found out', async (t) => {
  const world = await startWorld(t)
  await world.write(20)
  const audit = `${root}.gateway/audit`
  const [day = ''] = (await world.editor.children(audit)).filter((name) => name !== 'head')
  const read = (await world.call('GET', '/audit?limit=500')).as(AuditList).entries
  const tenth = read.find(({ seq }) => seq === 10)
  const forged = Buffer.from(JSON.stringify({ seq: 10, hash: tenth?.hash }))
  await world.editor.create(`${audit}/anchor`, forged)
  for (let seq = 1; seq <= 10; seq++)
    await world.editor.remove(`${audit}/${day}/${String(seq).padStart(10, '0')}`)
  t.match(await world.verify(), { ok: false, problem: { seq: 10, message: /not removed by/ } })
  await world.editor.remove(`${audit}/anchor`)
  t.match(await world.verify(), { ok: false, problem: { seq: 1, message: /missing/ } })
})

void t.test('a broken chain is evidence, and stays', async (t) => {
  const world = await startWorld(t)
  await world.write(20)
  const audit = `${root}.gateway/audit`
  const [day = ''] = (await world.editor.children(audit)).filter((name) => name !== 'head')
  await world.editor.remove(`${audit}/${day}/0000000007`)
  world.pass(40)
  await world.write(1)
  await world.trim(30)
  t.match(world.errors, ['audit not trimmed, its chain is broken'])
  t.equal((await world.editor.children(`${audit}/${day}`)).length, 19)
  t.match(await world.verify(), { ok: false, problem: { seq: 7 } })
})

void t.test('a gateway that gets the lease removes what is too old', async (t) => {
  const world = await startWorld(t)
  await world.write(20)
  world.pass(40)
  await world.write(1)
  const coordinator = world.connect('heir')
  const flags = { 'audit.keepDays': '30' }
  const heir = await openAdmin(world.runtime, coordinator, flags)
  t.teardown(async () => {
    await heir.close()
    await coordinator.close()
  })
  world.services.observer.close()
  await world.editor.remove(`${root}.gateway/locks/observer`)
  await until(async () => (await world.verify()).anchor?.seq === 20)
  t.equal((await world.verify()).ok, true)
})

void t.test('histories: so many versions, and those of deleted tables for a time', async (t) => {
  const world = await startWorld(t, { 'history.versionsPerTable': '3' })
  const { call, services } = world
  const any = { 'if-match': '*' }
  for (const name of ['gone', 'stays', 'late'])
    await call('PUT', `/tables/${name}`, { body: edit, headers: create })
  for (const note of ['1', '2', '3', '4'])
    await call('PATCH', '/tables/stays', { body: { note }, headers: any })
  const { entries, kept } = (await call('GET', '/tables/stays/history')).as(TableHistory)
  t.equal(kept, 3)
  t.equal(entries.length, 3)
  await call('DELETE', '/tables/gone', { headers: any })
  world.pass(60)
  await call('DELETE', '/tables/late', { headers: any })
  const names = async () => (await world.editor.children(`${root}.gateway/history`)).toSorted()
  await new HistoryTrimmer(services, 90).trim()
  t.same(await names(), ['gone', 'late', 'stays'], 'not that old')
  world.pass(60)
  await new HistoryTrimmer(services, 0).trim()
  t.same(await names(), ['gone', 'late', 'stays'], '0: for ever')
  await new HistoryTrimmer(services, 90).trim()
  t.same(await names(), ['late', 'stays'])
  t.equal((await call('PUT', '/tables/gone', { body: edit, headers: create })).status, 201)
  t.match((await call('GET', '/tables/gone/history')).as(TableHistory).entries, [
    { action: 'create' },
  ])
  t.equal((await world.verify()).ok, true, 'the audit has all of it still')
})
