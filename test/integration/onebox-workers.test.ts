/** The onebox with a gateway of two workers: ready, a killed worker, a killed primary, the end. */
import t from 'tap'
import { askAppId, childrenOf, isAlive } from '../support/gateway-process.ts'
import { startOnebox, until } from '../support/onebox.ts'

void t.test('--gateway-workers 2', { timeout: 300_000 }, async (t) => {
  const flags = ['--gateway-workers', '2', '--clusters', '1', '--metas', '1', '--replicas', '3']
  const box = await startOnebox({ flags })
  t.teardown(() => box.remove())
  const rpc = box.portBase + 1
  const answers = async (): Promise<boolean> => (await askAppId(rpc, 'temp', 5000)) > 0
  t.ok(await answers())
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
