/** Actions, kinds and sources of audit entries in words; those of a newer gateway stand as they came. */
import type { Text, TextKey } from '../text/text.tsx'

export const actions: Readonly<Record<string, TextKey>> = {
  create: 'audit.did.create',
  change: 'audit.did.change',
  delete: 'audit.did.delete',
  revert: 'audit.did.revert',
  import: 'audit.did.import',
  'bulk-edit': 'audit.did.bulk-edit',
  adopt: 'audit.did.adopt',
  'replace-meta': 'audit.did.replace-meta',
  drain: 'audit.did.drain',
  resume: 'audit.did.resume',
  trim: 'audit.did.trim',
  'log-in': 'audit.did.log-in',
  request: 'audit.did.request',
  approve: 'audit.did.approve',
  reject: 'audit.did.reject',
  withdraw: 'audit.did.withdraw',
  expire: 'audit.did.expire',
}

export const kinds: Readonly<Record<string, TextKey>> = {
  table: 'audit.of.table',
  cluster: 'audit.of.cluster',
  group: 'audit.of.group',
  gateway: 'audit.of.gateway',
  user: 'audit.of.user',
  token: 'audit.of.token',
  session: 'audit.of.session',
  audit: 'audit.of.audit',
  approval: 'audit.of.approval',
}

export const sources: Readonly<Record<string, TextKey>> = {
  ui: 'audit.by.ui',
  api: 'audit.by.api',
  cli: 'audit.by.cli',
  rpc: 'audit.by.rpc',
  external: 'audit.by.external',
  automatic: 'audit.by.automatic',
}

const worded =
  (words: Readonly<Record<string, TextKey>>) =>
  ({ t }: Pick<Text, 't'>, value: string): string => {
    const key = words[value]
    return key === undefined ? value : t(key)
  }

export const actionWord = worded(actions)
export const kindWord = worded(kinds)
export const sourceWord = worded(sources)
