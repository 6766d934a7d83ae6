/**
 * The window of mutations around the commit point of one replica (PacificA's prepared list, bounded;
 * replica-server.md 7). Below the commit point it keeps recent committed mutations: they feed
 * learners (`cache`) and expose a peer that proposes other content for a committed decree (12.4 d).
 * Knows nothing of peers, logs or engines.
 *
 * Invariant: committed <= maxDecree; every decree in (keptFrom - 1, committed] is present.
 */
import { type Mutation, contentHash, sameContent, sizeBytes } from './mutation.ts'

export interface Prepared<Extra> {
  readonly mutation: Mutation
  /** Durable in the own log. */
  logged: boolean
  /** What the role keeps beside it: acknowledgements, clients, waiting requests. */
  readonly extra: Extra
}

export type PrepareOutcome<Extra> =
  | {
      readonly kind: 'added'
      readonly entry: Prepared<Extra>
      replaced: Prepared<Extra> | undefined
    }
  /** Further ahead of the commit point than the window holds. */
  | { readonly kind: 'capacity' }
  /** An entry of a higher ballot is there: the group has two histories. */
  | { readonly kind: 'conflict'; readonly present: Prepared<Extra> }

/** Committed mutations are kept up to this many bytes; beyond it only their hashes are. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024

export class PrepareList<Extra> {
  readonly #capacity: number
  readonly #entries = new Map<number, Prepared<Extra>>()
  readonly #hashes = new Map<number, bigint>()
  #committed: number
  #max: number
  #keptFrom: number
  #keptBytes = 0

  /** `capacity`: decrees that may lie above the commit point, and committed ones that are kept. */
  constructor(capacity: number, committed: number) {
    this.#capacity = capacity
    this.#committed = committed
    this.#max = committed
    this.#keptFrom = committed + 1
  }

  get committed(): number {
    return this.#committed
  }

  /** Highest decree in the list; there may be holes below it, above the commit point. */
  get maxDecree(): number {
    return this.#max
  }

  /** Lowest decree from which on every committed mutation is here; committed + 1 when none is. */
  get keptFrom(): number {
    return this.#keptFrom
  }

  get(decree: number): Prepared<Extra> | undefined {
    return this.#entries.get(decree)
  }

  /** Highest decree up to which all are present, logged, and with ballots that do not fall. */
  lastPrepared(): number {
    let decree = this.#committed
    let ballot = this.#entries.get(decree)?.mutation.ballot ?? 0
    for (;;) {
      const next = this.#entries.get(decree + 1)
      if (next === undefined || !next.logged || next.mutation.ballot < ballot) return decree
      ballot = next.mutation.ballot
      decree++
    }
  }

  /** Above the commit point only. */
  prepare(mutation: Mutation, extra: Extra): PrepareOutcome<Extra> {
    const { decree, ballot } = mutation
    if (decree > this.#committed + this.#capacity) return { kind: 'capacity' }
    const present = this.#entries.get(decree)
    if (present !== undefined && present.mutation.ballot > ballot)
      return { kind: 'conflict', present }
    const entry: Prepared<Extra> = { mutation, logged: false, extra }
    this.#entries.set(decree, entry)
    this.#max = Math.max(this.#max, decree)
    return { kind: 'added', entry, replaced: present }
  }

  /**
   * Commits up to `decree`; all up to there must be present and logged. Answers what was committed,
   * in order, or the first decree that is missing or not logged (and then changes nothing).
   */
  commitHard(decree: number): { committed: Prepared<Extra>[] } | { missing: number } {
    for (let at = this.#committed + 1; at <= decree; at++)
      if (this.#entries.get(at)?.logged !== true) return { missing: at }
    return { committed: this.#commitWhile(decree, () => true) }
  }

  /** Commits up to `decree`, stopping where an entry is missing, not logged, or its ballot falls. */
  commitSoft(decree: number): Prepared<Extra>[] {
    let ballot = this.#entries.get(this.#committed)?.mutation.ballot ?? 0
    return this.#commitWhile(decree, (entry) => {
      if (!entry.logged || entry.mutation.ballot < ballot) return false
      ballot = entry.mutation.ballot
      return true
    })
  }

  /** Commits from the commit point on while entries are ready. */
  commitReady(isReady: (entry: Prepared<Extra>) => boolean): Prepared<Extra>[] {
    return this.#commitWhile(this.#max, isReady)
  }

  /** A mutation that is known to be committed and follows the commit point (learning, recovery). */
  addCommitted(mutation: Mutation, extra: Extra): Prepared<Extra> {
    const entry: Prepared<Extra> = { mutation, logged: true, extra }
    this.#entries.set(mutation.decree, entry)
    this.#max = Math.max(this.#max, mutation.decree)
    this.#commitWhile(mutation.decree, () => true)
    return entry
  }

  /** Drops everything; the commit point is `decree`. */
  reset(decree: number): void {
    this.#entries.clear()
    this.#hashes.clear()
    this.#committed = decree
    this.#max = decree
    this.#keptFrom = decree + 1
    this.#keptBytes = 0
  }

  /** Entries above the commit point, in order of decree; holes are left out. */
  uncommitted(): Prepared<Extra>[] {
    const out: Prepared<Extra>[] = []
    for (let decree = this.#committed + 1; decree <= this.#max; decree++) {
      const entry = this.#entries.get(decree)
      if (entry !== undefined) out.push(entry)
    }
    return out
  }

  /** Whether a mutation equals what was committed under its decree; `undefined` when unknown. */
  agreesWithCommitted(mutation: Mutation): boolean | undefined {
    const entry = this.#entries.get(mutation.decree)
    if (entry !== undefined) return sameContent(entry.mutation, mutation)
    const hash = this.#hashes.get(mutation.decree)
    return hash === undefined ? undefined : hash === contentHash(mutation)
  }

  #commitWhile(limit: number, isReady: (entry: Prepared<Extra>) => boolean): Prepared<Extra>[] {
    const out: Prepared<Extra>[] = []
    while (this.#committed < limit) {
      const entry = this.#entries.get(this.#committed + 1)
      if (entry === undefined || !isReady(entry)) break
      this.#committed++
      this.#keptBytes += sizeBytes(entry.mutation)
      out.push(entry)
    }
    this.#evict()
    return out
  }

  /** The hash of what goes early, for its bytes, stays for as long as the entry would have. */
  #evict(): void {
    while (this.#keptFrom <= this.#committed) {
      const tooOld = this.#committed - this.#keptFrom >= this.#capacity
      if (!tooOld && this.#keptBytes <= KEPT_BYTES_MAX) break
      const entry = this.#entries.get(this.#keptFrom)
      if (entry !== undefined) {
        if (!tooOld) this.#hashes.set(this.#keptFrom, contentHash(entry.mutation))
        this.#keptBytes -= sizeBytes(entry.mutation)
        this.#entries.delete(this.#keptFrom)
      }
      this.#keptFrom++
    }
    for (const decree of this.#hashes.keys()) {
      if (this.#committed - decree < this.#capacity) break
      this.#hashes.delete(decree)
    }
  }
}
