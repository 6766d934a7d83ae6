/**
 * The common life of a server process: configuration from file, environment and flags, log, metrics
 * and health pages, start, drain on SIGTERM, exit code (product.md: 0 fine, 1 failed, 2 bad usage or
 * configuration). What the server does is the caller's `start`.
 */
import { readFileSync } from 'node:fs'
import {
  describeConfig,
  effectiveConfig,
  loadConfig,
  type AnySection,
  type ConfigOf,
  type EffectiveOption,
  type Translation,
} from './config.ts'
import { plain, serveHttp, type HttpRoute, type HttpServer } from './http.ts'
import { createLog, type LogLevel } from './log.ts'
import { RecentLines } from './log-recent.ts'
import { Metrics } from './metrics.ts'
import { nodeRuntime } from './node.ts'
import { metricsPage } from './open-metrics.ts'
import type { Log, LogFields, Runtime } from './runtime.ts'
import { systemError } from './system-error.ts'

export interface RunningServer {
  /** Undefined when ready, else the reason why not; for `/readyz`. Left out: ready once started. */
  readonly unreadyReason?: () => string | undefined
  /** Reasons why it serves in a degraded way; shown on `/readyz`, which stays 200. */
  readonly degradedReasons?: () => readonly string[]
  /** Further pages of the health server. */
  readonly routes?: Readonly<Record<string, HttpRoute>>
  /** Reads its configuration again, on SIGHUP. */
  readonly reload?: () => Promise<void>
  /** Stops accepting, finishes what is in flight, closes everything. Called once. */
  readonly drain: () => Promise<void>
  /** A drain that takes longer ends the process with exit code 1; a minute when left out. */
  readonly drainMsMax?: () => number
}

export interface ServerProcess<Schema extends AnySection> {
  /** Such as `meta`: the log's name and the word in messages. */
  readonly name: string
  readonly schema: Schema
  /** Takes configuration files of another program (`ConfigSources.translate`). */
  readonly translate?: (root: unknown) => Translation | undefined
  /** The words of the command line behind the command. */
  readonly words: readonly string[]
  /** Where the health server listens; undefined for none. */
  readonly health: (
    config: ConfigOf<Schema>,
  ) => { readonly host: string; readonly port: number } | undefined
  readonly logLevel?: (config: ConfigOf<Schema>) => LogLevel
  /** Stand on every line, such as which of many gateways it is. */
  readonly logFields?: (config: ConfigOf<Schema>) => LogFields
  /** What is wrong between options that are fine by themselves; none: the configuration is valid. */
  readonly problems?: (config: ConfigOf<Schema>) => readonly string[]
  readonly start: (context: ServerContext<ConfigOf<Schema>>) => Promise<RunningServer>
}

export interface Loaded<Config> {
  readonly config: Config
  /** The same for people: every option with its source, secrets masked. */
  readonly effective: readonly EffectiveOption[]
  /** What an operator should know of it. */
  readonly notes: readonly string[]
}

export interface ServerContext<Config> extends Loaded<Config> {
  /** File, environment and flags once more, for a reload; as valid as at the start, or not at all. */
  readonly reread: () => Loaded<Config> | { readonly problems: readonly string[] }
  readonly runtime: Runtime
  readonly metrics: Metrics
  readonly log: Log
  /** Its last warnings and errors. */
  readonly recent: RecentLines
}

const drainMsMaxUsual = 60_000
/** After a drain nothing should keep the process alive; what does anyway gets this long. */
const lingerMsMax = 5_000

export interface ServerFlags {
  readonly file: string | undefined
  readonly check: boolean
  readonly help: boolean
  /** Options by path. */
  readonly flags: Readonly<Record<string, string>>
}

/** `--config FILE`, `--check-config`, `--help`, and `--PATH VALUE` or `--PATH=VALUE` per option. */
export function parseServerFlags(
  words: readonly string[],
): ServerFlags | { readonly problem: string } {
  const flags: Record<string, string> = {}
  let file: string | undefined
  let check = false
  let help = false
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const [, name = '', attached] = /^--([A-Za-z][A-Za-z0-9.-]*)(?:=(.*))?$/s.exec(word) ?? []
    if (name === '') return { problem: `${word}: expected a flag such as --config FILE` }
    if (name === 'check-config') check = true
    else if (name === 'help') help = true
    else {
      const value = attached ?? words[++at]
      if (value === undefined) return { problem: `--${name}: a value must follow` }
      if (name === 'config') file = value
      else flags[name] = value
    }
  }
  return { file, check, help, flags }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Resolves to the exit code when the server has ended. */
export async function runServer<Schema extends AnySection>(
  server: ServerProcess<Schema>,
): Promise<number> {
  const flags = parseServerFlags(server.words)
  if ('problem' in flags) {
    say(`metaproxy ${server.name}: ${flags.problem}`)
    return 2
  }
  if (flags.help) {
    process.stdout.write(`${describeConfig(server.schema).join('\n')}\n`)
    return 0
  }
  const loaded = configOf(server, flags)
  if ('problems' in loaded) {
    for (const problem of loaded.problems) say(`metaproxy ${server.name}: ${problem}`)
    return 2
  }
  if (flags.check) {
    process.stdout.write('configuration is valid\n')
    return 0
  }
  return serve(server, loaded, () => configOf(server, flags))
}

function configOf<Schema extends AnySection>(
  { schema, translate, problems }: ServerProcess<Schema>,
  { file, flags }: ServerFlags,
): Loaded<ConfigOf<Schema>> | { readonly problems: readonly string[] } {
  let fileText: string | undefined
  if (file !== undefined)
    try {
      fileText = readFileSync(file, 'utf8')
    } catch (cause) {
      return { problems: [systemError(`cannot read the configuration ${file}`, cause).message] }
    }
  const loaded = loadConfig(schema, {
    ...(fileText === undefined ? {} : { fileText }),
    ...(file === undefined ? {} : { fileName: file }),
    environment: process.env,
    environmentPrefix: 'METAPROXY',
    flags,
    ...(translate === undefined ? {} : { translate }),
  })
  if (!loaded.ok) return { problems: loaded.problems }
  const { config, origins, notes } = loaded
  const between = problems?.(config) ?? []
  if (between.length > 0) return { problems: between }
  return { config, effective: effectiveConfig(schema, config, origins), notes }
}

async function serve<Schema extends AnySection>(
  server: ServerProcess<Schema>,
  loaded: Loaded<ConfigOf<Schema>>,
  reread: ServerContext<ConfigOf<Schema>>['reread'],
): Promise<number> {
  const { config, notes } = loaded
  const recent = new RecentLines(() => Date.now())
  const log = createLog({
    recent,
    level: server.logLevel?.(config) ?? 'info',
    name: server.name,
    fields: server.logFields?.(config) ?? {},
  })
  const dieOf = (message: string) => (error: unknown) => {
    log.error(message, { error })
    process.exit(1)
  }
  process.on('uncaughtException', dieOf('uncaught exception'))
  process.on('unhandledRejection', dieOf('unhandled rejection'))
  const stop = stopSignal(log)
  for (const note of notes) log.warn('configuration', { note })
  const metrics = new Metrics()
  metrics.collectProcess()
  let health: HttpServer | undefined
  let running: RunningServer
  const state = { draining: false }
  try {
    const runtime = nodeRuntime({ log })
    running = await server.start({ ...loaded, reread, runtime, metrics, log, recent })
    const at = server.health(config)
    if (at !== undefined)
      health = await serveHttp({ ...at, routes: healthRoutes(running, metrics, state) })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    // A stack helps with defects only: a port in use, a foreign folder and the like have a code.
    const isExpected = error instanceof Error && 'code' in error && error.name !== 'TypeError'
    log.error('start failed', isExpected ? { reason } : { error })
    say(`metaproxy ${server.name}: ${reason}`)
    // What was started before the failure must not keep the process alive.
    process.exit(1)
  }
  const reload = running.reload
  if (reload !== undefined)
    process.on('SIGHUP', () => {
      reload().catch((error: unknown) => log.error('reload failed', { error }))
    })
  log.info('serving', {
    health: health === undefined ? undefined : `${health.host}:${health.port}`,
  })
  // A server whose listeners are its only handles must stay alive until it is told to end.
  const alive = setInterval(() => undefined, 1 << 30)
  await stop
  state.draining = true
  const code = await drain(running, health, log)
  clearInterval(alive)
  return code
}

/** Resolves at the first SIGTERM or SIGINT; the second one ends the process at once. */
function stopSignal(log: Log): Promise<void> {
  return new Promise((resolve) => {
    let count = 0
    const onSignal = (signal: string): void => {
      count++
      log.info(count === 1 ? 'draining' : 'ending at once', { signal })
      if (count > 1) process.exit(1)
      resolve()
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}

async function drain(
  running: RunningServer,
  health: HttpServer | undefined,
  log: Log,
): Promise<number> {
  const drainMsMax = running.drainMsMax?.() ?? drainMsMaxUsual
  const overdue = setTimeout(() => {
    log.error('drain took too long', { drainMsMax })
    process.exit(1)
  }, drainMsMax)
  try {
    await running.drain()
    await health?.close()
    log.info('ended')
    setTimeout(() => {
      log.warn('something was left open; ending')
      process.exit(0)
    }, lingerMsMax).unref()
    return 0
  } catch (error) {
    log.error('drain failed', { error })
    return 1
  } finally {
    clearTimeout(overdue)
  }
}

function healthRoutes(
  running: RunningServer,
  metrics: Metrics,
  state: { readonly draining: boolean },
): Readonly<Record<string, HttpRoute>> {
  return {
    '/healthz': async () => plain(200, 'ok'),
    '/readyz': async () => {
      const reason = state.draining ? 'draining' : running.unreadyReason?.()
      if (reason !== undefined) return plain(503, reason)
      const degraded = running.degradedReasons?.() ?? []
      return plain(200, degraded.length === 0 ? 'ready' : `degraded: ${degraded.join('; ')}`)
    },
    '/metrics': async (_query, _method, _body, accept) => ({
      status: 200,
      ...metricsPage(await metrics.text(), accept),
    }),
    ...running.routes,
  }
}
