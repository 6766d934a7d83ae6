/**
 * The measurement behind a decision of ARCHITECTURE.md: does a replica server keep one engine and one
 * mutation log for all its replicas, or one of each per replica?
 *
 * Question: which layout does more writes per CPU-second, and more synced writes per second, at the
 * same number of clients? Expectation: the sync is the cost that a shared log divides among replicas,
 * and 24 engines cost memory and time at start. Against it: removing a replica is one folder less
 * with separate engines, and a range to delete with a shared one.
 *
 * Each layout runs in a process of its own that holds the storage of a replica server and nothing
 * else: per replica one mutation at a time takes all writes that wait for it, goes through the log,
 * then as one batch into the engine, as the replica's apply loop does.
 *
 *   node dist/test/bench/storage-layout.js [--replicas 24] [--clients 200] [--seconds 6]
 *                                          [--data-dir data/bench-storage-layout]
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { MutationLog } from '../../cluster/storage/mutation-log.ts'
import type { BatchOperation } from '../../cluster/storage/engine.ts'
import type { ReplicaStore } from '../../cluster/storage/replica-store.ts'
import { ReplicaStores } from '../../cluster/storage/replica-stores.ts'
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'
import { flagsOf } from './measure.ts'

type Layout = 'shared' | 'separate'
type SyncMode = 'group' | 'os'

interface Figures {
  readonly writesPerSecond: number
  readonly writesPerCpuSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly writesPerMutation: number
  readonly rssMib: number
  readonly openMs: number
}

const flags = flagsOf({
  replicas: { type: 'string', default: '24' },
  clients: { type: 'string', default: '200' },
  seconds: { type: 'string', default: '6' },
  'data-dir': { type: 'string', default: 'data/bench-storage-layout' },
  layout: { type: 'string' },
  sync: { type: 'string', default: 'group' },
  reopen: { type: 'boolean', default: false },
})
const replicaCount = Number(flags.replicas)
const clientCount = Number(flags.clients)
const seconds = Number(flags.seconds)
const dataDir = flags['data-dir']
const valueBytes = 100
/** What a server may spend on engines, divided among them. */
const cacheBytes = 32 << 20
const writeBufferBytes = 64 << 20

const runtime = nodeRuntime({ log: silentLog })

interface Unit {
  readonly log: MutationLog
  readonly stores: ReplicaStores
  readonly close: () => Promise<void>
}

async function openUnit(path: string, share: number, sync: SyncMode): Promise<Unit> {
  mkdirSync(path, { recursive: true })
  const engine = await openRocksDb({
    path: join(path, 'engine'),
    cacheBytes: Math.round(cacheBytes * share),
    writeBufferBytes: Math.max(1 << 20, Math.round(writeBufferBytes * share)),
  })
  const stores = await ReplicaStores.open(engine)
  const directory = join(path, 'log')
  const log = await MutationLog.open(runtime, { directory, sync }, () => undefined)
  const close = async (): Promise<void> => {
    await log.close()
    await stores.sync()
    await engine.close()
  }
  return { log, stores, close }
}

async function openUnits(layout: Layout, sync: SyncMode): Promise<Unit[]> {
  const path = join(dataDir, `${layout}-${sync}`)
  if (layout === 'shared') return [await openUnit(path, 1, sync)]
  const indexes = Array.from({ length: replicaCount }, (_, index) => index)
  return Promise.all(
    indexes.map((index) => openUnit(join(path, String(index)), 1 / replicaCount, sync)),
  )
}

/** One replica's write path: what waits becomes the next mutation. */
class Replica {
  readonly #log: MutationLog
  readonly #store: ReplicaStore
  #waiting: { readonly operation: BatchOperation; readonly done: () => void }[] = []
  #running = false
  mutations = 0

  constructor(log: MutationLog, store: ReplicaStore) {
    this.#log = log
    this.#store = store
  }

  write(operation: BatchOperation): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ operation, done: resolve })
      if (!this.#running) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      const decree = this.#store.applied.decree + 1
      const operations = batch.map(({ operation }) => operation)
      const body = Buffer.concat(
        operations.flatMap((put) => (put.type === 'put' ? [put.key, put.value] : [])),
      )
      const { gpid } = this.#store
      const timestampUs = decree
      await this.#log.append({
        gpid,
        ballot: 1,
        decree,
        lastCommittedDecree: decree - 1,
        timestampUs,
        body,
      })
      await this.#store.apply(operations, { decree, ballot: 1, timestampUs })
      this.mutations++
      for (const { done } of batch) done()
    }
    this.#running = false
  }
}

async function measure(layout: Layout, sync: SyncMode): Promise<Omit<Figures, 'openMs'>> {
  const units = await openUnits(layout, sync)
  const replicas: Replica[] = []
  for (let index = 0; index < replicaCount; index++) {
    const unit = units[index % units.length]
    if (unit === undefined) throw new Error('no storage')
    const store = await unit.stores.getOrCreate({ appId: 1, partitionIndex: index })
    replicas.push(new Replica(unit.log, store))
  }
  const latencies: number[] = []
  let random = 1
  const value = Buffer.alloc(valueBytes, 'v')
  const client = async (untilMs: number): Promise<void> => {
    while (performance.now() < untilMs) {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0
      const started = performance.now()
      const key = encodeKey(Buffer.from(`user_${random % 1_000_000}`), Buffer.from('f'))
      await replicas[random % replicaCount]?.write({ type: 'put', key, value })
      latencies.push(performance.now() - started)
    }
  }
  const marks = setInterval(() => {
    for (const { stores } of units) void stores.sync()
  }, 5000)
  const before = process.cpuUsage()
  const startedMs = performance.now()
  const untilMs = startedMs + seconds * 1000
  await Promise.all(Array.from({ length: clientCount }, () => client(untilMs)))
  const tookSeconds = (performance.now() - startedMs) / 1000
  const { user, system } = process.cpuUsage(before)
  clearInterval(marks)
  const rssMib = process.memoryUsage.rss() / 2 ** 20
  for (const unit of units) await unit.close()
  const sorted = latencies.toSorted((a, b) => a - b)
  const mutations = replicas.reduce((sum, replica) => sum + replica.mutations, 0)
  return {
    writesPerSecond: latencies.length / tookSeconds,
    writesPerCpuSecond: latencies.length / ((user + system) / 1e6),
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? 0,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    writesPerMutation: latencies.length / mutations,
    rssMib,
  }
}

async function measureOpening(layout: Layout, sync: SyncMode): Promise<Pick<Figures, 'openMs'>> {
  const startedMs = performance.now()
  const units = await openUnits(layout, sync)
  const openMs = performance.now() - startedMs
  for (const unit of units) await unit.close()
  return { openMs }
}

/** In a process of its own, so that memory and CPU are this run's alone. */
function inChild(layout: Layout, sync: SyncMode, reopen: boolean): Record<string, number> {
  const args = [
    fileURLToPath(import.meta.url),
    ...['--layout', layout, '--sync', sync, '--data-dir', dataDir],
    ...['--replicas', flags.replicas, '--clients', flags.clients, '--seconds', flags.seconds],
    ...(reopen ? ['--reopen'] : []),
  ]
  const run = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, UV_THREADPOOL_SIZE: '8' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (run.status !== 0) throw new Error(`${layout} ${sync}: exit code ${run.status}`)
  return JSON.parse(run.stdout) as Record<string, number>
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

const columns = {
  writesPerSecond: 'writes/s',
  writesPerCpuSecond: 'writes/cpu-s',
  p50Ms: 'p50 ms',
  p99Ms: 'p99 ms',
  writesPerMutation: 'writes/mutation',
  rssMib: 'RSS MiB',
  openMs: 'open ms',
} as const

function compare(): void {
  rmSync(dataDir, { recursive: true, force: true })
  print(
    `${replicaCount} replicas, ${clientCount} clients, ${valueBytes} byte values, ${seconds} s each, ` +
      `Node ${process.versions.node}, ${cpus().length} cores`,
  )
  print(['layout'.padEnd(18), ...Object.values(columns).map((c) => c.padStart(15))].join(' '))
  const rows = []
  for (const sync of ['group', 'os'] as const)
    for (const layout of ['shared', 'separate'] as const) {
      const figures = { ...inChild(layout, sync, false), ...inChild(layout, sync, true) }
      const cells = Object.keys(columns).map((name) => (figures[name] ?? 0).toFixed(1).padStart(15))
      print([`${layout} ${sync}`.padEnd(18), ...cells].join(' '))
      rows.push({ name: `${layout} ${sync}`, ...figures })
    }
  rmSync(dataDir, { recursive: true, force: true })
  print(JSON.stringify({ bench: 'storage-layout', rows, ok: true }))
}

if (flags.layout === 'shared' || flags.layout === 'separate') {
  const sync = flags.sync === 'os' ? 'os' : 'group'
  const figures = await (flags.reopen ? measureOpening : measure)(flags.layout, sync)
  print(JSON.stringify(figures))
} else compare()
