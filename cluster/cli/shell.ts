/**
 * `metaproxy shell --gateway URL`: a thin client of the admin API (gateway.md H-5), one command or
 * interactive. Exit codes: 0 fine, 1 failed, 2 bad usage.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { approvalCommands } from './shell-approvals.ts'
import type { CommandOutput, ShellCommand } from './shell-command.ts'
import { fleetCommands } from './shell-fleet.ts'
import { gatewayCommands } from './shell-gateways.ts'
import { GatewayApi, ShellError } from './shell-http.ts'
import { tableCommands } from './shell-tables.ts'
import { readWords, splitLine } from './shell-words.ts'

const commands: readonly ShellCommand[] = [
  ...tableCommands,
  ...approvalCommands,
  ...gatewayCommands,
  ...fleetCommands,
]
const common = ['gateway', 'meta', 'token-file', 'json', 'help', 'reason', 'dry-run'] as const
const GATEWAY = 'http://127.0.0.1:34680'
const HISTORY_MAX = 1000

interface Session {
  readonly api: GatewayApi
  readonly json: boolean
}

export interface ShellWorld {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly print: (line: string) => void
  readonly complain: (line: string) => void
}

function usage(): string {
  const width = Math.max(...commands.map(({ name, words }) => name.length + words.length + 1))
  const lines = commands.map(
    ({ name, words, about }) => `  ${`${name} ${words}`.padEnd(width)}  ${about}`,
  )
  return [
    `metaproxy shell [--gateway URL] [--token-file FILE] [--json] [COMMAND …]`,
    '',
    `Without a command: interactive. URL is ${GATEWAY} or METAPROXY_GATEWAY when not given,`,
    'the token METAPROXY_TOKEN. Changes take --reason TEXT, --dry-run and --if-match VERSION.',
    '',
    ...lines,
  ].join('\n')
}

/** Resolves to the exit code. */
export async function shell(
  words: readonly string[],
  world: ShellWorld = {
    environment: process.env,
    print: (line) => void process.stdout.write(`${line}\n`),
    complain: (line) => void process.stderr.write(`${line}\n`),
  },
): Promise<number> {
  try {
    const all = new Set([...common, ...commands.flatMap(({ flags }) => flags)])
    const { plain, flags } = readWords(words, all)
    if (flags.has('help')) {
      world.print(usage())
      return 0
    }
    const session = await openSession(flags, world)
    return plain.length === 0 ? await interact(session, world) : await run(session, words, world)
  } catch (error) {
    return complain(error, world, false)
  }
}

async function openSession(
  flags: ReadonlyMap<string, string>,
  { environment }: ShellWorld,
): Promise<Session> {
  if (flags.has('meta'))
    throw new ShellError('--meta: this shell speaks to gateways only; give --gateway URL', {
      isUsage: true,
    })
  const file = flags.get('token-file')
  let token = environment['METAPROXY_TOKEN']
  if (file !== undefined) token = (await fileText(file)).trim()
  const url = flags.get('gateway') ?? environment['METAPROXY_GATEWAY'] ?? GATEWAY
  return { api: new GatewayApi(url, { token }), json: flags.has('json') }
}

async function fileText(path: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'not UTF-8' : message
    throw new ShellError(`cannot read ${path}: ${reason}`, { isUsage: true })
  }
}

/** The command whose name the words begin with, the longest one. */
function find(plain: readonly string[]): ShellCommand {
  for (const length of [2, 1]) {
    const name = plain.slice(0, length).join(' ')
    const found = commands.find((command) => command.name === name)
    if (found !== undefined && plain.length >= length) return found
  }
  const [first = ''] = plain
  const near = commands.filter(({ name }) => name.split(' ')[0] === first).map(({ name }) => name)
  const hint = near.length === 0 ? 'try help' : `known: ${near.join(', ')}`
  throw new ShellError(`unknown command ${plain.slice(0, 2).join(' ')}; ${hint}`, { isUsage: true })
}

/** Resolves to the exit code. */
async function run(session: Session, words: readonly string[], world: ShellWorld): Promise<number> {
  const loose = readWords(words, new Set([...common, ...commands.flatMap(({ flags }) => flags)]))
  const json = session.json || loose.flags.has('json')
  const abort = new AbortController()
  const onInterrupt = (): void => abort.abort()
  process.once('SIGINT', onInterrupt)
  try {
    const command = find(loose.plain)
    const { plain, flags } = readWords(words, new Set([...common, ...command.flags]))
    const reason = flags.get('reason')
    const output = await command.run({
      api: session.api,
      plain: plain.slice(command.name.split(' ').length),
      flags,
      changeHeaders: reason === undefined ? {} : { 'x-change-reason': encodeURIComponent(reason) },
      isDryRun: flags.has('dry-run'),
      signal: abort.signal,
      readFile: fileText,
      writeFile,
      print: world.print,
    })
    return show(output, json, world)
  } catch (error) {
    return complain(error, world, json)
  } finally {
    process.removeListener('SIGINT', onInterrupt)
  }
}

function show({ json, text, failed }: CommandOutput, asJson: boolean, world: ShellWorld): number {
  if (asJson && json !== undefined)
    world.print(typeof json === 'string' ? json : JSON.stringify(json))
  else if (text !== '') world.print(text)
  return failed === true ? 1 : 0
}

function complain(error: unknown, world: ShellWorld, asJson: boolean): number {
  if (!(error instanceof ShellError)) throw error
  if (asJson && error.problem !== undefined) world.print(JSON.stringify(error.problem))
  world.complain(`metaproxy shell: ${error.message}`)
  return error.isUsage ? 2 : 1
}

/** Line by line; the exit code is that of the last command when lines come from a pipe. */
async function interact(session: Session, world: ShellWorld): Promise<number> {
  const isTerminal = process.stdin.isTTY
  const lines = createInterface({
    input: process.stdin,
    output: isTerminal ? process.stdout : undefined,
    historySize: HISTORY_MAX,
    removeHistoryDuplicates: true,
    completer: complete,
    prompt: `${session.api.address.replace(/^https?:\/\//, '')}> `,
  })
  if (isTerminal) world.print(`${session.api.address}; help for help, Ctrl-D ends`)
  let code = 0
  if (isTerminal) lines.prompt()
  for await (const line of lines) {
    code = await oneLine(session, line, world)
    if (code < 0) break
    if (isTerminal) lines.prompt()
  }
  lines.close()
  return isTerminal || code < 0 ? 0 : code
}

/** -1 ends the shell. */
async function oneLine(session: Session, line: string, world: ShellWorld): Promise<number> {
  try {
    const words = splitLine(line.trim())
    const [first] = words
    if (first === undefined || first.startsWith('#')) return 0
    if (first === 'exit' || first === 'quit') return -1
    if (first !== 'help') return await run(session, words, world)
    world.print(usage())
    return 0
  } catch (error) {
    return complain(error, world, session.json)
  }
}

function complete(line: string): [string[], string] {
  const found = commands.map(({ name }) => name).filter((name) => name.startsWith(line))
  return [found.map((name) => `${name} `), line]
}
