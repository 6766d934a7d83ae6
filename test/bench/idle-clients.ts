/**
 * Clients that connect and say nothing, for the gateway benchmark. Prints a line when all of them are
 * connected, and holds them until it is ended.
 *
 *   node idle-clients.js PORT COUNT
 */
import { connect } from 'node:net'

const [port = 0, count = 0] = process.argv.slice(2).map(Number)
/** Connecting at once; more would overflow the listener's backlog. */
const AT_ONCE = 200

for (let from = 0; from < count; from += AT_ONCE)
  await Promise.all(
    Array.from(
      { length: Math.min(AT_ONCE, count - from) },
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = connect({ host: '127.0.0.1', port }, resolve)
          socket.once('error', reject)
        }),
    ),
  )
process.stdout.write('connected\n')
