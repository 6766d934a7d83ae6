/** Every option of a gateway process (gateway.md 11), with its default, range and a sentence. */
import { type ConfigOf, defineConfig } from '../cluster/runtime/config.ts'
import {
  choice,
  decimal,
  duration,
  integer,
  list,
  optional,
  reloadable,
  secret,
  section,
  size,
  text,
} from '../cluster/runtime/options.ts'
import {
  adminOptions,
  approvalOptions,
  auditOptions,
  authOptions,
  historyOptions,
} from './admin/options.ts'
import { allowanceOption } from './clients/rpc-policy.ts'
import { rangeForm } from './clients/source-ranges.ts'
import { RANGES_MAX, endpointLimits, endpointsOption } from './endpoints.ts'
import { STALE_POLICY_EXPECTED, STALE_POLICY_PATTERN } from './routing/staleness.ts'

const ALLOWANCES_MAX = 256
const host = { pattern: /^[A-Za-z0-9._-]{1,253}$/, expected: 'a host name or an IPv4 address' }

const options = defineConfig('One gateway: the address of many clusters', {
  id: optional(
    text({
      about: "This gateway's name in the fleet; left out: its host name and client port",
      pattern: /^[A-Za-z0-9._-]{1,100}$/,
      expected: 'up to 100 letters, digits, dots, dashes and underscores',
    }),
  ),
  rpc: section('Where clients connect', {
    host: text({ about: 'Address to listen on', default: '0.0.0.0', ...host }),
    port: integer({ about: 'Port of the Pegasus protocol', default: 34601, min: 0, max: 65535 }),
    nativeHeader: choice({
      about: "The native (RDSN) header of C++ clients on the same port, besides Thrift's",
      of: ['on', 'off'],
      default: 'on',
    }),
    allowFrom: list({
      about: 'IPv4 ranges that clients may come from; none: from everywhere',
      default: [],
      of: text({ about: 'A range', ...rangeForm }),
      maxItems: RANGES_MAX,
    }),
    proxyFrom: list({
      about:
        'IPv4 ranges of balancers, whose connections must begin with a PROXY header (v1 or v2)',
      default: [],
      of: text({ about: 'A range', ...rangeForm }),
      maxItems: RANGES_MAX,
    }),
  }),
  tls: section('Where clients connect over TLS, beside the plain port', {
    host: text({ about: 'Address to listen on', default: '0.0.0.0', ...host }),
    port: optional(
      integer({ about: 'Port; without one there is no such listener', min: 0, max: 65535 }),
    ),
    certFile: optional(text({ about: 'PEM file of the certificate and its chain' })),
    keyFile: optional(text({ about: 'PEM file of the private key' })),
    clientCaFile: optional(
      text({ about: 'PEM file of authorities; clients must show a certificate of one of them' }),
    ),
    proxyFrom: list({
      about: 'Like rpc.proxyFrom, for this port: the header stands in front of the handshake',
      default: [],
      of: text({ about: 'A range', ...rangeForm }),
      maxItems: RANGES_MAX,
    }),
    reloadMs: duration({
      about: 'The files are read again every, and what is new in them is used',
      default: 60_000,
      min: 100,
      max: 86_400_000,
    }),
  }),
  rpcPolicy: section('RPCs besides the configuration query; each is refused unless allowed here', {
    allow: list({
      about:
        'RPCs about one table that are relayed to its cluster, from everywhere or from IPv4 ' +
        'ranges: RPC_CM_UPDATE_APP_ENV from 10.0.0.0/8 127.0.0.1. Every call is logged. ' +
        'RPC_CM_DROP_APP leaves the mapping',
      default: [],
      of: allowanceOption,
      maxItems: ALLOWANCES_MAX,
    }),
    defaultCluster: optional(
      text({
        about:
          'RPC_CM_CREATE_APP of a table that is not mapped creates it on this cluster of the ' +
          'registry and maps it there; left out: such a call is refused',
        pattern: /^(?!\.{1,2}$)[^\s/\p{C}]{1,255}$/u,
        expected: 'the name of a cluster in the registry',
      }),
    ),
  }),
  endpoints: endpointsOption,
  http: section('Admin API, health and metrics', {
    host: text({ about: 'Address to listen on', default: '127.0.0.1', ...host }),
    port: integer({ about: 'Port', default: 34680, min: 0, max: 65535 }),
    certFile: optional(
      text({
        about:
          'PEM file of the certificate and its chain: the port speaks TLS then. Read again as those ' +
          'of tls are, and on SIGHUP',
      }),
    ),
    keyFile: optional(text({ about: 'PEM file of the private key' })),
  }),
  health: section('Health and metrics alone, for probes and Prometheus; no API', {
    host: text({ about: 'Address to listen on', default: '0.0.0.0', ...host }),
    port: optional(
      integer({ about: 'Port; without one there is no such listener', min: 0, max: 65535 }),
    ),
  }),
  zookeeper: section('Where the mapping is', {
    servers: text({
      about: 'HOST:PORT,HOST:PORT,… with an optional /chroot behind',
      maxLength: 4096,
      pattern: /^[A-Za-z0-9._-]+(:\d{1,5})?(,[A-Za-z0-9._-]+(:\d{1,5})?)*(\/[^\s]*)?$/,
      expected: 'HOST:PORT,HOST:PORT,… with an optional /chroot behind',
    }),
    root: text({
      about: 'Parent of the mapping nodes',
      default: '/metaproxy/tables',
      pattern: /^(\/[^/\s]+)+$/,
      expected: 'a path such as /metaproxy/tables',
    }),
    controlRoot: optional(
      text({
        about: 'Parent of the control tree; left out: the root with .gateway behind it',
        pattern: /^(\/[^/\s]+)+$/,
        expected: 'a path such as /metaproxy/tables.gateway',
      }),
    ),
    sessionTimeoutMs: duration({
      about: 'Session time asked for',
      default: 10_000,
      min: 2000,
      max: 60_000,
    }),
    user: optional(text({ about: 'User of the digest authentication' })),
    password: optional(secret({ about: 'Password of the digest authentication' })),
    control: section('Who writes: mappings and the control tree; without it the user above', {
      user: optional(text({ about: 'User of the digest authentication' })),
      password: optional(secret({ about: 'Password of the digest authentication' })),
    }),
    acl: optional(
      choice({
        about:
          'Who may change nodes made here: open (anyone) or creator (the writing user; the reading ' +
          'one reads). Left out: creator when there is a user, else open with a warning',
        of: ['open', 'creator'],
      }),
    ),
  }),
  routing: section('Table → cluster', {
    cache: integer({
      about: 'Tables kept in memory',
      default: 8192,
      min: 1,
      max: 1_000_000,
      unit: 'tables',
    }),
    negativeCache: integer({
      about: 'Unknown tables kept in memory',
      default: 10_000,
      min: 1,
      max: 1_000_000,
      unit: 'tables',
    }),
    negativeTtlMs: duration({
      about: 'An unknown table is checked again after',
      default: 60_000,
      min: 100,
      max: 3_600_000,
    }),
    lookupTimeoutMs: duration({
      about: 'A first lookup that ZooKeeper leaves unanswered is given up after',
      default: 900,
      min: 10,
      max: 10_000,
    }),
    reconcileIntervalMs: duration({
      about: 'All cached tables are compared with their nodes every',
      default: 300_000,
      min: 100,
      max: 86_400_000,
    }),
    keepOnDeleteMs: duration({
      about: 'A table whose mapping was deleted is served on for',
      default: 0,
      min: 0,
      max: 86_400_000,
    }),
    snapshotFile: optional(
      text({
        about: 'File for the routes, so that a start without ZooKeeper serves what was known',
        maxLength: 1024,
        pattern: /^\//,
        expected: 'an absolute path',
      }),
    ),
    stale: text({
      about:
        'Routes that ZooKeeper cannot confirm are used for ever (serve), until its session is ' +
        'suspect (fail), or that long (bounded:<ms>); a table or group may have its own policy',
      default: 'serve',
      pattern: STALE_POLICY_PATTERN,
      expected: STALE_POLICY_EXPECTED,
    }),
    writeForm: choice({
      about: 'Form of the JSON in new mapping nodes',
      of: ['both', 'rfc', 'go'],
      default: 'both',
    }),
  }),
  meta: section('Asking the meta servers of a cluster', {
    connections: integer({
      about:
        'Connections of a worker process to one meta server; the second is for when one is stuck',
      default: 2,
      min: 1,
      max: 8,
    }),
    connectTimeoutMs: duration({ about: 'Connecting', default: 1000, min: 10, max: 30_000 }),
    hedgeMs: duration({
      about:
        'The other metas are asked as well when the leader is silent for twice its p95, at least this',
      default: 200,
      min: 10,
      max: 10_000,
    }),
    silenceMs: duration({
      about: 'Metas silent for this long are given up when nothing else is being tried',
      default: 900,
      min: 10,
      max: 30_000,
    }),
    resolveMs: duration({
      about: 'Host names are resolved again after',
      default: 30_000,
      min: 100,
      max: 3_600_000,
    }),
  }),
  limits: section('What one client may cost', {
    bodyBytes: size({ about: 'Body of a request', default: 1 << 20, min: 1024, max: 64 << 20 }),
    metaBytes: size({ about: 'Meta of a v1 header', default: 4096, min: 64, max: 1 << 20 }),
    inFlight: integer({
      about: 'Requests of one connection being worked on',
      default: 256,
      min: 1,
      max: 65_536,
    }),
    unsentBytes: size({
      about: 'Unsent answers of one connection that stop the reading',
      default: 1 << 20,
      min: 1024,
      max: 1 << 30,
    }),
    slowReaderMs: duration({
      about: 'A connection that does not take its answers is reset after',
      default: 30_000,
      min: 100,
      max: 3_600_000,
    }),
    frameMs: duration({
      about: 'A request that has begun must be complete within',
      default: 10_000,
      min: 100,
      max: 3_600_000,
    }),
    idleMs: duration({
      about: 'A connection without requests is ended after; 0: never, as clients expect',
      default: 0,
      min: 0,
      max: 86_400_000,
    }),
    proxyHeaderMs: duration({
      about: "A balancer's PROXY header must be complete within",
      default: 5000,
      min: 100,
      max: 60_000,
    }),
    unknownTablesBurst: integer({
      about: 'Unknown tables that may be asked for at once, when the above is not 0',
      default: 100,
      min: 1,
      max: 1_000_000,
      unit: 'tables',
    }),
    ...endpointLimits,
  }),
  requestTimeoutMs: duration({
    about: 'Every query is answered within this time; below the 5 s of the Java client',
    default: 4000,
    min: 100,
    max: 60_000,
  }),
  coalescing: choice({
    about:
      'Equal queries that arrive while one is on the wire share the next one; off: each is forwarded',
    of: ['on', 'off'],
    default: 'on',
  }),
  responseCacheMs: duration({
    about: 'An answer may be given again for so long, not twice to one client; 0: never',
    default: 0,
    min: 0,
    max: 200,
  }),
  errors: section('Errors that the gateway itself answers', {
    mode: choice({
      about: 'Names of upstream, or those of the Go proxy',
      of: ['pegasus', 'go-compat'],
      default: 'pegasus',
    }),
  }),
  auth: authOptions,
  admin: adminOptions,
  approval: approvalOptions,
  audit: auditOptions,
  history: historyOptions,
  workers: integer({
    about: 'Processes that serve clients; with 1 the process itself (from or to 1: by a restart)',
    default: 1,
    min: 1,
    max: 64,
    unit: 'processes',
  }),
  drainMs: duration({
    about: 'Connections are ended at the end, and moved on after a reload, spread over this time',
    default: 10_000,
    min: 0,
    max: 60_000,
  }),
  lameDuckMs: duration({
    about: 'At the end, not ready for this long before connections are refused and ended',
    default: 0,
    min: 0,
    max: 60_000,
  }),
  overload: section('A process that does not keep up refuses work at once instead of late', {
    lagMs: duration({
      about: 'Lateness of the event loop that counts as overload',
      default: 200,
      min: 10,
      max: 10_000,
    }),
    forMs: duration({
      about: 'Overload for this long: cold lookups are refused; for twice as long: connections',
      default: 2000,
      min: 100,
      max: 60_000,
    }),
  }),
  log: section('Log', {
    level: choice({
      about: 'Lines below this level are left out',
      of: ['debug', 'info', 'warn', 'error', 'silent'],
      default: 'info',
    }),
    querySample: decimal({
      about: 'Share of the configuration queries that is logged, from 0 (none) to 1 (all)',
      default: 0,
      min: 0,
      max: 1,
    }),
  }),
  metric: section('Metrics', {
    tags: list({
      about: 'Labels NAME=VALUE that every series gets',
      of: text({
        about: 'One label',
        pattern: /^(?!__|worker=|le=)[A-Za-z_][A-Za-z0-9_]*=[^=]{1,200}$/,
        expected: 'NAME=VALUE (the names worker and le are taken)',
      }),
      maxItems: 16,
      default: [],
    }),
  }),
})

/** What serves clients can be replaced while the process lives; sessions, routes and ports cannot. */
export const gatewayConfig = reloadable(options, [
  'rpc',
  'tls',
  'rpcPolicy',
  'meta',
  'limits',
  'requestTimeoutMs',
  'errors',
  'coalescing',
  'workers',
  'drainMs',
  'lameDuckMs',
  'overload',
])

export type GatewayConfig = ConfigOf<typeof gatewayConfig>
