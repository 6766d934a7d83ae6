/**
 * The data of one replica: applies committed mutations as one engine batch and answers reads. What
 * each operation means is in `rrdb-write.ts`, `rrdb-read.ts` and `rrdb-scan.ts`; when a mutation is
 * committed and when a read may run is the replication core's business (`app.ts` is the contract
 * between the two). Rules: replica-server.md 9.3, 13, 14; data-model.md.
 */
import { decodeArgument, encodeResult } from '../protocol/frame.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { type Codec, ProtocolError } from '../protocol/schema.ts'
import { pegasusSeconds } from '../protocol/value.ts'
import type {
  AppliedUpdate,
  CommittedMutation,
  ReadAnswer,
  ReadRequest,
  ReplicaApp,
  ReplicaAppContext,
  ReplicaAppKind,
} from './app.ts'
import { rangeLimits } from './rrdb-range.ts'
import { type ReadTime, batchGet, get, multiGet, sortkeyCount, ttl } from './rrdb-read.ts'
import { type ScanScope, clearScanner, getScanner, scan } from './rrdb-scan.ts'
import { ScanContexts } from './rrdb-scan-contexts.ts'
import type { ResponseOrigin } from './rrdb-status.ts'
import { WriteBatch } from './rrdb-write-batch.ts'
import { type PreparedWrite, prepareWrite, writeOperations } from './rrdb-write.ts'

type ReadOperation = (
  scope: ScanScope,
  argument: Buffer,
  time: ReadTime,
) => Promise<Buffer | undefined>

function reading<A, R>(
  rpc: { readonly argument: Codec<A>; readonly result: Codec<R> },
  read: (scope: ScanScope, argument: A, time: ReadTime) => Promise<R>,
): ReadOperation {
  return async (scope, bytes, time) =>
    encodeResult(rpc.result, await read(scope, decodeArgument(rpc.argument, bytes), time))
}

const readOperations: ReadonlyMap<string, ReadOperation> = new Map([
  [Rpc.GET.name, reading(Rpc.GET, get)],
  [Rpc.TTL.name, reading(Rpc.TTL, ttl)],
  [Rpc.BATCH_GET.name, reading(Rpc.BATCH_GET, batchGet)],
  [Rpc.SORTKEY_COUNT.name, reading(Rpc.SORTKEY_COUNT, sortkeyCount)],
  [Rpc.MULTI_GET.name, reading(Rpc.MULTI_GET, multiGet)],
  [Rpc.GET_SCANNER.name, reading(Rpc.GET_SCANNER, getScanner)],
  [Rpc.SCAN.name, reading(Rpc.SCAN, (scope, { contextId }, time) => scan(scope, contextId, time))],
  [
    Rpc.CLEAR_SCANNER.name,
    async (scope: ScanScope, bytes: Buffer) => {
      await clearScanner(scope, decodeArgument(Rpc.CLEAR_SCANNER.argument, bytes))
      return undefined
    },
  ],
])

/** The application of every table: upstream's `app_type` pegasus. */
export const rrdb: ReplicaAppKind = {
  writes: writeOperations,
  reads: new Set(readOperations.keys()),
  open: (context) => new RrdbApp(context),
}

class RrdbApp implements ReplicaApp {
  readonly #context: ReplicaAppContext
  readonly #origin: ResponseOrigin
  readonly #scope: ScanScope
  #defaultTtlSeconds = 0
  #validatesPartitionHash = false

  constructor(context: ReplicaAppContext) {
    this.#context = context
    const { gpid, partitionCount, runtime, server, store } = context
    this.#origin = { appId: gpid.appId, partitionIndex: gpid.partitionIndex, server }
    this.#scope = {
      source: store,
      origin: this.#origin,
      clock: runtime.clock,
      contexts: new ScanContexts(runtime),
      validatedPartitionCount: () => (this.#validatesPartitionHash ? partitionCount : undefined),
    }
    this.setEnvs(context.envs)
  }

  async apply(
    mutations: readonly CommittedMutation[],
  ): Promise<readonly (readonly AppliedUpdate[])[]> {
    const last = mutations.at(-1)
    if (last === undefined) return []
    const prepared = mutations.map(({ updates }) =>
      updates.map(({ code, body }) => prepareWrite(code, body)),
    )
    const batch = new WriteBatch(this.#defaultTtlSeconds)
    await this.#load(batch, prepared)
    const results = mutations.map((mutation, index) => {
      batch.beginMutation(mutation)
      return (prepared[index] ?? []).map((write) => ({
        result: write?.apply(batch, this.#origin),
      }))
    })
    const { decree, ballot, timestampUs } = last
    await this.#context.store.apply(batch.operations, { decree, ballot, timestampUs })
    return results
  }

  async #load(
    batch: WriteBatch,
    prepared: readonly (readonly (PreparedWrite | undefined)[])[],
  ): Promise<void> {
    const keys = prepared.flatMap((writes) => writes.flatMap((write) => write?.readKeys ?? []))
    if (keys.length > 0) batch.load(keys, await this.#context.store.getMany(keys))
  }

  async read(request: ReadRequest): Promise<ReadAnswer> {
    const operation = readOperations.get(request.name)
    if (operation === undefined) return { kind: 'error', error: 'ERR_HANDLER_NOT_FOUND' }
    const limitAtMs = this.#context.runtime.clock.monotonicMs() + rangeLimits.iterationMsMax
    const time = {
      nowSeconds: pegasusSeconds(request.nowMs),
      deadlineAtMs: Math.min(request.deadlineAtMs, limitAtMs),
    }
    try {
      const result = await operation(this.#scope, request.argument, time)
      return result === undefined ? { kind: 'silence' } : { kind: 'result', result }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      // A reply to clear_scanner, whatever it says, ends the connections of Go clients.
      if (request.name === Rpc.CLEAR_SCANNER.name) return { kind: 'silence' }
      return { kind: 'error', error: 'ERR_INVALID_DATA' }
    }
  }

  setEnvs(envs: ReadonlyMap<string, string>): void {
    this.#defaultTtlSeconds = this.#defaultTtlOf(envs.get('default_ttl'))
    this.#validatesPartitionHash = envs.get('replica.split.validate_partition_hash') === 'true'
  }

  async close(): Promise<void> {
    await this.#scope.contexts.close()
  }

  #defaultTtlOf(text: string | undefined): number {
    if (text === undefined) return 0
    const seconds = Number(text)
    if (/^\d{1,10}$/.test(text) && seconds <= 0x7fffffff) return seconds
    this.#context.runtime.log.warn('table environment ignored', {
      gpid: this.#context.gpid,
      key: 'default_ttl',
      value: text,
    })
    return 0
  }
}
