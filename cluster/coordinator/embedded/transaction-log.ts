/**
 * Transactions on disk: an append log with checksums and group commit, and snapshots that let old
 * logs go. A transaction is durable when `onDurable` names its zxid or a later one; who answers a
 * client waits for that. Files in the data folder, named by hexadecimal zxid:
 *
 *   transactions-<first zxid>   header, then batches of records {u32 length, u32 CRC-32 of body,
 *                               body}; header and batches are filled with zeros to whole sectors,
 *                               so that no write touches a sector that holds something durable
 *   snapshot-<last zxid>        header, u32 CRC-32 of body, body
 *   header                      8 bytes magic, u32 format version (1)
 *
 * Recovery reads the newest snapshot and the logs behind it. A torn record at the very end was never
 * acknowledged and is cut off; damage anywhere else, and newer formats, are refused.
 */
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import type { File, Runtime } from '../../runtime/runtime.ts'
import { Tree } from '../tree.ts'
import type { Snapshot, StoredSession, Transaction } from './records.ts'
import { decodeSnapshot, decodeTransaction, encodeSnapshot, encodeTransaction } from './records.ts'

const formatVersion = 1
const logMagic = Buffer.from('MPXCOLOG')
const snapshotMagic = Buffer.from('MPXCOSNP')
const headerBytes = 12
const sectorBytes = 512
const recordBytesMax = 64 * 1024 * 1024
const batchBytesMax = 4 * 1024 * 1024

export interface TransactionLogOptions {
  readonly directory: string
  /** A log longer than this is followed by a snapshot and a new log. */
  readonly snapshotLogBytes: number
  /** The state with every transaction appended so far. */
  readonly takeSnapshot: () => Snapshot
  readonly onDurable: (zxid: bigint) => void
  /** Writing failed: nothing more will become durable. */
  readonly onFailure: (error: unknown) => void
}

type Files = Runtime['files']

export class TransactionLog {
  readonly #files: Files
  readonly #options: TransactionLogOptions
  #file: File
  #position: number
  #queue: Transaction[] = []
  #lastZxid: bigint
  #pump: Promise<void> | undefined
  #snapshot: Promise<void> | undefined
  #isClosed = false

  /** Use `openTransactionLog`. */
  constructor(files: Files, options: TransactionLogOptions, opened: OpenedFile) {
    this.#files = files
    this.#options = options
    this.#file = opened.file
    this.#position = opened.position
    this.#lastZxid = opened.lastZxid
  }

  /** In order of zxid, without gaps. */
  append(transaction: Transaction): void {
    this.#queue.push(transaction)
    this.#pump ??= this.#run()
  }

  /** Writes what is queued, then closes. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    while (this.#pump !== undefined) await this.#pump
    await this.#snapshot
    await this.#file.close()
  }

  async #run(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#writeBatch()
      this.#pump = undefined
    } catch (error) {
      // `#pump` stays set, so nothing is written behind a gap.
      this.#options.onFailure(error)
    }
  }

  async #writeBatch(): Promise<void> {
    const chunks: Buffer[] = []
    let sizeBytes = 0
    let taken = 0
    for (const transaction of this.#queue) {
      const body = encodeTransaction(transaction)
      if (taken > 0 && sizeBytes + body.length > batchBytesMax) break
      const head = Buffer.alloc(8)
      head.writeUInt32BE(body.length, 0)
      head.writeUInt32BE(crc32(body), 4)
      chunks.push(head, body)
      sizeBytes += head.length + body.length
      taken += 1
    }
    const last = this.#queue.splice(0, taken).at(-1)
    if (last === undefined) return
    const filledBytes = wholeSectors(sizeBytes)
    chunks.push(Buffer.alloc(filledBytes - sizeBytes))
    await this.#file.write(this.#position, chunks)
    await this.#file.sync()
    this.#position += filledBytes
    this.#lastZxid = last.zxid
    this.#options.onDurable(last.zxid)
    if (this.#position > this.#options.snapshotLogBytes && this.#snapshot === undefined)
      await this.#rotate()
  }

  /** Further transactions go to a new log; the snapshot is written beside them. */
  async #rotate(): Promise<void> {
    const before = this.#file
    const opened = await createLog(this.#files, this.#options.directory, this.#lastZxid)
    this.#file = opened.file
    this.#position = opened.position
    await before.close()
    const snapshot = this.#options.takeSnapshot()
    // At once: the tree in it changes with the next transaction, which would be replayed onto itself.
    const content = snapshotContent(snapshot)
    this.#snapshot = this.#writeSnapshot(fileName('snapshot', snapshot.zxid), content).then(
      () => {
        this.#snapshot = undefined
      },
      (error: unknown) => this.#options.onFailure(error),
    )
  }

  /** Other snapshots, and logs before the current one, go when it is durable. */
  async #writeSnapshot(name: string, content: Buffer): Promise<void> {
    const { directory } = this.#options
    const names = await this.#files.list(directory)
    const oldLogs = names.filter((old) => logName.test(old)).slice(0, -1)
    const oldSnapshots = names.filter((old) => snapshotName.test(old))
    await this.#files.replaceFile(`${directory}/${name}`, content)
    for (const old of [...oldSnapshots, ...oldLogs])
      if (old !== name) await this.#files.remove(`${directory}/${old}`)
    await this.#files.syncDirectory(directory)
  }
}

interface OpenedFile {
  readonly file: File
  readonly position: number
  readonly lastZxid: bigint
}

const logName = /^transactions-[0-9a-f]{16}$/
const snapshotName = /^snapshot-[0-9a-f]{16}$/

function wholeSectors(sizeBytes: number): number {
  return Math.ceil(sizeBytes / sectorBytes) * sectorBytes
}

function fileName(kind: 'transactions' | 'snapshot', zxid: bigint): string {
  return `${kind}-${zxid.toString(16).padStart(16, '0')}`
}

/**
 * Reads the folder (made when absent). Rejects with a readable message when it is damaged or of a
 * newer format.
 */
export async function openTransactionLog(
  runtime: Pick<Runtime, 'files' | 'log'>,
  options: TransactionLogOptions,
): Promise<{ readonly log: TransactionLog; readonly recovered: Snapshot }> {
  const { files } = runtime
  const { directory } = options
  await makeDurableDirectory(files, directory)
  const names = await files.list(directory)
  const snapshot = await readSnapshot(
    files,
    directory,
    names.findLast((n) => snapshotName.test(n)),
  )
  const sessions = new Map(snapshot.sessions.map((session) => [session.id, session]))
  let { zxid } = snapshot
  let tail: { readonly path: string; readonly goodBytes: number } | undefined
  const logs = names.filter((name) => logName.test(name))
  for (const name of logs) {
    const path = `${directory}/${name}`
    const bytes = await files.readFile(path)
    const goodBytes = readLog(path, bytes, (transaction) => {
      if (transaction.zxid <= zxid) return
      if (transaction.zxid !== zxid + 1n)
        throw new Error(`${path} is damaged: transactions behind ${zxid} are missing`)
      replay(transaction, snapshot.tree, sessions)
      zxid = transaction.zxid
    })
    if (goodBytes < bytes.length && name !== logs.at(-1))
      throw new Error(`${path} is damaged at byte ${goodBytes}`)
    if (goodBytes < bytes.length)
      runtime.log.warn('cut off a torn record', { path, bytes: bytes.length - goodBytes })
    tail = { path, goodBytes }
  }
  const opened = await openTail(files, directory, tail, zxid)
  const recovered = { zxid, sessions: [...sessions.values()], tree: snapshot.tree }
  return { log: new TransactionLog(files, options, opened), recovered }
}

/** A folder is only there after a power cut when its name in the folder above is durable. */
export async function makeDurableDirectory(files: Files, directory: string): Promise<void> {
  if ((await files.stat(directory)) !== undefined) return
  const parent = dirname(directory)
  if (parent !== directory) await makeDurableDirectory(files, parent)
  await files.makeDirectory(directory)
  await files.syncDirectory(parent)
}

async function openTail(
  files: Files,
  directory: string,
  tail: { readonly path: string; readonly goodBytes: number } | undefined,
  lastZxid: bigint,
): Promise<OpenedFile> {
  if (tail !== undefined && tail.goodBytes >= sectorBytes) {
    const file = await files.open(tail.path, 'update')
    await file.truncate(tail.goodBytes)
    // What was read may be in the page cache only, and a sync alone would not do: after one that
    // failed, which may be why the process before ended, the kernel takes the pages for clean.
    await file.write(0, [await file.read(0, tail.goodBytes)])
    await file.sync()
    await files.syncDirectory(directory)
    return { file, position: wholeSectors(tail.goodBytes), lastZxid }
  }
  if (tail !== undefined) await files.remove(tail.path)
  return createLog(files, directory, lastZxid)
}

async function createLog(files: Files, directory: string, lastZxid: bigint): Promise<OpenedFile> {
  const file = await files.open(`${directory}/${fileName('transactions', lastZxid + 1n)}`, 'create')
  await file.write(0, [header(logMagic), Buffer.alloc(sectorBytes - headerBytes)])
  await file.sync()
  await files.syncDirectory(directory)
  return { file, position: sectorBytes, lastZxid }
}

function header(magic: Buffer): Buffer {
  const bytes = Buffer.alloc(headerBytes)
  magic.copy(bytes)
  bytes.writeUInt32BE(formatVersion, 8)
  return bytes
}

function checkHeader(path: string, bytes: Buffer, magic: Buffer): void {
  if (!bytes.subarray(0, 8).equals(magic))
    throw new Error(`${path} is no file of the embedded coordination server`)
  const version = bytes.readUInt32BE(8)
  if (version > formatVersion)
    throw new Error(
      `${path} has format ${version}, written by a newer version; ` +
        `this version reads formats up to ${formatVersion}`,
    )
}

/** Returns how many bytes from the beginning are whole; 0 when not even the header is. */
function readLog(path: string, bytes: Buffer, onTransaction: (t: Transaction) => void): number {
  if (bytes.length < sectorBytes || isTornHeader(bytes)) return 0
  checkHeader(path, bytes, logMagic)
  let offset = sectorBytes
  while (offset < bytes.length) {
    const body = recordAt(bytes, offset)
    if (body !== undefined) {
      onTransaction(decodeTransaction(body))
      offset += 8 + body.length
      continue
    }
    // The zeros behind a batch may be fewer than a record's head.
    const boundary = wholeSectors(offset)
    if (offset === boundary || bytes.subarray(offset, boundary).some((byte) => byte !== 0)) break
    offset = boundary
  }
  return Math.min(offset, bytes.length)
}

/** Body of the record whose head stands there; undefined when it is not whole. */
function recordAt(bytes: Buffer, offset: number): Buffer | undefined {
  if (offset + 8 > bytes.length) return undefined
  const length = bytes.readUInt32BE(offset)
  const end = offset + 8 + length
  if (length === 0 || length > recordBytesMax || end > bytes.length) return undefined
  const body = bytes.subarray(offset + 8, end)
  return crc32(body) === bytes.readUInt32BE(offset + 4) ? body : undefined
}

/** A file whose making was interrupted: its first sector was never made durable. */
function isTornHeader(bytes: Buffer): boolean {
  return bytes.length === sectorBytes && !bytes.subarray(0, 8).equals(logMagic)
}

function replay(transaction: Transaction, tree: Tree, sessions: Map<bigint, StoredSession>): void {
  switch (transaction.kind) {
    case 'changes':
      for (const change of transaction.changes) tree.apply(change, transaction, [])
      break
    case 'session':
      sessions.set(transaction.session.id, transaction.session)
      break
    case 'session-end':
      sessions.delete(transaction.sessionId)
      for (const path of tree.ownedBy(transaction.sessionId))
        tree.apply({ type: 'remove', path }, transaction, [])
      break
  }
}

function snapshotContent(snapshot: Snapshot): Buffer {
  const body = encodeSnapshot(snapshot)
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([header(snapshotMagic), checksum, body])
}

async function readSnapshot(
  files: Files,
  directory: string,
  name: string | undefined,
): Promise<Snapshot> {
  if (name === undefined) return { zxid: 0n, sessions: [], tree: new Tree() }
  const path = `${directory}/${name}`
  const bytes = await files.readFile(path)
  if (bytes.length < headerBytes + 4) throw new Error(`${path} is damaged: too short`)
  checkHeader(path, bytes, snapshotMagic)
  const body = bytes.subarray(headerBytes + 4)
  if (crc32(body) !== bytes.readUInt32BE(headerBytes))
    throw new Error(`${path} is damaged: wrong checksum`)
  return decodeSnapshot(body)
}
