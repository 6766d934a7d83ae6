/** The official Python client works with a onebox, given only the gateway's address. */
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import t from 'tap'
import { startOnebox } from '../support/onebox.ts'
import { pythonClient } from '../support/python-client.ts'

const client = pythonClient()
const [OK, NOT_FOUND, INCOMPLETE] = [0, 23, 38]

/** Not `spawnSync`: the time that a test may take ends it. */
function runPython(python: string, folder: string, words: readonly string[]): Promise<string> {
  return new Promise((done, fail) => {
    // The client writes a log file into the current folder.
    const child = spawn(
      python,
      ['-W', 'ignore', resolve('test/interop/python-client.py'), ...words],
      {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let [output, complaint] = ['', '']
    child.stdout.on('data', (chunk) => (output += String(chunk)))
    child.stderr.on('data', (chunk) => (complaint += String(chunk)))
    child.on('error', fail)
    child.on('close', (code) =>
      code === 0 ? done(output) : fail(new Error(`exit code ${code}: ${complaint}`)),
    )
  })
}

const pairs = (from: number, to: number): Record<string, string> =>
  Object.fromEntries(
    Array.from({ length: to - from }, (_, index) => [`s${from + index}`, `v${from + index}`]),
  )

const scanned = (hashKey: string, values: Readonly<Record<string, string>>): unknown[] =>
  Object.entries(values).map(([sortKey, value]) => [[hashKey, sortKey], value])

void t.test(
  'the official Python client reads and writes through the gateway',
  {
    timeout: 400_000,
    ...(client.missing === undefined ? {} : { skip: `missing tool: ${client.missing}` }),
  },
  async (t) => {
    if (client.missing !== undefined) return
    const onebox = await startOnebox({ flags: ['--clusters', '1'] })
    t.teardown(() => onebox.remove())
    const output = await runPython(client.python, t.testdir(), [onebox.gateway, 'temp'])
    t.same(JSON.parse(output), {
      init: true,
      set: [OK, null],
      get: [OK, 'one'],
      'get absent': [NOT_FOUND, ''],
      exist: [OK, -1],
      'exist absent': [NOT_FOUND, 0],
      'ttl of none': [OK, -1],
      ttl: [OK, true],
      multi_set: [OK, null],
      sort_key_count: [OK, 10],
      multi_get: [OK, pairs(1, 3)],
      'multi_get of all': [OK, pairs(0, 10)],
      get_sort_keys: [OK, Object.fromEntries(Object.keys(pairs(0, 10)).map((key) => [key, '']))],
      'multi_get_opt reverse': [INCOMPLETE, pairs(5, 8)],
      'multi_get_opt filter': [OK, pairs(7, 8)],
      'scan of a hash key': scanned('many', pairs(2, 8)),
      'scan of the table': [
        ...scanned('many', pairs(0, 10)),
        ...scanned('python', { a: 'one', passing: 'soon' }),
      ],
      multi_del: [OK, 2],
      'sort_key_count after': [OK, 8],
      remove: [OK, null],
      'get removed': [NOT_FOUND, ''],
    })
  },
)
