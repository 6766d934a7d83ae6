/** What the README tells people to write is what the programs take. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfig } from '../../cluster/runtime/config.ts'
import { gatewayConfig } from '../../gateway/config.ts'

void t.test('the sample configuration of the gateway is valid', (t) => {
  const readme = readFileSync('README.md', 'utf8')
  const samples = [...readme.matchAll(/```yaml\n(.*?)```/gs)].map(([, text = '']) => text)
  t.equal(samples.length, 1)
  for (const sample of samples) {
    // The secret's file is another machine's.
    const fileText = sample.replace(/password: file:.*/, 'password: env:SECRET')
    const loaded = loadConfig(gatewayConfig, {
      fileText,
      fileName: 'README.md',
      environment: { SECRET: 'none' },
      environmentPrefix: 'METAPROXY',
      flags: {},
    })
    t.same(loaded.ok ? [] : loaded.problems, [])
  }
  t.end()
})
