/** Starts, freezes, thaws and kills a scripted meta server that is a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface MetaProcess {
  readonly address: string
  readonly port: number
  /** SIGSTOP: its kernel still accepts connections and takes bytes; nobody answers. */
  readonly freeze: () => void
  readonly thaw: () => void
  /** SIGKILL; resolves when it is gone. Idempotent. */
  readonly kill: () => Promise<void>
}

const program = new URL('./fake-meta-program.js', import.meta.url).pathname

/** Answers ERR_OK with that app id. Frozen, its kernel takes some `backlog` connections more. */
export async function startMetaProcess(appId: number, backlog = 511): Promise<MetaProcess> {
  const child = spawn(process.execPath, [program, String(appId), '0', String(backlog)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const gone = once(child, 'exit')
  const [first] = (await Promise.race([
    once(child.stdout, 'data'),
    gone.then(() => Promise.reject(new Error('the meta process ended'))),
  ])) as [Buffer]
  const bound = Number(first.toString())
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    freeze: () => child.kill('SIGSTOP'),
    thaw: () => child.kill('SIGCONT'),
    kill: async () => {
      child.kill('SIGKILL')
      await gone
    },
  }
}
