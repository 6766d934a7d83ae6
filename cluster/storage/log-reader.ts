/**
 * Reads the records of one replica back from the files of the mutation log, for log learning. The
 * log is shared, so other replicas' records are skipped over.
 */
import type { Gpid } from '../protocol/base.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { RECORD_HEADER_BYTES, readDecree, readGpid, readRecord, recordKind } from './log-record.ts'
import type { LoggedRecord } from './log-record.ts'
import { MutationLogError, scanSegment } from './log-segment.ts'
import type { LogSegment } from './log-replay.ts'

export interface ReadRange {
  readonly gpid: Gpid
  readonly fromDecree: number
  /** Included. */
  readonly toDecree: number
  /** Bodies together; at least one record is returned when there is one. */
  readonly maxBytes: number
  /** Records before this offset belong to a discarded history and are ignored. */
  readonly sinceOffset: number
}

/**
 * Records of consecutive decrees from `fromDecree` on; of several for one decree the one with the
 * highest ballot, then the last. Empty when `fromDecree` is not in the files.
 */
export async function readRange(
  runtime: Runtime,
  segments: readonly LogSegment[],
  range: ReadRange,
): Promise<LoggedRecord[]> {
  const found = new Selection(range)
  for (const segment of segments) {
    const decrees = segment.decrees.range(range.gpid)
    if (decrees === undefined || decrees.minDecree > found.toDecree) continue
    if (decrees.maxDecree >= range.fromDecree) await readSegment(runtime, segment, range, found)
  }
  return found.consecutive()
}

async function readSegment(
  runtime: Runtime,
  segment: LogSegment,
  { gpid, fromDecree, sinceOffset }: ReadRange,
  found: Selection,
): Promise<void> {
  const start = segment.decrees.startFor(gpid, fromDecree)
  if (start === undefined) return
  // Appends go on behind this; the size is what was complete and durable at the call.
  const { sizeBytes, headerBytes, path } = segment
  const file = await runtime.files.open(path, 'read')
  try {
    const end = await scanSegment(file, segment, start, { sizeBytes, headerBytes }, (record) => {
      const { bytes, at, header } = record
      if (header.kind !== recordKind.MUTATION || header.offset < sinceOffset) return
      const pid = readGpid(bytes, at)
      if (pid.appId !== gpid.appId || pid.partitionIndex !== gpid.partitionIndex) return
      if (found.wants(readDecree(bytes, at))) found.add(readRecord(bytes, at, header))
    })
    if (end.clean) return
    throw new MutationLogError('corruption', `${path}: damaged at position ${end.position}`)
  } finally {
    await file.close()
  }
}

/** The best record per decree, bounded: when it grows too big, the highest decrees are given up. */
class Selection {
  readonly #fromDecree: number
  readonly #maxBytes: number
  readonly #records = new Map<number, LoggedRecord>()
  #bytes = 0
  /** Falls while records are given up. */
  toDecree: number

  constructor({ fromDecree, toDecree, maxBytes }: ReadRange) {
    this.#fromDecree = fromDecree
    this.#maxBytes = maxBytes
    this.toDecree = toDecree
  }

  wants(decree: number): boolean {
    return decree >= this.#fromDecree && decree <= this.toDecree
  }

  add(record: LoggedRecord): void {
    const before = this.#records.get(record.decree)
    if (before !== undefined && before.ballot > record.ballot) return
    this.#records.set(record.decree, record)
    this.#bytes += sizeOf(record) - (before === undefined ? 0 : sizeOf(before))
    while (this.#bytes > this.#maxBytes && this.#records.size > 1) this.#giveUpHighest()
  }

  #giveUpHighest(): void {
    let highest = this.#fromDecree
    for (const decree of this.#records.keys()) highest = Math.max(highest, decree)
    const record = this.#records.get(highest)
    if (record !== undefined) this.#bytes -= sizeOf(record)
    this.#records.delete(highest)
    this.toDecree = highest - 1
  }

  consecutive(): LoggedRecord[] {
    const records: LoggedRecord[] = []
    for (let decree = this.#fromDecree; ; decree++) {
      const record = this.#records.get(decree)
      if (record === undefined) return records
      records.push(record)
    }
  }
}

function sizeOf(record: LoggedRecord): number {
  return RECORD_HEADER_BYTES + record.body.length
}
