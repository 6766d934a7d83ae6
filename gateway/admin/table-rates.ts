/**
 * Queries per second of tables, from two rounds of asking the fleet what it counted so far
 * (`fleet-asker.ts`). Whoever asks within some seconds gets the same answer, so that the fleet is asked
 * equally often for one viewer and for a hundred. The first answer after a pause has no rates yet.
 */
import { type Static, Type } from 'typebox'
import type { TableRates as Answer } from './api/table-fleet.ts'
import type { FleetAnswers } from './fleet-asker.ts'
import { type Judged, judge } from './fleet-views.ts'

const RatesAnswerForm = Type.Object({
  atMs: Type.Number(),
  processes: Type.String(),
  counts: Type.Array(Type.Tuple([Type.String(), Type.Number()])),
  isShort: Type.Boolean(),
})
type Counted = Static<typeof RatesAnswerForm>

/** An answer is good for; and without rates, for less. */
const SHARED_MS = 5000
const FIRST_SHARED_MS = 1000
/** Counts older than this say little about now. */
const BEFORE_MS_MAX = 60_000
const TABLES_MAX = 5000

export class TableRates {
  readonly #monotonicMs: () => number
  readonly #ask: () => Promise<FleetAnswers>
  #counted: Judged<Counted>['told'] = new Map()
  #last: { readonly answer: Answer; readonly atMs: number } | undefined
  #asking: Promise<Answer> | undefined

  constructor(monotonicMs: () => number, ask: () => Promise<FleetAnswers>) {
    this.#monotonicMs = monotonicMs
    this.#ask = ask
  }

  /** Rejects with an `ApiError`: too many questions. */
  async current(): Promise<Answer> {
    const last = this.#last
    if (last !== undefined) {
      const goodMs = last.answer.overSeconds === undefined ? FIRST_SHARED_MS : SHARED_MS
      if (this.#monotonicMs() - last.atMs < goodMs) return last.answer
    }
    this.#asking ??= this.#askAgain().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #askAgain(): Promise<Answer> {
    const { told, asked } = judge(await this.#ask(), RatesAnswerForm)
    const answer = { ...asked, ...ratesBetween(this.#counted, told) }
    this.#counted = told
    this.#last = { answer, atMs: this.#monotonicMs() }
    return answer
  }
}

/** Of gateways that answered both times, with the same processes; the others are `pending`. */
export function ratesBetween(
  before: ReadonlyMap<string, Counted>,
  now: ReadonlyMap<string, Counted>,
): Pick<Answer, 'overSeconds' | 'pending' | 'truncated' | 'rates'> {
  const pending: string[] = []
  const rates = new Map<string, number>()
  let overMs = 0
  for (const [id, { atMs, processes, counts }] of now) {
    const was = before.get(id)
    const tookMs = atMs - (was?.atMs ?? atMs)
    if (was?.processes !== processes || tookMs <= 0 || tookMs > BEFORE_MS_MAX) {
      pending.push(id)
      continue
    }
    overMs = Math.max(overMs, tookMs)
    const known = new Map(was.counts)
    for (const [table, count] of counts) {
      // Not there before: nobody asked for it, or there was no room for a table that few ask for.
      const queries = Math.max(0, count - (known.get(table) ?? (was.isShort ? count : 0)))
      rates.set(table, (rates.get(table) ?? 0) + (queries * 1000) / tookMs)
    }
  }
  const sorted = [...rates].toSorted(([, a], [, b]) => b - a)
  return {
    ...(overMs === 0 ? {} : { overSeconds: Math.round(overMs / 100) / 10 }),
    pending: pending.toSorted(),
    truncated: sorted.length > TABLES_MAX || [...now.values()].some(({ isShort }) => isShort),
    rates: Object.fromEntries(
      sorted.slice(0, TABLES_MAX).map(([table, rate]) => [table, Number(rate.toPrecision(3))]),
    ),
  }
}
