/**
 * Debian's Chromium, driven by playwright-core. Pages collect what the browser complains of, so that
 * a broken content policy or an exception fails a test; code that runs in the page is text, because
 * the tests are compiled without the browser's types.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

const program = '/usr/bin/chromium'

/** Why there is none, or `undefined` when it can be started. */
export function whyNoBrowser(): string | undefined {
  return existsSync(program) ? undefined : `missing ${program} (Debian package chromium)`
}

/** Closed when the test ends. */
export async function launchBrowser(t: Test, flags: readonly string[] = []): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: program,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...flags,
    ],
  })
  t.teardown(() => browser.close())
  return browser
}

export interface OpenPage {
  readonly page: Page
  readonly context: BrowserContext
  /** Errors of the console and exceptions, such as what the content policy forbade. */
  readonly complaints: readonly string[]
}

export interface PageOptions {
  readonly theme?: 'light' | 'dark'
  readonly width?: number
  readonly height?: number
  /** For injected tools, such as axe. */
  readonly bypassPolicy?: boolean
}

export const pageTimeoutMs = 30_000

export async function openPage(
  t: Test,
  browser: Browser,
  url: string,
  options: PageOptions = {},
): Promise<OpenPage> {
  const { theme = 'light', width = 1440, height = 900, bypassPolicy = false } = options
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    locale: 'en-GB',
    bypassCSP: bypassPolicy,
    reducedMotion: 'reduce',
  })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(pageTimeoutMs)
  const complaints: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  await page.goto(url)
  return { page, context, complaints }
}

const axeSource = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
)

const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

interface AxeResult {
  readonly violations: readonly {
    readonly id: string
    readonly nodes: readonly {
      readonly target: readonly unknown[]
      readonly failureSummary?: string
    }[]
  }[]
}

/** What axe finds wrong, one line each: none is expected. The page must bypass the content policy. */
export async function axeViolations(page: Page): Promise<readonly string[]> {
  await page.evaluate(axeSource)
  const result = await page.evaluate<AxeResult>(
    `axe.run(document, { resultTypes: ['violations'], runOnly: ${JSON.stringify(tags)} })`,
  )
  return result.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary = '' }) => {
      const why = failureSummary.replaceAll(/\s+/g, ' ').slice(0, 300)
      return `${id} at ${target.join(' ')}: ${why}`
    }),
  )
}

interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  /** CPU time of the thread, µs. */
  readonly tdur?: number
  readonly args?: { readonly name?: string }
}

export interface MainThread {
  /** CPU time of the page's longest task, ms. */
  readonly longestTaskMs: number
  /** CPU time of all its tasks, ms. */
  readonly busyMs: number
  readonly tasks: number
}

/**
 * What the page's main thread did while `during` ran, in its own CPU time: what others take of a
 * shared machine is not in it. The browser has no other page.
 */
export async function mainThreadWhile(
  browser: Browser,
  page: Page,
  during: () => Promise<unknown>,
): Promise<MainThread> {
  await browser.startTracing(page, { categories: ['toplevel'] })
  await during()
  const trace = JSON.parse((await browser.stopTracing()).toString()) as {
    readonly traceEvents: readonly TraceEvent[]
  }
  const threadOf = ({ pid, tid }: TraceEvent): string => `${pid} ${tid}`
  const mains = new Set(
    trace.traceEvents
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(threadOf),
  )
  const times = trace.traceEvents
    .filter((event) => event.name === 'ThreadControllerImpl::RunTask' && mains.has(threadOf(event)))
    .map(({ tdur = 0 }) => tdur / 1000)
  return {
    longestTaskMs: Math.max(0, ...times),
    busyMs: times.reduce((sum, time) => sum + time, 0),
    tasks: times.length,
  }
}

/** What the loop below takes on a processor of a desk, ms. */
const WORK_MS = 4
const work = `Array.from({ length: 30 }, () => {
  const begin = performance.now()
  const words = new Map()
  for (let word = 0; word < 20000; word++) words.set('key ' + ((word * 7919) % 20011), word)
  Array.from(words.keys()).sort()
  return performance.now() - begin
})`

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Infinity

/**
 * How many times longer than at a desk known work takes in the page: `cpu` when nobody interrupts it,
 * `wall` as it mostly is; 1 at least. For limits of times on a machine that others use too.
 */
export async function slowness(
  page: Page,
): Promise<{ readonly cpu: number; readonly wall: number }> {
  const times = await page.evaluate<readonly number[]>(work)
  const factor = (timeMs: number): number => Math.max(1, timeMs / WORK_MS)
  return { cpu: factor(Math.min(...times)), wall: factor(median(times)) }
}
