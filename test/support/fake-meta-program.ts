/** A scripted meta server as a process of its own, which a test can freeze (`meta-process.ts`). */
import { startFakeMeta } from './fake-meta.ts'

const [appId = '1', port = '0', backlog = '511'] = process.argv.slice(2)
const meta = await startFakeMeta(
  () => ({ error: 'ERR_OK', appId: Number(appId) }),
  Number(port),
  '127.0.0.1',
  Number(backlog),
)
process.stdout.write(`${meta.port}\n`)
// The end of the test that started it.
process.stdin.on('end', () => process.exit(0)).resume()
