/**
 * The elements of the list in a JSON file, one by one with their line: of a list at the top, or of the
 * key `tables` of an object. Elements are found by their brackets and parsed by themselves, so that a
 * broken one is named by its line and the others are still read. Pure.
 */
export interface JsonItem {
  /** From 1. */
  readonly line: number
  readonly text: string
}

/** The file is not of this shape, at this line. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError'
  readonly line: number
  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

/** Throws `ShapeError`, also after some elements. */
export function* jsonItems(text: string): Generator<JsonItem> {
  const scan = new Scan(text)
  scan.openList()
  for (;;) {
    scan.blanks()
    if (scan.takes(']')) return
    const { line, at } = scan
    const end = scan.element()
    yield { line, text: text.slice(at, end) }
    scan.blanks()
    if (scan.takes(']')) return
    if (!scan.takes(',')) throw new ShapeError(scan.line, 'expected , or ] behind an element')
  }
}

class Scan {
  readonly #text: string
  at = 0
  line = 1

  constructor(text: string) {
    this.#text = text
    if (text.startsWith('\uFEFF')) this.at = 1
  }

  blanks(): void {
    for (; this.at < this.#text.length; this.at++) {
      const sign = this.#text[this.at]
      if (sign === '\n') this.line++
      else if (sign !== ' ' && sign !== '\t' && sign !== '\r') return
    }
  }

  takes(sign: string): boolean {
    if (this.#text[this.at] !== sign) return false
    this.at++
    return true
  }

  /** Goes behind the bracket that opens the list. */
  openList(): void {
    this.blanks()
    if (this.takes('[')) return
    if (!this.takes('{'))
      throw new ShapeError(this.line, 'expected a list, or an object with "tables"')
    for (;;) {
      this.blanks()
      if (this.#text[this.at] !== '"') throw new ShapeError(this.line, 'expected the key "tables"')
      const from = this.at
      const key = this.#text.slice(from, this.element())
      this.blanks()
      if (!this.takes(':')) throw new ShapeError(this.line, `expected : behind ${key.slice(0, 50)}`)
      this.blanks()
      if (key === '"tables"') {
        if (!this.takes('[')) throw new ShapeError(this.line, 'tables: expected a list')
        return
      }
      this.element()
      this.blanks()
      if (!this.takes(',')) throw new ShapeError(this.line, 'expected the key "tables"')
    }
  }

  /** Goes behind the value that begins here; returns its end. */
  element(): number {
    let depth = 0
    const from = this.line
    while (this.at < this.#text.length) {
      const sign = this.#text[this.at]
      if (sign === '"') this.#string()
      else if (sign === '{' || sign === '[') {
        depth++
        this.at++
      } else if (sign === '}' || sign === ']') {
        if (depth === 0) return this.at
        depth--
        this.at++
        if (depth === 0) return this.at
        continue
      } else if (depth === 0 && (sign === ',' || sign === ':')) return this.at
      else {
        if (sign === '\n') this.line++
        this.at++
        continue
      }
      if (depth === 0 && sign === '"') return this.at
    }
    throw new ShapeError(from, 'the element does not end')
  }

  #string(): void {
    const from = this.line
    for (this.at++; this.at < this.#text.length; this.at++) {
      const sign = this.#text[this.at]
      if (sign === '\\') this.at++
      else if (sign === '\n') throw new ShapeError(from, 'a text does not end in its line')
      else if (sign === '"') {
        this.at++
        return
      }
    }
    throw new ShapeError(from, 'a text does not end')
  }
}
