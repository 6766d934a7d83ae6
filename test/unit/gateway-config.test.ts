/** The gateway's configuration (gateway.md 11, X-3, X-4): sources, secrets, the Go proxy's file. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { effectiveConfig, loadConfig } from '../../cluster/runtime/config.ts'
import { approvalProblems } from '../../gateway/admin/access.ts'
import { exposureProblems, exposureWarnings } from '../../gateway/admin/exposure.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { translateGoProxyConfig } from '../../gateway/go-proxy-config.ts'
import { tagLabels } from '../../gateway/metrics.ts'
import { nodeAccess, zooKeeperProblems } from '../../gateway/zookeeper-sessions.ts'

function load(
  fileText: string,
  environment: Readonly<Record<string, string>> = {},
  flags: Readonly<Record<string, string>> = {},
) {
  return loadConfig(gatewayConfig, {
    fileText,
    fileName: 'f.yaml',
    environment,
    environmentPrefix: 'METAPROXY',
    flags,
    translate: translateGoProxyConfig,
  })
}

function good(...sources: Parameters<typeof load>) {
  const loaded = load(...sources)
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
  return loaded
}

function problems(...sources: Parameters<typeof load>): readonly string[] {
  const loaded = load(...sources)
  return loaded.ok ? [] : loaded.problems
}

const goFile = `zookeeper:
  address: [127.0.0.1:22181,127.0.0.2:22181]
  root: /pegasus-cluster
  timeout: 1000 # ms
  table_watcher_cache_capacity: 1024

metric:
  type: falcon
  tags: [region=local_tst,service=meta_proxy]
`

void t.test("the Go proxy's example file is taken as it is", (t) => {
  const { config, origins, notes } = good(goFile)
  t.match(config, {
    rpc: { host: '0.0.0.0', port: 34601 },
    health: { port: undefined },
    zookeeper: {
      servers: '127.0.0.1:22181,127.0.0.2:22181',
      root: '/pegasus-cluster',
      sessionTimeoutMs: 2000,
    },
    routing: { cache: 1024 },
    metric: { tags: ['region=local_tst', 'service=meta_proxy'] },
  })
  t.same(tagLabels(config.metric.tags), { region: 'local_tst', service: 'meta_proxy' })
  t.equal(origins.get('zookeeper.servers'), 'f.yaml:2')
  t.equal(origins.get('routing.cache'), 'f.yaml:5')
  t.match(notes, [/form/, /timeout 1000/, /falcon/])
  t.end()
})

void t.test("what the Go proxy has built in is kept: its metrics port, its readers' ways", (t) => {
  const { config } = good(
    'Zookeeper: { Address: "a:1,b:2", root: /x/, timeout: 15000 }\nMETRIC: { Type: prometheus, tags: a=1 }\n',
  )
  t.match(config, {
    health: { host: '0.0.0.0', port: 9091 },
    zookeeper: { servers: 'a:1,b:2', root: '/x', sessionTimeoutMs: 15_000 },
    routing: { cache: 8192 },
    metric: { tags: ['a=1'] },
  })
  const over = good(goFile, { METAPROXY_RPC_PORT: '1' }, { 'health.port': '2' })
  t.match(over.config, { rpc: { port: 1 }, health: { port: 2 } }, 'ours lie over it')
  t.end()
})

void t.test("mistakes in the Go proxy's file are told in its words, at its place", (t) => {
  t.match(problems('zookeeper:\n  address: [a:b:c]\n  root: /x\n'), [
    /^f\.yaml:2:3: zookeeper\.address: expected HOST:PORT/,
  ])
  t.match(problems('zookeeper: { address: [a:1] }\n'), [/zookeeper\.root: expected a path/])
  t.match(
    problems('zookeeper:\n  address: [a:1]\n  root: /x\n  table_watcher_cache_capacity: 0\n'),
    [/^f\.yaml:4:33: zookeeper\.table_watcher_cache_capacity: expected a whole number/],
  )
  t.match(problems(goFile.replace('region=local_tst', 'region')), [
    /^f\.yaml:\d+:\d+: metric\.tags: item 1: expected NAME=VALUE/,
  ])
  t.match(problems(goFile.replace('table_watcher_cache_capacity', 'watcher_count')), [
    /^f\.yaml:5:3: zookeeper\.watcher_count: unknown key/,
  ])
  t.match(problems(`${goFile}workres: 2\n`), [/^f\.yaml:10:1: workres: unknown key/])
  t.end()
})

void t.test('a file of ours is never taken for one of the Go proxy', (t) => {
  t.equal(translateGoProxyConfig({ zookeeper: { servers: 'a:1' } }), undefined)
  for (const odd of [undefined, null, 1, 'x', [], { zookeeper: [] }, { zookeeper: null }])
    t.equal(translateGoProxyConfig(odd), undefined)
  t.end()
})

void t.test('secrets come from a file or the environment, and no message shows one', (t) => {
  const folder = t.testdir({ password: 'from-file\n', empty: '\n' })
  const file = (password: string): string =>
    `zookeeper: { servers: "a:1", user: u, password: ${JSON.stringify(password)} }`
  const password = (...sources: Parameters<typeof load>): unknown =>
    good(...sources).config.zookeeper.password
  t.equal(password(file(`file:${join(folder, 'password')}`)), 'from-file')
  t.equal(password(file('env:ZK'), { ZK: 'from-env' }), 'from-env')
  const bare = 'zookeeper: { servers: "a:1", user: u }'
  t.equal(password(bare, { METAPROXY_ZOOKEEPER_PASSWORD: 'plain' }), 'plain')
  t.equal(
    password(bare, {}, { 'zookeeper.password': `file:${join(folder, 'password')}` }),
    'from-file',
  )

  t.match(problems(file('hunter2')), [
    /^f\.yaml:1:\d+: zookeeper\.password: expected a reference, file:PATH or env:NAME/,
  ])
  t.match(problems(bare, {}, { 'zookeeper.password': 'hunter2' }), [/^--zookeeper\.password: /])
  t.match(problems(file('env:NONE')), [/environment variable NONE is not set/])
  t.match(problems(file(`file:${join(folder, 'none')}`)), [/cannot read .*none: ENOENT/])
  t.match(problems(file(`file:${join(folder, 'empty')}`)), [/empty is empty/])
  writeFileSync(join(folder, 'large'), 'hunter2'.repeat(10_000))
  t.match(problems(file(`file:${join(folder, 'large')}`)), [/larger than 65536 bytes/])
  const all = [file('hunter2'), file(`file:${join(folder, 'large')}`)].flatMap((f) => problems(f))
  t.notMatch(all.join(), /hunter2/)
  t.end()
})

void t.test('every effective option names its source, and secrets are masked', (t) => {
  const text = 'zookeeper:\n  servers: a:1\n  user: u\n  password: env:ZK\nworkers: 2\n'
  const environment = { ZK: 'hunter2', METAPROXY_RPC_PORT: '7' }
  const { config, origins } = good(text, environment, { 'http.port': '8' })
  const options = effectiveConfig(gatewayConfig, config, origins)
  const of = (path: string) => options.find((option) => option.path === path)
  t.match(of('rpc.port'), { value: 7, source: 'METAPROXY_RPC_PORT' })
  t.match(of('http.port'), { value: 8, source: '--http.port' })
  t.match(of('workers'), { value: 2, source: 'f.yaml:5' })
  t.match(of('zookeeper.password'), { value: '***', source: 'f.yaml:4' })
  t.match(of('zookeeper.control.password'), { value: null, source: 'default' })
  t.match(of('routing.cache'), { value: 8192, source: 'default' })
  t.notMatch(JSON.stringify(options), /hunter2/)
  t.end()
})

void t.test(
  'X-4: off loopback the admin port needs auth, and the message shows the way out',
  (t) => {
    for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1'])
      t.same(exposureProblems({ host }, false), [], host)
    for (const host of ['0.0.0.0', '10.0.0.1', 'gateway.example', '127.0.0.1.example'])
      t.match(exposureProblems({ host }, false), [
        /http\.host .*auth section.*health: \{host, port\}/,
      ])
    t.same(exposureProblems({ host: '0.0.0.0' }, true), [])
    t.match(exposureWarnings(true, false), [/tokens and sessions can be read.*zookeeper\.user/])
    t.same(exposureWarnings(true, true), [])
    t.same(exposureWarnings(false, false), [], 'nobody logs in')
    t.end()
  },
)

void t.test('X-3: nodes are closed when there is somebody to close them for', (t) => {
  const zookeeper = (more: string) =>
    good(`zookeeper: { servers: "a:1"${more} }`, { P: 'p' }).config.zookeeper
  t.same(nodeAccess(zookeeper('')), { access: 'open', isImplied: true })
  t.same(nodeAccess(zookeeper(', acl: open')), { access: 'open', isImplied: false })
  t.same(nodeAccess(zookeeper(', user: u, password: env:P')), {
    access: 'creator',
    isImplied: false,
  })
  t.same(nodeAccess(zookeeper(', control: { user: u, password: env:P }')).access, 'creator')
  t.match(zooKeeperProblems(zookeeper(', acl: creator')), [/acl creator: needs/])
  t.match(zooKeeperProblems(zookeeper(', user: u')), [/zookeeper\.user and .*both or neither/])
  t.match(zooKeeperProblems(zookeeper(', control: { user: "u:v", password: env:P }')), [/colon/])
  t.same(zooKeeperProblems(zookeeper(', user: u, password: env:P, acl: creator')), [])
  t.end()
})

void t.test('X-5: a second person can only approve where people log in', (t) => {
  const servers = 'zookeeper: {servers: z:1}\n'
  t.same(approvalProblems(good(servers).config), [], 'off')
  const alone = good(`${servers}approval: {bulkAbove: 10}`)
  t.match(approvalProblems(alone.config), [/approval\.bulkAbove: needs auth\.enabled/])
  const together = good(`${servers}approval: {bulkAbove: 10}\nauth: {enabled: true}`)
  t.same(approvalProblems(together.config), [])
  t.match(problems(`${servers}approval: {bulkAbove: -1}`), [/approval\.bulkAbove/])
  t.end()
})
