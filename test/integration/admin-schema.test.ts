/**
 * The admin API against its own OpenAPI document: schemathesis makes requests from the schemas, and no
 * answer may be a 5xx or differ from its schema. Left out where it cannot be installed.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startAdminWorld } from '../support/admin-world.ts'
import { schemathesis } from '../support/schemathesis.ts'

const LIMIT_S = 40
t.setTimeout(400_000)

const tool = schemathesis()
const skip = tool.missing ?? false

void t.test(
  'no request made from the document brings a 5xx or breaks a schema',
  { skip },
  async (t) => {
    const { admin, call } = await startAdminWorld(t)
    await call('PUT', '/clusters/c1', {
      body: { metas: ['127.0.0.1:1'] },
      headers: { 'if-none-match': '*' },
    })
    const folder = mkdtempSync(join(tmpdir(), 'schemathesis-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const words = [
      'run',
      `http://${admin.address}/openapi.json`,
      ...['--phases', 'fuzzing', '--max-examples', '8', '--seed', '1'],
      ...['--checks', 'not_a_server_error,response_schema_conformance,content_type_conformance'],
      // A stream does not end; meta servers that are not there are asked for seconds.
      ...['--exclude-path-regex', '/(events|health|oidc)$|:(probe|adopt)$|/clusters/.*/tables$'],
      ...['--request-timeout', '10', '--no-color', '--workers', '1'],
    ]
    const child = spawn(tool.command ?? '', words, {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes) => (output = `${output}${String(bytes)}`.slice(-20_000)))
    let isOverdue = false
    const timer = setTimeout(() => {
      isOverdue = true
      child.kill('SIGINT')
    }, LIMIT_S * 1000)
    const code = await new Promise((resolve) => child.once('close', resolve))
    clearTimeout(timer)
    t.ok(code === 0 || (isOverdue && !/FAILURES|Failures:/.test(output)), output.slice(-8000))
  },
)
