/**
 * The mutation log (replica-server.md 8.3 to 8.5): what it promises when it settles an append, what
 * it finds again, and what it refuses. Files are bytes in memory here, so that every byte and every
 * file operation can be the one that fails; at the end the same on the simulated disk.
 */
import fc from 'fast-check'
import t from 'tap'
import type { Gpid } from '../../cluster/protocol/base.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { RuntimeError } from '../../cluster/runtime/runtime.ts'
import type { File, Files, Runtime } from '../../cluster/runtime/runtime.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'
import { RECORD_HEADER_BYTES } from '../../cluster/storage/log-record.ts'
import type { LogRecord, LoggedRecord } from '../../cluster/storage/log-record.ts'
import type { MutationLogErrorCode } from '../../cluster/storage/log-segment.ts'
import { MutationLog } from '../../cluster/storage/mutation-log.ts'
import type { MutationLogOptions } from '../../cluster/storage/mutation-log.ts'

/** Files as bytes; `before` is called ahead of each changing operation and may throw. */
class ByteFiles implements Files {
  readonly content: Map<string, Buffer>
  operations = 0
  syncs = 0
  before: (operation: string, path: string) => void = () => undefined

  constructor(content: ReadonlyMap<string, Buffer> = new Map()) {
    this.content = new Map([...content].map(([path, bytes]) => [path, Buffer.from(bytes)]))
  }

  async #change(operation: string, path: string, action: () => void): Promise<void> {
    this.operations++
    this.before(operation, path)
    action()
  }

  #get(path: string): Buffer {
    const bytes = this.content.get(path)
    if (bytes === undefined) throw new RuntimeError('ENOENT', `${path} is not there`)
    return bytes
  }

  open = async (path: string, mode: 'read' | 'update' | 'create'): Promise<File> => {
    if (mode === 'create') await this.#change('create', path, () => this.content.set(path, EMPTY))
    this.#get(path)
    return {
      read: async (position, length) =>
        Buffer.from(this.#get(path).subarray(position, position + length)),
      write: (position, chunks) =>
        this.#change('write', path, () => {
          const before = this.#get(path)
          const added = Buffer.concat(chunks)
          const after = Buffer.alloc(Math.max(before.length, position + added.length))
          before.copy(after)
          added.copy(after, position)
          this.content.set(path, after)
        }),
      sync: () => this.#change('sync', path, () => void this.syncs++),
      truncate: (size) =>
        this.#change('truncate', path, () =>
          this.content.set(path, this.#get(path).subarray(0, size)),
        ),
      sizeBytes: async () => this.#get(path).length,
      close: async () => undefined,
    }
  }
  readFile = async (path: string) => this.#get(path)
  replaceFile = (path: string, content: Buffer) =>
    this.#change('replace', path, () => this.content.set(path, content))
  list = async (directory: string) =>
    [...this.content.keys()]
      .filter((path) => path.startsWith(`${directory}/`))
      .map((path) => path.slice(directory.length + 1))
      .toSorted()
  stat = async (path: string) => {
    if (path === directory) return { kind: 'directory' as const, sizeBytes: 0 }
    const bytes = this.content.get(path)
    return bytes && { kind: 'file' as const, sizeBytes: bytes.length }
  }
  makeDirectory = async () => undefined
  rename = (from: string, to: string) =>
    this.#change('rename', from, () => {
      this.content.set(to, this.#get(from))
      this.content.delete(from)
    })
  remove = (path: string) => this.#change('remove', path, () => this.content.delete(path))
  syncDirectory = (path: string) => this.#change('sync folder', path, () => undefined)
}

const EMPTY = Buffer.alloc(0)
const directory = 'plog'
const one: Gpid = { appId: 1, partitionIndex: 0 }
const two: Gpid = { appId: 1, partitionIndex: 1 }

function runtimeOn(files: Files): Runtime {
  return { ...nodeRuntime({ log: silentLog }), files }
}

function record(decree: number, change: Partial<LogRecord> = {}): LogRecord {
  return {
    gpid: one,
    ballot: 3,
    decree,
    lastCommittedDecree: decree - 1,
    timestampUs: 1_700_000_000_000_000 + decree,
    body: Buffer.from(`body of ${decree}`),
    ...change,
  }
}

interface Opened {
  readonly log: MutationLog
  readonly replayed: LoggedRecord[]
}

async function open(files: Files, options: Partial<MutationLogOptions> = {}): Promise<Opened> {
  const replayed: LoggedRecord[] = []
  const log = await MutationLog.open(
    runtimeOn(files),
    { directory, sync: 'group', ...options },
    (found) => {
      replayed.push(found)
    },
  )
  return { log, replayed }
}

/** A log whose process was killed: one group per number, that many records each. */
async function logOf(
  groups: readonly number[],
  options: Partial<MutationLogOptions> = {},
): Promise<ByteFiles> {
  const files = new ByteFiles()
  const { log } = await open(files, options)
  let decree = 1
  for (const count of groups) {
    const group = []
    for (let i = 0; i < count; i++) group.push(log.append(record(decree++)))
    await Promise.all(group)
  }
  return files
}

const decreesOf = (records: readonly LogRecord[]): number[] => records.map(({ decree }) => decree)
const upTo = (decree: number): number[] => Array.from({ length: decree }, (_, i) => i + 1)
const first = `${directory}/0000000001.log`

function bytesOf(files: ByteFiles, path = first): Buffer {
  return files.content.get(path) ?? EMPTY
}

/** The same files with one of them changed. */
function withFile(files: ByteFiles, path: string, content: Buffer): ByteFiles {
  const changed = new ByteFiles(files.content)
  changed.content.set(path, content)
  return changed
}

async function refuses(
  test: Pick<typeof t, 'rejects'>,
  files: ByteFiles,
  code: MutationLogErrorCode,
  text: RegExp,
): Promise<void> {
  await test.rejects(open(files), { name: 'MutationLogError', code, message: text })
}

void t.test('what was appended is replayed in order, over many files', async (t) => {
  const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
  const records = fc.array(
    fc.record({
      gpid: fc.record({ appId: fc.nat(), partitionIndex: fc.nat(1000) }),
      ballot: fc.integer({ min: -1, max: 2 ** 40 }),
      decree: fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }),
      lastCommittedDecree: fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }),
      timestampUs: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      body,
    }),
    { maxLength: 40 },
  )
  await fc.assert(
    fc.asyncProperty(records, fc.constantFrom('group', 'os'), async (written, sync) => {
      const files = new ByteFiles()
      const options = { segmentBytes: 1000, groupBytesMax: 700, sync } as const
      const { log } = await open(files, options)
      await Promise.all(written.map((r) => log.append(r)))
      const again = await open(files, options)
      t.same(
        again.replayed,
        written.map((r, i) => ({ ...r, offset: again.replayed[i]?.offset })),
      )
      const offsets = again.replayed.map(({ offset }) => offset)
      t.same(
        offsets,
        offsets.toSorted((a, b) => a - b),
        'offsets rise over all files',
      )
      t.equal(again.log.endOffset(), log.endOffset())
    }),
    { numRuns: 60 },
  )
})

void t.test('records of one turn share one write and one sync', async (t) => {
  const files = new ByteFiles()
  const { log } = await open(files)
  const before = files.syncs
  await Promise.all(upTo(100).map((decree) => log.append(record(decree))))
  t.equal(files.syncs - before, 1)
  t.match(log.stats(), { records: 100, groups: 1 })
})

void t.test('an append settles after the sync of its group, and in os mode without', async (t) => {
  for (const sync of ['group', 'os'] as const) {
    const files = new ByteFiles()
    const { log } = await open(files, { sync })
    const steps: string[] = []
    files.before = (operation) => steps.push(operation)
    await log.append(record(1)).then(() => steps.push('settled'))
    t.same(steps, sync === 'group' ? ['write', 'sync', 'settled'] : ['write', 'settled'])
  }
})

void t.test('a tail torn at any byte is cut off, and the log goes on', async (t) => {
  const whole = await logOf([2, 1, 3])
  const bytes = bytesOf(whole)
  const headerBytes = bytesOf(await logOf([])).length
  const recordBytes = RECORD_HEADER_BYTES + record(1).body.length
  for (let cut = headerBytes; cut < bytes.length; cut++) {
    const files = withFile(whole, first, bytes.subarray(0, cut))
    const { log, replayed } = await open(files)
    const complete = Math.floor((cut - headerBytes) / recordBytes)
    t.same(decreesOf(replayed), upTo(complete), `cut at ${cut}`)
    await log.append(record(complete + 1, { body: Buffer.from('after the cut') }))
    const again = await open(files)
    t.same(decreesOf(again.replayed), upTo(complete + 1))
    t.equal(again.replayed.at(-1)?.body.toString(), 'after the cut')
  }
})

void t.test('a zero-filled or garbage tail, whole or in part, is cut off', async (t) => {
  const whole = await logOf([2, 3])
  const bytes = bytesOf(whole)
  const headerBytes = bytesOf(await logOf([])).length
  const recordBytes = RECORD_HEADER_BYTES + record(1).body.length
  const start = headerBytes + 2 * recordBytes
  const fills: ((rest: Buffer) => Buffer)[] = [
    (rest) => Buffer.alloc(rest.length),
    (rest) => Buffer.alloc(rest.length + 5000),
    (rest) => Buffer.alloc(rest.length, 0xff),
    (rest) => Buffer.from(rest.map((byte, i) => (byte * 31 + i * 17 + 7) & 0xff)),
    (rest) => bytes.subarray(headerBytes, headerBytes + rest.length),
  ]
  for (const fill of fills)
    for (let at = start; at < bytes.length; at += 7) {
      const tail = fill(bytes.subarray(at))
      const files = withFile(whole, first, Buffer.concat([bytes.subarray(0, at), tail]))
      const { replayed, log } = await open(files)
      const complete = Math.floor((at - headerBytes) / recordBytes)
      t.same(decreesOf(replayed), upTo(complete))
      await log.append(record(complete + 1))
      t.same(decreesOf((await open(files)).replayed), upTo(complete + 1))
    }
})

void t.test('a hole in the last write is a torn tail, whatever stands behind it', async (t) => {
  const whole = await logOf([2, 3])
  const bytes = Buffer.from(bytesOf(whole))
  const recordBytes = RECORD_HEADER_BYTES + record(1).body.length
  // The disk got the second and third record of the group, not the first.
  bytes.fill(0, bytes.length - 3 * recordBytes, bytes.length - 2 * recordBytes)
  t.same(decreesOf((await open(withFile(whole, first, bytes))).replayed), [1, 2])
})

void t.test('in os mode nothing was synced: damage in the last file is a torn tail', async (t) => {
  const whole = await logOf([1, 1, 1], { sync: 'os' })
  const bytes = Buffer.from(bytesOf(whole))
  const recordBytes = RECORD_HEADER_BYTES + record(1).body.length
  bytes.fill(0, bytes.length - 2 * recordBytes, bytes.length - recordBytes)
  t.same(decreesOf((await open(withFile(whole, first, bytes))).replayed), [1])
})

void t.test('a bit flip anywhere before the last group is refused as damage', async (t) => {
  const whole = await logOf([1, 2, 1])
  const bytes = bytesOf(whole)
  const recordBytes = RECORD_HEADER_BYTES + record(1).body.length
  for (let at = 0; at < bytes.length - recordBytes; at++) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
    const files = withFile(whole, first, flipped)
    await t.rejects(open(files), { name: 'MutationLogError', code: /corruption|newer-format/ })
    t.same(bytesOf(files), flipped, 'nothing is changed')
  }
})

void t.test('a log closed in order is wholly protected, and says so', async (t) => {
  const files = new ByteFiles()
  const { log } = await open(files)
  await log.append(record(1))
  await log.close()
  await log.close()
  const bytes = bytesOf(files)
  for (let at = 0; at < bytes.length - RECORD_HEADER_BYTES; at++) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ 4
    await t.rejects(open(withFile(files, first, flipped)), { name: 'MutationLogError' })
  }
  const again = await open(files)
  t.same(decreesOf(again.replayed), [1])
  t.ok(again.log.closedInOrder())
  await again.log.append(record(2))
  const killed = await open(files)
  t.same(decreesOf(killed.replayed), [1, 2])
  t.notOk(killed.log.closedInOrder())
})

void t.test('damage in a file that is not the last is refused', async (t) => {
  const whole = await logOf([1, 1, 1, 1], { segmentBytes: 200 })
  const paths = [...whole.content.keys()].toSorted()
  t.ok(paths.length >= 3)
  const bytes = bytesOf(whole, paths[1])
  const torn = withFile(whole, paths[1] ?? '', bytes.subarray(0, bytes.length - 1))
  await refuses(t, torn, 'corruption', /0000000002\.log: damaged at position \d+ of \d+/)
  const headerOnly = withFile(whole, paths[1] ?? '', bytes.subarray(0, bytes.length - 90))
  await t.rejects(open(headerOnly), { code: 'corruption' })
})

void t.test('a missing file between others is refused, with its name', async (t) => {
  const whole = await logOf([1, 1, 1, 1], { segmentBytes: 200 })
  whole.content.delete(`${directory}/0000000002.log`)
  await refuses(t, whole, 'corruption', /0000000002\.log is missing before 0000000003\.log/)
})

void t.test('files that are not each other’s successors are refused', async (t) => {
  const whole = await logOf([1, 1, 1], { segmentBytes: 200 })
  const other = await logOf([3, 3, 3], { segmentBytes: 400 })
  const swapped = withFile(
    whole,
    `${directory}/0000000002.log`,
    bytesOf(other, `${directory}/0000000002.log`),
  )
  await t.rejects(open(swapped), { code: 'corruption' })
  const renamed = withFile(whole, first, bytesOf(whole, `${directory}/0000000002.log`))
  await refuses(t, renamed, 'corruption', /its header says file 2/)
})

void t.test('a log of a newer release is refused with a clear message', async (t) => {
  const whole = await logOf([1])
  const bytes = Buffer.from(bytesOf(whole))
  bytes.writeUInt32BE(2, 8)
  const files = withFile(whole, first, bytes)
  await refuses(t, files, 'newer-format', /log format 2, this release knows formats up to 1/)
})

void t.test('a failed write or sync poisons the log for the life of the process', async (t) => {
  for (const failing of ['write', 'sync']) {
    const files = new ByteFiles()
    const { log } = await open(files)
    await log.append(record(1))
    let failures = 1
    files.before = (operation) => {
      if (operation !== failing || failures-- <= 0) return
      throw new RuntimeError(failing === 'write' ? 'ENOSPC' : 'EIO', 'the disk says no')
    }
    const poisoned = { name: 'MutationLogError', code: 'poisoned', message: /the disk says no/ }
    await Promise.all([
      t.rejects(log.append(record(2)), poisoned),
      t.rejects(log.append(record(3)), poisoned),
    ])
    await t.rejects(log.append(record(4)), poisoned, 'although the disk works again')
    t.match(log.failure(), poisoned)
    await log.close()
    const again = await open(files)
    t.same(decreesOf(again.replayed), failing === 'write' ? [1] : [1, 2, 3], 'what is really there')
  }
})

void t.test('a crash before any file operation loses no settled record', async (t) => {
  const run = async (files: ByteFiles, settled: number[]): Promise<void> => {
    const { log } = await open(files, { segmentBytes: 300, reserveBytes: 0 })
    for (let decree = 1; decree <= 6; decree++) {
      await log.append(record(decree))
      settled.push(decree)
      if (decree === 5) await log.collect(() => 2)
    }
    await log.close()
  }
  const complete = new ByteFiles()
  await run(complete, [])
  for (let step = 1; step <= complete.operations; step++) {
    const files = new ByteFiles()
    const settled: number[] = []
    let left: ReadonlyMap<string, Buffer> | undefined
    files.before = () => {
      if (files.operations !== step) return
      left = new Map(files.content)
      throw new RuntimeError('EIO', 'the process is gone')
    }
    await run(files, settled).catch(() => undefined)
    const survivors = new ByteFiles(left)
    const { replayed, log } = await open(survivors)
    const found = new Set(decreesOf(replayed))
    for (const decree of settled.filter((d) => d > 2)) t.ok(found.has(decree), `step ${step}`)
    t.notOk([...survivors.content.keys()].some((path) => path.endsWith('.tmp')))
    await log.append(record(7))
    t.equal((await open(survivors)).replayed.at(-1)?.decree, 7)
  }
})

void t.test('a replica’s records are read back, of each decree the one that counts', async (t) => {
  const files = new ByteFiles()
  const { log } = await open(files, { segmentBytes: 2000 })
  for (let decree = 1; decree <= 60; decree++)
    await Promise.all([log.append(record(decree)), log.append(record(decree, { gpid: two }))])
  // A new primary proposes 58 … 60 again under its ballot, and a late record of the old one follows.
  for (let decree = 58; decree <= 60; decree++)
    await log.append(record(decree, { ballot: 4, body: Buffer.from('new') }))
  await log.append(record(59, { body: Buffer.from('late') }))

  t.same(log.decrees(one), { minDecree: 1, maxDecree: 60 })
  t.equal(log.decrees({ appId: 9, partitionIndex: 9 }), undefined)
  const all = await log.read(one, 1, 1000, 1 << 20)
  t.same(decreesOf(all), upTo(60))
  t.ok(all.every(({ gpid }) => gpid.partitionIndex === 0))
  t.same(
    all.slice(56).map(({ body, ballot }) => `${body.toString()} ${ballot}`),
    ['body of 57 3', 'new 4', 'new 4', 'new 4'],
  )
  t.same(decreesOf(await log.read(two, 20, 25, 1 << 20)), [20, 21, 22, 23, 24, 25])
  t.same(decreesOf(await log.read(one, 61, 70, 1 << 20)), [])
  t.same(decreesOf(await log.read({ appId: 9, partitionIndex: 9 }, 1, 2, 1 << 20)), [])

  const recordBytes = RECORD_HEADER_BYTES + record(10).body.length
  t.same(decreesOf(await log.read(one, 10, 60, 3 * recordBytes)), [10, 11, 12])
  t.same(decreesOf(await log.read(one, 10, 60, 1)), [10], 'at least one')

  const since = all[29]?.offset ?? 0
  t.same(decreesOf(await log.read(one, 1, 60, 1 << 20, since)), [], 'older ones do not count')
  t.same(decreesOf(await log.read(one, 30, 33, 1 << 20, since)), [30, 31, 32, 33])

  const again = await open(files)
  t.same(decreesOf(await again.log.read(one, 1, 1000, 1 << 20)), upTo(60), 'also after a restart')
})

void t.test('reading stops at a hole', async (t) => {
  const { log } = await open(new ByteFiles())
  await Promise.all([1, 2, 4].map((decree) => log.append(record(decree))))
  t.same(decreesOf(await log.read(one, 1, 9, 1 << 20)), [1, 2])
  t.same(decreesOf(await log.read(one, 3, 9, 1 << 20)), [])
})

void t.test(
  'files go when nobody needs them, oldest first, and never the current one',
  async (t) => {
    const files = new ByteFiles()
    const { log } = await open(files, { segmentBytes: 500, reserveBytes: 0 })
    for (let decree = 1; decree <= 20; decree++) {
      const gpid = decree % 2 === 0 ? one : two
      await log.append(record(decree, { gpid }))
    }
    const count = files.content.size
    t.equal(await log.collect(() => 0), 0)
    t.equal(await log.collect(({ partitionIndex }) => (partitionIndex === 0 ? 20 : 0)), 0)
    t.ok((await log.collect(() => 10)) > 0)
    t.ok((log.decrees(one)?.minDecree ?? 0) > 2)
    t.ok(log.collectedDecree(one) > 0 && log.collectedDecree(one) <= 10)

    const reading = log.read(one, 20, 20, 1 << 20)
    t.equal(await log.collect(() => 'gone'), 0, 'not under a reader')
    await reading
    t.ok((await log.collect(() => 'gone')) > 0)
    t.equal(files.content.size, 1)
    t.ok(count > 4)
    await log.append(record(21))
    const again = await open(files)
    t.equal(again.replayed.at(-1)?.decree, 21)
    t.ok(again.log.collectedDecree(one) > 10, 'known after a restart')
  },
)

void t.test('files within the reserve stay', async (t) => {
  const files = new ByteFiles()
  const { log } = await open(files, { segmentBytes: 500, reserveBytes: 1200 })
  for (let decree = 1; decree <= 30; decree++) await log.append(record(decree))
  await log.collect(() => 30)
  const kept = [...files.content.values()].reduce((sum, { length }) => sum + length, 0)
  t.ok(kept > 700 && kept <= 1700, `${kept} bytes`)
})

void t.test('what the log may hold in memory is limited', async (t) => {
  const { log } = await open(new ByteFiles(), { recordBytesMax: 1000, pendingBytesMax: 2000 })
  const overloaded = { name: 'MutationLogError', code: 'overloaded' }
  const big = (bytes: number): LogRecord => record(1, { body: Buffer.alloc(bytes) })
  await t.rejects(log.append(big(1000)), overloaded)
  const first = log.append(big(900))
  const second = log.append(big(900))
  await t.rejects(log.append(big(900)), overloaded)
  await Promise.all([first, second])
  await log.append(big(900))
  await log.close()
  await t.rejects(log.append(big(1)), { code: 'closed' })
})

void t.test('a visitor that fails at replay fails the opening', async (t) => {
  const files = await logOf([3])
  const failing = MutationLog.open(runtimeOn(files), { directory, sync: 'group' }, async () => {
    throw new Error('not this record')
  })
  await t.rejects(failing, /not this record/)
})

for (const syncErrorProbability of [0, 0.05])
  void t.test(
    `on a simulated disk no power cut loses a settled record, syncs fail: ${syncErrorProbability}`,
    async (t) => {
      for (let seed = 1; seed <= 12; seed++) {
        const world = new SimulatedWorld({ seed })
        const node = world.node('server', { ip: '10.0.0.1' })
        node.disk.configure({ syncErrorProbability })
        const settled: number[] = []
        let next = 1
        const options = { directory: '/data/plog', sync: 'group', segmentBytes: 3000 } as const

        const work = async (runtime: Runtime): Promise<void> => {
          const found: number[] = []
          const log = await MutationLog.open(runtime, options, ({ decree }) => {
            found.push(decree)
          })
          for (const decree of settled)
            if (!found.includes(decree)) t.fail(`seed ${seed}: ${decree}`)
          next = Math.max(next, ...found.map((decree) => decree + 1))
          for (;;) {
            const group = Array.from({ length: 1 + runtime.random.below(12) }, () => next++)
            const body = runtime.random.bytes(runtime.random.below(900))
            await Promise.all(group.map((decree) => log.append(record(decree, { body }))))
            settled.push(...group)
          }
        }
        const end = (powerCut: boolean): void => {
          node.crash({ powerCut })
          world.after(10, () => {
            if (!node.alive) begin(node.restart())
          })
        }
        // A disk that failed ends the process, as in a server.
        const begin = (runtime: Runtime): void => void work(runtime).catch(() => end(false))
        begin(node.runtime)
        for (let crash = 1; crash <= 8; crash++) world.after(crash * 60, () => end(crash % 4 !== 0))
        await world.run({ untilMs: 560 })
        t.ok(settled.length > 20, `seed ${seed}: ${settled.length} records settled`)
      }
    },
  )
