/**
 * A socket of the network contract on one of Node's: writes of one tick are gathered into one system
 * call, and go past Node's streams where that can be. Knows nothing of what is sent.
 */
import type { Socket as NetSocket } from 'node:net'
import { DirectWriter } from './direct-io.ts'
import type { LentMemory, Sending } from './lent-memory.ts'
import type { BareConnection, RuntimeError, Socket, SocketHandlers } from './runtime.ts'
import { systemError } from './system-error.ts'

/** Beyond this a writer is asked to wait. */
const highWaterBytes = 64 * 1024
const smallChunkBytes = 8 * 1024
const scratchBytes = 64 * 1024

/** What Node's sockets and servers have inside. */
export interface TcpHandle extends BareConnection {
  onconnection?: (error: number, handle: TcpHandle | undefined) => void
  readonly setNoDelay: (on: boolean) => number
  readonly readStop?: () => number
  /** Kept by the sockets of Node: whether it is being read. */
  reading?: boolean
  readonly setKeepAlive: (on: boolean, delaySeconds: number) => number
}

export function addressOf(ip: string | undefined, port: number | undefined): string {
  return ip === undefined || port === undefined ? '' : `${ip}:${port}`
}

/** Sockets with something written since the last tick; all of them are seen to in one go. */
let written: NodeSocket[] = []
/** Where small chunks are put together; used again when the system took them at once. */
let scratch: Buffer = Buffer.allocUnsafeSlow(scratchBytes)
/** Given back while something written was still to be sent. */
let givenBack: LentMemory[] = []

function sendWritten(): void {
  const sockets = written
  written = []
  for (const socket of sockets) socket.send()
  if (givenBack.length === 0) return
  const sending = sockets.filter((socket) => socket.bufferedBytes() > 0)
  for (const lent of givenBack) lent.giveBack(sending)
  givenBack = []
}

const nothing = Buffer.alloc(0)

export class NodeSocket implements Socket, Sending {
  readonly #socket: NetSocket
  readonly #attempt: string
  /** How chunks come: by the `onread` option into lent memory or a shared buffer, or as events. */
  readonly #reads: LentMemory | 'shared' | undefined
  #handlers: SocketHandlers | undefined
  /** Once it is connected, where that can be. */
  #direct: DirectWriter | undefined
  /** Written in this tick: the first chunk, which mostly is the only one, and the others. */
  #first: Buffer | undefined
  #others: Buffer[] = []
  #gatheredBytes = 0
  #isWriting = true
  #wantsDrain = false
  #cause: RuntimeError | undefined
  #remoteAddress: string
  #localAddress: string

  constructor(socket: NetSocket, attempt: string, reads: LentMemory | 'shared' | undefined) {
    this.#socket = socket
    this.#reads = reads
    this.#attempt = attempt
    this.#remoteAddress = addressOf(socket.remoteAddress, socket.remotePort)
    this.#localAddress = addressOf(socket.localAddress, socket.localPort)
  }

  get remoteAddress(): string {
    return this.#remoteAddress
  }

  get localAddress(): string {
    return this.#localAddress
  }

  attach(handlers: SocketHandlers): void {
    const socket = this.#socket
    this.#handlers = handlers
    if (!socket.connecting) this.#writeDirectly()
    socket.on('connect', () => {
      this.#writeDirectly()
      this.#remoteAddress = addressOf(socket.remoteAddress, socket.remotePort)
      this.#localAddress = addressOf(socket.localAddress, socket.localPort)
      handlers.onConnect?.()
    })
    if (this.#reads === undefined) socket.on('data', (chunk: Buffer) => handlers.onData(chunk))
    // As an event listener does, unless the handlers have paused it already.
    else if (!socket.isPaused()) socket.resume()
    socket.on('end', () => {
      if (!socket.destroyed) handlers.onEnd()
    })
    socket.on('drain', () => this.#drained())
    socket.on('error', (error) => {
      this.#cause ??= systemError(this.#attempt, error)
    })
    socket.on('close', () => {
      this.#isWriting = false
      handlers.onClose(this.#cause)
    })
  }

  /** Lent memory is for those who want it fast; only they are without TLS for sure. */
  #writeDirectly(): void {
    if (this.#reads !== undefined)
      this.#direct = DirectWriter.of(this.#socket, () => this.#drained())
  }

  write(bytes: Buffer): boolean {
    if (!this.#isWriting || this.#socket.destroyed) return true
    if (this.#first === undefined) {
      this.#first = bytes
      if (written.push(this) === 1) process.nextTick(sendWritten)
    } else this.#others.push(bytes)
    this.#gatheredBytes += bytes.length
    if (this.bufferedBytes() < highWaterBytes) return true
    this.#wantsDrain = true
    return false
  }

  /** Hands what was gathered to the system, in one call. */
  send(): void {
    const first = this.#first
    if (first === undefined) return
    const others = this.#others
    const bytes = this.#gatheredBytes
    this.#first = undefined
    this.#gatheredBytes = 0
    if (this.#socket.destroyed) return
    if (others.length === 0) this.#hand(first)
    else {
      this.#others = []
      this.#sendMany([first, ...others], bytes)
    }
    if (this.#wantsDrain) this.#drained()
  }

  #hand(bytes: Buffer): void {
    const direct = this.#direct
    if (direct === undefined) this.#socket.write(bytes)
    else if (this.#socket.writableLength === 0) direct.write(bytes)
    // Nothing overtakes what the socket holds since before it was connected.
    else this.#socket.write(bytes, () => this.#drained())
  }

  /** Handed to the socket, and not to the network yet. */
  #unsentBytes(): number {
    return this.#socket.writableLength + (this.#direct?.unsentBytes ?? 0)
  }

  /** Small chunks cost less copied than handed over one by one. */
  #sendMany(chunks: readonly Buffer[], bytes: number): void {
    if (bytes <= Math.min(scratchBytes, chunks.length * smallChunkBytes)) {
      let at = 0
      for (const chunk of chunks) {
        scratch.set(chunk, at)
        at += chunk.length
      }
      this.#hand(scratch.subarray(0, bytes))
      // Not taken at once: it belongs to the socket now.
      if (this.#unsentBytes() > 0) scratch = Buffer.allocUnsafeSlow(scratchBytes)
      return
    }
    const last = chunks.at(-1)
    this.#socket.cork()
    for (const chunk of chunks)
      this.#socket.write(chunk, chunk === last ? () => this.#drained() : undefined)
    this.#socket.uncork()
  }

  #drained(): void {
    if (!this.#wantsDrain || this.bufferedBytes() > 0 || this.#socket.destroyed) return
    this.#wantsDrain = false
    this.#handlers?.onDrain()
  }

  bufferedBytes(): number {
    return this.#gatheredBytes + this.#unsentBytes()
  }

  writeNow(bytes: Buffer): boolean {
    const socket = this.#socket
    if (!this.#isWriting || socket.destroyed) return true
    this.send()
    this.#hand(bytes)
    const leftBytes = this.#unsentBytes()
    if (leftBytes >= highWaterBytes) this.#wantsDrain = true
    return leftBytes === 0
  }

  giveBack(): void {
    const lent = this.#reads
    if (lent === undefined || lent === 'shared') return
    if (written.length === 0) lent.giveBack([])
    else givenBack.push(lent)
  }

  gather(bytes: number, at: number): Buffer {
    const lent = this.#reads
    if (lent === undefined || lent === 'shared') return Buffer.allocUnsafe(bytes)
    return lent.gather(bytes, at)
  }

  unread(bytes: Buffer): boolean {
    const lent = this.#reads
    return lent !== undefined && lent !== 'shared' && lent.unread(bytes)
  }

  /** Node calls back for a chunk when those before it are sent: one without bytes tells the end. */
  whenSent(callback: () => void): void {
    if (this.#socket.writable) this.#socket.write(nothing, callback)
    else this.#socket.once('close', callback)
  }

  /** Only where chunks are read by `onread`: there nothing that was read waits in the socket. */
  detach(): BareConnection | undefined {
    const socket = this.#socket
    const handle = Reflect.get(socket, '_handle') as TcpHandle | null | undefined
    const mayLeave =
      this.#reads === 'shared' && this.#isWriting && !socket.destroyed && !socket.readableEnded
    if (!mayLeave || this.bufferedBytes() > 0 || typeof handle?.readStop !== 'function')
      return undefined
    handle.readStop()
    handle.reading = false
    Reflect.set(socket, '_handle', null)
    this.destroy()
    return handle
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#isWriting = false
    this.#wantsDrain = false
    this.send()
    this.#socket.end()
  }

  destroy(): void {
    this.#isWriting = false
    this.#first = undefined
    this.#others = []
    this.#gatheredBytes = 0
    this.#socket.destroy()
  }
}
