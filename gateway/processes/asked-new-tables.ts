/**
 * A worker's way to map new tables: it asks the primary, which holds the ZooKeeper sessions. A bounded
 * number of questions, each of which is answered in time whatever the primary does; a mapping that was
 * asked for and not answered may be written all the same. Knows nothing of processes.
 */
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import {
  type MappingMade,
  type MappingWish,
  type NewTables,
  type Placing,
  notPossible,
} from '../routing/new-tables.ts'
import type { FromWorker } from './messages.ts'

const ASKED_MAX = 64

const UNASKED = notPossible('unavailable', 'the primary is gone')
const UNANSWERED = notPossible('unavailable', 'the primary did not answer in time')
const UNKNOWN = notPossible('outcome-unknown', 'the primary did not answer in time')
const FULL = notPossible('busy', `${ASKED_MAX} questions to the primary`)

export class AskedNewTables implements NewTables {
  readonly #runtime: Runtime
  readonly #send: (message: FromWorker) => void
  readonly #asked = new Map<number, (answer: Placing | undefined) => void>()
  #question = 0
  #isClosed = false

  /** `send` delivers in order, or not at all when the primary is gone. */
  constructor(runtime: Runtime, send: (message: FromWorker) => void) {
    this.#runtime = runtime
    this.#send = send
  }

  place(table: string, cluster: string, budgetMs: number): Promise<Placing> {
    return this.#ask(
      (question) => ({ type: 'place-table', question, budgetMs, table, cluster }),
      budgetMs,
      UNANSWERED,
    )
  }

  async map(wish: MappingWish, budgetMs: number): Promise<MappingMade> {
    const answer = await this.#ask(
      (question) => ({ type: 'map-table', question, budgetMs, wish }),
      budgetMs,
      UNKNOWN,
    )
    return answer.kind === 'create' ? UNKNOWN : answer
  }

  onAnswer(question: number, answer: Placing): void {
    this.#asked.get(question)?.(answer)
  }

  /** The primary is gone for good, or the worker ends. Idempotent. */
  close(): void {
    this.#isClosed = true
    for (const tell of this.#asked.values()) tell(undefined)
  }

  async #ask(
    message: (question: number) => FromWorker,
    budgetMs: number,
    unanswered: Placing,
  ): Promise<Placing> {
    if (this.#isClosed) return UNASKED
    if (this.#asked.size >= ASKED_MAX) return FULL
    const question = ++this.#question
    const answer = await new Promise<Placing | undefined>((resolve) => {
      const timer = this.#runtime.timers.after(budgetMs, () => resolve(undefined))
      this.#asked.set(question, (told) => {
        timer.cancel()
        resolve(told)
      })
      this.#send(message(question))
    })
    this.#asked.delete(question)
    return answer ?? unanswered
  }
}
