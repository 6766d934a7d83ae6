/**
 * Takes the screenshots of the README anew, into `admin-ui/screenshots`: a onebox with some tables,
 * and four screens of its admin page. Run by hand, `node dist/test/browser/take-screenshots.js`.
 */
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AdminClient } from '../../cluster/client/admin.ts'
import { launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'
import { FrameClient, until } from '../support/gateway-world.ts'
import { startOnebox } from '../support/onebox.ts'

t.setTimeout(300_000)
const folder = 'admin-ui/screenshots'
const BYTES_MAX = 150 * 1024

/** Table, cluster, group, why it was mapped. */
const mappings = [
  ['orders', 'alpha', 'shop', 'New endpoint for the shop'],
  ['carts', 'alpha', 'shop', 'New endpoint for the shop'],
  ['catalog', 'beta', 'shop', 'Closer to its readers'],
  ['inventory', 'beta', '', 'Closer to its readers'],
  ['ledger', 'alpha', 'pay', 'Payments move last'],
  ['pay_intents', 'alpha', '', 'Payments move last'],
  ['pay_refunds', 'alpha', '', 'Payments move last'],
  ['sessions', 'beta', '', ''],
  ['users', 'alpha', '', 'Asked for by the account team'],
  ['devices', 'beta', '', ''],
  ['notifications', 'beta', '', ''],
  ['feature_flags', 'alpha', '', ''],
  ['search_terms', 'beta', '', 'Half the partitions of its old home'],
] as const

void t.test('screenshots', { skip: whyNoBrowser() ?? false }, async (t) => {
  const box = await startOnebox()
  t.teardown(() => box.remove())
  const metasOf = (cluster: string): string[] =>
    box
      .servers()
      .flatMap(({ role, rpc, cluster: its }) => (role === 'meta' && its === cluster ? [rpc] : []))
  const put = async (path: string, body: object, reason = ''): Promise<void> => {
    const response = await fetch(`${box.admin}/api/v1${path}`, {
      method: 'PUT',
      headers: {
        'content-type': 'application/json',
        'if-none-match': '*',
        ...(reason === '' ? {} : { 'x-change-reason': encodeURIComponent(reason) }),
      },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`PUT ${path}: ${await response.text()}`)
  }
  for (const [name, peer] of [
    ['alpha', 'beta'],
    ['beta', 'alpha'],
  ] as const)
    await put(`/clusters/${name}`, { metas: metasOf(name), peer })
  await put('/groups/pay', { members: ['ledger'], patterns: ['pay_*'], note: 'Money' })
  const clusters = new Map(
    (['alpha', 'beta'] as const).map((name) => [
      name,
      new AdminClient({ metaServers: metasOf(name) }),
    ]),
  )
  for (const name of ['alpha', 'beta'] as const)
    for (const table of ['legacy_events', 'legacy_profiles'])
      await clusters.get(name)?.createTable(table, { partitionCount: 8, replicaCount: 3 })
  for (const [name, cluster, group, reason] of mappings) {
    await clusters.get(cluster)?.createTable(name, { partitionCount: 8, replicaCount: 3 })
    await put(`/tables/${name}`, { cluster, ...(group === '' ? {} : { group }) }, reason)
  }
  await put('/tables/reviews', { cluster: 'alpha', note: 'Not there yet' }, 'Ordered for Monday')
  await put('/tables/coupons', { cluster: 'beta', frozen: true }, 'Frozen until the audit')
  for (const client of clusters.values()) client.close()
  for (const name of ['alpha', 'beta']) await fetch(`${box.admin}/api/v1/clusters/${name}/tables`)

  await askSteadily(
    t,
    Number(
      box
        .servers()
        .find(({ role }) => role === 'gateway')
        ?.rpc.split(':')[1],
    ),
  )
  await until(async () => {
    const response = await fetch(`${box.admin}/api/v1/tables:rates`)
    return (await response.text()).includes('users')
  })

  mkdirSync(folder, { recursive: true })
  const browser = await launchBrowser(t)
  const take = async (
    name: string,
    theme: 'light' | 'dark',
    path: string,
    words: string,
    act?: (page: Awaited<ReturnType<typeof openPage>>['page']) => Promise<void>,
  ): Promise<void> => {
    const { page, context } = await openPage(t, browser, `${box.admin}${path}`, { theme })
    await page.getByText(words).first().waitFor()
    await act?.(page)
    // Nothing is still a skeleton.
    await until(async () => (await page.locator('[data-late]').count()) === 0)
    const file = join(folder, `${name}.png`)
    await page.screenshot({ path: file })
    t.ok(statSync(file).size < BYTES_MAX, `${file}: ${statSync(file).size} bytes`)
    await context.close()
  }
  await take('overview', 'light', '/', 'Last changes')
  await take('tables', 'dark', '/tables', 'users')
  await take('review', 'light', '/tables/orders?edit', 'Standby cluster', async (page) => {
    await page.getByLabel('Cluster', { exact: true }).fill('beta')
    await page.getByRole('button', { name: 'Review' }).click()
    await page.getByText('What follows').waitFor()
  })
  await take('reconcile', 'dark', '/clusters/alpha/tables', 'legacy_events')
})

/** Each table at a rate of its own. */
async function askSteadily(t: Test, gateway: number): Promise<void> {
  const client = await FrameClient.dial(gateway)
  const timers = mappings.map(([table], index) =>
    setInterval(() => client.query(table).catch(() => undefined), 40 + 90 * index),
  )
  t.teardown(() => {
    for (const timer of timers) clearInterval(timer)
    client.destroy()
  })
}
