/** Stored bytes as a record that is visible at a given time (data-model.md 2, 2.1). */
import { type StoredValue, decodeValue, isExpired } from '../protocol/value.ts'
import { EngineError } from '../storage/engine.ts'

/** What this release writes; every value says so itself or is read as this version. */
const DATA_VERSION = 1

/**
 * `undefined` when nothing is stored or it has expired. Throws EngineError `corruption` for bytes
 * that no release has written. The data are a view on `stored`.
 */
export function liveRecord(
  stored: Buffer | undefined,
  nowSeconds: number,
): StoredValue | undefined {
  if (stored === undefined) return undefined
  const record = decodeValue(stored, DATA_VERSION)
  if (record === undefined)
    throw new EngineError('corruption', `a stored value of ${stored.length} bytes has no header`)
  return isExpired(record.expireTsSeconds, nowSeconds) ? undefined : record
}
