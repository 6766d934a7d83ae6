/** The applied epoch and the gateway's own node (gateway.md 8.5, DR-31; S3), in virtual time. */
import t from 'tap'
import { type GatewayLoad, type ServedCounts, nothingServed } from '../../gateway/load.ts'
import { FleetEpoch } from '../../gateway/routing/fleet-epoch.ts'
import { type FleetMember, joinFleet, memberId } from '../../gateway/routing/fleet-member.ts'
import { prepareRedirects, raiseEpoch } from '../../gateway/routing/redirect-plan.ts'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import {
  controlRoot,
  mappingTo,
  root,
  RoutingWorld,
  type SimulatedDirectory,
  told,
} from '../support/routing-world.ts'

interface Published {
  readonly id: string
  readonly appliedEpoch: number
  readonly zookeeper: string
  readonly draining: boolean
  readonly connections: number
  readonly configHash: string
  readonly load?: GatewayLoad
}

interface Member extends SimulatedDirectory {
  readonly control: Coordinator
  readonly member: FleetMember
  readonly id: string
  readonly published: () => Promise<Published | undefined>
}

async function start() {
  const routing = await RoutingWorld.start()
  await routing.settle(prepareRedirects(routing.editor, controlRoot))
  const join = (
    name: string,
    acknowledged?: (epoch: number) => Promise<void>,
    served = () => nothingServed,
  ): Member => {
    const gateway = routing.directory(name)
    const { runtime, directory, coordinator } = gateway
    const control = routing.memory.connect(runtime, {
      name: `${name}-control`,
      sessionTimeoutMs: 3000,
      onExpiry: 'renew',
    })
    const id = memberId(runtime, `${name}:1`)
    const member = joinFleet({
      runtime,
      data: coordinator,
      control,
      controlRoot,
      directory,
      facts: { id, version: '1', startedAt: '', host: name, rpc: [], http: '', workers: 1 },
      connectionCount: () => 7,
      isDraining: () => false,
      configHash: () => 'c0ffee',
      served: () => ({ counts: served(), loopLagMs: 3 }),
      ...(acknowledged === undefined ? {} : { acknowledged }),
    })
    const published = async (): Promise<Published | undefined> => {
      const read = routing.editor.get(`${controlRoot}/gateways/${id}`)
      const node = await routing.settle(read.catch(() => undefined))
      return node === undefined ? undefined : (JSON.parse(node.data.toString()) as Published)
    }
    return { ...gateway, control, member, id, published }
  }
  let version = 0
  /** As our tools change a mapping; resolves to the fleet's epoch with it. */
  const change = async (table: string, cluster: string): Promise<number> => {
    const data = Buffer.from(JSON.stringify(mappingTo(cluster)))
    const set = { type: 'set', path: `${root}/${table}`, data } as const
    await routing.settle(routing.editor.multi([set, raiseEpoch(controlRoot)]))
    return ++version
  }
  const untilPublished = async (
    { published }: Member,
    holds: (node: Published | undefined) => boolean,
    limitMs = 60_000,
  ): Promise<number> => {
    const startMs = routing.world.nowMs()
    while (!holds(await published())) {
      if (routing.world.nowMs() - startMs > limitMs) throw new Error('not published in time')
      await routing.pass(2)
    }
    return routing.world.nowMs() - startMs
  }
  return { routing, join, change, untilPublished }
}

void t.test('DR-31: a change is published as applied within 200 ms, by each gateway', async (t) => {
  const { routing, join, change, untilPublished } = await start()
  const tables = Array.from({ length: 100 }, (_, index) => `t${index}`)
  await routing.mapAll(tables, 'c1')
  const members = [join('one'), join('two')]
  for (const { directory } of members) await routing.lookups(directory, tables)
  for (const member of members) await untilPublished(member, (node) => node?.appliedEpoch === 0)
  t.match(await members[0]?.published(), {
    id: /^one-1-[0-9a-f]{6}$/,
    zookeeper: 'connected',
    connections: 7,
    draining: false,
  })
  const operations = tables.map((table) => ({
    type: 'set' as const,
    path: `${root}/${table}`,
    data: Buffer.from(JSON.stringify(mappingTo('c2'))),
  }))
  await routing.settle(routing.editor.multi([...operations, raiseEpoch(controlRoot)]))
  for (const member of members) {
    const tookMs = await untilPublished(member, (node) => node?.appliedEpoch === 1)
    t.ok(tookMs <= 200, `${tookMs} ms`)
    t.ok(tables.every((table) => told(member.directory.find(table)) === 'route c2'))
  }
  t.equal(await change('t0', 'c3'), 1)
  for (const { member, directory } of members) {
    await routing.settle(member.close())
    directory.close()
  }
})

void t.test(
  'S3: whenever an epoch is published, its change is what clients are told',
  async (t) => {
    for (let seed = 1; seed <= 20; seed++) {
      const { routing, join, change } = await start()
      await routing.map('t', 'c0')
      await routing.map('late', 'c0')
      const { directory, member, coordinator } = join('one')
      await routing.lookup(directory, 't')
      const random = routing.world.random
      let ok = true
      const judge = (): boolean => {
        const lookup = directory.find('t')
        const cluster = lookup?.kind === 'route' ? Number(lookup.route.cluster.slice(1)) : 0
        if (cluster < member.appliedEpoch()) ok = false
        return false
      }
      for (let turn = 1; turn <= 30; turn++) {
        if (random.below(8) === 0) routing.memory.breakConnections('one')
        if (random.below(10) === 0) routing.memory.expire(routing.memory.sessionIds()[1] ?? 0n)
        await change('t', `c${turn}`)
        const untilMs = routing.world.nowMs() + random.below(20)
        await routing.world.run({ untilMs, until: judge })
      }
      await routing.until(() => judge() || member.appliedEpoch() === 30)
      t.ok(ok, `seed ${seed}`)
      t.equal(told(directory.find('t')), 'route c30')
      t.equal(coordinator.state(), 'connected')
      await routing.settle(member.close())
      directory.close()
    }
  },
)

void t.test('an epoch is applied only when the workers have it', async (t) => {
  const { routing, join, change, untilPublished } = await start()
  await routing.map('t', 'c1')
  const asked: number[] = []
  let acknowledge: () => void = () => undefined
  const gateway = join('one', (epoch) => {
    asked.push(epoch)
    return new Promise((resolve) => {
      acknowledge = resolve
    })
  })
  await routing.until(() => asked.length === 1)
  acknowledge()
  await untilPublished(gateway, (node) => node?.appliedEpoch === 0)
  await change('t', 'c2')
  await change('t', 'c3')
  await routing.pass(5000)
  t.equal((await gateway.published())?.appliedEpoch, 0)
  acknowledge()
  await routing.until(() => asked.length === 3)
  acknowledge()
  await untilPublished(gateway, (node) => node?.appliedEpoch === 2)
  t.same(asked.slice(0, 2), [0, 1])
  await routing.settle(gateway.member.close())
  gateway.directory.close()
})

void t.test(
  'the node is back after the loss of the session that made it, or of itself',
  async (t) => {
    const { routing, join, change, untilPublished } = await start()
    const gateway = join('one')
    await routing.map('t', 'c1')
    await routing.lookup(gateway.directory, 't')
    const isThere = (node: Published | undefined): boolean => node !== undefined
    await untilPublished(gateway, isThere)
    const path = `${controlRoot}/gateways/${gateway.id}`
    const before = gateway.control.sessionEpoch()
    const owner = (await routing.settle(routing.editor.exists(path)))?.ephemeralOwner
    routing.memory.expire(owner ?? 0n)
    t.equal(await gateway.published(), undefined)
    t.ok((await untilPublished(gateway, isThere)) < 3000)
    t.ok(gateway.control.sessionEpoch() > before)
    await change('t', 'c2')
    await untilPublished(gateway, (node) => node?.appliedEpoch === 1)
    await routing.settle(routing.editor.remove(path))
    t.ok((await untilPublished(gateway, isThere)) < 10_000, 'removed by hand')
    routing.memory.breakConnections('one-control')
    await routing.pass(10_000)
    t.ok(await gateway.published())
    await routing.settle(gateway.member.close())
    t.equal(await gateway.published(), undefined, 'gone when it leaves')
    gateway.directory.close()
  },
)

void t.test(
  'a gateway that lost the session of its mappings says so, and applies nothing',
  async (t) => {
    const { routing, join, change, untilPublished } = await start()
    await routing.map('t', 'c1')
    const gateway = join('one')
    await routing.lookup(gateway.directory, 't')
    await untilPublished(gateway, (node) => node?.zookeeper === 'connected')
    routing.memory.setReachable('one', 'down')
    await change('t', 'c2')
    await untilPublished(gateway, (node) => node?.zookeeper === 'suspended')
    await routing.pass(20_000)
    t.match(await gateway.published(), { appliedEpoch: 0, zookeeper: 'suspended' })
    routing.memory.setReachable('one', 'up')
    await untilPublished(gateway, (node) => node?.appliedEpoch === 1)
    t.equal(told(gateway.directory.find('t')), 'route c2')
    await routing.settle(gateway.member.close())
    gateway.directory.close()
  },
)

void t.test('the epoch is followed when its node is made only later', async (t) => {
  const routing = await RoutingWorld.start()
  const { runtime, coordinator, directory } = routing.directory('one')
  const applied: number[] = []
  const epoch = new FleetEpoch(runtime, coordinator, {
    controlRoot,
    settled: () => directory.settled(),
    acknowledged: () => Promise.resolve(),
    onApplied: (one) => applied.push(one),
  })
  await routing.until(() => applied.length === 1)
  await routing.settle(prepareRedirects(routing.editor, controlRoot))
  await routing.settle(routing.editor.multi([raiseEpoch(controlRoot)]))
  await routing.until(() => epoch.applied === 1)
  t.equal(applied.at(-1), 1)
  epoch.close()
  directory.close()
})

void t.test(
  'a load is published without more writes than before, and none when idle',
  async (t) => {
    const { routing, join, untilPublished } = await start()
    let perSecond = 0
    const startMs = routing.world.nowMs()
    let queries = 0
    let countedAtMs = startMs
    const served = (): ServedCounts => {
      const nowMs = routing.world.nowMs()
      queries += ((nowMs - countedAtMs) / 1000) * perSecond
      countedAtMs = nowMs
      return { ...nothingServed, queries }
    }
    const { member, directory, published, id } = join('one', undefined, served)
    const node = async () =>
      (await routing.settle(routing.editor.get(`${controlRoot}/gateways/${id}`))).stat.version
    await untilPublished({ published } as Member, (one) => one !== undefined)
    t.match(await published(), { configHash: 'c0ffee', load: undefined })
    await untilPublished({ published } as Member, (one) => one?.load !== undefined)
    t.match((await published())?.load, { queriesPerSecond: 0, errorsPerSecond: 0, routes: 0 })
    const idle = await node()
    await routing.pass(300_000)
    t.equal(await node(), idle, 'five minutes without a query, and nothing is written')
    perSecond = 1000
    await untilPublished({ published } as Member, (one) => one?.load?.queriesPerSecond === 1000)
    const busy = await node()
    perSecond = 1100
    await routing.pass(40_000)
    t.equal(await node(), busy, 'a tenth more is no news')
    await untilPublished({ published } as Member, (one) => one?.load?.queriesPerSecond === 1100)
    t.equal(await node(), busy + 1, 'and is told all the same')
    for (const rate of [2000, 1000, 3000, 1500, 4000, 2000]) {
      perSecond = rate
      await routing.pass(5000)
    }
    const writes = (await node()) - busy - 1
    t.ok(writes >= 5 && writes <= 7, `${writes} writes in 30 s, however much it moves`)
    await routing.settle(member.close())
    directory.close()
  },
)
