/** one process, several ports and roots; a table's name is unique within its root only. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { makePath } from '../../gateway/routing/redirect-plan.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { startGatewayCommand } from '../support/gateway-command.ts'
import { FrameClient, until } from '../support/gateway-world.ts'
import { askerOf } from '../support/zookeeper-world.ts'

// Far above what it takes: machines that build and test at once are slow.
t.setTimeout(180_000)

const alive = setInterval(() => undefined, 1000)
const runtime = nodeRuntime({ log: silentLog })
const folder = mkdtempSync(join(tmpdir(), 'endpoints-'))
const server = await startEmbeddedZooKeeper(runtime, {
  host: '127.0.0.1',
  port: 0,
  dataDirectory: folder,
})
const editor = connectZooKeeper(runtime, {
  servers: `127.0.0.1:${server.port}`,
  sessionTimeoutMs: 30_000,
  onExpiry: 'renew',
})
const metas = await Promise.all(
  [1, 2].map(async (appId) => startFakeMeta(() => ({ error: 'ERR_OK', appId }))),
)
t.teardown(async () => {
  await editor.close()
  await server.close()
  for (const meta of metas) await meta.close()
  rmSync(folder, { recursive: true, force: true })
  clearInterval(alive)
})

const roots = ['/west/tables', '/east/tables'] as const
for (const [index, root] of roots.entries()) {
  await makePath(editor, root)
  const mapping = { cluster: `c${index}`, 'meta-addrs': [metas[index]?.address] }
  await editor.create(`${root}/same`, Buffer.from(JSON.stringify(mapping)))
  await editor.create(`${root}/only${index}`, Buffer.from(JSON.stringify(mapping)))
}

for (const workers of ['1', '2'])
  void t.test(`R-30: two roots and three ports, ${workers} worker(s) an endpoint`, async (t) => {
    const gateway = startGatewayCommand([
      ...['--rpc.host', '127.0.0.1', '--rpc.port', '0', '--http.port', '0', '--drainMs', '100'],
      ...['--zookeeper.servers', `127.0.0.1:${server.port}`, '--zookeeper.root', roots[0]],
      ...['--workers', workers, '--routing.lookupTimeoutMs', '10000'],
      '--endpoints',
      JSON.stringify([
        { host: '127.0.0.1', port: 0, root: roots[1], connections: 1 },
        { host: 'localhost', port: 0, root: roots[0] },
      ]),
    ])
    t.teardown(() => gateway.stop())
    const rpc = await gateway.told('rpc')
    const line = gateway.lines().find((one) => Array.isArray(one['endpoints']))
    const others = line?.['endpoints'] as readonly string[]
    t.equal(others.length, 2)
    // Sites in the order of their roots: the second port of the first root comes before.
    const [westAgain = '', east = ''] = others
    const dial = async (address: string): Promise<FrameClient> => {
      const client = await FrameClient.dial(Number(address.split(':')[1]))
      t.teardown(() => client.destroy())
      return client
    }
    for (const [address, appId, own, foreign] of [
      [rpc, 1, 'only0', 'only1'],
      [westAgain, 1, 'only0', 'only1'],
      [east, 2, 'only1', 'only0'],
    ] as const) {
      const ask = askerOf(await dial(address))
      t.equal(await ask('same'), appId, `${address} of ${others.join()}`)
      t.equal(await ask(own), appId)
      t.equal(await ask(foreign), 'ERR_OBJECT_NOT_FOUND')
    }
    if (workers === '1') {
      const refused = await dial(east)
      await until(() => refused.hasEnded)
      t.pass('the limit of the one endpoint')
      t.equal(await askerOf(await dial(rpc))('same'), 1, 'is not that of another')
    }
    const http = await gateway.told('http')
    await until(async () => {
      const { text } = await gateway.get(http, '/metrics')
      return roots.every((root) =>
        new RegExp(`gateway_route_cache_entries\\{[^}]*root="${root}"`).test(text),
      )
    })
    const { text } = await gateway.get(http, '/metrics')
    for (const root of roots) {
      t.match(text, new RegExp(`gateway_requests_total\\{[^}]*root="${root}"`))
      const members = await editor.children(`${root}.gateway/gateways`)
      t.equal(members.length, 1, 'in the fleet of each root')
      const node = await editor.get(`${root}.gateway/gateways/${members[0]}`)
      const { rpc: addresses } = JSON.parse(node.data.toString()) as { rpc: readonly string[] }
      t.equal(addresses.length, root === roots[0] ? 2 : 1)
    }
    t.equal((await gateway.get(http, '/readyz')).status, 200)
    const mapping = { cluster: 'c1', 'meta-addrs': [metas[1]?.address] }
    const moving = askerOf(await dial(rpc))
    await editor.set(`${roots[0]}/only0`, Buffer.from(JSON.stringify(mapping)))
    await until(async () => (await moving('only0')) === 2)
    t.equal(await moving('same'), 1)
    const back = { cluster: 'c0', 'meta-addrs': [metas[0]?.address] }
    await editor.set(`${roots[0]}/only0`, Buffer.from(JSON.stringify(back)))
    t.equal(await gateway.stop(), 0)
    for (const root of roots) t.same(await editor.children(`${root}.gateway/gateways`), [])
  })
