/**
 * Where the admin port may listen (gateway.md X-4): it edits mappings, so without authentication it
 * stays on this machine. What probes and Prometheus need is on the `health` listener.
 */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/

/** What everybody who reaches ZooKeeper can do with those who log in here. */
export function exposureWarnings(hasAuth: boolean, hasIdentity: boolean): string[] {
  if (!hasAuth || hasIdentity) return []
  return [
    'users, tokens and sessions can be read and changed by whoever reaches ZooKeeper: ' +
      'set zookeeper.user and zookeeper.password',
  ]
}

/** `hasAuth`: a configured `auth` section guards the port. */
export function exposureProblems(http: { readonly host: string }, hasAuth: boolean): string[] {
  if (hasAuth || LOOPBACK.test(http.host)) return []
  return [
    `http.host ${http.host}: without an auth section the admin port stays on loopback (127.0.0.1); ` +
      'for probes and Prometheus set health: {host, port}',
  ]
}
