/**
 * A log in which one table cannot drown the others (gateway.md O-4): lines that name a table are let
 * through a few times per event, table and time; those left out are counted, and the next line of
 * their kind says how many there were. Bounded: with too many kinds at once the oldest is forgotten.
 * No timer: a count that nothing follows is not told. Lines with a logger of their own, such as audit,
 * are never left out.
 */
import type { Clock, Log, LogFields } from './runtime.ts'

export interface RepeatLimits {
  /** Lines of one event and table in one window. */
  readonly burst: number
  readonly windowMs: number
  /** Kinds of lines remembered. */
  readonly kindsMax: number
}

const usual: RepeatLimits = { burst: 5, windowMs: 10_000, kindsMax: 10_000 }

interface Kind {
  sinceMs: number
  count: number
}

class Repeats {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #limits: RepeatLimits
  readonly #kinds = new Map<string, Kind>()

  constructor(clock: Pick<Clock, 'monotonicMs'>, limits: RepeatLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  /** How many were left out before this line; undefined: leave this one out too. */
  pass(event: string, table: string): number | undefined {
    const { burst, windowMs, kindsMax } = this.#limits
    const key = `${event}\n${table}`
    const nowMs = this.#clock.monotonicMs()
    const kind = this.#kinds.get(key)
    if (kind !== undefined && nowMs - kind.sinceMs < windowMs)
      return ++kind.count > burst ? undefined : 0
    this.#kinds.delete(key)
    this.#kinds.set(key, { sinceMs: nowMs, count: 1 })
    if (this.#kinds.size > kindsMax)
      for (const oldest of this.#kinds.keys()) {
        this.#kinds.delete(oldest)
        break
      }
    return kind === undefined ? 0 : Math.max(0, kind.count - burst)
  }
}

export function limitRepeats(
  log: Log,
  clock: Pick<Clock, 'monotonicMs'>,
  limits: RepeatLimits = usual,
): Log {
  return wrap(log, new Repeats(clock, limits), {})
}

function wrap(log: Log, repeats: Repeats, bound: LogFields): Log {
  const limited =
    (write: Log['info']): Log['info'] =>
    (event, fields) => {
      const table = fields?.['table'] ?? bound['table']
      if (typeof table !== 'string' || bound['logger'] !== undefined) {
        write(event, fields)
        return
      }
      const suppressed = repeats.pass(event, table)
      if (suppressed === 0) write(event, fields)
      else if (suppressed !== undefined) write(event, { ...fields, suppressed })
    }
  return {
    debug: limited(log.debug),
    info: limited(log.info),
    warn: limited(log.warn),
    error: limited(log.error),
    child: (fields) => wrap(log.child(fields), repeats, { ...bound, ...fields }),
  }
}

/** What people did, apart from what happened: lines with `"logger":"audit"`, all of them. */
export function auditLog(log: Log): Log {
  return log.child({ logger: 'audit' })
}
