/** One replica's app on an engine, without replication and network: what the tests of it drive. */
import { decodeResult, encodeArgument } from '../../cluster/protocol/frame.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'
import type { AppliedUpdate, ReadAnswer, ReplicaApp } from '../../cluster/replica/app.ts'
import { rrdb } from '../../cluster/replica/rrdb-app.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import type { StorageEngine } from '../../cluster/storage/engine.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'
import { ReplicaStore } from '../../cluster/storage/replica-store.ts'

export interface Call<A, R> {
  readonly name: string
  readonly argument: Codec<A>
  readonly result: Codec<R>
}

export interface Update {
  readonly code: string
  readonly body: Buffer
}

/** 2026-01-01T00:00:00Z, whole seconds: expiry times are easy to compute. */
export const START_MS = 1_767_225_600_000

export const testRuntime = nodeRuntime({ log: silentLog })

export function updateOf<A>(
  rpc: { readonly name: string; readonly argument: Codec<A> },
  argument: A,
) {
  return { code: rpc.name, body: encodeArgument(rpc.argument, argument) }
}

export interface TestReplica {
  readonly app: ReplicaApp
  readonly store: ReplicaStore
  /** Wall clock of reads and timestamp of writes, Unix milliseconds. */
  nowMs: number
  /** Monotonic deadline of reads. */
  deadlineAtMs: number
  /** One mutation per update, all in one apply call. */
  apply(updates: readonly Update[]): Promise<readonly AppliedUpdate[]>
  write<A, R>(rpc: Call<A, R>, argument: A): Promise<R>
  read<A, R>(rpc: Call<A, R>, argument: A): Promise<R>
  answer(name: string, argument: Buffer): Promise<ReadAnswer>
}

export async function openReplica(options: {
  readonly engine?: StorageEngine
  readonly runtime?: Runtime
  readonly envs?: Readonly<Record<string, string>>
  readonly partitionCount?: number
}): Promise<TestReplica> {
  const runtime = options.runtime ?? testRuntime
  const engine = options.engine ?? (await new MemoryEngineDisk().open(runtime))
  const gpid = { appId: 7, partitionIndex: 3 }
  const store = await ReplicaStore.open(engine, gpid)
  const app = rrdb.open({
    runtime,
    store,
    gpid,
    server: '127.0.0.1:34801',
    envs: new Map(Object.entries(options.envs ?? {})),
    partitionCount: options.partitionCount ?? 8,
  })
  const replica: TestReplica = {
    app,
    store,
    nowMs: START_MS,
    deadlineAtMs: Infinity,
    apply: async (updates) => {
      const first = store.applied.decree + 1
      const mutations = updates.map((update, index) => ({
        decree: first + index,
        ballot: 5,
        timestampUs: replica.nowMs * 1000 + index,
        updates: [update],
      }))
      return (await app.apply(mutations)).flat()
    },
    write: async (rpc, argument) => {
      const [applied] = await replica.apply([updateOf(rpc, argument)])
      if (applied?.result === undefined) throw new Error(`${rpc.name} has no result`)
      return decodeResult(rpc.result, applied.result)
    },
    read: async (rpc, argument) => {
      const answer = await replica.answer(rpc.name, encodeArgument(rpc.argument, argument))
      if (answer.kind !== 'result') throw new Error(`${rpc.name}: ${JSON.stringify(answer)}`)
      return decodeResult(rpc.result, answer.result)
    },
    answer: (name, argument) =>
      app.read({
        name,
        argument,
        partitionHash: 0n,
        nowMs: replica.nowMs,
        deadlineAtMs: replica.deadlineAtMs,
      }),
  }
  return replica
}

export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
