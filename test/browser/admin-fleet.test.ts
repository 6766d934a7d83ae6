/**
 * What the page shows of gateways (admin-ui.md 3.3 and 3.10): the route that each of them serves, who
 * asked them, what they log and run with; and draining one, which is confirmed and needs a right.
 */
import type { Page } from 'playwright-core'
import t from 'tap'
import type { GatewayList } from '../../gateway/admin/api/gateways.ts'
import {
  prepareRedirects,
  redirectOperations,
  writePlan,
} from '../../gateway/routing/redirect-plan.ts'
import { logIn, reviewUser, startAccountsWorld } from '../support/admin-accounts.ts'
import { button } from '../support/admin-screens.ts'
import { launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'
import { FrameClient, until } from '../support/gateway-world.ts'
import { controlRoot, startPageWorld } from '../support/page-world.ts'

t.setTimeout(240_000)
const missing = whyNoBrowser()

void t.test('gateways are asked about a table', { skip: missing ?? false }, async (t) => {
  const world = await startPageWorld(t)
  const [alpha, beta] = world.metas
  await world.write('orders', { cluster: 'alpha', 'meta-addrs': [alpha] })
  const client = await FrameClient.dial(world.rpcPort)
  t.teardown(() => client.destroy())
  await client.query('orders')
  const browser = await launchBrowser(t)
  const { page } = await openPage(t, browser, `${world.url}/tables/orders`)
  const served = page.getByRole('region', { name: 'Gateways' })

  await t.test('the route that each serves, as of when it was asked', async (t) => {
    await served.getByText('In force', { exact: true }).waitFor()
    t.equal(await served.getByText('alpha').count(), 0, 'nobody was asked yet')
    await served.getByRole('button', { name: 'Ask', exact: true }).click()
    await served.getByText('The one that answered serves it').waitFor()
    await served.getByText('alpha', { exact: true }).waitFor()
    await served.getByText('Asked').waitFor()
    await world.write('orders', { cluster: 'beta', 'meta-addrs': [beta] })
    await until(async () => {
      await served.getByRole('button', { name: 'Ask again' }).click()
      return (await served.getByText('beta', { exact: true }).count()) === 1
    })
    t.pass('a changed route is seen')
  })

  await t.test('who asked, and who still talks to the old cluster', async (t) => {
    await page.getByRole('link', { name: 'Clients' }).click()
    const row = page.getByRole('row', { name: /127\.0\.0\.1/ })
    await row.getByText('alpha').waitFor()
    await row.getByText('Slow to move').waitFor()
    await page.getByText('1 still talks to the old cluster').waitFor()
    await client.query('orders')
    await until(async () => {
      await button(page, 'Ask again').click()
      return (await row.getByText('beta').count()) === 1
    })
    await page.getByText('All are at beta').waitFor()
    t.equal(await row.getByText('Slow to move').count(), 0)
  })

  await t.test('what happens to the table is told as it happens', async (t) => {
    await page.getByRole('link', { name: 'Events', exact: true }).click()
    await page.getByText('Listening').waitFor()
    await world.call('PUT', '/clusters/alpha', { metas: [alpha] })
    await world.write('orders', { cluster: 'alpha', 'meta-addrs': [alpha], note: 'back' })
    const live = page.getByRole('region', { name: 'Live events' })
    await live.getByRole('row', { name: /beta → alpha/ }).waitFor()
    const recorded = page.getByRole('region', { name: 'Recorded changes' })
    await recorded
      .getByRole('row', { name: /other tool/ })
      .first()
      .waitFor()
    t.pass('live and recorded')
  })

  await t.test('a redirect is said in the list, at the table and by the gateway', async (t) => {
    const { other } = world
    await world.call('PUT', '/clusters/beta', { metas: [beta] })
    await page.goto(`${world.url}/tables`)
    const row = page.getByRole('row', { name: /orders/ })
    await row.getByText('OK').waitFor()
    const rate = row.getByTitle(/^Of the whole fleet, over [\d.]+ s$/)
    await rate.waitFor()
    await until(async () => {
      await client.query('orders')
      return Number(await rate.textContent()) > 0
    })
    await prepareRedirects(other, controlRoot)
    const digest = await writePlan(other, controlRoot, 'plan-1', ['orders'])
    const redirect = { to: 'beta', plan: 'plan-1', epoch: 1, digest }
    await other.multi(redirectOperations(controlRoot, 'alpha', redirect))
    await row.getByText('Redirected').waitFor()
    await page.goto(`${world.url}/tables?state=redirected`)
    await row.getByText('alpha → beta').waitFor()
    await row.getByRole('link', { name: 'orders' }).click()
    await page.getByText('to beta, by plan plan-1').waitFor()
    await served.getByRole('button', { name: 'Ask', exact: true }).click()
    await served.getByText('beta', { exact: true }).waitFor()
    await served.getByText('by plan plan-1, instead of alpha').waitFor()
    await served.getByText('The one that answered serves it').waitFor()
    t.pass('everywhere')
  })
})

const busyLoad = {
  overSeconds: 5,
  queriesPerSecond: 12_300,
  errorsPerSecond: 0.2,
  p99Ms: 50,
  loopLagMs: 500,
  routes: 2048,
}

const fleetOf = (page: Page): Promise<unknown> =>
  page.evaluate(`fetch('/api/v1/gateways').then((answer) => answer.json())`)

void t.test('a gateway is looked at, and drained', { skip: missing ?? false }, async (t) => {
  const world = await startAccountsWorld(t)
  const browser = await launchBrowser(t)
  const { page, context } = await openPage(t, browser, `${world.url}/settings/users`)
  const status = async (): Promise<number> => (await fetch(`${world.url}/readyz`)).status
  await logIn(page, 'admin')
  await page.getByRole('row', { name: /admin/ }).waitFor()
  await reviewUser(page, 'vera', 'viewer')
  await button(page, 'Create vera').click()
  await page.getByRole('row', { name: /vera/ }).waitFor()

  await page.goto(`${world.url}/gateways`)
  const { gateways } = (await fleetOf(page)) as GatewayList
  const [known] = gateways
  if (known === undefined) throw new Error('a fleet of none')
  const { id, version, configHash = '' } = known
  const fleet = page.getByRole('main').getByRole('table')
  const own = fleet.getByRole('row', { name: id })
  for (const name of ['Queries/s', 'p99', 'Errors/s', 'Loop lag', 'Routes', 'Configuration'])
    await fleet.getByRole('columnheader', { name }).waitFor()
  await own.getByText('No queries in the last seconds').waitFor()
  await own.getByText(/^≤ [\d,]+ ms$/).waitFor()
  await own.getByText(configHash, { exact: true }).waitFor()
  t.equal(await own.getByText('differs').count(), 0)
  const other = { version, zookeeper: 'connected', configHash: '00000000', load: busyLoad }
  const node = `${controlRoot}/gateways/other`
  await world.other.create(node, Buffer.from(JSON.stringify(other)), { ephemeral: true })
  const second = fleet.getByRole('row', { name: /^other/ })
  for (const words of ['12,300', '≤ 50 ms', '0.2', '≤ 500 ms', '2,048', 'differs'])
    await second.getByText(words, { exact: true }).waitFor()
  await own.getByText('differs').waitFor()
  await page.getByText('Marked gateways run with another configuration').waitFor()
  await second.getByRole('link').click()
  await page.getByText('differs from most').waitFor()
  await page.getByRole('link', { name: `compare with ${id}` }).click()
  await page.getByRole('heading', { name: id }).waitFor()
  await world.other.remove(node)
  const address = page.url()
  await page.getByRole('row', { name: /auth\.enabled true/ }).waitFor()
  const secret = page.getByRole('row', { name: /auth\.firstAdmin\.password/ })
  t.notMatch(await secret.textContent(), /horse/, 'secrets are masked')

  await button(page, 'Drain').click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('It is no longer ready').waitFor()
  t.equal(await status(), 200, 'one click drains nothing')
  await dialog.getByLabel(/^Reason/).fill('New kernel')
  await dialog.getByRole('button', { name: /^Drain/ }).click()
  await page.getByText('New kernel').waitFor()
  await until(async () => (await status()) === 503)
  await button(page, 'Resume').click()
  await dialog.getByRole('button', { name: /^Resume/ }).click()
  await button(page, 'Drain').waitFor()
  await until(async () => (await status()) === 200)
  await page.goto(`${world.url}/audit`)
  await page.getByRole('row', { name: /Drained gateway .* New kernel/ }).waitFor()

  await context.clearCookies()
  await page.goto(address)
  await logIn(page, 'vera')
  const drain = button(page, 'Drain')
  await drain.waitFor()
  t.equal(await drain.getAttribute('aria-disabled'), 'true')
  await drain.focus()
  await page.getByText('You lack the right gateways.drain.').first().waitFor()
  t.pass('and it says why')
})
