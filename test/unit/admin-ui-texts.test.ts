/** The texts of the page: each in both languages, with the same values in it, and each of them shown. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Counted, en } from '../../admin-ui/src/text/en.ts'
import { rateText } from '../../admin-ui/src/text/rate.ts'
import { zh } from '../../admin-ui/src/text/zh.ts'

const english: Readonly<Record<string, string | Counted>> = en
const chinese: Readonly<Record<string, string | Counted>> = zh

const formsOf = (text: string | Counted): readonly string[] =>
  typeof text === 'string' ? [text] : [text.one, text.other]

/** Values that a text takes, `{count}` apart: a form for one may do without. */
const valuesOf = (text: string): string =>
  [...text.matchAll(/\{(\w+)\}/g)]
    .flatMap(([, name = '']) => (name === 'count' ? [] : [name]))
    .toSorted()
    .join()

void t.test('both languages have the same texts, which take the same values', (t) => {
  t.strictSame(Object.keys(chinese).toSorted(), Object.keys(english).toSorted())
  for (const [key, text] of Object.entries(english)) {
    const other = chinese[key] ?? ''
    t.equal(typeof other, typeof text, `${key} is counted in both or in none`)
    const values = new Set([...formsOf(text), ...formsOf(other)].map(valuesOf))
    t.equal(values.size, 1, `${key} takes the same values: ${[...values].join(' / ')}`)
    for (const form of [...formsOf(text), ...formsOf(other)]) t.not(form.trim(), '', key)
  }
  t.end()
})

void t.test('texts are listed by their keys, so that nobody adds one twice', (t) => {
  for (const texts of [english, chinese]) {
    const keys = Object.keys(texts)
    t.strictSame(keys, keys.toSorted())
  }
  t.end()
})

void t.test('Chinese texts are Chinese, but for words that stay as they are', (t) => {
  // Names and what programs write: not words of a language.
  const asItIs =
    /^[\s\d·:/.,()<>=–-]*(\{\w+\}|[\s\d·:/.,()<>=–-]|leader|Ballot|host:port|JSON|CSV|API|ZooKeeper)*$/
  for (const [key, text] of Object.entries(chinese))
    for (const form of formsOf(text))
      t.ok(/\p{Script=Han}/u.test(form) || asItIs.test(form), `${key}: ${form}`)
  t.end()
})

void t.test('no text is left over', (t) => {
  const sources = readdirSync('admin-ui/src', { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name) && !/^text\/(en|zh)\.ts$/.test(name))
    .map((name) => readFileSync(join('admin-ui/src', name), 'utf8'))
    .join('\n')
  for (const key of Object.keys(english)) {
    // Of states, the last part of the key is the state.
    const stem = key.slice(0, key.lastIndexOf('.') + 1)
    t.ok(sources.includes(`'${key}'`) || sources.includes(`\`${stem}\${`), `${key} is used`)
  }
  t.end()
})

void t.test('rates have no more digits than say something', (t) => {
  const rates = [0, 0.004, 0.1, 0.995, 3.98, 9.96, 24.9, 1234.5]
  t.same(
    rates.map((rate) => rateText(rate, String)),
    ['0', '< 0.1', '0.1', '1', '4', '10', '25', '1235'],
  )
  t.end()
})
