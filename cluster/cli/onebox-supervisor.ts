/**
 * Runs the servers of a onebox as child processes: starts them, restarts those that die with a
 * growing pause, stops them in order, and tells whoever wants to know what runs where.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, openSync, closeSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PlannedServer } from './onebox-plan.ts'

const restartPauseFirstMs = 200
const restartPauseMaxMs = 5000
/** A server that lived this long starts again with the first pause. */
const stableAfterMs = 10_000
/** SIGTERM first; SIGKILL when a server has not drained by then. */
const stopTimeoutMs = 8000

interface Supervised {
  readonly server: PlannedServer
  child: ChildProcess | undefined
  startedAtMs: number
  pauseMs: number
  restartTimer: NodeJS.Timeout | undefined
  /** False between a stop on purpose and the next start. */
  wanted: boolean
}

export class Supervisor {
  readonly #servers = new Map<string, Supervised>()
  readonly #directory: string
  readonly #restarts: boolean
  readonly #changed: () => void
  #closing = false

  /** `changed` is called after every start and death. */
  constructor(options: {
    readonly dataDirectory: string
    readonly restarts: boolean
    readonly changed: () => void
  }) {
    this.#directory = options.dataDirectory
    this.#restarts = options.restarts
    this.#changed = options.changed
    mkdirSync(join(this.#directory, 'logs'), { recursive: true })
    mkdirSync(join(this.#directory, 'config'), { recursive: true })
  }

  add(server: PlannedServer): void {
    // YAML is a superset of JSON: what people read is still one key a line.
    writeFileSync(this.#configPath(server), `${JSON.stringify(server.config, null, 2)}\n`)
    this.#servers.set(server.name, {
      server,
      child: undefined,
      startedAtMs: 0,
      pauseMs: restartPauseFirstMs,
      restartTimer: undefined,
      wanted: false,
    })
  }

  has(name: string): boolean {
    return this.#servers.has(name)
  }

  pidOf(name: string): number | undefined {
    return this.#servers.get(name)?.child?.pid
  }

  logPath(name: string): string {
    return join(this.#directory, 'logs', `${name}.log`)
  }

  start(name: string): void {
    const entry = this.#entry(name)
    entry.wanted = true
    if (entry.child === undefined && entry.restartTimer === undefined) this.#spawn(entry)
  }

  /** Resolves when the process has ended; killed after the drain time. */
  async stop(name: string): Promise<void> {
    const entry = this.#entry(name)
    entry.wanted = false
    clearTimeout(entry.restartTimer)
    entry.restartTimer = undefined
    const child = entry.child
    if (child === undefined) return
    await new Promise<void>((resolve) => {
      const kill = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
      child.once('exit', () => {
        clearTimeout(kill)
        resolve()
      })
      child.kill('SIGTERM')
    })
  }

  /** Gateways first, so that clients hear of it; the coordination service last. */
  async close(): Promise<void> {
    this.#closing = true
    for (const role of ['gateway', 'replica', 'meta', 'zookeeper'] as const) {
      const names = [...this.#servers.values()]
        .filter((entry) => entry.server.role === role)
        .map((entry) => entry.server.name)
      await Promise.all(names.map(async (name) => this.stop(name)))
    }
  }

  #entry(name: string): Supervised {
    const entry = this.#servers.get(name)
    if (entry === undefined) throw new Error(`no server ${name}`)
    return entry
  }

  #configPath(server: PlannedServer): string {
    return join(this.#directory, 'config', `${server.name}.yaml`)
  }

  #spawn(entry: Supervised): void {
    const { server } = entry
    const log = openSync(this.logPath(server.name), 'a')
    const main = process.argv[1] ?? ''
    const child = spawn(
      process.execPath,
      [main, server.role, '--config', this.#configPath(server)],
      {
        stdio: ['ignore', log, log, 'ipc'],
        // The channel is the leash: a server whose supervisor is gone ends itself.
        env: { ...process.env, METAPROXY_SUPERVISED: '1', UV_THREADPOOL_SIZE: '4' },
      },
    )
    closeSync(log)
    entry.child = child
    entry.startedAtMs = performance.now()
    child.on('error', () => undefined)
    child.on('exit', () => this.#died(entry))
    this.#changed()
  }

  #died(entry: Supervised): void {
    entry.child = undefined
    this.#changed()
    if (!entry.wanted || this.#closing || !this.#restarts) return
    const lived = performance.now() - entry.startedAtMs
    entry.pauseMs =
      lived > stableAfterMs ? restartPauseFirstMs : Math.min(restartPauseMaxMs, entry.pauseMs * 2)
    entry.restartTimer = setTimeout(() => {
      entry.restartTimer = undefined
      this.#spawn(entry)
    }, entry.pauseMs)
  }
}
