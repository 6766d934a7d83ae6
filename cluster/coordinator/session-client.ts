/**
 * The client half of coordination, the same for ZooKeeper and for memory: states, order, deadlines,
 * limits, watches and the watchdog, over a `Link`. Rules: meta-server.md 2.3 and 2.3b, gateway.md
 * 3.3, dependencies.md 4.
 *
 * - Operations go to the link only in state `connected`, which begins with one full round trip
 *   behind authentication. Before the first session they wait; later they fail fast.
 * - The watchdog asks a cheap question every third of the session time. When no question asked
 *   within the last two thirds was answered, the state is `suspended`, every pending operation ends
 *   with `connection-loss`, and a new connection is tried with the same session.
 * - With `renew`, a session that could not be resumed for twice its time is given up for a new one.
 *   It has long expired where a service is; and a service that was restarted empty, or from an old
 *   copy, refuses for ever whoever has seen more than it has.
 * - Ages are measured from the sending of the question, so they never flatter: the service has
 *   heard from this client at that time or later.
 */
import type {
  Coordinator,
  CoordinatorErrorCode,
  CoordinatorOperation,
  CoordinatorState,
  CreateOptions,
  NodeStat,
  Watch,
} from './coordinator.ts'
import { CoordinatorError } from './coordinator.ts'
import type { Link, LinkHandlers, LinkReply, LinkRequest } from './link.ts'
import { ClientWatches } from './client-watches.ts'
import type { Pending } from './pending-queue.ts'
import { PendingQueue, settle } from './pending-queue.ts'
import { type AccessRule, isPath } from './tree.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import { Watchdog } from './watchdog.ts'

export interface SessionClientOptions {
  /** The session time asked for; the service may grant another. */
  readonly sessionTimeoutMs: number
  /** After expiry: stay expired, or open a new session. */
  readonly onExpiry: 'end' | 'renew'
  /** Operations waiting or unanswered; more are refused. Default 1000. */
  readonly maxPending?: number
  /** Default: two thirds of `sessionTimeoutMs`. */
  readonly operationTimeoutMs?: number
  /** Sum of the lengths of watched paths; reads with a watch beyond are refused. Default 16 MiB. */
  readonly watchedPathBytesMax?: number
}

/** Paths and data of one request; a packet of 1 MiB is refused by servers with all that is in it. */
const requestBytesMax = 1_040_000
const renewMsMax = 2000
/** In session times. */
const giveUpAfter = 2

export class SessionClient implements Coordinator {
  readonly #runtime: Runtime
  readonly #options: SessionClientOptions
  readonly #open: (handlers: LinkHandlers) => Link
  readonly #listeners = new Set<(state: CoordinatorState) => void>()
  readonly #watches: ClientWatches
  readonly #watchdog: Watchdog
  readonly #maxPending: number
  readonly #operationTimeoutMs: number

  #state: CoordinatorState = 'connecting'
  #link: Link | undefined
  /** Rises with every link and connection, so that what an older one still says is ignored. */
  #linkNumber = 0
  #connectionNumber = 0
  #sessionId = 0n
  #timeoutMs = 0
  #epoch = 0
  readonly #waiting = new PendingQueue()
  readonly #sent = new PendingQueue()
  #unanswered = 0
  #deadlineTimer: Timer | undefined
  #renewTimer: Timer | undefined
  #giveUpTimer: Timer | undefined
  /** Since the last session that worked. */
  #renewals = 0
  #closing: Promise<void> | undefined

  constructor(
    runtime: Runtime,
    options: SessionClientOptions,
    open: (handlers: LinkHandlers) => Link,
  ) {
    this.#runtime = runtime
    this.#options = options
    this.#open = open
    this.#maxPending = options.maxPending ?? 1000
    this.#operationTimeoutMs =
      options.operationTimeoutMs ?? Math.ceil((options.sessionTimeoutMs * 2) / 3)
    this.#watches = new ClientWatches(options.watchedPathBytesMax ?? 16 * 1024 * 1024)
    this.#watchdog = new Watchdog(runtime, {
      ask: () => this.#ask(),
      onSilence: () => {
        this.#onSilence()
        this.#link?.reconnect()
      },
    })
    this.#openLink()
  }

  state(): CoordinatorState {
    return this.#state
  }

  sessionTimeoutMs(): number {
    return this.#timeoutMs
  }

  lastAnswerAtMs(): number {
    return this.#watchdog.lastAnswerAtMs()
  }

  sessionEpoch(): number {
    return this.#epoch
  }

  watchCount(): number {
    return this.#watches.count
  }

  onState(listener: (state: CoordinatorState) => void): () => void {
    // A wrapper of its own, so that one function may be registered twice.
    const entry = (state: CoordinatorState): void => listener(state)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  async create(path: string, data: Buffer, options: CreateOptions = {}): Promise<string> {
    const { ephemeral = false, sequential = false, secret = false } = options
    const reply = await this.#request(
      { type: 'create', path, data, ephemeral, sequential, secret },
      isPath(path) ? data.length + path.length : 'bad-arguments',
    )
    return reply.path ?? path
  }

  async get(path: string, watch?: Watch): Promise<{ data: Buffer; stat: NodeStat }> {
    const request = { type: 'get', path, watch: watch !== undefined } as const
    const reply = await this.#request(request, this.#checkRead(path, watch), () =>
      this.#watches.add('data', path, watch),
    )
    if (reply.data === undefined || reply.stat === undefined)
      throw new CoordinatorError('connection-loss', 'get', path)
    return { data: reply.data, stat: reply.stat }
  }

  async exists(path: string, watch?: Watch): Promise<NodeStat | undefined> {
    const request = { type: 'exists', path, watch: watch !== undefined } as const
    const reply = await this.#request(request, this.#checkRead(path, watch), ({ stat }) =>
      this.#watches.add(stat === undefined ? 'exist' : 'data', path, watch),
    )
    return reply.stat
  }

  async children(path: string, watch?: Watch): Promise<readonly string[]> {
    const request = { type: 'children', path, watch: watch !== undefined } as const
    const reply = await this.#request(request, this.#checkRead(path, watch), () =>
      this.#watches.add('child', path, watch),
    )
    return reply.children ?? []
  }

  async acl(path: string): Promise<readonly AccessRule[]> {
    const reply = await this.#request({ type: 'acl', path }, isPath(path) ? 0 : 'bad-arguments')
    return reply.access ?? []
  }

  async keepSecret(path: string): Promise<void> {
    await this.#request({ type: 'keep-secret', path }, isPath(path) ? 0 : 'bad-arguments')
  }

  async set(path: string, data: Buffer, version = -1): Promise<NodeStat> {
    const problem = isPath(path) ? data.length + path.length : 'bad-arguments'
    const reply = await this.#request({ type: 'set', path, data, version }, problem)
    if (reply.stat === undefined) throw new CoordinatorError('connection-loss', 'set', path)
    return reply.stat
  }

  async remove(path: string, version = -1): Promise<void> {
    const problem = isPath(path) && path !== '/' ? 0 : 'bad-arguments'
    await this.#request({ type: 'remove', path, version }, problem)
  }

  async multi(operations: readonly CoordinatorOperation[]): Promise<void> {
    const [first] = operations
    if (first === undefined) return
    let sizeBytes = 0
    for (const one of operations)
      sizeBytes += 100 + one.path.length + ('data' in one ? one.data.length : 0)
    const isValid = operations.every((operation) => isPath(operation.path))
    const request = { type: 'multi', path: first.path, operations } as const
    await this.#request(request, isValid ? sizeBytes : 'bad-arguments')
  }

  async sync(path: string): Promise<void> {
    await this.#request({ type: 'sync', path }, isPath(path) ? 0 : 'bad-arguments')
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const link = this.#link
    this.#dropLink()
    this.#renewTimer?.cancel()
    this.#giveUpTimer?.cancel()
    this.#watches.clear()
    this.#enter('closed', () => this.#failAll('closed'))
    await link?.close()
  }

  /** `problem`: the size of the data, or why the request is refused. */
  #request(
    request: LinkRequest,
    problem: number | CoordinatorErrorCode,
    onOk?: (reply: LinkReply) => void,
  ): Promise<LinkReply> {
    const refused = typeof problem === 'string' ? problem : this.#refusal(problem)
    if (refused !== undefined)
      return Promise.reject(new CoordinatorError(refused, request.type, request.path))
    return new Promise((resolve, reject) => {
      const nowMs = this.#runtime.clock.monotonicMs()
      const pending: Pending = {
        request,
        deadlineMs: nowMs + this.#operationTimeoutMs,
        sentAtMs: nowMs,
        settle: (reply) => {
          if (reply.code === 'ok') {
            onOk?.(reply)
            resolve(reply)
          } else reject(new CoordinatorError(reply.code, request.type, request.path))
        },
      }
      if (this.#state === 'connected') this.#send(pending)
      else this.#waiting.push(pending)
      this.#armDeadline()
    })
  }

  #refusal(sizeBytes: number): CoordinatorErrorCode | undefined {
    if (sizeBytes > requestBytesMax) return 'too-large'
    if (this.#state === 'closed') return 'closed'
    if (this.#state === 'expired')
      return this.#options.onExpiry === 'end' ? 'session-expired' : 'not-connected'
    if (this.#state === 'suspended') return 'not-connected'
    if (this.#waiting.length + this.#unanswered >= this.#maxPending) return 'not-connected'
    return undefined
  }

  #checkRead(path: string, watch: Watch | undefined): number | CoordinatorErrorCode {
    if (!isPath(path)) return 'bad-arguments'
    return watch === undefined || this.#watches.hasRoomFor(path) ? 0 : 'too-large'
  }

  #send(pending: Pending): void {
    const link = this.#link
    if (link === undefined) throw new Error('broken state: connected without a link')
    const connection = this.#connectionNumber
    pending.sentAtMs = this.#runtime.clock.monotonicMs()
    this.#sent.push(pending)
    this.#unanswered += 1
    link.send(pending.request, (reply) => {
      if (connection !== this.#connectionNumber) return
      this.#unanswered -= 1
      this.#watchdog.answered(pending.sentAtMs)
      this.#sent.answered(pending)
      settle(pending, reply)
    })
  }

  #openLink(): void {
    this.#linkNumber += 1
    this.#connectionNumber += 1
    const number = this.#linkNumber
    const whenCurrent = (run: () => void): void => {
      if (number === this.#linkNumber) run()
    }
    this.#link = this.#open({
      onUp: (session) => whenCurrent(() => this.#onUp(session.id, session.timeoutMs)),
      onDown: () => whenCurrent(() => this.#onSilence()),
      onExpired: () => whenCurrent(() => this.#onExpired()),
      onEvent: (event) =>
        whenCurrent(() => {
          for (const watch of this.#watches.take(event)) this.#tell(() => watch(event))
        }),
      watched: () => this.#watches.paths(),
    })
  }

  #onUp(sessionId: bigint, timeoutMs: number): void {
    this.#connectionNumber += 1
    this.#sent.failAll('connection-loss')
    this.#unanswered = 0
    this.#timeoutMs = timeoutMs
    const connection = this.#connectionNumber
    const nowMs = this.#runtime.clock.monotonicMs()
    const verify: Pending = {
      request: { type: 'exists', path: '/', watch: false },
      deadlineMs: nowMs + timeoutMs / 3,
      sentAtMs: nowMs,
      settle: (reply) => {
        if (connection !== this.#connectionNumber) return
        if (reply.code === 'timeout') {
          this.#connectionNumber += 1
          this.#link?.reconnect()
          return
        }
        if (sessionId !== this.#sessionId) this.#epoch += 1
        this.#sessionId = sessionId
        this.#renewals = 0
        this.#giveUpTimer?.cancel()
        this.#watchdog.start(timeoutMs)
        this.#enter('connected', () => {
          for (const pending of this.#waiting.takeAll()) this.#send(pending)
          this.#armDeadline()
        })
      },
    }
    this.#send(verify)
    // Its deadline is earlier than those of operations that wait.
    this.#disarmDeadline()
    this.#armDeadline()
  }

  /** The connection broke or nothing is answered: what was sent has an unknown outcome. */
  #onSilence(): void {
    this.#connectionNumber += 1
    this.#watchdog.stop()
    this.#unanswered = 0
    if (this.#state === 'connected') this.#onSuspended()
    this.#enter(this.#state === 'connected' ? 'suspended' : this.#state, () => {
      this.#sent.failAll('connection-loss')
    })
  }

  #onSuspended(): void {
    this.#giveUpTimer?.cancel()
    if (this.#options.onExpiry === 'end') return
    this.#giveUpTimer = this.#runtime.timers.after(giveUpAfter * this.#timeoutMs, () => {
      if (this.#state === 'suspended') this.#onExpired()
    })
  }

  #onExpired(): void {
    this.#giveUpTimer?.cancel()
    const link = this.#link
    this.#dropLink()
    void link?.close()
    this.#enter('expired', () => {
      this.#sent.failAll('connection-loss')
      this.#failAll('session-expired')
    })
    for (const { path, watch } of this.#watches.clear())
      this.#tell(() => watch({ type: 'session-lost', path }))
    if (this.#options.onExpiry === 'end') return
    // Refused credentials look like expiry again and again.
    const ceilingMs = Math.min(renewMsMax, 50 * 2 ** this.#renewals)
    this.#renewals += 1
    this.#renewTimer = this.#runtime.timers.after(this.#runtime.random.below(ceilingMs), () => {
      if (this.#state === 'expired') this.#openLink()
    })
  }

  #dropLink(): void {
    this.#linkNumber += 1
    this.#connectionNumber += 1
    this.#link = undefined
    this.#watchdog.stop()
  }

  #failAll(code: CoordinatorErrorCode): void {
    this.#unanswered = 0
    this.#disarmDeadline()
    this.#sent.failAll(code)
    this.#waiting.failAll(code)
  }

  #disarmDeadline(): void {
    this.#deadlineTimer?.cancel()
    this.#deadlineTimer = undefined
  }

  #armDeadline(): void {
    if (this.#deadlineTimer !== undefined) return
    const next = Math.min(this.#sent.nextDeadlineMs(), this.#waiting.nextDeadlineMs())
    if (next === Infinity) return
    const delayMs = Math.max(0, next - this.#runtime.clock.monotonicMs())
    this.#deadlineTimer = this.#runtime.timers.after(delayMs, () => {
      this.#deadlineTimer = undefined
      const nowMs = this.#runtime.clock.monotonicMs()
      this.#sent.failUntil(nowMs, 'timeout')
      // Never sent, so the outcome is known.
      this.#waiting.failUntil(nowMs, 'not-connected')
      this.#armDeadline()
    })
  }

  #ask(): void {
    const nowMs = this.#runtime.clock.monotonicMs()
    const request = { type: 'exists', path: '/', watch: false } as const
    const deadlineMs = nowMs + this.#operationTimeoutMs
    this.#send({ request, deadlineMs, sentAtMs: nowMs, settle: () => undefined })
    this.#armDeadline()
  }

  /** What waits or is under way is dealt with before listeners can ask for more. */
  #enter(state: CoordinatorState, dealWith: () => void): void {
    const isNew = state !== this.#state
    this.#state = state
    dealWith()
    if (!isNew) return
    this.#runtime.log.debug('coordination state', { state, epoch: this.#epoch })
    for (const listener of this.#listeners) this.#tell(() => listener(state))
  }

  /** What listeners throw is a bug of theirs and must not look like a broken connection. */
  #tell(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#runtime.crash('a coordination listener threw', { error })
    }
  }
}
