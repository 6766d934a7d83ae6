/**
 * The one test command: installs what the tests need, then format, lint, types and every suite.
 * Ends with `N passed, N failed` alone on the last line; suites that were left out stand above it
 * by name. Node built-ins only, so that it can run before anything is installed.
 *
 *   --check        the quick gate: format, lint, types, tidy, unit tests, a minute of simulation
 *   --require-all  a suite left out for a missing tool is a failure (what CI asks for)
 *   FILE …         only these compiled test files
 */
import { spawn, spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { installTestTools } from './setup/debian-packages.mjs'

const root = new URL('..', import.meta.url).pathname
process.chdir(root)
const flags = new Set(process.argv.slice(2).filter((word) => word.startsWith('--')))
const named = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const quick = flags.has('--check')
const requireAll = flags.has('--require-all')

/** Folders of test files that run beside each other. */
const suites = quick ? ['.', 'unit'] : ['.', 'unit', 'contract', 'simulation']
/** Whose files start servers and wait for them: one file at a time has the machine. */
const exclusiveSuites = quick ? [] : ['interop', 'integration', 'browser']

let passed = 0
let failed = 0
const skipped = []

function step(name, command, args) {
  const started = Date.now()
  const run = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20 })
  const good = run.status === 0
  if (good) passed++
  else failed++
  process.stdout.write(`${good ? 'ok' : 'FAILED'} ${name} (${Date.now() - started} ms)\n`)
  if (!good)
    process.stdout.write(`${run.stdout ?? ''}${run.stderr ?? ''}${run.error?.message ?? ''}\n`)
}

function testFiles(folders) {
  const files = []
  for (const suite of folders) {
    const folder = join('dist/test', suite)
    let names
    try {
      names = readdirSync(folder)
    } catch {
      continue
    }
    for (const name of names.toSorted())
      if (name.endsWith('.test.js')) files.push(join(folder, name))
  }
  return files
}

const tapLog = '.tap/last-run.tap'

/** Feeds on TAP of tap's own reporter: one top-level line per file, its details indented before. */
class TapReader {
  #details = []
  #rest = ''
  #top = /^(not )?ok \d+ - (\S+)/

  push(text) {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#line(line)
  }

  #line(line) {
    const skip = /^\s+ok \d+ - (.*?) # SKIP ?(.*)$/.exec(line)
    if (skip !== null) skipped.push({ name: skip[1], reason: skip[2] })
    const totals = /^\s*# \{ (total: .*) \}$/.exec(line)
    if (totals !== null && !line.startsWith(' ')) this.#totals(totals[1])
    const top = this.#top.exec(line)
    if (top === null) {
      this.#details.push(line)
      return
    }
    const time = /time=([\d.]+m?s)/.exec(line)?.[1] ?? ''
    process.stdout.write(`${top[1] === undefined ? 'ok' : 'FAILED'} ${top[2]} ${time}\n`)
    if (top[1] !== undefined) process.stdout.write(`${this.#details.slice(-400).join('\n')}\n`)
    this.#details = []
  }

  #totals(text) {
    const read = (key) => Number(new RegExp(`${key}: (\\d+)`).exec(text)?.[1] ?? 0)
    passed += read('pass')
    failed += read('fail')
    this.sawTotals = true
  }
}

function runTap(files, jobs) {
  if (files.length === 0) return
  return new Promise((resolve) => {
    const reader = new TapReader()
    const args = ['node_modules/.bin/tap', '--reporter=tap', `--jobs=${jobs}`, ...files]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const whole = []
    child.stdout.setEncoding('utf8')
    child.stdout.on('data', (text) => {
      whole.push(text)
      reader.push(text)
    })
    child.on('close', (code) => {
      reader.push('\n')
      appendFileSync(tapLog, whole.join(''))
      if (code !== 0 && failed === 0) failed++
      if (!reader.sawTotals) {
        process.stdout.write('FAILED the test runner gave no totals\n')
        failed++
      }
      resolve()
    })
  })
}

/** tap compiles its plugin set into its own package: ours is without the TypeScript plugin. */
const tapMark = 'node_modules/.metaproxy-tap'
if (!existsSync(tapMark)) {
  step('test runner', process.execPath, ['node_modules/.bin/tap', 'build'])
  writeFileSync(tapMark, '')
}

const reasons = quick ? [] : installTestTools()
for (const reason of reasons) process.stdout.write(`${reason}\n`)

if (named.length === 0) {
  step('format', 'node_modules/.bin/prettier', ['--check', '--log-level=warn', '.'])
  step('lint', 'node_modules/.bin/oxlint', ['--type-aware'])
  step('types', 'node_modules/.bin/tsc', ['-p', '.', '--noEmit'])
  step('types of the admin page', 'node_modules/.bin/tsc', ['-p', 'admin-ui'])
}
mkdirSync('.tap', { recursive: true })
writeFileSync(tapLog, '')
await runTap(named.length > 0 ? named : testFiles(suites), availableParallelism())
if (named.length === 0) await runTap(testFiles(exclusiveSuites), 1)
if (quick)
  step('a minute of simulation', process.execPath, [
    'dist/cluster/cli/main.js',
    'simulate',
    '--minutes',
    '1',
  ])

const missing = skipped.filter(({ reason }) => reason.startsWith('missing'))
for (const { name, reason } of skipped) process.stdout.write(`skipped: ${name}: ${reason}\n`)
if (requireAll && missing.length > 0) failed += missing.length
process.stdout.write(`${skipped.length} skipped, log in ${tapLog}\n`)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
