/**
 * The storage engine contract (cluster/storage/engine.ts), run on each implementation. What a crash
 * keeps is tested where a crash can be made: on the memory engine here, on RocksDB with a killed
 * process at the end of this file.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import t from 'tap'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Random } from '../../cluster/runtime/runtime.ts'
import { EngineError } from '../../cluster/storage/engine.ts'
import type {
  BatchOperation,
  EngineErrorCode,
  Entry,
  IterateOptions,
  StorageEngine,
} from '../../cluster/storage/engine.ts'
import { ENGINE_RESERVED_KEY } from '../../cluster/storage/engine-format.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'

const runtime = nodeRuntime({ log: silentLog })

/** A place that can be opened again. */
interface Place {
  readonly open: () => Promise<StorageEngine>
  readonly discard: () => void
}

const implementations: Readonly<Record<string, () => Place>> = {
  memory: () => {
    const disk = new MemoryEngineDisk()
    return { open: () => disk.open(runtime), discard: () => undefined }
  },
  rocksdb: () => {
    const path = mkdtempSync(join(tmpdir(), 'engine-'))
    return {
      open: () => openRocksDb({ path: join(path, 'made', 'by', 'open') }),
      discard: () => rmSync(path, { recursive: true }),
    }
  },
}

const bytes = (text: string): Buffer => Buffer.from(text)
const put = (key: string, value: string): BatchOperation => ({
  type: 'put',
  key: bytes(key),
  value: bytes(value),
})
const del = (key: string): BatchOperation => ({ type: 'del', key: bytes(key) })
const lazily = { sync: false }

async function readAll(engine: StorageEngine, options: IterateOptions = {}): Promise<string[]> {
  const iterator = engine.iterate(options)
  const found: string[] = []
  for (;;) {
    const entries = await iterator.next(3, 1 << 20)
    if (entries.length === 0) break
    for (const [key, value] of entries) found.push(`${key.toString()}=${value.toString()}`)
  }
  await iterator.close()
  return found
}

async function rejectsWith(
  test: Pick<typeof t, 'rejects'>,
  call: () => Promise<unknown>,
  code: EngineErrorCode,
) {
  await test.rejects(Promise.resolve().then(call), { name: 'EngineError', code })
}

for (const [name, makePlace] of Object.entries(implementations)) {
  const withEngine = async (use: (engine: StorageEngine, place: Place) => Promise<void>) => {
    const place = makePlace()
    const engine = await place.open()
    try {
      await use(engine, place)
    } finally {
      await engine.close()
      place.discard()
    }
  }

  void t.test(`${name}: a fresh engine is empty`, (t) =>
    withEngine(async (engine) => {
      t.equal(await engine.get(bytes('k')), undefined)
      t.same(await readAll(engine), [])
      t.same(await engine.getMany([]), [])
    }),
  )

  void t.test(`${name}: reads see a write when it has settled, the last one of a key wins`, (t) =>
    withEngine(async (engine) => {
      await engine.write([put('a', '1'), put('b', '2'), put('a', '3'), del('b')], lazily)
      await engine.write([put('c', ''), del('never there')], { sync: true })
      t.equal((await engine.get(bytes('a')))?.toString(), '3')
      t.equal(await engine.get(bytes('b')), undefined)
      const many = await engine.getMany(['c', 'b', 'a'].map(bytes))
      t.same(
        many.map((value) => value?.toString()),
        ['', undefined, '3'],
      )
    }),
  )

  void t.test(`${name}: many reads at once each get their own answer, also while it closes`, (t) =>
    withEngine(async (engine) => {
      const keys = Array.from({ length: 100 }, (_, index) => `key ${index}`)
      await engine.write(
        keys.filter((_, index) => index % 3 !== 0).map((key) => put(key, `of ${key}`)),
        lazily,
      )
      const reads = keys.map((key) => engine.get(bytes(key)))
      await engine.close()
      const found = await Promise.all(reads)
      t.same(
        found.map((value) => value?.toString()),
        keys.map((key, index) => (index % 3 === 0 ? undefined : `of ${key}`)),
      )
    }),
  )

  void t.test(`${name}: an empty batch is fine`, (t) =>
    withEngine(async (engine) => {
      await engine.write([], lazily)
      await engine.write([], { sync: true })
      t.same(await readAll(engine), [])
    }),
  )

  void t.test(`${name}: the engine keeps copies of the buffers it is given`, (t) =>
    withEngine(async (engine) => {
      const key = bytes('key')
      const value = bytes('value')
      const written = engine.write([{ type: 'put', key, value }], lazily)
      await written
      key.fill(0)
      value.fill(0)
      t.same(await readAll(engine), ['key=value'])
    }),
  )

  void t.test(`${name}: bounds, both directions, keys only`, (t) =>
    withEngine(async (engine) => {
      await engine.write(
        ['a', 'b', 'c', 'd', 'e'].map((key) => put(key, key.toUpperCase())),
        lazily,
      )
      const keys = async (options: IterateOptions) =>
        (await readAll(engine, options)).map((entry) => entry[0]).join('')
      t.equal(await keys({}), 'abcde')
      t.equal(await keys({ reverse: true }), 'edcba')
      t.equal(await keys({ gte: bytes('b'), lte: bytes('d') }), 'bcd')
      t.equal(await keys({ gt: bytes('b'), lt: bytes('d') }), 'c')
      t.equal(await keys({ gt: bytes('bb'), lt: bytes('dd') }), 'cd')
      t.equal(await keys({ gte: bytes('b'), lte: bytes('d'), reverse: true }), 'dcb')
      t.equal(await keys({ gt: bytes('b'), lt: bytes('d'), reverse: true }), 'c')
      t.equal(await keys({ gt: bytes('bb'), lt: bytes('dd'), reverse: true }), 'dc')
      t.equal(await keys({ gte: bytes('f') }), '')
      t.equal(await keys({ lt: bytes('a'), reverse: true }), '')
      t.equal(await keys({ gte: bytes('d'), lt: bytes('b') }), '')
      t.equal(await keys({ gte: bytes('d'), lt: bytes('b'), reverse: true }), '')
      t.equal(await keys({ gte: bytes('c'), lte: bytes('c') }), 'c')
      t.equal(await keys({ gt: bytes('c'), lte: bytes('c') }), '')
      t.equal(await keys({ gte: Buffer.alloc(0) }), 'abcde')
      t.equal(await keys({ lt: Buffer.alloc(0) }), '')
      t.same(await readAll(engine, { keysOnly: true, gte: bytes('d') }), ['d=', 'e='])
    }),
  )

  void t.test(`${name}: keys are compared bytewise and unsigned`, (t) =>
    withEngine(async (engine) => {
      const keys = ['00', '0000', '007f', '0080', '00ff', '01', '7f', '80', 'ff', 'ff00']
      const batch = keys.toReversed().map((hex): BatchOperation => ({
        type: 'put',
        key: Buffer.from(hex, 'hex'),
        value: Buffer.alloc(0),
      }))
      await engine.write(batch, lazily)
      const iterator = engine.iterate({})
      const found: Entry[] = []
      for (;;) {
        const entries = await iterator.next(100, 1 << 20)
        if (entries.length === 0) break
        found.push(...entries)
      }
      await iterator.close()
      t.same(
        found.map(([key]) => key.toString('hex')),
        keys,
      )
    }),
  )

  void t.test(`${name}: an iterator hands out what was asked for, and then empty lists`, (t) =>
    withEngine(async (engine) => {
      await engine.write(
        Array.from({ length: 2500 }, (_, i) => put(String(i).padStart(5, '0'), 'x'.repeat(100))),
        lazily,
      )
      const iterator = engine.iterate({ gte: bytes('00010') })
      t.equal((await iterator.next(7, 1 << 20)).length, 7)
      const some = await iterator.next(1_000_000, 1050)
      t.equal(some.length, 10, 'about the bytes that were asked for, one entry over at most')
      t.equal(some[0]?.[0].toString(), '00017')
      let rest = 0
      for (;;) {
        const entries = await iterator.next(999, 1 << 20)
        if (entries.length === 0) break
        rest += entries.length
      }
      t.equal(rest, 2500 - 10 - 17)
      t.same(await iterator.next(1, 1), [])
      await iterator.close()
      await iterator.close()
    }),
  )

  void t.test(`${name}: an iterator sees the state of its creation, however long it lives`, (t) =>
    withEngine(async (engine) => {
      await engine.write([put('a', '1'), put('b', '2')], lazily)
      const iterator = engine.iterate({})
      await engine.write([put('a', 'new'), del('b'), put('c', '3')], { sync: true })
      await engine.compactRange({ start: bytes('a'), end: bytes('z') })
      const entries: Entry[] = []
      for (;;) {
        const more = await iterator.next(10, 1 << 20)
        if (more.length === 0) break
        entries.push(...more)
      }
      t.same(
        entries.map(([key, value]) => `${key.toString()}=${value.toString()}`),
        ['a=1', 'b=2'],
      )
      await iterator.close()
      t.same(await readAll(engine), ['a=new', 'c=3'])
    }),
  )

  void t.test(`${name}: sizes are estimated, statistics are numbers`, (t) =>
    withEngine(async (engine) => {
      const sizeBytes = await engine.approximateSizeBytes({ start: bytes('a'), end: bytes('z') })
      t.ok(sizeBytes >= 0)
      t.ok(Object.values(engine.stats()).every(Number.isFinite))
    }),
  )

  void t.test(`${name}: what was written is there after a reopening`, async (t) => {
    const place = makePlace()
    const first = await place.open()
    await first.write([put('k', 'v')], lazily)
    await first.close()
    const second = await place.open()
    t.same(await readAll(second), ['k=v'])
    await second.close()
    place.discard()
  })

  void t.test(`${name}: every operation on a closed engine rejects with closed`, async (t) => {
    const place = makePlace()
    const engine = await place.open()
    await engine.write([put('k', 'v')], lazily)
    const iterator = engine.iterate({})
    const underWay = [engine.get(bytes('k')), engine.write([put('l', 'w')], lazily)]
    const closing = engine.close()
    const range = { start: bytes('a'), end: bytes('z') }
    await rejectsWith(t, () => engine.write([put('k', 'v')], lazily), 'closed')
    await rejectsWith(t, () => engine.write([], lazily), 'closed')
    await rejectsWith(t, () => engine.get(bytes('k')), 'closed')
    await rejectsWith(t, () => engine.getMany([bytes('k')]), 'closed')
    await rejectsWith(t, () => engine.compactRange(range), 'closed')
    await rejectsWith(t, () => engine.approximateSizeBytes(range), 'closed')
    await rejectsWith(t, () => engine.iterate({}).next(1, 1), 'closed')
    await rejectsWith(t, () => iterator.next(1, 1), 'closed')
    await closing
    await Promise.all(underWay)
    await iterator.close()
    await engine.close()
    await rejectsWith(t, () => engine.get(bytes('k')), 'closed')
    t.same(
      await place.open().then(async (again) => {
        const found = await readAll(again)
        await again.close()
        return found
      }),
      ['k=v', 'l=w'],
    )
    place.discard()
  })

  void t.test(`${name}: a second opening is refused with locked`, async (t) => {
    const place = makePlace()
    const engine = await place.open()
    await rejectsWith(t, () => place.open(), 'locked')
    await engine.write([put('still', 'works')], lazily)
    await engine.close()
    place.discard()
  })

  void t.test(`${name}: data of a newer format is refused, and untouched`, async (t) => {
    const place = makePlace()
    const engine = await place.open()
    const key = Buffer.concat([ENGINE_RESERVED_KEY, Buffer.from('format')])
    const value = Buffer.from([0, 0, 0, 2])
    await engine.write([{ type: 'put', key, value }], { sync: true })
    await engine.close()
    await rejectsWith(t, () => place.open(), 'newer-format')
    await t.rejects(place.open(), /data format 2, this release knows formats up to 1/)
    place.discard()
  })

  void t.test(`${name}: behaves like a sorted map`, (t) =>
    withEngine(async (engine) => {
      const key = fc.string({ minLength: 1, maxLength: 2, unit: fc.constantFrom('a', 'b', 'c') })
      const operation = fc.oneof(
        fc.tuple(key, fc.string({ maxLength: 3 })).map(([k, v]) => put(k, v)),
        key.map(del),
      )
      const model = new Map<string, string>()
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 20 }), key, key, async (batch, a, b) => {
          await engine.write(batch, lazily)
          for (const change of batch)
            if (change.type === 'del') model.delete(change.key.toString())
            else model.set(change.key.toString(), change.value.toString())
          const wanted = [...model]
            .filter(([k]) => k >= a && k < b)
            .toSorted(([x], [y]) => (x < y ? -1 : 1))
            .map(([k, v]) => `${k}=${v}`)
          const range = { gte: bytes(a), lt: bytes(b) }
          t.same(await readAll(engine, range), wanted)
          t.same(await readAll(engine, { ...range, reverse: true }), wanted.toReversed())
          t.equal((await engine.get(bytes(a)))?.toString(), model.get(a))
        }),
        { numRuns: 50 },
      )
    }),
  )
}

/** A small deterministic generator, so that a failing crash test can be repeated. */
function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const float = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  return {
    float,
    below: (limit) => Math.floor(float() * limit),
    bytes: (sizeBytes) => Buffer.alloc(sizeBytes),
  }
}

void t.test('memory: the death of the process keeps every batch that settled', async (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const disk = new MemoryEngineDisk()
    const engine = await disk.open(runtime)
    for (let i = 0; i < 5; i++) await engine.write([put(`k${i}`, 'v'), put('last', `${i}`)], lazily)
    let settled = false
    void engine.write([put('k5', 'v'), put('last', '5')], lazily).then(() => (settled = true))
    disk.crash({ powerCut: false, random: seededRandom(seed) })
    const again = await disk.open(runtime)
    const last = Number(await again.get(bytes('last')))
    t.ok(last === 4 || last === 5, 'the one under way is there or not')
    t.equal((await readAll(again)).length, last + 2, 'whole')
    t.notOk(settled, 'a dead process hears nothing')
    await again.close()
  }
})

void t.test('memory: a power cut keeps a prefix that holds the last synced batch', async (t) => {
  const seen = new Set<number>()
  for (let seed = 0; seed < 60; seed++) {
    const disk = new MemoryEngineDisk()
    const engine = await disk.open(runtime)
    for (let i = 0; i < 8; i++)
      await engine.write([put(`k${i}`, 'v'), put('last', `${i}`)], { sync: i === 3 })
    disk.crash({ powerCut: true, random: seededRandom(seed * 7919) })
    const again = await disk.open(runtime)
    const last = Number(await again.get(bytes('last')))
    t.ok(last >= 3 && last <= 7)
    t.equal((await readAll(again)).length, last + 2)
    seen.add(last)
    await again.close()
  }
  t.same(
    [...seen].toSorted((a, b) => a - b),
    [3, 4, 5, 6, 7],
    'every cut happens',
  )
})

void t.test(
  'memory: an injected fault fails operations with its code, until it is taken back',
  async (t) => {
    const disk = new MemoryEngineDisk()
    const engine = await disk.open(runtime)
    disk.setFault('io')
    await rejectsWith(t, () => engine.write([put('a', '1')], lazily), 'io')
    await rejectsWith(t, () => engine.get(bytes('a')), 'io')
    disk.setFault(undefined)
    t.equal(await engine.get(bytes('a')), undefined)
    await engine.close()
  },
)

void t.test('rocksdb: a killed process loses no batch that settled', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'engine-kill-'))
  const child = fork(fileURLToPath(new URL('engine-writer.js', import.meta.url)), [path])
  let acknowledged = -1
  await new Promise<void>((resolve) => {
    child.on('message', (count) => {
      acknowledged = Number(count)
      if (acknowledged >= 300) resolve()
    })
  })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const engine = await openRocksDb({ path })
  const last = Number(await engine.get(bytes('last')))
  t.ok(last >= acknowledged, `${last} is there, ${acknowledged} was acknowledged`)
  const entries = await readAll(engine, { gte: bytes('k'), lt: bytes('l') })
  t.equal(entries.length, last + 1, 'no batch is torn')
  await engine.close()
  rmSync(path, { recursive: true })
})

void t.test('errors of the engine have a stable code', (t) => {
  const error = new EngineError('io', 'text')
  t.equal(error.name, 'EngineError')
  t.equal(error.code, 'io')
  t.end()
})
