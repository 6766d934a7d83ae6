/**
 * Asks all gateways of the fleet, or one of them, through ZooKeeper (`routing/fleet-questions.ts`). This
 * process answers by itself at once. Whoever has not answered after a second is named with the reason;
 * without ZooKeeper that is everybody else. The same question within a second is asked once; how
 * many questions there are at all is limited here by their rate, and in the fleet by their places.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { TokenBuckets } from '../clients/token-buckets.ts'
import {
  type AskedQuestion,
  type FleetQuestion,
  PLACES,
  QUESTION_NODE,
  encodeQuestion,
  parseAnswer,
  placePath,
} from '../routing/fleet-questions.ts'
import { type ControlTree, createIfAbsent, isCode } from './control-tree.ts'
import { ApiError } from './problem.ts'

export interface FleetAnswers {
  readonly askedAt: string
  readonly elapsedMs: number
  /** By gateway; not judged yet. */
  readonly answers: ReadonlyMap<string, unknown>
  readonly silent: readonly { readonly id: string; readonly reason: string }[]
}

export interface FleetAskerParts {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly tree: ControlTree
  readonly selfId: () => string
  /** What this process answers. */
  readonly answer: (question: FleetQuestion) => Promise<unknown>
  /** Ids of all that are registered. */
  readonly gateways: () => readonly string[]
}

const WAIT_MS = 1000
/** How long an answer is good for whoever asks the same. */
const SHARED_MS = 1000
const SHARED_MAX = 100
const PLACE_RETRY_MS = 50
const PER_SECOND = 5
const BURST = 20

interface Shared {
  readonly asking: Promise<FleetAnswers>
  /** Monotonic; Infinity while it runs. */
  untilMs: number
}

export class FleetAsker {
  readonly #parts: FleetAskerParts
  readonly #rate = new TokenBuckets({ perSecond: PER_SECOND, burst: BURST, maxKeys: 1 })
  readonly #shared = new Map<string, Shared>()
  /** Questions that could not be taken away; the end of the session does it else. */
  readonly #left = new Map<string, string>()
  readonly #stopListening: () => void
  #asked = 0

  constructor(parts: FleetAskerParts) {
    this.#parts = parts
    this.#stopListening = parts.coordinator.onState((state) => {
      if (state === 'connected') void this.#removeLeft()
    })
  }

  /** Rejects with an `ApiError`: too many questions. */
  ask(question: FleetQuestion): Promise<FleetAnswers> {
    const key = JSON.stringify(question)
    const nowMs = this.#parts.runtime.clock.monotonicMs()
    for (const [old, { untilMs }] of this.#shared) if (untilMs < nowMs) this.#shared.delete(old)
    const known = this.#shared.get(key)
    if (known !== undefined) return known.asking
    const isTooMuch = this.#shared.size >= SHARED_MAX || !this.#rate.take('', nowMs)
    if (isTooMuch)
      throw new ApiError('too-many-requests', 'the fleet is asked too often', {
        retryAfterSeconds: 1,
      })
    const shared: Shared = { asking: this.#ask(question), untilMs: Infinity }
    this.#shared.set(key, shared)
    shared.asking.then(
      () => (shared.untilMs = this.#parts.runtime.clock.monotonicMs() + SHARED_MS),
      () => this.#shared.delete(key),
    )
    return shared.asking
  }

  close(): void {
    this.#stopListening()
  }

  async #ask(question: FleetQuestion): Promise<FleetAnswers> {
    const { runtime, selfId, gateways, answer } = this.#parts
    const { clock } = runtime
    const self = selfId()
    const beganMs = clock.monotonicMs()
    const askedAt = new Date(clock.wallMs()).toISOString()
    const wanted = question.kind === 'gateway' ? [question.gateway] : [...gateways()]
    const isSelfAsked = question.kind !== 'gateway' || question.gateway === self
    const others = new Set(wanted.filter((id) => id !== self))
    const answers = new Map<string, unknown>()
    const silent = new Map<string, string>()
    const own = async (): Promise<void> => {
      if (isSelfAsked) answers.set(self, await answer(question))
    }
    const asked = { id: this.#newId(self), asker: self, question }
    await Promise.all([own(), this.#askOthers(asked, others, answers, silent)])
    return {
      askedAt,
      elapsedMs: Math.round(clock.monotonicMs() - beganMs),
      answers,
      silent: [...silent].map(([id, reason]) => ({ id, reason })),
    }
  }

  #newId(self: string): string {
    return `${self}.${++this.#asked}.${this.#parts.runtime.random.bytes(4).toString('hex')}`
  }

  /** Fills in what each of them says, or why it says nothing. */
  async #askOthers(
    asked: AskedQuestion,
    others: Set<string>,
    answers: Map<string, unknown>,
    silent: Map<string, string>,
  ): Promise<void> {
    if (others.size === 0) return
    const untilMs = this.#parts.runtime.clock.monotonicMs() + WAIT_MS
    let reason = `no answer within ${WAIT_MS} ms`
    try {
      const place = await this.#takePlace(asked, untilMs)
      if (place === undefined) reason = 'too many questions to the fleet at once'
      else
        try {
          await this.#collect(asked.id, place, { others, answers, silent, untilMs })
        } finally {
          void this.#remove(`${place}/${QUESTION_NODE}`, asked.id)
        }
    } catch (error) {
      reason = `ZooKeeper does not answer: ${error instanceof Error ? error.message : 'unknown'}`
    }
    for (const id of others) silent.set(id, reason)
  }

  /** The path of a place with the question in it; undefined when all are taken until then. */
  async #takePlace(asked: AskedQuestion, untilMs: number): Promise<string | undefined> {
    const { runtime, tree } = this.#parts
    await tree.ensure()
    const first = runtime.random.below(PLACES)
    while (runtime.clock.monotonicMs() < untilMs) {
      for (let n = 0; n < PLACES; n++) {
        const place = placePath(tree.root, (first + n) % PLACES)
        if (await this.#put(place, asked)) return place
      }
      await this.#pause(PLACE_RETRY_MS)
    }
    return undefined
  }

  /** False when another question is there. */
  async #put(place: string, asked: AskedQuestion): Promise<boolean> {
    const { coordinator } = this.#parts
    const path = `${place}/${QUESTION_NODE}`
    try {
      await createIfAbsent(coordinator, place, Buffer.alloc(0))
      await coordinator.create(path, encodeQuestion(asked), { ephemeral: true })
      return true
    } catch (error) {
      if (isCode(error, 'node-exists')) return false
      if (isCode(error, 'connection-loss', 'timeout')) this.#left.set(path, asked.id)
      throw error
    }
  }

  async #collect(
    id: string,
    place: string,
    into: {
      readonly others: Set<string>
      readonly answers: Map<string, unknown>
      readonly silent: Map<string, string>
      readonly untilMs: number
    },
  ): Promise<void> {
    const { runtime, coordinator } = this.#parts
    const { others, answers, silent, untilMs } = into
    while (others.size > 0) {
      const leftMs = untilMs - runtime.clock.monotonicMs()
      if (leftMs <= 0) return
      let wake: () => void = () => undefined
      const woken = new Promise<void>((resolve) => {
        wake = resolve
      })
      const timer = runtime.timers.after(leftMs, () => wake(), { holdsProcess: true })
      try {
        const names = await coordinator.children(place, () => wake())
        const there = names.filter((name) => others.has(name))
        await Promise.all(
          there.map(async (name) => {
            const found = await this.#read(`${place}/${name}`, id)
            if (found === undefined) return
            others.delete(name)
            if (found.problem === undefined) answers.set(name, found.answer)
            else silent.set(name, found.problem)
          }),
        )
        if (others.size > 0) await woken
      } finally {
        timer.cancel()
      }
    }
  }

  async #read(path: string, id: string): Promise<ReturnType<typeof parseAnswer>> {
    try {
      return parseAnswer((await this.#parts.coordinator.get(path)).data, id)
    } catch (error) {
      if (isCode(error, 'no-node')) return undefined
      throw error
    }
  }

  /** Only what is ours: another question may have taken the place. */
  async #remove(path: string, id: string): Promise<void> {
    const { coordinator } = this.#parts
    try {
      const { data, stat } = await coordinator.get(path)
      const isOurs = (JSON.parse(data.toString('utf8')) as { readonly id?: unknown }).id === id
      if (isOurs) await coordinator.remove(path, stat.version)
      this.#left.delete(path)
    } catch (error) {
      if (isCode(error, 'no-node', 'bad-version')) this.#left.delete(path)
      else this.#left.set(path, id)
    }
  }

  async #removeLeft(): Promise<void> {
    for (const [path, id] of this.#left) await this.#remove(path, id)
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.runtime.timers.after(ms, resolve, { holdsProcess: true })
    })
  }
}
