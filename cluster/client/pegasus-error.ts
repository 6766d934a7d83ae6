/**
 * The one error class that users of the client meet. Codes are upstream's error names and the two
 * added below; a code is never reused for something else.
 */
import { type ErrorName, StorageStatus, isErrorName } from '../protocol/error-codes.ts'
import type { Effect, RpcError } from '../rpc/rpc-error.ts'

/**
 * ERR_ABORTED: the caller's signal fired. ERR_STORAGE: the server answered a storage status that the
 * operation does not expect, see `storageStatus`. ERR_INVALID_PARAMETERS: an argument was refused,
 * here or there. ERR_TIMEOUT: the deadline passed; `cause` is what went wrong last, when something
 * did. ERR_OBJECT_NOT_FOUND: no such table. ERR_SESSION_RESET: the client was closed.
 */
export type PegasusErrorCode = ErrorName | 'ERR_ABORTED' | 'ERR_STORAGE'

export class PegasusError extends Error {
  override readonly name = 'PegasusError'
  readonly code: PegasusErrorCode
  /**
   * `none`: the operation surely changed nothing. `unknown`: it may have been carried out, wholly
   * or (for operations of several parts) in part. Always `none` for reads.
   */
  readonly effect: Effect
  /** A RocksDB status number, with code ERR_STORAGE only. */
  readonly storageStatus: number | undefined
  /** Of a batch write: which of its items failed, by their index. All others succeeded. */
  readonly failures: ReadonlyMap<number, PegasusError> | undefined

  constructor(
    code: PegasusErrorCode,
    message: string,
    facts: {
      readonly effect?: Effect
      readonly storageStatus?: number
      readonly failures?: ReadonlyMap<number, PegasusError>
      readonly cause?: unknown
    } = {},
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.effect = facts.effect ?? 'none'
    this.storageStatus = facts.storageStatus
    this.failures = facts.failures
  }
}

export function invalidParameters(message: string): PegasusError {
  return new PegasusError('ERR_INVALID_PARAMETERS', message)
}

/** A name from a newer server that is in no table counts as ERR_UNKNOWN. */
export function codeOf(errorName: string): PegasusErrorCode {
  if (errorName === 'ERR_ABORTED' || isErrorName(errorName)) return errorName
  return 'ERR_UNKNOWN'
}

export function fromRpcError(error: RpcError, effect: Effect): PegasusError {
  return new PegasusError(codeOf(error.code), error.message, { effect, cause: error })
}

/** `kIncomplete`, or the bare number for one that no table has. */
export function storageStatusName(status: number): string {
  const found = Object.entries(StorageStatus).find(([, number]) => number === status)
  return found?.[0] ?? String(status)
}

export function storageError(what: string, status: number): PegasusError {
  return new PegasusError('ERR_STORAGE', `${what}: storage status ${storageStatusName(status)}`, {
    // The primary judged and refused the write as a whole; nothing of it was applied.
    effect: 'none',
    storageStatus: status,
  })
}
