/**
 * The words of a shell command: flags in any place, everything else in order; and one line of the
 * interactive shell split into words, with quotes. Pure.
 */
import { ShellError } from './shell-http.ts'

export interface Words {
  readonly plain: readonly string[]
  readonly flags: ReadonlyMap<string, string>
}

/** These stand alone; all others take the word behind them. */
const switches = new Set(['json', 'dry-run', 'create', 'apply', 'before', 'all', 'help', 'invalid'])

/** Throws `ShellError` for a flag without a value, or one that the command does not know. */
export function readWords(words: readonly string[], known: ReadonlySet<string>): Words {
  const plain: string[] = []
  const flags = new Map<string, string>()
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const [, name, attached] = /^--([a-z][a-z-]*)(?:=(.*))?$/s.exec(word) ?? []
    if (name === undefined) {
      plain.push(word)
      continue
    }
    if (!known.has(name))
      throw new ShellError(
        `--${name}: unknown flag; known: ${[...known].map((one) => `--${one}`).join(' ')}`,
        {
          isUsage: true,
        },
      )
    const value = attached ?? (switches.has(name) ? 'true' : words[++at])
    if (value === undefined)
      throw new ShellError(`--${name}: a value must follow`, { isUsage: true })
    flags.set(name, value)
  }
  return { plain, flags }
}

/** Blanks part words, quotes keep them together. Throws `ShellError` for a quote that does not end. */
export function splitLine(line: string): readonly string[] {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let at = 0; at < line.length; at++) {
    const sign = line[at] ?? ''
    if (quote !== '') {
      if (sign === quote) quote = ''
      else if (sign === '\\' && quote === '"') word = (word ?? '') + (line[++at] ?? '')
      else word = (word ?? '') + sign
    } else if (sign === '"' || sign === "'") {
      quote = sign
      word ??= ''
    } else if (/\s/.test(sign)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + sign
  }
  if (quote !== '') throw new ShellError(`the quote ${quote} does not end`, { isUsage: true })
  if (word !== undefined) words.push(word)
  return words
}
