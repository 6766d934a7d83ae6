/** `metaproxy simulate` as a command: what it prints and how it ends. */
import { spawnSync } from 'node:child_process'
import t from 'tap'

const command = new URL('../../cluster/cli/main.js', import.meta.url).pathname

function simulate(...words: string[]) {
  const run = spawnSync(process.execPath, [command, 'simulate', ...words], { encoding: 'utf8' })
  return { code: run.status, out: run.stdout, err: run.stderr }
}

void t.test('two processes print the same verdict and trace hash for one seed', (t) => {
  const hash = ({ out }: { readonly out: string }): string | undefined =>
    /seed 7: ok, trace ([0-9a-f]{16})/.exec(out)?.[1]
  const [first, second] = [
    simulate('--seed', '7', '--minutes', '0.05'),
    simulate('--seed', '7', '--minutes', '0.05'),
  ]
  t.equal(first.code, 0, first.out + first.err)
  t.ok(hash(first))
  t.equal(hash(first), hash(second))
  t.end()
})

void t.test('several seeds, as JSON and in words', (t) => {
  const json = simulate('--seeds', '2', '--minutes', '0.02', '--json', '--without', 'kill')
  t.equal(json.code, 0, json.out)
  const results = json.out
    .trim()
    .split('\n')
    .map((line): unknown => JSON.parse(line))
  t.match(results, [
    { seed: 1, violations: [] },
    { seed: 2, violations: [] },
  ])
  const words = simulate('--seed', '3', '--seeds', '2', '--minutes', '0.02')
  t.match(words.out, /2 of 2 seeds passed/)
  t.end()
})

void t.test('bad flags are refused with the reason', (t) => {
  for (const [words, reason] of [
    [['--seed', 'x'], '--seed x: expected a number'],
    [['--seed', '1.5'], '--seed 1.5: expected a whole number'],
    [['--minutes=-1'], '--minutes -1: expected'],
    [['--without', 'nothing'], '--without nothing: no such kind'],
    [['--sed', '1'], "Unknown option '--sed'"],
  ] as const) {
    const { code, err } = simulate(...words)
    t.equal(code, 2)
    t.ok(err.includes(reason), err)
  }
  t.end()
})
