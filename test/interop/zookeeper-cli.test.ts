/**
 * ZooKeeper's own command line client, from Debian's package, against the embedded server: the
 * official Java implementation of the protocol finds what it expects.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { whyNoRealZooKeeper } from '../support/real-zookeeper.ts'

const script = `create /table one
create -s /table/n- first
create -s /table/n- second
create -e /table/mine mine
set -v 0 /table two
set -v 0 /table three
get -s /table
ls /table
addauth digest meta:secret
create /closed secret auth::cdrwa
getAcl /closed
delete /table
delete /table/n-0000000000
stat /table
sync /table
ls -w /table
create /table/late x
quit
`

const reason = whyNoRealZooKeeper()

void t.test(
  'the official Java client reads and writes',
  { ...(reason === undefined ? {} : { skip: reason }), timeout: 60_000 },
  async (t) => {
    const server = await startEmbeddedZooKeeper(nodeRuntime({ log: silentLog }), {
      host: '127.0.0.1',
      port: 0,
      dataDirectory: t.testdir(),
    })
    t.teardown(() => server.close())
    const run = promisify(execFile)(
      'java',
      [
        '-XX:TieredStopAtLevel=1',
        '-cp',
        '/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar',
        'org.apache.zookeeper.ZooKeeperMain',
        '-server',
        `127.0.0.1:${server.port}`,
      ],
      { timeout: 50_000 },
    )
    run.child.stdin?.end(script)
    const { stdout, stderr } = await run
    const said = stdout + stderr
    for (const expected of [
      'Created /table\n',
      'Created /table/n-0000000000\n',
      'Created /table/n-0000000001\n',
      'Created /table/mine\n',
      'version No is not valid : /table',
      /two\ncZxid = 0x[0-9a-f]+\n/,
      /dataVersion = 1\n.*\nephemeralOwner = 0x0\ndataLength = 3\nnumChildren = 3\n/s,
      '[mine, n-0000000000, n-0000000001]',
      /'digest,'meta:[A-Za-z0-9+/]+=*\n: cdrwa/,
      'Node not empty: /table',
      'cversion = 4',
      'Sync is OK',
      'WatchedEvent state:SyncConnected type:NodeChildrenChanged path:/table',
    ])
      t.match(said, expected, String(expected))
    t.equal(server.sessionIds().length, 0, 'it has closed its session')
  },
)
