/**
 * The configured metas of one cluster as addresses to dial: host names are resolved again now and
 * then, with each new connection, and when nobody answers (gateway.md M-6). IPv4 literals stay as
 * they are.
 */
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'

const FRESH_MS = 1000
/** A name may stand for many addresses, the names in a mapping are at most 32. */
const ENDPOINTS_MAX = 64

export class MetaNames {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #names: readonly string[]
  readonly #resolveMs: number
  readonly #onChange: () => void
  /** Whether there is anything to resolve. */
  readonly isNamed: boolean
  #endpoints: readonly string[]
  #resolving: Promise<void> | undefined
  #resolvedAtMs = -Infinity

  /**
   * `names` are `host:port`; they are resolved again when the last answer is older than `resolveMs`.
   * `onChange` is called when they mean other addresses than before.
   */
  constructor(
    runtime: Runtime,
    log: Log,
    names: readonly string[],
    options: { readonly resolveMs: number; readonly onChange: () => void },
  ) {
    this.#runtime = runtime
    this.#log = log
    this.#names = names
    this.#resolveMs = options.resolveMs
    this.#onChange = options.onChange
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

  /** A connection is being made: the names are looked up again beside it, once in a second. */
  onDial(nowMs: number): void {
    if (this.isNamed && nowMs - this.#resolvedAtMs > FRESH_MS) void this.resolve()
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
    const endpoints = [...new Set(found.flat())].slice(0, ENDPOINTS_MAX)
    if (endpoints.length === 0) return
    const isSame =
      endpoints.length === this.#endpoints.length &&
      endpoints.every((address) => this.#endpoints.includes(address))
    if (isSame) return
    this.#endpoints = endpoints
    this.#onChange()
  }
}

function isLiteral(address: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+:/.test(address)
}
