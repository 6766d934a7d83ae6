/** The built `metaproxy gateway` as a process on free ports, told by what it logs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { request } from 'node:http'
import { until } from './gateway-world.ts'

const cli = new URL('../../cluster/cli/main.js', import.meta.url).pathname

export interface GatewayCommand {
  readonly child: ChildProcess
  readonly output: () => string
  /** Log lines so far; others are left out. */
  readonly lines: () => readonly Readonly<Record<string, unknown>>[]
  readonly ended: Promise<number | null>
  /** A field of the first log line that has it, such as `rpc` or `http`; waits for it. */
  readonly told: (field: string) => Promise<string>
  readonly get: (
    address: string,
    path: string,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<{ readonly status: number; readonly text: string; readonly type: string }>
  readonly stop: () => Promise<number | null>
}

export function startGatewayCommand(
  words: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): GatewayCommand {
  const child = spawn(process.execPath, [cli, 'gateway', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  let hasEnded = false
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      hasEnded = true
      resolve(code)
    })
  })
  const lines = (): Readonly<Record<string, unknown>>[] =>
    output.split('\n').flatMap((line) => {
      try {
        const parsed: unknown = JSON.parse(line)
        return typeof parsed === 'object' && parsed !== null ? [{ ...parsed }] : []
      } catch {
        return []
      }
    })
  return {
    child,
    output: () => output,
    lines,
    ended,
    told: async (field) => {
      const find = (): unknown => lines().find((line) => typeof line[field] === 'string')?.[field]
      await until(() => hasEnded || find() !== undefined)
      if (find() === undefined) throw new Error(`ended without ${field}:\n${output}`)
      return String(find())
    },
    get: (address, path, headers = {}) =>
      new Promise((resolve, reject) => {
        const call = request(`http://${address}${path}`, { headers, agent: false }, (response) => {
          let text = ''
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => (text += chunk))
          response.on('error', reject)
          response.on('end', () => {
            const type = response.headers['content-type'] ?? ''
            resolve({ status: response.statusCode ?? 0, text, type })
          })
        })
        call.on('error', reject)
        call.end()
      }),
    stop: async () => {
      child.kill('SIGTERM')
      return ended
    },
  }
}
