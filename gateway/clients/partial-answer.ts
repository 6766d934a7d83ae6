/**
 * The answer for some partitions of a table, cut out of the answer for all of them (gateway.md C-3):
 * the bytes that the same meta server would have sent, as recorded from original ones. Where that is
 * not certain there is no such answer, and the query is forwarded: another error, a form with fields
 * that are not known, an index out of range (a meta skips those, and answers with all partitions
 * when none is left). Pure.
 *
 *     i32 total … seqid  0c 0000  err, app id, partition count, is stateful
 *     0f 0005 0c i32 count, partition …  00  00
 */
import { errorCode } from '../../cluster/protocol/base.ts'
import { BinaryReader } from '../../cluster/protocol/binary.ts'
import { PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import { ProtocolError, ThriftType } from '../../cluster/protocol/schema.ts'

/** Field header, type of the elements and their number. */
const LIST_HEAD_BYTES = 8
const TAIL_BYTES = 2

/** `whole` is a reply frame from its length word on. Undefined: to be asked for. */
export function partialAnswer(
  whole: Buffer,
  seqidAt: number,
  indices: readonly number[],
): Buffer | undefined {
  try {
    const edges = partitionEdges(whole, seqidAt)
    return edges === undefined ? undefined : cut(whole, edges, indices)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return undefined
  }
}

/** Where each partition begins, and where the last one ends. */
function partitionEdges(whole: Buffer, seqidAt: number): number[] | undefined {
  const reader = new BinaryReader(whole, seqidAt + 4)
  const expect = (type: number, id: number): boolean =>
    reader.readFieldBegin() === type && reader.fieldId === id
  if (!expect(ThriftType.STRUCT, 0)) return undefined
  if (!expect(ThriftType.STRUCT, 1) || errorCode.read(reader) !== 'ERR_OK') return undefined
  if (!expect(ThriftType.I32, 2)) return undefined
  reader.readI32()
  if (!expect(ThriftType.I32, 3)) return undefined
  const partitionCount = reader.readI32()
  if (!expect(ThriftType.BOOL, 4)) return undefined
  reader.readBool()
  if (!expect(ThriftType.LIST, 5)) return undefined
  const listAt = reader.offset
  if (reader.remaining < 5) return undefined
  const isStructs = whole[listAt] === ThriftType.STRUCT
  if (!isStructs || whole.readInt32BE(listAt + 1) !== partitionCount) return undefined
  return edgesOf(whole, listAt + 5, partitionCount)
}

function edgesOf(whole: Buffer, firstAt: number, count: number): number[] | undefined {
  const reader = new BinaryReader(whole, firstAt)
  const edges = [firstAt]
  for (let index = 0; index < count; index++) {
    const { pid } = PartitionConfiguration.read(reader)
    if (reader.undecoded || pid.partitionIndex !== index) return undefined
    edges.push(reader.offset)
  }
  const isEnd = reader.remaining === TAIL_BYTES && whole.readUInt16BE(reader.offset) === 0
  return isEnd ? edges : undefined
}

function cut(
  whole: Buffer,
  edges: readonly number[],
  indices: readonly number[],
): Buffer | undefined {
  const [firstAt = 0] = edges
  const pieces: Buffer[] = [Buffer.from(whole.subarray(0, firstAt))]
  for (const index of indices) {
    const from = edges[index]
    const to = edges[index + 1]
    if (from === undefined || to === undefined) return undefined
    pieces.push(whole.subarray(from, to))
  }
  pieces.push(whole.subarray(-TAIL_BYTES))
  const answer = Buffer.concat(pieces)
  answer.writeInt32BE(answer.length, 0)
  answer.writeInt32BE(indices.length, firstAt - LIST_HEAD_BYTES + 4)
  return answer
}
