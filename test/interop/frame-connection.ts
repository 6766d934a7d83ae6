/**
 * A bare connection for tests: whole request frames out, whole reply frames in, and what became of
 * the connection. Knows frames and nothing of calls, seqids or retries.
 */
import { type Socket, connect } from 'node:net'
import { type ReplyFrame, ReplyFramer } from '../../cluster/protocol/frame.ts'

export class FrameConnection {
  readonly #socket: Socket
  readonly #framer = new ReplyFramer({ maxFrameBytes: 64 << 20 })
  readonly #arrived: ReplyFrame[] = []
  #isClosed = false
  #wake: () => void = () => undefined

  constructor(address: string) {
    const [host = '', port = ''] = address.split(':')
    this.#socket = connect({ host, port: Number(port) })
    this.#socket.on('data', (chunk) => {
      this.#framer.push(chunk)
      for (let frame = this.#framer.next(); frame !== undefined; frame = this.#framer.next())
        this.#arrived.push(frame)
      this.#wake()
    })
    this.#socket.on('error', () => undefined)
    const close = (): void => {
      this.#isClosed = true
      this.#wake()
    }
    this.#socket.on('end', close)
    this.#socket.on('close', close)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  send(frame: Buffer): void {
    this.#socket.write(frame)
  }

  /** The next reply frame; 'closed' or 'silence' (nothing within the time) when there is none. */
  async next(timeoutMs = 15_000): Promise<ReplyFrame | 'closed' | 'silence'> {
    const giveUpAtMs = performance.now() + timeoutMs
    for (;;) {
      const frame = this.#arrived.shift()
      if (frame !== undefined) return frame
      if (this.#isClosed) return 'closed'
      const leftMs = giveUpAtMs - performance.now()
      if (leftMs <= 0) return 'silence'
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Half closes: no more requests. */
  end(): void {
    this.#socket.end()
  }

  close(): void {
    this.#socket.destroy()
  }
}
