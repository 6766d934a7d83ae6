/**
 * A native client's query and its answer (gateway.md W-19). Metas are asked in Thrift frames whoever
 * asks, so the two forms meet here: what a native client sent differs from the args of a Thrift client
 * in the field id alone, and what a meta answered behind its header is a native body as it is. A frame
 * cannot say "ask somebody else" to its sender, as the native header can: the forward-supported bit
 * goes no further than here. Pure.
 */
import type { RpcAddress } from '../../cluster/protocol/base.ts'
import { type NativeHeader, encodeNativeReply } from '../../cluster/protocol/native-frame.ts'
import type { ClientUse } from './client-book.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Asker } from './round.ts'

/**
 * Marks a well-formed args struct, in place, as a native caller's: field id 0, which official clients
 * write. Original metas ignore it, ours answer it with the `hp_*` fields that such a client routes
 * by (wire.md 6).
 */
export function markNative(argument: Buffer): void {
  argument.writeInt16BE(0, 1)
}

/** A native client's query among those that wait for an answer. */
export class NativeAsker implements Asker {
  readonly #connection: ClientConnection
  readonly #request: NativeHeader

  constructor(connection: ClientConnection, request: NativeHeader) {
    this.#connection = connection
    this.#request = request
  }

  get source(): string {
    return this.#connection.source
  }

  get peer(): string {
    return this.#connection.client.peer
  }

  get use(): ClientUse | undefined {
    return this.#connection.use
  }

  set use(use: ClientUse | undefined) {
    this.#connection.use = use
  }

  answerAlone(bytes: Buffer, start: number, end: number, seqidAt: number): void {
    const { localAddress } = this.#connection
    const reply = nativeAnswer(this.#request, localAddress, bytes, start, end, seqidAt)
    this.#connection.answer(reply, 0, reply.length)
  }

  answerShared(frame: Buffer, seqidAt: number): void {
    this.answerAlone(frame, 0, frame.length, seqidAt)
  }
}

export function isMarkedNative(argument: Buffer): boolean {
  return argument.length > 2 && argument.readInt16BE(1) === 0
}

/** A reply frame, in `bytes` from `start` to `end`, in the form of its request; a copy. */
export function nativeAnswer(
  request: NativeHeader,
  from: RpcAddress,
  bytes: Buffer,
  start: number,
  end: number,
  seqidAt: number,
): Buffer {
  const errorAt = start + 8
  const errorName = bytes.toString('latin1', errorAt, errorAt + bytes.readUInt32BE(start + 4))
  return encodeNativeReply(request, from, errorName, bytes.subarray(seqidAt + 4, end))
}
