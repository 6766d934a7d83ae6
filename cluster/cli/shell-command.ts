/** What a command of the shell is given, and what it answers. */
import type { GatewayApi } from './shell-http.ts'
import { ShellError } from './shell-http.ts'

export interface CommandInput {
  readonly api: GatewayApi
  /** The words behind the command's own. */
  readonly plain: readonly string[]
  readonly flags: ReadonlyMap<string, string>
  /** Reason and dry run, for calls that change something. */
  readonly changeHeaders: Readonly<Record<string, string>>
  readonly isDryRun: boolean
  readonly signal: AbortSignal
  readonly readFile: (path: string) => Promise<string>
  readonly writeFile: (path: string, text: string) => Promise<void>
  /** For what goes on: events. */
  readonly print: (line: string) => void
}

/** `json` is what `--json` prints, `text` what people see. `failed`: exit code 1 all the same. */
export interface CommandOutput {
  readonly json: unknown
  readonly text: string
  readonly failed?: boolean
}

export interface ShellCommand {
  /** `tables get`. */
  readonly name: string
  /** `NAME`. */
  readonly words: string
  readonly about: string
  readonly flags: readonly string[]
  readonly run: (input: CommandInput) => Promise<CommandOutput>
}

export type Json = Readonly<Record<string, unknown>>

export function asObject(json: unknown): Json {
  return typeof json === 'object' && json !== null ? (json as Json) : {}
}

export function asList(json: unknown): readonly Json[] {
  return Array.isArray(json) ? (json as readonly Json[]) : []
}

/** The words of the command, exactly as many as it has names for. */
export function wordsOf(input: CommandInput, ...names: readonly string[]): readonly string[] {
  if (input.plain.length !== names.length)
    throw new ShellError(
      `expected ${names.length === 0 ? 'no words' : names.join(' ')}, found ${input.plain.length === 0 ? 'none' : input.plain.join(' ')}`,
      { isUsage: true },
    )
  return input.plain
}

export function flag(input: CommandInput, name: string): string | undefined {
  return input.flags.get(name)
}

/** `?a=b` of those flags that are given; `from` as the flags are called, `to` as the API calls them. */
export function queryOf(
  input: CommandInput,
  names: readonly string[],
  more: Readonly<Record<string, string>> = {},
): string {
  const query = new URLSearchParams(more)
  for (const name of names) {
    const value = input.flags.get(name)
    if (value !== undefined) query.set(name, value)
  }
  const text = query.toString()
  return text === '' ? '' : `?${text}`
}

export function dryRun(input: CommandInput): string {
  return input.isDryRun ? '?dry_run=true' : ''
}

export function at(name: string): string {
  return encodeURIComponent(name)
}

export function list(text: string): readonly string[] {
  return text
    .split(/[\s,;]+/)
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
