/**
 * X-5, four eyes: changes of many mappings wait for a second person. Who may decide, what is carried out,
 * and that no crash in the middle loses or repeats a change.
 */
import t, { type Test } from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { Approval, ApprovalDetail, ApprovalList } from '../../gateway/admin/api/approvals.ts'
import { AuditList, AuditVerification } from '../../gateway/admin/api/audit.ts'
import { BatchResult, ChangeSet } from '../../gateway/admin/api/changes.ts'
import { Table, TableHistory } from '../../gateway/admin/api/tables.ts'
import type { Caller } from '../../gateway/admin/rights.ts'
import type { AdminServer } from '../../gateway/admin/server.ts'
import { type Answer, type Call, create, openAdmin } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'
import { PASSWORD, hire, logIn, logInAsAdmin, tokenOf } from '../support/people.ts'

t.setTimeout(240_000)

const flags = { 'auth.enabled': 'true', 'approval.bulkAbove': '2' }
const edit = { cluster: 'c1', metas: ['h:1'] }
const text = JSON.stringify({ cluster: 'c1', 'meta-addrs': ['h:1'] })
const anything: readonly Caller['grants'][number][] = [{ role: 'operator' }]
const anna: Caller = { name: 'anna', via: 'local', grants: anything }
const ben: Caller = { name: 'ben', via: 'local', grants: anything }
const byAnna = { actor: 'anna', source: 'api', from: '', requestId: 'r', reason: undefined }
const byBen = { ...byAnna, actor: 'ben' }

/** Gateways on one tree, whose clock the test moves. */
async function startTree(t: Test) {
  const alive = setInterval(() => undefined, 1000)
  const real = nodeRuntime({ log: silentLog })
  let offsetMs = 0
  const runtime: Runtime = {
    ...real,
    clock: {
      wallMs: () => real.clock.wallMs() + offsetMs,
      monotonicMs: () => real.clock.monotonicMs(),
    },
  }
  const memory = new MemoryCoordination(runtime)
  const connect = (name: string): Coordinator =>
    memory.connect(runtime, { sessionTimeoutMs: 60_000, onExpiry: 'renew', name })
  const editor = connect('editor')
  await editor.create('/metaproxy', Buffer.alloc(0))
  await editor.create(root, Buffer.alloc(0))
  const ends: (() => Promise<void>)[] = []
  t.teardown(async () => {
    for (const end of ends.toReversed()) await end()
    await editor.close()
    clearInterval(alive)
  })
  const open = async (
    wrap: (coordinator: Coordinator) => Coordinator = (same) => same,
  ): Promise<AdminServer> => {
    const coordinator = connect('gateway')
    const admin = await openAdmin(runtime, wrap(coordinator), flags, PASSWORD)
    ends.push(async () => {
      await admin.close()
      await coordinator.close()
    })
    return admin
  }
  return {
    editor,
    open,
    passMs: (ms: number): void => {
      offsetMs += ms
    },
    /** Tables that somebody else has made. */
    map: async (...names: readonly string[]): Promise<void> => {
      for (const name of names) await editor.create(`${root}/${name}`, Buffer.from(text))
    },
    texts: async (...names: readonly string[]): Promise<readonly (string | undefined)[]> =>
      Promise.all(
        names.map(async (name) => {
          const there = await editor.exists(`${root}/${name}`)
          return there && (await editor.get(`${root}/${name}`)).data.toString()
        }),
      ),
  }
}

/** With anna and ben, who may edit everything, and carla, who may edit pay*. */
async function startPeople(t: Test) {
  const tree = await startTree(t)
  const admin = await tree.open()
  const { address } = admin
  const asAdmin = await logInAsAdmin(address)
  const [asAnna, asBen, asCarla] = await Promise.all([
    hire(asAdmin, address, 'anna', [{ role: 'editor' }, { role: 'admin' }]),
    hire(asAdmin, address, 'ben', [{ role: 'operator' }]),
    hire(asAdmin, address, 'carla', [{ role: 'editor', cluster: 'pay*' }]),
  ])
  return { ...tree, admin, asAdmin, asAnna, asBen, asCarla }
}

const names = ['a', 'b', 'c']
const creations = names.map((name) => ({ action: 'create', name, edit }))

function batch(call: Call, changes: readonly object[], atomic = false): Promise<Answer> {
  return call('POST', '/tables:batch', { body: { atomic, changes } })
}

function decide(call: Call, verb: string, { id }: { readonly id: string }): Promise<Answer> {
  return call('POST', `/approvals/${id}:${verb}`)
}

async function detail(call: Call, { id }: { readonly id: string }): Promise<ApprovalDetail> {
  return (await call('GET', `/approvals/${id}`)).as(ApprovalDetail)
}

void t.test('many changes wait, few do not; a second person carries them out', async (t) => {
  const { asAnna, open, texts, admin } = await startPeople(t)
  t.match(
    (await batch(asAnna, creations.slice(0, 2))).json,
    { done: 2 },
    'two are within the limit',
  )
  const changes = names.map((name) => ({ action: name === 'c' ? 'create' : 'replace', name, edit }))
  const patched = changes.map((change) => ({ ...change, edit: { ...edit, note: 'new' } }))
  const before = await texts(...names)
  const dry = await asAnna('POST', '/tables:batch?dry_run=true', {
    body: { atomic: false, changes: patched },
  })
  t.match(dry.as(BatchResult), { done: 3, needsApproval: true })
  const asked = await asAnna('POST', '/tables:batch', {
    body: { atomic: false, changes: patched },
    headers: { 'x-change-reason': 'sale', 'idempotency-key': 'k' },
  })
  t.equal(asked.status, 202, asked.text)
  const approval = asked.as(Approval)
  t.equal(asked.headers.get('location'), `/api/v1/approvals/${approval.id}`)
  t.match(approval, {
    state: 'pending',
    origin: 'batch',
    mine: true,
    author: { actor: 'anna', source: 'api', reason: 'sale' },
    counts: { create: 1, change: 2, delete: 0, invalid: 0 },
  })
  const again = await asAnna('POST', '/tables:batch', {
    body: { atomic: false, changes: patched },
    headers: { 'x-change-reason': 'sale', 'idempotency-key': 'k' },
  })
  t.equal(again.as(Approval).id, approval.id, 'a repeated request asks once')
  t.same(await texts(...names), before, 'nothing has changed')

  const other = await open()
  const benThere = await logIn(other.address, 'ben')
  await until(async () => (await benThere('GET', '/approvals')).as(ApprovalList).pending === 1)
  const seen = await detail(benThere, approval)
  t.equal(seen.mine, false)
  t.same(
    seen.items.map(({ name, kind, before: was }) => [name, kind, was]),
    [
      ['a', 'change', before[0]],
      ['b', 'change', before[1]],
      ['c', 'create', undefined],
    ],
  )
  const approved = await benThere('POST', `/approvals/${approval.id}:approve`, {
    headers: { 'x-change-reason': 'looks right' },
  })
  t.match(approved.as(ApprovalDetail), {
    state: 'applied',
    decision: { actor: 'ben', reason: 'looks right' },
    progress: { done: 3, failed: 0, skipped: 0, total: 3 },
    items: [{ status: 'done' }, { status: 'done' }, { status: 'done' }],
  })
  t.same(
    await texts(...names),
    seen.items.map(({ after }) => after),
    'byte for byte what was reviewed',
  )
  const [version] = (await asAnna('GET', '/tables/a/history')).as(TableHistory).entries
  t.match(version, { action: 'change', actor: 'anna', approvedBy: 'ben', reason: 'sale' })
  await until(
    async () => (await asAnna('GET', '/tables/a')).as(Table).changedBy?.approvedBy === 'ben',
  )
  const { entries } = (await asAnna('GET', '/audit?limit=100')).as(AuditList)
  t.match(
    entries.filter(({ kind }) => kind === 'table').slice(0, 3),
    [1, 2, 3].map(() => ({ actor: 'anna', approvedBy: 'ben', reason: 'sale' })),
  )
  t.same(
    entries.filter(({ kind }) => kind === 'approval').map(({ action, actor }) => [action, actor]),
    [
      ['approve', 'ben'],
      ['request', 'anna'],
    ],
  )
  t.equal((await asAnna('GET', '/audit:verify')).as(AuditVerification).ok, true)
  t.match((await asAnna('GET', '/audit:export?format=csv')).text, /,ben\r?$/m)
  await until(() => told(admin).includes('changed'))
  t.equal(told(admin)[0], 'created', 'every gateway tells its page')
})

function told({ services }: AdminServer): readonly string[] {
  return (services.events.after(0, 100_000) ?? [])
    .filter(({ topic }) => topic === 'approvals')
    .map(({ json }) => (JSON.parse(json) as { readonly type: string }).type)
}

void t.test(
  'who asked is not the second person, neither by a token nor under its name',
  async (t) => {
    const { asAnna, asBen, asAdmin, admin } = await startPeople(t)
    const { address } = admin
    const annasToken = await tokenOf(asAnna, address, 'ci', anything)
    const annasOther = await tokenOf(asAnna, address, 'ci2', anything)
    const adminsToken = await tokenOf(asAdmin, address, 'ci', anything)
    const asked = (await batch(annasToken, creations)).as(Approval)
    t.equal((await detail(asAnna, asked)).mine, true)
    for (const call of [annasToken, annasOther, asAnna])
      t.equal((await decide(call, 'approve', asked)).code, '403 forbidden')
    t.equal((await decide(asAnna, 'reject', asked)).code, '403 forbidden')
    t.equal((await decide(asBen, 'withdraw', asked)).code, '403 forbidden')
    t.equal((await decide(asAnna, 'withdraw', asked)).as(Approval).state, 'withdrawn')
    const late = await decide(asBen, 'approve', asked)
    t.equal(late.code, '412 changed-meanwhile')
    t.match(late.problem, { detail: /withdrawn/, changedBy: { actor: 'anna' } })

    const second = (await batch(asAnna, creations)).as(Approval)
    t.equal((await decide(adminsToken, 'approve', second)).as(ApprovalDetail).state, 'applied')
  },
)

void t.test('the second person needs the rights for all of it', async (t) => {
  const { asAnna, asBen, asCarla, asAdmin, admin, texts } = await startPeople(t)
  const asViewer = await hire(asAdmin, admin.address, 'vic', [{ role: 'viewer' }])
  const pay = names.map((name) => ({ action: 'create', name, edit: { ...edit, cluster: 'pay' } }))
  const mixed = [...pay.slice(1), ...creations.slice(0, 1)]
  const asked = (await batch(asAnna, mixed)).as(Approval)
  for (const verb of ['approve', 'reject']) {
    const refused = await decide(asCarla, verb, asked)
    t.match(refused.problem.missing, { right: 'tables.edit', cluster: 'c1' })
    t.equal((await decide(asViewer, verb, asked)).code, '403 forbidden')
  }
  t.same(await texts(...names), [undefined, undefined, undefined])
  t.equal((await decide(asBen, 'reject', asked)).as(Approval).state, 'rejected')
  t.same(await texts(...names), [undefined, undefined, undefined])
  const hers = (await batch(asAnna, pay)).as(Approval)
  t.equal((await decide(asCarla, 'approve', hers)).as(ApprovalDetail).state, 'applied')
  t.equal((await asViewer('GET', '/approvals')).as(ApprovalList).approvals.length, 2)
})

void t.test('what has changed since is skipped and listed, nothing else is touched', async (t) => {
  const { asAnna, asBen, editor, texts } = await startPeople(t)
  const all = Array.from({ length: 300 }, (_, index) => `t${String(index).padStart(3, '0')}`)
  const rows = all.map((name) => ({ name, ...edit }))
  const imported = await asAnna('POST', '/tables:import', {
    body: { format: 'json', text: JSON.stringify(rows) },
  })
  const set = imported.as(ChangeSet)
  t.equal(set.needsApproval, true)
  const include = all.slice(0, 290)
  const body = { token: set.token, include }
  const asked = (await asAnna('POST', '/tables:apply', { body })).as(Approval)
  t.match(asked, { origin: 'import', counts: { create: 290 } })
  t.equal((await asAnna('POST', '/tables:apply', { body })).code, '410 preview-expired')
  const raced = all.filter((_, index) => index % 4 === 1)
  for (const name of raced) await editor.create(`${root}/${name}`, Buffer.from('theirs'))
  const skipped = raced.filter((name) => include.includes(name)).length
  const { progress, items } = (await decide(asBen, 'approve', asked)).as(ApprovalDetail)
  t.match(progress, { done: 290 - skipped, skipped, failed: 0, total: 290 })
  t.ok(skipped > 50, 'more than the first node takes')
  t.ok(
    items.every(({ name, status }) => status === (raced.includes(name) ? 'skipped' : 'done')),
    'each by its name',
  )
  t.match(items[1]?.why, /mapped already/)
  t.same(await texts(...raced.slice(0, 3)), ['theirs', 'theirs', 'theirs'])
  t.same(await texts(...all.slice(290, 292)), [undefined, undefined])
  t.same(await detail(asAnna, asked).then((later) => later.items), items, 'and so it stays')
})

void t.test('changes that cannot be made are shown to who decides, and not applied', async (t) => {
  const { asAnna, asBen, map, texts } = await startPeople(t)
  await map('b')
  const asked = (await batch(asAnna, creations)).as(Approval)
  t.match(asked.counts, { create: 2, invalid: 1 })
  const { items, progress } = (await decide(asBen, 'approve', asked)).as(ApprovalDetail)
  t.match(items[1], { kind: 'invalid', errors: [{ message: /mapped already/ }] })
  t.match([items[0]?.status, items[1]?.status, items[2]?.status], ['done', undefined, 'done'])
  t.match(progress, { done: 2, total: 2 })
  const none = await batch(asAnna, creations)
  t.equal(none.status, 200, 'nobody is asked about nothing')
  t.match(none.as(BatchResult), { done: 0, skipped: 3 })
  t.equal((await texts('b'))[0], text)
})

void t.test('all or nothing stays all or nothing', async (t) => {
  const { asAnna, asBen, editor, texts, map } = await startPeople(t)
  const first = (await batch(asAnna, creations, true)).as(Approval)
  t.equal(first.atomic, true)
  const second = (await batch(asAnna, creations, true)).as(Approval)
  await map('b')
  const nothing = (await decide(asBen, 'approve', first)).as(ApprovalDetail)
  t.same(
    nothing.items.map(({ status }) => status),
    ['skipped', 'failed', 'skipped'],
  )
  t.match(nothing, { state: 'applied', progress: { done: 0, failed: 1, skipped: 2 } })
  t.same(await texts('a', 'c'), [undefined, undefined])
  const refused = await batch(asAnna, creations, true)
  t.match(refused.as(BatchResult).results, [{ status: 'skipped' }, { status: 'failed' }, {}])
  await editor.remove(`${root}/b`)
  t.match((await decide(asBen, 'approve', second)).as(ApprovalDetail).progress, { done: 3 })
})

void t.test('a meta server for another: the registry waits too', async (t) => {
  const { asAdmin, asAnna, asBen, asCarla, map } = await startPeople(t)
  await map(...names)
  const put = await asAdmin('PUT', '/clusters/c1', { body: { metas: ['h:1'] }, headers: create })
  const ask = async (to: string): Promise<Approval> => {
    await until(async () => {
      const { tables } = (await asAnna('GET', '/tables?cluster=c1')).json as { tables: unknown[] }
      return tables.length === 3
    })
    const body = { from: 'h:1', to }
    const set = (await asAnna('POST', '/clusters/c1:replace-meta', { body })).as(ChangeSet)
    return (await asAnna('POST', '/tables:apply', { body: { token: set.token } })).as(Approval)
  }
  const first = await ask('n:1')
  const second = await ask('n:2')
  t.match(first.registry, { cluster: 'c1', metas: ['n:1'] })
  t.equal((await asAnna('GET', '/clusters/c1')).etag, put.etag)
  t.equal((await decide(asCarla, 'approve', first)).code, '403 forbidden')
  t.match((await decide(asBen, 'approve', first)).as(ApprovalDetail).progress, { done: 3 })
  t.match((await asAnna('GET', '/clusters/c1')).json, { metas: ['n:1'] })
  const late = await decide(asBen, 'approve', second)
  t.equal(late.code, '412 changed-meanwhile', 'mappings and registry would disagree')
  t.equal((await detail(asAnna, second)).state, 'pending')
  const { entries } = (await asAnna('GET', '/audit?kind=cluster')).as(AuditList)
  t.match(entries[0], { actor: 'anna', approvedBy: 'ben', action: 'change' })
})

void t.test('nobody decides: it expires, is audited and forgotten', async (t) => {
  const { asAnna, asBen, admin, passMs, editor } = await startPeople(t)
  const asked = (await batch(asAnna, creations)).as(Approval)
  const decided = (await batch(asAnna, creations)).as(Approval)
  await decide(asBen, 'reject', decided)
  passMs(24 * 3_600_000 + 1000)
  const [ann, bob] = [await logIn(admin.address, 'anna'), await logIn(admin.address, 'ben')]
  t.equal((await detail(ann, asked)).state, 'expired', 'before anybody wrote it down')
  t.match((await decide(bob, 'approve', asked)).problem, { detail: /is expired/ })
  await admin.services.approvals.tidy()
  const { entries } = (await ann('GET', '/audit?kind=approval')).as(AuditList)
  t.match(entries[0], { action: 'expire', name: asked.id, source: 'automatic' })
  t.equal((await ann('GET', `/approvals/${decided.id}`)).code, '404 not-found')
  t.equal((await detail(ann, asked)).decision?.source, 'automatic')
  passMs(24 * 3_600_000 + 1000)
  await admin.services.approvals.tidy()
  t.same(await editor.children(`${root}.gateway/approvals`), [])
})

interface Trouble {
  /** Of its transactions from now on; counts down. */
  left: number
  readonly isDone: boolean
}

/** A gateway that dies at its n-th transaction: before or after it reached ZooKeeper. */
function dying(coordinator: Coordinator, trouble: Trouble): Coordinator {
  const dead = (): never => {
    throw new CoordinatorError('closed', 'multi', '')
  }
  const multi: Coordinator['multi'] = async (operations) => {
    if (trouble.left < 0) dead()
    if (trouble.left-- > 0) return coordinator.multi(operations)
    if (trouble.isDone) await coordinator.multi(operations)
    return dead()
  }
  return new Proxy(coordinator, {
    get: (target, key) => {
      if (key === 'multi') return multi
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

void t.test('whatever moment a gateway dies in, every change is made once', async (t) => {
  const all = Array.from({ length: 90 }, (_, index) => `t${index}`)
  const raced = 't41'
  let deaths = 0
  for (const isDone of [false, true])
    // One for the decision, one for forty changes, forty for single ones, one for the last ten.
    for (const at of [0, 1, 2, 3, 20, 41, 42]) {
      const tree = await startTree(t)
      const trouble = { left: Infinity, isDone }
      const first = await tree.open((coordinator) => dying(coordinator, trouble))
      const second = await tree.open()
      const items = all.map((name) => ({ kind: 'create' as const, name, after: text }))
      const what = { origin: 'import', atomic: false, items }
      const { id } = await first.services.approvals.ask(anna, byAnna, what)
      await tree.map(raced)
      trouble.left = at
      await first.services.approvals.approve(ben, byBen, id).catch(() => deaths++)
      const { approvals } = second.services
      const left = await approvals.detail(ben, id)
      if (left.state === 'pending') await approvals.approve(ben, byBen, id)
      else if (left.state === 'applying') {
        const untouched = await approvals.approve(ben, byBen, id)
        t.equal(untouched.progress?.at, left.progress?.at, 'it may be running yet')
        tree.passMs(31_000)
        if (at % 2 === 0) await approvals.tidy()
        else await approvals.approve(ben, byBen, id)
      }
      const end = await approvals.detail(anna, id)
      t.match(end, { state: 'applied', progress: { done: 89, skipped: 1, failed: 0 } })
      t.equal(end.items[41]?.status, 'skipped')
      const histories = await Promise.all(all.map((name) => second.services.histories.list(name)))
      t.ok(
        histories.every((versions, index) =>
          all[index] === raced
            ? versions.every(({ source }) => source === 'external')
            : versions.length === 1,
        ),
        `each once, dead at ${at}, ${isDone ? 'done' : 'not done'}`,
      )
      t.equal((await second.services.audit.verify()).ok, true)
    }
  t.equal(deaths, 14, 'it died each time')
})

void t.test(
  'of two gateways that carry out the same one, each change is made by one',
  async (t) => {
    const tree = await startTree(t)
    const trouble = { left: Infinity, isDone: true }
    const first = await tree.open((coordinator) => dying(coordinator, trouble))
    const others = [await tree.open(), await tree.open()]
    const all = Array.from({ length: 200 }, (_, index) => `t${index}`)
    const items = all.map((name) => ({ kind: 'create' as const, name, after: text }))
    const { approvals } = first.services
    const { id } = await approvals.ask(anna, byAnna, { origin: 'import', atomic: false, items })
    trouble.left = 2
    await t.rejects(approvals.approve(ben, byBen, id))
    tree.passMs(31_000)
    await Promise.allSettled(
      others.map(({ services }) => services.approvals.approve(ben, byBen, id)),
    )
    const { services } = await tree.open()
    const end = await services.approvals.detail(anna, id)
    t.match(end, { state: 'applied', progress: { done: 200, skipped: 0, failed: 0 } })
    const made = await Promise.all(all.map((name) => services.histories.list(name)))
    t.ok(
      made.every((versions) => versions.length === 1),
      'each once',
    )
  },
)

void t.test('there is an end to what may wait', async (t) => {
  const tree = await startTree(t)
  const { services } = await tree.open()
  const { approvals } = services
  const ask = (...items: readonly { readonly name: string; readonly after: string }[]) =>
    approvals.ask(anna, byAnna, {
      origin: 'batch',
      atomic: false,
      items: items.map((item) => ({ ...item, kind: 'create' as const })),
    })
  const large = { name: 'a', after: 'x'.repeat(900_000) }
  await t.rejects(ask(...Array.from({ length: 20 }, () => large)), { code: 'too-large' })
  const path = `${root}.gateway/approvals`
  t.same(await tree.editor.children(path), [], 'nothing of it stays')
  for (let count = 0; count < 100; count++) await ask({ name: 'a', after: text })
  await t.rejects(ask({ name: 'a', after: text }), { code: 'busy' })
  const { approvals: all } = approvals.list(anna)
  for (const { id } of all) await approvals.withdraw(anna, byAnna, id)
  for (let count = 0; count < 105; count++) {
    const { id } = await ask({ name: 'a', after: text })
    await approvals.withdraw(anna, byAnna, id)
  }
  t.equal((await tree.editor.children(path)).length, 200, 'the oldest decided ones go')
})

void t.test('what another tool puts among them harms nobody', async (t) => {
  const { asAnna, asBen, editor, admin } = await startPeople(t)
  const asked = (await batch(asAnna, creations)).as(Approval)
  const path = `${root}.gateway/approvals`
  for (const [name, garbage] of Object.entries({
    aaaaaaaaaaaa: 'not json',
    bbbbbbbbbbbb: '[]',
    'what is this': '{"state":1}',
  }))
    await editor.create(`${path}/${name}`, Buffer.from(garbage))
  await admin.services.approvals.tidy()
  t.equal((await asBen('GET', '/approvals')).as(ApprovalList).approvals.length, 1)
  for (const id of ['aaaaaaaaaaaa', 'bbbbbbbbbbbb', '..%2Fusers', 'x'])
    t.equal((await asBen('POST', `/approvals/${id}:approve`)).code, '404 not-found')
  t.equal((await decide(asBen, 'approve', asked)).as(ApprovalDetail).state, 'applied')
})
