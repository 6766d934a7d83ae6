/**
 * The control socket of a running onebox: a Unix socket in its data folder that takes one JSON line
 * `{"action":"stop","name":"alpha-replica-1"}` and answers one. It is also the lock on the folder:
 * whoever can bind it owns the folder, and a socket that nobody answers on is a leftover.
 */
import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { type Server, createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type ControlAction = 'start' | 'stop' | 'restart'
export interface ControlAnswer {
  readonly ok: boolean
  readonly message: string
}

const answerTimeoutMs = 30_000
const requestBytesMax = 4096

/** Socket paths are limited to about 107 bytes by the system. */
function socketPath(dataDirectory: string): string {
  const inside = join(dataDirectory, 'onebox.sock')
  if (Buffer.byteLength(inside) <= 100) return inside
  const digest = createHash('sha256').update(dataDirectory).digest('hex').slice(0, 16)
  return join(tmpdir(), `metaproxy-${digest}.sock`)
}

/** Sends one request to the onebox that owns the folder; rejects when none is running there. */
export async function askOnebox(
  dataDirectory: string,
  request: { readonly action: ControlAction | 'ping'; readonly name?: string },
): Promise<ControlAnswer> {
  return new Promise<ControlAnswer>((resolve, reject) => {
    const socket = createConnection(socketPath(dataDirectory))
    let text = ''
    socket.setEncoding('utf8')
    socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error('the onebox did not answer')))
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`))
    socket.on('data', (chunk: string) => (text += chunk))
    socket.on('error', reject)
    socket.on('close', () => {
      try {
        resolve(JSON.parse(text) as ControlAnswer)
      } catch (cause) {
        reject(new Error('the onebox gave no answer', { cause }))
      }
    })
  })
}

/**
 * Takes ownership of the folder; `undefined` when another onebox has it. Closing the server gives
 * the folder free.
 */
export async function ownFolder(
  dataDirectory: string,
  act: (action: ControlAction, name: string) => Promise<ControlAnswer>,
): Promise<Server | undefined> {
  const taken = await askOnebox(dataDirectory, { action: 'ping' }).then(
    () => true,
    () => false,
  )
  if (taken) return undefined
  const path = socketPath(dataDirectory)
  rmSync(path, { force: true })
  const server = createServer((socket) => {
    let text = ''
    socket.setEncoding('utf8')
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > requestBytesMax) socket.destroy()
      const end = text.indexOf('\n')
      if (end < 0) return
      void answer(text.slice(0, end), act).then((reply) => socket.end(JSON.stringify(reply)))
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return server
}

async function answer(
  line: string,
  act: (action: ControlAction, name: string) => Promise<ControlAnswer>,
): Promise<ControlAnswer> {
  let request: { action?: unknown; name?: unknown }
  try {
    request = JSON.parse(line) as { action?: unknown; name?: unknown }
  } catch {
    return { ok: false, message: 'not JSON' }
  }
  if (request.action === 'ping') return { ok: true, message: 'running' }
  if (request.action !== 'start' && request.action !== 'stop' && request.action !== 'restart')
    return { ok: false, message: `unknown action ${JSON.stringify(request.action)}` }
  if (typeof request.name !== 'string') return { ok: false, message: 'name is missing' }
  return act(request.action, request.name)
}
