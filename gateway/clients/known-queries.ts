/**
 * Queries seen before: one object for all that ask the same (table and indices, byte for byte), with
 * its arguments in memory of its own, so that nothing is decoded, copied or looked up by name when it
 * comes again. Bounded: two queries that fall on the same slot push each other out, which costs time
 * and nothing else. What the object remembers of routes and rounds is `query-desk.ts`'s matter.
 */
import type { MetricCounter } from '../../cluster/runtime/metrics.ts'
import type { Lookup } from '../routing/table-entry.ts'
import type { MetaGroup } from '../upstream/meta-group.ts'
import type { Round } from './round.ts'
import { isMarkedNative, markNative } from './native-answer.ts'
import { readIndices, readQuery } from './query.ts'
import type { QueryScan } from './query-scan.ts'

/** In pairs: of 1 000 tables, 10 are pushed out now and then. Each holds some 300 bytes. */
const SLOTS = 8192
/** Longer ones, with many indices, are rare: made anew each time. */
const KEPT_BYTES_MAX = 512

export class KnownQuery {
  readonly table: string
  /** The args struct as the client sent it; not changed. */
  readonly argument: Buffer
  /** All partitions are asked for. */
  readonly isWhole: boolean
  /** What `lookup` and `group` hold was found in that turn, and is good for no other. */
  turn = -1
  lookup: Lookup | undefined = undefined
  group: MetaGroup | undefined = undefined
  /** Counts the table's queries, once it was found mapped. */
  asked: MetricCounter | undefined = undefined
  /** Those who ask now, and those whose query is on its way. */
  gathering: Round | undefined = undefined
  running: Round | undefined = undefined

  constructor(table: string, argument: Buffer, isWhole: boolean) {
    this.table = table
    this.argument = argument
    this.isWhole = isWhole
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

  /** For what the scan found last. */
  scanned(scan: QueryScan): KnownQuery {
    const { bytes, start, end } = scan
    const slot = slotOf(bytes, start, end)
    const known = this.#at(slot, bytes, start, end)
    if (known !== undefined) return known
    // Bytes that are no UTF-8 come out as everywhere, with U+FFFD.
    const table = bytes.toString('utf8', scan.nameStart, scan.nameEnd)
    return this.#add(slot, table, bytes, start, end, scan.isWhole)
  }

  /**
   * For arguments in any form; undefined when they are no well-formed query. Those of a native
   * client are marked as such, in place.
   */
  decoded(argument: Buffer, isNative: boolean): KnownQuery | undefined {
    const table = readQuery(argument)
    if (table === undefined) return undefined
    if (isNative) markNative(argument)
    const slot = slotOf(argument, 0, argument.length)
    const known = this.#at(slot, argument, 0, argument.length)
    if (known !== undefined) return known
    const isWhole = readIndices(argument).length === 0
    return this.#add(slot, table, argument, 0, argument.length, isWhole)
  }

  /** Either of the pair that a hash leads to. */
  #at(slot: number, bytes: Buffer, start: number, end: number): KnownQuery | undefined {
    const first = this.#slots[slot]
    if (first !== undefined && isSame(first.argument, bytes, start, end)) return first
    const second = this.#slots[slot ^ 1]
    return second !== undefined && isSame(second.argument, bytes, start, end) ? second : undefined
  }

  #add(
    slot: number,
    table: string,
    bytes: Buffer,
    start: number,
    end: number,
    isWhole: boolean,
  ): KnownQuery {
    const argument = Buffer.allocUnsafeSlow(end - start)
    bytes.copy(argument, 0, start, end)
    const query = new KnownQuery(table, argument, isWhole)
    if (argument.length > KEPT_BYTES_MAX) return query
    this.#slots[slot ^ 1] = this.#slots[slot] ?? this.#slots[slot ^ 1]
    this.#slots[slot] = query
    return query
  }
}

function slotOf(bytes: Buffer, start: number, end: number): number {
  let hash = end - start
  for (let at = start; at < end; at++) hash = (Math.imul(hash, 31) + (bytes[at] ?? 0)) | 0
  return (hash ^ (hash >>> 13)) & (SLOTS - 1)
}

function isSame(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start
  if (known.length !== length) return false
  for (let index = 0; index < length; index++)
    if (known[index] !== bytes[start + index]) return false
  return true
}
