/** The shell's commands about changes that wait for a second person. */
import {
  type CommandInput,
  type CommandOutput,
  type Json,
  type ShellCommand,
  asList,
  asObject,
  at,
  wordsOf,
} from './shell-command.ts'
import { columns, facts, plain } from './shell-print.ts'

export const approvalCommands: readonly ShellCommand[] = [
  {
    name: 'approvals list',
    words: '',
    about: 'changes that wait for a second person, and those decided within a day',
    flags: [],
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call('/approvals')
      const rows = asList(asObject(json)['approvals']).map((approval) => {
        const { actor, at: askedAt, reason } = asObject(approval['author'])
        const { id, state, origin, counts, decision } = approval
        const by = asObject(decision)['actor']
        return [id, state, origin, tables(counts), actor, askedAt, by, reason]
      })
      const head = ['ID', 'STATE', 'ORIGIN', 'TABLES', 'ASKED BY', 'AT', 'DECIDED BY', 'REASON']
      return { json, text: columns(head, rows) }
    },
  },
  {
    name: 'approvals get',
    words: 'ID',
    about: 'one of them: every mapping before and after, and what became of it',
    flags: [],
    run: async (input) => {
      const [id = ''] = wordsOf(input, 'ID')
      const { json } = await input.api.call(`/approvals/${at(id)}`)
      const items = asList(asObject(json)['items']).map(itemLines)
      return { json, text: [summary(json), ...items].join('\n\n') }
    },
  },
  ...(['approve', 'reject', 'withdraw'] as const).map((verb): ShellCommand => ({
    name: `approvals ${verb}`,
    words: 'ID',
    about: {
      approve: 'carry it out; by somebody else than who asked for it',
      reject: 'refuse it; by somebody else than who asked for it',
      withdraw: 'take back what one asked for',
    }[verb],
    flags: ['reason'],
    run: (input) => decide(input, verb),
  })),
]

async function decide(input: CommandInput, verb: string): Promise<CommandOutput> {
  const [id = ''] = wordsOf(input, 'ID')
  const { json } = await input.api.call(`/approvals/${at(id)}:${verb}`, {
    method: 'POST',
    headers: input.changeHeaders,
  })
  const { progress, items } = asObject(json)
  const { failed, skipped } = asObject(progress)
  const others = asList(items).filter(({ status }) => status === 'failed' || status === 'skipped')
  const rows = others.map(({ name, status, why }) => [name, status, why])
  const text =
    rows.length === 0
      ? summary(json)
      : `${summary(json)}\n\n${columns(['NAME', 'STATUS', 'WHY'], rows)}`
  const isWhole = (failed ?? 0) === 0 && (skipped ?? 0) === 0
  return { json, text, failed: !isWhole }
}

function tables(counts: unknown): number {
  const { create, change, delete: gone } = asObject(counts)
  return Number(create) + Number(change) + Number(gone)
}

function summary(json: unknown): string {
  const { id, state, origin, atomic, author, counts, registry, until, decision, progress } =
    asObject(json)
  return facts({ id, state, origin, atomic, author, counts, registry, until, decision, progress })
}

function itemLines({ kind, name, status, why, errors, before, after }: Json): string {
  const outcome = [status, why, ...asList(errors).map(({ message }) => message)]
  return [
    [kind, name, ...outcome]
      .filter((word) => word !== undefined)
      .map(plain)
      .join('  '),
    ...(before === undefined ? [] : [`  - ${plain(before)}`]),
    ...(after === undefined ? [] : [`  + ${plain(after)}`]),
  ].join('\n')
}
