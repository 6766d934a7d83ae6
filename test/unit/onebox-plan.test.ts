import t from 'tap'
import {
  UsageError,
  copiesOf,
  parseOneboxFlags,
  planOnebox,
} from '../../cluster/cli/onebox-plan.ts'

void t.test('without flags the plan is the one that product.md promises', (t) => {
  const plan = planOnebox(parseOneboxFlags([]))
  t.same(
    plan.servers.map(({ name, rpc, http }) => [name, rpc, http]),
    [
      ['zookeeper', '127.0.0.1:34690', undefined],
      ['alpha-meta-1', '127.0.0.1:34611', '127.0.0.1:35611'],
      ['alpha-meta-2', '127.0.0.1:34612', '127.0.0.1:35612'],
      ['alpha-replica-1', '127.0.0.1:34621', '127.0.0.1:35621'],
      ['alpha-replica-2', '127.0.0.1:34622', '127.0.0.1:35622'],
      ['alpha-replica-3', '127.0.0.1:34623', '127.0.0.1:35623'],
      ['beta-meta-1', '127.0.0.1:34631', '127.0.0.1:35631'],
      ['beta-meta-2', '127.0.0.1:34632', '127.0.0.1:35632'],
      ['beta-replica-1', '127.0.0.1:34641', '127.0.0.1:35641'],
      ['beta-replica-2', '127.0.0.1:34642', '127.0.0.1:35642'],
      ['beta-replica-3', '127.0.0.1:34643', '127.0.0.1:35643'],
      ['gateway', '127.0.0.1:34601', '127.0.0.1:34680'],
    ],
  )
  t.same(parseOneboxFlags([]).tables, [{ name: 'temp', partitionCount: 8 }])
  t.end()
})

void t.test('no two servers share a port, whatever the flags', (t) => {
  const words = ['--metas', '9', '--replicas', '9', '--port-base', '20000']
  const addresses = planOnebox(parseOneboxFlags(words)).servers.flatMap((server) => [
    server.rpc,
    ...(server.http === undefined ? [] : [server.http]),
  ])
  t.equal(new Set(addresses).size, addresses.length)
  t.end()
})

void t.test('a real ZooKeeper replaces the embedded one, chroot included', (t) => {
  const plan = planOnebox(parseOneboxFlags(['--zookeeper', 'zk1:2181,zk2:2181/test/a']))
  t.notOk(plan.servers.some((server) => server.role === 'zookeeper'))
  t.match(
    JSON.stringify(plan.servers.at(-1)?.config),
    /zk1:2181,zk2:2181.*\/test\/a\/metaproxy\/tables/,
  )
  t.end()
})

void t.test('there are as many copies as replica servers, three at the most', (t) => {
  t.equal(copiesOf(parseOneboxFlags(['--replicas', '2'])), 2)
  t.equal(copiesOf(parseOneboxFlags(['--replicas', '5'])), 3)
  t.end()
})

void t.test('a wrong flag is one sentence that names it', (t) => {
  const cases: [string[], RegExp][] = [
    [['--clusters', '3'], /--clusters 3: expected a whole number from 1 to 2/],
    [['--port-base', 'x'], /--port-base x: expected a whole number/],
    [['--replicas', '0'], /--replicas 0/],
    [['--table', 'a/b:8'], /--table a\/b:8: expected NAME:PARTITIONS/],
    [['--table', 'a:6'], /power of two/],
    [['--table', 'a'], /expected NAME:PARTITIONS/],
    [['--host', 'localhost'], /--host localhost: expected an IPv4 address/],
    [['--nonsense'], /nonsense/],
    [['extra'], /extra/],
  ]
  for (const [words, message] of cases) {
    t.throws(() => parseOneboxFlags(words), new UsageError(''), words.join(' '))
    t.throws(() => parseOneboxFlags(words), message)
  }
  t.end()
})
