/** axe, all of its rules, on every screen of the admin page, in both themes (admin-ui.md 4 and 6). */
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { logIn, reviewUser, startAccountsWorld } from '../support/admin-accounts.ts'
import { button, screens, startAdminBox } from '../support/admin-screens.ts'
import { axeViolations, launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'

t.setTimeout(300_000)
const missing = whyNoBrowser()

/** The page follows the system's theme, as it does at first. */
async function check(t: Test, page: Page, name: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    t.strictSame(await axeViolations(page), [], `${name}, ${colorScheme}`)
  }
}

void t.test('every screen of a onebox', { skip: missing ?? false }, async (t) => {
  const box = await startAdminBox(t)
  const browser = await launchBrowser(t)
  const { page } = await openPage(t, browser, `${box.admin}/`, { bypassPolicy: true })
  for (const { name, path, shown } of screens) {
    await page.goto(`${box.admin}${path}`)
    await shown(page)
    await check(t, page, name)
  }
})

void t.test('every screen of accounts', { skip: missing ?? false }, async (t) => {
  const world = await startAccountsWorld(t)
  await world.write('orders', { cluster: 'alpha', 'meta-addrs': [world.metas[0]] })
  const browser = await launchBrowser(t)
  const { page, context } = await openPage(t, browser, `${world.url}/settings/users`, {
    bypassPolicy: true,
  })
  await page.getByLabel('User name').waitFor()
  await check(t, page, 'log-in')
  await logIn(page, 'admin', 'wrong')
  await page.getByText('Name or password is wrong.').waitFor()
  await check(t, page, 'a refused log-in')
  await logIn(page, 'admin')
  await page.getByRole('row', { name: /admin/ }).waitFor()
  await check(t, page, 'users')

  await button(page, 'New user').click()
  await page.getByLabel('User', { exact: true }).fill('vera')
  await check(t, page, 'a new user')
  await page.keyboard.press('Escape')
  await button(page, 'Discard').click()
  await reviewUser(page, 'vera', 'viewer')
  await check(t, page, 'the review of a user')
  await button(page, 'Create vera').click()
  await page.getByRole('row', { name: /vera/ }).waitFor()
  await check(t, page, 'a made user')

  await page.goto(`${world.url}/settings/tokens`)
  await button(page, 'New token').click()
  await page.getByLabel('Token', { exact: true }).fill('nightly')
  await check(t, page, 'a new token')
  await button(page, 'Make the token').click()
  await button(page, 'I have kept it').waitFor()
  await check(t, page, 'a made token')
  await button(page, 'I have kept it').click()
  await page.getByRole('row', { name: /nightly/ }).waitFor()
  await check(t, page, 'tokens')
  await page.getByRole('button', { name: /nightly/ }).click()
  await page.getByRole('dialog').waitFor()
  await check(t, page, 'a token that is deleted')

  await page.goto(`${world.url}/settings/roles`)
  await page.getByLabel('User', { exact: true }).selectOption('vera')
  await page
    .getByRole('status')
    .filter({ hasText: /llowed/ })
    .waitFor()
  await check(t, page, 'roles')
  await page.goto(`${world.url}/settings/account`)
  await page.getByText('Present password').waitFor()
  await check(t, page, 'an account')

  await context.clearCookies()
  await page.goto(`${world.url}/tables/orders`)
  await logIn(page, 'vera')
  await button(page, 'Edit').waitFor()
  await button(page, 'Edit').focus()
  await page.getByRole('tooltip').waitFor({ state: 'attached' })
  await check(t, page, 'a button that may not be used')
  await context.clearCookies()
  await page.getByRole('link', { name: 'Audit' }).click()
  await page.getByRole('dialog').getByLabel('Password').waitFor()
  await check(t, page, 'a session that ended')
})
