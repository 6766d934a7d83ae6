/**
 * Keeps the snapshot file of a directory (gateway.md R-26): loads it once before clients are served,
 * and writes it now and then while the routes are known to be current, and at the end.
 */
import { type Log, type Runtime, RuntimeError, type Timer } from '../../cluster/runtime/runtime.ts'
import { decodeSnapshot, encodeSnapshot } from './snapshot.ts'
import type { TableDirectory } from './table-directory.ts'

/** Also without changes: the age of what is loaded counts from the last time. */
const SAVE_MS = 30_000

export class SnapshotKeeper {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #directory: TableDirectory
  readonly #file: string
  #timer: Timer | undefined
  #saving: Promise<void> = Promise.resolve()
  #closed = false

  private constructor(runtime: Runtime, directory: TableDirectory, file: string) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'snapshot', file })
    this.#directory = directory
    this.#file = file
  }

  /** Resolves when what the file holds is in force. A bad file is told and left alone until saved over. */
  static async open(
    runtime: Runtime,
    directory: TableDirectory,
    file: string,
  ): Promise<SnapshotKeeper> {
    const keeper = new SnapshotKeeper(runtime, directory, file)
    await keeper.#load()
    keeper.#schedule()
    return keeper
  }

  /** Before the directory is closed. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    await this.#save()
  }

  async #load(): Promise<void> {
    let data: Buffer
    try {
      data = await this.#runtime.files.readFile(this.#file)
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'ENOENT')
        this.#log.warn('snapshot not read', { error })
      return
    }
    const snapshot = decodeSnapshot(data, this.#directory.root, (problem) =>
      this.#log.warn('snapshot not used', { problem }),
    )
    if (snapshot === undefined) return
    const ageMs = Math.max(0, this.#runtime.clock.wallMs() - snapshot.confirmedAtMs)
    this.#directory.restore(snapshot, ageMs)
    this.#log.info('snapshot loaded', { tables: snapshot.tables.length, ageMs })
  }

  #schedule(): void {
    const delayMs = SAVE_MS * (0.9 + 0.2 * this.#runtime.random.float())
    this.#timer = this.#runtime.timers.after(delayMs, () => {
      void this.#save().finally(() => {
        if (!this.#closed) this.#schedule()
      })
    })
  }

  #save(): Promise<void> {
    this.#saving = this.#saving.then(() => this.#write())
    return this.#saving
  }

  async #write(): Promise<void> {
    const snapshot = this.#directory.snapshot(this.#runtime.clock.wallMs())
    if (snapshot === undefined) return
    try {
      await this.#runtime.files.replaceFile(this.#file, encodeSnapshot(snapshot))
    } catch (error) {
      this.#log.warn('snapshot not written', { error })
    }
  }
}
