/** What the shell's commands that change something have in common. */
import { type CommandInput, type CommandOutput, asList, asObject, flag } from './shell-command.ts'
import { ShellError } from './shell-http.ts'
import { facts, plain } from './shell-print.ts'

export const changeFlags = ['if-match', 'reason', 'dry-run']

/** The version that is changed: the one named, or the one that is there now. */
export async function seen(input: CommandInput, path: string): Promise<string> {
  const given = flag(input, 'if-match')
  if (given !== undefined) return given.startsWith('"') || given === '*' ? given : `"${given}"`
  const { etag } = await input.api.call(path)
  if (etag !== '') return etag
  throw new ShellError('there is no entry yet: --create makes one')
}

/** Reason and precondition of a PUT: the version that is there now, or none with --create. */
export async function putHeaders(
  input: CommandInput,
  path: string,
): Promise<Readonly<Record<string, string>>> {
  const precondition =
    flag(input, 'create') === undefined
      ? { 'if-match': await seen(input, path) }
      : { 'if-none-match': '*' }
  return { ...input.changeHeaders, ...precondition }
}

/** Of a preview that is shown already: with --apply the changes, or who must be asked; else the hint. */
export async function applied(
  input: CommandInput,
  previewed: { readonly json: unknown; readonly shown: string; readonly hasInvalid: boolean },
): Promise<CommandOutput> {
  const { json, shown, hasInvalid } = previewed
  if (flag(input, 'apply') === undefined) {
    const asks =
      asObject(json)['needsApproval'] === true ? 'ask a second person for it' : 'change it'
    return { json, text: `${shown}\n\nnothing was changed; --apply to ${asks}`, failed: hasInvalid }
  }
  const answer = await input.api.call('/tables:apply', {
    method: 'POST',
    body: { token: asObject(json)['token'] },
    headers: input.changeHeaders,
  })
  if (answer.status === 202) {
    const id = plain(asObject(answer.json)['id'])
    const text = `${shown}\n\nnothing was changed; it waits for a second person: approvals approve ${id}`
    return { json: answer.json, text, failed: hasInvalid }
  }
  const { done, failed, skipped } = asObject(answer.json)
  return {
    json: answer.json,
    text: `${shown}\n\n${facts({ done, failed, skipped })}`,
    failed: hasInvalid || failed !== 0 || skipped !== 0,
  }
}

export function checkLines(checks: unknown): string {
  return asList(checks)
    .map(({ level, message }) => `${plain(level).padEnd(8)} ${plain(message)}`)
    .join('\n')
}
