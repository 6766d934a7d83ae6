/**
 * Properties of the codec over every struct there is: round trips, equality with the thrift
 * package's own protocol, any chunking, and garbage that must not get past framer and reader.
 */
import { createRequire } from 'node:module'
import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import t from 'tap'
import * as base from '../../cluster/protocol/base.ts'
import {
  BinaryReader,
  BinaryWriter,
  ELEMENTS_MAX,
  decode,
  encode,
} from '../../cluster/protocol/binary.ts'
import { ChunkBuffer } from '../../cluster/protocol/chunk-buffer.ts'
import {
  ErrorCode,
  errorEntry,
  errorNameForClients,
  isErrorName,
} from '../../cluster/protocol/error-codes.ts'
import {
  FrameError,
  ReplyFramer,
  type RequestFrame,
  RequestFramer,
  decodeArgument,
  decodeResult,
  encodeArgument,
  encodeReply,
  encodeRequest,
  encodeResult,
} from '../../cluster/protocol/frame.ts'
import {
  decodeKey,
  encodeKey,
  nextKey,
  partitionHash,
  rawKeyHash,
} from '../../cluster/protocol/key.ts'
import { BeaconMsg } from '../../cluster/protocol/fd.ts'
import { AppInfo, QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { NativeFramer } from '../../cluster/protocol/native-frame.ts'
import { decodePrepare } from '../../cluster/protocol/prepare.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import { MultiGetRequest, UpdateRequest } from '../../cluster/protocol/rrdb.ts'
import * as schema from '../../cluster/protocol/schema.ts'
import {
  type Codec,
  type ElementsCodec,
  type MapCodec,
  ProtocolError,
  type ProtocolReader,
  type ProtocolWriter,
  type StructCodec,
  ThriftType,
} from '../../cluster/protocol/schema.ts'

/** As much of the thrift package as the oracle uses; it brings no types of its own. */
interface ThriftProtocol {
  [method: string]: (...values: unknown[]) => unknown
}
interface ThriftPackage {
  readonly Int64: new (bytes: Buffer) => { readonly buffer: Buffer }
  readonly TBufferedTransport: new (
    buffer: undefined,
    flushed: (bytes: Buffer) => void,
  ) => { flush(): void }
  readonly TFramedTransport: new (bytes: Buffer) => object
  readonly TBinaryProtocol: new (
    transport: object,
    strictRead?: boolean,
    strictWrite?: boolean,
  ) => ThriftProtocol
}
const thrift = createRequire(import.meta.url)('thrift') as ThriftPackage

const unsigned32 = fc.integer({ min: 0, max: 0xffffffff })
const bytes = fc.uint8Array({ maxLength: 24 }).map((array) => Buffer.from(array))
const text = fc.string({ unit: 'binary', maxLength: 12 })
const plain = { noNullPrototype: true } as const
const leaves = new Map<unknown, fc.Arbitrary<unknown>>([
  [schema.bool, fc.boolean()],
  [schema.byte, fc.integer({ min: -128, max: 127 })],
  [schema.i32, fc.integer()],
  [schema.i64, fc.maxSafeInteger()],
  [schema.i64Big, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  [schema.string, text],
  [base.blob, bytes],
  [base.errorCode, fc.oneof(fc.constantFrom('ERR_OK', 'ERR_FROM_THE_FUTURE'), text)],
  [base.taskCode, text],
  [base.gpid, fc.record({ appId: fc.integer(), partitionIndex: fc.integer() }, plain)],
  [
    base.rpcAddress,
    fc
      .oneof(
        fc.tuple(unsigned32, unsigned32),
        fc.tuple(
          unsigned32,
          unsigned32.map((low) => ((low & 0xffff0000) | 1) >>> 0),
        ),
      )
      .map(([high, low]) => base.addressFromBits(high, low)),
  ],
  [
    base.hostPort,
    fc.record(
      {
        host: text,
        port: fc.integer({ min: 0, max: 65535 }),
        type: fc.integer({ min: -128, max: 127 }),
      },
      plain,
    ),
  ],
])

function arbitrary(codec: Codec<unknown>): fc.Arbitrary<unknown> {
  const leaf = leaves.get(codec)
  if (leaf !== undefined) return leaf
  if ('of' in codec)
    return fc.array(arbitrary((codec as ElementsCodec<unknown>).of), { maxLength: 3 })
  if ('keys' in codec) {
    const { keys, values } = codec as unknown as MapCodec<unknown, unknown>
    return fc
      .array(fc.tuple(arbitrary(keys), arbitrary(values)), { maxLength: 3 })
      .map((entries) => new Map(entries))
  }
  const fields = (codec as StructCodec<unknown>).fields
  return fc
    .tuple(
      ...fields.map((field) =>
        field.isOptional
          ? fc.option(arbitrary(field.codec), { nil: undefined })
          : arbitrary(field.codec),
      ),
    )
    .map((values) =>
      Object.fromEntries(
        fields.flatMap((field, index) =>
          values[index] === undefined ? [] : [[field.key, values[index]]],
        ),
      ),
    )
}

/** Every struct that some RPC's argument or result holds, at any depth. */
function allStructs(): StructCodec<unknown>[] {
  const found = new Set<StructCodec<unknown>>()
  const visit = (codec: Codec<unknown>): void => {
    if ('of' in codec) visit((codec as ElementsCodec<unknown>).of)
    else if ('keys' in codec) {
      const { keys, values } = codec as unknown as MapCodec<unknown, unknown>
      visit(keys)
      visit(values)
    } else if ('fields' in codec && !found.has(codec as StructCodec<unknown>)) {
      found.add(codec as StructCodec<unknown>)
      for (const field of (codec as StructCodec<unknown>).fields) visit(field.codec)
    }
  }
  for (const entry of Object.values(Rpc)) {
    if ('argument' in entry) visit(entry.argument as unknown as Codec<unknown>)
    visit(entry.result as unknown as Codec<unknown>)
  }
  return [...found]
}

const structs = allStructs()

class ThriftWriter implements ProtocolWriter {
  readonly #to: ThriftProtocol
  constructor(to: ThriftProtocol) {
    this.#to = to
  }
  writeFieldBegin(name: string, type: number, id: number): void {
    this.#to['writeFieldBegin']?.(name, type, id)
  }
  writeFieldStop(): void {
    this.#to['writeFieldStop']?.()
  }
  writeListBegin(elementType: number, size: number): void {
    this.#to['writeListBegin']?.(elementType, size)
  }
  writeSetBegin(elementType: number, size: number): void {
    this.#to['writeSetBegin']?.(elementType, size)
  }
  writeMapBegin(keyType: number, valueType: number, size: number): void {
    this.#to['writeMapBegin']?.(keyType, valueType, size)
  }
  writeBool(value: boolean): void {
    this.#to['writeBool']?.(value)
  }
  writeByte(value: number): void {
    this.#to['writeByte']?.(value & 0xff)
  }
  writeI16(value: number): void {
    this.#to['writeI16']?.(value)
  }
  writeI32(value: number): void {
    this.#to['writeI32']?.(value)
  }
  writeI64(value: bigint | number): void {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64BE(BigInt(value))
    this.#to['writeI64']?.(new thrift.Int64(buffer))
  }
  writeDouble(value: number): void {
    this.#to['writeDouble']?.(value)
  }
  writeString(value: string): void {
    this.#to['writeString']?.(value)
  }
  writeBinary(value: Uint8Array): void {
    this.#to['writeBinary']?.(Buffer.from(value))
  }
}

class ThriftReader implements ProtocolReader {
  undecoded = false
  fieldId = 0
  readonly #from: ThriftProtocol
  constructor(from: ThriftProtocol) {
    this.#from = from
  }
  #read(method: string): Record<string, number> {
    return this.#from[method]?.() as Record<string, number>
  }
  readFieldBegin(): number {
    const { ftype = 0, fid = 0 } = this.#read('readFieldBegin')
    this.fieldId = fid
    return ftype
  }
  readListBegin(): { elementType: number; size: number } {
    const { etype = 0, size = 0 } = this.#read('readListBegin')
    return { elementType: etype, size }
  }
  readMapBegin(): { keyType: number; valueType: number; size: number } {
    const { ktype = 0, vtype = 0, size = 0 } = this.#read('readMapBegin')
    return { keyType: ktype, valueType: vtype, size }
  }
  readBool(): boolean {
    return this.#from['readBool']?.() as boolean
  }
  readByte(): number {
    return ((this.#from['readByte']?.() as number) << 24) >> 24
  }
  readI16(): number {
    return this.#from['readI16']?.() as number
  }
  readI32(): number {
    return this.#from['readI32']?.() as number
  }
  readI64(): bigint {
    const read = this.#from['readI64']?.() as { buffer: Buffer } | undefined
    return read?.buffer.readBigInt64BE() ?? 0n
  }
  readI64Number(): number {
    return Number(this.readI64())
  }
  readDouble(): number {
    return this.#from['readDouble']?.() as number
  }
  readString(): string {
    return this.#from['readString']?.() as string
  }
  readBinary(): Buffer {
    return Buffer.from(this.#from['readBinary']?.() as Buffer)
  }
  skip(): boolean {
    return false
  }
}

function thriftEncode(codec: Codec<unknown>, value: unknown): Buffer {
  let written: Buffer = Buffer.alloc(0)
  const transport = new thrift.TBufferedTransport(undefined, (flushed) => {
    written = flushed
  })
  codec.write(new ThriftWriter(new thrift.TBinaryProtocol(transport)), value)
  transport.flush()
  return written
}

void t.test('every struct survives a round trip and equals what thrift writes and reads', (t) => {
  t.ok(structs.length > 120, `${structs.length} structs`)
  for (const codec of structs) {
    fc.assert(
      fc.property(arbitrary(codec), (value) => {
        const encoded = encode(codec, value)
        const decoded = decode(codec, encoded)
        if (!encode(codec, decoded).equals(encoded)) throw new Error('another encoding')
        if (!isDeepStrictEqual(decoded, value)) throw new Error('another value')
        const byThrift = thriftEncode(codec, value)
        if (!byThrift.equals(encoded))
          throw new Error(
            `thrift wrote ${byThrift.toString('hex')}, we wrote ${encoded.toString('hex')}`,
          )
        const readByThrift = codec.read(
          new ThriftReader(new thrift.TBinaryProtocol(new thrift.TFramedTransport(encoded))),
        )
        if (!isDeepStrictEqual(readByThrift, value)) throw new Error('thrift read another value')
      }),
      { numRuns: 12 },
    )
    t.pass(codec.structName)
  }
  t.end()
})

function jsonSafe(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Map) return [...value]
  return value
}

void t.test(
  'every cut of every struct is a protocol error or a value, never anything else',
  (t) => {
    for (const codec of structs) {
      fc.assert(
        fc.property(
          arbitrary(codec),
          fc.nat(),
          fc.nat(),
          fc.integer({ min: 0, max: 255 }),
          (value, cut, place, byte) => {
            const encoded = Buffer.from(encode(codec, value))
            survives(codec, encoded.subarray(0, cut % (encoded.length + 1)))
            encoded[place % encoded.length] = byte
            survives(codec, encoded)
          },
        ),
        { numRuns: 12 },
      )
      t.pass(codec.structName)
    }
    t.end()
  },
)

function survives(codec: Codec<unknown>, garbage: Buffer): void {
  try {
    decode(codec, garbage)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
  }
}

const header = fc.record({
  version: fc.constantFrom(0 as const, 1 as const),
  appId: fc.integer(),
  partitionIndex: fc.integer(),
  clientTimeoutMs: fc.integer(),
  partitionHash: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  isBackupRequest: fc.boolean(),
})
const limits = { maxBodyBytes: 1 << 16, maxMetaBytes: 4096 }

function drain<T>(
  framer: { push(chunk: Buffer): void; next(): T | undefined },
  chunks: readonly Buffer[],
): T[] {
  const frames: T[] = []
  for (const chunk of chunks) {
    framer.push(chunk)
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) frames.push(frame)
  }
  return frames
}

function split(whole: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let at = 0
  for (let turn = 0; at < whole.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    chunks.push(Buffer.from(whole.subarray(at, at + size)))
    at += size
  }
  return chunks
}

const requestText = (frame: RequestFrame): string =>
  JSON.stringify({ ...frame, argument: frame.argument.toString('hex') }, jsonSafe)

void t.test('requests of both versions, mixed, arrive whole at every chunking', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(header, fc.integer(), bytes), { minLength: 1, maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }),
      (requests, sizes) => {
        const frames = requests.map(([head, seqid, argument]) =>
          encodeRequest(head, 'RPC_RRDB_RRDB_GET', seqid, argument),
        )
        const whole = drain(new RequestFramer(limits), [Buffer.concat(frames)]).map(requestText)
        const expected = requests.map(([head, seqid, argument]) =>
          requestText({
            kind: 'thrift',
            header: { ...head, isBackupRequest: head.version === 1 && head.isBackupRequest },
            name: 'RPC_RRDB_RRDB_GET',
            seqid,
            messageType: 1,
            argument,
          }),
        )
        const sorted = (texts: string[]): string =>
          texts.map((line) => line.split('').toSorted().join('')).join()
        if (sorted(whole) !== sorted(expected))
          throw new Error(`${whole.join()} is not ${expected.join()}`)
        for (const chunking of [sizes, [1]]) {
          const chunked = drain(
            new RequestFramer(limits),
            split(Buffer.concat(frames), chunking),
          ).map(requestText)
          if (chunked.join() !== whole.join()) throw new Error('another result in chunks')
        }
      },
    ),
    { numRuns: 60 },
  )
  const two = Buffer.concat([
    encodeRequest(
      {
        version: 1,
        appId: 1,
        partitionIndex: 2,
        clientTimeoutMs: 3,
        partitionHash: 4n,
        isBackupRequest: true,
      },
      'A',
      1,
      Buffer.from('00', 'hex'),
    ),
    encodeRequest(
      {
        version: 0,
        appId: 1,
        partitionIndex: 2,
        clientTimeoutMs: 3,
        partitionHash: 4n,
        isBackupRequest: false,
      },
      'B',
      2,
      Buffer.from('00', 'hex'),
    ),
  ])
  for (let at = 0; at <= two.length; at++) {
    const frames = drain(new RequestFramer(limits), [
      Buffer.from(two.subarray(0, at)),
      Buffer.from(two.subarray(at)),
    ])
    t.equal(frames.map((frame) => frame.name).join(), 'A,B', `split at ${at}`)
  }
  t.end()
})

void t.test('replies arrive whole at every chunking', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer(), bytes), { minLength: 1, maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 4 }),
      (replies, sizes) => {
        const whole = Buffer.concat(
          replies.map(([seqid, result]) => encodeReply('RPC_X', seqid, 'ERR_OK', result)),
        )
        const frames = drain(new ReplyFramer({ maxFrameBytes: 4096 }), split(whole, sizes))
        t.ok(frames.length === replies.length)
        for (const [index, frame] of frames.entries()) {
          const [seqid, result] = replies[index] ?? [0, Buffer.alloc(0)]
          if (frame.seqid !== seqid || !frame.result.equals(result) || frame.name !== 'RPC_X_ACK')
            throw new Error('another reply')
          if (frame.bytes.readInt32BE(frame.seqidOffset) !== seqid)
            throw new Error('another place of the seqid')
        }
      },
    ),
    { numRuns: 40 },
  )
  t.end()
})

void t.test('garbage never throws past the framers', (t) => {
  const prefix = fc.constantFrom(
    '',
    '5448465400000000',
    '54484654000000000000003000000000',
    '5448465400000001',
    '54484654000000010000000500000010',
    '5244534e00000000c0000000',
  )
  fc.assert(
    fc.property(
      prefix,
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 1, max: 64 }),
      (start, noise, size) => {
        const whole = Buffer.concat([Buffer.from(start, 'hex'), noise])
        for (const framer of [
          new RequestFramer(limits),
          new ReplyFramer({ maxFrameBytes: 4096 }),
          new NativeFramer({ maxBodyBytes: 4096 }),
        ])
          try {
            drain<unknown>(framer, split(whole, [size]))
          } catch (error) {
            if (!(error instanceof FrameError)) throw error
          }
        try {
          decodePrepare(whole)
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error
        }
      },
    ),
    { numRuns: 2000 },
  )
  t.end()
})

function reasonOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    return error instanceof FrameError ? error.reason : String(error)
  }
  return 'none'
}

const v0 = (changes: Readonly<Record<number, number>>): Buffer => {
  const frame = encodeRequest(emptyHeader, 'RPC_X', 1, Buffer.from([0]))
  for (const [at, value] of Object.entries(changes)) frame.writeUInt32BE(value, Number(at))
  return frame
}

void t.test('a broken header is refused as soon as its bytes are there', (t) => {
  const refused: readonly (readonly [string, Buffer, string])[] = [
    ['magic, at four bytes', Buffer.from('GET '), 'bad-magic'],
    ['header version, at eight bytes', v0({ 4: 2 }).subarray(0, 8), 'bad-version'],
    ['header length, at twelve bytes', v0({ 8: 47 }).subarray(0, 12), 'bad-header'],
    [
      'body over the limit, at twenty bytes',
      v0({ 16: limits.maxBodyBytes + 1 }).subarray(0, 20),
      'oversize',
    ],
    ['v1 meta over the limit', Buffer.from('54484654000000010000100100000000', 'hex'), 'oversize'],
    ['v1 body over the limit', Buffer.from('544846540000000100000001ffffffff', 'hex'), 'oversize'],
    [
      'v1 meta that is cut',
      Buffer.from('5448465400000001000000020000000c080080010001000000000000000100', 'hex'),
      'bad-header',
    ],
    ['message type REPLY', v0({ 48: 0x80010002 }), 'bad-type'],
    ['message version', v0({ 48: 0x80020001 }), 'bad-message'],
    ['name beyond the body', v0({ 52: 0x7fffffff }), 'bad-message'],
    ['negative name length', v0({ 52: 0xffffffff }), 'bad-message'],
    ['empty body', v0({ 16: 0 }), 'bad-message'],
  ]
  for (const [what, frame, reason] of refused) {
    const framer = new RequestFramer(limits)
    framer.push(frame)
    t.equal(
      reasonOf(() => framer.next()),
      reason,
      what,
    )
  }
  const reply = new ReplyFramer({ maxFrameBytes: 100 })
  reply.push(Buffer.from([0, 0, 0, 101]))
  t.equal(
    reasonOf(() => reply.next()),
    'oversize',
  )
  const short = new ReplyFramer({ maxFrameBytes: 100 })
  short.push(Buffer.from([0, 0, 0, 3]))
  t.equal(
    reasonOf(() => short.next()),
    'bad-header',
  )
  t.end()
})

void t.test('sizes are checked before memory is taken', (t) => {
  const before = process.memoryUsage().arrayBuffers
  const framer = new RequestFramer({ maxBodyBytes: 64 << 20, maxMetaBytes: 4096 })
  framer.push(v0({ 16: 64 << 20 }))
  t.equal(framer.next(), undefined)
  t.equal(framer.pendingBytes, v0({}).length, 'only what came is held')
  t.ok(process.memoryUsage().arrayBuffers - before < 1 << 20)
  const list = Buffer.from('0f00020c7fffffff', 'hex')
  t.throws(() => decode(QueryCfgRequest, list), ProtocolError)
  const many = new BinaryWriter()
  many.writeFieldBegin('', ThriftType.LIST, 2)
  many.writeListBegin(ThriftType.STRUCT, ELEMENTS_MAX + 1)
  many.writeRaw(Buffer.alloc(ELEMENTS_MAX + 1))
  t.throws(() => decode(Rpc.MULTI_PUT.argument, many.take()), /elements/)
  t.end()
})

void t.test('single bytes cost no more memory than whole chunks', (t) => {
  const chunks = new ChunkBuffer()
  for (let at = 0; at < 100_000; at++) chunks.push(Buffer.from([at & 255]), 200_000)
  t.equal(chunks.length, 100_000)
  t.ok(chunks.bytes.length <= 200_000)
  t.equal(chunks.bytes[chunks.start + 77_777], 77_777 & 255)
  t.end()
})

void t.test('unknown fields are skipped where that is safe', (t) => {
  const writer = new BinaryWriter()
  writer.writeFieldBegin('', ThriftType.STRING, 1)
  writer.writeString('t')
  writer.writeFieldBegin('', ThriftType.MAP, 90)
  writer.writeMapBegin(ThriftType.STRING, ThriftType.LIST, 1)
  writer.writeString('k')
  writer.writeListBegin(ThriftType.I64, 2)
  writer.writeI64(1n)
  writer.writeI64(-1)
  writer.writeFieldBegin('', ThriftType.BOOL, 91)
  writer.writeBool(true)
  writer.writeFieldBegin('', ThriftType.DOUBLE, 92)
  writer.writeDouble(0.5)
  writer.writeFieldBegin('', ThriftType.SET, 93)
  writer.writeSetBegin(ThriftType.BYTE, 1)
  writer.writeByte(-3)
  writer.writeFieldBegin('', ThriftType.I16, 94)
  writer.writeI16(-2)
  writer.writeFieldBegin('', ThriftType.LIST, 2)
  writer.writeListBegin(ThriftType.I32, 2)
  writer.writeI32(4)
  writer.writeI32(-5)
  writer.writeFieldStop()
  t.same(decode(QueryCfgRequest, writer.bytes()), { appName: 't', partitionIndices: [4, -5] })
  t.equal(writer.length, writer.take().length)
  t.equal(writer.length, 0)
  t.end()
})

void t.test('behind a field that cannot be skipped the struct stays undecoded', (t) => {
  const known = encode(QueryCfgResponse, QueryCfgResponse.make({ err: 'ERR_OK', appId: 7 }))
  const writer = new BinaryWriter()
  writer.writeRaw(known.subarray(0, known.length - 1))
  writer.writeFieldBegin('', ThriftType.STRUCT, 77)
  writer.writeString('a host port, for example')
  writer.writeFieldStop()
  const reader = new BinaryReader(writer.take())
  t.equal(QueryCfgResponse.read(reader).appId, 7)
  t.ok(reader.undecoded)
  t.end()
})

void t.test('absent fields count as their defaults, and enum values of the future survive', (t) => {
  const nothing = Buffer.from([0])
  t.same(decode(MultiGetRequest, nothing), MultiGetRequest.make())
  t.equal(decode(AppInfo, nothing).initPartitionCount, -1)
  const future = MultiGetRequest.make({ sortKeyFilterType: 99 })
  t.equal(decode(MultiGetRequest, encode(MultiGetRequest, future)).sortKeyFilterType, 99)
  t.throws(() => encode(BeaconMsg, {} as never), /beacon_msg.time is missing/)
  t.end()
})

void t.test('arguments and results', (t) => {
  const value = UpdateRequest.make({ key: Buffer.from('k'), value: Buffer.from('v') })
  const argument = encodeArgument(UpdateRequest, value)
  t.same(decodeArgument(UpdateRequest, argument), value)
  const byNativePeer = Buffer.from(argument)
  byNativePeer[2] = 0
  t.same(decodeArgument(UpdateRequest, byNativePeer), value, 'field id 0 as native peers write it')
  for (let cut = 0; cut < argument.length; cut++)
    t.throws(
      () => decodeArgument(UpdateRequest, argument.subarray(0, cut)),
      ProtocolError,
      `cut at ${cut}`,
    )
  t.throws(() => decodeArgument(schema.i64Big, argument), /type 12, expected 10/)
  t.same(decodeResult(schema.string, encodeResult(schema.string, 'x')), 'x')
  t.throws(() => decodeResult(schema.string, Buffer.from([0])), ProtocolError)
  t.throws(() => encode(schema.i64, 2 ** 53), ProtocolError)
  t.throws(() => decode(schema.i64, Buffer.from('7fffffffffffffff', 'hex')), /beyond 53 bits/)
  t.throws(
    () => new BinaryReader(Buffer.from('0f0f00000001'.repeat(40), 'hex')).skip(ThriftType.LIST),
    ProtocolError,
  )
  t.end()
})

void t.test('keys: encoding, order and the next key', (t) => {
  const key = fc.uint8Array({ maxLength: 6 })
  fc.assert(
    fc.property(key, key, key, (hashKey, sortKey, suffix) => {
      const raw = encodeKey(hashKey, sortKey)
      const decoded = decodeKey(raw)
      if (
        decoded === undefined ||
        !decoded.hashKey.equals(hashKey) ||
        !decoded.sortKey.equals(sortKey)
      )
        throw new Error('another key')
      if (rawKeyHash(raw) !== partitionHash(hashKey, sortKey)) throw new Error('another hash')
      const next = nextKey(raw)
      if (next === undefined || Buffer.compare(Buffer.concat([raw, suffix]), next) >= 0)
        throw new Error('not behind all keys with this prefix')
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 8 }), (raw) => {
      const decoded = decodeKey(Buffer.from(raw))
      if ((decoded === undefined) !== (rawKeyHash(raw) === undefined))
        throw new Error('two opinions')
    }),
  )
  t.end()
})

void t.test('the tables', (t) => {
  t.equal(Rpc.GET.name, 'RPC_RRDB_RRDB_GET')
  t.equal(rpcByName('RPC_RRDB_RRDB_CLEAR_SCANNER')?.oneWay, true)
  t.equal(rpcByName('RPC_NO_SUCH'), undefined)
  const names = Object.values(Rpc).map(({ name }) => name)
  t.equal(new Set(names).size, names.length, 'names are unique')
  t.ok(names.every((name) => name.length <= 47))
  const numbers = Object.values(ErrorCode).map(({ number }) => number)
  t.equal(new Set(numbers).size, numbers.length, 'numbers are unique')
  t.equal(ErrorCode.ERR_NOT_MATCHED.number, 87)
  t.equal(errorNameForClients('ERR_BUSY'), 'ERR_BUSY')
  t.equal(errorNameForClients('ERR_RDB_CORRUPTION'), 'ERR_UNKNOWN')
  t.equal(errorNameForClients('ERR_LEARNER_NOT_FOUND'), 'ERR_UNKNOWN')
  t.equal(errorNameForClients('ERR_SESSION_RESET'), 'ERR_UNKNOWN')
  t.equal(errorNameForClients('toString'), 'ERR_UNKNOWN')
  t.notOk(isErrorName('toString'))
  t.equal(errorEntry('ERR_FROM_THE_FUTURE').effect, 'unknown')
  t.end()
})
