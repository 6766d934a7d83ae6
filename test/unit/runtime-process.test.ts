/** The life of a server process, its log, metrics and health pages. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { serveHttp } from '../../cluster/runtime/http.ts'
import { createLog } from '../../cluster/runtime/log.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import { parseServerFlags } from '../../cluster/runtime/process.ts'

void t.test('log lines are JSON with fields of the child, errors with their cause', (t) => {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const log = createLog({ level: 'info', name: 'meta', destination })
  const cause = new Error('inner')
  log.child({ gpid: '1.2' }).warn('replica lost', { ballot: 3 })
  log.error('failed', { error: new Error('outer', { cause }) })
  log.debug('not shown')
  t.equal(lines.length, 2)
  const [first, second] = lines.map((line): unknown => JSON.parse(line))
  t.match(first, { level: 'warn', name: 'meta', gpid: '1.2', ballot: 3, event: 'replica lost' })
  t.match(second, { level: 'error', error: { message: 'outer', cause: { message: 'inner' } } })
  t.end()
})

void t.test('metrics are plain numbers until the text is asked for', async (t) => {
  const metrics = new Metrics()
  const reads = metrics.counter('reads_total', 'Reads.', { kind: 'get' })
  reads.add()
  reads.add(2)
  metrics.counter('reads_total', 'Reads.', { kind: 'get' }).add(4)
  metrics.counter('reads_total', 'Reads.', { kind: 'scan' }).add()
  t.equal(reads.value(), 7)
  let depth = 5
  metrics.gauge('queue_depth', 'Depth.', () => depth)
  metrics.gauge('replicas', 'By status.', () => [{ labels: { status: 'primary' }, value: 2 }])
  const latency = metrics.histogram('latency_ms', 'Latency.', [1, 10])
  for (const value of [0.5, 1, 5, 50]) latency.observe(value)
  depth = 6
  const text = await metrics.text()
  for (const line of [
    '# TYPE reads_total counter',
    'reads_total{kind="get"} 7',
    'reads_total{kind="scan"} 1',
    'queue_depth 6',
    'replicas{status="primary"} 2',
    'latency_ms_bucket{le="1"} 2',
    'latency_ms_bucket{le="10"} 3',
    'latency_ms_bucket{le="+Inf"} 4',
    'latency_ms_sum 56.5',
    'latency_ms_count 4',
  ])
    t.ok(text.split('\n').includes(line), line)
  t.throws(() => metrics.gauge('queue_depth', 'Again.', () => 1), /already been registered/)
})

void t.test('health pages answer by exact path; failures have no stack', async (t) => {
  const server = await serveHttp({
    host: '127.0.0.1',
    port: 0,
    routes: {
      '/echo': async (query, method, body) => ({
        status: 200,
        contentType: 'text/plain',
        body: `${method} ${query.get('a')} ${body.toString()}`,
      }),
      '/broken': async () => {
        throw new Error('no store')
      },
    },
  })
  const at = `http://127.0.0.1:${server.port}`
  const echo = await fetch(`${at}/echo?a=1`, { method: 'POST', body: 'hi' })
  t.equal(await echo.text(), 'POST 1 hi')
  const broken = await fetch(`${at}/broken`)
  t.equal(broken.status, 500)
  t.equal(await broken.text(), 'no store\n')
  t.equal((await fetch(`${at}/echo/`)).status, 404)
  t.equal((await fetch(`${at}/constructor`)).status, 404)
  const large = await fetch(`${at}/echo`, { method: 'PUT', body: 'x'.repeat(2 ** 20 + 1) })
  t.equal(large.status, 413)
  await t.rejects(serveHttp({ host: '127.0.0.1', port: server.port, routes: {} }), {
    code: 'EADDRINUSE',
    message: /listen for HTTP on 127\.0\.0\.1/,
  })
  await server.close()
})

void t.test('flags: by path, attached or behind, and clear about what is wrong', (t) => {
  t.same(parseServerFlags(['--config', 'f', '--rpc.port=1', '--a', 'b', '--check-config']), {
    file: 'f',
    check: true,
    help: false,
    flags: { 'rpc.port': '1', a: 'b' },
  })
  t.same(parseServerFlags(['stray']), { problem: 'stray: expected a flag such as --config FILE' })
  t.same(parseServerFlags(['--config']), { problem: '--config: a value must follow' })
  t.end()
})

/** A server process around `runServer`, as a program of its own. */
function program(): string {
  const here = new URL('../../cluster/runtime/', import.meta.url).href
  return `
    const { runServer } = await import('${here}process.js')
    const { defineConfig, integer, section, text } = await import('${here}config.js')
    process.exitCode = await runServer({
      name: 'sample',
      schema: defineConfig('Sample.', {
        mode: text({ about: 'How it ends.', default: 'fine' }),
        port: integer({ about: 'Health.', min: 0, max: 65535, default: 0 }),
      }),
      words: process.argv.slice(1),
      health: (config) => ({ host: '127.0.0.1', port: config.port }),
      start: async ({ config, runtime, log }) => {
        if (config.mode === 'start') throw new Error('the folder is from a newer version')
        if (config.mode === 'crash') runtime.timers.after(20, () => runtime.crash('broken', { decree: 7 }))
        if (config.mode === 'throw') setTimeout(() => { throw new Error('unexpected') }, 20)
        return { degradedReasons: () => ['no quorum'], drain: async () => log.info('drained') }
      },
    })`
}

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

async function run(
  words: string[],
  onServing?: (line: string) => Promise<boolean>,
): Promise<Ended> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program(), '--', ...words])
  let out = ''
  let err = ''
  let told = false
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
    const line = out.split('\n').find((text) => text.includes('"serving"'))
    if (line === undefined || told || onServing === undefined) return
    told = true
    void onServing(line).then((end) => end && child.kill('SIGTERM'))
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

void t.test('SIGTERM drains and exits 0; health pages answer before', async (t) => {
  const seen: string[] = []
  const ended = await run([], async (line) => {
    const [, at = ''] = /"health":"([^"]+)"/.exec(line) ?? []
    for (const page of ['healthz', 'readyz', 'metrics'])
      seen.push(await (await fetch(`http://${at}/${page}`)).text())
    return true
  })
  t.equal(ended.code, 0, ended.err)
  t.match(ended.out, /"event":"drained"/)
  t.same(seen.slice(0, 2), ['ok\n', 'degraded: no quorum\n'])
  t.match(seen[2], /process_cpu_seconds_total/)
})

void t.test(
  'exit codes: 2 for bad configuration, 1 for failure, with the line that says why',
  async (t) => {
    const folder = t.testdir({ 'bad.yaml': 'mode: fine\nprot: 1\n', 'good.yaml': 'mode: fine\n' })
    const bad = await run(['--config', `${folder}/bad.yaml`])
    t.equal(bad.code, 2)
    t.match(bad.err, /metaproxy sample: .*bad\.yaml:2:1: prot: unknown key/)
    const missing = await run(['--config', `${folder}/none.yaml`])
    t.equal(missing.code, 2)
    t.match(missing.err, /none\.yaml: ENOENT/)
    const good = await run(['--config', `${folder}/good.yaml`, '--check-config'])
    t.same([good.code, good.out], [0, 'configuration is valid\n'])
    const start = await run(['--mode', 'start'])
    t.equal(start.code, 1)
    t.match(start.err, /metaproxy sample: the folder is from a newer version/)
  },
)

void t.test('a crash or an unexpected exception exits 1 and loses no log line', async (t) => {
  const crash = await run(['--mode', 'crash'])
  t.equal(crash.code, 1)
  t.match(crash.out, /"decree":7.*"event":"broken"/)
  const thrown = await run(['--mode', 'throw'])
  t.equal(thrown.code, 1)
  t.match(thrown.out, /unexpected.*"event":"uncaught exception"/)
})

void t.test('a file destination gets every line before the process ends', async (t) => {
  const folder = t.testdir({})
  const here = new URL('../../cluster/runtime/', import.meta.url).href
  writeFileSync(
    `${folder}/log.mjs`,
    `import { createLog } from '${here}log.js'
     import { openSync } from 'node:fs'
     const destination = openSync('${folder}/out', 'w')
     const log = createLog({ level: 'info', name: 'x', destination })
     for (let i = 0; i < 500; i++) log.info('line', { i })
     process.exit(0)`,
  )
  await once(spawn(process.execPath, [`${folder}/log.mjs`]), 'close')
  t.equal(readFileSync(`${folder}/out`, 'utf8').trim().split('\n').length, 500)
})
