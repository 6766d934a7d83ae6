/**
 * The hand-serialised types of the IDL: blob, error_code, task_code, gpid, rpc_address, host_port.
 * In a field header, list or map they are announced as STRUCT, yet their payload is a bare string
 * or integer (wire.md 6); a generic skip of such a field loses its place in the stream.
 */
import { type Codec, ThriftType } from './schema.ts'

const EMPTY = Buffer.alloc(0)

/** i32 length + bytes. Decoded blobs are views on the frame. */
export const blob: Codec<Buffer> = {
  wireType: ThriftType.STRUCT,
  write: (to, value) => to.writeBinary(value),
  read: (from) => from.readBinary(),
  empty: () => EMPTY,
}

/** i32 length + name such as ERR_OK (the table is `error-codes.ts`; unknown names survive). */
export const errorCode: Codec<string> = {
  wireType: ThriftType.STRUCT,
  write: (to, value) => to.writeString(value),
  read: (from) => from.readString(),
  empty: () => 'ERR_OK',
}

/** i32 length + name such as RPC_RRDB_RRDB_PUT. */
export const taskCode: Codec<string> = {
  wireType: ThriftType.STRUCT,
  write: (to, value) => to.writeString(value),
  read: (from) => from.readString(),
  empty: () => '',
}

/** Identity of a partition: table id and partition index. Text form `2.7`. */
export interface Gpid {
  readonly appId: number
  readonly partitionIndex: number
}

export function gpidText(pid: Gpid): string {
  return `${pid.appId}.${pid.partitionIndex}`
}

/** i64: partition index in the high 32 bits, app id in the low 32 bits. */
export const gpid: Codec<Gpid> = {
  wireType: ThriftType.STRUCT,
  write: (to, { appId, partitionIndex }) => {
    to.writeI32(partitionIndex)
    to.writeI32(appId)
  },
  read: (from) => {
    const partitionIndex = from.readI32()
    const appId = from.readI32()
    return { appId, partitionIndex }
  },
  empty: () => ({ appId: 0, partitionIndex: 0 }),
}

/**
 * An address as text, so that it can be a map key: `127.0.0.1:34601`, '' for no address (all bits
 * zero), and `raw:<16 hex digits>` for any other bit pattern, so that every value survives.
 */
export type RpcAddress = string

/** Wire bits of an address. Throws RangeError for text that is no IPv4:port, '' or raw form. */
export function addressToBits(address: RpcAddress): { high: number; low: number } {
  if (address === '') return { high: 0, low: 0 }
  const raw = /^raw:([0-9a-f]{8})([0-9a-f]{8})$/.exec(address)
  if (raw !== null)
    return { high: Number.parseInt(raw[1] ?? '', 16), low: Number.parseInt(raw[2] ?? '', 16) }
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}):(\d{1,5})$/.exec(address)
  const numbers = parts?.slice(1).map(Number) ?? []
  const [a = 256, b = 256, c = 256, d = 256, port = 65536] = numbers
  if (Math.max(a, b, c, d) > 255 || port > 65535)
    throw new RangeError(`not an IPv4:port address: ${JSON.stringify(address)}`)
  return { high: ((a << 24) | (b << 16) | (c << 8) | d) >>> 0, low: ((port << 16) | 1) >>> 0 }
}

export function addressFromBits(high: number, low: number): RpcAddress {
  if (high === 0 && low === 0) return ''
  if ((low & 0xffff) === 1) {
    const port = low >>> 16
    return `${high >>> 24}.${(high >>> 16) & 255}.${(high >>> 8) & 255}.${high & 255}:${port}`
  }
  const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
  return `raw:${hex(high)}${hex(low)}`
}

/** i64: ip << 32 | port << 16 | type (1 = IPv4, 0 = invalid). */
export const rpcAddress: Codec<RpcAddress> = {
  wireType: ThriftType.STRUCT,
  write: (to, value) => {
    const { high, low } = addressToBits(value)
    to.writeI32(high | 0)
    to.writeI32(low | 0)
  },
  read: (from) => {
    const high = from.readI32() >>> 0
    return addressFromBits(high, from.readI32() >>> 0)
  },
  empty: () => '',
}

/** A host name and port. `type`: 1 normal, 0 invalid, 2 group; others survive. */
export interface HostPort {
  readonly host: string
  /** 0 to 65535 (a signed field on the wire). */
  readonly port: number
  readonly type: number
}

/** i32 length + host, i16 port, i8 type. */
export const hostPort: Codec<HostPort> = {
  wireType: ThriftType.STRUCT,
  write: (to, { host, port, type }) => {
    to.writeString(host)
    to.writeI16((port << 16) >> 16)
    to.writeByte(type)
  },
  read: (from) => {
    const host = from.readString()
    const port = from.readI16() & 0xffff
    return { host, port, type: from.readByte() }
  },
  empty: () => ({ host: '', port: 0, type: 0 }),
}
