/**
 * The runtime contract on Node: monotonic and wall clock, timers that keep no process alive, the
 * generator of the platform, and crash by exit. Network and files are in files of their own.
 * The counterpart for the seeded simulation is `simulated.ts`.
 */
import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { nodeFiles } from './node-files.ts'
import { nodeNetwork } from './node-network.ts'
import type { Clock, Log, LogFields, Random, Runtime, Timer, Timers } from './runtime.ts'

const clock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
}

/** Longer delays would fire at once on Node; whoever asks for one is checked again by its timer. */
const delayMsMax = 2 ** 31 - 1

const timers: Timers = {
  after: (
    delayMs: number,
    run: () => void,
    options?: { readonly holdsProcess: boolean },
  ): Timer => {
    const dueMs = clock.monotonicMs() + delayMs
    // Node rounds delays down to whole milliseconds and may fire early by a fraction.
    const fire = (): void => {
      const leftMs = dueMs - clock.monotonicMs()
      if (leftMs > 0) handle = arm(leftMs)
      else run()
    }
    const arm = (ms: number): NodeJS.Timeout => {
      const timeout = setTimeout(fire, Math.min(Math.ceil(ms), delayMsMax))
      return options?.holdsProcess === true ? timeout : timeout.unref()
    }
    let handle = arm(delayMs)
    return { cancel: () => clearTimeout(handle) }
  },
  soon: (run: () => void): void => {
    setImmediate(run)
  },
}

const random: Random = {
  float: () => Math.random(),
  below: (limit: number) => Math.floor(Math.random() * limit),
  bytes: (sizeBytes: number) => randomBytes(sizeBytes),
}

/** One per process. `crash` ends the process with exit code 1; the log's destination is sync. */
export function nodeRuntime({ log }: { readonly log: Log }): Runtime {
  return {
    clock,
    timers,
    random,
    network: nodeNetwork(timers),
    files: nodeFiles(),
    log,
    crash: (message: string, fields?: LogFields): never => {
      log.error(message, { ...fields, crash: true, stack: new Error(message).stack })
      process.exit(1)
    },
  }
}
