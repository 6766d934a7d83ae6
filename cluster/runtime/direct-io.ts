/**
 * Reads and writes on the TCP handle under a socket of Node, past its streams: for a small request
 * and its answer those cost a fifth of the CPU time, system calls included. The socket stays the
 * owner: it connects, pauses, ends and closes, and hears of the end and of errors. What Node uses
 * inside is used here (20, 22 and 24 are alike); without it everything goes through the socket.
 */
import type { Socket as NetSocket } from 'node:net'
import { getSystemErrorName } from 'node:util'

/** Node gives it back through `oncomplete` when the system did not take all bytes at once. */
interface WriteRequest {
  oncomplete?: (status: number) => void
  /** Held here until they are sent. */
  buffer?: Buffer
}

interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest
  /** What the last call or callback has to say, beside its result. */
  readonly streamBaseState: Int32Array
  readonly kReadBytesOrError: number
  readonly kLastWriteWasAsync: number
}

interface StreamHandle {
  /** 0, or a negative number of the system. */
  readonly writeBuffer: (request: WriteRequest, bytes: Buffer) => number
  onread: (memory: ArrayBuffer | undefined) => unknown
}

const binding = streamBinding()

function streamBinding(): StreamBinding | undefined {
  const open: unknown = Reflect.get(process, 'binding')
  if (typeof open !== 'function') return undefined
  let found: Partial<StreamBinding>
  try {
    found = open('stream_wrap') as Partial<StreamBinding>
  } catch {
    // Not under the permission model.
    return undefined
  }
  const { WriteWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = found
  if (
    typeof WriteWrap !== 'function' ||
    streamBaseState === undefined ||
    kReadBytesOrError === undefined ||
    kLastWriteWasAsync === undefined
  )
    return undefined
  return { WriteWrap, streamBaseState, kReadBytesOrError, kLastWriteWasAsync }
}

function handleOf(socket: NetSocket): StreamHandle | undefined {
  const handle = Reflect.get(socket, '_handle') as Partial<StreamHandle> | null | undefined
  return typeof handle?.writeBuffer === 'function' && typeof handle.onread === 'function'
    ? (handle as StreamHandle)
    : undefined
}

/** Calls back for what is read into the buffer of the socket's `onread` option; its own callback no more. */
export function readDirectly(socket: NetSocket, onRead: (readBytes: number) => void): void {
  const handle = handleOf(socket)
  if (binding === undefined || handle === undefined) return
  const { streamBaseState, kReadBytesOrError } = binding
  const { onread } = handle
  handle.onread = (memory) => {
    const readBytes = streamBaseState[kReadBytesOrError] ?? 0
    // The end, errors, and what is left when nobody reads any more.
    if (readBytes <= 0 || socket.destroyed) return onread.call(handle, memory)
    onRead(readBytes)
    return undefined
  }
}

/** Of no write that is still under way: most are done when the call is. */
let spare: WriteRequest | undefined

export class DirectWriter {
  readonly #binding: StreamBinding
  readonly #socket: NetSocket
  readonly #handle: StreamHandle
  readonly #onSent: () => void
  #unsentBytes = 0

  private constructor(
    parts: { readonly binding: StreamBinding; readonly handle: StreamHandle },
    socket: NetSocket,
    onSent: () => void,
  ) {
    this.#binding = parts.binding
    this.#handle = parts.handle
    this.#socket = socket
    this.#onSent = onSent
  }

  /**
   * For a connected socket without TLS; undefined where that cannot be. `onSent` is called when
   * bytes that the system did not take at once are sent.
   */
  static of(socket: NetSocket, onSent: () => void): DirectWriter | undefined {
    const handle = handleOf(socket)
    return binding === undefined || handle === undefined
      ? undefined
      : new DirectWriter({ binding, handle }, socket, onSent)
  }

  get unsentBytes(): number {
    return this.#unsentBytes
  }

  /** Behind all that was written before; the bytes must not change while `unsentBytes` is not 0. */
  write(bytes: Buffer): void {
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = this.#binding
    const request = spare ?? new WriteWrap()
    spare = undefined
    const status = this.#handle.writeBuffer(request, bytes)
    if (status !== 0) this.#onError(status)
    else if (streamBaseState[kLastWriteWasAsync] === 0) spare = request
    else {
      this.#unsentBytes += bytes.length
      request.buffer = bytes
      request.oncomplete = (completed) => this.#onComplete(bytes.length, completed)
    }
  }

  #onComplete(bytes: number, status: number): void {
    this.#unsentBytes -= bytes
    if (this.#socket.destroyed) return
    if (status === 0) this.#onSent()
    else this.#onError(status)
  }

  #onError(status: number): void {
    const code = getSystemErrorName(status)
    this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code, syscall: 'write' }))
  }
}
