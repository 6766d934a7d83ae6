/**
 * The last warnings and errors of a log, for people who look at a process from afar: a ring of a few
 * lines, each as text of limited length.
 */
import type { Log, LogFields } from './runtime.ts'

export interface RecentLine {
  /** Unix milliseconds. */
  readonly atMs: number
  readonly level: 'warn' | 'error'
  readonly event: string
  /** `key=value`, blanks between; cut where it is long. */
  readonly fields: string
}

const LINES_MAX = 50
const EVENT_MAX = 200
const FIELDS_MAX = 500

export class RecentLines {
  readonly #wallMs: () => number
  readonly #lines: RecentLine[] = []

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  /** The oldest first. */
  list(): readonly RecentLine[] {
    return [...this.#lines]
  }

  add(level: RecentLine['level'], event: string, fields: LogFields): void {
    const text = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `${key}=${wordOf(value)}`)
      .join(' ')
    const atMs = Math.round(this.#wallMs())
    this.#lines.push({ atMs, level, event: cut(event, EVENT_MAX), fields: cut(text, FIELDS_MAX) })
    if (this.#lines.length > LINES_MAX) this.#lines.shift()
  }
}

/** The same log; its warnings and errors are kept besides. */
export function keepRecent(log: Log, recent: RecentLines, bound: LogFields = {}): Log {
  const kept =
    (level: RecentLine['level']): Log['warn'] =>
    (event, fields) => {
      recent.add(level, event, { ...bound, ...fields })
      log[level](event, fields)
    }
  return {
    debug: log.debug,
    info: log.info,
    warn: kept('warn'),
    error: kept('error'),
    child: (fields) => keepRecent(log.child(fields), recent, { ...bound, ...fields }),
  }
}

function wordOf(value: unknown): string {
  if (value instanceof Error) return `"${value.message}"`
  if (typeof value === 'bigint') return String(value)
  try {
    return JSON.stringify(value) ?? ''
  } catch {
    return '?'
  }
}

function cut(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`
}
