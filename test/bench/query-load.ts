/**
 * Load for the gateway benchmark, a process of its own: takes one job a line from its input, as JSON,
 * and answers each with one line of JSON. A job is C connections, each with P configuration queries
 * in flight over a list of tables, for a number of seconds. It counts replies by their length word
 * and looks only at the two error names, so that it costs less than what it measures.
 */
import { type OnReadOpts, type Socket, connect } from 'node:net'
import { createInterface } from 'node:readline'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
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
const HEADER = {
  version: 0,
  appId: 0,
  partitionIndex: 0,
  clientTimeoutMs: 0,
  partitionHash: 0n,
  isBackupRequest: false,
} as const
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
        HEADER,
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
  readonly #stopAtMs: number
  readonly #startedAtMs = performance.now()
  #next = 0
  #answered = 0
  #errors = 0

  constructor(load: QueryLoad) {
    this.#load = load
    this.#queries = new Queries(load.tables, load.once !== true)
    this.#stopAtMs = load.once === true ? Infinity : this.#startedAtMs + load.seconds * 1000
  }

  async result(): Promise<QueryLoadResult> {
    await Promise.all(Array.from({ length: this.#load.connections }, () => this.#connection()))
    return {
      queries: this.#answered,
      seconds: (performance.now() - this.#startedAtMs) / 1000,
      errors: this.#errors,
      p50Ms: this.#percentile(0.5),
      p99Ms: this.#percentile(0.99),
    }
  }

  /** Writes up to that many queries; answers how many. */
  #send(socket: Socket, wanted: number): number {
    const { once, tables } = this.#load
    const left = once === true ? tables.length - this.#next : wanted
    const count = Math.min(wanted, left, BURST_MAX)
    if (count <= 0) return 0
    socket.write(this.#queries.slice(this.#next, count))
    this.#next = once === true ? this.#next + count : (this.#next + count) % tables.length
    return count
  }

  async #connection(): Promise<void> {
    const { port, pipeline } = this.#load
    /** When each query in flight was sent, the oldest at `first`. */
    const sentAtMs = new Float64Array(pipeline)
    let first = 0
    let inFlight = 0
    let rest: Buffer = Buffer.alloc(0)
    const send = (count: number, nowMs: number): void => {
      const sent = this.#send(socket, count)
      for (let index = 0; index < sent; index++)
        sentAtMs[(first + inFlight + index) % pipeline] = nowMs
      inFlight += sent
    }
    const onData = (chunk: Buffer): void => {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const nowMs = performance.now()
      let at = 0
      let answered = 0
      while (bytes.length - at >= 4) {
        const total = bytes.readInt32BE(at)
        if (bytes.length - at < total) break
        this.#count(bytes, at, nowMs - (sentAtMs[(first + answered) % pipeline] ?? 0))
        at += total
        answered++
      }
      rest = at === bytes.length ? bytes.subarray(0, 0) : Buffer.from(bytes.subarray(at))
      first = (first + answered) % pipeline
      inFlight -= answered
      if (nowMs < this.#stopAtMs) send(answered, nowMs)
      if (inFlight === 0) socket.destroy()
    }
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
    const onread: OnReadOpts = {
      buffer,
      callback: (bytes: number) => {
        onData(buffer.subarray(0, bytes))
        return true
      },
    }
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread })
    await new Promise<void>((resolve, reject) => {
      socket.on('connect', () => send(pipeline, performance.now()))
      socket.on('error', reject)
      socket.on('close', () => {
        if (inFlight > 0) this.#errors += inFlight
        resolve()
      })
    })
  }

  #count(bytes: Buffer, at: number, latencyMs: number): void {
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

for await (const line of createInterface({ input: process.stdin })) {
  const result = await new Run(JSON.parse(line) as QueryLoad).result()
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
