/**
 * Load for the replica benchmark, a process of its own: C connections, each with P requests in
 * flight, over a fixed set of keys. Speaks Pegasus to replica servers or RESP to redis-server; both
 * with requests encoded ahead and replies told apart by their length, so that the generator is not
 * the bottleneck. Takes its task as JSON in the first argument, prints one line of JSON when done.
 */
import { connect } from 'node:net'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { encodeKey, partitionHash, partitionIndexOf } from '../../cluster/protocol/key.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { UpdateRequest } from '../../cluster/protocol/rrdb.ts'

export interface KeyValueTask {
  readonly operation: 'get' | 'put'
  readonly connections: number
  readonly pipeline: number
  /** How long; 0 means each key once. */
  readonly seconds: number
  readonly keys: number
  readonly valueBytes: number
  readonly target:
    | { readonly kind: 'redis'; readonly address: string }
    | {
        readonly kind: 'pegasus'
        readonly appId: number
        /** Address of the primary, by partition index. */
        readonly primaries: readonly string[]
      }
}

export interface KeyValueResult {
  readonly operations: number
  readonly seconds: number
  /** Replies that were no success, absent keys included. */
  readonly errors: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const task = JSON.parse(process.argv[2] ?? '{}') as KeyValueTask
const value = Buffer.alloc(task.valueBytes, 'v')

/** What one connection sends in turn, and to whom. */
interface Lane {
  readonly address: string
  readonly requests: readonly Buffer[]
}

/** Length of the reply at the start of `bytes`, negative when it is an error, 0 when cut off. */
type ReplyLength = (bytes: Buffer, at: number) => number

function keyOf(index: number): string {
  return `user_${String(index).padStart(10, '0')}`
}

function redisRequest(key: string): Buffer {
  const words = task.operation === 'get' ? ['GET', key] : ['SET', key, value.toString('latin1')]
  const parts = words.map((word) => `$${word.length}\r\n${word}\r\n`)
  return Buffer.from(`*${words.length}\r\n${parts.join('')}`, 'latin1')
}

const redisReplyBytes =
  task.operation === 'put'
    ? '+OK\r\n'.length
    : `$${task.valueBytes}\r\n`.length + task.valueBytes + '\r\n'.length

const redisReply: ReplyLength = (bytes, at) => {
  const first = bytes[at]
  // An error or an absent value: nothing in a benchmark's run explains it, so it ends the run.
  if (first === 0x2d || (first === 0x24 && bytes[at + 1] === 0x2d)) return -1
  return bytes.length - at >= redisReplyBytes ? redisReplyBytes : 0
}

function pegasusRequest(appId: number, key: string, partitionCount: number): [number, Buffer] {
  const hashKey = Buffer.from(key)
  const raw = encodeKey(hashKey, Buffer.alloc(0))
  const hash = partitionHash(hashKey, Buffer.alloc(0))
  const partitionIndex = partitionIndexOf(hash, partitionCount)
  const header = {
    version: 0,
    appId,
    partitionIndex,
    clientTimeoutMs: 5000,
    partitionHash: hash,
    isBackupRequest: false,
  } as const
  const argument =
    task.operation === 'get'
      ? encodeArgument(Rpc.GET.argument, raw)
      : encodeArgument(Rpc.PUT.argument, UpdateRequest.make({ key: raw, value }))
  const { name } = task.operation === 'get' ? Rpc.GET : Rpc.PUT
  return [partitionIndex, encodeRequest(header, name, 1, argument)]
}

const errorOk = Buffer.from('\u0000\u0000\u0000\u0006ERR_OK', 'latin1')
const { name: rpcName } = task.operation === 'get' ? Rpc.GET : Rpc.PUT
/** Behind the length: error name, message header with the reply's name, then field 0 of the result. */
const errorFieldAt = 4 + errorOk.length + 4 + 4 + `${rpcName}_ACK`.length + 4 + 3

const pegasusReply: ReplyLength = (bytes, at) => {
  if (bytes.length - at < 4) return 0
  const length = bytes.readInt32BE(at)
  if (bytes.length - at < length) return 0
  if (bytes.compare(errorOk, 0, errorOk.length, at + 4, at + 4 + errorOk.length) !== 0) return -1
  // Both results begin with field 1, i32 error: a byte of type, two of number, four of value.
  return bytes.readInt32BE(at + errorFieldAt + 3) === 0 ? length : -1
}

function lanes(): { readonly lanes: Lane[]; readonly replyLength: ReplyLength } {
  const { target } = task
  const names = Array.from({ length: task.keys }, (_, index) => keyOf(index))
  if (target.kind === 'redis') {
    const requests = names.map(redisRequest)
    return { lanes: [{ address: target.address, requests }], replyLength: redisReply }
  }
  const byAddress = new Map<string, Buffer[]>()
  for (const name of names) {
    const [index, request] = pegasusRequest(target.appId, name, target.primaries.length)
    const address = target.primaries[index] ?? ''
    const requests = byAddress.get(address) ?? []
    requests.push(request)
    byAddress.set(address, requests)
  }
  return {
    lanes: [...byAddress].map(([address, requests]) => ({ address, requests })),
    replyLength: pegasusReply,
  }
}

let operations = 0
let errors = 0
/** Latency in steps of 20 us, up to 2 s. */
const histogram = new Uint32Array(100_000)
let stopAt = Number.POSITIVE_INFINITY

/** Connection `number` of `step` that share the lane: each takes every step-th request. */
function drive(
  lane: Lane,
  replyLength: ReplyLength,
  { number, step }: { readonly number: number; readonly step: number },
): Promise<void> {
  const [host = '', port = ''] = lane.address.split(':')
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true })
    const sentAt: number[] = []
    let next = number
    let rest: Buffer = Buffer.alloc(0)
    const send = (count: number): void => {
      const now = performance.now()
      const batch: Buffer[] = []
      for (let index = 0; index < count; index++) {
        if (task.seconds === 0 && next >= lane.requests.length) break
        const request = lane.requests[next % lane.requests.length]
        if (request === undefined) break
        next += step
        sentAt.push(now)
        batch.push(request)
      }
      if (batch.length > 0)
        socket.write(batch.length === 1 ? (batch[0] ?? '') : Buffer.concat(batch))
      else if (sentAt.length === 0) socket.destroy()
    }
    socket.on('connect', () => send(task.pipeline))
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const now = performance.now()
      let at = 0
      let answered = 0
      while (at < rest.length) {
        const length = replyLength(rest, at)
        if (length === 0) break
        if (length < 0) {
          errors++
          return void socket.destroy()
        }
        at += length
        answered++
        const slot = Math.floor((now - (sentAt.shift() ?? now)) * 50)
        const bounded = Math.min(histogram.length - 1, slot)
        histogram[bounded] = (histogram[bounded] ?? 0) + 1
      }
      rest = rest.subarray(at)
      operations += answered
      if (now < stopAt) send(answered)
      else socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
}

function percentile(share: number): number {
  let left = operations * share
  for (const [slot, count] of histogram.entries()) {
    left -= count
    if (left <= 0) return slot / 50
  }
  return Number.NaN
}

const work = lanes()
const started = performance.now()
if (task.seconds > 0) stopAt = started + task.seconds * 1000
await Promise.all(
  Array.from({ length: task.connections }, async (_, index) => {
    const laneIndex = index % work.lanes.length
    const lane = work.lanes[laneIndex]
    // How many connections have this lane, and which of them this one is.
    const step = Math.ceil((task.connections - laneIndex) / work.lanes.length)
    const number = Math.floor(index / work.lanes.length)
    if (lane !== undefined) await drive(lane, work.replyLength, { number, step })
  }),
)
const result: KeyValueResult = {
  operations,
  seconds: (performance.now() - started) / 1000,
  errors,
  p50Ms: percentile(0.5),
  p99Ms: percentile(0.99),
}
process.stdout.write(`${JSON.stringify(result)}\n`)
