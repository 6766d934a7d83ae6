/**
 * Who leads: the decisions of the lock recipe (meta-server.md 2.2). Every contender has an ephemeral
 * sequential node that holds its address; the smallest number leads; the others watch that one, so
 * that each knows the leader. Pure: reads and writes are done by `contender.ts`, one at a time.
 */

export type ElectionEvent =
  | { readonly type: 'start' }
  /** Name of the own node that was created. */
  | { readonly type: 'created'; readonly name: string }
  | { readonly type: 'listed'; readonly names: readonly string[] }
  /** `address` is undefined when the node vanished meanwhile. */
  | { readonly type: 'owner-read'; readonly name: string; readonly address: string | undefined }
  /** A leftover of this server's own past was deleted, or the watched node is gone or changed. */
  | { readonly type: 'owner-gone' }
  /** The own node could not be read back with a watch, or its watch fired. */
  | { readonly type: 'own-gone' }

export type ElectionEffect =
  | { readonly type: 'create' }
  | { readonly type: 'list' }
  /** Read the data with a watch; `own` says whose node it is. */
  | { readonly type: 'read'; readonly name: string; readonly own: boolean }
  | { readonly type: 'remove'; readonly name: string }
  /** '' when unknown. */
  | { readonly type: 'leader'; readonly address: string }
  /** This server leads from now on. */
  | { readonly type: 'granted' }
  /** The lock is gone: this process must end. */
  | { readonly type: 'lost' }

/** The counter of a contender's name; undefined for names of something else. */
export function contenderNumber(name: string): number | undefined {
  const [, digits] = /LOCKNODE(\d+)$/.exec(name) ?? []
  return digits === undefined ? undefined : Number(digits)
}

export class Election {
  readonly #self: string
  #own: string | undefined
  #leading = false

  /** `self` is the address that others reach this server at, its identity. */
  constructor(self: string) {
    this.#self = self
  }

  get leading(): boolean {
    return this.#leading
  }

  step(event: ElectionEvent): readonly ElectionEffect[] {
    switch (event.type) {
      case 'start':
        return [{ type: 'create' }]
      case 'created':
        this.#own = event.name
        return [{ type: 'list' }]
      case 'listed':
        return this.#listed(event.names)
      case 'owner-read':
        return this.#ownerRead(event.name, event.address)
      case 'owner-gone':
        return [{ type: 'leader', address: '' }, { type: 'list' }]
      case 'own-gone':
        this.#leading = false
        return [{ type: 'lost' }]
    }
  }

  #listed(names: readonly string[]): readonly ElectionEffect[] {
    // The end of a leftover asks for the list twice, by its removal and by its watch: the lock is
    // granted once, or two leaders with two memories would write the store.
    if (this.#leading) return []
    const own = this.#own
    if (own === undefined || !names.includes(own)) {
      this.#own = undefined
      return [{ type: 'create' }]
    }
    let smallest = own
    for (const name of names) {
      const number = contenderNumber(name)
      if (number !== undefined && number < (contenderNumber(smallest) ?? 0)) smallest = name
    }
    if (smallest !== own) return [{ type: 'read', name: smallest, own: false }]
    this.#leading = true
    return [
      { type: 'leader', address: this.#self },
      { type: 'read', name: own, own: true },
      { type: 'granted' },
    ]
  }

  #ownerRead(name: string, address: string | undefined): readonly ElectionEffect[] {
    if (address === undefined) return [{ type: 'leader', address: '' }, { type: 'list' }]
    // A leftover of an earlier life of this server: its session has not run out yet. Deleting it
    // is what lets a quick restart take over at once.
    if (address === this.#self) return [{ type: 'remove', name }]
    return [{ type: 'leader', address }]
  }
}
