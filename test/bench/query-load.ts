/**
 * Load for the gateway benchmark, a process of its own: C connections, each with P configuration
 * queries in flight, for a number of seconds. Prints one line of JSON when done. It counts replies by
 * their length word and looks only at the error name, so that the generator is not the bottleneck.
 *
 *   node query-load.js HOST:PORT CONNECTIONS PIPELINE SECONDS TABLE[,TABLE…]
 */
import { connect } from 'node:net'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'

export interface QueryLoadResult {
  readonly queries: number
  readonly seconds: number
  readonly errors: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const [address = '', connectionsText, pipelineText, secondsText, tablesText = 'temp'] =
  process.argv.slice(2)
const [host = '', port = ''] = address.split(':')
const connections = Number(connectionsText)
const pipeline = Number(pipelineText)
const seconds = Number(secondsText)
const tables = tablesText.split(',')

const header = {
  version: 0,
  appId: 0,
  partitionIndex: 0,
  clientTimeoutMs: 1000,
  partitionHash: 0n,
  isBackupRequest: false,
} as const
const frames = tables.map((appName) =>
  encodeRequest(
    header,
    'RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX',
    1,
    encodeArgument(QueryCfgRequest, QueryCfgRequest.make({ appName })),
  ),
)

let queries = 0
let errors = 0
let next = 0
/** Latency in steps of 20 us, up to 2 s. */
const histogram = new Uint32Array(100_000)
let stopAt = Number.POSITIVE_INFINITY
const errorOk = Buffer.from('\u0000\u0000\u0000\u0006ERR_OK', 'latin1')

function frame(): Buffer {
  next = (next + 1) % frames.length
  return frames[next] ?? Buffer.alloc(0)
}

async function one(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true })
    const sentAt: number[] = []
    let rest: Buffer = Buffer.alloc(0)
    const send = (count: number): void => {
      const now = performance.now()
      const batch: Buffer[] = []
      for (let index = 0; index < count; index++) {
        sentAt.push(now)
        batch.push(frame())
      }
      if (batch.length > 0)
        socket.write(batch.length === 1 ? (batch[0] ?? '') : Buffer.concat(batch))
    }
    socket.on('connect', () => send(pipeline))
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const now = performance.now()
      let at = 0
      let answered = 0
      while (rest.length - at >= 4 && rest.length - at >= rest.readInt32BE(at)) {
        // The frame is judged by its header error; the body's error stands behind it.
        if (rest.compare(errorOk, 0, errorOk.length, at + 4, at + 4 + errorOk.length) !== 0)
          errors++
        at += rest.readInt32BE(at)
        answered++
        const latency = now - (sentAt.shift() ?? now)
        const slot = Math.min(histogram.length - 1, Math.floor(latency * 50))
        histogram[slot] = (histogram[slot] ?? 0) + 1
      }
      rest = rest.subarray(at)
      queries += answered
      if (now < stopAt) send(answered)
      else socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
}

function percentile(share: number): number {
  let left = queries * share
  for (const [slot, count] of histogram.entries()) {
    left -= count
    if (left <= 0) return slot / 50
  }
  return Number.NaN
}

const started = performance.now()
stopAt = started + seconds * 1000
await Promise.all(Array.from({ length: connections }, one))
const result: QueryLoadResult = {
  queries,
  seconds: (performance.now() - started) / 1000,
  errors,
  p50Ms: percentile(0.5),
  p99Ms: percentile(0.99),
}
process.stdout.write(`${JSON.stringify(result)}\n`)
