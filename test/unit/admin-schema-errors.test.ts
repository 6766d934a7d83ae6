/** What the admin API says about a request whose shape is wrong: every field, in words. */
import t from 'tap'
import { type TSchema, Type } from 'typebox'
import { Errors } from 'typebox/value'
import { TableEdit, TablePatch } from '../../gateway/admin/api/tables.ts'
import { BatchRequest } from '../../gateway/admin/api/changes.ts'
import { fieldErrorsOf } from '../../gateway/admin/schema-errors.ts'

function errorsOf(schema: TSchema, value: unknown): Readonly<Record<string, string>> {
  const found = fieldErrorsOf(schema, value, Errors(schema, value))
  t.equal(new Set(found.map(({ field }) => field)).size, found.length, 'one error for each field')
  return Object.fromEntries(found.map(({ field, message }) => [field, message]))
}

void t.test('every field that is wrong is told, with what was expected and found', (t) => {
  t.same(
    errorsOf(TableEdit, {
      cluster: '',
      metas: ['a:1', 'nonsense', 7],
      group: 5,
      note: 'x'.repeat(4097),
      frozen: 'yes',
      stale: 'sometimes',
      standby: null,
      colour: 'red',
    }),
    {
      cluster: 'expected at least 1 character, found 0 characters',
      'metas.1': 'expected host:port, found "nonsense"',
      'metas.2': 'expected text, found 7',
      group: 'expected text, found 5',
      note: 'expected at most 4096 characters, found 4097 characters',
      frozen: 'expected true or false, found "yes"',
      stale: 'expected serve, fail or bounded:MILLISECONDS, found "sometimes"',
      standby: 'expected text, found null',
      colour: 'unknown; known are cluster, metas, group, note, frozen, stale, standby',
    },
  )
  t.same(errorsOf(TableEdit, { metas: [] }), {
    cluster: 'missing',
    metas: 'expected at least 1 item, found an empty list',
  })
  t.same(errorsOf(TableEdit, 7), { '': 'expected an object, found 7' })
  t.end()
})

void t.test('what may be null says so', (t) => {
  t.same(errorsOf(TablePatch, { stale: 'x', frozen: 'no', note: [] }), {
    stale: 'expected serve, fail or bounded:MILLISECONDS or null, found "x"',
    frozen: 'expected true or false or null, found "no"',
    note: 'expected text or null, found an empty list',
  })
  t.end()
})

void t.test('of several variants the one that was meant is spoken of', (t) => {
  t.same(
    errorsOf(BatchRequest, {
      atomic: 'no',
      changes: [
        { action: 'zap', name: 'x' },
        { action: 'patch', name: 'x', patch: { metas: ['bad'] }, more: 1 },
        { action: 'patch' },
      ],
    }),
    {
      atomic: 'expected true or false, found "no"',
      'changes.0.action': 'expected "create" or "replace" or "patch" or "delete", found "zap"',
      'changes.1.patch.metas.0': 'expected host:port, found "bad"',
      'changes.1.more': 'unknown; known are action, name, ifMatch, patch',
      'changes.2.name': 'missing',
      'changes.2.patch': 'missing',
    },
  )
  t.end()
})

void t.test('a text of the wrong length is not shown: it may be a password', (t) => {
  const schema = Type.Object({ password: Type.String({ minLength: 10 }) })
  t.same(errorsOf(schema, { password: 'secret' }), {
    password: 'expected at least 10 characters, found 6 characters',
  })
  t.end()
})

void t.test('a constant and a number have words too', (t) => {
  const schema = Type.Object({
    kind: Type.Union([Type.Literal('a'), Type.Literal('b')]),
    count: Type.Integer({ minimum: 1, maximum: 9 }),
    'a/b': Type.Boolean(),
  })
  t.same(errorsOf(schema, { kind: 'c', count: 10, 'a/b': 0 }), {
    kind: 'expected "a" or "b", found "c"',
    count: 'expected at most 9, found 10',
    'a/b': 'expected true or false, found 0',
  })
  t.end()
})
