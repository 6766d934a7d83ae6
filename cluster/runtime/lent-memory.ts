/**
 * The memory that a socket's chunks are read into where the reader asked for lent ones: buffers used
 * again by any socket, once they were given back and nothing written from them is still to be sent.
 * Fresh memory for each read would cost page faults and garbage collections: for an answer of 600 KB
 * more than reading and writing it.
 */
import type { OnReadOpts } from 'node:net'
import type { SocketHandlers } from './runtime.ts'

const chunkBytes = 128 * 1024
/** Free buffers kept, of any socket: a turn with many answers reads into a dozen of them. */
const freeChunksMax = 16
/** Free memory kept for what is gathered in one piece. */
const freePieceBytesMax = 16 << 20

/** Calls back once, when all that was written to it so far is sent, or will never be. */
export interface Sending {
  readonly whenSent: (callback: () => void) => void
}

const freeChunks: Buffer[] = []
/** By size, a power of two each. */
const freePieces = new Map<number, Buffer[]>()
let freePieceBytes = 0

export class LentMemory {
  #lent: Buffer[] = []
  /** Read into next, behind the bytes that were unread, unless a piece is gathered. */
  #chunk: Buffer = takeChunk()
  #unreadBytes = 0
  #piece: Buffer | undefined
  /** What is free of the chunk, or missing of the piece. */
  #room: Buffer = this.#chunk

  /** For the `onread` option of a socket. */
  reading(handlers: SocketHandlers): OnReadOpts {
    return {
      buffer: () => this.#room,
      callback: (readBytes: number): boolean => {
        handlers.onData(this.#filled(readBytes))
        return true
      },
    }
  }

  /** A piece of that many bytes; what is read from now on lies in it from `at` on. */
  gather(bytes: number, at: number): Buffer {
    if (this.#unreadBytes > 0)
      throw new Error('a piece is asked for before unread bytes came again')
    if (this.#piece !== undefined) this.#lent.push(this.#piece)
    this.#piece = takePiece(bytes)
    this.#room = this.#piece.subarray(at, bytes)
    return this.#piece.subarray(0, bytes)
  }

  /** The next chunk begins with these bytes; false when they fill it, or a piece is gathered. */
  unread(bytes: Buffer): boolean {
    if (bytes.length >= chunkBytes || this.#piece !== undefined) return false
    this.#chunk.set(bytes)
    this.#unreadBytes = bytes.length
    this.#room = this.#chunk.subarray(bytes.length)
    return true
  }

  /** What was read so far is no longer needed, but for what those have still to send. */
  giveBack(senders: readonly Sending[]): void {
    if (this.#lent.length === 0) return
    const lent = this.#lent
    this.#lent = []
    let waiting = senders.length
    const free = (): void => {
      for (const buffer of lent) keepFree(buffer)
    }
    if (waiting === 0) free()
    for (const sender of senders)
      sender.whenSent(() => {
        if (--waiting === 0) free()
      })
  }

  #filled(readBytes: number): Buffer {
    const piece = this.#piece
    if (piece === undefined) {
      const chunk = this.#chunk
      const bytes = this.#unreadBytes + readBytes
      this.#lent.push(chunk)
      this.#nextChunk()
      return chunk.subarray(0, bytes)
    }
    const room = this.#room
    if (readBytes < room.length) this.#room = room.subarray(readBytes)
    else {
      this.#lent.push(piece)
      this.#piece = undefined
      this.#room = this.#chunk
    }
    return room.subarray(0, readBytes)
  }

  #nextChunk(): void {
    this.#chunk = takeChunk()
    this.#unreadBytes = 0
    this.#room = this.#chunk
  }
}

function takeChunk(): Buffer {
  return freeChunks.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)
}

/** At least that large; what nobody writes to takes no memory. */
function takePiece(bytes: number): Buffer {
  const size = Math.max(2 * chunkBytes, 2 ** Math.ceil(Math.log2(bytes)))
  const free = freePieces.get(size)?.pop()
  if (free === undefined) return Buffer.allocUnsafeSlow(size)
  freePieceBytes -= size
  return free
}

function keepFree(buffer: Buffer): void {
  const size = buffer.length
  if (size === chunkBytes) {
    if (freeChunks.length < freeChunksMax) freeChunks.push(buffer)
    return
  }
  if (freePieceBytes + size > freePieceBytesMax) return
  freePieceBytes += size
  const pieces = freePieces.get(size)
  if (pieces === undefined) freePieces.set(size, [buffer])
  else pieces.push(buffer)
}
