/**
 * The argument of RPC_PREPARE (wire.md 12, replica-server.md 5.4), which is no single struct but
 * three parts in a row: a struct with the gpid, a struct with the replica configuration (both as
 * field 0), and the mutation, packed little-endian without Thrift:
 *
 *     i64 version (0)   i32 app id   i32 partition index   i64 ballot   i64 decree   i64 log offset
 *     i64 last committed decree   i64 timestamp in microseconds   i32 number of updates
 *     per update: i32 length, RPC name   i32 serialization (1 = Thrift binary)   i32 data length
 *     the data of all updates, one behind the other
 *
 * The data of an update is the client's args struct as it came, its field id included.
 */
import { type Gpid, gpid } from './base.ts'
import { BinaryReader, BinaryWriter } from './binary.ts'
import { ReplicaConfiguration } from './metadata.ts'
import { type Codec, ProtocolError } from './schema.ts'

const MUTATION_HEADER_BYTES = 60
const UPDATE_HEADER_BYTES = 12
/** Above this the version word belongs to an old layout without a timestamp (upstream). */
const VERSION_MAX = 64

export interface PreparedUpdate {
  /** RPC name, e.g. RPC_RRDB_RRDB_PUT, or RPC_REPLICATION_WRITE_EMPTY with no data. */
  readonly name: string
  /** 1 = Thrift binary. */
  readonly serialization: number
  readonly data: Buffer
}

export interface PreparedMutation {
  readonly pid: Gpid
  readonly ballot: number
  readonly decree: number
  /** -1 when not yet logged. */
  readonly logOffset: number
  readonly lastCommittedDecree: number
  readonly timestampUs: number
  readonly updates: readonly PreparedUpdate[]
}

export interface Prepare {
  readonly pid: Gpid
  readonly config: ReplicaConfiguration
  readonly mutation: PreparedMutation
}

function writeSingle<T>(to: BinaryWriter, codec: Codec<T>, value: T): void {
  to.writeFieldBegin('', codec.wireType, 0)
  codec.write(to, value)
  to.writeFieldStop()
}

function readSingle<T>(from: BinaryReader, codec: Codec<T>): T {
  const type = from.readFieldBegin()
  if (type !== codec.wireType) throw new ProtocolError(`part of type ${type}`, from.offset)
  const value = codec.read(from)
  if (from.undecoded || from.readFieldBegin() !== 0)
    throw new ProtocolError('a part of a prepare with unknown fields', from.offset)
  return value
}

/** All three parts: what stands behind the message header of the request. */
export function encodePrepare(prepare: Prepare): Buffer {
  const writer = new BinaryWriter()
  writeSingle(writer, gpid, prepare.pid)
  writeSingle(writer, ReplicaConfiguration, prepare.config)
  writer.writeRaw(encodeMutation(prepare.mutation))
  return writer.take()
}

/** The mutation alone, one buffer. */
export function encodeMutation(mutation: PreparedMutation): Buffer {
  let sizeBytes = MUTATION_HEADER_BYTES
  for (const { name, data } of mutation.updates)
    sizeBytes += UPDATE_HEADER_BYTES + name.length + data.length
  const bytes = Buffer.allocUnsafe(sizeBytes)
  bytes.fill(0, 0, 8)
  bytes.writeInt32LE(mutation.pid.appId, 8)
  bytes.writeInt32LE(mutation.pid.partitionIndex, 12)
  bytes.writeBigInt64LE(BigInt(mutation.ballot), 16)
  bytes.writeBigInt64LE(BigInt(mutation.decree), 24)
  bytes.writeBigInt64LE(BigInt(mutation.logOffset), 32)
  bytes.writeBigInt64LE(BigInt(mutation.lastCommittedDecree), 40)
  bytes.writeBigInt64LE(BigInt(mutation.timestampUs), 48)
  bytes.writeInt32LE(mutation.updates.length, 56)
  let at = MUTATION_HEADER_BYTES
  for (const { name, serialization, data } of mutation.updates) {
    bytes.writeInt32LE(name.length, at)
    bytes.write(name, at + 4, 'latin1')
    at += 4 + name.length
    bytes.writeInt32LE(serialization, at)
    bytes.writeInt32LE(data.length, at + 4)
    at += 8
  }
  for (const { data } of mutation.updates) {
    bytes.set(data, at)
    at += data.length
  }
  return bytes
}

/** Data are views on `bytes`. Throws `ProtocolError` for anything that is not exactly a prepare. */
export function decodePrepare(bytes: Buffer): Prepare {
  const reader = new BinaryReader(bytes)
  const pid = readSingle(reader, gpid)
  const config = readSingle(reader, ReplicaConfiguration)
  return { pid, config, mutation: decodeMutation(bytes.subarray(reader.offset)) }
}

/** The inverse of `encodeMutation`; the bytes must be used up. Throws `ProtocolError`. */
export function decodeMutation(bytes: Buffer): PreparedMutation {
  if (bytes.length < MUTATION_HEADER_BYTES)
    throw new ProtocolError(`mutation of ${bytes.length} bytes`)
  const version = bytes.readBigInt64LE(0)
  if (version < 0n || version > VERSION_MAX) throw new ProtocolError(`mutation version ${version}`)
  const count = bytes.readInt32LE(56)
  if (count < 0 || count * UPDATE_HEADER_BYTES > bytes.length - MUTATION_HEADER_BYTES)
    throw new ProtocolError(`${count} updates in ${bytes.length} bytes`, 56)
  return {
    pid: { appId: bytes.readInt32LE(8), partitionIndex: bytes.readInt32LE(12) },
    ballot: safeI64(bytes, 16),
    decree: safeI64(bytes, 24),
    logOffset: safeI64(bytes, 32),
    lastCommittedDecree: safeI64(bytes, 40),
    timestampUs: safeI64(bytes, 48),
    updates: readUpdates(bytes, count),
  }
}

function readUpdates(bytes: Buffer, count: number): PreparedUpdate[] {
  const heads: { name: string; serialization: number; dataBytes: number }[] = []
  let at = MUTATION_HEADER_BYTES
  for (let index = 0; index < count; index++) {
    const nameBytes = at + 4 <= bytes.length ? bytes.readInt32LE(at) : -1
    if (nameBytes < 0 || nameBytes > bytes.length - at - UPDATE_HEADER_BYTES)
      throw new ProtocolError(`update name of ${nameBytes} bytes`, at)
    const behind = at + 4 + nameBytes
    heads.push({
      name: bytes.toString('latin1', at + 4, behind),
      serialization: bytes.readInt32LE(behind),
      dataBytes: bytes.readInt32LE(behind + 4),
    })
    at = behind + 8
  }
  const updates = heads.map(({ name, serialization, dataBytes }) => {
    if (dataBytes < 0 || dataBytes > bytes.length - at)
      throw new ProtocolError(`update data of ${dataBytes} bytes`, at)
    const data = bytes.subarray(at, at + dataBytes)
    at += dataBytes
    return { name, serialization, data }
  })
  if (at !== bytes.length) throw new ProtocolError(`${bytes.length - at} bytes too many`, at)
  return updates
}

function safeI64(bytes: Buffer, at: number): number {
  const value = Number(bytes.readBigInt64LE(at))
  if (!Number.isSafeInteger(value)) throw new ProtocolError(`i64 beyond 53 bits: ${value}`, at)
  return value
}
