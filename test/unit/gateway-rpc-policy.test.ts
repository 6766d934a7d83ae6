/**
 * The policy table of the RPCs besides the query (gateway.md 6), on requests that the official Go
 * admin client sent (test/vectors/requests_admin.json).
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { RequestFramer, decodeResult } from '../../cluster/protocol/frame.ts'
import { Rpc, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { RpcPolicy, type TableRpc } from '../../gateway/clients/rpc-policy.ts'
import { gatewayConfig } from '../../gateway/config.ts'

interface Vector {
  readonly name: string
  readonly hex: string
  readonly extra: { readonly reply_hex: string }
}
const recorded = (
  JSON.parse(readFileSync('test/vectors/requests_admin.json', 'utf8')) as { vectors: Vector[] }
).vectors

function allowed(policy: RpcPolicy, name: string, source = '127.0.0.1'): TableRpc | undefined {
  const judgement = policy.judge(name, source)
  return judgement.kind === 'allowed' ? judgement.rpc : undefined
}

/** Names that the list takes. */
const allowable = Object.values(Rpc)
  .map(({ name }) => name)
  .filter((name) => {
    try {
      return allowed(new RpcPolicy([name]), name) !== undefined
    } catch {
      return false
    }
  })

void t.test('section 6: what concerns one table can be allowed, and nothing else', (t) => {
  t.same(allowable.toSorted(), [
    'RPC_CM_ADD_DUPLICATION',
    'RPC_CM_CLEAR_BULK_LOAD',
    'RPC_CM_CONTROL_BULK_LOAD',
    'RPC_CM_CONTROL_PARTITION_SPLIT',
    'RPC_CM_CREATE_APP',
    'RPC_CM_DROP_APP',
    'RPC_CM_GET_ATOMIC_IDEMPOTENT',
    'RPC_CM_GET_MAX_REPLICA_COUNT',
    'RPC_CM_MODIFY_DUPLICATION',
    'RPC_CM_QUERY_BULK_LOAD_STATUS',
    'RPC_CM_QUERY_DUPLICATION',
    'RPC_CM_QUERY_MANUAL_COMPACT_STATUS',
    'RPC_CM_QUERY_PARTITION_SPLIT',
    'RPC_CM_RENAME_APP',
    'RPC_CM_SET_ATOMIC_IDEMPOTENT',
    'RPC_CM_SET_MAX_REPLICA_COUNT',
    'RPC_CM_START_BULK_LOAD',
    'RPC_CM_START_MANUAL_COMPACT',
    'RPC_CM_START_PARTITION_SPLIT',
    'RPC_CM_UPDATE_APP_ENV',
  ])
  const policy = new RpcPolicy(allowable)
  for (const name of allowable) {
    const rpc = allowed(policy, name)
    const isRead = /_(QUERY|GET)_/.test(name)
    t.equal(rpc?.class, isRead ? 'table-read' : 'table-write', name)
    const own = rpc?.resultOf('ERR_BUSY') ?? Buffer.alloc(0)
    const { result } = rpcByName(name) ?? {}
    t.match(result === undefined ? {} : decodeResult(result, own), { err: 'ERR_BUSY' }, name)
    t.equal(rpc?.errorOf(own), 'ERR_BUSY')
    t.equal(rpc?.errorOf(Buffer.from([0x0b])), undefined, 'no response of that kind')
  }
  t.equal(new RpcPolicy([]).judge('RPC_CM_DROP_APP', '127.0.0.1').kind, 'not-served', 'by default')
  t.end()
})

void t.test(
  'W-9: the table is found in what the admin client sends, read to the last byte',
  (t) => {
    const policy = new RpcPolicy(allowable)
    const seen = new Set<string>()
    for (const { name: what, hex } of recorded) {
      const framer = new RequestFramer({ maxBodyBytes: 1 << 20, maxMetaBytes: 4096 })
      framer.push(Buffer.from(hex, 'hex'))
      const frame = framer.next()
      const rpc = allowed(policy, frame?.name ?? '')
      if (frame === undefined || rpc === undefined) continue
      seen.add(frame.name)
      t.equal(rpc.tableOf(frame.argument), 'temp', what)
      for (let cut = 0; cut < frame.argument.length; cut++)
        if (rpc.tableOf(frame.argument.subarray(0, cut)) !== undefined)
          t.fail(`${what}: taken although cut at ${cut}`)
      t.equal(rpc.tableOf(Buffer.concat([frame.argument, Buffer.from([0])])), undefined, 'one more')
      for (let at = 0; at < frame.argument.length; at++) {
        const changed = Buffer.from(frame.argument)
        changed.writeUInt8(0xff, at)
        rpc.tableOf(changed)
      }
    }
    t.ok(seen.size >= 15, `${seen.size} kinds of requests were recorded`)
    t.end()
  },
)

void t.test('ranges: an RPC may be allowed from some sources', (t) => {
  const policy = new RpcPolicy([
    'RPC_CM_UPDATE_APP_ENV from 10.0.0.0/8,127.0.0.1/32',
    'RPC_CM_UPDATE_APP_ENV  from  192.168.0.0/16 192.169.0.1',
    'RPC_CM_QUERY_DUPLICATION',
  ])
  for (const source of ['10.9.9.9', '127.0.0.1', '192.168.3.4', '192.169.0.1'])
    t.equal(policy.judge('RPC_CM_UPDATE_APP_ENV', source).kind, 'allowed', source)
  for (const source of ['11.0.0.1', '127.0.0.2', '192.169.0.2', '2001:db8::1', ''])
    t.equal(policy.judge('RPC_CM_UPDATE_APP_ENV', source).kind, 'refused', source)
  t.equal(policy.judge('RPC_CM_QUERY_DUPLICATION', '2001:db8::1').kind, 'allowed', 'everywhere')
  t.end()
})

void t.test('the list in the configuration says what is wrong with an entry', (t) => {
  const problem = (allow: string): string => {
    const loaded = loadConfig(gatewayConfig, {
      fileText: `rpcPolicy: { allow: [ ${JSON.stringify(allow)} ] }`,
      environment: {},
      environmentPrefix: 'METAPROXY',
      flags: { 'zookeeper.servers': 'a:1' },
    })
    return loaded.ok ? '' : loaded.problems.join('\n')
  }
  t.equal(problem('RPC_CM_QUERY_DUPLICATION'), '')
  t.equal(problem('RPC_CM_UPDATE_APP_ENV from 10.0.0.0/8,127.0.0.1/32'), '')
  const cases: readonly (readonly [string, RegExp])[] = [
    ['RPC_CM_LIST_APS', /rpcPolicy\.allow.*no RPC has the name "RPC_CM_LIST_APS"/],
    ['RPC_CM_LIST_APPS', /concerns a whole cluster, so there is no table to route it by/],
    ['RPC_CM_CONFIG_SYNC', /spoken between the servers of a cluster/],
    ['RPC_FD_FAILURE_DETECTOR_PING', /spoken between the servers of a cluster/],
    ['RPC_RRDB_RRDB_GET', /goes to replica servers/],
    ['RPC_CLI_CLI_CALL', /for one server/],
    ['RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX', /is always served/],
    ['RPC_NEGOTIATION', /is answered by the gateway itself/],
    ['RPC_CM_DROP_APP from 10.0.0.0/33', /RPC_CM_DROP_APP from 10\.0\.0\.0\/33: expected an IPv4/],
    ['RPC_CM_DROP_APP from ,', /RPC_CM_DROP_APP from: expected an IPv4 range/],
    ['RPC_CM_DROP_APP 10.0.0.0/8', /expected an RPC such as/],
    ['', /expected an RPC such as/],
  ]
  for (const [entry, expected] of cases) t.match(problem(entry), expected, entry)
  t.throws(() => new RpcPolicy(['RPC_CM_LIST_APPS']), RangeError)
  t.end()
})
