/**
 * A link to ZooKeeper through node-zookeeper-client, and the only file that imports it. The library
 * does framing, pings, the handshake and the matching of answers; choice of server, back-off, the
 * handshake's time limit, watches and `sync` are done here, because it lacks them or gets them
 * wrong (list in `zookeeper.ts`).
 */
import {
  ACL,
  createClient,
  CreateMode,
  Id,
  State,
  type Client,
  type Stat,
} from 'node-zookeeper-client'
import type { CoordinatorOperation } from './coordinator.ts'
import type { Link, LinkHandlers, LinkReply, LinkRequest } from './link.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { AccessRule } from './tree.ts'
import { accessOf, codeOf, eventTypes, statOf } from './zookeeper-answers.ts'
import {
  AnswerFrames,
  batches,
  closingState,
  connectionManagerOf,
  fixVersion,
  OpCode,
  requestFrame,
  stringBytes,
  stringListBytes,
  type ConnectionManager,
  type LibraryRequest,
} from './zookeeper-library.ts'

export interface ZooKeeperLinkOptions {
  /** In the order in which they are tried. */
  readonly servers: readonly { readonly host: string; readonly port: number }[]
  /** '' for none. */
  readonly chroot: string
  readonly sessionTimeoutMs: number
  /** `user:password` of scheme digest. */
  readonly auth: string | undefined
  /** The access list of nodes created here. */
  readonly access: readonly AccessRule[]
  /** That of secret ones, when there is an identity that could be meant. */
  readonly secretAccess: readonly AccessRule[]
}

const backoffMsMin = 50
const backoffMsMax = 1000
const closeMsMax = 1000

export function openZooKeeperLink(
  runtime: Runtime,
  handlers: LinkHandlers,
  options: ZooKeeperLinkOptions,
): Link {
  return new ZooKeeperLink(runtime, handlers, options)
}

class ZooKeeperLink implements Link {
  readonly #runtime: Runtime
  readonly #handlers: LinkHandlers
  readonly #options: ZooKeeperLinkOptions
  readonly #client: Client
  readonly #manager: ConnectionManager
  readonly #access: ACL[]
  readonly #secretAccess: ACL[]
  #isUp = false
  #isClosed = false
  #attempts = 0
  /** Rises with every connection and when one is given up. */
  #connection = 0
  #received = new AnswerFrames()
  #timeoutMs: number
  #connectTimer: Timer | undefined
  #whenClosed: (() => void) | undefined

  constructor(runtime: Runtime, handlers: LinkHandlers, options: ZooKeeperLinkOptions) {
    this.#runtime = runtime
    this.#handlers = handlers
    this.#options = options
    this.#timeoutMs = options.sessionTimeoutMs
    this.#access = options.access.map(aclOf)
    this.#secretAccess = options.secretAccess.map(aclOf)
    const hosts = options.servers.map(({ host, port }) => `${host}:${port}`).join(',')
    this.#client = createClient(hosts + options.chroot, {
      sessionTimeout: options.sessionTimeoutMs,
      spinDelay: backoffMsMax,
      retries: 0,
    })
    this.#manager = connectionManagerOf(this.#client)
    this.#replaceParts()
    if (options.auth !== undefined) this.#client.addAuthInfo('digest', Buffer.from(options.auth))
    this.#client.on('state', (state) => this.#onState(state))
    runtime.timers.soon(() => {
      if (!this.#isClosed) this.#client.connect()
    })
  }

  send(request: LinkRequest, onReply: (reply: LinkReply) => void): void {
    if (!this.#isUp) return
    const client = this.#client
    const watcher = (): void => undefined
    /** The library's callbacks are (error, ...results). */
    const answer = (error: unknown, reply: () => LinkReply): void =>
      onReply(error === null || error === undefined ? reply() : { code: codeOf(error) })
    switch (request.type) {
      case 'create': {
        const mode = createMode(request)
        const access = this.#accessOf(request.secret)
        client.create(request.path, request.data, access, mode, (error, path) =>
          answer(error, () => ({ code: 'ok', path })),
        )
        return
      }
      case 'get': {
        const done = (error: unknown, data: Buffer | undefined, stat: Stat): void =>
          answer(error, () => ({ code: 'ok', data: data ?? Buffer.alloc(0), stat: statOf(stat) }))
        if (request.watch) client.getData(request.path, watcher, done)
        else client.getData(request.path, done)
        return
      }
      case 'exists': {
        const done = (error: unknown, stat: Stat | null): void =>
          answer(error, () => (stat === null ? { code: 'ok' } : { code: 'ok', stat: statOf(stat) }))
        if (request.watch) client.exists(request.path, watcher, done)
        else client.exists(request.path, done)
        return
      }
      case 'children': {
        const done = (error: unknown, children: string[]): void =>
          answer(error, () => ({ code: 'ok', children }))
        if (request.watch) client.getChildren(request.path, watcher, done)
        else client.getChildren(request.path, done)
        return
      }
      case 'acl':
        client.getACL(request.path, (error, rules) =>
          answer(error, () => ({ code: 'ok', access: accessOf(rules) })),
        )
        return
      case 'keep-secret': {
        const done = (error: unknown): void => answer(error, () => ({ code: 'ok' }))
        client.setACL(request.path, this.#secretAccess, done)
        return
      }
      case 'set':
        client.setData(request.path, request.data, request.version, (error, stat) =>
          answer(error, () => ({ code: 'ok', stat: statOf(stat) })),
        )
        return
      case 'remove':
        client.remove(request.path, request.version, (error) =>
          answer(error, () => ({ code: 'ok' })),
        )
        return
      case 'multi':
        this.#multi(request.operations, (error) => answer(error, () => ({ code: 'ok' })))
        return
      case 'sync':
        this.#sync(request.path, (error) => answer(error, () => ({ code: 'ok' })))
        return
    }
  }

  #accessOf(isSecret: boolean | undefined): ACL[] {
    const isKept = isSecret === true && this.#options.auth !== undefined
    return isKept ? this.#secretAccess : this.#access
  }

  reconnect(): void {
    this.#isUp = false
    this.#destroySocket()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    const wasUp = this.#isUp
    this.#isClosed = true
    this.#isUp = false
    this.#connectTimer?.cancel()
    if (!wasUp) {
      this.#manager.setState(closingState)
      this.#destroySocket()
      return
    }
    // The server answers the end of the session by closing the connection.
    await new Promise<void>((resolve) => {
      const timer = this.#runtime.timers.after(closeMsMax, resolve)
      this.#whenClosed = () => {
        timer.cancel()
        resolve()
      }
      this.#client.close()
    })
    this.#destroySocket()
  }

  /** Puts own parts where the library's are missing or wrong. */
  #replaceParts(): void {
    const manager = this.#manager
    const readAnswer = manager.onSocketData.bind(manager)
    manager.servers = this.#options.servers
    manager.findNextServer = (connect) => this.#nextServer(connect)
    manager.onSocketData = (bytes) => {
      try {
        this.#received.push(bytes)
        const connection = this.#connection
        for (
          let frame = this.#received.next();
          frame !== undefined;
          frame = this.#received.next()
        ) {
          readAnswer(frame)
          if (connection !== this.#connection) return
        }
      } catch (error) {
        this.#runtime.log.warn('ZooKeeper answer not understood', { error })
        this.#destroySocket()
      }
    }
    // Watches are kept by the session client and set again by `#setWatches`.
    manager.watcherManager.isEmpty = () => true
    manager.watcherManager.emit = ({ type, path }) => {
      const name = eventTypes[type]
      if (name !== undefined && this.#isUp) this.#handlers.onEvent({ type: name, path })
    }
    manager.registerDataWatcher = () => undefined
    manager.registerChildWatcher = () => undefined
    manager.registerExistenceWatcher = () => undefined
  }

  /** All servers one behind the other at once, then with exponential back-off. */
  #nextServer(connect: (server: { readonly host: string; readonly port: number }) => void): void {
    const { servers } = this.#options
    const server = servers[this.#attempts % servers.length]
    const round = Math.floor(this.#attempts / servers.length)
    this.#attempts += 1
    const ceilingMs = Math.min(backoffMsMax, this.#timeoutMs / 4, backoffMsMin * 2 ** round)
    const delayMs = round === 0 ? 0 : ceilingMs * (0.5 + this.#runtime.random.float() / 2)
    this.#connectTimer?.cancel()
    this.#connectTimer = this.#runtime.timers.after(delayMs, () => {
      if (this.#isClosed || server === undefined) return
      // Left over from the connection before.
      this.#manager.pendingBuffer = null
      this.#received = new AnswerFrames()
      this.#connection += 1
      this.#manager.packetQueue.queue.length = 0
      const limitMs = Math.max(this.#timeoutMs / 3 / servers.length, 250)
      this.#connectTimer = this.#runtime.timers.after(limitMs, () => this.#destroySocket())
      connect(server)
    })
  }

  #destroySocket(): void {
    this.#connection += 1
    // The library would apply the time limit of this attempt to the next one.
    if (this.#manager.connectTimeoutHandler !== null)
      clearTimeout(this.#manager.connectTimeoutHandler)
    this.#manager.socket?.destroy()
  }

  #onState(state: State): void {
    if (state === State.SYNC_CONNECTED && !this.#isClosed) {
      this.#connectTimer?.cancel()
      this.#attempts = 0
      this.#isUp = true
      this.#timeoutMs = this.#client.getSessionTimeout()
      this.#setWatches()
      const id = this.#client.getSessionId().readBigInt64BE(0)
      this.#handlers.onUp({ id, timeoutMs: this.#timeoutMs })
      return
    }
    if (state === State.EXPIRED || state === State.AUTH_FAILED) {
      this.#isUp = false
      if (state === State.AUTH_FAILED) this.#runtime.log.error('ZooKeeper refused the credentials')
      if (!this.#isClosed) this.#handlers.onExpired()
      return
    }
    if (state === State.DISCONNECTED) {
      this.#whenClosed?.()
      const wasUp = this.#isUp
      this.#isUp = false
      if (wasUp) this.#handlers.onDown()
    }
  }

  #multi(operations: readonly CoordinatorOperation[], done: (error: unknown) => void): void {
    const transaction = this.#client.transaction()
    for (const operation of operations)
      switch (operation.type) {
        case 'create':
          transaction.create(
            operation.path,
            operation.data,
            this.#accessOf(operation.secret),
            operation.ephemeral === true ? CreateMode.EPHEMERAL : CreateMode.PERSISTENT,
          )
          break
        case 'set':
          transaction.setData(operation.path, operation.data)
          fixVersion(transaction, operation.version ?? -1)
          break
        case 'remove':
          transaction.remove(operation.path)
          fixVersion(transaction, operation.version ?? -1)
          break
        case 'check':
          transaction.check(operation.path)
          fixVersion(transaction, operation.version)
          break
      }
    transaction.commit(done)
  }

  /**
   * The library has no `sync` and would close the connection at its answer. The frame is made here;
   * afterwards the request claims to be a create, whose answer has the same form: one path.
   */
  #sync(path: string, done: (error: unknown) => void): void {
    const header = { type: OpCode.CREATE, xid: 0 }
    const body = stringBytes(this.#absolute(path))
    const toBuffer = (): Buffer => requestFrame(header.xid, OpCode.SYNC, body)
    this.#manager.queue({ header, payload: null, toBuffer }, done)
  }

  /** Goes out behind authentication and before everything else of this connection. */
  #setWatches(): void {
    const { data, exist, child } = this.#handlers.watched()
    const zxid = Buffer.from(this.#manager.zxid)
    const kinds = [data, exist, child]
    for (const [kind, paths] of kinds.entries())
      for (const batch of batches(paths.map((path) => this.#absolute(path)))) {
        const lists = kinds.map((_, index) => stringListBytes(index === kind ? batch : []))
        const header = { type: OpCode.SET_WATCHES, xid: 0 }
        const body = Buffer.concat([zxid, ...lists])
        const request: LibraryRequest = {
          header,
          payload: null,
          toBuffer: () => requestFrame(header.xid, OpCode.SET_WATCHES, body),
        }
        this.#manager.queue(request, (error) => {
          if (error === null || error === undefined || !this.#isUp) return
          this.#runtime.log.warn('ZooKeeper refused watches', { error })
          this.#destroySocket()
        })
      }
  }

  #absolute(path: string): string {
    return path === '/' && this.#options.chroot !== ''
      ? this.#options.chroot
      : this.#options.chroot + path
  }
}

function aclOf({ permissions, scheme, id }: AccessRule): ACL {
  return new ACL(permissions, new Id(scheme, id))
}

function createMode(options: {
  readonly ephemeral: boolean
  readonly sequential: boolean
}): number {
  if (options.ephemeral)
    return options.sequential ? CreateMode.EPHEMERAL_SEQUENTIAL : CreateMode.EPHEMERAL
  return options.sequential ? CreateMode.PERSISTENT_SEQUENTIAL : CreateMode.PERSISTENT
}
