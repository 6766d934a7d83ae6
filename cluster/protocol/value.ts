/**
 * Stored form of a value (data-model.md 2), all integers big-endian:
 *
 *     v0   u32 expire_ts, data
 *     v1   u32 expire_ts, u64 timetag, data
 *     v2   u8 0x82, u32 expire_ts, u64 timetag, data
 *
 * A first byte with the top bit set is a version byte; an unknown version is read as the newest one.
 * Otherwise the table's data version decides. We write v1. Timetag = microseconds << 8 | cluster id
 * << 1 | deleted flag.
 */

/** 2016-01-01T00:00:00Z: expiry times count whole seconds from here. */
export const PEGASUS_EPOCH_SECONDS = 1451606400

const V0_HEADER_BYTES = 4
const V1_HEADER_BYTES = 12
const V2_HEADER_BYTES = 13

export interface StoredValue {
  /** Seconds since the Pegasus epoch, u32; 0 = never. */
  readonly expireTsSeconds: number
  /** Unsigned 64 bits; 0 for a v0 value. */
  readonly timetag: bigint
  /** When decoded, a view on the stored bytes. */
  readonly data: Buffer
}

/** Version v1, a fresh buffer. */
export function encodeValue(value: {
  readonly expireTsSeconds: number
  readonly timetag: bigint
  readonly data: Uint8Array
}): Buffer {
  const stored = Buffer.allocUnsafe(V1_HEADER_BYTES + value.data.length)
  stored.writeUInt32BE(value.expireTsSeconds >>> 0, 0)
  stored.writeBigUInt64BE(BigInt.asUintN(64, value.timetag), 4)
  stored.set(value.data, V1_HEADER_BYTES)
  return stored
}

/** `dataVersion` is the table's: 0 or 1. `undefined` when the bytes are too short: corruption. */
export function decodeValue(stored: Buffer, dataVersion: number): StoredValue | undefined {
  const tagged = ((stored[0] ?? 0) & 0x80) !== 0
  if (!tagged && dataVersion === 0) {
    if (stored.length < V0_HEADER_BYTES) return undefined
    return {
      expireTsSeconds: stored.readUInt32BE(0),
      timetag: 0n,
      data: stored.subarray(V0_HEADER_BYTES),
    }
  }
  const headerBytes = tagged ? V2_HEADER_BYTES : V1_HEADER_BYTES
  if (stored.length < headerBytes) return undefined
  const at = headerBytes - V1_HEADER_BYTES
  return {
    expireTsSeconds: stored.readUInt32BE(at),
    timetag: stored.readBigUInt64BE(at + 4),
    data: stored.subarray(headerBytes),
  }
}

/** Both in seconds since the Pegasus epoch. */
export function isExpired(expireTsSeconds: number, nowPegasusSeconds: number): boolean {
  return expireTsSeconds > 0 && expireTsSeconds <= nowPegasusSeconds
}

/** Whole seconds since the Pegasus epoch at a wall clock reading in Unix milliseconds. */
export function pegasusSeconds(wallMs: number): number {
  return Math.floor(wallMs / 1000) - PEGASUS_EPOCH_SECONDS
}

/** Layout as above; `clusterId` has 7 bits. */
export function makeTimetag(timestampUs: number, clusterId: number): bigint {
  return (BigInt(timestampUs) << 8n) | BigInt((clusterId & 127) << 1)
}
