/**
 * The file contract on Node's file system. Durability is fdatasync for content and fsync of the
 * folder for names. Errors become `RuntimeError`s that name the operation and the path.
 */
import { mkdir, open, readFile, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { File, Files } from './runtime.ts'
import { RuntimeError } from './runtime.ts'
import { systemError } from './system-error.ts'

const openFlags = { read: 'r', update: 'r+', create: 'wx+' } as const

/** What one writev takes at most (IOV_MAX on Linux). */
const chunksPerWriteMax = 1024

async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (cause) {
    throw systemError(what, cause)
  }
}

function nodeFile(handle: FileHandle, path: string): File {
  return {
    read: (position, lengthBytes) =>
      attempt(`read ${path}`, () => readFully(handle, position, lengthBytes)),
    write: (position, chunks) =>
      attempt(`write ${path}`, () => writeFully(handle, position, chunks)),
    sync: () => attempt(`sync ${path}`, () => handle.datasync()),
    truncate: (sizeBytes) => attempt(`truncate ${path}`, () => handle.truncate(sizeBytes)),
    sizeBytes: () => attempt(`stat ${path}`, async () => (await handle.stat()).size),
    close: () => attempt(`close ${path}`, () => handle.close()),
  }
}

async function readFully(
  handle: FileHandle,
  position: number,
  lengthBytes: number,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(lengthBytes)
  let done = 0
  while (done < lengthBytes) {
    const { bytesRead } = await handle.read(buffer, done, lengthBytes - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return buffer.subarray(0, done)
}

async function writeFully(
  handle: FileHandle,
  position: number,
  chunks: readonly Buffer[],
): Promise<void> {
  let rest = chunks.filter((chunk) => chunk.length > 0)
  let at = position
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest.slice(0, chunksPerWriteMax), at)
    at += bytesWritten
    rest = behind(rest, bytesWritten)
  }
}

/** The chunks without their first `sizeBytes` bytes. */
function behind(chunks: readonly Buffer[], sizeBytes: number): Buffer[] {
  let skip = sizeBytes
  for (const [index, chunk] of chunks.entries()) {
    if (skip < chunk.length) return [chunk.subarray(skip), ...chunks.slice(index + 1)]
    skip -= chunk.length
  }
  return []
}

/**
 * Makes a folder with its parents; fine when it exists. Not `mkdir` with `recursive`: where the system answers ENOENT though the parent exists (in /proc),
 * Node's loop never ends.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const isThere = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    )
    if (isThere) return
    const parent = dirname(path)
    const parentIsThere = await stat(parent).then(
      () => true,
      () => false,
    )
    if (code !== 'ENOENT' || parentIsThere || parent === path) throw error
    await makeDirectory(parent)
    await makeDirectory(path)
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function replace(path: string, content: Buffer): Promise<void> {
  const temporary = `${path}.new`
  const handle = await open(temporary, 'w')
  try {
    await writeFully(handle, 0, [content])
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

export function nodeFiles(): Files {
  /** Replacements of one path go one behind the other: they share the temporary name. */
  const replacing = new Map<string, Promise<void>>()
  return {
    open: (path, mode) =>
      attempt(`open ${path}`, async () => nodeFile(await open(path, openFlags[mode]), path)),
    readFile: (path) => attempt(`read ${path}`, () => readFile(path)),
    replaceFile: (path, content) =>
      attempt(`replace ${path}`, async () => {
        const before = replacing.get(path) ?? Promise.resolve()
        const mine = before.catch(() => undefined).then(() => replace(path, content))
        replacing.set(path, mine)
        try {
          await mine
        } finally {
          if (replacing.get(path) === mine) replacing.delete(path)
        }
      }),
    list: (directory) =>
      attempt(`list ${directory}`, async () => (await readdir(directory)).toSorted()),
    stat: async (path) => {
      try {
        const found = await stat(path)
        return { kind: found.isDirectory() ? 'directory' : 'file', sizeBytes: found.size }
      } catch (cause) {
        const error = systemError(`stat ${path}`, cause)
        if (error instanceof RuntimeError && error.code === 'ENOENT') return undefined
        throw error
      }
    },
    makeDirectory: (path) => attempt(`make folder ${path}`, () => makeDirectory(resolve(path))),
    rename: (from, to) => attempt(`rename ${from} to ${to}`, () => rename(from, to)),
    remove: (path) => attempt(`remove ${path}`, () => rm(path, { recursive: true, force: true })),
    syncDirectory: (directory) => attempt(`sync ${directory}`, () => syncDirectory(directory)),
  }
}
