/**
 * The runtime contract: everything nondeterministic that product code may use. Clock, timers,
 * randomness, network and files come from here and from nowhere else, so that client, meta and
 * replica run unmodified on Node (`node.ts`) and in the seeded simulation (`simulated.ts`).
 *
 * Callbacks are never called from inside the call that registers them. Errors of the outside world
 * are `RuntimeError`s with a stable `code`.
 */

/** Codes are those of the operating system, as far as callers react to them. */
export type RuntimeErrorCode =
  | 'ENOENT'
  | 'EEXIST'
  | 'EIO'
  | 'ENOSPC'
  | 'EACCES'
  | 'ENOTEMPTY'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'ETIMEDOUT'
  | 'ENOTFOUND'
  | 'EOTHER'

export class RuntimeError extends Error {
  override readonly name = 'RuntimeError'
  readonly code: RuntimeErrorCode
  constructor(code: RuntimeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface Clock {
  /** Monotonic milliseconds with fraction, any origin. All timeouts, leases and grace periods. */
  readonly monotonicMs: () => number
  /** Unix milliseconds; may step. Only for what people or stored records see. */
  readonly wallMs: () => number
}

export interface Timer {
  /** Idempotent; after it the callback will not run. */
  readonly cancel: () => void
}

export interface Timers {
  /**
   * Runs once, not before `delayMs` (0 or more) have passed. Keeps no process alive by itself,
   * unless `holdsProcess` is set: for a pause in the midst of a call that somebody awaits.
   */
  readonly after: (
    delayMs: number,
    run: () => void,
    options?: { readonly holdsProcess: boolean },
  ) => Timer
  /** Runs in a later turn of the event loop, after pending network events had a chance. */
  readonly soon: (run: () => void) => void
}

export interface Random {
  /** In [0, 1). */
  readonly float: () => number
  /** A whole number in [0, limit), limit up to 2^32. */
  readonly below: (limit: number) => number
  readonly bytes: (sizeBytes: number) => Buffer
}

export interface SocketHandlers {
  /** Only on connecting sockets: the connection is usable from now on. */
  readonly onConnect?: () => void
  /** The chunk belongs to the receiver, unless it asked for lent ones (`Network`). */
  readonly onData: (chunk: Buffer) => void
  /** The peer will send no more; writing is still possible (half close). */
  readonly onEnd: () => void
  /** After a `write` that returned false: the buffer has drained. */
  readonly onDrain: () => void
  /** Last event of a socket, exactly once; `cause` is set when it did not end in order. */
  readonly onClose: (cause: RuntimeError | undefined) => void
}

/** A connection that nobody reads: the system's own handle. */
export interface BareConnection {
  /** Lets go of it in this process; where another process holds it too, it lives on. */
  readonly close: () => void
}

export interface Socket {
  /** `ip:port` of the peer; '' while not connected. */
  readonly remoteAddress: string
  readonly localAddress: string
  /** Queues bytes (not to be changed afterwards); false when the caller should wait for onDrain. */
  readonly write: (bytes: Buffer) => boolean
  /**
   * Hands the bytes over at once, behind what was written before. True when the network has taken
   * all of it: the memory may be used again. Not there: `write` is the only way.
   */
  readonly writeNow?: (bytes: Buffer) => boolean
  /** Calls back once, when all that was written so far is sent, or will never be; there with `writeNow`. */
  readonly whenSent?: (callback: () => void) => void
  /** Bytes queued here and not yet taken by the network. */
  readonly bufferedBytes: () => number
  /**
   * The lent chunks so far are no longer needed, but for what was given to `write` of any socket in
   * this tick. Without it nothing lent is ever used again, and every read takes new memory.
   */
  readonly giveBack?: () => void
  /**
   * Lends memory for `bytes` in one piece, of which the first `at` are the caller's to fill; chunks
   * from now on lie in it behind them until it is full. Not there: chunks lie anywhere.
   */
  readonly gather?: (bytes: number, at: number) => Buffer
  /**
   * The next lent chunk begins with these bytes again, so that what follows them lies in one piece
   * with them. False, and nothing has happened, when there would be no room for more, or a piece is
   * gathered.
   */
  readonly unread?: (bytes: Buffer) => boolean
  /** Stops and restarts onData: back-pressure. */
  readonly pause: () => void
  readonly resume: () => void
  /** Sends what is queued, then a half close. */
  readonly end: () => void
  /**
   * Takes the connection out, open and with what the peer has sent since the last chunk, so that
   * somebody else can read on; onClose follows. Undefined, and nothing has happened, when something
   * is still to be sent or to be decrypted, or an end was read or written.
   */
  readonly detach?: () => BareConnection | undefined
  /** Closes at once, dropping what is queued; onClose follows. Idempotent. */
  readonly destroy: () => void
}

/** What a TLS listener shows and asks for; PEM texts. */
export interface TlsMaterial {
  /** The certificate with its chain. */
  readonly certificate: Buffer
  readonly key: Buffer
  /** With these authorities clients must show a certificate of one of them. */
  readonly clientAuthorities?: Buffer | undefined
}

/** What a connection begins with before its handshake. */
export interface Preamble {
  /** What lies behind it, once it is whole; `refused` closes the connection. */
  readonly push: (chunk: Buffer) => Buffer | 'incomplete' | 'refused'
  /** It took too long; the connection is closed. */
  readonly onSlow: () => void
  /** The connection has closed, before or after its handshake. */
  readonly onClosed: () => void
}

export interface TlsListening {
  readonly material: TlsMaterial
  /** Asked with `ip:port` before the handshake; false closes the connection. */
  readonly admits: (peer: string) => boolean
  /** Asked after that: what must come first from that peer; nothing when undefined. */
  readonly preamble?: (peer: string) => Preamble | undefined
  /** A handshake failed or took too long; there will be no socket. */
  readonly onFailed: (peer: string, reason: string) => void
}

export interface Listener {
  readonly host: string
  /** The real port, also when 0 was asked for. */
  readonly port: number
  /** Stops accepting; sockets already accepted live on. */
  readonly close: () => Promise<void>
  /** With TLS: handshakes from now on use this. Throws RuntimeError when it is unusable. */
  readonly setTls?: (material: TlsMaterial) => void
}

export interface Network {
  /**
   * `host` is a name or an IPv4 address. Failure to connect arrives as onClose with a cause. With
   * `lends`, chunks may lie in memory that is used again after `Socket.giveBack`.
   */
  readonly connect: (
    to: {
      readonly host: string
      readonly port: number
      readonly timeoutMs: number
      readonly lends?: boolean
    },
    handlers: SocketHandlers,
  ) => Socket
  /**
   * Rejects with EADDRINUSE and the like. With `lends`, chunks lie in memory that is used again when
   * `onData` returns. With `tls`, sockets arrive after their handshake, and nothing is lent.
   */
  readonly listen: (
    at: {
      readonly host: string
      readonly port: number
      readonly lends?: boolean
      readonly tls?: TlsListening | undefined
    },
    onSocket: (socket: Socket) => SocketHandlers,
  ) => Promise<Listener>
  /** IPv4 addresses of a name (an address resolves to itself); rejects with ENOTFOUND. */
  readonly resolve: (host: string) => Promise<readonly string[]>
}

export interface File {
  /** Up to `lengthBytes` from `position`; fewer only at the end of the file. */
  readonly read: (position: number, lengthBytes: number) => Promise<Buffer>
  /** Writes all chunks one behind the other. Not durable before `sync`. One write at a time. */
  readonly write: (position: number, chunks: readonly Buffer[]) => Promise<void>
  /** Makes content and size written before durable (fdatasync). */
  readonly sync: () => Promise<void>
  readonly truncate: (sizeBytes: number) => Promise<void>
  readonly sizeBytes: () => Promise<number>
  readonly close: () => Promise<void>
}

export interface Files {
  /** `create` fails with EEXIST when the file exists; `read` and `update` with ENOENT when not. */
  readonly open: (path: string, mode: 'read' | 'update' | 'create') => Promise<File>
  readonly readFile: (path: string) => Promise<Buffer>
  /** Temporary file, sync, rename, sync of the folder: afterwards old or new, and durable. */
  readonly replaceFile: (path: string, content: Buffer) => Promise<void>
  /** Names in a folder, sorted. */
  readonly list: (directory: string) => Promise<readonly string[]>
  /** `undefined` when nothing is there. */
  readonly stat: (
    path: string,
  ) => Promise<{ readonly kind: 'file' | 'directory'; readonly sizeBytes: number } | undefined>
  /** With its parents; fine when it exists. */
  readonly makeDirectory: (path: string) => Promise<void>
  readonly rename: (from: string, to: string) => Promise<void>
  /** A file or a whole folder; fine when it is absent. */
  readonly remove: (path: string) => Promise<void>
  /** Makes creations, renames and removals in the folder durable. */
  readonly syncDirectory: (directory: string) => Promise<void>
}

export type LogFields = Readonly<Record<string, unknown>>

/** Events: a short constant message, facts beside it. `error` means that somebody must act. */
export interface Log {
  readonly debug: (message: string, fields?: LogFields) => void
  readonly info: (message: string, fields?: LogFields) => void
  readonly warn: (message: string, fields?: LogFields) => void
  readonly error: (message: string, fields?: LogFields) => void
  readonly child: (fields: LogFields) => Log
}

export interface Runtime {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly network: Network
  readonly files: Files
  readonly log: Log
  /**
   * A broken invariant or an unusable state: logs and ends this process (in the simulation: this
   * node) with the exit code, at once. Does not return control to the caller's logic.
   */
  readonly crash: (message: string, fields?: LogFields) => never
}
