/**
 * `npm run bench:gateway`: configuration queries per CPU-second of the gateway's processes, against
 * the same query sent straight to the meta server and through haproxy in TCP mode, in interleaved
 * rounds of one run. Question: what does understanding the query cost over forwarding its bytes?
 * Expectation: the two system calls per query dominate, so about haproxy's figure per core.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type BenchRow, cpuSeconds, median, report, residentMb } from './measure.ts'
import { listening, stop } from './programs.ts'
import type { QueryLoadResult } from './query-load.ts'

const run = promisify(execFile)
const haproxyPath = '/usr/sbin/haproxy'
const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 3
const seconds = quick ? 2 : 5
/** `--port-base N`: where the onebox's ports begin, when the usual ones are taken. */
const portBase = Number(optionOf('--port-base') ?? 24_600)
const here = new URL('.', import.meta.url).pathname
const cli = join(here, '../../cluster/cli/main.js')

function optionOf(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

interface Target {
  readonly name: string
  readonly address: string
  readonly pids: readonly number[]
}

interface Figure {
  readonly perCpuSecond: number
  readonly load: QueryLoadResult
}

async function measure(target: Target, connections: number, pipeline: number): Promise<Figure> {
  const before = cpuSeconds(target.pids)
  const words = [target.address, connections, pipeline, seconds, 'temp'].map(String)
  const { stdout } = await run(process.execPath, [join(here, 'query-load.js'), ...words])
  const used = cpuSeconds(target.pids) - before
  const load = JSON.parse(stdout) as QueryLoadResult
  return { perCpuSecond: load.queries / used, load }
}

async function startOnebox(folder: string): Promise<ChildProcess> {
  const words = ['onebox', '--clusters', '1', '--port-base', String(portBase), '--data-dir', folder]
  const child = spawn(process.execPath, [cli, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      if (/^ready$/m.test(chunk.toString())) resolve()
    })
    child.once('exit', () => reject(new Error('the onebox ended before it was ready')))
  })
  return child
}

async function metaLeader(): Promise<number> {
  for (const offset of [1011, 1012]) {
    const answer = await fetch(`http://127.0.0.1:${portBase + offset}/metrics`)
    if (/^meta_is_leader(\{[^}]*\})? 1$/m.test(await answer.text())) return portBase + offset - 1000
  }
  throw new Error('no meta server says that it leads')
}

function startHaproxy(folder: string, port: number, backend: number): ChildProcess {
  const config = join(folder, 'haproxy.cfg')
  writeFileSync(
    config,
    [
      'global',
      '  nbthread 1',
      '  maxconn 4000',
      'defaults',
      '  mode tcp',
      '  timeout connect 2s',
      '  timeout client 60s',
      '  timeout server 60s',
      'listen meta',
      `  bind 127.0.0.1:${port}`,
      `  server leader 127.0.0.1:${backend}`,
      '',
    ].join('\n'),
  )
  return spawn(haproxyPath, ['-q', '-f', config, '-db'], { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function main(): Promise<number> {
  if (!existsSync(haproxyPath)) {
    process.stderr.write('bench:gateway needs haproxy as its yardstick: apt-get install haproxy\n')
    return 1
  }
  const folder = mkdtempSync(join(tmpdir(), 'bench-gateway-'))
  const children: ChildProcess[] = []
  try {
    children.push(await startOnebox(folder))
    const state = JSON.parse(readFileSync(join(folder, 'onebox.json'), 'utf8')) as {
      servers: { name: string; pid: number; rpc: string }[]
    }
    const leaderPort = await metaLeader()
    const haproxy = startHaproxy(folder, portBase + 95, leaderPort)
    children.push(haproxy)
    await listening(portBase + 95)
    const pidOf = (match: (server: { name: string; rpc: string }) => boolean): number =>
      state.servers.find(match)?.pid ?? 0
    const gatewayPid = pidOf((server) => server.name === 'gateway')
    const targets: Target[] = [
      {
        name: 'straight to the meta server',
        address: `127.0.0.1:${leaderPort}`,
        pids: [pidOf((server) => server.rpc.endsWith(`:${leaderPort}`))],
      },
      { name: 'haproxy tcp', address: `127.0.0.1:${portBase + 95}`, pids: [haproxy.pid ?? 0] },
      { name: 'gateway', address: `127.0.0.1:${portBase + 1}`, pids: [gatewayPid] },
    ]
    // Code that runs for the first time is compiled: not what is measured.
    for (const target of targets) await measure(target, 64, 16)
    const rows: BenchRow[] = []
    for (const [connections, pipeline, goal] of [
      [64, 1, 1.1],
      [64, 16, 0.75],
    ] as const)
      rows.push(...(await compare(targets, connections, pipeline, goal)))
    rows.push({ name: 'gateway resident memory', value: residentMb([gatewayPid]), unit: 'MB' })
    return report('gateway', rows)
  } finally {
    for (const child of children.toReversed()) await stop(child)
    rmSync(folder, { recursive: true, force: true })
  }
}

async function compare(
  targets: readonly Target[],
  connections: number,
  pipeline: number,
  goal: number,
): Promise<BenchRow[]> {
  const figures = new Map<string, Figure[]>()
  for (let round = 0; round < rounds; round++)
    for (const target of targets) {
      const figure = await measure(target, connections, pipeline)
      figures.set(target.name, [...(figures.get(target.name) ?? []), figure])
    }
  const middle = (name: string, of: (figure: Figure) => number): number =>
    median((figures.get(name) ?? []).map(of))
  const yardstick = middle('haproxy tcp', (figure) => figure.perCpuSecond)
  return targets.map(({ name }) => {
    const value = middle(name, (figure) => figure.perCpuSecond)
    const perSecond = middle(name, ({ load }) => load.queries / load.seconds)
    const p50 = middle(name, ({ load }) => load.p50Ms)
    const p99 = middle(name, ({ load }) => load.p99Ms)
    const errors = (figures.get(name) ?? []).reduce((sum, { load }) => sum + load.errors, 0)
    return {
      name: `${name} c${connections} p${pipeline}`,
      value,
      unit: 'queries per CPU-second',
      yardstick: 'haproxy tcp',
      ratio: value / yardstick,
      ...(name === 'gateway' ? { goal } : {}),
      notes: `${Math.round(perSecond)}/s, p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, ${errors} errors`,
    }
  })
}

process.exitCode = await main()
