/**
 * The TLS listener of the gateway (gateway.md X-1), with certificates made here and the client that
 * Node brings: the same answers as on the plain port, client certificates, renewal without restart,
 * and handshakes that never end.
 */
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { type Socket, connect } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls'
import t, { type Test } from 'tap'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { decodeResult } from '../../cluster/protocol/frame.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { gatewayConfig } from '../../gateway/config.ts'
import { tlsProblems } from '../../gateway/tls-options.ts'
import { makeAuthority, opensslMissing } from '../support/certificates.ts'
import { startGatewayProcess } from '../support/gateway-outside.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import {
  FrameClient,
  type GatewayWorld,
  queryFrame,
  startWorld,
  until,
} from '../support/gateway-world.ts'
import { freePort } from '../support/ports.ts'

t.setTimeout(120_000)
const needed = { skip: opensslMissing }

async function world(
  t: Test,
  files: { readonly certFile: string; readonly keyFile: string },
  flags: Readonly<Record<string, string>> = {},
): Promise<GatewayWorld> {
  const started = await startWorld({
    'tls.host': '127.0.0.1',
    'tls.port': '0',
    'tls.certFile': files.certFile,
    'tls.keyFile': files.keyFile,
    ...flags,
  })
  const meta = await startFakeMeta(() => ({ error: 'ERR_OK', appId: 5 }))
  t.teardown(async () => {
    await started.close()
    await meta.close()
  })
  await started.map('temp', [meta.address])
  return started
}

/** Resolves to undefined when the gateway lets nobody in. */
async function dial(
  running: GatewayWorld,
  options: ConnectionOptions,
): Promise<{ readonly client: FrameClient; readonly socket: TLSSocket } | undefined> {
  const port = running.gateway.tlsPort ?? 0
  const socket = tlsConnect({ port, host: '127.0.0.1', ALPNProtocols: [], ...options })
  const isUp = await new Promise<boolean>((resolve) => {
    socket.once('secureConnect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
  return isUp ? { client: new FrameClient(socket), socket } : undefined
}

/** What is answered; `closed` also when the certificate is refused after the handshake (TLS 1.3). */
async function ask(running: GatewayWorld, options: ConnectionOptions): Promise<number | 'closed'> {
  const dialled = await dial(running, options)
  if (dialled === undefined) return 'closed'
  try {
    return decodeResult(QueryCfgResponse, (await dialled.client.query('temp')).result).appId
  } catch {
    return 'closed'
  } finally {
    dialled.client.destroy()
  }
}

async function refusedCount(running: GatewayWorld, reason: string): Promise<number> {
  const line = new RegExp(`gateway_connections_rejected_total\\{[^}]*"${reason}"[^}]*\\} (\\d+)`)
  return Number(line.exec(await running.metrics.text())?.[1] ?? -1)
}

void t.test('X-1: queries over TLS, beside the plain port', needed, async (t) => {
  const authority = makeAuthority(t.testdir())
  const running = await world(t, authority.sign('gateway'))
  const ca = readFileSync(authority.certFile)
  t.equal(await ask(running, { ca }), 5)
  t.equal(await ask(running, { ca, maxVersion: 'TLSv1.2' }), 5, 'TLS 1.2')
  t.equal(await ask(running, { ca, maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }), 'closed')
  const plain = await running.client()
  t.equal(decodeResult(QueryCfgResponse, (await plain.query('temp')).result).appId, 5)
  plain.destroy()

  const { client, socket } = (await dial(running, { ca })) ?? {}
  if (client === undefined || socket === undefined) throw new Error('no connection')
  const count = 500
  for (let seqid = 0; seqid < count; seqid++) client.send(queryFrame('temp', { seqid }))
  socket.end()
  t.equal((await client.received(count)).length, count, 'W-14: answers behind the half close')
  await until(() => running.gateway.server.connectionCount === 0)
  t.equal(new Set(client.replies.map(({ seqid }) => seqid)).size, count)
})

void t.test('X-1: with an authority clients must show a certificate of it', needed, async (t) => {
  const folder = t.testdir()
  const authority = makeAuthority(folder)
  const other = makeAuthority(folder, 'other')
  const running = await world(t, authority.sign('gateway'), {
    'tls.clientCaFile': authority.certFile,
  })
  const ca = readFileSync(authority.certFile)
  const as = (files: { certFile: string; keyFile: string }): ConnectionOptions => ({
    ca,
    cert: readFileSync(files.certFile),
    key: readFileSync(files.keyFile),
  })
  t.equal(await ask(running, as(authority.sign('client'))), 5)
  t.equal(await ask(running, { ca }), 'closed', 'none')
  t.equal(await ask(running, as(other.sign('stranger'))), 'closed', 'of another authority')
  await until(async () => (await refusedCount(running, 'tls-handshake')) === 2)
  t.equal(running.gateway.server.connectionCount, 0)
})

void t.test('a renewed certificate is shown, a broken one is not', needed, async (t) => {
  const folder = t.testdir()
  const authority = makeAuthority(folder)
  const files = { certFile: join(folder, 'live.pem'), keyFile: join(folder, 'live.key') }
  const first = authority.sign('first')
  const second = authority.sign('second')
  const put = (from: { certFile: string; keyFile: string }): void => {
    for (const kind of ['certFile', 'keyFile'] as const) {
      copyFileSync(from[kind], `${files[kind]}.new`)
      renameSync(`${files[kind]}.new`, files[kind])
    }
  }
  put(first)
  const running = await world(t, files, { 'tls.reloadMs': '100' })
  const ca = readFileSync(authority.certFile)
  const shown = async (): Promise<string> => {
    const dialled = await dial(running, { ca })
    const name = dialled?.socket.getPeerCertificate().subject.CN ?? ''
    dialled?.client.destroy()
    return String(name)
  }
  t.equal(await shown(), 'first')
  const kept = await dial(running, { ca })
  writeFileSync(files.certFile, 'no certificate')
  await new Promise((resolve) => {
    setTimeout(resolve, 300)
  })
  t.equal(await shown(), 'first', 'garbage in the file')
  copyFileSync(second.certFile, files.certFile)
  await new Promise((resolve) => {
    setTimeout(resolve, 300)
  })
  t.equal(await shown(), 'first', 'a certificate whose key is not there yet')
  put(second)
  await until(async () => (await shown()) === 'second')
  const reply = await kept?.client.query('temp')
  t.equal(reply?.errorName, 'ERR_OK', 'connections of before live on')
  kept?.client.destroy()
})

void t.test('who does not finish the handshake, or may not begin it', needed, async (t) => {
  const authority = makeAuthority(t.testdir())
  const running = await world(t, authority.sign('gateway'), {
    'rpc.allowFrom': '127.0.0.1',
    'rpc.proxyFrom': '127.0.0.1',
  })
  const port = running.gateway.tlsPort ?? 0
  const raw = (options: { localAddress?: string } = {}): Socket => {
    const socket = connect({ port, host: '127.0.0.1', ...options })
    socket.on('error', () => undefined)
    return socket
  }
  const closed = async (socket: Socket): Promise<void> => {
    if (socket.destroyed) return
    await new Promise((resolve) => {
      socket.once('close', resolve).resume()
    })
  }
  await closed(raw({ localAddress: '127.0.0.2' }))
  t.equal(await refusedCount(running, 'source-range'), 1, 'outside the ranges')
  const plain = raw()
  plain.write(queryFrame('temp'))
  await closed(plain)
  await until(async () => (await refusedCount(running, 'tls-handshake')) === 1)
  for (let index = 0; index < 50; index++) {
    const socket = raw()
    socket.once('connect', () => socket.resetAndDestroy())
    await closed(socket)
  }
  const silent = raw()
  const ca = readFileSync(authority.certFile)
  t.equal(await ask(running, { ca }), 5, 'a balancer is a client here, and others are served')
  // The time limit of handshakes is 10 s.
  const startedAt = performance.now()
  await closed(silent)
  t.ok(performance.now() - startedAt > 5000, 'it had its time')
  await until(() => running.gateway.server.connectionCount === 0)
})

void t.test('W-18: a PROXY header in front of the handshake', needed, async (t) => {
  const authority = makeAuthority(t.testdir())
  const running = await world(t, authority.sign('gateway'), {
    'tls.proxyFrom': '127.0.0.2',
    'rpc.allowFrom': '127.0.0.1,10.0.0.0/8',
    'limits.connectionsPerSource': '1',
  })
  const ca = readFileSync(authority.certFile)
  const port = running.gateway.tlsPort ?? 0
  /** Writes the header, in pieces of that size, and speaks TLS behind it; undefined when refused. */
  const behind = async (header: string, pieceBytes = 1000): Promise<FrameClient | undefined> => {
    const raw = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2', noDelay: true })
    raw.on('error', () => undefined)
    await new Promise((resolve) => raw.once('connect', resolve))
    for (let at = 0; at < header.length; at += pieceBytes) {
      raw.write(header.slice(at, at + pieceBytes))
      // In one piece the handshake begins in the same chunk.
      if (pieceBytes < header.length) await new Promise((resolve) => setImmediate(resolve))
    }
    const socket = tlsConnect({ socket: raw, ca, host: '127.0.0.1' })
    const isIn = await new Promise<boolean>((resolve) => {
      socket.once('secureConnect', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
    })
    return isIn ? new FrameClient(socket) : undefined
  }
  const header = (ip: string): string => `PROXY TCP4 ${ip} 10.0.0.1 41234 34601\r\n`
  for (const [at, pieceBytes] of [1000, 7, 1].entries()) {
    const client = await behind(header(`10.1.1.${at}`), pieceBytes)
    t.equal((await client?.query('temp'))?.errorName, 'ERR_OK', `in pieces of ${pieceBytes}`)
    if (at > 0) client?.destroy()
  }
  const isEnded = async (client: FrameClient | undefined): Promise<boolean> =>
    client?.query('temp').then(
      () => false,
      () => true,
    ) ?? false
  t.ok(await isEnded(await behind(header('10.1.1.0'))))
  t.equal(await refusedCount(running, 'source-limit'), 1, 'the limit is that of the client')
  t.ok(await isEnded(await behind(header('192.0.2.1'))))
  t.equal(await refusedCount(running, 'source-range'), 1, 'so is the range')
  t.equal(await behind(''), undefined)
  await until(async () => (await refusedCount(running, 'no-proxy-header')) === 1)
  t.equal(await behind('PROXY nonsense\r\n'), undefined)
  await until(async () => (await refusedCount(running, 'bad-proxy-header')) === 1)
  t.equal(await ask(running, { ca }), 5, 'nobody else needs a header')
  await until(() => running.gateway.server.connectionCount <= 1)
})

void t.test('files and options that are no use are told at the start', needed, async (t) => {
  const folder = t.testdir({ 'bad.pem': 'nothing' })
  const authority = makeAuthority(folder)
  const good = authority.sign('gateway')
  const other = authority.sign('other')
  const bad = join(folder, 'bad.pem')
  await t.rejects(world(t, { ...good, certFile: join(folder, 'absent.pem') }), /absent\.pem/)
  await t.rejects(world(t, { ...good, certFile: bad }), /TLS certificate or key/)
  await t.rejects(world(t, { ...good, keyFile: other.keyFile }), /TLS certificate or key/)

  const problems = (text: string): string => {
    const loaded = loadConfig(gatewayConfig, {
      fileText: `zookeeper: { servers: "a:1" }\ntls: ${text}`,
      environment: {},
      environmentPrefix: 'METAPROXY',
      flags: {},
    })
    return loaded.ok ? tlsProblems(loaded.config.tls).join('; ') : loaded.problems.join('; ')
  }
  t.equal(problems('{}'), '')
  t.equal(problems('{ port: 1, certFile: a, keyFile: b }'), '')
  t.match(problems('{ certFile: a }'), /^tls\.port: expected a port/)
  t.match(problems('{ port: 1 }'), /^tls\.certFile: .*; tls\.keyFile: /)

  const { runtime } = new SimulatedWorld({ seed: 1 }).node('a', { ip: '10.0.0.1' })
  const tls = {
    material: { certificate: Buffer.alloc(0), key: Buffer.alloc(0) },
    admits: () => true,
    onFailed: () => undefined,
  }
  const nobody = (): never => {
    throw new Error('a socket')
  }
  await t.rejects(runtime.network.listen({ host: '10.0.0.1', port: 1, tls }, nobody), /simulated/)
  const { network } = nodeRuntime({ log: silentLog })
  await t.rejects(network.listen({ host: '127.0.0.1', port: 0, tls }, nobody), {
    code: 'EOTHER',
    message: /TLS certificate or key/,
  })
})

void t.test(
  'TLS and PROXY headers with workers, which are handed bare connections',
  needed,
  async (t) => {
    const folder = t.testdir({ zookeeper: {} })
    const authority = makeAuthority(folder)
    const { certFile, keyFile } = authority.sign('gateway')
    const tlsPort = await freePort()
    const gateway = await startGatewayProcess(folder, {
      workers: '2',
      'tls.host': '127.0.0.1',
      'tls.port': String(tlsPort),
      'tls.certFile': certFile,
      'tls.keyFile': keyFile,
      'rpc.proxyFrom': '127.0.0.2',
      'limits.connectionsPerSource': '4',
    })
    t.teardown(() => gateway.stop())
    const ca = readFileSync(authority.certFile)
    for (let index = 0; index < 4; index++) {
      const socket = tlsConnect({ port: tlsPort, host: '127.0.0.1', ca })
      const client = new FrameClient(socket)
      t.equal(decodeResult(QueryCfgResponse, (await client.query('temp')).result).appId, 1)
      client.destroy()
    }
    const proxied = await FrameClient.dial(gateway.port, '127.0.0.2')
    proxied.send(Buffer.from('PROXY TCP4 10.1.1.1 10.0.0.1 41234 34601\r\n'))
    t.equal(decodeResult(QueryCfgResponse, (await proxied.query('temp')).result).appId, 1)
    proxied.destroy()
    const bare = await FrameClient.dial(gateway.port, '127.0.0.2')
    await t.rejects(bare.query('temp'), /ended/)
    bare.destroy()
    t.equal(await gateway.stop(), 0)
  },
)
