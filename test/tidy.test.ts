/**
 * The rules of the tree that no linter knows: which part may import which, what only certain files
 * may touch, and names that must not exist. ARCHITECTURE.md ("Parts") shows the same arrows.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'

interface SourceFile {
  readonly path: string
  readonly text: string
  readonly imports: readonly string[]
}

function sources(folder: string): SourceFile[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(tsx?|mjs)$/.test(name))
    .map((name) => join(folder, name))
    .map((path) => {
      const text = readFileSync(path, 'utf8')
      const imports = [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((m) => m[1] ?? '')
      return { path, text, imports }
    })
}

const product = [...sources('cluster'), ...sources('gateway')]
const page = sources('admin-ui/src')
const everything = [...product, ...page, ...sources('test')]

/** `cluster/rpc/peer.ts` → `rpc`; `gateway/admin/api.ts` → `gateway`. */
function partOf(path: string): string {
  const [top, second = ''] = path.split('/')
  if (top !== 'cluster') return top ?? ''
  return second.replace(/\.ts$/, '')
}

const arrows: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  runtime: [],
  'failure-detector': ['protocol', 'runtime'],
  coordinator: ['runtime', 'protocol'],
  storage: ['runtime', 'protocol'],
  rpc: ['runtime', 'protocol'],
  client: ['rpc', 'runtime', 'protocol'],
  meta: ['failure-detector', 'coordinator', 'rpc', 'runtime', 'protocol'],
  replica: ['failure-detector', 'storage', 'client', 'rpc', 'runtime', 'protocol'],
  simulation: [
    'failure-detector',
    'coordinator',
    'storage',
    'client',
    'meta',
    'replica',
    'rpc',
    'runtime',
    'protocol',
  ],
  gateway: ['client', 'rpc', 'coordinator', 'runtime', 'protocol'],
  cli: ['client', 'rpc', 'coordinator', 'runtime', 'protocol'],
}

void t.test('parts import only what their arrow allows', (t) => {
  for (const { path, imports } of product) {
    const part = partOf(path)
    const allowed = arrows[part]
    t.ok(allowed, `${path} belongs to a known part`)
    for (const target of imports.filter((name) => name.startsWith('.'))) {
      const resolved = normalize(join(dirname(path), target))
      const other = partOf(resolved)
      if (other === part) continue
      const mainOfPart = part === 'cli' && /(^|\/)main\.ts$/.test(resolved)
      t.ok(mainOfPart || allowed?.includes(other), `${path} may not import ${resolved}`)
    }
  }
  t.end()
})

/** Node's own modules, timers and clocks: only where the runtime contract is implemented. */
const mayTouchTheWorld = [
  /^cluster\/runtime\//,
  /^cluster\/cli\//,
  /\/main\.ts$/,
  // Third-party drivers, one file each, and what they need of Node.
  /^cluster\/storage\/rocksdb\.ts$/,
  /^cluster\/coordinator\/zookeeper[a-z-]*\.ts$/,
  /^gateway\/admin\//,
  /^gateway\/processes\/(worker|worker-process|hand-over|handed-network)\.ts$/,
]

const worldly: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\(|new Date\(\)/, 'reads the wall clock'],
  [/\bMath\.random\(/, 'draws unseeded randomness'],
  [/\b(setTimeout|setInterval|setImmediate)\(/, 'sets a timer'],
  [/\bperformance\.now\(|process\.hrtime/, 'reads the monotonic clock'],
  [/from 'node:(fs|net|dgram|http|https|dns|child_process|cluster|worker_threads)/, 'does I/O'],
  [/\bprocess\.(env|exit|argv|kill)\b/, 'touches the process'],
]

void t.test('time, randomness, network and files come through the runtime contract', (t) => {
  for (const { path, text } of product) {
    if (mayTouchTheWorld.some((pattern) => pattern.test(path))) continue
    const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    for (const [pattern, what] of worldly) t.notOk(pattern.test(code), `${path} ${what}`)
  }
  t.end()
})

/** One file each, so that their errors, deadlines and types are ours. */
const drivers: Readonly<Record<string, RegExp>> = {
  rocksdb: /^cluster\/storage\/rocksdb/,
  'node-zookeeper-client': /^cluster\/coordinator\/zookeeper/,
  opossum: /^gateway\//,
  fastify: /^gateway\/admin\//,
  pino: /^cluster\/runtime\/log\.ts$/,
  'prom-client': /^cluster\/runtime\/metrics\.ts$/,
  yaml: /^cluster\/(runtime|cli)\//,
  thrift: /^$/,
}

void t.test('each third-party driver is imported where its wrapper is', (t) => {
  for (const { path, imports } of product)
    for (const name of imports.filter(
      (name) => !name.startsWith('.') && !name.startsWith('node:'),
    )) {
      // `rocksdb/binding.js` is the package rocksdb.
      const where = drivers[name.startsWith('@') ? name : (name.split('/')[0] ?? '')]
      if (where !== undefined) t.ok(where.test(path), `${path} imports ${name}`)
    }
  t.end()
})

/** Of the gateway the page has what runs in a browser: schemas' types, and judgements without I/O. */
const mayBeInThePage = /^gateway\/admin\/(api\/[a-z-]+|grants)\.ts$/

void t.test('the page has nothing of the servers, and tests have only its pure files', (t) => {
  for (const { path, imports } of page)
    for (const target of imports.filter((name) => name.startsWith('.'))) {
      const resolved = normalize(join(dirname(path), target))
      const isOwn = resolved.startsWith('admin-ui/')
      t.ok(isOwn || mayBeInThePage.test(resolved), `${path} may not import ${resolved}`)
    }
  for (const { path, imports } of sources('test'))
    for (const target of imports.filter((name) => name.includes('admin-ui/')))
      t.match(target, /\.ts$/, `${path} imports ${target}, which needs a browser`)
  t.end()
})

void t.test('styles use the tokens, never a colour of their own', (t) => {
  for (const name of readdirSync('admin-ui/src', { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.css') || name === 'design/tokens.css') continue
    const text = readFileSync(join('admin-ui/src', name), 'utf8')
    t.notMatch(text, /#[0-9a-f]{3,8}\b|\b(rgb|hsl)a?\(/i, `${name} has a raw colour`)
  }
  t.end()
})

void t.test('names say what a file is', (t) => {
  for (const { path } of everything) {
    const name = path.split('/').pop() ?? ''
    t.match(name, /^[a-z0-9][a-z0-9.-]*$/, `${path} is kebab-case`)
    t.notMatch(
      name,
      /^(utils|helpers?|common|misc|types|constants|index)\.|manager/,
      `${path} names an idea`,
    )
  }
  t.end()
})

void t.test('files hold one idea', (t) => {
  for (const { path, text } of [...product, ...page]) {
    // One flat list of the page's words.
    if (/^admin-ui\/src\/text\/(en|zh)\.ts$/.test(path)) continue
    const lines = text.split('\n').length
    t.ok(lines <= 450, `${path} has ${lines} lines: past 400 ask what the second idea is`)
  }
  t.end()
})

void t.test('the code speaks of the project alone', (t) => {
  for (const { path, text } of everything) {
    if (path === 'test/tidy.test.ts') continue
    t.notMatch(text, /\/work\/|registry\.npmjs|pypi\.org/, `${path} names a machine or a registry`)
    t.notMatch(text, /\bTODO\b|\bFIXME\b|\bXXX\b/, `${path} leaves work behind`)
  }
  t.end()
})
