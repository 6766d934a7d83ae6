/**
 * Clients that ask for a table again and again, each on a connection of its own, the way real ones
 * do: a connection that ends is no failure, they connect again (to the next address that they
 * know) and ask again. A failure is a refused connection at every address, a wrong answer, or none.
 */
import { appIdOf } from './gateway-process.ts'
import { FrameClient } from './gateway-world.ts'

const PATIENCE_MS = 20_000

export interface SteadyClients {
  readonly answered: () => number
  /** Connections made again behind one that ended. */
  readonly reconnected: () => number
  readonly failures: readonly string[]
  /** Of the answers since the last call, in milliseconds. */
  readonly percentile: (share: number) => number
  readonly percentiles: (shares: readonly number[]) => readonly number[]
  /** Stops asking and closes the connections. */
  readonly stop: () => Promise<void>
}

/** Resolves when every client has had its first answer. */
export async function startSteadyClients(options: {
  readonly ports: readonly number[]
  readonly count: number
  /** Between an answer and the next question, on average. */
  readonly pauseMs: number
  readonly table?: string
}): Promise<SteadyClients> {
  const { ports, count, pauseMs, table = 'temp' } = options
  const state = { isOver: false, answered: 0, reconnected: 0 }
  const failures: string[] = []
  let latencies: number[] = []

  const dial = async (first: number): Promise<FrameClient> => {
    let last: unknown
    for (let attempt = 0; attempt < ports.length; attempt++)
      try {
        return await FrameClient.dial(ports[(first + attempt) % ports.length] ?? 0)
      } catch (error) {
        last = error
      }
    throw last
  }

  /** One query, on as many connections as it takes; true when it was answered. */
  const ask = async (seat: { client: FrameClient | undefined }, first: number): Promise<void> => {
    const startedAt = performance.now()
    while (performance.now() - startedAt < PATIENCE_MS) {
      const isNew = seat.client === undefined || seat.client.hasEnded
      if (isNew) {
        if (seat.client !== undefined) state.reconnected++
        seat.client?.destroy()
        seat.client = await dial(first)
      }
      const { client } = seat
      if (client === undefined) throw new Error('no connection')
      const patience = setTimeout(() => client.destroy(), PATIENCE_MS)
      try {
        const appId = appIdOf(await client.query(table))
        if (appId <= 0) throw new Error(`answered with app id ${appId}`)
        client.replies.length = 0
        latencies.push(performance.now() - startedAt)
        state.answered++
        return
      } catch (error) {
        if (!client.hasEnded) throw error
      } finally {
        clearTimeout(patience)
      }
    }
    throw new Error(`no answer within ${PATIENCE_MS} ms`)
  }

  const run = async (index: number, onFirst: () => void): Promise<void> => {
    const seat: { client: FrameClient | undefined } = { client: undefined }
    try {
      while (!state.isOver) {
        await ask(seat, index)
        onFirst()
        await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random())))
      }
    } catch (error) {
      failures.push(String(error))
      onFirst()
    } finally {
      seat.client?.destroy()
    }
  }

  const percentiles = (shares: readonly number[]): readonly number[] => {
    const sorted = latencies.toSorted((a, b) => a - b)
    latencies = []
    return shares.map((share) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN)
  }

  const runs: Promise<void>[] = []
  const DIALING = 50
  for (let index = 0; index < count; index += DIALING)
    await Promise.all(
      Array.from(
        { length: Math.min(DIALING, count - index) },
        (_, at) => new Promise<void>((resolve) => runs.push(run(index + at, resolve))),
      ),
    )
  return {
    answered: () => state.answered,
    reconnected: () => state.reconnected,
    failures,
    percentile: (share) => percentiles([share])[0] ?? Number.NaN,
    percentiles,
    stop: async () => {
      state.isOver = true
      await Promise.all(runs)
    },
  }
}
