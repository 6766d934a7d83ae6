/** Turns what Node reports about files and sockets into the contract's `RuntimeError`. */
import { RuntimeError, type RuntimeErrorCode } from './runtime.ts'

const codes: Readonly<Record<string, RuntimeErrorCode>> = {
  ENOENT: 'ENOENT',
  ENOTDIR: 'ENOENT',
  EEXIST: 'EEXIST',
  EIO: 'EIO',
  ENOSPC: 'ENOSPC',
  EDQUOT: 'ENOSPC',
  EACCES: 'EACCES',
  EPERM: 'EACCES',
  EROFS: 'EACCES',
  ENOTEMPTY: 'ENOTEMPTY',
  EADDRINUSE: 'EADDRINUSE',
  EADDRNOTAVAIL: 'EADDRNOTAVAIL',
  ECONNREFUSED: 'ECONNREFUSED',
  ECONNRESET: 'ECONNRESET',
  EPIPE: 'ECONNRESET',
  ECONNABORTED: 'ECONNRESET',
  ERR_STREAM_DESTROYED: 'ECONNRESET',
  ETIMEDOUT: 'ETIMEDOUT',
  EHOSTUNREACH: 'ETIMEDOUT',
  ENETUNREACH: 'ETIMEDOUT',
  ENOTFOUND: 'ENOTFOUND',
  EAI_AGAIN: 'ENOTFOUND',
}

/** `attempt` says what was tried on what, such as `listen on 127.0.0.1:80`. */
export function systemError(attempt: string, cause: unknown): RuntimeError {
  if (cause instanceof RuntimeError) return cause
  const code =
    typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : ''
  const text = cause instanceof Error ? cause.message : String(cause)
  const known = Object.hasOwn(codes, code) ? codes[code] : undefined
  return new RuntimeError(known ?? 'EOTHER', `${attempt}: ${text}`, { cause })
}
