/**
 * What a replica keeps on disk beside log and data, as meta entries of its store (upstream's
 * `.init-info` and `.app-info`): ballot, completeness, where its part of the log begins, and the
 * table's description. Written synced, checked when read.
 */
import { decode, encode } from '../protocol/binary.ts'
import { AppInfo } from '../protocol/layer2.ts'
import { ProtocolError } from '../protocol/schema.ts'
import type { ReplicaStore } from '../storage/replica-store.ts'
import type { ReplicaRecord } from './replica-events.ts'

export interface StoredRecord extends ReplicaRecord {
  /** Log records before this offset belong to a history that was given up. */
  readonly logStart: number
  /** Why the replica stopped for good: its data are kept, and thrown away when it learns anew. */
  readonly failed?: string
  /** Unix milliseconds when the meta server declared it superfluous; removed some time later. */
  readonly garbageSinceMs?: number
}

const FORMAT = 1
const RECORD = 'replica'
const INFO = 'app-info'

export async function writeRecord(store: ReplicaStore, record: StoredRecord): Promise<void> {
  const bytes = Buffer.from(JSON.stringify({ format: FORMAT, ...record }))
  await store.putMeta({ [RECORD]: bytes }, { sync: true })
}

export async function writeInfo(store: ReplicaStore, info: AppInfo): Promise<void> {
  await store.putMeta({ [INFO]: encode(AppInfo, info) }, { sync: false })
}

/** Both entries of a replica that this server has; a text says why they cannot be used. */
export async function readRecord(
  store: ReplicaStore,
): Promise<{ readonly record: StoredRecord; readonly info: AppInfo } | string> {
  const [recordBytes, infoBytes] = [await store.getMeta(RECORD), await store.getMeta(INFO)]
  if (recordBytes === undefined) return 'no replica record'
  const record = parseRecord(recordBytes)
  if (typeof record === 'string') return record
  if (infoBytes === undefined) return 'no table description'
  try {
    return { record, info: decode(AppInfo, infoBytes) }
  } catch (error) {
    if (error instanceof ProtocolError) return `table description: ${error.message}`
    throw error
  }
}

function parseRecord(bytes: Buffer): StoredRecord | string {
  let raw: unknown
  try {
    raw = JSON.parse(bytes.toString())
  } catch {
    return 'replica record: not JSON'
  }
  if (typeof raw !== 'object' || raw === null) return 'replica record: not an object'
  const { format, ballot, incomplete, logStart, failed, garbageSinceMs } = raw as Record<
    string,
    unknown
  >
  if (format !== FORMAT) return `replica record of format ${String(format)}, expected ${FORMAT}`
  if (typeof ballot !== 'number' || typeof logStart !== 'number' || typeof incomplete !== 'boolean')
    return 'replica record: a field is missing'
  return {
    ballot,
    incomplete,
    logStart,
    ...(typeof failed === 'string' ? { failed } : {}),
    ...(typeof garbageSinceMs === 'number' ? { garbageSinceMs } : {}),
  }
}
