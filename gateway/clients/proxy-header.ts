/**
 * The header that a balancer puts in front of a connection to say whose it is: PROXY protocol v1
 * (a line of text) and v2 (binary), as haproxy.org's proxy-protocol.txt defines them (gateway.md
 * W-18). Takes the bytes in pieces of any size and keeps no more than a header's worth. Pure; who
 * may send such a header is the admission's matter.
 *
 *     v1  'PROXY TCP4 203.0.113.7 10.0.0.1 41234 34601\r\n', up to 107 bytes; or 'PROXY UNKNOWN…\r\n'
 *     v2  signature(12)  version 2 | command  family | transport  u16 length, addresses, TLVs
 */
import { crc32c } from '../../cluster/protocol/crc32c.ts'
import { isIpv4 } from './source-ranges.ts'

export type ProxyHeaderState =
  /** More bytes are needed. */
  | { readonly kind: 'incomplete' }
  /** The client's `ip:port`, `[ip]:port` for IPv6. */
  | { readonly kind: 'client'; readonly peer: string; readonly rest: Buffer }
  /** The balancer does not know or tell whose the connection is. */
  | { readonly kind: 'unknown'; readonly rest: Buffer }
  /** The balancer's own connection: a health check. */
  | { readonly kind: 'local'; readonly rest: Buffer }
  /** `absent`: this is no PROXY header at all. */
  | { readonly kind: 'broken'; readonly reason: 'absent' | 'malformed' }

const V1_START = Buffer.from('PROXY ', 'latin1')
const V1_BYTES_MAX = 107
const V2_START = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const V2_FIXED_BYTES = 16
/** Addresses and TLVs; the protocol allows 64 KiB, balancers send some hundred bytes. */
const V2_BODY_BYTES_MAX = 4096
const ADDRESS_BYTES = { 1: 12, 2: 36 } as const
const TCP_OVER_IPV4 = 0x11
const TCP_OVER_IPV6 = 0x21
const CRC32C_TYPE = 3

const INCOMPLETE: ProxyHeaderState = { kind: 'incomplete' }
const ABSENT: ProxyHeaderState = { kind: 'broken', reason: 'absent' }
const MALFORMED: ProxyHeaderState = { kind: 'broken', reason: 'malformed' }

export class ProxyHeader {
  #bytes: Buffer = Buffer.alloc(0)

  /** Not to be called again once it answered anything but `incomplete`. */
  push(chunk: Buffer): ProxyHeaderState {
    // At most some thousand bytes, and an answer long before a balancer could cut them finely.
    // The chunk is only lent.
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const bytes = this.#bytes
    if (startsAlike(bytes, V2_START)) return bytes.length < V2_FIXED_BYTES ? INCOMPLETE : v2(bytes)
    if (startsAlike(bytes, V1_START)) return v1(bytes)
    return ABSENT
  }
}

/** As far as both go. */
function startsAlike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length)
  return bytes.subarray(0, length).equals(start.subarray(0, length))
}

function v1(bytes: Buffer): ProxyHeaderState {
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf('\r\n', 0, 'latin1')
  if (end < 0) return bytes.length < V1_BYTES_MAX ? INCOMPLETE : MALFORMED
  const rest = bytes.subarray(end + 2)
  const line = bytes.toString('latin1', V1_START.length, end)
  if (/^UNKNOWN(?: |$)/.test(line)) return { kind: 'unknown', rest }
  const [protocol, source = '', target = '', sourcePort = '', targetPort = '', more] =
    line.split(' ')
  const isAddress = { TCP4: isIpv4, TCP6: isIpv6 }[protocol ?? '']
  const isWhole = more === undefined && isPort(sourcePort) && isPort(targetPort)
  if (isAddress === undefined || !isWhole || !isAddress(source) || !isAddress(target))
    return MALFORMED
  const peer = protocol === 'TCP4' ? `${source}:${sourcePort}` : ipv6Peer(source, sourcePort)
  return { kind: 'client', peer, rest }
}

function v2(bytes: Buffer): ProxyHeaderState {
  const versionAndCommand = bytes.readUInt8(12)
  const command = versionAndCommand & 0xf
  const bodyBytes = bytes.readUInt16BE(14)
  if (versionAndCommand >> 4 !== 2 || command > 1 || bodyBytes > V2_BODY_BYTES_MAX) return MALFORMED
  const end = V2_FIXED_BYTES + bodyBytes
  if (bytes.length < end) return INCOMPLETE
  const rest = bytes.subarray(end)
  if (command === 0) return { kind: 'local', rest }
  const family = bytes.readUInt8(13)
  if (family !== TCP_OVER_IPV4 && family !== TCP_OVER_IPV6) return { kind: 'unknown', rest }
  const addressBytes = ADDRESS_BYTES[family === TCP_OVER_IPV4 ? 1 : 2]
  const header = bytes.subarray(0, end)
  if (bodyBytes < addressBytes || !isIntact(header, V2_FIXED_BYTES + addressBytes)) return MALFORMED
  const at = V2_FIXED_BYTES
  const peer =
    family === TCP_OVER_IPV4
      ? `${[...bytes.subarray(at, at + 4)].join('.')}:${bytes.readUInt16BE(at + 8)}`
      : ipv6Peer(ipv6Text(bytes.subarray(at, at + 16)), String(bytes.readUInt16BE(at + 32)))
  return { kind: 'client', peer, rest }
}

/** Type-length-values from `at` fill the header, and a checksum among them is right. */
function isIntact(header: Buffer, from: number): boolean {
  let at = from
  while (at < header.length) {
    if (header.length - at < 3) return false
    const valueAt = at + 3
    const end = valueAt + header.readUInt16BE(at + 1)
    if (end > header.length) return false
    if (header[at] === CRC32C_TYPE) {
      if (end - valueAt !== 4) return false
      const zeroed = Buffer.from(header).fill(0, valueAt, end)
      if (crc32c(zeroed) !== header.readUInt32BE(valueAt)) return false
    }
    at = end
  }
  return true
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535
}

function isIpv6(text: string): boolean {
  const halves = text.split('::')
  if (halves.length > 2) return false
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  const dotted = groups.at(-1)?.includes('.') === true ? groups.pop() : undefined
  if (dotted !== undefined && !isIpv4(dotted)) return false
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false
  const count = groups.length + (dotted === undefined ? 0 : 2)
  return halves.length === 2 ? count < 8 : count === 8
}

function ipv6Text(bytes: Buffer): string {
  if (bytes.subarray(0, 12).equals(Buffer.from('00000000000000000000ffff', 'hex')))
    return `::ffff:${[...bytes.subarray(12)].join('.')}`
  return Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(group * 2).toString(16)).join(
    ':',
  )
}

/** An IPv4 address in IPv6 clothes is that address. */
function ipv6Peer(address: string, port: string): string {
  const [, mapped = ''] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? []
  return isIpv4(mapped) ? `${mapped}:${port}` : `[${address.toLowerCase()}]:${port}`
}
