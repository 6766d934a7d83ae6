/**
 * Client reads and writes at the door of a replica server: the checks of wire.md 10.1 in their
 * order, then the replica. The lease is looked at here, at the moment of use.
 */
import type { Gpid } from '../protocol/base.ts'
import type { AppInfo } from '../protocol/layer2.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import { type Answer, type RpcRequest, headerError, silence } from '../rpc/handler.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { ReplicaAppKind } from './app.ts'
import type { ReplicaDriver } from './driver.ts'
import type { ReplicaMetrics } from './metrics.ts'
import type { WriteAnswer } from './waiting-clients.ts'

export interface ClientRequestsContext {
  readonly runtime: Runtime
  readonly kind: ReplicaAppKind
  readonly metrics: ReplicaMetrics
  readonly find: (gpid: Gpid) => ReplicaDriver | undefined
  readonly leaseValid: () => boolean
  /** 0: no limit. */
  readonly maxWriteBytes: number
  readonly writeTimeoutMs: number
}

/** Bytes of a message header besides the name: version, name length, sequence id. */
const MESSAGE_HEADER_BYTES = 12
const DENY = 'replica.deny_client_request'
const VALIDATE_HASH = 'replica.split.validate_partition_hash'
/** Go clients send what is left of their time modulo 4294.967 ms: anything below says nothing. */
const CLIENT_TIMEOUT_MS_MIN = 4295

type Access = 'read' | 'write'

export class ClientRequests {
  readonly #context: ClientRequestsContext

  constructor(context: ClientRequestsContext) {
    this.#context = context
  }

  write(request: RpcRequest): Answer<Buffer> | Promise<Answer<Buffer>> {
    const { kind, metrics, runtime } = this.#context
    const driver = this.#admit(request, 'write')
    if (!('dispatch' in driver)) return this.#refused(driver, 'write')
    const problem = this.#leaseProblem(false) ?? driver.replica.writeProblem()
    if (problem !== undefined) return this.#refused(headerError(problem), 'write')
    const nowMs = runtime.clock.monotonicMs()
    const latestMs = nowMs + this.#context.writeTimeoutMs
    const writing = driver.write({
      code: request.name,
      body: request.argumentBytes,
      batchable: kind.writes.get(request.name)?.batchable ?? false,
      deadlineAtMs: Math.min(clientDeadlineMs(request), latestMs),
    })
    return writing.then((answer: WriteAnswer) => {
      if (!Buffer.isBuffer(answer)) return this.#refused(answer, 'write')
      metrics.writeLatencyMs.observe(runtime.clock.monotonicMs() - request.receivedAtMs)
      return answer
    })
  }

  read(request: RpcRequest): Answer<Buffer> | Promise<Answer<Buffer>> {
    const answer = this.#read(request)
    // Any reply to it, refusals included, would end the connections of Go clients (wire.md 5).
    if (request.name !== Rpc.CLEAR_SCANNER.name) return answer
    return answer instanceof Promise ? answer.then(() => silence) : silence
  }

  #read(request: RpcRequest): Answer<Buffer> | Promise<Answer<Buffer>> {
    const { runtime, metrics } = this.#context
    const driver = this.#admit(request, 'read')
    if (!('dispatch' in driver)) return this.#refused(driver, 'read')
    const { isBackupRequest } = request
    const problem =
      driver.replica.readProblem(isBackupRequest) ?? this.#leaseProblem(isBackupRequest)
    if (problem !== undefined) return this.#refused(headerError(problem), 'read')
    if (isBackupRequest) metrics.backupRequests.add()
    const reading = driver.read(
      {
        name: request.name,
        argument: request.argumentBytes,
        partitionHash: request.partitionHash,
        nowMs: runtime.clock.wallMs(),
        // A scanner whose reply is cut short fails for good: not for a hint like the client's time.
        deadlineAtMs: Infinity,
      },
      isBackupRequest,
    )
    return reading.then(
      (answer): Answer<Buffer> => {
        if (answer.kind === 'error') return this.#refused(headerError(answer.error), 'read')
        if (answer.kind === 'silence') return silence
        metrics.readLatencyMs.observe(runtime.clock.monotonicMs() - request.receivedAtMs)
        return answer.result
      },
      (error: unknown) => {
        runtime.log.error('read failed', { rpc: request.name, error })
        driver.dispatch({ type: 'storage-failed', reason: String(error) })
        return this.#refused(headerError('ERR_INVALID_STATE'), 'read')
      },
    )
  }

  /** Rows 2 to 9: the replica, or what to answer instead. */
  #admit(request: RpcRequest, access: Access): ReplicaDriver | typeof silence {
    const { appId, partitionIndex } = request
    if (appId < 0 || (appId === 0 && partitionIndex === 0))
      return headerError('ERR_HANDLER_NOT_FOUND')
    const driver = this.#context.find({ appId, partitionIndex })
    if (driver === undefined) return headerError('ERR_OBJECT_NOT_FOUND')
    const info = driver.replica.appInfo
    const denied = denial(info.envs.get(DENY), access)
    if (denied !== undefined)
      return denied === 'timeout' ? silence : headerError('ERR_INVALID_STATE')
    const { maxWriteBytes, metrics } = this.#context
    if (access === 'write' && maxWriteBytes > 0 && bodyBytes(request) > maxWriteBytes) {
      metrics.writeSizeExceeded.add()
      return headerError('ERR_INVALID_DATA')
    }
    return isMisrouted(info, request) ? headerError('ERR_PARENT_PARTITION_MISUSED') : driver
  }

  #leaseProblem(isBackupRequest: boolean): string | undefined {
    return isBackupRequest || this.#context.leaseValid() ? undefined : 'ERR_INVALID_STATE'
  }

  #refused(answer: typeof silence, access: Access): typeof silence {
    const { metrics } = this.#context
    if (access === 'write') metrics.writesRefused.add()
    else metrics.readsRefused.add()
    return answer
  }
}

/** The body as upstream measures it: a native one has no message header. */
function bodyBytes({ name, argumentBytes, native }: RpcRequest): number {
  const headerBytes = native === undefined ? MESSAGE_HEADER_BYTES + name.length : 0
  return headerBytes + argumentBytes.length
}

/** Monotonic milliseconds from which on the client certainly does not wait; Infinity: unknown. */
export function clientDeadlineMs(
  request: Pick<RpcRequest, 'receivedAtMs' | 'deadlineAtMs'>,
): number {
  return Math.max(request.deadlineAtMs, request.receivedAtMs + CLIENT_TIMEOUT_MS_MIN)
}

/** `timeout*write`, `reconfig*all` and the like; anything else denies nothing. */
export function denial(
  env: string | undefined,
  access: Access,
): 'timeout' | 'reconfig' | undefined {
  if (env === undefined || env === '') return undefined
  const [, way, scope] = /^(timeout|reconfig)\*(read|write|all|client)$/.exec(env) ?? []
  if (way !== 'timeout' && way !== 'reconfig') return undefined
  return scope === access || scope === 'all' || scope === 'client' ? way : undefined
}

function isMisrouted(info: AppInfo, request: RpcRequest): boolean {
  if (info.envs.get(VALIDATE_HASH) !== 'true') return false
  const mask = BigInt(info.partitionCount - 1)
  return (request.partitionHash & mask) !== BigInt(request.partitionIndex)
}
