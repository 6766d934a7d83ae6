/** several endpoints in one configuration. */
import t from 'tap'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { endpointProblems, endpointsOf } from '../../gateway/endpoints.ts'
import { controlRootOf } from '../../gateway/routing/control-nodes.ts'

function load(endpoints: unknown, flags: Readonly<Record<string, string>> = {}) {
  return loadConfig(gatewayConfig, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: { 'zookeeper.servers': 'zk:1', endpoints: JSON.stringify(endpoints), ...flags },
  })
}

void t.test(
  'R-30: each endpoint is the whole configuration with a port, root and limits of its own',
  (t) => {
    const loaded = load(
      [
        { port: 34602, root: '/east/tables', connections: 7, allowFrom: ['10.0.0.0/8'] },
        { port: 34603, root: '/metaproxy/tables' },
      ],
      { 'routing.snapshotFile': '/routes', 'tls.port': '34700', 'metric.tags': 'zone=a' },
    )
    if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
    t.same(endpointProblems(loaded.config), [])
    const [first, east, again, ...others] = endpointsOf(loaded.config)
    t.same(others, [])
    t.match(first, {
      name: 'rpc',
      root: '/metaproxy/tables',
      config: {
        rpc: { port: 34601 },
        tls: { port: 34700 },
        metric: { tags: ['zone=a', 'root=/metaproxy/tables'] },
        routing: { snapshotFile: '/routes' },
      },
    })
    t.match(east, {
      name: 'endpoints.1',
      root: '/east/tables',
      config: {
        rpc: { host: '0.0.0.0', port: 34602, allowFrom: ['10.0.0.0/8'] },
        tls: { port: undefined },
        limits: { connections: 7, connectionsPerSource: 50_000 },
        metric: { tags: ['zone=a', 'root=/east/tables'] },
        routing: { snapshotFile: '/routes.east.tables' },
      },
    })
    t.equal(east === undefined ? '' : controlRootOf(east.config.zookeeper), '/east/tables.gateway')
    t.match(again, { config: { rpc: { port: 34603 }, routing: { snapshotFile: '/routes' } } })
    const alone = load([])
    if (!alone.ok) throw new Error(alone.problems.join('\n'))
    t.equal(endpointsOf(alone.config)[0]?.config, alone.config, 'one endpoint has no label')
    t.end()
  },
)

void t.test('R-30: what is wrong with endpoints is told', (t) => {
  for (const [endpoints, problem] of [
    [5, /expected a list of sections/],
    [['x'], /item 1: expected a section/],
    [[{ port: 1 }], /item 1: root: missing/],
    [[{ root: '/a' }], /item 1: port: missing/],
    [[{ port: 1, root: '/a', more: 1 }], /item 1: more: unknown key/],
    [
      [
        { port: 1, root: '/a' },
        { port: 'x', root: '/a' },
      ],
      /item 2: port: expected a whole number/,
    ],
    [[{ port: 1, root: 'a' }], /item 1: root: expected a path/],
    [Array.from({ length: 17 }, () => ({ port: 1, root: '/a' })), /expected up to 16 items/],
  ] as const) {
    const loaded = load(endpoints)
    t.match(loaded.ok ? '' : loaded.problems.join('\n'), problem)
  }
  for (const [endpoints, problem] of [
    [[{ port: 34601, root: '/a' }], /endpoints\.1: 0\.0\.0\.0:34601 is taken by rpc/],
    [
      [{ port: 1, root: '/a', controlRoot: '/metaproxy/tables.gateway' }],
      /endpoints\.1\.controlRoot: .* belongs to the root \/metaproxy\/tables/,
    ],
    [
      [{ port: 1, root: '/metaproxy/tables', controlRoot: '/c' }],
      /endpoints\.1\.controlRoot: \/metaproxy\/tables has the control tree/,
    ],
  ] as const) {
    const loaded = load(endpoints)
    if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
    t.match(endpointProblems(loaded.config).join('\n'), problem)
  }
  t.end()
})
