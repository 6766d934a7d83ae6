/** How long a query may wait for its answer. Pure. */

const CLIENT_TIMEOUT_MS_MIN = 1000

/**
 * W-7: within the client's time, 0 when it gave none, and ours. Go clients send any number below
 * 4295, however long they wait (wire.md 2): less than a second is not taken at its word.
 */
export function answerBudgetMs(clientTimeoutMs: number, requestTimeoutMs: number): number {
  if (clientTimeoutMs <= 0) return requestTimeoutMs
  return Math.min(Math.max(clientTimeoutMs, CLIENT_TIMEOUT_MS_MIN), requestTimeoutMs)
}
