/**
 * One time budget per call: fixed at the edge as a point of the monotonic clock and passed down;
 * each hop sends what remains, and retries do not renew it.
 */
import type { Clock } from './runtime.ts'

export interface Deadline {
  /** Milliseconds of `Clock.monotonicMs`. */
  readonly atMs: number
}

export function deadlineIn(clock: Clock, budgetMs: number): Deadline {
  return { atMs: clock.monotonicMs() + budgetMs }
}

/** Never negative. */
export function remainingMs(clock: Clock, deadline: Deadline): number {
  return Math.max(0, deadline.atMs - clock.monotonicMs())
}
