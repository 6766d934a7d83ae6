/**
 * What makes a checkout runnable (cluster/cli/prepare.mjs), on small checkouts made here: they borrow
 * compiler and engine of this one, and a program of the name npm stands in for the registry.
 */
import { spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'

interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function prepare(checkout: string, nodeFlags: readonly string[] = []): Promise<Outcome> {
  const { npm_execpath: _, ...environment } = process.env
  const path = `${join(checkout, 'bin')}:${process.env['PATH'] ?? ''}`
  return new Promise((done, reject) => {
    const script = join(checkout, 'cluster/cli/prepare.mjs')
    const child = spawn(process.execPath, [...nodeFlags, script], {
      env: { ...environment, PATH: path },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => done({ code, out, err }))
  })
}

/** A checkout with one source and all packages there, but nothing compiled. */
function checkoutIn(folder: string): string {
  for (const part of ['cluster/cli', 'gateway', 'test', 'bin', 'node_modules/@types'])
    mkdirSync(join(folder, part), { recursive: true })
  for (const file of ['package.json', 'package-lock.json', 'tsconfig.json'])
    cpSync(file, join(folder, file))
  cpSync('cluster/cli/prepare.mjs', join(folder, 'cluster/cli/prepare.mjs'))
  cpSync('node_modules/.package-lock.json', join(folder, 'node_modules/.package-lock.json'))
  for (const name of ['rocksdb', 'typescript', '@types/node', 'undici-types'])
    if (existsSync(`node_modules/${name}`))
      symlinkSync(resolve('node_modules', name), join(folder, 'node_modules', name))
  writeFileSync(join(folder, 'cluster/one.ts'), 'export const one = 1\n')
  return folder
}

function fakeNpm(checkout: string, script: string): void {
  const path = join(checkout, 'bin/npm')
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

const quiet = { code: 0, out: '', err: '' }

void t.test('compiles what changed, removes what is stale, and is silent otherwise', async (t) => {
  const checkout = checkoutIn(t.testdir())
  const first = await prepare(checkout)
  t.match(first, { code: 0, out: 'prepare: compiling\n', err: '' })
  t.ok(existsSync(join(checkout, 'dist/cluster/one.js')))
  t.same(await prepare(checkout), quiet)

  rmSync(join(checkout, 'cluster/one.ts'))
  writeFileSync(join(checkout, 'cluster/two.ts'), 'export const two = 2\n')
  t.match(await prepare(checkout), { code: 0, out: 'prepare: compiling\n' })
  t.ok(existsSync(join(checkout, 'dist/cluster/two.js')))
  for (const ending of ['js', 'js.map', 'd.ts'])
    t.notOk(existsSync(join(checkout, `dist/cluster/one.${ending}`)), `one.${ending} is gone`)

  const anHourAgo = Date.now() / 1000 - 3600
  utimesSync(join(checkout, 'cluster/two.ts'), anHourAgo, anHourAgo)
  t.match(await prepare(checkout), { out: 'prepare: compiling\n' }, 'an older file is a change too')
})

void t.test('a source that does not compile is named, and compiled again next time', async (t) => {
  const checkout = checkoutIn(t.testdir())
  writeFileSync(join(checkout, 'cluster/bad.ts'), "export const bad: number = 'text'\n")
  for (let run = 0; run < 2; run++) {
    const { code, err } = await prepare(checkout)
    t.equal(code, 1)
    t.match(err, /^prepare: the sources do not compile:\n.*cluster\/bad\.ts\(1,14\): error TS2322/)
  }
})

void t.test(
  'two runs at once do the work once; the lock of a dead run does not block',
  async (t) => {
    const checkout = checkoutIn(t.testdir())
    mkdirSync(join(checkout, 'dist'))
    const deadProcess = 2 ** 22 + 1
    writeFileSync(join(checkout, 'dist/.prepare-lock'), String(deadProcess))
    const runs = await Promise.all([prepare(checkout), prepare(checkout)])
    t.same(
      runs.map(({ code }) => code),
      [0, 0],
    )
    const printed = runs.map(({ out }) => out).join('')
    t.equal(printed.match(/compiling/g)?.length, 1)
    t.notOk(existsSync(join(checkout, 'dist/.prepare-lock')))
  },
)

void t.test('packages are installed when none are there or the lock file changed', async (t) => {
  const checkout = checkoutIn(t.testdir())
  cpSync(join(checkout, 'node_modules'), join(checkout, 'kept'), {
    recursive: true,
    verbatimSymlinks: true,
  })
  fakeNpm(checkout, 'echo "$@" >> npm-calls\nrm -rf node_modules\ncp -a kept node_modules')
  const calls = (): string[] => {
    const path = join(checkout, 'npm-calls')
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []
  }
  t.match(await prepare(checkout), { code: 0 })
  t.same(calls(), [], 'a fitting installation by hand is taken as it is')
  rmSync(join(checkout, 'node_modules'), { recursive: true })
  t.match(await prepare(checkout), { code: 0, out: /installing/ })
  t.equal(calls().length, 1)
  t.match(calls()[0], /^ci --no-audit --no-fund --ignore-scripts/)
  t.same(await prepare(checkout), quiet)
  const lock = join(checkout, 'package-lock.json')
  writeFileSync(lock, `${readFileSync(lock, 'utf8')}\n`)
  t.match(await prepare(checkout), { code: 0, out: /installing/ })
  t.equal(calls().length, 2)
})

void t.test('what goes wrong is one clear line and exit code 1', async (t) => {
  const checkout = checkoutIn(t.testdir())
  rmSync(join(checkout, 'node_modules'), { recursive: true })
  fakeNpm(checkout, 'echo "npm error code ENOTFOUND" >&2; exit 1')
  t.match(await prepare(checkout), {
    code: 1,
    err: 'prepare: cannot install the packages: no network to the registry (ENOTFOUND)\n',
  })
  fakeNpm(checkout, 'printf "npm error code EUSAGE\\nnpm error out of step\\n" >&2; exit 1')
  t.match(await prepare(checkout), {
    code: 1,
    err: 'prepare: cannot install the packages:\ncode EUSAGE\nout of step\n',
  })
  const older =
    'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"18.19.0"})'
  t.match(await prepare(checkout, ['--import', older]), {
    code: 1,
    err: /^prepare: Node 18\.19\.0 is not supported, expected >=20\.19 .*\n$/,
  })
})

void t.test('an engine that does not load is one clear line', async (t) => {
  const checkout = checkoutIn(t.testdir())
  rmSync(join(checkout, 'node_modules/rocksdb'))
  mkdirSync(join(checkout, 'node_modules/rocksdb'))
  writeFileSync(join(checkout, 'node_modules/rocksdb/index.js'), 'throw new Error("no build")')
  const { code, err } = await prepare(checkout)
  t.equal(code, 1)
  t.match(err, /^prepare: .*(rocksdb does not load on Node .*: Error: no build|rocksdb\/prebuilds)/)
  t.equal(err.trim().split('\n').length, 1)
})
