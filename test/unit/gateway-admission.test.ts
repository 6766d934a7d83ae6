/**
 * What decides who gets in, without a socket: source ranges (gateway.md X-1), the PROXY header
 * (W-18, against haproxy.org's proxy-protocol.txt) and the token buckets (W-17).
 */
import t from 'tap'
import { crc32c } from '../../cluster/protocol/crc32c.ts'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import { ProxyHeader, type ProxyHeaderState } from '../../gateway/clients/proxy-header.ts'
import { SourceRanges, rangeForm, sourceOf } from '../../gateway/clients/source-ranges.ts'
import { TokenBuckets } from '../../gateway/clients/token-buckets.ts'

void t.test('X-1: what lies in a range', (t) => {
  const inside: readonly (readonly [string, string, boolean])[] = [
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.1.2.3/8', '10.9.9.9', true],
    ['192.168.1.7', '192.168.1.7', true],
    ['192.168.1.7', '192.168.1.8', false],
    ['192.168.1.6/31', '192.168.1.7', true],
    ['200.0.0.0/5', '207.255.255.255', true],
    ['200.0.0.0/5', '208.0.0.0', false],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['128.0.0.0/1', '127.255.255.255', false],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['0.0.0.0/0', '', false],
  ]
  for (const [range, address, isInside] of inside)
    t.equal(new SourceRanges([range]).includes(address), isInside, `${address} in ${range}`)
  t.equal(new SourceRanges(['10.0.0.0/8', '127.0.0.1']).includes('127.0.0.1'), true, 'any of them')
  t.equal(new SourceRanges([]).includes('127.0.0.1'), false)
  for (const text of ['10.0.0.0/33', '10.0.0/8', '256.0.0.1', '01.2.3.4', '10.0.0.0/', '::1', '']) {
    t.notMatch(text, rangeForm.pattern, text)
    t.throws(() => new SourceRanges([text]), RangeError)
  }
  t.equal(sourceOf('10.0.0.1:80'), '10.0.0.1')
  t.equal(sourceOf('[2001:db8::1]:80'), '2001:db8::1')
  t.equal(sourceOf('::ffff:10.0.0.1:80'), '10.0.0.1')
  t.end()
})

const rest = Buffer.from('THFT and what follows')

function v2(options: {
  readonly versionAndCommand?: number
  readonly family?: number
  readonly body?: Buffer
  readonly length?: number
}): Buffer {
  const body = options.body ?? Buffer.from('cb0071070a000001a1128729', 'hex')
  const fixed = Buffer.from('0d0a0d0a000d0a515549540a21110000', 'hex')
  fixed.writeUInt8(options.versionAndCommand ?? 0x21, 12)
  fixed.writeUInt8(options.family ?? 0x11, 13)
  fixed.writeUInt16BE(options.length ?? body.length, 14)
  return Buffer.concat([fixed, body])
}

const ipv4Body = Buffer.from('cb0071070a000001a1128729', 'hex')
const ipv6Body = Buffer.from(
  '20010db800000000000000000000000120010db8000000000000000000000002a1128729',
  'hex',
)
const mappedBody = Buffer.from(
  '00000000000000000000ffffcb00710700000000000000000000ffff0a000001a1128729',
  'hex',
)

function withChecksum(): Buffer {
  const header = v2({
    body: Buffer.concat([ipv4Body, Buffer.from('0300040000000004000161', 'hex')]),
  })
  header.writeUInt32BE(crc32c(header), 31)
  return header
}

const good: readonly (readonly [string, Buffer, Partial<ProxyHeaderState>])[] = [
  [
    'v1, IPv4',
    Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 41234 34601\r\n'),
    { kind: 'client', peer: '203.0.113.7:41234' },
  ],
  [
    'v1, IPv6',
    Buffer.from('PROXY TCP6 2001:DB8::1 2001:db8::2 41234 34601\r\n'),
    { kind: 'client', peer: '[2001:db8::1]:41234' },
  ],
  [
    'v1, IPv4 in IPv6 clothes',
    Buffer.from('PROXY TCP6 ::ffff:203.0.113.7 ::1 0 65535\r\n'),
    { kind: 'client', peer: '203.0.113.7:0' },
  ],
  ['v1, unknown', Buffer.from('PROXY UNKNOWN\r\n'), { kind: 'unknown' }],
  [
    'v1, unknown with anything behind it, of the greatest length',
    Buffer.from(`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`),
    { kind: 'unknown' },
  ],
  ['v2, IPv4', v2({}), { kind: 'client', peer: '203.0.113.7:41234' }],
  [
    'v2, IPv6',
    v2({ family: 0x21, body: ipv6Body }),
    { kind: 'client', peer: '[2001:db8:0:0:0:0:0:1]:41234' },
  ],
  [
    'v2, IPv4 in IPv6 clothes',
    v2({ family: 0x21, body: mappedBody }),
    { kind: 'client', peer: '203.0.113.7:41234' },
  ],
  ['v2, a checksum and another value', withChecksum(), { kind: 'client' }],
  ['v2, a health check', v2({ versionAndCommand: 0x20, body: Buffer.alloc(0) }), { kind: 'local' }],
  ['v2, a health check that tells addresses', v2({ versionAndCommand: 0x20 }), { kind: 'local' }],
  ['v2, no addresses', v2({ family: 0, body: Buffer.alloc(0) }), { kind: 'unknown' }],
  ['v2, unix sockets', v2({ family: 0x31, body: Buffer.alloc(216) }), { kind: 'unknown' }],
]

void t.test('W-18: PROXY headers, however they are cut', (t) => {
  for (const [what, header, expected] of good) {
    const whole = Buffer.concat([header, rest])
    const state = new ProxyHeader().push(whole)
    t.match(state, expected, what)
    t.ok('rest' in state && state.rest.equals(rest), `${what}: what follows it is kept`)
    for (let cut = 1; cut < header.length; cut++) {
      const parser = new ProxyHeader()
      if (parser.push(whole.subarray(0, cut)).kind !== 'incomplete')
        t.fail(`${what}: judged after ${cut} of ${header.length} bytes`)
      const later = parser.push(whole.subarray(cut))
      if (later.kind !== state.kind || !('rest' in later) || !later.rest.equals(rest))
        t.fail(`${what}: ${later.kind} when cut at ${cut}`)
    }
    const parser = new ProxyHeader()
    for (const byte of header.subarray(0, -1)) parser.push(Buffer.from([byte]))
    t.equal(parser.push(header.subarray(-1)).kind, state.kind, `${what}: byte by byte`)
  }
  t.end()
})

void t.test('W-18: what is no PROXY header', (t) => {
  const wrongChecksum = withChecksum()
  wrongChecksum.writeUInt8(1, 20)
  const broken: readonly (readonly [string, Buffer, string])[] = [
    ['a query', Buffer.from('THFT'), 'absent'],
    ['one wrong byte', Buffer.from('Q'), 'absent'],
    ['TLS', Buffer.from('160301', 'hex'), 'absent'],
    ['no space behind PROXY', Buffer.from('PROXYTCP4 '), 'absent'],
    ['a wrong signature in the end', Buffer.from('0d0a0d0a000d0a515549540b', 'hex'), 'absent'],
    ['another protocol', Buffer.from('PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n'), 'malformed'],
    ['no port', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n'), 'malformed'],
    ['one word more', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n'), 'malformed'],
    ['two spaces', Buffer.from('PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n'), 'malformed'],
    ['a port of 65536', Buffer.from('PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n'), 'malformed'],
    ['an address of 5 octets', Buffer.from('PROXY TCP4 1.2.3.4.5 1.2.3.4 1 1\r\n'), 'malformed'],
    ['IPv6 as TCP4', Buffer.from('PROXY TCP4 ::1 ::1 1 1\r\n'), 'malformed'],
    ['two double colons', Buffer.from('PROXY TCP6 1::2::3 ::1 1 1\r\n'), 'malformed'],
    ['nine groups', Buffer.from('PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 1\r\n'), 'malformed'],
    ['seven groups', Buffer.from('PROXY TCP6 1:2:3:4:5:6:7 ::1 1 1\r\n'), 'malformed'],
    ['a line without an end', Buffer.alloc(107, 'PROXY TCP4 '), 'malformed'],
    ['v2, version 1', v2({ versionAndCommand: 0x11 }), 'malformed'],
    ['v2, command 2', v2({ versionAndCommand: 0x22 }), 'malformed'],
    ['v2, a length of 4097', v2({ length: 4097 }), 'malformed'],
    ['v2, addresses cut', v2({ body: ipv4Body.subarray(1) }), 'malformed'],
    ['v2, IPv6 cut', v2({ family: 0x21, body: ipv4Body }), 'malformed'],
    ['v2, a cut value', v2({ body: Buffer.concat([ipv4Body, Buffer.from([4, 0])]) }), 'malformed'],
    [
      'v2, a value longer than the header',
      v2({ body: Buffer.concat([ipv4Body, Buffer.from('0400ff61', 'hex')]) }),
      'malformed',
    ],
    ['v2, a wrong checksum', wrongChecksum, 'malformed'],
    [
      'v2, a checksum of 3 bytes',
      v2({ body: Buffer.concat([ipv4Body, Buffer.from('030003000000', 'hex')]) }),
      'malformed',
    ],
  ]
  for (const [what, bytes, reason] of broken)
    t.same(new ProxyHeader().push(bytes), { kind: 'broken', reason }, what)
  t.end()
})

void t.test('W-18: no bytes make the parser throw, wait for more than it may hold, or lie', (t) => {
  const random = seededRandom('proxy headers')
  for (let round = 0; round < 20_000; round++) {
    const [, header] = good[random.below(good.length)] ?? ['', Buffer.alloc(0)]
    const bytes = Buffer.concat([header, rest])
    for (let flips = random.below(4); flips > 0; flips--)
      bytes[random.below(header.length)] = random.below(256)
    const parser = new ProxyHeader()
    let at = 0
    let state: ProxyHeaderState = { kind: 'incomplete' }
    while (at < bytes.length && state.kind === 'incomplete') {
      const size = 1 + random.below(60)
      state = parser.push(bytes.subarray(at, at + size))
      at += size
    }
    if (state.kind === 'client' && !/^(\d+(\.\d+){3}|\[[0-9a-f:.]+\]):\d+$/.test(state.peer))
      t.fail(`${bytes.toString('hex')}: ${state.peer}`)
  }
  t.equal(new ProxyHeader().push(v2({ length: 4096 })).kind, 'incomplete')
  t.equal(
    new ProxyHeader().push(v2({ length: 4096, family: 0, body: Buffer.alloc(4096) })).kind,
    'unknown',
    'the longest header taken',
  )
  t.end()
})

void t.test('W-17: a bucket fills with time, up to its size, and each source has its own', (t) => {
  const buckets = new TokenBuckets({ perSecond: 10, burst: 3, maxKeys: 2 })
  const taken = (key: string, nowMs: number): number => {
    let count = 0
    while (buckets.take(key, nowMs)) count++
    return count
  }
  t.equal(taken('a', 0), 3, 'full at first')
  t.equal(taken('a', 99), 0)
  t.equal(taken('a', 100), 1, 'one more after a tenth of a second')
  t.equal(taken('b', 100), 3, 'another source')
  t.equal(taken('a', 100_000), 3, 'never more than the burst')
  buckets.giveBack('a')
  t.equal(taken('a', 100_000), 1, 'what was given back')
  buckets.giveBack('nobody')
  t.equal(taken('c', 100_000), 3)
  t.equal(buckets.size, 2, 'no more sources than the limit')
  t.equal(taken('b', 100_000), 3, 'the one not seen for longest was forgotten')
  for (let index = 0; index < 5; index++) buckets.giveBack('b')
  t.equal(taken('b', 100_000), 3, 'giving back does not go beyond the burst')
  t.end()
})
