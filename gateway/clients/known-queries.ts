/**
 * Queries seen before: one object for all that ask the same (table and indices, byte for byte), with
 * its arguments in memory of its own, so that nothing is decoded, copied or looked up by name when it
 * comes again. Bounded: two queries that fall on the same slot push each other out, which costs time
 * and nothing else. What the object remembers of routes and rounds is `query-desk.ts`'s matter.
 */
import type { MetricCounter } from '../../cluster/runtime/metrics.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { MetaGroup } from '../upstream/meta-group.ts'
import type { ClientUse } from './client-book.ts'
import type { Round } from './round.ts'
import { isMarkedNative, markNative } from './native-answer.ts'
import { readIndices, readQuery } from './query.ts'
import type { QueryScan } from './query-scan.ts'

/** In pairs: of 1 000 tables, 10 are pushed out now and then. Each holds some 300 bytes. */
const SLOTS = 8192
/** Longer ones, with many indices, are rare: made anew each time. */
const KEPT_BYTES_MAX = 512
/** The arguments of some 100 queries lie together; the last one of them keeps the memory. */
const BLOCK_BYTES = 4096

/** Memory with what reads it word by word. */
interface Block {
  readonly bytes: Buffer
  readonly view: DataView
}

export class KnownQuery {
  readonly table: string
  /** The args struct as the client sent it lies here from `start` to `end`; not changed. */
  readonly bytes: Buffer
  readonly view: DataView
  readonly start: number
  readonly end: number
  /** All partitions are asked for. */
  readonly isWhole: boolean
  /** In that turn, and while the routes are of that revision up to that time. */
  turn = -1
  revision = -1
  isKeptUntilMs = 0
  lookup: Lookup | undefined = undefined
  group: MetaGroup | undefined = undefined
  /** Counts the table's queries, once it was found mapped. */
  asked: MetricCounter | undefined = undefined
  /** Of the address that asked last. */
  use: ClientUse | undefined = undefined
  /** Those who ask now, and those whose query is on its way. */
  gathering: Round | undefined = undefined
  running: Round | undefined = undefined

  constructor(table: string, block: Block, isWhole: boolean, start = 0, end = block.bytes.length) {
    this.table = table
    this.bytes = block.bytes
    this.view = block.view
    this.start = start
    this.end = end
    this.isWhole = isWhole
  }

  get argument(): Buffer {
    return this.bytes.subarray(this.start, this.end)
  }

  /** Asked for by a native client, whose answers have another form. */
  get isNative(): boolean {
    return isMarkedNative(this.argument)
  }

  indices(): readonly number[] {
    return readIndices(this.argument)
  }
}

export class KnownQueries {
  readonly #slots: (KnownQuery | undefined)[] = Array.from({ length: SLOTS })
  #block = blockOf(Buffer.alloc(0))
  #blockUsed = 0

  /** For what the scan found last. */
  scanned(scan: QueryScan): KnownQuery {
    const { bytes, view, start, end } = scan
    const slot = slotOf(view, start, end)
    const known = this.#at(slot, view, start, end)
    if (known !== undefined) return known
    // Bytes that are no UTF-8 come out as everywhere, with U+FFFD.
    const table = bytes.toString('utf8', scan.nameStart, scan.nameEnd)
    return this.#add(slot, table, bytes.subarray(start, end), scan.isWhole)
  }

  /**
   * For arguments in any form; undefined when they are no well-formed query. Those of a native
   * client are marked as such, in place.
   */
  decoded(argument: Buffer, isNative: boolean): KnownQuery | undefined {
    const table = readQuery(argument)
    if (table === undefined) return undefined
    if (isNative) markNative(argument)
    const { view } = blockOf(argument)
    const slot = slotOf(view, 0, argument.length)
    const known = this.#at(slot, view, 0, argument.length)
    if (known !== undefined) return known
    return this.#add(slot, table, argument, readIndices(argument).length === 0)
  }

  /** Either of the pair that a hash leads to. */
  #at(slot: number, view: DataView, start: number, end: number): KnownQuery | undefined {
    const first = this.#slots[slot]
    if (first !== undefined && isSame(first, view, start, end)) return first
    const second = this.#slots[slot ^ 1]
    return second !== undefined && isSame(second, view, start, end) ? second : undefined
  }

  #add(slot: number, table: string, argument: Buffer, isWhole: boolean): KnownQuery {
    const { length } = argument
    if (length > KEPT_BYTES_MAX)
      return new KnownQuery(table, blockOf(Buffer.from(argument)), isWhole)
    const { block, start } = this.#room(length)
    argument.copy(block.bytes, start)
    const query = new KnownQuery(table, block, isWhole, start, start + length)
    this.#slots[slot ^ 1] = this.#slots[slot] ?? this.#slots[slot ^ 1]
    this.#slots[slot] = query
    return query
  }

  #room(length: number): { readonly block: Block; readonly start: number } {
    if (this.#block.bytes.length - this.#blockUsed < length) {
      this.#block = blockOf(Buffer.allocUnsafeSlow(BLOCK_BYTES))
      this.#blockUsed = 0
    }
    const start = this.#blockUsed
    this.#blockUsed = start + length
    return { block: this.#block, start }
  }
}

export function blockOf(bytes: Buffer): Block {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) }
}

function slotOf(view: DataView, start: number, end: number): number {
  let hash = end - start
  let at = start
  for (; at + 4 <= end; at += 4) hash = mixed(hash ^ view.getInt32(at, true))
  for (; at < end; at++) hash = mixed(hash ^ view.getUint8(at))
  return hash & (SLOTS - 1)
}

/** Names that differ in one digit fall on slots that have nothing to do with each other. */
function mixed(word: number): number {
  const product = Math.imul(word, 0x9e3779b1)
  return product ^ (product >>> 15)
}

function isSame(known: KnownQuery, view: DataView, start: number, end: number): boolean {
  const length = end - start
  if (known.end - known.start !== length) return false
  const other = known.view
  let at = start
  let otherAt = known.start
  for (; at + 4 <= end; at += 4, otherAt += 4)
    if (other.getInt32(otherAt, true) !== view.getInt32(at, true)) return false
  for (; at < end; at++, otherAt++) if (other.getUint8(otherAt) !== view.getUint8(at)) return false
  return true
}
