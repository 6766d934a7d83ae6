/**
 * Decoding an argument to its last byte before anything is forwarded (gateway.md W-9): an original
 * meta server aborts on a cut or oversized field, and on nothing else would its decoder agree with
 * ours. Pure.
 */
import { BinaryReader } from '../../cluster/protocol/binary.ts'
import { type Codec, ProtocolError, ThriftType } from '../../cluster/protocol/schema.ts'

/** The argument in an args struct; undefined when the bytes are not one well-formed such struct. */
export function readWholeArgument<T>(codec: Codec<T>, bytes: Buffer): T | undefined {
  const reader = new BinaryReader(bytes)
  try {
    // The id of the argument's field is ignored, as upstream does; native peers write 0.
    if (reader.readFieldBegin() !== codec.wireType) return undefined
    const value = codec.read(reader)
    if (reader.undecoded || reader.readFieldBegin() !== ThriftType.STOP) return undefined
    return reader.remaining === 0 ? value : undefined
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    return undefined
  }
}
