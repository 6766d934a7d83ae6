/**
 * The onebox as a user has it: the built program, our client through the gateway's address alone,
 * servers killed one after the other, a stop and a start on the same folder, and wrong input.
 * What must hold is product.md ("Onebox") and the promise that an acknowledged write is not lost.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PegasusClient, type Table, createClient } from 'pegasus-metaproxy/client'
import t, { type Test } from 'tap'
import { type TestOnebox, freePortBase, metaproxy, startOnebox, until } from '../support/onebox.ts'

/** Keeps writing rising numbers under a few keys, and remembers what was acknowledged. */
class Writer {
  readonly #table: Table
  readonly #acknowledged = new Map<string, number>()
  readonly #attempted = new Map<string, number>()
  readonly #loops: Promise<void>[]
  #stopped = false
  #count = 0

  constructor(table: Table, keyCount: number) {
    this.#table = table
    this.#loops = Array.from({ length: keyCount }, async (_, key) => this.#loop(`key-${key}`))
  }

  /** Writes acknowledged so far. */
  get count(): number {
    return this.#count
  }

  async #loop(key: string): Promise<void> {
    for (let number = 1; !this.#stopped; number++) {
      this.#attempted.set(key, number)
      try {
        await this.#table.set(key, 'n', String(number), { timeoutMs: 3000 })
        this.#acknowledged.set(key, number)
        this.#count++
      } catch {
        // Unknown or refused: the next number follows, and reads may show either.
      }
    }
  }

  /** Resolves to the keys whose acknowledged value is not there. */
  async stopAndCheck(): Promise<string[]> {
    this.#stopped = true
    await Promise.all(this.#loops)
    const wrong: string[] = []
    for (const [key, acknowledged] of this.#acknowledged) {
      const found = Number((await this.#table.get(key, 'n', { timeoutMs: 30_000 }))?.toString())
      const attempted = this.#attempted.get(key) ?? 0
      if (!(found >= acknowledged && found <= attempted))
        wrong.push(`${key}: acknowledged ${acknowledged}, attempted ${attempted}, found ${found}`)
    }
    return wrong
  }
}

async function metaLeader(box: TestOnebox, cluster: string): Promise<string> {
  const metas = box
    .servers()
    .filter((server) => server.cluster === cluster && server.role === 'meta')
  for (const { name, http } of metas) {
    const text = await fetch(`${http}/metrics`).then(
      async (response) => response.text(),
      () => '',
    )
    if (/^meta_is_leader(\{[^}]*\})? 1$/m.test(text)) return name
  }
  return ''
}

/** Kills one server under load; clients must go on, and nothing acknowledged may be missing. */
async function surviveKill(
  t: Test,
  client: PegasusClient,
  box: TestOnebox,
  name: string,
): Promise<void> {
  const table = await client.openTable('temp')
  const writer = new Writer(table, 24)
  await until('the first writes', () => writer.count > 200)
  const pid = box.kill(name)
  await until(`${name} to be started again`, () => {
    const now = box.server(name).pid
    return now !== null && now !== pid
  })
  // Every key must move on again, on whatever server its partition is now.
  const before = writer.count
  await until('writes after the kill', () => writer.count > before + 500)
  t.same(await writer.stopAndCheck(), [], `acknowledged writes survive the death of ${name}`)
}

void t.test('a onebox under kill -9, stop and start', { timeout: 280_000 }, async (t) => {
  const box = await startOnebox({ flags: ['--clusters', '2', '--table', 'orders:4'] })
  t.teardown(async () => box.remove())
  const client = createClient({ metaServers: [box.gateway] })
  t.teardown(async () => client.close())
  const table = await client.openTable('temp')

  await t.test('the state file names every server and where it listens', async (t) => {
    const state = JSON.parse(readFileSync(join(box.directory, 'onebox.json'), 'utf8')) as {
      ready: boolean
    }
    t.equal(state.ready, true)
    t.equal(box.servers().length, 12)
    for (const { name, pid, role, http } of box.servers()) {
      t.ok(pid, `${name} has a process`)
      if (role !== 'zookeeper')
        t.equal((await fetch(`${http}/healthz`)).status, 200, `${name} is healthy`)
    }
  })

  await t.test('a client that knows only the gateway reads what it wrote', async (t) => {
    await table.set('hash', 'sort', 'value')
    t.equal((await table.get('hash', 'sort'))?.toString(), 'value')
    t.equal(await table.get('hash', 'absent'), undefined)
    await t.rejects(client.openTable('no-such-table'), { code: 'ERR_OBJECT_NOT_FOUND' })
  })

  const leader = await metaLeader(box, 'alpha')
  t.match(leader, /^alpha-meta-/, 'one meta server leads')
  for (const name of ['gateway', leader, 'alpha-replica-1', 'zookeeper'])
    await t.test(`kill -9 of ${name}`, async (t) => surviveKill(t, client, box, name))

  await t.test('a changed mapping moves new queries, without restart', async (t) => {
    const beta = box
      .servers()
      .filter((server) => server.cluster === 'beta' && server.role === 'meta')
    const body = JSON.stringify({ cluster: 'beta', metas: beta.map((server) => server.rpc) })
    const headers = { 'content-type': 'application/json', 'if-match': '*' }
    const url = `${box.admin}/api/v1/tables/orders`
    let answer = ''
    await until('the gateway to have a ZooKeeper session again', async () => {
      const put = await fetch(url, { method: 'PUT', headers, body })
      answer = `${put.status} ${await put.text()}`
      return put.status !== 503
    })
    t.match(answer, /^200 /)
    await until(
      'the other cluster to be asked, which has no such table',
      async () => {
        const fresh = createClient({ metaServers: [box.gateway] })
        try {
          await fresh.openTable('orders')
          return false
        } catch (error) {
          return (error as { code?: string }).code === 'ERR_OBJECT_NOT_FOUND'
        } finally {
          await fresh.close()
        }
      },
      5000,
    )
  })

  await t.test('after a stop and a start all data are there', async (t) => {
    const keys = Array.from({ length: 100 }, (_, index) => `durable-${index}`)
    await Promise.all(keys.map(async (key) => table.set(key, '', `of ${key}`)))
    t.equal(await box.stop(), 0, 'Ctrl-C ends with exit code 0')
    const again = await startOnebox({ directory: box.directory, portBase: box.portBase })
    t.teardown(async () => again.stop())
    for (const key of keys)
      t.equal((await table.get(key, '', { timeoutMs: 20_000 }))?.toString(), `of ${key}`, key)
    t.equal(await again.stop(), 0)
  })
})

async function runOnce(words: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [metaproxy, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, output }
}

void t.test('what cannot start says why in one line', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'onebox-wrong-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const portBase = await freePortBase()
  const flags = ['--port-base', String(portBase), '--data-dir', directory]

  await t.test('a port in use', async (t) => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(portBase + 21, '127.0.0.1', resolve))
    const { code, output } = await runOnce(['onebox', ...flags])
    taken.close()
    t.equal(code, 1)
    t.match(output, /127\.0\.0\.1:\d+ \(for alpha-replica-1\) is in use by another program/)
    t.equal(output.trim().split('\n').length, 1)
  })

  await t.test('a data folder of a newer version', async (t) => {
    writeFileSync(join(directory, 'format.json'), '{"onebox":99}')
    const { code, output } = await runOnce(['onebox', ...flags])
    t.equal(code, 1)
    t.match(output, /has format 99, this version reads up to 1/)
  })

  await t.test('--fresh on a folder that no onebox made', async (t) => {
    const foreign = mkdtempSync(join(tmpdir(), 'onebox-foreign-'))
    writeFileSync(join(foreign, 'precious'), 'x')
    const { code, output } = await runOnce(['onebox', '--data-dir', foreign, '--fresh'])
    t.equal(code, 1)
    t.match(output, /was not made by a onebox, so it is not emptied/)
    t.equal(readFileSync(join(foreign, 'precious'), 'utf8'), 'x')
    rmSync(foreign, { recursive: true })
  })

  await t.test('wrong words', async (t) => {
    const cases: [string[], RegExp][] = [
      [['onebox', '--clusters', '7'], /--clusters 7: expected a whole number from 1 to 2/],
      [['nonsense'], /unknown command nonsense/],
      [[], /no command/],
      [['meta', '--config', '/no/such/file'], /no\/such\/file/],
    ]
    for (const [words, message] of cases) {
      const { code, output } = await runOnce(words)
      t.equal(code, 2, words.join(' '))
      t.match(output, message)
    }
  })
})
