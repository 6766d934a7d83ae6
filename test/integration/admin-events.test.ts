/** `/api/v1/events` (gateway.md 14): the stream, replay after a reconnect, topics, slow listeners. */
import t from 'tap'
import { ServerEvent } from '../../gateway/admin/api/events.ts'
import { Check } from 'typebox/value'
import { GatewayList } from '../../gateway/admin/api/gateways.ts'
import { EventHub } from '../../gateway/admin/event-hub.ts'
import { create, startAdminWorld } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'

t.setTimeout(120_000)

interface Listener {
  readonly events: ServerEvent[]
  lastId: string
  readonly close: () => void
}

/** An EventSource as far as the API is concerned. */
async function listen(address: string, query = '', lastId?: string): Promise<Listener> {
  const abort = new AbortController()
  const response = await fetch(`http://${address}/api/v1/events${query}`, {
    headers: lastId === undefined ? {} : { 'last-event-id': lastId },
    signal: abort.signal,
  })
  if (response.status !== 200 || response.body === null) throw new Error(await response.text())
  const listener: Listener = { events: [], lastId: '', close: () => abort.abort() }
  void (async () => {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      const messages = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n\n')
      rest = messages.pop() ?? ''
      for (const message of messages) {
        const [, id, data] = /^id: (.*)\ndata: (.*)$/.exec(message) ?? []
        if (id === undefined || data === undefined) continue
        const event: unknown = JSON.parse(data)
        if (!Check(ServerEvent, event)) throw new Error(`not an event: ${data}`)
        listener.events.push(event)
        listener.lastId = id
      }
    }
  })().catch(() => undefined)
  return listener
}

const edit = { cluster: 'c1', metas: ['127.0.0.1:1'] }
const tablesOf = ({ events }: Listener): readonly unknown[] =>
  events.filter(({ topic }) => topic === 'tables').map(({ type, name }) => `${type} ${name}`)

void t.test('a listener hears of every change, and by whom', async (t) => {
  const { admin, call, world } = await startAdminWorld(t)
  const listener = await listen(admin.address)
  await until(() => listener.events.length > 0)
  t.match(listener.events[0], { topic: 'stream', type: 'hello' })
  await call('PUT', '/tables/a', { body: edit, headers: create })
  await until(() => tablesOf(listener).length === 1)
  t.match(
    listener.events.find(({ topic }) => topic === 'tables'),
    { type: 'created', name: 'a', cluster: 'c1', actor: 'loopback', source: 'api' },
  )
  t.ok(listener.events.some(({ topic, name }) => topic === 'audit' && name === '1'))
  await world.editor.set(
    `${root}/a`,
    Buffer.from(JSON.stringify({ cluster: 'c2', 'meta-addrs': ['h:1'] })),
  )
  await until(() => tablesOf(listener).length === 2)
  t.match(
    listener.events.findLast(({ topic }) => topic === 'tables'),
    {
      type: 'changed',
      clusterBefore: 'c1',
      cluster: 'c2',
      source: 'external',
    },
  )
  listener.close()
})

void t.test('numbers of a gateway that merely move are shown, and are no event', async (t) => {
  const { admin, call, world } = await startAdminWorld(t)
  const listener = await listen(admin.address, '?topics=gateways')
  await until(() => listener.events.length > 0)
  const path = `${root}.gateway/gateways/other`
  const load = {
    overSeconds: 5,
    queriesPerSecond: 12.5,
    errorsPerSecond: 0,
    loopLagMs: 20,
    routes: 3,
  }
  const node = { version: '1', zookeeper: 'connected', connections: 7 }
  const write = (value: object): Promise<unknown> =>
    world.editor.set(path, Buffer.from(JSON.stringify(value)))
  const shown = async () =>
    (await call('GET', '/gateways')).as(GatewayList).gateways.find(({ id }) => id === 'other')
  await admin.services.tree.ensure()
  await world.editor.create(path, Buffer.from(JSON.stringify(node)))
  await until(async () => (await shown()) !== undefined)
  t.equal((await shown())?.load, undefined, 'a version that does not say it')
  await write({ ...node, connections: 9, load, configHash: 'c0ffee00' })
  await until(async () => (await shown())?.connections === 9)
  t.match(await shown(), { load, configHash: 'c0ffee00' })
  await write({ ...node, connections: 10, load: { ...load, p99Ms: 2 }, configHash: 'c0ffee00' })
  await until(async () => (await shown())?.load?.p99Ms === 2)
  await write({ ...node, zookeeper: 'suspended', load: { ...load, routes: -1 } })
  await until(async () => (await shown())?.zookeeper === 'suspended')
  t.equal((await shown())?.load, undefined, 'what is no load is not shown')
  await until(() => listener.events.filter(({ topic }) => topic === 'gateways').length >= 3)
  t.same(
    listener.events.flatMap(({ topic, type }) => (topic === 'gateways' ? [type] : [])),
    ['created', 'changed', 'changed'],
    'the configuration is another one, then the session',
  )
  listener.close()
})

void t.test('after a reconnect comes what was missed, exactly once', async (t) => {
  const { admin, call } = await startAdminWorld(t)
  const first = await listen(admin.address, '?topics=tables')
  await until(() => first.events.length > 0)
  await call('PUT', '/tables/a', { body: edit, headers: create })
  await until(() => tablesOf(first).length === 1)
  first.close()
  for (const name of ['b', 'c'])
    await call('PUT', `/tables/${name}`, { body: edit, headers: create })
  await until(() => admin.services.events.number >= 6)
  const second = await listen(admin.address, '?topics=tables', first.lastId)
  await until(() => tablesOf(second).length === 2)
  t.same(new Set(tablesOf(second)), new Set(['created b', 'created c']))
  t.ok(
    second.events.every(({ topic }) => topic === 'tables'),
    'only the topic, no reset',
  )
  second.close()
  const lost = await listen(admin.address, '', '1.1.00000000')
  await until(() => lost.events.length > 0)
  t.match(lost.events[0], { topic: 'stream', type: 'reset' }, 'an id that nobody knows')
  lost.close()
  t.equal((await call('GET', '/events?topics=nonsense')).code, '400 bad-request')
})

void t.test('another gateway replays by time', async (t) => {
  const { admin, call, another } = await startAdminWorld(t)
  const other = await another()
  // A gateway knows nothing of before its start; ids of then are answered with a reset.
  await new Promise((resolve) => setTimeout(resolve, 1200))
  const first = await listen(admin.address, '?topics=tables')
  await until(() => first.events.length > 0)
  first.close()
  await call('PUT', '/tables/a', { body: edit, headers: create })
  await until(() => other.admin.services.mirror.get('a') !== undefined)
  const second = await listen(other.admin.address, '?topics=tables', first.lastId)
  await until(() => tablesOf(second).includes('created a'))
  t.notOk(second.events.some(({ topic }) => topic === 'stream'))
  second.close()
})

void t.test('the ring is bounded, and says when it no longer knows', (t) => {
  let nowMs = 1_000_000
  const hub = new EventHub({
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs },
    random: { bytes: (size) => Buffer.alloc(size, 7), float: () => 0, below: () => 0 },
  })
  const id = hub.lastId
  for (let index = 0; index < 150_000; index++) {
    nowMs += 2
    hub.publish({ topic: 'tables', type: 'changed', name: `t${index}` })
  }
  t.equal(hub.after(0, 10), undefined)
  t.equal(hub.numberOf(id), 0)
  const newest = hub.after(hub.number - 2, 10) ?? []
  t.same(
    newest.map(({ number }) => number),
    [149_999, 150_000],
  )
  t.equal(hub.after(hub.number, 10)?.length, 0)
  const foreign = `${nowMs - 1000}.17.ffffffff`
  const from = hub.numberOf(foreign) ?? 0
  t.ok(hub.number - from >= 900 && hub.number - from <= 1100, 'by time, with a second of overlap')
  t.equal(hub.numberOf('1.17.ffffffff'), undefined)
  t.end()
})
