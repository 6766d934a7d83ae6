/**
 * Options of a meta server: names, units, ranges and defaults in one place (meta-server.md 27,
 * product.md). The relation between the times is checked at start (`failure-detector.ts`).
 */
import { failureDetectorOptions } from '../failure-detector.ts'
import {
  type ConfigOf,
  address,
  choice,
  defineConfig,
  duration,
  flag,
  integer,
  list,
  optional,
  section,
  text,
} from '../runtime/config.ts'

const host = text({
  about: 'host or address to listen on',
  default: '127.0.0.1',
  maxLength: 253,
})

export const metaConfigSchema = defineConfig('a meta server', {
  clusterName: text({
    about: 'name of the cluster, as its tools show it',
    pattern: /^[A-Za-z0-9._-]{1,64}$/,
    expected: '1 to 64 of A-Z a-z 0-9 . _ -',
  }),
  metaServers: list({
    about: 'addresses of all meta servers of the cluster, for cluster_info; empty: only the leader',
    default: [],
    of: address({ about: 'HOST:PORT' }),
    maxItems: 16,
  }),
  log: choice({
    about: 'least important level that is logged',
    default: 'info',
    of: ['debug', 'info', 'warn', 'error'],
  }),
  rpc: section('the Pegasus port', {
    host,
    port: integer({ about: 'port', default: 34_601, min: 0, max: 65_535 }),
    address: optional(
      address({ about: 'IP:PORT that others reach this server at; left out: host and port' }),
    ),
    maxConnections: integer({
      about: 'open connections; further ones are closed at once',
      default: 10_000,
      min: 1,
      max: 1_000_000,
    }),
  }),
  http: section('health and metrics', {
    host,
    port: integer({ about: 'port; 0: any free one', default: 35_601, min: 0, max: 65_535 }),
  }),
  zookeeper: section('leader lock and stored tree', {
    servers: text({
      about: 'HOST:PORT[,…][/chroot]',
      default: '127.0.0.1:2181',
      pattern: /^[^\s]+$/,
      expected: 'HOST:PORT[,…][/chroot]',
    }),
    root: text({
      about: 'cluster root; the lock is below it',
      pattern: /^(\/[^/\s]+)+$/,
      expected: 'a path such as /pegasus/alpha',
    }),
    sessionTimeout: duration({ about: 'session time', default: 4000, min: 10, max: 60_000 }),
    user: optional(text({ about: 'digest user' })),
    password: optional(text({ about: 'digest password' })),
  }),
  failureDetector: failureDetectorOptions,
  meta: section('tables and partitions', {
    hostPortFields: choice({
      about: 'whether answers carry the hp_* fields that clients older than 2.6 cannot read',
      default: 'off',
      of: ['off', 'on'],
    }),
    functionLevel: choice({
      about: 'function level at start',
      default: 'steady',
      of: ['stopped', 'blind', 'freezed', 'steady', 'lively'],
    }),
    minLiveNodes: integer({
      about: 'fewer live nodes freeze the cluster; 1 for small ones',
      default: 3,
      min: 1,
      max: 1000,
    }),
    nodeLivePercentage: integer({
      about: 'a smaller part of live nodes freezes the cluster',
      default: 50,
      min: 0,
      max: 100,
    }),
    unstableNodeFilter: flag({
      about: 'ignore nodes that restart again and again',
      default: true,
    }),
    stableRunning: duration({
      about: 'running time after which a node counts as stable',
      default: 600_000,
      min: 1000,
      max: 86_400_000,
    }),
    maxSuccessiveRestarts: integer({
      about: 'quick restarts that make a node unstable',
      default: 5,
      min: 1,
      max: 1000,
    }),
    whiteList: list({
      about: 'replica servers that may join; empty: all',
      default: [],
      of: address({ about: 'IP:PORT' }),
      maxItems: 10_000,
    }),
    checkRound: duration({
      about: 'time between two rounds over all partitions',
      default: 2000,
      min: 10,
      max: 600_000,
    }),
    restoreAllowance: duration({
      about: 'what a new leader needs to read the stored tree',
      default: 500,
      min: 0,
      max: 60_000,
    }),
    minReplicasForWrite: integer({
      about: 'replicas that a write needs; 0: a majority',
      default: 2,
      min: 0,
      max: 10,
    }),
    assignDelay: duration({
      about: 'how long a lost secondary is waited for before another node takes its place',
      default: 600_000,
      min: 0,
      max: 86_400_000,
    }),
    maxReservedDroppedReplicas: integer({
      about: 'former replicas remembered beyond the replica count',
      default: 1,
      min: 0,
      max: 10,
    }),
    minReplicaCount: integer({ about: 'least replicas of a table', default: 1, min: 1, max: 10 }),
    maxReplicaCount: integer({ about: 'most replicas of a table', default: 5, min: 1, max: 10 }),
    maxPartitionCount: integer({
      about: 'most partitions of a table',
      default: 16_384,
      min: 1,
      max: 1_000_000,
    }),
    holdDropped: duration({
      about: 'how long data of a dropped table is kept',
      default: 604_800_000,
      min: 0,
      max: 31_536_000_000,
    }),
    addSecondaryFlowControl: flag({
      about: 'limit how many learners a node takes per round',
      default: false,
    }),
    addSecondaryMaxPerNode: integer({
      about: 'that limit',
      default: 20,
      min: 0,
      max: 10_000,
    }),
  }),
})

export type MetaConfig = ConfigOf<typeof metaConfigSchema>
