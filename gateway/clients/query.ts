/**
 * Reading a configuration query to its last byte before anything is forwarded (gateway.md W-9): an
 * original meta server aborts on a cut or oversized field. The form that every client sends is
 * recognised in place; any other goes through the full decoder. Pure.
 *
 *     0c 0001  0b 0001 i32 length, name  0f 0002 08 i32 count, i32 …  00  00
 */
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
import { ThriftType } from '../../cluster/protocol/schema.ts'
import type { IndicesForm } from '../client-facts.ts'
import { readWholeArgument } from './whole-argument.ts'

const NAME_AT = 10
/** Behind the name: list header (8 bytes), its elements, and two STOP bytes. */
const TAIL_BYTES = 10

/** The table asked for; undefined when the bytes are no well-formed query. */
export function readQuery(argument: Buffer): string | undefined {
  return scan(argument) ?? readWholeArgument(QueryCfgRequest, argument)?.appName
}

/** The partitions asked for in a well-formed query; none: all of them. */
export function readIndices(argument: Buffer): readonly number[] {
  return readWholeArgument(QueryCfgRequest, argument)?.partitionIndices ?? []
}

/** How the partitions stand in a well-formed query. */
export function indicesForm(argument: Buffer): IndicesForm {
  const nameEnd = argument.length < NAME_AT + 2 ? 0 : NAME_AT + argument.readUInt32BE(6)
  const isUsual = argument[0] === ThriftType.STRUCT && argument[3] === ThriftType.STRING
  if (!isUsual || nameEnd === 0 || nameEnd > argument.length - 2) return 'other'
  if (argument[nameEnd] === ThriftType.LIST) return 'written'
  return argument[nameEnd] === ThriftType.STOP ? 'absent' : 'other'
}

function scan(bytes: Buffer): string | undefined {
  const length = bytes.length
  if (length < NAME_AT + TAIL_BYTES) return undefined
  const isHead = bytes.readUInt32BE(0) === 0x0c00010b && bytes.readUInt16BE(4) === 1
  if (!isHead) return undefined
  const nameBytes = bytes.readUInt32BE(6)
  const listAt = NAME_AT + nameBytes
  if (listAt > length - TAIL_BYTES) return undefined
  const isList = bytes.readUInt32BE(listAt) === 0x0f000208
  const count = bytes.readUInt32BE(listAt + 4)
  if (!isList || listAt + 8 + 4 * count + 2 !== length) return undefined
  if (bytes[length - 1] !== ThriftType.STOP || bytes[length - 2] !== ThriftType.STOP)
    return undefined
  return bytes.toString('utf8', NAME_AT, listAt)
}
