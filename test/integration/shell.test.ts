/** `metaproxy shell --gateway URL` (gateway.md H-5): the verbs of the API, exit codes, output. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { plain } from '../../cluster/cli/shell-print.ts'
import { splitLine } from '../../cluster/cli/shell-words.ts'
import { shell } from '../../cluster/cli/shell.ts'
import { NewToken } from '../../gateway/admin/api/access.ts'
import { type Call, startAdminWorld } from '../support/admin-world.ts'
import { until } from '../support/gateway-world.ts'
import { PASSWORD, hire, logInAsAdmin } from '../support/people.ts'

t.setTimeout(120_000)

type Run = (...words: string[]) => Promise<{
  readonly code: number
  readonly out: string
  readonly complaint: string
}>

async function startShell(t: Parameters<typeof startAdminWorld>[0]): Promise<Run> {
  const { admin } = await startAdminWorld(t)
  return shellAt(admin.address)
}

function shellAt(address: string, token?: string): Run {
  return async (...words) => {
    const out: string[] = []
    const complaints: string[] = []
    const code = await shell(words, {
      environment: { METAPROXY_GATEWAY: address, METAPROXY_TOKEN: token },
      print: (line) => out.push(line),
      complain: (line) => complaints.push(line),
    })
    return { code, out: out.join('\n'), complaint: complaints.join('\n') }
  }
}

void t.test('a mapping from its making to its end', async (t) => {
  const run = await startShell(t)
  const made = await run(
    ...['tables', 'set', 'a', '--cluster', 'c1', '--metas', 'h:1,h:2', '--create'],
    ...['--reason', 'neu: größer', '--json'],
  )
  t.equal(made.code, 0, made.complaint)
  t.match(JSON.parse(made.out), { name: 'a', metas: ['h:1', 'h:2'] })
  t.equal((await run('tables', 'patch', 'a', 'note=two words', 'group=g')).code, 0)
  const listed = await run('tables', 'list', '--q', 'a')
  t.match(listed.out, /^NAME +STATE +CLUSTER[^\n]*\na +ok +c1 +h:1, h:2 +g /)
  const history = await run('tables', 'history', 'a', '--json')
  const { entries } = JSON.parse(history.out) as { entries: { id: number; reason?: string }[] }
  t.equal(entries[1]?.reason, 'neu: größer')
  const dry = await run('tables', 'delete', 'a', '--dry-run')
  t.match(dry, { code: 0, out: /nothing was changed/ })
  t.equal((await run('tables', 'revert', 'a', String(entries[1]?.id))).code, 0)
  t.notMatch((await run('tables', 'get', 'a')).out, /two words/)
  t.equal((await run('tables', 'delete', 'a')).code, 0)
  t.equal((await run('tables', 'revert', 'a', String(entries[0]?.id))).code, 0, 'undone')
  t.match((await run('audit', 'verify')).out, /^ok +true/)
  t.match((await run('audit', 'list', '--action', 'delete', '--json')).out, /"name":"a"/)
})

void t.test('what is wrong is said, with an exit code', async (t) => {
  const run = await startShell(t)
  t.match(await run('tables', 'get', 'nobody'), { code: 1, complaint: /no mapping.*not-found/ })
  t.match(await run('tables', 'gte', 'a'), { code: 2, complaint: /known: tables list, tables get/ })
  t.match(await run('tables', 'get'), { code: 2, complaint: /expected NAME/ })
  t.match(await run('tables', 'list', '--colour'), { code: 2, complaint: /unknown flag/ })
  t.match(await run('tables', 'get', 'a', '--q', 'x'), { code: 2, complaint: /unknown flag/ })
  t.match(await run('tables', 'set', 'a', '--cluster'), { code: 2, complaint: /value must follow/ })
  t.match(await run('--meta', 'h:1', 'tables', 'list'), { code: 2, complaint: /gateways only/ })
  t.match(await run('--gateway', 'ftp://x', 'me'), { code: 2, complaint: /expected an address/ })
  t.match(await run('--gateway', '127.0.0.1:1', 'me'), { code: 1, complaint: /no answer from/ })
  t.match(await run('--token-file', '/no/such/file', 'me'), { code: 2, complaint: /cannot read/ })
  const bad = await run('tables', 'set', 'a', '--cluster', 'c', '--metas', 'nonsense', '--create')
  t.match(bad, { code: 1, complaint: /metas\.0: expected host:port, found "nonsense"/ })
  t.match(await run('--help'), { code: 0, out: /tables replace|tables list/ })
})

void t.test('files go in and out', async (t) => {
  const run = await startShell(t)
  const folder = mkdtempSync(join(tmpdir(), 'shell-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const csv = join(folder, 'tables.csv')
  writeFileSync(csv, 'table,cluster,metas\na,c1,h:1\nb,c1,h:1\n')
  t.match(await run('tables', 'import', csv), { code: 0, out: /nothing was changed/ })
  t.match(await run('tables', 'list'), { out: 'none' })
  t.match(await run('tables', 'import', csv, '--apply', '--json'), { code: 0, out: /"done":2/ })
  const json = join(folder, 'tables.json')
  t.equal((await run('tables', 'export', '--out', json)).code, 0)
  t.match(JSON.parse(readFileSync(json, 'utf8')), { tables: [{ name: 'a' }, { name: 'b' }] })
  writeFileSync(csv, 'table,cluster,metas\na/b,c1,h:1\n')
  t.match(await run('tables', 'import', csv), { code: 1, out: /invalid +2/ })
  writeFileSync(csv, Buffer.from([0x74, 0xb1, 0xb8]))
  t.match(await run('tables', 'import', csv), { code: 2, complaint: /cannot read .*: not UTF-8/ })
  t.equal((await run('clusters', 'set', 'c1', '--metas', 'h:1', '--create')).code, 0)
  t.match(await run('clusters', 'replace-meta', 'c1', 'h:1', 'n:1', '--apply'), { out: /done +2/ })
  t.match(await run('clusters', 'list'), { out: /c1 +true +2 +n:1/ })
  t.equal((await run('groups', 'set', 'g', '--patterns', 'a*', '--create')).code, 0)
  await until(async () => /g +1 +a\*/.test((await run('groups', 'list')).out))
})

void t.test('many changes wait for a second person', async (t) => {
  const flags = { 'auth.enabled': 'true', 'approval.bulkAbove': '1' }
  const { admin } = await startAdminWorld(t, flags, undefined, PASSWORD)
  const { address } = admin
  const asAdmin = await logInAsAdmin(address)
  const asAnna = await hire(asAdmin, address, 'anna', [{ role: 'admin' }])
  const runAs = async (by: Call): Promise<Run> => {
    const body = { name: 'shell', grants: [{ role: 'editor' }] }
    const { secret } = (await by('POST', '/tokens', { body })).as(NewToken)
    return shellAt(address, secret)
  }
  const [run, other] = [await runAs(asAnna), await runAs(asAdmin)]
  const folder = mkdtempSync(join(tmpdir(), 'shell-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const csv = join(folder, 'tables.csv')
  writeFileSync(csv, 'table,cluster,metas\na,c1,h:1\nb,c1,h:1\n')
  t.match(await run('tables', 'import', csv), { code: 0, out: /--apply to ask a second person/ })
  const ask = async (): Promise<string> => {
    const asked = await run('tables', 'import', csv, '--apply')
    return /nothing was changed; .* approvals approve ([0-9a-f]{12})$/.exec(asked.out)?.[1] ?? ''
  }
  const id = await ask()
  t.match(
    (await other('approvals', 'list')).out,
    new RegExp(`^${id} +pending +import +2 +anna/`, 'm'),
  )
  t.match((await other('approvals', 'get', id)).out, /create {2}a\n {2}\+ \{/)
  t.match(await run('approvals', 'approve', id), { code: 1, complaint: /another person/ })
  t.match(await other('approvals', 'approve', id, '--reason', 'fine'), {
    code: 0,
    out: /state +applied/,
  })
  t.match((await run('tables', 'list')).out, /^a +ok/m)
  writeFileSync(csv, 'table,cluster,metas\na,c1,h:2\nb,c1,h:2\n')
  const [late, second, third] = [await ask(), await ask(), await ask()]
  t.match(await other('approvals', 'reject', second), { code: 0, out: /state +rejected/ })
  t.match(await run('approvals', 'withdraw', third), { code: 0, out: /state +withdrawn/ })
  t.equal((await run('tables', 'patch', 'a', 'note=n')).code, 0)
  t.match(await other('approvals', 'approve', late), {
    code: 1,
    out: /\na +skipped +table a is now/,
  })
  t.match((await other('approvals', 'get', late)).out, /change {2}b {2}done/)
})

void t.test('a line is split as a shell would, and nothing is run by the terminal', (t) => {
  t.same(splitLine(`tables patch "a b" note='x "y"' z=\\`), [
    'tables',
    'patch',
    'a b',
    'note=x "y"',
    'z=\\',
  ])
  t.same(splitLine('  '), [])
  t.throws(() => splitLine('a "b'), /does not end/)
  t.equal(plain('red \u001b[31m\u009b'), 'red \\u001b[31m\\u009b')
  t.end()
})
