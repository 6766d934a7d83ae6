/**
 * The `metaproxy gateway` command as an operator runs it: the Go proxy's file as it is, health before
 * and after ZooKeeper, what the admin port shows and refuses (gateway.md 11 to 13).
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { type GatewayCommand, startGatewayCommand } from '../support/gateway-command.ts'
import { FrameClient, until } from '../support/gateway-world.ts'

t.setTimeout(180_000)
const runtime = nodeRuntime({ log: silentLog })
const ports = ['--rpc.port', '0', '--http.port', '0', '--rpc.host', '127.0.0.1']

function start(
  t: Test,
  words: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): GatewayCommand {
  const gateway = startGatewayCommand(words, environment)
  t.teardown(async () => {
    gateway.child.kill('SIGKILL')
    await gateway.ended
  })
  return gateway
}

void t.test(
  "the Go proxy's file starts a gateway that serves, with its tags and page",
  async (t) => {
    const folder = t.testdir({ zookeeper: {} })
    const zookeeper = await startEmbeddedZooKeeper(runtime, {
      host: '127.0.0.1',
      port: 0,
      dataDirectory: join(folder, 'zookeeper'),
    })
    const editor = connectZooKeeper(runtime, {
      servers: `127.0.0.1:${zookeeper.port}`,
      sessionTimeoutMs: 20_000,
      onExpiry: 'renew',
    })
    const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 7 }))
    t.teardown(async () => {
      await editor.close()
      await zookeeper.close()
      await meta.close()
    })
    await editor.create('/pegasus-cluster', Buffer.alloc(0))
    const mapping = { cluster_name: 'onebox', meta_addrs: `${meta.address},127.0.0.1:1` }
    await editor.create('/pegasus-cluster/temp', Buffer.from(JSON.stringify(mapping)))
    const file = join(folder, 'meta-proxy.yml')
    writeFileSync(
      file,
      `zookeeper:
  address: [127.0.0.1:${zookeeper.port}]
  root: /pegasus-cluster
  timeout: 1000 # ms
  table_watcher_cache_capacity: 1024

metric:
  type: prometheus
  tags: [region=local_tst,service=meta_proxy]
`,
    )
    const gateway = start(t, [
      '--config',
      file,
      ...ports,
      '--health.port',
      '0',
      '--health.host',
      '127.0.0.1',
    ])
    const rpc = await gateway.told('rpc')
    const health = await gateway.told('health')
    await until(async () => (await gateway.get(health, '/readyz')).status === 200)
    const client = await FrameClient.dial(Number(rpc.split(':')[1]))
    const reply = await client.query('temp')
    t.equal(reply.errorName, 'ERR_OK')
    t.equal(meta.requests.length, 1, 'the meta was asked')
    client.destroy()

    const page = await gateway.get(health, '/metrics')
    t.match(
      page.text,
      /^client_query_config_count\{table="temp",region="local_tst",service="meta_proxy"\} 1$/m,
    )
    t.match(
      page.text,
      /^zk_request_count\{table="temp",region="local_tst",service="meta_proxy"\} 1$/m,
    )
    t.match(page.text, /^client_connection_count\{region="local_tst",service="meta_proxy"\} /m)
    const open = await gateway.get(health, '/metrics', { accept: 'application/openmetrics-text' })
    t.match(open.type, /^application\/openmetrics-text/)
    t.match(open.text, /\n# EOF\n$/)
    t.equal((await gateway.get(health, '/readyz')).text, 'ready\n')
    t.equal((await gateway.get(health, '/api/v1/tables')).status, 404, 'no API on the health port')
    t.equal((await gateway.get(health, '/config')).status, 404)

    const http = await gateway.told('http')
    const shown = JSON.parse((await gateway.get(http, '/config')).text) as {
      options: readonly { path: string; value: unknown; source: string }[]
    }
    const option = (path: string) => shown.options.find((one) => one.path === path)
    t.match(option('zookeeper.root'), { value: '/pegasus-cluster', source: `${file}:3` })
    t.match(option('rpc.port'), { value: 0, source: '--rpc.port' })
    const strange = await gateway.get(http, '/config', { host: 'evil.example' })
    t.not(strange.status, 200, 'under a foreign host name the configuration is not shown')
    t.equal(await gateway.stop(), 0)
  },
)

void t.test(
  'O-2, O-3: pages answer before there is a ZooKeeper, and say why it is not ready',
  async (t) => {
    const gateway = start(t, ['--zookeeper.servers', '127.0.0.1:1', ...ports, '--health.port', '0'])
    const http = await gateway.told('http')
    const health = (await gateway.told('health')).replace('0.0.0.0', '127.0.0.1')
    for (const address of [http, health]) {
      t.match(await gateway.get(address, '/healthz'), { status: 200, text: 'ok\n' })
      t.match(await gateway.get(address, '/readyz'), {
        status: 503,
        text: /no ZooKeeper session yet/,
      })
      t.match(await gateway.get(address, '/startupz'), {
        status: 503,
        text: /no ZooKeeper session/,
      })
      t.match(await gateway.get(address, '/metrics'), {
        status: 200,
        text: /^gateway_zk_connected 0$/m,
      })
    }
    await until(() => gateway.output().includes('open to everyone'))
    t.equal(await gateway.stop(), 0)
  },
)

void t.test('X-4: an admin port off loopback is refused with the way out', async (t) => {
  const words = ['--zookeeper.servers', '127.0.0.1:1', ...ports, '--http.host', '0.0.0.0']
  const gateway = start(t, words)
  t.equal(await gateway.ended, 2)
  t.match(
    gateway.output(),
    /http\.host 0\.0\.0\.0: without an auth section .* health: \{host, port\}/,
  )
})

void t.test('X-3: with a wrong password the gateway says so, and answers at once', async (t) => {
  const folder = t.testdir({ zookeeper: {}, password: 'wrong\n' })
  const zookeeper = await startEmbeddedZooKeeper(runtime, {
    host: '127.0.0.1',
    port: 0,
    dataDirectory: join(folder, 'zookeeper'),
  })
  const owner = connectZooKeeper(runtime, {
    servers: `127.0.0.1:${zookeeper.port}`,
    sessionTimeoutMs: 20_000,
    onExpiry: 'renew',
    auth: { user: 'gateway', password: 'right' },
    access: 'creator',
  })
  t.teardown(async () => {
    await owner.close()
    await zookeeper.close()
  })
  await owner.create('/closed', Buffer.alloc(0))
  await owner.create('/closed/temp', Buffer.from('{"cluster":"c","meta-addrs":["a:1"]}'))
  const server = ['--zookeeper.servers', `127.0.0.1:${zookeeper.port}`]
  const user = ['--zookeeper.user', 'gateway', '--zookeeper.password', `file:${folder}/password`]
  const gateway = start(t, [...server, ...user, '--zookeeper.root', '/closed', ...ports])
  const http = await gateway.told('http')
  const ready = async (): Promise<string> => (await gateway.get(http, '/readyz')).text
  await until(async () => /refuses to show \/closed: check zookeeper\.user/.test(await ready()))
  await until(() => gateway.lines().some((line) => line['level'] === 'error'))
  const client = await FrameClient.dial(Number((await gateway.told('rpc')).split(':')[1]))
  const answer = decodeResult(QueryCfgResponse, (await client.query('temp')).result)
  t.equal(answer.err, 'ERR_SERVICE_NOT_ACTIVE')
  client.destroy()
  t.notMatch(gateway.output(), /wrong|right/, 'no password in the log')
  t.equal(await gateway.stop(), 0)
})

void t.test(
  'M-8: a cluster without a leader makes the gateway degraded, not unready',
  async (t) => {
    const folder = t.testdir({ zookeeper: {} })
    const zookeeper = await startEmbeddedZooKeeper(runtime, {
      host: '127.0.0.1',
      port: 0,
      dataDirectory: join(folder, 'zookeeper'),
    })
    const servers = `127.0.0.1:${zookeeper.port}`
    const editor = connectZooKeeper(runtime, {
      servers,
      sessionTimeoutMs: 20_000,
      onExpiry: 'renew',
    })
    const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 7 }))
    t.teardown(async () => {
      await editor.close()
      await zookeeper.close()
      await meta.close()
    })
    await editor.create('/metaproxy', Buffer.alloc(0))
    await editor.create('/metaproxy/tables', Buffer.alloc(0))
    const mapping = { cluster: 'c1', 'meta-addrs': [meta.address] }
    await editor.create('/metaproxy/tables/temp', Buffer.from(JSON.stringify(mapping)))
    const gateway = start(t, ['--zookeeper.servers', servers, ...ports])
    const client = await FrameClient.dial(Number((await gateway.told('rpc')).split(':')[1]))
    t.equal((await client.query('temp')).errorName, 'ERR_OK')
    client.destroy()
    const http = await gateway.told('http')
    const metric = /^gateway_cluster_serving\{cluster="c1"[^}]*\} (\d)$/m
    const serving = async (): Promise<string | undefined> =>
      metric.exec((await gateway.get(http, '/metrics')).text)?.[1]
    await until(async () => (await serving()) === '1')
    // That of the table, and those of the control tree.
    const watches = /^gateway_zk_session_watches\{session="data"[^}]*\} (\d+)$/m
    const { text } = await gateway.get(http, '/metrics')
    t.ok(Number(watches.exec(text)?.[1]) > 1, text)
    await meta.close()
    await until(async () => (await serving()) === '0')
    t.match(await gateway.get(http, '/readyz'), {
      status: 200,
      text: /^degraded: cluster c1: no leader, ERR_/,
    })
    const leases = async (): Promise<readonly string[]> =>
      (await editor.children('/metaproxy/tables.gateway/locks')).filter((name) =>
        name.startsWith('probe-'),
      )
    t.same(await leases(), ['probe-c1'])
    t.equal(await gateway.stop(), 0)
    t.same(await leases(), [], 'the lease is given back')
  },
)
