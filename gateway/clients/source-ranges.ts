/**
 * Which addresses may do something: lists of IPv4 ranges such as `10.0.0.0/8`, or single addresses
 * (gateway.md X-1, 6). Pure. The text form of a range is judged here too, for the configuration.
 */

const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const RANGE = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}(?:/(?:3[0-2]|[12]?\\d))?$`)
const ADDRESS = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)
const MAPPED = /^::ffff:/i

/** What the text of a range looks like; for the configuration. */
export const rangeForm = {
  pattern: RANGE,
  expected: 'an IPv4 range such as 10.0.0.0/8, or one address',
} as const

export function isIpv4(text: string): boolean {
  return ADDRESS.test(text)
}

/** `ip:port` or `[ip]:port` to the address alone; an IPv4 address in IPv6 clothes is that address. */
export function sourceOf(peer: string): string {
  const address = peer.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  return MAPPED.test(address) ? address.slice(7) : address
}

function numberOf(address: string): number {
  let value = 0
  for (const octet of address.split('.')) value = value * 256 + Number(octet)
  return value >>> 0
}

export class SourceRanges {
  readonly #ranges: readonly { readonly base: number; readonly mask: number }[]

  /** Throws RangeError when a text is no range. */
  constructor(ranges: readonly string[]) {
    this.#ranges = ranges.map((text) => {
      if (!RANGE.test(text)) throw new RangeError(`${JSON.stringify(text)} is no IPv4 range`)
      const [address = '', bits = '32'] = text.split('/')
      const mask = bits === '0' ? 0 : (-1 << (32 - Number(bits))) >>> 0
      return { base: (numberOf(address) & mask) >>> 0, mask }
    })
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0
  }

  /** `address` without a port. Nothing but IPv4 lies in any range. */
  includes(address: string): boolean {
    if (!isIpv4(address)) return false
    const value = numberOf(address)
    return this.#ranges.some(({ base, mask }) => (value & mask) >>> 0 === base)
  }
}
