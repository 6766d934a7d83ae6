/**
 * How long clients see of what happens behind the gateway: a mapping that changes, a ZooKeeper session
 * that is lost, metas that die and come back, a ZooKeeper that is silent. Measured from the event to
 * the answer that shows it, by a client that asks one query after the other.
 */
import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { GatewayStand, Measured } from './gateway-stand.ts'
import { type BenchRow, median } from './measure.ts'
import { stop } from './programs.ts'

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const SESSION_MS = 2000
/** What the gateway's own error frames are smaller than. */
const ANSWER_BYTES_MIN = 200
const GAP_WINDOW_MS = 1500
/** A frozen process is taken for dead after this, whatever it waits for. */
const GIVE_UP_MS = 20_000

/** One connection that asks for one table again and again. */
class Watcher {
  readonly #frame: Buffer
  readonly #port: number
  #stopped = false
  /** Size of the last answer's frame; 0 before the first. */
  bytes = 0
  /** Monotonic time of it. */
  atMs = 0
  /** The longest time without an answer since `longestGap` began. */
  #gapMs = 0

  constructor(port: number, table: string) {
    this.#port = port
    const argument = encodeArgument(QueryCfgRequest, QueryCfgRequest.make({ appName: table }))
    this.#frame = encodeRequest(emptyHeader, QUERY, 1, argument)
    this.#run()
  }

  #run(): void {
    const socket = connect({ host: '127.0.0.1', port: this.#port, noDelay: true })
    let rest: Buffer = Buffer.alloc(0)
    socket.on('connect', () => socket.write(this.#frame))
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      if (rest.length < 4 || rest.length < rest.readInt32BE(0)) return
      const nowMs = performance.now()
      this.bytes = rest.readInt32BE(0)
      this.#gapMs = Math.max(this.#gapMs, nowMs - this.atMs)
      this.atMs = nowMs
      rest = Buffer.alloc(0)
      if (this.#stopped) socket.destroy()
      else socket.write(this.#frame)
    })
    socket.on('error', () => undefined)
  }

  /** From now until an answer of which the condition holds. */
  async until(what: string, isSeen: (bytes: number) => boolean): Promise<number> {
    const startedAtMs = performance.now()
    while (this.atMs < startedAtMs || !isSeen(this.bytes)) {
      if (performance.now() - startedAtMs > GIVE_UP_MS) throw new Error(`never seen: ${what}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return this.atMs - startedAtMs
  }

  /** The longest time without an answer from now on, seen over `GAP_WINDOW_MS`. */
  async longestGap(): Promise<number> {
    this.#gapMs = 0
    await new Promise((resolve) => setTimeout(resolve, GAP_WINDOW_MS))
    await this.until('an answer', isAnswer)
    return this.#gapMs
  }

  stop(): void {
    this.#stopped = true
  }
}

const isError = (bytes: number): boolean => bytes < ANSWER_BYTES_MIN
const isAnswer = (bytes: number): boolean => bytes >= ANSWER_BYTES_MIN

export async function measureReactions(stand: GatewayStand, changes: number): Promise<BenchRow[]> {
  const gateway = await stand.startGateway('reactions', {
    'zookeeper.sessionTimeoutMs': String(SESSION_MS),
  })
  return [
    ...(await mappingChanges(stand, gateway, changes)),
    ...(await metas(stand, gateway)),
    ...(await silentZooKeeper(stand, gateway)),
  ]
}

function atMost(name: string, valueMs: number, goalMs: number, notes?: string): BenchRow {
  return {
    name,
    value: valueMs,
    unit: 'ms',
    goal: goalMs,
    lowerIsBetter: true,
    ...(notes === undefined ? {} : { notes }),
  }
}

async function mappingChanges(
  stand: GatewayStand,
  gateway: Measured,
  changes: number,
): Promise<BenchRow[]> {
  const { child, ports } = await stand.startMetas(['8', '64'])
  const [small, large] = ports.map((port) => `127.0.0.1:${port}`)
  if (small === undefined || large === undefined) throw new Error('two metas are needed')
  await stand.map(['moving'], [small])
  const watcher = new Watcher(gateway.port, 'moving')
  await watcher.until('the first answer', isAnswer)
  const smallBytes = watcher.bytes
  const times: number[] = []
  for (let change = 0; change < changes; change++) {
    const toLarge = change % 2 === 0
    const [written, tookMs] = [
      stand.remap('moving', [toLarge ? large : small]),
      watcher.until('the new cluster', (bytes) => bytes > smallBytes === toLarge),
    ]
    times.push(await tookMs)
    await written
  }
  await stand.remap('moving', [small])
  await watcher.until('the first cluster', (bytes) => bytes === smallBytes)
  // Frozen for longer than its session lives; the change falls into that time.
  gateway.child.kill('SIGSTOP')
  await stand.remap('moving', [large])
  await new Promise((resolve) => setTimeout(resolve, 2 * SESSION_MS))
  gateway.child.kill('SIGCONT')
  const newSessionMs = await watcher.until('the new cluster', (bytes) => bytes > smallBytes)
  watcher.stop()
  await stop(child)
  const sorted = times.toSorted((a, b) => a - b)
  const p99Ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0
  const notes = `${changes} changes, from the write on`
  return [
    atMost('mapping changed until the new cluster answers, p50', median(times), 10, notes),
    atMost('mapping changed until the new cluster answers, p99', p99Ms, 50, notes),
    atMost('new ZooKeeper session until the new cluster answers', newSessionMs, 1000),
  ]
}

async function metas(stand: GatewayStand, gateway: Measured): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const death of ['SIGKILL', 'SIGSTOP'] as const) {
    const how = death === 'SIGKILL' ? 'killed' : 'frozen'
    const one = await stand.startMetas(['8'])
    const two = await stand.startMetas(['8'])
    const [portOne = 0] = one.ports
    const [portTwo = 0] = two.ports
    const table = `mortal_${how}`
    // The gateway asks the first of the list first: it becomes the leader.
    await stand.map([table], [`127.0.0.1:${portOne}`, `127.0.0.1:${portTwo}`])
    const watcher = new Watcher(gateway.port, table)
    await watcher.until('the first answer', isAnswer)
    one.child.kill(death)
    rows.push(atMost(`leader ${how} until the next answer`, await watcher.longestGap(), 300))
    two.child.kill(death)
    rows.push(
      atMost(`all metas ${how} until the error`, await watcher.until('the error', isError), 1000),
    )
    const back = death === 'SIGKILL' ? await stand.startMetas([`8@${portOne}`]) : one
    back.child.kill('SIGCONT')
    rows.push(
      atMost(
        `a ${how} meta back until it answers`,
        await watcher.until('an answer', isAnswer),
        1000,
      ),
    )
    watcher.stop()
    for (const child of [one.child, two.child, back.child]) await end(child)
  }
  return rows
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGCONT')
  await stop(child)
}

async function silentZooKeeper(stand: GatewayStand, gateway: Measured): Promise<BenchRow[]> {
  const tables = Array.from({ length: 64 }, (_, index) => `silent_${index}`)
  stand.zookeeper.freeze()
  const load = { port: gateway.port, connections: 64, pipeline: 1, seconds: 0, tables, once: true }
  const { queries, errors, p99Ms } = await stand.measure(load)
  stand.zookeeper.thaw()
  const isWhole = queries === tables.length && errors === tables.length
  const notes = isWhole ? 'each with the error' : `${errors} errors of ${queries} answers`
  return [
    atMost('ZooKeeper silent, 64 cold tables at once', isWhole ? p99Ms : Infinity, 1000, notes),
  ]
}
