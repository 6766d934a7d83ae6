/**
 * The one retry loop of the client and the rule that drives it (client.md 4, wire.md 10.2). The
 * deadline and the signal span the whole call, retries included; each attempt gets what is left.
 */
import { setMaxListeners } from 'node:events'
import { errorEntry } from '../protocol/error-codes.ts'
import type { RpcKind } from '../protocol/rpc-codes.ts'
import type { Effect, RpcError } from '../rpc/rpc-error.ts'
import { type Deadline, deadlineIn, remainingMs } from '../runtime/deadline.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { PegasusError } from './pegasus-error.ts'

export interface CallOptions {
  /** For the whole call, retries included; the client's `operationTimeoutMs` when not given. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Budget {
  readonly deadline: Deadline
  readonly signal: AbortSignal | undefined
  /** Fires when the client is closed. */
  readonly closing: AbortSignal
}

/** Throws `PegasusError` for a timeout that is no positive number. */
export function budgetOf(
  runtime: Runtime,
  options: CallOptions,
  client: { readonly operationTimeoutMs: number; readonly closing: AbortSignal },
): Budget {
  const timeoutMs = options.timeoutMs ?? client.operationTimeoutMs
  if (!(timeoutMs > 0))
    throw new PegasusError('ERR_INVALID_PARAMETERS', `timeoutMs ${timeoutMs}, expected over 0`)
  const deadline = deadlineIn(runtime.clock, timeoutMs)
  const { signal } = options
  // Node warns of a leak from the eleventh call on that shares a signal; each call lets go of it.
  if (signal !== undefined) setMaxListeners(0, signal)
  return { deadline, signal, closing: client.closing }
}

/** Fires when a client is closed; every call in a pause listens. */
export function closingSignal(): AbortController {
  const closing = new AbortController()
  setMaxListeners(0, closing.signal)
  return closing
}

export interface FailureRule {
  readonly resend: boolean
  /** Ask the meta server for the table's configuration before. */
  readonly refresh: boolean
  readonly effect: Effect
}

/**
 * What to do about a failed attempt. Reads have no effect. A write whose outcome is unknown is sent
 * again when it is idempotent (`write`) and `resendUnknownWrites` is set; an atomic one never is.
 */
export function failureRule(
  error: Pick<RpcError, 'code' | 'effect' | 'local'>,
  kind: RpcKind,
  resendUnknownWrites: boolean,
): FailureRule {
  const effect = kind === 'read' ? 'none' : error.effect
  const lost =
    error.local && (error.code === 'ERR_NETWORK_FAILURE' || error.code === 'ERR_SESSION_RESET')
  const action = error.local ? (lost ? 'refresh' : 'fail') : errorEntry(error.code).clientAction
  const refresh = action === 'refresh'
  const mayResend =
    effect === 'none' || (kind === 'write' && resendUnknownWrites && error.code !== 'ERR_ABORTED')
  return { resend: (refresh || action === 'retry') && mayResend, refresh, effect }
}

export type Outcome<T> =
  | { readonly done: true; readonly value: T }
  | {
      readonly done: false
      readonly error: PegasusError
      /** `no`: give up. `backoff`: a pause that grows. A number: that many milliseconds. */
      readonly again: 'no' | 'backoff' | number
    }

const BACKOFF_MS_MIN = 20
const BACKOFF_MS_MAX = 1000
/** With less time left than this another attempt is pointless. */
const LAST_TRY_MS = 5

/** Pause before the attempt behind `failures` failed ones: 20 ms doubling to 1 s, jitter of a half. */
export function backoffMs(failures: number, random: number): number {
  const fullMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures - 1, 16))
  return fullMs * (0.5 + random / 2)
}

/**
 * Repeats `attempt` until it is done, refuses to go on, or the budget is used up. Rejects with
 * `PegasusError`: the attempt's own error, ERR_TIMEOUT (cause: the last error) or ERR_ABORTED. The
 * effect is unknown as soon as that of one attempt was.
 */
export async function callUntilDone<T>(
  runtime: Runtime,
  budget: Budget,
  what: string,
  attempt: () => Promise<Outcome<T>>,
): Promise<T> {
  let effect: Effect = 'none'
  let last: PegasusError | undefined
  for (let failures = 1; ; failures++) {
    if (budget.signal?.aborted === true) throw aborted(what, effect, budget.signal.reason)
    if (budget.closing.aborted) throw closed(what, effect)
    const outcome = await attempt()
    if (outcome.done) return outcome.value
    const { error, again } = outcome
    if (error.effect === 'unknown') effect = 'unknown'
    const leftMs = remainingMs(runtime.clock, budget.deadline)
    // An attempt cut short by the deadline tells less than the failure before it.
    if (error.code !== 'ERR_TIMEOUT' || leftMs >= LAST_TRY_MS) last = error
    if (again === 'no' && (last === error || last === undefined)) throw withEffect(error, effect)
    if (leftMs < LAST_TRY_MS || again === 'no') throw timedOut(what, effect, last ?? error)
    const pauseMs = again === 'backoff' ? backoffMs(failures, runtime.random.float()) : again
    // Near the end the pauses shrink, so that the last word is not left to a long pause.
    if (pauseMs > 0) await pause(runtime, Math.min(pauseMs, leftMs / 2), budget)
  }
}

/**
 * Settles as `promise` does, or rejects when the budget is used up, while `promise` goes on. It must
 * end by itself when the client is closed.
 */
export function withinBudget<T>(
  runtime: Runtime,
  budget: Budget,
  what: string,
  promise: Promise<T>,
): Promise<T> {
  const { deadline, signal } = budget
  return new Promise((resolve, reject) => {
    const release = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    const onAbort = (): void => {
      release()
      reject(aborted(what, 'none', signal?.reason))
    }
    const timer = runtime.timers.after(remainingMs(runtime.clock, deadline), () => {
      release()
      reject(timedOut(what, 'none', undefined))
    })
    signal?.addEventListener('abort', onAbort)
    promise.finally(release).then(resolve, reject)
  })
}

/** Ends early, without an error, when the caller gives up or the client is closed. */
function pause(runtime: Runtime, pauseMs: number, budget: Budget): Promise<void> {
  const { signal, closing } = budget
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', end)
      closing.removeEventListener('abort', end)
      resolve()
    }
    // The caller awaits this call, and between two connections nothing else keeps the process.
    const timer = runtime.timers.after(pauseMs, end, { holdsProcess: true })
    signal?.addEventListener('abort', end)
    closing.addEventListener('abort', end)
  })
}

function withEffect(error: PegasusError, effect: Effect): PegasusError {
  if (error.effect === effect) return error
  const { storageStatus } = error
  return new PegasusError(error.code, error.message, {
    effect,
    cause: error,
    ...(storageStatus === undefined ? {} : { storageStatus }),
  })
}

function timedOut(what: string, effect: Effect, cause: PegasusError | undefined): PegasusError {
  const last = cause === undefined ? '' : `; last: ${cause.message}`
  return new PegasusError('ERR_TIMEOUT', `${what}: out of time${last}`, { effect, cause })
}

function aborted(what: string, effect: Effect, reason: unknown): PegasusError {
  return new PegasusError('ERR_ABORTED', `${what}: aborted`, { effect, cause: reason })
}

function closed(what: string, effect: Effect): PegasusError {
  return new PegasusError('ERR_SESSION_RESET', `${what}: the client is closed`, { effect })
}
