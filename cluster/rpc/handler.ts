/**
 * What a server process registers for an RPC name and what it may answer. No sockets here: a
 * `Handler` takes a request and gives the result bytes or a `Reply`, at once or later.
 */
import type { NativeHeader } from '../protocol/native-frame.ts'
import { type Codec, ProtocolError } from '../protocol/schema.ts'
import { decodeArgument, encodeResult } from '../protocol/frame.ts'

/** An RPC with its schemas: an entry of `Rpc` in protocol/rpc-codes.ts, or any table like it. */
export interface RpcSignature<A, R> {
  readonly name: string
  readonly argument: Codec<A>
  readonly result: Codec<R>
}

export interface RpcRequest {
  readonly name: string
  readonly appId: number
  readonly partitionIndex: number
  /** Unsigned 64 bits. */
  readonly partitionHash: bigint
  /** As sent: a hint, 0 = not given. */
  readonly clientTimeoutMs: number
  readonly isBackupRequest: boolean
  /** Monotonic. */
  readonly receivedAtMs: number
  /** Monotonic; Infinity when the client gave no timeout. Only for dropping work that is late. */
  readonly deadlineAtMs: number
  /** `ip:port` of the client. */
  readonly peer: string
  /** The args struct; a view on the receive buffer that stays valid as long as it is held. */
  readonly argumentBytes: Buffer
  /** The header of a request in the native form; `undefined` for a Thrift frame. */
  readonly native: NativeHeader | undefined
}

/** Any answer but a plain result. */
export class Reply<out R = never> {
  /** `undefined`: no reply at all. */
  readonly errorName: string | undefined
  readonly result: R | undefined
  /** A body that is not of the RPC's result type: a struct with one field, ready to be sent. */
  readonly encoded: Buffer | undefined
  constructor(errorName: string | undefined, result?: R, encoded?: Buffer) {
    this.errorName = errorName
    this.result = result
    this.encoded = encoded
  }
}

/** An error in the frame header, without a body: the usual refusal. */
export function headerError(errorName: string): Reply {
  return new Reply(errorName)
}

/** An error in the frame header with a result behind it (ERR_BUSY of a throttled read). */
export function headerErrorWithBody<R>(errorName: string, result: R): Reply<R> {
  return new Reply(errorName, result)
}

/** An error in the frame header with a body that belongs to the error (ERR_FORWARD_TO_OTHERS). */
export function headerErrorWithBytes(errorName: string, body: Buffer): Reply {
  return new Reply<never>(errorName, undefined, body)
}

/** No reply: clear_scanner, denied clients. */
export const silence: Reply = new Reply(undefined)

export type Answer<R> = R | Reply<R>

/** Answers at once where it can: a promise per request costs more than the request. */
export type RawHandler = (request: RpcRequest) => Answer<Buffer> | Promise<Answer<Buffer>>
export type Handler<A, R> = (argument: A, request: RpcRequest) => Answer<R> | Promise<Answer<R>>

const undecodable = headerError('ERR_INVALID_DATA')

/** Puts decoding and encoding around a handler. A malformed argument is answered ERR_INVALID_DATA. */
export function typedHandler<A, R>(rpc: RpcSignature<A, R>, handler: Handler<A, R>): RawHandler {
  const encodeAnswer = (answer: Answer<R>): Answer<Buffer> => {
    if (!(answer instanceof Reply)) return encodeResult(rpc.result, answer)
    if (answer.result === undefined)
      return new Reply<never>(answer.errorName, undefined, answer.encoded)
    return new Reply(answer.errorName, encodeResult(rpc.result, answer.result))
  }
  return (request) => {
    let argument: A
    try {
      argument = decodeArgument(rpc.argument, request.argumentBytes)
    } catch (error) {
      if (error instanceof ProtocolError) return undecodable
      throw error
    }
    const answer = handler(argument, request)
    return answer instanceof Promise ? answer.then(encodeAnswer) : encodeAnswer(answer)
  }
}
