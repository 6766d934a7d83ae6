/**
 * The filter of the list of tables as one line of text: `cluster:c1 state:invalid orders`. Words
 * with a known name before a colon are tokens, the others together are the free text. A value with
 * blanks stands in quotes. Pure; the address has the same filter as parameters.
 */
export const tokenNames = ['cluster', 'group', 'state', 'changed'] as const
export type TokenName = (typeof tokenNames)[number]

export type TableFilters = Readonly<Partial<Record<TokenName | 'q', string>>>

function isTokenName(name: string): name is TokenName {
  return (tokenNames as readonly string[]).includes(name)
}

/** Words, with what stands in quotes kept together; an open quote goes to the end. */
function wordsOf(text: string): string[] {
  return text.match(/(?:[^\s"]+|"[^"]*"?)+/g) ?? []
}

const unquoted = (text: string): string => text.replaceAll('"', '')

export function parseFilters(text: string): TableFilters {
  const filters: Partial<Record<TokenName | 'q', string>> = {}
  const free: string[] = []
  for (const word of wordsOf(text)) {
    const colon = word.indexOf(':')
    const name = word.slice(0, colon)
    const value = unquoted(word.slice(colon + 1))
    // People write `changed:<24h`.
    const wanted = name === 'changed' ? value.replace(/^</, '') : value
    if (colon > 0 && isTokenName(name) && wanted !== '') filters[name] = wanted
    else free.push(unquoted(word))
  }
  const q = free.join(' ').trim()
  return q === '' ? filters : { ...filters, q }
}

export function formatFilters(filters: TableFilters): string {
  const tokens = tokenNames.flatMap((name) => {
    const value = filters[name]
    if (value === undefined) return []
    return [`${name}:${/\s/.test(value) ? `"${value}"` : value}`]
  })
  return [...tokens, ...(filters.q === undefined ? [] : [filters.q])].join(' ')
}

export interface Suggestion {
  /** What the last word becomes. */
  readonly text: string
  /** A token's name waits for its value. */
  readonly isName: boolean
}

/** For the last word of the line: names of tokens, or values of the token that was begun. */
export function suggestionsFor(
  text: string,
  values: Readonly<Record<TokenName, readonly string[]>>,
  limit: number,
): readonly Suggestion[] {
  const last = /\s$/.test(text) ? '' : (wordsOf(text).at(-1) ?? '')
  const colon = last.indexOf(':')
  const name = last.slice(0, Math.max(0, colon))
  if (colon > 0 && isTokenName(name)) {
    const begun = unquoted(last.slice(colon + 1)).toLowerCase()
    return values[name]
      .filter((value) => value.toLowerCase().includes(begun) && value.toLowerCase() !== begun)
      .slice(0, limit)
      .map((value) => ({
        text: `${name}:${/\s/.test(value) ? `"${value}"` : value}`,
        isName: false,
      }))
  }
  return tokenNames
    .filter((token) => token.startsWith(last.toLowerCase()) && !text.includes(`${token}:`))
    .map((token) => ({ text: `${token}:`, isName: true }))
}

/** The line with its last word replaced. */
export function withSuggestion(text: string, suggestion: Suggestion): string {
  const last = /\s$/.test(text) ? '' : (wordsOf(text).at(-1) ?? '')
  const before = text.slice(0, text.length - last.length)
  return `${before}${suggestion.text}${suggestion.isName ? '' : ' '}`
}
