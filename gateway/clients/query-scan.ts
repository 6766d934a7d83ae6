/**
 * Recognises, in place and without making objects, the request frame that nearly all clients send: a
 * whole configuration query in the usual form, read to its last byte (gateway.md 2.1, W-9). Whatever
 * looks different is left to the framer and the full decoder, which judge it. Pure.
 *
 *     'THFT' 0 48 … body-length …   or   'THFT' 1 meta-length body-length, meta
 *     80010001  00000026 name  seqid  0c 0001  0b 0001 i32 length, table
 *     0f 0002 08 i32 count, i32 …  00  00
 */
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { ThriftType } from '../../cluster/protocol/schema.ts'

const MAGIC = 0x54484654
const V0_HEADER_BYTES = 48
const V1_HEADER_BYTES = 16
/** Message version and type CALL, length of the name, the name; a multiple of four with two more. */
const HEAD = (() => {
  const name = Buffer.from(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX.name, 'latin1')
  const head = Buffer.alloc(8 + name.length)
  head.writeUInt32BE(0x80010001, 0)
  head.writeUInt32BE(name.length, 4)
  head.set(name, 8)
  return head
})()
const HEAD_WORDS = Int32Array.from({ length: HEAD.length >> 2 }, (_, word) =>
  HEAD.readInt32BE(word * 4),
)
const HEAD_REST = HEAD.subarray(HEAD_WORDS.length * 4)
/** From the args struct to the table's name. */
const NAME_AT = 10
/** Behind the name: list header (8 bytes) and two STOP bytes; the elements come on top. */
const TAIL_BYTES = 10
/** Before the name's first byte, in the body. */
const FIXED_BYTES = HEAD.length + 4 + NAME_AT

export class QueryScan {
  readonly #maxBodyBytes: number
  readonly #maxMetaBytes: number
  #bytes: Buffer = Buffer.alloc(0)
  /** From the first byte on, and further than the last one. */
  #view: DataView = new DataView(new ArrayBuffer(0))
  #length = 0

  /** What the last successful `next` found. */
  seqid = 0
  version: 0 | 1 = 0
  clientTimeoutMs = 0
  /** The args struct. */
  start = 0
  end = 0
  nameStart = 0
  nameEnd = 0
  /** No indices: all partitions are asked for. */
  isWhole = true

  constructor(limits: { readonly maxBodyBytes: number; readonly maxMetaBytes: number }) {
    this.#maxBodyBytes = limits.maxBodyBytes
    this.#maxMetaBytes = limits.maxMetaBytes
  }

  get bytes(): Buffer {
    return this.#bytes
  }

  /** The same bytes, from the first one on and further than the last one. */
  get view(): DataView {
    return this.#view
  }

  /** The bytes that `next` looks at from now on. */
  open(bytes: Buffer): void {
    if (bytes === this.#bytes) return
    this.#bytes = bytes
    this.#length = bytes.length
    // Reads mostly go to the beginning of one buffer: a view of all of it serves for all of them,
    // and a new one for each would be a twentieth of the work here.
    const { buffer, byteOffset } = bytes
    const view = this.#view
    if (view.buffer !== buffer || view.byteOffset !== byteOffset)
      this.#view = new DataView(buffer, byteOffset)
  }

  /** Where the frame that starts at `at` ends; 0 when it is not the usual one, or not whole. */
  next(at: number): number {
    const view = this.#view
    if (this.#length - at < V0_HEADER_BYTES || view.getInt32(at) !== MAGIC) return 0
    const version = view.getInt32(at + 4)
    if (version === 0) {
      if (view.getInt32(at + 8) !== V0_HEADER_BYTES) return 0
      this.version = 0
      this.clientTimeoutMs = view.getInt32(at + 32)
      return this.#body(at + V0_HEADER_BYTES, view.getUint32(at + 16))
    }
    if (version !== 1) return 0
    this.version = 1
    const metaBytes = view.getUint32(at + 8)
    const bodyAt = at + V1_HEADER_BYTES + metaBytes
    if (metaBytes > this.#maxMetaBytes || bodyAt > this.#length) return 0
    if (!this.#meta(at + V1_HEADER_BYTES, bodyAt)) return 0
    return this.#body(bodyAt, view.getUint32(at + 12))
  }

  /** The meta of a v1 header, as far as it holds the known fields and nothing else. */
  #meta(from: number, end: number): boolean {
    const view = this.#view
    this.clientTimeoutMs = 0
    let at = from
    while (end - at >= 8) {
      const type = view.getUint8(at)
      if (type === ThriftType.STOP) return false
      if (type === ThriftType.I32) {
        if (view.getInt16(at + 1) === 3) this.clientTimeoutMs = view.getInt32(at + 3)
        at += 7
      } else if (type === ThriftType.I64) at += 11
      else if (type === ThriftType.BOOL) at += 4
      else return false
    }
    if (end - at === 5 && view.getUint8(at) === ThriftType.BOOL) at += 4
    return end - at === 1 && view.getUint8(at) === ThriftType.STOP
  }

  #body(at: number, bodyBytes: number): number {
    const view = this.#view
    const end = at + bodyBytes
    if (bodyBytes > this.#maxBodyBytes || end > this.#length) return 0
    if (bodyBytes < FIXED_BYTES + TAIL_BYTES || !this.#isQuery(at)) return 0
    const start = at + HEAD.length + 4
    if (view.getInt32(start) !== 0x0c00010b || view.getInt16(start + 4) !== 1) return 0
    const nameStart = start + NAME_AT
    const listAt = nameStart + view.getUint32(start + 6)
    if (listAt > end - TAIL_BYTES || view.getInt32(listAt) !== 0x0f000208) return 0
    if (listAt + TAIL_BYTES + 4 * view.getUint32(listAt + 4) !== end) return 0
    if (view.getInt16(end - 2) !== 0) return 0
    this.seqid = view.getInt32(start - 4)
    this.start = start
    this.end = end
    this.nameStart = nameStart
    this.nameEnd = listAt
    this.isWhole = end - listAt === TAIL_BYTES
    return end
  }

  #isQuery(at: number): boolean {
    const view = this.#view
    for (let word = 0; word < HEAD_WORDS.length; word++)
      if (view.getInt32(at + word * 4) !== HEAD_WORDS[word]) return false
    const restAt = at + HEAD_WORDS.length * 4
    for (let index = 0; index < HEAD_REST.length; index++)
      if (view.getUint8(restAt + index) !== HEAD_REST[index]) return false
    return true
  }
}
