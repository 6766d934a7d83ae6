/**
 * Servers that must not start: wrong configuration, a port in use, a data folder of a newer version
 * or of another process. What an operator gets is the exit code (2: usage and configuration, 1: the
 * rest) and on standard error one line per problem that says what is wrong, where, and what was
 * expected. The built program, each case a process of its own.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ENGINE_RESERVED_KEY } from '../../cluster/storage/engine-format.ts'
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'
import { metaproxy } from '../support/onebox.ts'

type Role = 'gateway' | 'meta' | 'replica' | 'zookeeper'
type Config = Readonly<Record<string, unknown>>

t.setTimeout(150_000)
const folder = mkdtempSync(join(tmpdir(), 'bad-start-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** Nobody listens on port 1: what is asked there is refused, and starting waits for none of it. */
const nobody = '127.0.0.1:1'
const loopback = { host: '127.0.0.1', port: 0 }
const good: Readonly<Record<Role, Config>> = {
  gateway: { rpc: loopback, http: loopback, zookeeper: { servers: nobody } },
  meta: {
    clusterName: 'c',
    rpc: loopback,
    http: loopback,
    zookeeper: { servers: nobody, root: '/pegasus/c' },
  },
  replica: {
    rpc: loopback,
    http: loopback,
    metaServers: [nobody],
    dataDirectory: join(folder, 'replica'),
  },
  zookeeper: { host: '127.0.0.1', port: 0, dataDirectory: join(folder, 'zookeeper') },
}
const roles: readonly Role[] = ['gateway', 'meta', 'replica', 'zookeeper']
let files = 0

/** A configuration file; text stays as it is. */
function configFile(content: Config | string): string {
  const path = join(folder, `config-${++files}.yaml`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content, null, 2))
  return path
}

interface Ended {
  readonly code: number | null
  readonly out: string
  /** Lines of standard error. */
  readonly errors: readonly string[]
}

interface Started {
  readonly child: ChildProcess
  readonly out: () => string
  readonly ended: Promise<Ended>
}

function start(words: readonly string[], environment: NodeJS.ProcessEnv = {}): Started {
  const child = spawn(process.execPath, [metaproxy, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const ended = once(child, 'close').then(([code]) => ({
    code: typeof code === 'number' ? code : null,
    out,
    errors: err.split('\n').filter((line) => line !== ''),
  }))
  return { child, out: () => out, ended }
}

function run(role: Role, content: Config | string, words: readonly string[] = []): Promise<Ended> {
  return start([role, '--config', configFile(content), ...words]).ended
}

/** Resolves when the server serves. */
async function serving({ out, child, ended }: Started): Promise<void> {
  while (!out().includes('"event":"serving"')) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error((await ended).errors.join('\n'))
    await Promise.race([once(child.stdout ?? child, 'data'), ended])
  }
}

function changed(role: Role, section: string, values: Config): Config {
  const before = good[role][section]
  return { ...good[role], [section]: { ...(before as Config | undefined), ...values } }
}

void t.test('a configuration that is fine is said to be', async (t) => {
  const checks = roles.map((role) => run(role, good[role], ['--check-config']))
  for (const [index, { code, out, errors }] of (await Promise.all(checks)).entries())
    t.same([code, out, errors], [0, 'configuration is valid\n', []], roles[index] ?? '')
  t.notOk(existsSync(join(folder, 'replica')), 'checking leaves nothing behind')
})

const timing = { lease: '4s', grace: '5s' }
const wrong: readonly (readonly [string, Role, Config | string, readonly RegExp[]])[] = [
  ['an unknown key', 'gateway', changed('gateway', 'rpc', { prot: 1 }), [/:5:5: rpc\.prot: unk/]],
  ['an unknown section', 'zookeeper', { ...good.zookeeper, x: {} }, [/:5:3: x: unknown key$/]],
  [
    'wrong types, all of them at once',
    'replica',
    { ...changed('replica', 'rpc', { port: 'abc' }), metaServers: 'x', log: 5 },
    [
      /: log: expected one of debug, info, warn, error, found 5$/,
      /:4:13: rpc\.port: expected a whole number from 0 to 65535, found "abc"$/,
      /: metaServers: item 1: expected an address HOST:PORT, found "x"$/,
    ],
  ],
  ['out of range', 'meta', changed('meta', 'http', { port: 70_000 }), [/: http\.port: .* 70000$/]],
  ['a scalar for a section', 'gateway', { ...good.gateway, rpc: 5 }, [/: rpc: expected a section/]],
  ['something missing', 'zookeeper', {}, [/: dataDirectory: missing \(Folder of/]],
  [
    'times of a meta server that break the rule',
    'meta',
    changed('meta', 'failureDetector', timing),
    [/failureDetector: ZooKeeper session .* must hold; otherwise the death of a meta leader stops/],
  ],
  [
    'times of a replica server that break the rule',
    'replica',
    changed('replica', 'failureDetector', { lease: '8s' }),
    [/failureDetector: one beacon .* lease \(8000 ms\) < grace \(7000 ms\) must hold; otherwise/],
  ],
  [
    'limits that contradict each other',
    'replica',
    changed('replica', 'replica', { stalenessMax: 500 }),
    [/replica\.prepareListMax 110: below replica\.stalenessMax 500$/],
  ],
  [
    'an identity that nobody can reach',
    'replica',
    changed('replica', 'rpc', { host: '0.0.0.0' }),
    [/rpc\.host 0\.0\.0\.0: .*set rpc\.address to its IPv4:PORT$/],
  ],
  [
    'the same of a meta server',
    'meta',
    changed('meta', 'rpc', { host: '0.0.0.0' }),
    [/rpc\.host 0\.0\.0\.0: set rpc\.address/],
  ],
  [
    'a user without a password',
    'gateway',
    changed('gateway', 'zookeeper', { user: 'u' }),
    [/zookeeper\.user and zookeeper\.password: give both or neither$/],
  ],
  [
    'a range that is empty',
    'zookeeper',
    { ...good.zookeeper, sessions: { timeoutMsMin: 50_000, timeoutMsMax: 3000 } },
    [/sessions\.timeoutMsMin 50000: above sessions\.timeoutMsMax 3000$/],
  ],
  ['unreadable YAML', 'meta', 'rpc:\n  port: "1\n', [/:3:1: not valid YAML: Missing closing/]],
  ['a key given twice', 'replica', 'log: info\nlog: warn\n', [/:2:1: not valid YAML: .*unique/]],
  ['no YAML at all', 'gateway', '\u0000\u0001', [/: expected keys with values, found/, /missing/]],
]

for (const [what, role, content, expected] of wrong)
  void t.test(`${role}: ${what}`, async (t) => {
    const { code, errors, out } = await run(role, content, ['--check-config'])
    t.equal(code, 2)
    t.equal(errors.length, expected.length, errors.join('\n'))
    for (const [index, line] of errors.entries()) {
      t.match(line, expected[index])
      t.ok(line.startsWith(`metaproxy ${role}: `), 'the line names the server')
    }
    t.equal(out, '')
  })

void t.test('without --check-config the answer is the same', async (t) => {
  const first = roles.map((role) => wrong.find(([, candidate]) => candidate === role))
  const ended = first.flatMap((found) => (found === undefined ? [] : [run(found[1], found[2])]))
  for (const { code, out } of await Promise.all(ended)) t.same([code, out], [2, ''])
})

void t.test('flags and environment are named by what the operator wrote', async (t) => {
  const config = configFile(good.gateway)
  const cases: readonly (readonly [readonly string[], NodeJS.ProcessEnv, RegExp])[] = [
    [['--rpc.prot', '4'], {}, /--rpc\.prot: unknown option$/],
    [['--rpc.port', 'x'], {}, /--rpc\.port: expected a whole number from 0 to 65535, found "x"$/],
    [
      [],
      { METAPROXY_RPC_PORT: '-1' },
      /METAPROXY_RPC_PORT: expected a whole number .* found "-1"$/,
    ],
    [['--config', folder], {}, /cannot read the configuration .*EISDIR/],
    [['stray'], {}, /stray: expected a flag such as --config FILE$/],
  ]
  const ended = cases.map(
    ([words, environment]) => start(['gateway', '--config', config, ...words], environment).ended,
  )
  for (const [index, { code, errors }] of (await Promise.all(ended)).entries()) {
    t.equal(code, 2)
    t.equal(errors.length, 1, errors.join('\n'))
    t.match(errors[0], cases[index]?.[2])
  }
})

void t.test('a port in use: exit code 1 and one line that names it', async (t) => {
  const taken = createServer()
  taken.listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const inUse = { host: '127.0.0.1', port }
  const sentence = new RegExp(
    `: listen (for HTTP )?on 127\\.0\\.0\\.1:${port}: the port is in use by another program`,
  )
  const cases = [
    ...(['gateway', 'meta', 'replica'] as const).flatMap((role) => [
      run(role, { ...good[role], rpc: inUse }),
      run(role, { ...good[role], dataDirectory: undefined, http: inUse }, [
        ...(role === 'replica' ? ['--dataDirectory', join(folder, 'replica-http')] : []),
      ]),
    ]),
    run('zookeeper', { ...good.zookeeper, ...inUse }),
  ]
  for (const { code, errors, out } of await Promise.all(cases)) {
    t.equal(code, 1)
    t.equal(errors.length, 1, errors.join('\n'))
    t.match(errors[0], sentence)
    t.notMatch(out, /"stack"/, 'the log has the same reason, without a stack')
  }
})

/** Starts the server once, so that its folder is there. */
async function makeFolder(role: Role, directory: string): Promise<Started> {
  const config = configFile({ ...good[role], dataDirectory: directory })
  const started = start([role, '--config', config])
  t.teardown(() => started.child.kill('SIGKILL'))
  await serving(started)
  return started
}

async function stop({ child, ended }: Started): Promise<void> {
  child.kill('SIGTERM')
  await ended
}

async function refusal(role: Role, directory: string): Promise<string> {
  const { code, errors } = await run(role, { ...good[role], dataDirectory: directory })
  t.equal(code, 1)
  t.equal(errors.length, 1, errors.join('\n'))
  return errors[0] ?? ''
}

function writeVersion(directory: string, pattern: RegExp): void {
  const name = readdirSync(directory).find((candidate) => pattern.test(candidate)) ?? ''
  const bytes = readFileSync(join(directory, name))
  bytes.writeUInt32BE(99, 8)
  writeFileSync(join(directory, name), bytes)
}

void t.test('a data folder has one process at a time', async (t) => {
  for (const role of ['replica', 'zookeeper'] as const) {
    const directory = join(folder, `shared-${role}`)
    const first = await makeFolder(role, directory)
    t.match(await refusal(role, directory), /shared-.* is in use by another process/, role)
    t.equal(first.child.exitCode, null, 'the first one goes on')
    const ended = first.ended
    first.child.kill('SIGKILL')
    await ended
    const next = await makeFolder(role, directory)
    await stop(next)
    t.pass(`after a kill -9 ${role} starts on its folder again`)
  }
})

void t.test('a data folder of a newer version is refused and left alone', async (t) => {
  const engine = join(folder, 'newer-engine')
  await stop(await makeFolder('replica', engine))
  const database = await openRocksDb({ path: join(engine, 'engine') })
  const key = Buffer.concat([ENGINE_RESERVED_KEY, Buffer.from('format')])
  const value = Buffer.from([0, 0, 0, 99])
  await database.write([{ type: 'put', key, value }], { sync: true })
  await database.close()
  const newer = /newer-.* has (data |log )?format 99, .* formats up to 1/
  t.match(await refusal('replica', engine), newer, 'engine')

  const log = join(folder, 'newer-log')
  await stop(await makeFolder('replica', log))
  writeVersion(join(log, 'log'), /./)
  t.match(await refusal('replica', log), newer, 'mutation log')

  const tree = join(folder, 'newer-tree')
  await stop(await makeFolder('zookeeper', tree))
  writeVersion(tree, /^transactions-/)
  t.match(await refusal('zookeeper', tree), newer, 'ZooKeeper')
})
