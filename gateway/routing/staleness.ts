/**
 * How long a route may be used that nobody can confirm (gateway.md 3.4): `serve` for ever,
 * `bounded:<ms>` for that long, `fail` until the session is suspect, which is when it may have
 * expired without our knowing. Pure. A policy stands at the table, at its group, or in the
 * configuration, in this order.
 */

export type StalePolicy =
  | { readonly kind: 'serve' }
  | { readonly kind: 'bounded'; readonly boundMs: number }
  | { readonly kind: 'fail' }

export const SERVE: StalePolicy = { kind: 'serve' }
const FAIL: StalePolicy = { kind: 'fail' }

export const STALE_POLICY_PATTERN = /^(?:serve|fail|bounded:(\d{1,9}))$/
export const STALE_POLICY_EXPECTED = 'serve, fail or bounded:<ms> with up to nine digits'

/** Undefined for anything else than `serve`, `fail` and `bounded:<ms>`. */
export function parseStalePolicy(value: unknown): StalePolicy | undefined {
  const [text, digits] = (typeof value === 'string' && STALE_POLICY_PATTERN.exec(value)) || []
  if (text === undefined) return undefined
  if (digits !== undefined) return { kind: 'bounded', boundMs: Number(digits) }
  return text === 'serve' ? SERVE : FAIL
}

/** How old an unconfirmed route may get, in milliseconds; `suspectMs` is the session time. */
export function usableMs(policy: StalePolicy, suspectMs: number): number {
  switch (policy.kind) {
    case 'serve':
      return Infinity
    case 'bounded':
      return policy.boundMs
    case 'fail':
      return suspectMs
  }
}
