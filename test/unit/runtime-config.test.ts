/** Configuration: layers, ranges, units, and what its problems say (product.md: unknown keys name the path). */
import t from 'tap'
import {
  address,
  choice,
  decimal,
  defineConfig,
  describeConfig,
  duration,
  environmentName,
  flag,
  integer,
  list,
  loadConfig,
  optional,
  section,
  size,
  text,
  type ConfigOf,
} from '../../cluster/runtime/config.ts'

const schema = defineConfig('A server.', {
  name: text({ about: 'Name.', default: 'x', pattern: /^[a-z]+$/, expected: 'small letters' }),
  dataDirectory: optional(text({ about: 'Folder.' })),
  rpc: section('Where it listens.', {
    host: text({ about: 'Address.', default: '127.0.0.1' }),
    port: integer({ about: 'Port.', min: 0, max: 65_535 }),
  }),
  leaseMs: duration({ about: 'Lease.', default: 6000, min: 100, max: 60_000 }),
  segmentBytes: size({ about: 'Segment.', default: 1 << 20, min: 4096, max: 1 << 30 }),
  ratio: decimal({ about: 'Ratio.', default: 0.5, min: 0, max: 1 }),
  filter: flag({ about: 'Filter.', default: true }),
  mode: choice({ about: 'Mode.', of: ['on', 'off'], default: 'off' }),
  metaServers: list({
    about: 'Meta servers.',
    of: address({ about: 'One.' }),
    maxItems: 3,
    default: [],
  }),
})

function load(
  fileText: string | undefined,
  environment: Record<string, string> = {},
  flags: Record<string, string> = {},
) {
  return loadConfig(schema, {
    ...(fileText === undefined ? {} : { fileText, fileName: 'server.yaml' }),
    environment,
    flags,
    environmentPrefix: 'METAPROXY',
  })
}

function problemsOf(...arguments_: Parameters<typeof load>): readonly string[] {
  const loaded = load(...arguments_)
  return loaded.ok ? [] : loaded.problems
}

void t.test('defaults fill what is not given, and the result is frozen', (t) => {
  const loaded = load('rpc: { port: 1 }')
  if (!loaded.ok) throw new Error(loaded.problems.join())
  const config: ConfigOf<typeof schema> = loaded.config
  t.same(config, {
    name: 'x',
    dataDirectory: undefined,
    rpc: { host: '127.0.0.1', port: 1 },
    leaseMs: 6000,
    segmentBytes: 1 << 20,
    ratio: 0.5,
    filter: true,
    mode: 'off',
    metaServers: [],
  })
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.rpc))
  t.end()
})

void t.test('the environment is over the file, flags are over both', (t) => {
  const file = 'rpc: { port: 1 }\nname: file\nleaseMs: 1s'
  const environment = { METAPROXY_NAME: 'env', METAPROXY_RPC_PORT: '2', METAPROXY_OTHER: 'any' }
  const loaded = load(file, environment, { 'rpc.port': '3' })
  t.match(loaded, { ok: true, config: { name: 'env', rpc: { port: 3 }, leaseMs: 1000 } })
  t.equal(environmentName('METAPROXY', 'rpc.port'), 'METAPROXY_RPC_PORT')
  t.equal(environmentName('METAPROXY', 'dataDirectory'), 'METAPROXY_DATA_DIRECTORY')
  t.end()
})

void t.test('values may be written as text with units, lists with commas', (t) => {
  const flags = {
    'rpc.port': '0',
    leaseMs: '0.5s',
    segmentBytes: '64KiB',
    filter: 'false',
    metaServers: 'a:1, b:2',
    mode: 'on',
    ratio: '1',
  }
  t.match(load(undefined, {}, flags), {
    ok: true,
    config: {
      leaseMs: 500,
      segmentBytes: 65_536,
      filter: false,
      metaServers: ['a:1', 'b:2'],
      mode: 'on',
      ratio: 1,
    },
  })
  t.end()
})

void t.test('unknown keys are errors that name path and position, all at once', (t) => {
  t.same(problemsOf('rpc:\n  port: 1\n  prot: 2\nzoo: {}\n', {}, { 'no.such': '1' }), [
    'server.yaml:4:1: zoo: unknown key',
    'server.yaml:3:3: rpc.prot: unknown key',
    '--no.such: unknown option',
  ])
  t.same(problemsOf('rpc: { port: 1 }\nconstructor: 1\n'), [
    'server.yaml:2:1: constructor: unknown key',
  ])
  t.end()
})

void t.test('every kind says what it expected and what it found', (t) => {
  const file = [
    'name: UPPER',
    'rpc: { port: 70000 }',
    'leaseMs: 10',
    'segmentBytes: 1MB',
    'ratio: 2',
    'filter: maybe',
    'mode: true',
    'metaServers: [a:1, b]',
  ].join('\n')
  t.same(problemsOf(file), [
    'server.yaml:1:7: name: expected small letters, found "UPPER"',
    'server.yaml:2:14: rpc.port: expected a whole number from 0 to 65535, found 70000',
    'server.yaml:3:10: leaseMs: expected milliseconds from 100 to 60000 (or such as 500ms, 10s, 5m, 2h, 1d), found 10',
    'server.yaml:4:15: segmentBytes: expected bytes from 4096 to 1073741824 (or such as 64KiB, 32MiB, 1GiB), found "1MB"',
    'server.yaml:5:8: ratio: expected a number from 0 to 1, found 2',
    'server.yaml:6:9: filter: expected true or false, found "maybe"',
    'server.yaml:7:7: mode: expected one of on, off, found true',
    'server.yaml:8:1: metaServers: item 2: expected an address HOST:PORT, found "b"',
  ])
  t.same(problemsOf('rpc: { port: 1.5 }', { METAPROXY_FILTER: '1' }), [
    'server.yaml:1:14: rpc.port: expected a whole number from 0 to 65535, found 1.5',
    'METAPROXY_FILTER: expected true or false, found "1"',
  ])
  t.same(problemsOf('rpc: { port: 1 }\nmetaServers: [a:1, a:2, a:3, a:4]'), [
    'server.yaml:2:1: metaServers: expected 0 to 3 items, found 4',
  ])
  t.end()
})

void t.test('what is missing or has the wrong shape is said', (t) => {
  t.same(problemsOf(undefined), ['rpc.port: missing (Port.)'])
  t.same(problemsOf(''), ['rpc.port: missing (Port.)'])
  t.same(problemsOf('rpc: 5'), [
    'server.yaml:1:6: rpc: expected a section with keys, found 5',
    'rpc.port: missing (Port.)',
  ])
  t.match(problemsOf('- a'), [/server.yaml: expected keys with values, found \["a"\]/])
  t.match(problemsOf('a: [1'), [/server.yaml:\d+:\d+: not valid YAML: /])
  t.match(problemsOf('rpc: { port: 1 }\nname: a\nname: b'), [/server.yaml:3:1: not valid YAML/])
  t.match(problemsOf(`name: ${'x'.repeat(2 ** 20)}`), [/larger than/])
  t.end()
})

void t.test('every option can be described', (t) => {
  const lines = describeConfig(schema)
  t.ok(lines.includes('rpc.port  Port. (required)'))
  t.ok(lines.includes('leaseMs  Lease. (default 6000)'))
  t.ok(lines.includes('dataDirectory  Folder. (optional)'))
  t.end()
})
