/**
 * The data operations against what an original server answered (test/vectors/server_responses.json):
 * every recorded data request goes through an app per partition, without network and replication.
 * The same file goes through real sockets in test/interop/server-responses.test.ts.
 */
import t from 'tap'
import { rrdb } from '../../cluster/replica/rrdb-app.ts'
import { MemoryEngineDisk } from '../../cluster/storage/memory.ts'
import { ReplicaStore } from '../../cluster/storage/replica-store.ts'
import { encodeReply, RequestFramer } from '../../cluster/protocol/frame.ts'
import type { ReplicaApp } from '../../cluster/replica/app.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { type Answer, Replay, recordedAnswers } from '../interop/recorded-answers.ts'

const runtime = nodeRuntime({ log: silentLog })
const appId = 7
const partitionCount = 8

/** One table without servers. */
async function openTable(): Promise<readonly ReplicaApp[]> {
  const engine = await new MemoryEngineDisk().open(runtime)
  return Promise.all(
    Array.from({ length: partitionCount }, async (_, partitionIndex) => {
      const gpid = { appId, partitionIndex }
      const store = await ReplicaStore.open(engine, gpid)
      const server = '127.0.0.1:34801'
      return rrdb.open({ runtime, store, gpid, server, envs: new Map(), partitionCount })
    }),
  )
}

void t.test('recorded data requests are answered as the original does', async (t) => {
  const apps = await openTable()
  const replay = new Replay({ appId, nowMs: runtime.clock.wallMs })
  let decree = 0

  const answer = async (bytes: Buffer): Promise<Answer> => {
    const framer = new RequestFramer({ maxBodyBytes: 1 << 22, maxMetaBytes: 1024 })
    framer.push(bytes)
    const frame = framer.next()
    const app = apps[frame?.header.partitionIndex ?? -1]
    if (frame === undefined || app === undefined) throw new Error('the request names no partition')
    const reply = (result: Buffer): Answer => ({
      outcome: 'reply',
      bytes: encodeReply(frame.name, frame.seqid, 'ERR_OK', result),
    })
    if (rrdb.writes.has(frame.name)) {
      const timestampUs = Math.floor(runtime.clock.wallMs() * 1000)
      decree++
      const updates = [{ code: frame.name, body: frame.argument }]
      const [applied] = await app.apply([{ decree, ballot: 1, timestampUs, updates }])
      return reply(applied?.[0]?.result ?? Buffer.alloc(0))
    }
    const read = await app.read({
      name: frame.name,
      argument: frame.argument,
      partitionHash: frame.header.partitionHash,
      nowMs: runtime.clock.wallMs(),
      deadlineAtMs: runtime.clock.monotonicMs() + 10_000,
    })
    if (read.kind === 'result') return reply(read.result)
    return { outcome: 'silence', bytes: Buffer.alloc(0) }
  }

  const differing: string[] = []
  let count = 0
  // Answered, where the original stays silent; finished, where it hands out context 0 (data-model.md 4).
  const ownAnswers = new Set(['put_internal_type', 'scanner_14', 'scanner_15'])
  for (const recorded of recordedAnswers()) {
    const isData =
      recorded.to === 'primary' && (recorded.hex ?? '').slice(16, 28) === '4552525f4f4b'
    if (!isData && !['clear_scanner', 'put_internal_type'].includes(recorded.name)) continue
    count++
    const difference = replay.difference(recorded, await answer(replay.request(recorded)))
    if (ownAnswers.delete(recorded.name)) t.ok(difference, `${recorded.name} differs on purpose`)
    else if (difference !== undefined) differing.push(`${recorded.name}: ${difference}`)
  }
  t.ok(count > 1280, `${count} requests replayed`)
  t.same(differing, [], 'no answer differs')
  await Promise.all(apps.map((app) => app.close()))
})
