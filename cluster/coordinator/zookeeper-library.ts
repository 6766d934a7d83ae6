/**
 * The inner parts of node-zookeeper-client 1.1.3 that the link replaces or reads: their types, and
 * the check that the installed library still has them. The version is pinned for this reason.
 */
import type { Client, Transaction } from 'node-zookeeper-client'

/** A request as the library queues it: `header` is read again when the answer comes. */
export interface LibraryRequest {
  readonly header: { type: number; xid: number }
  readonly payload: null
  readonly toBuffer: () => Buffer
}

interface LibrarySocket {
  readonly destroy: () => void
}

export interface ConnectionManager {
  servers: readonly { readonly host: string; readonly port: number }[]
  socket: LibrarySocket | undefined
  connectTimeoutHandler: NodeJS.Timeout | null
  pendingBuffer: Buffer | null
  readonly zxid: Buffer
  readonly packetQueue: { queue: unknown[] }
  readonly watcherManager: {
    isEmpty: () => boolean
    emit: (event: { readonly type: number; readonly path: string }) => void
  }
  findNextServer: (
    callback: (server: { readonly host: string; readonly port: number }) => void,
  ) => void
  onSocketData: (bytes: Buffer) => void
  registerDataWatcher: () => void
  registerChildWatcher: () => void
  registerExistenceWatcher: () => void
  readonly setState: (state: number) => void
  readonly queue: (
    request: LibraryRequest,
    callback: (error: unknown, response?: unknown) => void,
  ) => void
}

/** State of the connection manager in which a closed connection is not renewed. */
export const closingState = -1

/** Numbers of ZooKeeper's protocol. */
export const OpCode = { CREATE: 1, SYNC: 9, SET_WATCHES: 101 } as const

export function connectionManagerOf(client: Client): ConnectionManager {
  const manager: unknown = Reflect.get(client, 'connectionManager')
  if (!isConnectionManager(manager))
    throw new Error('node-zookeeper-client is not the version that the wrapper was written for')
  return manager
}

function isConnectionManager(value: unknown): value is ConnectionManager {
  if (typeof value !== 'object' || value === null) return false
  const functions = [
    'findNextServer',
    'onSocketData',
    'registerDataWatcher',
    'registerChildWatcher',
    'registerExistenceWatcher',
    'setState',
    'queue',
  ]
  return (
    functions.every((name) => typeof Reflect.get(value, name) === 'function') &&
    Buffer.isBuffer(Reflect.get(value, 'zxid')) &&
    typeof Reflect.get(value, 'packetQueue') === 'object' &&
    typeof Reflect.get(value, 'watcherManager') === 'object'
  )
}

/** The library takes version 0 for "any": puts the real one into the operation added last. */
export function fixVersion(transaction: Transaction, version: number): void {
  const operations: unknown = Reflect.get(transaction, 'ops')
  const last: unknown = Array.isArray(operations) ? operations.at(-1) : undefined
  if (typeof last !== 'object' || last === null)
    throw new Error('node-zookeeper-client is not the version that the wrapper was written for')
  Reflect.set(last, 'version', version)
}

/** An answer that is larger is taken for garbage. */
const answerBytesMax = 64 * 1024 * 1024

/**
 * Whole frames from chunks. The library calls itself once for each frame in a chunk and copies the
 * rest each time, and some thousand answers in one chunk end its stack; so it gets one at a time.
 */
export class AnswerFrames {
  #chunks: Buffer[] = []
  #bufferedBytes = 0

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bufferedBytes += chunk.length
  }

  /** With its length in front. Throws when the length makes no sense. */
  next(): Buffer | undefined {
    if (this.#bufferedBytes < 4) return undefined
    const sizeBytes = this.#first(4).readInt32BE(0)
    if (sizeBytes < 0 || sizeBytes > answerBytesMax) throw new Error(`answer of ${sizeBytes} bytes`)
    const frameBytes = 4 + sizeBytes
    if (this.#bufferedBytes < frameBytes) return undefined
    const bytes = this.#first(frameBytes)
    this.#chunks[0] = bytes.subarray(frameBytes)
    this.#bufferedBytes -= frameBytes
    return bytes.subarray(0, frameBytes)
  }

  #first(sizeBytes: number): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && first.length >= sizeBytes) return first
    const joined = Buffer.concat(this.#chunks)
    this.#chunks = [joined]
    return joined
  }
}

/** Frame of a request: length, xid, type, body. */
export function requestFrame(xid: number, type: number, body: Buffer): Buffer {
  const frame = Buffer.alloc(12 + body.length)
  frame.writeInt32BE(8 + body.length, 0)
  frame.writeInt32BE(xid, 4)
  frame.writeInt32BE(type, 8)
  body.copy(frame, 12)
  return frame
}

export function stringBytes(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const bytes = Buffer.alloc(4 + length)
  bytes.writeInt32BE(length, 0)
  bytes.write(text, 4)
  return bytes
}

export function stringListBytes(texts: readonly string[]): Buffer {
  const count = Buffer.alloc(4)
  count.writeInt32BE(texts.length, 0)
  return Buffer.concat([count, ...texts.map(stringBytes)])
}

/** What one packet of watches may hold; servers refuse packets above 1 MiB. */
const watchBatchBytes = 128 * 1024

/** Paths in packets that servers take. */
export function batches(paths: readonly string[]): string[][] {
  const result: string[][] = []
  let sizeBytes = watchBatchBytes
  for (const path of paths) {
    sizeBytes += 4 + Buffer.byteLength(path)
    if (sizeBytes > watchBatchBytes) {
      result.push([])
      sizeBytes = 4 + Buffer.byteLength(path)
    }
    result.at(-1)?.push(path)
  }
  return result
}
