/**
 * Integers stored as text, read the way C's `strtoll` with base 0 reads them over a whole value
 * (data-model.md 3, incr): leading white space and a sign, `0x1F` hexadecimal, a leading 0 octal,
 * nothing behind the digits. Used by incr and by the integer checks.
 */

export const INT64_MIN = -(1n << 63n)
export const INT64_MAX = (1n << 63n) - 1n

const TEXT_BYTES_MAX = 512
const wholeNumber = /^[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/

/** `undefined` when the bytes are no such number or it does not fit in 64 bits. */
export function parseInt64(text: Buffer): bigint | undefined {
  // Longer text is white space or leading zeros for the most part: strip them before the pattern.
  const short = text.length > TEXT_BYTES_MAX ? withoutPadding(text) : text.toString('latin1')
  const parts = wholeNumber.exec(short)
  if (parts === null) return undefined
  const [, sign = '', digits = ''] = parts
  const magnitude = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits)
  const value = sign === '-' ? -magnitude : magnitude
  return value < INT64_MIN || value > INT64_MAX ? undefined : value
}

/** The same number in fewer bytes; '' when even then it is too long to fit in 64 bits. */
function withoutPadding(text: Buffer): string {
  let at = 0
  while (isSpace(text[at])) at++
  const sign = text[at] === 0x2b || text[at] === 0x2d ? String.fromCharCode(text[at++] ?? 0) : ''
  let prefix = ''
  if (text[at] === 0x30) {
    const isHexadecimal = text[at + 1] === 0x78 || text[at + 1] === 0x58
    prefix = isHexadecimal ? '0x0' : '00'
    at += isHexadecimal ? 2 : 1
    if (isHexadecimal && at === text.length) return ''
    while (text[at] === 0x30) at++
  }
  if (text.length - at > TEXT_BYTES_MAX) return ''
  return sign + prefix + text.toString('latin1', at)
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d)
}
