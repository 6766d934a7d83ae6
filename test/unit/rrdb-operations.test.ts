/**
 * What each data operation does (data-model.md 3 and 4) where the recorded answers of an original
 * server (rrdb-recorded.test.ts) say nothing: refusals that are ours, time, limits, scanners.
 */
import fc from 'fast-check'
import t from 'tap'
import { encodeArgument } from '../../cluster/protocol/frame.ts'
import { encodeKey, partitionHash, partitionIndexOf } from '../../cluster/protocol/key.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import {
  CheckAndMutateRequest,
  CheckAndSetRequest,
  GetScannerRequest,
  IncrRequest,
  MultiGetRequest,
  MultiPutRequest,
  MultiRemoveRequest,
  UpdateRequest,
} from '../../cluster/protocol/rrdb.ts'
import { encodeValue, makeTimetag, pegasusSeconds } from '../../cluster/protocol/value.ts'
import { WRITE_EMPTY } from '../../cluster/replica/app.ts'
import { parseInt64 } from '../../cluster/replica/rrdb-integer.ts'
import { scanContextLimits } from '../../cluster/replica/rrdb-scan-contexts.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'
import type { StorageEngine } from '../../cluster/storage/engine.ts'
import { START_MS, type TestReplica, bytes, openReplica, testRuntime } from './rrdb-replica.ts'
import { updateOf } from './rrdb-replica.ts'

const [OK, NOT_FOUND, INVALID_ARGUMENT, INCOMPLETE, TRY_AGAIN] = [0, 1, 4, 7, 13]
const nowSeconds = pegasusSeconds(START_MS)
const key = (hashKey: string, sortKey: string): Buffer => encodeKey(bytes(hashKey), bytes(sortKey))
const wholeTable = GetScannerRequest.make({
  startKey: Buffer.from([0, 0]),
  stopKey: Buffer.from([255, 255]),
  startInclusive: true,
})

async function put(
  replica: TestReplica,
  sortKey: string,
  value: string,
  expiry = 0,
): Promise<void> {
  const request = UpdateRequest.make({
    key: key('h', sortKey),
    value: bytes(value),
    expireTsSeconds: expiry,
  })
  await replica.write(Rpc.PUT, request)
}

async function fill(replica: TestReplica, count: number, valueBytes = 1): Promise<void> {
  const sortKeys = Array.from({ length: count }, (_, index) => String(index).padStart(5, '0'))
  const kvs = sortKeys.map((text) => ({ key: bytes(text), value: Buffer.alloc(valueBytes, 'v') }))
  await replica.write(Rpc.MULTI_PUT, MultiPutRequest.make({ hashKey: bytes('h'), kvs }))
}

const engines: Readonly<Record<string, (folder: string) => Promise<StorageEngine>>> = {
  memory: () => new MemoryEngineDisk().open(testRuntime),
  rocksdb: (folder) => openRocksDb({ path: `${folder}/db` }),
}

for (const [name, open] of Object.entries(engines))
  void t.test(`records come and go, on ${name}`, async (t) => {
    const engine = await open(t.testdir())
    const replica = await openReplica({ engine })
    const origin = { appId: 7, partitionIndex: 3, server: '127.0.0.1:34801' }

    t.same(await replica.read(Rpc.GET, key('h', 's')), {
      error: NOT_FOUND,
      value: bytes(''),
      ...origin,
    })
    const request = UpdateRequest.make({ key: key('h', 's'), value: bytes('v') })
    t.same(await replica.write(Rpc.PUT, request), { error: OK, decree: 1, ...origin })
    t.same(await replica.read(Rpc.GET, key('h', 's')), { error: OK, value: bytes('v'), ...origin })
    t.same(await replica.read(Rpc.TTL, key('h', 's')), { error: OK, ttlSeconds: -1, ...origin })
    t.equal((await replica.read(Rpc.SORTKEY_COUNT, bytes('h'))).count, 1)
    await put(replica, 'gone', 'v')
    t.same(await replica.write(Rpc.REMOVE, key('h', 'gone')), { error: OK, decree: 3, ...origin })
    const many = MultiPutRequest.make({
      hashKey: bytes('h'),
      kvs: ['a', 'b', 'c'].map((text) => ({ key: bytes(text), value: bytes(`v${text}`) })),
    })
    await replica.write(Rpc.MULTI_PUT, many)
    const incr = IncrRequest.make({ key: key('h', 'n'), increment: 5n })
    t.equal((await replica.write(Rpc.INCR, incr)).newValue, 5n)
    const found = await replica.read(
      Rpc.MULTI_GET,
      MultiGetRequest.make({ hashKey: bytes('h'), reverse: true, maxKvCount: 3 }),
    )
    t.equal(found.error, INCOMPLETE)
    t.same(
      found.kvs.map((pair) => `${String(pair.key)}=${String(pair.value)}`),
      ['c=vc', 'n=5', 's=v'],
      'the largest keys, ascending',
    )
    const named = await replica.read(Rpc.BATCH_GET, {
      keys: [
        { hashKey: bytes('h'), sortKey: bytes('b') },
        { hashKey: bytes('h'), sortKey: bytes('none') },
        { hashKey: bytes('h'), sortKey: bytes('a') },
      ],
    })
    t.same(
      named.data.map(({ value }) => String(value)),
      ['vb', 'va'],
    )
    let page = await replica.read(Rpc.GET_SCANNER, { ...wholeTable, batchSize: 2 })
    const pages = [page.kvs.length]
    for (; page.contextId !== -1n; pages.push(page.kvs.length))
      page = await replica.read(Rpc.SCAN, { contextId: page.contextId })
    t.same(pages, [2, 2, 1])
    await replica.app.close()
    await engine.close()
  })

void t.test('expiry', async (t) => {
  await t.test('reads judge it by their own clock', async (t) => {
    const replica = await openReplica({})
    await put(replica, 's', 'v', nowSeconds + 10)
    t.equal((await replica.read(Rpc.TTL, key('h', 's'))).ttlSeconds, 10)
    replica.nowMs += 9_999
    t.equal((await replica.read(Rpc.TTL, key('h', 's'))).ttlSeconds, 1)
    replica.nowMs += 1
    t.equal((await replica.read(Rpc.GET, key('h', 's'))).error, NOT_FOUND)
    t.equal((await replica.read(Rpc.TTL, key('h', 's'))).error, NOT_FOUND)
    t.equal((await replica.read(Rpc.SORTKEY_COUNT, bytes('h'))).count, 0)
  })
  await t.test('writes judge it by the time of the mutation', async (t) => {
    const replica = await openReplica({})
    const incr = IncrRequest.make({ key: key('h', 'n'), increment: 1n })
    await replica.write(Rpc.INCR, { ...incr, increment: 41n, expireTsSeconds: nowSeconds + 10 })
    const apply = async (timestampUs: number): Promise<void> => {
      const updates = [updateOf(Rpc.INCR, incr)]
      const decree = replica.store.applied.decree + 1
      await replica.app.apply([{ decree, ballot: 1, timestampUs, updates }])
    }
    await apply(START_MS * 1000 + 9_999_999)
    t.equal(String((await replica.read(Rpc.GET, key('h', 'n'))).value), '42', 'still there')
    await apply(START_MS * 1000 + 10_000_000)
    t.equal(String((await replica.read(Rpc.GET, key('h', 'n'))).value), '1', 'started again')
  })
  await t.test('default_ttl counts from the mutation and only without an expiry', async (t) => {
    const replica = await openReplica({ envs: { default_ttl: '100' } })
    await put(replica, 'without', 'v')
    await put(replica, 'with', 'v', nowSeconds + 5)
    t.equal((await replica.read(Rpc.TTL, key('h', 'without'))).ttlSeconds, 100)
    t.equal((await replica.read(Rpc.TTL, key('h', 'with'))).ttlSeconds, 5)
    replica.app.setEnvs(new Map())
    await put(replica, 'without', 'v')
    t.equal((await replica.read(Rpc.TTL, key('h', 'without'))).ttlSeconds, -1, 'deleting ends it')
    replica.app.setEnvs(new Map([['default_ttl', 'much']]))
    await put(replica, 'bad', 'v')
    t.equal((await replica.read(Rpc.TTL, key('h', 'bad'))).ttlSeconds, -1, 'a bad value is none')
  })
})

void t.test('values are stored as schema v1 with the timetag of the mutation', async (t) => {
  const replica = await openReplica({})
  await put(replica, 's', 'data', nowSeconds + 7)
  const timetag = makeTimetag(START_MS * 1000, 0)
  t.same(
    await replica.store.get(key('h', 's')),
    encodeValue({ expireTsSeconds: nowSeconds + 7, timetag, data: bytes('data') }),
  )
})

void t.test('a malformed raw key is refused and takes its decree', async (t) => {
  const replica = await openReplica({})
  const malformed = ['', '\x00', '\x00\x05abcd', '\xff\xff', `\xff\xff${'h'.repeat(65535)}`]
  for (const raw of malformed.map(bytes)) {
    const name = `${raw.subarray(0, 8).toString('hex')}, ${raw.length} bytes`
    t.equal((await replica.read(Rpc.GET, raw)).error, INVALID_ARGUMENT, `get ${name}`)
    t.equal((await replica.read(Rpc.TTL, raw)).error, INVALID_ARGUMENT, `ttl ${name}`)
    const write = UpdateRequest.make({ key: raw })
    t.equal((await replica.write(Rpc.PUT, write)).error, INVALID_ARGUMENT, `put ${name}`)
    t.equal((await replica.write(Rpc.REMOVE, raw)).error, INVALID_ARGUMENT, `remove ${name}`)
    const incr = await replica.write(Rpc.INCR, IncrRequest.make({ key: raw, increment: 1n }))
    t.same([incr.error, incr.newValue], [INVALID_ARGUMENT, 0n], `incr ${name}`)
  }
  t.equal(replica.store.applied.decree, 3 * malformed.length)
  t.same((await replica.read(Rpc.GET_SCANNER, wholeTable)).kvs, [])
})

void t.test('a bare hash key over 65534 bytes is refused', async (t) => {
  const replica = await openReplica({})
  const hashKey = Buffer.alloc(65535, 'h')
  const errors = [
    (await replica.read(Rpc.MULTI_GET, MultiGetRequest.make({ hashKey }))).error,
    (await replica.read(Rpc.SORTKEY_COUNT, hashKey)).error,
    (await replica.read(Rpc.BATCH_GET, { keys: [{ hashKey, sortKey: bytes('') }] })).error,
    (
      await replica.write(
        Rpc.MULTI_PUT,
        MultiPutRequest.make({ hashKey, kvs: [{ key: bytes('s'), value: bytes('v') }] }),
      )
    ).error,
    (
      await replica.write(
        Rpc.MULTI_REMOVE,
        MultiRemoveRequest.make({ hashKey, sortKeys: [bytes('s')] }),
      )
    ).error,
    (await replica.write(Rpc.CHECK_AND_SET, CheckAndSetRequest.make({ hashKey }))).error,
    (
      await replica.write(
        Rpc.CHECK_AND_MUTATE,
        CheckAndMutateRequest.make({
          hashKey,
          mutateList: [
            { operation: 0, sortKey: bytes(''), value: bytes(''), setExpireTsSeconds: 0 },
          ],
        }),
      )
    ).error,
  ]
  t.same(errors, Array(7).fill(INVALID_ARGUMENT))
  const longest = MultiGetRequest.make({ hashKey: Buffer.alloc(65534, 0xff), startInclusive: true })
  t.equal((await replica.read(Rpc.MULTI_GET, longest)).error, OK)
})

void t.test('what cannot be applied has no result and takes its decree', async (t) => {
  const replica = await openReplica({})
  const empty = Buffer.alloc(0)
  const updates = [
    { code: WRITE_EMPTY, body: empty },
    { code: 'RPC_RRDB_RRDB_NOPE', body: empty },
    { code: Rpc.PUT.name, body: bytes('\x0c\x00\x01garbage') },
    { code: Rpc.MULTI_PUT.name, body: empty },
    updateOf(Rpc.PUT, UpdateRequest.make({ key: key('h', 's'), value: bytes('v') })),
  ]
  const applied = await replica.apply(updates)
  t.same(
    applied.map(({ result }) => result !== undefined),
    [false, false, false, false, true],
  )
  t.equal(replica.store.applied.decree, 5)
})

void t.test('undecodable and unknown reads are refused, clear_scanner stays silent', async (t) => {
  const replica = await openReplica({})
  const garbage = bytes('\x0c\x00\x01garbage')
  t.same(await replica.answer(Rpc.GET.name, Buffer.alloc(0)), {
    kind: 'error',
    error: 'ERR_INVALID_DATA',
  })
  t.same(await replica.answer(Rpc.MULTI_GET.name, garbage), {
    kind: 'error',
    error: 'ERR_INVALID_DATA',
  })
  t.same(await replica.answer('RPC_RRDB_RRDB_NOPE', garbage), {
    kind: 'error',
    error: 'ERR_HANDLER_NOT_FOUND',
  })
  t.same(await replica.answer(Rpc.CLEAR_SCANNER.name, garbage), { kind: 'silence' })
  const unknown = encodeArgument(Rpc.CLEAR_SCANNER.argument, 5n)
  t.same(await replica.answer(Rpc.CLEAR_SCANNER.name, unknown), { kind: 'silence' })
})

void t.test('check_and_set evaluates the state that mutations before it left', async (t) => {
  const replica = await openReplica({})
  const set = (checkType: number, setValue: string): { code: string; body: Buffer } =>
    updateOf(
      Rpc.CHECK_AND_SET,
      CheckAndSetRequest.make({
        hashKey: bytes('h'),
        checkSortKey: bytes('s'),
        checkType,
        setValue: bytes(setValue),
        returnCheckValue: true,
      }),
    )
  const applied = await replica.apply([
    set(1, 'first'),
    set(1, 'second'),
    updateOf(Rpc.REMOVE, key('h', 's')),
    set(1, 'third'),
  ])
  t.same(
    applied.map(({ result }) => result?.readInt32BE(6)),
    [OK, TRY_AGAIN, OK, OK],
    'within one batch',
  )
  t.equal(String((await replica.read(Rpc.GET, key('h', 's'))).value), 'third')
})

void t.test('server limits of multi_get and scanners', async (t) => {
  const replica = await openReplica({})
  await fill(replica, 3005)
  const all = MultiGetRequest.make({ hashKey: bytes('h'), startInclusive: true })
  const found = await replica.read(Rpc.MULTI_GET, all)
  t.same([found.error, found.kvs.length], [INCOMPLETE, 3000])
  const filter = { sortKeyFilterType: 3, sortKeyFilterPattern: bytes('3004') }
  const filtered = await replica.read(Rpc.MULTI_GET, { ...all, ...filter })
  t.same([filtered.error, filtered.kvs.length], [INCOMPLETE, 0], 'records looked at count')

  let page = await replica.read(Rpc.GET_SCANNER, { ...wholeTable, ...filter, batchSize: 10 })
  t.same([page.error, page.kvs.length], [OK, 0], 'nothing among the first 1000')
  const lengths: number[] = []
  for (let index = 0; page.contextId !== -1n; index++) {
    page = await replica.read(Rpc.SCAN, { contextId: page.contextId })
    lengths.push(page.kvs.length)
  }
  t.equal(lengths.length, 201, 'scan looks at batch_size records a time')
  t.same(
    lengths.filter((count) => count > 0),
    [1],
  )
  const big = await replica.read(Rpc.GET_SCANNER, { ...wholeTable, batchSize: 100_000 })
  t.equal(big.kvs.length, 1000)
})

void t.test('an iteration ends when its time is over', async (t) => {
  const replica = await openReplica({})
  await fill(replica, 500, 1000)
  replica.deadlineAtMs = 0
  const all = MultiGetRequest.make({ hashKey: bytes('h'), startInclusive: true })
  const found = await replica.read(Rpc.MULTI_GET, all)
  t.equal(found.error, INCOMPLETE)
  t.ok(found.kvs.length > 0 && found.kvs.length < 500, 'with what it has')
  t.equal((await replica.read(Rpc.SORTKEY_COUNT, bytes('h'))).count, -1)
  const page = await replica.read(Rpc.GET_SCANNER, wholeTable)
  t.same([page.error, page.contextId], [INCOMPLETE, 0n])
  t.ok(page.kvs.length > 0)
})

void t.test('kIncomplete with exactly as many pairs as asked for', async (t) => {
  const replica = await openReplica({})
  for (const sortKey of ['a', 'b', 'c']) await put(replica, sortKey, 'v')
  const request = MultiGetRequest.make({ hashKey: bytes('h'), startInclusive: true, maxKvCount: 2 })
  const upToC = await replica.read(Rpc.MULTI_GET, { ...request, stopSortkey: bytes('c') })
  t.same([upToC.error, upToC.kvs.length], [INCOMPLETE, 2], 'a record follows outside the range')
  const upToB = { ...request, stopSortkey: bytes('b'), stopInclusive: true }
  t.equal((await replica.read(Rpc.MULTI_GET, upToB)).error, OK, 'the stop key itself was reached')
  t.equal((await replica.read(Rpc.MULTI_GET, { ...request, maxKvCount: 3 })).error, OK, 'the end')
})

void t.test('a scanner sees the store as it was when it was opened', async (t) => {
  const replica = await openReplica({})
  for (const sortKey of ['a', 'c']) await put(replica, sortKey, 'old')
  const first = await replica.read(Rpc.GET_SCANNER, { ...wholeTable, batchSize: 1 })
  await put(replica, 'b', 'new')
  await put(replica, 'c', 'new')
  const second = await replica.read(Rpc.SCAN, { contextId: first.contextId })
  t.same(
    second.kvs.map((pair) => String(pair.value)),
    ['old'],
  )
  t.equal(second.contextId, -1n)
})

void t.test('a scanner that fits its range exactly is finished', async (t) => {
  const replica = await openReplica({})
  await fill(replica, 6)
  const request = {
    ...wholeTable,
    startKey: key('h', '00001'),
    stopKey: key('h', '00003'),
    batchSize: 2,
  }
  const page = await replica.read(Rpc.GET_SCANNER, request)
  t.same([page.kvs.length, page.contextId], [2, -1n])
})

void t.test('records of other partitions are left out when the table says so', async (t) => {
  const replica = await openReplica({ partitionCount: 8 })
  const hashKeys = Array.from({ length: 40 }, (_, index) => `key${index}`)
  for (const hashKey of hashKeys)
    await replica.write(Rpc.PUT, UpdateRequest.make({ key: key(hashKey, '') }))
  const own = hashKeys.filter(
    (hashKey) => partitionIndexOf(partitionHash(bytes(hashKey), bytes('')), 8) === 3,
  )
  const count = async (request = wholeTable): Promise<number> =>
    (await replica.read(Rpc.GET_SCANNER, request)).kvs.length
  t.equal(await count(), 40, 'off by default')
  replica.app.setEnvs(new Map([['replica.split.validate_partition_hash', 'true']]))
  t.equal(await count(), own.length, 'absent in the request counts as true')
  t.equal(await count({ ...wholeTable, validatePartitionHash: false }), 40)
})

/** The Node runtime with a clock that stands still until told otherwise. */
function manualRuntime(): { runtime: Runtime; passMs: (ms: number) => void } {
  let nowMs = 0
  const timers = new Set<{ readonly dueMs: number; readonly run: () => void }>()
  const runtime: Runtime = {
    ...testRuntime,
    clock: { monotonicMs: () => nowMs, wallMs: () => START_MS + nowMs },
    timers: {
      soon: testRuntime.timers.soon,
      after: (delayMs, run) => {
        const timer = { dueMs: nowMs + delayMs, run }
        timers.add(timer)
        return { cancel: () => timers.delete(timer) }
      },
    },
  }
  const passMs = (ms: number): void => {
    nowMs += ms
    for (const timer of [...timers]) if (timer.dueMs <= nowMs && timers.delete(timer)) timer.run()
  }
  return { runtime, passMs }
}

void t.test('scanner contexts', async (t) => {
  const { runtime, passMs } = manualRuntime()
  const replica = await openReplica({ runtime })
  await fill(replica, 6)
  const open = async (): Promise<bigint> =>
    (await replica.read(Rpc.GET_SCANNER, { ...wholeTable, batchSize: 1 })).contextId
  const use = (contextId: bigint) => replica.read(Rpc.SCAN, { contextId })

  const id = await open()
  t.ok(id >= 1n && id < 1n << 63n && (id & 0xffffffffn) < 10n, 'from a random multiple of 2^32')
  t.equal(await open(), id + 1n, 'counting up')
  passMs(scanContextLimits.idleMs - 1)
  const used = await use(id)
  t.equal(used.error, OK, 'kept while idle for less than 5 minutes')
  passMs(1)
  t.equal((await use(id + 1n)).error, NOT_FOUND, 'dropped after 5 minutes')
  t.equal((await use(id)).error, NOT_FOUND, 'an id serves once')
  const [one, other] = await Promise.all([use(used.contextId), use(used.contextId)])
  t.same([one.error, other.error], [OK, NOT_FOUND], 'of two uses at once the second finds nothing')

  const ids: bigint[] = []
  for (let count = 0; count <= scanContextLimits.countMax; count++) ids.push(await open())
  t.equal((await use(ids[0] ?? 0n)).error, NOT_FOUND, 'the longest idle one makes room')
  t.equal((await use(ids[2] ?? 0n)).error, OK)
  await replica.app.close()
  t.equal((await use(ids[3] ?? 0n)).error, NOT_FOUND, 'none survives the replica')
  const late = await replica.read(Rpc.GET_SCANNER, { ...wholeTable, batchSize: 1 })
  t.equal(late.contextId, 0n, 'and none is kept by a closed one')
})

void t.test('text as a 64-bit integer', async (t) => {
  const cases: Readonly<Record<string, bigint | undefined>> = {
    '0': 0n,
    '-0': 0n,
    '12': 12n,
    '+12': 12n,
    ' \t\n\v\f\r-12': -12n,
    '0x1F': 31n,
    '-0X1f': -31n,
    '010': 8n,
    '00': 0n,
    '9223372036854775807': 9223372036854775807n,
    '-9223372036854775808': -9223372036854775808n,
    '0x7fffffffffffffff': 9223372036854775807n,
    '9223372036854775808': undefined,
    '-9223372036854775809': undefined,
    '08': undefined,
    '0x': undefined,
    '0xg': undefined,
    '00x1': undefined,
    '': undefined,
    ' ': undefined,
    '+': undefined,
    '- 1': undefined,
    '--1': undefined,
    '1 ': undefined,
    '1\0': undefined,
    '1.5': undefined,
    '1e3': undefined,
    '0b1': undefined,
    '\xa01': undefined,
    [`${' '.repeat(600)}7`]: 7n,
    [`-0x${'0'.repeat(600)}7`]: -7n,
    [`${'0'.repeat(600)}17`]: 15n,
    [`${'0'.repeat(600)}8`]: undefined,
    [`${'0'.repeat(600)}x1`]: undefined,
    [`${' '.repeat(600)}0x`]: undefined,
    ['1'.repeat(600)]: undefined,
  }
  for (const [text, expected] of Object.entries(cases))
    t.equal(parseInt64(bytes(text)), expected, JSON.stringify(text.slice(0, 30)))
  fc.assert(
    fc.property(fc.bigInt({ min: -(1n << 64n), max: 1n << 64n }), (value) => {
      const fits = value === BigInt.asIntN(64, value)
      return parseInt64(bytes(String(value))) === (fits ? value : undefined)
    }),
  )
  fc.assert(fc.property(fc.uint8Array(), (garbage) => (parseInt64(Buffer.from(garbage)), true)))
})
