/**
 * The one error of a call between processes: what failed, at whom, and what is known about its
 * effect. Codes are the error names of wire.md 10 as the server sent them, plus the local ones
 * below, which never travel.
 */

/** Whether the request may have been carried out: a broken or late write is unknown, not failed. */
export type Effect = 'none' | 'unknown'

/**
 * Codes that a `Peer` makes itself.
 * ERR_NETWORK_FAILURE: no connection could be made, nothing was sent.
 * ERR_SESSION_RESET: the connection ended (or the peer was closed) before the reply.
 * ERR_TIMEOUT: the deadline passed. ERR_ABORTED: the caller's signal fired.
 * ERR_BUSY: a limit of this process (calls in flight, bytes queued), nothing was sent.
 * ERR_INVALID_DATA: the reply came and could not be read.
 */
export type LocalErrorCode =
  | 'ERR_NETWORK_FAILURE'
  | 'ERR_SESSION_RESET'
  | 'ERR_TIMEOUT'
  | 'ERR_ABORTED'
  | 'ERR_BUSY'
  | 'ERR_INVALID_DATA'

export class RpcError extends Error {
  override readonly name = 'RpcError'
  /** An error name such as ERR_TIMEOUT; names from a server that we do not know are kept. */
  readonly code: string
  readonly effect: Effect
  /** True when this process made the error, false when the server answered it. */
  readonly local: boolean
  readonly rpcName: string
  readonly address: string
  /** The code and why, without what was called where. */
  readonly summary: string

  constructor(
    code: string,
    facts: {
      readonly effect: Effect
      readonly local: boolean
      readonly rpcName: string
      readonly address: string
      readonly reason?: string
    },
    options?: ErrorOptions,
  ) {
    const reason = facts.reason === undefined ? '' : `: ${facts.reason}`
    const summary = `${code}${reason}`
    super(`${facts.rpcName} to ${facts.address}: ${summary}`, options)
    this.summary = summary
    this.code = code
    this.effect = facts.effect
    this.local = facts.local
    this.rpcName = facts.rpcName
    this.address = facts.address
  }
}
