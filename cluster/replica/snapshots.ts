/**
 * Snapshots that this server holds open for learners, and copying one from another server
 * (replica-server.md 9.5 way 3, 10.2). Blocks travel as RPC_NFS_COPY: `source_dir` names the
 * snapshot, `offset` is the number of the block. Nothing but such a snapshot can be read this way.
 */
import { type CopyRequest, CopyResponse } from '../protocol/nfs.ts'
import { errorEntry } from '../protocol/error-codes.ts'
import { type Gpid, gpidText } from '../protocol/base.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import type { Peers } from '../rpc/peers.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Runtime, Timer } from '../runtime/runtime.ts'
import type { ReplicaStore } from '../storage/replica-store.ts'
import type { AppliedPoint } from '../storage/store-keys.ts'
import type { StoreSnapshot } from '../storage/store-snapshot.ts'
import type { OpenedSnapshot } from './replica-events.ts'

const BLOCK_BYTES = 1024 * 1024
const IDLE_MS = 30_000
/** Open at a time on one server (upstream's learn_app_max_concurrent_count). */
const SNAPSHOTS_MAX = 5

interface Held {
  readonly gpid: Gpid
  readonly snapshot: StoreSnapshot
  /** Learner and attempt: a repeated request takes the place of the one before. */
  readonly owner: string
  /** The block sent last, for a learner whose answer got lost. */
  last: { readonly number: number; readonly bytes: Buffer } | undefined
  reading: boolean
  timer: Timer
}

export class Snapshots {
  readonly #runtime: Runtime
  readonly #held = new Map<string, Held>()
  #made = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** Undefined when too many are open already. */
  async open(store: ReplicaStore, owner: string): Promise<OpenedSnapshot | undefined> {
    for (const [directory, held] of this.#held) if (held.owner === owner) this.#drop(directory)
    if (this.#held.size >= SNAPSHOTS_MAX) return undefined
    const snapshot = await store.snapshot()
    this.#made++
    const directory = `learn/${gpidText(store.gpid)}/${this.#made}`
    const timer = this.#expireLater(directory)
    const held = { gpid: store.gpid, snapshot, owner, last: undefined, reading: false, timer }
    this.#held.set(directory, held)
    return { directory, decree: snapshot.applied.decree }
  }

  /** The log behind the oldest open snapshot of a replica is still needed. */
  oldestDecree(gpid: Gpid): number | undefined {
    const decrees = [...this.#held.values()]
      .filter((held) => gpidText(held.gpid) === gpidText(gpid))
      .map((held) => held.snapshot.applied.decree)
    return decrees.length === 0 ? undefined : Math.min(...decrees)
  }

  async block(request: CopyRequest): Promise<CopyResponse> {
    const held = this.#held.get(request.sourceDir)
    if (held === undefined || held.reading || request.pid === undefined)
      return failed('ERR_OBJECT_NOT_FOUND')
    if (gpidText(held.gpid) !== gpidText(request.pid)) return failed('ERR_INVALID_PARAMETERS')
    held.timer.cancel()
    held.timer = this.#expireLater(request.sourceDir)
    const next = (held.last?.number ?? -1) + 1
    if (request.offset !== next)
      return held.last?.number === request.offset
        ? sent(held.last.number, held.last.bytes)
        : failed('ERR_INVALID_PARAMETERS')
    held.reading = true
    try {
      const bytes = await held.snapshot.nextBlock(BLOCK_BYTES)
      if (bytes === undefined) return failed('ERR_HANDLER_NOT_FOUND')
      held.last = { number: next, bytes }
      return sent(next, bytes)
    } finally {
      held.reading = false
    }
  }

  close(): void {
    for (const directory of this.#held.keys()) this.#drop(directory)
  }

  #expireLater(directory: string): Timer {
    return this.#runtime.timers.after(IDLE_MS, () => {
      this.#drop(directory)
    })
  }

  #drop(directory: string): void {
    const held = this.#held.get(directory)
    if (held === undefined) return
    this.#held.delete(directory)
    held.timer.cancel()
    held.snapshot.close().catch((error: unknown) => {
      this.#runtime.log.warn('snapshot: close failed', { gpid: gpidText(held.gpid), error })
    })
  }
}

function sent(number: number, bytes: Buffer): CopyResponse {
  return CopyResponse.make({ error: 0, fileContent: bytes, offset: number, size: bytes.length })
}

function failed(error: string): CopyResponse {
  return CopyResponse.make({ error: errorEntry(error).number })
}

export interface SnapshotSource {
  readonly learnee: string
  readonly directory: string
}

export interface CopyWatcher {
  readonly onBytes: (count: number) => void
  /** False ends the copy. */
  readonly isWanted: () => boolean
}

/**
 * Replaces all content of the store by a snapshot of another server. Rejects with the error of a
 * call, of a damaged block or of the engine; the store is empty then, once it has been wiped.
 */
export async function copySnapshot(
  { runtime, peers }: { readonly runtime: Runtime; readonly peers: Peers },
  store: ReplicaStore,
  { learnee, directory }: SnapshotSource,
  { onBytes, isWanted }: CopyWatcher,
): Promise<AppliedPoint> {
  const { gpid } = store
  const loader = await store.beginLoad()
  for (let number = 0; ; number++) {
    const request = {
      source: learnee,
      sourceDir: directory,
      dstDir: '',
      fileName: 'snapshot',
      offset: number,
      size: BLOCK_BYTES,
      isLast: false,
      overwrite: false,
      pid: gpid,
    }
    const deadline = deadlineIn(runtime.clock, IDLE_MS / 2)
    const options = { deadline, appId: gpid.appId, partitionIndex: gpid.partitionIndex }
    const response = await peers.get(learnee).call(Rpc.NFS_COPY, request, options)
    if (response.error !== 0) throw new Error(`block ${number} of ${directory}: ${response.error}`)
    onBytes(response.fileContent.length)
    if (!isWanted()) throw new Error(`${directory}: given up`)
    if (await loader.loadBlock(response.fileContent)) return loader.finish()
  }
}
