/**
 * A gateway answers the questions of its fleet (`fleet-questions.ts`): watches the place of each, puts
 * its answer beside the question, and takes it away when the question has gone. One answer of each
 * place at a time; a question that goes while it is worked on gets none that stays.
 */
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import {
  type AskedQuestion,
  type FleetQuestion,
  PLACES,
  QUESTION_NODE,
  encodeAnswer,
  parseQuestion,
  placePath,
} from './fleet-questions.ts'

export interface QuestionWatchOptions {
  readonly controlRoot: string
  /** Of this gateway, in the fleet. */
  readonly id: string
  readonly answer: (question: FleetQuestion) => Promise<unknown>
}

const RETRY_MS = 1000

interface Place {
  readonly path: string
  isArmed: boolean
  isLooking: boolean
  again: boolean
  /** The question that our node here answers. */
  answered: string | undefined
}

export class QuestionWatch {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #control: Coordinator
  readonly #options: QuestionWatchOptions
  readonly #places: readonly Place[]
  #closed = false
  readonly #stopListening: () => void

  /** The coordinator is the one that writes. */
  constructor(runtime: Runtime, control: Coordinator, options: QuestionWatchOptions) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'fleet-questions' })
    this.#control = control
    this.#options = options
    this.#places = Array.from({ length: PLACES }, (_, place) => ({
      path: placePath(options.controlRoot, place),
      isArmed: false,
      isLooking: false,
      again: false,
      answered: undefined,
    }))
    this.#stopListening = control.onState((state) => {
      if (state === 'connected') this.#lookAtAll()
    })
    this.#lookAtAll()
  }

  /** The end of the session takes away what is left. */
  close(): void {
    this.#closed = true
    this.#stopListening()
  }

  #lookAtAll(): void {
    for (const place of this.#places) if (!place.isArmed) this.#look(place)
  }

  #look(place: Place): void {
    if (this.#closed || this.#control.state() !== 'connected') return
    place.again = true
    if (!place.isLooking) void this.#lookAgain(place)
  }

  async #lookAgain(place: Place): Promise<void> {
    place.isLooking = true
    while (place.again && !this.#closed) {
      place.again = false
      try {
        await this.#settle(place)
      } catch (error) {
        this.#log.debug('question not answered', { path: place.path, error })
        this.#runtime.timers.after(RETRY_MS, () => this.#look(place))
        break
      }
    }
    place.isLooking = false
  }

  async #settle(place: Place): Promise<void> {
    const asked = await this.#read(place)
    if (asked?.id !== place.answered && place.answered !== undefined) {
      await this.#withdraw(place)
      place.answered = undefined
    }
    if (asked === undefined || asked.id === place.answered) return
    const { id, question } = asked
    const isOurs =
      asked.asker !== this.#options.id &&
      (question.kind !== 'gateway' || question.gateway === this.#options.id)
    if (!isOurs) return
    const data = encodeAnswer(id, await this.#options.answer(question))
    // What an answer before this one left would be taken for it.
    await this.#withdraw(place)
    await this.#control.create(this.#node(place), data, { ephemeral: true })
    place.answered = id
  }

  async #read(place: Place): Promise<AskedQuestion | undefined> {
    const path = `${place.path}/${QUESTION_NODE}`
    const watch = (): void => {
      place.isArmed = false
      this.#look(place)
    }
    const isArmed = place.isArmed
    place.isArmed = true
    try {
      const stat = await this.#control.exists(path, isArmed ? undefined : watch)
      if (stat === undefined) return undefined
    } catch (error) {
      if (!isArmed) place.isArmed = false
      throw error
    }
    try {
      return parseQuestion((await this.#control.get(path)).data)
    } catch (error) {
      if (isNoNode(error)) return undefined
      throw error
    }
  }

  async #withdraw(place: Place): Promise<void> {
    await this.#control.remove(this.#node(place)).catch((error: unknown) => {
      if (!isNoNode(error)) throw error
    })
  }

  #node(place: Place): string {
    return `${place.path}/${this.#options.id}`
  }
}

function isNoNode(error: unknown): boolean {
  return error instanceof CoordinatorError && error.code === 'no-node'
}
