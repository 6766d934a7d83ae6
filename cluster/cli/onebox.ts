/**
 * `metaproxy onebox`: gateway, two clusters and the coordination service on this machine, each
 * server a process of its own, supervised. `metaproxy onebox start|stop|restart NAME` acts on one
 * server of a running onebox. What it promises is product.md ("Onebox").
 */
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, relative, resolve as absolute } from 'node:path'
import { makeDirectory } from '../runtime/node-files.ts'
import { type ControlAction, type ControlAnswer, askOnebox, ownFolder } from './onebox-control.ts'
import {
  type OneboxOptions,
  type OneboxPlan,
  UsageError,
  copiesOf,
  parseOneboxFlags,
  planOnebox,
} from './onebox-plan.ts'
import { Supervisor } from './onebox-supervisor.ts'
import { provideTables } from './onebox-tables.ts'

const formatVersion = 1
const readyTimeoutMs = 120_000

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function complain(line: string): void {
  process.stderr.write(`metaproxy onebox: ${line}\n`)
}

/** A failure that a person can mend: its message is the one line that is shown. */
class OneboxError extends Error {
  override readonly name = 'OneboxError'
}

export async function onebox(words: readonly string[]): Promise<number> {
  try {
    const [first] = words
    if (first === 'start' || first === 'stop' || first === 'restart')
      return await actOnOne(first, words.slice(1))
    return await runOnebox(parseOneboxFlags(words))
  } catch (error) {
    if (error instanceof UsageError) {
      complain(error.message)
      return 2
    }
    if (error instanceof OneboxError) {
      complain(error.message)
      return 1
    }
    throw error
  }
}

async function actOnOne(action: ControlAction, words: readonly string[]): Promise<number> {
  const [name, flag, directory] = words
  if (name === undefined || name.startsWith('-') || (flag !== undefined && flag !== '--data-dir'))
    throw new UsageError(`expected: onebox ${action} NAME [--data-dir DIR]`)
  const folder = absolute(directory ?? './data')
  let answer: ControlAnswer
  try {
    answer = await askOnebox(folder, { action, name })
  } catch {
    throw new OneboxError(`no onebox is running on ${folder}`)
  }
  if (answer.ok) say(answer.message)
  else complain(answer.message)
  return answer.ok ? 0 : 1
}

async function runOnebox(flags: OneboxOptions): Promise<number> {
  const options = { ...flags, dataDirectory: absolute(flags.dataDirectory) }
  await prepareFolder(options)
  const plan = planOnebox(options)
  const state = new OneboxState(options, plan)
  const lock = await ownFolder(options.dataDirectory, async (action, name) =>
    state.act(action, name),
  )
  if (lock === undefined)
    throw new OneboxError(`another onebox is running on ${options.dataDirectory}; stop it first`)
  try {
    for (const server of plan.servers)
      for (const address of [server.rpc, ...(server.http === undefined ? [] : [server.http])])
        await mustBeFree(address, server.name)
    return await state.run()
  } finally {
    lock.close()
  }
}

async function prepareFolder({ dataDirectory, fresh }: OneboxOptions): Promise<void> {
  const format = join(dataDirectory, 'format.json')
  try {
    await makeDirectory(dataDirectory)
    if (fresh) wipe(dataDirectory, format)
    if (existsSync(format)) checkFormat(format)
    else writeFileSync(format, `${JSON.stringify({ onebox: formatVersion })}\n`)
  } catch (cause) {
    if (cause instanceof OneboxError) throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new OneboxError(`cannot use ${dataDirectory} as the data folder: ${why}`, { cause })
  }
}

/** Empties only a folder that a onebox made, so that a wrong --data-dir costs nothing. */
function wipe(directory: string, format: string): void {
  const names = readdirSync(directory)
  if (names.length > 0 && !existsSync(format))
    throw new OneboxError(`--fresh: ${directory} was not made by a onebox, so it is not emptied`)
  for (const name of names)
    if (name !== 'onebox.sock') rmSync(join(directory, name), { recursive: true, force: true })
}

function checkFormat(path: string): void {
  let found: unknown
  try {
    found = (JSON.parse(readFileSync(path, 'utf8')) as { onebox?: unknown }).onebox
  } catch {
    throw new OneboxError(`${path} is not readable as JSON; expected {"onebox":${formatVersion}}`)
  }
  if (typeof found !== 'number' || found > formatVersion)
    throw new OneboxError(
      `the data folder has format ${String(found)}, this version reads up to ${formatVersion}: use a newer MetaProxy or another --data-dir`,
    )
}

async function mustBeFree(address: string, name: string): Promise<void> {
  const [host = '', port = ''] = address.split(':')
  await new Promise<void>((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new OneboxError(
          cause.code === 'EADDRINUSE'
            ? `${address} (for ${name}) is in use by another program; choose --port-base`
            : `cannot listen on ${address} (for ${name}): ${cause.message}`,
        ),
      ),
    )
    probe.listen(Number(port), host, () => probe.close(() => resolve()))
  })
}

/** One running onebox: its servers and its state file. */
class OneboxState {
  readonly #options: OneboxOptions
  readonly #plan: OneboxPlan
  readonly #supervisor: Supervisor
  #ready = false

  constructor(options: OneboxOptions, plan: OneboxPlan) {
    this.#options = options
    this.#plan = plan
    this.#supervisor = new Supervisor({
      dataDirectory: options.dataDirectory,
      restarts: options.supervise,
      changed: () => this.#writeState(),
    })
    for (const server of plan.servers) this.#supervisor.add(server)
  }

  async act(action: ControlAction, name: string): Promise<ControlAnswer> {
    if (!this.#supervisor.has(name)) {
      const names = this.#plan.servers.map((server) => server.name).join(', ')
      return { ok: false, message: `no server ${name}; there are ${names}` }
    }
    if (action !== 'start') await this.#supervisor.stop(name)
    if (action !== 'stop') this.#supervisor.start(name)
    return { ok: true, message: `${name}: ${action} done` }
  }

  async run(): Promise<number> {
    const stopAsked = new AbortController()
    const onSignal = (): void => {
      // A second signal does not wait for anybody.
      if (stopAsked.signal.aborted) process.exit(1)
      stopAsked.abort()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    for (const server of this.#plan.servers) this.#supervisor.start(server.name)
    let code = 0
    try {
      await this.#becomeReady(stopAsked.signal)
      if (!stopAsked.signal.aborted) await aborted(stopAsked.signal)
      say('stopping')
    } catch (error) {
      code = 1
      complain(error instanceof Error ? error.message : String(error))
    }
    this.#ready = false
    await this.#supervisor.close()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
    return code
  }

  async #becomeReady(signal: AbortSignal): Promise<void> {
    const { gateway, admin, clusters } = this.#plan
    say(`gateway       ${gateway}`)
    say(`admin         http://${admin}`)
    for (const { name, metas } of clusters)
      say(`cluster ${name.padEnd(5)} meta servers ${metas.join(', ')}`)
    say(`zookeeper     ${this.#plan.zookeeper}`)
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(readyTimeoutMs)])
    try {
      await provideTables({
        plan: this.#plan,
        tables: this.#options.tables,
        copies: copiesOf(this.#options),
        signal: deadline,
      })
    } catch (cause) {
      if (signal.aborted) return
      const logs = relative(process.cwd(), join(this.#options.dataDirectory, 'logs'))
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new OneboxError(
        `not ready within ${readyTimeoutMs / 1000} s: ${why}; the logs are in ${logs}`,
      )
    }
    this.#ready = true
    this.#writeState()
    say('')
    say('Try:')
    say(`  curl http://${admin}/api/v1/tables`)
    say(`  curl http://${admin}/metrics`)
    say(
      `  kill -9 any server listed in ${relative(process.cwd(), this.#statePath())}: it is started again`,
    )
    say('')
    say('ready')
  }

  #statePath(): string {
    return join(this.#options.dataDirectory, 'onebox.json')
  }

  #writeState(): void {
    const servers = this.#plan.servers.map(({ name, role, cluster, rpc, http, dataDirectory }) => ({
      name,
      role,
      ...(cluster === undefined ? {} : { cluster }),
      pid: this.#supervisor.pidOf(name) ?? null,
      rpc,
      ...(http === undefined ? {} : { http: `http://${http}` }),
      ...(dataDirectory === undefined ? {} : { dataDir: dataDirectory }),
    }))
    const path = this.#statePath()
    writeFileSync(`${path}.tmp`, `${JSON.stringify({ ready: this.#ready, servers })}\n`)
    renameSync(`${path}.tmp`, path)
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    // The timer keeps the process alive while nothing else does.
    const alive = setInterval(() => undefined, 60_000)
    signal.addEventListener('abort', () => {
      clearInterval(alive)
      resolve()
    })
  })
}
