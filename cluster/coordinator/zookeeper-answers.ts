/**
 * What the library answers, in the words of the contract: error numbers, stats and events. Pure.
 */
import type { Stat } from 'node-zookeeper-client'
import type { CoordinatorErrorCode, NodeStat } from './coordinator.ts'
import type { AccessRule, TreeEvent } from './tree.ts'

/** By the protocol's number; others tell nothing about nodes. */
export const eventTypes: Readonly<Record<number, TreeEvent['type']>> = {
  1: 'created',
  2: 'deleted',
  3: 'changed',
  4: 'children',
}

/** By the protocol's number. */
const codes: Readonly<Record<number, CoordinatorErrorCode>> = {
  [-4]: 'connection-loss',
  [-7]: 'timeout',
  [-8]: 'bad-arguments',
  [-101]: 'no-node',
  [-102]: 'no-auth',
  [-103]: 'bad-version',
  [-108]: 'no-children-for-ephemerals',
  [-110]: 'node-exists',
  [-111]: 'not-empty',
  [-112]: 'session-expired',
  [-114]: 'no-auth',
  [-115]: 'no-auth',
}

/** A code without a name here leaves the outcome open. */
export function codeOf(error: unknown): CoordinatorErrorCode {
  const code: unknown =
    typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
  return (typeof code === 'number' ? codes[code] : undefined) ?? 'connection-loss'
}

export function statOf(stat: Stat): NodeStat {
  return {
    version: stat.version,
    childrenVersion: stat.cversion,
    createdZxid: stat.czxid.readBigInt64BE(0),
    modifiedZxid: stat.mzxid.readBigInt64BE(0),
    createdWallMs: Number(stat.ctime.readBigInt64BE(0)),
    modifiedWallMs: Number(stat.mtime.readBigInt64BE(0)),
    ephemeralOwner: stat.ephemeralOwner.readBigInt64BE(0),
    childrenCount: stat.numChildren,
    dataSizeBytes: stat.dataLength,
  }
}

/** The library's own types name the fields of its access rules wrongly; what is odd is left out. */
export function accessOf(rules: unknown): readonly AccessRule[] {
  const field = (from: unknown, name: string): unknown =>
    typeof from === 'object' && from !== null ? Reflect.get(from, name) : undefined
  return (Array.isArray(rules) ? rules : []).flatMap((rule) => {
    const permissions = field(rule, 'permission')
    const scheme = field(field(rule, 'id'), 'scheme')
    const id = field(field(rule, 'id'), 'id')
    return typeof permissions === 'number' && typeof scheme === 'string' && typeof id === 'string'
      ? [{ permissions, scheme, id }]
      : []
  })
}
