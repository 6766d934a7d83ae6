/**
 * Wrong bytes for servers of the Pegasus protocol, by what is wrong with them (wire.md 1 to 5). Not
 * here: what a server must answer.
 */
import { encodeRequest } from '../../cluster/protocol/frame.ts'
import { header } from '../interop/table-view.ts'

export type Named<T> = readonly (readonly [what: string, value: T])[]

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index)
  return bytes
}

const magic = Buffer.from('THFT')

/** A v0 header in front of any body, with any lengths. */
export function v0(
  body: Buffer,
  lengths: { readonly header?: number; readonly body?: number } = {},
) {
  const words = u32(0, lengths.header ?? 48, 0, lengths.body ?? body.length, 0, 0, 0, 5000, 0, 0, 0)
  return Buffer.concat([magic, words, body])
}

export function v1(
  meta: Buffer,
  body: Buffer,
  lengths: { readonly meta?: number; readonly body?: number } = {},
): Buffer {
  const words = u32(1, lengths.meta ?? meta.length, lengths.body ?? body.length)
  return Buffer.concat([magic, words, meta, body])
}

/** A native header with these words, little-endian, by their offsets (wire.md 12). */
function native(words: Readonly<Record<number, number>>): Buffer {
  const bytes = Buffer.alloc(192)
  bytes.write('RDSN')
  for (const [at, word] of Object.entries(words)) bytes.writeUInt32LE(word, Number(at))
  return bytes
}

const nothing = Buffer.alloc(0)
const stop = Buffer.from([0])
const name = Buffer.from('RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX')
const call = u32(0x80010001)
/** A message header without anything behind it. */
const head = (type: number, nameBytes: number): Buffer =>
  Buffer.concat([u32(0x80010000 + type), u32(nameBytes), name, u32(7)])

/** After any of these nothing can be trusted: the connection must end, unanswered. */
export const brokenFrames: Named<Buffer> = [
  ['text', Buffer.from('hello\r\n\r\n')],
  ['zeros', Buffer.alloc(64)],
  ['a TLS greeting', Buffer.from('16030100c8010000c40303', 'hex')],
  ['a native header of zeros', native({})],
  ['native version 1', native({ 4: 1, 8: 192 })],
  ['a native header of 4 GiB', native({ 8: 0xffffffff })],
  ['a native body of 4 GiB', native({ 8: 192, 16: 0xffffffff })],
  ['a native header with a wrong checksum', native({ 8: 192, 12: 1, 104: 0x441 })],
  ['a native body with a wrong checksum', native({ 8: 192, 20: 1, 104: 0x441 })],
  ['a native reply', native({ 8: 192, 104: 0x440 })],
  ['a native body that is no binary Thrift', native({ 8: 192, 104: 0x481 })],
  ['header version 2', Buffer.concat([magic, u32(2, 48, 0, 0)])],
  ['a v0 header of 47 bytes', v0(head(1, name.length), { header: 47 })],
  ['a v0 header of 4 GiB', v0(nothing, { header: 0xffffffff })],
  ['a v0 body of 4 GiB', v0(nothing, { body: 0xffffffff })],
  ['a v0 body of 65 MiB', v0(nothing, { body: 65 << 20 })],
  ['a v1 body of 4 GiB', v1(stop, nothing, { body: 0xffffffff })],
  ['a v1 meta of 4 GiB', v1(nothing, nothing, { meta: 0xffffffff })],
  ['a v1 meta of 5000 bytes', v1(Buffer.alloc(5000), head(1, name.length))],
  ['a v1 meta that is cut', v1(Buffer.from('080001', 'hex'), head(1, name.length))],
  ['a v1 meta of unknown types', v1(Buffer.from('63000100', 'hex'), head(1, name.length))],
  ['an empty body', v0(nothing)],
  ['a body of three bytes', v0(Buffer.from([0x80, 1, 0]))],
  ['message version 0x8002', v0(Buffer.concat([u32(0x80020001, 1), Buffer.from('x'), u32(1)]))],
  ['message type REPLY', v0(head(2, name.length))],
  ['message type EXCEPTION', v0(head(3, name.length))],
  ['a name beyond the end', v0(head(1, 0x7fffffff))],
  ['a name of negative length', v0(head(1, 0xffffffff))],
  ['no sequence id', v0(Buffer.concat([call, u32(name.length), name]))],
]

/** Nested lists that each hold one list. */
function nested(depth: number): Buffer {
  const level = Buffer.from('0f00000001', 'hex')
  return Buffer.concat([Buffer.from('0c00010f0001', 'hex'), ...Array<Buffer>(depth).fill(level)])
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

/** Args structs that no schema accepts, whatever the RPC. */
export const badArguments: Named<Buffer> = [
  ['nothing', nothing],
  ['no argument', stop],
  ['a cut field header', hex('0c00')],
  ['an argument without end', hex('0c0001')],
  ['an argument of unknown type', hex('630001')],
  ['a set for an argument', hex('0e000102000000010100')],
]

/** The same, wrong further inside: a schema that has no such field skips what it can. */
export const badFields: Named<Buffer> = [
  ['a string of 2 GiB', hex('0c00010b00017fffffff61')],
  ['a string of negative length', hex('0c00010b0001ffffffff61')],
  ['a list of 2 G elements', hex('0c00010f0001087fffffff00000000')],
  ['a list of negative size', hex('0c00010f000108ffffffff00000000')],
  ['a list of 1 M structs in 1 MiB', Buffer.concat([hex('0c00010f00010c000ffff0'), stop])],
  ['a map of 2 G pairs', hex('0c00010d00010b0b7fffffff')],
  ['lists nested 10 000 deep', nested(10_000)],
  ['a field of unknown type', hex('0c000163000100')],
]

/** What a v0 request with these args looks like. */
export function requestOf(
  rpc: string,
  argument: Buffer,
  options: {
    readonly seqid?: number
    readonly appId?: number
    readonly partitionIndex?: number
  } = {},
): Buffer {
  const { seqid = 1, ...gpid } = options
  return encodeRequest(header(gpid), rpc, seqid, argument)
}
