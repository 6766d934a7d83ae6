/**
 * Properties of the data operations against a model: a plain map of hash key → sort key → value and
 * the rules of data-model.md in their simplest form, without batches, pieces and contexts.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { encodeKey } from '../../cluster/protocol/key.ts'
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
import { pegasusSeconds } from '../../cluster/protocol/value.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'
import {
  START_MS,
  type TestReplica,
  type Update,
  openReplica,
  testRuntime,
  updateOf,
} from './rrdb-replica.ts'

const nowSeconds = pegasusSeconds(START_MS)

/** Few and short, so that operations meet; with the bytes where orders and carries turn. */
const part = fc
  .array(fc.constantFrom(0x00, 0x61, 0x62, 0xff), { maxLength: 3 })
  .map((list) => Buffer.from(list))
const hashKeyOf = fc
  .constantFrom('', 'a', 'b', 'aa', '\xff')
  .map((text) => Buffer.from(text, 'latin1'))
const valueOf = fc.constantFrom('', '1', '7', '010', 'x', 'ab').map((text) => Buffer.from(text))
const expiryOf = fc.constantFrom(0, 0, nowSeconds + 100, nowSeconds, 1)

const updateOfAny: fc.Arbitrary<Update> = fc.oneof(
  fc
    .record({ hashKey: hashKeyOf, sortKey: part, value: valueOf, expireTsSeconds: expiryOf })
    .map(({ hashKey, sortKey, value, expireTsSeconds }) =>
      updateOf(
        Rpc.PUT,
        UpdateRequest.make({ key: encodeKey(hashKey, sortKey), value, expireTsSeconds }),
      ),
    ),
  fc
    .tuple(hashKeyOf, part)
    .map(([hashKey, sortKey]) => updateOf(Rpc.REMOVE, encodeKey(hashKey, sortKey))),
  fc
    .record({
      hashKey: hashKeyOf,
      kvs: fc.array(fc.record({ key: part, value: valueOf }), { maxLength: 4 }),
      expireTsSeconds: expiryOf,
    })
    .map((request) => updateOf(Rpc.MULTI_PUT, MultiPutRequest.make(request))),
  fc
    .record({ hashKey: hashKeyOf, sortKeys: fc.array(part, { maxLength: 4 }) })
    .map((request) => updateOf(Rpc.MULTI_REMOVE, MultiRemoveRequest.make(request))),
  fc
    .record({
      hashKey: hashKeyOf,
      sortKey: part,
      increment: fc.constantFrom(1n, -3n, (1n << 63n) - 1n),
      expireTsSeconds: fc.constantFrom(0, -1, nowSeconds + 50),
    })
    .map(({ hashKey, sortKey, increment, expireTsSeconds }) =>
      updateOf(
        Rpc.INCR,
        IncrRequest.make({ key: encodeKey(hashKey, sortKey), increment, expireTsSeconds }),
      ),
    ),
  fc
    .record({
      hashKey: hashKeyOf,
      checkSortKey: part,
      checkType: fc.integer({ min: -1, max: 18 }),
      checkOperand: valueOf,
      setDiffSortKey: fc.boolean(),
      setSortKey: part,
      setValue: valueOf,
      returnCheckValue: fc.boolean(),
    })
    .map((request) => updateOf(Rpc.CHECK_AND_SET, CheckAndSetRequest.make(request))),
  fc
    .record({
      hashKey: hashKeyOf,
      checkSortKey: part,
      checkType: fc.integer({ min: 0, max: 17 }),
      checkOperand: valueOf,
      mutateList: fc.array(
        fc.record({
          operation: fc.integer({ min: 0, max: 1 }),
          sortKey: part,
          value: valueOf,
          setExpireTsSeconds: expiryOf,
        }),
        { maxLength: 3 },
      ),
      returnCheckValue: fc.boolean(),
    })
    .map((request) => updateOf(Rpc.CHECK_AND_MUTATE, CheckAndMutateRequest.make(request))),
)

async function contentOf(replica: TestReplica): Promise<string[]> {
  const iterator = replica.store.iterate({})
  const entries = await iterator.next(100_000, Infinity)
  await iterator.close()
  return entries.map(([key, value]) => `${key.toString('hex')} ${value.toString('hex')}`)
}

/** Applies the updates in groups of these sizes, with the time stamps that they have one by one. */
async function applyInGroups(
  replica: TestReplica,
  updates: readonly Update[],
  sizes: readonly number[],
): Promise<(string | undefined)[]> {
  const results: (string | undefined)[] = []
  let at = 0
  for (let group = 0; at < updates.length; group++) {
    const size = Math.max(1, sizes[group % sizes.length] ?? 1)
    const mutations = updates.slice(at, at + size).map((update, index) => ({
      decree: at + index + 1,
      ballot: 1,
      timestampUs: START_MS * 1000 + (at + index) * 500_000,
      updates: [update],
    }))
    for (const [applied] of await replica.app.apply(mutations))
      results.push(applied?.result?.toString('hex'))
    at += size
  }
  return results
}

void t.test(
  'how mutations are grouped into batches changes neither results nor data',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(updateOfAny, { maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }),
        async (updates, sizes) => {
          const [alone, grouped] = [await openReplica({}), await openReplica({})]
          const expected = await applyInGroups(alone, updates, [1])
          const actual = await applyInGroups(grouped, updates, sizes)
          assert.deepEqual(actual, expected)
          assert.deepEqual(await contentOf(grouped), await contentOf(alone))
          assert.equal(grouped.store.applied.decree, updates.length)
        },
      ),
      { numRuns: 150 },
    )
    t.pass('held')
  },
)

interface Row {
  readonly hashKey: Buffer
  readonly sortKey: Buffer
  readonly value: Buffer
  readonly isExpired: boolean
}

const rowsOf: fc.Arbitrary<Row[]> = fc
  .uniqueArray(
    fc.record({
      hashKey: hashKeyOf,
      sortKey: part,
      value: valueOf,
      isExpired: fc.integer({ min: 0, max: 4 }).map((draw) => draw === 0),
    }),
    { selector: (row) => rawKey(row).toString('hex'), maxLength: 40 },
  )
  .map((rows) => rows.toSorted((a, b) => Buffer.compare(rawKey(a), rawKey(b))))

function rawKey({ hashKey, sortKey }: Pick<Row, 'hashKey' | 'sortKey'>): Buffer {
  return encodeKey(hashKey, sortKey)
}

async function store(replica: TestReplica, rows: readonly Row[]): Promise<void> {
  await replica.apply(
    rows.map((row) =>
      updateOf(
        Rpc.PUT,
        UpdateRequest.make({
          key: rawKey(row),
          value: row.value,
          expireTsSeconds: row.isExpired ? 1 : 0,
        }),
      ),
    ),
  )
}

function passes(filterType: number, pattern: Buffer, key: Buffer): boolean {
  const [text, part] = [key.toString('latin1'), pattern.toString('latin1')]
  if (filterType === 1) return text.includes(part)
  if (filterType === 2) return text.startsWith(part)
  return filterType === 3 ? text.endsWith(part) : true
}

const inRange = (
  key: Buffer,
  start: Buffer,
  isStartIncluded: boolean,
  stop: Buffer,
  isStopIncluded: boolean,
): boolean => {
  const [low, high] = [Buffer.compare(key, start), Buffer.compare(key, stop)]
  return (low > 0 || (low === 0 && isStartIncluded)) && (high < 0 || (high === 0 && isStopIncluded))
}

const multiGetOf = fc.record({
  hashKey: hashKeyOf,
  maxKvCount: fc.integer({ min: -1, max: 6 }),
  maxKvSize: fc.integer({ min: -1, max: 12 }),
  noValue: fc.boolean(),
  startSortkey: part,
  stopSortkey: part,
  startInclusive: fc.boolean(),
  stopInclusive: fc.boolean(),
  sortKeyFilterType: fc.integer({ min: 0, max: 3 }),
  sortKeyFilterPattern: part,
  reverse: fc.boolean(),
})

void t.test('multi_get over a range finds what the model finds', async (t) => {
  await fc.assert(
    fc.asyncProperty(rowsOf, multiGetOf, async (rows, given) => {
      const replica = await openReplica({})
      await store(replica, rows)
      const request = MultiGetRequest.make(given)
      const inside = rows.filter(
        ({ hashKey, sortKey, isExpired }) =>
          hashKey.equals(request.hashKey) &&
          !isExpired &&
          passes(request.sortKeyFilterType, request.sortKeyFilterPattern, sortKey) &&
          (request.stopSortkey.length === 0
            ? Buffer.compare(sortKey, request.startSortkey) >= (request.startInclusive ? 0 : 1)
            : inRange(
                sortKey,
                request.startSortkey,
                request.startInclusive,
                request.stopSortkey,
                request.stopInclusive,
              )),
      )
      const ordered = request.reverse ? inside.toReversed() : inside
      const wanted: Row[] = []
      let bytes = 0
      for (const row of ordered) {
        if (request.maxKvCount > 0 && wanted.length >= request.maxKvCount) break
        if (request.maxKvSize > 0 && bytes >= request.maxKvSize) break
        wanted.push(row)
        bytes += row.sortKey.length + (request.noValue ? 0 : row.value.length)
      }
      const found = await replica.read(Rpc.MULTI_GET, request)
      const expected = request.reverse ? wanted.toReversed() : wanted
      assert.deepEqual(
        found.kvs.map(({ key, value }) => [key, value]),
        expected.map(({ sortKey, value }) => [sortKey, request.noValue ? Buffer.alloc(0) : value]),
      )
      // kIncomplete may be a false alarm, kOk never is.
      if (found.error === 0) assert.equal(wanted.length, inside.length)
      else assert.ok(request.maxKvCount > 0 || request.maxKvSize > 0)
    }),
    { numRuns: 300 },
  )
  t.pass('held')
})

const scannerOf = fc.record({
  startKey: fc.oneof(
    fc.constant(Buffer.from([0, 0])),
    fc.tuple(hashKeyOf, part).map(([hashKey, sortKey]) => encodeKey(hashKey, sortKey)),
  ),
  stopKey: fc.oneof(
    fc.constant(Buffer.from([255, 255])),
    fc.tuple(hashKeyOf, part).map(([hashKey, sortKey]) => encodeKey(hashKey, sortKey)),
  ),
  startInclusive: fc.boolean(),
  stopInclusive: fc.boolean(),
  batchSize: fc.integer({ min: -1, max: 5 }),
  noValue: fc.boolean(),
  hashKeyFilterType: fc.integer({ min: 0, max: 3 }),
  hashKeyFilterPattern: hashKeyOf,
  sortKeyFilterType: fc.integer({ min: 0, max: 3 }),
  sortKeyFilterPattern: part,
  onlyReturnCount: fc.boolean(),
})

void t.test('a scanner hands out every record of its range once, in order', async (t) => {
  const rocksdb = await openRocksDb({ path: `${t.testdir()}/db` })
  const engines = [await new MemoryEngineDisk().open(testRuntime), rocksdb]
  await fc.assert(
    fc.asyncProperty(rowsOf, scannerOf, fc.nat(1), async (rows, given, which) => {
      const engine = engines[which]
      if (engine === undefined) return
      const replica = await openReplica({ engine })
      if (replica.store.applied.decree > 0) await replica.store.wipe()
      await store(replica, rows)
      const request = GetScannerRequest.make(given)
      const expected = rows.filter(
        (row) =>
          !row.isExpired &&
          inRange(
            rawKey(row),
            request.startKey,
            request.startInclusive,
            request.stopKey,
            request.stopInclusive,
          ) &&
          passes(request.hashKeyFilterType, request.hashKeyFilterPattern, row.hashKey) &&
          passes(request.sortKeyFilterType, request.sortKeyFilterPattern, row.sortKey),
      )
      let page = await replica.read(Rpc.GET_SCANNER, request)
      const found = [...page.kvs]
      let count = page.kvCount ?? 0
      while (page.contextId !== -1n) {
        page = await replica.read(Rpc.SCAN, { contextId: page.contextId })
        assert.equal(page.error, 0)
        assert.ok(request.batchSize <= 0 || page.kvs.length <= request.batchSize)
        found.push(...page.kvs)
        count += page.kvCount ?? 0
      }
      if (request.onlyReturnCount) {
        assert.deepEqual([found, count], [[], expected.length])
        return
      }
      assert.deepEqual(
        found.map(({ key, value }) => [key, value]),
        expected.map((row) => [rawKey(row), request.noValue ? Buffer.alloc(0) : row.value]),
      )
    }),
    { numRuns: 200 },
  )
  t.pass('held')
  for (const engine of engines) await engine.close()
})
