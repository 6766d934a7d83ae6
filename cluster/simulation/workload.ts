/**
 * What the clients of a simulated run do: many small operations on few hash keys that are replaced
 * soon, through the product's own client. Every value is written once, so that a read says which
 * write it saw. Answers go to the oracle; anything but a `PegasusError` is a bug of the client.
 */
import { PegasusError, createClient, type Table } from '../client/client.ts'
import type { SeededRandom } from '../runtime/simulated-random.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { RowChange, RowReading } from './checkers/linearizable.ts'
import type { ClusterPlan } from './cluster-plan.ts'
import type { Oracle } from './oracle.ts'

const rows = ['a', 'b', 'c'] as const

export interface WorkloadOptions {
  readonly plan: ClusterPlan
  readonly oracle: Oracle
  readonly random: SeededRandom
  readonly tableName: string
  readonly metaServers: readonly string[]
}

/** Hash keys in use, each for a number of operations. */
class ActiveKeys {
  readonly #plan: ClusterPlan
  readonly #random: SeededRandom
  readonly #keys: { name: string; left: number }[] = []
  #count = 0

  constructor(plan: ClusterPlan, random: SeededRandom) {
    this.#plan = plan
    this.#random = random
  }

  take(): string {
    const slot = this.#random.below(this.#plan.activeKeys)
    let key = this.#keys[slot]
    if (key === undefined || key.left === 0) {
      key = { name: `key-${this.#count++}`, left: this.#plan.operationsPerKey }
      this.#keys[slot] = key
    }
    key.left--
    return key.name
  }
}

export class Workload {
  readonly #options: WorkloadOptions
  readonly #keys: ActiveKeys
  #stopped = false
  #running = 0

  constructor(options: WorkloadOptions) {
    this.#options = options
    this.#keys = new ActiveKeys(options.plan, options.random.fork('keys'))
  }

  /** Starts the processes of one client node. */
  async runClient(runtime: Runtime, name: string): Promise<void> {
    const { plan, metaServers, tableName } = this.#options
    const { operationTimeoutMs } = plan
    const client = createClient({
      runtime,
      metaServers,
      operationTimeoutMs,
      resendUnknownWrites: false,
    })
    const table = await this.#open(() => client.openTable(tableName))
    for (let index = 0; index < plan.processesPerClient; index++) {
      this.#running++
      void this.#runProcess(runtime, table, `${name}/${index}`)
    }
  }

  /** Operations under way still end; `idle` says when. */
  stop(): void {
    this.#stopped = true
  }

  get idle(): boolean {
    return this.#running === 0
  }

  /**
   * Reads every key that was ever written, until an answer comes; with `someAreLost` only once,
   * since the answer may not come.
   */
  async readAll(runtime: Runtime, someAreLost: boolean): Promise<void> {
    const { plan, metaServers, tableName, oracle } = this.#options
    const { operationTimeoutMs } = plan
    const client = createClient({ runtime, metaServers, operationTimeoutMs })
    const table = await this.#open(() => client.openTable(tableName))
    for (const hashKey of oracle.histories().keys()) {
      let answered = false
      while (!answered) answered = (await this.#read(table, 'final', hashKey, rows)) || someAreLost
    }
    await client.close()
  }

  /** Until the table is there: faults may begin before a client has found it. */
  async #open(open: () => Promise<Table>): Promise<Table> {
    for (;;)
      try {
        return await open()
      } catch (error) {
        if (!(error instanceof PegasusError)) throw error
      }
  }

  async #runProcess(runtime: Runtime, table: Table, name: string): Promise<void> {
    const random = this.#options.random.fork(name)
    const writeShare = random.pick([0.3, 0.5, 0.8])
    for (let count = 0; !this.#stopped; count++) {
      await this.#operate(table, random, name, { count, writeShare })
      const pauseMs = random.exponential(this.#options.plan.thinkMeanMs)
      await new Promise<void>((resolve) => runtime.timers.after(pauseMs, resolve))
    }
    this.#running--
  }

  async #operate(
    table: Table,
    random: SeededRandom,
    name: string,
    { count, writeShare }: { readonly count: number; readonly writeShare: number },
  ): Promise<void> {
    const hashKey = this.#keys.take()
    const single = random.pick(rows)
    if (!random.chance(writeShare)) {
      await this.#read(table, name, hashKey, random.chance(0.6) ? [single] : rows)
      return
    }
    const value = `${name}-${count}`
    const kind = random.pick(['set', 'set', 'set', 'del', 'multiSet', 'multiSet', 'multiDel'])
    const changed = kind === 'set' || kind === 'del' ? [single] : rows
    const written = kind === 'set' || kind === 'multiSet' ? value : undefined
    const change: RowChange = new Map(changed.map((row) => [row, written]))
    await this.#write(name, hashKey, change, () => {
      if (kind === 'set') return table.set(hashKey, single, value)
      if (kind === 'del') return table.del(hashKey, single)
      if (kind === 'multiDel') return table.multiDel(hashKey, rows)
      return table.multiSet(
        hashKey,
        rows.map((sortKey) => ({ sortKey, value })),
      )
    })
  }

  async #write(
    name: string,
    hashKey: string,
    change: RowChange,
    send: () => Promise<void>,
  ): Promise<void> {
    const { oracle } = this.#options
    const open = oracle.beginWrite(name, hashKey, change)
    try {
      await send()
      oracle.acknowledged(open)
    } catch (error) {
      if (!(error instanceof PegasusError)) throw error
      if (error.effect === 'none') oracle.refused()
      else oracle.unknown(open)
    }
  }

  /** Whether an answer came. */
  async #read(
    table: Table,
    name: string,
    hashKey: string,
    asked: readonly string[],
  ): Promise<boolean> {
    const { oracle } = this.#options
    const open = oracle.beginRead(name, hashKey)
    try {
      oracle.acknowledged(open, await readingOf(table, hashKey, asked))
      return true
    } catch (error) {
      if (!(error instanceof PegasusError)) throw error
      oracle.unknown(open)
      return false
    }
  }
}

async function readingOf(
  table: Table,
  hashKey: string,
  asked: readonly string[],
): Promise<RowReading> {
  const [only] = asked
  if (asked.length === 1 && only !== undefined)
    return new Map([[only, (await table.get(hashKey, only))?.toString()]])
  const { records } = await table.multiGet(hashKey, asked)
  const found = new Map(records.map(({ sortKey, value }) => [String(sortKey), String(value)]))
  return new Map(asked.map((row) => [row, found.get(row)]))
}
