/**
 * Every screen of the admin page with its tabs, dialogs and menus, and a onebox of two clusters that
 * gives each of them something to show. A screen is an address, then what is done there until what it
 * is about can be seen.
 */
import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { startOnebox, type TestOnebox } from './onebox.ts'

export interface Screen {
  /** For messages of tests. */
  readonly name: string
  readonly path: string
  /** Resolves when it is shown whole. */
  readonly shown: (page: Page) => Promise<unknown>
}

export const button = (page: Page, name: string | RegExp) =>
  page.getByRole('button', { name, exact: typeof name === 'string' })

const words =
  (text: string) =>
  (page: Page): Promise<void> =>
    // Narrow screens hide columns.
    page.getByText(text).first().waitFor({ state: 'attached' })

/** At an address of its own. */
const at = (path: string, text: string): Screen => ({ name: path, path, shown: words(text) })

/** Reached by hand from an address. */
const by = (
  name: string,
  path: string,
  act: (page: Page) => Promise<unknown>,
  text: string,
): Screen => ({
  name,
  path,
  shown: async (page) => {
    await page.locator('h1').waitFor()
    await act(page)
    await words(text)(page)
  },
})

const importText = (page: Page, text: string): Promise<void> =>
  page.getByLabel('Text', { exact: true }).fill(text)

const openGateway = (page: Page): Promise<void> =>
  page.getByRole('main').getByRole('table').getByRole('link').click()

export const screens: readonly Screen[] = [
  at('/', 'Last changes'),
  at('/tables', 'temp'),
  at('/tables?q=nothing-is-called-so', 'No table matches'),
  at('/tables/temp', 'In force'),
  at('/tables/temp/partitions', 'Ballot'),
  at('/tables/temp/clients', 'Clients'),
  at('/tables/temp/history', 'What it changed'),
  at('/tables/temp/events', 'Live events'),
  at('/tables/temp/snippet', 'Java'),
  at('/tables/pay_gone', 'pay_gone'),
  at('/tables/never_was', 'never_was'),
  at('/clusters', 'alpha'),
  at('/clusters/alpha', 'Replica servers'),
  at('/clusters/alpha/tables', 'Hosted against mapped'),
  at('/clusters/nowhere', 'nowhere is not known'),
  at('/groups', 'pay'),
  at('/groups/pay', 'Membership'),
  at('/groups/nobody', 'There is no group nobody'),
  at('/gateways', 'Applied epoch'),
  at('/gateways/nobody', 'nobody is not in the fleet'),
  at('/audit', 'Verify the chain'),
  at('/audit?q=nothing-is-called-so', 'No change matches these filters'),
  at('/settings/users', 'No log-in is configured'),
  at('/settings/roles', 'Who may do what'),
  at('/settings/tokens', 'No log-in is configured'),
  at('/settings/account', 'Logged in by'),
  at('/settings/about', 'Configuration in force'),
  at('/no/such/page', 'There is nothing at this address.'),

  at('/tables?new=yes', 'Standby cluster'),
  at('/tables/temp?edit', 'Standby cluster'),
  at('/tables/temp?remove', 'Type temp to confirm'),
  at('/tables?import=yes', 'Choose a file'),
  at('/clusters?new=yes', 'Partner'),
  at('/clusters/alpha?edit', 'The cluster that stands by'),
  at('/clusters/alpha?replace', 'Address that comes'),
  at('/clusters/alpha?remove', 'Type alpha to confirm'),
  at('/groups?new=yes', 'Tables by name'),
  at('/groups/pay?edit', 'Tables by name'),
  at('/groups/pay?remove', 'Type pay to confirm'),

  by(
    'an edit as JSON',
    '/tables/temp?edit',
    (page) => page.getByText('As JSON').click(),
    'The same mapping',
  ),
  by(
    'an edit with an error at its field',
    '/tables/temp?edit',
    async (page) => {
      await page.getByRole('textbox', { name: 'Meta servers', exact: true }).fill('not-an-address')
      await button(page, 'Review').click()
      await page.locator('[aria-invalid="true"]').waitFor()
    },
    'Meta servers',
  ),
  by(
    'the review of an edit',
    '/tables/temp?edit',
    async (page) => {
      await page.getByLabel('Note', { exact: true }).fill('reviewed')
      await button(page, 'Review').click()
    },
    'Save temp',
  ),
  by(
    'unsaved input',
    '/tables/temp?edit',
    async (page) => {
      await page.getByLabel('Note', { exact: true }).fill('not saved')
      await page.keyboard.press('Escape')
    },
    'Keep editing',
  ),
  by(
    'the preview of an import',
    '/tables?import=yes',
    async (page) => {
      await importText(page, 'table,cluster,metas,group,note\nno good,alpha,::,,\nnew,alpha,,,')
      await button(page, 'Preview').click()
    },
    'Apply 1 change',
  ),
  by(
    'the review of a restored version',
    '/tables/temp/history',
    (page) => button(page, 'Back to this').first().click(),
    'Restore this version',
  ),
  by(
    'two versions compared',
    '/tables/temp/history',
    async (page) => {
      await page.getByLabel('Compare this version').nth(0).check()
      await page.getByLabel('Compare this version').nth(1).check()
      await page.getByText('What it changed').first().click()
    },
    '→',
  ),
  by('what meta servers say', '/tables/temp', (page) => button(page, 'Probe now').click(), 'Took'),
  by(
    'what gateways serve',
    '/tables/temp',
    (page) => button(page, 'Ask').click(),
    'The one that answered serves it',
  ),
  by('a gateway', '/gateways', openGateway, 'Configuration in force'),
  by(
    'a gateway that is drained',
    '/gateways',
    async (page) => {
      await openGateway(page)
      await button(page, 'Drain').click()
    },
    'It is no longer ready',
  ),
  by(
    'selected tables and their menu',
    '/tables',
    async (page) => {
      await page.getByLabel('Select all that match').check()
      await page.getByRole('toolbar').getByRole('button', { name: 'Edit' }).click()
    },
    'Set cluster…',
  ),
  by(
    'many changed at once',
    '/tables',
    async (page) => {
      await page.getByLabel('Select all that match').check()
      await page.getByRole('toolbar').getByRole('button', { name: 'Edit' }).click()
      await page.getByRole('menuitem', { name: 'Set group…' }).click()
      await page.getByLabel('Group', { exact: true }).fill('pay')
      await button(page, 'Review').click()
    },
    'Apply',
  ),
  by('columns', '/tables', (page) => button(page, 'Columns').click(), 'Note'),
  by(
    'suggestions of the filter',
    '/tables',
    (page) => page.getByLabel('Filter tables').fill('st'),
    'state:',
  ),
  by(
    'an opened change',
    '/audit',
    (page) =>
      page
        .getByRole('button', { name: /^Details of entry/ })
        .first()
        .click(),
    'Hash',
  ),
  by(
    'the proof of the audit',
    '/audit',
    (page) => button(page, 'Verify the chain').click(),
    'Chain intact',
  ),
  by(
    'the access lists',
    '/settings/about',
    (page) => button(page, 'Check now').click(),
    'nodes looked at',
  ),
  by(
    'search',
    '/',
    async (page) => {
      await page.keyboard.press('/')
      await page.getByRole('dialog').getByRole('combobox').fill('te')
    },
    'temp',
  ),
  by('keys', '/', (page) => page.keyboard.press('?'), 'No key alone changes anything.'),
  by(
    'the personal menu',
    '/',
    (page) => page.getByRole('button', { name: /ettings/ }).click(),
    'Language',
  ),
]

/** Two clusters of one replica server each; `alpha` is registered, `pay` is a group, `temp` has a past. */
export async function startAdminBox(
  t: Test,
): Promise<TestOnebox & { readonly metasOf: (cluster: string) => readonly string[] }> {
  const box = await startOnebox({ flags: ['--replicas', '1', '--metas', '1'] })
  t.teardown(() => box.remove())
  const metasOf = (cluster: string): string[] =>
    box
      .servers()
      .flatMap(({ role, rpc, cluster: its }) => (role === 'meta' && its === cluster ? [rpc] : []))
  const put = async (path: string, body: object, match: object): Promise<void> => {
    const response = await fetch(`${box.admin}/api/v1${path}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', ...match },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`PUT ${path}: ${await response.text()}`)
  }
  const isNew = { 'if-none-match': '*' }
  await put('/clusters/alpha', { metas: metasOf('alpha'), peer: 'beta', note: 'Zone 2' }, isNew)
  await put('/groups/pay', { members: ['temp'], patterns: ['pay_*'] }, isNew)
  await put('/tables/pay_gone', { cluster: 'alpha', note: 'points to nothing' }, isNew)
  const found = await fetch(`${box.admin}/api/v1/tables/temp`)
  const { cluster, metas, etag } = (await found.json()) as {
    readonly cluster: string
    readonly metas: readonly string[]
    readonly etag: string
  }
  await put('/tables/temp', { cluster, metas, note: 'Of the onebox' }, { 'if-match': etag })
  return { ...box, metasOf }
}
