/**
 * A onebox of the built program for a test: own ports, own folder, and nothing left behind. Holds none
 * of the product's code; what it knows of the running servers it reads in `onebox.json`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isFree } from './ports.ts'

export interface ServerState {
  readonly name: string
  readonly role: 'zookeeper' | 'meta' | 'replica' | 'gateway'
  readonly cluster?: string
  readonly pid: number | null
  readonly rpc: string
  readonly http?: string
  readonly dataDir?: string
}

export interface TestOnebox {
  readonly portBase: number
  readonly directory: string
  /** `host:port` that Pegasus clients are given. */
  readonly gateway: string
  /** Base URL of the admin API. */
  readonly admin: string
  /** What it printed so far. */
  readonly output: () => string
  readonly servers: () => readonly ServerState[]
  /** The server of that name; fails when there is none. */
  readonly server: (name: string) => ServerState
  /** SIGKILL; resolves to the pid that was killed. */
  readonly kill: (name: string) => number
  /** Ctrl-C; resolves to the exit code. The folder stays. */
  readonly stop: () => Promise<number | null>
  /** Stops when running, and removes the folder. */
  readonly remove: () => Promise<void>
}

/** The built command line: `dist` unless the tests were compiled elsewhere. */
export const metaproxy = new URL('../../cluster/cli/main.js', import.meta.url).pathname

/** Offsets that a onebox listens on (product.md). */
const offsets = [1, 80, 90, 11, 12, 21, 22, 23, 31, 32, 41, 42, 43]

/** A base whose ports are free now; below the range that the system gives to outgoing connections. */
export async function freePortBase(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const base = 12_000 + Math.floor(Math.random() * 180) * 100
    const ports = offsets.flatMap((offset) => [base + offset, base + offset + 1000])
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return base
  }
  throw new Error('no free range of ports found')
}

/** Polls until the condition holds; the message says what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`waited ${timeoutMs} ms for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Starts a onebox and waits for its `ready`. `directory` continues an earlier one. */
export async function startOnebox(
  options: {
    readonly flags?: readonly string[]
    readonly directory?: string
    readonly portBase?: number
  } = {},
): Promise<TestOnebox> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'onebox-test-'))
  const portBase = options.portBase ?? (await freePortBase())
  const words = ['onebox', '--port-base', String(portBase), '--data-dir', directory]
  const child = spawn(process.execPath, [metaproxy, ...words, ...(options.flags ?? [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const read = (chunk: Buffer): void => {
    output += chunk.toString()
  }
  child.stdout.on('data', read)
  child.stderr.on('data', read)
  const box = describe(child, directory, portBase, () => output)
  try {
    await until(
      'the onebox to be ready',
      () => {
        if (child.exitCode !== null) throw new Error(`the onebox ended with ${child.exitCode}`)
        return /^ready$/m.test(output)
      },
      150_000,
    )
  } catch (cause) {
    const logs = lastLogLines(directory)
    await box.remove()
    throw new Error(`the onebox did not start:\n${output}\n${logs}`, { cause })
  }
  return box
}

function describe(
  child: ChildProcess,
  directory: string,
  portBase: number,
  output: () => string,
): TestOnebox {
  const servers = (): readonly ServerState[] =>
    (JSON.parse(readFileSync(join(directory, 'onebox.json'), 'utf8')) as { servers: ServerState[] })
      .servers
  const server = (name: string): ServerState => {
    const found = servers().find((candidate) => candidate.name === name)
    if (found === undefined) throw new Error(`no server ${name}`)
    return found
  }
  const stop = async (): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null)
      await new Promise<void>((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGINT')
      })
    return child.exitCode
  }
  return {
    portBase,
    directory,
    gateway: `127.0.0.1:${portBase + 1}`,
    admin: `http://127.0.0.1:${portBase + 80}`,
    output,
    servers,
    server,
    kill: (name) => {
      const { pid } = server(name)
      if (pid === null) throw new Error(`${name} is not running`)
      process.kill(pid, 'SIGKILL')
      return pid
    },
    stop,
    remove: async () => {
      await stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The ends of the servers' logs, for the message of a failed start. */
function lastLogLines(directory: string): string {
  const path = join(directory, 'onebox.json')
  if (!existsSync(path)) return ''
  const { servers } = JSON.parse(readFileSync(path, 'utf8')) as { servers: ServerState[] }
  return servers
    .map(({ name }) => {
      const log = join(directory, 'logs', `${name}.log`)
      const lines = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').slice(-5) : []
      return `--- ${name}\n${lines.join('\n')}`
    })
    .join('\n')
}
