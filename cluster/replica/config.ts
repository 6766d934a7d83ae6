/** Every option of a replica server, with its unit, range and default (replica-server.md 21). */
import {
  type ConfigOf,
  address,
  choice,
  defineConfig,
  duration,
  integer,
  list,
  optional,
  section,
  size,
  text,
} from '../runtime/config.ts'
import { failureDetectorOptions, timesOf, timingProblem } from '../failure-detector.ts'

const HOUR_MS = 3_600_000
const MIB = 1 << 20

export const replicaConfig = defineConfig('A Pegasus-compatible replica server.', {
  clusterName: text({ about: 'Name of the cluster, for logs.', default: 'onebox' }),
  log: choice({
    about: 'Least important level that is logged.',
    of: ['debug', 'info', 'warn', 'error'],
    default: 'info',
  }),
  rpc: section('Where clients, peers and meta servers reach this server.', {
    host: text({ about: 'IPv4 address to listen on.', default: '127.0.0.1' }),
    port: integer({ about: 'Port; 0 takes a free one.', min: 0, max: 65_535, default: 34801 }),
    address: optional(
      address({ about: 'IPv4:PORT that others reach this server at; left out: host and port.' }),
    ),
    maxConnections: integer({
      about: 'Connections at a time.',
      min: 1,
      max: 1_000_000,
      default: 10_000,
    }),
  }),
  http: section('Health and metrics.', {
    host: text({ about: 'IPv4 address to listen on.', default: '127.0.0.1' }),
    port: integer({ about: 'Port; 0 is the RPC port + 1000.', min: 0, max: 65_535, default: 0 }),
  }),
  metaServers: list({
    about: 'HOST:PORT of every meta server.',
    of: address({ about: 'HOST:PORT of a meta server.' }),
    minItems: 1,
    maxItems: 9,
  }),
  dataDirectory: text({ about: 'Folder of engine and log; one process at a time.' }),
  failureDetector: failureDetectorOptions,
  mutationLog: section('The mutation log.', {
    sync: choice({
      about: 'group: nothing is acknowledged before it is on disk; os: the system writes back.',
      of: ['group', 'os'],
      default: 'group',
    }),
    segmentBytes: size({
      about: 'Size of a log file.',
      min: 4096,
      max: 1024 * MIB,
      default: 32 * MIB,
    }),
    reserveBytes: size({
      about: 'Files that nobody needs are kept up to this, to heal short outages from the log.',
      min: 0,
      max: 1024 * 1024 * MIB,
      default: 128 * MIB,
    }),
  }),
  replica: section('Replication.', {
    minReplicasForWrite: integer({
      about: 'Members without which a partition takes no writes; 0: from its replica count.',
      min: 0,
      max: 15,
      default: 2,
    }),
    prepareTimeout: duration({
      about: 'A secondary that does not acknowledge within it is expelled.',
      min: 20,
      max: HOUR_MS,
      default: 3000,
    }),
    learnerPrepareTimeout: duration({
      about: 'The same for a learner, which is forgotten.',
      min: 20,
      max: HOUR_MS,
      default: 5000,
    }),
    stalenessMax: integer({
      about: 'Mutations of a partition between prepared and committed.',
      min: 1,
      max: 1000,
      default: 20,
    }),
    prepareListMax: integer({
      about: 'Mutations of a partition kept in memory; at least stalenessMax.',
      min: 2,
      max: 10_000,
      default: 110,
    }),
    groupCheck: duration({
      about: 'Time between checks of a group by its primary.',
      min: 20,
      max: HOUR_MS,
      default: 10_000,
    }),
    configSync: duration({
      about: 'Time between comparisons with the meta server.',
      min: 20,
      max: HOUR_MS,
      default: 30_000,
    }),
    metaRetry: duration({
      about: 'Pause before a configuration change is asked for again.',
      min: 5,
      max: HOUR_MS,
      default: 1000,
    }),
    metaTimeout: duration({
      about: 'Time for an answer of the meta server.',
      min: 10,
      max: HOUR_MS,
      default: 2000,
    }),
    learnRetry: duration({
      about: 'Pause of a learner behind a failed round.',
      min: 5,
      max: HOUR_MS,
      default: 1000,
    }),
    learnAnswerBytes: size({
      about: 'Mutations in one answer to a learner.',
      min: 1024,
      max: 32 * MIB,
      default: 8 * MIB,
    }),
    inactiveKeep: duration({
      about: 'A replica that no configuration names stays open for so long.',
      min: 0,
      max: 24 * HOUR_MS,
      default: 600_000,
    }),
    garbageKeep: duration({
      about: 'Data that the meta server calls superfluous are removed after this.',
      min: 0,
      max: 100 * 24 * HOUR_MS,
      default: 24 * HOUR_MS,
    }),
    syncInterval: duration({
      about: 'Time between sync marks of the engine, behind which the log may be deleted.',
      min: 20,
      max: HOUR_MS,
      default: 5000,
    }),
    maxWriteBytes: size({
      about: 'Largest body of a write; 0: no limit.',
      min: 0,
      max: 64 * MIB,
      default: MIB,
    }),
    queuedBytesMax: size({
      about: 'Writes of a partition that wait; above it clients are told ERR_BUSY.',
      min: 4096,
      max: 1024 * MIB,
      default: 64 * MIB,
    }),
    writeTimeout: duration({
      about: 'For writes whose client names no deadline.',
      min: 10,
      max: HOUR_MS,
      default: 30_000,
    }),
  }),
  engine: section('The storage engine.', {
    cacheBytes: size({
      about: 'Block cache of all replicas together.',
      min: MIB,
      max: 1024 * 1024 * MIB,
      default: 32 * MIB,
    }),
    writeBufferBytes: size({
      about: 'Size of a memtable.',
      min: MIB,
      max: 1024 * MIB,
      default: 16 * MIB,
    }),
  }),
})

export type ReplicaConfig = ConfigOf<typeof replicaConfig>

const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/

/** What is wrong between options that are fine by themselves. */
export function replicaConfigProblems(config: ReplicaConfig): readonly string[] {
  const { failureDetector, replica, rpc } = config
  const problems: string[] = []
  const timing = timingProblem(timesOf(failureDetector))
  if (timing !== undefined) problems.push(`failureDetector: ${timing}`)
  if (replica.prepareListMax < replica.stalenessMax)
    problems.push(
      `replica.prepareListMax ${replica.prepareListMax}: below replica.stalenessMax ` +
        `${replica.stalenessMax}`,
    )
  const [name, ip] =
    rpc.address === undefined
      ? ['rpc.host', rpc.host]
      : ['rpc.address', rpc.address.replace(/:\d+$/, '')]
  // It becomes this server's identity: meta servers and clients send it around as four bytes.
  if (!IPV4.test(ip) || ip === '0.0.0.0')
    problems.push(
      `${name} ${ip}: others cannot reach this server there; set rpc.address to its IPv4:PORT`,
    )
  return problems
}
