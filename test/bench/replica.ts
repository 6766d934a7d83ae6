/**
 * `npm run bench:replica`: gets and synced puts per CPU-second of the replica servers, against
 * redis-server with the same connections, keys and values, in interleaved rounds of one run.
 *
 * Questions: what does a request cost here against a server in C that keeps all in memory? What does
 * a durable write cost (mutation log with a sync per group against `appendfsync always`), and what do
 * three copies cost? Expectation: redis does a get in a few microseconds of CPU, ours pays for
 * JavaScript and for a hop to the engine's thread; synced puts are nearer, since both wait for the
 * disk. The CPU of the servers counts in full: engine threads, and all copies where there are three.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { Peer } from '../../cluster/rpc/peer.ts'
import { deadlineIn } from '../../cluster/runtime/deadline.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { KeyValueResult, KeyValueTask } from './key-value-load.ts'
import { type BenchRow, cpuSeconds, flagsOf, median, report, residentMb } from './measure.ts'
import { listening, stop } from './programs.ts'

const run = promisify(execFile)
const redisPath = '/usr/bin/redis-server'
const { quick } = flagsOf({ quick: { type: 'boolean', default: false } })
const rounds = quick ? 1 : 3
const seconds = quick ? 2 : 5
const keys = 10_000
const valueBytes = 100
const portBase = 24_700
const redisName = 'redis-server'
const here = new URL('.', import.meta.url).pathname
const cli = join(here, '../../cluster/cli/main.js')

interface Target {
  readonly name: string
  readonly pids: readonly number[]
  readonly task: KeyValueTask['target']
}

interface Onebox {
  readonly process: ChildProcess
  readonly target: Target
}

interface Figure {
  readonly perCpuSecond: number
  readonly load: KeyValueResult
}

type Work = Pick<KeyValueTask, 'operation' | 'connections' | 'pipeline' | 'seconds'>

async function measure(target: Target, work: Work): Promise<Figure> {
  const task: KeyValueTask = { ...work, keys, valueBytes, target: target.task }
  const before = cpuSeconds(target.pids)
  const words = [join(here, 'key-value-load.js'), JSON.stringify(task)]
  const { stdout } = await run(process.execPath, words)
  const used = cpuSeconds(target.pids) - before
  const load = JSON.parse(stdout) as KeyValueResult
  if (load.errors > 0)
    throw new Error(`${target.name}: ${load.errors} requests of ${work.operation} failed`)
  return { perCpuSecond: load.operations / used, load }
}

/** One cluster with that many replica servers and copies of its table; ports from `base` on. */
async function startOnebox(folder: string, servers: number, base: number): Promise<Onebox> {
  const flags = { clusters: 1, metas: 1, replicas: servers, 'port-base': base, 'data-dir': folder }
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(process.execPath, [cli, 'onebox', ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      if (/^ready$/m.test(chunk.toString())) resolve()
    })
    child.once('exit', () => reject(new Error('the onebox ended before it was ready')))
  })
  const state = JSON.parse(readFileSync(join(folder, 'onebox.json'), 'utf8')) as {
    servers: { role: string; pid: number }[]
  }
  const pids = state.servers.filter(({ role }) => role === 'replica').map(({ pid }) => pid)
  const copies = servers === 1 ? 'one copy' : `${servers} copies`
  const task = await tableOf(`127.0.0.1:${base + 1}`)
  return { process: child, target: { name: `replica, ${copies}`, pids, task } }
}

async function tableOf(gateway: string): Promise<KeyValueTask['target']> {
  const runtime = nodeRuntime({ log: silentLog })
  const peer = new Peer(runtime, { address: gateway })
  try {
    const request = QueryCfgRequest.make({ appName: 'temp' })
    const deadline = deadlineIn(runtime.clock, 5000)
    const { appId, partitions } = await peer.call(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, request, {
      deadline,
    })
    return { kind: 'pegasus', appId, primaries: partitions.map(({ primary }) => primary) }
  } finally {
    peer.close()
  }
}

async function startRedis(folder: string, port: number): Promise<Onebox> {
  mkdirSync(folder)
  const flags = {
    ...{ bind: '127.0.0.1', port, dir: folder, save: '', daemonize: 'no' },
    ...{ appendonly: 'yes', appendfsync: 'always' },
  }
  const words = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(redisPath, words, { stdio: ['ignore', 'ignore', 'inherit'] })
  await listening(port)
  const task = { kind: 'redis', address: `127.0.0.1:${port}` } as const
  return { process: child, target: { name: redisName, pids: [child.pid ?? 0], task } }
}

async function compare(targets: readonly Target[], work: Work): Promise<BenchRow[]> {
  const figures = new Map<string, Figure[]>()
  for (let round = 0; round < rounds; round++)
    for (const target of targets) {
      const figure = await measure(target, work)
      figures.set(target.name, [...(figures.get(target.name) ?? []), figure])
    }
  const middle = (name: string, of: (figure: Figure) => number): number =>
    median((figures.get(name) ?? []).map(of))
  const yardstick = middle(redisName, ({ perCpuSecond }) => perCpuSecond)
  const what = work.operation === 'put' ? 'synced put' : 'get'
  const yardstickName = work.operation === 'put' ? `${redisName} appendfsync always` : redisName
  return targets.map(({ name }) => {
    const value = middle(name, ({ perCpuSecond }) => perCpuSecond)
    const perSecond = middle(name, ({ load }) => load.operations / load.seconds)
    const p50 = middle(name, ({ load }) => load.p50Ms)
    const p99 = middle(name, ({ load }) => load.p99Ms)
    return {
      name: `${what} c${work.connections} p${work.pipeline}: ${name}`,
      value,
      unit: `${work.operation}s per CPU-second`,
      yardstick: yardstickName,
      ratio: value / yardstick,
      notes: `${Math.round(perSecond)}/s, p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`,
    }
  })
}

async function main(): Promise<number> {
  if (!existsSync(redisPath)) {
    process.stderr.write(
      'bench:replica needs redis-server as its yardstick: apt-get install redis-server\n',
    )
    return 1
  }
  const folder = mkdtempSync(join(tmpdir(), 'bench-replica-'))
  const started: Onebox[] = []
  try {
    started.push(await startRedis(join(folder, 'redis'), portBase + 99))
    started.push(await startOnebox(join(folder, 'one'), 1, portBase))
    started.push(await startOnebox(join(folder, 'three'), 3, portBase + 100))
    const targets = started.map(({ target }) => target)
    const fill = { operation: 'put', connections: 64, pipeline: 1, seconds: 0 } as const
    for (const target of targets) await measure(target, fill)
    const rows: BenchRow[] = []
    const loads = [
      [64, 1],
      [64, 16],
    ] as const
    for (const operation of ['get', 'put'] as const)
      for (const [connections, pipeline] of loads)
        rows.push(...(await compare(targets, { operation, connections, pipeline, seconds })))
    for (const { name, pids } of targets)
      rows.push({ name: `resident memory: ${name}`, value: residentMb(pids), unit: 'MB' })
    return report('replica', rows)
  } finally {
    for (const { process: child } of started.toReversed()) await stop(child)
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main()
