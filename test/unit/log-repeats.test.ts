/** O-4: repeats per table are limited and counted, nothing else is touched, audit lines least of all. */
import t from 'tap'
import { createLog } from '../../cluster/runtime/log.ts'
import type { Log, LogFields } from '../../cluster/runtime/runtime.ts'
import { auditLog, limitRepeats } from '../../cluster/runtime/log-repeats.ts'

type Line = Readonly<Record<string, unknown>>

function scene(limits = { burst: 2, windowMs: 1000, kindsMax: 3 }) {
  const lines: Line[] = []
  let nowMs = 0
  const plain = (bound: LogFields): Log => {
    const write = (event: string, fields?: LogFields) => lines.push({ ...bound, ...fields, event })
    const child = (more: LogFields): Log => plain({ ...bound, ...more })
    return { debug: write, info: write, warn: write, error: write, child }
  }
  const log = limitRepeats(plain({}), { monotonicMs: () => nowMs }, limits)
  return { lines, log, advance: (ms: number) => (nowMs += ms) }
}

void t.test('a line has ts, level, event, gateway and worker, and its facts', (t) => {
  const lines: unknown[] = []
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const fields = { gateway: 'gw-1', worker: '2' }
  const log = createLog({ level: 'debug', name: 'gateway', fields, destination })
  log.child({ part: 'directory' }).warn('mapping invalid', { table: 't', error: new Error('x') })
  t.match(lines, [
    {
      ts: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
      level: 'warn',
      name: 'gateway',
      gateway: 'gw-1',
      worker: '2',
      event: 'mapping invalid',
      part: 'directory',
      table: 't',
      error: { message: 'x' },
    },
  ])
  for (let n = 0; n < 100; n++) log.info('mapping changed', { table: 't' })
  t.equal(lines.length, 6, 'the log of every process is limited')
  t.end()
})

void t.test('one event of one table gets its burst, then a count with the next line', (t) => {
  const { lines, log, advance } = scene()
  const directory = log.child({ part: 'directory' })
  for (let n = 0; n < 100; n++) directory.info('mapping changed', { table: 'flapping' })
  log.info('mapping changed', { table: 'calm' })
  log.error('mapping invalid', { table: 'flapping' })
  t.equal(lines.length, 4)
  advance(1000)
  directory.info('mapping changed', { table: 'flapping' })
  directory.info('mapping changed', { table: 'flapping' })
  t.match(lines.slice(4), [{ table: 'flapping', suppressed: 98 }, { table: 'flapping' }])
  t.notOk('suppressed' in (lines[5] ?? {}))
  t.end()
})

void t.test('lines without a table and audit lines are never left out', (t) => {
  const { lines, log } = scene()
  const ofTable = auditLog(log).child({ table: 't' })
  for (let n = 0; n < 10; n++) {
    log.info('meta leader', { cluster: 'c' })
    auditLog(log).info('mapping set', { table: 't' })
    ofTable.info('mapping set')
    log.child({ table: 't' }).info('bound')
  }
  t.equal(lines.filter(({ event }) => event === 'meta leader').length, 10)
  t.equal(lines.filter(({ logger }) => logger === 'audit').length, 20)
  t.equal(lines.filter(({ event }) => event === 'bound').length, 2, 'a bound table counts too')
  t.end()
})

void t.test('what is remembered is bounded', (t) => {
  const { lines, log } = scene()
  for (const table of ['a', 'b', 'c', 'd']) for (let n = 0; n < 3; n++) log.info('e', { table })
  t.equal(lines.length, 8)
  log.info('e', { table: 'd' })
  t.equal(lines.length, 8, 'the newest is remembered')
  log.info('e', { table: 'a' })
  t.equal(lines.length, 9, 'the oldest was forgotten')
  t.end()
})
