/**
 * The network of a worker: connects by itself, but `listen` asks the primary, which accepts and hands
 * the connections over (`hand-over.ts`). To whoever listens nothing is different.
 */
import { type Entrance, entrance } from '../../cluster/runtime/node-network.ts'
import {
  type BareConnection,
  type Listener,
  type Network,
  RuntimeError,
  type Socket,
  type SocketHandlers,
  type Timers,
} from '../../cluster/runtime/runtime.ts'
import type { MoveOn } from '../clients/client-connection.ts'
import type { FromWorker, ToWorker } from './messages.ts'

/** `sent` is called once, when the channel has taken it or never will. */
type Send = (message: FromWorker, connection?: BareConnection, sent?: () => void) => void
type Answer = Extract<ToWorker, { readonly type: 'listening' | 'not-listening' }>

/** On their way to another worker at a time. */
const LEAVING_MAX = 3

export class HandedNetwork implements Network, MoveOn {
  readonly connect: Network['connect']
  readonly resolve: Network['resolve']
  readonly #timers: Timers
  readonly #send: Send
  readonly #asked = new Map<number, (answer: Answer) => void>()
  readonly #listeners = new Map<number, Entrance>()
  /** Which listener a connection came through. */
  readonly #origins = new WeakMap<Socket, number>()
  #question = 0
  /** Given back, and nobody else has it yet. */
  #leaving = 0
  #taken = 0
  #accepted: number[] = []

  constructor(own: Network, timers: Timers, send: Send) {
    this.connect = own.connect
    this.resolve = own.resolve
    this.#timers = timers
    this.#send = send
  }

  async listen(
    at: Parameters<Network['listen']>[0],
    onSocket: (socket: Socket) => SocketHandlers,
  ): Promise<Listener> {
    const question = ++this.#question
    const answer = await new Promise<Answer>((resolve) => {
      this.#asked.set(question, resolve)
      this.#send({ type: 'listen', question, host: at.host, port: at.port })
    })
    if (answer.type === 'not-listening') throw new RuntimeError(answer.code, answer.message)
    const { listener, host, port } = answer
    const entered = entrance(at, (socket) => {
      this.#origins.set(socket, listener)
      return onSocket(socket)
    })
    this.#listeners.set(listener, entered)
    return {
      host,
      port,
      ...(entered.setTls === undefined ? {} : { setTls: entered.setTls }),
      close: async () => {
        this.#listeners.delete(listener)
      },
    }
  }

  /** So few that none waits long in a channel, which takes one when the receiver has the last. */
  mayMove(): boolean {
    return this.#leaving < LEAVING_MAX
  }

  /** Gives a connection back to the primary, for another worker; false when it has to end here. */
  move(socket: Socket): boolean {
    const listener = this.#origins.get(socket)
    const connection = listener === undefined ? undefined : socket.detach?.()
    if (listener === undefined || connection === undefined) return false
    this.#leaving++
    this.#send({ type: 'returned', listener }, connection, () => connection.close())
    return true
  }

  onSettled(): void {
    this.#leaving--
  }

  /** Connections handed over so far. */
  get taken(): number {
    return this.#taken
  }

  onAnswer(answer: Answer): void {
    this.#asked.get(answer.question)?.(answer)
    this.#asked.delete(answer.question)
  }

  /** `connection` is undefined when it was closed before it could be handed over. */
  onConnection(id: number, listener: number, connection: BareConnection | undefined): void {
    this.#taken++
    if (this.#accepted.push(id) === 1)
      this.#timers.soon(() => {
        const ids = this.#accepted
        this.#accepted = []
        this.#send({ type: 'accepted', ids })
      })
    if (connection === undefined) return
    const entered = this.#listeners.get(listener)
    if (entered === undefined) connection.close()
    else entered.enter(connection)
  }
}
