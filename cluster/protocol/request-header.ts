/**
 * What a request's header says (wire.md 2 and 3), apart from the lengths that `frame.ts` judges:
 * the fixed fields of v0 and the meta struct of v1, of which a reader accepts any subset.
 */
import { BinaryReader } from './binary.ts'
import { ThriftType } from './schema.ts'

export interface RequestHeader {
  readonly version: 0 | 1
  readonly appId: number
  readonly partitionIndex: number
  /** A hint that some clients get wrong; 0 = not given (wire.md 2). */
  readonly clientTimeoutMs: number
  /** Unsigned 64 bits. */
  readonly partitionHash: bigint
  /** v1 only. */
  readonly isBackupRequest: boolean
}

/** Names no partition and no time limit, as a query for a meta server may. */
export const emptyHeader: RequestHeader = {
  version: 0,
  appId: 0,
  partitionIndex: 0,
  clientTimeoutMs: 0,
  partitionHash: 0n,
  isBackupRequest: false,
}

/** The fixed fields of a v0 header that starts at `at`. */
export function readHeaderV0(bytes: Buffer, at: number): RequestHeader {
  return {
    version: 0,
    appId: bytes.readInt32BE(at + 24),
    partitionIndex: bytes.readInt32BE(at + 28),
    clientTimeoutMs: bytes.readInt32BE(at + 32),
    partitionHash: bytes.readBigUInt64BE(at + 40),
    isBackupRequest: false,
  }
}

/** Everything behind the header length of a v0 header that starts at 0; checksums stay 0. */
export function writeHeaderV0(bytes: Buffer, header: RequestHeader, bodyBytes: number): void {
  bytes.writeUInt32BE(0, 12)
  bytes.writeUInt32BE(bodyBytes, 16)
  bytes.writeUInt32BE(0, 20)
  bytes.writeInt32BE(header.appId, 24)
  bytes.writeInt32BE(header.partitionIndex, 28)
  bytes.writeInt32BE(header.clientTimeoutMs, 32)
  bytes.writeInt32BE(threadHash(header.appId, header.partitionIndex), 36)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, header.partitionHash), 40)
}

/** Upstream's routing hint in header v0: app_id * 7919 + partition_index, wrapping. */
export function threadHash(appId: number, partitionIndex: number): number {
  return (Math.imul(appId, 7919) + partitionIndex) | 0
}

/** Any subset of the five fields, unknown ones skipped. Throws `ProtocolError` on cut bytes. */
export function readMetaV1(bytes: Buffer, at: number, end: number): RequestHeader {
  let appId = 0
  let partitionIndex = 0
  let clientTimeoutMs = 0
  let partitionHash = 0n
  let isBackupRequest = false
  const reader = new BinaryReader(bytes, at, end)
  for (;;) {
    const type = reader.readFieldBegin()
    if (type === ThriftType.STOP) break
    const id = reader.fieldId
    if (type === ThriftType.I32 && id === 1) appId = reader.readI32()
    else if (type === ThriftType.I32 && id === 2) partitionIndex = reader.readI32()
    else if (type === ThriftType.I32 && id === 3) clientTimeoutMs = reader.readI32()
    else if (type === ThriftType.I64 && id === 4)
      partitionHash = BigInt.asUintN(64, reader.readI64())
    else if (type === ThriftType.BOOL && id === 5) isBackupRequest = reader.readBool()
    else if (!reader.skip(type)) break
  }
  return { version: 1, appId, partitionIndex, clientTimeoutMs, partitionHash, isBackupRequest }
}

/** What `writeMetaV1` writes. */
export const V1_META_BYTES = 37

function writeFieldI32(bytes: Buffer, at: number, id: number, value: number): void {
  bytes[at] = ThriftType.I32
  bytes.writeInt16BE(id, at + 1)
  bytes.writeInt32BE(value, at + 3)
}

/** All five fields, as the Java client writes them. */
export function writeMetaV1(bytes: Buffer, at: number, header: RequestHeader): void {
  writeFieldI32(bytes, at, 1, header.appId)
  writeFieldI32(bytes, at + 7, 2, header.partitionIndex)
  writeFieldI32(bytes, at + 14, 3, header.clientTimeoutMs)
  bytes[at + 21] = ThriftType.I64
  bytes.writeInt16BE(4, at + 22)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, header.partitionHash), at + 24)
  bytes[at + 32] = ThriftType.BOOL
  bytes.writeInt16BE(5, at + 33)
  bytes[at + 35] = header.isBackupRequest ? 1 : 0
  bytes[at + 36] = ThriftType.STOP
}
