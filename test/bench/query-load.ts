/**
 * Load for the gateway benchmark, a process of its own: takes one job a line from its input, as JSON,
 * says when all connections are up, begins at the next line, and answers with one line of JSON while
 * they are still up: what they cost to open and close is not part of what is measured. A job is C
 * connections, each with P configuration queries in flight over a list of tables, for a number of
 * seconds. It counts replies by their length word and looks only at the two error names, so that it
 * costs less than what it measures.
 */
import { type OnReadOpts, type Socket, connect } from 'node:net'
import { createInterface } from 'node:readline'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'

export interface QueryLoad {
  readonly port: number
  readonly connections: number
  /** Queries in flight on each connection. */
  readonly pipeline: number
  readonly seconds: number
  readonly tables: readonly string[]
  /** Each table is asked for once, then the job is done; `seconds` does not count. */
  readonly once?: boolean
}

export interface QueryLoadResult {
  readonly queries: number
  readonly seconds: number
  /** Answers that are not ERR_OK. */
  readonly errors: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
/** Where an answer's header error begins, and the error in its body. */
const HEADER_ERROR_AT = 4
const BODY_ERROR_AT = 4 + 10 + 8 + QUERY.length + 4 + 4 + 6
const ERR_OK_BYTES = 6
const READ_BYTES = 256 << 10
/** Queries that one `write` may carry. */
const BURST_MAX = 64
/** Latency in steps of 20 us, up to 2 s. */
const STEPS_PER_MS = 50
const STEPS = 100_000

/** Queries for the tables in turn, in one piece, so that any run of them is a slice. */
class Queries {
  readonly #bytes: Buffer
  readonly #starts: readonly number[]
  readonly count: number

  constructor(tables: readonly string[], isCycle: boolean) {
    this.count = tables.length
    const cycle = isCycle ? [...tables, ...wrapped(tables)] : tables
    const frames = cycle.map((appName) =>
      encodeRequest(
        emptyHeader,
        QUERY,
        1,
        encodeArgument(QueryCfgRequest, QueryCfgRequest.make({ appName })),
      ),
    )
    const starts = [0]
    for (const frame of frames) starts.push((starts.at(-1) ?? 0) + frame.length)
    this.#bytes = Buffer.concat(frames)
    this.#starts = starts
  }

  slice(from: number, count: number): Buffer {
    return this.#bytes.subarray(this.#starts[from], this.#starts[from + count])
  }
}

/** What stands behind the last table so that a burst may run over the end. */
function wrapped(tables: readonly string[]): string[] {
  return Array.from({ length: BURST_MAX }, (_, index) => tables[index % tables.length] ?? '')
}

class Run {
  readonly #load: QueryLoad
  readonly #queries: Queries
  readonly #histogram = new Uint32Array(STEPS)
  #connections: Connection[] = []
  #startedAtMs = 0
  #next = 0
  #answered = 0
  #errors = 0

  constructor(load: QueryLoad) {
    this.#load = load
    this.#queries = new Queries(load.tables, load.once !== true)
  }

  async open(): Promise<void> {
    this.#connections = await Promise.all(
      Array.from({ length: this.#load.connections }, () => Connection.open(this, this.#load)),
    )
  }

  /** Resolves when the last answer is there. */
  async measure(): Promise<QueryLoadResult> {
    this.#startedAtMs = performance.now()
    const stopAtMs =
      this.#load.once === true ? Infinity : this.#startedAtMs + this.#load.seconds * 1000
    const lost = await Promise.all(this.#connections.map((connection) => connection.ask(stopAtMs)))
    return {
      queries: this.#answered,
      seconds: (performance.now() - this.#startedAtMs) / 1000,
      errors: this.#errors + lost.reduce((sum, count) => sum + count, 0),
      p50Ms: this.#percentile(0.5),
      p99Ms: this.#percentile(0.99),
    }
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }

  /** The next queries, up to that many: their bytes and how many they are. */
  take(wanted: number): { readonly bytes: Buffer; readonly count: number } {
    const { once, tables } = this.#load
    const left = once === true ? tables.length - this.#next : wanted
    const count = Math.max(0, Math.min(wanted, left, BURST_MAX))
    const bytes = this.#queries.slice(this.#next, count)
    this.#next = once === true ? this.#next + count : (this.#next + count) % tables.length
    return { bytes, count }
  }

  /** An answer lies in `bytes` at `at`. */
  count(bytes: Buffer, at: number, latencyMs: number): void {
    const slot = Math.min(STEPS - 1, Math.floor(latencyMs * STEPS_PER_MS))
    this.#histogram[slot] = (this.#histogram[slot] ?? 0) + 1
    this.#answered++
    // Of all error names only ERR_OK has six letters.
    const isOk =
      bytes.readInt32BE(at + HEADER_ERROR_AT) === ERR_OK_BYTES &&
      bytes.readInt32BE(at + BODY_ERROR_AT) === ERR_OK_BYTES
    if (!isOk) this.#errors++
  }

  #percentile(share: number): number {
    let left = this.#answered * share
    for (const [slot, count] of this.#histogram.entries()) {
      left -= count
      if (left <= 0) return (slot + 1) / STEPS_PER_MS
    }
    return Number.NaN
  }
}

class Connection {
  readonly #run: Run
  readonly #socket: Socket
  readonly #pipeline: number
  /** When each query in flight was sent, the oldest at `#first`. */
  readonly #sentAtMs: Float64Array
  #first = 0
  #inFlight = 0
  #rest: Buffer = Buffer.alloc(0)
  #stopAtMs = 0
  #onDone: (lost: number) => void = () => undefined

  private constructor(run: Run, load: QueryLoad, onOpen: (error?: Error) => void) {
    this.#run = run
    this.#pipeline = load.pipeline
    this.#sentAtMs = new Float64Array(load.pipeline)
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
    const onread: OnReadOpts = {
      buffer,
      callback: (bytes: number) => {
        this.#onData(buffer.subarray(0, bytes))
        return true
      },
    }
    this.#socket = connect({ host: '127.0.0.1', port: load.port, noDelay: true, onread })
    this.#socket.on('connect', () => onOpen())
    this.#socket.on('error', (error) => onOpen(error))
    this.#socket.on('close', () => this.#onDone(this.#inFlight))
  }

  static async open(run: Run, load: QueryLoad): Promise<Connection> {
    let connection: Connection | undefined
    await new Promise<void>((resolve, reject) => {
      const onOpen = (error?: Error): void => (error === undefined ? resolve() : reject(error))
      connection = new Connection(run, load, onOpen)
    })
    if (connection === undefined) throw new Error('no connection')
    return connection
  }

  /** Asks until then; resolves to the number of queries that were never answered. */
  async ask(stopAtMs: number): Promise<number> {
    this.#stopAtMs = stopAtMs
    return new Promise((resolve) => {
      this.#onDone = resolve
      this.#send(this.#pipeline, performance.now())
      if (this.#inFlight === 0) resolve(0)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #send(wanted: number, nowMs: number): void {
    const { bytes, count } = this.#run.take(wanted)
    if (count === 0) return
    this.#socket.write(bytes)
    for (let index = 0; index < count; index++)
      this.#sentAtMs[(this.#first + this.#inFlight + index) % this.#pipeline] = nowMs
    this.#inFlight += count
  }

  #onData(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const nowMs = performance.now()
    let at = 0
    let answered = 0
    while (bytes.length - at >= 4) {
      const total = bytes.readInt32BE(at)
      if (bytes.length - at < total) break
      const sentAtMs = this.#sentAtMs[(this.#first + answered) % this.#pipeline] ?? 0
      this.#run.count(bytes, at, nowMs - sentAtMs)
      at += total
      answered++
    }
    this.#rest = at === bytes.length ? bytes.subarray(0, 0) : Buffer.from(bytes.subarray(at))
    this.#first = (this.#first + answered) % this.#pipeline
    this.#inFlight -= answered
    if (nowMs < this.#stopAtMs) this.#send(answered, nowMs)
    if (this.#inFlight === 0) this.#onDone(0)
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
  const run = new Run(JSON.parse(line.value) as QueryLoad)
  await run.open()
  say('open')
  await lines.next()
  say(await run.measure())
  await lines.next()
  run.close()
}
