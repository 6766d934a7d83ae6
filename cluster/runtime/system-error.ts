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

/** What Node says about a failed `listen`, for people; it would repeat the address. */
const listenTexts: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use by another program (EADDRINUSE)',
  EADDRNOTAVAIL: 'this machine has no such address (EADDRNOTAVAIL)',
  EACCES: 'not permitted, ports below 1024 need a privilege (EACCES)',
}

/** `attempt` says what was tried on what, such as `listen on 127.0.0.1:80`. */
export function systemError(attempt: string, cause: unknown): RuntimeError {
  if (cause instanceof RuntimeError) return cause
  const code =
    typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : ''
  const isListen = cause instanceof Error && 'syscall' in cause && cause.syscall === 'listen'
  const listenText = isListen && Object.hasOwn(listenTexts, code) ? listenTexts[code] : undefined
  const text = listenText ?? (cause instanceof Error ? cause.message : String(cause))
  const known = Object.hasOwn(codes, code) ? codes[code] : undefined
  return new RuntimeError(known ?? 'EOTHER', `${attempt}: ${text}`, { cause })
}
