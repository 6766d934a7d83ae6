/**
 * The simulated network: TCP connections as pairs of endpoints with latency, in order per direction.
 * There is no loss inside a connection: what a partition stops is held back and sent again after it
 * heals, or the connection dies. Partitions are per direction. The endpoints themselves are in
 * `simulated-socket.ts`.
 */
import type { Incarnation, SimulatedNode } from './simulated-node.ts'
import type { SeededRandom } from './simulated-random.ts'
import { Endpoint, type Segment } from './simulated-socket.ts'
import type { SimulatedWorld } from './simulated.ts'
import {
  RuntimeError,
  type Listener,
  type Network,
  type Socket,
  type SocketHandlers,
  type TlsListening,
} from './runtime.ts'

export interface NetworkSettings {
  readonly latencyMinMs: number
  /** Mean of what comes on top, exponentially distributed. */
  readonly jitterMeanMs: number
  /** A segment that had to be sent again: how often, and how much later it arrives. */
  readonly spikeProbability: number
  readonly spikeMs: number
  /** How often a segment is handed over in two parts. */
  readonly splitProbability: number
  /** Per segment: the connection is reset instead. */
  readonly breakProbability: number
  /** Bytes on the way in one direction before the sender has to wait. */
  readonly windowBytes: number
  /** A connection whose segments are held back this long dies with ETIMEDOUT. */
  readonly deadPeerMs: number
}

export const calmNetwork: NetworkSettings = {
  latencyMinMs: 0.2,
  jitterMeanMs: 0.3,
  spikeProbability: 0.001,
  spikeMs: 40,
  splitProbability: 0.05,
  breakProbability: 0,
  windowBytes: 256 * 1024,
  deadPeerMs: 15_000,
}

interface BoundPort {
  readonly owner: Incarnation
  readonly onSocket: (socket: Socket) => SocketHandlers
}

export class SimulatedNetwork {
  readonly random: SeededRandom
  readonly #world: SimulatedWorld
  readonly #byIp = new Map<string, SimulatedNode>()
  readonly #byName = new Map<string, SimulatedNode>()
  readonly #ports = new Map<string, BoundPort>()
  readonly #blocked = new Set<string>()
  readonly #endpoints = new Set<Endpoint>()
  #dirty: Endpoint[] = []
  #nextPort = 40_000
  #endpointCount = 0
  #settings: NetworkSettings

  constructor(world: SimulatedWorld, settings: Partial<NetworkSettings>) {
    this.#world = world
    this.random = world.random.fork('network')
    this.#settings = { ...calmNetwork, ...settings }
  }

  get settings(): NetworkSettings {
    return this.#settings
  }

  /** Changes the weather from now on. */
  configure(settings: Partial<NetworkSettings>): void {
    this.#settings = { ...this.#settings, ...settings }
  }

  addNode(node: SimulatedNode): void {
    if (this.#byIp.has(node.ip)) throw new Error(`address ${node.ip} is taken`)
    this.#byIp.set(node.ip, node)
    for (const name of node.aliases) this.#byName.set(name, node)
  }

  /** Stops everything from one node to the other; the other direction is a call of its own. */
  block(from: string, to: string): void {
    this.#world.note(from, 'cut-to', to)
    this.#blocked.add(`${from}>${to}`)
  }

  unblock(from: string, to: string): void {
    if (!this.#blocked.delete(`${from}>${to}`)) return
    this.#world.note(from, 'heal-to', to)
    this.reachable()
  }

  healAll(): void {
    this.#blocked.clear()
    this.reachable()
  }

  /** Something became reachable: what is held back is sent again after a back-off. */
  reachable(): void {
    for (const endpoint of this.#endpoints) endpoint.retransmitSoon()
  }

  /**
   * Breaks all connections between two nodes. `reset` tells both ends; `silent` leaves both in the
   * belief that they are connected, while nothing arrives any more (half open).
   */
  breakConnections(a: string, b: string, how: 'reset' | 'silent'): void {
    this.#world.note(a, `break-${how}`, b)
    for (const endpoint of [...this.#endpoints]) {
      const peer = endpoint.peer
      if (endpoint.owner.node.name !== a || peer?.owner.node.name !== b) continue
      for (const side of [endpoint, peer]) {
        if (how === 'silent') side.silence()
        else side.receive({ kind: 'reset' })
      }
    }
  }

  isBlocked(from: SimulatedNode, to: SimulatedNode): boolean {
    if (to.poweredOff || from.poweredOff) return true
    return this.#blocked.size > 0 && this.#blocked.has(`${from.name}>${to.name}`)
  }

  /** The process of a node has ended: the kernel closes its sockets, unless the power is gone. */
  ended(incarnation: Incarnation, powerCut: boolean): void {
    for (const [key, bound] of this.#ports) if (bound.owner === incarnation) this.#ports.delete(key)
    for (const endpoint of [...this.#endpoints])
      if (endpoint.owner === incarnation) endpoint.abandon(powerCut)
  }

  /** Sends what was written in the turn that has just ended. */
  flush(): void {
    if (this.#dirty.length === 0) return
    const dirty = this.#dirty
    this.#dirty = []
    for (const endpoint of dirty) endpoint.flush()
  }

  markDirty(endpoint: Endpoint): void {
    this.#dirty.push(endpoint)
  }

  nextEndpointId(): number {
    return this.#endpointCount++
  }

  closed(endpoint: Endpoint): void {
    this.#endpoints.delete(endpoint)
  }

  latencyMs(from: SimulatedNode, to: SimulatedNode): number {
    if (from === to) return 0.02
    const { latencyMinMs, jitterMeanMs, spikeProbability, spikeMs } = this.#settings
    const spike = this.random.chance(spikeProbability) ? this.random.between(0, 2 * spikeMs) : 0
    return latencyMinMs + this.random.exponential(jitterMeanMs) + spike
  }

  /** Carries one segment that is not held back; `atLeastMs` keeps the order of its direction. */
  carry(from: Endpoint, to: Endpoint, segment: Segment, atLeastMs: number): number {
    const nowMs = this.#world.nowMs()
    const atMs = Math.max(atLeastMs, nowMs + this.latencyMs(from.owner.node, to.owner.node))
    if (segment.kind === 'data') this.#world.trace.addQuietly(atMs, to.id, segment.bytes)
    this.#world.after(atMs - nowMs, () => to.receive(segment))
    return atMs
  }

  networkOf(incarnation: Incarnation): Network {
    return {
      connect: (to, handlers) => this.#connect(incarnation, to, handlers),
      listen: (at, onSocket) => this.#listen(incarnation, at, onSocket),
      resolve: (host) =>
        new Promise((resolve, reject) => {
          this.#soon(incarnation, () => {
            const node = this.#find(host, incarnation)
            if (node !== undefined) resolve([node.ip])
            else if (/^\d+\.\d+\.\d+\.\d+$/.test(host)) resolve([host])
            else reject(new RuntimeError('ENOTFOUND', `resolve ${host}: no such name`))
          })
        }),
    }
  }

  #find(host: string, from: Incarnation): SimulatedNode | undefined {
    if (host === '127.0.0.1' || host === 'localhost') return from.node
    return this.#byIp.get(host) ?? this.#byName.get(host)
  }

  #soon(owner: Incarnation, run: () => void, delayMs = 0.01): void {
    this.#world.after(delayMs, () => owner.node.perform(owner, 'input', run))
  }

  #listen(
    owner: Incarnation,
    at: { readonly host: string; readonly port: number; readonly tls?: TlsListening | undefined },
    onSocket: (socket: Socket) => SocketHandlers,
  ): Promise<Listener> {
    if (at.tls !== undefined)
      return Promise.reject(new RuntimeError('EOTHER', 'TLS is not simulated'))
    const port = at.port === 0 ? this.#nextPort++ : at.port
    const key = `${owner.node.ip}:${port}`
    return new Promise((resolve, reject) => {
      this.#soon(owner, () => {
        if (at.host !== '0.0.0.0' && this.#find(at.host, owner) !== owner.node) {
          const message = `listen on ${at.host}:${port}: not an address of this machine`
          reject(new RuntimeError('EADDRNOTAVAIL', message))
          return
        }
        if (this.#ports.has(key)) {
          reject(new RuntimeError('EADDRINUSE', `listen on ${at.host}:${port}: address in use`))
          return
        }
        const bound: BoundPort = { owner, onSocket }
        this.#ports.set(key, bound)
        const close = async (): Promise<void> => {
          if (this.#ports.get(key) === bound) this.#ports.delete(key)
        }
        resolve({ host: at.host, port, close })
      })
    })
  }

  #connect(
    owner: Incarnation,
    to: { readonly host: string; readonly port: number; readonly timeoutMs: number },
    handlers: SocketHandlers,
  ): Socket {
    const world = this.#world
    const attempt = `connect to ${to.host}:${to.port}`
    const target = this.#find(to.host, owner)
    const local = `${owner.node.ip}:${this.#nextPort++}`
    const remote = `${target?.ip ?? to.host}:${to.port}`
    const endpoint = new Endpoint(world, this, { owner, local, remote, attempt })
    endpoint.attach(handlers)
    if (!owner.alive) return endpoint.socket
    this.#endpoints.add(endpoint)
    if (target === undefined && !/^\d+\.\d+\.\d+\.\d+$/.test(to.host)) {
      endpoint.fail(new RuntimeError('ENOTFOUND', `${attempt}: no such name`))
      return endpoint.socket
    }
    world.after(to.timeoutMs, () => {
      if (endpoint.state === 'connecting')
        endpoint.fail(new RuntimeError('ETIMEDOUT', `${attempt}: no answer in ${to.timeoutMs} ms`))
    })
    if (target !== undefined) this.#sendSyn(endpoint, target, to.port, 1000)
    return endpoint.socket
  }

  #sendSyn(endpoint: Endpoint, target: SimulatedNode, port: number, againMs: number): void {
    if (endpoint.state !== 'connecting' || !endpoint.owner.alive) return
    const from = endpoint.owner.node
    if (this.isBlocked(from, target)) {
      this.#world.after(againMs, () => this.#sendSyn(endpoint, target, port, againMs * 2))
      return
    }
    this.#world.after(this.latencyMs(from, target), () => this.#accept(endpoint, target, port))
  }

  #accept(client: Endpoint, target: SimulatedNode, port: number): void {
    const bound = this.#ports.get(`${target.ip}:${port}`)
    if (bound === undefined || !bound.owner.alive) {
      if (this.isBlocked(target, client.owner.node)) return
      this.#world.after(this.latencyMs(target, client.owner.node), () =>
        client.fail(
          new RuntimeError('ECONNREFUSED', `${client.attempt}: connection refused`),
          'connecting',
        ),
      )
      return
    }
    const server = new Endpoint(this.#world, this, {
      owner: bound.owner,
      local: client.remote,
      remote: client.local,
      attempt: `connection from ${client.local}`,
    })
    this.#endpoints.add(server)
    server.pair(client)
    server.transmit({ kind: 'accepted', by: server })
    bound.owner.node.perform(bound.owner, 'input', () => {
      if (server.state !== 'closed') server.attach(bound.onSocket(server.socket))
    })
  }
}
