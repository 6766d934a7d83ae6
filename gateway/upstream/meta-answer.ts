/**
 * What the gateway must know of a meta server's answer, and nothing more (gateway.md W-2): the frame
 * stays as it is, only the error at its fixed place is looked at, and the partition list is decoded
 * for one thing alone, the address of the leader. Pure.
 */
import { type ReplyFrame, decodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { ProtocolError, ThriftType } from '../../cluster/protocol/schema.ts'

export type MetaAnswer =
  /** To be relayed as it is. */
  | { readonly kind: 'answer' }
  /** Not the leader; `leader` is `ip:port` when it said who is. */
  | { readonly kind: 'forward'; readonly leader: string | undefined }
  /** The leader, but still loading: worth asking again. */
  | { readonly kind: 'not-ready' }

const ANSWER: MetaAnswer = { kind: 'answer' }
const NOT_READY: MetaAnswer = { kind: 'not-ready' }
/** `0c 0000` result field, `0c 0001` error field, i32 length of the error's name. */
const PREFIX_BYTES = 10

/** The error name in the response struct; undefined when the bytes are not of the known form. */
function bodyError(result: Buffer): string | undefined {
  if (result.length < PREFIX_BYTES) return undefined
  const isKnown =
    result[0] === ThriftType.STRUCT &&
    result.readUInt16BE(1) === 0 &&
    result[3] === ThriftType.STRUCT &&
    result.readUInt16BE(4) === 1
  if (!isKnown) return undefined
  const length = result.readInt32BE(6)
  if (length < 0 || length > result.length - PREFIX_BYTES) return undefined
  // ERR_OK is the rule: six bytes, told without making a string.
  if (length === 6) return 'ERR_OK'
  return result.toString('latin1', PREFIX_BYTES, PREFIX_BYTES + length)
}

export function readMetaAnswer(reply: ReplyFrame): MetaAnswer {
  const error = reply.errorName === 'ERR_OK' ? bodyError(reply.result) : reply.errorName
  if (error === 'ERR_FORWARD_TO_OTHERS') return { kind: 'forward', leader: leaderOf(reply.result) }
  if (error === 'ERR_SERVICE_NOT_ACTIVE' || error === 'ERR_UNDER_RECOVERY') return NOT_READY
  return ANSWER
}

function leaderOf(result: Buffer): string | undefined {
  try {
    const primary = decodeResult(QueryCfgResponse, result).partitions[0]?.primary ?? ''
    return primary === '' || primary.startsWith('raw:') ? undefined : primary
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return undefined
  }
}
