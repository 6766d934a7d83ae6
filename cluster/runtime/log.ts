/**
 * The log contract on pino: one JSON object a line, with `ts`, `level`, `name`, `event` (the constant
 * message) and the facts beside it (gateway.md O-4). The destination is synchronous, so that no line
 * is lost when the process exits right behind it; nothing logs per request, so the cost is small. One
 * table cannot drown the others (`log-repeats.ts`).
 */
import pino from 'pino'
import { type RecentLines, keepRecent } from './log-recent.ts'
import { limitRepeats } from './log-repeats.ts'
import type { Log, LogFields } from './runtime.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** Where the lines go: a file descriptor (1 is standard output) or whatever takes text. */
export type LogDestination = number | { readonly write: (line: string) => void }

/** Fields named `error` or `cause` are written with type, message, code and stack. */
export function createLog(options: {
  readonly level: LogLevel
  readonly name: string
  /** Stand on every line. */
  readonly fields?: LogFields
  readonly destination?: LogDestination
  /** Keeps the warnings and errors that are let through. */
  readonly recent?: RecentLines
}): Log {
  const destination = options.destination ?? 1
  const stream =
    typeof destination === 'number'
      ? pino.destination({ dest: destination, sync: true })
      : destination
  const logger = pino(
    {
      name: options.name,
      level: options.level,
      base: { name: options.name, pid: process.pid, ...options.fields },
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      messageKey: 'event',
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: readableError, cause: readableError },
      customLevels: {},
    },
    stream,
  )
  const { recent } = options
  const log = recent === undefined ? wrap(logger) : keepRecent(wrap(logger), recent)
  return limitRepeats(log, { monotonicMs: () => performance.now() })
}

function readableError(value: unknown): unknown {
  return value instanceof Error ? pino.stdSerializers.errWithCause(value) : value
}

function wrap(logger: pino.Logger): Log {
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
    child: (fields: LogFields) => wrap(logger.child(fields)),
  }
}

/** A log that drops everything, for tools that print their own results. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
}
