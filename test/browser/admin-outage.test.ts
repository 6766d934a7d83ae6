/**
 * The page while what it rests on is away (admin-ui.md 1.6, 4): a gateway that restarts, a ZooKeeper
 * that freezes. A form that is open loses nothing, the page says what is wrong and how old its data
 * is, and goes on by itself.
 */
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'
import { type PageWorld, root, startPageWorld } from '../support/page-world.ts'
import { startRealZooKeeper, whyNoRealZooKeeper } from '../support/real-zookeeper.ts'

t.setTimeout(240_000)
const missing = whyNoBrowser()
const missingZooKeeper = whyNoRealZooKeeper()
/** An outage shows after a session's time-out at most; reconnects wait longer on a busy machine. */
const patience = { timeout: 90_000 }

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })

async function openForm(t: Test, browser: Browser, world: PageWorld) {
  const opened = await openPage(t, browser, `${world.url}/tables/orders?edit`)
  const note = opened.page.getByLabel('Note', { exact: true })
  await note.fill('typed before the outage')
  return { ...opened, note }
}

async function saveForm(page: Page): Promise<void> {
  await button(page, 'Review').click(patience)
  await button(page, 'Save orders').click(patience)
  await page.getByText('orders is saved').waitFor(patience)
}

void t.test('a gateway restarts while a form is open', { skip: missing ?? false }, async (t) => {
  const world = await startPageWorld(t)
  await world.write('orders', { cluster: 'alpha', 'meta-addrs': [world.metas[0]] })
  const browser = await launchBrowser(t)
  const { page, note } = await openForm(t, browser, world)
  await world.stopGateway()
  await page.getByText('The gateway does not answer.').first().waitFor(patience)
  t.equal(await note.inputValue(), 'typed before the outage')
  await button(page, 'Review').click()
  await page
    .getByRole('dialog')
    .getByText(/The gateway does not answer/)
    .waitFor(patience)
  t.equal(await note.inputValue(), 'typed before the outage', 'a failed review keeps the form')

  await world.startGateway()
  await page
    .locator('[role="alert"]', { hasText: 'What is shown is' })
    .waitFor({ state: 'detached', ...patience })
  await saveForm(page)
  const { data } = await world.other.get(`${root}/orders`)
  t.match(data.toString(), /typed before the outage/)
})

async function survivesOutage(
  t: Test,
  world: PageWorld,
  outage: { readonly begin: () => void; readonly end: () => void },
): Promise<void> {
  await world.write('orders', { cluster: 'alpha', 'meta-addrs': [world.metas[0]] })
  const browser = await launchBrowser(t)
  const { page, note } = await openForm(t, browser, world)
  outage.begin()
  const banner = page.getByText('ZooKeeper does not answer.', { exact: true })
  await banner.waitFor(patience)
  await page.getByText(/Read-only: what is shown is .* old/).waitFor()
  t.equal(await page.getByText('Live', { exact: true }).count(), 0, 'nothing is called live')
  t.equal(await note.inputValue(), 'typed before the outage')
  const review = button(page, 'Review')
  t.equal(await review.getAttribute('aria-disabled'), 'true', 'nothing can be saved now')
  await review.focus()
  await page
    .getByRole('tooltip')
    .getByText(/nothing can be changed now/)
    .waitFor()

  outage.end()
  await banner.waitFor({ state: 'detached', ...patience })
  t.equal(await note.inputValue(), 'typed before the outage')
  await saveForm(page)
  t.pass('saved after it came back')
}

const flags = ['--zookeeper.sessionTimeoutMs', '6000']

void t.test(
  'the embedded ZooKeeper cannot be reached while a form is open',
  { skip: missing ?? false },
  async (t) => {
    const world = await startPageWorld(t, { flags })
    await survivesOutage(t, world, { begin: world.proxy.cut, end: world.proxy.restore })
  },
)

void t.test(
  'a real ZooKeeper freezes while a form is open',
  { skip: missing ?? (missingZooKeeper === undefined ? false : `missing: ${missingZooKeeper}`) },
  async (t) => {
    const zookeeper = await startRealZooKeeper()
    t.teardown(() => zookeeper.close())
    const world = await startPageWorld(t, { flags, zookeeper: `127.0.0.1:${zookeeper.port}` })
    await survivesOutage(t, world, { begin: zookeeper.freeze, end: zookeeper.thaw })
  },
)
