/**
 * When a dead worker is started again (gateway.md L-2): at once the first time, then with growing
 * pauses, and how many deaths within a minute are too many for a gateway that calls itself ready.
 * Pure; times are monotonic milliseconds.
 */
const FIRST_MS = 100
const LAST_MS = 5000
/** A worker that lived this long begins with the first pause again. */
const STABLE_MS = 10_000
const MINUTE_MS = 60_000
export const CRASHES_MAX = 5

export class Restarts {
  readonly #pausesMs = new Map<string, number>()
  #crashedAtMs: number[] = []

  /** The worker of this name died; answers the pause before the next one. */
  crashed(name: string, nowMs: number, livedMs: number): number {
    this.#forget(nowMs)
    this.#crashedAtMs.push(nowMs)
    const known = livedMs >= STABLE_MS ? undefined : this.#pausesMs.get(name)
    const pauseMs = known ?? FIRST_MS
    this.#pausesMs.set(name, Math.min(LAST_MS, pauseMs * 2))
    return pauseMs
  }

  crashesInMinute(nowMs: number): number {
    this.#forget(nowMs)
    return this.#crashedAtMs.length
  }

  #forget(nowMs: number): void {
    this.#crashedAtMs = this.#crashedAtMs.filter((atMs) => nowMs - atMs < MINUTE_MS)
  }
}
