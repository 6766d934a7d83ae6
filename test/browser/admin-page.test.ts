/**
 * Every screen of the admin page against a onebox of two clusters: nothing that axe finds, nothing
 * that the strict content policy forbids, nothing wider than a phone, a small first load; and the
 * reconciliation of a real cluster (admin-ui.md 3.6, 4, 6).
 */
import t from 'tap'
import { AdminClient } from '../../cluster/client/admin.ts'
import { axeViolations, launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'
import { startOnebox } from '../support/onebox.ts'

t.setTimeout(300_000)
const missing = whyNoBrowser()
const FIRST_LOAD_BYTES_MAX = 300 * 1024

/** Path and what is there when it is shown. */
const screens: readonly (readonly [string, string])[] = [
  ['/', 'Last changes'],
  ['/tables', 'Last change'],
  ['/tables/temp', 'In force'],
  ['/tables/temp/partitions', 'Ballot'],
  ['/tables/temp/clients', 'Clients'],
  ['/tables/temp/history', 'What it changed'],
  ['/tables/temp/snippet', 'Java'],
  ['/clusters', 'alpha'],
  ['/clusters/alpha', 'Replica servers'],
  ['/clusters/alpha/tables', 'Hosted against mapped'],
  ['/groups', 'pay'],
  ['/groups/pay', 'Membership'],
  ['/gateways', 'Applied epoch'],
  ['/audit', 'Verify the chain'],
  ['/settings/users', 'No log-in is configured'],
  ['/settings/roles', 'Who may do what'],
  ['/settings/account', 'Logged in by'],
  ['/settings/about', 'Configuration in force'],
  ['/no/such/page', 'There is nothing at this address.'],
  // Dialogs over a screen.
  ['/tables?new=yes', 'Standby cluster'],
  ['/tables/temp?edit', 'Standby cluster'],
  ['/tables/temp?remove', 'Type temp to confirm'],
  ['/tables?import=yes', 'Choose a file'],
  ['/clusters/alpha?replace', 'Address that comes'],
  ['/groups?new=yes', 'Tables by name'],
]

void t.test('the page of a onebox', { skip: missing ?? false }, async (t) => {
  const box = await startOnebox({ flags: ['--replicas', '1', '--metas', '1'] })
  t.teardown(() => box.remove())
  const put = async (path: string, body: object): Promise<void> => {
    const response = await fetch(`${box.admin}/api/v1${path}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', 'if-none-match': '*' },
      body: JSON.stringify(body),
    })
    t.ok(response.ok, `PUT ${path}`)
  }
  const metasOf = (cluster: string): string[] =>
    box
      .servers()
      .flatMap(({ role, rpc, cluster: its }) => (role === 'meta' && its === cluster ? [rpc] : []))
  await put('/clusters/alpha', { metas: metasOf('alpha'), peer: 'beta', note: 'Zone 2' })
  await put('/groups/pay', { members: ['temp'], patterns: ['pay_*'] })
  await put('/tables/pay_gone', { cluster: 'alpha', note: 'points to nothing' })
  const browser = await launchBrowser(t)

  await t.test('axe finds nothing on any screen, light or dark, and no script fails', async (t) => {
    // Between the themes only colours differ.
    const looks = [
      ['light', undefined],
      ['dark', ['color-contrast']],
    ] as const
    for (const [theme, rules] of looks) {
      const { page, complaints } = await openPage(t, browser, `${box.admin}/`, {
        theme,
        bypassPolicy: true,
      })
      for (const [path, words] of screens) {
        await page.goto(`${box.admin}${path}`)
        await page.getByText(words).first().waitFor()
        t.strictSame(await axeViolations(page, rules), [], `${path}, ${theme}`)
      }
      t.strictSame(complaints, [])
      await page.context().close()
    }
  })

  await t.test('the strict content policy forbids nothing that the page does', async (t) => {
    const { page, complaints } = await openPage(t, browser, `${box.admin}/tables`)
    await page.getByRole('button', { name: 'Columns' }).click()
    await page.getByRole('menuitemcheckbox', { name: 'Note' }).click()
    await page.getByText('points to nothing').waitFor()
    await page.keyboard.press('Escape')
    await page.keyboard.press('?')
    await page.getByText('No key alone changes anything.').waitFor()
    t.strictSame(complaints, [])
    const policy = (await fetch(`${box.admin}/`)).headers.get('content-security-policy') ?? ''
    t.match(policy, /default-src 'self'/)
    t.notMatch(policy, /unsafe/)
  })

  await t.test('nothing is wider than the screen, down to 320 px, nor forbidden', async (t) => {
    for (const width of [320, 1024]) {
      const { page, complaints } = await openPage(t, browser, `${box.admin}/`, {
        width,
        height: 700,
      })
      for (const [path, words] of screens) {
        await page.goto(`${box.admin}${path}`)
        await page.getByText(words).first().waitFor({ state: 'attached' })
        const tooWide = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
        t.ok(Number(tooWide) <= 0, `${path} at ${width} px`)
      }
      t.strictSame(complaints, [], 'under the strict content policy')
      await page.context().close()
    }
  })

  await t.test('the first load is small, and asks nobody else', async (t) => {
    const { page } = await openPage(t, browser, 'about:blank')
    let bytes = 0
    const hosts = new Set<string>()
    page.on('response', async (response) => {
      hosts.add(new URL(response.url()).host)
      const { responseBodySize } = await response
        .request()
        .sizes()
        .catch(() => ({ responseBodySize: 0 }))
      if (!response.url().includes('/api/')) bytes += responseBodySize
    })
    await page.goto(`${box.admin}/`)
    await page.getByText('Last changes').waitFor()
    t.ok(bytes > 0 && bytes < FIRST_LOAD_BYTES_MAX, `${bytes} bytes`)
    t.strictSame([...hosts], [new URL(box.admin).host])
  })

  await t.test(
    'a table that nobody mapped is adopted; a mapping to nothing is deleted',
    async (t) => {
      const admin = new AdminClient({ metaServers: metasOf('alpha') })
      await admin.createTable('orphan', { partitionCount: 4, replicaCount: 1 })
      admin.close()
      const { page } = await openPage(
        t,
        browser,
        `${box.admin}/clusters/alpha/tables?state=unmapped`,
      )
      await page.getByRole('cell', { name: 'orphan', exact: true }).waitFor()
      await page.getByRole('button', { name: 'Adopt 1 table' }).click()
      await page.getByRole('button', { name: 'Apply 1 change' }).click()
      await page.getByText('1 done').waitFor()
      await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click()
      const found = await fetch(`${box.admin}/api/v1/tables/orphan`)
      t.match(await found.json(), { cluster: 'alpha', state: 'ok' })

      await page.getByRole('button', { name: /^Dangling/ }).click()
      await page.getByRole('link', { name: 'pay_gone' }).waitFor()
      await page.getByRole('button', { name: 'Delete the mapping of 1 table' }).click()
      await page.getByLabel('1 mapping will be deleted').fill('1')
      await page.getByRole('button', { name: 'Apply 1 change' }).click()
      await page.getByText('1 done').waitFor()
      t.equal((await fetch(`${box.admin}/api/v1/tables/pay_gone`)).status, 404)
    },
  )
})
