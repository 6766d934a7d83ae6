/**
 * A meta server for benchmarks, a process of its own: answers every configuration query with the
 * bytes that a real server of Apache Pegasus answered (`query_all` of the recorded vectors), the
 * sequence id patched, or that answer stretched to more partitions. It costs next to nothing, so that
 * what stands in front of it, gateway or haproxy, is the bottleneck and not it; a real meta server
 * computes 46 000 answers per CPU-second, which would starve both. It understands v0 headers only.
 *
 *   node canned-meta.js PARTITIONS[@PORT][,PARTITIONS[@PORT]…]
 *
 * prints its ports in that order, separated by commas; without PORT it is any that is free.
 */
import { readFileSync } from 'node:fs'
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'
import {
  ReplyFramer,
  decodeResult,
  encodeReply,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name
const HEADER_BYTES = 48
const REQUEST_NAME_AT = HEADER_BYTES + 8
const REQUEST_SEQID_AT = REQUEST_NAME_AT + QUERY.length
/** Behind total length, `ERR_OK`, version and `…_ACK`. */
const REPLY_SEQID_AT = 4 + 10 + 8 + QUERY.length + 4
const READ_BYTES = 256 << 10
const SLAB_BYTES = 1 << 20

function recordedAnswer(): Buffer {
  const file = JSON.parse(readFileSync('test/vectors/server_responses.json', 'utf8')) as {
    readonly vectors: readonly { readonly name: string; readonly hex: string }[]
  }
  const vector = file.vectors.find(({ name }) => name === 'query_all')
  if (vector === undefined) throw new Error('no recorded answer')
  return Buffer.from(vector.hex, 'hex')
}

/** The recorded answer; with another number of partitions, those of the recording over again. */
function answerOf(partitionCount: number): Buffer {
  const recorded = recordedAnswer()
  const framer = new ReplyFramer({ maxFrameBytes: recorded.length })
  framer.push(recorded)
  const response = decodeResult(QueryCfgResponse, framer.next()?.result ?? Buffer.alloc(0))
  if (response.partitionCount === partitionCount) return recorded
  const partitions = Array.from({ length: partitionCount }, (_, index) => {
    const like = response.partitions[index % response.partitions.length]
    if (like === undefined) throw new Error('a recorded answer without partitions')
    return { ...like, pid: { ...like.pid, partitionIndex: index } }
  })
  const stretched = { ...response, partitionCount, partitions }
  return encodeReply(QUERY, 0, 'ERR_OK', encodeResult(QueryCfgResponse, stretched))
}

/** Memory full of answers, of which only the sequence ids are written; used in turn. */
class Answers {
  readonly #answer: Buffer
  readonly #perSlab: number
  readonly #free: Buffer[] = []

  constructor(answer: Buffer) {
    this.#answer = answer
    this.#perSlab = Math.max(1, Math.floor(SLAB_BYTES / answer.length))
  }

  send(socket: Socket, seqids: Int32Array, count: number): void {
    const size = this.#answer.length
    for (let from = 0; from < count; from += this.#perSlab) {
      const here = Math.min(this.#perSlab, count - from)
      const slab = this.#free.pop() ?? Buffer.alloc(this.#perSlab * size, this.#answer)
      for (let index = 0; index < here; index++)
        slab.writeInt32BE(seqids[from + index] ?? 0, index * size + REPLY_SEQID_AT)
      socket.write(slab.subarray(0, here * size), () => this.#free.push(slab))
    }
  }
}

/** Requests larger than this, or more of them in one read, do not happen in a benchmark. */
const seqids = new Int32Array(READ_BYTES / 64)

class Connection {
  readonly #socket: Socket
  readonly #answers: Answers
  #rest: Buffer = Buffer.alloc(0)

  constructor(socket: Socket, answers: Answers) {
    this.#socket = socket
    this.#answers = answers
  }

  onData(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    let count = 0
    while (bytes.length - at >= HEADER_BYTES) {
      const end = at + HEADER_BYTES + bytes.readUInt32BE(at + 16)
      if (end > bytes.length) break
      if (bytes.toString('latin1', at + REQUEST_NAME_AT, at + REQUEST_SEQID_AT) === QUERY)
        seqids[count++] = bytes.readInt32BE(at + REQUEST_SEQID_AT)
      else this.#refuse(bytes, at + HEADER_BYTES)
      at = end
    }
    this.#answers.send(this.#socket, seqids, count)
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at))
  }

  #refuse(bytes: Buffer, bodyAt: number): void {
    const nameAt = bodyAt + 8
    const nameEnd = nameAt + bytes.readUInt32BE(bodyAt + 4)
    const name = bytes.toString('latin1', nameAt, nameEnd)
    const seqid = bytes.readInt32BE(nameEnd)
    this.#socket.write(encodeReply(name, seqid, 'ERR_HANDLER_NOT_FOUND', undefined))
  }
}

async function serve(word: string): Promise<number> {
  const [partitionCount = 8, wantedPort = 0] = word.split('@').map(Number)
  const answer = answerOf(partitionCount)
  const server: Server = createServer({ noDelay: true }, (socket) => {
    const connection = new Connection(socket, answers)
    socket.on('data', (chunk: Buffer) => connection.onData(chunk))
    socket.on('error', () => undefined)
  })
  const answers = new Answers(answer)
  await new Promise<void>((resolve) => server.listen(wantedPort, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

const ports = await Promise.all((process.argv[2] ?? '8').split(',').map(serve))
process.stdout.write(`${ports.join(',')}\n`)
