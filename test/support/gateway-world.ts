/** A gateway in this process: memory coordination, real sockets, and a client that speaks frames. */
import { connect as dial, type Socket } from 'node:net'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import {
  ReplyFramer,
  type ReplyFrame,
  encodeArgument,
  encodeRequest,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest } from '../../cluster/protocol/layer2.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { type GatewayConfig, gatewayConfig } from '../../gateway/config.ts'
import { answerQuestion } from '../../gateway/fleet-answers.ts'
import { type Gateway, startGateway } from '../../gateway/gateway.ts'
import type { FleetQuestion } from '../../gateway/routing/fleet-questions.ts'

export const QUERY = 'RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX'
export const root = '/metaproxy/tables'

export function testConfig(flags: Readonly<Record<string, string>> = {}): GatewayConfig {
  const loaded = loadConfig(gatewayConfig, {
    environment: {},
    environmentPrefix: 'METAPROXY',
    flags: {
      'rpc.host': '127.0.0.1',
      'rpc.port': '0',
      'http.port': '0',
      'zookeeper.servers': 'unused:1',
      // A busy machine is no overload, unless a test says so.
      'overload.lagMs': '10000',
      ...flags,
    },
  })
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
  return loaded.config
}

export interface GatewayWorld {
  readonly runtime: Runtime
  readonly memory: MemoryCoordination
  /** The test's own session. */
  readonly editor: Coordinator
  readonly coordinator: Coordinator
  readonly gateway: Gateway
  readonly metrics: Metrics
  readonly map: (table: string, metas: readonly string[], cluster?: string) => Promise<void>
  readonly client: () => Promise<FrameClient>
  readonly close: () => Promise<void>
}

export async function startWorld(
  flags: Readonly<Record<string, string>> = {},
  /** Short where a test waits for its loss; else long, so that a busy machine loses none. */
  sessionTimeoutMs = 30_000,
  log: Log = silentLog,
): Promise<GatewayWorld> {
  // Timers of the runtime keep no process alive, and memory coordination has nothing else.
  const alive = setInterval(() => undefined, 1000)
  const runtime = nodeRuntime({ log })
  const memory = new MemoryCoordination(runtime)
  const editor = memory.connect(runtime, {
    sessionTimeoutMs: 60_000,
    onExpiry: 'renew',
    name: 'editor',
  })
  await editor.create('/metaproxy', Buffer.alloc(0))
  await editor.create(root, Buffer.alloc(0))
  const coordinator = memory.connect(runtime, {
    sessionTimeoutMs,
    onExpiry: 'renew',
    name: 'gateway',
  })
  const metrics = new Metrics()
  const config = testConfig(flags)
  const starting = startGateway({ runtime, coordinator, config, metrics })
  const gateway = await starting.catch(async (error: unknown) => {
    await Promise.all([coordinator.close(), editor.close()])
    clearInterval(alive)
    throw error
  })
  const clients = new Set<FrameClient>()
  return {
    runtime,
    memory,
    editor,
    coordinator,
    gateway,
    metrics,
    map: async (table, metas, cluster = 'c1') => {
      const data = Buffer.from(JSON.stringify({ cluster, 'meta-addrs': metas }))
      const path = `${root}/${table}`
      if ((await editor.exists(path)) === undefined) await editor.create(path, data)
      else await editor.set(path, data)
    },
    client: async () => {
      const client = await FrameClient.dial(gateway.port)
      clients.add(client)
      return client
    },
    close: async () => {
      for (const client of clients) client.destroy()
      await gateway.close()
      await Promise.all([coordinator.close(), editor.close()])
      clearInterval(alive)
    },
  }
}

/** What a gateway in this process answers to a question of its fleet. */
export function answerOf(gateway: Gateway, question: FleetQuestion): Promise<unknown> {
  return answerQuestion(
    {
      describe: (table) => gateway.directory.describe(table),
      epoch: () => gateway.directory.epoch,
      served: async (table) => [gateway.describeTable(table, '', false)],
      clientsOf: async (table) => [gateway.clients.clientsOf(table)],
      monotonicMs: () => performance.now(),
      tableCounts: async () => [{ process: '', ...gateway.tableCounts() }],
      recentLines: async () => [],
      effective: () => [],
    },
    question,
  )
}

/** One connection that sends bytes and collects reply frames. */
export class FrameClient {
  readonly socket: Socket
  readonly replies: ReplyFrame[] = []
  readonly closed: Promise<void>
  hasEnded = false
  readonly #framer = new ReplyFramer({ maxFrameBytes: 64 << 20 })
  #wake: (() => void)[] = []

  constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.hasEnded = true
        resolve()
        this.#wakeAll()
      })
    })
    socket.on('error', () => undefined)
    socket.on('end', () => {
      this.hasEnded = true
      this.#wakeAll()
    })
    socket.on('data', (chunk: Buffer) => {
      this.#framer.push(chunk)
      for (let reply = this.#framer.next(); reply !== undefined; reply = this.#framer.next())
        this.replies.push(reply)
      this.#wakeAll()
    })
  }

  /** `from`: another address of this machine, such as 127.0.0.2. */
  static async dial(port: number, from = '127.0.0.1'): Promise<FrameClient> {
    const to = { port, host: '127.0.0.1', allowHalfOpen: true, localAddress: from }
    const socket = dial(to)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new FrameClient(socket)
  }

  #wakeAll(): void {
    const wake = this.#wake
    this.#wake = []
    for (const resolve of wake) resolve()
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  /** Resolves to the first `count` replies; rejects when the connection ends before. */
  async received(count: number): Promise<readonly ReplyFrame[]> {
    while (this.replies.length < count) {
      if (this.hasEnded) throw new Error(`ended after ${this.replies.length} of ${count} replies`)
      await new Promise<void>((resolve) => {
        this.#wake.push(resolve)
      })
    }
    return this.replies
  }

  /** Sends a query and resolves to its answer, the next one that arrives. */
  async query(table: string, options: Parameters<typeof queryFrame>[1] = {}): Promise<ReplyFrame> {
    const count = this.replies.length + 1
    this.send(queryFrame(table, options))
    const reply = (await this.received(count))[count - 1]
    if (reply === undefined) throw new Error('no reply')
    return reply
  }

  destroy(): void {
    this.socket.destroy()
  }
}

export function queryFrame(
  table: string,
  options: {
    readonly version?: 0 | 1
    readonly seqid?: number
    readonly indices?: number[]
    readonly timeoutMs?: number
  } = {},
): Buffer {
  const argument = encodeArgument(QueryCfgRequest, {
    appName: table,
    partitionIndices: options.indices ?? [],
  })
  return encodeRequest(
    {
      ...emptyHeader,
      version: options.version ?? 0,
      clientTimeoutMs: options.timeoutMs ?? 0,
    },
    QUERY,
    options.seqid ?? 1,
    argument,
  )
}

/** Looks at a condition again and again until it holds; the test's own time limit bounds it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition()))
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
}
