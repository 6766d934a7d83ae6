/**
 * Seeded randomness for the simulation: sfc32 streams. A stream is forked by name, so that what one
 * part of a run draws does not shift what the others draw.
 */
import type { Random } from './runtime.ts'

export interface SeededRandom extends Random {
  /** A stream of its own; the same name gives the same stream whatever was drawn before. */
  readonly fork: (name: string) => SeededRandom
  /** In [low, high). */
  readonly between: (low: number, high: number) => number
  readonly chance: (probability: number) => boolean
  /** Exponentially distributed, mean as given. */
  readonly exponential: (mean: number) => number
  /** One of a list that is not empty. */
  readonly pick: <T>(items: readonly [T, ...T[]] | readonly T[]) => T
}

/** FNV-1a over the characters, 32 bits, from a start value. */
export function hashText(text: string, start: number): number {
  let hash = start >>> 0
  for (let at = 0; at < text.length; at++)
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0
  return hash
}

export function seededRandom(seed: number | string): SeededRandom {
  const text = String(seed)
  let a = hashText(text, 0x811c9dc5)
  let b = hashText(text, 0x9e3779b9)
  let c = hashText(text, 0x85ebca6b)
  let counter = 1
  const next = (): number => {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return sum >>> 0
  }
  for (let warm = 0; warm < 16; warm++) next()
  const float = (): number => (next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53
  const below = (limit: number): number => Math.floor(float() * limit)
  return {
    float,
    below,
    bytes: (sizeBytes) => {
      const bytes = Buffer.allocUnsafe(sizeBytes)
      for (let at = 0; at < sizeBytes; at++) bytes[at] = next() & 0xff
      return bytes
    },
    fork: (name) => seededRandom(`${text}/${name}`),
    between: (low, high) => low + float() * (high - low),
    chance: (probability) => float() < probability,
    exponential: (mean) => -Math.log(1 - float()) * mean,
    pick: (items) => {
      const picked = items[below(items.length)]
      if (picked === undefined) throw new RangeError('nothing to pick from')
      return picked
    },
  }
}
