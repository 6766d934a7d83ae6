/**
 * One client connection of the embedded server: frames from chunks, the handshake, four-letter
 * words, and answers held back until everything they may show is durable. What requests mean is in
 * `requests.ts`; sessions and their clocks are in `server.ts`.
 *
 * A connection that sends garbage is closed; its session lives on until its time is over.
 */
import type { Socket, SocketHandlers } from '../../runtime/runtime.ts'
import type { Identities } from '../tree.ts'
import { JuteError } from './jute.ts'
import {
  decodeConnect,
  decodeRequest,
  type ClientRequest,
  type ConnectRequest,
} from './protocol.ts'

/** Frames hold 1 MiB of data with some room for paths. */
export const frameBytesMax = 2 * 1024 * 1024
/** Answers waiting for durability or for the client to read, beyond which reading stops. */
const heldBytesMax = 1024 * 1024
/** A client that takes no notifications is cut off here. */
const unreadBytesMax = 32 * 1024 * 1024

export interface ConnectionOwner {
  readonly isFrozen: () => boolean
  /** Runs it in a later turn: never inside the work for another connection. */
  readonly later: (run: () => void) => void
  readonly durableZxid: () => bigint
  readonly onConnect: (connection: Connection, request: ConnectRequest) => void
  readonly onRequest: (connection: Connection, xid: number, request: ClientRequest) => void
  readonly onWord: (word: string) => string | undefined
  readonly onClosed: (connection: Connection, reason: string | undefined) => void
}

export class Connection {
  readonly #socket: Socket
  readonly #owner: ConnectionOwner
  /** 0n before the handshake. */
  sessionId = 0n
  identities: Identities
  #chunks: Buffer[] = []
  #bufferedBytes = 0
  #held: { readonly zxid: bigint; readonly bytes: Buffer }[] = []
  #heldBytes = 0
  #isPaused = false
  #isEnding = false
  #reason: string | undefined

  constructor(socket: Socket, owner: ConnectionOwner) {
    this.#socket = socket
    this.#owner = owner
    const ip = socket.remoteAddress.replace(/:\d+$/, '')
    this.identities = [{ scheme: 'ip', id: ip }]
  }

  handlers(): SocketHandlers {
    return {
      onData: (chunk) => this.#onData(chunk),
      onEnd: () => this.close(undefined),
      onDrain: () => this.#regulate(),
      onClose: (cause) => this.#owner.onClosed(this, this.#reason ?? cause?.message),
    }
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress
  }

  /** Sends when the transaction is durable and everything sent before has gone. */
  send(zxid: bigint, bytes: Buffer): void {
    if (this.#isEnding) return
    this.#held.push({ zxid, bytes })
    this.#heldBytes += bytes.length
    this.release()
  }

  /** Sends what has become durable. */
  release(): void {
    if (this.#owner.isFrozen()) return
    const durable = this.#owner.durableZxid()
    let count = 0
    for (const { zxid, bytes } of this.#held) {
      if (zxid > durable) break
      this.#heldBytes -= bytes.length
      this.#socket.write(bytes)
      count += 1
    }
    this.#held.splice(0, count)
    if (this.#socket.bufferedBytes() > unreadBytesMax) this.close('the client does not read')
    else if (this.#isEnding && this.#held.length === 0) this.#socket.end()
    else this.#regulate()
  }

  /** Takes no more requests; closes when the answers are out. */
  finish(): void {
    this.#isEnding = true
    this.release()
  }

  close(reason: string | undefined): void {
    this.#isEnding = true
    this.#reason ??= reason
    this.#socket.destroy()
  }

  /** Takes up reading again after the server was frozen or answers have gone. */
  resume(): void {
    this.#read()
    this.release()
  }

  #onData(chunk: Buffer): void {
    if (this.#isEnding) return
    this.#chunks.push(chunk)
    this.#bufferedBytes += chunk.length
    this.#read()
    this.#regulate()
  }

  #read(): void {
    try {
      while (!this.#isEnding && !this.#owner.isFrozen() && !this.#isFull()) {
        const frame = this.#nextFrame()
        if (frame === undefined) return
        if (this.sessionId === 0n) this.#owner.onConnect(this, decodeConnect(frame))
        else {
          const { xid, request } = decodeRequest(frame)
          this.#owner.onRequest(this, xid, request)
        }
      }
    } catch (error) {
      if (!(error instanceof JuteError)) throw error
      this.close(error.message)
    }
  }

  #nextFrame(): Buffer | undefined {
    if (this.#bufferedBytes < 4) return undefined
    const head = this.#peek(4)
    const length = head.readInt32BE(0)
    if (this.sessionId === 0n) {
      const answer = this.#owner.onWord(head.toString('latin1'))
      if (answer !== undefined) {
        this.#isEnding = true
        this.#socket.write(Buffer.from(answer))
        this.#socket.end()
        return undefined
      }
    }
    if (length < 0 || length > frameBytesMax)
      throw new JuteError(`a frame of ${length} bytes, expected up to ${frameBytesMax}`)
    if (this.#bufferedBytes < 4 + length) return undefined
    const bytes = this.#peek(4 + length)
    this.#bufferedBytes -= 4 + length
    this.#chunks = [bytes.subarray(4 + length)]
    return bytes.subarray(4, 4 + length)
  }

  /** The buffered bytes as one buffer, put together only when enough of them are there. */
  #peek(sizeBytes: number): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && first.length >= sizeBytes) return first
    const joined = Buffer.concat(this.#chunks)
    this.#chunks = [joined]
    return joined
  }

  #isFull(): boolean {
    return this.#heldBytes + this.#socket.bufferedBytes() > heldBytesMax
  }

  /** Stops reading while answers pile up here or the server is frozen. */
  #regulate(): void {
    const mustWait = this.#owner.isFrozen() || this.#isFull()
    if (mustWait === this.#isPaused) return
    this.#isPaused = mustWait
    if (mustWait) this.#socket.pause()
    else {
      this.#socket.resume()
      this.#owner.later(() => this.#read())
    }
  }
}
