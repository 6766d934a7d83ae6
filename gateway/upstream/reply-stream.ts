/**
 * Cuts a meta server's bytes into reply frames where they lie, without making objects, and looks at
 * the fixed places of the usual form (gateway.md W-2); whatever has another form is told as not
 * plain and left to the full decoder. Pure.
 *
 *     i32 total  00000006 ERR_OK  80010002 i32 length, name_ACK  seqid
 *     0c 0000  0c 0001 i32 length, error …
 *
 * A frame lies in the chunk that was given here, and lives as long as that. What a chunk has of one
 * that goes on behind it is unread, to come again in front of the next; a large one is gathered in
 * memory asked for once, and chunks that the network has put there already are not copied. A network
 * that does neither has its cut frames copied together.
 */
import { FrameError, type ReplyFrame, ReplyFramer } from '../../cluster/protocol/frame.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Socket } from '../../cluster/runtime/runtime.ts'

const ACK = `${Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name}_ACK`
/** An answer of 100 000 partitions with all fields is below this. */
const FRAME_BYTES_MAX = 64 << 20
const FRAME_BYTES_MIN = 20
/** Larger frames are gathered: they take more than one chunk of the network. */
const LARGE_BYTES = 128 << 10
/** From behind the total length to the sequence id: a multiple of four. */
const HEAD = (() => {
  const head = Buffer.alloc(4 + 6 + 4 + 4 + ACK.length)
  head.writeUInt32BE(6, 0)
  head.write('ERR_OK', 4, 'latin1')
  head.writeUInt32BE(0x80010002, 10)
  head.writeUInt32BE(ACK.length, 14)
  head.write(ACK, 18, 'latin1')
  return head
})()
const HEAD_WORDS = Int32Array.from({ length: HEAD.length >> 2 }, (_, word) =>
  HEAD.readInt32BE(word * 4),
)
const SEQID_AT = 4 + HEAD_WORDS.length * 4
/** With `ERR_OK` as the error in the body. */
const PLAIN_BYTES = SEQID_AT + 4 + 10 + 6

const EMPTY = Buffer.alloc(0)

/** What the network does so that a frame lies in one piece. */
type Memory = Pick<Socket, 'gather' | 'unread'>

export class ReplyStream {
  readonly #memory: Memory
  #chunk: Buffer = EMPTY
  #view: DataView = new DataView(new ArrayBuffer(0))
  #at = 0
  /** The beginning of a frame, from chunks before; `#restBytes` of it are there. Room for all of it. */
  #rest: Buffer = EMPTY
  #restBytes = 0

  /** What the last `next` that answered true found. */
  bytes: Buffer = EMPTY
  start = 0
  end = 0
  seqid = 0
  /** Where the sequence id lies in `bytes`. */
  seqidAt = 0
  /** An answer to the query, and of the right name. */
  isAck = false
  /** In the usual form and without an error. */
  isPlain = false

  constructor(memory: Memory) {
    this.#memory = memory
  }

  /** The next chunk of the stream, once `next` answered false for the one before. */
  open(chunk: Buffer): void {
    this.#chunk = chunk
    this.#view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
    this.#at = 0
  }

  /** Whether there is one more whole frame. Throws `FrameError` when the stream is broken. */
  next(): boolean {
    if (this.#restBytes > 0) return this.#nextOfRest()
    const at = this.#at
    const left = this.#chunk.length - at
    const total = left < 4 ? 0 : checkedTotal(this.#view.getUint32(at))
    if (left < 4 || left < total) {
      this.#keepRest(left, total)
      return false
    }
    this.#at = at + total
    this.#look(this.#chunk, this.#view, at, total)
    return true
  }

  /** The last frame found, decoded as any other reply. Throws `FrameError` when that fails. */
  frame(): ReplyFrame {
    const framer = new ReplyFramer({ maxFrameBytes: FRAME_BYTES_MAX })
    framer.push(this.bytes.subarray(this.start, this.end))
    const frame = framer.next()
    if (frame === undefined) throw new FrameError('bad-header', 'a reply cut short')
    return frame
  }

  #keepRest(left: number, total: number): void {
    if (left > 0 && !this.#isUnread(total)) {
      this.#rest = this.#roomFor(Math.max(4, total), left)
      this.#fillRest(left)
    }
    this.#chunk = EMPTY
    this.#at = 0
  }

  #isUnread(total: number): boolean {
    const rest = this.#chunk.subarray(this.#at)
    return total <= LARGE_BYTES && this.#memory.unread?.(rest) === true
  }

  #nextOfRest(): boolean {
    if (this.#restBytes < 4 && !this.#readTotal()) return false
    const frame = this.#rest
    const total = frame.length
    this.#fillRest(total)
    if (this.#restBytes < total) return false
    this.#rest = EMPTY
    this.#restBytes = 0
    this.#look(frame, new DataView(frame.buffer, frame.byteOffset, total), 0, total)
    return true
  }

  /** The length word was cut: once it is whole there is room for the frame behind it. */
  #readTotal(): boolean {
    this.#fillRest(4)
    if (this.#restBytes < 4) return false
    const word = this.#rest
    const total = checkedTotal(word.readUInt32BE(0))
    this.#rest = this.#roomFor(total, 4 + this.#chunk.length - this.#at)
    this.#rest.set(word)
    return true
  }

  /** `here`: how much of the frame can be copied at once. */
  #roomFor(total: number, here: number): Buffer {
    const isGathered = total > LARGE_BYTES && here < total
    return (
      (isGathered ? this.#memory.gather?.(total, here) : undefined) ?? Buffer.allocUnsafe(total)
    )
  }

  #fillRest(upTo: number): void {
    const chunk = this.#chunk
    const rest = this.#rest
    const taken = Math.min(upTo - this.#restBytes, chunk.length - this.#at)
    const isThere =
      chunk.buffer === rest.buffer &&
      chunk.byteOffset + this.#at === rest.byteOffset + this.#restBytes
    if (!isThere) chunk.copy(rest, this.#restBytes, this.#at, this.#at + taken)
    this.#restBytes += taken
    this.#at += taken
  }

  #look(bytes: Buffer, view: DataView, start: number, total: number): void {
    this.bytes = bytes
    this.start = start
    this.end = start + total
    this.isAck = total >= PLAIN_BYTES && isHead(view, start + 4)
    if (!this.isAck) {
      this.#lookCloser()
      return
    }
    const at = start + SEQID_AT
    this.seqid = view.getInt32(at)
    this.seqidAt = at
    this.isPlain =
      view.getInt32(at + 4) === 0x0c00000c &&
      view.getInt32(at + 8) === 0x00010000 &&
      // ERR_OK is the only error of six bytes.
      view.getInt16(at + 12) === 6
  }

  #lookCloser(): void {
    const frame = this.frame()
    this.seqid = frame.seqid
    this.seqidAt = this.start + frame.seqidOffset
    this.isAck = frame.name === ACK
    this.isPlain = false
  }
}

function isHead(view: DataView, at: number): boolean {
  for (let word = 0; word < HEAD_WORDS.length; word++)
    if (view.getInt32(at + word * 4) !== HEAD_WORDS[word]) return false
  return true
}

function checkedTotal(total: number): number {
  if (total < FRAME_BYTES_MIN) throw new FrameError('bad-header', `reply of ${total} bytes in all`)
  if (total > FRAME_BYTES_MAX)
    throw new FrameError('oversize', `reply of ${total} bytes, at most ${FRAME_BYTES_MAX}`)
  return total
}
