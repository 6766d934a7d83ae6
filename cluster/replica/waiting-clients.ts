/**
 * The clients whose writes a replica has taken and not yet answered, by number. Each is answered
 * exactly once: with its result, with a refusal, or, when its time is over, with ERR_TIMEOUT (the
 * outcome is unknown).
 */
import { type Reply, headerError } from '../rpc/handler.ts'
import type { AppliedUpdate } from './app.ts'

/** Result struct bytes, or an error in the frame's header. */
export type WriteAnswer = Buffer | Reply

interface WaitingClient {
  readonly resolve: (answer: WriteAnswer) => void
  /** Monotonic. */
  readonly deadlineAtMs: number
}

const unknown = headerError('ERR_TIMEOUT')
const undecodable = headerError('ERR_INVALID_DATA')

export class WaitingClients {
  readonly #clients = new Map<number, WaitingClient>()

  add(id: number, client: WaitingClient): void {
    this.#clients.set(id, client)
  }

  refuse(ids: readonly number[], error: string): void {
    const answer = headerError(error)
    for (const id of ids) this.#answer(id, answer)
  }

  /** Results of one mutation; without a lease nothing is claimed. Answers how many had success. */
  settle(
    ids: readonly (number | undefined)[],
    updates: readonly AppliedUpdate[],
    leaseValid: boolean,
  ): number {
    let count = 0
    for (const [at, id] of ids.entries()) {
      if (id === undefined || !this.#clients.has(id)) continue
      const result = updates[at]?.result
      if (!leaseValid) this.#answer(id, unknown)
      else if (result === undefined) this.#answer(id, undecodable)
      else {
        this.#answer(id, result)
        count++
      }
    }
    return count
  }

  /** Those whose deadline is not after `nowMs`; Infinity for all. */
  expire(nowMs: number): void {
    for (const [id, { deadlineAtMs }] of this.#clients)
      if (deadlineAtMs <= nowMs) this.#answer(id, unknown)
  }

  #answer(id: number, answer: WriteAnswer): void {
    const client = this.#clients.get(id)
    if (client === undefined) return
    this.#clients.delete(id)
    client.resolve(answer)
  }
}
