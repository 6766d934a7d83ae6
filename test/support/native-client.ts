/**
 * A client that speaks the native form (wire.md 12) as the C++ client and shell do: pure-client
 * address, forwards supported, argument field id 0. Our own client library does not speak it.
 */
import { connect as dial, type Socket } from 'node:net'
import { BinaryWriter } from '../../cluster/protocol/binary.ts'
import {
  type NativeFrame,
  NativeFramer,
  type NativeHeader,
  encodeNativeFrame,
} from '../../cluster/protocol/native-frame.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'

const common = {
  traceId: 0x0fcd_5b21_5e6f_7a46n,
  localCode: 40,
  localHash: 0,
  appId: 0,
  partitionIndex: 0,
  isRequest: true,
  isForwarded: false,
  serialization: 1,
  isForwardSupported: true,
  isBackupRequest: false,
  from: '127.0.0.1:1',
  timeoutMs: 5000,
  threadHash: 0,
  partitionHash: 0n,
  errorName: '',
  errorLocalCode: 0,
  errorLocalHash: 0,
  checksummed: false,
} satisfies Omit<NativeHeader, 'id' | 'name'>

export function nativeHeader(name: string, changes: Partial<NativeHeader> = {}): NativeHeader {
  return { id: 1n, name, ...common, ...changes }
}

/** A struct with one field, id 0: what a native body is. */
export function nativeArgument<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new BinaryWriter()
  writer.writeFieldBegin('', codec.wireType, 0)
  codec.write(writer, value)
  writer.writeFieldStop()
  return writer.take()
}

export function nativeRequest<A>(
  rpc: { readonly name: string; readonly argument: Codec<A> },
  argument: A,
  changes: Partial<NativeHeader> = {},
): Buffer {
  return encodeNativeFrame(nativeHeader(rpc.name, changes), nativeArgument(rpc.argument, argument))
}

/** One connection that sends bytes and collects native replies. */
export class NativeClient {
  readonly socket: Socket
  readonly replies: NativeFrame[] = []
  readonly closed: Promise<void>
  /** Everything received, for comparisons byte by byte. */
  readonly chunks: Buffer[] = []
  hasEnded = false
  #isClosed = false
  readonly #framer = new NativeFramer({ maxBodyBytes: 64 << 20 })
  #wake: (() => void)[] = []

  constructor(port: number, host = '127.0.0.1') {
    this.socket = dial({ port, host, allowHalfOpen: true })
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.hasEnded = true
        this.#isClosed = true
        resolve()
        this.#wakeAll()
      })
    })
    this.socket.on('error', () => undefined)
    this.socket.on('end', () => {
      this.hasEnded = true
      this.#wakeAll()
    })
    this.socket.on('data', (chunk: Buffer) => {
      this.chunks.push(Buffer.from(chunk))
      this.#framer.push(chunk)
      for (let reply = this.#framer.next(); reply !== undefined; reply = this.#framer.next())
        this.replies.push(reply)
      this.#wakeAll()
    })
  }

  static to(address: string): NativeClient {
    const [host = '', port = ''] = address.split(':')
    return new NativeClient(Number(port), host)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  #wakeAll(): void {
    const wake = this.#wake
    this.#wake = []
    for (const resolve of wake) resolve()
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  /** Resolves to the first `count` replies; rejects when the connection ends before. */
  async received(count: number): Promise<readonly NativeFrame[]> {
    while (this.replies.length < count) {
      if (this.hasEnded) throw new Error(`ended after ${this.replies.length} of ${count} replies`)
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve)
      })
    }
    return this.replies
  }

  /** Sends one request and resolves to the next reply with its id. */
  async ask(request: Buffer): Promise<NativeFrame> {
    const id = request.readBigUInt64LE(24)
    const before = this.replies.length
    this.send(request)
    for (let count = before + 1; ; count++) {
      const reply = (await this.received(count))[count - 1]
      if (reply?.header.id === id) return reply
    }
  }

  /** Resolves when the other side has said that it sends no more. */
  async ended(): Promise<void> {
    while (!this.hasEnded)
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve)
      })
  }

  destroy(): void {
    this.socket.destroy()
  }
}
