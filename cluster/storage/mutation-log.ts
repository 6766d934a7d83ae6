/**
 * The mutation log of a server process: one sequence of files for all its replicas. Upstream's
 * private log with the requirements L1 to L7 of replica-server.md 8.3; shared, because one sync then
 * serves all replicas (figures in ARCHITECTURE.md).
 *
 * Group commit without timers: while one group is written and synced, further records collect and
 * form the next group. One write at a time, so records are on disk in the order of `append`.
 * `group` mode settles an append when its group is durable; `os` mode when the operating system has
 * it, which survives the death of the process and nothing more.
 *
 * After a failed write or sync nothing is known about the file any more: the log is poisoned, every
 * append from then on rejects, and only a restart reads what is really there.
 */
import type { Gpid } from '../protocol/base.ts'
import { gpidText } from '../protocol/base.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { createSegment, makeDirectoryDurably } from './log-create.ts'
import type { WritableSegment } from './log-create.ts'
import { readRange } from './log-reader.ts'
import { RECORD_HEADER_BYTES, recordKind, writeRecord } from './log-record.ts'
import type { LogRecord, LoggedRecord } from './log-record.ts'
import { endOffsetOf, replayLog } from './log-replay.ts'
import type { LogSegment, RecordVisitor, ReplayedLog } from './log-replay.ts'
import { MutationLogError } from './log-segment.ts'

export interface MutationLogOptions {
  /** Folder of the log alone. */
  readonly directory: string
  readonly sync: 'group' | 'os'
  /** A file is closed before it would grow beyond this; a larger record gets a file of its own. */
  readonly segmentBytes?: number
  /** What is written and synced at once. */
  readonly groupBytesMax?: number
  /** Records waiting for their group; beyond it appends reject with `overloaded`. */
  readonly pendingBytesMax?: number
  /** Larger records reject with `overloaded`. */
  readonly recordBytesMax?: number
  /** Files that nobody needs are kept up to this, so that short outages are healed from the log. */
  readonly reserveBytes?: number
}

const defaults = {
  segmentBytes: 32 << 20,
  groupBytesMax: 4 << 20,
  pendingBytesMax: 256 << 20,
  recordBytesMax: 64 << 20,
  reserveBytes: 128 << 20,
}

interface Waiting {
  readonly kind: number
  readonly record: LogRecord
  readonly lengthBytes: number
  readonly resolve: () => void
  readonly reject: (error: MutationLogError) => void
}

export class MutationLog {
  readonly #runtime: Runtime
  readonly #options: Required<MutationLogOptions>
  /** Oldest first; the last one is being written. Never empty. */
  readonly #segments: LogSegment[]
  readonly #closedInOrder: boolean
  /** Highest decree ever logged, by replica: goes into the headers of new files. */
  readonly #highest = new Map<string, { readonly gpid: Gpid; decree: number }>()
  readonly #counters = { records: 0, groups: 0, bytes: 0, filesMade: 0, filesDeleted: 0 }
  #current: WritableSegment
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #running = false
  #scheduled = false
  #closing: Promise<void> | undefined
  #failure: MutationLogError | undefined

  /**
   * Replays every record in order through `onRecord` (awaited when it returns a promise), then is
   * ready for appends. Rejects with MutationLogError `corruption` or `newer-format`, with whatever
   * `onRecord` threw, or with the RuntimeError of a file operation.
   */
  static async open(
    runtime: Runtime,
    options: MutationLogOptions,
    onRecord: RecordVisitor,
  ): Promise<MutationLog> {
    const { directory } = options
    await makeDirectoryDurably(runtime.files, directory)
    const replayed = await replayLog(runtime, directory, onRecord)
    const full = { ...defaults, ...options }
    const last = replayed.segments.at(-1)
    if (last !== undefined) {
      const file = await runtime.files.open(last.path, 'update')
      const current = { file, segment: last, chain: replayed.chain }
      return new MutationLog(runtime, full, replayed, current)
    }
    const current = await createSegment(runtime, directory, {
      index: 1,
      startOffset: 0,
      decreesBefore: [],
    })
    const segments = [current.segment]
    return new MutationLog(runtime, full, { ...replayed, segments }, current)
  }

  private constructor(
    runtime: Runtime,
    options: Required<MutationLogOptions>,
    { segments, closedInOrder }: ReplayedLog,
    current: WritableSegment,
  ) {
    this.#runtime = runtime
    this.#options = options
    this.#segments = segments
    this.#closedInOrder = closedInOrder
    this.#current = current
    for (const { gpid, decree } of segments[0]?.header.decreesBefore ?? [])
      this.#highest.set(gpidText(gpid), { gpid, decree })
    for (const segment of segments)
      for (const { gpid, maxDecree } of segment.decrees.ranges()) this.#noteDecree(gpid, maxDecree)
  }

  /**
   * Settles when the record is as durable as the mode says. Records are logged in the order of the
   * calls. The body must not change before. Rejects with MutationLogError: `overloaded` (nothing was
   * logged), `poisoned` (unknown whether it was), `closed`.
   */
  append(record: LogRecord): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError(this.#options.directory))
    return this.#enqueue(recordKind.MUTATION, record)
  }

  /** The first failure of a write or sync; the log is useless from then on. */
  failure(): MutationLogError | undefined {
    return this.#failure
  }

  /** Offset behind the last record written: records of a new history start here. */
  endOffset(): number {
    return endOffsetOf(this.#current.segment)
  }

  /** Whether the process before this one closed the log in order. */
  closedInOrder(): boolean {
    return this.#closedInOrder
  }

  pendingBytes(): number {
    return this.#waitingBytes
  }

  /** Lowest and highest decree of a replica in the files at hand; there may be holes between. */
  decrees(gpid: Gpid): { readonly minDecree: number; readonly maxDecree: number } | undefined {
    let all: { minDecree: number; maxDecree: number } | undefined
    for (const { decrees } of this.#segments) {
      const range = decrees.range(gpid)
      if (range === undefined) continue
      all ??= { minDecree: range.minDecree, maxDecree: range.maxDecree }
      all.minDecree = Math.min(all.minDecree, range.minDecree)
      all.maxDecree = Math.max(all.maxDecree, range.maxDecree)
    }
    return all
  }

  /** Highest decree of a replica that was in files deleted since; 0 when none was. */
  collectedDecree(gpid: Gpid): number {
    const before = this.#segments[0]?.header.decreesBefore ?? []
    const { appId, partitionIndex } = gpid
    return (
      before.find(
        (entry) => entry.gpid.appId === appId && entry.gpid.partitionIndex === partitionIndex,
      )?.decree ?? 0
    )
  }

  /**
   * Records of consecutive decrees from `fromDecree` to at most `toDecree`, of each decree the one
   * with the highest ballot, up to `maxBytes` but at least one; empty when `fromDecree` is not in the
   * log. Sees every append that has settled. `sinceOffset` leaves out older records.
   */
  async read(
    gpid: Gpid,
    fromDecree: number,
    toDecree: number,
    maxBytes: number,
    sinceOffset = 0,
  ): Promise<LoggedRecord[]> {
    const segments = [...this.#segments]
    for (const segment of segments) segment.readers++
    try {
      const range = { gpid, fromDecree, toDecree, maxBytes, sinceOffset }
      return await readRange(this.#runtime, segments, range)
    } finally {
      for (const segment of segments) segment.readers--
    }
  }

  /**
   * Deletes files from the old end as long as every replica in them either is gone or has its records
   * in durable engine state (`durable` tells the decree, replica-server.md 9.4). Never
   * the current file, none that is being read, and not those within the reserve. Returns how many.
   */
  async collect(durable: (gpid: Gpid) => number | 'gone'): Promise<number> {
    const { files } = this.#runtime
    for (const [key, { gpid }] of this.#highest)
      if (durable(gpid) === 'gone') this.#highest.delete(key)
    const free = this.#freeSegments(durable)
    let freeBytes = free.reduce((sum, segment) => sum + segment.sizeBytes, 0)
    let deleted = 0
    for (const segment of free) {
      if (freeBytes <= this.#options.reserveBytes || segment.readers > 0) break
      if (this.#segments[0] !== segment) break
      this.#segments.shift()
      freeBytes -= segment.sizeBytes
      // One after the other, so that neither a power cut nor a failure can leave a hole.
      try {
        await files.remove(segment.path)
      } catch (error) {
        this.#segments.unshift(segment)
        throw error
      }
      deleted++
      this.#counters.filesDeleted++
      await files.syncDirectory(this.#options.directory)
    }
    return deleted
  }

  stats(): Readonly<Record<string, number>> {
    const files = this.#segments.length
    const fileBytes = this.#segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    return { ...this.#counters, files, fileBytes, pendingBytes: this.#waitingBytes }
  }

  /** Finishes what was appended, marks the log as closed in order and syncs. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    try {
      if (this.#failure === undefined) await this.#enqueue(recordKind.CLOSED, closedMark)
      if (this.#options.sync === 'os') await this.#current.file.sync()
    } catch (error) {
      this.#runtime.log.warn('mutation log: closed without its mark', { error: String(error) })
    }
    await this.#current.file.close()
  }

  #enqueue(kind: number, record: LogRecord): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { directory, recordBytesMax, pendingBytesMax } = this.#options
    const lengthBytes = RECORD_HEADER_BYTES + record.body.length
    if (lengthBytes > recordBytesMax || this.#waitingBytes + lengthBytes > pendingBytesMax)
      return Promise.reject(
        new MutationLogError(
          'overloaded',
          `mutation log ${directory}: no room for ${lengthBytes} bytes ` +
            `(${this.#waitingBytes} of ${pendingBytesMax} waiting, a record may have ${recordBytesMax})`,
        ),
      )
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind, record, lengthBytes, resolve, reject })
      this.#waitingBytes += lengthBytes
      this.#schedule()
    })
  }

  /** A turn of the loop later, so that records of requests read in this turn share a group. */
  #schedule(): void {
    if (this.#running || this.#scheduled) return
    this.#scheduled = true
    this.#runtime.timers.soon(() => {
      this.#scheduled = false
      void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0 && this.#failure === undefined) {
      const group = this.#takeGroup()
      try {
        await this.#writeGroup(group)
        for (const { resolve } of group) resolve()
      } catch (cause) {
        this.#poison(cause, group)
      }
    }
    this.#running = false
  }

  #takeGroup(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const { lengthBytes } of this.#waiting) {
      if (count > 0 && bytes + lengthBytes > this.#options.groupBytesMax) break
      bytes += lengthBytes
      count++
    }
    this.#waitingBytes -= bytes
    return this.#waiting.splice(0, count)
  }

  async #writeGroup(group: readonly Waiting[]): Promise<void> {
    const lengthBytes = group.reduce((sum, waiting) => sum + waiting.lengthBytes, 0)
    await this.#makeRoom(lengthBytes)
    const current = this.#current
    const { segment, file } = current
    const startOffset = endOffsetOf(segment)
    const durableOffset = this.#options.sync === 'group' ? startOffset : segment.header.startOffset
    const bytes = Buffer.allocUnsafe(lengthBytes)
    let at = 0
    let { chain } = current
    for (const { kind, record, lengthBytes: recordBytes } of group) {
      const before = { position: segment.sizeBytes + at, chain }
      if (kind === recordKind.MUTATION) segment.decrees.add(record.gpid, record.decree, before)
      chain = writeRecord(bytes, at, record, {
        kind,
        offset: startOffset + at,
        durableOffset,
        seed: segment.header.seed,
        previousChain: chain,
      })
      at += recordBytes
      if (kind === recordKind.MUTATION) this.#noteDecree(record.gpid, record.decree)
    }
    await file.write(segment.sizeBytes, [bytes])
    if (this.#options.sync === 'group') await file.sync()
    current.chain = chain
    segment.sizeBytes += lengthBytes
    this.#counters.records += group.length
    this.#counters.groups++
    this.#counters.bytes += lengthBytes
  }

  /** Starts a new file when the group would not fit into the current one. */
  async #makeRoom(lengthBytes: number): Promise<void> {
    const { file, segment } = this.#current
    if (segment.sizeBytes + lengthBytes <= this.#options.segmentBytes) return
    if (segment.sizeBytes === segment.headerBytes) return
    // A later file proves that this one is complete.
    if (this.#options.sync === 'os') await file.sync()
    this.#current = await createSegment(this.#runtime, this.#options.directory, {
      index: segment.header.index + 1,
      startOffset: endOffsetOf(segment),
      decreesBefore: [...this.#highest.values()].map(({ gpid, decree }) => ({ gpid, decree })),
    })
    this.#segments.push(this.#current.segment)
    this.#counters.filesMade++
    await file.close()
  }

  #poison(cause: unknown, group: readonly Waiting[]): void {
    const { directory } = this.#options
    const reason = cause instanceof Error ? cause.message : String(cause)
    this.#failure = new MutationLogError(
      'poisoned',
      `mutation log ${directory}: a write failed, nothing more is logged: ${reason}`,
      { cause },
    )
    this.#runtime.log.error('mutation log: write failed', { directory, reason })
    const rejected = [...group, ...this.#waiting]
    this.#waiting = []
    this.#waitingBytes = 0
    for (const { reject } of rejected) reject(this.#failure)
  }

  #noteDecree(gpid: Gpid, decree: number): void {
    const key = gpidText(gpid)
    const known = this.#highest.get(key)
    if (known === undefined) this.#highest.set(key, { gpid, decree })
    else known.decree = Math.max(known.decree, decree)
  }

  #freeSegments(durable: (gpid: Gpid) => number | 'gone'): LogSegment[] {
    const free: LogSegment[] = []
    for (const segment of this.#segments.slice(0, -1)) {
      for (const { gpid, maxDecree } of segment.decrees.ranges()) {
        const decree = durable(gpid)
        if (decree !== 'gone' && decree < maxDecree) return free
      }
      free.push(segment)
    }
    return free
  }
}

const closedMark: LogRecord = {
  gpid: { appId: 0, partitionIndex: 0 },
  ballot: 0,
  decree: 0,
  lastCommittedDecree: 0,
  timestampUs: 0,
  body: Buffer.alloc(0),
}

function closedError(directory: string): MutationLogError {
  return new MutationLogError('closed', `mutation log ${directory} is closed`)
}
