/**
 * Nothing is cut off, whatever its length (admin-ui.md 4): names of 255 bytes, long errors and notes,
 * at a desk, on a small screen and on a phone.
 */
import type { Page } from 'playwright-core'
import t from 'tap'
import { button } from '../support/admin-screens.ts'
import { launchBrowser, openPage, whyNoBrowser } from '../support/browser.ts'
import { startPageWorld } from '../support/page-world.ts'

t.setTimeout(240_000)
const missing = whyNoBrowser()

const longName = 'very_long_name_'.repeat(17)
const nowhere = ['127.0.0.1:1', 'meta.invalid:34601']

/**
 * Words that reach beyond what clips them, and a page that scrolls sideways. What scrolls by itself or
 * ends in an ellipsis is meant so.
 */
const cutOff = `(() => {
  const found = []
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways')
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    if (node.data.trim() === '' || node.parentElement.closest('.only-heard')) continue
    const range = document.createRange()
    range.selectNodeContents(node)
    const { right } = range.getBoundingClientRect()
    for (let box = node.parentElement; box !== null; box = box.parentElement) {
      const { overflowX, textOverflow } = getComputedStyle(box)
      if (textOverflow === 'ellipsis' || overflowX === 'auto' || overflowX === 'scroll') break
      // The blank at the end of a line that breaks hangs over.
      if (right <= box.getBoundingClientRect().right + 10) continue
      found.push(node.data.slice(0, 60))
      break
    }
  }
  return found
})()`

void t.test('nothing is cut off', { skip: missing ?? false }, async (t) => {
  const world = await startPageWorld(t)
  const [alpha] = world.metas
  const note = 'why this is so '.repeat(200)
  await world.call('PUT', '/clusters/alpha', { metas: [alpha] })
  await world.call('PUT', '/clusters/gone', { metas: nowhere, note })
  await world.call('PUT', `/groups/${longName}`, { members: [longName], patterns: [], note })
  await world.call('PUT', `/tables/${longName}`, { cluster: 'gone', metas: nowhere, note })
  const browser = await launchBrowser(t)
  const places: readonly (readonly [path: string, act: (page: Page) => Promise<unknown>])[] = [
    ['/', (page) => page.getByText('Last changes').waitFor()],
    [
      `/tables/${longName}`,
      async (page) => {
        await button(page, 'Probe now').click()
        await page.getByText('none of them leads').waitFor()
      },
    ],
    [`/tables/${longName}/history`, (page) => page.getByText('What it changed').click()],
    [`/tables/${'a'.repeat(255)}`, (page) => page.getByText('is not mapped').waitFor()],
    ['/clusters', (page) => page.getByText('Unreachable').waitFor()],
    ['/clusters/gone', (page) => page.getByText('no meta server leads').waitFor()],
    [`/groups/${longName}`, (page) => page.getByRole('link', { name: longName }).first().waitFor()],
    ['/audit', (page) => page.getByRole('link', { name: longName }).first().waitFor()],
    ['/no/such/page', (page) => page.getByRole('link', { name: 'To the overview' }).waitFor()],
  ]
  for (const width of [1440, 1024, 390]) {
    const { page } = await openPage(t, browser, world.url, { width })
    for (const [path, act] of places) {
      await page.goto(`${world.url}${path}`)
      await act(page)
      const where = `${path.slice(0, 30)} at ${width}`
      t.strictSame(await page.evaluate(cutOff), [], where)
    }
  }
})
