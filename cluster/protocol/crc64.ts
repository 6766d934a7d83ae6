/**
 * The CRC-64 of Pegasus' partition hash (data-model.md 1.2): reflected polynomial
 * 0x9A6C9329AC4BC9B5, initial value all ones, final complement. This is CRC-64/NVME, not /ECMA.
 * Runs on two 32-bit halves, because a number holds no 64 bits and a bigint per byte is slow.
 */
const POLYNOMIAL_HIGH = 0x9a6c9329
const POLYNOMIAL_LOW = 0xac4bc9b5

const TABLE_HIGH = new Uint32Array(256)
const TABLE_LOW = new Uint32Array(256)
for (let index = 0; index < 256; index++) {
  let high = 0
  let low = index
  for (let bit = 0; bit < 8; bit++) {
    const odd = (low & 1) === 1
    low = ((low >>> 1) | (high << 31)) >>> 0
    high >>>= 1
    if (odd) {
      high = (high ^ POLYNOMIAL_HIGH) >>> 0
      low = (low ^ POLYNOMIAL_LOW) >>> 0
    }
  }
  TABLE_HIGH[index] = high
  TABLE_LOW[index] = low
}

/** Unsigned 64-bit checksum of `bytes` from `start` up to `end`; 0 for no bytes at all. */
export function crc64(bytes: Uint8Array, start = 0, end = bytes.length): bigint {
  let high = -1
  let low = -1
  for (let at = start; at < end; at++) {
    const index = (low ^ (bytes[at] ?? 0)) & 255
    low = ((low >>> 8) | (high << 24)) ^ (TABLE_LOW[index] ?? 0)
    high = (high >>> 8) ^ (TABLE_HIGH[index] ?? 0)
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0)
}
