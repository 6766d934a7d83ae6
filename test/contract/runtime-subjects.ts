/**
 * The implementations that the runtime contract suites run on: Node on loopback and a temporary
 * folder, and the simulated world, pumped until the test's promise has settled.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'

export interface Subject {
  readonly runtime: Runtime
  /** Where the runtime listens. */
  readonly host: string
  /** A folder that is empty. */
  readonly directory: string
}

export interface SubjectKind {
  readonly name: string
  readonly run: (body: (subject: Subject) => Promise<void>) => Promise<void>
}

export const subjects: readonly SubjectKind[] = [
  {
    name: 'node',
    run: async (body) => {
      const directory = mkdtempSync(join(tmpdir(), 'metaproxy-runtime-'))
      // The contract's timers keep no process alive; here somebody has to.
      const alive = setInterval(() => undefined, 1000)
      try {
        const runtime = nodeRuntime({ log: silentLog })
        await body({ runtime, host: '127.0.0.1', directory })
      } finally {
        clearInterval(alive)
        rmSync(directory, { recursive: true, force: true })
      }
    },
  },
  {
    name: 'simulated',
    run: async (body) => {
      const world = new SimulatedWorld({ seed: 7 })
      const { runtime } = world.node('a', { ip: '10.0.0.1' })
      let settled = false
      const done = (async () => {
        try {
          await runtime.files.makeDirectory('/data')
          await body({ runtime, host: '10.0.0.1', directory: '/data' })
        } finally {
          settled = true
        }
      })()
      done.catch(() => undefined)
      await world.run({ untilMs: 600_000, until: () => settled })
      await done
    },
  },
]
