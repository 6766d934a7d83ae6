/**
 * What happened in a simulated run: a hash over every event, so that two runs can be compared, and
 * the last events in words, so that a failure can be read.
 */
import { crc32 } from 'node:zlib'
import { hashText } from './simulated-random.ts'

interface TraceEntry {
  readonly atMs: number
  readonly node: string
  readonly kind: string
  readonly detail: string | number
  readonly facts: object | undefined
}

const timeAsFloat = new Float64Array(1)
const timeAsWords = new Uint32Array(timeAsFloat.buffer)

export class SimulatedTrace {
  readonly #ring: (TraceEntry | undefined)[]
  #count = 0
  #low = 0x811c9dc5
  #high = 0x9e3779b9

  constructor(keptMax: number) {
    this.#ring = Array.from({ length: keptMax })
  }

  /** Events so far. */
  get count(): number {
    return this.#count
  }

  /** Counts in the hash and stands in the list of last events; `facts` only in the list. */
  add(atMs: number, node: string, kind: string, detail: string | number, facts?: object): void {
    this.#mixTime(atMs)
    this.#mix(hashText(kind, hashText(node, 0x811c9dc5)))
    this.#mix(typeof detail === 'number' ? detail | 0 : hashText(detail, 0x811c9dc5))
    this.#ring[this.#count++ % this.#ring.length] = { atMs, node, kind, detail, facts }
  }

  /** Counts in the hash only: what happens too often to be read. */
  addQuietly(atMs: number, mark: number, content?: Buffer): void {
    this.#mixTime(atMs)
    this.#mix(content === undefined ? mark : mark ^ crc32(content))
  }

  hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
    return `${hex(this.#high)}${hex(this.#low)}`
  }

  /** The last events, oldest first, a line each. */
  lines(max: number): readonly string[] {
    const kept = Math.min(max, this.#count, this.#ring.length)
    return Array.from({ length: kept }, (_, back) => {
      const entry = this.#ring[(this.#count - kept + back) % this.#ring.length]
      return entry === undefined
        ? ''
        : `${entry.atMs.toFixed(3)} ${entry.node} ${entry.kind} ${entry.detail}${inWords(entry.facts)}`
    })
  }

  #mixTime(atMs: number): void {
    timeAsFloat[0] = atMs
    this.#mix((timeAsWords[0] ?? 0) ^ Math.imul(timeAsWords[1] ?? 0, 0x85ebca6b))
  }

  #mix(word: number): void {
    this.#low = Math.imul(this.#low ^ word, 0x01000193) >>> 0
    this.#high = (Math.imul(this.#high ^ (word >>> 7) ^ this.#low, 0xc2b2ae35) + 0x165667b1) >>> 0
  }
}

function inWords(facts: object | undefined): string {
  return Object.entries(facts ?? {})
    .map(([name, value]) => ` ${name}=${String(value)}`)
    .join('')
}
