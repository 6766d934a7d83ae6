/**
 * The requests that one connection brings, in the form that its first four bytes chose (wire.md 1):
 * Thrift frames, or native ones (wire.md 12). The choice is made once; afterwards a frame of the other
 * form breaks the stream. Whoever takes the requests need not look at the form, and answers each
 * with `encodeAnswer`, which gives the reply in kind. Pure.
 */
import type { RpcAddress } from './base.ts'
import { FrameError, type RequestFrame, RequestFramer, encodeReply } from './frame.ts'
import {
  NATIVE_MAGIC,
  NativeFramer,
  type NativeHeader,
  THRIFT_BINARY,
  encodeNativeReply,
} from './native-frame.ts'
import type { RequestHeader } from './request-header.ts'

export interface NativeRequest {
  readonly kind: 'native'
  /** The part that all forms have. */
  readonly header: Omit<RequestHeader, 'version'> & { readonly version: 'native' }
  readonly native: NativeHeader
  readonly name: string
  /** The args struct: the body as it came, with field id 0. A view on the receive buffer. */
  readonly argument: Buffer
}

export type AnyRequest = RequestFrame | NativeRequest

export interface StreamLimits {
  readonly maxBodyBytes: number
  /** Of a v1 meta struct. */
  readonly maxMetaBytes: number
  /** Whether the native form is taken; else it is a wrong magic word. */
  readonly native: boolean
}

const NOTHING = Buffer.alloc(0)

export class RequestStream {
  readonly #limits: StreamLimits
  #framer: RequestFramer | NativeRequestFramer | undefined
  /** Fewer than four bytes, while nothing is chosen. */
  #opening: Buffer = NOTHING

  constructor(limits: StreamLimits) {
    this.#limits = limits
  }

  /** Bytes received of a frame that is not complete. */
  get pendingBytes(): number {
    return this.#framer === undefined ? this.#opening.length : this.#framer.pendingBytes
  }

  /** For who has already read a Thrift frame of this connection in another way. */
  chooseThrift(): void {
    this.#framer ??= new RequestFramer(this.#limits)
  }

  push(chunk: Buffer): void {
    if (this.#framer !== undefined) {
      this.#framer.push(chunk)
      return
    }
    const bytes = this.#opening.length === 0 ? chunk : Buffer.concat([this.#opening, chunk])
    if (bytes.length < 4) {
      this.#opening = bytes
      return
    }
    this.#opening = NOTHING
    const isNative = this.#limits.native && bytes.readUInt32BE(0) === NATIVE_MAGIC
    this.#framer = isNative
      ? new NativeRequestFramer(this.#limits)
      : new RequestFramer(this.#limits)
    this.#framer.push(bytes)
  }

  /** The next complete request, `undefined` when more bytes are needed. Throws `FrameError`. */
  next(): AnyRequest | undefined {
    return this.#framer?.next()
  }
}

class NativeRequestFramer {
  readonly #frames: NativeFramer

  constructor(limits: StreamLimits) {
    this.#frames = new NativeFramer(limits)
  }

  get pendingBytes(): number {
    return this.#frames.pendingBytes
  }

  push(chunk: Buffer): void {
    this.#frames.push(chunk)
  }

  next(): NativeRequest | undefined {
    const frame = this.#frames.next()
    if (frame === undefined) return undefined
    const { header: native, body } = frame
    if (!native.isRequest) throw new FrameError('bad-type', 'a native reply among requests')
    // Its body cannot be told from one in Thrift's binary protocol, so nothing good can come of it.
    if (native.serialization !== THRIFT_BINARY)
      throw new FrameError('bad-type', `native serialization ${native.serialization}`)
    return {
      kind: 'native',
      header: {
        version: 'native',
        appId: native.appId,
        partitionIndex: native.partitionIndex,
        clientTimeoutMs: native.timeoutMs,
        partitionHash: native.partitionHash,
        isBackupRequest: native.isBackupRequest,
      },
      native,
      name: native.name,
      argument: body,
    }
  }
}

/**
 * The whole reply to a request, in the request's form. `result` is the result struct, absent with
 * most errors; `from` is our own address, which only native replies name ('': none).
 */
export function encodeAnswer(
  request: AnyRequest,
  from: RpcAddress,
  errorName: string,
  result: Buffer | undefined,
): Buffer {
  if (request.kind === 'native')
    return encodeNativeReply(request.native, from, errorName, result ?? NOTHING)
  return encodeReply(request.name, request.seqid, errorName, result)
}
