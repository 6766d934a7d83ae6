/**
 * Opening an existing mutation log: finds its files, checks that they follow each other without a
 * hole, reads every record in order, and cuts a torn tail off the last file. Rules: replica-server.md
 * 8.3 (L3) and 8.5.
 */
import type { File, Runtime } from '../runtime/runtime.ts'
import { LogIndex } from './log-index.ts'
import { readDecree, readGpid, readRecord, recordKind } from './log-record.ts'
import type { LoggedRecord } from './log-record.ts'
import {
  MutationLogError,
  findLaterGroup,
  readSegmentHeader,
  scanSegment,
  segmentIndexOf,
  segmentName,
} from './log-segment.ts'
import type { OpenedSegment, ScanEnd } from './log-segment.ts'

/** A file of the log while the server runs. */
export interface LogSegment extends OpenedSegment {
  readonly path: string
  readonly decrees: LogIndex
  /** End of the good records in the file. */
  sizeBytes: number
  /** Readers that have the file open: it is not collected meanwhile. */
  readers: number
}

export interface ReplayedLog {
  readonly segments: LogSegment[]
  /** Chain of the last record of the last segment, or its seed. */
  readonly chain: number
  /** Whether the last process closed the log in order. */
  readonly closedInOrder: boolean
}

/** Rewritten at a time. */
const rewriteBytes = 1 << 20

export type RecordVisitor = (record: LoggedRecord) => void | Promise<void>

/** Leaves no file open. Rejects with MutationLogError `corruption`, `newer-format`, or a file error. */
export async function replayLog(
  runtime: Runtime,
  directory: string,
  onRecord: RecordVisitor,
): Promise<ReplayedLog> {
  const indexes = await findSegments(runtime, directory)
  // The process before may have ended because this failed: names that are seen need not be durable.
  await runtime.files.syncDirectory(directory)
  const segments: LogSegment[] = []
  let chain = 0
  let closedInOrder = false
  for (const [place, index] of indexes.entries()) {
    const path = `${directory}/${segmentName(index)}`
    const isLast = place === indexes.length - 1
    const file = await runtime.files.open(path, isLast ? 'update' : 'read')
    try {
      const opened = await readSegmentHeader(file, path)
      checkFollows(path, opened, index, segments.at(-1))
      const segment = { ...opened, path, decrees: new LogIndex(), sizeBytes: 0, readers: 0 }
      const end = await replaySegment(runtime, file, segment, isLast, onRecord)
      segments.push(segment)
      chain = end.chain
      closedInOrder = end.lastKind === recordKind.CLOSED
    } finally {
      await file.close()
    }
  }
  return { segments, chain, closedInOrder }
}

export function endOffsetOf(segment: LogSegment): number {
  return segment.header.startOffset + segment.sizeBytes - segment.headerBytes
}

async function findSegments(runtime: Runtime, directory: string): Promise<number[]> {
  const { files } = runtime
  const names = await files.list(directory)
  // A file that got no final name when the process ended; nothing in it counts.
  const unfinished = names.filter((name) => name.endsWith('.log.tmp'))
  for (const name of unfinished) await files.remove(`${directory}/${name}`)
  const indexes = names
    .map(segmentIndexOf)
    .filter((index) => index !== undefined)
    .toSorted((a, b) => a - b)
  for (const [place, index] of indexes.entries()) {
    const before = indexes[place - 1]
    if (before !== undefined && index !== before + 1)
      throw new MutationLogError(
        'corruption',
        `${directory}: ${segmentName(before + 1)} is missing before ${segmentName(index)}`,
      )
  }
  return indexes
}

function checkFollows(
  path: string,
  { header }: OpenedSegment,
  index: number,
  before: LogSegment | undefined,
): void {
  if (header.index !== index)
    throw new MutationLogError('corruption', `${path}: its header says file ${header.index}`)
  if (before === undefined || endOffsetOf(before) === header.startOffset) return
  throw new MutationLogError(
    'corruption',
    `${path} starts at offset ${header.startOffset}, but the file before it ends at ` +
      `${endOffsetOf(before)}`,
  )
}

async function replaySegment(
  runtime: Runtime,
  file: File,
  segment: LogSegment,
  isLast: boolean,
  onRecord: RecordVisitor,
): Promise<ScanEnd> {
  const { headerBytes, header } = segment
  const sizeBytes = await file.sizeBytes()
  let before = { position: headerBytes, chain: header.seed }
  let durablePosition = headerBytes
  const end = await scanSegment(file, segment, before, { sizeBytes, headerBytes }, (record) => {
    const { bytes, at } = record
    const isMutation = record.header.kind === recordKind.MUTATION
    if (isMutation) segment.decrees.add(readGpid(bytes, at), readDecree(bytes, at), before)
    const position = record.endOffset - header.startOffset + headerBytes
    before = { position, chain: record.header.chain }
    durablePosition = headerBytes + Math.max(0, record.header.durableOffset - header.startOffset)
    return isMutation ? onRecord(readRecord(bytes, at, record.header)) : undefined
  })
  segment.sizeBytes = end.position
  if (!end.clean) {
    await checkTornTail(runtime, file, segment, { isLast, sizeBytes })
    await file.truncate(end.position)
  }
  if (isLast) await makeDurable(file, durablePosition, end.position)
  return end
}

/**
 * What was read may be in the page cache only, and from here on it counts as logged. A sync alone
 * would not do: after a failed one the kernel takes the pages for clean and never writes them.
 */
async function makeDurable(file: File, from: number, to: number): Promise<void> {
  for (let position = from; position < to; position += rewriteBytes) {
    const bytes = await file.read(position, Math.min(rewriteBytes, to - position))
    await file.write(position, [bytes])
  }
  await file.sync()
}

/** Returns when the rest of the file is a torn tail and may be cut off; throws when it is damage. */
async function checkTornTail(
  runtime: Runtime,
  file: File,
  segment: LogSegment,
  { isLast, sizeBytes }: { readonly isLast: boolean; readonly sizeBytes: number },
): Promise<void> {
  const { path, sizeBytes: position } = segment
  if (!isLast)
    throw new MutationLogError(
      'corruption',
      `${path}: damaged at position ${position} of ${sizeBytes}, and later files exist`,
    )
  const later = await findLaterGroup(file, segment, { position, sizeBytes })
  if (later !== undefined)
    throw new MutationLogError(
      'corruption',
      `${path}: damaged at position ${position} of ${sizeBytes}, and records behind it ` +
        `(offset ${later}) show that it had been durable`,
    )
  runtime.log.warn('mutation log: torn tail cut off', {
    path,
    position,
    lostBytes: sizeBytes - position,
  })
}
