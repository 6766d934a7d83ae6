/**
 * The configured metas of one cluster as addresses to dial: host names are resolved again now and
 * then, and when nobody answers (gateway.md M-6). IPv4 literals stay as they are.
 */
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'

export class MetaNames {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #names: readonly string[]
  readonly #resolveMs: number
  /** Whether there is anything to resolve. */
  readonly isNamed: boolean
  #endpoints: readonly string[]
  #resolving: Promise<void> | undefined
  #resolvedAtMs = -Infinity

  /** `names` are `host:port`; they are resolved again when the last answer is older than `resolveMs`. */
  constructor(runtime: Runtime, log: Log, names: readonly string[], resolveMs: number) {
    this.#runtime = runtime
    this.#log = log
    this.#names = names
    this.#resolveMs = resolveMs
    this.#endpoints = names.filter(isLiteral)
    this.isNamed = this.#endpoints.length < names.length
  }

  /** `ip:port` of the configured metas, as last resolved. */
  get endpoints(): readonly string[] {
    return this.#endpoints
  }

  isStale(nowMs: number): boolean {
    return this.isNamed && nowMs - this.#resolvedAtMs > this.#resolveMs
  }

  /** Never rejects; the endpoints stay as they are when no name can be resolved. */
  resolve(): Promise<void> {
    this.#resolving ??= this.#resolveNow().finally(() => {
      this.#resolving = undefined
    })
    return this.#resolving
  }

  async #resolveNow(): Promise<void> {
    const found = await Promise.all(
      this.#names.map(async (name) => {
        if (isLiteral(name)) return [name]
        const colon = name.lastIndexOf(':')
        try {
          const addresses = await this.#runtime.network.resolve(name.slice(0, colon))
          return addresses.map((ip) => `${ip}${name.slice(colon)}`)
        } catch (error) {
          this.#log.debug('name not resolved', { name, error })
          return []
        }
      }),
    )
    this.#resolvedAtMs = this.#runtime.clock.monotonicMs()
    const endpoints = [...new Set(found.flat())]
    if (endpoints.length > 0) this.#endpoints = endpoints
  }
}

function isLiteral(address: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+:/.test(address)
}
