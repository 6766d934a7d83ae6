/**
 * Four eyes on the page (admin-ui.md 5): who changes many tables asks, somebody else sees it live, reviews
 * every difference and decides, with the keyboard alone too; axe has nothing to say to any of it.
 */
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { logIn, reviewUser, startAccountsWorld } from '../support/admin-accounts.ts'
import { button } from '../support/admin-screens.ts'
import { axeViolations, launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'

t.setTimeout(240_000)
const missing = whyNoBrowser()
const tables = ['orders', 'carts', 'catalog']

async function check(t: Test, page: Page, name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    t.strictSame(await axeViolations(page), [], `${name}, ${colorScheme}`)
  }
}

/** Of all tables; ends at the review. */
async function reviewAll(page: Page, item: string): Promise<void> {
  await page.getByRole('link', { name: 'Tables', exact: true }).first().click()
  await page.getByRole('row', { name: /orders/ }).waitFor()
  await page.getByLabel('Select all that match').check()
  await page.getByRole('toolbar').getByRole('button', { name: 'Edit' }).click()
  await page.getByRole('menuitem', { name: item }).click()
  if (item.startsWith('Set group')) await page.getByLabel('Group', { exact: true }).fill('shop')
  await button(page, 'Review').click()
}

/** Tabs until what has the focus is called so. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let left = 60; left > 0; left--) {
    await page.keyboard.press('Tab')
    const focused: string = await page.evaluate('document.activeElement?.textContent ?? ""')
    if (focused.includes(name)) return
  }
  throw new Error(`the keyboard does not reach ${name}`)
}

void t.test('many changes by one wait for another', { skip: missing ?? false }, async (t) => {
  const world = await startAccountsWorld(t, ['--approval.bulkAbove', '2'])
  for (const name of tables)
    await world.write(name, { cluster: 'alpha', 'meta-addrs': [world.metas[0]] })
  const browser = await launchBrowser(t)
  const open = async (path: string, name: string): Promise<Page> => {
    const { page } = await openPage(t, browser, `${world.url}${path}`, { bypassPolicy: true })
    await logIn(page, name)
    return page
  }
  const admins = await open('/settings/users', 'admin')
  for (const [name, role] of [
    ['anna', 'editor'],
    ['ben', 'operator'],
    ['vera', 'viewer'],
  ] as const) {
    await reviewUser(admins, name, role)
    await button(admins, `Create ${name}`).click()
    await admins.getByRole('row', { name: new RegExp(name) }).waitFor()
  }
  const bens = await open('/', 'ben')
  await bens.getByText('Last changes').waitFor()
  const annas = await open('/', 'anna')
  const veras = await open('/approvals', 'vera')
  await veras.getByText('Nothing waits for a second person').waitFor()
  await check(t, veras, 'nothing-waits')
  await button(admins, /ettings/)
    .first()
    .click()
  await admins
    .getByRole('menuitemradio', { name: '中文' })
    .or(admins.getByText('中文'))
    .first()
    .click()

  await t.test('the review says who is needed before anything is asked', async (t) => {
    await reviewAll(annas, 'Set group…')
    await annas.getByText(/More than 2 at once: needs the approval of a second person/).waitFor()
    await annas.getByRole('checkbox', { name: 'Include carts' }).uncheck()
    await button(annas, 'Apply 2 changes').waitFor()
    await annas.getByRole('checkbox', { name: 'Include carts' }).check()
    await check(t, annas, 'review-above-the-limit')
    await annas.getByLabel('Reason', { exact: false }).fill('All of the shop')
    await button(annas, 'Ask for approval of 3 changes').click()
    await annas.getByText('It waits for a second person').waitFor()
    await check(t, annas, 'asked')
    await annas.getByRole('link', { name: 'See what waits' }).click()
    await annas.getByRole('heading', { name: '3 changes by anna' }).waitFor()
  })

  await t.test('who asked cannot approve, and is told why; a viewer neither', async (t) => {
    for (const [page, why] of [
      [annas, /another person must decide/],
      [veras, /tables\.edit/],
    ] as const) {
      if (page === veras) await page.getByRole('link', { name: '3 changes by anna' }).click()
      const approve = button(page, 'Approve and apply')
      t.equal(await approve.getAttribute('aria-disabled'), 'true')
      await approve.hover()
      await page.getByRole('tooltip').filter({ hasText: why }).waitFor({ state: 'attached' })
    }
    t.equal(await button(veras, 'Withdraw').count(), 0)
    await check(t, annas, 'waits-as-its-author')
    await admins.goto(`${world.url}/approvals`)
    await admins.getByRole('link', { name: 'anna 的 3 个变更' }).click()
    await admins.getByText('申请内容').waitFor()
    await check(t, admins, 'chinese')
  })

  await t.test('another one sees it live, and approves with the keyboard alone', async (t) => {
    await bens.getByRole('link', { name: '1 waits for approval' }).click()
    await bens.getByRole('row', { name: /3 changes by anna.*Waits/ }).waitFor()
    await check(t, bens, 'list')
    await bens.getByRole('link', { name: '3 changes by anna' }).click()
    await bens.getByText('All of the shop').waitFor()
    await button(bens, 'orders').click()
    await bens.getByText('"shop"').first().waitFor()
    await check(t, bens, 'waits-as-another')
    await bens.setViewportSize({ width: 320, height: 900 })
    t.equal(await bens.evaluate('document.documentElement.scrollWidth'), 320, 'at 320 px')
    await check(t, bens, 'narrow')
    await bens.setViewportSize({ width: 1440, height: 900 })
    await world.write('carts', { cluster: 'alpha', 'meta-addrs': [world.metas[0]], note: 'mine' })
    await tabTo(bens, 'Approve and apply')
    await bens.keyboard.press('Enter')
    await bens.getByText('2 done').waitFor()
    await bens.getByText('1 skipped').waitFor()
    await button(bens, 'carts').click()
    await bens.getByText(/table carts is now/).waitFor()
    t.equal(await button(bens, 'Approve and apply').count(), 0)
    await check(t, bens, 'applied')
    await annas.getByText('Applied', { exact: true }).waitFor()
    t.equal(await annas.getByRole('link', { name: /for approval/ }).count(), 0, 'nothing waits')
    await annas.goto(`${world.url}/tables/orders/history`)
    await annas.getByText('approved by ben').waitFor()
    await annas.goto(`${world.url}/audit`)
    await annas
      .getByRole('row', { name: /approved by ben/ })
      .first()
      .waitFor()
    await check(t, annas, 'audit')
  })

  await t.test('deletions are counted by who approves; one may reject, or withdraw', async (t) => {
    const ask = async (): Promise<void> => {
      await reviewAll(annas, 'Delete mappings…')
      await annas.getByLabel('3 mappings will be deleted').fill('3')
      await button(annas, 'Ask for approval of 3 changes').click()
      await annas.getByRole('link', { name: 'See what waits' }).click()
      await annas.getByRole('heading', { name: '3 changes by anna' }).waitFor()
    }
    await ask()
    await bens.goto(`${world.url}/approvals`)
    await bens.getByRole('row', { name: /Waits/ }).getByRole('link').click()
    t.equal(await button(bens, 'Approve and apply').getAttribute('aria-disabled'), 'true')
    await check(t, bens, 'deletions')
    await button(bens, 'Reject').click()
    await bens.getByText('Rejected', { exact: true }).waitFor()
    await annas.getByText('Rejected', { exact: true }).waitFor()
    await ask()
    await button(annas, 'Withdraw').click()
    await annas.getByText('Withdrawn', { exact: true }).waitFor()
    await annas.getByRole('link', { name: 'Tables', exact: true }).first().click()
    for (const name of tables) await annas.getByRole('row', { name: new RegExp(name) }).waitFor()
    t.pass('nothing was deleted')
  })
})
