/**
 * The product's client, meta servers and replica servers in the simulated world: the same seed runs
 * the same way, seeds pass, and a mistake planted in the commit rule is caught.
 */
import t, { type Test } from 'tap'
import { runSeed, type RunResult } from '../../cluster/simulation/run.ts'

// Many seeds, on a machine that other tests share.
t.setTimeout(600_000)

/** Virtual minutes under faults per seed; what follows them comes on top. */
const minutes = 0.15

const seedsOfTheGate = Array.from({ length: 40 }, (_, index) => index + 1)

/** They failed once, and stay here for good. */
const seedsOfThePast = [
  { seed: 1022, why: 'a log that survived a failed sync was lost at the next power cut' },
  { seed: 1040, why: 'a log file that could not be deleted left a hole behind it' },
  { seed: 1225, why: 'as 1022' },
  {
    seed: 1240,
    why: 'a lost partition waited for ever though the newer replica had prepared it all',
  },
  { seed: 2163, why: 'a learner that had become a member refused to be one after its lease' },
  { seed: 3157, why: 'a meta server that restarted quickly was granted the lock twice' },
]

function passed(t: Test, result: RunResult, ran: number): void {
  const { seed, violations, schedule, lastEvents } = result
  if (violations.length === 0) return
  const text = [...violations, ...schedule, ...lastEvents].join('\n')
  t.fail(`metaproxy simulate --seed ${seed} --minutes ${ran}\n${text}`)
}

void t.test('the same seed gives the same trace and the same verdict', async (t) => {
  for (const seed of [4, 15]) {
    const [first, second] = [await runSeed({ seed, minutes }), await runSeed({ seed, minutes })]
    t.equal(first.traceHash, second.traceHash)
    t.same(first.violations, second.violations)
    t.same(first.schedule, second.schedule)
    t.same(first.counts, second.counts)
    t.ok(first.counts.acknowledged > 100)
  }
  const other = await runSeed({ seed: 5, minutes })
  const same = await runSeed({ seed: 4, minutes })
  t.not(other.traceHash, same.traceHash)
})

void t.test('seeds pass: safe under faults, whole and complete after them', async (t) => {
  const kinds = new Set<string>()
  let acknowledged = 0
  for (const seed of seedsOfTheGate) {
    const result = await runSeed({ seed, minutes })
    passed(t, result, minutes)
    acknowledged += result.counts.acknowledged
    for (const kind of result.faultKinds) kinds.add(kind)
  }
  t.ok(acknowledged > 5000, `${acknowledged} operations were acknowledged`)
  t.ok(kinds.size >= 12, `kinds of faults: ${[...kinds].join(' ')}`)
})

void t.test('seeds that once failed pass', async (t) => {
  for (const { seed, why } of seedsOfThePast) {
    const result = await runSeed({ seed, minutes: 0.25 })
    passed(t, result, 0.25)
    t.same(result.violations, [], `seed ${seed}: ${why}`)
  }
})

void t.test(
  'acknowledging on a majority is caught by the checkers of replica events',
  async (t) => {
    const caught: string[] = []
    for (let seed = 1; seed <= 20 && caught.length === 0; seed++) {
      const result = await runSeed({ seed, minutes, commitRule: 'majority' })
      caught.push(...result.violations)
    }
    t.match(caught[0], /an acknowledged write is held by every member of its configuration/)
  },
)
