/**
 * One process per data folder, for data that nothing else guards: a Unix socket in the folder, held
 * as long as the process lives. The system lets go of it at any death of the process; a socket file
 * that nobody listens on is a leftover. RocksDB has a lock of its own and needs none of this.
 */
import { createHash } from 'node:crypto'
import { constants, openSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { type Server, createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve as absolute } from 'node:path'
import { systemError } from './system-error.ts'

/** The system takes socket paths up to about 107 bytes. */
const socketPathBytesMax = 100
const lockName = 'lock.sock'

/** The folder must exist. Resolves to the release; rejects when another process holds the lock. */
export async function lockFolder(directory: string): Promise<() => Promise<void>> {
  const attempt = `lock the data folder ${directory}`
  const path = socketPath(absolute(directory), attempt)
  let server = await bind(path, attempt)
  if (server === undefined) {
    if (await isAnswered(path))
      throw new Error(
        `data folder ${directory} is in use by another process: one server per folder`,
      )
    await rm(path, { force: true })
    server = await bind(path, attempt)
  }
  if (server === undefined)
    throw new Error(`data folder ${directory} was taken by another process that starts right now`)
  const held = server
  return () => new Promise((resolve) => held.close(() => resolve()))
}

function socketPath(directory: string, attempt: string): string {
  const inside = join(directory, lockName)
  if (Buffer.byteLength(inside) <= socketPathBytesMax) return inside
  // The folder's descriptor is a short name for it; it stays open as long as the process.
  if (process.platform === 'linux')
    try {
      const folder = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
      return `/proc/self/fd/${folder}/${lockName}`
    } catch (cause) {
      throw systemError(attempt, cause)
    }
  const digest = createHash('sha256').update(directory).digest('hex').slice(0, 16)
  return join(tmpdir(), `metaproxy-lock-${digest}.sock`)
}

/** Undefined when the path is there already. */
function bind(path: string, attempt: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE') resolve(undefined)
      else reject(systemError(attempt, cause))
    })
    server.listen(path, () => resolve(server.unref()))
  })
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    socket.once('connect', () => {
      resolve(true)
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
  })
}
