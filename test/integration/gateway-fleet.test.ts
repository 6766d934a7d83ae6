/**
 * Two gateways of one fleet, as processes (gateway.md L-5, admin-ui.md 3.3 and 3.10): what one of them
 * learns of the other through ZooKeeper. One of them has workers.
 */
import t, { type Test } from 'tap'
import { shell } from '../../cluster/cli/shell.ts'
import { ClusterHealth } from '../../gateway/admin/api/clusters.ts'
import { type Gateway, GatewayDetail, GatewayList } from '../../gateway/admin/api/gateways.ts'
import { TableClients, TableRates, TableRoutes } from '../../gateway/admin/api/table-fleet.ts'
import { type Call, callOf, create } from '../support/admin-world.ts'
import { type FakeMeta, startFakeMeta } from '../support/fake-meta.ts'
import { type GatewayStand, type RunningCommand, startStand } from '../support/gateway-process.ts'
import { FrameClient, queryFrame, root, until } from '../support/gateway-world.ts'
import { freePort } from '../support/ports.ts'

// A process takes a second to start, more when the machine is busy.
t.setTimeout(240_000)

interface Fleet {
  readonly stand: GatewayStand
  readonly meta: FakeMeta
  /** Of the gateway with two workers, and of the other one. */
  readonly commands: readonly [RunningCommand, RunningCommand]
  readonly ports: readonly [number, number]
  readonly calls: readonly [Call, Call]
  readonly ids: readonly [string, string]
  /** A command of the shell at the second gateway. */
  readonly run: (...words: string[]) => Promise<{ readonly code: number; readonly out: string }>
  readonly map: (cluster: string) => Promise<void>
}

async function startFleet(t: Test): Promise<Fleet> {
  const common = { lameDuckMs: 100 }
  const stand = await startStand(t.testdir(), { ...common, id: 'first', workers: 2 })
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
  t.teardown(async () => {
    await stand.close()
    await meta.close()
  })
  const first = stand.start()
  await until(stand.isReady)
  const [rpc, http] = [await freePort(), await freePort()]
  const host = '127.0.0.1'
  stand.configure({
    id: 'second',
    workers: 1,
    rpc: { host, port: rpc },
    http: { host, port: http },
  })
  const second = stand.start()
  const calls = [callOf(`${host}:${stand.http}`), callOf(`${host}:${http}`)] as const
  const list = async (): Promise<readonly string[]> => {
    const answer = await calls[0]('GET', '/gateways').catch(() => undefined)
    return answer?.status === 200 ? answer.as(GatewayList).gateways.map(({ id }) => id) : []
  }
  await until(async () => (await list()).length === 2)
  await until(
    async () => (await calls[1]('GET', '//readyz').catch(() => undefined))?.status === 200,
  )
  const found = (await list()).toSorted()
  const [one = '', two = ''] = found
  t.match(one, /^first-/)
  t.match(two, /^second-/)
  return {
    stand,
    meta,
    commands: [first, second],
    ports: [stand.rpc, rpc],
    calls,
    ids: [one, two],
    run: async (...words) => {
      const lines: string[] = []
      const print = (line: string): number => lines.push(line)
      const environment = { METAPROXY_GATEWAY: `${host}:${http}` }
      const code = await shell(words, { environment, print, complain: print })
      return { code, out: lines.join('\n') }
    },
    map: async (cluster) => {
      const data = Buffer.from(JSON.stringify({ cluster, 'meta-addrs': [meta.address] }))
      const path = `${root}/temp`
      if ((await stand.editor.exists(path)) === undefined) await stand.editor.create(path, data)
      else await stand.editor.set(path, data)
    },
  }
}

void t.test('every gateway tells who asked it, and who is slow to move', async (t) => {
  const { ports, calls, ids, map, stand, commands, run } = await startFleet(t)
  await map('old')
  const one = await FrameClient.dial(ports[0], '127.0.0.1')
  const two = await FrameClient.dial(ports[1], '127.0.0.2')
  t.teardown(() => {
    one.destroy()
    two.destroy()
  })
  for (let n = 0; n < 3; n++) await one.query('temp')
  await two.query('temp', { version: 1, indices: [0] })
  await two.query('nowhere')
  const clients = async (call: Call): Promise<TableClients> =>
    (await call('GET', '/tables/temp/clients')).as(TableClients)
  const found = await clients(calls[1])
  t.same(found.answered, ids)
  t.same(found.silent, [])
  t.comment(`two gateways answered in ${found.elapsedMs} ms`)
  t.match(found, { cluster: 'old', total: 2, slow: 0, truncated: false })
  const byAddress = (all: TableClients): readonly TableClients['clients'][number][] =>
    all.clients.toSorted((a, b) => (a.address < b.address ? -1 : 1))
  t.match(byAddress(found), [
    {
      address: '127.0.0.1',
      gateways: [ids[0]],
      queries: 3,
      headerVersion: 0,
      libraries: ['go', 'python'],
      isWhole: true,
      result: 'relayed',
      cluster: 'old',
      slow: false,
    },
    {
      address: '127.0.0.2',
      gateways: [ids[1]],
      queries: 1,
      headerVersion: 1,
      libraries: ['java', 'pegasus-metaproxy'],
      isWhole: false,
      cluster: 'old',
    },
  ])
  t.same(
    (await calls[0]('GET', '/tables/nowhere/clients')).as(TableClients).clients,
    [],
    'nobody is remembered for a table that is not mapped',
  )

  await map('new')
  // It asks until it is told the new cluster; the other one never asks again.
  await until(async () => {
    await two.query('temp')
    return (await clients(calls[0])).slow === 1
  })
  const moved = await clients(calls[0])
  t.match(moved, { cluster: 'new', total: 2 })
  t.match(moved.clients[0], { address: '127.0.0.1', cluster: 'old', slow: true }, 'slow ones first')
  t.match(moved.clients[1], { address: '127.0.0.2', cluster: 'new', slow: false })
  // What this gateway was told a moment ago it tells again.
  await until(async () => {
    const { code, out } = await run('tables', 'clients', 'temp')
    return code === 0 && /127\.0\.0\.1 .* go, python .* old +true\n127\.0\.0\.2 /.test(out)
  })
  // The same machine asks the other gateway: it knows now.
  const elsewhere = await FrameClient.dial(ports[1], '127.0.0.1')
  t.teardown(() => elsewhere.destroy())
  await elsewhere.query('temp')
  await until(async () => (await clients(calls[0])).slow === 0)
  const last = byAddress(await clients(calls[0]))[0]
  t.match(last, { queries: 4, gateways: ids, cluster: 'new' })

  stand.configure({})
  commands[0].child.kill('SIGHUP')
  await until(() => commands[0].output().includes('clients of before the reload have gone'))
  await until(async () => {
    const { clients: all } = await clients(calls[0])
    return all.find(({ address }) => address === '127.0.0.1')?.queries === 4
  })
  t.pass('what the workers of before a reload knew is not forgotten')

  const { editor } = stand
  const left = async (): Promise<number> => {
    const places = await editor.children(`${root}.gateway/questions`)
    const nodes = places.map((place) => editor.children(`${root}.gateway/questions/${place}`))
    return (await Promise.all(nodes)).flat().length
  }
  await until(async () => (await left()) === 0)
  t.pass('neither a question nor an answer stays')
})

void t.test('every gateway tells what it serves, and a silent one is named', async (t) => {
  const { stand, ports, calls, ids, map, meta, commands, run } = await startFleet(t)
  await map('c1')
  const client = await FrameClient.dial(ports[1])
  t.teardown(() => client.destroy())
  await client.query('temp')
  const routes = async (): Promise<TableRoutes> =>
    (await calls[0]('GET', '/tables/temp/routes')).as(TableRoutes)
  await until(async () => (await calls[0]('GET', '/tables/temp')).status === 200)
  const found = await routes()
  t.match(found, { wanted: { kind: 'route', cluster: 'c1', version: 0 }, silent: [] })
  t.same(found.answered, ids)
  const [one, two] = found.gateways
  t.match(one, { id: ids[0], self: true, agrees: true, serves: { kind: 'unread' } })
  t.match(two, { id: ids[1], self: false, agrees: true, behind: 0 })
  t.match(two?.serves, { kind: 'route', cluster: 'c1', zxid: found.wanted.zxid, differing: [] })

  const routed = await run('tables', 'routes', 'temp')
  t.match(routed, { code: 0, out: /second-\S+ +0 +true +route +c1 / })

  const body = { metas: [meta.address] }
  const registered = await calls[0]('PUT', '/clusters/c1', { body, headers: create })
  t.equal(registered.status, 200)
  const probe = async (call: Call): Promise<ClusterHealth['probe']> =>
    (await call('GET', '/clusters/c1/health')).as(ClusterHealth).probe
  for (const call of calls) await until(async () => (await probe(call)) !== undefined)
  const [mine, other] = [await probe(calls[0]), await probe(calls[1])]
  t.match(mine, { by: /^(first|second)-/, leaderReachable: Boolean, elapsedMs: Number })
  t.equal(mine?.by, other?.by, 'M-8: one gateway probes for all of them')

  commands[1].child.kill('SIGSTOP')
  t.teardown(() => commands[1].child.kill('SIGCONT'))
  await until(async () => (await routes()).silent.length > 0)
  const half = await routes()
  t.same(half.answered, [ids[0]])
  t.match(half.silent, [{ id: ids[1], reason: /within 1000 ms/ }])
  t.equal(half.gateways[1]?.agrees, undefined)
  commands[1].child.kill('SIGCONT')
  await until(async () => (await routes()).silent.length === 0)

  await stand.editor.remove(`${root}/temp`)
  await until(async () => {
    const { wanted, gateways } = await routes()
    return wanted.kind === 'missing' && gateways.every(({ agrees }) => agrees === true)
  })
  t.equal((await routes()).gateways[1]?.serves?.kind, 'missing', 'nobody serves what was deleted')
})

void t.test('a gateway is looked at and drained from another one', async (t) => {
  const { ports, calls, ids, map, run } = await startFleet(t)
  await map('c1')
  const client = await FrameClient.dial(ports[0])
  await client.query('temp')
  const [, call] = calls
  const detail = (await call('GET', `/gateways/${ids[0]}`)).as(GatewayDetail)
  t.equal(detail.gateway.id, ids[0])
  t.same(detail.silent, [])
  const option = detail.config?.find(({ path }) => path === 'workers')
  t.match(option, { value: 2, source: /gateway\.yaml/ })
  t.match(
    detail.recent?.find(({ fields }) => fields.includes('zookeeper.user')),
    { level: 'warn', event: 'ZooKeeper nodes made here are open to everyone' },
  )
  t.equal((await call('GET', '/gateways/nobody')).code, '404 not-found')
  const shown = await run('gateways', 'get', ids[0])
  t.match(shown, { code: 0, out: /\nworkers +2 +\S/ })

  const drained = await call('POST', `/gateways/${ids[0]}:drain`, {
    headers: { 'x-change-reason': 'new kernel' },
  })
  t.equal(drained.status, 200, drained.text)
  await until(() => client.hasEnded)
  t.pass('the connection that there was has ended')
  const ready = async (): Promise<string> => (await calls[0]('GET', '//readyz')).text.trim()
  await until(async () => (await ready()) === 'drained by an operator')
  const late = await FrameClient.dial(ports[0])
  await late.query('temp')
  t.pass('who comes all the same is answered')
  const self = async (): Promise<GatewayList['gateways'][number] | undefined> =>
    (await call('GET', '/gateways')).as(GatewayList).gateways.find(({ id }) => id === ids[0])
  await until(async () => (await self())?.draining === true)
  t.match((await self())?.drain, { actor: 'loopback', reason: 'new kernel' })
  const again = await run('gateways', 'drain', ids[0])
  t.equal(again.code, 0, 'a second wish changes nothing')

  t.match(await run('gateways', 'resume', ids[0]), { code: 0, out: / resumes$/ })
  await until(async () => (await ready()) === 'ready')
  await until(async () => (await self())?.draining === false)
  t.equal((await self())?.drain, undefined)
  await late.query('temp')
  late.destroy()
  client.destroy()
  const { entries } = (await call('GET', '/audit?kind=gateway')).json as {
    entries: { action: string; name: string; reason?: string }[]
  }
  t.match(entries, [
    { action: 'resume', name: ids[0] },
    { action: 'drain', name: ids[0], reason: 'new kernel' },
  ])
  t.equal(entries.length, 2)
})

void t.test('every gateway tells how busy it is, all its workers together', async (t) => {
  const { stand, ports, calls, ids, map, run, commands } = await startFleet(t)
  await map('c1')
  await stand.editor.create(`${root}/broken`, Buffer.from('{}'))
  const [, call] = calls
  const shown = async (id: string): Promise<Gateway | undefined> =>
    (await call('GET', '/gateways')).as(GatewayList).gateways.find((one) => one.id === id)
  await until(async () => (await shown(ids[0]))?.load !== undefined)
  t.match((await shown(ids[0]))?.load, { queriesPerSecond: 0, errorsPerSecond: 0, routes: 0 })
  t.notOk('p99Ms' in ((await shown(ids[0]))?.load ?? {}), 'of no queries there is none')

  // The primary hands the second connection to the other worker.
  const clients = [await FrameClient.dial(ports[0]), await FrameClient.dial(ports[0])]
  t.teardown(() => {
    for (const client of clients) client.destroy()
  })
  const each = 300
  for (const client of clients) for (let n = 0; n < each; n++) client.send(queryFrame('temp'))
  await Promise.all(clients.map((client) => client.received(each)))
  const told = new Map<string, NonNullable<Gateway['load']>>()
  await until(async () => {
    const { load } = (await shown(ids[0])) ?? {}
    if (load !== undefined && load.queriesPerSecond > 0) told.set(JSON.stringify(load), load)
    return told.size > 0 && load?.queriesPerSecond === 0
  })
  const busy = [...told.values()]
  for (const load of busy) {
    t.ok((load.p99Ms ?? 0) > 0, `99 of 100 within ${load.p99Ms} ms`)
    t.match(load, { errorsPerSecond: 0, routes: 1 })
  }
  const sum = busy.reduce((all, load) => all + load.queriesPerSecond * load.overSeconds, 0)
  t.ok(sum > 1.6 * each && sum < 2.6 * each, `${Math.round(sum)} of ${2 * each} queries`)

  // One question to the fleet begins, later ones tell what was asked between them.
  const rates = async (): Promise<TableRates> =>
    (await calls[0]('GET', '/tables:rates')).as(TableRates)
  t.match(await rates(), { answered: ids, silent: [], pending: ids, rates: {} })
  const elsewhere = await FrameClient.dial(ports[1])
  t.teardown(() => elsewhere.destroy())
  await until(async () => {
    for (const client of [...clients, elsewhere]) await client.query('temp')
    return ((await rates()).rates['temp'] ?? 0) > 0
  })
  t.match(await rates(), { answered: ids, silent: [], pending: [], truncated: false })
  await until(async () => {
    await clients[0]?.query('temp')
    return /^TABLE +QUERIES\/S\ntemp +[0-9.]+/.test((await run('tables', 'rates')).out)
  })
  await until(async () => {
    await clients[0]?.query('broken')
    return ((await shown(ids[0]))?.load?.errorsPerSecond ?? 0) > 0
  })
  t.match(await run('gateways', 'list'), { code: 0, out: /QUERIES\/S +ERRORS\/S +P99 MS/ })

  const hash = async (id: string): Promise<string | undefined> => (await shown(id))?.configHash
  const [first, second] = [await hash(ids[0]), await hash(ids[1])]
  t.match(first, /^[0-9a-f]{8}$/)
  t.equal(second, first, 'names, ports and the number of workers may differ')
  stand.configure({ id: 'first', workers: 2, requestTimeoutMs: 3000 })
  commands[0].child.kill('SIGHUP')
  await until(async () => (await hash(ids[0])) !== first)
  t.equal(await hash(ids[1]), second)
})
