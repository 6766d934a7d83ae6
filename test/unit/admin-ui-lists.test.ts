/** The list of tables in the page without a browser: its filter line, its selection, its events. */
import fc from 'fast-check'
import t from 'tap'
import { dayAsMoment } from '../../admin-ui/src/audit/audit-days.ts'
import {
  formatFilters,
  parseFilters,
  suggestionsFor,
  tokenNames,
  withSuggestion,
} from '../../admin-ui/src/tables/filter-tokens.ts'
import { gathered, patched, withEventsOf } from '../../admin-ui/src/tables/list-events.ts'
import {
  extended,
  isSelected,
  nothingSelected,
  selectedCount,
  toggled,
} from '../../admin-ui/src/tables/selection.ts'
import type { ServerEvent } from '../../gateway/admin/api/events.ts'
import type { Table } from '../../gateway/admin/api/tables.ts'

void t.test('a filter line is read into tokens and free text', (t) => {
  for (const [line, filters] of [
    ['', {}],
    ['orders', { q: 'orders' }],
    ['cluster:alpha  pay  state:invalid', { cluster: 'alpha', state: 'invalid', q: 'pay' }],
    ['group:"two words" x', { group: 'two words', q: 'x' }],
    ['group:"open', { group: 'open' }],
    ['cluster:', { q: 'cluster:' }],
    ['127.0.0.1:34601', { q: '127.0.0.1:34601' }],
    ['cluster:a cluster:b', { cluster: 'b' }],
    ['changed:<24h', { changed: '24h' }],
  ] as const)
    t.strictSame(parseFilters(line), filters, line)
  t.end()
})

void t.test('what is formatted is read back the same', (t) => {
  const word = fc.stringMatching(/^[a-z0-9_.*-]{1,12}( [a-z0-9_]{1,8})?$/)
  const filters = fc.record(
    {
      cluster: word,
      group: word,
      state: word,
      changed: word,
      q: fc.stringMatching(/^[a-z0-9_.]{1,12}( [a-z0-9_.]{1,9})*$/),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(filters, (some) => {
      t.strictSame(parseFilters(formatFilters(some)), { ...some })
    }),
    { numRuns: 200 },
  )
  t.end()
})

void t.test('the last word is completed, and nothing before it changes', (t) => {
  const values = {
    cluster: ['alpha', 'beta'],
    group: ['two words'],
    state: ['ok'],
    changed: ['24h'],
  }
  const texts = (line: string): string[] => suggestionsFor(line, values, 8).map(({ text }) => text)
  t.strictSame(
    texts(''),
    tokenNames.map((name) => `${name}:`),
  )
  t.strictSame(texts('orders cl'), ['cluster:'])
  t.strictSame(texts('cluster:al'), ['cluster:alpha'])
  t.strictSame(texts('cluster:alpha'), [], 'a whole value suggests nothing')
  t.strictSame(texts('cluster:alpha '), ['group:', 'state:', 'changed:'], 'no token twice')
  t.strictSame(texts('group:two'), ['group:"two words"'])
  const [name] = suggestionsFor('orders cl', values, 8)
  t.equal(name && withSuggestion('orders cl', name), 'orders cluster:')
  const [value] = suggestionsFor('orders cluster:al', values, 8)
  t.equal(value && withSuggestion('orders cluster:al', value), 'orders cluster:alpha ')
  t.end()
})

void t.test('a selection is some names, or all that match', (t) => {
  const loaded = ['a', 'b', 'c', 'd']
  const one = toggled(nothingSelected, 'b', loaded)
  t.equal(selectedCount(one), 1)
  t.ok(isSelected(one, 'b'))
  t.equal(selectedCount(toggled(one, 'b', loaded)), 0, 'a second click takes it back')
  const range = extended(one, 'b', 'd', loaded)
  t.strictSame(
    loaded.filter((name) => isSelected(range, name)),
    ['b', 'c', 'd'],
  )
  t.strictSame(
    loaded.filter((name) => isSelected(extended(one, 'd', 'b', loaded), name)),
    ['b', 'c', 'd'],
    'upwards too',
  )
  t.equal(selectedCount(extended(nothingSelected, 'gone', 'a', loaded)), 1, 'a lost anchor toggles')
  const all = { kind: 'all', total: 900 } as const
  t.equal(selectedCount(all), 900)
  t.ok(isSelected(all, 'not loaded'))
  const less = toggled(all, 'a', loaded)
  t.equal(selectedCount(less), 3, 'of all, those that are loaded stay')
  t.notOk(isSelected(less, 'a'))
  t.end()
})

const at = '2026-01-02T03:04:05.000Z'
const event = (values: Partial<ServerEvent>): ServerEvent => ({
  topic: 'tables',
  type: 'changed',
  name: 'orders',
  at,
  ...values,
})

void t.test('events of a gathering: the last change of each table, the others counted', (t) => {
  const { changed, news } = gathered([
    event({ cluster: 'alpha' }),
    event({ cluster: 'beta' }),
    event({ name: 'users' }),
    event({ type: 'created', name: 'new' }),
    event({ type: 'deleted', name: 'old' }),
    event({ topic: 'audit', name: '7' }),
  ])
  t.strictSame([...changed.keys()], ['orders', 'users'])
  t.equal(changed.get('orders')?.cluster, 'beta')
  t.equal(news, 2)
  t.end()
})

void t.test('a row takes from an event what the event tells, and keeps the rest', (t) => {
  const row: Table = {
    name: 'orders',
    state: 'ok',
    valid: true,
    cluster: 'alpha',
    note: 'kept',
    memberOf: [],
    etag: '"1"',
    version: 1,
    modifiedAt: '2025-01-01T00:00:00.000Z',
  }
  const next = patched(
    row,
    event({ cluster: 'beta', etag: '"2"', state: 'drifted', actor: 'anna' }),
  )
  t.match(next, { cluster: 'beta', etag: '"2"', state: 'drifted', note: 'kept', modifiedAt: at })
  t.match(next.changedBy, { actor: 'anna', source: '', at })
  t.equal(patched(row, event({ state: 'of a newer version' })).state, 'ok')
  const { etag, modifiedAt } = row
  t.match(patched(row, event({ etag, state: 'redirected' })), { state: 'redirected', modifiedAt })
  const redirect = { to: 'beta', plan: 'p1' }
  const redirected = patched(row, event({ etag, state: 'redirected', redirect }))
  t.same(redirected.redirect, redirect)
  t.same(patched(redirected, event({ etag })).redirect, redirect, 'nothing is said of it')
  t.notOk('redirect' in patched(redirected, event({ etag, state: 'ok' })), 'it is over')
  t.equal(row.cluster, 'alpha', 'the old row is not touched')
  t.end()
})

void t.test('events of one table are kept, the newest first, up to a number', (t) => {
  const own = (type: string): ServerEvent => event({ type })
  const first = withEventsOf('orders', [], [own('created'), own('changed')], 3)
  t.same(
    first.map(({ type }) => type),
    ['changed', 'created'],
  )
  const others = [event({ name: 'other' }), event({ topic: 'groups' })]
  t.equal(withEventsOf('orders', first, others, 3), first, 'what is of others changes nothing')
  const last = withEventsOf('orders', first, [own('changed'), own('deleted')], 3)
  t.same(
    last.map(({ type }) => type),
    ['deleted', 'changed', 'changed'],
  )
  t.end()
})

void t.test('days of the audit are whole days of the zone that is shown', (t) => {
  t.equal(dayAsMoment('2026-01-31', 'begin', 'utc'), '2026-01-31T00:00:00.000Z')
  t.equal(dayAsMoment('2026-01-31', 'end', 'utc'), '2026-01-31T23:59:59.999Z')
  const local = new Date(2026, 0, 31)
  t.equal(dayAsMoment('2026-01-31', 'begin', 'local'), local.toISOString())
  for (const none of [undefined, '', 'yesterday', '2026-13-40', '2026-01-31T00:00'])
    t.equal(dayAsMoment(none, 'begin', 'utc'), undefined, String(none))
  t.end()
})
