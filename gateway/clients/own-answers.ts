/**
 * What the gateway itself answers to a configuration query (gateway.md W-3 to W-6): a whole frame for
 * each case, made once, with nothing in it but the error; is_stateful false, because a Python client
 * told otherwise forgets the table. Pure.
 */
import { encodeReply, encodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'

const QUERY = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name

/** In a frame that says ERR_OK: behind total length, error, the message's version and name. */
export const ANSWER_SEQID_AT = 4 + 4 + 6 + 4 + 4 + QUERY.length + 4

export type OwnAnswer = 'missing' | 'invalid' | 'no-zookeeper' | 'no-meta'

/** `go-compat`: the error names of the Go proxy (W-6). */
export type ErrorsMode = 'pegasus' | 'go-compat'

export function ownAnswers(mode: ErrorsMode): Readonly<Record<OwnAnswer, Buffer>> {
  const isGo = mode === 'go-compat'
  return {
    missing: ownAnswer('ERR_OBJECT_NOT_FOUND'),
    invalid: ownAnswer('ERR_INVALID_DATA'),
    'no-zookeeper': ownAnswer(isGo ? 'ERR_ZOOKEEPER_OPERATION' : 'ERR_SERVICE_NOT_ACTIVE'),
    'no-meta': ownAnswer(isGo ? 'ERR_UNKNOWN' : 'ERR_SERVICE_NOT_ACTIVE'),
  }
}

function ownAnswer(error: string): Buffer {
  const result = encodeResult(QueryCfgResponse, QueryCfgResponse.make({ err: error }))
  return encodeReply(QUERY, 0, 'ERR_OK', result)
}

/** A whole frame in the usual form, without an error in its header or body. */
export function isPlainAnswer(frame: Buffer, seqidAt: number): boolean {
  return (
    seqidAt === ANSWER_SEQID_AT &&
    frame.length >= seqidAt + 14 &&
    frame.readUInt32BE(4) === 6 &&
    frame.readUInt32BE(seqidAt + 4) === 0x0c00000c &&
    frame.readUInt32BE(seqidAt + 8) === 0x00010000 &&
    // ERR_OK is the only error of six bytes.
    frame.readUInt16BE(seqidAt + 12) === 6
  )
}
