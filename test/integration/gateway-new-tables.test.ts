/**
 * Tables that clients create through the gateway (gateway.md 6, `rpcPolicy.defaultCluster`), over real
 * sockets, with a scripted cluster behind it and everything that may happen between its answer and
 * the mapping.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { decodeResult, encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Log, LogFields } from '../../cluster/runtime/runtime.ts'
import { startGateway } from '../../gateway/gateway.ts'
import { makePath, redirectOperations } from '../../gateway/routing/redirect-plan.ts'
import {
  type CreatingMeta,
  createFrame,
  createOptions,
  createdIn,
  historyOf,
  lastAudit,
  startCreatingMeta,
} from '../support/creating-meta.ts'
import { NativeClient, nativeRequest } from '../support/native-client.ts'
import {
  FrameClient,
  type GatewayWorld,
  root,
  startWorld,
  testConfig,
  until,
} from '../support/gateway-world.ts'
import { answerIn } from '../support/zookeeper-world.ts'

t.setTimeout(120_000)

const control = `${root}.gateway`
const CREATE = Rpc.CREATE_APP.name
const allowed = { 'rpcPolicy.allow': `${CREATE},${Rpc.DROP_APP.name}` }
const flags = { ...allowed, 'rpcPolicy.defaultCluster': 'c1' }

interface Line extends LogFields {
  readonly level: string
  readonly outcome: string
}

interface Stand {
  readonly world: GatewayWorld
  readonly cluster: CreatingMeta
  readonly client: FrameClient
  readonly lines: readonly Line[]
  readonly create: (
    table: string,
    options?: { successIfExist?: boolean; timeoutMs?: number },
  ) => Promise<string>
  /** The app id, or the error. */
  readonly query: (table: string) => Promise<number | string>
  /** The text of the mapping node; undefined without one. */
  readonly mapping: (table: string) => Promise<string | undefined>
}

async function stand(
  t: Test,
  options: Readonly<Record<string, string>> = flags,
  registered?: unknown,
): Promise<Stand> {
  const cluster = await startCreatingMeta(100)
  const lines: Line[] = []
  const keep =
    (level: string) =>
    (message: string, fields?: LogFields): void => {
      if (message === 'rpc audit') lines.push({ ...fields, level } as Line)
    }
  const log: Log = { ...silentLog, info: keep('info'), warn: keep('warn'), child: () => log }
  const world = await startWorld(options, 30_000, log)
  t.teardown(async () => {
    await world.close()
    await cluster.meta.close()
  })
  await register(world.editor, 'c1', registered ?? { metas: [cluster.meta.address] })
  const client = await world.client()
  return {
    world,
    cluster,
    client,
    lines,
    create: async (table, more) => createdIn(await ask(client, createFrame(table, more))),
    query: async (table) => answerIn(await client.query(table)),
    mapping: async (table) => {
      if ((await world.editor.exists(`${root}/${table}`)) === undefined) return undefined
      return (await world.editor.get(`${root}/${table}`)).data.toString()
    },
  }
}

async function ask(client: FrameClient, bytes: Buffer): ReturnType<FrameClient['query']> {
  const count = client.replies.length + 1
  client.send(bytes)
  const reply = (await client.received(count))[count - 1]
  if (reply === undefined) throw new Error('no reply')
  return reply
}

async function register(editor: Coordinator, name: string, value: unknown): Promise<void> {
  await makePath(editor, `${control}/clusters`)
  await editor.create(`${control}/clusters/${name}`, Buffer.from(JSON.stringify(value)))
}

const epochOf = async ({ editor }: GatewayWorld): Promise<number> =>
  (await editor.exists(`${control}/epoch`))?.version ?? 0

for (const writeForm of ['both', 'rfc', 'go'] as const)
  void t.test(`a table is created, mapped in form ${writeForm}, and found at once`, async (t) => {
    const { world, cluster, client, lines, create, query, mapping } = await stand(t, {
      ...flags,
      'routing.writeForm': writeForm,
    })
    const { address } = cluster.meta
    t.equal(await query('new'), 'ERR_OBJECT_NOT_FOUND', 'and remembered as unmapped')
    t.equal(await create('new'), 'ERR_OK 100')
    t.equal(await query('new'), 100)
    const rfc = { cluster: 'c1', 'meta-addrs': [address] }
    const go = { cluster_name: 'c1', meta_addrs: address }
    const text = (await mapping('new')) ?? ''
    t.same(JSON.parse(text), { both: { ...rfc, ...go }, rfc, go }[writeForm])
    const peer = `127.0.0.1:${client.socket.localPort}`
    const author = {
      actor: `rpc:${peer}`,
      source: 'rpc',
      reason: `${CREATE} on the default cluster c1`,
    }
    t.match(await lastAudit(world.editor, control), {
      ...author,
      seq: 1,
      from: '127.0.0.1',
      action: 'create',
      kind: 'table',
      name: 'new',
      before: null,
      after: text,
    })
    const change = { ...author, action: 'create', before: null, after: text, nodeVersion: 0 }
    t.match(await historyOf(world.editor, control, 'new'), [change])
    t.equal(await epochOf(world), 1)
    t.match(lines, [
      {
        level: 'info',
        peer,
        rpc: CREATE,
        table: 'new',
        cluster: 'c1',
        outcome: 'ERR_OK',
        meta: address,
        mapping: 'written',
      },
    ])
    t.match(
      await world.metrics.text(),
      /gateway_requests_total\{rpc="RPC_CM_CREATE_APP",result="relayed",header_version="0"\} 1/,
    )

    t.equal(await create('new', { successIfExist: false }), 'ERR_APP_EXIST', 'routed as ever now')
    t.equal(await epochOf(world), 1)
    const drop = { appName: 'new', options: { successIfNotExist: true, reserveSeconds: 0 } }
    const header = { version: 0, appId: 0, partitionIndex: 0, clientTimeoutMs: 0 } as const
    await ask(
      client,
      encodeRequest(
        { ...header, partitionHash: 0n, isBackupRequest: false },
        Rpc.DROP_APP.name,
        1,
        encodeArgument(Rpc.DROP_APP.argument, drop),
      ),
    )
    t.equal(await query('new'), 'ERR_OBJECT_NOT_FOUND', 'the meta says so')
    t.equal(await mapping('new'), text, 'DROP_APP leaves the mapping')
    t.equal(await create('new'), 'ERR_OK 100', 'and the table comes back where it was')
  })

void t.test('without a default cluster nothing is created', async (t) => {
  const { world, cluster, lines, create } = await stand(t, allowed)
  t.equal(await create('new'), 'ERR_OBJECT_NOT_FOUND')
  t.equal(cluster.meta.requests.length, 0)
  t.match(lines, [{ why: 'the table is not mapped' }])
  t.equal(await world.editor.exists(`${control}/epoch`), undefined)
})

void t.test('R-14: a name that no node can have is unknown, and nothing else', async (t) => {
  const { cluster, create } = await stand(t)
  for (const name of ['a/b', '..', 'a\u0001', '']) {
    const got = await create(name)
    t.equal(got, 'ERR_OBJECT_NOT_FOUND', JSON.stringify(name))
  }
  t.equal(cluster.meta.requests.length, 0)
})

void t.test('W-19: a native client creates a table and finds it', async (t) => {
  const { world, mapping, lines } = await stand(t)
  const client = new NativeClient(world.gateway.port)
  t.teardown(() => client.destroy())
  client.send(nativeRequest(Rpc.CREATE_APP, createOptions('new', true), { id: 5n }))
  const [reply] = await client.received(1)
  t.match(reply?.header, { id: 5n, name: `${CREATE}_ACK`, errorName: 'ERR_OK' })
  const result = decodeResult(Rpc.CREATE_APP.result, reply?.body ?? Buffer.alloc(0))
  t.same(result, { err: 'ERR_OK', appid: 100 })
  t.match(JSON.parse((await mapping('new')) ?? ''), { cluster: 'c1' })
  t.match(lines, [{ outcome: 'ERR_OK', mapping: 'written' }])
  const asked = { appName: 'new', partitionIndices: [] }
  client.send(nativeRequest(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, asked, { id: 6n }))
  const found = (await client.received(2))[1]?.body ?? Buffer.alloc(0)
  t.match(decodeResult(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.result, found), { appId: 100 })
})

void t.test(
  'a cluster that the registry cannot tell: its own error, nothing created',
  async (t) => {
    const other = await stand(t, { ...flags, 'rpcPolicy.defaultCluster': 'c9' })
    t.equal(await other.create('new'), 'ERR_CLUSTER_NOT_FOUND')
    t.match(other.lines, [
      { cluster: 'c9', why: 'nothing created: cluster c9 is not in the registry' },
    ])
    t.equal(other.world.gateway.directory.isRegistered('c9'), false)
    for (const [value, why] of [
      [{ metas: 'a:1' }, /entry of c1: metas: expected a list/],
      [{ metas: ['a:1', 'a'] }, /entry of c1: metas: expected host:port/],
      [{}, /entry of c1: metas/],
    ] as const) {
      const broken = await stand(t, flags, value)
      t.equal(await broken.create('new'), 'ERR_INVALID_DATA')
      t.match(broken.lines, [{ outcome: 'ERR_INVALID_DATA', why }])
      t.equal(broken.cluster.meta.requests.length + other.cluster.meta.requests.length, 0)
      t.equal(await broken.mapping('new'), undefined)
    }
  },
)

void t.test('what somebody else mapped meanwhile is never overwritten', async (t) => {
  const { world, cluster, lines, create, query, mapping } = await stand(t)
  const elsewhere = await startCreatingMeta(200)
  t.teardown(() => elsewhere.meta.close())
  cluster.onCreated = (table) => world.map(table, [elsewhere.meta.address], 'c2')
  t.equal(await create('taken'), 'ERR_BUSY')
  const text = await mapping('taken')
  t.match(JSON.parse(text ?? ''), { cluster: 'c2' })
  t.match(lines, [
    {
      level: 'warn',
      outcome: 'ERR_BUSY',
      why: 'on cluster c1 and not mapped: somebody mapped it to cluster c2 meanwhile',
      meta: cluster.meta.address,
    },
  ])
  t.equal(await create('taken'), 'ERR_OK 200', 'again: where it is mapped to')
  t.equal(await query('taken'), 200)
  t.equal(await mapping('taken'), text)

  cluster.onCreated = (table) => world.map(table, [cluster.meta.address])
  t.equal(await create('same'), 'ERR_OK 101', 'mapped to this very cluster')
  t.match(lines.at(-1), { outcome: 'ERR_OK', mapping: 'by others' })
  t.equal(await query('same'), 101)

  cluster.onCreated = async (table) => {
    await world.editor.create(`${root}/${table}`, Buffer.from('no mapping'))
  }
  t.equal(await create('broken'), 'ERR_INVALID_DATA')
  t.equal(await mapping('broken'), 'no mapping')
  t.equal((await world.editor.exists(`${control}/epoch`))?.version, 0, 'no change of ours')
})

void t.test('a table that came between the look and the creation is routed as any', async (t) => {
  const { world, create, query } = await stand(t)
  const elsewhere = await startCreatingMeta(200)
  t.teardown(() => elsewhere.meta.close())
  t.equal(await query('new'), 'ERR_OBJECT_NOT_FOUND')
  // Told in one go: the node is there before the gateway has heard of it.
  const [created] = await Promise.all([
    create('new'),
    world.map('new', [elsewhere.meta.address], 'c2'),
  ])
  if (created === 'ERR_BUSY') t.equal(await create('new'), 'ERR_OK 200')
  else t.match(created, /^ERR_OK (100|200)$/)
  t.ok([100, 200].includes(Number(await query('new'))))
})

void t.test('a create whose fate is unknown maps nothing; asking again does', async (t) => {
  const { cluster, lines, create, query, mapping } = await stand(t)
  cluster.onCreated = () => 'silence'
  t.equal(await create('slow', { timeoutMs: 3000 }), 'ERR_TIMEOUT')
  const [, waitedMs] = /no answer in (\d+) ms/.exec(String(lines[0]?.['why'])) ?? []
  t.ok(Number(waitedMs) <= 2000, `${waitedMs} of 3000 ms: there is time left for the mapping`)
  t.ok(cluster.tables.has('slow'), 'it is there all the same')
  t.equal(await mapping('slow'), undefined)
  t.match(lines, [{ outcome: 'ERR_TIMEOUT', why: /^not mapped: outcome unknown/ }])
  t.equal(await create('slow'), 'ERR_OK 100')
  t.equal(await query('slow'), 100)

  cluster.onCreated = () => 'reset'
  t.equal(await create('strict', { successIfExist: false }), 'ERR_TIMEOUT')
  t.equal(await mapping('strict'), undefined)
  t.equal(await create('strict', { successIfExist: false }), 'ERR_APP_EXIST', 'as the meta says')
  t.equal(await query('strict'), 101, 'and mapped')
  t.match(lines.at(-1), { outcome: 'ERR_APP_EXIST', mapping: 'written' })
})

void t.test(
  'ZooKeeper goes away in between: an error, and asking again completes it',
  async (t) => {
    const { world, cluster, lines, create, query, mapping } = await stand(t)
    cluster.onCreated = async () => {
      world.memory.setReachable('gateway', 'down')
      world.memory.breakConnections('gateway')
      await until(() => world.coordinator.state() !== 'connected')
    }
    t.equal(await create('new'), 'ERR_SERVICE_NOT_ACTIVE')
    t.match(lines, [{ level: 'warn', why: /^on cluster c1 and not mapped: / }])
    t.equal(await mapping('new'), undefined)
    t.ok(cluster.tables.has('new'))
    const asked = cluster.meta.requests.length
    t.equal(await create('new'), 'ERR_SERVICE_NOT_ACTIVE', 'still away')
    t.match(lines.at(-1), { why: /^nothing created: / })
    t.equal(cluster.meta.requests.length, asked, 'and not asked for in vain')
    world.memory.setReachable('gateway', 'up')
    await until(() => world.coordinator.state() === 'connected')
    t.equal(await create('new'), 'ERR_OK 100')
    t.equal(await query('new'), 100)
  },
)

void t.test('an answer of ZooKeeper that is lost: unknown in time, then there', async (t) => {
  const { world, cluster, lines, create, query } = await stand(t)
  cluster.onCreated = async () => world.memory.setReachable('gateway', 'lost-replies')
  t.equal(await create('new'), 'ERR_TIMEOUT')
  t.match(lines, [
    { level: 'warn', why: /^on cluster c1 and not mapped: ZooKeeper did not answer/ },
  ])
  world.memory.setReachable('gateway', 'up')
  world.memory.breakConnections('gateway')
  await until(async () => (await create('new')) === 'ERR_OK 100')
  t.equal(await query('new'), 100)
})

void t.test('a switch of the default cluster: nothing is created or mapped there', async (t) => {
  const { world, cluster, lines, create, query, mapping } = await stand(t)
  const path = `${control}/redirects/c1`
  const redirect = Buffer.from('{}')
  await makePath(world.editor, `${control}/redirects`)
  await world.editor.create(path, redirect)
  t.equal(await create('new'), 'ERR_BUSY')
  t.match(lines, [{ why: 'nothing created: cluster c1 is being switched: it has a redirect' }])
  t.equal(cluster.meta.requests.length, 0)
  await world.editor.remove(path)

  cluster.onCreated = async () => void (await world.editor.create(path, redirect))
  t.equal(await create('new'), 'ERR_BUSY', 'it begins in between')
  t.match(lines.at(-1), { level: 'warn', why: /^on cluster c1 and not mapped: .*redirect$/ })
  t.equal(await mapping('new'), undefined)
  await world.editor.remove(path)
  t.equal(await create('new'), 'ERR_OK 100')
  t.equal(await query('new'), 100)

  const multi = world.coordinator.multi.bind(world.coordinator)
  const digest = `sha256:${'0'.repeat(64)}`
  Object.assign(world.coordinator, {
    multi: async (operations: Parameters<typeof multi>[0]) => {
      Object.assign(world.coordinator, { multi })
      const node = { to: 'c2', plan: 'p1', epoch: 1, digest }
      await world.editor.multi(redirectOperations(control, 'c1', node))
      return multi(operations)
    },
  })
  t.equal(await create('raced'), 'ERR_BUSY', 'it begins after the last look')
  t.match(lines.at(-1), { why: /^on cluster c1 and not mapped: .*redirect$/ })
  t.equal(await mapping('raced'), undefined)
  await world.editor.remove(path)

  cluster.onCreated = async () => {
    const value = Buffer.from(JSON.stringify({ metas: ['10.0.0.1:1'] }))
    await world.editor.set(`${control}/clusters/c1`, value)
  }
  t.equal(await create('moved'), 'ERR_BUSY', 'the registry changed in between')
  t.equal(await mapping('moved'), undefined)
})

void t.test('R-16: when mappings have vanished nobody knows what is unmapped', async (t) => {
  const { world, cluster, lines, create, query } = await stand(t)
  await world.map('old', [cluster.meta.address])
  cluster.tables.set('old', 7)
  t.equal(await query('old'), 7)
  await world.editor.remove(`${root}/old`)
  await world.editor.remove(root)
  t.equal(await create('new'), 'ERR_SERVICE_NOT_ACTIVE')
  t.match(lines, [{ why: 'nothing created: mappings have vanished from ZooKeeper' }])
  t.notOk(cluster.tables.has('new'))
  t.equal(await world.editor.exists(root), undefined)
})

void t.test('many at once: each is created and mapped once', async (t) => {
  const { world, cluster, mapping } = await stand(t)
  const names = Array.from({ length: 40 }, (_, index) => `t${index % 20}`)
  const created = await Promise.all(
    names.map(async (name) => {
      const client = await world.client()
      const answer = createdIn(await ask(client, createFrame(name)))
      return [answer, answerIn(await client.query(name))] as const
    }),
  )
  for (const [index, [answer, appId]] of created.entries()) {
    const id = cluster.tables.get(names[index] ?? '')
    t.same([answer, appId], [`ERR_OK ${id}`, id])
  }
  t.equal(await epochOf(world), 20)
  for (const name of new Set(names)) t.match(await mapping(name), /"cluster":"c1"/)
  const { seq } = await lastAudit(world.editor, control)
  t.equal(seq, 20)
})

void t.test('a gateway that may not write says so', async (t) => {
  const alive = setInterval(() => undefined, 1000)
  const folder = mkdtempSync(join(tmpdir(), 'new-tables-'))
  const runtime = nodeRuntime({ log: silentLog })
  const server = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: folder,
  })
  const session = { servers: `127.0.0.1:${server.port}`, sessionTimeoutMs: 30_000 }
  const owner = connectZooKeeper(runtime, {
    ...session,
    onExpiry: 'renew',
    auth: { user: 'owner', password: 'secret' },
    access: 'creator',
    readers: 'anyone',
  })
  const coordinator = connectZooKeeper(runtime, { ...session, onExpiry: 'renew' })
  const cluster = await startCreatingMeta(100)
  const lines: LogFields[] = []
  const log: Log = {
    ...silentLog,
    warn: (message, fields = {}) => void (message === 'rpc audit' && lines.push(fields)),
    child: () => log,
  }
  await until(() => owner.state() === 'connected' && coordinator.state() === 'connected')
  await makePath(owner, root)
  await register(owner, 'c1', { metas: [cluster.meta.address] })
  const gateway = await startGateway({
    runtime: { ...runtime, log },
    coordinator,
    config: testConfig({ ...flags, 'routing.lookupTimeoutMs': '10000' }),
    metrics: new Metrics(),
  })
  const client = await FrameClient.dial(gateway.port)
  t.teardown(async () => {
    client.destroy()
    await gateway.close()
    await Promise.all([owner.close(), coordinator.close(), cluster.meta.close()])
    await server.close()
    rmSync(folder, { recursive: true, force: true })
    clearInterval(alive)
  })
  t.equal(createdIn(await ask(client, createFrame('new'))), 'ERR_ZOOKEEPER_OPERATION')
  t.match(lines, [
    { why: /not mapped: ZooKeeper refuses this gateway: .*zookeeper\.control\.user/ },
  ])
  t.equal(await owner.exists(`${root}/new`), undefined)
})
