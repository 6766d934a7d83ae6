/** Choices of the reader that the browser keeps. Where storage is forbidden they last as long as the page. */
import { useSyncExternalStore } from 'react'

const PREFIX = 'metaproxy.'

/** Undefined: nothing was chosen. */
export function readText(name: string): string | undefined {
  try {
    return localStorage.getItem(`${PREFIX}${name}`) ?? undefined
  } catch {
    return undefined
  }
}

/** The same of some values; what is none of them was not chosen. */
export function readStored<Value extends string>(
  name: string,
  values: readonly Value[],
): Value | undefined {
  const stored = readText(name)
  return values.find((value) => value === stored)
}

/** Undefined: nothing was chosen. */
export function store(name: string, value: string | undefined): void {
  try {
    if (value === undefined) localStorage.removeItem(`${PREFIX}${name}`)
    else localStorage.setItem(`${PREFIX}${name}`, value)
  } catch {
    // Forbidden.
  }
}

/** A choice that every part of the page sees at once. */
export class Choice<Value extends string> {
  readonly #name: string
  readonly #listeners = new Set<() => void>()
  #value: Value

  constructor(name: string, values: readonly Value[], first: Value) {
    this.#name = name
    this.#value = readStored(name, values) ?? first
  }

  readonly get = (): Value => this.#value

  set(value: Value): void {
    this.#value = value
    store(this.#name, value)
    for (const tell of this.#listeners) tell()
  }

  readonly #listen = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  use(): Value {
    return useSyncExternalStore(this.#listen, this.get)
  }
}
