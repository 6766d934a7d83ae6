/**
 * Schema combinators: one schema per Thrift struct gives its TypeScript type, its encoder and its
 * decoder. A schema talks to the small part of Thrift's protocol interface declared here, so the
 * same schema runs on our single-buffer protocol (`binary.ts`) and on any other implementation of
 * that interface. The rule for unknown fields is wire.md 6 and product.md ("Decisions").
 *
 * Pure: no I/O, no clock. Decoders throw `ProtocolError` on malformed bytes; the caller that owns
 * the frame turns that into an answer.
 */

/** Thrift binary type bytes that appear on the Pegasus wire. */
export const ThriftType = {
  STOP: 0,
  BOOL: 2,
  BYTE: 3,
  DOUBLE: 4,
  I16: 6,
  I32: 8,
  I64: 10,
  STRING: 11,
  STRUCT: 12,
  MAP: 13,
  SET: 14,
  LIST: 15,
} as const

/** Bytes that cannot be read as what the schema expects. `offset` counts from the reader's start. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
  readonly offset: number
  constructor(message: string, offset = -1) {
    super(offset < 0 ? message : `${message} (at byte ${offset})`)
    this.offset = offset
  }
}

/** The writing half of Thrift's protocol interface, as far as the schemas use it. */
export interface ProtocolWriter {
  writeFieldBegin(name: string, type: number, id: number): void
  writeFieldStop(): void
  writeListBegin(elementType: number, size: number): void
  writeSetBegin(elementType: number, size: number): void
  writeMapBegin(keyType: number, valueType: number, size: number): void
  writeBool(value: boolean): void
  writeByte(value: number): void
  writeI16(value: number): void
  writeI32(value: number): void
  /** Takes both forms; a number must be a safe integer. */
  writeI64(value: bigint | number): void
  writeDouble(value: number): void
  writeString(value: string): void
  writeBinary(value: Uint8Array): void
}

/** The reading half. Every method throws `ProtocolError` when the bytes end early. */
export interface ProtocolReader {
  /** Set when an unknown field that cannot be skipped was met: what follows stays undecoded. */
  undecoded: boolean
  /** Type of the next field, STOP at the end; its id is then in `fieldId`. */
  readFieldBegin(): number
  readonly fieldId: number
  /** Element type and count of a list or set; throws when the count exceeds the bytes left. */
  readListBegin(): { readonly elementType: number; readonly size: number }
  readMapBegin(): { readonly keyType: number; readonly valueType: number; readonly size: number }
  readBool(): boolean
  readByte(): number
  readI16(): number
  readI32(): number
  readI64(): bigint
  /** An i64 that must be a safe integer; throws `ProtocolError` when it is not. */
  readI64Number(): number
  readDouble(): number
  readString(): string
  /** A view on the reader's buffer, not a copy. */
  readBinary(): Buffer
  /** Skips a value of a type without hidden payload; false when it is one that cannot be skipped. */
  skip(type: number): boolean
}

export interface Codec<T> {
  readonly wireType: number
  readonly write: (to: ProtocolWriter, value: T) => void
  readonly read: (from: ProtocolReader) => T
  /** A fresh default: what an absent field counts as. */
  readonly empty: () => T
}

export const bool: Codec<boolean> = {
  wireType: ThriftType.BOOL,
  write: (to, value) => to.writeBool(value),
  read: (from) => from.readBool(),
  empty: () => false,
}

export const byte: Codec<number> = {
  wireType: ThriftType.BYTE,
  write: (to, value) => to.writeByte(value),
  read: (from) => from.readByte(),
  empty: () => 0,
}

export const i32: Codec<number> = {
  wireType: ThriftType.I32,
  write: (to, value) => to.writeI32(value),
  read: (from) => from.readI32(),
  empty: () => 0,
}

/** An i64 that is always small enough for a number: decrees, ballots, clock readings, sizes. */
export const i64: Codec<number> = {
  wireType: ThriftType.I64,
  write: (to, value) => to.writeI64(value),
  read: (from) => from.readI64Number(),
  empty: () => 0,
}

/** An i64 that may use all its bits: hashes, context ids, signatures, counters of users. */
export const i64Big: Codec<bigint> = {
  wireType: ThriftType.I64,
  write: (to, value) => to.writeI64(value),
  read: (from) => from.readI64(),
  empty: () => 0n,
}

export const string: Codec<string> = {
  wireType: ThriftType.STRING,
  write: (to, value) => to.writeString(value),
  read: (from) => from.readString(),
  empty: () => '',
}

function elements<T>(from: ProtocolReader, of: Codec<T>): T[] {
  const { elementType, size } = from.readListBegin()
  const out: T[] = []
  if (size > 0 && elementType !== of.wireType)
    throw new ProtocolError(`list element type ${elementType}, expected ${of.wireType}`)
  for (let index = 0; index < size && !from.undecoded; index++) out.push(of.read(from))
  return out
}

/** A list or set; `of` describes an element. */
export interface ElementsCodec<T> extends Codec<T[]> {
  readonly of: Codec<T>
}

export function list<T>(of: Codec<T>): ElementsCodec<T> {
  return {
    of,
    wireType: ThriftType.LIST,
    write(to, values) {
      to.writeListBegin(of.wireType, values.length)
      for (const value of values) of.write(to, value)
    },
    read: (from) => elements(from, of),
    empty: () => [],
  }
}

/** A Thrift set, kept as an array in wire order. */
export function set<T>(of: Codec<T>): ElementsCodec<T> {
  return {
    of,
    wireType: ThriftType.SET,
    write(to, values) {
      to.writeSetBegin(of.wireType, values.length)
      for (const value of values) of.write(to, value)
    },
    read: (from) => elements(from, of),
    empty: () => [],
  }
}

export interface MapCodec<K, V> extends Codec<Map<K, V>> {
  readonly keys: Codec<K>
  readonly values: Codec<V>
}

/** A Thrift map. Keys that are objects (gpid) compare by identity: iterate, do not look up. */
export function map<K, V>(keys: Codec<K>, values: Codec<V>): MapCodec<K, V> {
  return {
    keys,
    values,
    wireType: ThriftType.MAP,
    write(to, entries) {
      to.writeMapBegin(keys.wireType, values.wireType, entries.size)
      for (const [key, value] of entries) {
        keys.write(to, key)
        values.write(to, value)
      }
    },
    read(from) {
      const { keyType, valueType, size } = from.readMapBegin()
      const out = new Map<K, V>()
      if (size > 0 && (keyType !== keys.wireType || valueType !== values.wireType))
        throw new ProtocolError(
          `map of ${keyType} to ${valueType}, expected ${keys.wireType} to ${values.wireType}`,
        )
      for (let index = 0; index < size && !from.undecoded; index++) {
        const key = keys.read(from)
        if (from.undecoded) break
        out.set(key, values.read(from))
      }
      return out
    },
    empty: () => new Map<K, V>(),
  }
}

interface FieldBase<T> {
  readonly id: number
  readonly codec: Codec<T>
  readonly empty: () => T
}
export interface RequiredField<T> extends FieldBase<T> {
  readonly optional: false
}
export interface OptionalField<T> extends FieldBase<T> {
  readonly optional: true
}

/** A field that is always written; absent bytes read as `fallback` or the codec's default. */
export function field<T>(id: number, codec: Codec<T>, fallback?: T): RequiredField<T> {
  return {
    id,
    codec,
    optional: false,
    empty: fallback === undefined ? codec.empty : () => fallback,
  }
}

/** A field that is written only when set; absent bytes read as `undefined`. */
export function optional<T>(id: number, codec: Codec<T>): OptionalField<T> {
  return { id, codec, optional: true, empty: codec.empty }
}

type AnyField = RequiredField<never> | OptionalField<never>
type Fields = Readonly<Record<string, { readonly id: number; readonly optional: boolean }>>
type RequiredKeys<F> = {
  [K in keyof F]: F[K] extends { readonly optional: false } ? K : never
}[keyof F]
type OptionalKeys<F> = {
  [K in keyof F]: F[K] extends { readonly optional: true } ? K : never
}[keyof F]
type FieldValue<F> = F extends { readonly codec: Codec<infer T> } ? T : never
export type StructValue<F> = {
  -readonly [K in RequiredKeys<F>]: FieldValue<F[K]>
} & {
  -readonly [K in OptionalKeys<F>]?: FieldValue<F[K]> | undefined
}

export interface StructField {
  readonly key: string
  readonly id: number
  readonly isOptional: boolean
  readonly codec: Codec<unknown>
}

export interface StructCodec<T> extends Codec<T> {
  /** The upstream struct's name. */
  readonly structName: string
  /** In the order of their ids, which is the order on the wire. */
  readonly fields: readonly StructField[]
  /** A value with every required field set: those given, defaults for the rest. */
  readonly make: (given?: Partial<T>) => T
}

/** The type of the values of a struct schema: `type GetRequest = ValueOf<typeof GetRequest>`. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never

export function struct<const F extends Fields>(
  structName: string,
  fields: F,
): StructCodec<StructValue<F>> {
  type T = StructValue<F>
  const inOrder = (Object.entries(fields) as unknown as [string, AnyField][])
    .map(([key, { id, codec, optional: isOptional, empty }]) => ({
      key,
      id,
      isOptional,
      codec: codec as unknown as Codec<unknown>,
      empty: empty as () => unknown,
    }))
    .toSorted((a, b) => a.id - b.id)
    .map((entry, position) => ({ ...entry, position }))
  const byId = new Map(inOrder.map((entry) => [entry.id, entry]))

  const fill = (into: Record<string, unknown>): T => {
    for (const entry of inOrder)
      if (!entry.isOptional && into[entry.key] === undefined) into[entry.key] = entry.empty()
    return into as T
  }
  return {
    structName,
    fields: inOrder,
    wireType: ThriftType.STRUCT,
    empty: () => fill({}),
    make: (given) => fill({ ...given }),
    write(to, value) {
      const values = value as Record<string, unknown>
      for (const entry of inOrder) {
        const present = values[entry.key]
        if (present === undefined) {
          if (entry.isOptional) continue
          throw new ProtocolError(`${structName}.${entry.key} is missing`)
        }
        to.writeFieldBegin(entry.key, entry.codec.wireType, entry.id)
        entry.codec.write(to, present)
      }
      to.writeFieldStop()
    },
    read(from) {
      const out: Record<string, unknown> = {}
      // Writers keep the order of ids, so the next entry is nearly always the right one.
      let expected = 0
      while (!from.undecoded) {
        const type = from.readFieldBegin()
        if (type === ThriftType.STOP) break
        let entry = inOrder[expected]
        if (entry?.id !== from.fieldId) entry = byId.get(from.fieldId)
        if (entry !== undefined) expected = entry.position + 1
        if (entry !== undefined && entry.codec.wireType === type)
          out[entry.key] = entry.codec.read(from)
        else if (!from.skip(type)) from.undecoded = true
      }
      return fill(out)
    },
  }
}
