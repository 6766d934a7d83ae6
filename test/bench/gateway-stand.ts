/**
 * What the gateway benchmark measures with: a real ZooKeeper with mapping nodes, the canned meta
 * server, gateways of the built program, haproxy in front of the same meta server, and a load
 * process. Everything listens on free ports of this machine and is gone after `close`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import {
  type RealZooKeeper,
  startRealZooKeeper,
  whyNoRealZooKeeper,
} from '../support/real-zookeeper.ts'
import { freePort } from '../support/ports.ts'
import { LineProgram, listening, metaproxy, stop } from './programs.ts'
import { cpuSeconds, keepOn, processors } from './measure.ts'
import type { QueryLoad, QueryLoadResult } from './query-load.ts'

const haproxyPath = '/usr/sbin/haproxy'
const root = '/metaproxy/tables'
/** Mapping nodes written at once. */
const WRITES_MAX = 200

/** A program whose CPU is measured, listening on `port`. */
export interface Measured {
  readonly name: string
  readonly kind: 'meta' | 'haproxy' | 'gateway'
  readonly port: number
  readonly child: ChildProcess
}

/** A sentence when the benchmark cannot run here, undefined when it can. */
export function whyNoStand(): string | undefined {
  if (!existsSync(haproxyPath))
    return 'bench:gateway needs haproxy as its yardstick: apt-get install haproxy'
  const missing = whyNoRealZooKeeper()
  return missing === undefined ? undefined : `bench:gateway needs a real ZooKeeper: ${missing}`
}

export class GatewayStand {
  readonly zookeeper: RealZooKeeper
  readonly #load = new LineProgram(['query-load'])
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-gateway-'))
  readonly #editor: Coordinator
  readonly #programs: ChildProcess[] = [this.#load.child]

  private constructor(zookeeper: RealZooKeeper) {
    this.zookeeper = zookeeper
    this.#editor = connectZooKeeper(nodeRuntime({ log: silentLog }), {
      servers: `127.0.0.1:${zookeeper.port}`,
      sessionTimeoutMs: 30_000,
      onExpiry: 'renew',
    })
  }

  static async start(): Promise<GatewayStand> {
    const stand = new GatewayStand(await startRealZooKeeper())
    await stand.#editor.create('/metaproxy', Buffer.alloc(0))
    await stand.#editor.create(root, Buffer.alloc(0))
    return stand
  }

  /** Puts a load on something, and takes the CPU that the process `pid` and its descendants used. */
  async measure(load: QueryLoad, pid = 0): Promise<QueryLoadResult & { readonly cpu: number }> {
    const pids = pid === 0 ? [] : [pid]
    this.#load.tell(JSON.stringify(load))
    await this.#load.line()
    const before = cpuSeconds(pids)
    this.#load.tell('go')
    const result = JSON.parse(await this.#load.line()) as QueryLoadResult
    const cpu = cpuSeconds(pids) - before
    this.#load.tell('close')
    return { ...result, cpu }
  }

  /**
   * Gives these a processor for themselves, one at a time being measured, and the load and `others` the
   * rest: where three processes share two processors, the ratio otherwise depends on how often the
   * one that is measured is moved and has its caches taken by the others. Not with one processor.
   */
  separate(measured: readonly Measured[], others: readonly ChildProcess[]): void {
    const cpus = processors()
    if (cpus.length < 2) return
    keepOn(
      cpus.slice(-1),
      measured.map(({ child }) => child.pid ?? 0),
    )
    keepOn(
      cpus.slice(0, -1),
      [this.#load.child, ...others].map(({ pid = 0 }) => pid),
    )
  }

  /** Writes the mapping nodes of new tables. */
  async map(tables: readonly string[], metas: readonly string[]): Promise<void> {
    const data = mapping(metas)
    for (let from = 0; from < tables.length; from += WRITES_MAX)
      await Promise.all(
        tables
          .slice(from, from + WRITES_MAX)
          .map((table) => this.#editor.create(`${root}/${table}`, data)),
      )
  }

  /** Writes the mapping node of a table that has one. */
  async remap(table: string, metas: readonly string[]): Promise<void> {
    await this.#editor.set(`${root}/${table}`, mapping(metas))
  }

  /** The 99th percentile of reading these tables with watches, so many at a time, without a gateway. */
  async readP99Ms(tables: readonly string[], readers: number): Promise<number> {
    const tookMs: number[] = []
    const left = [...tables]
    const read = async (): Promise<void> => {
      for (let table = left.pop(); table !== undefined; table = left.pop()) {
        const startedAtMs = performance.now()
        await this.#editor.get(`${root}/${table}`, () => undefined)
        tookMs.push(performance.now() - startedAtMs)
      }
    }
    await Promise.all(Array.from({ length: readers }, read))
    return tookMs.toSorted((a, b) => a - b)[Math.floor(0.99 * tookMs.length)] ?? Number.NaN
  }

  /** The canned meta server: a port for each of `PARTITIONS` or `PARTITIONS@PORT`. */
  async startMetas(words: readonly string[]): Promise<{ child: ChildProcess; ports: number[] }> {
    const program = new LineProgram(['canned-meta', words.join()])
    this.#programs.push(program.child)
    const ports = (await program.line()).split(',').map(Number)
    return { child: program.child, ports }
  }

  /** `nodeFlags` are those of Node, to look closer. */
  async startGateway(
    name: string,
    flags: Readonly<Record<string, string>>,
    nodeFlags: readonly string[] = [],
  ): Promise<Measured> {
    const [port, http] = await Promise.all([freePort(), freePort()])
    const options = {
      'rpc.host': '127.0.0.1',
      'rpc.port': String(port),
      'http.port': String(http),
      'zookeeper.servers': `127.0.0.1:${this.zookeeper.port}`,
      'zookeeper.root': root,
      'log.level': 'error',
      ...flags,
    }
    const words = Object.entries(options).flatMap(([key, value]) => [`--${key}`, value])
    const child = await this.#start(port, process.execPath, [
      ...nodeFlags,
      metaproxy,
      'gateway',
      ...words,
    ])
    return { name, kind: 'gateway', port, child }
  }

  /** Connections that say nothing, in a process of their own; open when this resolves. */
  async startIdleClients(port: number, count: number): Promise<ChildProcess> {
    const program = new LineProgram(['idle-clients', String(port), String(count)])
    this.#programs.push(program.child)
    await program.line()
    return program.child
  }

  /** haproxy in TCP mode with one thread: what forwarding costs without understanding anything. */
  async startHaproxy(metaPort: number): Promise<Measured> {
    const port = await freePort()
    const config = join(this.#folder, `haproxy-${port}.cfg`)
    const lines = [
      'global',
      '  nbthread 1',
      '  maxconn 4000',
      'defaults',
      '  mode tcp',
      '  timeout connect 2s',
      '  timeout client 600s',
      '  timeout server 600s',
      'listen meta',
      `  bind 127.0.0.1:${port}`,
      `  server leader 127.0.0.1:${metaPort}`,
      '',
    ]
    writeFileSync(config, lines.join('\n'))
    const child = await this.#start(port, haproxyPath, ['-q', '-f', config, '-db'])
    return { name: 'haproxy', kind: 'haproxy', port, child }
  }

  async #start(port: number, program: string, words: readonly string[]): Promise<ChildProcess> {
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'inherit'] })
    this.#programs.push(child)
    await listening(port)
    return child
  }

  async close(): Promise<void> {
    for (const child of this.#programs.toReversed()) await stop(child)
    await this.#editor.close()
    await this.zookeeper.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function mapping(metas: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify({ cluster: 'bench', 'meta-addrs': metas }))
}
