/**
 * A scripted meta server on a real port: says of each query what the test wants, with frames of its
 * own or recorded ones, or breaks the protocol in the ways a real one might.
 */
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'
import {
  encodeReply,
  encodeResult,
  type RequestFrame,
  RequestFramer,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'

export type FakeAnswer =
  /** A whole frame; its sequence id is patched. */
  | { readonly frame: Buffer }
  /** The same, when it is there. */
  | { readonly later: Promise<Buffer> }
  | { readonly error: string; readonly forwardTo?: string; readonly appId?: number }
  | { readonly raw: Buffer; readonly thenClose?: boolean }
  | 'silence'
  | 'reset'

export interface FakeMeta {
  readonly address: string
  readonly port: number
  /**
   * Probes of gateway processes are answered as by a healthy leader without tables, and kept out of
   * `requests`; with this set they are requests as all others.
   */
  seesProbes: boolean
  /** What it says from now on. */
  answer: (request: RequestFrame) => FakeAnswer
  readonly requests: RequestFrame[]
  readonly connections: ReadonlySet<Socket>
  /** Connections so far. */
  accepted: number
  readonly close: () => Promise<void>
}

export function configAnswer(
  request: RequestFrame,
  answer: { readonly error: string; readonly forwardTo?: string; readonly appId?: number },
): Buffer {
  const partitions =
    answer.forwardTo === undefined
      ? []
      : [PartitionConfiguration.make({ primary: answer.forwardTo })]
  const isOk = answer.error === 'ERR_OK'
  const response = QueryCfgResponse.make({
    err: answer.error,
    appId: answer.appId ?? 0,
    isStateful: isOk,
    partitionCount: isOk ? 8 : 0,
    partitions,
  })
  return encodeReply(
    request.name,
    request.seqid,
    'ERR_OK',
    encodeResult(QueryCfgResponse, response),
  )
}

/** Where the sequence id lies in a reply frame. */
export function seqidAt(frame: Buffer): number {
  const name = 8 + frame.readUInt32BE(4) + 4
  return name + 4 + frame.readUInt32BE(name)
}

export function withSeqid(frame: Buffer, seqid: number): Buffer {
  const patched = Buffer.from(frame)
  patched.writeInt32BE(seqid, seqidAt(frame))
  return patched
}

function probeAnswer({ name, seqid }: RequestFrame): Buffer | undefined {
  const err = 'ERR_OK'
  const result =
    name === Rpc.CLUSTER_INFO.name
      ? encodeResult(Rpc.CLUSTER_INFO.result, { err, keys: [], values: [] })
      : name === Rpc.LIST_APPS.name
        ? encodeResult(Rpc.LIST_APPS.result, { err, infos: [] })
        : undefined
  return result === undefined ? undefined : encodeReply(name, seqid, 'ERR_OK', result)
}

function serve(meta: FakeMeta, socket: Socket): void {
  const framer = new RequestFramer({ maxBodyBytes: 1 << 20, maxMetaBytes: 4096 })
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    framer.push(chunk)
    for (let request = framer.next(); request !== undefined; request = framer.next()) {
      const probe = meta.seesProbes ? undefined : probeAnswer(request)
      if (probe !== undefined) {
        socket.write(probe)
        continue
      }
      meta.requests.push(request)
      const answer = meta.answer(request)
      if (answer === 'silence') continue
      if (answer === 'reset') {
        socket.resetAndDestroy()
        return
      }
      const { seqid } = request
      if ('later' in answer)
        void answer.later.then((frame) => socket.write(withSeqid(frame, seqid)))
      else if ('raw' in answer) {
        socket.write(answer.raw)
        if (answer.thenClose === true) socket.end()
      } else
        socket.write(
          'frame' in answer
            ? withSeqid(answer.frame, request.seqid)
            : configAnswer(request, answer),
        )
    }
  })
}

export async function startFakeMeta(
  answer: (request: RequestFrame) => FakeAnswer,
  port = 0,
  host = '127.0.0.1',
  /** Connections that the kernel takes for a server that does not accept. */
  backlog = 511,
): Promise<FakeMeta> {
  const connections = new Set<Socket>()
  const server: Server = createServer((socket) => {
    connections.add(socket)
    meta.accepted++
    socket.on('close', () => connections.delete(socket))
    serve(meta, socket)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, backlog, resolve)
  })
  const bound = server.address() as AddressInfo
  const meta: FakeMeta = {
    address: `${host}:${bound.port}`,
    port: bound.port,
    answer,
    seesProbes: false,
    requests: [],
    connections,
    accepted: 0,
    close: async () => {
      for (const socket of connections) socket.destroy()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
  return meta
}
