/**
 * Passwords of local users: scrypt with 32 MiB of memory for each, off the event loop, two at a time,
 * so that a flood of log-ins costs neither latency nor memory without bound.
 *
 *     scrypt$<log2 N>$<r>$<p>$<salt>$<hash>      salt and hash in base64url
 */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { ApiError } from './problem.ts'

const LOG_N = 15
const R = 8
const P = 1
const HASH_BYTES = 32
const MEMORY_MAX = 128 * (1 << LOG_N) * R + (1 << 20)
const AT_ONCE = 2
const WAITING_MAX = 30

interface Cost {
  readonly logN: number
  readonly r: number
  readonly p: number
}

export class Passwords {
  #running = 0
  readonly #waiting: (() => void)[] = []
  /** Compared with when there is no such user: an answer takes as long as for one that is there. */
  readonly #nobody = Promise.resolve().then(() => this.hash(randomBytes(16).toString('hex')))

  constructor() {
    // Whoever asks for it is told.
    this.#nobody.catch(() => undefined)
  }

  async hash(password: string): Promise<string> {
    const salt = randomBytes(16)
    const hash = await this.#derive(password, salt, { logN: LOG_N, r: R, p: P })
    return ['scrypt', LOG_N, R, P, salt.toString('base64url'), hash.toString('base64url')].join('$')
  }

  /** False for a stored text that is none, too. */
  async verify(password: string, stored: string | undefined): Promise<boolean> {
    const [kind, logN, r, p, salt = '', hash = ''] = (stored ?? (await this.#nobody)).split('$')
    const cost = { logN: Number(logN), r: Number(r), p: Number(p) }
    if (
      kind !== 'scrypt' ||
      !(cost.logN >= 10 && cost.logN <= LOG_N) ||
      cost.r !== R ||
      cost.p !== P
    )
      return false
    const expected = Buffer.from(hash, 'base64url')
    const found = await this.#derive(password, Buffer.from(salt, 'base64url'), cost)
    const isEqual = expected.length === found.length && timingSafeEqual(expected, found)
    return isEqual && stored !== undefined
  }

  async #derive(password: string, salt: Buffer, { logN, r, p }: Cost): Promise<Buffer> {
    await this.#turn()
    try {
      return await new Promise((resolve, reject) => {
        const options = { N: 1 << logN, r, p, maxmem: MEMORY_MAX }
        scrypt(password.normalize('NFKC'), salt, HASH_BYTES, options, (error, key) =>
          error === null ? resolve(key) : reject(error),
        )
      })
    } finally {
      this.#running--
      this.#waiting.shift()?.()
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= WAITING_MAX)
        throw new ApiError('too-many-requests', 'too many log-ins at once', {
          retryAfterSeconds: 2,
        })
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
    }
    this.#running++
  }
}
