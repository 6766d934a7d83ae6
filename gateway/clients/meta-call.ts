/**
 * One request to one meta server on a connection of its own, for the few RPCs besides the query: the
 * args go out and the reply frame comes back byte for byte. What it answers tells apart whether the
 * request may have reached the server, because a write must never be sent twice.
 */
import {
  FrameError,
  ReplyFramer,
  type ReplyFrame,
  encodeRequest,
} from '../../cluster/protocol/frame.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import type { Runtime, Socket } from '../../cluster/runtime/runtime.ts'

export type MetaReply =
  | { readonly kind: 'reply'; readonly reply: ReplyFrame }
  /** The server cannot have seen it. */
  | { readonly kind: 'unsent'; readonly reason: string }
  /** Sent, and nothing known of what became of it. */
  | { readonly kind: 'lost'; readonly reason: string }

export interface MetaRequest {
  readonly name: string
  /** The args struct. */
  readonly argument: Buffer
}

const REPLY_BYTES_MAX = 16 << 20
const SEQID = 1

export class MetaCalls {
  readonly #runtime: Runtime
  readonly #connectTimeoutMs: number
  readonly #sockets = new Set<Socket>()

  constructor(runtime: Runtime, connectTimeoutMs: number) {
    this.#runtime = runtime
    this.#connectTimeoutMs = connectTimeoutMs
  }

  /** Connections in use. */
  get size(): number {
    return this.#sockets.size
  }

  /** `address` is `ip:port`. Never rejects; answers by `deadlineMs` of the monotonic clock. */
  call(address: string, request: MetaRequest, deadlineMs: number): Promise<MetaReply> {
    return new Promise((resolve) => this.#call(address, request, deadlineMs, resolve))
  }

  /** Ends every call. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #call(
    address: string,
    { name, argument }: MetaRequest,
    deadlineMs: number,
    resolve: (reply: MetaReply) => void,
  ): void {
    const { clock, timers, network } = this.#runtime
    const leftMs = Math.max(1, Math.ceil(deadlineMs - clock.monotonicMs()))
    const framer = new ReplyFramer({ maxFrameBytes: REPLY_BYTES_MAX })
    let isSent = false
    let isOver = false
    const end = (result: MetaReply): void => {
      if (isOver) return
      isOver = true
      timer.cancel()
      socket.destroy()
      resolve(result)
    }
    const fail = (reason: string): void => end({ kind: isSent ? 'lost' : 'unsent', reason })
    const colon = address.lastIndexOf(':')
    const socket = network.connect(
      {
        host: address.slice(0, colon),
        port: Number(address.slice(colon + 1)),
        timeoutMs: Math.min(this.#connectTimeoutMs, leftMs),
      },
      {
        onConnect: () => {
          if (isOver) return
          isSent = true
          const clientTimeoutMs = Math.max(1, Math.ceil(deadlineMs - clock.monotonicMs()))
          socket.write(encodeRequest({ ...emptyHeader, clientTimeoutMs }, name, SEQID, argument))
        },
        onData: (chunk) => {
          if (isOver) return
          try {
            framer.push(chunk)
            const reply = framer.next()
            if (reply === undefined) return
            const isMine = reply.seqid === SEQID && reply.name === `${name}_ACK`
            if (isMine) end({ kind: 'reply', reply })
            else fail(`answered ${reply.name} ${reply.seqid}`)
          } catch (error) {
            if (!(error instanceof FrameError)) throw error
            fail(error.message)
          }
        },
        onEnd: () => fail('ended by the meta server'),
        onDrain: () => undefined,
        onClose: (cause) => {
          this.#sockets.delete(socket)
          fail(cause?.message ?? 'closed')
        },
      },
    )
    this.#sockets.add(socket)
    const timer = timers.after(leftMs, () => fail(`no answer in ${leftMs} ms`))
  }
}
