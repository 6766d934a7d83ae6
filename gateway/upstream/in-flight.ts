/**
 * What was sent on one connection and not answered yet, by sequence id: arrays that grow with the
 * number in flight, so that a query costs no object here. Ids rise by one and wrap at 2^31.
 */

const SLOTS_FIRST = 64

export class InFlight<Question, Taker> {
  readonly #slotsMax: number
  #mask = SLOTS_FIRST - 1
  /** Undefined: the slot is free; null: nobody waits for that answer any more. */
  #takers: (Taker | null | undefined)[] = emptySlots(SLOTS_FIRST)
  #questions: (Question | undefined)[] = emptySlots(SLOTS_FIRST)
  #seqids = new Int32Array(SLOTS_FIRST).fill(-1)
  #sentAtMs = new Float64Array(SLOTS_FIRST)
  #size = 0
  #next = 0
  /** Nothing in flight is older than this one. */
  #oldest = 0

  /** How many were added so far. */
  issued = 0
  /** What the last `take` found. */
  question: Question | undefined = undefined
  taker: Taker | null = null

  /** `slotsMax`: how many may be in flight, a power of two. */
  constructor(slotsMax: number) {
    this.#slotsMax = slotsMax
  }

  get size(): number {
    return this.#size
  }

  /** The sequence id for a new one; -1 when too many are in flight. */
  add(question: Question, taker: Taker, sentAtMs: number): number {
    if (this.#size >= this.#slotsMax) return -1
    while (this.#takers[this.#next & this.#mask] !== undefined) {
      if (this.#mask + 1 < this.#slotsMax) this.#grow()
      else this.#next = (this.#next + 1) & 0x7fffffff
    }
    const seqid = this.#next
    this.#next = (seqid + 1) & 0x7fffffff
    if (this.#size === 0) this.#oldest = seqid
    const slot = seqid & this.#mask
    this.#takers[slot] = taker
    this.#questions[slot] = question
    this.#seqids[slot] = seqid
    this.#sentAtMs[slot] = sentAtMs
    this.#size++
    this.issued++
    return seqid
  }

  /** Ends the wait for that id and leaves in `question` and `taker` whose it was; false: nobody's. */
  take(seqid: number): boolean {
    const slot = seqid & this.#mask
    const taker = this.#takers[slot]
    if (taker === undefined || this.#seqids[slot] !== seqid) return false
    this.question = this.#questions[slot]
    this.taker = taker
    this.#takers[slot] = undefined
    this.#questions[slot] = undefined
    this.#size--
    return true
  }

  /** When the one with that id was sent, also just after it was taken; undefined: no longer known. */
  sentAtMs(seqid: number): number | undefined {
    const slot = seqid & this.#mask
    return this.#seqids[slot] === seqid ? this.#sentAtMs[slot] : undefined
  }

  /** Another one, or nobody, gets the answer to that id. */
  give(seqid: number, taker: Taker | null): void {
    const slot = seqid & this.#mask
    if (this.#takers[slot] === undefined || this.#seqids[slot] !== seqid) return
    this.#takers[slot] = taker
    if (taker === null) this.#questions[slot] = undefined
  }

  /** Undefined when nothing is in flight. */
  oldestSentAtMs(): number | undefined {
    if (this.#size === 0) return undefined
    let slot = this.#oldest & this.#mask
    while (this.#takers[slot] === undefined || this.#seqids[slot] !== this.#oldest) {
      this.#oldest = (this.#oldest + 1) & 0x7fffffff
      slot = this.#oldest & this.#mask
    }
    return this.#sentAtMs[slot]
  }

  /** Calls back for each one that `taker` waits for; the callback may take or give it. */
  forEachOf(
    taker: Taker,
    visit: (seqid: number, question: Question, sentAtMs: number) => void,
  ): void {
    if (this.#size === 0) return
    for (const [slot, other] of this.#takers.entries()) {
      const question = this.#questions[slot]
      if (other === taker && question !== undefined)
        visit(this.#seqids[slot] ?? 0, question, this.#sentAtMs[slot] ?? 0)
    }
  }

  /** Everything in flight, taken out, in no order. */
  takeAll(): { seqid: number; question: Question | undefined; taker: Taker }[] {
    const all: { seqid: number; question: Question | undefined; taker: Taker }[] = []
    for (const [slot, taker] of this.#takers.entries())
      if (taker !== undefined && taker !== null)
        all.push({ seqid: this.#seqids[slot] ?? 0, question: this.#questions[slot], taker })
    this.#takers.fill(undefined)
    this.#questions.fill(undefined)
    this.#size = 0
    return all
  }

  #grow(): void {
    const slots = 2 * (this.#mask + 1)
    const mask = slots - 1
    const takers: (Taker | null | undefined)[] = emptySlots(slots)
    const questions: (Question | undefined)[] = emptySlots(slots)
    const seqids = new Int32Array(slots).fill(-1)
    const sentAtMs = new Float64Array(slots)
    for (const [slot, taker] of this.#takers.entries()) {
      if (taker === undefined) continue
      const seqid = this.#seqids[slot] ?? 0
      takers[seqid & mask] = taker
      questions[seqid & mask] = this.#questions[slot]
      seqids[seqid & mask] = seqid
      sentAtMs[seqid & mask] = this.#sentAtMs[slot] ?? 0
    }
    this.#mask = mask
    this.#takers = takers
    this.#questions = questions
    this.#seqids = seqids
    this.#sentAtMs = sentAtMs
  }
}

function emptySlots<T>(count: number): (T | undefined)[] {
  return Array.from<T | undefined>({ length: count })
}
