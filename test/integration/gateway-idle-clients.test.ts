/**
 * Ten thousand idle connections on one gateway process, opened and closed (gateway.md 15 item 3): it
 * serves with them, they cost little, and nothing of them stays. Fewer where the limit on open files
 * is lower.
 */
import { execFileSync } from 'node:child_process'
import { type Socket, connect } from 'node:net'
import t from 'tap'
import { queryFrame, until } from '../support/gateway-world.ts'
import { startGatewayProcess } from '../support/gateway-outside.ts'

t.setTimeout(180_000)

const limit = Number(execFileSync('sh', ['-c', 'ulimit -n']).toString())
const most = Math.min(10_000, limit - 500)
const rounds = [most, most / 2, most / 2, most / 2].map(Math.floor)
const heldMiBMax = 160
/** Room for one round and not for all: what would be kept of closed connections ends the process. */
const heapLimit = { NODE_OPTIONS: '--max-old-space-size=128' }

/** Loopback addresses have 28 000 ports each; some of them are taken. */
async function open(port: number, count: number): Promise<readonly Socket[]> {
  const sources = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
  const sockets: Socket[] = []
  for (let at = 0; at < count; at += 250)
    await Promise.all(
      Array.from({ length: Math.min(250, count - at) }, async (_, index) => {
        const localAddress = sources[(at + index) % sources.length] ?? '127.0.0.1'
        const socket = connect({ port, host: '127.0.0.1', localAddress })
        socket.on('error', () => undefined)
        sockets.push(socket)
        await new Promise((resolve) => {
          socket.once('connect', resolve).once('close', resolve)
        })
      }),
    )
  return sockets
}

void t.test(`${most} idle connections, and more of them when they are gone`, async (t) => {
  const gateway = await startGatewayProcess(t.testdir(), {}, heapLimit)
  t.teardown(() => gateway.stop())
  // Probes and ZooKeeper sessions come and go.
  const filesAtRest = gateway.files() + 16
  const atRestMiB = gateway.residentMiB()
  for (const count of rounds) {
    const sockets = await open(gateway.port, count)
    await until(async () => (await gateway.metric(/^client_connection_count/)) === count)
    const heldMiB = gateway.residentMiB() - atRestMiB
    t.ok(heldMiB < heldMiBMax, `${count} connections hold ${heldMiB.toFixed(0)} MiB`)
    t.ok(await gateway.serves(), 'another client is served')
    let answered = 0
    for (const socket of sockets)
      socket.once('data', () => {
        answered++
      })
    const some = sockets.filter((_, index) => index % 10 === 0)
    for (const socket of some) socket.write(queryFrame('temp'))
    await until(() => answered === some.length)
    for (const [index, socket] of sockets.entries())
      if (index % 2 === 0) socket.destroy()
      else socket.resetAndDestroy()
    await until(() => gateway.files() <= filesAtRest)
    t.equal(await gateway.metric(/^client_connection_count/), 0, 'all are gone')
  }
  t.equal(await gateway.stop(), 0)
})
