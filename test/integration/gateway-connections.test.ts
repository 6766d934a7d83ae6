/**
 * Who may connect to the gateway and how long a connection may last, over real sockets: source
 * ranges (gateway.md X-1), balancers with the PROXY header (W-18), limits per address (W-17), idle
 * connections and keep-alive (W-16).
 */
import { connect, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { type FakeMeta, startFakeMeta } from '../support/fake-meta.ts'
import {
  FrameClient,
  type GatewayWorld,
  queryFrame,
  startWorld,
  until,
} from '../support/gateway-world.ts'

t.setTimeout(120_000)

async function world(
  t: Test,
  flags: Readonly<Record<string, string>>,
): Promise<{ readonly world: GatewayWorld; readonly meta: FakeMeta }> {
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 }))
  const started = await startWorld(flags)
  t.teardown(async () => {
    await started.close()
    await meta.close()
  })
  await started.map('temp', [meta.address])
  return { world: started, meta }
}

/** What the gateway said of the table: an error's name, or `closed`. */
async function ask(client: FrameClient, table = 'temp'): Promise<string> {
  try {
    return decodeResult(QueryCfgResponse, (await client.query(table)).result).err
  } catch {
    return 'closed'
  }
}

/** A connection from another address of this machine, with bytes in front of everything. */
async function from(world: GatewayWorld, address: string, first = ''): Promise<FrameClient> {
  const client = await FrameClient.dial(world.gateway.port, address)
  if (first !== '') client.send(Buffer.from(first, 'latin1'))
  return client
}

async function counted(world: GatewayWorld, name: string, label: string): Promise<number> {
  const line = new RegExp(`^${name}\\{[^}]*"${label}"[^}]*\\} (\\d+)$`, 'm')
  return Number(line.exec(await world.metrics.text())?.[1] ?? -1)
}

const refused = 'gateway_connections_rejected_total'

void t.test(
  'X-1: a connection from outside the ranges is closed at once and counted',
  async (t) => {
    const { world: running } = await world(t, { 'rpc.allowFrom': '127.0.0.2,127.0.1.0/24' })
    for (const [address, expected] of [
      ['127.0.0.2', 'ERR_OK'],
      ['127.0.1.9', 'ERR_OK'],
      ['127.0.0.3', 'closed'],
      ['127.0.0.1', 'closed'],
    ] as const) {
      const client = await from(running, address)
      t.equal(await ask(client), expected, address)
      client.destroy()
    }
    t.equal(await counted(running, refused, 'source-range'), 2)
  },
)

void t.test('W-17: connections of one address are limited, and the others are not', async (t) => {
  const { world: running } = await world(t, { 'limits.connectionsPerSource': '2' })
  const one = await from(running, '127.0.0.2')
  const two = await from(running, '127.0.0.2')
  const three = await from(running, '127.0.0.2')
  const other = await from(running, '127.0.0.3')
  t.equal(await ask(three), 'closed')
  for (const client of [one, two, other]) t.equal(await ask(client), 'ERR_OK')
  t.equal(await counted(running, refused, 'source-limit'), 1)
  one.destroy()
  await until(() => running.gateway.server.connectionCount === 2)
  const four = await from(running, '127.0.0.2')
  t.equal(await ask(four), 'ERR_OK', 'a place that became free')
  for (const client of [two, other, four]) client.destroy()
})

void t.test('W-18: behind a balancer limits and ranges go by the real address', async (t) => {
  const { world: running } = await world(t, {
    'rpc.proxyFrom': '127.0.0.2',
    'rpc.allowFrom': '10.0.0.0/8',
    'limits.connectionsPerSource': '1',
  })
  const v1 = (source: string): string => `PROXY TCP4 ${source} 10.0.0.1 41234 34601\r\n`
  const one = await from(running, '127.0.0.2', v1('10.1.1.1'))
  t.equal(await ask(one), 'ERR_OK')
  const again = await from(running, '127.0.0.2', v1('10.1.1.1'))
  t.equal(await ask(again), 'closed', 'the same address once more')
  const other = await from(running, '127.0.0.2', v1('10.1.1.2'))
  t.equal(await ask(other), 'ERR_OK', 'another address, the same balancer')
  const outside = await from(running, '127.0.0.2', v1('11.1.1.1'))
  t.equal(await ask(outside), 'closed', 'an address outside the ranges')
  const unknown = await from(running, '127.0.0.2', 'PROXY UNKNOWN\r\n')
  t.equal(await ask(unknown), 'closed', 'nobody knows whose: judged by the balancer itself')
  const check = await from(
    running,
    '127.0.0.2',
    Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex').toString('latin1'),
  )
  t.equal(await ask(check), 'ERR_OK', 'a health check of the balancer')
  t.equal(await counted(running, refused, 'source-limit'), 1)
  t.equal(await counted(running, refused, 'source-range'), 2)
  for (const client of [one, other, check]) client.destroy()
  await until(() => running.gateway.server.connectionCount === 0)
  const back = await from(running, '127.0.0.2', v1('10.1.1.1'))
  t.equal(await ask(back), 'ERR_OK', 'its place is free again')
  back.destroy()
})

void t.test(
  'W-18: the header, cut anywhere, and the first query in one piece or many',
  async (t) => {
    const { world: running } = await world(t, { 'rpc.proxyFrom': '127.0.0.0/8' })
    const header = Buffer.from('0d0a0d0a000d0a515549540a2111000ccb0071070a000001a1128729', 'hex')
    const bytes = Buffer.concat([header, queryFrame('temp', { seqid: 5 })])
    for (const size of [bytes.length, header.length, 16, 5, 1]) {
      const client = await from(running, '127.0.0.1')
      client.socket.setNoDelay(true)
      for (let at = 0; at < bytes.length; at += size) {
        client.send(bytes.subarray(at, at + size))
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
      }
      t.equal((await client.received(1))[0]?.seqid, 5, `pieces of ${size}`)
      client.destroy()
    }
  },
)

void t.test('W-18: a balancer that sends no header, or none in time, is turned away', async (t) => {
  const { world: running } = await world(t, {
    'rpc.proxyFrom': '127.0.0.2',
    'limits.proxyHeaderMs': '300',
    'limits.connections': '3',
  })
  const bare = await from(running, '127.0.0.2')
  t.equal(await ask(bare), 'closed')
  t.equal(await counted(running, refused, 'no-proxy-header'), 1)
  const wrong = await from(running, '127.0.0.2', 'PROXY TCP9 1.1.1.1 1.1.1.1 1 1\r\n')
  t.equal(await ask(wrong), 'closed')
  t.equal(await counted(running, refused, 'bad-proxy-header'), 1)
  const spoofed = await from(running, '127.0.0.3', 'PROXY TCP4 10.0.0.1 10.0.0.1 1 1\r\n')
  t.equal(await ask(spoofed), 'closed', 'nobody else may send a header')

  const looking = await from(running, '127.0.0.2')
  looking.socket.end()
  await looking.closed
  const slow = await Promise.all(
    ['PRO', '', 'PROXY TCP4 10'].map((first) => from(running, '127.0.0.2', first)),
  )
  const fourth = await from(running, '127.0.0.3')
  t.equal(await ask(fourth), 'closed', 'those that are arriving count as connections')
  await until(() => slow.every((client) => client.hasEnded))
  for (const client of slow) client.destroy()
  t.equal(await counted(running, refused, 'slow-proxy-header'), 3)
  t.equal(await counted(running, refused, 'limit'), 1)
  const direct = await from(running, '127.0.0.3')
  t.equal(await ask(direct), 'ERR_OK', 'without a balancer there is no header')
  direct.destroy()
})

void t.test('W-18: connections that are still arriving do not outlive the gateway', async (t) => {
  const { world: running } = await world(t, { 'rpc.proxyFrom': '127.0.0.2' })
  const arriving = await from(running, '127.0.0.2', 'PROXY')
  const client = await from(running, '127.0.0.1')
  t.equal(await ask(client), 'ERR_OK')
  client.destroy()
  await running.gateway.close()
  await until(() => arriving.hasEnded)
  arriving.destroy()
  t.pass('closed with the gateway')
})

void t.test(
  'W-17, S7: an address that asks for many unknown tables is told to come later, not "no table"',
  async (t) => {
    const { world: running, meta } = await world(t, {
      'limits.unknownTablesPerSecond': '1',
      'limits.unknownTablesBurst': '5',
      'routing.lookupTimeoutMs': '5000',
    })
    for (let index = 0; index < 30; index++) await running.map(`mapped-${index}`, [meta.address])
    const client = await from(running, '127.0.0.2')
    for (let index = 0; index < 30; index++)
      t.equal(await ask(client, `mapped-${index}`), 'ERR_OK', 'mapped tables cost nothing')
    const answers: string[] = []
    for (let index = 0; index < 60; index++) answers.push(await ask(client, `unknown-${index}`))
    const unknown = answers.filter((answer) => answer === 'ERR_OBJECT_NOT_FOUND').length
    const limited = answers.filter((answer) => answer === 'ERR_SERVICE_NOT_ACTIVE').length
    t.equal(unknown + limited, 60)
    t.ok(unknown >= 5 && unknown < 60, `${unknown} were looked up`)
    t.ok(answers.indexOf('ERR_SERVICE_NOT_ACTIVE') >= 5, 'the burst comes first')
    t.equal(await counted(running, 'gateway_requests_total', 'limited'), limited)
    t.equal(await ask(client, 'unknown-0'), 'ERR_OBJECT_NOT_FOUND', 'known to be unknown: free')
    t.equal(await ask(client, 'mapped-0'), 'ERR_OK', 'and tables in memory are served')
    const other = await from(running, '127.0.0.3')
    t.equal(await ask(other, 'unknown-x'), 'ERR_OBJECT_NOT_FOUND', 'another address')
    client.destroy()
    other.destroy()
  },
)

void t.test('W-16: an idle connection stays, unless there is a limit', async (t) => {
  const { world: running } = await world(t, { 'limits.idleMs': '2500' })
  const idle = await from(running, '127.0.0.2')
  const busy = await from(running, '127.0.0.2')
  t.equal(await ask(idle), 'ERR_OK')
  while (!idle.hasEnded) {
    t.equal(await ask(busy), 'ERR_OK')
    await new Promise((resolve) => {
      setTimeout(resolve, 200)
    })
  }
  t.equal(await ask(busy), 'ERR_OK', 'one with requests is not idle')
  t.equal(await counted(running, 'gateway_frames_rejected_total', 'idle'), 1)
  idle.socket.end()
  busy.destroy()
})

void t.test(
  'W-16: the keep-alive of client connections is set to 60 s',
  { skip: process.platform === 'linux' ? false : 'missing /proc/net/tcp' },
  async (t) => {
    const { world: running } = await world(t, {})
    const client = await from(running, '127.0.0.1')
    t.equal(await ask(client), 'ERR_OK')
    const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0')
    const ends = `0100007F:${hex(running.gateway.port)} 0100007F:${hex(client.socket.localPort ?? 0)}`
    let due = 0
    await until(() => {
      const line = readFileSync('/proc/net/tcp', 'utf8')
        .split('\n')
        .find((text) => text.includes(ends))
      const [, timer = '', when = ''] = / (\d\d):([0-9A-F]{8}) [0-9A-F]{8} /.exec(line ?? '') ?? []
      due = timer === '02' ? parseInt(when, 16) / 100 : 0
      return due > 0
    })
    t.ok(due > 30 && due <= 61, `next probe in ${due} s`)
    client.destroy()
  },
)

void t.test('a flood of connections that are refused leaves nothing behind', async (t) => {
  const { world: running } = await world(t, { 'rpc.allowFrom': '127.0.0.2' })
  const sockets: Socket[] = []
  for (let index = 0; index < 500; index++) {
    const socket = connect({ port: running.gateway.port, host: '127.0.0.1' })
    socket.on('error', () => undefined)
    sockets.push(socket)
  }
  await Promise.all(
    sockets.map(async (socket) => {
      if (!socket.destroyed)
        await new Promise((resolve) => {
          socket.once('close', resolve).resume()
        })
    }),
  )
  t.equal(await counted(running, refused, 'source-range'), 500)
  t.equal(running.gateway.server.connectionCount, 0)
  const client = await from(running, '127.0.0.2')
  t.equal(await ask(client), 'ERR_OK')
  client.destroy()
})
