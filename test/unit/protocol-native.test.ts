/**
 * The native form as bytes (wire.md 12): recorded requests and replies, any requests in any chunks, and
 * garbage. What a server does with them is in `rpc-native.test.ts`.
 */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import {
  NATIVE_HEADER_BYTES,
  NativeFramer,
  encodeNativeFrame,
  encodeNativeReply,
} from '../../cluster/protocol/native-frame.ts'
import { RequestStream } from '../../cluster/protocol/request-stream.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { nativeHeader, nativeRequest } from '../support/native-client.ts'

const streamLimits = { maxBodyBytes: 1 << 20, maxMetaBytes: 4096, native: true }
const get = (key: string, changes: Parameters<typeof nativeRequest>[2] = {}): Buffer =>
  nativeRequest(Rpc.GET, Buffer.from(key), changes)

void t.test('every recorded request comes out of the stream as it went in', (t) => {
  const recorded = (
    JSON.parse(readFileSync('test/vectors/rdsn.json', 'utf8')) as {
      vectors: { name: string; hex: string; direction: string }[]
    }
  ).vectors
  const requests = recorded.filter(({ direction }) => direction === 'request')
  t.ok(requests.length > 25)
  for (const { name, hex } of requests) {
    const bytes = Buffer.from(hex, 'hex')
    for (const step of [1, 7, bytes.length]) {
      const stream = new RequestStream(streamLimits)
      for (let at = 0; at < bytes.length; at += step)
        stream.push(Buffer.from(bytes.subarray(at, at + step)))
      const request = stream.next()
      if (request?.kind !== 'native') throw new Error(`${name} is not native`)
      t.equal(encodeNativeFrame(request.native, request.argument).toString('hex'), hex, name)
      t.equal(stream.pendingBytes, 0)
    }
  }
  // Replies: ours to the recorded request differs from the recorded one in local numbers alone.
  for (const { name, hex } of recorded.filter(({ direction }) => direction === 'response')) {
    const asked = requests.find((other) => other.name === name.replace('_response', '_request'))
    if (asked === undefined) throw new Error(`${name} has no request`)
    const expected = Buffer.from(hex, 'hex')
    const stream = new RequestStream(streamLimits)
    stream.push(Buffer.from(asked.hex, 'hex'))
    const request = stream.next()
    if (request?.kind !== 'native') throw new Error(`${name} is not native`)
    const framer = new NativeFramer(streamLimits)
    framer.push(Buffer.from(expected))
    const reply = framer.next()
    if (reply === undefined) throw new Error(`${name} is not whole`)
    const ours = encodeNativeReply(
      request.native,
      reply.header.from,
      reply.header.errorName,
      reply.body,
    )
    for (const at of [88, 184]) {
      ours.writeUInt32LE(expected.readUInt32LE(at), at)
    }
    for (const bytes of [ours, expected]) bytes.writeUInt32LE(0, 12)
    t.equal(ours.toString('hex'), expected.toString('hex'), name)
  }
  t.end()
})

const header48 = fc.record({
  id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  traceId: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  name: fc.string({ unit: fc.constantFrom('A', 'B', 'Z', '_'), maxLength: 47 }),
  appId: fc.integer(),
  partitionIndex: fc.integer(),
  isBackupRequest: fc.boolean(),
  isForwardSupported: fc.boolean(),
  isForwarded: fc.boolean(),
  timeoutMs: fc.integer(),
  threadHash: fc.integer(),
  partitionHash: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  checksummed: fc.boolean(),
})

void t.test('property: any native requests in any chunks are read as they were written', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(header48, fc.uint8Array({ maxLength: 300 })), {
        minLength: 1,
        maxLength: 5,
      }),
      fc.integer({ min: 1, max: 400 }),
      (requests, step) => {
        const frames = requests.map(([fields, body]) =>
          encodeNativeFrame(nativeHeader(fields.name, fields), Buffer.from(body)),
        )
        const bytes = Buffer.concat(frames)
        const stream = new RequestStream(streamLimits)
        const read = []
        for (let at = 0; at < bytes.length; at += step) {
          stream.push(Buffer.from(bytes.subarray(at, at + step)))
          for (let next = stream.next(); next !== undefined; next = stream.next()) read.push(next)
        }
        if (read.length !== frames.length) throw new Error(`${read.length} requests`)
        for (const [index, request] of read.entries()) {
          if (request.kind !== 'native') throw new Error('not native')
          const again = encodeNativeFrame(request.native, request.argument)
          if (frames[index]?.equals(again) !== true) throw new Error(`request ${index} differs`)
        }
      },
    ),
    { numRuns: 300 },
  )
  t.end()
})

void t.test(
  'property: no bytes but a frame error come out of garbage behind the magic word',
  (t) => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 500 }),
        fc.array(fc.tuple(fc.nat({ max: NATIVE_HEADER_BYTES + 20 }), fc.nat({ max: 255 })), {
          maxLength: 4,
        }),
        (garbage, flips) => {
          const flipped = get('some key', { checksummed: flips.length % 2 === 0 })
          for (const [at, byte] of flips) if (at > 3 && at < flipped.length) flipped[at] = byte
          for (const bytes of [Buffer.concat([Buffer.from('RDSN'), garbage]), flipped]) {
            const stream = new RequestStream({ ...streamLimits, maxBodyBytes: 4096 })
            try {
              stream.push(Buffer.from(bytes))
              for (let next = stream.next(); next !== undefined; next = stream.next());
            } catch (error) {
              if (!(error instanceof Error) || error.name !== 'FrameError') throw error
            }
          }
        },
      ),
      { numRuns: 1000 },
    )
    t.end()
  },
)

void t.test('switched off, the native form is a wrong magic word', (t) => {
  const stream = new RequestStream({ ...streamLimits, native: false })
  stream.push(get('key'))
  t.throws(() => stream.next(), { name: 'FrameError', reason: 'bad-magic' })
  t.end()
})
