/**
 * Changing mappings in the page, in a real browser against a real gateway (admin-ui.md 3.2 to 3.5):
 * nothing is saved unseen, nothing of somebody else is overwritten unseen, what was done can be undone.
 */
import type { Browser, Page } from 'playwright-core'
import t from 'tap'
import type { Table } from '../../gateway/admin/api/tables.ts'
import { logIn, password, startAccountsWorld } from '../support/admin-accounts.ts'
import { button } from '../support/admin-screens.ts'
import { launchBrowser, openPage, pageTimeoutMs, whyNoBrowser } from '../support/browser.ts'
import { until } from '../support/gateway-world.ts'
import { type PageWorld, root, startPageWorld } from '../support/page-world.ts'

t.setTimeout(240_000)
const missing = whyNoBrowser()

async function tableOf(world: PageWorld, name: string): Promise<Table> {
  return (await world.call('GET', `/tables/${name}`)) as Table
}

/** Presses Tab until what has the focus is called so, round and round while the page still loads. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  const focused = `(() => {
    const element = document.activeElement
    const label = element.labels?.[0]?.textContent ?? ''
    return element.getAttribute('aria-label') ?? (label === '' ? element.textContent : label)
  })()`
  const giveUpAt = performance.now() + pageTimeoutMs
  while (performance.now() < giveUpAt) {
    await page.keyboard.press('Tab')
    if (name.test(String(await page.evaluate(focused)))) return
  }
  throw new Error(`Tab never comes to ${String(name)}`)
}

void t.test('mappings are changed in the page', { skip: missing ?? false }, async (t) => {
  const world = await startPageWorld(t)
  const browser: Browser = await launchBrowser(t)
  const [alpha, beta] = world.metas
  await world.call('PUT', '/clusters/alpha', { metas: [alpha] })
  await world.call('PUT', '/clusters/beta', { metas: [beta] })

  await t.test('a new mapping is reviewed, then made, and can be undone', async (t) => {
    const { page, complaints } = await openPage(t, browser, `${world.url}/tables`)
    await button(page, 'New mapping').click()
    await page.getByLabel('Table', { exact: true }).fill('orders')
    await page.getByLabel('Cluster', { exact: true }).fill('alpha')
    const metas = page.getByLabel('Meta servers', { exact: true })
    t.equal(await metas.inputValue(), alpha, 'the registered cluster fills in its metas')
    await button(page, 'Review').click()
    await page.getByLabel('Difference').getByText('"alpha"').first().waitFor()
    t.equal(await world.other.exists(`${root}/orders`), undefined, 'a review writes nothing')
    await button(page, 'Create orders').click()
    await page.getByText('orders is created').waitFor()
    t.match(await tableOf(world, 'orders'), { cluster: 'alpha', metas: [alpha] })
    await button(page, 'Undo').click()
    await page.getByText('orders is as it was before').waitFor()
    t.equal(await world.other.exists(`${root}/orders`), undefined)
    t.strictSame(complaints, [], 'the browser complains of nothing')
  })

  await t.test('what the API finds wrong stands at the field', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/tables?new=yes`)
    await page.getByLabel('Table', { exact: true }).fill('orders')
    await page.getByLabel('Cluster', { exact: true }).fill('alpha')
    const metas = page.getByLabel('Meta servers', { exact: true })
    await metas.fill('not-an-address')
    await button(page, 'Review').click()
    await page.locator('[aria-invalid="true"]').waitFor()
    t.equal(await metas.getAttribute('aria-invalid'), 'true')
    t.equal(await metas.inputValue(), 'not-an-address', 'and what was typed is still there')
    await page.getByLabel('Table', { exact: true }).fill('or/ders')
    await page.getByText('without / and control characters').waitFor()
    await button(page, 'As JSON').click()
    await button(page, 'Review').click()
    await page.getByText('Line 4: metas.0: expected host:port').waitFor()
  })

  await t.test('what the API finds wrong after the review is told there', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/tables?new=yes`)
    await page.getByLabel('Table', { exact: true }).fill('taken')
    await page.getByLabel('Cluster', { exact: true }).fill('alpha')
    await button(page, 'Review').click()
    await button(page, 'Create taken').waitFor()
    await world.write('taken', { cluster: 'beta', 'meta-addrs': [beta] })
    await button(page, 'Create taken').click()
    await page.getByRole('alert').getByText('table taken is mapped already').waitFor()
    t.match(await tableOf(world, 'taken'), { cluster: 'beta' }, 'and nothing is overwritten')
  })

  await t.test(
    'somebody else saved first: three versions, nothing overwritten unseen',
    async (t) => {
      await world.call('PUT', '/tables/users', { cluster: 'alpha', metas: [alpha], note: 'first' })
      const { page } = await openPage(t, browser, `${world.url}/tables/users?edit`)
      const note = page.getByLabel('Note', { exact: true })
      await note.fill('mine')
      await world.write('users', { cluster: 'beta', 'meta-addrs': [beta], note: 'theirs' })
      await button(page, 'Review').click()
      const theirs = page.getByRole('region', { name: /Saved by/ })
      await theirs.getByText('theirs').waitFor()
      await page.getByRole('region', { name: 'Yours' }).getByText('mine').waitFor()
      t.match(await tableOf(world, 'users'), { note: 'theirs' }, 'nothing is saved yet')
      await button(page, 'Go on with mine, on top of theirs').click()
      t.equal(await note.inputValue(), 'mine', 'the form is as it was')
      await button(page, 'Review').click()
      await page.getByLabel('Difference').getByText('theirs').waitFor()
      await button(page, 'Save users').click()
      await page.getByText('users is saved').waitFor()
      t.match(await tableOf(world, 'users'), { note: 'mine', cluster: 'alpha' })
    },
  )

  await t.test("what was entered does not go away with the browser's Back", async (t) => {
    await world.call('PUT', '/tables/kept', { cluster: 'alpha', metas: [alpha] })
    const { page } = await openPage(t, browser, `${world.url}/tables`)
    await page.goto(`${world.url}/tables/kept`)
    await button(page, 'Edit').click()
    const note = page.getByLabel('Note', { exact: true })
    await note.fill('not saved')
    await page.evaluate('history.back()')
    await button(page, 'Keep editing').click()
    t.equal(await note.inputValue(), 'not saved')
    t.match(page.url(), /\/tables\/kept\?edit/)
    await page.evaluate('history.back()')
    await button(page, 'Discard').click()
    await note.waitFor({ state: 'detached' })
    await page.evaluate('history.back()')
    await page.waitForURL(/\/tables\/kept$/)
    t.pass('without anything entered it goes back')
  })

  await t.test('an edit of another tool appears by itself, and in the history', async (t) => {
    await world.call('PUT', '/tables/carts', { cluster: 'alpha', metas: [alpha] })
    const { page } = await openPage(t, browser, `${world.url}/tables?q=carts`)
    const row = page.getByRole('row', { name: /carts/ })
    await row.getByText('alpha').waitFor()
    await world.write('carts', { cluster: 'beta', 'meta-addrs': [beta] })
    await row.getByText('beta').waitFor()
    await page.goto(`${world.url}/tables/carts/history`)
    await page.getByText('other tool').waitFor()
    await button(page, 'Back to this').click()
    await page.getByLabel('Difference').last().waitFor()
    await button(page, 'Restore this version').click()
    await page.getByText('carts is as it was in that version').waitFor()
    t.match(await tableOf(world, 'carts'), { cluster: 'alpha', metas: [alpha] })
  })

  await t.test('many are changed at once, each seen first and one left out', async (t) => {
    for (const name of ['bulk_1', 'bulk_2', 'bulk_3'])
      await world.call('PUT', `/tables/${name}`, { cluster: 'alpha', metas: [alpha] })
    const { page } = await openPage(t, browser, `${world.url}/tables?q=bulk_`)
    await page.getByLabel('Select all that match').check()
    await page.getByRole('toolbar').getByText('3 selected').waitFor()
    await button(page, 'Edit').click()
    await page.getByRole('menuitem', { name: 'Replace meta servers…' }).click()
    const metas = page.getByLabel('Meta servers', { exact: true })
    await metas.fill('nonsense\nh:99999')
    await button(page, 'Review').click()
    await page.getByText('found "nonsense" · expected host:port, found "h:99999"').waitFor()
    t.equal(await metas.getAttribute('aria-invalid'), 'true')
    await page.keyboard.press('Escape')
    await page.getByRole('toolbar').getByRole('button', { name: 'Edit' }).click()
    await page.getByRole('menuitem', { name: 'Set group…' }).click()
    await page.getByLabel('Group', { exact: true }).fill('pay')
    await button(page, 'Review').click()
    await page.getByLabel('Include bulk_2').uncheck()
    await button(page, 'Apply 2 changes').click()
    await page.getByText('2 done').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('toolbar').waitFor({ state: 'detached' })
    t.match(await tableOf(world, 'bulk_1'), { group: 'pay' })
    t.match(await tableOf(world, 'bulk_3'), { group: 'pay' })
    t.notMatch(await tableOf(world, 'bulk_2'), { group: 'pay' }, 'what was left out stays')
  })

  await t.test('an import names the line at fault, and applies the rest', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/tables?import=yes`)
    const lines = [
      'table,cluster,metas,group,note',
      `new_1,alpha,${alpha},,`,
      'no good,alpha,::,,',
      `bulk_2,beta,${beta},,moved`,
    ]
    await page.getByLabel('Text', { exact: true }).fill(lines.join('\n'))
    await button(page, 'Preview').click()
    await page.getByRole('tab', { name: /Invalid/ }).click()
    await page.getByText('Line 3').waitFor()
    await button(page, 'Apply 2 changes').click()
    await page.getByText('2 done').waitFor()
    t.match(await tableOf(world, 'new_1'), { cluster: 'alpha' })
    t.match(await tableOf(world, 'bulk_2'), { cluster: 'beta', note: 'moved' })
  })

  await t.test('the audit is filtered by action and by day', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/audit?name=bulk_1&action=create`)
    const lines = page.getByRole('main').getByRole('table')
    await lines.getByText('Created').first().waitFor()
    t.equal(await lines.getByText('Changed with others').count(), 0)
    await page.getByLabel('Action', { exact: true }).selectOption('bulk-edit')
    await lines.getByText('Changed with others').waitFor()
    await page.getByLabel('To', { exact: true }).fill('2020-01-31')
    await page.getByText('No change matches these filters').waitFor()
    t.match(page.url(), /until=2020-01-31/)
    await page.getByLabel('To', { exact: true }).fill('2999-01-31')
    await lines.getByText('Changed with others').waitFor()
  })

  await t.test('a file that the page cannot take is told at once', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/tables?import=yes`)
    const file = page.getByLabel('Choose a file', { exact: true }).first()
    const choose = (buffer: Buffer): Promise<void> =>
      file.setInputFiles({ name: 'tables.csv', mimeType: 'text/csv', buffer })
    await choose(Buffer.from([0x74, 0xb1, 0xb8]))
    await page.getByText('The file is not UTF-8').waitFor()
    await choose(Buffer.alloc(5 * 1024 * 1024, 'x'))
    await page.getByText('4 MiB at most').waitFor()
    await choose(Buffer.from('\ufefftable,cluster\r\nnew_2,alpha\r\n'))
    await button(page, 'Preview').click()
    await button(page, 'Apply 1 change').waitFor()
  })

  await t.test('a filter that is none says so, and is cleared', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/tables?state=nonsense`)
    await page.getByText('This filter is not understood').waitFor()
    await button(page, 'Clear filters').last().click()
    await page.getByRole('row', { name: /users/ }).waitFor()
  })

  await t.test('deletions of an import must be typed', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/tables?import=yes`)
    await page.getByLabel('Text', { exact: true }).fill('table,cluster,metas,group,note\n')
    await page.getByLabel('Mode').selectOption('replace')
    await page
      .getByLabel('Text', { exact: true })
      .fill(`table,cluster,metas,group,note\nonly,alpha,${alpha},,`)
    await button(page, 'Preview').click()
    const apply = button(page, /Apply \d+ changes/)
    await apply.waitFor()
    t.equal(await apply.getAttribute('aria-disabled'), 'true', 'not before the number is typed')
    await apply.click({ force: true })
    t.ok(await world.other.exists(`${root}/users`), 'nothing was deleted')
    await page.keyboard.press('Escape')
  })

  await t.test('a script in a note is shown, never run', async (t) => {
    const note = '<img src=x onerror="window.ran = true"><script>window.ran = true</script>'
    await world.call('PUT', '/tables/evil', { cluster: 'alpha', metas: [alpha], note })
    const { page } = await openPage(t, browser, `${world.url}/tables?q=evil&columns=cluster,note`)
    await page.getByRole('row', { name: /evil/ }).getByText('<script>').waitFor()
    await page.goto(`${world.url}/tables/evil/history`)
    await page.getByText('What it changed').click()
    await page.getByLabel('Difference').getByText('onerror').waitFor()
    t.equal(await page.evaluate('window.ran'), undefined)
  })

  await t.test('create, edit and revert by keyboard alone', async (t) => {
    const { page } = await openPage(t, browser, `${world.url}/`)
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    const keys = async (...pressed: string[]): Promise<void> => {
      for (const key of pressed) await page.keyboard.press(key)
    }
    await keys('g', 't')
    await page.getByRole('grid').waitFor()
    await tabTo(page, /^New mapping$/)
    await keys('Enter')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.type('typed')
    await tabTo(page, /^Cluster$/)
    await page.keyboard.type('alpha')
    await tabTo(page, /^Review$/)
    await keys('Enter')
    await button(page, 'Create typed').waitFor()
    await tabTo(page, /^Create typed$/)
    await keys('Enter')
    await until(async () => (await world.other.exists(`${root}/typed`)) !== undefined)
    await page.getByRole('dialog').waitFor({ state: 'detached' })

    await keys('/')
    await page.keyboard.type('typed')
    await page.getByRole('option', { name: /typed/ }).waitFor()
    await keys('Enter')
    await page.getByRole('heading', { name: 'typed' }).waitFor()
    await tabTo(page, /^Edit$/)
    await keys('Enter')
    await page.getByRole('dialog').waitFor()
    await tabTo(page, /^Note$/)
    await page.keyboard.type('by hand')
    await tabTo(page, /^Review$/)
    await keys('Enter')
    await button(page, 'Save typed').waitFor()
    await tabTo(page, /^Save typed$/)
    await keys('Enter')
    await until(async () => (await tableOf(world, 'typed')).note === 'by hand')
    await page.getByRole('dialog').waitFor({ state: 'detached' })

    await tabTo(page, /^History$/)
    await keys('Enter')
    await button(page, 'Back to this').waitFor()
    await tabTo(page, /^Back to this$/)
    await keys('Enter')
    await page.getByRole('dialog').getByLabel('Difference').waitFor()
    await tabTo(page, /^Restore this version$/)
    await keys('Enter')
    await until(async () => (await tableOf(world, 'typed')).note === undefined)
    t.pass('created, edited and restored')
  })
})

void t.test('accounts, and a session that ends', { skip: missing ?? false }, async (t) => {
  const world = await startAccountsWorld(t)
  await world.write('orders', { cluster: 'alpha', 'meta-addrs': [world.metas[0]] })
  const browser = await launchBrowser(t)
  const { page, context } = await openPage(t, browser, `${world.url}/settings/users`)

  await t.test('an administrator makes a user, who may do what the preview says', async (t) => {
    await logIn(page, 'admin', 'wrong')
    await page.getByText('Name or password is wrong.').waitFor()
    await logIn(page, 'admin')
    await button(page, 'New user').click()
    await page.getByLabel('User', { exact: true }).fill('anna')
    await page.getByLabel('Password', { exact: true }).fill(password)
    await page.getByLabel('Role', { exact: true }).selectOption('editor')
    await page.getByLabel('Clusters', { exact: true }).fill('alpha*')
    await button(page, 'Review').click()
    await button(page, 'Create anna').click()
    await page.getByRole('row', { name: /anna/ }).waitFor()
    await page.getByRole('link', { name: 'Roles' }).click()
    await page.getByLabel('User', { exact: true }).selectOption('anna')
    const answer = page.getByRole('status').filter({ hasText: /llowed/ })
    await page.getByLabel('On cluster').fill('alpha-2')
    await answer.getByText('Allowed', { exact: true }).waitFor()
    await page.getByLabel('On cluster').fill('beta')
    await answer.getByText('Not allowed').waitFor()
    t.pass('the preview judges by pattern')
  })

  await t.test('a token is shown once', async (t) => {
    await page.getByRole('link', { name: 'Tokens' }).click()
    await button(page, 'New token').click()
    await page.getByLabel('Token', { exact: true }).fill('nightly')
    await button(page, 'Make the token').click()
    await button(page, 'I have kept it').waitFor()
    const secret = (await page.getByRole('dialog').locator('code').textContent()) ?? ''
    t.ok(secret.length > 20)
    await button(page, 'I have kept it').click()
    await page.getByRole('row', { name: /nightly/ }).waitFor()
    t.notOk((await page.content()).includes(secret), 'and never again')
  })

  await t.test('what was typed outlives the session', async (t) => {
    await page.getByRole('button', { name: /your settings/ }).click()
    await page.getByRole('menuitem', { name: 'Log out' }).click()
    await page.getByLabel('User name').waitFor()
    await logIn(page, 'anna')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.goto(`${world.url}/settings/users`)
    await page.getByText('You lack the right users.edit.').waitFor()
    await page.goto(`${world.url}/tables/orders?edit`)
    const note = page.getByLabel('Note', { exact: true })
    await note.fill('typed before it ended')
    await context.clearCookies()
    await button(page, 'Review').click()
    const again = page.getByRole('dialog', { name: 'Your session has ended' })
    await again.waitFor()
    t.equal(await again.getByLabel('User name').inputValue(), 'anna')
    await again.getByLabel('Password').fill(password)
    await again.getByRole('button', { name: 'Log in' }).click()
    await again.waitFor({ state: 'detached' })
    t.equal(await note.inputValue(), 'typed before it ended')
    await button(page, 'Review').click()
    await button(page, 'Save orders').click()
    await page.getByText('orders is saved').waitFor()
    const { data } = await world.other.get(`${root}/orders`)
    t.match(data.toString(), /typed before it ended/)
  })
})
