/**
 * What clients can do wrong, against the gateway as a process (gateway.md 15 item 3): random bytes,
 * frames cut and changed anywhere, oversize, slow frames, resets, half-closed sockets. After each of
 * them the same process serves, and its files and its memory are back.
 */
import { type Socket, connect } from 'node:net'
import t, { type Test } from 'tap'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { brokenFrames } from '../support/bad-frames.ts'
import { queryFrame, until } from '../support/gateway-world.ts'
import { startGatewayProcess } from '../support/gateway-outside.ts'
import { nativeRequest } from '../support/native-client.ts'

t.setTimeout(180_000)
const growthMiBMax = 96

const gateway = await startGatewayProcess(t.testdir(), { 'limits.frameMs': '1000' })
t.teardown(() => gateway.stop())
/** Probes and ZooKeeper sessions come and go; the connections of clients are hundreds. */
const filesAtRest = gateway.files() + 16
const memoryAtRestMiB = gateway.residentMiB()

/** Sends bytes, then ends or resets; resolves when the connection is closed on both sides. */
async function throwAt(
  bytes: Buffer,
  options: { readonly how?: 'end' | 'reset' | 'wait'; readonly inPiecesOf?: number } = {},
): Promise<Buffer> {
  const { how = 'end', inPiecesOf = Math.max(1, bytes.length) } = options
  const socket = connect({ port: gateway.port, host: '127.0.0.1', noDelay: true })
  const received: Buffer[] = []
  socket.on('data', (chunk: Buffer) => received.push(chunk))
  socket.on('error', () => undefined)
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve())
    socket.once('connect', () => {
      for (let at = 0; at < bytes.length; at += inPiecesOf)
        socket.write(bytes.subarray(at, at + inPiecesOf))
      if (how === 'end') socket.end()
      else if (how === 'reset') socket.write('', () => socket.resetAndDestroy())
    })
  })
  return Buffer.concat(received)
}

async function inWaves<T>(
  items: readonly T[],
  size: number,
  run: (item: T) => Promise<unknown>,
): Promise<void> {
  for (let at = 0; at < items.length; at += size)
    await Promise.all(items.slice(at, at + size).map(run))
}

async function isUnharmed(t: Test): Promise<void> {
  t.ok(await gateway.serves(), 'it serves')
  await until(() => gateway.files() <= filesAtRest)
  // No connection is left, also none that has just closed.
  await until(async () => (await gateway.metric(/^client_connection_count/)) === 0)
  const grown = gateway.residentMiB() - memoryAtRestMiB
  t.ok(grown < growthMiBMax, `memory grew by ${grown.toFixed(0)} MiB`)
}

const frames = [
  queryFrame('temp'),
  queryFrame('temp', { version: 1, indices: [0, 3] }),
  queryFrame('nobody', { indices: [1] }),
  nativeRequest(Rpc.QUERY_PARTITION_CONFIG_BY_INDEX, { appName: 'temp', partitionIndices: [] }),
]

void t.test('frames cut at every offset, by an end and by a reset', async (t) => {
  const cuts = frames.flatMap((frame) =>
    Array.from({ length: frame.length }, (_, at) => frame.subarray(0, at)),
  )
  for (const how of ['end', 'reset'] as const)
    await inWaves(cuts, 100, (bytes) => throwAt(bytes, { how }))
  t.ok(cuts.length > 400)
  await isUnharmed(t)
})

void t.test('random bytes, alone and behind good frames', async (t) => {
  const random = seededRandom('client faults')
  const garbage = Array.from({ length: 600 }, (_, index) => {
    const bytes = random.bytes(1 + random.below(3000))
    const good = frames[index % frames.length] ?? Buffer.alloc(0)
    return index % 3 === 0 ? Buffer.concat([good, good, bytes]) : bytes
  })
  await inWaves(garbage, 50, (bytes) => throwAt(bytes, { how: 'end' }))
  await isUnharmed(t)
})

void t.test('good frames with some bytes changed, in pieces of any size', async (t) => {
  const random = seededRandom('changed frames')
  const changed = Array.from({ length: 1200 }, (_, index) => {
    const frame = Buffer.concat([
      frames[index % frames.length] ?? Buffer.alloc(0),
      queryFrame('temp'),
    ])
    for (let flips = 1 + random.below(6); flips > 0; flips--)
      frame.writeUInt8(random.below(256), random.below(frame.length))
    return frame
  })
  const before = gateway.meta.requests.length
  await inWaves(changed, 100, (bytes) =>
    throwAt(bytes, { inPiecesOf: 1 + random.below(bytes.length) }),
  )
  for (const { argument } of gateway.meta.requests.slice(before)) {
    const isWhole = argument.length >= 20 && argument.at(-1) === 0 && argument.at(-2) === 0
    if (!isWhole) t.fail(`forwarded ${argument.toString('hex')}`)
  }
  await isUnharmed(t)
})

void t.test('W-10, W-11: broken and oversized frames are closed by the gateway', async (t) => {
  await inWaves(
    brokenFrames.filter(([what]) => !/native header/.test(what)),
    50,
    async ([what, bytes]) => {
      t.equal((await throwAt(bytes, { how: 'wait' })).length, 0, what)
    },
  )
  await isUnharmed(t)
})

void t.test(
  'W-16: 500 slow frames at once are closed after their time, and others go on',
  async (t) => {
    const slow = Array.from({ length: 500 }, (_, index) => frames[index % frames.length])
    const all = inWaves(slow, 500, (frame) =>
      throwAt((frame ?? Buffer.alloc(0)).subarray(0, 40), { how: 'wait' }),
    )
    const state = { isDone: false }
    const closing = all.then(() => {
      state.isDone = true
    })
    let served = 0
    while (!state.isDone) if (await gateway.serves()) served++
    await closing
    t.ok(served > 3, `${served} queries were served meanwhile`)
    t.ok((await gateway.metric(/frames_rejected_total\{.*"slow-frame"/)) >= 500)
    await isUnharmed(t)
  },
)

void t.test('resets right after connecting, amid requests, and before the answers', async (t) => {
  const many = Buffer.concat(Array.from({ length: 50 }, () => queryFrame('temp')))
  const storm = Array.from({ length: 1500 }, (_, index) => index)
  await inWaves(storm, 150, async (index) => {
    const part = many.subarray(0, (index * 37) % many.length)
    await throwAt(index % 3 === 0 ? Buffer.alloc(0) : part, { how: 'reset' })
  })
  await isUnharmed(t)
})

void t.test('W-14: half-closed sockets that never close are closed by the gateway', async (t) => {
  const open: Socket[] = []
  for (let index = 0; index < 300; index++) {
    const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.on('error', () => undefined)
    socket.once('connect', () => {
      if (index % 2 === 0) socket.write(queryFrame('temp'))
      socket.end()
    })
    open.push(socket.resume())
  }
  await until(() => open.every((socket) => socket.readableEnded))
  t.ok(open.every((socket) => socket.bytesRead > 0 || socket.readableEnded))
  for (const socket of open) socket.destroy()
  const deaf = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('error', () => undefined)
      await new Promise((resolve) => {
        socket.once('connect', resolve)
      })
      socket.write(Buffer.from('garbage that ends the connection'))
      return socket.resume()
    }),
  )
  await until(() => gateway.files() <= filesAtRest)
  t.pass('nothing waits for the other side')
  for (const socket of deaf) socket.destroy()
  await isUnharmed(t)
})

void t.test('after all of it the gateway ends in order', async (t) => {
  t.equal(await gateway.stop(), 0)
})
