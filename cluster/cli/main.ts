#!/usr/bin/env node
/**
 * The `metaproxy` command: picks the part and hands over the words behind its name. Exit codes:
 * 0 fine, 1 failed, 2 bad usage or configuration (product.md).
 */
const usage = `metaproxy COMMAND [FLAGS]

  onebox      everything on this machine: gateway, two clusters, coordination
  gateway     one gateway server       --config FILE
  meta        one meta server          --config FILE
  replica     one replica server       --config FILE
  zookeeper   the embedded one-node ZooKeeper of the onebox   --config FILE
  shell       administration through a gateway   [--gateway URL] [COMMAND …]
  simulate    the seeded simulation    [--seed N] [--minutes N]

Every server: --config FILE, --check-config; METAPROXY_… in the environment over the file.
`

type Command = (words: readonly string[]) => Promise<number>

/** Loaded on demand: a server process loads its own part only. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  onebox: async () => (await import('./onebox.ts')).onebox,
  gateway: async () => (await import('../../gateway/main.ts')).main,
  meta: async () => (await import('../meta/main.ts')).main,
  replica: async () => (await import('../replica/main.ts')).main,
  zookeeper: async () => (await import('../coordinator/embedded/main.ts')).main,
  shell: async () => (await import('./shell.ts')).shell,
  simulate: async () => (await import('../simulation/main.ts')).main,
}

async function run(): Promise<number> {
  const [name = '', ...words] = process.argv.slice(2)
  if (name === '--help' || name === 'help') {
    process.stdout.write(usage)
    return 0
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) {
    process.stderr.write(`${name === '' ? 'no command' : `unknown command ${name}`}\n\n${usage}`)
    return 2
  }
  // A supervised server ends with its supervisor: the channel closes when that process dies.
  if (process.env['METAPROXY_SUPERVISED'] === '1') {
    process.channel?.unref()
    process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  }
  const command = await load()
  return command(words)
}

process.exitCode = await run()
