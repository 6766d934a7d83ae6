/** The contract of clock, timers and network (`cluster/runtime/runtime.ts`) on both runtimes. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { RuntimeError, Socket, SocketHandlers } from '../../cluster/runtime/runtime.ts'
import { subjects, type Subject } from './runtime-subjects.ts'

/** Collects what happens on a socket and lets a test wait for it. */
class Peer {
  readonly events: string[] = []
  receivedBytes = 0
  cause: RuntimeError | undefined
  readonly #chunks: Buffer[] = []
  #changed: (() => void)[] = []

  handlers(): SocketHandlers {
    return {
      onConnect: () => this.#add('connect'),
      onData: (chunk) => {
        // It may be lent.
        this.#chunks.push(Buffer.from(chunk))
        this.receivedBytes += chunk.length
        this.#wake()
      },
      onEnd: () => this.#add('end'),
      onDrain: () => this.#add('drain'),
      onClose: (cause) => {
        this.cause = cause
        this.#add('close')
      },
    }
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#changed.push(resolve))
  }

  #add(event: string): void {
    this.events.push(event)
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#changed.splice(0)) wake()
  }
}

/** `lends`: both ends lend their chunks, which also reads and writes in another way on Node. */
async function connected(subject: Subject, lends: boolean) {
  const server = new Peer()
  const client = new Peer()
  const accepted: Socket[] = []
  const { network } = subject.runtime
  const listener = await network.listen({ host: subject.host, port: 0, lends }, (socket) => {
    accepted.push(socket)
    return server.handlers()
  })
  const at = { host: subject.host, port: listener.port, timeoutMs: 5000, lends }
  const socket = network.connect(at, client.handlers())
  await client.until(() => client.events.includes('connect'))
  const wait = (): boolean => accepted.length > 0
  while (!wait()) await new Promise<void>((resolve) => subject.runtime.timers.soon(resolve))
  const [other] = accepted
  if (other === undefined) throw new Error('nothing was accepted')
  return { server, client, socket, other, listener }
}

function describe(kind: (typeof subjects)[number], lends: boolean): void {
  void t.test(`${kind.name}${lends ? ', lending' : ''}`, async (t) => {
    await t.test('a timer runs once, not before its time, and not after cancel', async (t) => {
      await kind.run(async ({ runtime }) => {
        const { clock, timers } = runtime
        const startedMs = clock.monotonicMs()
        let cancelledRan = false
        timers.after(1, () => (cancelledRan = true)).cancel()
        const ranAtMs = await new Promise<number>((resolve) => {
          timers.after(12.5, () => resolve(clock.monotonicMs()))
        })
        t.ok(ranAtMs - startedMs >= 12.5)
        t.notOk(cancelledRan)
        t.ok(Number.isInteger(clock.wallMs()))
      })
    })

    await t.test('soon runs in a later turn, behind promise continuations', async (t) => {
      await kind.run(async ({ runtime }) => {
        const order: string[] = []
        await new Promise<void>((resolve) => {
          runtime.timers.soon(() => {
            order.push('soon')
            resolve()
          })
          void Promise.resolve().then(() => order.push('promise'))
          order.push('call')
        })
        t.same(order, ['call', 'promise', 'soon'])
      })
    })

    await t.test('randomness stays in its bounds', async (t) => {
      await kind.run(async ({ runtime: { random } }) => {
        for (let i = 0; i < 1000; i++) {
          const [float, below] = [random.float(), random.below(3)]
          if (!(float >= 0 && float < 1) || ![0, 1, 2].includes(below)) t.fail('out of bounds')
        }
        t.equal(random.bytes(17).length, 17)
      })
    })

    await t.test('bytes arrive whole and in order in both directions', async (t) => {
      await kind.run(async (subject) => {
        const { server, client, socket, other, listener } = await connected(subject, lends)
        const sent = Array.from({ length: 200 }, (_, i) => Buffer.alloc(1 + ((i * 37) % 900), i))
        for (const bytes of sent) {
          socket.write(bytes)
          other.write(bytes)
        }
        const whole = Buffer.concat(sent)
        await server.until(() => server.receivedBytes >= whole.length)
        await client.until(() => client.receivedBytes >= whole.length)
        t.ok(server.received.equals(whole))
        t.ok(client.received.equals(whole))
        t.equal(other.remoteAddress, socket.localAddress)
        t.equal(socket.remoteAddress, `${subject.host}:${listener.port}`)
        socket.destroy()
        await client.until(() => client.events.includes('close'))
        t.equal(client.cause, undefined)
        other.destroy()
        await server.until(() => server.events.includes('close'))
        await listener.close()
      })
    })

    await t.test('what is written before it is connected comes first', async (t) => {
      await kind.run(async (subject) => {
        const { host, runtime } = subject
        const server = new Peer()
        const accept = (): SocketHandlers => server.handlers()
        const listener = await runtime.network.listen({ host, port: 0, lends }, accept)
        const client = new Peer()
        const at = { host, port: listener.port, timeoutMs: 5000, lends }
        const socket = runtime.network.connect(at, {
          ...client.handlers(),
          onConnect: () => {
            if (socket.writeNow?.(Buffer.from('two, ')) === undefined)
              socket.write(Buffer.from('two, '))
            socket.write(Buffer.from('three'))
          },
        })
        socket.write(Buffer.from('one, '))
        await server.until(() => server.receivedBytes === 15)
        t.equal(server.received.toString(), 'one, two, three')
        socket.end()
        await server.until(() => server.events.includes('end'))
        socket.destroy()
        await client.until(() => client.events.includes('close'))
        await listener.close()
      })
    })

    await t.test('a half close lets the other side go on writing', async (t) => {
      await kind.run(async (subject) => {
        const { server, client, socket, other, listener } = await connected(subject, lends)
        socket.write(Buffer.from('question'))
        socket.end()
        await server.until(() => server.events.includes('end'))
        t.equal(server.received.toString(), 'question')
        other.write(Buffer.from('answer'))
        other.end()
        await client.until(() => client.events.includes('close'))
        await server.until(() => server.events.includes('close'))
        t.equal(client.received.toString(), 'answer')
        t.same(client.events, ['connect', 'end', 'close'])
        t.same(server.events, ['end', 'close'])
        await listener.close()
      })
    })

    await t.test('a slow reader stops the writer, which hears when to go on', async (t) => {
      await kind.run(async (subject) => {
        const { server, client, socket, other, listener } = await connected(subject, lends)
        other.pause()
        const block = Buffer.alloc(64 * 1024, 1)
        let written = 0
        // More than any kernel buffers on loopback.
        while (socket.write(block) || written < 512) written++
        t.ok(socket.bufferedBytes() > 0)
        const total = (written + 1) * block.length
        t.ok(server.receivedBytes < total)
        other.resume()
        await client.until(() => client.events.includes('drain'))
        await server.until(() => server.receivedBytes === total)
        t.equal(socket.bufferedBytes(), 0)
        socket.destroy()
        other.destroy()
        await server.until(() => server.events.includes('close'))
        await client.until(() => client.events.includes('close'))
        await listener.close()
      })
    })

    await t.test('lent memory is not used again before what lies in it is sent', async (t) => {
      await kind.run(async (subject) => {
        const { runtime, host } = subject
        const { server, client, socket, other, listener } = await connected(subject, lends)
        // All that is sent to the lending socket is written on to one whose peer does not read.
        other.pause()
        const pieceBytes = 300_000
        const sent = Buffer.alloc(40 * pieceBytes)
        for (let at = 0; at < sent.length; at += 4) sent.writeInt32LE(at, at)
        const source = new Peer()
        const sources = await runtime.network.listen({ host, port: 0 }, (from) => {
          from.write(sent)
          return source.handlers()
        })
        const lending = new Peer()
        const handlers = lending.handlers()
        let relayed = 0
        let gatheredUpTo = 0
        let unreadTimes = 0
        const at = { host, port: sources.port, timeoutMs: 5000, lends: true }
        const reader: Socket = runtime.network.connect(at, {
          ...handlers,
          onData: (chunk) => {
            // A piece, a few chunks of which some bytes come again, a piece.
            const gathers = relayed + chunk.length > gatheredUpTo + pieceBytes
            const isLast = relayed + chunk.length === sent.length
            const again = Math.min(1000, chunk.length >> 1)
            const mayUnread = !gathers && !isLast
            const isUnread = mayUnread && reader.unread?.(chunk.subarray(-again)) === true
            const done = isUnread ? chunk.subarray(0, -again) : chunk
            if (isUnread) unreadTimes++
            relayed += done.length
            socket.write(done)
            if (gathers) gatheredUpTo = relayed + (reader.gather?.(pieceBytes, 0).length ?? 0)
            reader.giveBack?.()
            handlers.onEnd()
          },
        })
        await lending.until(() => relayed === sent.length)
        other.resume()
        await server.until(() => server.receivedBytes === sent.length)
        t.ok(server.received.equals(sent))
        if (reader.unread !== undefined) t.ok(unreadTimes > 0, 'some bytes came again')
        for (const end of [reader, socket, other]) end.destroy()
        await client.until(() => client.events.includes('close'))
        await Promise.all([listener.close(), sources.close()])
      })
    })

    await t.test('refused and unknown addresses arrive as onClose with a cause', async (t) => {
      await kind.run(async (subject) => {
        const { runtime, host } = subject
        const { listener, socket, other, client, server } = await connected(subject, lends)
        await listener.close()
        socket.destroy()
        other.destroy()
        await client.until(() => client.events.includes('close'))
        await server.until(() => server.events.includes('close'))
        const refused = new Peer()
        const to = { host, port: listener.port, timeoutMs: 5000 }
        runtime.network.connect(to, refused.handlers())
        t.same(refused.events, [], 'not from inside the call')
        await refused.until(() => refused.events.includes('close'))
        t.equal(refused.cause?.code, 'ECONNREFUSED')
        t.same(refused.events, ['close'])
        await t.rejects(runtime.network.resolve('no-such-host.invalid'), { code: 'ENOTFOUND' })
        t.same(await runtime.network.resolve(host), [host])
      })
    })

    await t.test('a port in use is refused, a closed listener frees it', async (t) => {
      await kind.run(async ({ runtime, host }) => {
        const nobody = (): never => t.fail('nobody connects') as never
        const first = await runtime.network.listen({ host, port: 0 }, nobody)
        t.ok(first.port > 0)
        const again = { host, port: first.port }
        await t.rejects(runtime.network.listen(again, nobody), { code: 'EADDRINUSE' })
        await first.close()
        const second = await runtime.network.listen(again, nobody)
        t.equal(second.port, first.port)
        await second.close()
      })
    })

    await t.test('writing to a peer that is gone closes with a cause', async (t) => {
      await kind.run(async (subject) => {
        const { server, client, socket, other, listener } = await connected(subject, lends)
        other.destroy()
        await server.until(() => server.events.includes('close'))
        while (!client.events.includes('close')) {
          socket.write(Buffer.alloc(1000))
          await new Promise<void>((resolve) => subject.runtime.timers.after(1, resolve))
        }
        t.equal(client.cause?.code, 'ECONNRESET')
        t.equal(client.events.filter((event) => event === 'close').length, 1)
        await listener.close()
      })
    })

    await t.test('what is written at once stays in order, and comes back when sent', async (t) => {
      await kind.run(async (subject) => {
        const { server, client, socket, other, listener } = await connected(subject, lends)
        const { writeNow, whenSent } = socket
        if (writeNow === undefined || whenSent === undefined) {
          t.equal(kind.name, 'simulated', 'only there it may be missing')
          for (const end of [socket, other]) end.destroy()
          await listener.close()
          return
        }
        other.pause()
        const sent: Buffer[] = []
        const used: Promise<void>[] = []
        let isTaken = true
        // Until the kernel takes no more, then some more in each of the ways.
        for (let left = 6; left > 0; left -= isTaken ? 0 : 1) {
          const bytes = Buffer.alloc(30_000, sent.length)
          sent.push(bytes)
          isTaken = writeNow.call(socket, bytes)
          if (!isTaken) {
            const isSent = new Promise<void>((resolve) => whenSent.call(socket, resolve))
            used.push(isSent.then(() => void bytes.fill(0xff)))
            sent.push(Buffer.from('one'), Buffer.from('more'))
            socket.write(Buffer.from('one'))
            socket.write(Buffer.from('more'))
          }
        }
        const whole = Buffer.concat(sent)
        t.ok(socket.bufferedBytes() > 0)
        t.equal(used.length, 6)
        other.resume()
        await server.until(() => server.receivedBytes === whole.length)
        t.ok(server.received.equals(whole))
        t.equal(socket.bufferedBytes(), 0)
        await Promise.all(used)
        other.pause()
        while (writeNow.call(socket, Buffer.alloc(30_000)));
        const isOver = new Promise<void>((resolve) => whenSent.call(socket, resolve))
        socket.destroy()
        await client.until(() => client.events.includes('close'))
        await isOver
        t.pass('also when it never will be')
        other.destroy()
        await listener.close()
      })
    })

    await t.test('destroy drops what is queued and is idempotent', async (t) => {
      await kind.run(async (subject) => {
        const { server, client, socket, other, listener } = await connected(subject, lends)
        socket.destroy()
        socket.destroy()
        socket.write(Buffer.from('too late'))
        await client.until(() => client.events.includes('close'))
        await server.until(() => server.events.length > 0)
        other.destroy()
        await server.until(() => server.events.includes('close'))
        t.equal(server.receivedBytes, 0)
        t.equal(client.events.filter((event) => event === 'close').length, 1)
        await listener.close()
      })
    })
  })
}

for (const kind of subjects) for (const lends of [false, true]) describe(kind, lends)

if (Reflect.get(process, 'binding') !== undefined)
  void t.test('sockets do the same where the inner parts of Node are not to be had', (t) => {
    const without = 'data:text/javascript,process.binding=undefined'
    const file = fileURLToPath(import.meta.url)
    const run = spawnSync(process.execPath, ['--import', without, file], { encoding: 'utf8' })
    t.equal(run.status, 0, run.status === 0 ? 'all of it' : run.stdout)
    t.end()
  })
