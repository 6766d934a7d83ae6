/**
 * Replica stores on the shared engine (replica-server.md 9.3, 9.4, 10): one decree, one batch; content
 * replaced or removed as a whole, whenever the process ends; snapshots; the durable decree.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Gpid } from '../../cluster/protocol/base.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import type { BatchOperation, IterateOptions, StorageEngine } from '../../cluster/storage/engine.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'
import type { ReplicaStore } from '../../cluster/storage/replica-store.ts'
import { ReplicaStores } from '../../cluster/storage/replica-stores.ts'
import { decodeBlock, encodeBlock } from '../../cluster/storage/snapshot-block.ts'

const runtime = nodeRuntime({ log: silentLog })
const one: Gpid = { appId: 1, partitionIndex: 0 }
const others: readonly Gpid[] = [
  { appId: 0, partitionIndex: 0xffffffff },
  { appId: 1, partitionIndex: 1 },
  { appId: 2, partitionIndex: 0 },
]

const bytes = (text: string): Buffer => Buffer.from(text)
const put = (key: string, value: string): BatchOperation => ({
  type: 'put',
  key: bytes(key),
  value: bytes(value),
})
const point = (decree: number) => ({ decree, ballot: 2, timestampUs: decree * 1000 })

async function newStore(): Promise<{
  readonly disk: MemoryEngineDisk
  readonly engine: StorageEngine
  readonly stores: ReplicaStores
  readonly store: ReplicaStore
}> {
  const disk = new MemoryEngineDisk()
  const engine = await disk.open(runtime)
  const stores = await ReplicaStores.open(engine)
  return { disk, engine, stores, store: await stores.getOrCreate(one) }
}

async function contentOf(store: ReplicaStore, options: IterateOptions = {}): Promise<string[]> {
  const iterator = store.iterate(options)
  const found: string[] = []
  for (;;) {
    const entries = await iterator.next(10, 1 << 20)
    if (entries.length === 0) break
    for (const [key, value] of entries) found.push(`${key.toString('latin1')}=${value.toString()}`)
  }
  await iterator.close()
  return found
}

async function blocksOf(store: ReplicaStore, maxBytes: number): Promise<Buffer[]> {
  const snapshot = await store.snapshot()
  const blocks: Buffer[] = []
  for (;;) {
    const block = await snapshot.nextBlock(maxBytes)
    if (block === undefined) break
    blocks.push(block)
  }
  await snapshot.close()
  return blocks
}

void t.test('records and the applied decree change together and are found again', async (t) => {
  const { disk, engine, store } = await newStore()
  t.equal(store.applied.decree, 0)
  await store.apply([put('a', '1'), put('b', '2')], point(1))
  await store.apply([{ type: 'del', key: bytes('a') }, put('c', '3'), put('c', '4')], point(3))
  await store.apply([], point(4))
  t.equal((await store.get(bytes('c')))?.toString(), '4')
  t.same(
    (await store.getMany([bytes('b'), bytes('a')])).map((value) => value?.toString()),
    ['2', undefined],
  )
  await engine.close()
  const again = await ReplicaStores.open(await disk.open(runtime))
  t.same(
    again.all().map(({ gpid }) => gpid),
    [one],
  )
  const found = again.get(one)
  t.same(found?.applied, point(4))
  t.same(found && (await contentOf(found)), ['b=2', 'c=4'])
})

void t.test('a decree is applied once, in order, one batch at a time', async (t) => {
  const { store } = await newStore()
  await store.apply([], point(2))
  await t.rejects(store.apply([], point(2)), /decree 2 after decree 2/)
  await t.rejects(store.apply([], point(1)), /decree 1 after decree 2/)
  const underWay = store.apply([], point(3))
  await t.rejects(store.apply([], point(4)), /two batches at once/)
  await underWay
})

void t.test('after a failed batch the store is given up', async (t) => {
  const { store, disk } = await newStore()
  disk.setFault('io')
  await t.rejects(store.apply([put('a', '1')], point(1)), { code: 'io' })
  disk.setFault(undefined)
  await t.rejects(store.apply([put('a', '1')], point(1)), /a batch failed before/)
  await t.rejects(store.snapshot(), /a batch failed before/)
})

void t.test('a replica sees its own records only, whatever the bounds', async (t) => {
  const { store, stores } = await newStore()
  for (const gpid of others) {
    const other = await stores.getOrCreate(gpid)
    await other.apply([put('zz', 'x'), put('aa', 'x')], point(9))
    await other.putMeta({ ballot: bytes('x') }, { sync: true })
  }
  await store.apply([put('\x00\x01h', '1'), put('\x00\x02hs', '2')], point(1))
  await store.putMeta({ ballot: bytes('7') }, { sync: true })
  const all = ['\x00\x01h=1', '\x00\x02hs=2']
  const end = Buffer.from([0xff, 0xff])
  const beyond = Buffer.from([0xff, 0xff, 0xff])
  t.same(await contentOf(store), all)
  t.same(await contentOf(store, { reverse: true }), all.toReversed())
  t.same(await contentOf(store, { gte: Buffer.from([0, 0]), lt: end }), all)
  t.same(await contentOf(store, { lte: beyond }), all)
  t.same(await contentOf(store, { lt: beyond, reverse: true }), all.toReversed())
  t.same(await contentOf(store, { gt: bytes('\x00\x01h') }), all.slice(1))
  t.same(await contentOf(store, { gte: end }), [])
  t.equal((await store.getMeta('ballot'))?.toString(), '7')
  t.equal(await store.getMeta('nothing'), undefined)
  await stores.remove(one)
  for (const gpid of others) {
    const other = stores.get(gpid)
    t.same(other && (await contentOf(other)), ['aa=x', 'zz=x'])
  }
})

void t.test('wiping keeps the owner’s entries, removing keeps nothing', async (t) => {
  const { store, stores, engine, disk } = await newStore()
  await store.apply([put('a', '1')], point(5))
  await store.putMeta({ ballot: bytes('7'), other: bytes('8') }, { sync: false })
  await stores.sync()
  await store.wipe()
  t.same(store.applied, point(0).decree === 0 ? { decree: 0, ballot: 0, timestampUs: 0 } : {})
  t.equal(store.durableDecree, 0)
  t.same(await contentOf(store), [])
  t.equal((await store.getMeta('ballot'))?.toString(), '7')
  await store.apply([put('b', '1')], point(1))
  await stores.remove(one)
  await stores.remove(one)
  t.equal(stores.get(one), undefined)
  t.equal(disk.entryCount(), 1, 'the format mark of the engine')
  await engine.close()
  t.same((await ReplicaStores.open(await disk.open(runtime))).all(), [])
})

void t.test('large content is removed in bounded batches', async (t) => {
  const { store, engine } = await newStore()
  let largest = 0
  const many = Array.from({ length: 10_000 }, (_, i) => put(`key ${i}`, 'v'))
  await store.apply(many, point(1))
  const write = engine.write.bind(engine)
  Object.assign(engine, {
    write: (...call: Parameters<typeof write>) => {
      largest = Math.max(largest, call[0].length)
      return write(...call)
    },
  })
  await store.wipe()
  t.same(await contentOf(store), [])
  t.ok(largest > 0 && largest <= 4096, `${largest} operations at once`)
})

void t.test('a snapshot is one applied decree, whatever is written meanwhile', async (t) => {
  const { store } = await newStore()
  await store.apply([put('a', '1'), put('b', '2')], point(1))
  const underWay = store.apply([put('c', '3')], point(2))
  const snapshot = await store.snapshot()
  t.same(snapshot.applied, point(2), 'it waits for the batch under way')
  await underWay
  await store.apply([put('a', 'new'), put('d', '4')], point(3))
  const blocks = []
  for (;;) {
    const block = await snapshot.nextBlock(3)
    if (block === undefined) break
    blocks.push(block)
  }
  await snapshot.close()
  t.ok(blocks.length > 2)
  const entries = blocks.flatMap((block) => {
    const decoded = decodeBlock(block)
    return typeof decoded === 'string' ? [] : decoded.entries
  })
  t.same(
    entries.map(([key, value]) => `${key.toString()}=${value.toString()}`),
    ['a=1', 'b=2', 'c=3'],
  )
})

void t.test('a learner that loads all blocks has the same content and decree', async (t) => {
  const text = fc.string({ maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(
        text.filter((key) => key !== ''),
        text,
        { maxKeys: 30 },
      ),
      fc.integer({ min: 1, max: 60 }),
      async (content, maxBytes) => {
        const source = await newStore()
        const changes = Object.entries(content).map(([key, value]) => put(key, value))
        await source.store.apply(changes, point(12))
        const { disk, engine, store } = await newStore()
        await store.apply([put('stale', 'content')], point(99))
        const loader = await store.beginLoad()
        for (const block of await blocksOf(source.store, maxBytes)) await loader.loadBlock(block)
        t.same(await loader.finish(), point(12))
        t.equal(store.durableDecree, 12)
        t.same(await contentOf(store), await contentOf(source.store))
        await store.apply([], point(13))
        await engine.close()
        disk.crash({ powerCut: true, random: seededRandom(1) })
        const again = (await ReplicaStores.open(await disk.open(runtime))).get(one)
        t.ok((again?.applied.decree ?? 0) >= 12)
        t.same(again && (await contentOf(again)), await contentOf(source.store))
      },
    ),
    { numRuns: 25 },
  )
})

void t.test('blocks that do not fit are refused', async (t) => {
  const source = await newStore()
  await source.store.apply([put('a', '1'), put('b', '2'), put('c', '3')], point(4))
  const blocks = await blocksOf(source.store, 1)
  const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = blocks
  const refused = async (load: readonly Buffer[], message: RegExp) => {
    const { store } = await newStore()
    const loader = await store.beginLoad()
    const loading = async () => {
      for (const block of load) await loader.loadBlock(block)
      await loader.finish()
    }
    await t.rejects(loading(), { name: 'SnapshotError', message })
    await t.rejects(store.apply([], point(1)), /being loaded/)
    await store.wipe()
    await store.apply([put('fresh', 'start')], point(1))
    t.same(await contentOf(store), ['fresh=start'])
  }
  await refused([second], /block 1 where block 0 was expected/)
  await refused([first, first], /block 0 where block 1 was expected/)
  await refused(blocks.slice(0, -1), /before the last one/)
  await refused([], /before the last one/)
  await refused([...blocks, ...blocks.slice(-1)], /block 3 where block 4 was expected/)
  await refused([first.subarray(0, 20)], /20 bytes/)
  const key = Buffer.from([0xff, 0xff, 1])
  const forged = {
    number: 0,
    isLast: true,
    applied: point(1),
    entriesSoFar: 0,
    entries: [[key, key]],
  } as const
  await refused([encodeBlock(forged)], /no record's/)
  for (let at = 0; at < first.length; at++) {
    const flipped = Buffer.from(first)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    t.equal(typeof decodeBlock(flipped), 'string')
  }
  await source.store.apply([], point(5))
  const [, later = Buffer.alloc(0)] = await blocksOf(source.store, 1)
  await refused([first, later], /of another snapshot/)
})

/** Ends the node at the engine's n-th write, before or after it took effect. */
function dyingEngine(disk: MemoryEngineDisk, engine: StorageEngine, dieAt: number, seed: number) {
  let writes = 0
  let die: () => void = () => undefined
  const died = new Promise<'died'>((resolve) => (die = () => resolve('died')))
  const write: StorageEngine['write'] = (batch, options) => {
    if (++writes !== dieAt) return engine.write(batch, options)
    void engine.write(batch, options)
    disk.crash({ powerCut: seed % 2 === 0, random: seededRandom(seed) })
    die()
    return new Promise(() => undefined)
  }
  const mortal: StorageEngine = {
    write,
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    iterate: (options) => engine.iterate(options),
    compactRange: (range) => engine.compactRange(range),
    approximateSizeBytes: (range) => engine.approximateSizeBytes(range),
    stats: () => engine.stats(),
    close: () => engine.close(),
  }
  return { mortal, died }
}

void t.test(
  'whenever a crash ends a load, wipe or removal, the content is old, empty or new',
  async (t) => {
    const source = await newStore()
    await source.store.apply([put('n1', 'new'), put('n2', 'new')], point(20))
    const blocks = await blocksOf(source.store, 1)
    const old = ['o1=old', 'o2=old']
    const fresh = ['n1=new', 'n2=new']
    const tasks = {
      load: async (store: ReplicaStore) => {
        const loader = await store.beginLoad()
        for (const block of blocks) await loader.loadBlock(block)
        await loader.finish()
      },
      wipe: (store: ReplicaStore) => store.wipe(),
      remove: (store: ReplicaStore) => store.remove(),
    }
    for (const [name, task] of Object.entries(tasks)) {
      const seen = new Set<string>()
      for (let dieAt = 1; dieAt <= 12; dieAt++)
        for (let seed = 1; seed <= 6; seed++) {
          const { disk, engine, store: prepared } = await newStore()
          await prepared.apply([put('o1', 'old'), put('o2', 'old')], point(10))
          await prepared.putMeta({ ballot: bytes('7') }, { sync: true })
          const { mortal, died } = dyingEngine(disk, engine, dieAt, seed)
          const done = (async () => {
            const store = (await ReplicaStores.open(mortal)).get(one)
            if (store === undefined) throw new Error('the store is there')
            await task(store)
            return 'done'
          })()
          if ((await Promise.race([done, died])) === 'done') await engine.close()
          const stores = await ReplicaStores.open(await disk.open(runtime))
          const after = stores.get(one)
          const content = after === undefined ? [] : await contentOf(after)
          const decree = after?.applied.decree ?? 0
          const state = `${decree} ${content.join()}`
          seen.add(state)
          const allowed = [
            `10 ${old.join()}`,
            '0 ',
            ...(name === 'load' ? [`20 ${fresh.join()}`] : []),
          ]
          t.ok(allowed.includes(state), `${name}, write ${dieAt}, seed ${seed}: ${state}`)
          const ballot = (await after?.getMeta('ballot'))?.toString()
          if (name !== 'remove') t.equal(ballot, '7', 'the owner’s entries stay')
          else t.equal(ballot, decree === 10 ? '7' : undefined)
        }
      t.equal(seen.size, name === 'load' ? 3 : 2, `${name}: every outcome happens`)
    }
  },
)

void t.test('the durable decree survives power cuts, of every replica by one write', async (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seededRandom(seed)
    const disk = new MemoryEngineDisk()
    const stores = await ReplicaStores.open(await disk.open(runtime))
    const all = [one, ...others]
    for (let step = 0; step < 20; step++) {
      const store = await stores.getOrCreate(all[random.below(all.length)] ?? one)
      const { decree } = store.applied
      await store.apply([put(`k${decree}`, 'v')], point(decree + 1))
      if (random.below(6) === 0) {
        const before = stores.all().map((s) => [s, s.applied.decree] as const)
        const syncing = stores.sync()
        await store.apply([put(`k${decree + 1}`, 'v')], point(decree + 2))
        await syncing
        for (const [s, applied] of before) t.ok(s.durableDecree >= applied)
      }
    }
    const promised = stores.all().map((s) => [s.gpid, s.durableDecree] as const)
    disk.crash({ powerCut: true, random })
    const again = await ReplicaStores.open(await disk.open(runtime))
    for (const [gpid, durable] of promised) {
      const store = again.get(gpid)
      const applied = store?.applied.decree ?? 0
      t.ok(applied >= durable, `seed ${seed}: ${applied} >= ${durable}`)
      t.equal(store === undefined ? 0 : (await contentOf(store)).length, applied, 'whole decrees')
      if (store !== undefined) t.equal(store.durableDecree, applied, 'what was found is durable')
    }
  }
})

void t.test('syncs that are asked for at once share writes', async (t) => {
  const { store, stores, engine } = await newStore()
  let synced = 0
  const write = engine.write.bind(engine)
  Object.assign(engine, {
    write: (...call: Parameters<typeof write>) => {
      if (call[1].sync) synced++
      return write(...call)
    },
  })
  await store.apply([put('a', '1')], point(1))
  t.ok(stores.unsyncedBytes() > 0)
  await Promise.all(Array.from({ length: 5 }, () => stores.sync()))
  t.equal(synced, 1)
  t.equal(store.durableDecree, 1)
  t.equal(stores.unsyncedBytes(), 0)
  await stores.sync()
  t.equal(synced, 1, 'nothing to note, nothing to write')
})

void t.test(
  'an unreadable applied decree is reported, not taken for an empty replica',
  async (t) => {
    const { store, engine, disk } = await newStore()
    await store.apply([put('a', '1')], point(1))
    const iterator = engine.iterate({})
    const entries = await iterator.next(100, 1 << 20)
    await iterator.close()
    const mark = entries.find(([key]) => key.toString('latin1').endsWith('decree'))
    await engine.write([{ type: 'put', key: mark?.[0] ?? bytes('?'), value: bytes('bad') }], {
      sync: true,
    })
    await engine.close()
    const reopened = await disk.open(runtime)
    await t.rejects(ReplicaStores.open(reopened), { code: 'corruption', message: /replica 1\.0/ })
  },
)
