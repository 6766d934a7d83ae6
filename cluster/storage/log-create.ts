/**
 * Making a new file of the mutation log, and its folder, so that a crash at any step leaves either
 * nothing that counts or a file with a good header (replica-server.md 8.3, L4).
 */
import { dirname } from 'node:path'
import type { File, Files, Runtime } from '../runtime/runtime.ts'
import { LogIndex } from './log-index.ts'
import type { LogSegment } from './log-replay.ts'
import { encodeSegmentHeader, segmentName } from './log-segment.ts'

/** The file that is being written. */
export interface WritableSegment {
  readonly file: File
  readonly segment: LogSegment
  /** Of the last record written, or the seed. */
  chain: number
}

/**
 * A new folder is durable only when the folders above know it. One that is there already may be of a
 * process that failed to make it so: the folder above is synced in any case.
 */
export async function makeDirectoryDurably(files: Files, directory: string): Promise<void> {
  const missing: string[] = []
  for (let path = directory; (await files.stat(path)) === undefined; path = dirname(path)) {
    missing.push(path)
    if (dirname(path) === path) break
  }
  await files.makeDirectory(directory)
  for (const path of missing) await files.syncDirectory(dirname(path))
  if (missing.length === 0) await files.syncDirectory(dirname(directory))
}

/** Header durable first, then the final name, then the name durable (L4). */
export async function createSegment(
  runtime: Runtime,
  directory: string,
  place: Pick<LogSegment['header'], 'index' | 'startOffset' | 'decreesBefore'>,
): Promise<WritableSegment> {
  const { files } = runtime
  const path = `${directory}/${segmentName(place.index)}`
  const temporary = `${path}.tmp`
  const header = { ...place, seed: runtime.random.below(2 ** 32) }
  const bytes = encodeSegmentHeader(header)
  await files.remove(temporary)
  const unnamed = await files.open(temporary, 'create')
  try {
    await unnamed.write(0, [bytes])
    await unnamed.sync()
  } finally {
    await unnamed.close()
  }
  await files.rename(temporary, path)
  await files.syncDirectory(directory)
  const segment: LogSegment = {
    header,
    headerBytes: bytes.length,
    path,
    decrees: new LogIndex(),
    sizeBytes: bytes.length,
    readers: 0,
  }
  return { file: await files.open(path, 'update'), segment, chain: header.seed }
}
