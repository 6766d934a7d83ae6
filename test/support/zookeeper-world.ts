/**
 * Gateways in this process on a real ZooKeeper, two clusters of one scripted meta each, and the
 * test's own session. Cluster `one` answers with app id 1, `two` with 2.
 */
import type { Coordinator, CoordinatorOperation } from '../../cluster/coordinator/coordinator.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { decodeResult, type ReplyFrame } from '../../cluster/protocol/frame.ts'
import { QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { type Gateway, startGateway } from '../../gateway/gateway.ts'
import { makePath } from '../../gateway/routing/redirect-plan.ts'
import { type FakeMeta, startFakeMeta } from './fake-meta.ts'
import { FrameClient, testConfig } from './gateway-world.ts'
import { type RealZooKeeper, startRealZooKeeper } from './real-zookeeper.ts'

export const root = '/metaproxy/tables'
export const controlRoot = `${root}.gateway`

export interface RunningGateway {
  readonly gateway: Gateway
  readonly coordinator: Coordinator
  readonly metrics: Metrics
  readonly client: FrameClient
  /** The app id in the answer, or its error. */
  readonly ask: (table: string) => Promise<number | string>
}

export class ZooKeeperWorld {
  readonly runtime: Runtime
  readonly zooKeeper: RealZooKeeper
  editor: Coordinator
  readonly one: FakeMeta
  readonly two: FakeMeta
  readonly #gateways: RunningGateway[] = []
  readonly #alive = setInterval(() => undefined, 1000)

  private constructor(
    runtime: Runtime,
    zooKeeper: RealZooKeeper,
    metas: readonly [FakeMeta, FakeMeta],
  ) {
    this.runtime = runtime
    this.zooKeeper = zooKeeper
    this.one = metas[0]
    this.two = metas[1]
    this.editor = this.connect(30_000)
  }

  static async start(): Promise<ZooKeeperWorld> {
    const metas = [
      await startFakeMeta(() => ({ error: 'ERR_OK', appId: 1 })),
      await startFakeMeta(() => ({ error: 'ERR_OK', appId: 2 })),
    ] as const
    const runtime = nodeRuntime({ log: silentLog })
    const world = new ZooKeeperWorld(runtime, await startRealZooKeeper(), metas)
    await makePath(world.editor, root)
    return world
  }

  connect(sessionTimeoutMs: number): Coordinator {
    const servers = `127.0.0.1:${this.zooKeeper.port}`
    return connectZooKeeper(this.runtime, { servers, sessionTimeoutMs, onExpiry: 'renew' })
  }

  /** A new session, for a ZooKeeper that has forgotten what the old one saw. */
  async renewEditor(): Promise<void> {
    await this.editor.close()
    this.editor = this.connect(30_000)
  }

  async gateway(
    sessionTimeoutMs: number,
    flags: Readonly<Record<string, string>> = {},
  ): Promise<RunningGateway> {
    const coordinator = this.connect(sessionTimeoutMs)
    const metrics = new Metrics()
    const gateway = await startGateway({
      runtime: this.runtime,
      coordinator,
      config: testConfig(flags),
      metrics,
    })
    const client = await FrameClient.dial(gateway.port)
    const running = { gateway, coordinator, metrics, client, ask: askerOf(client) }
    this.#gateways.push(running)
    return running
  }

  value(cluster: 'one' | 'two'): Buffer {
    return Buffer.from(JSON.stringify({ cluster, 'meta-addrs': [this[cluster].address] }))
  }

  async map(table: string, cluster: 'one' | 'two'): Promise<void> {
    const path = `${root}/${table}`
    if ((await this.editor.exists(path)) === undefined)
      await this.editor.create(path, this.value(cluster))
    else await this.editor.set(path, this.value(cluster))
  }

  /** New mappings, many in a transaction. */
  async mapAll(tables: readonly string[], cluster: 'one' | 'two'): Promise<void> {
    const data = this.value(cluster)
    for (let at = 0; at < tables.length; at += 500) {
      const creates: CoordinatorOperation[] = tables
        .slice(at, at + 500)
        .map((table) => ({ type: 'create', path: `${root}/${table}`, data }))
      await this.editor.multi(creates)
    }
  }

  /** After each claim. */
  async endGateways(): Promise<void> {
    for (const { gateway, client, coordinator } of this.#gateways.splice(0)) {
      client.destroy()
      await gateway.close()
      await coordinator.close()
    }
  }

  async close(): Promise<void> {
    await this.endGateways()
    await this.editor.close()
    await this.zooKeeper.close()
    await Promise.all([this.one.close(), this.two.close()])
    clearInterval(this.#alive)
  }
}

/** The app id in an answer, or its error. */
export function answerIn(reply: ReplyFrame): number | string {
  const { err, appId } = decodeResult(QueryCfgResponse, reply.result)
  return err === 'ERR_OK' ? appId : err
}

export function askerOf(client: FrameClient): (table: string) => Promise<number | string> {
  return async (table) => answerIn(await client.query(table))
}
