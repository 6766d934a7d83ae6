/** Who asked for a table, as a process remembers it, and what a fleet's answers are made into. */
import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { encodeArgument } from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
import { RecentLines, keepRecent } from '../../cluster/runtime/log-recent.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import type { FleetAnswers } from '../../gateway/admin/fleet-asker.ts'
import { tableClients } from '../../gateway/admin/fleet-views.ts'
import { TableRates, ratesBetween } from '../../gateway/admin/table-rates.ts'
import type { ClientFacts } from '../../gateway/client-facts.ts'
import { ClientBook, type BookedAsker } from '../../gateway/clients/client-book.ts'
import { KnownQueries } from '../../gateway/clients/known-queries.ts'
import { indicesForm } from '../../gateway/clients/query.ts'
import { answerQuestion, clientsAnswer, ratesAnswer } from '../../gateway/fleet-answers.ts'
import { gatewayMetrics } from '../../gateway/metrics.ts'
import {
  ANSWER_BYTES_MAX,
  ANSWER_TEXT_MAX,
  encodeAnswer,
  encodeQuestion,
  parseAnswer,
  parseQuestion,
} from '../../gateway/routing/fleet-questions.ts'
import type { Lookup } from '../../gateway/routing/table-entry.ts'

const DAY_MS = 86_400_000
const { queries: counts } = gatewayMetrics(new Metrics()).server

function routeTo(cluster: string): Lookup {
  const route = { table: 'temp', cluster, metas: [], group: '', stale: { kind: 'serve' as const } }
  return { kind: 'route', route }
}

function book(limits?: ConstructorParameters<typeof ClientBook>[1]) {
  let nowMs = 5000
  const clock = { monotonicMs: () => nowMs, wallMs: () => 1_000_000 + nowMs }
  const known = new KnownQueries()
  const kept = new ClientBook(clock, limits)
  const asker = (source: string): BookedAsker => ({ source, use: undefined })
  const ask = (
    from: BookedAsker,
    table: string,
    lookup: Lookup = routeTo('c1'),
    result: 'relayed' | 'unavailable' | 'no-table' = 'relayed',
  ): void => {
    const argument = encodeArgument(QueryCfgRequest, { appName: table, partitionIndices: [] })
    const query = known.decoded(argument, false)
    if (query !== undefined)
      kept.count({ asker: from, counts: counts[0] }, query, result, lookup, nowMs)
  }
  return { kept, asker, ask, pass: (ms: number) => (nowMs += ms) }
}

void t.test('an address is one client of a table, with what it was told last', (t) => {
  const { kept, asker, ask, pass } = book()
  const one = asker('10.0.0.1')
  ask(one, 'temp')
  pass(1000)
  ask(asker('10.0.0.1'), 'temp', routeTo('c2'))
  pass(1000)
  ask(one, 'temp', routeTo('c3'), 'unavailable')
  ask(asker('10.0.0.2'), 'nowhere', { kind: 'missing' }, 'no-table')
  t.same(kept.clientsOf('nowhere'), { clients: [], isShort: false }, 'unknown tables are not kept')
  const { clients } = kept.clientsOf('temp')
  t.same(clients, [
    {
      address: '10.0.0.1',
      firstAtMs: 1_005_000,
      lastAtMs: 1_007_000,
      queries: 3,
      version: 0,
      libraries: ['go', 'python'],
      isWhole: true,
      result: 'unavailable',
      cluster: 'c2',
    },
  ])
  const told = clientsAnswer([{ clients, isShort: false }], 'c3')
  t.match(told, { total: 1, slow: 1 }, 'an answer that it did not get moves nobody')
  t.match(clientsAnswer([{ clients, isShort: false }], undefined), { slow: 0 })

  const other = book().kept
  other.absorb(kept.all())
  other.absorb(kept.all())
  t.match(other.clientsOf('temp').clients, [{ queries: 6, cluster: 'c2', lastAtMs: 1_007_000 }])
  pass(DAY_MS + 1)
  t.same(kept.clientsOf('temp').clients, [], 'a day later it is forgotten')
  t.equal(kept.size, 0)
  ask(one, 'temp')
  t.equal(kept.clientsOf('temp').clients[0]?.queries, 1, 'and begins anew')
  t.end()
})

void t.test('each query counts for its table and address, whoever asked before', (t) => {
  const connections = fc.array(fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3'), {
    minLength: 1,
    maxLength: 5,
  })
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.tuple(fc.nat(4), fc.constantFrom('a', 'b', 'c')) },
    { weight: 1, arbitrary: fc.constant('a day passes' as const) },
  )
  fc.assert(
    fc.property(connections, fc.array(step, { maxLength: 60 }), (sources, steps) => {
      const { kept, asker, ask, pass } = book()
      const askers = sources.map(asker)
      const counted = new Map<string, number>()
      for (const done of steps)
        if (done === 'a day passes') {
          pass(DAY_MS + 1)
          kept.expire()
          counted.clear()
        } else {
          const [which, table] = done
          const from = askers[which % askers.length]
          if (from === undefined) throw new Error('nobody asks')
          ask(from, table)
          const key = `${table} ${from.source}`
          counted.set(key, (counted.get(key) ?? 0) + 1)
        }
      const all = ['a', 'b', 'c'].flatMap((table) =>
        kept
          .clientsOf(table)
          .clients.map(({ address, queries }) => [`${table} ${address}`, queries] as const),
      )
      if (!isDeepStrictEqual(new Map(all), counted))
        throw new Error(`${JSON.stringify(all)} instead of ${JSON.stringify([...counted])}`)
    }),
    { numRuns: 200 },
  )
  t.pass('as in a plain map')
  t.end()
})

void t.test('the book is bounded, and says when somebody is missing', (t) => {
  const { kept, asker, ask, pass } = book({ tablesMax: 2, clientsOfTableMax: 8, clientsMax: 12 })
  const first = asker('10.0.0.0')
  for (let n = 0; n < 9; n++) {
    pass(1)
    ask(n === 0 ? first : asker(`10.0.0.${n}`), 'a')
  }
  const left = kept.clientsOf('a')
  t.equal(left.isShort, true)
  t.same(
    left.clients.map(({ address }) => address),
    [2, 3, 4, 5, 6, 7, 8].map((n) => `10.0.0.${n}`),
    'a quarter makes room, those who asked longest ago',
  )
  t.equal(first.use?.query, undefined, 'its connection does not count in what was forgotten')
  for (let n = 0; n < 9; n++) ask(asker(`10.0.1.${n}`), 'b')
  ask(asker('10.0.0.1'), 'c')
  t.equal(kept.size, 12)
  t.equal(kept.clientsOf('b').isShort, true)
  t.same(kept.clientsOf('c'), { clients: [], isShort: true })
  t.end()
})

void t.test('the form of the arguments is told from bytes in any condition', (t) => {
  const written = encodeArgument(QueryCfgRequest, { appName: 'temp', partitionIndices: [1] })
  t.equal(indicesForm(written), 'written')
  const absent = Buffer.from('0c00010b00010000000474656d700000', 'hex')
  t.equal(indicesForm(absent), 'absent')
  for (let end = 0; end < written.length; end++) indicesForm(written.subarray(0, end))
  t.equal(indicesForm(Buffer.from('0c00010b0001ffffffff74656d700000', 'hex')), 'other')
  t.equal(indicesForm(Buffer.alloc(40)), 'other')
  t.end()
})

void t.test('questions and answers survive what others may have written', (t) => {
  const asked = { id: 'a.1', asker: 'a', question: { kind: 'clients', table: 'temp' } } as const
  t.same(parseQuestion(encodeQuestion(asked)), asked)
  for (const text of ['', '[]', '{}', '{"id":1}', '{"id":"a","asker":"b","kind":"other"}'])
    t.equal(parseQuestion(Buffer.from(text)), undefined, text)
  t.equal(
    parseQuestion(encodeQuestion({ ...asked, question: { kind: 'clients', table: 'a/b' } })),
    undefined,
    'no table can have that name',
  )
  t.same(parseAnswer(encodeAnswer('a.1', { x: 1 }), 'a.1'), { answer: { x: 1 } })
  t.equal(parseAnswer(encodeAnswer('a.1', { x: 1 }), 'a.2'), undefined)
  const noise = randomBytes(ANSWER_BYTES_MAX).toString('hex')
  for (const tooLarge of [noise, 'x'.repeat(ANSWER_TEXT_MAX)])
    t.match(parseAnswer(encodeAnswer('a.1', tooLarge), 'a.1'), {
      problem: /an answer of \d+ bytes/,
    })
  const bomb = gzipSync(Buffer.alloc(50 << 20, 32))
  t.equal(parseAnswer(bomb, 'a.1'), undefined, 'what grows too large is not looked at')
  t.equal(parseAnswer(Buffer.from('not JSON'), 'a.1'), undefined)
  t.end()
})

const client = (n: number, cluster: string): ClientFacts => ({
  address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`,
  firstAtMs: n,
  lastAtMs: n,
  queries: 1,
  version: 1,
  libraries: ['java', 'pegasus-metaproxy'],
  isWhole: true,
  result: 'relayed',
  cluster,
})

void t.test('an answer has room for many clients: the slow ones, then the newest', async (t) => {
  const clients = Array.from({ length: 5000 }, (_, n) => client(n, n < 10 ? 'old' : 'new'))
  const answer = clientsAnswer([{ clients, isShort: false }], 'new')
  const data = encodeAnswer('id', answer)
  t.ok(data.length < ANSWER_BYTES_MAX)
  t.same(parseAnswer(data, 'id'), { answer })
  t.match(answer, { total: 5000, slow: 10, isShort: true })
  t.ok(answer.clients.length > 1000, `${answer.clients.length} clients in ${data.length} bytes`)
  t.equal(answer.clients.filter(({ slow }) => slow).length, 10)
  t.equal(answer.clients[10]?.lastAtMs, 4999)

  const option = { path: 'a', source: 'default', reloadable: false, about: '' }
  const lines = Array.from({ length: 90 }, (_, n) => ({
    atMs: n,
    level: 'warn' as const,
    event: 'e'.repeat(200),
    fields: 'ü'.repeat(500),
    process: '',
  }))
  const told = await answerQuestion(
    {
      describe: () => undefined,
      epoch: () => 0,
      served: async () => [],
      clientsOf: async () => [],
      monotonicMs: () => 0,
      tableCounts: async () => [],
      recentLines: async () => lines,
      effective: () => Array.from({ length: 100 }, () => ({ ...option, value: 'v'.repeat(490) })),
    },
    { kind: 'gateway', gateway: 'a' },
  )
  t.ok(encodeAnswer('id', told).length < ANSWER_BYTES_MAX)
  t.match(told, { recent: [{ atMs: 89 }] })
})

void t.test('the newest answer decides whether a client is slow; bad ones are named', (t) => {
  const answers = new Map<string, unknown>([
    [
      'a',
      clientsAnswer([{ clients: [client(1, 'old'), client(2, 'old')], isShort: false }], 'new'),
    ],
    [
      'b',
      clientsAnswer([{ clients: [{ ...client(1, 'new'), lastAtMs: 9 }], isShort: false }], 'new'),
    ],
    ['c', { clients: 'all of them' }],
  ])
  const silent = [{ id: 'd', reason: 'no answer' }]
  const all = tableClients({ askedAt: '', elapsedMs: 1, answers, silent }, 'b')
  t.match(all, { answered: ['a', 'b'], total: 2, slow: 1, cluster: 'new', truncated: false })
  t.same(
    all.silent.map(({ id }) => id),
    ['c', 'd'],
  )
  t.match(all.clients, [
    { address: '10.0.0.2', slow: true, gateways: ['a'] },
    { address: '10.0.0.1', slow: false, gateways: ['a', 'b'], queries: 2, cluster: 'new' },
  ])
  t.end()
})

void t.test('the last warnings and errors of a log are kept, as text of limited length', (t) => {
  const recent = new RecentLines(() => 1234.5)
  const lines: string[] = []
  const log = keepRecent({ ...silentLog, warn: (event) => lines.push(event) }, recent)
  log.info('quiet', { a: 1 })
  log.child({ part: 'x' }).error('broken', { error: new Error('why'), n: 5n, none: undefined })
  t.same(recent.list(), [
    { atMs: 1235, level: 'error', event: 'broken', fields: 'part="x" error="why" n=5' },
  ])
  for (let n = 0; n < 60; n++) log.warn(`w${n}`, { long: 'x'.repeat(9000) })
  t.equal(lines.length, 60, 'the log itself has all')
  t.equal(recent.list().length, 50)
  t.match(recent.list()[49], { event: 'w59' })
  t.ok((recent.list()[49]?.fields.length ?? 0) <= 500)
  const circle: Record<string, unknown> = {}
  circle['self'] = circle
  log.warn('circle', { circle })
  t.match(recent.list().at(-1), { event: 'circle' })
  t.end()
})

void t.test('what each process counted is summed, the most asked for tables first', (t) => {
  const found = [
    { process: '2.9', tables: [['a', 1] as const, ['b', 5] as const], isShort: false },
    { process: '1.8', tables: [['a', 7] as const], isShort: true },
  ]
  t.same(ratesAnswer(1000.4, found), {
    atMs: 1000,
    processes: '1.8 2.9',
    counts: [
      ['a', 8],
      ['b', 5],
    ],
    isShort: true,
  })
  const tables = Array.from({ length: 20_000 }, (_, n) => [`table-${n}`, n] as const)
  const many = ratesAnswer(0, [{ process: '', tables, isShort: false }])
  t.ok(many.counts.length < 20_000 && many.counts.length > 5000)
  t.equal(many.counts[0]?.[1], 19_999)
  t.equal(many.isShort, true)
  t.end()
})

void t.test('rates of tables: the fleet is asked as often for many as for one', async (t) => {
  let nowMs = 1000
  let asked = 0
  let processes = '1'
  let counts: readonly (readonly [string, number])[] = [['a', 100]]
  const silent = [{ id: 'two', reason: 'gone' }]
  const ask = async (): Promise<FleetAnswers> => {
    asked++
    const answer = { atMs: nowMs, processes, counts, isShort: false }
    return { askedAt: '', elapsedMs: 1, answers: new Map([['one', answer]]), silent }
  }
  const rates = new TableRates(() => nowMs, ask)
  const first = await Promise.all([rates.current(), rates.current()])
  t.match(first[0], { pending: ['one'], silent, rates: {}, overSeconds: undefined })
  t.equal(first[1], first[0])
  t.equal(asked, 1, 'at once')
  nowMs += 900
  t.equal(await rates.current(), first[0])
  nowMs += 1100
  counts = [
    ['a', 140],
    ['b', 1],
  ]
  const second = await rates.current()
  t.match(second, { overSeconds: 2, pending: [], rates: { a: 20, b: 0.5 }, truncated: false })
  counts = [['a', 240]]
  nowMs += 4900
  t.equal(await rates.current(), second, 'good for five seconds')
  nowMs += 100
  t.match(await rates.current(), { overSeconds: 5, rates: { a: 20 } })
  t.equal(asked, 3)
  processes = '2'
  counts = [['a', 10]]
  nowMs += 5000
  t.match(await rates.current(), { pending: ['one'], rates: {} }, 'another process counts anew')
  nowMs += 61_000
  t.match(await rates.current(), { pending: ['one'], rates: {} }, 'too long ago')
  nowMs += 1000
  t.match(await rates.current(), { overSeconds: 1, rates: { a: 0 } })
})

void t.test('tables that came into the counts of a full process have no rate yet', (t) => {
  const was = { atMs: 0, processes: '', counts: [] as [string, number][], isShort: true }
  const now = { ...was, atMs: 1000, counts: [['a', 9000] as [string, number]] }
  const of = (isShort: boolean) =>
    ratesBetween(new Map([['one', { ...was, isShort }]]), new Map([['one', now]]))
  t.match(of(true), { rates: { a: 0 }, truncated: true })
  t.match(of(false), { rates: { a: 9000 } })
  t.end()
})
