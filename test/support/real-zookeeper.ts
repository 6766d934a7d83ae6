/**
 * A real ZooKeeper for tests: Debian's package, started by java with a configuration, a port and a
 * temporary folder of its own. Nothing of an installed service is used or touched.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './ports.ts'

export interface RealZooKeeper {
  readonly port: number
  /** kill -9 and start again on the same data and port. */
  readonly restart: () => Promise<void>
  /** kill -9. */
  readonly kill: () => Promise<void>
  /** After `kill`, on the same port; on the same data, or on none. */
  readonly startAgain: (data: 'same' | 'none') => Promise<void>
  readonly freeze: () => void
  readonly thaw: () => void
  readonly close: () => Promise<void>
}

const jar = '/usr/share/java/zookeeper.jar'
const startMsMax = 30_000

/** Why there is none, or `undefined` when it can be started. */
export function whyNoRealZooKeeper(): string | undefined {
  if (!existsSync(jar)) return `${jar} is missing (Debian package zookeeper)`
  const java = spawnSync('java', ['-version'], { stdio: 'ignore' })
  return java.status === 0 ? undefined : 'java is missing'
}

export async function startRealZooKeeper(): Promise<RealZooKeeper> {
  const folder = mkdtempSync(join(tmpdir(), 'real-zookeeper-'))
  const port = await freePort()
  writeFileSync(
    join(folder, 'zoo.cfg'),
    `tickTime=500
dataDir=${folder}/data
clientPort=${port}
clientPortAddress=127.0.0.1
maxClientCnxns=0
maxSessionTimeout=60000
admin.enableServer=false
4lw.commands.whitelist=ruok
`,
  )
  let child = await start(folder, port)
  const onExit = (): void => void child.kill('SIGKILL')
  process.once('exit', onExit)
  return {
    port,
    restart: async () => {
      await kill(child)
      child = await start(folder, port)
    },
    kill: () => kill(child),
    startAgain: async (data) => {
      if (data === 'none') rmSync(join(folder, 'data'), { recursive: true, force: true })
      child = await start(folder, port)
    },
    freeze: () => freeze(child),
    thaw: () => void child.kill('SIGCONT'),
    close: async () => {
      process.removeListener('exit', onExit)
      await kill(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function start(folder: string, port: number): Promise<ChildProcess> {
  const options = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
  const classpath = `${jar}:/usr/share/java/slf4j-nop.jar`
  const main = 'org.apache.zookeeper.server.ZooKeeperServerMain'
  const child = spawn('java', [...options, '-cp', classpath, main, join(folder, 'zoo.cfg')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr?.on('data', (bytes) => (complaint = `${complaint}${String(bytes)}`.slice(-2000)))
  const startedAtMs = Date.now()
  while (!(await answersRuok(port))) {
    if (child.exitCode !== null) throw new Error(`ZooKeeper did not start: ${complaint}`)
    if (Date.now() - startedAtMs > startMsMax) throw new Error('ZooKeeper does not answer')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

function answersRuok(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write('ruok'))
    socket.setTimeout(1000, () => socket.destroy())
    socket.on('data', (bytes) => (answer += String(bytes)))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(answer === 'imok'))
  })
}

/** Returns when every thread has stopped: until then one of them may still answer. */
function freeze(child: ChildProcess): void {
  child.kill('SIGSTOP')
  const threads = `/proc/${child.pid}/task`
  const stopped = (thread: string): boolean => {
    try {
      const stat = readFileSync(join(threads, thread, 'stat'), 'utf8')
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T')
    } catch {
      return true
    }
  }
  for (let look = 0; look < 10_000; look++) if (readdirSync(threads).every(stopped)) return
}
