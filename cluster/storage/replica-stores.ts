/**
 * All replica stores of a server process in its one engine: finding them at start, making and
 * removing them, and the durable decree of all of them by one synced write (replica-server.md 9.4:
 * a synced batch makes every earlier batch durable).
 */
import type { Gpid } from '../protocol/base.ts'
import { gpidText } from '../protocol/base.ts'
import type { BatchOperation, StorageEngine } from './engine.ts'
import { ENGINE_RESERVED_KEY } from './engine-format.ts'
import { ReplicaStore } from './replica-store.ts'
import { gpidOfKey, storeEnd, storePrefix } from './store-keys.ts'

export class ReplicaStores {
  readonly #engine: StorageEngine
  readonly #stores = new Map<string, ReplicaStore>()
  /** The last of a chain of syncs, one at a time. */
  #syncing: Promise<void> = Promise.resolve()
  #nextSync: Promise<void> | undefined

  private constructor(engine: StorageEngine) {
    this.#engine = engine
  }

  /**
   * Opens every store in the engine; finishes removals and wipes half-loaded content that a crash
   * left. Afterwards what was found is durable. The engine stays its owner's to close.
   */
  static async open(engine: StorageEngine): Promise<ReplicaStores> {
    const stores = new ReplicaStores(engine)
    for (const gpid of await findReplicas(engine)) {
      const store = await ReplicaStore.open(engine, gpid)
      stores.#stores.set(gpidText(gpid), store)
    }
    await stores.sync()
    return stores
  }

  all(): readonly ReplicaStore[] {
    return [...this.#stores.values()]
  }

  get(gpid: Gpid): ReplicaStore | undefined {
    return this.#stores.get(gpidText(gpid))
  }

  /** The store there is, or an empty one. It is found again at a start once something is in it. */
  async getOrCreate(gpid: Gpid): Promise<ReplicaStore> {
    const known = this.get(gpid)
    if (known !== undefined) return known
    const store = await ReplicaStore.open(this.#engine, gpid)
    const meanwhile = this.get(gpid)
    if (meanwhile !== undefined) return meanwhile
    this.#stores.set(gpidText(gpid), store)
    return store
  }

  /** Removes a replica with everything that it stored, durably. Fine when there is none. */
  async remove(gpid: Gpid): Promise<void> {
    const store = this.get(gpid)
    if (store === undefined) return
    await store.remove()
    this.#stores.delete(gpidText(gpid))
  }

  /** Batches since the last sync, over all stores. */
  unsyncedBytes(): number {
    let bytes = 0
    for (const store of this.#stores.values()) bytes += store.unsyncedBytes
    return bytes
  }

  /**
   * Makes durable what every store has applied when this is called, in one synced write; their
   * `durableDecree` says so afterwards. Calls during a running sync share the next one.
   */
  sync(): Promise<void> {
    this.#nextSync ??= this.#syncing
      .catch(() => undefined)
      .then(() => {
        this.#nextSync = undefined
        this.#syncing = this.#sync()
        return this.#syncing
      })
    return this.#nextSync
  }

  async #sync(): Promise<void> {
    const marks = this.all().flatMap((store) => store.syncMark() ?? [])
    if (marks.length === 0) return
    const batch: BatchOperation[] = marks.map(({ operation }) => operation)
    await this.#engine.write(batch, { sync: true })
    for (const { done } of marks) done()
  }
}

/** Every gpid that has a key, by jumping from prefix to prefix. */
async function findReplicas(engine: StorageEngine): Promise<Gpid[]> {
  const found: Gpid[] = []
  let from: Buffer = Buffer.alloc(8)
  for (;;) {
    const iterator = engine.iterate({ gte: from, lt: ENGINE_RESERVED_KEY, keysOnly: true })
    const [entry] = await iterator.next(1, 1).finally(() => iterator.close())
    if (entry === undefined) return found
    const gpid = gpidOfKey(entry[0])
    found.push(gpid)
    from = storeEnd(storePrefix(gpid))
  }
}
