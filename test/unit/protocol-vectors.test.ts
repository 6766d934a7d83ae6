/**
 * The protocol against bytes written by upstream's own programs (test/vectors/README.md): decoded
 * values equal the recorded fields, and encoding them again gives the recorded bytes.
 */
import { readFileSync } from 'node:fs'
import t, { type Test as TapTest } from 'tap'
import {
  addressFromBits,
  addressToBits,
  blob,
  errorCode,
  gpid,
  hostPort,
  rpcAddress,
} from '../../cluster/protocol/base.ts'
import { BinaryReader, BinaryWriter, decode, encode } from '../../cluster/protocol/binary.ts'
import { crc32c } from '../../cluster/protocol/crc32c.ts'
import { crc64 } from '../../cluster/protocol/crc64.ts'
import {
  ReplyFramer,
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
  keyAfterHashKey,
  nextKey,
  partitionHash,
  partitionIndexOf,
  rawKeyHash,
} from '../../cluster/protocol/key.ts'
import {
  type NativeFrame,
  NativeFramer,
  encodeNativeFrame,
} from '../../cluster/protocol/native-frame.ts'
import { decodePrepare, encodePrepare } from '../../cluster/protocol/prepare.ts'
import { type RpcEntry, rpcByName } from '../../cluster/protocol/rpc-codes.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'
import { decodeValue, encodeValue, isExpired, makeTimetag } from '../../cluster/protocol/value.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }
interface Vector {
  readonly name: string
  readonly hex?: string
  readonly fields: JsonObject
  readonly [key: string]: unknown
}

function vectors(file: string): Vector[] {
  const parsed = JSON.parse(readFileSync(`test/vectors/${file}.json`, 'utf8')) as {
    vectors: Vector[]
  }
  return parsed.vectors
}

const bytesOf = (value: unknown): Buffer => Buffer.from(textOf(value ?? ''), 'hex')
const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
const objectOf = (value: unknown): JsonObject => (value ?? {}) as JsonObject
const limits = { maxBodyBytes: 64 << 20, maxMetaBytes: 4096 }
const camel = (name: string): string =>
  name.replace(/_+$/, '').replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())

/** Where the decoded value and the recorded one differ, '' when they do not. */
function difference(recorded: Json, decoded: unknown, at = ''): string {
  const differs = (): string =>
    `${at}: recorded ${JSON.stringify(recorded)}, decoded ${textOf(decoded)}`
  if (decoded === undefined) {
    // An optional field with a default is recorded even when absent from the bytes.
    const absent =
      recorded === null ||
      recorded === false ||
      recorded === 0 ||
      at.endsWith('is_duplicating_checkpoint')
    return absent || (Array.isArray(recorded) && recorded.length === 0) ? '' : differs()
  }
  if (Buffer.isBuffer(decoded)) {
    const object = objectOf(recorded)
    if (object['head_hex'] !== undefined)
      return decoded.length === object['length'] &&
        decoded.toString('hex').startsWith(textOf(object['head_hex']))
        ? ''
        : differs()
    return recorded === null && decoded.length === 0
      ? ''
      : object['hex'] === decoded.toString('hex')
        ? ''
        : differs()
  }
  if (Array.isArray(decoded)) {
    if (recorded === null) return decoded.length === 0 ? '' : differs()
    if (!Array.isArray(recorded) || recorded.length !== decoded.length) return differs()
    return (
      recorded
        .map((item, index) => difference(item, decoded[index], `${at}[${index}]`))
        .find((text) => text !== '') ?? ''
    )
  }
  if (decoded instanceof Map) {
    const entries = Object.entries(objectOf(recorded))
    if (entries.length !== decoded.size) return differs()
    const byText = new Map([...decoded].map(([key, value]) => [String(key), value]))
    return (
      entries
        .map(([key, value]) => difference(value, byText.get(key), `${at}{${key}}`))
        .find((text) => text !== '') ?? ''
    )
  }
  if (typeof decoded === 'bigint')
    return textOf(recorded) === String(decoded) ||
      recorded === `0x${BigInt.asUintN(64, decoded).toString(16).padStart(16, '0')}`
      ? ''
      : differs()
  if (typeof decoded === 'object' && decoded !== null)
    return objectDifference(recorded, decoded as Record<string, unknown>, at)
  if (
    typeof decoded === 'string' &&
    typeof recorded === 'object' &&
    recorded !== null &&
    !Array.isArray(recorded)
  ) {
    // rpc_address
    const { high, low } = addressToBits(decoded)
    const raw = BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))
    return String(raw) === recorded['raw_i64'] ? '' : differs()
  }
  return textOf(recorded) === textOf(decoded) ? '' : differs()
}

function objectDifference(recorded: Json, decoded: Record<string, unknown>, at: string): string {
  const hostPortText = `${String(decoded['host'])}:${String(decoded['port'])}`
  const texts = [
    `${String(decoded['appId'])}.${String(decoded['partitionIndex'])}`,
    `${hostPortText}/${String(decoded['type'])}`,
  ]
  if (typeof recorded === 'string' && texts.includes(recorded)) return ''
  const fields = objectOf(recorded)
  if (fields['host_port'] === hostPortText) return ''
  if (typeof recorded !== 'object' || fields['host_port'] !== undefined)
    return `${at}: ${JSON.stringify(recorded)} is not ${JSON.stringify(decoded)}`
  for (const [label, value] of Object.entries(fields)) {
    const name = label.replace(/^\d+:/, '')
    const text = difference(value, decoded[camel(name)], `${at}.${name}`)
    if (text !== '') return text
  }
  return ''
}

function only<T>(framer: { push(chunk: Buffer): void; next(): T | undefined }, bytes: Buffer): T {
  framer.push(bytes)
  const frame = framer.next()
  if (frame === undefined) throw new Error('no frame')
  if (framer.next() !== undefined) throw new Error('two frames')
  return frame
}

function entryOf(name: string): RpcEntry {
  const entry = rpcByName(name.replace(/_ACK$/, ''))
  if (entry === undefined) throw new Error(`unknown RPC ${name}`)
  return entry
}
const argumentOf = (name: string): Codec<unknown> => {
  const { argument } = entryOf(name)
  if (argument === undefined) throw new Error(`${name} has no single argument`)
  return argument as unknown as Codec<unknown>
}
const resultOf = (name: string): Codec<unknown> => entryOf(name).result as unknown as Codec<unknown>

/** What a vector records of the argument alone: some wrap it in the name of its field. */
function argumentFields(codec: Codec<unknown>, args: Json): Json {
  if (typeof args !== 'object' || args === null) return args
  const [label, inner = null] = Object.entries(args)[0] ?? ['']
  const isStruct = 'fields' in codec
  if (/^\d+:\w+$/.test(label) && Object.keys(args).length === 1)
    if (
      !isStruct ||
      (objectOf(inner)['hex'] === undefined && !Array.isArray(inner) && typeof inner === 'object')
    )
      return inner
  return args
}

/** Decodes a request completely; whether encoding it again gave the same bytes. */
function checkRequest(t: TapTest, label: string, bytes: Buffer, recorded: JsonObject): boolean {
  const frame = only(new RequestFramer(limits), bytes)
  const header = { ...objectOf(recorded['header']), ...objectOf(recorded['meta']) }
  const get = (...names: string[]): Json | undefined =>
    names.map((name) => header[name]).find((value) => value !== undefined)
  t.equal(frame.header.version, get('hdr_version', 'version') ?? 0, `${label}: version`)
  t.equal(frame.header.appId, get('app_id', '1:app_id') ?? 0, `${label}: app id`)
  t.equal(
    frame.header.partitionIndex,
    get('partition_index', '2:partition_index') ?? 0,
    `${label}: partition`,
  )
  const timeout = get('client_timeout_ms', '3:client_timeout')
  if (timeout !== undefined) t.equal(frame.header.clientTimeoutMs, timeout, `${label}: timeout`)
  const hash = get('partition_hash', '4:partition_hash') ?? '0x0000000000000000'
  t.equal(`0x${frame.header.partitionHash.toString(16).padStart(16, '0')}`, hash, `${label}: hash`)
  t.equal(
    frame.header.isBackupRequest,
    get('is_backup_request', '5:is_backup_request') ?? false,
    `${label}: backup`,
  )
  const message = objectOf(recorded['message'])
  t.same(
    { name: frame.name, seqid: frame.seqid, type: frame.messageType },
    message,
    `${label}: message`,
  )

  if (rpcByName(frame.name) === undefined) return true
  const codec = argumentOf(frame.name)
  const value = decodeArgument(codec, frame.argument)
  t.equal(
    difference(argumentFields(codec, recorded['args'] ?? null), value),
    '',
    `${label}: argument`,
  )
  const again = encodeRequest(
    frame.header,
    frame.name,
    frame.seqid,
    encodeArgument(codec, value),
    frame.messageType,
  )
  if (again.equals(bytes)) return true
  const second = only(new RequestFramer(limits), again)
  t.same(second.header, frame.header, `${label}: header after a round trip`)
  t.same(decodeArgument(codec, second.argument), value, `${label}: argument after a round trip`)
  return false
}

/** Decodes a reply completely and encodes it again to equal bytes. */
function checkReply(
  t: TapTest,
  label: string,
  bytes: Buffer,
  recorded: JsonObject | undefined,
): void {
  const frame = only(new ReplyFramer({ maxFrameBytes: 64 << 20 }), bytes)
  if (recorded !== undefined) {
    t.equal(frame.errorName, recorded['error_code'], `${label}: error`)
    const message = objectOf(recorded['message'])
    t.same(
      { name: frame.name, seqid: frame.seqid },
      { name: message['name'], seqid: message['seqid'] },
      `${label}: message`,
    )
  }
  let result: Buffer | undefined
  if (frame.result.length > 0) {
    const codec = resultOf(frame.name)
    const value = decodeResult(codec, frame.result)
    const success = objectOf(recorded?.['result'])['0:success']
    if (success !== undefined) t.equal(difference(success, value), '', `${label}: result`)
    result = encodeResult(codec, value)
    t.equal(result.toString('hex'), frame.result.toString('hex'), `${label}: result encoded again`)
  }
  if (frame.name.endsWith('_ACK'))
    t.equal(
      encodeReply(frame.name.slice(0, -4), frame.seqid, frame.errorName, result).toString('hex'),
      bytes.toString('hex'),
      `${label}: encoded again`,
    )
}

/** Requests whose bytes leave out fields that we always write: equal in value, not in bytes. */
const incomplete: Readonly<Record<string, number>> = {
  requests: 0,
  requests_admin: 0,
  requests_java: 12,
  requests_node: 2,
  requests_v1: 1,
}

for (const [file, expected] of Object.entries(incomplete))
  void t.test(
    `every request of ${file}.json decodes to its fields and encodes to its bytes`,
    (t) => {
      let different = 0
      for (const vector of vectors(file)) {
        if (!checkRequest(t, vector.name, bytesOf(vector.hex), vector.fields)) different++
        const extra = objectOf(vector['extra'])
        if (typeof extra['reply_hex'] === 'string')
          checkReply(t, `${vector.name} reply`, bytesOf(extra['reply_hex']), undefined)
      }
      t.equal(different, expected, 'requests that leave out fields which we write')
      t.end()
    },
  )

for (const file of ['responses', 'responses_meta'])
  void t.test(`every reply of ${file}.json decodes to its fields and encodes to its bytes`, (t) => {
    for (const vector of vectors(file))
      checkReply(t, vector.name, bytesOf(vector.hex), vector.fields)
    t.end()
  })

void t.test('what a real server answered decodes to its fields and encodes to its bytes', (t) => {
  let requests = 0
  let replies = 0
  for (const vector of vectors('server_responses')) {
    // Its recorded fields carry no names.
    const unnamed = JSON.stringify(vector['request'] ?? {}).includes('"1:":')
    if (
      vector['outcome'] === 'reply' &&
      vector.hex !== undefined &&
      vector.hex.length === 2 * Number(vector['length'] ?? vector.hex.length / 2)
    ) {
      checkReply(t, vector.name, bytesOf(vector.hex), vector.fields)
      replies++
    }
    const request = objectOf(vector['request'])
    if (
      vector['request_hex'] !== undefined &&
      request['args'] !== undefined &&
      vector['outcome'] !== 'closed'
    ) {
      const bytes = bytesOf(vector['request_hex'])
      if (unnamed || /^(incomplete|meta_unhandled_.*|get_v1_minimal)$/.test(vector.name)) continue
      checkRequest(t, `${vector.name} request`, bytes, request)
      requests++
    }
  }
  t.ok(replies > 1300 && requests > 850, `${replies} replies, ${requests} requests`)
  t.end()
})

void t.test('base types', (t) => {
  const codecs: Readonly<Record<string, Codec<unknown>>> = {
    rpc_address: rpcAddress as Codec<unknown>,
    gpid: gpid as Codec<unknown>,
    host_port: hostPort as Codec<unknown>,
    error_code: errorCode as Codec<unknown>,
    blob: blob as Codec<unknown>,
  }
  for (const { name, hex, fields } of vectors('base_types')) {
    const kind = Object.keys(codecs).find((key) => name.startsWith(key)) ?? ''
    const codec = codecs[kind]
    if (codec === undefined) throw new Error(`no codec for ${name}`)
    const value = decode(codec, bytesOf(hex))
    t.equal(encode(codec, value).toString('hex'), hex, name)
    if (kind === 'rpc_address') t.equal(value, fields['decoded_by_client'] ?? '', name)
    else if (kind === 'gpid' || kind === 'host_port')
      t.equal(objectDifference(fields, value as Record<string, unknown>, name), '', name)
    else t.equal(String(value), fields['name'] ?? fields['data'], name)
  }
  const strange = addressFromBits(0x7f000001, 0x87290002)
  t.match(strange, /^raw:/, 'an address of another type survives as raw bits')
  t.same(addressToBits(strange), { high: 0x7f000001, low: 0x87290002 })
  t.throws(() => addressToBits('256.0.0.1:1'), RangeError)
  t.throws(() => addressToBits('localhost:1'), RangeError)
  t.end()
})

void t.test('crc64 and partitions', (t) => {
  for (const { name, fields } of vectors('crc64')) {
    const input = bytesOf(objectOf(fields['input'])['hex'])
    const hash = crc64(input)
    t.equal(String(hash), fields['hash_u64'], name)
    for (const count of [3, 4, 8, 64]) {
      t.equal(partitionIndexOf(hash, count), fields[`partition_of_${count}`], `${name} of ${count}`)
      t.equal(
        partitionIndexOf(BigInt.asIntN(64, hash), count),
        fields[`partition_of_${count}`],
        `${name} of ${count}, signed`,
      )
    }
  }
  t.equal(crc64(Buffer.from('x123456789x'), 1, 10), crc64(Buffer.from('123456789')), 'of a part')
  t.end()
})

void t.test('keys', (t) => {
  for (const { name, hex, fields } of vectors('keys')) {
    const hashKey = bytesOf(objectOf(fields['hash_key'])['hex'])
    if (name.startsWith('next_key')) {
      const prefix = bytesOf(objectOf(fields['sort_key_prefix'])['hex'])
      t.equal(nextKey(encodeKey(hashKey, prefix))?.toString('hex'), hex, name)
      if (prefix.length === 0) t.equal(keyAfterHashKey(hashKey).toString('hex'), hex, name)
      continue
    }
    const sortKey = bytesOf(objectOf(fields['sort_key'])['hex'])
    const raw = bytesOf(hex)
    t.same(encodeKey(hashKey, sortKey), raw, name)
    t.same(decodeKey(raw), { hashKey, sortKey }, name)
    const hash = `0x${partitionHash(hashKey, sortKey).toString(16).padStart(16, '0')}`
    t.equal(hash, fields['partition_hash'], name)
    t.equal(rawKeyHash(raw), partitionHash(hashKey, sortKey), name)
  }
  for (const malformed of ['', '00', '0001', 'ffff', `ffff${'00'.repeat(65535)}`]) {
    t.equal(decodeKey(bytesOf(malformed)), undefined, 'a malformed raw key is undefined')
    t.equal(rawKeyHash(bytesOf(malformed)), undefined)
  }
  t.same(decodeKey(encodeKey(Buffer.alloc(65534), Buffer.alloc(0)))?.hashKey.length, 65534)
  t.throws(() => encodeKey(Buffer.alloc(65535), Buffer.alloc(0)), RangeError)
  t.equal(nextKey(Buffer.from('ffff', 'hex')), undefined, 'nothing is behind FF bytes only')
  t.end()
})

void t.test('stored values', (t) => {
  for (const { name, hex, fields } of vectors('values')) {
    const stored = bytesOf(hex)
    const version = Number(fields['version'])
    const decoded = decodeValue(stored, Math.min(version, 1))
    t.equal(decoded?.expireTsSeconds, fields['expire_ts'], name)
    t.equal(String(decoded?.data), fields['user_data'], name)
    t.equal(String(decoded?.timetag), fields['timetag'] ?? '0', name)
    if (version !== 1 || decoded === undefined) continue
    t.equal(encodeValue(decoded).toString('hex'), hex, name)
    const timetag = makeTimetag(Number(fields['timestamp_us']), Number(fields['cluster_id']))
    t.equal(decoded.timetag & ~1n, timetag, name)
  }
  t.equal(decodeValue(Buffer.alloc(11), 1), undefined, 'too short for version 1')
  t.equal(decodeValue(Buffer.from([0x82, 0, 0]), 1), undefined, 'too short for version 2')
  t.equal(decodeValue(Buffer.alloc(3), 0), undefined, 'too short for version 0')
  t.notOk(isExpired(0, 5), 'no expiry')
  t.ok(isExpired(5, 5))
  t.notOk(isExpired(6, 5))
  t.end()
})

/** The argument or result of a native body: field id 0, no message header. */
function bodyAgain(name: string, isRequest: boolean, body: Buffer): Buffer {
  if (name === 'RPC_PREPARE' && isRequest) return encodePrepare(decodePrepare(body))
  const codec = isRequest ? argumentOf(name) : resultOf(name)
  const value = decodeArgument(codec, body)
  const writer = new BinaryWriter()
  writer.writeFieldBegin('', codec.wireType, 0)
  codec.write(writer, value)
  writer.writeFieldStop()
  return writer.take()
}

void t.test('native frames decode to their fields and encode to their bytes', (t) => {
  for (const { name, hex, fields } of vectors('rdsn')) {
    const bytes = bytesOf(hex)
    const frame: NativeFrame = only(new NativeFramer({ maxBodyBytes: 1 << 20 }), bytes)
    const recorded = objectOf(fields['header'])
    const { header } = frame
    t.equal(String(header.traceId), textOf(recorded['trace_id']), `${name}: trace id`)
    t.equal(Number(header.id), recorded['id'], `${name}: id`)
    t.same(
      [
        header.name,
        header.appId,
        header.partitionIndex,
        header.timeoutMs,
        header.threadHash,
        header.errorName,
      ],
      ['rpc_name', 'app_id', 'partition_index', 'timeout_ms', 'thread_hash', 'error_name'].map(
        (key) => recorded[key],
      ),
      `${name}: header`,
    )
    t.same(
      [header.isRequest, header.isForwarded, header.isForwardSupported, header.isBackupRequest].map(
        Number,
      ),
      ['is_request', 'is_forwarded', 'is_forward_supported', 'is_backup_request'].map(
        (key) => recorded[key],
      ),
      `${name}: context`,
    )
    t.equal(`${header.from} type 1`, recorded['from_address'], `${name}: from`)
    t.equal(encodeNativeFrame(header, frame.body).toString('hex'), hex, `${name}: encoded again`)
    if (frame.body.length === 0 || header.errorName === 'ERR_FORWARD_TO_OTHERS') continue
    const body = bodyAgain(header.name.replace(/_ACK$/, ''), header.isRequest, frame.body)
    t.equal(body.toString('hex'), frame.body.toString('hex'), `${name}: body encoded again`)
  }
  t.end()
})

void t.test('a wrong checksum in a native frame is refused', (t) => {
  const vector = vectors('rdsn').find(({ name }) => name === 'beacon_udp_crc_request')
  const bytes = bytesOf(vector?.hex)
  for (const at of [24, bytes.length - 1]) {
    const broken = Buffer.from(bytes)
    broken[at] = (broken[at] ?? 0) ^ 1
    t.throws(() => only(new NativeFramer({ maxBodyBytes: 1 << 20 }), broken), {
      name: 'FrameError',
    })
  }
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283, 'the published check value')
  t.equal(crc32c(Buffer.from('456789'), crc32c(Buffer.from('123'))), 0xe3069283, 'in two parts')
  t.end()
})

void t.test('the reader of a cut value names the place', (t) => {
  t.throws(() => new BinaryReader(Buffer.from('000000ff61', 'hex')).readString(), {
    name: 'ProtocolError',
    offset: 0,
  })
  t.end()
})
