/**
 * A mutation: the unit that the members of a replica group agree on. Its bytes are those of
 * RPC_PREPARE (protocol/prepare.ts, replica-server.md 5.4) everywhere: on the wire, in answers to
 * learners, and as the body of its record in the log.
 */
import { crc64 } from '../protocol/crc64.ts'
import type { Gpid } from '../protocol/base.ts'
import { type PreparedMutation, decodeMutation, encodeMutation } from '../protocol/prepare.ts'
import { ProtocolError } from '../protocol/schema.ts'
import type { LogRecord } from '../storage/log-record.ts'
import { type CommittedUpdate, WRITE_EMPTY } from './app.ts'

export interface MutationHead {
  readonly ballot: number
  readonly decree: number
  readonly timestampUs: number
  /** The commit point of the primary when it sent this. */
  readonly lastCommittedDecree: number
}

export interface Mutation extends MutationHead {
  readonly updates: readonly CommittedUpdate[]
  /** Header and updates as they travel; never changed. */
  readonly bytes: Buffer
}

const HEADER_BYTES = 56
const SERIALIZATION_THRIFT_BINARY = 1
const LOG_OFFSET_UNKNOWN = -1

export function makeMutation(
  pid: Gpid,
  head: MutationHead,
  updates: readonly CommittedUpdate[],
): Mutation {
  const bytes = encodeMutation({
    pid,
    ballot: head.ballot,
    decree: head.decree,
    logOffset: LOG_OFFSET_UNKNOWN,
    lastCommittedDecree: head.lastCommittedDecree,
    timestampUs: head.timestampUs,
    updates: updates.map(({ code, body }) => ({
      name: code,
      serialization: SERIALIZATION_THRIFT_BINARY,
      data: body,
    })),
  })
  return { ...head, updates, bytes }
}

/** A mutation without effect, for holes and idle partitions. */
export function emptyMutation(pid: Gpid, head: MutationHead): Mutation {
  return makeMutation(pid, head, [{ code: WRITE_EMPTY, body: Buffer.alloc(0) }])
}

/** Bytes of its own content: what does not change when it is proposed again under a new ballot. */
export function sizeBytes(mutation: Mutation): number {
  return mutation.bytes.length - HEADER_BYTES
}

export function sameContent(a: Mutation, b: Mutation): boolean {
  return (
    a.timestampUs === b.timestampUs &&
    a.bytes.subarray(HEADER_BYTES).equals(b.bytes.subarray(HEADER_BYTES))
  )
}

/** Covers what every member must agree on for a decree: the timestamp and the updates. */
export function contentHash(mutation: Mutation): bigint {
  return crc64(mutation.bytes.subarray(HEADER_BYTES)) ^ BigInt(mutation.timestampUs)
}

/** From the wire. `bytes` is the third part of a prepare. */
export function fromPrepared(prepared: PreparedMutation, bytes: Buffer): Mutation {
  return {
    ballot: prepared.ballot,
    decree: prepared.decree,
    timestampUs: prepared.timestampUs,
    lastCommittedDecree: prepared.lastCommittedDecree,
    updates: prepared.updates.map(({ name, data }) => ({ code: name, body: data })),
    bytes,
  }
}

/** Throws ProtocolError. Buffers are views on `bytes`. */
export function readMutation(pid: Gpid, bytes: Buffer): Mutation {
  const prepared = decodeMutation(bytes)
  if (prepared.pid.appId !== pid.appId || prepared.pid.partitionIndex !== pid.partitionIndex)
    throw new ProtocolError('mutation of another partition')
  return fromPrepared(prepared, bytes)
}

/** Mutations one behind the other, each with its length (i32 little endian) in front. */
export function encodeMutations(mutations: readonly Mutation[]): Buffer {
  const parts: Buffer[] = []
  for (const { bytes } of mutations) {
    const length = Buffer.allocUnsafe(4)
    length.writeInt32LE(bytes.length)
    parts.push(length, bytes)
  }
  return Buffer.concat(parts)
}

/** Throws ProtocolError. */
export function decodeMutations(pid: Gpid, bytes: Buffer): Mutation[] {
  const out: Mutation[] = []
  for (let at = 0; at < bytes.length;) {
    const length = at + 4 <= bytes.length ? bytes.readInt32LE(at) : -1
    at += 4
    if (length < 0 || length > bytes.length - at)
      throw new ProtocolError(`learned mutation of ${length} bytes`, at)
    out.push(readMutation(pid, bytes.subarray(at, at + length)))
    at += length
  }
  return out
}

export function toLogRecord(pid: Gpid, mutation: Mutation): LogRecord {
  return {
    gpid: pid,
    ballot: mutation.ballot,
    decree: mutation.decree,
    lastCommittedDecree: mutation.lastCommittedDecree,
    timestampUs: mutation.timestampUs,
    body: mutation.bytes,
  }
}

/** Throws ProtocolError. */
export function fromLogRecord(record: LogRecord): Mutation {
  return readMutation(record.gpid, record.body)
}
