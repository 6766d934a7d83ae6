/** Right and wrong bytes of ZooKeeper's client protocol: i32 length, then a jute record. */
import { connect } from 'node:net'

function frame(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length)
  return Buffer.concat([length, body])
}

function i32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeInt32BE(value, 4 * index)
  return bytes
}

const password = Buffer.alloc(16)

/** Asks for a new session: protocol 0, zxid 0, 4 s, session 0. */
export const zooKeeperHandshake = frame(i32(0, 0, 0, 4000, 0, 0, 16), password, Buffer.from([0]))

export function zooKeeperRequest(type: number, payload: Buffer): Buffer {
  return frame(i32(1, type), payload)
}

/** After any of these the connection must end. */
export const badZooKeeperFrames: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['text', Buffer.from('hello world\r\n\r\n')],
  ['a negative length', i32(-1)],
  ['a frame of 2 GiB', i32(0x7fffffff)],
  ['a frame over 2 MiB', i32((2 << 20) + 1)],
  ['an empty frame', i32(0)],
]

/** The same in place of the handshake. */
export const badZooKeeperHandshakes: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['a record cut short', frame(i32(0, 0))],
  ['a password of 2 GiB', frame(i32(0, 0, 0, 4000, 0, 0, 0x7fffffff))],
  ['a password of negative length', frame(i32(0, 0, 0, 4000, 0, 0, -2))],
]

/** Sends the chunks on one connection; resolves to whether the server ended it. */
export async function zooKeeperEnds(
  address: string,
  ...chunks: readonly Buffer[]
): Promise<boolean> {
  const [host = '', port = ''] = address.split(':')
  const socket = connect(Number(port), host)
  socket.on('error', () => undefined)
  socket.resume()
  for (const chunk of chunks) socket.write(chunk)
  const hasEnded = await new Promise<boolean>((resolve) => {
    const giveUp = setTimeout(() => resolve(false), 15_000)
    socket.once('close', () => {
      clearTimeout(giveUp)
      resolve(true)
    })
  })
  socket.destroy()
  return hasEnded
}
