/**
 * Carries an allowed RPC to the leader of its table's cluster (gateway.md 6): args unchanged, answer
 * unchanged but for the sequence id. Followers, which refuse without doing anything, are passed over
 * and never relayed (W-12); a leader that is loading is asked again. A read may be repeated. A write
 * is sent to a meta that may have taken it once and never again: what became of it is then unknown,
 * and the caller is told so. Few of these run at a time, so each has a connection and a promise.
 */
import type { ReplyFrame } from '../../cluster/protocol/frame.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { readMetaAnswer } from '../upstream/meta-answer.ts'
import { MetaCalls, type MetaRequest } from './meta-call.ts'

export type RelayOutcome =
  | { readonly kind: 'reply'; readonly reply: ReplyFrame; readonly meta: string }
  /** Nobody took it, for sure. */
  | { readonly kind: 'unreachable' }
  /** A write that may have been carried out, or may still be. */
  | { readonly kind: 'unknown'; readonly meta: string; readonly reason: string }

export interface RelayTarget {
  /** `host:port`. */
  readonly metas: readonly string[]
  /** `ip:port` of the meta that is known to lead, if any. */
  readonly leader: string | undefined
}

/** With others left to ask, a silent meta gets so long for a read. */
const READ_ATTEMPT_MS = 1500
const BACKOFF_FIRST_MS = 100
const BACKOFF_LAST_MS = 400

export class RpcRelay {
  readonly #runtime: Runtime
  readonly #calls: MetaCalls
  #closed = false

  constructor(runtime: Runtime, options: { readonly connectTimeoutMs: number }) {
    this.#runtime = runtime
    this.#calls = new MetaCalls(runtime, options.connectTimeoutMs)
  }

  /** Never rejects; settles by `deadlineMs` of the monotonic clock. */
  async ask(
    request: MetaRequest & { readonly isWrite: boolean },
    target: RelayTarget,
    deadlineMs: number,
  ): Promise<RelayOutcome> {
    let { leader } = target
    let notReady: RelayOutcome = { kind: 'unreachable' }
    for (let backoffMs = BACKOFF_FIRST_MS; ; backoffMs = Math.min(BACKOFF_LAST_MS, backoffMs * 2)) {
      const addresses = await this.#addresses(target.metas, leader, deadlineMs)
      let isSomeoneAlive = false
      for (const [index, meta] of addresses.entries()) {
        if (this.#leftMs(deadlineMs) <= 0) return notReady
        const isLast = index === addresses.length - 1
        const patienceMs = request.isWrite || isLast ? Infinity : READ_ATTEMPT_MS
        const atMs = Math.min(deadlineMs, this.#runtime.clock.monotonicMs() + patienceMs)
        const answer = await this.#calls.call(meta, request, atMs)
        if (answer.kind === 'lost' && request.isWrite)
          return { kind: 'unknown', meta, reason: answer.reason }
        if (answer.kind !== 'reply') continue
        isSomeoneAlive = true
        const { kind } = readMetaAnswer(answer.reply)
        if (kind === 'answer') return { kind: 'reply', reply: answer.reply, meta }
        if (kind === 'forward') continue
        // It leads, but it is loading, and has done nothing: the others would only point to it.
        notReady = { kind: 'reply', reply: answer.reply, meta }
        leader = meta
        break
      }
      if (!isSomeoneAlive || this.#leftMs(deadlineMs) <= backoffMs) return notReady
      await this.#wait(backoffMs)
    }
  }

  /** Ends what is running. */
  close(): void {
    this.#closed = true
    this.#calls.close()
  }

  #leftMs(deadlineMs: number): number {
    return this.#closed ? 0 : deadlineMs - this.#runtime.clock.monotonicMs()
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#runtime.timers.after(delayMs, resolve)
    })
  }

  /** Those to ask, the one that may lead first. */
  async #addresses(
    metas: readonly string[],
    leader: string | undefined,
    deadlineMs: number,
  ): Promise<readonly string[]> {
    const found = await new Promise<readonly string[][]>((resolve) => {
      const leftMs = Math.max(0, this.#leftMs(deadlineMs))
      const timer = this.#runtime.timers.after(leftMs, () => resolve([]))
      void Promise.all(metas.map((meta) => this.#resolve(meta))).then((all) => {
        timer.cancel()
        resolve(all)
      })
    })
    return [...new Set([...(leader === undefined ? [] : [leader]), ...found.flat()])]
  }

  async #resolve(meta: string): Promise<string[]> {
    const colon = meta.lastIndexOf(':')
    try {
      const addresses = await this.#runtime.network.resolve(meta.slice(0, colon))
      return addresses.map((ip) => `${ip}${meta.slice(colon)}`)
    } catch (error) {
      this.#runtime.log.debug('name not resolved', { name: meta, error })
      return []
    }
  }
}
