/** Patterns over names, as scopes of roles and groups have them: `*` any text, `?` one character. Pure. */

export type NameTest = (name: string) => boolean

/** Linear in the length of the name times that of the pattern: nothing that somebody typed can hang it. */
export function namePattern(pattern: string): NameTest {
  if (!/[*?]/.test(pattern)) return (name) => name === pattern
  if (pattern === '*') return () => true
  return (name) => matches(pattern, name)
}

function matches(pattern: string, name: string): boolean {
  let at = 0
  let inPattern = 0
  let star = -1
  let starAt = 0
  while (at < name.length) {
    const sign = pattern[inPattern]
    if (sign === '*') {
      star = inPattern++
      starAt = at
    } else if (sign === '?' || (sign !== undefined && sign === name[at])) {
      inPattern++
      at++
    } else if (star >= 0) {
      inPattern = star + 1
      at = ++starAt
    } else return false
  }
  while (pattern[inPattern] === '*') inPattern++
  return inPattern === pattern.length
}
