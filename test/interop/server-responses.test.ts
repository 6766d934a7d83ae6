/**
 * Every request of test/vectors/server_responses.json, in order and through real sockets, against a
 * running cluster: two meta servers, three replica servers, a table of 8 partitions with 3 replicas.
 * What an original Apache Pegasus answered, ours answers byte for byte, except what depends on
 * addresses, ids and clocks, and except the answers listed here with their reasons.
 */
import t from 'tap'
import { startOnebox } from '../support/onebox.ts'
import { Replay, recordedAnswers } from './recorded-answers.ts'
import { ReplayTarget } from './replay-target.ts'
import { viewTable } from './table-view.ts'

const neverAnswered = 'a reply to clear_scanner ends connections of the Go client (wire.md 5)'
const cutName = 'reply names are not cut at 47 bytes (wire.md 4: a limit of the original alone)'
const finished =
  'context_id 0 sends official clients into a loop: an empty range is finished, -1 (data-model.md 4)'
const mayBeFresh = 'a backup read may be stale on the original and may be fresh here (wire.md 10.1)'

/** Name of the recorded answer → why ours differs. */
const ownAnswers: Readonly<Record<string, string>> = {
  put_internal_type: 'a put with fields that belong to servers is applied and answered (wire.md 7)',
  scanner_14: finished,
  scanner_15: finished,
  clear_scanner_unknown_partition: neverAnswered,
  clear_scanner_at_secondary: neverAnswered,
  [`meta_unhandled_${'L'.repeat(44)}`]: cutName,
  [`meta_unhandled_${'L'.repeat(47)}`]: cutName,
  [`meta_unhandled_${'L'.repeat(60)}`]: cutName,
}

/** May be as recorded or not. */
const eitherAnswer: ReadonlySet<string> = new Set([
  'get_backup_at_secondary',
  'multi_get_backup_at_secondary',
  'ttl_backup_at_secondary',
])

void t.test('what an original server answered, ours answers', { timeout: 400_000 }, async (t) => {
  // Replay of configuration queries needs the hp_* fields that the original always sends.
  const onebox = await startOnebox({ flags: ['--clusters', '1', '--host-port-fields'] })
  t.teardown(() => onebox.remove())
  const metas = onebox.servers().filter(({ role }) => role === 'meta')
  const view = await viewTable(
    metas.map(({ rpc }) => rpc),
    'temp',
  )
  const cluster = new ReplayTarget(view)
  t.teardown(() => cluster.close())
  const replay = new Replay({ appId: view.appId, nowMs: Date.now })
  const differing: string[] = []
  const all = recordedAnswers()
  for (const recorded of all) {
    const answer = await cluster.exchange(recorded, replay.request(recorded))
    const difference = replay.difference(recorded, answer)
    const reason = ownAnswers[recorded.name]
    if (reason !== undefined) t.ok(difference, `${recorded.name}: ${reason}`)
    else if (eitherAnswer.has(recorded.name))
      t.equal(answer.outcome, recorded.outcome, `${recorded.name}: ${mayBeFresh}`)
    else if (difference !== undefined) differing.push(`${recorded.name}: ${difference}`)
  }
  t.same(differing, [], `${all.length} requests replayed`)
})
