/**
 * The file contract on a simulated disk: every operation takes virtual time and may fail as
 * configured. An operation takes effect when it completes; one that is under way when the process
 * ends may have been done in part. What a power cut leaves is decided in `simulated-disk.ts`.
 */
import type { Incarnation } from './simulated-node.ts'
import {
  SimulatedInode,
  SimulatedTree,
  cleanPath,
  parentOf,
  type SimulatedEntry,
} from './simulated-disk.ts'
import type { SeededRandom } from './simulated-random.ts'
import type { SimulatedWorld } from './simulated.ts'
import { RuntimeError, type File, type Files, type RuntimeErrorCode } from './runtime.ts'

export interface DiskFaults {
  /** Probability of EIO per operation of the kind. */
  readonly readErrorProbability: number
  readonly writeErrorProbability: number
  readonly syncErrorProbability: number
  /** Every write and creation fails with ENOSPC, a write perhaps in its middle. */
  readonly full: boolean
  /** Mean time of a read or write, and of a sync. */
  readonly operationMeanMs: number
  readonly syncMeanMs: number
}

export const healthyDisk: DiskFaults = {
  readErrorProbability: 0,
  writeErrorProbability: 0,
  syncErrorProbability: 0,
  full: false,
  operationMeanMs: 0.05,
  syncMeanMs: 0.5,
}

type OperationKind = 'read' | 'write' | 'sync'

/** One operation: what it does when it succeeds, is cut short by the end of the process, or fails. */
interface Operation<T> {
  readonly what: string
  readonly kind: OperationKind
  readonly action: () => T
  readonly partly?: () => void
  readonly failed?: () => void
}

interface Pending {
  readonly partly: (() => void) | undefined
}

export class SimulatedDisk {
  readonly #world: SimulatedWorld
  readonly #random: SeededRandom
  readonly #tree = new SimulatedTree()
  readonly #pending = new Set<Pending>()
  #faults: DiskFaults = healthyDisk

  constructor(world: SimulatedWorld, random: SeededRandom) {
    this.#world = world
    this.#random = random
  }

  get faults(): DiskFaults {
    return this.#faults
  }

  configure(faults: Partial<DiskFaults>): void {
    this.#faults = { ...this.#faults, ...faults }
  }

  /** Paths of the files, for tests and faults. */
  files(): readonly string[] {
    return this.#tree.paths().filter((path) => this.#tree.find(path) !== 'directory')
  }

  /** Turns one bit of a file at rest. */
  flipBit(path: string): void {
    const entry = this.#tree.find(cleanPath(path))
    if (entry !== undefined && entry !== 'directory') entry.flipBit(this.#random)
  }

  /** The process has ended, or the power has gone: operations under way are done in part. */
  ended(powerCut: boolean): void {
    for (const pending of this.#pending) pending.partly?.()
    this.#pending.clear()
    if (powerCut) this.#tree.cutPower(this.#random)
  }

  filesOf(owner: Incarnation): Files {
    const tree = this.#tree
    const run = <T>(what: string, kind: OperationKind, action: () => T): Promise<T> =>
      this.#operate(owner, { what, kind, action })
    /** Replacements of one path go one behind the other: they share the temporary name. */
    const replacing = new Map<string, Promise<void>>()
    const files: Files = {
      open: (path, mode) =>
        run(`open ${path}`, mode === 'create' ? 'write' : 'read', () =>
          this.#open(owner, cleanPath(path), mode),
        ),
      readFile: (path) =>
        run(`read ${path}`, 'read', () => {
          const inode = fileAt(tree.find(cleanPath(path)), 'read', path)
          return inode.read(0, inode.sizeBytes)
        }),
      replaceFile: (path, content) => {
        const before = replacing.get(path) ?? Promise.resolve()
        const mine = before.catch(() => undefined).then(() => this.#replace(files, path, content))
        replacing.set(path, mine)
        return mine
      },
      list: (directory) =>
        run(`list ${directory}`, 'read', () => {
          if (tree.find(cleanPath(directory)) !== 'directory')
            throw failure('ENOENT', `list ${directory}`, 'no such folder')
          return tree.list(cleanPath(directory))
        }),
      stat: (path) =>
        run(`stat ${path}`, 'read', () => {
          const entry = tree.find(cleanPath(path))
          if (entry === undefined) return undefined
          return entry === 'directory'
            ? { kind: 'directory' as const, sizeBytes: 0 }
            : { kind: 'file' as const, sizeBytes: entry.sizeBytes }
        }),
      makeDirectory: (path) =>
        run(`make folder ${path}`, 'write', () => this.#makeDirectory(cleanPath(path))),
      rename: (from, to) =>
        run(`rename ${from} to ${to}`, 'write', () => this.#rename(cleanPath(from), cleanPath(to))),
      remove: (path) =>
        run(`remove ${path}`, 'read', () => {
          if (tree.find(cleanPath(path)) !== undefined) tree.remove(cleanPath(path))
        }),
      syncDirectory: (directory) =>
        run(`sync ${directory}`, 'sync', () => {
          if (tree.find(cleanPath(directory)) !== 'directory')
            throw failure('ENOENT', `sync ${directory}`, 'no such folder')
          tree.sync(cleanPath(directory))
        }),
    }
    return files
  }

  /** Never settles when the process ends first. */
  #operate<T>(owner: Incarnation, operation: Operation<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!owner.alive) return
      const { what, kind, action, partly, failed } = operation
      const faults = this.#faults
      const meanMs = kind === 'sync' ? faults.syncMeanMs : faults.operationMeanMs
      const failing = this.#drawError(kind)
      const pending: Pending = { partly }
      this.#pending.add(pending)
      this.#world.after(this.#random.exponential(meanMs), () => {
        if (!this.#pending.delete(pending)) return
        let settle: () => void
        try {
          if (failing !== undefined) {
            failed?.()
            throw failure(failing, what, failing === 'EIO' ? 'input/output error' : 'disk is full')
          }
          const value = action()
          settle = () => resolve(value)
        } catch (error) {
          settle = () => reject(error instanceof Error ? error : new Error(String(error)))
        }
        owner.node.perform(owner, 'input', settle)
      })
    })
  }

  #drawError(kind: OperationKind): RuntimeErrorCode | undefined {
    const { readErrorProbability, writeErrorProbability, syncErrorProbability, full } = this.#faults
    const probability =
      kind === 'read'
        ? readErrorProbability
        : kind === 'write'
          ? writeErrorProbability
          : syncErrorProbability
    if (probability > 0 && this.#random.chance(probability)) return 'EIO'
    return full && kind === 'write' ? 'ENOSPC' : undefined
  }

  #open(owner: Incarnation, path: string, mode: 'read' | 'update' | 'create'): File {
    const entry = this.#tree.find(path)
    if (mode !== 'create') return this.#file(owner, path, fileAt(entry, 'open', path))
    if (entry !== undefined) throw failure('EEXIST', `open ${path}`, 'exists')
    this.#expectFolder(path, 'open')
    const inode = new SimulatedInode()
    this.#tree.set(path, inode)
    return this.#file(owner, path, inode)
  }

  #file(owner: Incarnation, path: string, inode: SimulatedInode): File {
    let writing = false
    let closed = false
    const run = <T>(operation: Operation<T>): Promise<T> => {
      const what = `${operation.what} ${path}`
      if (closed) return Promise.reject(failure('EOTHER', what, 'the file is closed'))
      return this.#operate(owner, { ...operation, what })
    }
    const write = async (position: number, bytes: Buffer): Promise<void> => {
      if (writing) throw new Error(`write ${path}: another write is under way`)
      writing = true
      const partBytes = this.#random.below(bytes.length + 1)
      const partly = (): void => inode.write(position, bytes.subarray(0, partBytes))
      const action = (): void => inode.write(position, bytes)
      try {
        await run({ what: 'write', kind: 'write', action, partly, failed: partly })
      } finally {
        writing = false
      }
    }
    return {
      read: (position, lengthBytes) =>
        run({ what: 'read', kind: 'read', action: () => inode.read(position, lengthBytes) }),
      write: (position, chunks) => write(position, Buffer.concat(chunks)),
      sync: () => {
        const failed = (): void => inode.failSync()
        return run({ what: 'sync', kind: 'sync', action: inode.beginSync(), failed })
      },
      truncate: (sizeBytes) =>
        run({ what: 'truncate', kind: 'write', action: () => inode.truncate(sizeBytes) }),
      sizeBytes: () => run({ what: 'stat', kind: 'read', action: () => inode.sizeBytes }),
      close: async () => {
        closed = true
      },
    }
  }

  async #replace(files: Files, path: string, content: Buffer): Promise<void> {
    const temporary = `${path}.new`
    await files.remove(temporary)
    const file = await files.open(temporary, 'create')
    await file.write(0, [content])
    await file.sync()
    await file.close()
    await files.rename(temporary, path)
    await files.syncDirectory(parentOf(cleanPath(path)))
  }

  #makeDirectory(path: string): void {
    const entry = this.#tree.find(path)
    if (entry === 'directory') return
    if (entry !== undefined) throw failure('EEXIST', `make folder ${path}`, 'a file is there')
    this.#makeDirectory(parentOf(path))
    this.#tree.set(path, 'directory')
  }

  #rename(from: string, to: string): void {
    const what = `rename ${from} to ${to}`
    const entry = this.#tree.find(from)
    if (entry === undefined) throw failure('ENOENT', what, 'no such file')
    this.#expectFolder(to, 'rename')
    const target = this.#tree.find(to)
    if (target === 'directory' && this.#tree.list(to).length > 0)
      throw failure('ENOTEMPTY', what, 'the folder is not empty')
    this.#tree.rename(from, to)
  }

  #expectFolder(path: string, attempt: string): void {
    if (this.#tree.find(parentOf(path)) !== 'directory')
      throw failure('ENOENT', `${attempt} ${path}`, 'no such folder')
  }
}

function fileAt(entry: SimulatedEntry | undefined, attempt: string, path: string): SimulatedInode {
  if (entry === undefined) throw failure('ENOENT', `${attempt} ${path}`, 'no such file')
  if (entry === 'directory') throw failure('EOTHER', `${attempt} ${path}`, 'is a folder')
  return entry
}

function failure(code: RuntimeErrorCode, attempt: string, found: string): RuntimeError {
  return new RuntimeError(code, `${attempt}: ${code}, ${found}`)
}
