/** Filters on hash keys and sort keys (data-model.md 4): where a pattern has to stand in a key. */
import { FilterType } from '../protocol/rrdb.ts'

export function isKnownFilter(filterType: number): boolean {
  return filterType >= FilterType.FT_NO_FILTER && filterType <= FilterType.FT_MATCH_POSTFIX
}

/** An empty pattern matches every key. `filterType` is a known one. */
export function matchesFilter(filterType: number, pattern: Buffer, key: Buffer): boolean {
  if (filterType === FilterType.FT_NO_FILTER || pattern.length === 0) return true
  if (pattern.length > key.length) return false
  switch (filterType) {
    case FilterType.FT_MATCH_PREFIX:
      return pattern.equals(key.subarray(0, pattern.length))
    case FilterType.FT_MATCH_POSTFIX:
      return pattern.equals(key.subarray(key.length - pattern.length))
    default:
      return key.includes(pattern)
  }
}
