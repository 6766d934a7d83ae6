/**
 * What one client is sent at the end of this turn of the event loop: answers gathered, then put
 * together in memory that all connections use one after the other, or written where they lie. Made for
 * a turn and used again for another connection's, so that an idle connection holds none.
 */
import type { Socket } from '../../cluster/runtime/runtime.ts'

/** Answers of a turn up to these sizes are copied together: one piece costs a socket less than many. */
const SLAB_BYTES = 64 << 10
const LARGE_SLAB_BYTES = 512 << 10
/** Kept of each size: as many sockets may still be sending from one when others begin. */
const FREE_SLABS_MAX = 8
/** Larger answers are written from where they lie: copying them costs more than the pieces. */
const COPIED_BYTES_MAX = 32 << 10
/** A single answer that lies whole is written from there, unless copying costs less than a view. */
const NO_SEQID_AT = -1
const NONE = Buffer.alloc(0)

/** Memory to put answers together in, used again once the network has taken them. */
export class Slabs {
  readonly #small: Buffer[] = []
  readonly #large: Buffer[] = []
  /** The slab that was used last, and its first bytes: answers tend to be of one length. */
  #viewed: Buffer | undefined
  #view: Buffer = NONE

  /** Undefined for more than fits. */
  take(bytes: number): Buffer | undefined {
    if (bytes <= SLAB_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES)
    if (bytes <= LARGE_SLAB_BYTES)
      return this.#large.pop() ?? Buffer.allocUnsafeSlow(LARGE_SLAB_BYTES)
    return undefined
  }

  giveBack(slab: Buffer): void {
    const free = slab.length === SLAB_BYTES ? this.#small : this.#large
    if (free.length < FREE_SLABS_MAX) free.push(slab)
  }

  /** The first bytes of a slab. */
  viewOf(slab: Buffer, bytes: number): Buffer {
    if (this.#viewed !== slab || this.#view.length !== bytes) {
      this.#viewed = slab
      this.#view = slab.subarray(0, bytes)
    }
    return this.#view
  }
}

export class TurnAnswers {
  /** One behind the other: where each piece lies, and whose sequence id it gets, if another. */
  readonly #pieces: Buffer[] = []
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #seqidAts: number[] = []
  readonly #seqids: number[] = []
  #count = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Bytes as they are; what lies behind the last piece makes it longer. */
  add(bytes: Buffer, start: number, end: number): void {
    const last = this.#count - 1
    this.#bytes += end - start
    if (
      last >= 0 &&
      this.#pieces[last] === bytes &&
      this.#ends[last] === start &&
      this.#seqidAts[last] === NO_SEQID_AT
    ) {
      this.#ends[last] = end
      return
    }
    this.#push(bytes, start, end, NO_SEQID_AT, 0)
  }

  /** A frame that others are sent too, with a sequence id of its own. */
  addShared(frame: Buffer, seqidAt: number, seqid: number): void {
    this.#bytes += frame.length
    this.#push(frame, 0, frame.length, seqidAt, seqid)
  }

  #push(bytes: Buffer, start: number, end: number, seqidAt: number, seqid: number): void {
    const index = this.#count++
    this.#pieces[index] = bytes
    this.#starts[index] = start
    this.#ends[index] = end
    this.#seqidAts[index] = seqidAt
    this.#seqids[index] = seqid
  }

  /** Writes all of it and is empty again. */
  write(socket: Socket, slabs: Slabs): void {
    const isOnePiece = this.#count === 1 && this.#seqidAts[0] === NO_SEQID_AT
    const isCopied = !isOnePiece && this.#bytes <= this.#count * COPIED_BYTES_MAX
    const slab = isCopied && socket.writeNow !== undefined ? slabs.take(this.#bytes) : undefined
    if (slab === undefined) this.#writeEach(socket)
    else {
      this.#copyTo(slab)
      // A socket with unsent bytes is slow: it gets memory of the right size to hold on to.
      const isSlow = socket.bufferedBytes() > 0
      const bytes = slabs.viewOf(slab, this.#bytes)
      if (isSlow) socket.write(Buffer.from(bytes))
      if (isSlow || socket.writeNow?.(bytes) === true) slabs.giveBack(slab)
      else socket.whenSent?.(() => slabs.giveBack(slab))
    }
    // The numbers may stay, memory may not be held; an array cut short would have to grow again.
    for (let index = 0; index < this.#count; index++) this.#pieces[index] = NONE
    this.#count = 0
    this.#bytes = 0
  }

  #copyTo(slab: Buffer): void {
    let at = 0
    for (let index = 0; index < this.#count; index++) {
      const piece = this.#pieces[index] ?? NONE
      const start = this.#starts[index] ?? 0
      const end = this.#ends[index] ?? 0
      const seqidAt = this.#seqidAts[index] ?? NO_SEQID_AT
      if (end - start === piece.length) slab.set(piece, at)
      else piece.copy(slab, at, start, end)
      if (seqidAt !== NO_SEQID_AT) slab.writeInt32BE(this.#seqids[index] ?? 0, at + seqidAt)
      at += end - start
    }
  }

  /** Too much to copy: of a shared frame only what stands up to the sequence id is. */
  #writeEach(socket: Socket): void {
    for (let index = 0; index < this.#count; index++) {
      const piece = this.#pieces[index] ?? NONE
      const start = this.#starts[index] ?? 0
      const end = this.#ends[index] ?? 0
      const seqidAt = this.#seqidAts[index] ?? NO_SEQID_AT
      if (seqidAt === NO_SEQID_AT) socket.write(piece.subarray(start, end))
      else {
        const head = Buffer.from(piece.subarray(start, start + seqidAt + 4))
        head.writeInt32BE(this.#seqids[index] ?? 0, seqidAt)
        socket.write(head)
        socket.write(piece.subarray(start + head.length, end))
      }
    }
  }
}
