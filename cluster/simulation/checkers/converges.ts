/**
 * After the faults have ended every partition is whole again: a primary and as many secondaries as
 * wanted, all alive, and all members hold equal data (replica-invariants.md C6, I15; meta-
 * invariants.md V2). Pure: the world collects what is looked at.
 */
export interface PartitionView {
  /** `app.index`. */
  readonly gpid: string
  readonly ballot: number
  /** '' when there is none. */
  readonly primary: string
  readonly secondaries: readonly string[]
  readonly wantedCount: number
  /** Former members, the latest last. */
  readonly lastDrops: readonly string[]
}

/** How far one replica is, as its own events told. */
export interface ReplicaPosition {
  readonly ballot: number
  readonly committed: number
  /** Highest decree in its log. */
  readonly prepared: number
}

export interface MemberView {
  readonly node: string
  readonly gpid: string
  /** A digest over all rows that a client can see. */
  readonly digest: string
  readonly rowCount: number
}

/**
 * A partition that has lost all its members and that the meta server must not revive by itself: of
 * the last two that were dropped one has the higher ballot and the other has committed what that
 * one has not even prepared (meta-server.md 9.3 c). It waits for an operator.
 */
export function waitsForOperator(
  { primary, secondaries, lastDrops }: PartitionView,
  positionOf: (node: string) => ReplicaPosition | undefined,
): boolean {
  if (primary !== '' || secondaries.length > 0) return false
  const [other, last] = lastDrops.slice(-2).map(positionOf)
  if (other === undefined || last === undefined) return false
  const [newer, older] = last.ballot > other.ballot ? [last, other] : [other, last]
  return newer.ballot > older.ballot && newer.prepared < older.committed
}

/** Reasons why the cluster has not converged; empty when it has. */
export function convergenceGaps(
  partitions: readonly PartitionView[],
  members: readonly MemberView[],
): readonly string[] {
  const gaps: string[] = []
  const held = new Map(members.map((view) => [`${view.gpid} ${view.node}`, view]))
  for (const { gpid, ballot, primary, secondaries, wantedCount } of partitions) {
    const what = `partition ${gpid} ballot ${ballot}`
    if (primary === '') {
      gaps.push(`${what}: no primary`)
      continue
    }
    if (secondaries.length + 1 < wantedCount)
      gaps.push(`${what}: ${secondaries.length + 1} of ${wantedCount} members`)
    const own = held.get(`${gpid} ${primary}`)
    if (own === undefined) {
      gaps.push(`${what}: primary ${primary} holds nothing`)
      continue
    }
    for (const secondary of secondaries) {
      const other = held.get(`${gpid} ${secondary}`)
      if (other === undefined) gaps.push(`${what}: secondary ${secondary} holds nothing`)
      else if (other.digest !== own.digest)
        gaps.push(
          `${what}: ${secondary} (${other.rowCount} rows) differs from ${primary} (${own.rowCount} rows)`,
        )
    }
  }
  return gaps
}
