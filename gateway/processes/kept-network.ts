/**
 * A network whose ports outlive whoever opened them: the next one that listens on the same address
 * takes the connections from then on, without a moment at which the port is closed. That is how a
 * single process replaces what serves its clients (gateway.md L-3).
 */
import { type Entrance, entrance, listenBare } from '../../cluster/runtime/node-network.ts'
import type { Listener, Network, Socket, SocketHandlers } from '../../cluster/runtime/runtime.ts'
import type { MoveOn } from '../clients/client-connection.ts'

interface Port {
  readonly listener: Promise<Listener>
  /** The last one takes the connections. */
  readonly holders: Entrance[]
}

export class KeptNetwork implements Network, MoveOn {
  readonly connect: Network['connect']
  readonly resolve: Network['resolve']
  /** By the address that was asked for; with port 0 all who ask get the same one. */
  readonly #ports = new Map<string, Port>()
  /** Which port a connection came through. */
  readonly #origins = new WeakMap<Socket, Port>()

  constructor(own: Network) {
    this.connect = own.connect
    this.resolve = own.resolve
  }

  async listen(
    at: Parameters<Network['listen']>[0],
    onSocket: (socket: Socket) => SocketHandlers,
  ): Promise<Listener> {
    const key = `${at.host}:${at.port}`
    const port = this.#ports.get(key) ?? this.#open(key, at)
    const holder = entrance(at, (socket) => {
      this.#origins.set(socket, port)
      return onSocket(socket)
    })
    try {
      const { host, port: number } = await port.listener
      port.holders.push(holder)
      return {
        host,
        port: number,
        close: async () => this.#release(key, port, holder),
        ...(holder.setTls === undefined ? {} : { setTls: holder.setTls }),
      }
    } catch (error) {
      this.#ports.delete(key)
      throw error
    }
  }

  mayMove(): boolean {
    return true
  }

  /** Hands a connection to whoever holds its port now; false when nobody does, or it cannot move. */
  move(socket: Socket): boolean {
    const holder = this.#origins.get(socket)?.holders.at(-1)
    const connection = holder === undefined ? undefined : socket.detach?.()
    if (holder === undefined || connection === undefined) return false
    holder.enter(connection)
    return true
  }

  #open(key: string, at: { readonly host: string; readonly port: number }): Port {
    const holders: Entrance[] = []
    const listener = listenBare(at, (connection) => {
      const holder = holders.at(-1)
      if (holder === undefined) connection.close()
      else holder.enter(connection)
    })
    const port = { holders, listener }
    this.#ports.set(key, port)
    return port
  }

  async #release(key: string, port: Port, holder: Entrance): Promise<void> {
    const at = port.holders.indexOf(holder)
    if (at < 0) return
    port.holders.splice(at, 1)
    if (port.holders.length > 0) return
    this.#ports.delete(key)
    await (await port.listener).close()
  }
}
