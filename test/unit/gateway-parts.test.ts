/** The pure parts of the gateway: mapping values, queries, answers of metas, metric texts, options. */
import * as fc from 'fast-check'
import t from 'tap'
import {
  encodeArgument,
  encodeReply,
  encodeResult,
  ReplyFramer,
  type ReplyFrame,
} from '../../cluster/protocol/frame.ts'
import {
  PartitionConfiguration,
  QueryCfgRequest,
  QueryCfgResponse,
} from '../../cluster/protocol/layer2.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { Lru } from '../../gateway/routing/lru.ts'
import {
  canonicalMetas,
  formatMapping,
  isTableName,
  metaAddress,
  parseMapping,
} from '../../gateway/routing/mapping.ts'
import { readMetaAnswer } from '../../gateway/upstream/meta-answer.ts'
import { readQuery } from '../../gateway/clients/query.ts'
import { answerBudgetMs } from '../../gateway/clients/answer-budget.ts'

const parse = (value: unknown): ReturnType<typeof parseMapping> =>
  parseMapping(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))

void t.test('R-1, R-2: what a mapping is', (t) => {
  const good: readonly (readonly [unknown, string, readonly string[], string])[] = [
    [{ cluster: 'c', 'meta-addrs': ['a:1'] }, 'c', ['a:1'], 'rfc'],
    [
      { cluster: ' c ', 'meta-addrs': [' a:1 ', 'b.example:2', 'a:1'] },
      'c',
      ['a:1', 'b.example:2'],
      'rfc',
    ],
    [{ cluster_name: 'c', meta_addrs: '10.0.0.1:1, b:2' }, 'c', ['10.0.0.1:1', 'b:2'], 'go'],
    [{ cluster_name: 'c', meta_addrs: ['a:1'] }, 'c', ['a:1'], 'go'],
    [
      { cluster: 'c', 'meta-addrs': ['a:1', 'b:2'], cluster_name: 'c', meta_addrs: 'b:2,a:1' },
      'c',
      ['a:1', 'b:2'],
      'both',
    ],
  ]
  for (const [value, cluster, metas, form] of good)
    t.match(parse(value), { ok: true, value: { cluster, metas, form } })
  const bad: readonly (readonly [unknown, string])[] = [
    ['', ''],
    ['null', ''],
    ['[]', ''],
    ['"x"', ''],
    [`{"cluster":"c","meta-addrs":["a:1"],"pad":"${'x'.repeat(65_536)}"}`, ''],
    [{}, 'cluster'],
    [{ 'meta-addrs': ['a:1'] }, 'cluster'],
    [{ cluster: '', 'meta-addrs': ['a:1'] }, 'cluster'],
    [{ cluster: 3, 'meta-addrs': ['a:1'] }, 'cluster'],
    [{ cluster: 'c' }, 'meta-addrs'],
    [{ cluster: 'c', 'meta-addrs': [] }, 'meta-addrs'],
    [{ cluster: 'c', 'meta-addrs': { 0: 'a:1' } }, 'meta-addrs'],
    [{ cluster: 'c', 'meta-addrs': [null] }, 'meta-addrs'],
    [{ cluster_name: 'c', meta_addrs: '' }, 'meta_addrs'],
    [{ cluster: 'c', 'meta-addrs': ['a:1'], cluster_name: 'd', meta_addrs: 'a:1' }, 'cluster_name'],
    [{ cluster: 'c', 'meta-addrs': ['a:1'], cluster_name: 'c', meta_addrs: 'a:2' }, 'meta_addrs'],
    [{ cluster: 'c', 'meta-addrs': ['a:1'], meta_addrs: 'a:1' }, 'cluster_name'],
  ]
  for (const [value, field] of bad)
    t.match(parse(value), { ok: false, problem: { field } }, JSON.stringify(value).slice(0, 60))
  for (const address of [
    'a',
    'a:',
    ':1',
    'a:0',
    'a:65536',
    '1.2.3:1',
    '1.2.3.256:1',
    'a b:1',
    '-a:1',
    'a..b:1',
    'http://a:1',
    '[::1]:1',
    '1.2.3.4.5:1',
  ])
    t.equal(metaAddress(address), undefined, address)
  t.end()
})

void t.test('values from outside never throw', (t) => {
  fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), (value) => void parse(value)))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void parseMapping(Buffer.from(bytes))),
  )
  t.end()
})

void t.test('R-3, R-4: an edit keeps the form and the foreign keys', (t) => {
  const metas = ['a:1', 'b:2']
  const edited = (found: unknown, form: 'both' | 'rfc' | 'go' = 'both', optional = {}): unknown => {
    const parsed = found === undefined ? undefined : parse(found)
    return JSON.parse(
      formatMapping(
        { cluster: 'n', metas, optional },
        parsed?.ok === true ? parsed.value : undefined,
        form,
      ).toString(),
    )
  }
  const rfc = { cluster: 'n', 'meta-addrs': metas }
  const go = { cluster_name: 'n', meta_addrs: 'a:1,b:2' }
  t.same(edited(undefined), { ...rfc, ...go })
  t.same(edited(undefined, 'rfc'), rfc)
  t.same(edited(undefined, 'go'), go)
  t.same(edited({ cluster: 'o', 'meta-addrs': ['x:1'], mine: [1] }), { ...rfc, mine: [1] })
  t.same(edited({ cluster_name: 'o', meta_addrs: 'x:1', note: 'old' }, 'rfc', { group: 'g' }), {
    ...go,
    group: 'g',
  })
  fc.assert(
    fc.property(
      fc.constantFrom('both' as const, 'rfc' as const, 'go' as const),
      fc.uniqueArray(fc.nat({ max: 65534 }), { minLength: 1, maxLength: 32 }),
      (form, ports) => {
        const list = ports.map((port) => `h${port}:${port + 1}`)
        const again = parseMapping(formatMapping({ cluster: 'c', metas: list }, undefined, form))
        if (!again.ok || again.value.form !== form || again.value.metas.join() !== list.join())
          throw new Error('another mapping')
      },
    ),
  )
  t.equal(canonicalMetas(['b:2', 'a:1']), canonicalMetas(['a:1', 'b:2']))
  t.end()
})

void t.test('R-14: names that cannot be nodes', (t) => {
  for (const name of [
    '',
    '.',
    '..',
    'a/b',
    '/',
    'a\0',
    'a\nb',
    '\u007f',
    '\ufffd',
    '\ud83d\ude00',
    'x'.repeat(256),
    'é'.repeat(128),
  ])
    t.notOk(isTableName(name), JSON.stringify(name).slice(0, 20))
  for (const name of ['temp', '...', 'a.b', 'a:b', 'a b', 'tabelle-ä', 'x'.repeat(255)])
    t.ok(isTableName(name), name.slice(0, 20))
  t.end()
})

void t.test('W-9: a query is read to its last byte', (t) => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 20 }),
      fc.array(fc.integer(), { maxLength: 5 }),
      (appName, partitionIndices) => {
        const argument = encodeArgument(QueryCfgRequest, { appName, partitionIndices })
        if (readQuery(argument) !== appName) throw new Error('another table')
        for (let cut = 0; cut < argument.length; cut++)
          if (readQuery(argument.subarray(0, cut)) !== undefined)
            throw new Error(`cut at ${cut} is taken`)
        if (readQuery(Buffer.concat([argument, Buffer.from([0])])) !== undefined)
          throw new Error('a byte more is taken')
      },
    ),
    { numRuns: 50 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void readQuery(Buffer.from(bytes))),
    { numRuns: 500 },
  )
  t.equal(
    readQuery(Buffer.from('0c00010000', 'hex')),
    '',
    'a query without a name asks for the table of no name',
  )
  t.end()
})

function reply(error: string, result: Buffer | undefined): ReplyFrame {
  const framer = new ReplyFramer({ maxFrameBytes: 1 << 20 })
  framer.push(encodeReply('RPC_X', 1, error, result))
  const frame = framer.next()
  if (frame === undefined) throw new Error('no frame')
  return frame
}
const configuration = (err: string, primary?: string): Buffer =>
  encodeResult(
    QueryCfgResponse,
    QueryCfgResponse.make({
      err,
      partitions: primary === undefined ? [] : [PartitionConfiguration.make({ primary })],
    }),
  )

void t.test('W-7: the time for an answer, where Go clients send anything below 4295', (t) => {
  t.equal(answerBudgetMs(0, 4000), 4000, 'none given')
  t.equal(answerBudgetMs(5000, 4000), 4000)
  t.equal(answerBudgetMs(2000, 4000), 2000)
  t.equal(answerBudgetMs(3, 4000), 1000)
  t.equal(answerBudgetMs(3, 500), 500)
  t.end()
})

void t.test('W-2, W-12: what is relayed and what is not', (t) => {
  for (const err of ['ERR_OK', 'ERR_OBJECT_NOT_FOUND', 'ERR_BUSY_CREATING', 'ERR_NEW'])
    t.equal(readMetaAnswer(reply('ERR_OK', configuration(err))).kind, 'answer')
  t.equal(readMetaAnswer(reply('ERR_HANDLER_NOT_FOUND', undefined)).kind, 'answer')
  for (const hex of [
    '',
    '00',
    '0b0000',
    '0c00000c0001ffffffff',
    '0c00000c00017fffffff',
    '0c00000800010000000000',
  ])
    t.equal(readMetaAnswer(reply('ERR_OK', Buffer.from(hex, 'hex'))).kind, 'answer', `form ${hex}`)
  for (const err of ['ERR_SERVICE_NOT_ACTIVE', 'ERR_UNDER_RECOVERY'])
    t.equal(readMetaAnswer(reply('ERR_OK', configuration(err))).kind, 'not-ready')
  t.same(readMetaAnswer(reply('ERR_OK', configuration('ERR_FORWARD_TO_OTHERS', '1.2.3.4:5'))), {
    kind: 'forward',
    leader: '1.2.3.4:5',
  })
  t.same(readMetaAnswer(reply('ERR_OK', configuration('ERR_FORWARD_TO_OTHERS', ''))), {
    kind: 'forward',
    leader: undefined,
  })
  t.same(readMetaAnswer(reply('ERR_OK', configuration('ERR_FORWARD_TO_OTHERS'))), {
    kind: 'forward',
    leader: undefined,
  })
  t.same(
    readMetaAnswer(reply('ERR_FORWARD_TO_OTHERS', undefined)),
    { kind: 'forward', leader: undefined },
    'in the header',
  )
  const cut = configuration('ERR_FORWARD_TO_OTHERS', '1.2.3.4:5').subarray(0, 60)
  t.same(readMetaAnswer(reply('ERR_OK', cut)), { kind: 'forward', leader: undefined }, 'cut')
  t.end()
})

void t.test('the least recently used entry goes first', (t) => {
  const evicted: string[] = []
  const lru = new Lru<number>(2, (key) => evicted.push(key))
  lru.set('a', 1)
  lru.set('b', 2)
  t.equal(lru.get('a'), 1)
  t.equal(lru.get('a'), 1)
  lru.set('c', 3)
  t.same(evicted, ['b'])
  t.equal(lru.peek('b'), undefined)
  t.ok(lru.delete('a'))
  t.same([...lru.values()], [3])
  t.end()
})

void t.test('options: what is refused, and how', (t) => {
  const load = (fileText: string): readonly string[] => {
    const loaded = loadConfig(gatewayConfig, {
      fileText,
      fileName: 'f',
      environment: {},
      environmentPrefix: 'METAPROXY',
      flags: {},
    })
    return loaded.ok ? [] : loaded.problems
  }
  t.same(
    load(
      'zookeeper: { servers: "127.0.0.1:2181/chroot", root: /metaproxy/tables }\nrpc: { host: 127.0.0.1, port: 1 }\nhttp: { host: 127.0.0.1, port: 2 }\nworkers: 2\n',
    ),
    [],
  )
  t.match(load('').join(), /zookeeper\.servers: missing/)
  t.match(load('zookeeper: { servers: "a:1" }\nwrokers: 2').join(), /wrokers: unknown key/)
  t.match(
    load('zookeeper: { servers: "a:1", root: tables }').join(),
    /zookeeper\.root: expected a path/,
  )
  t.match(
    load('zookeeper: { servers: "a:1" }\nrpc: { port: 70000 }').join(),
    /rpc\.port: expected a whole number/,
  )
  t.end()
})
