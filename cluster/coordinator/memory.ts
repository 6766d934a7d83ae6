/**
 * Coordination in memory: one linearizable service for any number of clients, for unit tests and
 * for the seeded simulation. It behaves like a single ZooKeeper server as far as the contract in
 * `coordinator.ts` shows, and can be told to misbehave: messages of single clients get lost, the
 * service stops answering, sessions expire. All time and randomness come from the runtimes given:
 * the service's own for what happens at the service, each client's for what happens at the client.
 */
import type { Coordinator, CoordinatorOperation } from './coordinator.ts'
import type { LinkReply, LinkRequest } from './link.ts'
import type { MemoryHello, MemoryPort } from './memory-link.ts'
import { MemoryLink } from './memory-link.ts'
import type { SessionClientOptions } from './session-client.ts'
import { SessionClient } from './session-client.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { TransactionOutcome, TreeEvent, TreeRequest } from './tree.ts'
import { openAccess, statOf, Tree } from './tree.ts'
import { WatchTable } from './watches.ts'

/**
 * `up`; `lost-replies`: requests arrive and take effect, nothing comes back; `down`: nothing gets
 * through in either direction. A connection that lost a message stays silent until it is renewed.
 */
export type Reachability = 'up' | 'lost-replies' | 'down'

export interface MemoryOptions {
  /** One way, drawn anew for each message; order is kept. Default 0.2 to 1 ms. */
  readonly latencyMs?: { readonly min: number; readonly max: number }
  /** Session times asked for are brought into this range. Default 10 ms to 60 s. */
  readonly sessionTimeoutMs?: { readonly min: number; readonly max: number }
}

export interface MemoryConnectOptions extends SessionClientOptions {
  /** For `setReachable`; several clients may share one. Default ''. */
  readonly name?: string
}

interface Session {
  readonly id: bigint
  readonly timeoutMs: number
  lastHeardAtMs: number
  port: MemoryPort | undefined
  timer: Timer | undefined
}

export class MemoryCoordination {
  readonly #runtime: Pick<Runtime, 'clock' | 'timers' | 'random'>
  readonly #latencyMs: { readonly min: number; readonly max: number }
  readonly #grantMs: { readonly min: number; readonly max: number }
  readonly #tree = new Tree()
  readonly #watches = new WatchTable<MemoryPort>()
  readonly #sessions = new Map<bigint, Session>()
  readonly #reachability = new Map<string, Reachability>()
  readonly #ports = new Set<MemoryPort>()
  #zxid = 0n
  #nextSessionId = 1n
  #frozen: (() => void)[] | undefined

  /** The runtime is that of the service: in the simulation, a node that stays up. */
  constructor(runtime: Pick<Runtime, 'clock' | 'timers' | 'random'>, options: MemoryOptions = {}) {
    this.#runtime = runtime
    this.#latencyMs = options.latencyMs ?? { min: 0.2, max: 1 }
    this.#grantMs = options.sessionTimeoutMs ?? { min: 10, max: 60_000 }
  }

  connect(runtime: Runtime, options: MemoryConnectOptions): Coordinator {
    const name = options.name ?? ''
    return new SessionClient(
      runtime,
      options,
      (handlers) =>
        new MemoryLink(runtime, handlers, {
          name,
          sessionTimeoutMs: options.sessionTimeoutMs,
          latencyMs: () => this.#latency(runtime),
          reachability: () => this.#reachability.get(name) ?? 'up',
          deliver: (run) => this.#deliver(run),
          hello: (port, hello) => this.#hello(port, hello),
          request: (port, request) => this.#request(port, request),
          goodbye: (port) => this.#goodbye(port),
        }),
    )
  }

  /** Ids of living sessions, oldest first; also `ephemeralOwner` of what a session created. */
  sessionIds(): readonly bigint[] {
    return [...this.#sessions.keys()]
  }

  /** Expires a session at once; its client learns of it as with ZooKeeper, by being cut off. */
  expire(sessionId: bigint): void {
    const session = this.#sessions.get(sessionId)
    if (session === undefined) return
    this.#end(session)
    session.port?.cut()
  }

  setReachable(name: string, reachability: Reachability): void {
    this.#reachability.set(name, reachability)
  }

  /** Resets connections of one client, or all as a restart does; sessions live on. */
  breakConnections(name?: string): void {
    for (const port of this.#ports) if (name === undefined || name === port.name) port.reset()
  }

  /** The service stops: nothing is done, answered or expired until `thaw`. */
  freeze(): void {
    this.#frozen ??= []
  }

  /** What arrived in the meantime is done now. */
  thaw(): void {
    const frozen = this.#frozen ?? []
    this.#frozen = undefined
    for (const run of frozen) run()
    for (const session of this.#sessions.values()) this.#armExpiry(session)
  }

  #latency(runtime: Pick<Runtime, 'random'>): number {
    const { min, max } = this.#latencyMs
    return min + runtime.random.float() * (max - min)
  }

  /** Brings a message to the service; it arrives even if its sender dies meanwhile. */
  #deliver(run: () => void): void {
    this.#runtime.timers.after(this.#latency(this.#runtime), () => {
      if (this.#frozen === undefined) run()
      else this.#frozen.push(run)
    })
  }

  #hello(port: MemoryPort, hello: MemoryHello): void {
    const session = hello.sessionId === 0n ? this.#openSession(hello) : this.#session(hello)
    if (session === undefined) {
      port.expired()
      return
    }
    if (session.port !== undefined) this.#dropPort(session.port)
    session.port = port
    this.#ports.add(port)
    port.sessionId = session.id
    this.#heard(session)
    port.up({ id: session.id, timeoutMs: session.timeoutMs })
    for (const event of this.#watches.rearm(this.#tree, port, hello.zxid, hello.watched))
      port.event(event, this.#zxid)
  }

  #openSession({ sessionTimeoutMs }: MemoryHello): Session {
    const timeoutMs = Math.min(Math.max(sessionTimeoutMs, this.#grantMs.min), this.#grantMs.max)
    const id = this.#nextSessionId
    this.#nextSessionId += 1n
    const lastHeardAtMs = this.#runtime.clock.monotonicMs()
    const session: Session = { id, timeoutMs, lastHeardAtMs, port: undefined, timer: undefined }
    this.#sessions.set(id, session)
    this.#armExpiry(session)
    return session
  }

  #session({ sessionId }: MemoryHello): Session | undefined {
    return this.#sessions.get(sessionId)
  }

  #heard(session: Session): void {
    session.lastHeardAtMs = this.#runtime.clock.monotonicMs()
  }

  /** One timer per session, set again when it finds that the client was heard meanwhile. */
  #armExpiry(session: Session): void {
    session.timer?.cancel()
    const leftMs = session.lastHeardAtMs + session.timeoutMs - this.#runtime.clock.monotonicMs()
    session.timer = this.#runtime.timers.after(Math.max(0, leftMs), () => {
      if (this.#frozen !== undefined || !this.#sessions.has(session.id)) return
      const silentMs = this.#runtime.clock.monotonicMs() - session.lastHeardAtMs
      if (silentMs >= session.timeoutMs) this.expire(session.id)
      else this.#armExpiry(session)
    })
  }

  #end(session: Session): void {
    session.timer?.cancel()
    this.#sessions.delete(session.id)
    if (session.port !== undefined) this.#dropPort(session.port)
    const time = this.#nextTime()
    const events: TreeEvent[] = []
    for (const path of this.#tree.ownedBy(session.id))
      this.#tree.apply({ type: 'remove', path }, time, events)
    this.#publish(events)
  }

  #dropPort(port: MemoryPort): void {
    this.#ports.delete(port)
    this.#watches.removeSubscriber(port)
  }

  #goodbye(port: MemoryPort): void {
    const session = this.#sessions.get(port.sessionId)
    if (session?.port === port) this.#end(session)
  }

  #request(port: MemoryPort, request: LinkRequest): void {
    const session = this.#sessions.get(port.sessionId)
    // A connection that was replaced or whose session has ended: nobody reads it any more.
    if (session === undefined || session.port !== port) return
    this.#heard(session)
    const reply = this.#answer(session, port, request)
    port.reply(reply, this.#zxid)
  }

  #answer(session: Session, port: MemoryPort, request: LinkRequest): LinkReply {
    switch (request.type) {
      case 'sync':
        return { code: 'ok', path: request.path }
      case 'exists': {
        const node = this.#tree.node(request.path)
        if (request.watch) this.#watches.add('node', request.path, port)
        return node === undefined ? { code: 'ok' } : { code: 'ok', stat: statOf(node) }
      }
      case 'get': {
        const node = this.#tree.node(request.path)
        if (node === undefined) return { code: 'no-node' }
        if (request.watch) this.#watches.add('node', request.path, port)
        return { code: 'ok', data: Buffer.from(node.data), stat: statOf(node) }
      }
      case 'children': {
        const node = this.#tree.node(request.path)
        if (node === undefined) return { code: 'no-node' }
        if (request.watch) this.#watches.add('child', request.path, port)
        return { code: 'ok', children: [...node.children], stat: statOf(node) }
      }
      case 'acl': {
        const node = this.#tree.node(request.path)
        return node === undefined ? { code: 'no-node' } : { code: 'ok', access: node.access }
      }
      // Sessions in memory prove no identity.
      case 'keep-secret':
        return { code: this.#tree.node(request.path) === undefined ? 'no-node' : 'no-auth' }
      case 'create':
      case 'set':
      case 'remove':
      case 'multi':
        return this.#write(session, request)
    }
  }

  #write(
    session: Session,
    request: Extract<LinkRequest, { type: 'create' | 'set' | 'remove' | 'multi' }>,
  ): LinkReply {
    const requests =
      request.type === 'multi'
        ? request.operations.map((operation) => treeRequest(operation, session.id))
        : [treeRequest(request, session.id)]
    const outcome: TransactionOutcome = this.#tree.transact(requests, [], this.#nextTime())
    if (!outcome.ok) return { code: outcome.code }
    this.#publish(outcome.events)
    const path = outcome.paths[0] ?? request.path
    const node = this.#tree.node(path)
    return node === undefined ? { code: 'ok', path } : { code: 'ok', path, stat: statOf(node) }
  }

  #nextTime(): { readonly zxid: bigint; readonly wallMs: number } {
    this.#zxid += 1n
    return { zxid: this.#zxid, wallMs: Math.floor(this.#runtime.clock.wallMs()) }
  }

  #publish(events: readonly TreeEvent[]): void {
    for (const event of events)
      for (const port of this.#watches.take(event)) port.event(event, this.#zxid)
  }
}

function treeRequest(
  operation: CoordinatorOperation | Extract<LinkRequest, { type: 'create' | 'set' | 'remove' }>,
  sessionId: bigint,
): TreeRequest {
  const { path } = operation
  switch (operation.type) {
    case 'create':
      return {
        type: 'create',
        path,
        data: Buffer.from(operation.data),
        access: openAccess,
        owner: operation.ephemeral === true ? sessionId : 0n,
        sequential: 'sequential' in operation && operation.sequential,
      }
    case 'set': {
      const { version = -1 } = operation
      return { type: 'set', path, data: Buffer.from(operation.data), version }
    }
    case 'remove':
      return { type: 'remove', path, version: operation.version ?? -1 }
    case 'check':
      return { type: 'check', path, version: operation.version }
  }
}
