/**
 * `test/vectors/server_responses.json` as something to replay: which request to send where, with
 * what depends on the recording cluster patched, and whether an answer is the recorded one outside
 * the ranges that depend on cluster and clock. The sequence is one: later entries see what earlier
 * ones wrote. How the bytes travel is the caller's business. Rules: test/vectors/README.md.
 */
import { readFileSync } from 'node:fs'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { UpdateRequest } from '../../cluster/protocol/rrdb.ts'
import { pegasusSeconds } from '../../cluster/protocol/value.ts'

export type Outcome = 'reply' | 'silence' | 'closed'

interface ByteRange {
  readonly offset: number
  readonly length: number
  readonly what: string
}

export interface RecordedAnswer {
  readonly name: string
  readonly description: string
  readonly to: 'primary' | 'secondary' | 'meta leader' | 'meta follower'
  readonly request_hex?: string
  readonly request_length: number
  readonly request?: {
    readonly header: {
      readonly app_id: number
      readonly partition_index: number
      readonly partition_hash: string
    }
    readonly message: { readonly name: string; readonly seqid: number }
  }
  readonly request_volatile?: readonly ByteRange[]
  readonly outcome: Outcome
  readonly hex?: string
  readonly volatile?: readonly ByteRange[]
}

export function recordedAnswers(): readonly RecordedAnswer[] {
  const text = readFileSync('test/vectors/server_responses.json', 'utf8')
  return (JSON.parse(text) as { vectors: RecordedAnswer[] }).vectors
}

/** Table id in the recording cluster. */
export const RECORDED_APP_ID = 2

export interface Answer {
  readonly outcome: Outcome
  /** The whole reply frame; empty unless `outcome` is reply. */
  readonly bytes: Buffer
}

/** What has to be remembered between the requests of one replay. */
export class Replay {
  readonly #appId: number
  readonly #nowMs: () => number
  /** Scanner ids of the recording → those that our server gave out. */
  readonly #scanners = new Map<bigint, bigint>()

  constructor({ appId, nowMs }: { readonly appId: number; readonly nowMs: () => number }) {
    this.#appId = appId
    this.#nowMs = nowMs
  }

  /** The request frame for our cluster. */
  request(recorded: RecordedAnswer): Buffer {
    const hex = recorded.request_hex
    const frame = hex === undefined ? longRequest(recorded) : Buffer.from(hex, 'hex')
    const ranges = recorded.request_volatile ?? (frame.readInt32BE(4) === 1 ? v1 : v0)
    for (const { offset, what } of ranges) {
      if (what.startsWith('gpid') || what.startsWith('app id')) {
        const recordedId = frame.readInt32BE(offset)
        // 0 and -1 mean no table, the recorded one + 7000 an unknown table.
        if (recordedId >= RECORDED_APP_ID)
          frame.writeInt32BE(recordedId - RECORDED_APP_ID + this.#appId, offset)
      } else if (what.startsWith('thread hash')) {
        const hash = frame.readInt32BE(24) * 7919 + frame.readInt32BE(28)
        frame.writeInt32BE(hash | 0, offset)
      } else if (what.startsWith('expire_ts_seconds')) {
        const fromNow = Number(/: ([+-]\d+) s/.exec(what)?.[1])
        frame.writeInt32BE(pegasusSeconds(this.#nowMs()) + fromNow, offset)
      } else if (what.startsWith('context_id')) {
        const recordedId = frame.readBigInt64BE(offset)
        frame.writeBigInt64BE(this.#scanners.get(recordedId) ?? recordedId, offset)
      }
    }
    return frame
  }

  /** What differs from the recorded answer, in one line; `undefined` when nothing does. */
  difference(recorded: RecordedAnswer, { outcome, bytes }: Answer): string | undefined {
    if (outcome !== recorded.outcome)
      return `${outcome} ${bytes.toString('hex')}, recorded: ${recorded.outcome}`
    if (outcome !== 'reply') return undefined
    const expected = Buffer.from(recorded.hex ?? '', 'hex')
    for (const { offset, length, what } of recorded.volatile ?? []) {
      if (offset + length > bytes.length) break
      if (what.startsWith('context_id'))
        this.#scanners.set(expected.readBigInt64BE(offset), bytes.readBigInt64BE(offset))
      bytes.copy(expected, offset, offset, offset + length)
    }
    if (bytes.equals(expected)) return undefined
    return `${bytes.toString('hex')}, recorded: ${expected.toString('hex')}`
  }
}

/** What a recorded request without own ranges depends on. */
const v0: readonly ByteRange[] = [
  { offset: 24, length: 8, what: 'gpid of the recording cluster' },
  { offset: 36, length: 4, what: 'thread hash, follows from the gpid' },
]
/** The first field of the meta: type, field id, value. */
const v1: readonly ByteRange[] = [
  { offset: 19, length: 4, what: 'app id of the recording cluster' },
]

/** The requests too long for the file, built from their description. */
function longRequest({ name, request, request_length: length }: RecordedAnswer): Buffer {
  if (request === undefined) throw new Error(`${name} has no request`)
  const { header, message } = request
  const build = (argument: Buffer): Buffer => {
    const hash = BigInt(header.partition_hash)
    const { partition_index: partitionIndex } = header
    return encodeRequest(
      {
        version: 0,
        appId: RECORDED_APP_ID,
        partitionIndex,
        clientTimeoutMs: 1000,
        partitionHash: hash,
        isBackupRequest: false,
      },
      message.name,
      message.seqid,
      argument,
    )
  }
  const hashKey = Buffer.alloc(65534, 'h')
  if (name === 'hash_key_65534_put') {
    const [key, value] = [encodeKey(hashKey, Buffer.from('s')), Buffer.from('v')]
    const put = encodeArgument(UpdateRequest, UpdateRequest.make({ key, value }))
    // The recorded request leaves out the expiry: seven bytes less.
    const frame = build(Buffer.concat([put.subarray(0, put.length - 9), put.subarray(-2)]))
    return checkedLength(name, frame, length)
  }
  if (name === 'hash_key_65534_count')
    return checkedLength(name, build(encodeArgument(Rpc.SORTKEY_COUNT.argument, hashKey)), length)
  if (name.startsWith('hash_key_65534')) {
    const key = encodeKey(hashKey, Buffer.from('s'))
    return checkedLength(name, build(encodeArgument(Rpc.GET.argument, key)), length)
  }
  const key = encodeKey(Buffer.from('golden/single'), Buffer.from('big'))
  const empty = UpdateRequest.make({ key })
  const missing = length - build(encodeArgument(UpdateRequest, empty)).length
  const value = Buffer.alloc(missing, 'x')
  return checkedLength(name, build(encodeArgument(UpdateRequest, { ...empty, value })), length)
}

function checkedLength(name: string, frame: Buffer, length: number): Buffer {
  if (frame.length === length) return frame
  throw new Error(`${name}: built ${frame.length} bytes, recorded were ${length}`)
}
