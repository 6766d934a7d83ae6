/** Texts of the page without a browser: differences that are shown, and drafts of mappings. */
import fc from 'fast-check'
import t from 'tap'
import {
  changedWords,
  commonItems,
  diffLines,
  laidOut,
} from '../../admin-ui/src/design/diff-words.ts'
import {
  draftOf,
  editOf,
  emptyDraft,
  formatRaw,
  isSameDraft,
  isTableName,
  metasOf,
  parseRaw,
  rawErrors,
} from '../../admin-ui/src/tables/table-draft.ts'
import type { Table } from '../../gateway/admin/api/tables.ts'
import { isTableName as isNodeName } from '../../gateway/routing/mapping.ts'

const joined = (pieces: readonly { readonly text: string }[]): string =>
  pieces.map(({ text }) => text).join('')

void t.test('a difference loses nothing of either side', (t) => {
  const text = fc.array(fc.constantFrom('a', 'b c', 'b d', '', 'x: 1'), { maxLength: 8 })
  fc.assert(
    fc.property(text, text, (one, other) => {
      const [before, after] = [one.join('\n'), other.join('\n')]
      const lines = diffLines(before, after)
      const side = (kind: 'old' | 'new'): string =>
        lines
          .filter((line) => line.kind === kind || line.kind === 'same')
          .map(({ pieces }) => joined(pieces))
          .join('\n')
      t.equal(side('old'), before)
      t.equal(side('new'), after)
    }),
    { numRuns: 300 },
  )
  t.end()
})

void t.test('within a changed line only the words that differ are marked', (t) => {
  const [old, fresh] = changedWords('"metas": ["10.0.0.1:1"]', '"metas": ["10.0.0.2:1"]')
  const marked = (pieces: typeof old): string[] =>
    pieces.filter(({ changed }) => changed).map((piece) => piece.text)
  t.strictSame(marked(old), ['10.0.0.1:1'])
  t.strictSame(marked(fresh), ['10.0.0.2:1'])
  t.equal(joined(fresh), '"metas": ["10.0.0.2:1"]')
  t.end()
})

void t.test('JSON is laid out first, other text is left as it is', (t) => {
  t.equal(laidOut('{"b":1,"a":[]}'), '{\n  "b": 1,\n  "a": []\n}')
  t.equal(laidOut('not { json'), 'not { json')
  t.equal(laidOut(''), '')
  t.strictSame(
    diffLines('', '{"a":1}').map(({ kind }) => kind),
    ['new', 'new', 'new'],
    'nothing before: all new',
  )
  t.ok(
    diffLines('{"a":1}', '{ "a": 1 }').every(({ kind }) => kind === 'same'),
    'blanks alone are no difference',
  )
  t.strictSame(
    diffLines('{"a":1}', '{"a":1,"b":2}').map(({ kind }) => kind),
    ['same', 'same', 'new', 'same'],
    'nor is the comma before a further key',
  )
  t.end()
})

void t.test('texts too large for the table are shown as replaced whole', (t) => {
  const many = Array.from({ length: 2100 }, (_, line) => `line ${line}`)
  t.strictSame(commonItems(many, many), [])
  const lines = diffLines(many.join('\n'), [...many, 'one more'].join('\n'))
  t.equal(lines.filter(({ kind }) => kind === 'old').length, 2100)
  t.equal(lines.filter(({ kind }) => kind === 'new').length, 2101)
  t.end()
})

const table: Table = {
  name: 'orders',
  state: 'ok',
  valid: true,
  cluster: 'alpha',
  metas: ['10.0.0.1:1', '10.0.0.2:1'],
  group: 'pay',
  frozen: true,
  memberOf: ['pay'],
  etag: '"1"',
  version: 1,
  modifiedAt: '2025-01-01T00:00:00.000Z',
}

void t.test('a draft of a mapping saves what the mapping has', (t) => {
  t.strictSame(editOf(draftOf(table)), {
    cluster: 'alpha',
    metas: ['10.0.0.1:1', '10.0.0.2:1'],
    group: 'pay',
    frozen: true,
  })
  t.strictSame(editOf({ ...emptyDraft, cluster: ' alpha ' }), { cluster: 'alpha' })
  t.strictSame(metasOf(' a:1,b:2;c:3\n\nd:4 '), ['a:1', 'b:2', 'c:3', 'd:4'])
  t.ok(isSameDraft(draftOf(table), { ...draftOf(table), metas: '10.0.0.1:1, 10.0.0.2:1' }))
  t.notOk(isSameDraft(draftOf(table), { ...draftOf(table), note: 'x' }))
  t.end()
})

void t.test('the raw side gives the same draft back, and says which line is wrong', (t) => {
  const draft = draftOf(table)
  t.strictSame(parseRaw(formatRaw(draft), 'orders'), { ok: true, draft })
  for (const [text, line, message] of [
    ['[]', 1, /expected an object/],
    ['{\n  "cluster": 7\n}', 2, /cluster: expected text/],
    ['{\n  "cluster": "a",\n  "metas": "x"\n}', 3, /metas: expected a list/],
    ['{\n  "frozen": "yes"\n}', 2, /frozen: expected true or false/],
    ['{\n  "what": 1\n}', 2, /what: expected one of/],
  ] as const) {
    const parsed = parseRaw(text, 'orders')
    t.match(parsed, { ok: false, line, message })
  }
  t.match(parseRaw('{"cluster": }', 'orders'), { ok: false })
  t.end()
})

void t.test('what the API finds wrong is told with the line of the raw side', (t) => {
  const raw = formatRaw(draftOf({ ...table, note: 'x', standby: 'beta' }))
  const lineOf = (text: string): number =>
    raw.split('\n').findIndex((line) => line.includes(text)) + 1
  const errors = {
    'metas.1': 'expected host:port',
    note: 'too long',
    name: 'taken',
    gone: 'missing',
  }
  t.strictSame(rawErrors(raw, errors), [
    { line: lineOf('10.0.0.2:1'), message: 'metas.1: expected host:port' },
    { line: lineOf('"note"'), message: 'note: too long' },
    { line: undefined, message: 'gone: missing' },
  ])
  const inOneLine = '{\n"cluster": "a", "metas": ["a", "b:1"]\n}'
  t.match(rawErrors(inOneLine, { 'metas.1': 'x' }), [{ line: 2 }])
  t.end()
})

void t.test('the page knows the names that the gateway takes', (t) => {
  const unit = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('.', '..', '/', 'a/b', '表', '😀', '\ue000', '\ufff0', '\u007f', '\ud800'),
  )
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 3 }), (parts) => {
      const name = parts.join('')
      t.equal(isTableName(name), isNodeName(name), JSON.stringify(name))
    }),
    { numRuns: 500 },
  )
  t.ok(isTableName('x'.repeat(255)))
  t.notOk(isTableName('表'.repeat(86)), 'bytes count, not characters')
  t.end()
})
