/**
 * Stored bytes as a record that is visible at a given time (data-model.md 2, 2.1). Every value here
 * is of schema v1. Its first byte is never taken for a version byte: an expiry that was negative on
 * the wire has the top bit set and means a time far away.
 */
import { isExpired } from '../protocol/value.ts'
import { EngineError } from '../storage/engine.ts'

const HEADER_BYTES = 12

export interface VisibleRecord {
  /** A view on the stored bytes. */
  readonly data: Buffer
  /** Seconds since the Pegasus epoch, u32; 0 = never. */
  readonly expireTsSeconds: number
}

/**
 * `undefined` when nothing is stored or it has expired. Throws EngineError `corruption` for bytes
 * that no release has written.
 */
export function liveRecord(
  stored: Buffer | undefined,
  nowSeconds: number,
): VisibleRecord | undefined {
  if (stored === undefined) return undefined
  if (stored.length < HEADER_BYTES)
    throw new EngineError('corruption', `a stored value of ${stored.length} bytes has no header`)
  const expireTsSeconds = stored.readUInt32BE(0)
  if (isExpired(expireTsSeconds, nowSeconds)) return undefined
  return { data: stored.subarray(HEADER_BYTES), expireTsSeconds }
}
