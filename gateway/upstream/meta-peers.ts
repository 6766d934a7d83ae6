/**
 * The meta servers of one group: those that the mapping lists, as their names are resolved now, and
 * leaders in no list that others named (gateway.md M-2, M-6). A learned one is kept while it is among
 * the last few, and while the list it was learned from holds.
 */
import { MetaPeer, type PeerGroup } from './meta-peer.ts'
import type { MetaTotals } from './meta-totals.ts'

const LEARNED_MAX = 8

export class MetaPeers {
  readonly #group: PeerGroup
  readonly #totalsOf: (address: string) => MetaTotals
  readonly #listed = new Map<string, MetaPeer>()
  readonly #learned = new Map<string, MetaPeer>()

  constructor(group: PeerGroup, totalsOf: (address: string) => MetaTotals) {
    this.#group = group
    this.#totalsOf = totalsOf
  }

  /** Listed ones in the order of the list, then learned ones. */
  all(): readonly MetaPeer[] {
    return [...this.#listed.values(), ...this.#learned.values()]
  }

  get(address: string): MetaPeer | undefined {
    return this.#listed.get(address) ?? this.#learned.get(address)
  }

  /** The one that another meta named; undefined when that is no address to dial. */
  learn(address: string): MetaPeer | undefined {
    const known = this.#listed.get(address) ?? this.#touch(address)
    if (known !== undefined || !isDialable(address)) return known
    if (this.#learned.size >= LEARNED_MAX) this.#forgetOldest()
    const peer = new MetaPeer(this.#group, address, true, this.#totalsOf(address))
    this.#learned.set(address, peer)
    return peer
  }

  /** What the list means now. Who is no longer in it is closed; nobody left: learned ones too. */
  list(addresses: readonly string[]): void {
    const old = new Map(this.#listed)
    const known = [...this.#listed]
    this.#listed.clear()
    for (const address of addresses) {
      const learned = this.#learned.get(address)
      this.#learned.delete(address)
      if (learned !== undefined) learned.isLearned = false
      const peer =
        old.get(address) ??
        learned ??
        new MetaPeer(this.#group, address, false, this.#totalsOf(address))
      this.#listed.set(address, peer)
    }
    const gone = known.filter(([address]) => !this.#listed.has(address))
    if (known.length > 0 && gone.length === known.length)
      for (const peer of this.#learned.values()) this.#forget(peer, 'another list')
    for (const [, peer] of gone) peer.close('no longer in the list')
  }

  close(reason: string): void {
    for (const peer of this.all()) peer.close(reason)
  }

  #touch(address: string): MetaPeer | undefined {
    const peer = this.#learned.get(address)
    if (peer === undefined) return undefined
    this.#learned.delete(address)
    this.#learned.set(address, peer)
    return peer
  }

  #forgetOldest(): void {
    for (const peer of this.#learned.values()) {
      this.#forget(peer, 'too many learned')
      return
    }
  }

  #forget(peer: MetaPeer, reason: string): void {
    this.#learned.delete(peer.address)
    peer.close(reason)
  }
}

/** `0.0.0.0:0` is what a meta says that knows no leader. */
function isDialable(address: string): boolean {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}):(\d{1,5})$/.exec(address)
  if (parts === null) return false
  const [first = 0, ...rest] = parts.slice(1).map(Number)
  const port = rest.pop() ?? 0
  return first > 0 && first < 224 && rest.every((byte) => byte < 256) && port > 0 && port < 65_536
}
