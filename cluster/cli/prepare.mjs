/**
 * Makes a checkout runnable: installs the packages, compiles, and makes the storage engine's binary
 * load on this Node. Runs before every `npm start` and `npm test`, so it must be quick when nothing
 * is to do. Plain JavaScript with Node's own modules only: it runs before anything is installed.
 *
 * Each step leaves a mark that names what it was done for, and is skipped while the mark fits.
 * Prints a line per step that it had to do; on failure one line that says what and why, and exit 1.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
process.chdir(root)

const installMark = 'node_modules/.metaproxy-install'
const engineMark = 'node_modules/.metaproxy-engine'
const buildMark = 'dist/.stamp'
const pageMark = 'dist/.page-stamp'
const lockFile = 'dist/.prepare-lock'

class PrepareError extends Error {}

function say(text) {
  process.stdout.write(`prepare: ${text}\n`)
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function firstLines(text, count) {
  const lines = text
    .split('\n')
    .map((line) => line.replace(/^npm error ?/, '').trimEnd())
    .filter((line) => line !== '')
  return lines.slice(0, count).join('\n')
}

/** The range of package.json "engines": 20 from 20.19 on, or 22.18 and everything later. */
function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const good = (major === 20 && minor >= 19) || (major === 22 && minor >= 18) || major > 22
  if (good) return
  const wanted = JSON.parse(readFileSync('package.json', 'utf8')).engines.node
  throw new PrepareError(`Node ${process.versions.node} is not supported, expected ${wanted}`)
}

// --- Packages -----------------------------------------------------------------------------------

function installIsFresh() {
  const installed = readText('node_modules/.package-lock.json')
  if (installed === undefined) return false
  const wanted = readFileSync('package-lock.json', 'utf8')
  const mark = readText(installMark)
  if (mark === undefined && isInstallationOf(JSON.parse(installed), JSON.parse(wanted))) {
    writeFileSync(installMark, sha256(wanted))
    return true
  }
  return mark === sha256(wanted)
}

/** Whether npm was run by hand for this very lock file: every package there in its version. */
function isInstallationOf(installed, wanted) {
  return Object.entries(wanted.packages).every(([path, { version, optional, link }]) => {
    const found = installed.packages[path]
    if (path === '' || link === true) return true
    return found === undefined ? optional === true : found.version === version
  })
}

const networkCodes = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH)\b/

function install() {
  say('installing the packages (about a minute)')
  // Install scripts stay off: the only package that has one would start a long source build.
  const args = ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  const npm = process.env.npm_execpath
  const run =
    npm !== undefined && /\.[cm]?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 })
      : spawnSync('npm', args, { encoding: 'utf8', maxBuffer: 1 << 26 })
  if (run.error !== undefined)
    throw new PrepareError(`cannot run npm to install the packages: ${run.error.message}`)
  if (run.status === 0) {
    writeFileSync(installMark, sha256(readFileSync('package-lock.json')))
    return
  }
  const network = networkCodes.exec(run.stderr)?.[1]
  if (network !== undefined)
    throw new PrepareError(`cannot install the packages: no network to the registry (${network})`)
  throw new PrepareError(`cannot install the packages:\n${firstLines(run.stderr, 8)}`)
}

// --- Storage engine -----------------------------------------------------------------------------

const enginePackage = 'node_modules/rocksdb'
const enginePrebuild = `${enginePackage}/prebuilds/linux-x64/node.napi.glibc.node`
const engineOutput = `${enginePackage}/build/Release/leveldown.node`
/** Of the prebuilt binary of rocksdb 5.2.1; any other file is left alone. */
const enginePrebuildSha256 = '27888aa3d9c93eda11a0960141f34bc192d534120889aeda50b6daa84880b239'

function engineMarkText() {
  return `${process.version} ${process.platform} ${process.arch} ${readText(installMark)}`
}

/**
 * Gives a library of 64-bit ELF a DT_SYMBOLIC entry, so that it prefers its own symbols: newer Node
 * binaries export std::regex internals of another string ABI, and the prebuilt engine would bind to
 * those and abort. The entry takes the first spare place behind the end of the dynamic table.
 */
function withSymbolicEntry(library) {
  const PT_DYNAMIC = 2
  const DT_SYMBOLIC = 16n
  const entryBytes = 16
  const headers = Number(library.readBigUInt64LE(32))
  const headerBytes = library.readUInt16LE(54)
  const headerCount = library.readUInt16LE(56)
  for (let header = headers; header < headers + headerCount * headerBytes; header += headerBytes) {
    if (library.readUInt32LE(header) !== PT_DYNAMIC) continue
    const start = Number(library.readBigUInt64LE(header + 8))
    const end = start + Number(library.readBigUInt64LE(header + 32))
    for (let entry = start; entry + 2 * entryBytes <= end; entry += entryBytes) {
      const tag = library.readBigUInt64LE(entry)
      if (tag === DT_SYMBOLIC) return library
      if (tag !== 0n) continue
      if (!library.subarray(entry, entry + 2 * entryBytes).every((byte) => byte === 0)) break
      const edited = Buffer.from(library)
      edited.writeBigUInt64LE(DT_SYMBOLIC, entry)
      return edited
    }
  }
  throw new PrepareError('cannot adapt the rocksdb binary: no spare entry in its dynamic table')
}

function needsSymbolicEntry() {
  const major = Number(process.versions.node.split('.')[0])
  const glibc = process.report?.getReport().header.glibcVersionRuntime !== undefined
  return major >= 22 && process.platform === 'linux' && process.arch === 'x64' && glibc
}

function adaptEngine() {
  const library = readFileSync(enginePrebuild)
  const found = sha256(library)
  if (found !== enginePrebuildSha256)
    throw new PrepareError(`cannot adapt ${enginePrebuild}: unexpected content (sha256 ${found})`)
  mkdirSync(dirname(engineOutput), { recursive: true })
  const temporary = `${engineOutput}.${process.pid}`
  writeFileSync(temporary, withSymbolicEntry(library))
  renameSync(temporary, engineOutput)
}

function prepareEngine() {
  if (needsSymbolicEntry()) adaptEngine()
  const proof = spawnSync(process.execPath, ['-e', "require('rocksdb')"], { encoding: 'utf8' })
  if (proof.status !== 0) {
    const reason = proof.signal ?? /^.*Error: .*$/m.exec(proof.stderr)?.[0] ?? 'unknown reason'
    throw new PrepareError(
      `the storage engine rocksdb does not load on Node ${process.versions.node}, ` +
        `${process.platform}-${process.arch}: ${reason}`,
    )
  }
  writeFileSync(engineMark, engineMarkText())
}

// --- Build --------------------------------------------------------------------------------------

/** Of the page only what tests import is compiled here; it is built as a whole below. */
const sourceFolders = ['cluster', 'gateway', 'test', 'admin-ui/src']

/** Path, time and size of every source: an edit, a removal or another compiler changes the text. */
function sourcesText(files, folders, isSource) {
  const lines = [`packages ${readText(installMark)}`]
  const add = (path) => {
    const { mtimeMs, size } = statSync(path)
    lines.push(`${path} ${mtimeMs} ${size}`)
  }
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        if (entry.name !== 'vectors' && entry.name !== 'node_modules') walk(path)
      } else if (isSource(entry.name)) add(path)
    }
  }
  for (const file of files) add(file)
  for (const folder of folders) if (existsSync(folder)) walk(folder)
  return lines.toSorted().join('\n')
}

function buildMarkText() {
  return sourcesText(['tsconfig.json'], sourceFolders, (name) => name.endsWith('.ts'))
}

/** The admin page takes values and types from the API's schemas. */
function pageMarkText() {
  const shared = ['gateway/admin/grants.ts', 'gateway/routing/name-pattern.ts']
  return sourcesText(shared, ['admin-ui', 'gateway/admin/api'], () => true)
}

/** Outputs whose source is gone, so that no stale test or module runs. */
function removeStaleOutputs() {
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        walk(path)
        continue
      }
      const match = /^dist\/(.*?)(\.d\.ts|\.js\.map|\.js)$/.exec(path)
      if (match !== null && !existsSync(`${match[1]}.ts`)) rmSync(path)
    }
    if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true })
  }
  for (const folder of sourceFolders) if (existsSync(`dist/${folder}`)) walk(`dist/${folder}`)
}

function build() {
  const mark = buildMarkText()
  say('compiling')
  rmSync(buildMark, { force: true })
  const compiler = 'node_modules/typescript/bin/tsc'
  const run = spawnSync(process.execPath, [compiler, '-p', '.'], { encoding: 'utf8' })
  if (run.status !== 0) {
    const output = firstLines(`${run.stdout ?? ''}${run.stderr ?? ''}`, 40)
    throw new PrepareError(`the sources do not compile:\n${output || run.error?.message}`)
  }
  removeStaleOutputs()
  writeFileSync(buildMark, mark)
}

function buildPage() {
  say('building the admin page')
  rmSync(pageMark, { force: true })
  const mark = pageMarkText()
  const args = ['node_modules/vite/bin/vite.js', 'build', 'admin-ui', '--logLevel', 'warn']
  const run = spawnSync(process.execPath, args, { encoding: 'utf8' })
  if (run.status !== 0) {
    const output = firstLines(`${run.stdout ?? ''}${run.stderr ?? ''}`, 40)
    throw new PrepareError(`the admin page cannot be built:\n${output || run.error?.message}`)
  }
  writeFileSync(pageMark, mark)
}

// --- One run at a time --------------------------------------------------------------------------

function holderIsAlive() {
  const holder = Number(readText(lockFile))
  // Just released, or between creation and content: nobody's to remove.
  if (!(holder > 0)) {
    const since = statSync(lockFile, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()
    return since > Date.now() - 5000
  }
  try {
    process.kill(holder, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function tryLock() {
  try {
    writeFileSync(lockFile, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    return false
  }
}

/** One at a time, so that no run removes the lock that another has just taken. */
function removeDeadLock() {
  const guard = `${lockFile}-takeover`
  try {
    mkdirSync(guard)
  } catch {
    const since = statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()
    if (since < Date.now() - 5000) rmSync(guard, { recursive: true, force: true })
    return
  }
  if (!holderIsAlive()) rmSync(lockFile, { force: true })
  rmSync(guard, { recursive: true, force: true })
}

/** Waits while another run prepares this checkout; takes the lock over from a dead one. */
function withLock(work) {
  mkdirSync('dist', { recursive: true })
  let told = false
  while (!tryLock()) {
    if (!holderIsAlive()) {
      removeDeadLock()
      continue
    }
    if (!told) say('waiting for another run in this checkout')
    told = true
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
  }
  const unlock = () => rmSync(lockFile, { force: true })
  process.once('exit', unlock)
  work()
}

const steps = [
  { fresh: installIsFresh, run: install },
  { fresh: () => readText(engineMark) === engineMarkText(), run: prepareEngine },
  { fresh: () => readText(buildMark) === buildMarkText(), run: build },
  { fresh: () => !existsSync('admin-ui') || readText(pageMark) === pageMarkText(), run: buildPage },
]

function prepare() {
  checkNode()
  if (steps.every(({ fresh }) => fresh())) return
  withLock(() => {
    for (const { fresh, run } of steps) if (!fresh()) run()
  })
}

try {
  prepare()
} catch (error) {
  const expected = error instanceof PrepareError
  const text = expected ? error.message : `${error.message} (${error.code ?? error.name})`
  process.stderr.write(`prepare: ${text}\n`)
  process.exitCode = 1
}
