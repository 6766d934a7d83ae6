/**
 * What is on a simulated disk: folders and files with two states, what programs see and what a power
 * cut leaves. Content becomes durable by sectors, names by operations of a folder; a power cut keeps,
 * drops or spoils each sector that was not synced, and keeps the un-synced name changes of a folder
 * up to some point. Durable bytes that a sector's rewriting leaves as they are survive it: a file
 * system rewrites the whole page of an appended record, so no log could do without that ("powersafe
 * overwrite"). No time and no errors here: those are in `simulated-files.ts`.
 */
import type { SeededRandom } from './simulated-random.ts'

const sectorBytes = 512

/** One file, whatever its names. */
export class SimulatedInode {
  #content: Buffer = Buffer.alloc(0)
  #sizeBytes = 0
  #durable: Buffer = Buffer.alloc(0)
  #durableSizeBytes = 0
  /** Sector → number of the write that changed it last. */
  readonly #dirty = new Map<number, number>()
  #writeCount = 0

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  read(position: number, lengthBytes: number): Buffer {
    const end = Math.min(this.#sizeBytes, position + lengthBytes)
    return Buffer.from(this.#content.subarray(Math.min(position, end), end))
  }

  write(position: number, bytes: Buffer): void {
    const end = position + bytes.length
    this.#content = grown(this.#content, end)
    bytes.copy(this.#content, position)
    // A gap behind the old end reads as zeros; those sectors change too.
    this.#mark(Math.min(position, this.#sizeBytes), end)
    this.#sizeBytes = Math.max(this.#sizeBytes, end)
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes > this.#sizeBytes) {
      this.write(sizeBytes, Buffer.alloc(0))
      return
    }
    this.#mark(sizeBytes, this.#sizeBytes)
    this.#content.fill(0, sizeBytes, this.#sizeBytes)
    this.#sizeBytes = sizeBytes
  }

  /** Takes what is to become durable; the answer makes it so, once the disk has done it. */
  beginSync(): () => void {
    const taken = [...this.#dirty].map(([sector, write]) => ({
      sector,
      write,
      bytes: Buffer.from(sectorOf(this.#content, sector)),
    }))
    const sizeBytes = this.#sizeBytes
    return () => {
      for (const { sector, write, bytes } of taken) {
        this.#setDurable(sector, bytes)
        if (this.#dirty.get(sector) === write) this.#dirty.delete(sector)
      }
      this.#durableSizeBytes = sizeBytes
    }
  }

  /** A failed sync: the kernel takes the content for clean, and no later sync writes it. */
  failSync(): void {
    this.#dirty.clear()
  }

  /** Becomes what a power cut leaves. Some files lose all or nothing, so that both are tried. */
  cutPower(random: SeededRandom): void {
    if (this.#dirty.size > 0 || this.#sizeBytes !== this.#durableSizeBytes) {
      const keepProbability = random.pick([0, 1, random.float()])
      for (const sector of this.#dirty.keys()) {
        if (!random.chance(keepProbability)) continue
        const isSpoiled = keepProbability < 1 && random.chance(0.05)
        const garbage = isSpoiled ? random.bytes(sectorBytes) : undefined
        this.#setDurable(sector, this.#rewritten(sector, garbage))
      }
      if (random.chance(keepProbability)) this.#durableSizeBytes = this.#sizeBytes
      else if (this.#sizeBytes > this.#durableSizeBytes && random.chance(0.3))
        this.#durableSizeBytes += random.below(this.#sizeBytes - this.#durableSizeBytes)
    }
    this.#dirty.clear()
    this.#sizeBytes = this.#durableSizeBytes
    this.#content = Buffer.alloc(this.#sizeBytes)
    this.#durable.copy(this.#content, 0, 0, this.#sizeBytes)
    this.#durable = Buffer.from(this.#content)
  }

  /** Turns one bit at rest. */
  flipBit(random: SeededRandom): void {
    if (this.#sizeBytes === 0) return
    const at = random.below(this.#sizeBytes)
    this.#content[at] = (this.#content[at] ?? 0) ^ (1 << random.below(8))
    this.#setDurable(Math.floor(at / sectorBytes), sectorOf(this.#content, Math.floor(at / 512)))
  }

  /** What the sector's rewriting leaves: garbage only where it was to change something. */
  #rewritten(sector: number, garbage: Buffer | undefined): Buffer {
    const content = sectorOf(this.#content, sector)
    if (garbage === undefined) return content
    const from = sector * sectorBytes
    for (const [index, byte] of content.entries()) {
      const isDurable = from + index < this.#durableSizeBytes
      if (isDurable && this.#durable[from + index] === byte) garbage[index] = byte
    }
    return garbage
  }

  #mark(from: number, to: number): void {
    this.#writeCount++
    for (let at = Math.floor(from / sectorBytes); at * sectorBytes < to; at++)
      this.#dirty.set(at, this.#writeCount)
  }

  #setDurable(sector: number, bytes: Buffer): void {
    const at = sector * sectorBytes
    this.#durable = grown(this.#durable, at + bytes.length)
    bytes.copy(this.#durable, at)
  }
}

function sectorOf(content: Buffer, sector: number): Buffer {
  return content.subarray(sector * sectorBytes, (sector + 1) * sectorBytes)
}

function grown(buffer: Buffer, sizeBytes: number): Buffer {
  if (sizeBytes <= buffer.length) return buffer
  const larger = Buffer.alloc(Math.max(sizeBytes, buffer.length * 2, 4096))
  buffer.copy(larger)
  return larger
}

export type SimulatedEntry = SimulatedInode | 'directory'

type NameChange =
  | { readonly type: 'set'; readonly path: string; readonly entry: SimulatedEntry }
  | { readonly type: 'remove'; readonly path: string }
  | { readonly type: 'rename'; readonly from: string; readonly to: string }

export function parentOf(path: string): string {
  const cut = path.lastIndexOf('/')
  return cut <= 0 ? '/' : path.slice(0, cut)
}

/** Absolute, without `.`, `..` and doubled slashes. */
export function cleanPath(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return `/${parts.join('/')}`
}

/** The names of a disk: visible and durable. Paths are clean. */
export class SimulatedTree {
  #visible = new Map<string, SimulatedEntry>([['/', 'directory']])
  readonly #durable = new Map<string, SimulatedEntry>([['/', 'directory']])
  /** Not yet durable, in order. */
  #pending: NameChange[] = []

  find(path: string): SimulatedEntry | undefined {
    return this.#visible.get(path)
  }

  paths(): readonly string[] {
    return [...this.#visible.keys()]
  }

  /** Names in a folder, sorted. */
  list(directory: string): string[] {
    const prefix = directory === '/' ? '/' : `${directory}/`
    return [...this.#visible.keys()]
      .filter((path) => path !== '/' && path.startsWith(prefix))
      .map((path) => path.slice(prefix.length))
      .filter((name) => !name.includes('/'))
      .toSorted((a, b) => (a < b ? -1 : 1))
  }

  set(path: string, entry: SimulatedEntry): void {
    this.#change({ type: 'set', path, entry })
  }

  remove(path: string): void {
    this.#change({ type: 'remove', path })
  }

  rename(from: string, to: string): void {
    this.#change({ type: 'rename', from, to })
  }

  /** Makes the changes in one folder durable. */
  sync(directory: string): void {
    const rest: NameChange[] = []
    for (const change of this.#pending)
      if (foldersOf(change).includes(directory)) apply(this.#durable, change)
      else rest.push(change)
    this.#pending = rest
  }

  /** Keeps of each folder's pending changes those up to some point; content by its own rule. */
  cutPower(random: SeededRandom): void {
    const lost = new Set<string>()
    const keepProbability = random.pick([0, 1, 0.5])
    for (const change of this.#pending) {
      const folders = foldersOf(change)
      if (folders.some((folder) => lost.has(folder)) || !random.chance(keepProbability))
        for (const folder of folders) lost.add(folder)
      else apply(this.#durable, change)
    }
    this.#pending = []
    // What lies in a folder that was lost is lost too.
    for (const path of [...this.#durable.keys()].toSorted((a, b) => a.length - b.length))
      if (this.#durable.get(parentOf(path)) !== 'directory') this.#durable.delete(path)
    this.#visible = new Map(this.#durable)
    for (const entry of new Set(this.#durable.values()))
      if (entry !== 'directory') entry.cutPower(random)
  }

  #change(change: NameChange): void {
    apply(this.#visible, change)
    this.#pending.push(change)
  }
}

function foldersOf(change: NameChange): readonly string[] {
  return change.type === 'rename'
    ? [parentOf(change.from), parentOf(change.to)]
    : [parentOf(change.path)]
}

function apply(names: Map<string, SimulatedEntry>, change: NameChange): void {
  switch (change.type) {
    case 'set':
      names.set(change.path, change.entry)
      return
    case 'remove':
      removeTree(names, change.path)
      return
    case 'rename': {
      const { from, to } = change
      if (!names.has(from) || from === to) return
      removeTree(names, to)
      for (const [path, entry] of [...names])
        if (path === from || path.startsWith(`${from}/`)) {
          names.delete(path)
          names.set(to + path.slice(from.length), entry)
        }
      return
    }
  }
}

function removeTree(names: Map<string, SimulatedEntry>, path: string): void {
  for (const known of [...names.keys()])
    if (known === path || known.startsWith(`${path}/`)) names.delete(known)
}
