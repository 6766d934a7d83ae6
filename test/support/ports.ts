/** Ports for servers of tests that must be known before they listen, or that listen again later. */
import { createServer } from 'node:net'

/**
 * Below the ports that the kernel gives to connections and to `listen(0)` (32 768 and up): one of
 * those could be taken by anybody between two lives of the server. The onebox's begin at 12 000.
 * Browsers, and `fetch` as they do, refuse some ports up to 6697, and 10 080.
 */
const FIRST = 6_700
const LAST = 10_079

/** One that nobody listens on at 127.0.0.1, picked at random: test files run beside each other. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
    if (await isFree(port)) return port
  }
  throw new Error(`no free port found from ${FIRST} to ${LAST}`)
}

/** Whether a server could listen there now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
