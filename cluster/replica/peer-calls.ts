/**
 * Calls from one replica server to another (replica-server.md 19.1): turns a `send` effect into an
 * RPC and its outcome into an event. A call that did not go through is an event too, with the code
 * of the failure.
 */
import { type Gpid } from '../protocol/base.ts'
import { PrepareAck } from '../protocol/consensus.ts'
import { decodeResult } from '../protocol/frame.ts'
import type { ReplicaConfiguration } from '../protocol/metadata.ts'
import { decodePrepare, encodePrepare } from '../protocol/prepare.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { ProtocolError } from '../protocol/schema.ts'
import type { CallOptions } from '../rpc/peer.ts'
import type { Peers } from '../rpc/peers.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { deadlineIn } from '../runtime/deadline.ts'
import type { Runtime } from '../runtime/runtime.ts'
import { type Mutation, fromPrepared } from './mutation.ts'
import type { Answered, ReplicaEffect, ReplicaEvent } from './replica-events.ts'

/** Bytes of a mutation without updates at the end of an encoded prepare. */
const EMPTY_MUTATION_BYTES = 60

type Send = ReplicaEffect & { type: 'send' }

export function callPeer(
  { runtime, peers }: { readonly runtime: Runtime; readonly peers: Peers },
  { to, call, timeoutMs }: Send,
  gpid: Gpid,
  onEvent: (event: ReplicaEvent) => void,
): void {
  if (to === '') return
  const deadline = deadlineIn(runtime.clock, timeoutMs)
  const { appId, partitionIndex } = gpid
  const options: CallOptions = { deadline, appId, partitionIndex }
  const peer = peers.get(to)
  switch (call.kind) {
    case 'prepare': {
      const { config, mutation, firstSentAtMs } = call
      const { ballot, decree } = mutation
      const sending = peer.callRaw('RPC_PREPARE', prepareBytes(gpid, config, mutation), options)
      const ack = sending.then(({ errorName, result }) => {
        if (errorName !== 'ERR_OK') return { error: errorName, response: undefined }
        return { error: 'ERR_OK', response: decodeResult(PrepareAck, result) }
      })
      void ack
        .catch(failed)
        .then((outcome) =>
          onEvent({ type: 'prepare-answered', to, ballot, decree, firstSentAtMs, ...outcome }),
        )
      return
    }
    case 'group-check': {
      const { ballot } = call.request.config
      void answered(peer.call(Rpc.GROUP_CHECK, call.request, options)).then((outcome) =>
        onEvent({ type: 'group-check-answered', to, ballot, ...outcome }),
      )
      return
    }
    case 'learn': {
      const { signature } = call.request
      void answered(peer.call(Rpc.LEARN, call.request, options)).then((outcome) =>
        onEvent({ type: 'learn-answered', signature, ...outcome }),
      )
      return
    }
    case 'notify': {
      const signature = call.request.learnerSignature
      void answered(peer.call(Rpc.LEARN_COMPLETION_NOTIFY, call.request, options)).then((outcome) =>
        onEvent({ type: 'notify-answered', signature, ...outcome }),
      )
      return
    }
    case 'query-decree': {
      const { ballot } = call
      const asking = peer.call(Rpc.QUERY_PN_DECREE, { pid: gpid, node1: to }, options)
      void answered(asking).then(({ error, response }) =>
        onEvent({
          type: 'decree-answered',
          from: to,
          ballot,
          error: response?.err ?? error,
          response: response === undefined ? undefined : { lastPrepared: response.lastDecree },
        }),
      )
      return
    }
    case 'add-learner':
      return peer.send(Rpc.LEARN_ADD_LEARNER, call.request, options)
    case 'remove':
      return peer.send(Rpc.REMOVE_REPLICA, call.config, options)
  }
}

/** Never rejects for anything that happens outside. */
export function answered<T>(call: Promise<T>): Promise<Answered<T>> {
  return call.then((response) => ({ error: 'ERR_OK', response }), failed)
}

function failed(error: unknown): { error: string; response: undefined } {
  if (error instanceof RpcError) return { error: error.code, response: undefined }
  if (error instanceof ProtocolError) return { error: 'ERR_INVALID_DATA', response: undefined }
  throw error
}

/** The mutation's own bytes are encoded once for all members. */
export function prepareBytes(pid: Gpid, config: ReplicaConfiguration, mutation: Mutation): Buffer {
  const head = encodePrepare({
    pid,
    config,
    mutation: {
      pid,
      ballot: 0,
      decree: 0,
      logOffset: 0,
      lastCommittedDecree: 0,
      timestampUs: 0,
      updates: [],
    },
  })
  return Buffer.concat([head.subarray(0, head.length - EMPTY_MUTATION_BYTES), mutation.bytes])
}

/** Throws ProtocolError. The mutation's buffers are views on `bytes`. */
export function readPrepare(bytes: Buffer): {
  readonly pid: Gpid
  readonly config: ReplicaConfiguration
  readonly mutation: Mutation
} {
  const { pid, config, mutation } = decodePrepare(bytes)
  const other = mutation.pid.appId !== pid.appId
  if (other || mutation.pid.partitionIndex !== pid.partitionIndex)
    throw new ProtocolError('a prepare with a mutation of another partition')
  const sizeBytes = mutation.updates.reduce(
    (sum, { name, data }) => sum + 12 + name.length + data.length,
    EMPTY_MUTATION_BYTES,
  )
  return {
    pid,
    config,
    mutation: fromPrepared(mutation, bytes.subarray(bytes.length - sizeBytes)),
  }
}
