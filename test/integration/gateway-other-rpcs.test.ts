/**
 * RPCs besides the query through the gateway (gateway.md 6): bytes that the official Go admin client
 * sent and was answered (test/vectors/requests_admin.json), over real sockets, with scripted meta
 * servers that are followers, dead, silent or loading.
 */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import {
  RequestFramer,
  type ReplyFrame,
  type RequestFrame,
  encodeReply,
  encodeRequest,
} from '../../cluster/protocol/frame.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import type { Log, LogFields } from '../../cluster/runtime/runtime.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { OtherRpcs } from '../../gateway/clients/other-rpcs.ts'
import { RpcPolicy } from '../../gateway/clients/rpc-policy.ts'
import { notPossible } from '../../gateway/routing/new-tables.ts'
import type { Lookup } from '../../gateway/routing/table-entry.ts'
import { type FakeAnswer, type FakeMeta, startFakeMeta, withSeqid } from '../support/fake-meta.ts'
import { NativeClient, nativeRequest } from '../support/native-client.ts'
import {
  FrameClient,
  type GatewayWorld,
  root,
  startWorld,
  until,
} from '../support/gateway-world.ts'

t.setTimeout(120_000)

interface Vector {
  readonly name: string
  readonly hex: string
  readonly extra: { readonly reply_hex: string }
}
const vectors = (
  JSON.parse(readFileSync('test/vectors/requests_admin.json', 'utf8')) as { vectors: Vector[] }
).vectors

interface Recorded {
  readonly what: string
  readonly frame: RequestFrame
  readonly bytes: Buffer
  readonly reply: Buffer
}
const recorded: readonly Recorded[] = vectors.flatMap(({ name, hex, extra }) => {
  const bytes = Buffer.from(hex, 'hex')
  const framer = new RequestFramer({ maxBodyBytes: 1 << 20, maxMetaBytes: 4096 })
  framer.push(bytes)
  const frame = framer.next()
  const reply = Buffer.from(extra.reply_hex, 'hex')
  return frame === undefined ? [] : [{ what: name, frame, bytes, reply }]
})
const aboutTables = recorded.filter(({ frame }) => {
  try {
    return new RpcPolicy([frame.name]).judge(frame.name, '').kind === 'allowed'
  } catch {
    return false
  }
})
const names = [...new Set(aboutTables.map(({ frame }) => frame.name))]

function recordedOf(name: string): Recorded {
  const found = recorded.find(({ frame }) => frame.name === name)
  if (found === undefined) throw new Error(`nothing recorded of ${name}`)
  return found
}
const WRITE = 'RPC_CM_UPDATE_APP_ENV'
const READ = 'RPC_CM_QUERY_DUPLICATION'

/** A meta server's answer with nothing but an error in its body. */
function bodyError(name: string, error: string): Buffer {
  const judgement = new RpcPolicy([name]).judge(name, '')
  if (judgement.kind !== 'allowed') throw new Error(name)
  return encodeReply(name, 0, 'ERR_OK', judgement.rpc.resultOf(error))
}
const says =
  (error: string): ((request: RequestFrame) => FakeAnswer) =>
  (request) => ({ frame: bodyError(request.name, error) })

interface Line extends LogFields {
  readonly rpc: string
  readonly outcome: string
}

/** Keeps the lines of the audit. */
function auditLog(): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = []
  const keep = (message: string, fields?: LogFields): void => {
    if (message === 'rpc audit') lines.push(fields as Line)
  }
  const log: Log = { ...silentLog, info: keep, warn: keep, child: () => log }
  return { log, lines }
}

async function world(
  t: Test,
  answers: readonly ((request: RequestFrame) => FakeAnswer)[],
  flags: Readonly<Record<string, string>> = { 'rpcPolicy.allow': names.join(',') },
): Promise<{
  readonly world: GatewayWorld
  readonly metas: readonly FakeMeta[]
  readonly client: FrameClient
  readonly lines: readonly Line[]
  /** How many requests each meta got. */
  readonly asked: () => readonly number[]
}> {
  const metas = await Promise.all(answers.map((answer) => startFakeMeta(answer)))
  const { log, lines } = auditLog()
  const started = await startWorld(flags, 30_000, log)
  t.teardown(async () => {
    await started.close()
    await Promise.all(metas.map((meta) => meta.close()))
  })
  await started.map(
    'temp',
    metas.map((meta) => meta.address),
  )
  const client = await started.client()
  return {
    world: started,
    metas,
    client,
    lines,
    asked: () => metas.map((meta) => meta.requests.length),
  }
}

async function send(client: FrameClient, bytes: Buffer): Promise<ReplyFrame> {
  const count = client.replies.length + 1
  client.send(bytes)
  const reply = (await client.received(count))[count - 1]
  if (reply === undefined) throw new Error('no reply')
  return reply
}

function request(name: string, options: { seqid?: number; timeoutMs?: number } = {}): Buffer {
  const { argument } = recordedOf(name).frame
  const { seqid = 7, timeoutMs = 0 } = options
  return encodeRequest({ ...emptyHeader, clientTimeoutMs: timeoutMs }, name, seqid, argument)
}

function errorOf(reply: ReplyFrame): string {
  if (reply.errorName !== 'ERR_OK') return `header ${reply.errorName}`
  return /ERR_[A-Z_]+/.exec(reply.result.toString('latin1'))?.[0] ?? ''
}

void t.test('W-8: nothing of it is served unless the configuration says so', async (t) => {
  const { client, lines, asked } = await world(t, [says('ERR_OK')], {})
  for (const { what, bytes, frame } of recorded) {
    if (/QUERY_PARTITION_CONFIG/.test(frame.name)) continue
    const reply = await send(client, bytes)
    const got = [reply.errorName, reply.name, reply.seqid, reply.result.length]
    t.same(got, ['ERR_HANDLER_NOT_FOUND', `${frame.name}_ACK`, frame.seqid, 0], what)
  }
  t.same(asked(), [0])
  t.same(lines, [])
})

void t.test(
  'an allowed RPC is relayed byte for byte in both directions, and audited',
  async (t) => {
    let reply: Buffer = Buffer.alloc(0)
    const { client, metas, lines } = await world(t, [() => ({ frame: reply })])
    for (const { what, bytes, frame, reply: answer } of aboutTables) {
      reply = answer
      const got = await send(client, bytes)
      t.same(got.bytes, withSeqid(answer, frame.seqid), what)
      const seen = metas[0]?.requests.at(-1)
      t.same(seen?.argument, frame.argument, `${what}: the args`)
      t.equal(seen?.name, frame.name)
      const line = lines.at(-1)
      t.match(line, {
        rpc: frame.name,
        table: 'temp',
        cluster: 'c1',
        outcome: errorOf(got),
        meta: metas[0]?.address,
        peer: `127.0.0.1:${client.socket.localPort}`,
      })
      t.type(line?.['ms'], 'number')
    }
    t.equal(lines.length, aboutTables.length)
    t.ok(names.length >= 15, `${names.length} RPCs`)
    const strange = encodeReply(READ, 0, 'ERR_OK', Buffer.from('0b0000000000016100', 'hex'))
    reply = strange
    t.same((await send(client, request(READ))).bytes, withSeqid(strange, 7), 'a result of any form')
    t.equal(lines.at(-1)?.outcome, 'unreadable answer')
    reply = encodeReply(READ, 0, 'ERR_HANDLER_NOT_FOUND', undefined)
    t.same((await send(client, request(READ))).bytes, withSeqid(reply, 7), 'a header error')
    t.equal(lines.at(-1)?.outcome, 'ERR_HANDLER_NOT_FOUND')
  },
)

void t.test('W-9: unreadable args are refused and not forwarded', async (t) => {
  const { client, asked, lines } = await world(t, [says('ERR_OK')])
  for (const name of [READ, WRITE]) {
    const { argument } = recordedOf(name).frame
    for (let cut = 0; cut < argument.length; cut++) {
      const bytes = encodeRequest(emptyHeader, name, cut, Buffer.from(argument.subarray(0, cut)))
      const reply = await send(client, bytes)
      if (reply.errorName !== 'ERR_INVALID_DATA' || reply.seqid !== cut || reply.result.length > 0)
        t.fail(`${name} cut at ${cut}: ${reply.errorName}`)
    }
    const more = encodeRequest(emptyHeader, name, 1, Buffer.concat([argument, Buffer.from([0])]))
    t.equal((await send(client, more)).errorName, 'ERR_INVALID_DATA', 'one byte more')
  }
  t.same(asked(), [0])
  t.ok(lines.every(({ outcome }) => outcome === 'unreadable'))
  t.equal(errorOf(await send(client, request(READ))), 'ERR_OK', 'the connection still works')
})

void t.test('ranges: refused elsewhere as if it did not exist, and audited', async (t) => {
  const {
    world: running,
    lines,
    asked,
  } = await world(t, [says('ERR_OK')], {
    'rpcPolicy.allow': `${WRITE} from 127.0.0.2/32 10.0.0.0/8,${READ}`,
  })
  const inside = await FrameClient.dial(running.gateway.port, '127.0.0.2')
  const outside = await FrameClient.dial(running.gateway.port, '127.0.0.3')
  t.equal(errorOf(await send(inside, request(WRITE))), 'ERR_OK')
  t.equal(errorOf(await send(outside, request(WRITE))), 'header ERR_HANDLER_NOT_FOUND')
  t.equal(errorOf(await send(outside, request(READ))), 'ERR_OK')
  t.same(
    lines.map(({ rpc, outcome, table }) => [rpc, outcome, table]),
    [
      [WRITE, 'ERR_OK', 'temp'],
      [WRITE, 'refused by source', 'temp'],
      [READ, 'ERR_OK', 'temp'],
    ],
  )
  t.same(asked(), [2])
  for (let index = 0; index < 200; index++) await send(outside, request(WRITE))
  t.ok(lines.length < 100, 'a source that is refused all the time does not fill the log')
  inside.destroy()
  outside.destroy()
})

void t.test('W-12: followers are passed over, and a forward is never relayed', async (t) => {
  const forward = says('ERR_FORWARD_TO_OTHERS')
  const { client, metas, asked } = await world(t, [forward, forward, says('ERR_OK')])
  t.equal(errorOf(await send(client, request(WRITE))), 'ERR_OK')
  t.equal(metas[2]?.requests.length, 1, 'the leader got it once')
  const [, , leader] = metas
  if (leader !== undefined) leader.answer = forward
  const before = asked().reduce((sum, count) => sum + count, 0)
  const reply = await send(client, request(WRITE, { timeoutMs: 1000 }))
  t.equal(errorOf(reply), 'ERR_SERVICE_NOT_ACTIVE', 'nobody leads')
  const after = asked().reduce((sum, count) => sum + count, 0)
  t.ok(after - before <= 21, 'asked in moderation')
})

void t.test('an election: the write waits for its leader and is carried out once', async (t) => {
  const forward = says('ERR_FORWARD_TO_OTHERS')
  const { client, metas } = await world(t, [forward, forward])
  const asking = send(client, request(WRITE))
  await until(() => (metas[1]?.requests.length ?? 0) >= 2)
  let carriedOut = 0
  if (metas[1] !== undefined)
    metas[1].answer = (asked) => {
      carriedOut++
      return says('ERR_OK')(asked)
    }
  t.equal(errorOf(await asking), 'ERR_OK')
  t.equal(carriedOut, 1)
})

void t.test('a write whose fate is unknown is never sent again', async (t) => {
  const { client, metas, asked, lines } = await world(t, [() => 'reset', says('ERR_OK')])
  t.equal(errorOf(await send(client, request(WRITE))), 'ERR_TIMEOUT', 'reset')
  t.same(asked(), [1, 0])
  t.match(lines.at(-1), { outcome: 'ERR_TIMEOUT', why: /outcome unknown/ })
  const [first] = metas
  if (first === undefined) throw new Error('a meta')
  first.answer = () => 'silence'
  const startedAt = performance.now()
  t.equal(errorOf(await send(client, request(WRITE, { timeoutMs: 1000 }))), 'ERR_TIMEOUT')
  t.ok(performance.now() - startedAt > 900, 'after all the time there was')
  t.same(asked(), [2, 0])
  const half = says('ERR_OK')
  first.answer = (got) => {
    const answer = half(got)
    return 'frame' in (answer as object)
      ? { raw: (answer as { frame: Buffer }).frame.subarray(0, 20), thenClose: true }
      : answer
  }
  t.equal(errorOf(await send(client, request(WRITE))), 'ERR_TIMEOUT', 'half an answer')
  first.answer = () => ({ raw: encodeReply('RPC_OTHER', 1, 'ERR_OK', undefined) })
  t.equal(errorOf(await send(client, request(WRITE))), 'ERR_TIMEOUT', 'an answer to another RPC')
  first.answer = () => ({ raw: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') })
  t.equal(errorOf(await send(client, request(WRITE))), 'ERR_TIMEOUT', 'garbage')
  t.same(asked(), [5, 0], 'each was sent once')
})

void t.test(
  'a write goes on to the next meta when the first one cannot have seen it',
  async (t) => {
    const { client, metas } = await world(t, [says('ERR_OK'), says('ERR_OK')])
    await metas[0]?.close()
    t.equal(errorOf(await send(client, request(WRITE))), 'ERR_OK')
    t.equal(metas[1]?.requests.length, 1)
    await metas[1]?.close()
    t.equal(errorOf(await send(client, request(WRITE))), 'ERR_SERVICE_NOT_ACTIVE', 'all are dead')
  },
)

void t.test('a read is asked of the others when a meta is of no use', async (t) => {
  for (const [what, answer] of [
    ['reset', 'reset'],
    ['silent', 'silence'],
  ] as const)
    await t.test(what, async (t) => {
      const { client, asked } = await world(t, [() => answer, says('ERR_OK')])
      t.equal(errorOf(await send(client, request(READ))), 'ERR_OK')
      t.same(asked(), [1, 1])
    })
})

void t.test(
  'M-3: a loading leader is asked again, and its word is relayed in the end',
  async (t) => {
    const { client, metas } = await world(t, [says('ERR_SERVICE_NOT_ACTIVE')])
    const asking = send(client, request(WRITE))
    await until(() => (metas[0]?.requests.length ?? 0) >= 2)
    if (metas[0] !== undefined) metas[0].answer = says('ERR_OK')
    t.equal(errorOf(await asking), 'ERR_OK')
    if (metas[0] !== undefined) metas[0].answer = says('ERR_UNDER_RECOVERY')
    t.equal(errorOf(await send(client, request(WRITE, { timeoutMs: 1000 }))), 'ERR_UNDER_RECOVERY')
  },
)

void t.test(
  'tables that cannot be routed: the answer says so in the response struct',
  async (t) => {
    const { client, world: running, lines, asked } = await world(t, [says('ERR_OK')])
    const about = (table: string): Buffer => {
      const { argument } = recordedOf(READ).frame
      const from = Buffer.from(Array.from('\0\0\0\u0004temp', (letter) => letter.charCodeAt(0)))
      const to = Buffer.concat([Buffer.alloc(4), Buffer.from(table)])
      to.writeUInt32BE(table.length)
      const at = argument.indexOf(from)
      const changed = [argument.subarray(0, at), to, argument.subarray(at + from.length)]
      return encodeRequest(emptyHeader, READ, 3, Buffer.concat(changed))
    }
    await running.editor.create(`${root}/broken`, Buffer.from('{"cluster":'))
    t.equal(errorOf(await send(client, about('nobody'))), 'ERR_OBJECT_NOT_FOUND')
    t.equal(errorOf(await send(client, about('a/b'))), 'ERR_OBJECT_NOT_FOUND')
    t.equal(errorOf(await send(client, about('broken'))), 'ERR_INVALID_DATA')
    t.same(
      lines.map(({ outcome }) => outcome),
      ['ERR_OBJECT_NOT_FOUND', 'ERR_OBJECT_NOT_FOUND', 'ERR_INVALID_DATA'],
    )
    t.same(asked(), [0])
  },
)

void t.test('names of meta servers are resolved', async (t) => {
  const { client, world: running, metas } = await world(t, [says('ERR_OK')])
  await running.map('temp', ['no-such-host.invalid:1', `localhost:${metas[0]?.port ?? 0}`])
  t.equal(errorOf(await send(client, request(READ))), 'ERR_OK')
})

void t.test('W-19: a native client is answered in kind', async (t) => {
  const { world: running, metas, lines } = await world(t, [() => ({ frame: answer })])
  const answer = recordedOf(READ).reply
  const client = new NativeClient(running.gateway.port)
  client.send(nativeRequest(Rpc.QUERY_DUPLICATION, { appName: 'temp' }, { id: 77n }))
  const [reply] = await client.received(1)
  t.match(reply?.header, { id: 77n, name: `${READ}_ACK`, errorName: 'ERR_OK' })
  const result = answer.subarray(answer.indexOf(`${READ}_ACK`) + READ.length + 8)
  t.same(reply?.body, result, 'the response struct, byte for byte')
  t.same(metas[0]?.requests[0]?.argument.subarray(-6), Buffer.from('74656d700000', 'hex'))
  client.send(nativeRequest(Rpc.LIST_NODES, { status: 0 }))
  t.match((await client.received(2))[1]?.header, { errorName: 'ERR_HANDLER_NOT_FOUND' })
  t.equal(lines.length, 1)
  client.destroy()
})

void t.test('drain: a call on its way is answered before the connection ends', async (t) => {
  const { client, world: running, metas } = await world(t, [says('ERR_SERVICE_NOT_ACTIVE')])
  const asking = send(client, request(WRITE))
  await until(() => (metas[0]?.requests.length ?? 0) >= 1)
  const closing = running.gateway.close()
  if (metas[0] !== undefined) metas[0].answer = says('ERR_OK')
  t.equal(errorOf(await asking), 'ERR_OK')
  client.socket.end()
  await closing
})

void t.test(
  'while a redirect covers the table writes are refused, and reads are not',
  async (t) => {
    const meta = await startFakeMeta(says('ERR_OK'))
    t.teardown(() => meta.close())
    const { log, lines } = auditLog()
    const redirected = { mappedCluster: 'c1', plan: 'p1' }
    const route = { table: 'temp', cluster: 'c2', metas: [meta.address], group: 'g' }
    const stale = { kind: 'serve' } as const
    const lookup: Lookup = { kind: 'route', route: { ...route, ...redirected, stale } }
    const rpcs = new OtherRpcs(
      nodeRuntime({ log }),
      {
        routes: {
          find: () => lookup,
          load: (_table, _budgetMs, tell) => tell(lookup),
          epoch: 1,
          revision: 1,
          routeCount: 1,
          negativeCount: 0,
          stalenessMs: () => 0,
          outage: false,
          close: () => undefined,
        },
        newTables: {
          place: async () => notPossible('unavailable', ''),
          map: async () => notPossible('unavailable', ''),
        },
        leaderOf: () => undefined,
        budgetMs: () => 4000,
        count: () => undefined,
      },
      { allow: [READ, WRITE], defaultCluster: undefined, connectTimeoutMs: 1000 },
    )
    const ask = (name: string): Promise<Buffer> =>
      new Promise((resolve) => {
        rpcs.onRequest(
          {
            client: { peer: '127.0.0.1:1', source: '127.0.0.1' },
            localAddress: '',
            answer: (bytes) => resolve(bytes),
            skip: () => undefined,
          },
          { ...recordedOf(name).frame },
        )
      })
    t.match((await ask(WRITE)).toString('latin1'), /ERR_OK.*ERR_BUSY/s)
    t.match((await ask(READ)).toString('latin1'), /ERR_OK.*ERR_OK/s)
    t.match(lines[0], { outcome: 'ERR_BUSY', why: /being switched by plan p1/, cluster: 'c2' })
    meta.answer = () => 'silence'
    const many = Array.from({ length: 100 }, () => ask(READ))
    await until(() => rpcs.running === 64)
    rpcs.close()
    const answers = (await Promise.all(many)).map((bytes) => bytes.toString('latin1'))
    t.equal(answers.filter((text) => /ERR_BUSY/.test(text)).length, 36, 'no more than 64 at a time')
    t.equal(answers.filter((text) => /ERR_SERVICE_NOT_ACTIVE/.test(text)).length, 64)
    t.equal(rpcs.running, 0)
  },
)
