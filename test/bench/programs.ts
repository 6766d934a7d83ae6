/** The programs that a benchmark starts: ports for them, waiting for them, and ending them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const here = new URL('.', import.meta.url).pathname
/** The built command line. */
export const metaproxy = new URL('../../cluster/cli/main.js', import.meta.url).pathname

/** Resolves when something accepts connections on the port of this machine. */
export async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on port ${port}`)
}

/** SIGTERM, then waits for the end. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

/** A program of this folder that says something in lines, and is told something in lines. */
export class LineProgram {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>

  /** `words`: file name of the program without its ending, and arguments. */
  constructor(words: readonly string[]) {
    const [name = '', ...rest] = words
    const child = spawn(process.execPath, [`${here}${name}.js`, ...rest], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error(`${this.child.spawnargs.join(' ')}: ended without an answer`)
    return value
  }
}
