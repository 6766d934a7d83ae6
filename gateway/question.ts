/**
 * One configuration query between the client side, which makes it and gets told, and the upstream,
 * which carries it to a meta server. Data and two calls, no rule.
 */

export interface Question {
  /** The args struct as the client sent it lies in `bytes` from `start` to `end`; not changed. */
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Monotonic times. */
  readonly askedAtMs: number
  readonly deadlineMs: number
  /**
   * A whole reply frame, in `bytes` from `start` to `end`, with its sequence id at `seqidAt`. The
   * frame may be patched in place, its surroundings not. It is valid until the batch of this turn
   * was written: what is given to a socket by then is safe.
   */
  readonly answered: (
    bytes: Buffer,
    start: number,
    end: number,
    seqidAt: number,
    nowMs: number,
  ) => void
  /** Nobody answered; the client is told ERR_SERVICE_NOT_ACTIVE. */
  readonly unanswered: () => void
}
