/**
 * Operations that wait for something, in the order of their calls: each is settled exactly once, by
 * an answer, by its deadline or together with all others. Pure bookkeeping.
 */
import type { CoordinatorErrorCode } from './coordinator.ts'
import type { LinkReply, LinkRequest } from './link.ts'

export interface Pending {
  readonly request: LinkRequest
  readonly deadlineMs: number
  sentAtMs: number
  /** Absent once it was called. */
  settle: ((reply: LinkReply) => void) | undefined
}

export function settle(pending: Pending, reply: LinkReply): void {
  const { settle: run } = pending
  pending.settle = undefined
  run?.(reply)
}

export class PendingQueue {
  #items: Pending[] = []

  get length(): number {
    return this.#items.length
  }

  /** Deadlines of operations are equally long, so the first in the queue is the next to end. */
  nextDeadlineMs(): number {
    return this.#items[0]?.deadlineMs ?? Infinity
  }

  push(pending: Pending): void {
    this.#items.push(pending)
  }

  /** Takes it out if it is the first; what has timed out is not in the queue any more. */
  answered(pending: Pending): void {
    if (this.#items[0] === pending) this.#items.shift()
  }

  takeAll(): Pending[] {
    return this.#items.splice(0)
  }

  failAll(code: CoordinatorErrorCode): void {
    for (const pending of this.takeAll()) settle(pending, { code })
  }

  failUntil(nowMs: number, code: CoordinatorErrorCode): void {
    for (let [head] = this.#items; head !== undefined && head.deadlineMs <= nowMs;) {
      this.#items.shift()
      settle(head, { code })
      head = this.#items[0]
    }
  }
}
