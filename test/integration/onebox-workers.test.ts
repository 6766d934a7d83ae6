/**
 * The onebox with a gateway of two workers: ready, tables that a client creates through a gateway, a
 * killed worker, a killed primary, the end.
 */
import { AdminClient, createClient } from 'pegasus-metaproxy/client'
import t, { type Test } from 'tap'
import { startGatewayCommand } from '../support/gateway-command.ts'
import { askAppId, childrenOf, isAlive } from '../support/gateway-process.ts'
import { type TestOnebox, startOnebox, until } from '../support/onebox.ts'

/** `rpcPolicy.defaultCluster` in front of a real cluster of ours. */
async function createThroughGateway(t: Test, box: TestOnebox): Promise<void> {
  const metas = box.servers().filter(({ role }) => role === 'meta')
  const cluster = metas[0]?.cluster ?? ''
  const registered = await fetch(`${box.admin}/api/v1/clusters/${cluster}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-none-match': '*' },
    body: JSON.stringify({ metas: metas.map(({ rpc }) => rpc) }),
  })
  t.equal(registered.status, 200, await registered.text())
  const gateway = startGatewayCommand([
    ...['--rpc.host', '127.0.0.1', '--rpc.port', '0', '--http.port', '0', '--drainMs', '100'],
    ...['--zookeeper.servers', box.server('zookeeper').rpc, '--workers', '2'],
    ...['--rpcPolicy.allow', 'RPC_CM_CREATE_APP', '--rpcPolicy.defaultCluster', cluster],
  ])
  const address = await gateway.told('rpc')
  const admin = new AdminClient({ metaServers: [address], operationTimeoutMs: 60_000 })
  const client = createClient({ metaServers: [address], operationTimeoutMs: 60_000 })
  try {
    const appId = await admin.createTable('orders', { partitionCount: 4 })
    await admin.waitForTable('orders')
    const table = await client.openTable('orders')
    await table.set('ann', 'n', '1')
    t.equal((await table.get('ann', 'n'))?.toString(), '1')
    t.equal(await admin.createTable('orders', { partitionCount: 4 }), appId, 'asked again')
    const strict = admin.createTable('orders', { partitionCount: 4, successIfExist: false })
    await t.rejects(strict, { code: 'ERR_APP_EXIST' })
    const tooMany = admin.createTable('other', { partitionCount: 4, replicaCount: 9 })
    await t.rejects(tooMany, { code: 'ERR_INVALID_PARAMETERS' }, 'the word of the meta server')
    const { status } = await fetch(`${box.admin}/api/v1/tables/other`)
    t.equal(status, 404, 'which creates nothing and maps nothing')
    t.equal(await askAppId(box.portBase + 1, 'orders'), appId, 'other gateways serve it too')
  } finally {
    admin.close()
    await client.close()
    t.equal(await gateway.stop(), 0)
  }
}

void t.test('--gateway-workers 2', { timeout: 300_000 }, async (t) => {
  const flags = ['--gateway-workers', '2', '--clusters', '1', '--metas', '1', '--replicas', '3']
  const box = await startOnebox({ flags })
  t.teardown(() => box.remove())
  const rpc = box.portBase + 1
  const answers = async (): Promise<boolean> => (await askAppId(rpc, 'temp', 5000)) > 0
  t.ok(await answers())
  await t.test('a client creates a table', (t) => createThroughGateway(t, box))
  const gateway = box.server('gateway').pid ?? 0
  const workers = childrenOf(gateway)
  t.equal(workers.length, 2)
  process.kill(workers[0] ?? 0, 'SIGKILL')
  await until('a worker in its place', () => {
    const now = childrenOf(gateway)
    return now.length === 2 && now.some((pid) => !workers.includes(pid))
  })
  await until('the gateway to answer', answers)
  const orphans = childrenOf(gateway)
  box.kill('gateway')
  await until('the next gateway', async () => {
    const { pid } = box.server('gateway')
    return pid !== null && pid !== gateway && (await answers())
  })
  await until('the old workers to end', () => !orphans.some(isAlive))
  const last = [box.server('gateway').pid ?? 0].flatMap((pid) => [pid, ...childrenOf(pid)])
  t.equal(await box.stop(), 0)
  t.notOk(last.some(isAlive), 'nothing is left')
})
